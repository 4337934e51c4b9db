// What a kernel in CUDA C++ finds on a device, for a compiler of the processor: a block's threads are fibers that are switched
// where they wait for each other, so barriers, shuffles and shared memory mean what they mean there. A barrier that some threads
// never reach ends the program, as does a shuffle with lanes that have left.
#pragma once

#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#define __CUDA_ARCH__ 800
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

#ifdef STAND_IN_NAMES
#define __global__ STAND_IN_KERNEL
#else
#define __global__
#endif
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) alignas(n)
// Blocks run one after the other, so what a block shares may be static. `extern __shared__` is turned into `extern` before.
#define __shared__ static

struct Extent {
    unsigned x = 1, y = 1, z = 1;
};

extern Extent threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

// Waits until every thread of the block that has not ended is here.
void wait_for_block();
// Gives `bytes` at `mine` to the warp, and takes those of lane `lane`.
void shuffle(const void *mine, void *theirs, size_t bytes, unsigned lane);
unsigned lane_here();

inline void __syncthreads() { wait_for_block(); }
// Blocks have one row of threads.
inline int __syncthreads_or(int holds) {
    static int any;
    if (threadIdx.x == 0) any = 0;
    wait_for_block();
    if (holds) any = 1;
    wait_for_block();
    int found = any;
    wait_for_block();
    return found;
}
inline void __syncwarp(unsigned = ~0u) { unsigned none = 0, all; shuffle(&none, &all, sizeof none, lane_here()); }

template <typename T> T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
    T found;
    shuffle(&value, &found, sizeof value, lane_here() ^ unsigned(mask));
    return found;
}
template <typename T> T __shfl_down_sync(unsigned, T value, unsigned by, int = 32) {
    T found;
    unsigned lane = lane_here();
    shuffle(&value, &found, sizeof value, lane + by < 32 ? lane + by : lane);
    return found;
}
template <typename T> T __shfl_sync(unsigned, T value, int lane, int = 32) {
    T found;
    shuffle(&value, &found, sizeof value, unsigned(lane) & 31);
    return found;
}
unsigned ballot(bool holds);
inline unsigned __ballot_sync(unsigned, int holds) { return ballot(holds != 0); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(unsigned(bits)); }

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <typename A, typename B> inline auto max(A a, B b) -> decltype(a + b) { return a > b ? a : b; }
template <typename A, typename B> inline auto min(A a, B b) -> decltype(a + b) { return a < b ? a : b; }
using std::isinf;
using std::isnan;
using std::signbit;
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752440f); }
inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float a, float b) { return a / b; }

template <typename To, typename From> inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits keep their number");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return bits_as<double>(x); }

// One thread runs at a time, so nothing comes between a reading and its writing.
template <typename T, typename U> inline T atomicAdd(T *at, U value) { T old = *at; *at = old + T(value); return old; }
template <typename T> inline T atomicOr(T *at, T value) { T old = *at; *at = old | value; return old; }
template <typename T> struct Same { using Type = T; };
template <typename T> inline T atomicMin(T *at, typename Same<T>::Type value) { T old = *at; *at = value < old ? value : old; return old; }
template <typename T> inline T atomicMax(T *at, typename Same<T>::Type value) { T old = *at; *at = value > old ? value : old; return old; }
template <typename T> inline T atomicCAS(T *at, typename Same<T>::Type was, typename Same<T>::Type value) { T old = *at; if (old == was) *at = value; return old; }

// The kernels of a source by name; made by `build` for each.
using Run = void (*)(void **);
struct Kernel {
    Kernel(const char *name, Run run);
};

template <typename... Taken, size_t... I>
inline void call(void (*kernel)(Taken...), void **given, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<Taken> *>(given[I])...);
}
template <auto kernel> struct Call;
template <typename... Taken, void (*kernel)(Taken...)> struct Call<kernel> {
    static void run(void **given) { call(kernel, given, std::index_sequence_for<Taken...>{}); }
};
