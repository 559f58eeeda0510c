/* The ops that test_ops.c has no formula for: what the GPU computes is what the CPU does, at odd sizes, with tensors cut in
 * windows, and under every kind of weights. */
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
} job;

/* One ternary matrix, its weights in the open. */
static struct weights {
    size_t rows, cols;
    int8_t values[MOST];
    float scales[MOST];
    struct stn_matrix matrix;
    struct stn_ternary *packed;
} weights;

static void begin(enum stn_op op)
{
    memset(&job, 0, sizeof job);
    stn_graph_init(&job.graph, 64, 64);
    job.node = (struct stn_node){.op = op, .out = STN_OP_NEW, .scale = 1};
    stn_rng_init(&rng, (uint64_t)op + 7);
}

/* The node that was told so far is one; another follows. */
static void then(enum stn_op op)
{
    (void)stn_graph_add(&job.graph, 0, &job.node);
    job.node = (struct stn_node){.op = op, .out = STN_OP_NEW, .scale = 1};
    job.n_node_in = 0;
}

static uint32_t in(enum stn_dtype dtype, size_t rows, size_t cols, const void *p)
{
    size_t i = job.n_in++;
    ck_assert_uint_lt(i, TENSORS);
    job.inputs[i] = p;
    job.ins[i] = stn_graph_lasting(&job.graph, dtype, STN_EXTENT_FIXED, rows, cols);
    job.sizes[i] = stn_graph_size(stn_graph_shape(&job.graph, job.ins[i]));
    job.node.in[job.n_node_in++] = job.ins[i];
    return job.ins[i];
}

static void constant(enum stn_dtype dtype, size_t rows, size_t cols, const void *p)
{
    job.node.in[job.n_node_in++] = stn_graph_constant(&job.graph, dtype, rows, cols, p);
}

static uint32_t out(enum stn_dtype dtype, size_t rows, size_t cols, const void *before)
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
static void run_on(const char *name, char *results)
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
        job.row = stn_vulkan_row(backend, job.graph.passes[0].nodes[0].op);
    }
    row->free(backend);
}

static char results[2][MOST * 4];

static void run_both(void)
{
    (void)stn_graph_add(&job.graph, 0, &job.node);
    run_on("cpu", results[0]);
    run_on("vulkan", results[1]);
    stn_graph_fini(&job.graph);
}

/* Both backends' first n floats from a byte on. */
static void agree(size_t from, size_t n, double tolerance, const char *what)
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

static void draw(float *p, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)(stn_rng_normal(&rng) * scale);
    }
}

static void row_of(const void *user, size_t row, int8_t *values, float *scales)
{
    const struct weights *w = user;
    size_t n_blocks = (w->cols + 255) / 256;
    memcpy(values, w->values + row * w->cols, w->cols);
    memcpy(scales, w->scales + row * n_blocks, n_blocks * sizeof *scales);
}

static void make_weights(size_t rows, size_t cols, bool per_block)
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

/* _i: a size, int8 or f32, one scale or one a block */
START_TEST(ternary_products_are_the_cpus)
{
    size_t t = sizes[_i / 4].tokens, m = sizes[_i / 4].rows, n = sizes[_i / 4].cols;
    bool is_q8 = _i % 2 == 1, per_block = _i / 2 % 2 == 1;
    for (int back = 0; back < 2; back++) {
        begin(back ? STN_OP_TERNARY_BACK : STN_OP_TERNARY);
        make_weights(m, n, per_block);
        size_t from = back ? m : n, to = back ? n : m;
        draw(x, t * from, 1);
        draw(old, t * to, 1);
        (void)in(is_q8 ? STN_DTYPE_Q8 : STN_DTYPE_F32, t, from, x);
        if (is_q8) {
            stn_ternary_quantise(x, t, from, q, (float *)(void *)(q + job.sizes[0] - t * sizeof(float)));
            job.inputs[0] = q;
        }
        constant(STN_DTYPE_TERNARY, m, n, &weights.matrix);
        (void)out(STN_DTYPE_F32, t, to, old);
        job.node.add = back != 0;
        run_both();
        agree(0, t * to, is_q8 && !per_block ? 1e-7 : 2e-6, back ? "dx" : "y");
        stn_ternary_free(weights.packed);
    }
}
END_TEST

