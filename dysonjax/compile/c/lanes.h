/* Sixteen networks in the lanes of a vector (GCC and Clang vector extension), and functions of them.

   Every function is written once, for one number and for a vector: arithmetic reads the same for both. A truth
   value is an int32 that is 0 or 1 for one number, 0 or -1 in each lane of a vector. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#if defined(WARP) /* of a GPU, see threads.h */
enum { LANES = WARP };
#else
enum { LANES = 16 };
#endif
#define VECTOR(type, name) typedef type name __attribute__((vector_size(LANES * sizeof(type))))
VECTOR(float, float_v);
VECTOR(double, double_v);
VECTOR(int8_t, int8_v);
VECTOR(uint8_t, uint8_v);
VECTOR(int32_t, int32_v);
VECTOR(uint32_t, uint32_v);
VECTOR(int64_t, int64_v);
VECTOR(uint64_t, uint64_v);
typedef float float_s;
typedef double double_s;
typedef uint8_t uint8_s;
typedef int32_t int32_s;
typedef uint32_t uint32_s;
typedef int64_t int64_s;
typedef uint64_t uint64_s;

#define TO_LANES(type, x) ((type##_s)(x) - (type##_v){0})
#define CONVERT(T, x) __builtin_convertvector(x, T)
#define ZERO(T) ((T){0})
#define TRUTH(comparison) CONVERT(int32_v, comparison) /* a comparison has the width of what it compares */
#define EACH_LANE(l) for (int l = 0; l < LANES; l++)
#define AT(x, l) (x)[l]

/* The compiler is not to read a vector from memory again for each of its uses: there is one load a cycle. */
#if defined(__AVX512F__) && !defined(WARP)
#define IN_REGISTER(x) __asm__("" : "+v"(x))
#else
#define IN_REGISTER(x)
#endif

static inline int all_lanes(int32_v mask) {
  const int8_v narrow = CONVERT(int8_v, mask);
  uint64_t parts[LANES / 8], all = UINT64_MAX;
  memcpy(parts, &narrow, sizeof parts);
  for (int part = 0; part < LANES / 8; part++) all &= parts[part];
  return all == UINT64_MAX;
}

/* choose(where, yes, no): masks have the width of what they choose. */
#define CHOOSE(T, M)                                                                              \
  static inline T##_v T##_v_choose(M##_v where, T##_v yes, T##_v no) {                            \
    return (T##_v)(((M##_v)yes & where) | ((M##_v)no & ~where));                                  \
  }                                                                                               \
  static inline T##_s T##_s_choose(int32_t where, T##_s yes, T##_s no) { return where ? yes : no; } \
  static inline T##_v T##_v_max(T##_v a, T##_v b) {                                               \
    return T##_v_choose((M##_v)(a > b) | (M##_v)(a != a), a, b);                                  \
  }                                                                                               \
  static inline T##_v T##_v_min(T##_v a, T##_v b) {                                               \
    return T##_v_choose((M##_v)(a < b) | (M##_v)(a != a), a, b);                                  \
  }                                                                                               \
  static inline T##_s T##_s_max(T##_s a, T##_s b) { return (a > b) | (a != a) ? a : b; }             \
  static inline T##_s T##_s_min(T##_s a, T##_s b) { return (a < b) | (a != a) ? a : b; }
CHOOSE(float, int32)
CHOOSE(double, int64)
CHOOSE(uint8, int8)
CHOOSE(int32, int32)
CHOOSE(uint32, int32)
CHOOSE(int64, int64)
CHOOSE(uint64, int64)

/* max and min take the second of two equal numbers; these two know that 0 is above -0, as XLA does. */
#define EXTREME(T, M, name, other, sign)                                                          \
  static inline T##_v T##_v_##name(T##_v a, T##_v b) {                                            \
    return T##_v_choose((M##_v)(a == b), (T##_v)((M##_v)a sign (M##_v)b), T##_v_##other(a, b));   \
  }                                                                                               \
  static inline T##_s T##_s_##name(T##_s a, T##_s b) {                                            \
    M##_s x, y;                                                                                   \
    memcpy(&x, &a, sizeof x), memcpy(&y, &b, sizeof y);                                           \
    x = x sign y;                                                                                 \
    T##_s both;                                                                                   \
    memcpy(&both, &x, sizeof x);                                                                  \
    return a == b ? both : T##_s_##other(a, b);                                                   \
  }
