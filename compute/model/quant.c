#include "compute/model/quant.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define TQ1_SIZE 54
#define TQ2_SIZE 66

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint16_t get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

float stn_quant_f16(uint16_t v)
{
    uint32_t sign = (uint32_t)(v & 0x8000) << 16, exponent = v >> 10 & 31, mantissa = v & 1023;
    if (exponent == 0) {
        return float_of(sign | bits_of((float)mantissa * 0x1p-24f));
    }
    if (exponent == 31) {
        return float_of(sign | 0x7f800000 | mantissa << 13);
    }
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t stn_quant_to_f16(float v)
{
    uint32_t bits = bits_of(v), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) {
        return (uint16_t)(sign | 0x7e00);
    }
    if (size >= 0x477ff000) { /* 65520: half way from the largest half to the next power of two */
        return (uint16_t)(sign | 0x7c00);
    }
    if (size < 0x38800000) { /* below 2^-14: a multiple of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(float_of(size) * 0x1p24f));
    }
    size += 0xfff + (size >> 13 & 1);
    return (uint16_t)(sign | ((size >> 13) - (112 << 10)));
}

float stn_quant_bf16(uint16_t v)
{
    return float_of((uint32_t)v << 16);
}

uint16_t stn_quant_to_bf16(float v)
{
    uint32_t bits = bits_of(v);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return (uint16_t)(bits >> 16 | 64);
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* dst[i] = src[i] */
static void f32_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    memcpy(dst, src, n_blocks * sizeof *dst);
}

static void f16_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++) {
        dst[i] = stn_quant_f16(get_u16(src + 2 * i));
    }
}

static void bf16_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    for (size_t i = 0; i < n_blocks; i++) {
        dst[i] = stn_quant_bf16(get_u16(src + 2 * i));
    }
}

/* dst[i] = d q[i]      a block: f16 d, int8 q[32] */
static void q8_0_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 34, dst += 32) {
        float d = stn_quant_f16(get_u16(src));
        for (size_t i = 0; i < 32; i++) {
            dst[i] = d * (float)(int8_t)src[2 + i];
        }
    }
}

/* The six-bit scale and minimum of the j-th of eight groups, packed in twelve bytes. */
static void k4_scale(const uint8_t *p, size_t j, uint8_t *ret_scale, uint8_t *ret_min)
{
    if (j < 4) {
        *ret_scale = p[j] & 63;
        *ret_min = p[j + 4] & 63;
    } else {
        *ret_scale = (uint8_t)((p[j + 4] & 15) | (p[j - 4] >> 6) << 4);
        *ret_min = (uint8_t)(p[j + 4] >> 4 | (p[j] >> 6) << 4);
    }
}

/* dst[32 j + i] = d s[j] q[32 j + i] - m t[j]      a block: f16 d, f16 m, 12 bytes of s and t, 128 bytes of q, two
 * groups of 32 in each 32 bytes, low halves first */
static void q4_k_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 144) {
        float d = stn_quant_f16(get_u16(src)), m = stn_quant_f16(get_u16(src + 2));
        for (size_t j = 0; j < 8; j++, dst += 32) {
            const uint8_t *q = src + 16 + j / 2 * 32;
            uint8_t scale, minimum;
            k4_scale(src + 4, j, &scale, &minimum);
            float ds = d * (float)scale, mt = m * (float)minimum;
            for (size_t i = 0; i < 32; i++) {
                dst[i] = ds * (float)(q[i] >> (j % 2 * 4) & 15) - mt;
            }
        }
    }
}

/* dst[i] = d s[i / 16] (q[i] - 32)      a block: low four bits of q in 128 bytes, high two in 64, int8 s[16], f16 d.
 * Of each half of 128 values, four planes of 32: plane k has its low bits in bytes 32 (k % 2) + i, half k / 2, and its
 * high bits in byte i at 2 k. */
static void q6_k_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, src += 210) {
        float d = stn_quant_f16(get_u16(src + 208));
        for (size_t j = 0; j < 8; j++, dst += 32) {
            size_t k = j % 4;
            const uint8_t *low = src + j / 4 * 64 + k % 2 * 32, *high = src + 128 + j / 4 * 32;
            for (size_t i = 0; i < 32; i++) {
                int q = (low[i] >> (k / 2 * 4) & 15) | (high[i] >> (2 * k) & 3) << 4;
                int8_t s = (int8_t)src[192 + j * 2 + i / 16];
                dst[i] = d * (float)s * (float)(q - 32);
            }
        }
    }
}

