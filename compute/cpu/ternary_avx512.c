/* The integer dot product of AVX-512 VNNI (vpdpbusd) takes unsigned by signed bytes, so the weights
 * stay codes 0, 1, 2 and the sum of q is taken off: sum w q = sum code q - sum q. Odd fields are
 * not shifted down: their sums are four times too big, exactly, and are divided at the end. */
#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_kernel.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")))
#define INLINE TARGET static inline __attribute__((always_inline))
enum { TOKENS = 6 }; /* 6 x 4 accumulators of 32 registers */

static inline int32_t four(const int8_t *q)
{
    int32_t value;
    memcpy(&value, q, sizeof value);
    return value;
}

/* sum += code q, four products to a lane. Written out because compilers copy the accumulators of
 * the intrinsic. */
INLINE __m512i dot(__m512i sum, __m512i codes, __m512i q)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(q));
    return sum;
}

/* acc[t][f] = 4^(f % 2) (sum_i code[16 f + lane][i] q[t][i] - sums[t]) over some units */
INLINE void run(const uint8_t *units, size_t n_units, const int8_t *q, size_t stride,
                const int32_t *sums, size_t sums_stride, const size_t n, __m512i acc[TOKENS][4])
{
    const __m512i even = _mm512_set1_epi8(0x03), odd = _mm512_set1_epi8(0x0c);
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        int32_t less = -sums[t * sums_stride];
        acc[t][0] = acc[t][2] = _mm512_set1_epi32(less);
        acc[t][1] = acc[t][3] = _mm512_set1_epi32((int32_t)((uint32_t)less << 2));
    }
    for (size_t u = 0; u < n_units; u++) {
        __m512i codes = _mm512_loadu_si512(units + u * STN_TERNARY_UNIT);
        __m512i high = _mm512_srli_epi16(codes, 4);
        __m512i w[4] = {_mm512_and_si512(codes, even), _mm512_and_si512(codes, odd),
                        _mm512_and_si512(high, even), _mm512_and_si512(high, odd)};
        STN_CPUID_UNROLL
        for (size_t t = 0; t < n; t++) {
            __m512i x = _mm512_set1_epi32(four(q + t * stride + 4 * u));
            STN_CPUID_UNROLL
            for (int f = 0; f < 4; f++) {
                acc[t][f] = dot(acc[t][f], w[f], x);
            }
        }
    }
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        acc[t][1] = _mm512_srai_epi32(acc[t][1], 2);
        acc[t][3] = _mm512_srai_epi32(acc[t][3], 2);
    }
}

INLINE void put(const struct stn_ternary_product *p, size_t t, int f, __m512 value)
{
    size_t lane = 16 * (size_t)f;
    if (lane >= p->count) {
        return;
    }
    size_t left = p->count - lane;
    __mmask16 mask = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffff);
    float *y = p->y + t * p->ldy + lane;
    if (p->add) {
        value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), value);
    }
    if (mask == 0xffff) {
        _mm512_storeu_ps(y, value);
    } else {
        _mm512_mask_storeu_ps(y, mask, value);
    }
}

INLINE void tile_one(const struct stn_ternary_product *p, size_t t0, const size_t n)
{
    __m512i acc[TOKENS][4];
    run(p->panel, p->n_inputs / 4, p->q + t0 * p->n_inputs, p->n_inputs, p->sums + t0, 1, n, acc);
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        __m512 scale = _mm512_set1_ps(p->w_scale * p->scale[t0 + t]);
        STN_CPUID_UNROLL
        for (int f = 0; f < 4; f++) {
            put(p, t0 + t, f, _mm512_mul_ps(_mm512_cvtepi32_ps(acc[t][f]), scale));
        }
    }
}

INLINE void tile_blocks(const struct stn_ternary_product *p, size_t t0, const size_t n)
{
    enum { BLOCK_UNITS = STN_TERNARY_BLOCK / 4 };
    size_t n_units = p->n_inputs / 4, n_blocks = (n_units + BLOCK_UNITS - 1) / BLOCK_UNITS;
    __m512 total[TOKENS][4] = {{_mm512_setzero_ps()}};
    for (size_t b = 0; b < n_blocks; b++) {
        size_t u = b * BLOCK_UNITS;
        __m512i acc[TOKENS][4];
        run(p->panel + u * STN_TERNARY_UNIT, n_units - u < BLOCK_UNITS ? n_units - u : BLOCK_UNITS,
            p->q + t0 * p->n_inputs + 4 * u, p->n_inputs, p->sums + t0 * n_blocks + b, n_blocks, n,
            acc);
        for (size_t t = 0; t < n; t++) {
            for (int f = 0; f < 4; f++) {
                __m512 scale = _mm512_loadu_ps(p->block_scales + b * STN_TERNARY_LANES + 16 * f);
                __m512 part = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[t][f]), scale);
                total[t][f] = _mm512_add_ps(total[t][f], part);
            }
        }
    }
    for (size_t t = 0; t < n; t++) {
        for (int f = 0; f < 4; f++) {
            put(p, t0 + t, f, _mm512_mul_ps(total[t][f], _mm512_set1_ps(p->scale[t0 + t])));
        }
    }
}