EXTREME(float, int32, maximum, max, &)
EXTREME(double, int64, maximum, max, &)
EXTREME(float, int32, minimum, min, |)
EXTREME(double, int64, minimum, min, |)

/* Integers as XLA has them: division by 0 gives all ones and leaves the number as the remainder, the most
   negative number divided by -1 stays what it is, and a shift by the width or more leaves nothing. U, S: the
   unsigned and the signed type of the same width. */
#define INTEGER(T, U, S)                                                                          \
  static inline T##_s T##_s_div(T##_s a, T##_s b) {                                               \
    const int turned = (T##_s)-1 < 0 && b == (T##_s)-1;                                           \
    const T##_s found = a / ((b == 0) | turned ? 1 : b);                                          \
    return b == 0 ? (T##_s)-1 : turned ? (T##_s)(0 - (U##_s)a) : found;                           \
  }                                                                                               \
  static inline T##_s T##_s_rem(T##_s a, T##_s b) {                                               \
    const int turned = (T##_s)-1 < 0 && b == (T##_s)-1;                                           \
    const T##_s found = a % ((b == 0) | turned ? 1 : b);                                          \
    return b == 0 ? a : found;                                                                    \
  }                                                                                               \
  static inline T##_v T##_v_div(T##_v a, T##_v b) {                                               \
    for (int l = 0; l < LANES; l++) a[l] = T##_s_div(a[l], b[l]);                                 \
    return a;                                                                                     \
  }                                                                                               \
  static inline T##_v T##_v_rem(T##_v a, T##_v b) {                                               \
    for (int l = 0; l < LANES; l++) a[l] = T##_s_rem(a[l], b[l]);                                 \
    return a;                                                                                     \
  }                                                                                               \
  static inline T##_s T##_s_shift_left(T##_s a, T##_s b) {                                        \
    const U##_s count = (U##_s)b, most = 8 * sizeof(T##_s) - 1;                                   \
    return count > most ? 0 : (T##_s)((U##_s)a << count);                                         \
  }                                                                                               \
  static inline T##_s T##_s_shift_right_logical(T##_s a, T##_s b) {                               \
    const U##_s count = (U##_s)b, most = 8 * sizeof(T##_s) - 1;                                   \
    return count > most ? 0 : (T##_s)((U##_s)a >> count);                                         \
  }                                                                                               \
  static inline T##_s T##_s_shift_right_arithmetic(T##_s a, T##_s b) {                            \
    const U##_s count = (U##_s)b, most = 8 * sizeof(T##_s) - 1;                                   \
    return (T##_s)((S##_t)a >> (count > most ? most : count));                                    \
  }                                                                                               \
  static inline T##_v T##_v_shift_left(T##_v a, T##_v b) {                                        \
    const U##_v count = (U##_v)b, most = (U##_v){0} + (8 * sizeof(T##_s) - 1);                    \
    return (T##_v)(((U##_v)a << (count & most)) & (U##_v)(count <= most));                        \
  }                                                                                               \
  static inline T##_v T##_v_shift_right_logical(T##_v a, T##_v b) {                               \
    const U##_v count = (U##_v)b, most = (U##_v){0} + (8 * sizeof(T##_s) - 1);                    \
    return (T##_v)(((U##_v)a >> (count & most)) & (U##_v)(count <= most));                        \
  }                                                                                               \
  static inline T##_v T##_v_shift_right_arithmetic(T##_v a, T##_v b) {                            \
    const U##_v count = (U##_v)b, most = (U##_v){0} + (8 * sizeof(T##_s) - 1);                    \
    return (T##_v)((S##_v)a >> (S##_v)U##_v_choose((S##_v)(count > most), most, count));          \
  }                                                                                               \
  static inline T##_s T##_s_abs(T##_s x) { return (T##_s)((S##_t)x < 0 ? 0 - (U##_s)x : (U##_s)x); } \
  static inline T##_v T##_v_abs(T##_v x) {                                                        \
    return T##_v_choose((S##_v)((S##_v)x < (S##_v){0}), (T##_v)(-(U##_v)x), x);                   \
  }
