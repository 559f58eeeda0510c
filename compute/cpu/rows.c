#include "compute/cpu/kernel.h"

#include <assert.h>
#include <string.h>

#include "base/rng.h"
#include "compute/cpu/lanes.h"
#include "compute/cpu/ternary_kernel.h"

/* x[t] = table[tokens[t]] */
void stn_rows_embed(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[1].cols;
    for (size_t t = first; t < first + count; t++) {
        size_t token = (size_t)call->in[0].i[t];
        assert(token < call->in[1].rows);
        float *x = call->out[0].f + t * n;
        if (call->in[1].dtype == STN_DTYPE_F32) {
            memcpy(x, call->in[1].f + token * n, n * sizeof *x);
            continue;
        }
        const uint16_t *half = (const uint16_t *)call->in[1].data + token * n;
        for (size_t c = 0; c < n; c++) {
            x[c] = stn_lanes_widen(half[c]);
        }
    }
}

STN_LANES_CLONES
static void sum(const float *a, const float *b, float *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        c[i] = a[i] + b[i];
    }
}

/* c = a + b */
void stn_rows_add(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->out[0].cols, at = first * n;
    sum(call->in[0].f + at, call->in[1].f + at, call->out[0].f + at, count * n);
}

/* b (+)= a */
void stn_rows_copy(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->out[0].cols, at = first * n;
    if (call->node->add) {
        sum(call->out[0].f + at, call->in[0].f + at, call->out[0].f + at, count * n);
    } else {
        memcpy(call->out[0].f + at, call->in[0].f + at, count * n * sizeof(float));
    }
}

/* y[t][c] (+)= u < eps ? 0 : scale x[t][c], u in [0, 1) by chance from (seed, number, t, c): Srivastava et al. (2014) */
void stn_rows_dropout(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->out[0].cols;
    float share = call->node->eps, scale = call->node->scale;
    uint64_t seed;
    memcpy(&seed, call->in[1].p, sizeof seed);
    seed = stn_rng_mix(stn_rng_mix(seed + call->node->number));
    for (size_t t = first; t < first + count; t++) {
        const float *x = call->in[0].f + t * n;
        float *y = call->out[0].f + t * n;
        uint64_t key = stn_rng_mix(seed + t);
        for (size_t c = 0; c < n; c++) {
            float u = (float)(int32_t)(stn_ternary_hash(key, (uint32_t)c) >> 8) * 0x1p-24f;
            float kept = u < share ? 0 : scale * x[c];
            y[c] = call->node->add ? y[c] + kept : kept;
        }
    }
}

/* y[i] = x[rows[i]], of floats or whole numbers */
void stn_rows_gather(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->out[0].cols;
    for (size_t i = first; i < first + count; i++) {
        size_t row = (size_t)call->in[1].i[i];
        assert(row < call->in[0].rows);
        memcpy(call->out[0].f + i * n, call->in[0].f + row * n, n * sizeof(float));
    }
}

/* dx[rows[i]] (+)= dy[i]; rows that nobody names are zero, or as they were. Rows may repeat. */
void stn_rows_scatter(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)first, (void)count, (void)scratch;
    size_t n = call->out[0].cols;
    if (!call->node->add) {
        memset(call->out[0].f, 0, call->out[0].rows * n * sizeof(float));
    }
    for (size_t i = 0; i < call->in[0].rows; i++) {
        size_t row = (size_t)call->in[1].i[i];
        assert(row < call->out[0].rows);
        float *dx = call->out[0].f + row * n;
        sum(dx, call->in[0].f + i * n, dx, n);
    }
}

/* cache[rows[t]] = x[t] */
void stn_rows_store(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->out[0].cols;
    for (size_t t = first; t < first + count; t++) {
        size_t row = (size_t)call->in[1].i[t];
        assert(row < call->out[0].rows);
        memcpy(call->out[0].f + row * n, call->in[0].f + t * n, n * sizeof(float));
    }
}
