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

// Counts the next bits of a number in order, where it is a candidate.
static __device__ void count_digit(unsigned bits, unsigned pass, unsigned found, unsigned *counts) {
    if ((bits & known_of(pass)) == found) atomicAdd(&counts[(bits >> shift_of(pass)) & (bins_of(pass) - 1)], 1u);
}

// Adds to a cut the digit at which the largest end. Where there are fewer than are asked for, all are taken. All threads of a block
// call it, whose number divides that of the bins: each has a stretch of them, the first one the highest. `totals` has a number for
// each warp.
static __device__ void choose_digit(unsigned *cut, unsigned pass, const unsigned *counts, unsigned *totals) {
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, stretch = bins_of(pass) / blockDim.x;
    unsigned top = bins_of(pass) - threadIdx.x * stretch, own = 0;
    for (unsigned j = 1; j <= stretch; ++j) own += counts[top - j];
    unsigned sum = own;
    for (unsigned step = 1; step < 32; step *= 2) {
        unsigned other = __shfl_sync(0xffffffff, sum, lane >= step ? lane - step : lane);
        if (lane >= step) sum += other;
    }
    if (lane == 31) totals[warp] = sum;
    __syncthreads();
    unsigned before = sum - own, wanted = cut[1];
    for (unsigned other = 0; other < warp; ++other) before += totals[other];
    __syncthreads();
    bool is_last = threadIdx.x == blockDim.x - 1;
    if (before < wanted && (before + own >= wanted || is_last)) {
        unsigned left = wanted - before, digit = top - 1;
        while (digit > 0 && counts[digit] < left) left -= counts[digit--];
        cut[0] |= digit << shift_of(pass);
        cut[1] = left;
    }
    __syncthreads();
}

// The numbers of a row, of which each is read as the product that it nearly is, plus a bias: at least `lower`, at most `upper`.
// Without `norms` it is exact.
struct Row {
    const float *numbers, *bias, *norms;
    float slack;

    __device__ float number(unsigned i) const { return bias ? numbers[i] + bias[i] : numbers[i]; }
    __device__ float lower(unsigned i) const { return norms ? number(i) - slack * norms[i] : number(i); }
    __device__ float upper(unsigned i) const { return norms ? number(i) + slack * norms[i] : number(i); }
};

// The cut of the k largest of the bits in order that `each` gives to a function. All threads of a block call it, and have it.
template <typename Each>
static __device__ void select_largest(const Each &each, unsigned k, unsigned *counts, unsigned *cut, unsigned *totals) {
    if (threadIdx.x == 0) {
        cut[0] = 0;
        cut[1] = k;
    }
    for (unsigned pass = 0; pass < 3; ++pass) {
        for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        unsigned found = cut[0];
        each([&](unsigned bits) { count_digit(bits, pass, found, counts); });
        __syncthreads();
        choose_digit(cut, pass, counts, totals);
    }
}

// Numbers that one block keeps at hand.
#define HELD 2048
// Numbers that a thread asks memory for before it looks at the first.
#define AT_ONCE 8
// How many of the largest that it has seen a thread remembers.
#define REMEMBERED 4

// The cut of each row's k largest; with `positive`, of its numbers above 0. A block has one row. The k-th largest of the few that
// each thread remembers is no larger than the k-th largest of all, and few numbers are above it: they alone are counted, since
// a count of all of them waits for the others that are nearly alike.
extern "C" __global__ void cuts_of_rows(const float *numbers, const float *bias, const float *norms, const float *slacks, unsigned *cuts,
                                        unsigned width, unsigned k, unsigned positive) {
    __shared__ unsigned counts[BINS];
    __shared__ unsigned cut[2];
    __shared__ unsigned held[HELD];
    __shared__ unsigned totals[32];
    __shared__ unsigned kept;
    Row row = {numbers + (size_t)blockIdx.x * width, bias, norms, norms ? slacks[blockIdx.x] : 0.0f};
    auto all = [&](auto take) {
        for (unsigned start = threadIdx.x; start < width; start += AT_ONCE * blockDim.x) {
            float found[AT_ONCE];
#pragma unroll
            for (unsigned j = 0; j < AT_ONCE; ++j) {
                unsigned i = start + j * blockDim.x;
                found[j] = i < width ? row.lower(i) : 0.0f;
            }
#pragma unroll
            for (unsigned j = 0; j < AT_ONCE; ++j)
                if (start + j * blockDim.x < width && (!positive || found[j] > 0.0f)) take(in_order(found[j]));
        }
    };
    if (threadIdx.x == 0) kept = HELD + 1;
    if (k <= REMEMBERED * blockDim.x && width > 4 * blockDim.x) {
        unsigned most[REMEMBERED] = {};
        all([&](unsigned bits) {
#pragma unroll
            for (unsigned j = 0; j < REMEMBERED; ++j) {
                unsigned larger = max(most[j], bits);
                bits = min(most[j], bits);
                most[j] = larger;
            }
        });
        select_largest([&](auto take) {
#pragma unroll
            for (unsigned j = 0; j < REMEMBERED; ++j) take(most[j]);
        }, k, counts, cut, totals);
        unsigned least = cut[0];
        if (threadIdx.x == 0) kept = 0;
        __syncthreads();
        all([&](unsigned bits) {
            if (bits < least) return;
            unsigned place = atomicAdd(&kept, 1u);
            if (place < HELD) held[place] = bits;
        });
    }
    __syncthreads();
    unsigned candidates = kept;
    if (candidates <= HELD)
        select_largest([&](auto take) {
            for (unsigned i = threadIdx.x; i < candidates; i += blockDim.x) take(held[i]);
        }, k, counts, cut, totals);
    else select_largest(all, k, counts, cut, totals);
    if (threadIdx.x < 2) cuts[2 * blockIdx.x + threadIdx.x] = cut[threadIdx.x];
}

