#include "compute/cpu/kernel.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "compute/cpu/gemm.h"
#include "compute/cpu/lanes.h"

#define ROWS 32              /* of one unit */
#define TILE_BYTES (1 << 20) /* of the table: what the second product reads again is still near */
#define TILE_MOST 2048       /* words of a tile */
#define TILE_LEAST 64

/* For target i with label l and weight w, logits z = table y[i] (never kept beyond a tile of words for ROWS rows):
 *   loss[i] = log sum_v exp(z[v]) - z[l],  guess[i] = argmax_v z[v] (the first of equals)
 *   dy[i] = w (sum_v exp(z[v]) table[v] / sum_v exp(z[v]) - table[l])                y, dy: (M, n), table: (V, n)
 * Both sums grow tile by tile under a running maximum (Milakov and Gimelshein 2018; Dao et al. 2022), so that each logit is
 * computed once. */
struct job {
    const struct stn_kernel_view *table;
    const int32_t *labels;
    float *z; /* (ROWS, tile) */
    float peak[ROWS], sum[ROWS], own[ROWS], shrink[ROWS];
    int32_t guess[ROWS];
    size_t n_words, cols, tile;
};

size_t stn_loss_units(const struct stn_kernel_call *call)
{
    return (call->in[0].rows + ROWS - 1) / ROWS;
}

static size_t tile_of(const struct stn_kernel_call *call)
{
    size_t row = call->in[1].cols * (call->in[1].dtype == STN_DTYPE_F16 ? 2 : 4), n = TILE_BYTES / row / 64 * 64;
    n = n < TILE_LEAST ? TILE_LEAST : n > TILE_MOST ? TILE_MOST : n;
    return call->in[1].rows < n ? call->in[1].rows : n;
}

size_t stn_loss_scratch(const struct stn_kernel_call *call)
{
    return ROWS * tile_of(call) * sizeof(float);
}

/* z[r][v] = y[r] . table[from + v] */
static void logits(const struct job *job, const float *y, size_t n_rows, size_t from, size_t n)
{
    if (job->table->dtype == STN_DTYPE_F16) {
        stn_gemm_nt_f16(n_rows, n, job->cols, 1.0f, y, job->cols, (const uint16_t *)job->table->data + from * job->cols,
                        job->cols, 0.0f, job->z, job->tile);
    } else {
        stn_gemm_nt(n_rows, n, job->cols, 1.0f, y, job->cols, job->table->f + from * job->cols, job->cols, 0.0f, job->z,
                    job->tile);
    }
}

/* dy[r] += sum_v z[r][v] table[from + v] */
static void spread(const struct job *job, float *dy, size_t n_rows, size_t from, size_t n)
{
    float beta = from == 0 ? 0.0f : 1.0f;
    if (job->table->dtype == STN_DTYPE_F16) {
        stn_gemm_nn_f16(n_rows, job->cols, n, 1.0f, job->z, job->tile,
                        (const uint16_t *)job->table->data + from * job->cols, job->cols, beta, dy, job->cols);
    } else {
        stn_gemm_nn(n_rows, job->cols, n, 1.0f, job->z, job->tile, job->table->f + from * job->cols, job->cols, beta, dy,
                    job->cols);
    }
}

STN_LANES_CLONES
static float greatest(const float *restrict z, size_t n)
{
    float top[STN_LANES], best = -INFINITY;
    size_t v = 0;
    for (size_t i = 0; i < STN_LANES; i++) {
        top[i] = -INFINITY;
    }
    for (; v + STN_LANES <= n; v += STN_LANES) {
        for (size_t i = 0; i < STN_LANES; i++) {
            top[i] = z[v + i] > top[i] ? z[v + i] : top[i];
        }
    }
    for (size_t i = 0; i < STN_LANES; i++) {
        best = top[i] > best ? top[i] : best;
    }
    for (; v < n; v++) {
        best = z[v] > best ? z[v] : best;
    }
    return best;
}

