/* Matrix products whose factors stay in the cache. Included once for each type of number, with REAL the type,
   PLACE an integer of its width, and NAME(x) its names.

   A block of ROWS x two vectors of the result stays in registers while DEPTH terms are added to it. The left
   factor is read number by number, in any order; the right one by vectors, from its own place if its columns lie
   side by side there, else from a copy. */

#ifndef PRODUCTS_H
#define PRODUCTS_H
#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, ROWS = 8 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, ROWS = 6 };
#else
enum { VECTOR_BYTES = 16, ROWS = 6 };
#endif
enum { DEPTH = 256, TALL = 32, FAR = 512 };
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#endif

#define W ((int)(VECTOR_BYTES / sizeof(REAL)))
typedef REAL NAME(vector) __attribute__((vector_size(VECTOR_BYTES)));
typedef PLACE NAME(places) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

ALWAYS_INLINE void NAME(block)(const int rows, const int vectors, long terms, const REAL *restrict a, long a_row,
                               long a_term, const REAL *restrict b, long b_term, REAL *restrict c, long c_row,
                               int add) {
  NAME(vector) sum[ROWS][2];
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) {
      if (add) sum[i][v] = *(NAME(unaligned) *)(c + i * c_row + v * W);
      else sum[i][v] = (NAME(vector)){0};
    }
  for (long k = 0; k < terms; k++) {
    NAME(vector) right[2];
    for (int v = 0; v < vectors; v++) right[v] = *(const NAME(unaligned) *)(b + k * b_term + v * W);
    for (int i = 0; i < rows; i++) {
      REAL left = a[i * a_row + k * a_term];
      for (int v = 0; v < vectors; v++) sum[i][v] += left * right[v];
    }
  }
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) *(NAME(unaligned) *)(c + i * c_row + v * W) = sum[i][v];
}

#if defined(__GNUC__) && !defined(__clang__)
ALWAYS_INLINE void NAME(swap)(NAME(vector) *rows, const int half) {
  NAME(places) upper, lower;
  for (int l = 0; l < W; l++) upper[l] = l & half ? W + l - half : l, lower[l] = l & half ? W + l : l + half;
  for (int i = 0; i < W; i++)
    if (!(i & half)) {
      const NAME(vector) a = rows[i], b = rows[i + half];
      rows[i] = __builtin_shuffle(a, b, upper), rows[i + half] = __builtin_shuffle(a, b, lower);
    }
}

/* The transpose of a W x W square: halves change places, then quarters, and so on. */
ALWAYS_INLINE void NAME(turned)(REAL *restrict to, long to_row, const REAL *restrict from, long from_row) {
  NAME(vector) rows[W];
  for (int i = 0; i < W; i++) rows[i] = *(const NAME(unaligned) *)(from + i * from_row);
  if (W > 8) NAME(swap)(rows, 8);
  if (W > 4) NAME(swap)(rows, 4);
  if (W > 2) NAME(swap)(rows, 2);
  NAME(swap)(rows, 1);
  for (int i = 0; i < W; i++) *(NAME(unaligned) *)(to + i * to_row) = rows[i];
}
#endif

/* All rows of one or two vectors of columns. */
ALWAYS_INLINE void NAME(columns)(const int vectors, long rows, long terms, const REAL *a, long a_row, long a_term,
                                 const REAL *b, long b_term, REAL *c, long c_row, int add) {
  long i = 0;
  for (; i + ROWS <= rows; i += ROWS)
    NAME(block)(ROWS, vectors, terms, a + i * a_row, a_row, a_term, b, b_term, c + i * c_row, c_row, add);
  a += i * a_row, c += i * c_row;
#define REST(r) \
  case r: NAME(block)(r, vectors, terms, a, a_row, a_term, b, b_term, c, c_row, add); break;
  switch (rows - i) { REST(1) REST(2) REST(3) REST(4) REST(5) REST(6) REST(7) }
#undef REST
}

/* Some columns of the right factor side by side, zeros behind them. */
static __attribute__((noinline, noclone)) void NAME(copied)(REAL *restrict copy, long full, const REAL *restrict b,
                                                            long b_term, long b_column, long terms, long columns) {
  long k = 0;
#if defined(__GNUC__) && !defined(__clang__)
  if (b_term == 1) /* rows of the copy are columns here: squares of W x W, turned in registers */
    for (; k + W <= terms; k += W)
      for (long l = 0; l + W <= columns; l += W)
        NAME(turned)(copy + k * full + l, full, b + k + l * b_column, b_column);
#endif
  for (long q = 0; q < terms; q++)
    for (long l = q < k ? columns / W * W : 0; l < full; l++)
      copy[q * full + l] = l < columns ? b[q * b_term + l * b_column] : 0;
}

static __attribute__((noinline, noclone)) void NAME(columns_of)(const int vectors, long rows, long terms, const REAL *a,
                                                       long a_row, long a_term, const REAL *b, long b_term, REAL *c,
                                                       long c_row, int add) {
  if (vectors == 2) NAME(columns)(2, rows, terms, a, a_row, a_term, b, b_term, c, c_row, add);
  else NAME(columns)(1, rows, terms, a, a_row, a_term, b, b_term, c, c_row, add);
}

