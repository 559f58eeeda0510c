/* Armv8.2's integer dot product (sdot) takes four bytes of a lane that it can pick from a vector,
 * so that 16 inputs of a token are one load. The weights stay codes 0, 1, 2, those of odd fields
 * four times too big, and the sum of q is taken off as in the AVX-512 kernel. */
#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_kernel.h"

#ifdef STN_CPUID_BUILDS_NEON_DOT

#include <string.h>

#include "compute/cpu/ternary_neon.h"

#ifdef __clang__
#define TARGET __attribute__((target("dotprod")))
#else
#define TARGET __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#define INLINE TARGET static inline __attribute__((always_inline))
enum { TOKENS = 4, BLOCK_UNITS = STN_TERNARY_BLOCK / 4 };

/* acc[t][f] += 4^(f % 2) sum of code q of four outputs, for four units and the 16 inputs x[t] */
#define STEP(lane)                                                                                 \
    do {                                                                                           \
        uint8x16_t codes = vld1q_u8(units + (lane)*STN_TERNARY_UNIT);                              \
        uint8x16_t high = vshrq_n_u8(codes, 4);                                                    \
        int8x16_t w[4] = {                                                                         \
            vreinterpretq_s8_u8(vandq_u8(codes, even)), vreinterpretq_s8_u8(vandq_u8(codes, odd)), \
            vreinterpretq_s8_u8(vandq_u8(high, even)), vreinterpretq_s8_u8(vandq_u8(high, odd))};  \
        for (size_t t = 0; t < n; t++) {                                                           \
            for (size_t f = 0; f < 4; f++) {                                                       \
                acc[t][f] = vdotq_laneq_s32(acc[t][f], w[f], x[t], lane);                          \
            }                                                                                      \
        }                                                                                          \
        /* the next step's weights wait: there are no registers for all four */                    \
        __asm__("" : "+r"(units), "+w"(acc[n - 1][3]));                                            \
    } while (0)

/* acc[t][f] = sum_i w[16 f + lane][i] q[t][i] over some units, a multiple of 16: four outputs of
 * each field */
INLINE void run(const uint8_t *units, size_t n_units, const int8_t *q, size_t stride,
                const int32_t *sums, size_t sums_stride, const size_t n, int32x4_t acc[TOKENS][4])
{
    const uint8x16_t even = vdupq_n_u8(0x03), odd = vdupq_n_u8(0x0c);
    for (size_t t = 0; t < n; t++) {
        int32_t less = -sums[t * sums_stride];
        acc[t][0] = acc[t][2] = vdupq_n_s32(less);
        acc[t][1] = acc[t][3] = vdupq_n_s32((int32_t)((uint32_t)less << 2));
    }
    for (size_t u = 0; u < n_units; u += 4, units += 4 * STN_TERNARY_UNIT) {
        int8x16_t x[TOKENS];
        for (size_t t = 0; t < n; t++) {
            x[t] = vld1q_s8(q + t * stride + 4 * u);
        }
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
    }
    for (size_t t = 0; t < n; t++) {
        acc[t][1] = vshrq_n_s32(acc[t][1], 2);
        acc[t][3] = vshrq_n_s32(acc[t][3], 2);
    }
}

/* Four outputs of each field from lane on, for n tokens. */
INLINE void tile(const struct stn_ternary_product *p, size_t t0, size_t lane, const size_t n)
{
    bool one = p->block_scales == NULL;
    size_t n_units = p->n_inputs / 4, most = one ? n_units : BLOCK_UNITS;
    size_t n_blocks = (n_units + most - 1) / most;
    float32x4_t total[TOKENS][4];
    for (size_t b = 0; b < n_blocks; b++) {
        size_t u = b * most;
        int32x4_t acc[TOKENS][4];
        run(p->panel + u * STN_TERNARY_UNIT + 4 * lane, n_units - u < most ? n_units - u : most,
            p->q + t0 * p->n_inputs + 4 * u, p->n_inputs, p->sums + t0 * n_blocks + b, n_blocks, n,
            acc);
        for (size_t t = 0; t < n; t++) {
            for (size_t f = 0; f < 4; f++) {
                float32x4_t part = vcvtq_f32_s32(acc[t][f]);
                if (!one) {
                    const float *scales = p->block_scales + b * STN_TERNARY_LANES + 16 * f + lane;
                    part = vmulq_f32(part, vld1q_f32(scales));
                    part = vaddq_f32(b == 0 ? vdupq_n_f32(0) : total[t][f], part);
                }
                total[t][f] = part;
            }
        }
    }
    for (size_t t = 0; t < n; t++) {
        float scale = one ? p->w_scale * p->scale[t0 + t] : p->scale[t0 + t];
        for (size_t f = 0; f < 4; f++) {
            put(p, t0 + t, 16 * f + lane, vmulq_f32(total[t][f], vdupq_n_f32(scale)));
        }
    }
}

