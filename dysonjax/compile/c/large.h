/* What the C source of a large network's step is made of. */
#include "lanes.h"

#define REAL float
#define PLACE int32_t
#define NAME(x) float_s_##x
#include "products.h"
#include "rows.h"
#undef REAL
#undef PLACE
#undef NAME
#define REAL double
#define PLACE int64_t
#define NAME(x) double_s_##x
#include "products.h"
#include "rows.h"
#undef REAL
#undef PLACE
#undef NAME

static inline long inside_unsigned(uint64_t start, uint64_t last) { return start > last ? last : start; }
static inline long inside(long start, long last) { return start < 0 ? 0 : start > last ? last : start; }
