// The runtime's library: what nvcc compiled announces itself to it when the program begins, and is never called. (candle links
// products of quantised weights for devices, which microtome has of its own.)
#include <cstdio>
#include <cstdlib>

#define NEVER(name)                                            \
    int name() {                                               \
        fputs("stand-in: " #name " was called\n", stderr);      \
        abort();                                               \
    }

extern "C" {
void **__cudaRegisterFatBinary(void *) {
    static void *handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}
void __cudaRegisterFunction(void **, const char *, char *, const char *, int, void *, void *, void *, void *, int *) {}
void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}

NEVER(__cudaGetKernel)
NEVER(__cudaLaunchKernel)
NEVER(__cudaLaunchKernel_ptsz)
NEVER(__cudaPopCallConfiguration)
NEVER(__cudaPushCallConfiguration)
NEVER(cudaDeviceGetAttribute)
NEVER(cudaFree)
NEVER(cudaFreeAsync_ptsz)
NEVER(cudaFuncGetAttributes)
NEVER(cudaFuncSetAttribute)
NEVER(cudaGetDevice)
NEVER(cudaGetDeviceCount)
NEVER(cudaGetErrorName)
NEVER(cudaGetErrorString)
NEVER(cudaGetLastError)
NEVER(cudaMalloc)
NEVER(cudaMallocAsync_ptsz)
NEVER(cudaMemsetAsync_ptsz)
NEVER(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags)
NEVER(cudaPeekAtLastError)
NEVER(cudaSetDevice)
NEVER(cudaStreamSynchronize_ptsz)
}
