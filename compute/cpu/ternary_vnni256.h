/* ternary_vnni256: the product of 256-bit vpdpbusd, which takes unsigned by signed bytes: as in the AVX-512 kernel the weights
 * stay codes 0, 1, 2, those of odd fields four times too big, and the sum of q is taken off. The file that includes it has
 * named TARGET and DOT, the instruction in one of its two encodings: VEX for AVX-VNNI, EVEX for AVX-512 VL. */
#ifndef STN_COMPUTE_CPU_TERNARY_VNNI256_H
#define STN_COMPUTE_CPU_TERNARY_VNNI256_H

#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_ymm.h"

enum { TOKENS = 6 }; /* 6 x 2 accumulators, two of weights, an input and the mask: 16 registers */

/* sum += code q, four products to a lane. Written out because compilers copy the accumulators of the intrinsic. */
INLINE __m256i dot(__m256i sum, __m256i codes, __m256i q)
{
    __asm__(DOT " %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(q));
    return sum;
}

/* acc[t][i] = sum_i w[lane][i] q[t][i] of eight outputs of field pair + 2 i, over some units (half of each) */
INLINE void run(const uint8_t *units, size_t n_units, const int8_t *q, size_t stride, const int32_t *sums, size_t sums_stride,
                const int pair, const size_t n, __m256i acc[TOKENS][2])
{
    const __m256i mask = _mm256_set1_epi8(pair == 0 ? 0x03 : 0x0c);
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        acc[t][0] = acc[t][1] = _mm256_set1_epi32((int32_t)((uint32_t)-sums[t * sums_stride] << (2 * pair)));
    }
    for (size_t u = 0; u < n_units; u++) {
        __m256i codes = _mm256_loadu_si256((const void *)(units + u * STN_TERNARY_UNIT));
        __m256i low = _mm256_and_si256(codes, mask), high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask);
        STN_CPUID_UNROLL
        for (size_t t = 0; t < n; t++) {
            __m256i x = four(q + t * stride + 4 * u);
            acc[t][0] = dot(acc[t][0], low, x);
            acc[t][1] = dot(acc[t][1], high, x);
        }
    }
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        acc[t][0] = _mm256_srai_epi32(acc[t][0], 2 * pair);
        acc[t][1] = _mm256_srai_epi32(acc[t][1], 2 * pair);
    }
}

INLINE void tile_one(const struct stn_ternary_product *p, size_t t0, size_t lane, const int pair, const size_t n)
{
    __m256i acc[TOKENS][2];
    run(p->panel + lane % 16 * 4, p->n_inputs / 4, p->q + t0 * p->n_inputs, p->n_inputs, p->sums + t0, 1, pair, n, acc);
    for (size_t t = 0; t < n; t++) {
        __m256 scale = _mm256_set1_ps(p->w_scale * p->scale[t0 + t]);
        put(p, t0 + t, lane, _mm256_mul_ps(_mm256_cvtepi32_ps(acc[t][0]), scale));
        put(p, t0 + t, lane + 32, _mm256_mul_ps(_mm256_cvtepi32_ps(acc[t][1]), scale));
    }
}

INLINE void tile_blocks(const struct stn_ternary_product *p, size_t t0, size_t lane, const int pair, const size_t n)
{
    enum { BLOCK_UNITS = STN_TERNARY_BLOCK / 4 };
    size_t n_units = p->n_inputs / 4, n_blocks = (n_units + BLOCK_UNITS - 1) / BLOCK_UNITS;
    __m256 total[TOKENS][2] = {{_mm256_setzero_ps()}};
    for (size_t b = 0; b < n_blocks; b++) {
        size_t u = b * BLOCK_UNITS;
        __m256i acc[TOKENS][2];
        run(p->panel + u * STN_TERNARY_UNIT + lane % 16 * 4, n_units - u < BLOCK_UNITS ? n_units - u : BLOCK_UNITS,
            p->q + t0 * p->n_inputs + 4 * u, p->n_inputs, p->sums + t0 * n_blocks + b, n_blocks, pair, n, acc);
        for (size_t t = 0; t < n; t++) {
            for (size_t i = 0; i < 2; i++) {
                __m256 scale = _mm256_loadu_ps(p->block_scales + b * STN_TERNARY_LANES + lane + 32 * i);
                total[t][i] = _mm256_add_ps(total[t][i], _mm256_mul_ps(_mm256_cvtepi32_ps(acc[t][i]), scale));
            }
        }
    }
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < 2; i++) {
            put(p, t0 + t, lane + 32 * i, _mm256_mul_ps(total[t][i], _mm256_set1_ps(p->scale[t0 + t])));
        }
    }
}

/* All outputs of the panel for n tokens: eight at a time of two fields. */
#define TILE(n)                                                                                    \
    TARGET static void one_##n(const struct stn_ternary_product *p, size_t t)                      \
    {                                                                                              \
        for (size_t half = 0; half < 16; half += 8) {                                              \
            tile_one(p, t, half, 0, n);                                                            \
            tile_one(p, t, 16 + half, 1, n);                                                       \
        }                                                                                          \
    }                                                                                              \
    TARGET static void blocks_##n(const struct stn_ternary_product *p, size_t t)                   \
    {                                                                                              \
        for (size_t half = 0; half < 16; half += 8) {                                              \
            tile_blocks(p, t, half, 0, n);                                                         \
            tile_blocks(p, t, 16 + half, 1, n);                                                    \
        }                                                                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void tile(const struct stn_ternary_product *p, size_t t);
static tile *const tiles[TOKENS + 1][2] = {{NULL, NULL},      {one_1, blocks_1}, {one_2, blocks_2}, {one_3, blocks_3},
                                           {one_4, blocks_4}, {one_5, blocks_5}, {one_6, blocks_6}};

static inline void run_tiles(const struct stn_ternary_product *p)
{
    for (size_t t = 0; t < p->n;) {
        size_t n = p->n - t < TOKENS ? p->n - t : TOKENS;
        tiles[n][p->block_scales != NULL](p, t);
        t += n;
    }
}

#endif
