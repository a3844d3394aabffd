/* Eigenvalues and eigenvectors of symmetric matrices, one matrix in each lane: Householder's reflections to a
   tridiagonal matrix, then implicit QL steps (Golub and Van Loan, Matrix Computations, 8.3).

   Lanes go through the same loops. Each has its own window of rows in which a step works; outside of it, and where
   a lane is done, everything is turned by exactly nothing, so that the numbers of a lane do not depend on the
   others. Squares of very large or small numbers would overflow or vanish: matrices and the rows that are
   reflected are first brought to the order of 1 by a power of two, which rounds nothing. What holds a number that
   is not finite has no eigenvalues, and neither has what needs more than MOST_STEPS steps a level.

   In EIGH, M is the integer of the width of T in which truth is kept, J and F the names of such an integer and of
   T's number, whose bits from FRACTION on are its exponent, MOST of them those of numbers with a reciprocal. */
enum { MOST_STEPS = 30 };

#define EIGH(T, M, ALL, EPSILON, NOTHING, J, F, FRACTION, MOST)                                   \
  /* The power of two with the exponent of a number above zero, and its reciprocal. */            \
  static inline T T##_order(T x, T *inverse) {                                                    \
    M exponent = M##_from_##F(x) >> FRACTION;                                                     \
    exponent = M##_max((M){0} + 1, M##_min((M){0} + MOST, exponent));                             \
    *inverse = T##_from_##J((MOST + 1 - exponent) << FRACTION);                                   \
    return T##_from_##J(exponent << FRACTION);                                                    \
  }                                                                                               \
                                                                                                  \
  /* The lower triangle of a becomes d, its diagonal, and e, beside it. Row i of a keeps the vector u of          \
     the reflection 1 - a[i][i] u u^T of the rows before it. */                                   \
  static void T##_tridiagonal(int n, T *restrict a, T *restrict d, T *restrict e) {               \
    const T zero = {0}, one = zero + 1;                                                           \
    for (int i = n - 1; i > 0; i--) {                                                             \
      T *x = a + i * n, largest = zero, rest = zero, inverse, size;                               \
      for (int k = 0; k < i; k++) largest = T##_max(T##_abs(x[k]), largest);                      \
      size = T##_order(largest, &inverse);                                                        \
      for (int k = 0; k < i - 1; k++) x[k] *= inverse, rest += x[k] * x[k];                       \
      const M none = (M)(rest == zero);                                                           \
      const T f = x[i - 1] * inverse, square = f * f + rest, root = T##_sqrt(square);             \
      const T g = T##_choose((M)(f > zero), -root, root);                                         \
      const T h = 1 / T##_choose(none, one, square - f * g), over = T##_choose(none, zero, h);    \
      x[i - 1] = f - T##_choose(none, f, g);                                                      \
      e[i - 1] = T##_choose(none, f, g) * size;                                                   \
      d[i] = x[i], x[i] = over;                                                                   \
      T along = zero;                                                                             \
      for (int j = 0; j < i; j++) {                                                               \
        T sum = zero;                                                                             \
        for (int k = 0; k <= j; k++) sum += a[j * n + k] * x[k];                                  \
        for (int k = j + 1; k < i; k++) sum += a[k * n + j] * x[k];                               \
        d[j] = sum * over, along += d[j] * x[j];                                                  \
      }                                                                                           \
      along *= over / 2;                                                                          \
      for (int j = 0; j < i; j++) {                                                               \
        const T p = d[j] -= along * x[j], u = x[j];                                               \
        for (int k = 0; k <= j; k++) a[j * n + k] -= p * x[k] + u * d[k];                         \
      }                                                                                           \
    }                                                                                             \
    d[0] = a[0];                                                                                  \
  }                                                                                               \
                                                                                                  \
  /* The product of the reflections, transposed. */                                               \
  static void T##_reflected(int n, const T *restrict a, T *restrict v) {                          \
    const T zero = {0};                                                                           \
    for (int i = 0; i < n; i++) {                                                                 \
      const T *u = a + i * n, over = u[i];                                                        \
      for (int k = 0; k <= i; k++) v[i * n + k] = v[k * n + i] = k == i ? zero + 1 : zero;        \
      for (int j = 0; j < i; j++) {                                                               \
        T sum = zero;                                                                             \
        for (int k = 0; k < i; k++) sum += v[j * n + k] * u[k];                                   \
        sum *= over;                                                                              \
        for (int k = 0; k < i; k++) v[j * n + k] -= sum * u[k];                                   \
      }                                                                                           \
    }                                                                                             \
  }                                                                                               \
                                                                                                  \
  static inline void T##_turn(int n, T *restrict x, T sin, T cos) {                               \
    for (int k = 0; k < n; k++) {                                                                 \
      const T left = x[k], right = x[n + k];                                                      \
      x[k] = cos * left - sin * right, x[n + k] = sin * left + cos * right;                       \
    }                                                                                             \
  }                                                                                               \
                                                                                                  \
  /* QL steps until nothing stands beside the diagonal d; the rows of v, if there are any, turn along.            \
     Returns what is to be added to all levels: 0, or NaN where they were not found. */           \
  static inline T T##_ql(int n, T *restrict d, T *restrict e, T *restrict v) {                    \
    const T zero = {0}, one = zero + 1;                                                           \
    int low = 0, high = n - 1;                                                                    \
    for (int step = 0; step < MOST_STEPS * n; step++) {                                           \
      /* The first block of each lane, rows `first` to `last`. */                                 \
      M first = (M){0} + n, last = first, end = (M){0} + high;                                    \
      T corner = d[high], top = zero, next = one, beside = one, bottom = zero;                    \
      for (int i = high - 1; i >= low; i--) {                                                     \
        const T size = T##_abs(e[i]);                                                             \
        const M none = (M)(size <= (T##_abs(d[i]) + T##_abs(d[i + 1])) * EPSILON) | (M)(size < zero + NOTHING);   \
        e[i] = T##_choose(none, zero, e[i]);                                                      \
        end = M##_choose(none, (M){0} + i, end), corner = T##_choose(none, d[i], corner);         \
        first = M##_choose(none, first, (M){0} + i), last = M##_choose(none, last, end);          \
        top = T##_choose(none, top, d[i]), next = T##_choose(none, next, d[i + 1]);               \
        beside = T##_choose(none, beside, e[i]), bottom = T##_choose(none, bottom, corner);       \
      }                                                                                           \
      if (ALL((M)(first == n))) return zero;                                                      \
      while (low < n && ALL((M)(first > low))) low++;                                             \
      while (high > low + 1 && ALL((M)(e[high - 1] == zero))) high--;                             \
      /* Wilkinson's shift. */                                                                    \
      T g = (next - top) / (2 * beside), r = T##_sqrt(g * g + 1);                                 \
      g = bottom - top + beside / (g + T##_choose((M)(g < zero), -r, r));                         \
      T s = one, c = one, p = zero, sin[n], cos[n];                                               \
      for (int i = high - 1; i >= low; i--) {                                                     \
        const M inside = (M)(first <= i) & (M)(last > i);                                         \
        const T f = s * e[i], b = c * e[i], square = f * f + g * g;                               \
        const M small = (M)(square < zero + NOTHING * NOTHING);                                   \
        const T over = 1 / T##_sqrt(T##_choose(small, one, square));                              \
        const T sine = T##_choose(small, zero, f * over), cosine = T##_choose(small, one, g * over);              \
        e[i + 1] = T##_choose(inside & (M)(last > i + 1), T##_choose(small, g, square * over), e[i + 1]);         \
        const T down = d[i + 1] - p, turn = (d[i] - down) * sine + 2 * cosine * b;                \
        const T q = sine * turn;                                                                  \
        d[i + 1] = T##_choose(inside, down + q, d[i + 1]);                                        \
        g = T##_choose(inside, cosine * turn - b, g), p = T##_choose(inside, q, p);               \
        s = T##_choose(inside, sine, s), c = T##_choose(inside, cosine, c);                       \
        const M begins = (M)(first == i);                                                         \
        d[i] = T##_choose(begins, d[i] - p, d[i]), e[i] = T##_choose(begins, g, e[i]);            \
        sin[i] = T##_choose(inside, sine, zero), cos[i] = T##_choose(inside, cosine, one);        \
        if (v && i < high - 1) T##_turn(n, v + (i + 1) * n, sin[i + 1], cos[i + 1]);              \
      }                                                                                           \
      if (v) T##_turn(n, v + low * n, sin[low], cos[low]);                                        \
    }                                                                                             \
    T found = zero;                                                                               \
    for (int i = 0; i < n - 1; i++) found = T##_choose((M)(e[i] == zero), found, zero + (F##_s)NAN);              \
    return found;                                                                                 \
  }                                                                                               \
                                                                                                  \
  static inline void T##_ascending(int n, T *restrict d, T *restrict v) {                         \
    for (int turn = 0, still = 0; still < 2; turn++) {                                            \
      still++;                                                                                    \
      for (int i = turn % 2; i + 1 < n; i += 2) {                                                 \
        const M swap = (M)(d[i] > d[i + 1]);                                                      \
        if (ALL((M)(swap == 0))) continue;                                                        \
        still = 0;                                                                                \
        const T x = d[i], y = d[i + 1];                                                           \
        d[i] = T##_choose(swap, y, x), d[i + 1] = T##_choose(swap, x, y);                         \
        for (int k = 0; v && k < n; k++) {                                                        \
          const T x = v[i * n + k], y = v[(i + 1) * n + k];                                       \
          v[i * n + k] = T##_choose(swap, y, x), v[(i + 1) * n + k] = T##_choose(swap, x, y);     \
        }                                                                                         \
      }                                                                                           \
    }                                                                                             \
  }                                                                                               \
                                                                                                  \
  /* a: 2 n + 2 rows of n; the first n hold the matrix, of which the lower triangle is looked at, then its        \
     eigenvectors in columns, the next one then the eigenvalues, ascending; the others are needed on the way. */  \
  static void T##_eigh(int n, T *restrict a) {                                                    \
    const T zero = {0};                                                                           \
    T *w = a + n * n, *e = w + n, *v = e + n, largest = zero, nothing = zero, inverse;            \
    for (int i = 0; i < n * n; i++) {                                                             \
      largest = T##_max(T##_abs(a[i]), largest);                                                  \
      nothing += a[i] - a[i];                                                                     \
    }                                                                                             \
    const T size = T##_order(largest, &inverse);                                                  \
    for (int i = 0; i < n * n; i++) a[i] = T##_choose((M)(nothing == zero), a[i] * inverse, zero);                \
    T##_tridiagonal(n, a, w, e);                                                                  \
    T##_reflected(n, a, v);                                                                       \
    nothing += T##_ql(n, w, e, v);                                                                \
    T##_ascending(n, w, v);                                                                       \
    for (int i = 0; i < n; i++) {                                                                 \
      w[i] = w[i] * size + nothing;                                                               \
      for (int k = 0; k < n; k++) a[k * n + i] = v[i * n + k] + nothing;                          \
    }                                                                                             \
  }
