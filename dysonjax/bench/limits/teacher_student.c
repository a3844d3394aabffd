/* The step of the [3, 32, 16, 1] student, sixteen networks at a time: what this processor can do.

   INPUT is float where the networks share their data (a scalar meets sixteen weights) and lane where each
   network has its own. Data: x (batches, n, 4) with the samples last, y (batches, 4). Weights: (n_out, n_in).
   A network whose loss is above 100 is not updated, as in the engine. */
#include "lanes.h"

typedef INPUT input;
enum { IN = 3, WIDE = 32, NARROW = 16, SAMPLES = 4 };

/* out[o][s] = sum over i of x[i][s] w[o][i] */
#define PRODUCT(out, x, w, n_out, n_in)                             \
  for (int o = 0; o < n_out; o += 2) {                              \
    lane sum[2][SAMPLES] = {0};                                     \
    for (int i = 0; i < n_in; i++)                                  \
      for (int s = 0; s < SAMPLES; s++)                             \
        for (int r = 0; r < 2; r++) sum[r][s] += x[i][s] * w[o + r][i]; \
    for (int r = 0; r < 2; r++)                                     \
      for (int s = 0; s < SAMPLES; s++) out[o + r][s] = tanh_lanes(sum[r][s]); \
  }

/* w[o][i] -= sum over s of delta[o][s] x[i][s] */
#define UPDATE(w, x, delta, n_out, n_in)       \
  for (int o = 0; o < n_out; o++)              \
    for (int i = 0; i < n_in; i++) {           \
      lane moved = w[o][i];                    \
      for (int s = 0; s < SAMPLES; s++) moved -= x[i][s] * delta[o][s]; \
      w[o][i] = moved;                         \
    }

/* errors of the output, and the learning rate over the samples, zero for networks that diverged */
#define ERRORS(e, rate, h, z, y)                                     \
  for (int s = 0; s < SAMPLES; s++) {                                \
    e[s] = all(0) - y[s];                                            \
    for (int o = 0; o < NARROW; o++) e[s] += h[o][s] * z[o];         \
  }                                                                  \
  lane loss = all(0);                                                \
  for (int s = 0; s < SAMPLES; s++) loss += e[s] * e[s];             \
  alive &= loss * (0.5f / SAMPLES) <= all(100);                      \
  lane rate = choose(alive, lr[block] / SAMPLES, all(0));            \
  for (int s = 0; s < SAMPLES; s++) e[s] = choose(alive, e[s], all(0)) * rate;

/* train="middle": the inputs of the learned matrix are data. z is shared with the teacher. */
void train_middle(long blocks, long steps, long batches, const lane *lr, const input (*x)[WIDE][SAMPLES],
                  const input (*y)[SAMPLES], const input *z, lane (*w)[NARROW][WIDE]) {
  for (long block = 0; block < blocks; block++) {
    mask alive = (mask){0} == 0;
    for (long step = 0; step < steps; step++) {
      const input(*xt)[SAMPLES] = x[step % batches];
      lane h[NARROW][SAMPLES], delta[NARROW][SAMPLES], e[SAMPLES];
      PRODUCT(h, xt, w[block], NARROW, WIDE)
      ERRORS(e, rate, h, z, y[step % batches])
      for (int o = 0; o < NARROW; o++)
        for (int s = 0; s < SAMPLES; s++) delta[o][s] = e[s] * z[o] * (1 - h[o][s] * h[o][s]);
      UPDATE(w[block], xt, delta, NARROW, WIDE)
    }
  }
}

/* train="all": three matrices learn. */
void train_all(long blocks, long steps, long batches, const lane *lr, const input (*x)[IN][SAMPLES],
               const input (*y)[SAMPLES], lane (*w1)[WIDE][IN], lane (*w2)[NARROW][WIDE], lane (*w3)[NARROW]) {
  for (long block = 0; block < blocks; block++) {
    mask alive = (mask){0} == 0;
    lane *z = w3[block];
    for (long step = 0; step < steps; step++) {
      const input(*xt)[SAMPLES] = x[step % batches];
      lane a[WIDE][SAMPLES], h[NARROW][SAMPLES], below[WIDE][SAMPLES], delta[NARROW][SAMPLES], e[SAMPLES];
      PRODUCT(a, xt, w1[block], WIDE, IN)
      PRODUCT(h, a, w2[block], NARROW, WIDE)
      ERRORS(e, rate, h, z, y[step % batches])
      for (int o = 0; o < NARROW; o++)
        for (int s = 0; s < SAMPLES; s++) delta[o][s] = e[s] * z[o] * (1 - h[o][s] * h[o][s]);
      for (int i = 0; i < WIDE; i++) {
        lane sum[SAMPLES] = {0};
        for (int o = 0; o < NARROW; o++)
          for (int s = 0; s < SAMPLES; s++) sum[s] += delta[o][s] * w2[block][o][i];
        for (int s = 0; s < SAMPLES; s++) below[i][s] = sum[s] * (1 - a[i][s] * a[i][s]);
      }
      for (int o = 0; o < NARROW; o++)
        for (int s = 0; s < SAMPLES; s++) z[o] -= h[o][s] * e[s];
      UPDATE(w2[block], a, delta, NARROW, WIDE)
      UPDATE(w1[block], xt, below, WIDE, IN)
    }
  }
}