INTEGER(uint8, uint8, int8)
INTEGER(int32, uint32, int32)
INTEGER(uint32, uint32, int32)
INTEGER(int64, uint64, int64)
INTEGER(uint64, uint64, int64)

/* Floating-point numbers F as integers T: what lies beyond them becomes the nearest, a NaN 0. S: an integer of
   the width of T, M: one of that of F; numbers from `low` to below `high` have an integer part in T. */
#define TO_INTEGER(T, S, F, M, least, most, low, high)                                            \
  static inline T##_s T##_s_of_##F(F##_s x) {                                                     \
    const T##_s found = (T##_s)((x >= low) & (x < high) ? x : 0);                                 \
    return x >= high ? most : x < low ? least : found;                                            \
  }                                                                                               \
  static inline T##_v T##_v_of_##F(F##_v x) {                                                     \
    const F##_v below = (F##_v){0} + low, above = (F##_v){0} + high;                              \
    const M##_v under = (M##_v)(x < below), over = (M##_v)(x >= above);                           \
    const F##_v inside = (F##_v)((M##_v)x & (M##_v)(x == x) & ~under & ~over);                    \
    return CONVERT(T##_v, inside) | ((T##_v)CONVERT(S##_v, under) & least) |                      \
           ((T##_v)CONVERT(S##_v, over) & most);                                                  \
  }
#define TO_INTEGERS(F, M, f)                                                                      \
  TO_INTEGER(uint8, int8, F, M, (uint8_s)0, (uint8_s)UINT8_MAX, 0x0p0##f, 0x1p8##f)               \
  TO_INTEGER(int32, int32, F, M, (int32_s)INT32_MIN, (int32_s)INT32_MAX, -0x1p31##f, 0x1p31##f)   \
  TO_INTEGER(uint32, int32, F, M, (uint32_s)0, (uint32_s)UINT32_MAX, 0x0p0##f, 0x1p32##f)         \
  TO_INTEGER(int64, int64, F, M, (int64_s)INT64_MIN, (int64_s)INT64_MAX, -0x1p63##f, 0x1p63##f)   \
  TO_INTEGER(uint64, int64, F, M, (uint64_s)0, (uint64_s)UINT64_MAX, 0x0p0##f, 0x1p64##f)
TO_INTEGERS(float, int32, f)
TO_INTEGERS(double, int64, )

/* Whole powers by squaring, in the order of JAX. */
#define POWER(T)                                                                                  \
  static inline T T##_power(T x, unsigned exponent) {                                             \
    T all = (T){0} + 1;                                                                           \
    for (; exponent; exponent >>= 1, x = x * x)                                                   \
      if (exponent & 1) all = all * x;                                                            \
    return all;                                                                                   \
  }
POWER(float_s) POWER(double_s) POWER(uint8_s) POWER(uint32_s) POWER(uint64_s)
POWER(float_v) POWER(double_v) POWER(uint8_v) POWER(uint32_v) POWER(uint64_v)

/* x moved to low ... high; a NaN stays one. */
static inline float_s float_s_within(float_s low, float_s high, float_s x) {
  x = x > high ? high : x;
  return x < low ? low : x;
}
static inline float_v float_v_within(float_s low, float_s high, float_v x) {
  const float_v lowest = TO_LANES(float, low), highest = TO_LANES(float, high);
#if defined(__AVX512F__) && !defined(WARP) /* the second operand (AT&T: the first) is the result if one is a NaN */
  __asm__("vminps %0, %1, %0" : "+v"(x) : "v"(highest));
  __asm__("vmaxps %0, %1, %0" : "+v"(x) : "v"(lowest));
  return x;
#else
  x = float_v_choose(x > highest, highest, x);
  return float_v_choose(x < lowest, lowest, x);
#endif
}

/* The bits of a number as another type of the same width. */
#define CAST(to, from)                                                                \
  static inline to##_v to##_v_from_##from(from##_v x) { return (to##_v)x; }           \
  static inline to##_s to##_s_from_##from(from##_s x) {                               \
    to##_s y;                                                                         \
    memcpy(&y, &x, sizeof y);                                                         \
    return y;                                                                         \
  }
CAST(float, uint32) CAST(uint32, float) CAST(float, int32) CAST(int32, float) CAST(uint32, int32)
CAST(int32, uint32) CAST(double, uint64) CAST(uint64, double) CAST(double, int64) CAST(int64, double)
CAST(uint64, int64) CAST(int64, uint64)

/* Functions of the C library, lane by lane. */
#define LIBRARY(name, f, d)                                                    \
  static inline float_s float_s_##name(float_s x) { return f(x); }             \
  static inline double_s double_s_##name(double_s x) { return d(x); }          \
  static inline float_v float_v_##name(float_v x) {                            \
    for (int l = 0; l < LANES; l++) x[l] = f(x[l]);                            \
    return x;                                                                  \
  }                                                                            \
  static inline double_v double_v_##name(double_v x) {                         \
    for (int l = 0; l < LANES; l++) x[l] = d(x[l]);                            \
    return x;                                                                  \
  }
#define DOUBLE_LIBRARY(name, d)                                                \
  static inline double_s double_s_##name(double_s x) { return d(x); }          \
  static inline double_v double_v_##name(double_v x) {                         \
    for (int l = 0; l < LANES; l++) x[l] = d(x[l]);                            \
    return x;                                                                  \
  }
#define LIBRARY_2(name, f, d)                                                  \
  static inline float_s float_s_##name(float_s x, float_s y) { return f(x, y); } \
  static inline double_s double_s_##name(double_s x, double_s y) { return d(x, y); } \
  static inline float_v float_v_##name(float_v x, float_v y) {                 \
    for (int l = 0; l < LANES; l++) x[l] = f(x[l], y[l]);                      \
    return x;                                                                  \
  }                                                                            \
  static inline double_v double_v_##name(double_v x, double_v y) {             \
    for (int l = 0; l < LANES; l++) x[l] = d(x[l], y[l]);                      \
    return x;                                                                  \
  }
