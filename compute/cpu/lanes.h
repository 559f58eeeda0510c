/* lanes: sixteen floats side by side, and functions that compilers can keep in them. The number of lanes is part of
 * the arithmetic, not of the processor: a sum over lanes comes out the same on every machine. */
#ifndef STN_COMPUTE_CPU_LANES_H
#define STN_COMPUTE_CPU_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define STN_LANES 16

typedef float stn_lanes __attribute__((vector_size(4 * STN_LANES), aligned(4), may_alias));

#define STN_LANES_AT(p) (*(stn_lanes *)(p))
#define STN_LANES_IN(p) (*(const stn_lanes *)(p))
#define STN_LANES_INLINE static inline __attribute__((always_inline, unused))

/* One body, compiled for several instruction sets, chosen when the program is loaded. No set changes a result: nothing
 * is contracted or reassociated. Sanitizers cannot run before the loader's choice. A function's name must be the only one in
 * the library: clang 14 makes its chooser a global symbol. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STN_LANES_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define STN_LANES_SANITIZED
#endif
#endif
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(STN_LANES_SANITIZED)
#define STN_LANES_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define STN_LANES_CLONES
#endif

/* ((0 + 8) + (4 + 12)) + ...: a fixed tree */
STN_LANES_INLINE float stn_lanes_sum(const stn_lanes *v)
{
    float t[STN_LANES];
    memcpy(t, v, sizeof t);
    for (size_t half = STN_LANES / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            t[i] += t[i + half];
        }
    }
    return t[0];
}

/* IEEE half to float. */
STN_LANES_INLINE float stn_lanes_widen(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 0x3ff;
    union {
        uint32_t bits;
        float value;
    } f;
    if (exponent == 0) {
        f.value = (float)fraction * 0x1p-24f; /* zero and subnormals */
        f.bits |= sign;
    } else {
        f.bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
    }
    return f.value;
}

/* exp(x), relative error below 2e-7 in [-87, 88], held at its ends outside; NaN stays. Cephes' polynomial (Moshier 1992). */
STN_LANES_INLINE float stn_lanes_exp(float x)
{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    union {
        float value;
        uint32_t bits;
    } whole = {.value = x * 1.44269504f + 12582912.0f}; /* rounds to the nearest whole, in the low bits: 1.5 * 2^23 */
    float n = whole.value - 12582912.0f;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    union {
        uint32_t bits;
        float value;
    } power = {.bits = (whole.bits - 0x4b400000u + 127u) << 23}; /* 2^n; of a NaN anything, and y is NaN then */
    return y * power.value;
}

/* The same in double, relative error below 1e-9: for what a quantiser rounds next. The Taylor polynomial of degree 9 on
 * |r| <= log(2) / 2. */
STN_LANES_INLINE double stn_lanes_exp_wide(double x)
{
    x = x > 700.0 ? 700.0 : x;
    x = x < -700.0 ? -700.0 : x;
    union {
        double value;
        uint64_t bits;
    } whole = {.value = x * 1.4426950408889634 + 6755399441055744.0}; /* 1.5 * 2^52 */
    double r = x - (whole.value - 6755399441055744.0) * 0.6931471805599453;
    double y = 1.0 / 362880;
    y = y * r + 1.0 / 40320;
    y = y * r + 1.0 / 5040;
    y = y * r + 1.0 / 720;
    y = y * r + 1.0 / 120;
    y = y * r + 1.0 / 24;
    y = y * r + 1.0 / 6;
    y = y * r + 0.5;
    y = y * r + 1.0;
    y = y * r + 1.0;
    union {
        uint64_t bits;
        double value;
    } power = {.bits = (whole.bits - 0x4338000000000000u + 1023u) << 52}; /* 2^n; of a NaN anything, and y is NaN then */
    return y * power.value;
}

#endif
