#include "compute/cpu/gemm_kernel.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <stdbool.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#define VECTOR TARGET static inline __attribute__((always_inline))
#define VEC 16
#define WIDE 4
#define SUMS 8
#define BROADCAST_TILES(X)                                                                         \
    X(6, 4) X(5, 4) X(4, 4) X(3, 4) X(2, 4) X(1, 4)                                                \
    X(12, 2) X(8, 2) X(4, 2) X(2, 2) X(1, 2)                                                       \
    X(12, 1) X(8, 1) X(4, 1) X(2, 1) X(1, 1)
#define DOT_TILES(X)                                                                               \
    X(3, 8) X(2, 8) X(1, 8)                                                                        \
    X(6, 4) X(3, 4) X(2, 4) X(1, 4)                                                                \
    X(8, 1) X(4, 1) X(1, 1)

typedef __m512 vec;
typedef __mmask16 lanes;

static inline lanes lanes_of(size_t n)
{
    return (lanes)(n < VEC ? (1u << n) - 1 : 0xffff);
}

VECTOR vec zero(void)
{
    return _mm512_setzero_ps();
}

VECTOR vec set(float x)
{
    return _mm512_set1_ps(x);
}

VECTOR vec load(const float *p, lanes part, bool full)
{
    return full ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(part, p);
}

VECTOR vec load_half(const uint16_t *p, lanes part, bool full)
{
    return _mm512_cvtph_ps(full ? _mm256_loadu_si256((const void *)p) : _mm256_maskz_loadu_epi16(part, p));
}

VECTOR void store(float *p, lanes part, bool full, vec x)
{
    if (full) {
        _mm512_storeu_ps(p, x);
    } else {
        _mm512_mask_storeu_ps(p, part, x);
    }
}

VECTOR vec fused(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

VECTOR vec mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

VECTOR vec add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

/* In each 128 bits: the four sums of four vectors' floats there. */
VECTOR vec quads(const vec *x)
{
    vec s01 = add(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    vec s23 = add(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    __m512d a = _mm512_castps_pd(s01), b = _mm512_castps_pd(s23);
    return add(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
}

VECTOR void put_sums(float *c, size_t n, float alpha, float beta, const vec *x)
{
    vec a = quads(x), b = quads(x + 4);
    vec s = add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    s = add(_mm512_shuffle_f32x4(s, s, 0x88), _mm512_shuffle_f32x4(s, s, 0xdd));
    __m256 sums = _mm256_mul_ps(_mm256_set1_ps(alpha), _mm512_castps512_ps256(s));
    __mmask8 part = (__mmask8)((1u << n) - 1);
    if (beta != 0) {
        __m256 before = _mm256_mul_ps(_mm256_set1_ps(beta), _mm256_maskz_loadu_ps(part, c));
        sums = _mm256_add_ps(before, sums);
    }
    _mm256_mask_storeu_ps(c, part, sums);
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

/* Up to eight columns fill half a vector: the narrower vectors do them at twice the rate, and in the same order. */
static void broadcast_any(const struct stn_gemm_args *g)
{
    if (g->n <= 8) {
        stn_gemm_avx2_kernel.broadcast(g);
    } else {
        broadcast(g);
    }
}

const struct stn_gemm_kernel stn_gemm_avx512_kernel = {.broadcast = broadcast_any, .dot = dot};

#else
typedef int stn_gemm_avx512_is_for_x86; /* ISO C wants a declaration */
#endif
