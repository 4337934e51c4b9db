// Sparse rows on a device: which numbers are the largest, their places and values, and products with them. Sparse rows are
// their columns and values, row after row, each row's in ascending order of columns; the entries of row r lie from starts[r] up
// to starts[r + 1]. Every sum is made in one order, so that a run gives the same bits again.

#include <stdint.h>

// The column of an entry that a row did not need.
#define NOWHERE 0xffffffffu

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

// The k-th largest number is found by radix selection: in three passes, of 11, 11 and 10 bits from the highest, it is counted
// how many of the numbers that share the bits found so far have which next ones. A cut is two numbers: above the first all are
// taken, and of those that equal it as many as the second says, the first ones.
#define BINS 2048
static __device__ unsigned shift_of(unsigned pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }
static __device__ unsigned bins_of(unsigned pass) { return pass == 2 ? 1024 : 2048; }
static __device__ unsigned known_of(unsigned pass) { return pass == 0 ? 0 : 0xffffffffu << shift_of(pass - 1); }

// Counts a number's next bits, where it is a candidate; with `positive`, only numbers above 0 are.
static __device__ void count_digit(float number, unsigned pass, unsigned found, unsigned positive, unsigned *counts) {
    unsigned bits = in_order(number);
    if ((bits & known_of(pass)) == found && (!positive || number > 0.0f))
        atomicAdd(&counts[(bits >> shift_of(pass)) & (bins_of(pass) - 1)], 1u);
}

// Adds to a cut the digit at which the largest end. Where there are fewer than are asked for, all are taken. One thread.
static __device__ void choose_digit(unsigned *cut, unsigned pass, const unsigned *counts) {
    unsigned digit = bins_of(pass) - 1;
    while (digit > 0 && counts[digit] < cut[1]) cut[1] -= counts[digit--];
    cut[0] |= digit << shift_of(pass);
}

// A number of a row with what is added to each column, where something is.
static __device__ float with_bias(const float *row, const float *bias, unsigned i) { return bias ? row[i] + bias[i] : row[i]; }

// The cut of each row's k largest. A block has one row.
extern "C" __global__ void cuts_of_rows(const float *numbers, const float *bias, unsigned *cuts, unsigned width, unsigned k,
                                        unsigned positive) {
    __shared__ unsigned counts[BINS];
    __shared__ unsigned cut[2];
    const float *row = numbers + (size_t)blockIdx.x * width;
    if (threadIdx.x == 0) {
        cut[0] = 0;
        cut[1] = k;
    }
    for (unsigned pass = 0; pass < 3; ++pass) {
        for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        unsigned found = cut[0];
        for (unsigned i = threadIdx.x; i < width; i += blockDim.x)
            count_digit(with_bias(row, bias, i), pass, found, positive, counts);
        __syncthreads();
        if (threadIdx.x == 0) choose_digit(cut, pass, counts);
        __syncthreads();
    }
    if (threadIdx.x < 2) cuts[2 * blockIdx.x + threadIdx.x] = cut[threadIdx.x];
}

// One pass over all numbers, for the cut of the largest of all: the counts of the blocks are added to those in `counts`. What
// is after `size` in the last row is no number.
extern "C" __global__ void count_digits(const float *numbers, const float *bias, const unsigned *cut, unsigned *counts, size_t size,
                                        unsigned width, unsigned rows, unsigned pass, unsigned positive) {
    __shared__ unsigned own[BINS];
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x) own[i] = 0;
    __syncthreads();
    unsigned found = cut[0];
    for (unsigned row = blockIdx.x; row < rows; row += gridDim.x) {
        size_t base = (size_t)row * width;
        for (unsigned i = threadIdx.x; i < width && base + i < size; i += blockDim.x)
            count_digit(with_bias(numbers + base, bias, i), pass, found, positive, own);
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x)
        if (own[i] > 0) atomicAdd(&counts[i], own[i]);
}

// Ends such a pass; `counts` are 0 again. One block.
extern "C" __global__ void end_of_pass(unsigned *cut, unsigned *counts, unsigned pass) {
    if (threadIdx.x == 0) choose_digit(cut, pass, counts);
    __syncthreads();
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x) counts[i] = 0;
}

// Of each row, how many numbers are above the one cut of all, and how many equal it. A block has one row.
extern "C" __global__ void count_beside_cut(const float *numbers, const float *bias, const unsigned *cut, unsigned *above,
                                            unsigned *equal, size_t size, unsigned width, unsigned positive) {
    __shared__ unsigned totals[32];
    size_t base = (size_t)blockIdx.x * width;
    unsigned more = 0, same = 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        unsigned i = start + threadIdx.x;
        bool inside = i < width && base + i < size;
        float number = inside ? with_bias(numbers + base, bias, i) : 0.0f;
        bool counts = inside && (!positive || number > 0.0f);
        unsigned bits = in_order(number), found = 0;
        rank_in_block(counts && bits > cut[0], totals, &found);
        more += found;
        rank_in_block(counts && bits == cut[0], totals, &found);
        same += found;
    }
    if (threadIdx.x == 0) {
        above[blockIdx.x] = more;
        equal[blockIdx.x] = same;
    }
}

