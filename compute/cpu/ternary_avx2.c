/* AVX2 multiplies unsigned by signed bytes and adds neighbours in 16 bits (vpmaddubsw). With codes
 * 0, 1, 2 that is at most 508 in size, so 64 of them (a block of 256 inputs) fit into 16 bits
 * before they are widened. The sum of q is taken off: sum w q = sum code q - sum q. */
#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_kernel.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma")))
#include "compute/cpu/ternary_ymm.h"

enum { TOKENS = 4, BLOCK_UNITS = STN_TERNARY_BLOCK / 4 };

/* sum += code q, two products to a lane. Written out because compilers hold back the additions
 * until the registers are used up. */
INLINE __m256i dot(__m256i sum, __m256i codes, __m256i q)
{
    __m256i products;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"
            : "+x"(sum), "=&x"(products)
            : "x"(codes), "x"(q));
    return sum;
}

/* acc[t][i] = sum of code q of eight outputs of field pair + 2 i, over the units (half of each) of
 * one block */
INLINE void run(const uint8_t *units, size_t n_units, const int8_t *q, size_t stride,
                const int pair, const size_t n, __m256i acc[TOKENS][2])
{
    const __m256i mask = _mm256_set1_epi8(3);
    __m256i short_acc[TOKENS][2];
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        short_acc[t][0] = short_acc[t][1] = _mm256_setzero_si256();
    }
    for (size_t u = 0; u < n_units; u++) {
        __m256i codes = _mm256_loadu_si256((const void *)(units + u * STN_TERNARY_UNIT));
        codes = pair == 0 ? codes : _mm256_srli_epi16(codes, 2);
        __m256i low = _mm256_and_si256(codes, mask);
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), mask);
        STN_CPUID_UNROLL
        for (size_t t = 0; t < n; t++) {
            __m256i x = four(q + t * stride + 4 * u);
            short_acc[t][0] = dot(short_acc[t][0], low, x);
            short_acc[t][1] = dot(short_acc[t][1], high, x);
        }
    }
    STN_CPUID_UNROLL
    for (size_t t = 0; t < n; t++) {
        acc[t][0] = _mm256_madd_epi16(short_acc[t][0], _mm256_set1_epi16(1));
        acc[t][1] = _mm256_madd_epi16(short_acc[t][1], _mm256_set1_epi16(1));
    }
}

/* Eight outputs each of two fields from lane on, for n tokens. */
INLINE void tile(const struct stn_ternary_product *p, size_t t0, size_t lane, const int pair,
                 const size_t n)
{
    size_t n_units = p->n_inputs / 4, n_blocks = (n_units + BLOCK_UNITS - 1) / BLOCK_UNITS;
    bool one = p->block_scales == NULL;
    __m256i total[TOKENS][2] = {{_mm256_setzero_si256()}};
    __m256 sum[TOKENS][2] = {{_mm256_setzero_ps()}};
    for (size_t b = 0; b < n_blocks; b++) {
        size_t u = b * BLOCK_UNITS;
        __m256i acc[TOKENS][2];
        run(p->panel + u * STN_TERNARY_UNIT + lane % 16 * 4,
            n_units - u < BLOCK_UNITS ? n_units - u : BLOCK_UNITS, p->q + t0 * p->n_inputs + 4 * u,
            p->n_inputs, pair, n, acc);
        for (size_t t = 0; t < n; t++) {
            for (size_t i = 0; i < 2; i++) {
                if (one) {
                    total[t][i] = _mm256_add_epi32(total[t][i], acc[t][i]);
                    continue;
                }
                __m256i less = _mm256_set1_epi32(p->sums[(t0 + t) * n_blocks + b]);
                __m256 scale =
                    _mm256_loadu_ps(p->block_scales + b * STN_TERNARY_LANES + lane + 32 * i);
                __m256 part = _mm256_cvtepi32_ps(_mm256_sub_epi32(acc[t][i], less));
                sum[t][i] = _mm256_add_ps(sum[t][i], _mm256_mul_ps(part, scale));
            }
        }
    }
    for (size_t t = 0; t < n; t++) {
        __m256 scale = _mm256_set1_ps(one ? p->w_scale * p->scale[t0 + t] : p->scale[t0 + t]);
        for (size_t i = 0; i < 2; i++) {
            if (one) {
                __m256i less = _mm256_set1_epi32(p->sums[t0 + t]);
                sum[t][i] = _mm256_cvtepi32_ps(_mm256_sub_epi32(total[t][i], less));
            }
            put(p, t0 + t, lane + 32 * i, _mm256_mul_ps(sum[t][i], scale));
        }
    }
}