/* What STERNA_VULKAN says, and that the row is taken before all others of its op. */
static void take_only(const struct stn_pipeline_row *row)
{
    static char words[1024];
    size_t n = (size_t)snprintf(words, sizeof words, "%s,emulated", getenv("STERNA_VULKAN"));
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
static void behind(size_t t, size_t rank, size_t n, float scale)
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
static void product_of_int8(enum stn_op op, size_t t, size_t m, size_t n, size_t rank)
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

/* _i: a row of the table; those that no special device is needed for are in the other tests */
START_TEST(each_variant_of_the_ternary_product_is_exact)
{
    const struct stn_pipeline_row *row = stn_pipeline_at((size_t)_i);
    if (row == NULL || (row->op != STN_OP_TERNARY && row->op != STN_OP_TERNARY_BACK) ||
        (row->needs & STN_PIPELINE_OF_DEVICE) == 0) {
        return;
    }
    take_only(row);
    bool wide = (row->needs & STN_PIPELINE_WIDE) != 0, back = row->op == STN_OP_TERNARY_BACK;
    size_t n_sizes = wide ? 1 : (row->needs & STN_PIPELINE_FEW) != 0 ? 2 : sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < n_sizes; i++) {
        size_t t = wide ? 2050 : sizes[i].tokens, m = wide ? (back ? 70 : 1030) : sizes[i].rows;
        size_t n = wide ? (back ? 1030 : 70) : sizes[i].cols;
        product_of_int8(row->op, t, m, n, 0);
        if (job.row != row) {
            (void)printf("skipped: this device, or this build, has no %s%s\n", row->name, wide ? " in large tiles" : "");
            return;
        }
        agree(0, t * (back ? n : m), 1e-7, row->name);
        product_of_int8(row->op, t, m, n, 20);
        agree(0, t * (back ? n : m), 2e-6, row->name);
        ck_assert(job.row == row && job.n_dispatches == 1);
    }
}
END_TEST

/* _i: how many rows there are: what the kernels for few take, and one more. Ranks beyond their 16 invocations, odd columns */
START_TEST(products_of_few_rows_are_the_cpus)
{
    enum { M = 131, N = 333, V = 77 };
    static uint16_t half[V * (N + 1)];
    size_t t = (size_t)_i + 1, halves = N + (size_t)_i % 2;
    product_of_int8(STN_OP_TERNARY, t, M, N, 0);
    agree(0, t * M, 1e-7, "y");
    ck_assert((strncmp(job.row->name, "ternary_few", 11) == 0) == (t <= STN_PIPELINE_MOST_FEW));
    product_of_int8(STN_OP_TERNARY, t, M, N, 20);
    agree(0, t * M, 2e-6, "y with an adapter");
    for (size_t i = 0; i < V * halves; i++) {
        half[i] = (uint16_t)(0x3000 + stn_rng_below(&rng, 0x0c00) + (stn_rng_below(&rng, 2) << 15));
    }
    for (int is_half = 0; is_half < 2; is_half++) {
        size_t n = is_half ? halves : N;
        begin(STN_OP_LINEAR);
        draw(x, t * n, 1);
        draw(dy, V * n, 1);
        draw(old, t * V, 1);
        (void)in(STN_DTYPE_F32, t, n, x);
        constant(is_half ? STN_DTYPE_F16 : STN_DTYPE_F32, V, n, is_half ? (const void *)half : dy);
        (void)out(STN_DTYPE_F32, t, V, old);
        job.node.add = is_half != 0;
        job.node.scale = 0.3f;
        run_both();
        agree(0, t * V, 2e-6, "logits");
        ck_assert_str_eq(job.row->name, t <= STN_PIPELINE_MOST_FEW ? "linear_few" : "linear");
    }
}
END_TEST

