#include "compute/cpu/gemm_kernel.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define VECTOR TARGET static inline __attribute__((always_inline))
#define VEC 8
#define WIDE 2
#define SUMS 4
#define BROADCAST_TILES(X)                                                                         \
    X(6, 2) X(4, 2) X(3, 2) X(2, 2) X(1, 2)                                                        \
    X(12, 1) X(8, 1) X(4, 1) X(2, 1) X(1, 1)
#define DOT_TILES(X)                                                                               \
    X(3, 4) X(2, 4) X(1, 4)                                                                        \
    X(8, 1) X(4, 1) X(1, 1)

typedef __m256 vec;
typedef __m256i lanes;

VECTOR lanes lanes_of(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < VEC ? (int)n : VEC), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

VECTOR vec zero(void)
{
    return _mm256_setzero_ps();
}

VECTOR vec set(float x)
{
    return _mm256_set1_ps(x);
}

VECTOR vec load(const float *p, lanes part, bool full)
{
    return full ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, part);
}

VECTOR vec load_half(const uint16_t *p, lanes part, bool full)
{
    int n = __builtin_popcount((unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(part)));
    if (full || n == VEC) {
        return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
    }
    uint16_t some[VEC] = {0};
    memcpy(some, p, (size_t)n * sizeof *some);
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)some));
}

VECTOR void store(float *p, lanes part, bool full, vec x)
{
    if (full) {
        _mm256_storeu_ps(p, x);
    } else {
        _mm256_maskstore_ps(p, part, x);
    }
}

VECTOR vec fused(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

VECTOR vec mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

VECTOR vec add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

VECTOR void put_sums(float *c, size_t n, float alpha, float beta, const vec *x)
{
    vec s = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
    __m128 sums = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    sums = _mm_mul_ps(_mm_set1_ps(alpha), sums);
    __m128i part = _mm256_castsi256_si128(lanes_of(n));
    if (beta != 0) {
        sums = _mm_add_ps(_mm_mul_ps(_mm_set1_ps(beta), _mm_maskload_ps(c, part)), sums);
    }
    _mm_maskstore_ps(c, part, sums);
}

/* to[k][j] = b[j][k]      4 x 4 */
VECTOR void turn_four(const float *b, size_t ldb, float *to, size_t ldto)
{
    __m128 r0 = _mm_loadu_ps(b), r1 = _mm_loadu_ps(b + ldb);
    __m128 r2 = _mm_loadu_ps(b + 2 * ldb), r3 = _mm_loadu_ps(b + 3 * ldb);
    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
    _mm_storeu_ps(to, r0);
    _mm_storeu_ps(to + ldto, r1);
    _mm_storeu_ps(to + 2 * ldto, r2);
    _mm_storeu_ps(to + 3 * ldto, r3);
}

#include "compute/cpu/gemm_simd.h"

const struct stn_gemm_kernel stn_gemm_avx2_kernel = {.broadcast = broadcast, .dot = dot};

#else
typedef int stn_gemm_avx2_is_for_x86; /* ISO C wants a declaration */
#endif
