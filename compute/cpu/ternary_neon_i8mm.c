/* Armv8.6's matrix product (smmla) takes two rows of eight bytes by two others: two outputs by two tokens, for eight inputs,
 * twice what a dot product does. Two units side by side give it its rows. The weights stay codes 0, 1, 2, those of odd fields
 * four times too big, and the sum of q is taken off as in the other kernels. */
#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_kernel.h"

#ifdef STN_CPUID_BUILDS_NEON_DOT

#include "compute/cpu/ternary_neon.h"

#ifdef __clang__
#define TARGET __attribute__((target("dotprod,i8mm")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#endif
#define INLINE TARGET static inline __attribute__((always_inline))
enum { PAIRS = 2, BLOCK_UNITS = STN_TERNARY_BLOCK / 4 }; /* 2 x 4 x 2 accumulators of 32 registers */

/* acc[p][f][i] += 4^(f % 2) sum of code q of outputs 2 i, 2 i + 1 of a field by the tokens of pair p, over two units and the
 * eight inputs of each token in x[p] */
INLINE void step(uint8x16_t a, uint8x16_t b, const int8x16_t x[PAIRS], const size_t n_pairs, int32x4_t acc[PAIRS][4][2])
{
    const uint8x16_t even = vdupq_n_u8(0x03), odd = vdupq_n_u8(0x0c);
    uint32x4_t first = vreinterpretq_u32_u8(a), second = vreinterpretq_u32_u8(b);
    uint8x16_t rows[2] = {vreinterpretq_u8_u32(vzip1q_u32(first, second)), vreinterpretq_u8_u32(vzip2q_u32(first, second))};
    for (size_t i = 0; i < 2; i++) {
        uint8x16_t high = vshrq_n_u8(rows[i], 4);
        int8x16_t w[4] = {
            vreinterpretq_s8_u8(vandq_u8(rows[i], even)), vreinterpretq_s8_u8(vandq_u8(rows[i], odd)),
            vreinterpretq_s8_u8(vandq_u8(high, even)), vreinterpretq_s8_u8(vandq_u8(high, odd))};
        for (size_t p = 0; p < n_pairs; p++) {
            for (size_t f = 0; f < 4; f++) {
                acc[p][f][i] = vmmlaq_s32(acc[p][f][i], w[f], x[p]);
            }
        }
    }
}

/* out[t][f] = sum_i w[16 f + lane][i] q[t][i] of four outputs of each field, over some units, a multiple of 16 */
INLINE void run(const uint8_t *units, size_t n_units, const int8_t *q, size_t stride, const int32_t *sums, size_t sums_stride,
                const size_t n_pairs, int32x4_t out[2 * PAIRS][4])
{
    int32x4_t acc[PAIRS][4][2];
    for (size_t p = 0; p < n_pairs; p++) {
        for (size_t f = 0; f < 4; f++) {
            acc[p][f][0] = acc[p][f][1] = vdupq_n_s32(0);
        }
    }
    for (size_t u = 0; u < n_units; u += 4, units += 4 * STN_TERNARY_UNIT) {
        int8x16_t low[PAIRS], high[PAIRS];
        for (size_t p = 0; p < n_pairs; p++) {
            int64x2_t one = vreinterpretq_s64_s8(vld1q_s8(q + 2 * p * stride + 4 * u));
            int64x2_t two = vreinterpretq_s64_s8(vld1q_s8(q + (2 * p + 1) * stride + 4 * u));
            low[p] = vreinterpretq_s8_s64(vzip1q_s64(one, two));
            high[p] = vreinterpretq_s8_s64(vzip2q_s64(one, two));
        }
        step(vld1q_u8(units), vld1q_u8(units + STN_TERNARY_UNIT), low, n_pairs, acc);
        step(vld1q_u8(units + 2 * STN_TERNARY_UNIT), vld1q_u8(units + 3 * STN_TERNARY_UNIT), high, n_pairs, acc);
    }
    for (size_t t = 0; t < 2 * n_pairs; t++) {
        for (size_t f = 0; f < 4; f++) {
            const int32x4_t *both = acc[t / 2][f];
            int32x4_t sum = t % 2 == 0 ? vuzp1q_s32(both[0], both[1]) : vuzp2q_s32(both[0], both[1]);
            sum = f % 2 == 0 ? sum : vshrq_n_s32(sum, 2);
            out[t][f] = vsubq_s32(sum, vdupq_n_s32(sums[t * sums_stride]));
        }
    }
}

