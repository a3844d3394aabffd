/* Squared singular values of many matrices at once, in double precision, a matrix in each lane. */
#include "lanes.h"
#include "eigh.h"

enum { AT_ONCE = 2 }; /* vectors: one does not wait for what the other computes */
#define EACH_VECTOR(h) for (int h = 0; h < AT_ONCE; h++)
typedef double_h Vectors[AT_ONCE];

/* Levels of tridiagonal matrices by QL steps without square roots (Pal, Walker and Kahan, as in LAPACK's dsterf),
   which know the squares of what stands beside the diagonal d. A level is split off at a time, from above; a lane that
   has this one waits for the others and keeps what it has. Where a 0 stands beside the diagonal a step begins anew by
   itself. found: what is to be added to all levels, NaN where they were not found. */
static void ql_of_squares(int n, Vectors *restrict d, Vectors *restrict squares, Vectors found) {
  const double_h zero = {0}, one = zero + 1, tiny = zero + 1e-290;
  for (int low = 0; low < n - 1; low++)
    for (int step = 0;; step++) {
      double_h shift[AT_ONCE], gamma[AT_ONCE], p[AT_ONCE], c[AT_ONCE], s[AT_ONCE];
      int64_h going[AT_ONCE], some = {0};
      EACH_VECTOR(h) {
        const double_h square = squares[low][h], size = double_h_abs(d[low][h]) + double_h_abs(d[low + 1][h]);
        going[h] = (square > size * size * (1.1e-16 * 1.1e-16)) & (square > tiny);
        some |= going[h];
      }
      if (ALL_H(some == 0)) break;
      if (step == MOST_STEPS) {
        EACH_VECTOR(h) found[h] = double_h_choose(going[h], zero + NAN, found[h]);
        break;
      }
      EACH_VECTOR(h) { /* Wilkinson's shift */
        const double_h root = double_h_sqrt(double_h_choose(going[h], squares[low][h], one));
        const double_h half = (d[low + 1][h] - d[low][h]) / (2 * root), far = double_h_sqrt(half * half + 1);
        shift[h] = d[low][h] - root / (half + double_h_choose(half < zero, -far, far));
        gamma[h] = d[n - 1][h] - shift[h], p[h] = gamma[h] * gamma[h], c[h] = one, s[h] = zero;
      }
      for (int i = n - 2; i >= low; i--)
        EACH_VECTOR(h) {
          const double_h square = squares[i][h], q = double_h_max(p[h], tiny), r = q + square, over = 1 / r;
          const double_h before = c[h];
          if (i < n - 2) squares[i + 1][h] = double_h_choose(going[h], s[h] * r, squares[i + 1][h]);
          c[h] = q * over, s[h] = square * over;
          const double_h turned = c[h] * (d[i][h] - shift[h]) - s[h] * gamma[h];
          d[i + 1][h] = double_h_choose(going[h], gamma[h] + (d[i][h] - turned), d[i + 1][h]);
          /* turned^2 / c, by a division that need not wait for `turned`; or its limit */
          p[h] = double_h_choose((p[h] < tiny) & (square > tiny), before * square, turned * turned * (r * (1 / q)));
          gamma[h] = turned;
        }
      EACH_VECTOR(h) {
        squares[low][h] = double_h_choose(going[h], s[h] * p[h], squares[low][h]);
        d[low][h] = double_h_choose(going[h], shift[h] + gamma[h], d[low][h]);
      }
    }
}

/* of: up to 8 matrices with `terms` x `modes` numbers, terms >= modes; apart: how far a matrix is from the next one,
   a term from the next, a mode from the next. d, squares: their tridiagonal Gram matrices, of matrices that are divided
   by the power of two that is returned. space: modes (terms + modes + 2) vectors. nothing: NaN where a number is not
   finite. */
