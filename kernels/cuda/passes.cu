// What a forward pass does between its products: norms, rotations, the softmax of scores, biases and activations; and their
// gradients. Numbers are f32 or shorter, and are computed with in f32. A warp has one row.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

static __device__ float wide(float x) { return x; }
static __device__ float wide(__half x) { return __half2float(x); }
static __device__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
static __device__ void put(float *at, float x) { *at = x; }
static __device__ void put(__half *at, float x) { *at = __float2half(x); }
static __device__ void put(__nv_bfloat16 *at, float x) { *at = __float2bfloat16(x); }

static __device__ float sum_of_warp(float x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}
static __device__ float most_of_warp(float x) {
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, step));
    return x;
}
static __device__ size_t row_of_warp() { return (size_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; }

// The mean of a row, 0 for RMS norm, and 1 over what the norm divides by.
template <typename T> static __device__ void moments(const T *x, unsigned width, float eps, unsigned centred, float *mean, float *over) {
    unsigned lane = threadIdx.x % 32;
    float sum = 0.0f, squares = 0.0f;
    if (centred) {
        for (unsigned i = lane; i < width; i += 32) sum += wide(x[i]);
        sum = sum_of_warp(sum) / width;
    }
    for (unsigned i = lane; i < width; i += 32) {
        float apart = wide(x[i]) - sum;
        squares += apart * apart;
    }
    *mean = sum;
    *over = 1.0f / sqrtf(sum_of_warp(squares) / width + eps);
}

// What a normed number is multiplied by.
template <typename T> static __device__ float factor(const T *weight, unsigned i, unsigned plus_one) {
    return weight ? wide(weight[i]) + (plus_one ? 1.0f : 0.0f) : 1.0f;
}

// Layer norm, or RMS norm where rows are not centred.
template <typename T>
static __device__ void norm(const T *x, const T *weight, const T *bias, T *out, size_t rows, unsigned width, float eps, unsigned centred,
                            unsigned plus_one) {
    size_t row = row_of_warp();
    if (row >= rows) return;
    float mean, over;
    x += row * width;
    moments(x, width, eps, centred, &mean, &over);
    for (unsigned i = threadIdx.x % 32; i < width; i += 32)
        put(out + row * width + i, (wide(x[i]) - mean) * over * factor(weight, i, plus_one) + (bias ? wide(bias[i]) : 0.0f));
}

// The gradient of its input; and each gradient times its normed number, whose sums over rows are that of the weight.
template <typename T>
static __device__ void norm_back(const T *x, const T *weight, const T *gradient, T *out, T *of_weight, size_t rows, unsigned width,
                                 float eps, unsigned centred, unsigned plus_one) {
    size_t row = row_of_warp();
    if (row >= rows) return;
    unsigned lane = threadIdx.x % 32;
    float mean, over, sum = 0.0f, along = 0.0f;
    x += row * width;
    gradient += row * width;
    moments(x, width, eps, centred, &mean, &over);
    for (unsigned i = lane; i < width; i += 32) {
        float g = wide(gradient[i]) * factor(weight, i, plus_one);
        sum += g;
        along += g * (wide(x[i]) - mean) * over;
    }
    sum = centred ? sum_of_warp(sum) / width : 0.0f;
    along = sum_of_warp(along) / width;
    for (unsigned i = lane; i < width; i += 32) {
        float normed = (wide(x[i]) - mean) * over, g = wide(gradient[i]);
        put(out + row * width + i, (g * factor(weight, i, plus_one) - sum - along * normed) * over);
        if (of_weight) put(of_weight + row * width + i, g * normed);
    }
}

// Which keys a query attends to, as reach.rs has it. `lengths` is nothing where no row is padded; `window` is 0 where there is none.
struct Reach {
    const unsigned *lengths;
    unsigned gap_width, past, causal, window;

    __device__ unsigned position(unsigned row, unsigned column) const {
        return !lengths || column < gap_width ? column : column - gap_width + lengths[row];
    }
    __device__ bool sees(unsigned row, unsigned from, unsigned key) const {
        if (lengths && key >= lengths[row] && key < gap_width) return false;
        unsigned to = position(row, key);
        return (!causal || to <= from) && (window == 0 || (from < to + window && to < from + window));
    }
};

// cap * tanh(score / cap) where there is a cap.
static __device__ float capped(float score, float cap) { return cap > 0.0f ? cap * tanhf(score / cap) : score; }

// The softmax of scaled scores `[rows, heads, columns, keys]` over the keys that a query attends to; 0 elsewhere, and everywhere for
// a query with none. A head's sink takes its share, and attends to nothing.
template <typename T>
static __device__ void pattern(const T *scores, const float *sinks, T *out, const unsigned *lengths, size_t queries, unsigned heads,
                               unsigned columns, unsigned keys, unsigned gap_width, unsigned past, unsigned causal, unsigned window,
                               float scale, float cap) {
    size_t query = row_of_warp();
    if (query >= queries) return;
    unsigned lane = threadIdx.x % 32, row = query / columns / heads, head = query / columns % heads;
    Reach reach = {lengths, gap_width, past, causal, window};
    unsigned from = reach.position(row, past + query % columns);
    scores += query * keys;
    out += query * keys;
    float most = -3.402823466e38f, sum = 0.0f;
    for (unsigned key = lane; key < keys; key += 32)
        if (reach.sees(row, from, key)) most = fmaxf(most, capped(wide(scores[key]) * scale, cap));
    most = most_of_warp(most);
    if (sinks) most = fmaxf(most, sinks[head]);
    for (unsigned key = lane; key < keys; key += 32)
        if (reach.sees(row, from, key)) sum += expf(capped(wide(scores[key]) * scale, cap) - most);
    sum = sum_of_warp(sum);
    if (sinks) sum += expf(sinks[head] - most);
    float over = sum == 0.0f ? 0.0f : 1.0f / sum;
    for (unsigned key = lane; key < keys; key += 32)
        put(out + key, reach.sees(row, from, key) ? expf(capped(wide(scores[key]) * scale, cap) - most) * over : 0.0f);
}

// The gradient of scores without a cap, given the pattern and its gradient.
template <typename T>
static __device__ void pattern_back(const T *pattern, const T *gradient, T *out, size_t queries, unsigned keys, float scale) {
    size_t query = row_of_warp();
    if (query >= queries) return;
    unsigned lane = threadIdx.x % 32;
    float sum = 0.0f;
    for (unsigned key = lane; key < keys; key += 32) sum += wide(pattern[query * keys + key]) * wide(gradient[query * keys + key]);
    sum = sum_of_warp(sum);
    for (unsigned key = lane; key < keys; key += 32) {
        size_t at = query * keys + key;
        put(out + at, wide(pattern[at]) * (wide(gradient[at]) - sum) * scale);
    }
}

// Rotates pairs of coordinates of heads `[rows, columns, heads, size]` by tables `[positions, half]`; `turn` is -1 for the way back.
template <typename T>
static __device__ void rotate(const T *x, const float *cos, const float *sin, T *out, const unsigned *lengths, size_t count,
                              unsigned columns, unsigned heads, unsigned size, unsigned half, unsigned past, unsigned gap_width,
                              unsigned neighbours, float turn) {
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    unsigned i = at % size;
    size_t place = at / size / heads;
    if (i >= 2 * half) {
        out[at] = x[at];
        return;
    }
    Reach reach = {lengths, gap_width, past, 0, 0};
    unsigned position = reach.position(place / columns, past + place % columns);
    unsigned pair = neighbours ? i / 2 : i % half;
    bool is_second = neighbours ? i % 2 : i >= half;
    size_t other = neighbours ? (is_second ? at - 1 : at + 1) : (is_second ? at - half : at + half);
    float c = cos[(size_t)position * half + pair], s = turn * sin[(size_t)position * half + pair];
    put(out + at, wide(x[at]) * c + (is_second ? s : -s) * wide(x[other]));
}

// Activations by the numbers that passes.rs gives them; any other is none.
enum { RELU = 0, GELU = 1, GELU_TANH = 2, SILU = 3, SQUARED_RELU = 4 };

static __device__ float activated(float x, unsigned act) {
    switch (act) {
    case RELU: return x <= 0.0f ? 0.0f : x;
    case GELU: return x * normcdff(x);
    case GELU_TANH: return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case SILU: return x / (1.0f + expf(-x));
    case SQUARED_RELU: return x <= 0.0f ? 0.0f : x * x;
    default: return x;
    }
}

static __device__ float slope(float x, unsigned act) {
    switch (act) {
    case RELU: return x <= 0.0f ? 0.0f : x == x ? 1.0f : x;
    case GELU: return normcdff(x) + x * 0.3989422804014327f * expf(-0.5f * x * x);
    case GELU_TANH: {
        float t = tanhf(0.7978845608028654f * (x + 0.044715f * x * x * x));
        return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.7978845608028654f * (1.0f + 0.134145f * x * x);
    }
    case SILU: {
        float s = 1.0f / (1.0f + expf(-x));
        return s * (1.0f + x * (1.0f - s));
    }
    case SQUARED_RELU: return x <= 0.0f ? 0.0f : 2.0f * x;
    default: return 1.0f;
    }
}

// An activation of numbers plus a bias for each column, times other numbers, where there are such.
template <typename T>
static __device__ void activate(const T *x, const T *bias, const T *times, T *out, size_t count, unsigned width, unsigned act) {
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    float number = activated(wide(x[at]) + (bias ? wide(bias[at % width]) : 0.0f), act);
    put(out + at, times ? number * wide(times[at]) : number);
}

// A gradient times the slope of an activation, times other numbers, where there are such.
template <typename T>
static __device__ void activate_back(const T *x, const T *gradient, const T *times, T *out, size_t count, unsigned act) {
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    float number = slope(wide(x[at]), act) * wide(gradient[at]);
    put(out + at, times ? number * wide(times[at]) : number);
}

#define PASSES(T, NAME)                                                                                                               \
    extern "C" __global__ void norm_##NAME(const T *x, const T *weight, const T *bias, T *out, size_t rows, unsigned width, float eps, \
                                           unsigned centred, unsigned plus_one) {                                                     \
        norm(x, weight, bias, out, rows, width, eps, centred, plus_one);                                                              \
    }                                                                                                                                 \
    extern "C" __global__ void norm_back_##NAME(const T *x, const T *weight, const T *gradient, T *out, T *of_weight, size_t rows,    \
                                                unsigned width, float eps, unsigned centred, unsigned plus_one) {                     \
        norm_back(x, weight, gradient, out, of_weight, rows, width, eps, centred, plus_one);                                          \
    }                                                                                                                                 \
    extern "C" __global__ void pattern_##NAME(const T *scores, const float *sinks, T *out, const unsigned *lengths, size_t queries,   \
                                              unsigned heads, unsigned columns, unsigned keys, unsigned gap_width, unsigned past,     \
                                              unsigned causal, unsigned window, float scale, float cap) {                             \
        pattern(scores, sinks, out, lengths, queries, heads, columns, keys, gap_width, past, causal, window, scale, cap);             \
    }                                                                                                                                 \
    extern "C" __global__ void pattern_back_##NAME(const T *shares, const T *gradient, T *out, size_t queries, unsigned keys,         \
                                                   float scale) {                                                                     \
        pattern_back(shares, gradient, out, queries, keys, scale);                                                                    \
    }                                                                                                                                 \
    extern "C" __global__ void rotate_##NAME(const T *x, const float *cos, const float *sin, T *out, const unsigned *lengths,         \
                                             size_t count, unsigned columns, unsigned heads, unsigned size, unsigned half,            \
                                             unsigned past, unsigned gap_width, unsigned neighbours, float turn) {                    \
        rotate(x, cos, sin, out, lengths, count, columns, heads, size, half, past, gap_width, neighbours, turn);                      \
    }                                                                                                                                 \
    extern "C" __global__ void activate_##NAME(const T *x, const T *bias, const T *times, T *out, size_t count, unsigned width,       \
                                               unsigned act) {                                                                        \
        activate(x, bias, times, out, count, width, act);                                                                             \
    }                                                                                                                                 \
    extern "C" __global__ void activate_back_##NAME(const T *x, const T *gradient, const T *times, T *out, size_t count,              \
                                                    unsigned act) {                                                                   \
        activate_back(x, gradient, times, out, count, act);                                                                           \
    }

PASSES(float, f32)
PASSES(__half, f16)
PASSES(__nv_bfloat16, bf16)