// How many entries each row has, where `equal_before` counts the equal ones of the rows before it.
extern "C" __global__ void lengths_of_rows(const unsigned *cut, const unsigned *above, const unsigned *equal, const unsigned *equal_before,
                                           unsigned *lengths, unsigned rows) {
    unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    unsigned left = equal_before[row] < cut[1] ? cut[1] - equal_before[row] : 0;
    lengths[row] = above[row] + min(equal[row], left);
}

// Whether a number is taken by a cut, where `rank` others that equal it come before it.
static __device__ bool is_taken(unsigned bits, const unsigned *cut, unsigned rank) {
    return bits > cut[0] || (bits == cut[0] && rank < cut[1]);
}

// 1 where a number is taken, else 0. Cuts lie `apart` from each other; 0 where there is one for all, and then `equal_before`
// tells how many equal ones rows before this one have.
extern "C" __global__ void mark_taken(const float *numbers, const unsigned *cuts, const unsigned *equal_before, float *mask, size_t size,
                                      unsigned width, unsigned apart) {
    __shared__ unsigned totals[32];
    const unsigned *cut = cuts + (size_t)blockIdx.x * apart;
    size_t base = (size_t)blockIdx.x * width;
    unsigned rank = apart == 0 ? equal_before[blockIdx.x] : 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        size_t at = base + start + threadIdx.x;
        bool inside = start + threadIdx.x < width && at < size;
        unsigned bits = inside ? in_order(numbers[at]) : 0, all = 0;
        unsigned own = rank + rank_in_block(inside && bits == cut[0], totals, &all);
        if (inside) mask[at] = is_taken(bits, cut, own) ? 1.0f : 0.0f;
        rank += all;
    }
}

// The entries of each row that are taken and above 0; cuts as in `mark_taken`.
extern "C" __global__ void take_entries(const float *numbers, const float *bias, const unsigned *cuts, const unsigned *equal_before,
                                        const unsigned *starts, unsigned *columns, float *values, unsigned width, unsigned apart) {
    __shared__ unsigned totals[32];
    const float *row = numbers + (size_t)blockIdx.x * width;
    const unsigned *cut = cuts + (size_t)blockIdx.x * apart;
    unsigned at = starts[blockIdx.x], end = starts[blockIdx.x + 1], all = 0;
    unsigned rank = apart == 0 ? equal_before[blockIdx.x] : 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        unsigned i = start + threadIdx.x;
        float number = i < width ? with_bias(row, bias, i) : 0.0f;
        unsigned bits = in_order(number);
        unsigned own = rank + rank_in_block(number > 0.0f && bits == cut[0], totals, &all);
        rank += all;
        bool yes = number > 0.0f && is_taken(bits, cut, own);
        unsigned place = at + rank_in_block(yes, totals, &all);
        at += all;
        if (yes && place < end) {
            columns[place] = i;
            values[place] = number;
        }
    }
    for (unsigned place = at + threadIdx.x; place < end; place += blockDim.x) {
        columns[place] = NOWHERE;
        values[place] = 0.0f;
    }
}

// The entries of each row that are not 0, of which it has room for those from starts[row].
extern "C" __global__ void compact_rows(const float *numbers, const unsigned *starts, unsigned *columns, float *values, unsigned width) {
    __shared__ unsigned totals[32];
    const float *row = numbers + (size_t)blockIdx.x * width;
    unsigned at = starts[blockIdx.x], end = starts[blockIdx.x + 1], all = 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        unsigned i = start + threadIdx.x;
        float number = i < width ? row[i] : 0.0f;
        unsigned place = at + rank_in_block(number != 0.0f, totals, &all);
        at += all;
        if (number != 0.0f && place < end) {
            columns[place] = i;
            values[place] = number;
        }
    }
    for (unsigned place = at + threadIdx.x; place < end; place += blockDim.x) {
        columns[place] = NOWHERE;
        values[place] = 0.0f;
    }
}

// Entries as a matrix that holds 0 elsewhere.
extern "C" __global__ void spread_entries(const unsigned *starts, const unsigned *columns, const float *values, float *out, unsigned width) {
    for (unsigned at = starts[blockIdx.x] + threadIdx.x; at < starts[blockIdx.x + 1]; at += blockDim.x)
        if (columns[at] != NOWHERE) out[(size_t)blockIdx.x * width + columns[at]] = values[at];
}

