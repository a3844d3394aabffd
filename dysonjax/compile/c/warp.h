/* The functions of lanes.h for a thread of a warp in CUDA, and what a kernel of threads.h consists of. Included by
   threads.h alone. */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define SAME_IN_LANES(T, name) typedef T name##_s; typedef T name##_v;
SAME_IN_LANES(float, float) SAME_IN_LANES(double, double) SAME_IN_LANES(int8_t, int8)
SAME_IN_LANES(uint8_t, uint8) SAME_IN_LANES(int32_t, int32) SAME_IN_LANES(uint32_t, uint32)
SAME_IN_LANES(int64_t, int64) SAME_IN_LANES(uint64_t, uint64)
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#define INT32_MIN (-2147483647 - 1)
#define INT32_MAX 2147483647
#define UINT32_MAX 0xffffffffu
#define INT64_MIN (-9223372036854775807ll - 1)
#define INT64_MAX 9223372036854775807ll
#define UINT64_MAX 0xffffffffffffffffull
#define LANES 32
#define EVERYONE 0xffffffffu
#define IN_REGISTER(x)
#define RESTRICT __restrict__
#define TO_LANES(type, x) ((type##_v)(x))
#define ZERO(T) ((T)0)
#define CONVERT(T, x) ((T)(x))
#define EACH_LANE(l)
#define AT(x, l) x
#define TRUTH(comparison) (-(int32_t)(comparison))
#define UNROLL _Pragma("unroll")
#define ONE_BY_ONE _Pragma("unroll 1")
#define CONSTANT static __device__ const
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define F static __device__ __forceinline__

#define KERNEL(name)                                                                                \
  extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS) name(const Arguments given)
#define PROLOGUE                                                                                    \
  extern __shared__ __align__(16) char shared[];                                                    \
  const int lane = threadIdx.x % 32;                                                                \
  const int32_t thread[1] = {lane % THREADS};                                                       \
  const int64_t warp = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, world = blockIdx.x / (given.warps_of_world / WARPS)
#define EPILOGUE
#define TOGETHER(e, n) for (int e = threadIdx.x; e < (n); e += 32 * WARPS)
#if WARPS > 1
#define BARRIER __syncthreads()
#else
#define BARRIER __syncwarp()
#endif
/* To shared memory, of 4, 8 or 16 bytes at addresses that are multiples of it; the thread goes on. */
#define COPY(to, from, size)                                                                        \
  asm volatile("cp.async." CACHED_##size " [%0], [%1], " #size ";" ::"r"(                           \
      (unsigned)__cvta_generic_to_shared(to)), "l"(from) : "memory")
#define CACHED_4 "ca.shared.global"
#define CACHED_8 "ca.shared.global"
#define CACHED_16 "cg.shared.global"
#define COPIES_UNDER_WAY asm volatile("cp.async.commit_group;" ::: "memory")
#define WAIT_FOR_COPIES asm volatile("cp.async.wait_all;" ::: "memory")
#define LOAD(to, from, n) UNROLL for (int i = 0; i < (n); i++) to[i] = from[(warp * (n) + i) * 32 + lane]
#define STORE(to, from, n) UNROLL for (int i = 0; i < (n); i++) to[(warp * (n) + i) * 32 + lane] = from[i]
#if defined(ALL_ALIVE) /* to count the instructions of a step of networks that are alive; never to be run */
#define all_lanes(mask) 1
#define all_stopped(mask) 0
#define STEP asm volatile("pmevent 1;" ::: "memory") /* an instruction by which the loop is found */
#else
#define STEP
#define all_lanes(mask) __all_sync(EVERYONE, mask)
#define all_stopped(mask) __all_sync(EVERYONE, mask)
#endif