#define TILE(n)                                                                                    \
    TARGET static void one_##n(const struct stn_ternary_product *p, size_t t)                      \
    {                                                                                              \
        tile_one(p, t, n);                                                                         \
    }                                                                                              \
    TARGET static void blocks_##n(const struct stn_ternary_product *p, size_t t)                   \
    {                                                                                              \
        tile_blocks(p, t, n);                                                                      \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void tile(const struct stn_ternary_product *p, size_t t);
static tile *const tiles[TOKENS + 1][2] = {{NULL, NULL},      {one_1, blocks_1}, {one_2, blocks_2},
                                           {one_3, blocks_3}, {one_4, blocks_4}, {one_5, blocks_5},
                                           {one_6, blocks_6}};

static void product(const struct stn_ternary_product *p)
{
    for (size_t t = 0; t < p->n;) {
        size_t n = p->n - t < TOKENS ? p->n - t : TOKENS;
        tiles[n][p->block_scales != NULL](p, t);
        t += n;
    }
}

TARGET static void sums(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *to)
{
    const __m512i ones = _mm512_set1_epi8(1);
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < n_inputs; i += block) {
            size_t end = n_inputs - i < block ? n_inputs : i + block;
            __m512i sum = _mm512_setzero_si512();
            for (size_t at = i; at < end; at += 64) {
                sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(q + t * n_inputs + at));
            }
            *to++ = _mm512_reduce_add_epi32(sum);
        }
    }
}

/* The 2-bit fields of a where keep has bits, else of b. */
INLINE __m512i choose(__m512i keep, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi32(keep, a, b, 0xca);
}

/* Three transpositions on top of each other: 4 x 4 bytes in each 128-bit lane, 4 x 4 lanes of four
 * units, and 4 x 4 fields of four vectors (two butterflies). */
TARGET static void transpose(const uint8_t *from, uint8_t *to)
{
    const __m512i bytes =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i pairs = _mm512_set1_epi8(0x33), nibbles = _mm512_set1_epi8(0x0f);
    __m512i r[4][4];
    for (size_t f = 0; f < 4; f++) {
        __m512i p[4];
        for (size_t a = 0; a < 4; a++) {
            p[a] = _mm512_shuffle_epi8(_mm512_loadu_si512(from + (4 * f + a) * STN_TERNARY_UNIT),
                                       bytes);
        }
        __m512i low01 = _mm512_shuffle_i32x4(p[0], p[1], 0x44),
                low23 = _mm512_shuffle_i32x4(p[2], p[3], 0x44);
        __m512i top01 = _mm512_shuffle_i32x4(p[0], p[1], 0xee),
                top23 = _mm512_shuffle_i32x4(p[2], p[3], 0xee);
        r[f][0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
        r[f][1] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
        r[f][2] = _mm512_shuffle_i32x4(top01, top23, 0x88);
        r[f][3] = _mm512_shuffle_i32x4(top01, top23, 0xdd);
    }
    for (size_t b = 0; b < 4; b++) {
        __m512i r0 = r[0][b], r1 = r[1][b], r2 = r[2][b], r3 = r[3][b];
        __m512i even01 = choose(pairs, r0, _mm512_slli_epi16(r1, 2));
        __m512i odd01 = choose(pairs, _mm512_srli_epi16(r0, 2), r1);
        __m512i even23 = choose(pairs, r2, _mm512_slli_epi16(r3, 2));
        __m512i odd23 = choose(pairs, _mm512_srli_epi16(r2, 2), r3);
        uint8_t *at = to + b * STN_TERNARY_UNIT;
        _mm512_storeu_si512(at, choose(nibbles, even01, _mm512_slli_epi16(even23, 4)));
        _mm512_storeu_si512(at + 4 * STN_TERNARY_UNIT,
                            choose(nibbles, odd01, _mm512_slli_epi16(odd23, 4)));
        _mm512_storeu_si512(at + 8 * STN_TERNARY_UNIT,
                            choose(nibbles, _mm512_srli_epi16(even01, 4), even23));
        _mm512_storeu_si512(at + 12 * STN_TERNARY_UNIT,
                            choose(nibbles, _mm512_srli_epi16(odd01, 4), odd23));
    }
}

/* A permutation within 128 bits looks at two bits of each index: a code selects its weight,
 * whatever stands above. */
TARGET static void expand(const uint8_t *units, size_t n_units, float *w)
{
    const __m512 weights = _mm512_broadcast_f32x4(_mm_setr_ps(-1, 0, 1, 2));
    for (size_t u = 0; u < n_units; u++) {
        __m512i codes = _mm512_loadu_si512(units + u * STN_TERNARY_UNIT);
        for (unsigned j = 0; j < 4; j++) {
            for (unsigned f = 0; f < 4; f++, w += 16) {
                __m512i index = _mm512_srli_epi32(codes, 8 * j + 2 * f);
                _mm512_storeu_ps(w, _mm512_permutevar_ps(weights, index));
            }
        }
    }
}

INLINE __mmask16 lanes(size_t left)
{
    return (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffff);
}

TARGET static float largest(const float *x, size_t n)
{
    __m512 max = _mm512_set1_ps(1e-5f);
    for (size_t i = 0; i < n; i += 16) { /* the second operand wins against not-a-number */
        max = _mm512_max_ps(_mm512_abs_ps(_mm512_maskz_loadu_ps(lanes(n - i), x + i)), max);
    }
    return _mm512_reduce_max_ps(max);
}

INLINE __m512 clamp(__m512 x)
{
    return _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(127)), _mm512_set1_ps(-127));
}