LIBRARY(sqrt, sqrtf, sqrt)
LIBRARY(floor, floorf, floor)
LIBRARY(ceil, ceilf, ceil)
LIBRARY(round_even, rintf, rint)
LIBRARY(round_away, roundf, round)
LIBRARY(sin, sinf, sin)
LIBRARY(cos, cosf, cos)
LIBRARY(abs, fabsf, fabs)
LIBRARY_2(pow, powf, pow)
LIBRARY_2(rem, fmodf, fmod)
DOUBLE_LIBRARY(tanh, tanh)
DOUBLE_LIBRARY(exp, exp)
/* A number below the normal range is 0 for an instruction, but not for the library. */
static inline double log_double(double x) { return x == 0 ? -INFINITY : log(x); }
DOUBLE_LIBRARY(log, log_double)
DOUBLE_LIBRARY(erf, erf)
DOUBLE_LIBRARY(log1p, log1p)
DOUBLE_LIBRARY(expm1, expm1)

/* The inverse of erf: Giles's single-precision form (below), and two steps of Halley's method. */
static inline double erf_inv_double(double y) {
  double size = fabs(y), tail = 1 - size;
  if (!(size < 1)) return size == 1 ? copysign(INFINITY, y) : NAN;
  double w = -log(tail * (1 + size)), t = w < 5 ? w - 2.5 : sqrt(w) - 3, p;
  if (w < 5) {
    p = 2.81022636e-08, p = p * t + 3.43273939e-07, p = p * t - 3.5233877e-06, p = p * t - 4.39150654e-06;
    p = p * t + 0.00021858087, p = p * t - 0.00125372503, p = p * t - 0.00417768164, p = p * t + 0.246640727;
    p = p * t + 1.50140941;
  } else {
    p = -0.000200214257, p = p * t + 0.000100950558, p = p * t + 0.00134934322, p = p * t - 0.00367342844;
    p = p * t + 0.00573950773, p = p * t - 0.0076224613, p = p * t + 0.00943887047, p = p * t + 1.00167406;
    p = p * t + 2.83297682;
  }
  double x = p * size;
  for (int i = 0; i < 2; i++) {
    double error = (size < 0.5 ? erf(x) - size : tail - erfc(x)) * 0.886226925452758 * exp(x * x);
    x -= error / (1 + x * error);
  }
  return copysign(x, y);
}
DOUBLE_LIBRARY(erf_inv, erf_inv_double)