// The sums of the rows of a table, each times its value: out = S T for sparse rows S. A block has one row.
extern "C" __global__ void weighted_sums(const unsigned *starts, const unsigned *columns, const float *values, const float *table,
                                         float *out, unsigned width) {
    unsigned begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (unsigned at = begin; at < end; ++at)
            if (columns[at] != NOWHERE) sum += values[at] * table[(size_t)columns[at] * width + i];
        out[(size_t)blockIdx.x * width + i] = sum;
    }
}

// The products of each row with those rows of a table that its entries name: the gradient of S at its entries. A warp has one
// entry at a time.
extern "C" __global__ void dots_at(const unsigned *starts, const unsigned *columns, const float *rows, const float *table, float *out,
                                   unsigned width) {
    const float *row = rows + (size_t)blockIdx.x * width;
    unsigned lane = threadIdx.x % 32;
    for (unsigned at = starts[blockIdx.x] + threadIdx.x / 32; at < starts[blockIdx.x + 1]; at += blockDim.x / 32) {
        if (columns[at] == NOWHERE) continue;
        const float *other = table + (size_t)columns[at] * width;
        float sum = 0.0f;
        for (unsigned i = lane; i < width; i += 32) sum += row[i] * other[i];
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
        if (lane == 0) out[at] = sum;
    }
}

// Which rows have an entry in each column, a bit each, in `words` words a column: bits are set in any order, and read in one.
extern "C" __global__ void mark_columns(const unsigned *starts, const unsigned *columns, unsigned *marks, unsigned words) {
    for (unsigned at = starts[blockIdx.x] + threadIdx.x; at < starts[blockIdx.x + 1]; at += blockDim.x)
        if (columns[at] != NOWHERE) atomicOr(&marks[(size_t)columns[at] * words + blockIdx.x / 32], 1u << (blockIdx.x % 32));
}

// How many rows each column has. A warp has one column.
extern "C" __global__ void count_marks(const unsigned *marks, unsigned *counts, unsigned words, unsigned columns) {
    unsigned column = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32, count = 0;
    if (column >= columns) return;
    for (unsigned word = lane; word < words; word += 32) count += __popc(marks[(size_t)column * words + word]);
    for (int step = 16; step > 0; step /= 2) count += __shfl_xor_sync(0xffffffff, count, step);
    if (lane == 0) counts[column] = count;
}

// Where each list begins: the sums of the counts before it, and after the last one all of them. One block.
extern "C" __global__ void sums_before(const unsigned *counts, unsigned *starts, unsigned lists) {
    __shared__ unsigned sums[1024];
    unsigned before = 0;
    for (unsigned start = 0; start < lists; start += blockDim.x) {
        unsigned i = start + threadIdx.x, own = i < lists ? counts[i] : 0;
        sums[threadIdx.x] = own;
        __syncthreads();
        for (unsigned step = 1; step < blockDim.x; step *= 2) {
            unsigned other = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
            __syncthreads();
            sums[threadIdx.x] += other;
            __syncthreads();
        }
        if (i < lists) starts[i] = before + sums[threadIdx.x] - own;
        before += sums[blockDim.x - 1];
        __syncthreads();
    }
    if (threadIdx.x == 0) starts[lists] = before;
}

// The rows of each column in order, and which entry of a row is the column's, found by bisection. A warp has one column.
extern "C" __global__ void list_marks(const unsigned *marks, const unsigned *begins, const unsigned *starts, const unsigned *columns,
                                      unsigned *rows, unsigned *entries, unsigned words, unsigned count) {
    unsigned column = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (column >= count) return;
    unsigned at = begins[column];
    for (unsigned first = 0; first < words; first += 32) {
        unsigned word = first + lane < words ? marks[(size_t)column * words + first + lane] : 0, before = 0, all = 0;
        for (unsigned other = 0; other < 32; ++other) {
            unsigned theirs = __shfl_sync(0xffffffff, (unsigned)__popc(word), other);
            before += other < lane ? theirs : 0;
            all += theirs;
        }
        for (unsigned place = at + before; word != 0; word &= word - 1, ++place) {
            unsigned row = 32 * (first + lane) + __ffs(word) - 1, low = starts[row], high = starts[row + 1];
            while (high - low > 1) {
                unsigned middle = (low + high) / 2;
                if (columns[middle] > column) high = middle;
                else low = middle;
            }
            rows[place] = row;
            entries[place] = low;
        }
        at += all;
    }
}

// The sums of rows, each times the value of a column's entry there: out = S^T R, for the gradient of a table.
extern "C" __global__ void sums_of_columns(const unsigned *begins, const unsigned *rows, const unsigned *entries, const float *values,
                                           const float *table, float *out, unsigned width) {
    unsigned column = blockIdx.x, begin = begins[column], end = begins[column + 1];
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (unsigned at = begin; at < end; ++at) sum += values[entries[at]] * table[(size_t)rows[at] * width + i];
        out[(size_t)column * width + i] = sum;
    }
}