/* q[128 h + 32 l + m] = (byte[32 h + m] >> 2 l & 3) - 1 */
static bool tq2_unpack(int8_t *q, const uint8_t *src)
{
    uint8_t wrong = 0;
    for (size_t h = 0; h < 2; h++) {
        for (size_t l = 0; l < 4; l++) {
            for (size_t m = 0; m < 32; m++) {
                uint8_t v = src[32 * h + m] >> (2 * l) & 3;
                wrong |= v == 3;
                q[128 * h + 32 * l + m] = (int8_t)(v - 1);
            }
        }
    }
    return wrong == 0;
}

static void tq2_pack(uint8_t *dst, const int8_t *q)
{
    memset(dst, 0, 64);
    for (size_t i = 0; i < STN_QUANT_TERNARY; i++) {
        assert(q[i] >= -1 && q[i] <= 1);
        dst[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] + 1) << (i % 128 / 32 * 2));
    }
}

/* Where the 52 bytes of a TQ1_0 block stand among its values: `planes` digits of each of `width` bytes. */
static const struct tq1_part {
    uint8_t first, width, planes, start;
} tq1_parts[] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

static const uint8_t powers[] = {1, 3, 9, 27, 81};

/* q[start + width n + m] = (uint8(byte[first + m] 3^n) 3 >> 8) - 1 */
static bool tq1_unpack(int8_t *q, const uint8_t *src)
{
    for (const struct tq1_part *p = tq1_parts; p < tq1_parts + 3; p++) {
        for (size_t n = 0; n < p->planes; n++) {
            for (size_t m = 0; m < p->width; m++) {
                uint8_t v = (uint8_t)(src[p->first + m] * powers[n]);
                q[p->start + n * p->width + m] = (int8_t)((v * 3 >> 8) - 1);
            }
        }
    }
    return true;
}

/* byte = ceil(256 / 243 sum_n (q[start + width n + m] + 1) 3^(4-n)), whose digits come out as carries */
static void tq1_pack(uint8_t *dst, const int8_t *q)
{
    for (const struct tq1_part *p = tq1_parts; p < tq1_parts + 3; p++) {
        for (size_t m = 0; m < p->width; m++) {
            unsigned sum = 0;
            for (size_t n = 0; n < p->planes; n++) {
                int8_t v = q[p->start + n * p->width + m];
                assert(v >= -1 && v <= 1);
                sum += (unsigned)(v + 1) * powers[4 - n];
            }
            dst[p->first + m] = (uint8_t)((sum * 256 + 242) / 243);
        }
    }
}

bool stn_quant_unpack(enum stn_quant_type type, int8_t *q, uint16_t *d, const uint8_t *src, size_t n)
{
    assert((type == STN_QUANT_TQ1_0 || type == STN_QUANT_TQ2_0) && n % STN_QUANT_TERNARY == 0);
    size_t size = type == STN_QUANT_TQ2_0 ? TQ2_SIZE : TQ1_SIZE;
    bool right = true;
    for (size_t b = 0; b < n / STN_QUANT_TERNARY; b++, src += size, q += STN_QUANT_TERNARY) {
        right &= type == STN_QUANT_TQ2_0 ? tq2_unpack(q, src) : tq1_unpack(q, src);
        d[b] = get_u16(src + size - 2);
    }
    return right;
}

void stn_quant_pack(enum stn_quant_type type, uint8_t *dst, const int8_t *q, const uint16_t *d, size_t n)
{
    assert((type == STN_QUANT_TQ1_0 || type == STN_QUANT_TQ2_0) && n % STN_QUANT_TERNARY == 0);
    size_t size = type == STN_QUANT_TQ2_0 ? TQ2_SIZE : TQ1_SIZE;
    for (size_t b = 0; b < n / STN_QUANT_TERNARY; b++, dst += size, q += STN_QUANT_TERNARY) {
        if (type == STN_QUANT_TQ2_0) {
            tq2_pack(dst, q);
        } else {
            tq1_pack(dst, q);
        }
        dst[size - 2] = (uint8_t)d[b];
        dst[size - 1] = (uint8_t)(d[b] >> 8);
    }
}