#define OVER_THREADS(T, name, combined)                                                             \
  F T T##_##name##_over_threads(T x) {                                                                         \
    UNROLL for (int m = 1; m < THREADS; m *= 2) {                                                   \
      T y = (T)__shfl_xor_sync(EVERYONE, (WIDE_##T)x, m);                                \
      x = combined;                                                                                 \
    }                                                                                               \
    return x;                                                                                       \
  }
#define FROM_THREAD(T)                                                                              \
  F T T##_from_thread(T x, int thread) { return (T)__shfl_sync(EVERYONE, (WIDE_##T)x, thread, THREADS); } \
  F T T##_from_other(T x, int distance) { return (T)__shfl_xor_sync(EVERYONE, (WIDE_##T)x, distance); }
#define WIDE_float_v float
#define WIDE_double_v double
#define WIDE_uint8_v unsigned /* shuffles move 32 or 64 bits */
#define WIDE_int32_v int
#define WIDE_uint32_v unsigned
#define WIDE_int64_v long long
#define WIDE_uint64_v unsigned long long

/* choose(where, yes, no). max and min keep a NaN and take the second of two equal numbers. K: a type, with the
   ending of one number or of lanes, which are the same here. */
#define CHOOSE(K)                                                                                   \
  F K K##_choose(int where, K yes, K no) { return where ? yes : no; }                               \
  F K K##_max(K a, K b) { return (a > b) | (a != a) ? a : b; }                                      \
  F K K##_min(K a, K b) { return (a < b) | (a != a) ? a : b; }
#define BOTH(X, T) X(T##_s) X(T##_v)
BOTH(CHOOSE, float) BOTH(CHOOSE, double) BOTH(CHOOSE, uint8) BOTH(CHOOSE, int32) BOTH(CHOOSE, uint32)
BOTH(CHOOSE, int64) BOTH(CHOOSE, uint64)

/* The bits of a number as another type of the same width. */
#define CAST(to, from, function)                                                                    \
  F to##_s to##_s_from_##from(from##_s x) { return function(x); }                                   \
  F to##_v to##_v_from_##from(from##_v x) { return function(x); }
CAST(float, uint32, __uint_as_float) CAST(uint32, float, __float_as_uint)
CAST(float, int32, __int_as_float) CAST(int32, float, __float_as_int)
CAST(uint32, int32, (uint32_t)) CAST(int32, uint32, (int32_t))
CAST(double, uint64, (double)__longlong_as_double) CAST(uint64, double, (uint64_t)__double_as_longlong)
CAST(double, int64, __longlong_as_double) CAST(int64, double, __double_as_longlong)
CAST(uint64, int64, (uint64_t)) CAST(int64, uint64, (int64_t))

/* 0 is above -0. */
#define EXTREMES(K, I, bits, number)                                                                \
  F K K##_maximum(K a, K b) { return a == b ? number(bits(a) & bits(b)) : K##_max(a, b); }          \
  F K K##_minimum(K a, K b) { return a == b ? number(bits(a) | bits(b)) : K##_min(a, b); }
EXTREMES(float_s, int32_t, __float_as_int, __int_as_float)
EXTREMES(float_v, int32_t, __float_as_int, __int_as_float)
EXTREMES(double_s, int64_t, __double_as_longlong, __longlong_as_double)
EXTREMES(double_v, int64_t, __double_as_longlong, __longlong_as_double)

/* Integers as XLA has them, see lanes.h. U, S: the unsigned and the signed type of the same width. */
#define INTEGER(K, U, S)                                                                            \
  F K K##_div(K a, K b) {                                                                           \
    const int turned = (K)-1 < (K)1 && b == (K)-1;                                                  \
    const K found = a / ((b == 0) | turned ? (K)1 : b);                                             \
    return b == 0 ? (K)-1 : turned ? (K)(0 - (U)a) : found;                                         \
  }                                                                                                 \
  F K K##_rem(K a, K b) {                                                                           \
    const int turned = (K)-1 < (K)1 && b == (K)-1;                                                  \
    const K found = a % ((b == 0) | turned ? (K)1 : b);                                             \
    return b == 0 ? a : found;                                                                      \
  }                                                                                                 \
  F K K##_shift_left(K a, K b) { return (U)b >= 8 * sizeof(K) ? 0 : (K)((U)a << (U)b); }            \
  F K K##_shift_right_logical(K a, K b) { return (U)b >= 8 * sizeof(K) ? 0 : (K)((U)a >> (U)b); }   \
  F K K##_shift_right_arithmetic(K a, K b) {                                                        \
    return (K)((S)a >> ((U)b >= 8 * sizeof(K) ? 8 * sizeof(K) - 1 : (U)b));                         \
  }                                                                                                 \
  F K K##_abs(K x) { return (K)((S)x < 0 ? 0 - (U)x : (U)x); }
