#include "compute/cpu/kernel.h"

#include "compute/cpu/lanes.h"

/* a = g sigmoid(g) u  (SwiGLU, Shazeer 2020), in double: a is rounded to a float once, and then to int8 */
STN_LANES_CLONES
static void swiglu(const float *restrict g, const float *restrict u, float *restrict a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x = (double)g[i];
        a[i] = (float)(x / (1.0 + stn_lanes_exp_wide(-x)) * (double)u[i]);
    }
}

/* dg = da u s (1 + g (1 - s)),  du = da g s,  s = sigmoid(g) */
STN_LANES_CLONES
static void swiglu_back(const float *restrict g, const float *restrict u, const float *restrict da, float *restrict dg,
                        float *restrict du, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float s = 1.0f / (1.0f + stn_lanes_exp(-g[i]));
        dg[i] = da[i] * u[i] * s * (1.0f + g[i] * (1.0f - s));
        du[i] = da[i] * g[i] * s;
    }
}

/* a = max(g, 0)^2 u  (BitNet b1.58 2B4T, Ma et al. 2025) */
STN_LANES_CLONES
static void relu2(const float *restrict g, const float *restrict u, float *restrict a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float r = g[i] < 0.0f ? 0.0f : g[i];
        a[i] = r * r * u[i];
    }
}

/* dg = 2 da max(g, 0) u,  du = da max(g, 0)^2 */
STN_LANES_CLONES
static void relu2_back(const float *restrict g, const float *restrict u, const float *restrict da, float *restrict dg,
                       float *restrict du, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float r = g[i] < 0.0f ? 0.0f : g[i];
        dg[i] = 2.0f * da[i] * r * u[i];
        du[i] = da[i] * r * r;
    }
}

void stn_gate_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[0].cols, at = first * n;
    (call->node->gate == STN_OP_GATE_SWIGLU ? swiglu : relu2)(call->in[0].f + at, call->in[1].f + at, call->out[0].f + at,
                                                              count * n);
}

void stn_gate_back(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[0].cols, at = first * n;
    (call->node->gate == STN_OP_GATE_SWIGLU ? swiglu_back : relu2_back)(call->in[0].f + at, call->in[1].f + at,
                                                                        call->in[2].f + at, call->out[0].f + at,
                                                                        call->out[1].f + at, count * n);
}
