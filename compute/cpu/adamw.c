#include "compute/cpu/kernel.h"

#include <math.h>
#include <string.h>

#include "compute/cpu/lanes.h"

/* A unit is a span: one tensor of the adapter, floats [spans[u], spans[u + 1]) of the flat values. */
size_t stn_adamw_units(const struct stn_kernel_call *call)
{
    return call->in[2].cols;
}

/* s[u] = sum_i g[i]^2 over span u; 0 where it does not train */
void stn_adamw_squares(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    const int32_t *spans = call->in[1].i;
    for (size_t u = first; u < first + count; u++) {
        double lanes[8] = {0}, sum = 0;
        const float *g = call->in[0].f;
        for (size_t i = (size_t)spans[u]; call->in[2].f[u] != 0.0f && i < (size_t)spans[u + 1]; i++) {
            lanes[i % 8] += (double)g[i] * (double)g[i];
        }
        for (size_t i = 0; i < 8; i++) {
            sum += lanes[i];
        }
        call->out[0].f[u] = (float)sum;
    }
}

/* AdamW (Loshchilov and Hutter 2019), g being scaled by k:
 *   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w -= lr (m / c1 / (sqrt(v / c2) + eps) + decay w),  g = 0 */
STN_LANES_CLONES
static void step(float *restrict w, float *restrict m, float *restrict v, float *restrict g, const float *restrict s, float k,
                 size_t n)
{
    const float lr = s[STN_OP_SETTING_LR], b1 = s[STN_OP_SETTING_BETA1], b2 = s[STN_OP_SETTING_BETA2];
    const float eps = s[STN_OP_SETTING_EPS], decay = s[STN_OP_SETTING_WEIGHT_DECAY];
    const float c1 = s[STN_OP_SETTING_CORRECTION1], c2 = s[STN_OP_SETTING_CORRECTION2];
    for (size_t i = 0; i < n; i++) {
        float d = g[i] * k;
        m[i] = b1 * m[i] + (1.0f - b1) * d;
        v[i] = b2 * v[i] + (1.0f - b2) * d * d;
        w[i] -= lr * (m[i] / c1 / (sqrtf(v[i] / c2) + eps) + decay * w[i]);
        g[i] = 0.0f;
    }
}

/* k = clip / norm where the norm of all that trains is above a clip > 0, else 1. A norm that is not finite changes nothing but
 * the gradients, which are zero afterwards in any case. */
void stn_adamw_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    const float *settings = call->in[4].f;
    double squares = 0, clip = (double)settings[STN_OP_SETTING_CLIP];
    for (size_t u = 0; u < call->in[3].cols; u++) {
        squares += (double)call->in[3].f[u];
    }
    double norm = sqrt(squares);
    float k = clip > 0 && norm > clip ? (float)(clip / norm) : 1.0f;
    for (size_t u = first; u < first + count; u++) {
        size_t at = (size_t)call->in[1].i[u], n = (size_t)call->in[1].i[u + 1] - at;
        float *g = call->out[3].f + at;
        if (isfinite(norm) && call->in[2].f[u] != 0.0f) {
            step(call->out[0].f + at, call->out[1].f + at, call->out[2].f + at, g, settings, k, n);
        } else {
            memset(g, 0, n * sizeof *g);
        }
    }
}
