#include "compute/cpu/cpuid.h"
#include "compute/cpu/gemm_kernel.h"

#ifdef STN_CPUID_BUILDS_NEON_DOT

#include <arm_neon.h>
#include <stdbool.h>
#include <string.h>

#define TARGET
#define VECTOR static inline __attribute__((always_inline))
#define VEC 4
#define WIDE 4
#define SUMS 4
#define BROADCAST_TILES(X)                                                                         \
    X(6, 4) X(4, 4) X(3, 4) X(2, 4) X(1, 4)                                                        \
    X(12, 2) X(8, 2) X(4, 2) X(2, 2) X(1, 2)                                                       \
    X(12, 1) X(8, 1) X(4, 1) X(2, 1) X(1, 1)
#define DOT_TILES(X)                                                                               \
    X(5, 4) X(4, 4) X(3, 4) X(2, 4) X(1, 4)                                                        \
    X(8, 1) X(4, 1) X(1, 1)

typedef float32x4_t vec;
typedef size_t lanes; /* the first so many */

VECTOR lanes lanes_of(size_t n)
{
    return n < VEC ? n : VEC;
}

VECTOR vec zero(void)
{
    return vdupq_n_f32(0);
}

VECTOR vec set(float x)
{
    return vdupq_n_f32(x);
}

VECTOR vec load(const float *p, lanes part, bool full)
{
    if (full) {
        return vld1q_f32(p);
    }
    float some[VEC] = {0};
    memcpy(some, p, part * sizeof *some);
    return vld1q_f32(some);
}

VECTOR vec load_half(const uint16_t *p, lanes part, bool full)
{
    uint16_t some[VEC] = {0};
    memcpy(some, p, (full ? VEC : part) * sizeof *some);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(some)));
}

VECTOR void store(float *p, lanes part, bool full, vec x)
{
    float some[VEC];
    vst1q_f32(some, x);
    memcpy(p, some, (full ? VEC : part) * sizeof *some);
}

VECTOR vec fused(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

VECTOR vec mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

VECTOR vec add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

VECTOR void put_sums(float *c, size_t n, float alpha, float beta, const vec *x)
{
    vec sums = mul(set(alpha), vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])));
    if (beta != 0) {
        sums = add(mul(set(beta), load(c, n, false)), sums);
    }
    store(c, n, false, sums);
}

/* to[k][j] = b[j][k]      4 x 4 */
VECTOR void turn_four(const float *b, size_t ldb, float *to, size_t ldto)
{
    float32x4x2_t r01 = vtrnq_f32(vld1q_f32(b), vld1q_f32(b + ldb));
    float32x4x2_t r23 = vtrnq_f32(vld1q_f32(b + 2 * ldb), vld1q_f32(b + 3 * ldb));
    vst1q_f32(to, vcombine_f32(vget_low_f32(r01.val[0]), vget_low_f32(r23.val[0])));
    vst1q_f32(to + ldto, vcombine_f32(vget_low_f32(r01.val[1]), vget_low_f32(r23.val[1])));
    vst1q_f32(to + 2 * ldto, vcombine_f32(vget_high_f32(r01.val[0]), vget_high_f32(r23.val[0])));
    vst1q_f32(to + 3 * ldto, vcombine_f32(vget_high_f32(r01.val[1]), vget_high_f32(r23.val[1])));
}

#include "compute/cpu/gemm_simd.h"

const struct stn_gemm_kernel stn_gemm_neon_kernel = {.broadcast = broadcast, .dot = dot};

#else
typedef int stn_gemm_neon_is_for_arm; /* ISO C wants a declaration */
#endif