/* z = exp(z - peak); their sum */
STN_LANES_CLONES
static float exponentials(float *restrict z, size_t n, float peak)
{
    float lanes[STN_LANES] = {0};
    size_t v = 0;
    for (; v + STN_LANES <= n; v += STN_LANES) {
        for (size_t i = 0; i < STN_LANES; i++) {
            z[v + i] = stn_lanes_exp(z[v + i] - peak);
            lanes[i] += z[v + i];
        }
    }
    for (; v < n; v++) {
        z[v] = stn_lanes_exp(z[v] - peak);
        lanes[0] += z[v];
    }
    stn_lanes all = STN_LANES_IN(lanes);
    return stn_lanes_sum(&all);
}

/* Row r takes in the tile of n logits from word FROM, which become exponentials under the new peak. */
static void take_in(struct job *job, size_t r, size_t from, size_t n)
{
    float *z = job->z + r * job->tile, best = greatest(z, n);
    size_t label = (size_t)job->labels[r];
    if (label >= from && label - from < n) {
        job->own[r] = z[label - from];
    }
    job->shrink[r] = 1.0f;
    if (from == 0 || best > job->peak[r]) {
        size_t v = 0;
        while (v + 1 < n && !(z[v] >= best)) {
            v++;
        }
        job->guess[r] = (int32_t)(from + v);
        job->shrink[r] = from == 0 ? 0.0f : stn_lanes_exp(job->peak[r] - best);
        job->peak[r] = best;
    }
    job->sum[r] = (from == 0 ? 0.0f : job->sum[r] * job->shrink[r]) + exponentials(z, n, job->peak[r]);
}

STN_LANES_CLONES
static void scale(float *restrict x, size_t n, float s)
{
    for (size_t i = 0; i < n; i++) {
        x[i] *= s;
    }
}

/* dy = w (dy / sum - table[label]) */
static void finish(const struct job *job, float *dy, const float *weights, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++) {
        float *row = dy + r * job->cols, w = weights[r];
        scale(row, job->cols, w / job->sum[r]);
        if (job->table->dtype == STN_DTYPE_F16) {
            const uint16_t *half = (const uint16_t *)job->table->data + (size_t)job->labels[r] * job->cols;
            for (size_t c = 0; c < job->cols; c++) {
                row[c] -= w * stn_lanes_widen(half[c]);
            }
        } else {
            const float *words = job->table->f + (size_t)job->labels[r] * job->cols;
            for (size_t c = 0; c < job->cols; c++) {
                row[c] -= w * words[c];
            }
        }
    }
}

/* dy: where the gradient goes, or NULL */
static void run_rows(struct job *job, const float *y, float *dy, const float *weights, size_t n_rows)
{
    for (size_t from = 0; from < job->n_words; from += job->tile) {
        size_t n = job->n_words - from < job->tile ? job->n_words - from : job->tile;
        logits(job, y, n_rows, from, n);
        for (size_t r = 0; r < n_rows; r++) {
            take_in(job, r, from, n);
            if (dy != NULL && from > 0 && job->shrink[r] < 1.0f) {
                scale(dy + r * job->cols, job->cols, job->shrink[r]);
            }
        }
        if (dy != NULL) {
            spread(job, dy, n_rows, from, n);
        }
    }
    if (dy != NULL) {
        finish(job, dy, weights, n_rows);
    }
}

void stn_loss_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    struct job job = {.table = &call->in[1], .z = scratch, .n_words = call->in[1].rows, .cols = call->in[1].cols};
    bool learns = call->node->op == STN_OP_LOSS;
    job.tile = tile_of(call);
    for (size_t unit = first; unit < first + count; unit++) {
        size_t i = unit * ROWS, n = call->in[0].rows - i < ROWS ? call->in[0].rows - i : ROWS;
        job.labels = call->in[2].i + i;
        run_rows(&job, call->in[0].f + i * job.cols, learns ? call->out[2].f + i * job.cols : NULL,
                 learns ? call->in[3].f + i : NULL, n);
        for (size_t r = 0; r < n; r++) {
            call->out[0].f[i + r] = job.peak[r] + logf(job.sum[r]) - job.own[r];
            call->out[1].i[i + r] = job.guess[r];
        }
    }
}