#define TRUE(x) (x)
#define ALL_WIDE(x) all_lanes(CONVERT(int32_v, x))
EIGH(float_s, int32_s, TRUE, 6e-8f, 1e-18f, int32, float, 23, 253)
EIGH(float_v, int32_v, all_lanes, 6e-8f, 1e-18f, int32, float, 23, 253)
EIGH(double_s, int64_s, TRUE, 1.1e-16, 1e-150, int64, double, 52, 2045)
/* GCC takes vectors of sixteen doubles apart, number by number. */
enum { HALF = 8 };
typedef double double_h __attribute__((vector_size(HALF * sizeof(double))));
typedef int64_t int64_h __attribute__((vector_size(HALF * sizeof(int64_t))));
static inline double_h double_h_choose(int64_h where, double_h yes, double_h no) {
  return (double_h)(((int64_h)yes & where) | ((int64_h)no & ~where));
}
static inline int64_h int64_h_choose(int64_h where, int64_h yes, int64_h no) { return (yes & where) | (no & ~where); }
static inline double_h double_h_max(double_h a, double_h b) { return double_h_choose((a > b) | (a != a), a, b); }
static inline int64_h int64_h_max(int64_h a, int64_h b) { return int64_h_choose(a > b, a, b); }
static inline int64_h int64_h_min(int64_h a, int64_h b) { return int64_h_choose(a < b, a, b); }
static inline double_h double_h_abs(double_h x) { return (double_h)((int64_h)x & INT64_MAX); }
static inline double_h double_h_sqrt(double_h x) {
  for (int l = 0; l < HALF; l++) x[l] = sqrt(x[l]);
  return x;
}
static inline double_h double_h_from_int64(int64_h x) { return (double_h)x; }
static inline int64_h int64_h_from_double(double_h x) { return (int64_h)x; }
static inline int ALL_H(int64_h x) {
  int64_t all = -1;
  for (int l = 0; l < HALF; l++) all &= x[l];
  return all == -1;
}
EIGH(double_h, int64_h, ALL_H, 1.1e-16, 1e-150, int64, double, 52, 2045)
EIGH(double_v, int64_v, ALL_WIDE, 1.1e-16, 1e-150, int64, double, 52, 2045)