/* Eight values times inverse, rounded half to even; at most 127 both ways, as not-a-number is. */
TARGET static __m256i nearest(__m256 x, __m512d inverse)
{
    __m512d v = _mm512_mul_pd(_mm512_cvtps_pd(x), inverse);
    v = _mm512_max_pd(_mm512_min_pd(v, _mm512_set1_pd(127)), _mm512_set1_pd(-127));
    return _mm512_cvt_roundpd_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

TARGET static float quantise(const float *x, size_t n, int8_t *q)
{
    float max = largest(x, n);
    const __m512d inverse = _mm512_set1_pd(127 / (double)max);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        __m256i low = nearest(_mm512_castps512_ps256(v), inverse);
        __m256i high = nearest(_mm512_extractf32x8_ps(v, 1), inverse);
        _mm512_mask_cvtepi32_storeu_epi8(q + i, mask, _mm512_inserti32x8(_mm512_castsi256_si512(low), high, 1));
    }
    return max / 127;
}

TARGET static float quantise_random(const float *x, size_t n, uint64_t key, int8_t *q)
{
    float max = largest(x, n);
    const __m512 inverse = _mm512_set1_ps(127 / max);
    const __m512i key0 = _mm512_set1_epi32((int32_t)(uint32_t)key);
    const __m512i key1 = _mm512_set1_epi32((int32_t)(uint32_t)(key >> 32));
    const __m512i weyl = _mm512_set1_epi32((int32_t)0x9e3779b9u);
    const __m512i m1 = _mm512_set1_epi32((int32_t)0x7feb352du),
                  m2 = _mm512_set1_epi32((int32_t)0x846ca68bu);
    __m512i c = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (size_t i = 0; i < n; i += 16, c = _mm512_add_epi32(c, _mm512_set1_epi32(16))) {
        __m512i h = _mm512_add_epi32(_mm512_mullo_epi32(c, weyl), key0);
        h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 16)), m1);
        h = _mm512_xor_si512(h, key1);
        h = _mm512_mullo_epi32(_mm512_xor_si512(h, _mm512_srli_epi32(h, 15)), m2);
        h = _mm512_xor_si512(h, _mm512_srli_epi32(h, 16));
        __m512 u =
            _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srli_epi32(h, 8)), _mm512_set1_ps(0x1p-24f));
        __mmask16 mask = lanes(n - i);
        __m512 v = _mm512_add_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inverse), u);
        __m512i integers =
            _mm512_cvt_roundps_epi32(clamp(v), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
        _mm512_mask_cvtepi32_storeu_epi8(q + i, mask, integers);
    }
    return max / 127;
}

const struct stn_ternary_kernel stn_ternary_avx512_kernel = {
    .product = product,
    .sums = sums,
    .transpose = transpose,
    .expand = expand,
    .quantise = quantise,
    .quantise_random = quantise_random,
};

#else
typedef int stn_ternary_avx512_is_for_x86; /* ISO C wants a declaration */
#endif
