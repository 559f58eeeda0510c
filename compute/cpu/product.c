#include "compute/cpu/kernel.h"

#include <assert.h>
#include <string.h>

#include "base/rng.h"
#include "compute/cpu/gemm.h"

#define ROW_BLOCK 16 /* rows or columns of one unit of a dense product */
#define COL_BLOCK 64
#define FEW_ROWS 32 /* below that, threads share columns */

static const struct stn_matrix *matrix_of(const struct stn_kernel_view *view)
{
    const struct stn_matrix *w = view->data;
    assert(view->dtype == STN_DTYPE_TERNARY && w->packed != NULL);
    return w;
}

static size_t blocks(size_t n, size_t block)
{
    return (n + block - 1) / block;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* xq = round(x / s), s = absmax / 127 of the row: see ternary.h */
void stn_product_quantise(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[0].cols;
    stn_ternary_quantise(call->in[0].f + first * n, count, n, call->out[0].q + first * stn_ternary_stride(n),
                         call->out[0].scale + first);
}

/* As above, rounded up or down by chance. The seed is the batch's, the number the node's. */
void stn_product_quantise_random(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t n = call->in[0].cols;
    uint64_t seed;
    memcpy(&seed, call->in[1].p, sizeof seed);
    stn_ternary_quantise_random(call->in[0].f + first * n, count, n, stn_rng_mix(seed + call->node->number), first,
                                call->out[0].q + first * stn_ternary_stride(n), call->out[0].scale + first);
}

size_t stn_product_ternary_scratch(const struct stn_kernel_call *call)
{
    return stn_ternary_scratch(matrix_of(&call->in[1])->packed, call->in[0].rows);
}

size_t stn_product_ternary_units(const struct stn_kernel_call *call)
{
    return call->out[0].rows == 0 ? 0 : blocks(call->in[1].rows, STN_TERNARY_RANGE);
}

/* y = xq W^T, or x W^T in f32 where x was not quantised */
void stn_product_ternary(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    const struct stn_ternary *w = matrix_of(&call->in[1])->packed;
    size_t n = call->out[0].rows, m = call->out[0].cols, from = first * STN_TERNARY_RANGE;
    size_t rows = least(count * STN_TERNARY_RANGE, m - from);
    if (call->in[0].dtype == STN_DTYPE_Q8) {
        stn_ternary_forward(w, call->in[0].q, call->in[0].scale, n, call->out[0].f, m, from, rows, scratch);
    } else {
        stn_ternary_forward_exact(w, call->in[0].f, n, call->out[0].f, m, from, rows, scratch);
    }
}

size_t stn_product_ternary_back_units(const struct stn_kernel_call *call)
{
    return call->out[0].rows == 0 ? 0 : blocks(call->in[1].cols, STN_TERNARY_RANGE);
}

/* dx (+)= dy W */
void stn_product_ternary_back(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    const struct stn_ternary *w = matrix_of(&call->in[1])->packed;
    size_t n = call->out[0].rows, cols = call->out[0].cols, from = first * STN_TERNARY_RANGE;
    size_t width = least(count * STN_TERNARY_RANGE, cols - from);
    for (size_t t = 0; t < n && !call->node->add; t++) {
        memset(call->out[0].f + t * cols + from, 0, width * sizeof(float));
    }
    if (call->in[0].dtype == STN_DTYPE_Q8) {
        stn_ternary_backward_int8(w, call->in[0].q, call->in[0].scale, n, call->out[0].f, cols, from, width, scratch);
    } else {
        stn_ternary_backward(w, call->in[0].f, n, call->out[0].f, cols, from, width, scratch);
    }
}

size_t stn_product_linear_units(const struct stn_kernel_call *call)
{
    size_t rows = call->out[0].rows;
    return rows == 0 ? 0 : rows >= FEW_ROWS ? blocks(rows, ROW_BLOCK) : blocks(call->out[0].cols, COL_BLOCK);
}

/* y (+)= scale x W^T      x: (T, n), W: (m, n); n rows from t on, width columns from c on */
static void linear_part(const struct stn_kernel_call *call, size_t t, size_t n, size_t c, size_t width)
{
    size_t k = call->in[0].cols, m = call->out[0].cols;
    float beta = call->node->add ? 1.0f : 0.0f, scale = call->node->scale;
    const float *x = call->in[0].f + t * k;
    float *y = call->out[0].f + t * m + c;
    if (call->in[1].dtype == STN_DTYPE_F16) {
        const uint16_t *w = (const uint16_t *)call->in[1].data + c * k;
        stn_gemm_nt_f16(n, width, k, scale, x, k, w, k, beta, y, m);
    } else {
        stn_gemm_nt(n, width, k, scale, x, k, call->in[1].f + c * k, k, beta, y, m);
    }
}

void stn_product_linear_columns(const struct stn_kernel_call *call, size_t first, size_t count)
{
    size_t from = first * STN_TERNARY_RANGE, m = call->out[0].cols;
    linear_part(call, 0, call->out[0].rows, from, least(count * STN_TERNARY_RANGE, m - from));
}

void stn_product_linear(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t m = call->out[0].cols, rows = call->out[0].rows;
    if (rows >= FEW_ROWS) {
        linear_part(call, first * ROW_BLOCK, least(count * ROW_BLOCK, rows - first * ROW_BLOCK), 0, m);
    } else {
        linear_part(call, 0, rows, first * COL_BLOCK, least(count * COL_BLOCK, m - first * COL_BLOCK));
    }
}

/* dx (+)= scale dy W      dy: (T, m), W: (m, n) */
void stn_product_linear_back_x(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t m = call->in[0].cols, n = call->out[0].cols;
    stn_gemm_nn(count, n, m, call->node->scale, call->in[0].f + first * m, m, call->in[1].f, n,
                call->node->add ? 1.0f : 0.0f, call->out[0].f + first * n, n);
}

size_t stn_product_linear_back_w_units(const struct stn_kernel_call *call)
{
    size_t m = call->out[0].rows;
    return m >= FEW_ROWS ? blocks(m, ROW_BLOCK) : blocks(call->out[0].cols, COL_BLOCK);
}

/* dW (+)= scale dy^T x      dy: (T, m), x: (T, n) */
void stn_product_linear_back_w(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t m = call->out[0].rows, n = call->out[0].cols, r = 0, rows = m, c = 0, width = n;
    if (m >= FEW_ROWS) {
        r = first * ROW_BLOCK;
        rows = least(count * ROW_BLOCK, m - r);
    } else {
        c = first * COL_BLOCK;
        width = least(count * COL_BLOCK, n - c);
    }
    stn_gemm_tn(rows, width, call->in[0].rows, call->node->scale, call->in[0].f + r, m, call->in[1].f + c, n,
                call->node->add ? 1.0f : 0.0f, call->out[0].f + r * n + c, n);
}
