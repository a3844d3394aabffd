/* The step of the published RBM (N_v = N_h = 10, σ_h = 1, k = 3, 16 chains): sixteen seeds in the lanes.

   The learning rates of a seed share its normals, as in the engine with common randomness. w (points, v, h),
   chains (points, 16, v); keys: the sixteen seeds' keys of the batch stream. */
#include "lanes.h"

enum { N = 10, CHAINS = 16, SWEEPS = 3 };
typedef lane square[N][N];

static inline lane root(lane x) {
  lane y;
  for (int l = 0; l < LANES; l++) y[l] = sqrtf(x[l]);
  return y;
}

static inline void multiply(square out, const square a, const square b) {
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      lane sum = all(0);
      for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
      out[i][j] = sum;
    }
}

/* Lower factor of a symmetric matrix; returns where every pivot is positive. */
static inline mask cholesky(square l, const square a) {
  mask positive = (mask){0} == 0;
  for (int j = 0; j < N; j++) {
    lane pivot = a[j][j];
    for (int k = 0; k < j; k++) pivot -= l[j][k] * l[j][k];
    positive &= pivot > all(0);
    l[j][j] = root(pivot);
    for (int i = j + 1; i < N; i++) {
      lane sum = a[i][j];
      for (int k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
      l[i][j] = sum / l[j][j];
    }
  }
  return positive;
}

/* W Wᵀ times a factor. */
static inline void gram(square out, const square w, float factor) {
  for (int i = 0; i < N; i++)
    for (int j = 0; j <= i; j++) {
      lane sum = all(0);
      for (int k = 0; k < N; k++) sum += w[i][k] * w[j][k];
      out[i][j] = out[j][i] = sum * factor;
    }
}

static inline void gibbs(lane (*phi)[N], const square w, const lane *noise_h, const lane *noise_v, float mu) {
  for (int sweep = 0; sweep < SWEEPS; sweep++)
    for (int c = 0; c < CHAINS; c++) {
      lane h[N];
      for (int j = 0; j < N; j++) h[j] = noise_h[(sweep * CHAINS + c) * N + j];
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) h[j] += phi[c][i] * w[i][j];
      for (int i = 0; i < N; i++) {
        lane sum = all(0);
        for (int j = 0; j < N; j++) sum += h[j] * w[i][j];
        phi[c][i] = sum / (mu * mu) + noise_v[(sweep * CHAINS + c) * N + i] / mu;
      }
    }
}

/* k = 3: power A³, noise covariance (1 + A + … + A⁵)/μ². */
static inline void collapsed(lane (*phi)[N], const square w, const lane *noise, float mu) {
  square a, a2, a3, sum, more, factor;
  gram(a, w, 1 / (mu * mu));
  multiply(a2, a, a), multiply(a3, a2, a);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) sum[i][j] = a[i][j] + a2[i][j] + (i == j ? 1.0f : 0.0f);
  multiply(more, sum, a3);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) more[i][j] = (sum[i][j] + more[i][j]) / (mu * mu);
  cholesky(factor, more);
  for (int c = 0; c < CHAINS; c++) {
    lane old[N];
    for (int i = 0; i < N; i++) old[i] = phi[c][i];
    for (int j = 0; j < N; j++) {
      lane new = all(0);
      for (int i = 0; i < N; i++) new += old[i] * a3[i][j];
      for (int i = 0; i <= j; i++) new += noise[c * N + i] * factor[j][i];
      phi[c][j] = new;
    }
  }
}

void train(long points, long steps, long first, int is_collapsed, float mu, const float *lr, const key *keys,
           const float *covariance, square *w, lane (*phi)[CHAINS][N]) {
  static _Thread_local lane noise_h[SWEEPS * CHAINS * N], noise_v[SWEEPS * CHAINS * N];
  mask alive[points];
  for (long p = 0; p < points; p++) alive[p] = (mask){0} == 0;
  for (long step = first; step < first + steps; step++) {
    key now[LANES], noise[LANES], part[LANES];
    fold_in_lanes(keys, step, now), fold_in_lanes(now, 0, noise);
    if (is_collapsed) {
      normals(noise, CHAINS * N, noise_v);
    } else {
      fold_in_lanes(noise, 0, part), normals(part, SWEEPS * CHAINS * N, noise_h);
      fold_in_lanes(noise, 1, part), normals(part, SWEEPS * CHAINS * N, noise_v);
    }
    for (long p = 0; p < points; p++) {
      square precision, factor, moments, step_;
      gram(precision, w[p], -1);
      for (int i = 0; i < N; i++) precision[i][i] += mu * mu;
      alive[p] &= cholesky(factor, precision);
      lane kept[CHAINS][N];
      for (int c = 0; c < CHAINS; c++)
        for (int i = 0; i < N; i++) kept[c][i] = phi[p][c][i];
      if (is_collapsed)
        collapsed(phi[p], w[p], noise_v, mu);
      else
        gibbs(phi[p], w[p], noise_h, noise_v, mu);
      for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) {
          lane sum = all(0);
          for (int c = 0; c < CHAINS; c++) sum += phi[p][c][i] * phi[p][c][j];
          moments[i][j] = moments[j][i] = covariance[i * N + j] - sum / CHAINS;
        }
      multiply(step_, moments, w[p]);
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) w[p][i][j] = choose(alive[p], w[p][i][j] + lr[p] * step_[i][j], w[p][i][j]);
      for (int c = 0; c < CHAINS; c++)
        for (int i = 0; i < N; i++) phi[p][c][i] = choose(alive[p], phi[p][c][i], kept[c][i]);
    }
  }
}
