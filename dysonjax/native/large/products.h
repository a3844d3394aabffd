/* Matrix products whose factors stay in the cache. Included once for each type of number, with REAL the type and
   NAME(x) its names.

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
enum { DEPTH = 128 };
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#endif

#define W ((int)(VECTOR_BYTES / sizeof(REAL)))
typedef REAL NAME(vector) __attribute__((vector_size(VECTOR_BYTES)));
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

static __attribute__((noinline, noclone)) void NAME(columns_of)(const int vectors, long rows, long terms, const REAL *a,
                                                       long a_row, long a_term, const REAL *b, long b_term, REAL *c,
                                                       long c_row, int add) {
  if (vectors == 2) NAME(columns)(2, rows, terms, a, a_row, a_term, b, b_term, c, c_row, add);
  else NAME(columns)(1, rows, terms, a, a_row, a_term, b, b_term, c, c_row, add);
}

/* c = a b, or c += a b: (rows, columns) from (rows, terms) and (terms, columns), columns of c side by side. */
static __attribute__((noinline, noclone)) void NAME(product)(long rows, long columns, long terms, const REAL *restrict a,
                                                    long a_row, long a_term, const REAL *restrict b, long b_term,
                                                    long b_column, REAL *restrict c, long c_row, int add) {
  REAL copy[DEPTH * 2 * W] __attribute__((aligned(64)));
  for (long j = 0; j < columns; j += 2 * W) {
    const long wide = columns - j < 2 * W ? columns - j : 2 * W, full = wide > W ? 2 * W : W;
    for (long k = 0; k < terms; k += DEPTH) {
      const long deep = terms - k < DEPTH ? terms - k : DEPTH;
      const REAL *left = a + k * a_term, *right = b + k * b_term + j * b_column;
      const int adds = add || k;
      long right_term = b_term;
      if (b_column != 1 || wide != full) {
        for (long l = 0; l < full; l++)
          for (long q = 0; q < deep; q++)
            copy[q * full + l] = l < wide ? right[q * b_term + l * b_column] : 0;
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
#undef W