static __attribute__((noinline, noclone)) void NAME(rows_of)(long rows, long columns, long terms, const REAL *restrict a,
                                                             long a_row, long a_term, const REAL *restrict b,
                                                             long b_term, long b_column, REAL *restrict c, long c_row,
                                                             int add) {
  REAL copy[DEPTH * 2 * W] __attribute__((aligned(64)));
  for (long j = 0; j < columns; j += 2 * W) {
    const long wide = columns - j < 2 * W ? columns - j : 2 * W, full = wide > W ? 2 * W : W;
    for (long k = 0; k < terms; k += DEPTH) {
      const long deep = terms - k < DEPTH ? terms - k : DEPTH;
      const REAL *left = a + k * a_term, *right = b + k * b_term + j * b_column;
      const int adds = add || k;
      long right_term = b_term;
      if (b_column != 1 || wide != full) {
        NAME(copied)(copy, full, right, b_term, b_column, deep, wide);
        right = copy, right_term = full;
      }
      if (wide == full)
        NAME(columns_of)(full / W, rows, deep, left, a_row, a_term, right, right_term, c + j, c_row, adds);
      else
        for (long i = 0; i < rows; i += ROWS) { /* vectors that reach beyond the result */
          REAL whole[ROWS * 2 * W];
          const long tall = rows - i < ROWS ? rows - i : ROWS;
          NAME(columns_of)(full / W, tall, deep, left + i * a_row, a_row, a_term, right, full, whole, full, 0);
          for (long r = 0; r < tall; r++)
            for (long l = 0; l < wide; l++) {
              REAL *const place = c + (i + r) * c_row + j + l;
              *place = whole[r * full + l] + (adds ? *place : 0);
            }
        }
    }
    if (!terms && !add)
      for (long i = 0; i < rows; i++)
        for (long l = 0; l < wide; l++) c[i * c_row + j + l] = 0;
  }
}
/* c = a b, or c += a b: (rows, columns) from (rows, terms) and (terms, columns), columns of c side by side. */
static void NAME(product)(long rows, long columns, long terms, const REAL *restrict a, long a_row, long a_term,
                          const REAL *restrict b, long b_term, long b_column, REAL *restrict c, long c_row, int add) {
  if (a_row != 1 || a_term * sizeof(REAL) < FAR || columns <= W || terms <= W) {
    NAME(rows_of)(rows, columns, terms, a, a_row, a_term, b, b_term, b_column, c, c_row, add);
    return;
  }
  /* Few rows of a transposed factor at a time, close together: far apart they would push each other out. */
  REAL copy[DEPTH * TALL] __attribute__((aligned(64)));
  for (long k = 0; k < terms; k += DEPTH)
    for (long i = 0; i < rows; i += TALL) {
      const long deep = terms - k < DEPTH ? terms - k : DEPTH, tall = rows - i < TALL ? rows - i : TALL;
      for (long q = 0; q < deep; q++) memcpy(copy + q * TALL, a + i + (k + q) * a_term, tall * sizeof(REAL));
      NAME(rows_of)(tall, columns, deep, copy, 1, TALL, b + k * b_term, b_term, b_column, c + i * c_row, c_row, add || k);
    }
}

/* c = a b for a few whole blocks, of numbers that the compiler knows: the calls and the loops around a block would
   take a fifth of the time. */
ALWAYS_INLINE void NAME(small)(const long rows, const long columns, const long terms, const REAL *restrict a,
                               const long a_row, const long a_term, const REAL *restrict b, const long b_term,
                               const long b_column, REAL *restrict c, const long c_row) {
  if (rows % ROWS || columns % W || (b_column != 1 && (b_term != 1 || terms % W))) {
    NAME(product)(rows, columns, terms, a, a_row, a_term, b, b_term, b_column, c, c_row, 0);
    return;
  }
  REAL copy[b_column == 1 ? 1 : terms * columns] __attribute__((aligned(64)));
  if (b_column != 1) {
#if defined(__GNUC__) && !defined(__clang__)
    for (long k = 0; k < terms; k += W)
      for (long l = 0; l < columns; l += W)
        NAME(turned)(copy + k * columns + l, columns, b + k + l * b_column, b_column);
#else
    NAME(copied)(copy, columns, b, b_term, b_column, terms, columns);
#endif
  }
  const REAL *right = b_column == 1 ? b : copy;
  const long step = b_column == 1 ? b_term : columns;
  for (long j = 0; j < columns; j += 2 * W)
    for (long i = 0; i < rows; i += ROWS) {
      const REAL *const left = a + i * a_row;
      REAL *const out = c + i * c_row + j;
      if (columns - j > W) NAME(block)(ROWS, 2, terms, left, a_row, a_term, right + j, step, out, c_row, 0);
      else NAME(block)(ROWS, 1, terms, left, a_row, a_term, right + j, step, out, c_row, 0);
    }
}
#undef W
