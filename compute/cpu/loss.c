#include "compute/cpu/kernel.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "compute/cpu/gemm.h"
#include "compute/cpu/lanes.h"

#define ROWS 32      /* of one unit */
#define TILE 2048    /* words of one tile of the vocabulary */

/* For target i with label l and weight w, logits z = table y[i] (never kept beyond a tile of words for ROWS rows):
 *   loss[i] = log sum_v exp(z[v]) - z[l],  guess[i] = argmax_v z[v] (the first of equals)
 *   dy[i] = w sum_v (exp(z[v] - lse) - [v = l]) table[v]                              y, dy: (M, n), table: (V, n) */
struct job {
    const struct stn_kernel_view *table;
    const int32_t *labels;
    float *z;                     /* (ROWS, tile) */
    float peak[ROWS], sum[ROWS], own[ROWS];
    int32_t guess[ROWS];
    size_t n_words, cols, tile;
};

size_t stn_loss_units(const struct stn_kernel_call *call)
{
    return (call->in[0].rows + ROWS - 1) / ROWS;
}

static size_t tile_of(const struct stn_kernel_call *call)
{
    return call->in[1].rows < TILE ? call->in[1].rows : TILE;
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

/* Takes n logits of words from FROM into a row's sum of exponentials and its best guess. */
STN_LANES_CLONES
static void take_in(const float *restrict z, size_t from, size_t n, float *restrict peak, float *restrict sum,
                    int32_t *restrict guess)
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
    if (best > *peak || *sum == 0.0f) {
        v = 0;
        while (v + 1 < n && z[v] != best) {
            v++;
        }
        *guess = (int32_t)(from + v);
        *sum = *sum == 0.0f ? 0.0f : *sum * stn_lanes_exp(*peak - best);
        *peak = best;
    }
    float lanes[STN_LANES] = {0}, shift = *peak;
    for (v = 0; v + STN_LANES <= n; v += STN_LANES) {
        for (size_t i = 0; i < STN_LANES; i++) {
            lanes[i] += stn_lanes_exp(z[v + i] - shift);
        }
    }
    for (; v < n; v++) {
        lanes[0] += stn_lanes_exp(z[v] - shift);
    }
    stn_lanes all = STN_LANES_IN(lanes);
    *sum += stn_lanes_sum(&all);
}

/* z = w exp(z - lse) */
STN_LANES_CLONES
static void shares(float *restrict z, size_t n, float lse, float w)
{
    for (size_t v = 0; v < n; v++) {
        z[v] = w * stn_lanes_exp(z[v] - lse);
    }
}

static void survey(struct job *job, const float *y, size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++) {
        job->peak[r] = -INFINITY;
        job->sum[r] = 0.0f;
        job->guess[r] = 0;
    }
    for (size_t from = 0; from < job->n_words; from += job->tile) {
        size_t n = job->n_words - from < job->tile ? job->n_words - from : job->tile;
        logits(job, y, n_rows, from, n);
        for (size_t r = 0; r < n_rows; r++) {
            const float *z = job->z + r * job->tile;
            size_t label = (size_t)job->labels[r];
            if (label >= from && label - from < n) {
                job->own[r] = z[label - from];
            }
            take_in(z, from, n, &job->peak[r], &job->sum[r], &job->guess[r]);
        }
    }
}

/* The last tile's logits are still there; with one tile that is all of them. */
static void gradient(struct job *job, const float *y, const float *weights, float *dy, size_t n_rows)
{
    for (size_t from = 0; from < job->n_words; from += job->tile) {
        size_t n = job->n_words - from < job->tile ? job->n_words - from : job->tile;
        if (job->tile < job->n_words) {
            logits(job, y, n_rows, from, n);
        }
        for (size_t r = 0; r < n_rows; r++) {
            float *z = job->z + r * job->tile;
            size_t label = (size_t)job->labels[r];
            shares(z, n, job->peak[r] + logf(job->sum[r]), weights[r]);
            if (label >= from && label - from < n) {
                z[label - from] -= weights[r];
            }
        }
        float beta = from == 0 ? 0.0f : 1.0f;
        if (job->table->dtype == STN_DTYPE_F16) {
            stn_gemm_nn_f16(n_rows, job->cols, n, 1.0f, job->z, job->tile,
                            (const uint16_t *)job->table->data + from * job->cols, job->cols, beta, dy, job->cols);
        } else {
            stn_gemm_nn(n_rows, job->cols, n, 1.0f, job->z, job->tile, job->table->f + from * job->cols, job->cols, beta, dy,
                        job->cols);
        }
    }
}

void stn_loss_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    struct job job = {.table = &call->in[1], .z = scratch, .n_words = call->in[1].rows, .cols = call->in[1].cols};
    job.tile = tile_of(call);
    for (size_t unit = first; unit < first + count; unit++) {
        size_t i = unit * ROWS, n = call->in[0].rows - i < ROWS ? call->in[0].rows - i : ROWS;
        const float *y = call->in[0].f + i * job.cols;
        job.labels = call->in[2].i + i;
        survey(&job, y, n);
        for (size_t r = 0; r < n; r++) {
            call->out[0].f[i + r] = job.peak[r] + logf(job.sum[r]) - job.own[r];
            call->out[1].i[i + r] = job.guess[r];
        }
        if (call->node->op == STN_OP_LOSS) {
            gradient(&job, y, call->in[3].f + i, call->out[2].f + i * job.cols, n);
        }
    }
}