#define TILE(n)                                                                                    \
    TARGET static void tile_##n(const struct stn_ternary_product *p, size_t t)                     \
    {                                                                                              \
        for (size_t lane = 0; lane < 16; lane += 4) {                                              \
            tile(p, t, lane, n);                                                                   \
        }                                                                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static void product(const struct stn_ternary_product *p)
{
    static void (*const tiles[TOKENS + 1])(const struct stn_ternary_product *,
                                           size_t) = {NULL, tile_1, tile_2, tile_3, tile_4};
    for (size_t t = 0; t < p->n;) {
        size_t n = p->n - t < TOKENS ? p->n - t : TOKENS;
        tiles[n](p, t);
        t += n;
    }
}

TARGET static void sums(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *to)
{
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < n_inputs; i += block) {
            size_t end = n_inputs - i < block ? n_inputs : i + block;
            int32x4_t sum = vdupq_n_s32(0);
            for (size_t at = i; at < end; at += 16) {
                sum = vdotq_s32(sum, vdupq_n_s8(1), vld1q_s8(q + t * n_inputs + at));
            }
            *to++ = vaddvq_s32(sum);
        }
    }
}

static inline uint8x16_t left(uint8x16_t x, const int n)
{
    return vreinterpretq_u8_u16(vshlq_u16(vreinterpretq_u16_u8(x), vdupq_n_s16((int16_t)n)));
}

/* Quarter b of unit 4 f + a becomes, field by field, quarter a of the units b, 4 + b, 8 + b, 12 +
 * b: 4 x 4 bytes are transposed within a quarter, 4 x 4 fields over the four f (two butterflies).
 */
static void transpose(const uint8_t *from, uint8_t *to)
{
    static const uint8_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    const uint8x16_t bytes = vld1q_u8(order), pairs = vdupq_n_u8(0x33), nibbles = vdupq_n_u8(0x0f);
    for (size_t a = 0; a < 4; a++) {
        for (size_t b = 0; b < 4; b++) {
            uint8x16_t r[4];
            for (size_t f = 0; f < 4; f++) {
                r[f] = vqtbl1q_u8(vld1q_u8(from + (4 * f + a) * STN_TERNARY_UNIT + 16 * b), bytes);
            }
            uint8x16_t even01 = vbslq_u8(pairs, r[0], left(r[1], 2));
            uint8x16_t odd01 = vbslq_u8(pairs, left(r[0], -2), r[1]);
            uint8x16_t even23 = vbslq_u8(pairs, r[2], left(r[3], 2));
            uint8x16_t odd23 = vbslq_u8(pairs, left(r[2], -2), r[3]);
            uint8_t *at = to + b * STN_TERNARY_UNIT + 16 * a;
            vst1q_u8(at, vbslq_u8(nibbles, even01, left(even23, 4)));
            vst1q_u8(at + 4 * STN_TERNARY_UNIT, vbslq_u8(nibbles, odd01, left(odd23, 4)));
            vst1q_u8(at + 8 * STN_TERNARY_UNIT, vbslq_u8(nibbles, left(even01, -4), even23));
            vst1q_u8(at + 12 * STN_TERNARY_UNIT, vbslq_u8(nibbles, left(odd01, -4), odd23));
        }
    }
}

static void expand(const uint8_t *units, size_t n_units, float *w)
{
    for (size_t u = 0; u < n_units; u++, units += STN_TERNARY_UNIT) {
        for (int j = 0; j < 4; j++) {
            for (int f = 0; f < 4; f++) {
                for (int quarter = 0; quarter < 4; quarter++, w += 4) {
                    uint32x4_t codes = vreinterpretq_u32_u8(vld1q_u8(units + 16 * quarter));
                    codes =
                        vandq_u32(vshlq_u32(codes, vdupq_n_s32(-8 * j - 2 * f)), vdupq_n_u32(3));
                    vst1q_f32(w, vsubq_f32(vcvtq_f32_u32(codes), vdupq_n_f32(1)));
                }
            }
        }
    }
}

