/* What the C source of a large network's step is made of. */
#include "lanes.h"

#define REAL float
#define PLACE int32_t
#define NAME(x) float_s_##x
#include "products.h"
#undef REAL
#undef PLACE
#undef NAME
#define REAL double
#define PLACE int64_t
#define NAME(x) double_s_##x
#include "products.h"
#undef REAL
#undef PLACE
#undef NAME

/* Sums whose order is free are left to OpenMP; the largest and smallest of its own would lose NaN. */
#pragma omp declare reduction(float_s_reduce_max : float_s : omp_out = float_s_max(omp_out, omp_in)) \
    initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(float_s_reduce_min : float_s : omp_out = float_s_min(omp_out, omp_in)) \
    initializer(omp_priv = INFINITY)
#pragma omp declare reduction(double_s_reduce_max : double_s : omp_out = double_s_max(omp_out, omp_in)) \
    initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(double_s_reduce_min : double_s : omp_out = double_s_min(omp_out, omp_in)) \
    initializer(omp_priv = INFINITY)

static inline long inside(long start, long last) { return start < 0 ? 0 : start > last ? last : start; }
