/* The step of the linear 2×2 network (Z = 1, gradient noise), sixteen seeds in the lanes.

   The learning rates of a seed share its samples and noise. w (points, 2, 2); teacher (2, 2) a lane; keys: the
   sixteen seeds' keys of the batch stream. */
#include "lanes.h"

enum { N = 2 };

void train(long points, long steps, long first, long samples, float epsilon, float max_loss, const float *lr,
           const key *keys, const lane (*teacher)[N], lane (*w)[N][N]) {
  mask alive[points];
  for (long p = 0; p < points; p++) alive[p] = (mask){0} == 0;
  for (long step = first; step < first + steps; step++) {
    key now[LANES], part[LANES];
    lane x[samples * N], half[N * N], moments[N][N], noise[N][N];
    fold_in_lanes(keys, step, now);
    fold_in_lanes(now, 0, part), normals(part, samples * N, x);
    fold_in_lanes(now, 1, part), normals(part, N * N, half);
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        lane sum = all(0);
        for (long s = 0; s < samples; s++) sum += x[s * N + i] * x[s * N + j];
        moments[i][j] = sum / (float)samples;
        noise[i][j] = (half[i * N + j] + half[j * N + i]) * (epsilon / sqrtf(2 * samples));
      }
    for (long p = 0; p < points; p++) {
      lane error[N][N], loss = all(0);
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
          error[i][j] = w[p][i][j] - teacher[i][j];
          loss += error[i][j] * error[i][j];
        }
      alive[p] &= loss * 0.5f <= all(max_loss);
      for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
          lane gradient = noise[i][j];
          for (int k = 0; k < N; k++) gradient += error[i][k] * moments[k][j];
          w[p][i][j] = choose(alive[p], w[p][i][j] - lr[p] * gradient, w[p][i][j]);
        }
    }
  }
}
