// Sparse rows on a device: which numbers of a row are the largest, and products with rows that are mostly zeros. A block of
// threads has one row, or one column, so that every sum is made in one order and gives the same bits again.

#include <stdint.h>

// How many threads before this one say yes, and how many do in the whole block, which has whole warps. All threads call it.
static __device__ unsigned rank_in_block(bool yes, unsigned *totals, unsigned *all) {
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    unsigned votes = __ballot_sync(0xffffffff, yes);
    if (lane == 0) totals[warp] = __popc(votes);
    __syncthreads();
    unsigned before = 0, sum = 0;
    for (unsigned other = 0; other < blockDim.x / 32; ++other) {
        before += other < warp ? totals[other] : 0;
        sum += totals[other];
    }
    __syncthreads();
    *all = sum;
    return before + __popc(votes & ((1u << lane) - 1));
}

// Bits in the order of the numbers. Adding 0 makes -0 the same as 0, as comparisons have it.
static __device__ unsigned in_order(float number) {
    unsigned bits = __float_as_uint(number + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// 1 where a number is among the k largest of its row, else 0; of equal ones the first count. The k-th largest is found by
// radix selection: eight bits at a time, from the highest, it is counted how many of the numbers that share the bits found so
// far have which next ones.
extern "C" __global__ void mask_of_largest(const float *numbers, float *mask, unsigned width, unsigned k) {
    __shared__ unsigned counts[256];
    __shared__ unsigned totals[32];
    __shared__ unsigned found, left;
    const float *row = numbers + (size_t)blockIdx.x * width;
    float *marks = mask + (size_t)blockIdx.x * width;
    if (threadIdx.x == 0) {
        found = 0;
        left = k;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (unsigned i = threadIdx.x; i < 256; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        unsigned known = shift == 24 ? 0 : 0xffffffffu << (shift + 8), prefix = found;
        for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
            unsigned bits = in_order(row[i]);
            if ((bits & known) == prefix) atomicAdd(&counts[(bits >> shift) & 255], 1u);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            unsigned digit = 255;
            while (counts[digit] < left) left -= counts[digit--];
            found |= digit << shift;
        }
        __syncthreads();
    }
    // Above it all are taken, and of those that equal it the first `left`.
    unsigned taken = 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        unsigned i = start + threadIdx.x, equal = 0;
        unsigned bits = i < width ? in_order(row[i]) : 0;
        bool is_equal = i < width && bits == found;
        unsigned rank = taken + rank_in_block(is_equal, totals, &equal);
        if (i < width) marks[i] = bits > found || (is_equal && rank < left) ? 1.0f : 0.0f;
        taken += equal;
    }
}

#define NOWHERE 0xffffffffu

// The places and values of what is not 0 in each row, in order, `most` of them; after the last one the place is NOWHERE.
extern "C" __global__ void compact_rows(const float *numbers, unsigned *places, float *values, unsigned width, unsigned most) {
    __shared__ unsigned totals[32];
    const float *row = numbers + (size_t)blockIdx.x * width;
    size_t base = (size_t)blockIdx.x * most;
    unsigned taken = 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        unsigned i = start + threadIdx.x, all = 0;
        float number = i < width ? row[i] : 0.0f;
        unsigned rank = taken + rank_in_block(number != 0.0f, totals, &all);
        if (number != 0.0f && rank < most) {
            places[base + rank] = i;
            values[base + rank] = number;
        }
        taken += all;
    }
    for (unsigned rank = taken + threadIdx.x; rank < most; rank += blockDim.x) {
        places[base + rank] = NOWHERE;
        values[base + rank] = 0.0f;
    }
}

// The sums of the rows of a table, each times its value: out = S T for sparse rows S.
extern "C" __global__ void weighted_sums(const unsigned *places, const float *values, const float *table, float *out, unsigned most,
                                         unsigned width) {
    const unsigned *at = places + (size_t)blockIdx.x * most;
    const float *times = values + (size_t)blockIdx.x * most;
    for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
        float sum = 0.0f;
        for (unsigned j = 0; j < most && at[j] != NOWHERE; ++j) sum += times[j] * table[(size_t)at[j] * width + column];
        out[(size_t)blockIdx.x * width + column] = sum;
    }
}

// The products of a row with those rows of a table that its places name, written there: the gradient of S where it is not 0.
// A warp has one place at a time.
extern "C" __global__ void dots_at(const unsigned *places, const float *rows, const float *table, float *out, unsigned most,
                                   unsigned width, unsigned columns) {
    const unsigned *at = places + (size_t)blockIdx.x * most;
    const float *row = rows + (size_t)blockIdx.x * width;
    unsigned lane = threadIdx.x % 32;
    for (unsigned j = threadIdx.x / 32; j < most && at[j] != NOWHERE; j += blockDim.x / 32) {
        const float *other = table + (size_t)at[j] * width;
        float sum = 0.0f;
        for (unsigned i = lane; i < width; i += 32) sum += row[i] * other[i];
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
        if (lane == 0) out[(size_t)blockIdx.x * columns + at[j]] = sum;
    }
}

// How many rows are not 0 in each column. Threads have columns side by side, so that they read what lies together.
extern "C" __global__ void count_columns(const float *numbers, unsigned *counts, unsigned rows, unsigned columns) {
    unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    unsigned count = 0;
    for (unsigned row = 0; row < rows; ++row) count += numbers[(size_t)row * columns + column] != 0.0f;
    counts[column] = count;
}

// Where the list of each column begins: the sums of the counts before it, and after the last one all of them. One block.
extern "C" __global__ void starts_of_columns(const unsigned *counts, unsigned *starts, unsigned columns) {
    __shared__ unsigned sums[1024];
    unsigned before = 0;
    for (unsigned start = 0; start < columns; start += blockDim.x) {
        unsigned i = start + threadIdx.x, own = i < columns ? counts[i] : 0;
        sums[threadIdx.x] = own;
        __syncthreads();
        for (unsigned step = 1; step < blockDim.x; step *= 2) {
            unsigned other = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
            __syncthreads();
            sums[threadIdx.x] += other;
            __syncthreads();
        }
        if (i < columns) starts[i] = before + sums[threadIdx.x] - own;
        before += sums[blockDim.x - 1];
        __syncthreads();
    }
    if (threadIdx.x == 0) starts[columns] = before;
}

// The rows that are not 0 in each column, in order; the list has room for `limit`.
extern "C" __global__ void rows_of_columns(const float *numbers, const unsigned *starts, unsigned *list, unsigned rows, unsigned columns,
                                           unsigned limit) {
    unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    unsigned at = starts[column];
    for (unsigned row = 0; row < rows; ++row)
        if (numbers[(size_t)row * columns + column] != 0.0f && at < limit) list[at++] = row;
}

// The sums of rows, each times the number that a column has there: out = S^T R, for the gradient of a table.
extern "C" __global__ void sums_of_columns(const float *numbers, const unsigned *starts, const unsigned *list, const float *rows, float *out,
                                           unsigned columns, unsigned width, unsigned limit) {
    unsigned column = blockIdx.x, begin = starts[column], end = min(starts[column + 1], limit);
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (unsigned at = begin; at < end; ++at) {
            size_t row = list[at];
            sum += numbers[row * columns + column] * rows[row * width + i];
        }
        out[(size_t)column * width + i] = sum;
    }
}
