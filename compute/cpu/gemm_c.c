#include "compute/cpu/gemm_kernel.h"

#include <string.h>

float stn_gemm_c_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t rest = half & 0x7fff;
    uint32_t bits = (rest << 13) + ((127 - 15) << 23);
    float value;
    if (rest < 0x0400) { /* zero and subnormal: a count of 2^-24 */
        value = (float)rest * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
    } else if (rest >= 0x7c00) { /* infinity and not-a-number, quiet */
        bits = 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00 ? 0x400000 : 0);
    }
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float b_at(const struct stn_gemm_args *g, size_t at)
{
    return g->b != NULL ? g->b[at] : stn_gemm_c_half(g->b16[at]);
}

static float finish(const struct stn_gemm_args *g, float sum, float c)
{
    return g->beta == 0 ? g->alpha * sum : g->beta * c + g->alpha * sum;
}

/* c[i][j] = beta c[i][j] + alpha sum_k a(i, k) b[k][j] */
static void broadcast(const struct stn_gemm_args *g)
{
    enum { WIDTH = 64 }; /* so many sums at once: b's rows are read in order */
    for (size_t i = 0; i < g->m; i++) {
        for (size_t j0 = 0; j0 < g->n; j0 += WIDTH) {
            size_t width = g->n - j0 < WIDTH ? g->n - j0 : WIDTH;
            float sum[WIDTH] = {0};
            for (size_t k = 0; k < g->k; k++) {
                float a = g->a[i * g->a_row + k * g->a_col];
                for (size_t j = 0; j < width; j++) {
                    sum[j] += a * b_at(g, k * g->ldb + j0 + j);
                }
            }
            for (size_t j = 0; j < width; j++) {
                float *c = &g->c[i * g->ldc + j0 + j];
                *c = finish(g, sum[j], g->beta == 0 ? 0 : *c);
            }
        }
    }
}

/* c[i][j] = beta c[i][j] + alpha sum_k a(i, k) b[j][k], in eight partial sums: k = 8 s + lane */
static void dot(const struct stn_gemm_args *g)
{
    for (size_t i = 0; i < g->m; i++) {
        const float *a = g->a + i * g->a_row;
        for (size_t j = 0; j < g->n; j++) {
            float part[8] = {0};
            for (size_t k = 0; k < g->k; k++) {
                part[k % 8] += a[k] * b_at(g, j * g->ldb + k);
            }
            float sum = ((part[0] + part[4]) + (part[2] + part[6])) +
                        ((part[1] + part[5]) + (part[3] + part[7]));
            float *c = &g->c[i * g->ldc + j];
            *c = finish(g, sum, g->beta == 0 ? 0 : *c);
        }
    }
}

const struct stn_gemm_kernel stn_gemm_c_kernel = {.broadcast = broadcast, .dot = dot};
