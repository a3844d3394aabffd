/* Resampling: relabellings of members, the xmin scan of a power law, bootstrap fits of Marchenko and Pastur.

   One thread and double precision, like the functions of `spectra` that they are compared with. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lanes.h"

typedef double wide __attribute__((vector_size(8 * LANES)));
typedef int8_t small __attribute__((vector_size(LANES)));
typedef int64_t wide_mask __attribute__((vector_size(8 * LANES)));

static inline wide all_wide(double value) { return value - (wide){0}; }

/* splitmix64 */
static inline uint64_t word(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u, z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

static inline uint32_t below(uint32_t end, uint64_t *state) { return (word(state) >> 32) * end >> 32; }

/* Labels (members, sixteen relabellings): 1 for `first` of the members, drawn without replacement. */
void relabel(long members, long first, uint64_t *state, small *labels) {
  int8_t one[members];
  for (int l = 0; l < LANES; l++) {
    for (long m = 0; m < members; m++) one[m] = m < first;
    for (long m = members - 1; m > 0; m--) {
      long other = below(m + 1, state);
      int8_t kept = one[m];
      one[m] = one[other], one[other] = kept;
    }
    for (long m = 0; m < members; m++) ((int8_t *)(labels + m))[l] = one[m];
  }
}

/* The Wasserstein distance of sixteen labellings, units of the levels. owner: the member of every sorted level; gaps:
   the distance to the next one; share: what a level of the first and of the second ensemble adds to its cdf. */
void distances(long pool, const int32_t *owner, const double *gaps, const double *share, const small *labels,
               wide *out) {
  mask count = {0};
  wide sum = all_wide(0);
  for (long i = 0; i + 1 < pool; i++) {
    count += __builtin_convertvector(labels[owner[i]], mask);
    wide difference = __builtin_convertvector(count, wide) * (share[0] + share[1]) - share[1] * (i + 1);
    sum += gaps[i] * (wide)((wide_mask)difference & INT64_MAX);
  }
  *out = sum;
}

void permute(long blocks, long members, long first, long pool, uint64_t *state, const int32_t *owner,
             const double *gaps, const double *share, small *labels, wide *out) {
  for (long block = 0; block < blocks; block++) {
    relabel(members, first, state, labels);
    distances(pool, owner, gaps, share, labels, out + block);
  }
}

/* e^x for x ≤ 0 to 2e-16; plain arithmetic, so that the compiler can vectorise it. */
static inline double exponential(double x) {
  int32_t power = x * 1.4426950408889634 - 0.5;
  power = power < -1022 ? -1022 : power;
  double r = (x - power * 0.693147180369123816490) - power * 1.90821492927058770002e-10;
  double p = 1.6059043836821613e-10;
  p = p * r + 2.08767569878681e-09, p = p * r + 2.505210838544172e-08, p = p * r + 2.755731922398589e-07;
  p = p * r + 2.7557319223985893e-06, p = p * r + 2.48015873015873e-05, p = p * r + 0.0001984126984126984;
  p = p * r + 0.001388888888888889, p = p * r + 0.008333333333333333, p = p * r + 0.041666666666666664;
  p = p * r + 0.16666666666666666, p = p * r + 0.5, p = p * r + 1, p = p * r + 1;
  union { int64_t bits; double value; } scale = {((int64_t)power + 1023) << 52};
  return p * scale.value;
}

/* For ascending ln x: start, rate and distance of the tail with the smallest Kolmogorov-Smirnov distance. */
void scan(long points, long candidates, const double *logs, double *best) {
  double above[points + 1];
  above[points] = 0;
  for (long i = points - 1; i >= 0; i--) above[i] = above[i + 1] + logs[i];
  best[0] = 0, best[1] = 1, best[2] = INFINITY;
  for (long i = 0; i < candidates; i++) {
    double count = points - i, total = above[i] - count * logs[i];
    if (total <= 0 || (i && logs[i] == logs[i - 1])) continue;
    double rate = count / total, away[points - i + LANES], most[LANES] = {0}, farthest = 0;
    memset(away + points - i, 0, LANES * sizeof *away);
    for (int j = 0; j < points - i; j++)
      away[j] = fabs(exponential(rate * (logs[i] - logs[i + j])) - (1 - (j + 0.5) / count));
    for (long j = 0; j < points - i; j += LANES) /* the compiler vectorises no largest of all */
      for (int l = 0; l < LANES; l++) most[l] = away[j + l] > most[l] ? away[j + l] : most[l];
    for (int l = 0; l < LANES; l++) farthest = most[l] > farthest ? most[l] : farthest;
    farthest += 0.5 / count;
    if (farthest < best[2]) best[0] = i, best[1] = rate, best[2] = farthest;
  }
}

/* Samples with an exponential tail of mean `excess` from `start` on, each scanned; best (samples, 3). */
void scan_samples(long samples, long points, long candidates, long start, const double *excess, uint64_t *state,
                  const double *logs, double *best) {
  double sample[points];
  memcpy(sample, logs, sizeof sample);
  for (long s = 0; s < samples; s++, best += 3) {
    double height = logs[start]; /* ascending at once: the gaps of sorted exponentials are exponential */
    for (long i = start; i < points; i++) {
      float uniform = ((word(state) >> 40) + 0.5f) * 0x1p-24f;
      sample[i] = height -= *excess * natural_log(uniform) / (points - i);
    }
    scan(points, candidates, sample, best);
  }
}

/* For every replicate and every law, whose masses of the bins are (laws, bins): the fall of the sum of squares from
   A = 0, and A. bins (members, levels): the bin of every level, `bins_` if it lies in none; share: of one level;
   members are drawn with replacement, in the first replicate every one once. */
void bootstrap(long replicates, long members, long levels, long bins_, long laws, const double *share, uint64_t *state,
               const int32_t *bins, const double *mass, double *fall, double *area) {
  double norm[laws], height[bins_ + 1];
  for (long g = 0; g < laws; g++) {
    norm[g] = 0;
    for (long b = 0; b < bins_; b++) norm[g] += mass[g * bins_ + b] * mass[g * bins_ + b];
  }
  for (long r = 0; r < replicates; r++) {
    int32_t count[bins_ + 1];
    memset(count, 0, sizeof count);
    for (long m = 0; m < members; m++) {
      const int32_t *member = bins + levels * (r ? below(members, state) : m);
      for (long k = 0; k < levels; k++) count[member[k]]++;
    }
    for (long b = 0; b < bins_; b++) height[b] = count[b] * *share;
    for (long g = 0; g < laws; g++, fall++, area++) {
      double overlap = 0;
      for (long b = 0; b < bins_; b++) overlap += height[b] * mass[g * bins_ + b];
      *fall = overlap * overlap / norm[g], *area = overlap / norm[g];
    }
  }
}
