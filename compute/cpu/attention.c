#include "compute/cpu/kernel.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "compute/cpu/tile.h"

#define QUERIES 32 /* rows of one unit */

/* For row t, head h, key and value head g = h / (H / K); a query sees keys from starts[t] to starts[t] + positions[t]:
 *   s[j] = scale q[t][h] . k[j][g],  p = softmax(s),  o[t][h] = sum_j p[j] v[j][g],  lse[t][h] = log sum_j exp(s[j])
 * q, o: (T, H d), k, v: (S, K d), lse: (T, H). The softmax is built tile by tile (Milakov and Gimelshein 2018), tiles being
 * counted from the example's start, so that an example's numbers do not depend on what it is packed with. */
struct job {
    const float *q, *k, *v;
    const int32_t *starts, *positions;
    float *o, *lse;
    size_t heads, group, d, ldq, ldk;
    float scale;
    float *tile;      /* (d, STN_TILE_KEYS) */
    float *peak, *sum; /* (QUERIES, group): of the softmax so far */
};

size_t stn_attention_units(const struct stn_kernel_call *call)
{
    return (call->out[0].rows + QUERIES - 1) / QUERIES * call->node->kv_heads;
}

size_t stn_attention_scratch(const struct stn_kernel_call *call)
{
    const struct stn_node *node = call->node;
    size_t group = node->heads / node->kv_heads;
    return ((size_t)node->head_size * STN_TILE_KEYS + 2 * QUERIES * group) * sizeof(float);
}

/* One row's softmax takes in a tile of n scores: s becomes p, and o what it was under the new peak. */
STN_LANES_INLINE void take_in(float *restrict s, size_t n, float *restrict peak, float *restrict sum, float *restrict o, size_t d)
{
    float top = *peak;
    for (size_t j = 0; j < n; j++) {
        top = s[j] > top ? s[j] : top;
    }
    for (size_t j = 0; j < STN_TILE_KEYS; j++) {
        s[j] = j < n ? stn_lanes_exp(s[j] - top) : 0.0f;
    }
    stn_lanes total = STN_LANES_IN(s) + STN_LANES_IN(s + STN_LANES);
    if (top > *peak && *sum > 0.0f) {
        float shrink = stn_lanes_exp(*peak - top);
        *sum *= shrink;
        for (size_t c = 0; c < d; c++) {
            o[c] *= shrink;
        }
    }
    *peak = top;
    *sum += stn_lanes_sum(&total);
}

/* Up to ROWS pairs of a row and a head, numbers [first, first + n) of those of rows from FROM, against one tile that starts at
 * row KEY. */
STN_LANES_INLINE void some_pairs(const struct job *job, size_t first_head, size_t from, size_t first, size_t n, size_t key,
                                 const size_t rows)
{
    const float *q[STN_TILE_QUERIES];
    float *o[STN_TILE_QUERIES];
    float s[STN_TILE_QUERIES][STN_TILE_KEYS];
    size_t most = 0;
    for (size_t r = 0; r < rows; r++) {
        size_t pair = first + (r < n ? r : 0), at = (from + pair / job->group) * job->ldq;
        at += (first_head + pair % job->group) * job->d;
        q[r] = job->q + at;
        o[r] = job->o + at;
    }
    stn_tile_scores(q, job->tile, job->d, job->scale, s, rows);
    for (size_t r = 0; r < rows; r++) {
        size_t t = from + (first + (r < n ? r : 0)) / job->group;
        size_t end = (size_t)job->starts[t] + (size_t)job->positions[t] + 1;
        size_t keys = end <= key ? 0 : end - key < STN_TILE_KEYS ? end - key : STN_TILE_KEYS;
        if (r < n && keys > 0) {
            take_in(s[r], keys, &job->peak[first + r], &job->sum[first + r], o[r], job->d);
            most = keys > most ? keys : most;
        } else {
            memset(s[r], 0, sizeof s[r]);
        }
    }
    stn_tile_values(s, job->v + key * job->ldk, job->ldk, most, job->d, o, n, rows);
}

STN_LANES_CLONES
static void four_pairs(const struct job *job, size_t first_head, size_t from, size_t first, size_t n, size_t key)
{
    some_pairs(job, first_head, from, first, n, key, STN_TILE_QUERIES);
}