#define LEVELS(T)                                                                                                \
  static double_h T##_tridiagonal_gram(const T##_s *of, long terms, long modes, const long *apart, int lanes, int h, \
                                       Vectors *d, Vectors *squares, double_h *nothing, double_h *restrict space) { \
    const double_h zero = {0};                                                                                   \
    double_h *restrict w = space, *restrict gram = w + terms * modes, *at = gram + modes * modes;                \
    double_h largest = zero, inverse;                                                                            \
    *nothing = zero;                                                                                             \
    for (long t = 0; t < terms; t++)                                                                             \
      for (long k = 0; k < modes; k++) {                                                                         \
        const T##_s *first = of + t * apart[1] + k * apart[2];                                                   \
        double_h x = zero;                                                                                       \
        if (apart[0] == 1 && lanes == HALF)                                                                      \
          for (int l = 0; l < HALF; l++) x[l] = first[l];                                                        \
        else                                                                                                     \
          for (int l = 0; l < lanes; l++) x[l] = first[l * apart[0]];                                            \
        largest = double_h_max(double_h_abs(x), largest), *nothing += x - x;                                     \
        w[t * modes + k] = x;                                                                                    \
      }                                                                                                          \
    const double_h size = double_h_order(largest, &inverse);                                                     \
    const int64_h whole = *nothing == zero;                                                                      \
    for (long i = 0; i < terms * modes; i++) w[i] = double_h_choose(whole, w[i] * inverse, zero);                \
    /* Four columns with each other or with four before them: sixteen sums in registers. */                      \
    for (long i = 0; i < modes; i += 4)                                                                          \
      for (long j = 0; j <= i; j += 4) {                                                                         \
        double_h sum[4][4] = {{{0}}};                                                                            \
        if (i + 4 <= modes)                                                                                      \
          for (const double_h *row = w; row < gram; row += modes)                                                \
            for (int a = 0; a < 4; a++)                                                                          \
              for (int b = 0; b < 4; b++) sum[a][b] += row[i + a] * row[j + b];                                  \
        else                                                                                                     \
          for (const double_h *row = w; row < gram; row += modes)                                                \
            for (int a = 0; a < modes - i; a++)                                                                  \
              for (int b = 0; b < 4 && j + b <= i + a; b++) sum[a][b] += row[i + a] * row[j + b];                \
        for (int a = 0; a < 4 && i + a < modes; a++)                                                             \
          for (int b = 0; b < 4 && j + b <= i + a; b++) gram[(i + a) * modes + j + b] = sum[a][b];               \
      }                                                                                                          \
    double_h_tridiagonal(modes, gram, at, at + modes);                                                           \
    for (long k = 0; k < modes; k++) d[k][h] = at[k], squares[k][h] = at[modes + k] * at[modes + k];             \
    return size;                                                                                          \
  }
LEVELS(float)
LEVELS(double)

/* blocks: of `count` matrices, `block` numbers apart. single: whether they are in single precision. found: the levels
   of a matrix side by side, ascending, NaN where it holds a number that is not finite, or where they were not found.
   space: modes (terms + modes + 6) vectors. */
void levels(const void *of, int single, long blocks, long block, long count, long terms, long modes, const long *apart,
            double *found, double_h *space) {
  Vectors *d = (Vectors *)(space + modes * (terms + modes + 2)), *squares = d + modes;
  for (long begin = 0; begin < blocks * block; begin += block)
    for (long first = 0; first < count; first += AT_ONCE * HALF) {
      double_h size[AT_ONCE];
      Vectors nothing;
      EACH_VECTOR(h) {
        const long left = count - first - h * HALF, at = begin + (first + h * HALF) * apart[0];
        const int lanes = left < 0 ? 0 : left < HALF ? left : HALF;
        size[h] = single ? float_tridiagonal_gram((const float *)of + at, terms, modes, apart, lanes, h, d, squares,
                                                  &nothing[h], space)
                         : double_tridiagonal_gram((const double *)of + at, terms, modes, apart, lanes, h, d, squares,
                                                   &nothing[h], space);
      }
      ql_of_squares(modes, d, squares, nothing);
      EACH_VECTOR(h) {
        double_h level[modes];
        for (long k = 0; k < modes; k++) level[k] = d[k][h];
        double_h_ascending(modes, level, 0);
        for (long k = 0; k < modes; k++)
          level[k] = double_h_max(level[k], (double_h){0}) * size[h] * size[h] + nothing[h];
        for (int l = 0; l < HALF && first + h * HALF + l < count; l++, found += modes)
          for (long k = 0; k < modes; k++) found[k] = level[k][l];
      }
    }
}