START_TEST(rows_are_rounded_to_the_cpus_int8)
{
    enum { T = 5, N = 203 };
    const int32_t seed[2] = {0x12345678, -77};
    for (int random = 0; random < 2; random++) {
        begin(random ? STN_OP_QUANTISE_RANDOM : STN_OP_QUANTISE);
        draw(x, T * N, 2);
        memset(x + N, 0, N * sizeof *x);
        (void)in(STN_DTYPE_F32, T, N, x);
        if (random) {
            (void)in(STN_DTYPE_I32, 1, 2, seed);
            job.node.number = 3;
        }
        (void)out(STN_DTYPE_Q8, T, N, NULL);
        run_both();
        size_t size = job.before_sizes[0] - T * sizeof(float), n_other = 0;
        for (size_t i = 0; i < size; i++) {
            n_other += results[0][i] != results[1][i];
            ck_assert_int_le(abs(results[0][i] - results[1][i]), 1);
        }
        ck_assert_uint_le(n_other, 2); /* where division is not correctly rounded a middle may fall to the other side */
        agree(size, T, 1e-6, "scale");
    }
}
END_TEST

START_TEST(dropout_takes_what_the_cpu_takes)
{
    enum { T = 70, N = 203 };
    const int32_t seed[2] = {0x12345678, -77};
    begin(STN_OP_DROPOUT);
    draw(x, T * N, 1);
    draw(old, T * N, 1);
    (void)in(STN_DTYPE_F32, T, N, x);
    (void)in(STN_DTYPE_I32, 1, 2, seed);
    (void)out(STN_DTYPE_F32, T, N, old);
    job.node.number = 3;
    job.node.add = true;
    job.node.eps = 0.25f;
    job.node.scale = 1 / 0.75f;
    run_both();
    agree(0, T * N, 1e-6, "y");
}
END_TEST

/* _i: columns at and around what the kernel for few columns takes */
START_TEST(products_with_few_columns_are_the_cpus)
{
    enum { T = 9, N = 131 };
    size_t m = (const size_t[]){1, 15, 16, 17}[_i];
    for (int back = 0; back < 2; back++) {
        begin(back ? STN_OP_LINEAR_BACK_X : STN_OP_LINEAR);
        draw(x, T * N, 1);
        draw(dy, N * m, 1);
        draw(old, T * m, 1);
        (void)in(STN_DTYPE_F32, T, N, x);
        (void)in(STN_DTYPE_F32, back ? N : m, back ? m : N, dy);
        (void)out(STN_DTYPE_F32, T, m, old);
        job.node.add = true;
        job.node.scale = 0.3f;
        run_both();
        agree(0, T * m, 2e-6, back ? "dx" : "y");
    }
}
END_TEST

/* _i: a size, what is multiplied: int8 with one scale, with one a block, or f32 */
START_TEST(an_adapters_product_is_added_to_the_ternary_one_before_it_is_written)
{
    static const size_t ranks[] = {1, 8, 17, 40};
    size_t t = sizes[_i / 3].tokens, m = sizes[_i / 3].rows, n = sizes[_i / 3].cols;
    for (int back = 0; back < 2; back++) {
        size_t from = back ? m : n, to = back ? n : m;
        begin(back ? STN_OP_TERNARY_BACK : STN_OP_TERNARY);
        make_weights(m, n, _i % 3 == 1);
        draw(x, t * from, 1);
        draw(old, t * to, 1);
        (void)in(_i % 3 == 2 ? STN_DTYPE_F32 : STN_DTYPE_Q8, t, from, x);
        if (_i % 3 != 2) {
            stn_ternary_quantise(x, t, from, q, (float *)(void *)(q + job.sizes[0] - t * sizeof(float)));
            job.inputs[0] = q;
        }
        constant(STN_DTYPE_TERNARY, m, n, &weights.matrix);
        (void)out(STN_DTYPE_F32, t, to, old);
        job.node.add = back != 0;
        behind(t, ranks[_i / 3], to, 0.3f);
        run_both();
        agree(0, t * to, 2e-6, back ? "dx" : "y");
        ck_assert_uint_eq(job.n_dispatches, 1);
        stn_ternary_free(weights.packed);
    }
}
END_TEST