STN_LANES_CLONES
static void one_pair(const struct job *job, size_t first_head, size_t from, size_t first, size_t key)
{
    some_pairs(job, first_head, from, first, 1, key, 1);
}

/* One head's part of a row is short and the next row far away, which no processor foresees. */
STN_LANES_INLINE void fetch_rows(const float *p, size_t ld, size_t n, size_t d)
{
    for (size_t j = 0; j < n; j++) {
        for (size_t c = 0; c < d; c += STN_LANES) {
            __builtin_prefetch(p + j * ld + c, 0, 2);
        }
    }
}

/* The tile of N keys from row KEY on, while the N_NEXT rows behind it come closer. */
STN_LANES_CLONES
static void turn_keys(const struct job *job, size_t key, size_t n, size_t n_next)
{
    fetch_rows(job->k + (key + n) * job->ldk, job->ldk, n_next, job->d);
    fetch_rows(job->v + (key + n) * job->ldk, job->ldk, n_next, job->d);
    stn_tile_transpose(job->k + key * job->ldk, job->ldk, n, job->d, job->tile);
}

/* Rows [from, to) of one example, all heads of one key and value head. */
static void segment(const struct job *job, size_t first_head, size_t from, size_t to)
{
    size_t last = 0, n_pairs = (to - from) * job->group;
    for (size_t t = from; t < to; t++) {
        size_t end = (size_t)job->starts[t] + (size_t)job->positions[t] + 1;
        last = end > last ? end : last;
        for (size_t i = 0; i < job->group; i++) {
            job->peak[(t - from) * job->group + i] = -INFINITY;
            job->sum[(t - from) * job->group + i] = 0.0f;
            memset(job->o + t * job->ldq + (first_head + i) * job->d, 0, job->d * sizeof(float));
        }
    }
    for (size_t key = (size_t)job->starts[from]; key < last; key += STN_TILE_KEYS) {
        size_t left = last - key, n_keys = left < STN_TILE_KEYS ? left : STN_TILE_KEYS;
        turn_keys(job, key, n_keys, left - n_keys < STN_TILE_KEYS ? left - n_keys : STN_TILE_KEYS);
        for (size_t pair = 0; pair < n_pairs; pair += STN_TILE_QUERIES) {
            size_t n = n_pairs - pair < STN_TILE_QUERIES ? n_pairs - pair : STN_TILE_QUERIES;
            if (n == 1) {
                one_pair(job, first_head, from, pair, key);
            } else {
                four_pairs(job, first_head, from, pair, n, key);
            }
        }
    }
    for (size_t t = from; t < to; t++) {
        for (size_t i = 0; i < job->group; i++) {
            size_t at = (t - from) * job->group + i;
            float *o = job->o + t * job->ldq + (first_head + i) * job->d, share = 1.0f / job->sum[at];
            for (size_t c = 0; c < job->d; c++) {
                o[c] *= share;
            }
            job->lse[t * job->heads + first_head + i] = job->peak[at] + logf(job->sum[at]);
        }
    }
}

void stn_attention_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    const struct stn_node *node = call->node;
    struct job job = {.q = call->in[0].f, .k = call->in[1].f, .v = call->in[2].f, .starts = call->in[3].i};
    job.positions = call->in[4].i;
    job.o = call->out[0].f;
    job.lse = call->out[1].f;
    job.heads = node->heads;
    job.group = node->heads / node->kv_heads;
    job.d = node->head_size;
    job.ldq = call->in[0].cols;
    job.ldk = call->in[1].cols;
    job.scale = node->scale;
    job.tile = scratch;
    job.peak = job.tile + job.d * STN_TILE_KEYS;
    job.sum = job.peak + QUERIES * job.group;
    size_t n_rows = call->out[0].rows;
    for (size_t unit = first; unit < first + count; unit++) {
        size_t g = unit % node->kv_heads, t = unit / node->kv_heads * QUERIES;
        size_t end = t + QUERIES < n_rows ? t + QUERIES : n_rows;
        struct job own = job;
        own.k += g * job.d;
        own.v += g * job.d;
        while (t < end) {
            size_t to = t + 1;
            while (to < end && job.starts[to] == job.starts[t]) {
                to++;
            }
            segment(&own, g * job.group, t, to);
            t = to;
        }
    }
}
