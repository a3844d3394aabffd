/* Sixteen networks in the lanes of a vector register (GCC and Clang vector extension). */
#ifndef LANES_H
#define LANES_H
#include <math.h>
#include <stdint.h>

enum { LANES = 16 };
typedef float lane __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

static inline lane all(float value) { return value - (lane){0}; }

static inline lane choose(mask where, lane yes, lane no) {
  return (lane)(((mask)yes & where) | ((mask)no & ~where));
}

/* Rational approximation of tanh as XLA and Eigen use it: relative error below 1e-6. */
static inline lane tanh_lanes(lane x) {
  const lane limit = all(7.90531110763549805f);
  x = choose(x > limit, limit, x);
  x = choose(x < -limit, -limit, x);
  lane s = x * x;
  lane p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * s + -8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928875436e-04f;
  p = p * s + 4.89352455891786e-03f;
  lane q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return x * p / q;
}

typedef struct { uint32_t a, b; } key;

static inline key threefry(key k, uint32_t x, uint32_t y) {
  const uint32_t schedule[3] = {k.a, k.b, k.a ^ k.b ^ 0x1BD11BDAu};
  const int rotation[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  x += k.a, y += k.b;
  for (int group = 0; group < 5; group++) {
    for (int r = 0; r < 4; r++) {
      int bits = rotation[group % 2][r];
      x += y, y = x ^ (y << bits | y >> (32 - bits));
    }
    x += schedule[(group + 1) % 3], y += schedule[(group + 2) % 3] + group + 1;
  }
  return (key){x, y};
}

/* jax.random.fold_in(k, number), and number `number` of jax.random.split(k). */
static inline key fold_in(key k, uint32_t number) { return threefry(k, 0, number); }

/* ln x for positive x, after Cephes; plain arithmetic, so that the compiler can vectorise it. */
static inline float natural_log(float x) {
  union { float value; int32_t bits; } number = {x};
  int32_t shifted = number.bits - 0x3F3504F3; /* √½ */
  float exponent = shifted >> 23;
  number.bits = (shifted & 0x7FFFFF) + 0x3F3504F3;
  float m = number.value - 1, p = 7.0376836292e-2f;
  p = p * m + -1.1514610310e-1f, p = p * m + 1.1676998740e-1f, p = p * m + -1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f, p = p * m + -1.6668057665e-1f, p = p * m + 2.0000714765e-1f;
  p = p * m + -2.4999993993e-1f, p = p * m + 3.3333331174e-1f;
  return m + (p * m * m * m - 0.5f * m * m + 0.693147180559945f * exponent);
}

/* erf⁻¹(u)/u for w = −ln(1 − u²), after M. Giles, Approximating the erfinv function (2010). */
static inline float inverse_erf(float w) {
  float c = w - 2.5f, t = sqrtf(w) - 3;
  float near = 2.81022636e-08f, far = -0.000200214257f;
  near = near * c + 3.43273939e-07f, far = far * t + 0.000100950558f;
  near = near * c + -3.5233877e-06f, far = far * t + 0.00134934322f;
  near = near * c + -4.39150654e-06f, far = far * t + -0.00367342844f;
  near = near * c + 0.00021858087f, far = far * t + 0.00573950773f;
  near = near * c + -0.00125372503f, far = far * t + -0.0076224613f;
  near = near * c + -0.00417768164f, far = far * t + 0.00943887047f;
  near = near * c + 0.246640727f, far = far * t + 1.00167406f;
  near = near * c + 1.50140941f, far = far * t + 2.83297682f;
  return w < 5 ? near : far;
}

/* Number `i` of jax.random.normal(k, …), one network's key a lane. */
static inline void normal(const key *k, uint32_t i, float *out) {
  for (int l = 0; l < LANES; l++) {
    key word = threefry(k[l], 0, i);
    union { uint32_t bits; float value; } number = {(word.a ^ word.b) >> 9 | 0x3F800000u};
    float u = (number.value - 1) * (1 + 0x1.fffffep-1f) - 0x1.fffffep-1f;
    u = u < -0x1.fffffep-1f ? -0x1.fffffep-1f : u;
    out[l] = 1.41421356f * u * inverse_erf(-natural_log((1 - u) * (1 + u)));
  }
}

static inline void normals(const key *k, int count, lane *out) {
  for (int i = 0; i < count; i++) normal(k, i, (float *)(out + i));
}

static inline void fold_in_lanes(const key *k, uint32_t number, key *out) {
  for (int l = 0; l < LANES; l++) out[l] = fold_in(k[l], number);
}
#endif