bool stn_quant_i2_s_unpack(enum stn_quant_i2_s width, int8_t *q, const uint8_t *src, size_t first, size_t n)
{
    const size_t size = 4 * (size_t)width;
    uint8_t wrong = 0;
    for (size_t i = 0; i < n;) {
        size_t in = (first + i) % size, plane = in / width, left = width - in % width; /* of a plane's values */
        const uint8_t *from = src + (first + i) / size * width + in % width;
        left = left < n - i ? left : n - i;
        for (size_t k = 0; k < left; k++) {
            uint8_t v = from[k] >> (6 - 2 * plane) & 3;
            wrong |= v == 3;
            q[i + k] = (int8_t)(v - 1);
        }
        i += left;
    }
    return wrong == 0;
}

void stn_quant_i2_s_pack(enum stn_quant_i2_s width, uint8_t *dst, const int8_t *q, size_t n)
{
    assert(n % STN_QUANT_I2_S_BLOCK == 0);
    memset(dst, 0, n / 4);
    for (size_t i = 0; i < n; i++) {
        size_t block = i / (4 * width), in = i % (4 * width);
        assert(q[i] >= -1 && q[i] <= 1);
        dst[block * width + in % width] |= (uint8_t)((q[i] + 1) << (6 - 2 * (in / width)));
    }
}

float stn_quant_i2_s_scale(const uint8_t *src, size_t n)
{
    float scale;
    memcpy(&scale, src + n / 4, sizeof scale);
    return scale;
}

void stn_quant_ternarise(int8_t *q, const float *x, size_t n, float mean)
{
    for (size_t i = 0; i < n; i++) {
        float r = mean > 0 ? rintf(x[i] / mean) : 0;
        q[i] = (int8_t)(r > 1 ? 1 : r < -1 ? -1 : r);
    }
}

static void ternary_to_f32(enum stn_quant_type type, float *dst, const uint8_t *src, size_t n_blocks)
{
    size_t size = type == STN_QUANT_TQ2_0 ? TQ2_SIZE : TQ1_SIZE;
    for (size_t b = 0; b < n_blocks; b++, src += size, dst += STN_QUANT_TERNARY) {
        int8_t q[STN_QUANT_TERNARY];
        uint16_t half;
        (void)stn_quant_unpack(type, q, &half, src, STN_QUANT_TERNARY);
        float d = stn_quant_f16(half);
        for (size_t i = 0; i < STN_QUANT_TERNARY; i++) {
            dst[i] = d * (float)q[i];
        }
    }
}

static void tq1_0_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    ternary_to_f32(STN_QUANT_TQ1_0, dst, src, n_blocks);
}

static void tq2_0_to_f32(float *dst, const uint8_t *src, size_t n_blocks)
{
    ternary_to_f32(STN_QUANT_TQ2_0, dst, src, n_blocks);
}

static const struct stn_quant_format formats[] = {
    {STN_QUANT_F32, "f32", 1, 4, 0, false, f32_to_f32},
    {STN_QUANT_F16, "f16", 1, 2, 0, false, f16_to_f32},
    {STN_QUANT_BF16, "bf16", 1, 2, 0, false, bf16_to_f32},
    {STN_QUANT_Q8_0, "q8_0", 32, 34, 0, false, q8_0_to_f32},
    {STN_QUANT_Q4_K, "q4_k", 256, 144, 0, false, q4_k_to_f32},
    {STN_QUANT_Q6_K, "q6_k", 256, 210, 0, false, q6_k_to_f32},
    {STN_QUANT_TQ1_0, "tq1_0", STN_QUANT_TERNARY, TQ1_SIZE, 0, true, tq1_0_to_f32},
    {STN_QUANT_TQ2_0, "tq2_0", STN_QUANT_TERNARY, TQ2_SIZE, 0, true, tq2_0_to_f32},
    {STN_QUANT_I2_S, "i2_s", 4, 1, 32, false, NULL},
};

#define N_FORMATS (sizeof formats / sizeof *formats)

const struct stn_quant_format *stn_quant_format(uint32_t type)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        if ((uint32_t)formats[i].type == type) {
            return &formats[i];
        }
    }
    return NULL;
}

const struct stn_quant_format *stn_quant_named(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}

size_t stn_quant_size(enum stn_quant_type type, size_t n)
{
    const struct stn_quant_format *format = stn_quant_format(type);
    assert(format != NULL && n % format->n_values == 0);
    return n / format->n_values * format->size;
}

bool stn_quant_to_f32(enum stn_quant_type type, float *dst, const uint8_t *src, size_t n)
{
    const struct stn_quant_format *format = stn_quant_format(type);
    assert(format != NULL && n % format->n_values == 0);
    if (format->to_f32 == NULL) {
        return false;
    }
    format->to_f32(dst, src, n / format->n_values);
    return true;
}