#define TILE(n)                                                                                    \
    TARGET static void tile_##n(const struct stn_ternary_product *p, size_t t)                     \
    {                                                                                              \
        for (size_t half = 0; half < 16; half += 8) {                                              \
            tile(p, t, half, 0, n);                                                                \
            tile(p, t, 16 + half, 1, n);                                                           \
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

INLINE int32_t sum_lanes(__m256i x)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

TARGET static void sums(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *to)
{
    const __m256i ones = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < n_inputs; i += block) {
            size_t end = n_inputs - i < block ? n_inputs : i + block;
            __m256i sum = _mm256_setzero_si256();
            for (size_t at = i; at < end; at += 32) {
                __m256i x = _mm256_loadu_si256((const void *)(q + t * n_inputs + at));
                sum =
                    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(ones, x), ones16));
            }
            *to++ = sum_lanes(sum);
        }
    }
}

INLINE __m128i choose(__m128i keep, __m128i a, __m128i b)
{
    return _mm_or_si128(_mm_and_si128(keep, a), _mm_andnot_si128(keep, b));
}

/* Quarter b of unit 4 f + a becomes, field by field, quarter a of the units b, 4 + b, 8 + b, 12 +
 * b: 4 x 4 bytes are transposed within a quarter, 4 x 4 fields over the four f (two butterflies).
 */
TARGET static void transpose(const uint8_t *from, uint8_t *to)
{
    const __m128i bytes = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m128i pairs = _mm_set1_epi8(0x33), nibbles = _mm_set1_epi8(0x0f);
    for (size_t a = 0; a < 4; a++) {
        for (size_t b = 0; b < 4; b++) {
            __m128i r[4];
            for (size_t f = 0; f < 4; f++) {
                const uint8_t *at = from + (4 * f + a) * STN_TERNARY_UNIT + 16 * b;
                r[f] = _mm_shuffle_epi8(_mm_loadu_si128((const void *)at), bytes);
            }
            __m128i even01 = choose(pairs, r[0], _mm_slli_epi16(r[1], 2));
            __m128i odd01 = choose(pairs, _mm_srli_epi16(r[0], 2), r[1]);
            __m128i even23 = choose(pairs, r[2], _mm_slli_epi16(r[3], 2));
            __m128i odd23 = choose(pairs, _mm_srli_epi16(r[2], 2), r[3]);
            __m128i out[4] = {choose(nibbles, even01, _mm_slli_epi16(even23, 4)),
                              choose(nibbles, odd01, _mm_slli_epi16(odd23, 4)),
                              choose(nibbles, _mm_srli_epi16(even01, 4), even23),
                              choose(nibbles, _mm_srli_epi16(odd01, 4), odd23)};
            for (size_t f = 0; f < 4; f++) {
                _mm_storeu_si128((void *)(to + (4 * f + b) * STN_TERNARY_UNIT + 16 * a), out[f]);
            }
        }
    }
}

/* A permutation within 128 bits looks at two bits of each index: a code selects its weight,
 * whatever stands above. */
TARGET static void expand(const uint8_t *units, size_t n_units, float *w)
{
    const __m256 weights = _mm256_setr_ps(-1, 0, 1, 2, -1, 0, 1, 2);
    for (size_t u = 0; u < n_units; u++, units += STN_TERNARY_UNIT) {
        __m256i halves[2] = {_mm256_loadu_si256((const void *)units),
                             _mm256_loadu_si256((const void *)(units + 32))};
        for (int shift = 0; shift < 32; shift += 8) {
            for (int f = 0; f < 8; f += 2) {
                for (int half = 0; half < 2; half++, w += 8) {
                    __m256i index = _mm256_srli_epi32(halves[half], shift + f);
                    _mm256_storeu_ps(w, _mm256_permutevar_ps(weights, index));
                }
            }
        }
    }
}