// The entries of each row that may be at least its cut, and above 0; `over` is 1 where a row has more than it has room for.
extern "C" __global__ void take_candidates(const float *numbers, const float *bias, const float *norms, const float *slacks,
                                           const unsigned *cuts, const unsigned *starts, unsigned *columns, unsigned *over,
                                           unsigned width) {
    __shared__ unsigned totals[32];
    Row row = {numbers + (size_t)blockIdx.x * width, bias, norms, slacks[blockIdx.x]};
    unsigned at = starts[blockIdx.x], end = starts[blockIdx.x + 1], least = cuts[2 * blockIdx.x], all = 0;
    for (unsigned start = 0; start < width; start += AT_ONCE * blockDim.x) {
        float most[AT_ONCE];
        unsigned marks = 0;
#pragma unroll
        for (unsigned j = 0; j < AT_ONCE; ++j) {
            unsigned i = start + j * blockDim.x + threadIdx.x;
            most[j] = i < width ? row.upper(i) : 0.0f;
        }
#pragma unroll
        for (unsigned j = 0; j < AT_ONCE; ++j) marks |= unsigned(most[j] > 0.0f && in_order(most[j]) >= least) << j;
        // Most stretches of a row have none.
        if (!__syncthreads_or(marks != 0)) continue;
        for (unsigned j = 0; j < AT_ONCE; ++j) {
            bool yes = marks >> j & 1;
            unsigned place = at + rank_in_block(yes, totals, &all);
            at += all;
            if (yes && place < end) columns[place] = start + j * blockDim.x + threadIdx.x;
        }
    }
    if (threadIdx.x == 0 && at > end) *over = 1;
    for (unsigned place = at + threadIdx.x; place < end; place += blockDim.x) columns[place] = NOWHERE;
}

// Which columns the places among candidates are, of which each row has `each`.
extern "C" __global__ void columns_of_candidates(const unsigned *starts, unsigned *columns, const unsigned *candidates, unsigned each) {
    for (unsigned at = starts[blockIdx.x] + threadIdx.x; at < starts[blockIdx.x + 1]; at += blockDim.x)
        if (columns[at] != NOWHERE) columns[at] = candidates[(size_t)blockIdx.x * each + columns[at]];
}

// The norm of each row. A warp has one row.
extern "C" __global__ void norms_of_rows(const float *table, float *norms, unsigned rows, unsigned width) {
    unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows) return;
    float sum = 0.0f;
    for (unsigned i = lane; i < width; i += 32) sum += table[(size_t)row * width + i] * table[(size_t)row * width + i];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (lane == 0) norms[row] = sqrtf(sum);
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
        for (unsigned i = threadIdx.x; i < width && base + i < size; i += blockDim.x) {
            float number = Row{numbers + base, bias}.number(i);
            if (!positive || number > 0.0f) count_digit(in_order(number), pass, found, own);
        }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x)
        if (own[i] > 0) atomicAdd(&counts[i], own[i]);
}

