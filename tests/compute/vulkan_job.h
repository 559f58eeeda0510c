/* vulkan_job: a graph of one node, or a few, over host arrays, run by the processor and by the GPU, and compared. */
#ifndef STN_TESTS_COMPUTE_VULKAN_JOB_H
#define STN_TESTS_COMPUTE_VULKAN_JOB_H

#include "tests/compute/gpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/vulkan/pipeline.h"

enum { MOST = 2050 * 1040, TENSORS = 12, N_ROWS = 64 };

static struct stn_err err;
static struct stn_rng rng;

/* A graph of one node, or a few, over host arrays, run by either backend. */
static struct job {
    struct stn_graph graph;
    struct stn_node node; /* the last */
    size_t n_node_in;
    uint32_t ins[TENSORS], outs[TENSORS];
    const void *inputs[TENSORS], *before[TENSORS];
    size_t sizes[TENSORS], before_sizes[TENSORS];
    size_t n_in, n_out;
    const struct stn_pipeline_row *row; /* that the GPU used, for the first */
    size_t n_dispatches;
    uint64_t rows; /* all that it used */
} job;

/* One ternary matrix, its weights in the open. */
static struct weights {
    size_t rows, cols;
    int8_t values[MOST];
    float scales[MOST];
    struct stn_matrix matrix;
    struct stn_ternary *packed;
} weights;

static inline void begin(enum stn_op op)
{
    memset(&job, 0, sizeof job);
    stn_graph_init(&job.graph, 64, 64);
    job.node = (struct stn_node){.op = op, .out = STN_OP_NEW, .scale = 1};
    stn_rng_init(&rng, (uint64_t)op + 7);
}

/* The node that was told so far is one; another follows. */
static inline void then(enum stn_op op)
{
    (void)stn_graph_add(&job.graph, 0, &job.node);
    job.node = (struct stn_node){.op = op, .out = STN_OP_NEW, .scale = 1};
    job.n_node_in = 0;
}

static inline uint32_t in(enum stn_dtype dtype, size_t rows, size_t cols, const void *p)
{
    size_t i = job.n_in++;
    ck_assert_uint_lt(i, TENSORS);
    job.inputs[i] = p;
    job.ins[i] = stn_graph_lasting(&job.graph, dtype, STN_EXTENT_FIXED, rows, cols);
    job.sizes[i] = stn_graph_size(stn_graph_shape(&job.graph, job.ins[i]));
    job.node.in[job.n_node_in++] = job.ins[i];
    return job.ins[i];
}

static inline void constant(enum stn_dtype dtype, size_t rows, size_t cols, const void *p)
{
    job.node.in[job.n_node_in++] = stn_graph_constant(&job.graph, dtype, rows, cols, p);
}

static inline uint32_t out(enum stn_dtype dtype, size_t rows, size_t cols, const void *before)
{
    size_t i = job.n_out++, own = 0;
    for (; own < STN_OP_OUTPUTS - 1 && job.node.out[own] != STN_OP_NONE; own++) {
    }
    job.outs[i] = job.node.out[own] = stn_graph_lasting(&job.graph, dtype, STN_EXTENT_FIXED, rows, cols);
    job.before[i] = before;
    job.before_sizes[i] = stn_graph_size(stn_graph_shape(&job.graph, job.outs[i]));
    return job.outs[i];
}

/* Results of all outputs, one after the other. */
static inline void run_on(const char *name, char *results)
{
    const struct stn_backend_row *row = stn_backend_find(name);
    struct stn_backend *backend;
    ck_assert_msg(row->new_for(&backend, &job.graph, 1, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(row->prepare(backend, 0, &err) == STN_OK, "%s", err.text);
    for (size_t i = 0; i < job.n_in; i++) {
        row->write(backend, job.ins[i], 0, job.inputs[i], job.sizes[i]);
    }
    for (size_t i = 0; i < job.n_out; i++) {
        if (job.before[i] != NULL) {
            row->write(backend, job.outs[i], 0, job.before[i], job.before_sizes[i]);
        }
    }
    ck_assert_msg(row->run(backend, 0, 0, 0, &err) == STN_OK, "%s", err.text);
    for (size_t i = 0; i < job.n_out; i++) {
        row->read(backend, job.outs[i], 0, results, job.before_sizes[i]);
        results += job.before_sizes[i];
    }
    if (strcmp(name, "vulkan") == 0) {
        struct stn_vulkan_stats stats;
        gpu_is_silent(backend);
        stn_vulkan_stats(backend, &stats);
        job.n_dispatches = stats.n_dispatches;
        job.rows = stn_vulkan_rows(backend, 0, 0);
        job.row = stn_vulkan_row(backend, job.graph.passes[0].nodes[0].op);
    }
    row->free(backend);
}

static char results[2][MOST * 4];

static inline void run_both(void)
{
    (void)stn_graph_add(&job.graph, 0, &job.node);
    run_on("cpu", results[0]);
    run_on("vulkan", results[1]);
    stn_graph_fini(&job.graph);
}

/* Both backends' first n floats from a byte on. */
static inline void agree(size_t from, size_t n, double tolerance, const char *what)
{
    const float *cpu = (const float *)(const void *)(results[0] + from), *gpu = (const float *)(const void *)(results[1] + from);
    double most = 1e-3;
    for (size_t i = 0; i < n; i++) {
        most = fabs((double)cpu[i]) > most ? fabs((double)cpu[i]) : most;
    }
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(fabs((double)cpu[i] - (double)gpu[i]) <= tolerance * most, "%s[%zu]: %.9g, the CPU's %.9g", what, i,
                      (double)gpu[i], (double)cpu[i]);
    }
}

/* Rows of int8 and their scales, from a byte on: where division is not correctly rounded a middle may fall to the other side. */
static inline void is_rounded_alike(size_t from, size_t rows, size_t cols)
{
    size_t size = stn_graph_size(&(struct stn_shape){STN_DTYPE_Q8, STN_EXTENT_FIXED, rows, cols}) - rows * sizeof(float), n_other = 0;
    for (size_t i = from; i < from + size; i++) {
        n_other += results[0][i] != results[1][i];
        ck_assert_int_le(abs(results[0][i] - results[1][i]), 1);
    }
    ck_assert_uint_le(n_other, 2);
    agree(from + size, rows, 1e-6, "scale");
}

static inline void draw(float *p, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)(stn_rng_normal(&rng) * scale);
    }
}

