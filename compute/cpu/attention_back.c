#include "compute/cpu/kernel.h"

#include <assert.h>
#include <string.h>

#include "compute/cpu/tile.h"

/* With p[j] = exp(s[j] - lse) as forward had it, recomputed tile by tile (Dao et al. 2022, appendix B.2):
 *   D = sum_c do[t][h][c] o[t][h][c],  ds[j] = scale p[j] (do[t][h] . v[j] - D)
 *   dq[t][h] = sum_j ds[j] k[j],  dk[j] = sum_{t, h} ds[j] q[t][h],  dv[j] = sum_{t, h} p[j] do[t][h]
 * A unit is one key and value head with all queries that use it, so that no two units add to one dk or dv. */
struct job {
    const float *q, *k, *v, *o, *lse, *dout;
    const int32_t *starts, *positions;
    float *dq, *dk, *dv;
    size_t heads, group, d, ldq, ldk;
    float scale;
    float *k_tile, *v_tile; /* (d, STN_TILE_KEYS) each */
};

size_t stn_attention_back_units(const struct stn_kernel_call *call)
{
    return call->node->kv_heads;
}

size_t stn_attention_back_scratch(const struct stn_kernel_call *call)
{
    return 2 * (size_t)call->node->head_size * STN_TILE_KEYS * sizeof(float);
}

STN_LANES_INLINE float dot(const float *restrict a, const float *restrict b, size_t n)
{
    stn_lanes s = {0};
    size_t c = 0;
    for (; c + STN_LANES <= n; c += STN_LANES) {
        s += STN_LANES_IN(a + c) * STN_LANES_IN(b + c);
    }
    float sum = stn_lanes_sum(&s);
    for (; c < n; c++) {
        sum += a[c] * b[c];
    }
    return sum;
}

/* Four pairs of a row and a head, numbers [first, first + n) of those of rows from FROM, against one tile that starts at row KEY. */
STN_LANES_CLONES
static void four_pairs_back(const struct job *job, size_t first_head, size_t from, size_t first, size_t n, size_t key)
{
    const float *q[STN_TILE_QUERIES], *dout[STN_TILE_QUERIES];
    float *dq[STN_TILE_QUERIES];
    float p[STN_TILE_QUERIES][STN_TILE_KEYS], ds[STN_TILE_QUERIES][STN_TILE_KEYS];
    size_t most = 0;
    for (size_t r = 0; r < STN_TILE_QUERIES; r++) {
        size_t pair = first + (r < n ? r : 0), at = (from + pair / job->group) * job->ldq;
        at += (first_head + pair % job->group) * job->d;
        q[r] = job->q + at;
        dout[r] = job->dout + at;
        dq[r] = job->dq + at;
    }
    stn_tile_scores(q, job->k_tile, job->d, job->scale, p, STN_TILE_QUERIES);
    stn_tile_scores(dout, job->v_tile, job->d, 1.0f, ds, STN_TILE_QUERIES);
    for (size_t r = 0; r < STN_TILE_QUERIES; r++) {
        size_t pair = first + (r < n ? r : 0), t = from + pair / job->group, h = first_head + pair % job->group;
        size_t end = (size_t)job->starts[t] + (size_t)job->positions[t] + 1;
        size_t keys = r >= n || end <= key ? 0 : end - key < STN_TILE_KEYS ? end - key : STN_TILE_KEYS;
        float lse = job->lse[t * job->heads + h], mean = dot(dout[r], job->o + t * job->ldq + h * job->d, job->d);
        for (size_t j = 0; j < STN_TILE_KEYS; j++) {
            float share = j < keys ? stn_lanes_exp(p[r][j] - lse) : 0.0f;
            p[r][j] = share;
            ds[r][j] = job->scale * share * (ds[r][j] - mean);
        }
        most = keys > most ? keys : most;
    }
    stn_tile_values(ds, job->k + key * job->ldk, job->ldk, most, job->d, dq, n, STN_TILE_QUERIES);
    stn_tile_spread(ds, q, job->dk + key * job->ldk, job->ldk, most, job->d);
    stn_tile_spread(p, dout, job->dv + key * job->ldk, job->ldk, most, job->d);
}

/* Rows [from, to): all queries of one example, all heads of one key and value head. */
static void segment(const struct job *job, size_t first_head, size_t from, size_t to)
{
    size_t last = (size_t)job->starts[to - 1] + (size_t)job->positions[to - 1] + 1;
    for (size_t key = (size_t)job->starts[from]; key < last; key += STN_TILE_KEYS) {
        size_t n_keys = last - key < STN_TILE_KEYS ? last - key : STN_TILE_KEYS, t = from;
        while (t < to && (size_t)job->starts[t] + (size_t)job->positions[t] < key) {
            t++; /* these rows end before the tile */
        }
        stn_tile_transpose(job->k + key * job->ldk, job->ldk, n_keys, job->d, job->k_tile);
        stn_tile_transpose(job->v + key * job->ldk, job->ldk, n_keys, job->d, job->v_tile);
        for (size_t pair = 0, n_pairs = (to - t) * job->group; pair < n_pairs; pair += STN_TILE_QUERIES) {
            size_t n = n_pairs - pair < STN_TILE_QUERIES ? n_pairs - pair : STN_TILE_QUERIES;
            four_pairs_back(job, first_head, t, pair, n, key);
        }
    }
}

static void clear(float *p, size_t rows, size_t ld, size_t cols)
{
    for (size_t t = 0; t < rows; t++) {
        memset(p + t * ld, 0, cols * sizeof *p);
    }
}

void stn_attention_back_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    const struct stn_node *node = call->node;
    struct job job = {.q = call->in[0].f, .starts = call->in[3].i, .positions = call->in[4].i, .o = call->in[5].f};
    job.lse = call->in[6].f;
    job.dout = call->in[7].f;
    job.dq = call->out[0].f;
    job.heads = node->heads;
    job.group = node->heads / node->kv_heads;
    job.d = node->head_size;
    job.ldq = call->in[0].cols;
    job.ldk = call->in[1].cols;
    job.scale = node->scale;
    job.k_tile = scratch;
    job.v_tile = job.k_tile + job.d * STN_TILE_KEYS;
    size_t n_rows = call->in[0].rows, n_keys = call->in[1].rows;
    for (size_t g = first; g < first + count; g++) {
        job.k = call->in[1].f + g * job.d;
        job.v = call->in[2].f + g * job.d;
        job.dk = call->out[1].f + g * job.d;
        job.dv = call->out[2].f + g * job.d;
        clear(job.dq + g * job.group * job.d, n_rows, job.ldq, job.group * job.d);
        clear(job.dk, n_keys, job.ldk, job.d);
        clear(job.dv, n_keys, job.ldk, job.d);
        for (size_t t = 0, to; t < n_rows; t = to) {
            to = t + 1;
            while (to < n_rows && job.starts[to] == job.starts[t]) {
                to++;
            }
            segment(&job, g * job.group, t, to);
        }
    }
}
