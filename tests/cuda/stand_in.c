/* Stands in for NVIDIA's driver in tests: memory is the host's, and a kernel is the C text of the step in a shared
   library, whose path is the image. A launch is carried out when its stream is waited for, so that who reads too
   early reads old numbers.

   STAND_IN_LOG names a file to which every call is appended. STAND_IN_FAIL=NAME:N has the N-th call of a function
   fail with "out of memory"; STAND_IN_VERSION and STAND_IN_DEVICES say what driver and machine it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OUT_OF_MEMORY = 2, INVALID = 1, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_FOUND = 500, MOST = 4096 };
int dysonjax_stand_in = 1;

typedef void (*Kernel)(const void *, long, long, char *);
typedef struct { void *library; Kernel kernel; int bytes; } Function;
typedef struct { Function *function; char *arguments; unsigned blocks, threads, shared; } Launch;
typedef struct { Launch waiting[MOST]; int count; } Stream;
typedef struct { char name[64]; int calls; } Counter;
static Counter counters[64];
static int current = -1; /* device of this thread's context */

static int number(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text && *text ? atoi(text) : otherwise;
}

static int called(const char *name) {
  const char *log = getenv("STAND_IN_LOG"), *fail = getenv("STAND_IN_FAIL");
  if (log && *log) {
    FILE *file = fopen(log, "a");
    fprintf(file, "%s %d\n", name, current);
    fclose(file);
  }
  Counter *counter = counters;
  while (*counter->name && strcmp(counter->name, name)) counter++;
  strncpy(counter->name, name, sizeof counter->name - 1);
  counter->calls++;
  const size_t length = strlen(name);
  if (fail && !strncmp(fail, name, length) && fail[length] == ':' && atoi(fail + length + 1) == counter->calls)
    return OUT_OF_MEMORY;
  return 0;
}
#define CALLED(name)                        \
  do {                                      \
    const int refused = called(#name);      \
    if (refused) return refused;            \
  } while (0)

void stand_in_restart(void) { memset(counters, 0, sizeof counters); }

int cuInit(unsigned flags) { CALLED(cuInit); return number("STAND_IN_DEVICES", 8) ? 0 : NO_DEVICE; }
int cuDriverGetVersion(int *version) { *version = number("STAND_IN_VERSION", 13000); return 0; }
int cuGetErrorString(int code, const char **text) {
  *text = code == OUT_OF_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected"
          : code == INVALID_DEVICE ? "invalid device ordinal" : "invalid argument";
  return 0;
}
int cuDeviceGet(int *device, int ordinal) {
  CALLED(cuDeviceGet);
  *device = ordinal;
  return ordinal < number("STAND_IN_DEVICES", 8) ? 0 : INVALID_DEVICE;
}
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "stand-in"); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 13: *value = 1980000; return 0;
    case 16: *value = 132; return 0;
    case 75: *value = 9; return 0;
    case 76: *value = 0; return 0;
    case 97: *value = 227 * 1024; return 0;
    default: return INVALID;
  }
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  CALLED(cuDevicePrimaryCtxRetain);
  *context = (void *)(intptr_t)(device + 1);
  return 0;
}
int cuCtxSetCurrent(void *context) { CALLED(cuCtxSetCurrent); current = (int)(intptr_t)context - 1; return 0; }
int cuModuleLoadData(void **module, const void *image) {
  CALLED(cuModuleLoadData);
  *module = dlopen(image, RTLD_NOW | RTLD_LOCAL);
  return *module ? 0 : INVALID;
}
int cuModuleUnload(void *module) { CALLED(cuModuleUnload); return 0; }
int cuModuleGetFunction(Function **function, void *module, const char *name) {
  CALLED(cuModuleGetFunction);
  char bytes[128];
  snprintf(bytes, sizeof bytes, "%s_bytes", name);
  Function found = {module, (Kernel)dlsym(module, name), 0};
  const int *size = dlsym(module, bytes);
  if (!found.kernel || !size) return NOT_FOUND;
  found.bytes = *size;
  *function = malloc(sizeof found);
  **function = found;
  return 0;
}
int cuFuncGetAttribute(int *value, int attribute, Function *function) { *value = 0; return 0; }
int cuFuncSetAttribute(Function *function, int attribute, int value) { CALLED(cuFuncSetAttribute); return 0; }
int cuStreamCreate(Stream **stream, unsigned flags) {
  CALLED(cuStreamCreate);
  *stream = calloc(1, sizeof **stream);
  return 0;
}
int cuStreamDestroy_v2(Stream *stream) { free(stream); return 0; }
int cuLaunchKernel(Function *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned b, unsigned c,
                   unsigned shared, Stream *stream, void **parameters, void **extra) {
  CALLED(cuLaunchKernel);
  if (!x || y != 1 || z != 1 || !threads || threads % 32 || b != 1 || c != 1 || stream->count == MOST) return INVALID;
  Launch launch = {function, malloc(function->bytes), x, threads, shared};
  memcpy(launch.arguments, parameters[0], function->bytes); /* as the driver does, at once */
  stream->waiting[stream->count++] = launch;
  return 0;
}
static void carry_out(Stream *stream) {
  for (int i = 0; i < stream->count; i++) {
    Launch *launch = stream->waiting + i;
    char *space = NULL, *shared;
    if (posix_memalign((void **)&space, 64, launch->shared + 64)) abort();
    shared = space;
    for (unsigned block = 0; block < launch->blocks; block++) {
      memset(shared, 0xff, launch->shared); /* NaN: nothing is there before it is written */
      launch->function->kernel(launch->arguments, block, launch->threads / 32, shared);
    }
    free(space);
    free(launch->arguments);
  }
  stream->count = 0;
}
int cuStreamSynchronize(Stream *stream) { CALLED(cuStreamSynchronize); carry_out(stream); return 0; }
int cuEventCreate(double **event, unsigned flags) { *event = calloc(1, sizeof **event); return 0; }
int cuEventRecord(double *event, Stream *stream) {
  carry_out(stream);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  *event = 1e3 * now.tv_sec + 1e-6 * now.tv_nsec;
  return 0;
}
int cuEventSynchronize(double *event) { return 0; }
int cuEventElapsedTime(float *milliseconds, double *begin, double *end) { *milliseconds = *end - *begin; return 0; }
int cuEventDestroy_v2(double *event) { free(event); return 0; }
