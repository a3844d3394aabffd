/* The sum, the largest and the smallest number of each row of a W x W square, W numbers filling a vector.
   Included as `products.h`, after it. Rows are folded together: half of two become one vector, then quarters of
   four, so that a row costs three operations instead of four foldings of its own. */

#define W ((int)(VECTOR_BYTES / sizeof(REAL)))
enum { NAME(wide) = VECTOR_BYTES / sizeof(REAL) };

#if defined(__GNUC__) && !defined(__clang__)
#define FOLD(half, combine)                                                                             \
  if (W > half) {                                                                                       \
    NAME(places) upper, lower;                                                                          \
    for (int l = 0; l < W; l++) upper[l] = l & half ? W + l - half : l, lower[l] = upper[l] + half;     \
    for (int i = 0; i < half; i++) {                                                                    \
      const NAME(vector) x = __builtin_shuffle(rows[i], rows[i + half], upper),                         \
                         y = __builtin_shuffle(rows[i], rows[i + half], lower);                         \
      rows[i] = combine;                                                                                \
    }                                                                                                   \
  }
#define ROWS_OF_SQUARE(name, combine, one)                                                   \
  static inline void NAME(row_##name)(REAL *restrict to, REAL square[W][W]) {                \
    NAME(vector) rows[W];                                                                    \
    for (int i = 0; i < W; i++) rows[i] = *(const NAME(unaligned) *)square[i];               \
    FOLD(8, combine) FOLD(4, combine) FOLD(2, combine) FOLD(1, combine)                      \
    *(NAME(unaligned) *)to = rows[0];                                                        \
  }
#else
#define ROWS_OF_SQUARE(name, combine, one)                                                   \
  static inline void NAME(row_##name)(REAL *restrict to, REAL square[W][W]) {                \
    for (int i = 0; i < W; i++) {                                                            \
      REAL x = square[i][0];                                                                 \
      for (int l = 1; l < W; l++) { const REAL y = square[i][l]; x = one; }                  \
      to[i] = x;                                                                             \
    }                                                                                        \
  }
#endif
#define EITHER(which) (NAME(vector))(((NAME(places))x & (which)) | ((NAME(places))y & ~(which)))
ROWS_OF_SQUARE(sum, x + y, x + y)
ROWS_OF_SQUARE(max, EITHER((x > y) | (x != x)), (x > y) | (x != x) ? x : y)
ROWS_OF_SQUARE(min, EITHER((x < y) | (x != x)), (x < y) | (x != x) ? x : y)
#undef EITHER
#undef ROWS_OF_SQUARE
#undef FOLD
#undef W