/* The rest in single precision: polynomials that a compiler can put into vectors. */
#define SINGLE(T, M, U, VALUE)                                                                     \
  /* Rational approximation of tanh with the smallest relative error up to 7.9: below 5e-7. */      \
  static inline T T##_tanh(T x) {                                                                  \
    x = T##_within(-7.9f, 7.9f, x);                                                                \
    T s = x * x;                                                                                   \
    T p = s * 46.2651558f + 11877.2266f;                                                           \
    p = p * s + 518919.5f;                                                                         \
    p = p * s + 4011925.25f;                                                                       \
    T q = s + 962.914307f;                                                                         \
    q = q * s + 95700.9297f;                                                                       \
    q = q * s + 1856223.75f;                                                                       \
    q = q * s + 4011925.75f;                                                                       \
    return x * p / q;                                                                              \
  }                                                                                                \
  /* After Cephes. */                                                                              \
  static inline T T##_log(T x) {                                                                   \
    T given = x;                                                                                   \
    T tiny = VALUE(1.17549435e-38f);                                                               \
    x = T##_choose(x > tiny, x, tiny);                                                             \
    M shifted = M##_from_float(x) - 0x3F3504F3; /* sqrt(1/2) */                                    \
    T exponent = TO_FLOAT_##T(shifted >> 23);                                                      \
    T m = T##_from_int32((shifted & 0x7FFFFF) + 0x3F3504F3) - 1;                                   \
    T p = m * 7.0376836292e-2f + -1.1514610310e-1f;                                                \
    p = p * m + 1.1676998740e-1f, p = p * m + -1.2420140846e-1f, p = p * m + 1.4249322787e-1f;     \
    p = p * m + -1.6668057665e-1f, p = p * m + 2.0000714765e-1f, p = p * m + -2.4999993993e-1f;    \
    p = p * m + 3.3333331174e-1f;                                                                  \
    T z = m * m;                                                                                   \
    T y = p * m * z + exponent * -2.12194440e-4f - 0.5f * z + m + exponent * 0.693359375f;         \
    y = T##_choose(given == VALUE(INFINITY), given, y);                                            \
    y = T##_choose(given == VALUE(0.0f), VALUE(-INFINITY), y);                                     \
    return T##_choose(given >= VALUE(0.0f), y, VALUE(NAN));                                        \
  }                                                                                                \
  static inline T T##_exp(T x) {                                                                    \
    const T most = VALUE(88.722839f), least = VALUE(-87.33654f);                                    \
    T given = x;                                                                                    \
    x = T##_within(-87.33654f, 88.722839f, x);                                                      \
    /* The last bits of 1.5 2^23 + n are the nearest integer n. */                                  \
    T shifted = x * 1.44269504088896341f + 12582912.0f;                                             \
    T k = shifted - 12582912.0f;                                                                    \
    T r = x - k * 0.693359375f + k * 2.12194440e-4f;                                                \
    T p = r * 1.9875691500e-4f + 1.3981999507e-3f;                                                  \
    p = p * r + 8.3334519073e-3f, p = p * r + 4.1665795894e-2f, p = p * r + 1.6666665459e-1f;       \
    p = p * r + 5.0000001201e-1f;                                                                   \
    p = p * r * r + r + 1;                                                                          \
    /* Times 2^n, by adding n to the exponent. */                                                   \
    T y = T##_from_uint32(U##_from_float(p) + (U##_from_float(shifted) << 23));                     \
    y = T##_choose(given <= most, y, given + VALUE(INFINITY)); /* a NaN stays one */                \
    return T##_choose(given < least, VALUE(0.0f), y);                                               \
  }                                                                                                 \
  /* Near 0 what rounding takes from 1 + x, or from exp(x), is given back by a quotient (Kahan). */  \
  static inline T T##_log1p(T x) {                                                                 \
    T u = 1 + x, y = u - 1, found = T##_log(u) * (x / y);                                          \
    found = T##_choose(y == VALUE(0.0f), x, found);                                                \
    return T##_choose(u == VALUE(INFINITY), u, found);                                             \
  }                                                                                                \
  static inline T T##_expm1(T x) {                                                                 \
    T u = T##_exp(x), y = u - 1, found = y * (x / T##_log(u));                                     \
    found = T##_choose(u == VALUE(1.0f), x, found);                                                \
    found = T##_choose(y == VALUE(-1.0f), y, found);                                               \
    return T##_choose(u == VALUE(INFINITY), u, found);                                             \
  }                                                                                                \
  /* Rational approximation of erf as XLA and Eigen use it. */                                     \
  static inline T T##_erf(T x) {                                                                   \
    x = T##_within(-3.832506856900711f, 3.832506856900711f, x);                                    \
    T s = x * x;                                                                                   \
    T p = s * 2.2905065861350646e-4f + 3.4082910107109506e-3f;                                     \
    p = p * s + 5.0955695062380861e-2f, p = p * s + 1.8520832239976145e-1f;                        \
    p = p * s + 1.128379143519084f;                                                                \
    T q = s * -1.1791602954361697e-7f + 2.3547966471313185e-5f;                                    \
    q = q * s + 1.0179625278914885e-3f, q = q * s + 1.4070470171167667e-2f;                        \
    q = q * s + 1.1098505178285362e-1f, q = q * s + 4.9746925110067538e-1f, q = q * s + 1;         \
    return x * p / q;                                                                              \
  }                                                                                                \
  /* For 1 - u^2 above exp(-5) a rational approximation, relative error below 5e-7; else, which is rare,\
     M. Giles, Approximating the erfinv function (2010). */                                        \
  static inline T T##_erf_inv(T u) {                                                               \
    T v = 1 - u * u;                                                                               \
    T p = v * 0.306242228f + 3.29552221f;                                                          \
    T q = v + 4.35635328f;                                                                         \
    p = p * v + 3.55534816f, q = q * v + 3.10817814f;                                              \
    p = p * v + 0.790940642f, q = q * v + 0.528764904f;                                            \
    p = p * v + 0.0421174541f, q = q * v + 0.0229807068f;                                          \
    p = p * v + 0.000499258167f, q = q * v + 0.000228158096f;                                      \
    p = p * v + 8.66073947e-07f, q = q * v + 3.24257826e-07f;                                      \
    T near = u * p / q;                                                                            \
    M is_near = v > VALUE(0.006737947f);                                                           \
    if (EVERYWHERE_##T(is_near)) return near;                                                      \
    T w = -T##_log((1 - u) * (1 + u)), t = T##_sqrt(w) - 3;                                        \
    T far = t * -0.000200214257f + 0.000100950558f;                                                \
    far = far * t + 0.00134934322f, far = far * t + -0.00367342844f;                               \
    far = far * t + 0.00573950773f, far = far * t + -0.0076224613f;                                \
    far = far * t + 0.00943887047f, far = far * t + 1.00167406f, far = far * t + 2.83297682f;      \
    return T##_choose(is_near, near, u * T##_choose(w == VALUE(INFINITY), w, far));                \
  }
#define SAME(x) (x)
#define EVERYWHERE_float_s(x) 0 /* without a branch, loops over numbers can be put into vectors */
#define EVERYWHERE_float_v(x) all_lanes(x)
#define ALL_LANES(x) TO_LANES(float, x)
#define TO_FLOAT_float_s(x) ((float)(x))
#define TO_FLOAT_float_v(x) CONVERT(float_v, x)
SINGLE(float_s, int32_s, uint32_s, SAME)
SINGLE(float_v, int32_v, uint32_v, ALL_LANES)

/* XLA treats numbers below the normal range as zero; so do these functions' callers. */
static inline unsigned flush_denormals(void) {
#if defined(__SSE__)
  unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
  return before;
#else
  return 0;
#endif
}
static inline void restore_denormals(unsigned before) {
#if defined(__SSE__)
  _mm_setcsr(before);
#else
  (void)before;
#endif
}
