// Floats of eight bits, which nothing here computes with: candle's kernels for them have to compile, and end when they run.
#pragma once
#include "cuda_fp16.h"

struct __nv_fp8_e4m3 {
    uint8_t __x;
    __nv_fp8_e4m3() = default;
    template <typename T> explicit __nv_fp8_e4m3(T) { fputs("the stand-in has no floats of eight bits\n", stderr); abort(); }
    explicit operator float() const { fputs("the stand-in has no floats of eight bits\n", stderr); abort(); }
};
enum __nv_fp8_interpretation_t { __NV_E4M3 };
inline __half __nv_cvt_fp8_to_halfraw(uint8_t, __nv_fp8_interpretation_t) { return __half(float(__nv_fp8_e4m3())); }
