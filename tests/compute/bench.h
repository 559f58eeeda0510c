/* bench: each op on the backend against its formula in double, and each backward op against central differences of that
 * formula. A case is: host arrays as inputs, one node, and outputs read back. */
#ifndef STN_TESTS_COMPUTE_BENCH_H
#define STN_TESTS_COMPUTE_BENCH_H

#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/backend.h"
#include "compute/graph.h"

/* test_ops.c and test_ops_attention.c are compiled for every backend. */
#ifdef BENCH_ON_VULKAN
#include "tests/compute/gpu.h"
#define BENCH_BACKEND "vulkan"
#define BENCH_IS_THERE() gpu_is_there()
#else
#define BENCH_BACKEND "cpu"
#define BENCH_IS_THERE() true
#endif

enum { TENSORS = 12 };

static struct stn_err err;

static struct bench {
    struct stn_graph graph;
    struct stn_backend *backend;
    struct stn_node node;
    const void *inputs[TENSORS];
    size_t sizes[TENSORS];
    size_t n_in, n_out;
    struct stn_rng rng;
} bench;

static inline void begin(enum stn_op op)
{
    memset(&bench, 0, sizeof bench);
    stn_graph_init(&bench.graph, 1, 1);
    bench.node = (struct stn_node){.op = op, .out = STN_OP_NEW};
    stn_rng_init(&bench.rng, (uint64_t)op + 1);
}

static inline void in(enum stn_dtype dtype, size_t rows, size_t cols, const void *p)
{
    size_t i = bench.n_in++;
    bench.inputs[i] = p;
    bench.sizes[i] = rows * cols * (dtype == STN_DTYPE_F16 ? 2 : 4);
    bench.node.in[i] = dtype == STN_DTYPE_F16 ? stn_graph_constant(&bench.graph, dtype, rows, cols, p)
                                              : stn_graph_lasting(&bench.graph, dtype, STN_EXTENT_FIXED, rows, cols);
}

static inline void out(enum stn_dtype dtype, size_t rows, size_t cols)
{
    size_t i = bench.n_out++;
    bench.node.out[i] = stn_graph_lasting(&bench.graph, dtype, STN_EXTENT_FIXED, rows, cols);
}

/* What an output holds before: for ops that add, or change it in place. */
static inline void before(size_t output, const void *p, size_t size)
{
    bench.inputs[TENSORS - 1 - output] = p;
    bench.sizes[TENSORS - 1 - output] = size;
}

static inline void run(unsigned n_threads)
{
    (void)stn_graph_add(&bench.graph, 0, &bench.node);
    const struct stn_backend_row *row = stn_backend_find(BENCH_BACKEND);
    ck_assert_msg(row->new_for(&bench.backend, &bench.graph, n_threads, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(row->prepare(bench.backend, 0, &err) == STN_OK, "%s", err.text);
    for (size_t i = 0; i < bench.n_in; i++) {
        if (bench.graph.tensors[bench.node.in[i]].life == STN_LIFE_LASTING) {
            row->write(bench.backend, bench.node.in[i], 0, bench.inputs[i], bench.sizes[i]);
        }
    }
    for (size_t i = 0; i < bench.n_out; i++) {
        if (bench.inputs[TENSORS - 1 - i] != NULL) {
            row->write(bench.backend, bench.node.out[i], 0, bench.inputs[TENSORS - 1 - i], bench.sizes[TENSORS - 1 - i]);
        }
    }
    ck_assert_msg(row->run(bench.backend, 0, 0, 0, &err) == STN_OK, "%s", err.text);
}

static inline void result(size_t output, void *p, size_t n)
{
    bench.backend->row->read(bench.backend, bench.node.out[output], 0, p, n * 4);
}

static inline void end(void)
{
#ifdef BENCH_ON_VULKAN
    gpu_is_silent(bench.backend);
#endif
    bench.backend->row->free(bench.backend);
    stn_graph_fini(&bench.graph);
}

static inline void draw(float *p, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)(stn_rng_normal(&bench.rng) * scale);
    }
}

static inline void close_to(const float *is, const double *want, size_t n, double tolerance, const char *what)
{
    double most = 1e-3;
    for (size_t i = 0; i < n; i++) {
        most = fabs(want[i]) > most ? fabs(want[i]) : most;
    }
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(fabs((double)is[i] - want[i]) <= tolerance * most, "%s[%zu]: %.9g, want %.9g", what, i, (double)is[i],
                      want[i]);
    }
}

static inline void to_double(double *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (double)from[i];
    }
}

#endif
