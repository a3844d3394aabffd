/* The implicit step of Dyson Brownian motion with drift −x, g² = β = 1, sixteen members in the lanes.

   x′ − h F(x′) = x + h F(x) + √(2Δt) η, h = Δt/2 and F = −x + Σ 1/(x_i − x_j) (the first step is backward Euler),
   by Newton's method with a Cholesky factor of the Hessian. x (groups, N, sixteen members), in doubles; words: the
   two that seed the counters, member identities count from `first`. */
#include <string.h>

#include "lanes.h"

enum { N = 10, NEWTON_STEPS = 80 };
typedef double wide __attribute__((vector_size(8 * LANES)));

static inline wide all_wide(double value) { return value - (wide){0}; }

/* Two normals of one threefry hash a lane. */
static inline void pair_of_normals(key words, uint32_t member, uint32_t counter, double *out, double *other) {
  for (int l = 0; l < LANES; l++) {
    key hash = threefry(words, member + l, counter);
    uint32_t bits[2] = {hash.a, hash.b};
    double *to[2] = {out + l, other + l};
    for (int side = 0; side < 2; side++) {
      double u = (bits[side] + 0.5) * 0x1p-31 - 1;
      *to[side] = 1.4142135623730951 * u * inverse_erf(-natural_log((1 - u) * (1 + u)));
    }
  }
}

/* One damped Newton step of x towards x − h F(x) = y; returns the largest change relative to a gap. */
static inline double improve(wide *x, const wide *y, double h) {
  wide hessian[N][N], step[N], share = all_wide(1);
  for (int i = 0; i < N; i++) step[i] = y[i] - x[i] * (1 + h), hessian[i][i] = all_wide(1 + h);
  for (int i = 1; i < N; i++)
    for (int j = 0; j < i; j++) {
      wide inverse = 1 / (x[i] - x[j]), pull = h * inverse * inverse;
      step[i] += h * inverse, step[j] -= h * inverse;
      hessian[i][i] += pull, hessian[j][j] += pull, hessian[i][j] = -pull;
    }
  for (int j = 0; j < N; j++) { /* L D Lᵀ in place, D inverted; step becomes L⁻¹ step */
    hessian[j][j] = 1 / hessian[j][j];
    for (int i = j + 1; i < N; i++) {
      wide factor = hessian[i][j] * hessian[j][j];
      for (int k = j + 1; k <= i; k++) hessian[i][k] -= factor * hessian[k][j];
      step[i] -= factor * step[j];
    }
  }
  for (int i = N - 1; i >= 0; i--) {
    for (int k = i + 1; k < N; k++) step[i] -= hessian[k][i] * step[k];
    step[i] *= hessian[i][i];
  }
  double change = 0;
  for (int i = 1; i < N; i++) {
    wide closing = (step[i - 1] - step[i]) / (x[i] - x[i - 1]);
    for (int l = 0; l < LANES; l++) {
      double size = fabs(closing[l]), room = closing[l] > 0.95 ? 0.95 / closing[l] : 1;
      change = size > change ? size : change;
      share[l] = room < share[l] ? room : share[l];
    }
  }
  for (int i = 0; i < N; i++) x[i] += share * step[i];
  return change;
}

void evolve(long groups, long steps, float time, long first, const uint32_t *words, double *levels) {
  const double dt = time / (double)steps;
  const key seed = {words[0], words[1]};
  for (long group = 0; group < groups; group++, levels += N * LANES) {
    wide x[N], y[N], kick[N], noise[N];
    memcpy(x, levels, sizeof x);
    memset(kick, 0, sizeof kick);
    for (long index = 0; index < steps; index++) {
      double h = index ? dt / 2 : dt;
      for (int row = 0; row < N / 2; row++)
        pair_of_normals(seed, first + group * LANES, index * (N / 2) + row, (double *)(noise + row),
                        (double *)(noise + row + N / 2));
      for (int i = 0; i < N; i++) y[i] = x[i] + kick[i] + sqrt(2 * dt) * noise[i];
      for (int count = 0; count < NEWTON_STEPS && improve(x, y, h) > 1e-4; count++);
      for (int i = 0; i < N; i++) kick[i] = (x[i] - y[i]) * (0.5 * dt / h);
    }
    memcpy(levels, x, sizeof x);
  }
}
