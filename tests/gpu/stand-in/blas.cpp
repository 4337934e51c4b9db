// Matrix products as cuBLAS gives them: columns first, each matrix as it is or turned, sums in f32 (f64 for f64).
#include "include/cuda_fp16.h"

#include <vector>

namespace {

enum Type { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };

template <typename Sum> Sum number(const void *at, Type type, size_t i) {
    switch (type) {
    case F32: return Sum(static_cast<const float *>(at)[i]);
    case F64: return Sum(static_cast<const double *>(at)[i]);
    case F16: return Sum(float(static_cast<const __half *>(at)[i]));
    case BF16: return Sum(float(static_cast<const __nv_bfloat16 *>(at)[i]));
    }
    fprintf(stderr, "stand-in: cuBLAS is asked for type %d\n", int(type));
    abort();
}

template <typename Sum> void put(void *at, Type type, size_t i, Sum value) {
    switch (type) {
    case F32: static_cast<float *>(at)[i] = float(value); return;
    case F64: static_cast<double *>(at)[i] = double(value); return;
    case F16: static_cast<__half *>(at)[i] = __half(float(value)); return;
    case BF16: static_cast<__nv_bfloat16 *>(at)[i] = __nv_bfloat16(float(value)); return;
    }
}

size_t width(Type type) { return type == F64 ? 8 : type == F32 ? 4 : 2; }

template <typename Sum>
void product(bool turn_a, bool turn_b, size_t m, size_t n, size_t k, Sum alpha, const void *a, Type ta, size_t lda, const void *b, Type tb,
             size_t ldb, Sum beta, void *c, Type tc, size_t ldc) {
    // Columns of A one after the other, so that the innermost loop goes along one of them.
    std::vector<Sum> columns(m * k), column(m);
    for (size_t l = 0; l < k; ++l)
        for (size_t i = 0; i < m; ++i) columns[l * m + i] = number<Sum>(a, ta, turn_a ? l + i * lda : i + l * lda);
    for (size_t j = 0; j < n; ++j) {
        std::fill(column.begin(), column.end(), Sum(0));
        for (size_t l = 0; l < k; ++l) {
            Sum factor = number<Sum>(b, tb, turn_b ? j + l * ldb : l + j * ldb);
            const Sum *from = &columns[l * m];
            for (size_t i = 0; i < m; ++i) column[i] += factor * from[i];
        }
        for (size_t i = 0; i < m; ++i) {
            Sum before = beta == Sum(0) ? Sum(0) : beta * number<Sum>(c, tc, i + j * ldc);
            put<Sum>(c, tc, i + j * ldc, alpha * column[i] + before);
        }
    }
}

int handle;

} // namespace

extern "C" {
int cublasCreate_v2(void **made) { *made = &handle; return 0; }
int cublasDestroy_v2(void *) { return 0; }
int cublasSetStream_v2(void *, void *) { return 0; }
int cublasSetMathMode(void *, int) { return 0; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return 0; }

int cublasGemmStridedBatchedEx(void *, int turn_a, int turn_b, int m, int n, int k, const void *alpha, const void *a, Type ta, int lda,
                               long long step_a, const void *b, Type tb, int ldb, long long step_b, const void *beta, void *c, Type tc, int ldc,
                               long long step_c, int count, int compute, int) {
    // 64 and 65 are the sums in f16, whose factors are f16, too; 70 is f64.
    for (int i = 0; i < count; ++i) {
        const char *from_a = static_cast<const char *>(a) + size_t(i * step_a) * width(ta);
        const char *from_b = static_cast<const char *>(b) + size_t(i * step_b) * width(tb);
        char *to = static_cast<char *>(c) + size_t(i * step_c) * width(tc);
        if (compute == 70) {
            product<double>(turn_a, turn_b, size_t(m), size_t(n), size_t(k), *static_cast<const double *>(alpha), from_a, ta, size_t(lda), from_b, tb,
                            size_t(ldb), *static_cast<const double *>(beta), to, tc, size_t(ldc));
            continue;
        }
        Type factors = compute == 64 || compute == 65 ? F16 : F32;
        product<float>(turn_a, turn_b, size_t(m), size_t(n), size_t(k), number<float>(alpha, factors, 0), from_a, ta, size_t(lda), from_b, tb,
                       size_t(ldb), number<float>(beta, factors, 0), to, tc, size_t(ldc));
    }
    return 0;
}
int cublasDgemmStridedBatched(void *handle, int turn_a, int turn_b, int m, int n, int k, const double *alpha, const void *a, int lda, long long sa,
                              const void *b, int ldb, long long sb, const double *beta, void *c, int ldc, long long sc, int count) {
    return cublasGemmStridedBatchedEx(handle, turn_a, turn_b, m, n, k, alpha, a, F64, lda, sa, b, F64, ldb, sb, beta, c, F64, ldc, sc, count, 70, 0);
}
int cublasSgemmStridedBatched(void *handle, int turn_a, int turn_b, int m, int n, int k, const float *alpha, const void *a, int lda, long long sa,
                              const void *b, int ldb, long long sb, const float *beta, void *c, int ldc, long long sc, int count) {
    return cublasGemmStridedBatchedEx(handle, turn_a, turn_b, m, n, k, alpha, a, F32, lda, sa, b, F32, ldb, sb, beta, c, F32, ldc, sc, count, 68, 0);
}
}