/* _i: columns at and around what the kernel for few columns takes, which is one dispatch for three products */
START_TEST(an_adapters_products_of_one_input_are_one_dispatch)
{
    enum { T = 9, N = 131 };
    size_t m = (const size_t[]){1, 8, 16, 17}[_i];
    for (int back = 0; back < 2; back++) {
        begin(back ? STN_OP_LINEAR_BACK_W : STN_OP_LINEAR);
        uint32_t shared = STN_OP_NONE;
        draw(x, T * N, 1);
        draw(dy, 3 * N * m, 1);
        draw(old, 3 * N * m, 1);
        for (size_t i = 0; i < 3; i++) {
            if (i > 0) {
                then(back ? STN_OP_LINEAR_BACK_W : STN_OP_LINEAR);
            }
            if (back) {
                (void)in(STN_DTYPE_F32, T, m, dy + i * N * m);
            }
            if (i == 0) {
                shared = in(STN_DTYPE_F32, T, N, x);
            } else {
                job.node.in[job.n_node_in++] = shared;
            }
            if (!back) {
                (void)in(STN_DTYPE_F32, m, N, dy + i * N * m);
            }
            (void)out(STN_DTYPE_F32, back ? m : T, back ? N : m, old + i * N * m);
            job.node.add = true;
            job.node.scale = 0.3f;
        }
        run_both();
        agree(0, 3 * m * (back ? N : T), 2e-6, back ? "dA" : "u");
        ck_assert_uint_eq(job.n_dispatches, m <= 16 ? 1 : 3);
    }
}
END_TEST

/* _i: ranks at and around what the kernel for few columns takes */
START_TEST(gradients_of_few_columns_are_the_cpus)
{
    enum { T = 203, M = 77 };
    size_t rank = (const size_t[]){1, 8, 16, 17}[_i];
    begin(STN_OP_LINEAR_BACK_W);
    draw(x, T * rank, 1);
    draw(dy, T * M, 1);
    draw(old, M * rank, 1);
    (void)in(STN_DTYPE_F32, T, M, dy);
    (void)in(STN_DTYPE_F32, T, rank, x);
    (void)out(STN_DTYPE_F32, M, rank, old);
    job.node.add = true;
    job.node.scale = 0.3f;
    run_both();
    agree(0, M * rank, 2e-6, "dB");
    ck_assert_str_eq(job.row->name, rank <= 16 ? "narrow_up" : "linear_back_w");
}
END_TEST

START_TEST(tensors_above_the_range_of_a_binding_are_cut)
{
    enum { V = 90, N = 33, M = 41 };
    static int32_t tokens[M];
    static uint16_t half[V * N];
    ck_assert_int_eq(setenv("STERNA_VULKAN", "validate,range=1536", 1), 0); /* eleven rows of f32, twenty of halves */
    for (size_t i = 0; i < M; i++) {
        tokens[i] = (int32_t)(i * 7 % V);
    }
    begin(STN_OP_EMBED);
    for (size_t i = 0; i < V * N; i++) {
        half[i] = (uint16_t)(0x3000 + stn_rng_below(&rng, 0x0c00) + (stn_rng_below(&rng, 2) << 15));
    }
    (void)in(STN_DTYPE_I32, M, 1, tokens);
    constant(STN_DTYPE_F16, V, N, half);
    (void)out(STN_DTYPE_F32, M, N, NULL);
    run_both();
    ck_assert_mem_eq(results[0], results[1], M * N * sizeof(float));
    begin(STN_OP_LINEAR);
    draw(x, M * N, 1);
    (void)in(STN_DTYPE_F32, 4, N, x);
    constant(STN_DTYPE_F16, V, N, half);
    (void)out(STN_DTYPE_F32, 4, V, NULL);
    run_both();
    agree(0, 4 * V, 2e-6, "logits");
    begin(STN_OP_LINEAR_BACK_W);
    draw(dy, M * 5, 1);
    (void)in(STN_DTYPE_F32, M, 5, dy);
    (void)in(STN_DTYPE_F32, M, N, x);
    (void)out(STN_DTYPE_F32, 5, N, NULL);
    run_both();
    agree(0, 5 * N, 2e-6, "dW");
    begin(STN_OP_NORM);
    (void)in(STN_DTYPE_F32, M, N, x);
    constant(STN_DTYPE_F32, 1, N, x);
    (void)out(STN_DTYPE_F32, M, N, NULL);
    run_both();
    agree(0, M * N, 2e-6, "norm");
}
END_TEST

