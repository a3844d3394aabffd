/* One text for two machines: a network is THREADS threads of a warp.

   CUDA: what differs between threads (float_v) is a number, and the lanes of a warp are its threads. C, for
   tests: it is a vector of 32 lanes, so that one call goes through the steps of a warp. A truth value is an int32
   that is 0 or 1 if all threads share it, 0 or -1 if they do not, as in lanes.h. */
#if defined(__CUDACC_RTC__)
#include "warp.h"
#else
#define WARP 32
#include "lanes.h"

#define UNROLL
#define ONE_BY_ONE
#define CONSTANT static const
#define RESTRICT restrict
#define STEP
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define all_stopped all_lanes

/* A block is its warps, one after the other, each with shared memory of its own: what they exchange through it
   they would compute alike. */
#define KERNEL(name)                                                                                \
  static void name##_of_warp(const Arguments *arguments, const long warp, char *shared);            \
  const int name##_bytes = sizeof(Arguments);                                                       \
  void name(const Arguments *arguments, const long block, const long warps, char *shared) {         \
    const unsigned mode = flush_denormals();                                                        \
    for (long warp = block * warps; warp < (block + 1) * warps; warp++)                             \
      name##_of_warp(arguments, warp, shared);                                                      \
    restore_denormals(mode);                                                                        \
  }                                                                                                 \
  static void name##_of_warp(const Arguments *arguments, const long warp, char *shared)
#define PROLOGUE                                                                                    \
  const Arguments given = *arguments;                                                               \
  const long world = warp / given.warps_of_world;                                                   \
  int32_v thread[1];                                                                                \
  EACH_LANE(l) thread[0][l] = l % THREADS
#define EPILOGUE
#define TOGETHER(e, n) for (int e = 0; e < (n); e++)
#define BARRIER
/* Copies arrive when they are waited for, and not before: who reads too early reads what was there. */
static struct { char *target; const char *source; int bytes; } copies[4096];
static int copying;
static inline void copies_arrive(void) {
  for (int i = 0; i < copying; i++) memcpy(copies[i].target, copies[i].source, copies[i].bytes);
  copying = 0;
}
#define COPY(to, from, size)                                                                        \
  do {                                                                                              \
    if (copying == 4096) copies_arrive();                                                           \
    copies[copying].target = (char *)(to), copies[copying].source = (const char *)(from);           \
    copies[copying++].bytes = size;                                                                 \
  } while (0)
#define COPIES_UNDER_WAY
#define WAIT_FOR_COPIES copies_arrive()
#define LOAD(to, from, n)                                                                           \
  for (int i = 0; i < (n); i++) EACH_LANE(l) to[i][l] = from[(warp * (n) + i) * LANES + l]
#define STORE(to, from, n)                                                                          \
  for (int i = 0; i < (n); i++) EACH_LANE(l) to[(warp * (n) + i) * LANES + l] = from[i][l]

/* Over the threads of a network: every one of them gets the result. */
#define OVER_THREADS(T, name, combined)                                                             \
  static inline T T##_##name##_over_threads(T x) {                                                             \
    for (int m = 1; m < THREADS; m *= 2) {                                                          \
      T y;                                                                                          \
      EACH_LANE(l) y[l] = x[l ^ m];                                                                 \
      x = combined;                                                                                 \
    }                                                                                               \
    return x;                                                                                       \
  }
#define FROM_THREAD(T)                                                                              \
  static inline T T##_from_thread(T x, int thread) {                                                \
    T y;                                                                                            \
    EACH_LANE(l) y[l] = x[l / THREADS * THREADS + thread];                                          \
    return y;                                                                                       \
  }                                                                                                 \
  static inline T T##_from_other(T x, int distance) {                                               \
    T y;                                                                                            \
    EACH_LANE(l) y[l] = x[l ^ distance];                                                            \
    return y;                                                                                       \
  }
#endif

#define NUMBERS(T)                                                                                  \
  OVER_THREADS(T, sum, x + y) OVER_THREADS(T, max, T##_max(x, y))                                 \
  OVER_THREADS(T, min, T##_min(x, y))                                                             \
  FROM_THREAD(T)
#define WHOLE_NUMBERS(T) NUMBERS(T) OVER_THREADS(T, or, x | y) OVER_THREADS(T, and, x & y)
NUMBERS(float_v) NUMBERS(double_v)
WHOLE_NUMBERS(uint8_v) WHOLE_NUMBERS(int32_v) WHOLE_NUMBERS(uint32_v) WHOLE_NUMBERS(int64_v) WHOLE_NUMBERS(uint64_v)
