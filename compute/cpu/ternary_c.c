#include "compute/cpu/ternary_kernel.h"

#include <math.h>
#include <string.h>

/* sums[o] = sum_i w[o][i] q[i] over some units */
static void accumulate(const uint8_t *panel, size_t n_units, const int8_t *q,
                       int32_t sums[static STN_TERNARY_LANES])
{
    memset(sums, 0, STN_TERNARY_LANES * sizeof *sums);
    for (size_t u = 0; u < n_units; u++, panel += STN_TERNARY_UNIT, q += 4) {
        for (unsigned f = 0; f < 4; f++) {
            for (size_t i = 0; i < 16; i++) {
                int32_t sum = 0;
                for (size_t j = 0; j < 4; j++) {
                    sum += ((panel[4 * i + j] >> 2 * f & 3) - 1) * q[j];
                }
                sums[16 * f + i] += sum;
            }
        }
    }
}

static void product(const struct stn_ternary_product *p)
{
    size_t block = p->block_scales == NULL ? p->n_inputs : STN_TERNARY_BLOCK;
    for (size_t t = 0; t < p->n; t++) {
        float total[STN_TERNARY_LANES] = {0};
        int32_t sums[STN_TERNARY_LANES];
        for (size_t i = 0; i < p->n_inputs; i += block) {
            size_t n = p->n_inputs - i < block ? p->n_inputs - i : block;
            accumulate(p->panel + i / 4 * STN_TERNARY_UNIT, n / 4, p->q + t * p->n_inputs + i,
                       sums);
            for (size_t o = 0; o < STN_TERNARY_LANES && p->block_scales != NULL; o++) {
                total[o] += (float)sums[o] * p->block_scales[i / block * STN_TERNARY_LANES + o];
            }
        }
        for (size_t o = 0; o < p->count; o++) {
            float y = p->block_scales == NULL ? (float)sums[o] * (p->w_scale * p->scale[t])
                                              : total[o] * p->scale[t];
            float *to = &p->y[t * p->ldy + o];
            *to = p->add ? *to + y : y;
        }
    }
}

static void sums(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *to)
{
    (void)q, (void)n_inputs, (void)block, (void)to,
        (void)n; /* the plain product works with signed weights */
}

static void transpose(const uint8_t *from, uint8_t *to)
{
    memset(to, 0, STN_TERNARY_SQUARE);
    for (size_t o = 0; o < STN_TERNARY_LANES; o++) {
        for (size_t i = 0; i < STN_TERNARY_LANES; i++) {
            size_t byte = i / 4 * STN_TERNARY_UNIT + o % 16 * 4 + i % 4;
            to[byte] |= (uint8_t)(stn_ternary_code(from, i, o) << (2 * (o / 16)));
        }
    }
}

static void expand(const uint8_t *units, size_t n_units, float *w)
{
    for (size_t i = 0; i < 4 * n_units; i++) {
        for (size_t o = 0; o < STN_TERNARY_LANES; o++) {
            w[i * STN_TERNARY_LANES + o] = (float)stn_ternary_code(units, o, i) - 1;
        }
    }
}

/* max(absmax |x|, 1e-5); what is no number does not count */
static float largest(const float *x, size_t n)
{
    float max = 1e-5f;
    for (size_t i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        max = a > max ? a : max;
    }
    return max;
}

static int8_t clamp(float x)
{
    x = x < 127 ? x : 127; /* not-a-number becomes 127 */
    x = x > -127 ? x : -127;
    return (int8_t)x;
}

static int8_t clamp_wide(double x)
{
    x = x < 127 ? x : 127; /* not-a-number becomes 127 */
    x = x > -127 ? x : -127;
    return (int8_t)x;
}

/* q[i] = round half to even(x[i] * (127 / max)), in double */
static float quantise(const float *x, size_t n, int8_t *q)
{
    float max = largest(x, n);
    double inverse = 127 / (double)max;
    for (size_t i = 0; i < n; i++) {
        q[i] = clamp_wide(rint((double)x[i] * inverse));
    }
    return max / 127;
}

/* q[i] = floor(x[i] * (127 / max) + u(key, i)) */
static float quantise_random(const float *x, size_t n, uint64_t key, int8_t *q)
{
    float max = largest(x, n);
    float inverse = 127 / max;
    for (size_t i = 0; i < n; i++) {
        float u = (float)(int32_t)(stn_ternary_hash(key, (uint32_t)i) >> 8) * 0x1p-24f;
        q[i] = clamp(floorf(x[i] * inverse + u));
    }
    return max / 127;
}

const struct stn_ternary_kernel stn_ternary_c_kernel = {
    .product = product,
    .sums = sums,
    .transpose = transpose,
    .expand = expand,
    .quantise = quantise,
    .quantise_random = quantise_random,
};