#define INTEGERS(T, U, S) INTEGER(T##_s, U, S) INTEGER(T##_v, U, S)
INTEGERS(uint8, uint8_t, int8_t) INTEGERS(int32, uint32_t, int32_t) INTEGERS(uint32, uint32_t, int32_t)
INTEGERS(int64, uint64_t, int64_t) INTEGERS(uint64, uint64_t, int64_t)

/* Numbers N as integers: what lies beyond them becomes the nearest, a NaN 0. */
#define TO_INTEGER(K, N, name, least, most, low, high)                                              \
  F K K##_of_##name(N x) { return x >= high ? most : x < low ? least : (K)(x == x ? x : 0); }
#define TO_INTEGERS(S, N, name, f)                                                                  \
  TO_INTEGER(uint8_##S, N, name, (uint8_t)0, (uint8_t)255, 0x0p0##f, 0x1p8##f)                      \
  TO_INTEGER(int32_##S, N, name, INT32_MIN, INT32_MAX, -0x1p31##f, 0x1p31##f)                       \
  TO_INTEGER(uint32_##S, N, name, 0u, UINT32_MAX, 0x0p0##f, 0x1p32##f)                              \
  TO_INTEGER(int64_##S, N, name, INT64_MIN, INT64_MAX, -0x1p63##f, 0x1p63##f)                       \
  TO_INTEGER(uint64_##S, N, name, 0ull, UINT64_MAX, 0x0p0##f, 0x1p64##f)
TO_INTEGERS(s, float, float, f) TO_INTEGERS(v, float, float, f)
TO_INTEGERS(s, double, double, ) TO_INTEGERS(v, double, double, )

/* Whole powers by squaring, in the order of JAX. */
#define POWER(K)                                                                                    \
  F K K##_power(K x, unsigned exponent) {                                                           \
    K all = (K)1;                                                                                   \
    for (; exponent; exponent >>= 1, x = x * x)                                                     \
      if (exponent & 1) all = all * x;                                                              \
    return all;                                                                                     \
  }
BOTH(POWER, float) BOTH(POWER, double) BOTH(POWER, uint8) BOTH(POWER, uint32) BOTH(POWER, uint64)

#define FUNCTION(name, f, d)                                                                        \
  F float float_s_##name(float x) { return f(x); }                                                  \
  F float float_v_##name(float x) { return f(x); }                                                  \
  F double double_s_##name(double x) { return d(x); }                                               \
  F double double_v_##name(double x) { return d(x); }
#define FUNCTION_2(name, f, d)                                                                      \
  F float float_s_##name(float x, float y) { return f(x, y); }                                      \
  F float float_v_##name(float x, float y) { return f(x, y); }                                      \
  F double double_s_##name(double x, double y) { return d(x, y); }                                  \
  F double double_v_##name(double x, double y) { return d(x, y); }
FUNCTION(sqrt, sqrtf, sqrt) FUNCTION(floor, floorf, floor) FUNCTION(ceil, ceilf, ceil)
FUNCTION(round_even, rintf, rint) FUNCTION(round_away, roundf, round) FUNCTION(abs, fabsf, fabs)
FUNCTION(sin, sinf, sin) FUNCTION(cos, cosf, cos) FUNCTION(tanh, tanhf, tanh) FUNCTION(exp, expf, exp)
FUNCTION(log, logf, log) FUNCTION(log1p, log1pf, log1p) FUNCTION(expm1, expm1f, expm1)
FUNCTION(erf, erff, erf) FUNCTION(erf_inv, erfinvf, erfinv)
FUNCTION_2(pow, powf, pow) FUNCTION_2(rem, fmodf, fmod)