START_TEST(a_tensor_that_cannot_be_cut_is_an_error_with_its_size)
{
    struct stn_backend *backend;
    ck_assert_int_eq(setenv("STERNA_VULKAN", "range=1024", 1), 0);
    begin(STN_OP_LINEAR_BACK_X);
    (void)in(STN_DTYPE_F32, 2, 40, x);
    constant(STN_DTYPE_F32, 40, 40, x);
    (void)out(STN_DTYPE_F32, 2, 40, NULL);
    (void)stn_graph_add(&job.graph, 0, &job.node);
    ck_assert_int_eq(stn_vulkan_backend.new_for(&backend, &job.graph, 1, &err), STN_OK);
    ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), STN_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "linear_back_x needs 6400 bytes"));
    stn_vulkan_backend.free(backend);
    stn_graph_fini(&job.graph);
}
END_TEST

START_TEST(a_device_without_memory_is_an_error)
{
    struct stn_backend *backend;
    static float large[2 << 20];
    ck_assert_int_eq(setenv("STERNA_VULKAN", "memory=10", 1), 0);
    begin(STN_OP_COPY);
    (void)in(STN_DTYPE_F32, 1024, 1 << 11, large);
    (void)out(STN_DTYPE_F32, 1024, 1 << 11, NULL);
    (void)stn_graph_add(&job.graph, 0, &job.node);
    ck_assert_int_eq(stn_vulkan_backend.new_for(&backend, &job.graph, 1, &err), STN_OK);
    ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), STN_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.text, "no memory for"));
    stn_vulkan_backend.free(backend);
    stn_graph_fini(&job.graph);
}
END_TEST

START_TEST(words_that_mean_nothing_are_refused)
{
    struct stn_backend *backend;
    begin(STN_OP_COPY);
    ck_assert_int_eq(setenv("STERNA_VULKAN", "floor,fast", 1), 0);
    ck_assert_int_eq(stn_vulkan_backend.new_for(&backend, &job.graph, 1, &err), STN_INVALID);
    ck_assert_int_eq(setenv("STERNA_VULKAN", "device=no such device", 1), 0);
    ck_assert_int_eq(stn_vulkan_backend.new_for(&backend, &job.graph, 1, &err), STN_NOT_FOUND);
    stn_graph_fini(&job.graph);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("vulkan ops");
    TCase *t = tcase_create("vulkan ops");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, ternary_products_are_the_cpus, 0, 16);
    tcase_add_loop_test(t, each_variant_of_the_ternary_product_is_exact, 0, N_ROWS);
    tcase_add_loop_test(t, products_with_few_columns_are_the_cpus, 0, 4);
    tcase_add_loop_test(t, an_adapters_product_is_added_to_the_ternary_one_before_it_is_written, 0, 12);
    tcase_add_loop_test(t, an_adapters_products_of_one_input_are_one_dispatch, 0, 4);
    tcase_add_loop_test(t, gradients_of_few_columns_are_the_cpus, 0, 4);
    tcase_add_loop_test(t, products_of_few_rows_are_the_cpus, 0, 5);
    tcase_add_test(t, rows_are_rounded_to_the_cpus_int8);
    tcase_add_test(t, dropout_takes_what_the_cpu_takes);
    tcase_add_test(t, tensors_above_the_range_of_a_binding_are_cut);
    tcase_add_test(t, a_tensor_that_cannot_be_cut_is_an_error_with_its_size);
    tcase_add_test(t, a_device_without_memory_is_an_error);
    tcase_add_test(t, words_that_mean_nothing_are_refused);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
