// Half precision and bfloat16, computed in f32 and rounded after each operation, as devices do.
#pragma once
#include "threads.h"

struct __half {
    _Float16 value;
    __half() = default;
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>> __half(T x) : value(_Float16(float(x))) {}
    operator float() const { return float(value); }
};
struct __nv_bfloat16 {
    uint16_t value;
    __nv_bfloat16() = default;
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>> __nv_bfloat16(T number) {
        float x = float(number);
        uint32_t bits = bits_as<uint32_t>(x);
        // To the nearest, ties to even; what is not a number stays none.
        value = x != x ? 0x7fff : uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
    operator float() const { return bits_as<float>(uint32_t(value) << 16); }
};
struct __half2 { __half x, y; };
struct __nv_bfloat162 { __nv_bfloat16 x, y; };

#define PAIR(P)                                                            \
    inline P __hadd2(P a, P b) { return {a.x + b.x, a.y + b.y}; }          \
    inline P __hsub2(P a, P b) { return {a.x - b.x, a.y - b.y}; }          \
    inline P __hmul2(P a, P b) { return {a.x * b.x, a.y * b.y}; }

#define SHORT_FLOAT(T)                                                                              \
    inline T operator+(T a, T b) { return T(float(a) + float(b)); }                                 \
    inline T operator-(T a, T b) { return T(float(a) - float(b)); }                                 \
    inline T operator*(T a, T b) { return T(float(a) * float(b)); }                                 \
    inline T operator/(T a, T b) { return T(float(a) / float(b)); }                                 \
    inline T operator-(T a) { return T(-float(a)); }                                                \
    inline T &operator+=(T &a, T b) { return a = a + b; }                                           \
    inline T &operator-=(T &a, T b) { return a = a - b; }                                           \
    inline T &operator*=(T &a, T b) { return a = a * b; }                                           \
    inline T &operator/=(T &a, T b) { return a = a / b; }                                           \
    inline bool operator<(T a, T b) { return float(a) < float(b); }                                 \
    inline bool operator>(T a, T b) { return float(a) > float(b); }                                 \
    inline bool operator<=(T a, T b) { return float(a) <= float(b); }                               \
    inline bool operator>=(T a, T b) { return float(a) >= float(b); }                               \
    inline bool operator==(T a, T b) { return float(a) == float(b); }                               \
    inline bool operator!=(T a, T b) { return float(a) != float(b); }                               \
    inline bool __hisnan(T a) { return isnan(float(a)); }                                           \
    inline T hsqrt(T a) { return T(sqrtf(a)); }                                                     \
    inline T hcos(T a) { return T(cosf(a)); }                                                       \
    inline T hsin(T a) { return T(sinf(a)); }                                                       \
    inline T hlog(T a) { return T(logf(a)); }                                                       \
    inline T hexp(T a) { return T(expf(a)); }                                                       \
    inline T __habs(T a) { return T(fabsf(a)); }                                                    \
    inline T __hmax_nan(T a, T b) { return __hisnan(a) ? a : __hisnan(b) ? b : a > b ? a : b; }     \
    inline T __hmin_nan(T a, T b) { return __hisnan(a) ? a : __hisnan(b) ? b : a < b ? a : b; }
SHORT_FLOAT(__half)
SHORT_FLOAT(__nv_bfloat16)
PAIR(__half2)
PAIR(__nv_bfloat162)
#undef SHORT_FLOAT
#undef PAIR

inline float __half2float(__half x) { return x; }
inline __half __float2half(float x) { return __half(x); }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
inline unsigned short __half_as_ushort(__half x) { return bits_as<unsigned short>(x.value); }
inline __half __ushort_as_half(unsigned short x) { __half h; h.value = bits_as<_Float16>(x); return h; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.value; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short x) { __nv_bfloat16 b; b.value = x; return b; }
