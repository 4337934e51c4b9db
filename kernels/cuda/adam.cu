// Updates of weights on a device.

#include <stdint.h>

// The sum over the threads of a block, in one order. All threads call it.
static __device__ float sum_of_block(float sum, float *sums) {
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    float all = 0.0f;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) all += sums[warp];
    __syncthreads();
    return all;
}

// The part of each gradient that is at right angles to a direction of any length, in its row. A block has one row.
extern "C" __global__ void reject_rows(const float *gradients, const float *directions, float *out, unsigned width) {
    __shared__ float sums[32];
    size_t base = (size_t)blockIdx.x * width;
    float along = 0.0f, squares = 0.0f;
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
        along += gradients[base + i] * directions[base + i];
        squares += directions[base + i] * directions[base + i];
    }
    along = sum_of_block(along, sums);
    squares = sum_of_block(squares, sums);
    // A direction without a length takes nothing away.
    float share = squares > 0.0f ? along / squares : 0.0f;
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) out[base + i] = gradients[base + i] - share * directions[base + i];
}

// One step of Adam in one pass over weights, gradients and moments (Kingma & Ba 2015; Loshchilov & Hutter 2019), as the
// processor has it in optimiser/mod.rs. A block has one row, which `unit` then scales to norm 1.
extern "C" __global__ void adam_rows(float *weights, float *means, float *squares, const float *gradients, size_t count, unsigned width,
                                     float shrink, float b1, float r1, float b2, float r2, float correction, float eps, float rate,
                                     float keep, unsigned unit, float shortest) {
    __shared__ float sums[32];
    size_t base = (size_t)blockIdx.x * width;
    float sum = 0.0f;
    for (size_t i = threadIdx.x; i < width && base + i < count; i += blockDim.x) {
        size_t at = base + i;
        float gradient = gradients[at] * shrink;
        float mean = b1 * means[at] + r1 * gradient;
        float square = b2 * squares[at] + r2 * gradient * gradient;
        float weight = keep * weights[at] - rate * mean / (sqrtf(square) * correction + eps);
        means[at] = mean;
        squares[at] = square;
        weights[at] = weight;
        sum += weight * weight;
    }
    if (!unit) return;
    float over = 1.0f / fmaxf(sqrtf(sum_of_block(sum, sums)), shortest);
    for (size_t i = threadIdx.x; i < width && base + i < count; i += blockDim.x) weights[base + i] *= over;
}