/* Four floats, of which n are there; the rest are 0. */
static inline float32x4_t load(const float *x, size_t n)
{
    float some[4] = {0};
    memcpy(some, x, (n < 4 ? n : 4) * sizeof *some);
    return vld1q_f32(some);
}

/* Four integers of -127 to 127 as bytes, of which n are asked for. */
static inline void store(int8_t *q, size_t n, int32x4_t integers)
{
    int16x4_t words = vmovn_s32(integers);
    int8_t bytes[8];
    vst1_s8(bytes, vmovn_s16(vcombine_s16(words, words)));
    memcpy(q, bytes, n < 4 ? n : 4);
}

/* The instructions ending in nm prefer a number to not-a-number. */
static float largest(const float *x, size_t n)
{
    float32x4_t max = vdupq_n_f32(1e-5f);
    for (size_t i = 0; i < n; i += 4) {
        max = vmaxnmq_f32(vabsq_f32(load(x + i, n - i)), max);
    }
    return vmaxnmvq_f32(max);
}

static inline float32x4_t clamp(float32x4_t x)
{
    return vmaxnmq_f32(vminnmq_f32(x, vdupq_n_f32(127)), vdupq_n_f32(-127));
}

/* Two values times inverse, rounded half to even; at most 127 both ways. */
static inline int32x2_t nearest(float32x2_t x, float64x2_t inverse)
{
    float64x2_t v = vmulq_f64(vcvt_f64_f32(x), inverse);
    v = vmaxnmq_f64(vminnmq_f64(v, vdupq_n_f64(127)), vdupq_n_f64(-127)); /* not-a-number becomes 127 */
    return vmovn_s64(vcvtnq_s64_f64(v));
}

static float quantise(const float *x, size_t n, int8_t *q)
{
    float max = largest(x, n);
    const float64x2_t inverse = vdupq_n_f64(127 / (double)max);
    for (size_t i = 0; i < n; i += 4) {
        float32x4_t v = load(x + i, n - i);
        store(q + i, n - i, vcombine_s32(nearest(vget_low_f32(v), inverse), nearest(vget_high_f32(v), inverse)));
    }
    return max / 127;
}

static float quantise_random(const float *x, size_t n, uint64_t key, int8_t *q)
{
    float max = largest(x, n);
    const float32x4_t inverse = vdupq_n_f32(127 / max);
    const uint32x4_t key0 = vdupq_n_u32((uint32_t)key), key1 = vdupq_n_u32((uint32_t)(key >> 32));
    const uint32_t first[4] = {0, 1, 2, 3};
    uint32x4_t c = vld1q_u32(first);
    for (size_t i = 0; i < n; i += 4, c = vaddq_u32(c, vdupq_n_u32(4))) {
        uint32x4_t h = vaddq_u32(vmulq_u32(c, vdupq_n_u32(0x9e3779b9u)), key0);
        h = vmulq_u32(veorq_u32(h, vshrq_n_u32(h, 16)), vdupq_n_u32(0x7feb352du));
        h = veorq_u32(h, key1);
        h = vmulq_u32(veorq_u32(h, vshrq_n_u32(h, 15)), vdupq_n_u32(0x846ca68bu));
        h = veorq_u32(h, vshrq_n_u32(h, 16));
        float32x4_t u = vmulq_f32(vcvtq_f32_u32(vshrq_n_u32(h, 8)), vdupq_n_f32(0x1p-24f));
        float32x4_t v = vaddq_f32(vmulq_f32(load(x + i, n - i), inverse), u);
        store(q + i, n - i, vcvtmq_s32_f32(clamp(v)));
    }
    return max / 127;
}

const struct stn_ternary_kernel stn_ternary_neon_kernel = {
    .product = product,
    .sums = sums,
    .transpose = transpose,
    .expand = expand,
    .quantise = quantise,
    .quantise_random = quantise_random,
};

#else
typedef int stn_ternary_neon_is_for_arm; /* ISO C wants a declaration */
#endif