/* Four outputs of each field from lane on, for some pairs of tokens. */
INLINE void tile(const struct stn_ternary_product *p, size_t t0, size_t lane, const size_t n_pairs)
{
    bool one = p->block_scales == NULL;
    size_t n_units = p->n_inputs / 4, most = one ? n_units : BLOCK_UNITS;
    size_t n_blocks = (n_units + most - 1) / most;
    float32x4_t total[2 * PAIRS][4];
    for (size_t b = 0; b < n_blocks; b++) {
        size_t u = b * most;
        int32x4_t sums[2 * PAIRS][4];
        run(p->panel + u * STN_TERNARY_UNIT + 4 * lane, n_units - u < most ? n_units - u : most,
            p->q + t0 * p->n_inputs + 4 * u, p->n_inputs, p->sums + t0 * n_blocks + b, n_blocks, n_pairs, sums);
        for (size_t t = 0; t < 2 * n_pairs; t++) {
            for (size_t f = 0; f < 4; f++) {
                float32x4_t part = vcvtq_f32_s32(sums[t][f]);
                if (!one) {
                    part = vmulq_f32(part, vld1q_f32(p->block_scales + b * STN_TERNARY_LANES + 16 * f + lane));
                    part = vaddq_f32(b == 0 ? vdupq_n_f32(0) : total[t][f], part);
                }
                total[t][f] = part;
            }
        }
    }
    for (size_t t = 0; t < 2 * n_pairs; t++) {
        float scale = one ? p->w_scale * p->scale[t0 + t] : p->scale[t0 + t];
        for (size_t f = 0; f < 4; f++) {
            put(p, t0 + t, 16 * f + lane, vmulq_f32(total[t][f], vdupq_n_f32(scale)));
        }
    }
}

TARGET static void tile_2(const struct stn_ternary_product *p, size_t t)
{
    for (size_t lane = 0; lane < 16; lane += 4) {
        tile(p, t, lane, 1);
    }
}

TARGET static void tile_4(const struct stn_ternary_product *p, size_t t)
{
    for (size_t lane = 0; lane < 16; lane += 4) {
        tile(p, t, lane, 2);
    }
}

/* A token without a partner, as a decoded one, is left to the dot product. */
static void product(const struct stn_ternary_product *p)
{
    size_t t = 0;
    for (; t + 4 <= p->n; t += 4) {
        tile_4(p, t);
    }
    for (; t + 2 <= p->n; t += 2) {
        tile_2(p, t);
    }
    if (t < p->n) {
        struct stn_ternary_product last = *p;
        size_t n_blocks = p->block_scales == NULL ? 1 : (p->n_inputs + STN_TERNARY_BLOCK - 1) / STN_TERNARY_BLOCK;
        last.q += t * p->n_inputs;
        last.scale += t;
        last.sums += t * n_blocks;
        last.y += t * p->ldy;
        last.n = 1;
        stn_ternary_neon_kernel.product(&last);
    }
}

/* The rest is the dot product's. */

static void sums(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *to)
{
    stn_ternary_neon_kernel.sums(q, n, n_inputs, block, to);
}

static void transpose(const uint8_t *from, uint8_t *to)
{
    stn_ternary_neon_kernel.transpose(from, to);
}

static void expand(const uint8_t *units, size_t n_units, float *w)
{
    stn_ternary_neon_kernel.expand(units, n_units, w);
}

static float quantise(const float *x, size_t n, int8_t *q)
{
    return stn_ternary_neon_kernel.quantise(x, n, q);
}

static float quantise_random(const float *x, size_t n, uint64_t key, int8_t *q)
{
    return stn_ternary_neon_kernel.quantise_random(x, n, key, q);
}

const struct stn_ternary_kernel stn_ternary_neon_i8mm_kernel = {
    .product = product,
    .sums = sums,
    .transpose = transpose,
    .expand = expand,
    .quantise = quantise,
    .quantise_random = quantise_random,
};

#else
typedef int stn_ternary_neon_i8mm_is_for_arm; /* ISO C wants a declaration */
#endif
