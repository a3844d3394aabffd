/* Eigenvalues and eigenvectors of symmetric matrices by Jacobi's method, one matrix in each lane.

   a: (2 n + 1) rows of n; the first n hold the matrix, then its eigenvectors in columns, the next one then the
   eigenvalues, ascending, and the others are needed on the way. A lane that is done is turned by exactly nothing
   while others go on, so that its numbers do not depend on them. Squares of very large or small numbers would
   overflow or vanish: the matrix is first brought to the order of 1 by a power of two, which rounds nothing. What
   holds a number that is not finite has no eigenvalues. I: the integer of the width of T, whose bits from FRACTION
   on are the exponent of a number, MOST of them the exponents of numbers with a reciprocal. */
enum { MOST_SWEEPS = 30 };

#define EIGH(T, M, ALL, EPSILON, I, J, F, FRACTION, MOST)                                         \
  static void T##_eigh(int n, T *restrict a) {                                                    \
    const T zero = {0}, one = zero + 1;                                                           \
    T *w = a + n * n, *v = w + n;                                                                 \
    for (int i = 0; i < n; i++)                                                                   \
      for (int j = 0; j < n; j++) v[i * n + j] = i == j ? one : zero;                             \
    T largest = zero, nothing = zero;                                                             \
    for (int i = 0; i < n * n; i++) {                                                             \
      largest = T##_max(T##_abs(a[i]), largest);                                                  \
      nothing += a[i] - a[i];                                                                     \
    }                                                                                             \
    I exponent = I##_from_##F(largest) >> FRACTION;                                               \
    exponent = I##_max((I){0} + 1, I##_min((I){0} + MOST, exponent));                             \
    const T size = T##_from_##J(exponent << FRACTION);                                            \
    const T scale = T##_from_##J((MOST + 1 - exponent) << FRACTION);                              \
    for (int i = 0; i < n * n; i++) a[i] *= scale;                                                \
    for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {                                           \
      T off = zero, all = zero;                                                                   \
      for (int i = 0; i < n; i++)                                                                 \
        for (int j = 0; j < n; j++) {                                                             \
          T square = a[i * n + j] * a[i * n + j];                                                 \
          all += square;                                                                          \
          off += i == j ? zero : square;                                                          \
        }                                                                                         \
      M done = (M)(off <= all * (EPSILON * EPSILON)) | (M)(nothing != zero);                     \
      if (ALL(done)) break;                                                                       \
      for (int p = 0; p < n - 1; p++)                                                             \
        for (int q = p + 1; q < n; q++) {                                                         \
          T apq = a[p * n + q], d = a[q * n + q] - a[p * n + p];                                  \
          M still = done | (M)(apq == zero);                                                      \
          T theta = d / (2 * T##_choose(still, one, apq));                                        \
          T t = 1 / (T##_abs(theta) + T##_sqrt(theta * theta + 1));                               \
          t = T##_choose((M)(theta < zero), -t, t);                                               \
          t = T##_choose(still, zero, t);                                                         \
          T c = 1 / T##_sqrt(t * t + 1), s = t * c;                                               \
          a[p * n + p] -= t * apq, a[q * n + q] += t * apq;                                       \
          a[p * n + q] = a[q * n + p] = T##_choose(done, apq, zero);                              \
          for (int k = 0; k < n; k++) {                                                           \
            if (k != p && k != q) {                                                               \
              T x = a[k * n + p], y = a[k * n + q];                                               \
              a[k * n + p] = a[p * n + k] = c * x - s * y;                                        \
              a[k * n + q] = a[q * n + k] = s * x + c * y;                                        \
            }                                                                                     \
            T x = v[k * n + p], y = v[k * n + q];                                                 \
            v[k * n + p] = c * x - s * y, v[k * n + q] = s * x + c * y;                           \
          }                                                                                       \
        }                                                                                         \
    }                                                                                             \
    for (int i = 0; i < n; i++) w[i] = a[i * n + i] * size + nothing;                             \
    for (int turn = 0; turn < n; turn++)                                                          \
      for (int i = turn % 2; i + 1 < n; i += 2) {                                                 \
        M swap = (M)(w[i] > w[i + 1]);                                                            \
        T x = w[i], y = w[i + 1];                                                                 \
        w[i] = T##_choose(swap, y, x), w[i + 1] = T##_choose(swap, x, y);                         \
        for (int k = 0; k < n; k++) {                                                             \
          T left = v[k * n + i], right = v[k * n + i + 1];                                        \
          v[k * n + i] = T##_choose(swap, right, left);                                           \
          v[k * n + i + 1] = T##_choose(swap, left, right);                                       \
        }                                                                                         \
      }                                                                                           \
    for (int i = 0; i < n * n; i++) a[i] = v[i] + nothing;                                                  \
  }
#define TRUE(x) (x)
#define ALL_WIDE(x) all_lanes(CONVERT(int32_v, x))
EIGH(float_s, int32_t, TRUE, 6e-8f, int32_s, int32, float, 23, 253)
EIGH(float_v, int32_v, all_lanes, 6e-8f, int32_v, int32, float, 23, 253)
EIGH(double_s, int32_t, TRUE, 1e-16, int64_s, int64, double, 52, 2045)
EIGH(double_v, int64_v, ALL_WIDE, 1e-16, int64_v, int64, double, 52, 2045)
