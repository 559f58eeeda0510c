#include "compute/cpu/kernel.h"

#include <math.h>

#include "compute/cpu/lanes.h"

/* sum_c a[c] b[c] */
STN_LANES_INLINE float dot(const float *restrict a, const float *restrict b, size_t n)
{
    stn_lanes s0 = {0}, s1 = {0};
    size_t c = 0;
    for (; c + 2 * STN_LANES <= n; c += 2 * STN_LANES) {
        s0 += STN_LANES_IN(a + c) * STN_LANES_IN(b + c);
        s1 += STN_LANES_IN(a + c + STN_LANES) * STN_LANES_IN(b + c + STN_LANES);
    }
    s0 += s1;
    float sum = stn_lanes_sum(&s0);
    for (; c < n; c++) {
        sum += a[c] * b[c];
    }
    return sum;
}

/* y[t][c] = x[t][c] r g[c],  r = 1 / sqrt(mean_c x[t][c]^2 + eps)      x: (rows, cols), g: (cols) */
STN_LANES_CLONES
static void norm_row(const float *restrict x, const float *restrict g, float eps, float *restrict y, size_t n)
{
    float r = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (size_t c = 0; c < n; c++) {
        y[c] = x[c] * r * g[c];
    }
}

/* dx[t][c] (+)= r (dy[t][c] g[c] - x[t][c] r^2 mean_c(dy[t][c] g[c] x[t][c])) */
STN_LANES_CLONES
static void norm_row_back(const float *restrict x, const float *restrict g, const float *restrict dy, float eps, int add,
                          float *restrict dx, size_t n)
{
    float r = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    stn_lanes s = {0};
    size_t c = 0;
    for (; c + STN_LANES <= n; c += STN_LANES) {
        s += STN_LANES_IN(dy + c) * STN_LANES_IN(g + c) * STN_LANES_IN(x + c);
    }
    float sum = stn_lanes_sum(&s);
    for (; c < n; c++) {
        sum += dy[c] * g[c] * x[c];
    }
    float m = sum / (float)n * r * r;
    if (add) {
        for (c = 0; c < n; c++) {
            dx[c] += r * (dy[c] * g[c] - x[c] * m);
        }
    } else {
        for (c = 0; c < n; c++) {
            dx[c] = r * (dy[c] * g[c] - x[c] * m);
        }
    }
}

void stn_norm_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[0].cols;
    for (size_t t = first; t < first + count; t++) {
        norm_row(call->in[0].f + t * n, call->in[1].f, call->node->eps, call->out[0].f + t * n, n);
    }
}

void stn_norm_back(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[0].cols;
    for (size_t t = first; t < first + count; t++) {
        norm_row_back(call->in[0].f + t * n, call->in[1].f, call->in[2].f + t * n, call->node->eps, call->node->add,
                      call->out[0].f + t * n, n);
    }
}