/* Eight floats, of which n are there; the rest are 0. */
INLINE __m256 load(const float *x, size_t n)
{
    __m256i part = _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8),
                                      _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return n >= 8 ? _mm256_loadu_ps(x) : _mm256_maskload_ps(x, part);
}

/* Eight integers of -127 to 127 as bytes, of which n are asked for. */
INLINE void store(int8_t *q, size_t n, __m256i integers)
{
    __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
    __m128i bytes = _mm_packs_epi16(words, words);
    if (n >= 8) {
        _mm_storel_epi64((void *)q, bytes);
    } else {
        int64_t value = _mm_cvtsi128_si64(bytes);
        memcpy(q, &value, n);
    }
}

TARGET static float largest(const float *x, size_t n)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 max = _mm256_set1_ps(1e-5f);
    for (size_t i = 0; i < n; i += 8) { /* the second operand wins against not-a-number */
        max = _mm256_max_ps(_mm256_andnot_ps(sign, load(x + i, n - i)), max);
    }
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

INLINE __m256 clamp(__m256 x)
{
    return _mm256_max_ps(_mm256_min_ps(x, _mm256_set1_ps(127)), _mm256_set1_ps(-127));
}

/* Four values times inverse, rounded half to even; at most 127 both ways, as not-a-number is. */
TARGET static __m128i nearest(__m128 x, __m256d inverse)
{
    __m256d v = _mm256_mul_pd(_mm256_cvtps_pd(x), inverse);
    v = _mm256_max_pd(_mm256_min_pd(v, _mm256_set1_pd(127)), _mm256_set1_pd(-127));
    return _mm256_cvtpd_epi32(_mm256_round_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

TARGET static float quantise(const float *x, size_t n, int8_t *q)
{
    float max = largest(x, n);
    const __m256d inverse = _mm256_set1_pd(127 / (double)max);
    for (size_t i = 0; i < n; i += 8) {
        __m256 v = load(x + i, n - i);
        __m128i low = nearest(_mm256_castps256_ps128(v), inverse);
        __m128i high = nearest(_mm256_extractf128_ps(v, 1), inverse);
        store(q + i, n - i, _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
    }
    return max / 127;
}

TARGET static float quantise_random(const float *x, size_t n, uint64_t key, int8_t *q)
{
    float max = largest(x, n);
    const __m256 inverse = _mm256_set1_ps(127 / max);
    const __m256i key0 = _mm256_set1_epi32((int32_t)(uint32_t)key);
    const __m256i key1 = _mm256_set1_epi32((int32_t)(uint32_t)(key >> 32));
    const __m256i weyl = _mm256_set1_epi32((int32_t)0x9e3779b9u);
    const __m256i m1 = _mm256_set1_epi32((int32_t)0x7feb352du),
                  m2 = _mm256_set1_epi32((int32_t)0x846ca68bu);
    __m256i c = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (size_t i = 0; i < n; i += 8, c = _mm256_add_epi32(c, _mm256_set1_epi32(8))) {
        __m256i h = _mm256_add_epi32(_mm256_mullo_epi32(c, weyl), key0);
        h = _mm256_mullo_epi32(_mm256_xor_si256(h, _mm256_srli_epi32(h, 16)), m1);
        h = _mm256_xor_si256(h, key1);
        h = _mm256_mullo_epi32(_mm256_xor_si256(h, _mm256_srli_epi32(h, 15)), m2);
        h = _mm256_xor_si256(h, _mm256_srli_epi32(h, 16));
        __m256 u =
            _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(h, 8)), _mm256_set1_ps(0x1p-24f));
        __m256 v = _mm256_add_ps(_mm256_mul_ps(load(x + i, n - i), inverse), u);
        store(q + i, n - i, _mm256_cvttps_epi32(_mm256_floor_ps(clamp(v))));
    }
    return max / 127;
}

const struct stn_ternary_kernel stn_ternary_avx2_kernel = {
    .product = product,
    .sums = sums,
    .transpose = transpose,
    .expand = expand,
    .quantise = quantise,
    .quantise_random = quantise_random,
};

#else
typedef int stn_ternary_avx2_is_for_x86; /* ISO C wants a declaration */
#endif