// Ends such a pass; `counts` are 0 again. One block.
extern "C" __global__ void end_of_pass(unsigned *cut, unsigned *counts, unsigned pass) {
    __shared__ unsigned totals[32];
    choose_digit(cut, pass, counts, totals);
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
        float number = inside ? Row{numbers + base, bias}.number(i) : 0.0f;
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
    Row row = {numbers + (size_t)blockIdx.x * width, bias};
    const unsigned *cut = cuts + (size_t)blockIdx.x * apart;
    unsigned at = starts[blockIdx.x], end = starts[blockIdx.x + 1], all = 0;
    unsigned rank = apart == 0 ? equal_before[blockIdx.x] : 0;
    for (unsigned start = 0; start < width; start += blockDim.x) {
        unsigned i = start + threadIdx.x;
        float number = i < width ? row.number(i) : 0.0f;
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

// The products of each row with those rows of a table that its entries name, as the gradient of S at its entries is, plus a bias
// of each. A warp has one entry at a time.
extern "C" __global__ void dots_at(const unsigned *starts, const unsigned *columns, const float *rows, const float *table,
                                   const float *bias, float *out, unsigned width) {
    const float *row = rows + (size_t)blockIdx.x * width;
    unsigned lane = threadIdx.x % 32;
    for (unsigned at = starts[blockIdx.x] + threadIdx.x / 32; at < starts[blockIdx.x + 1]; at += blockDim.x / 32) {
        if (columns[at] == NOWHERE) continue;
        const float *other = table + (size_t)columns[at] * width;
        float sum = 0.0f;
        for (unsigned i = lane; i < width; i += 32) sum += row[i] * other[i];
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
        if (lane == 0) out[at] = bias ? sum + bias[columns[at]] : sum;
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

// The sum of some entries of a column at one place: rows of a table, each times its value.
static __device__ float sum_of_entries(const unsigned *rows, const unsigned *entries, const float *values, const float *table,
                                       unsigned begin, unsigned end, unsigned width, unsigned i) {
    float sum = 0.0f;
#pragma unroll 4
    for (unsigned at = begin; at < end; ++at) sum += values[entries[at]] * table[(size_t)rows[at] * width + i];
    return sum;
}

// The sums of rows, each times the value of a column's entry there: out = S^T R, for the gradient of a table. Columns of more
// entries than a piece has are left to the kernels below.
extern "C" __global__ void sums_of_columns(const unsigned *begins, const unsigned *rows, const unsigned *entries, const float *values,
                                           const float *table, float *out, unsigned width, unsigned piece) {
    unsigned column = blockIdx.x, begin = begins[column], end = begins[column + 1];
    if (end - begin > piece) return;
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x)
        out[(size_t)column * width + i] = sum_of_entries(rows, entries, values, table, begin, end, width, i);
}

// How many pieces each column has: none where it is short.
extern "C" __global__ void pieces_of_columns(const unsigned *counts, unsigned *pieces, unsigned piece, unsigned columns) {
    unsigned column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column < columns) pieces[column] = counts[column] > piece ? (counts[column] + piece - 1) / piece : 0;
}

// The sums of one piece of a long column, where `first` says with which piece each column begins. A block has one piece.
extern "C" __global__ void sums_of_pieces(const unsigned *begins, const unsigned *first, const unsigned *rows, const unsigned *entries,
                                          const float *values, const float *table, float *parts, unsigned width, unsigned piece,
                                          unsigned columns) {
    if (blockIdx.x >= first[columns]) return;
    unsigned column = 0, high = columns;
    while (high - column > 1) {
        unsigned middle = (column + high) / 2;
        if (first[middle] > blockIdx.x) high = middle;
        else column = middle;
    }
    unsigned begin = begins[column] + (blockIdx.x - first[column]) * piece, end = min(begin + piece, begins[column + 1]);
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x)
        parts[(size_t)blockIdx.x * width + i] = sum_of_entries(rows, entries, values, table, begin, end, width, i);
}

// The sums of long columns, of those of their pieces in order. A block has one column.
extern "C" __global__ void sums_of_parts(const unsigned *first, const float *parts, float *out, unsigned width) {
    unsigned begin = first[blockIdx.x], end = first[blockIdx.x + 1];
    if (begin == end) return;
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (unsigned at = begin; at < end; ++at) sum += parts[(size_t)at * width + i];
        out[(size_t)blockIdx.x * width + i] = sum;
    }
}

// The sum of the values of each column's entries. A warp has one column.
extern "C" __global__ void totals_of_columns(const unsigned *begins, const unsigned *entries, const float *values, float *out,
                                             unsigned columns) {
    unsigned column = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (column >= columns) return;
    float sum = 0.0f;
    for (unsigned at = begins[column] + lane; at < begins[column + 1]; at += 32) sum += values[entries[at]];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (lane == 0) out[column] = sum;
}

// Adds each row of a table to the row of another that is named for it; no row is named twice. A block has one row.
extern "C" __global__ void add_to_rows(const float *table, const unsigned *names, float *out, unsigned width) {
    const float *row = table + (size_t)blockIdx.x * width;
    float *to = out + (size_t)names[blockIdx.x] * width;
    for (unsigned i = threadIdx.x; i < width; i += blockDim.x) to[i] += row[i];
}