static inline void row_of(const void *user, size_t row, int8_t *values, float *scales)
{
    const struct weights *w = user;
    size_t n_blocks = (w->cols + 255) / 256;
    memcpy(values, w->values + row * w->cols, w->cols);
    memcpy(scales, w->scales + row * n_blocks, n_blocks * sizeof *scales);
}

static inline void make_weights(size_t rows, size_t cols, bool per_block)
{
    size_t n_blocks = (cols + 255) / 256;
    weights.rows = rows;
    weights.cols = cols;
    for (size_t i = 0; i < rows * cols; i++) {
        weights.values[i] = (int8_t)((int)stn_rng_below(&rng, 3) - 1);
    }
    for (size_t i = 0; i < rows * n_blocks; i++) {
        weights.scales[i] = !per_block ? 0.037f : i % 5 == 3 ? 0 : (float)(0.01 + stn_rng_unit(&rng));
    }
    weights.matrix.source = (struct stn_ternary_source){rows, cols, row_of, &weights};
    ck_assert_int_eq(stn_ternary_new(&weights.packed, &weights.matrix.source, &err), STN_OK);
    weights.matrix.packed = weights.packed;
}

static const struct {
    size_t tokens, rows, cols;
} sizes[] = {{1, 1, 1}, {3, 65, 17}, {70, 130, 300}, {65, 7, 513}};

static float x[MOST], dy[MOST], old[MOST], more[MOST];
static int8_t q[2 * MOST];

/* What STERNA_VULKAN says, and that the row is taken before all others of its op. */
static inline void take_only(const struct stn_pipeline_row *row)
{
    static char words[1024];
    const char *who = (row->needs & STN_PIPELINE_LANES) != 0 ? "" : ",emulated"; /* that one is a processor's own */
    size_t n = (size_t)snprintf(words, sizeof words, "%s%s", getenv("STERNA_VULKAN"), who);
    const struct stn_pipeline_row *other;
    for (size_t i = 0; (other = stn_pipeline_at(i)) != row; i++) {
        if (other->op == row->op && strcmp(other->name, row->name) != 0) {
            n += (size_t)snprintf(words + n, sizeof words - n, ",without=%s", other->name);
        }
    }
    ck_assert_uint_lt(n, sizeof words);
    ck_assert_int_eq(setenv("STERNA_VULKAN", words, 1), 0);
}

/* An adapter's product of the given rank behind the node that was told. */
static inline void behind(size_t t, size_t rank, size_t n, float scale)
{
    bool back = job.node.op == STN_OP_TERNARY_BACK;
    draw(more, t * rank, 1);
    draw(dy, n * rank, 1);
    uint32_t y = job.node.out[0];
    then(back ? STN_OP_LINEAR_BACK_X : STN_OP_LINEAR);
    (void)in(STN_DTYPE_F32, t, rank, more);
    (void)in(STN_DTYPE_F32, back ? rank : n, back ? n : rank, dy);
    job.node.out[0] = y;
    job.node.add = true;
    job.node.scale = scale;
}

/* rank: of what stands behind, 0: nothing */
static inline void product_of_int8(enum stn_op op, size_t t, size_t m, size_t n, size_t rank)
{
    begin(op);
    make_weights(m, n, false);
    size_t from = op == STN_OP_TERNARY ? n : m, to = op == STN_OP_TERNARY ? m : n;
    draw(x, t * from, 1);
    draw(old, t * to, 1);
    (void)in(STN_DTYPE_Q8, t, from, x);
    stn_ternary_quantise(x, t, from, q, (float *)(void *)(q + job.sizes[0] - t * sizeof(float)));
    job.inputs[0] = q;
    constant(STN_DTYPE_TERNARY, m, n, &weights.matrix);
    (void)out(STN_DTYPE_F32, t, to, old);
    job.node.add = op != STN_OP_TERNARY;
    if (rank > 0) {
        behind(t, rank, to, 0.3f);
    }
    run_both();
    stn_ternary_free(weights.packed);
}

#endif
