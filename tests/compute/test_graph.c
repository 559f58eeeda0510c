#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/backend.h"
#include "compute/grad.h"
#include "compute/graph.h"
#include "compute/plan.h"
#include "compute/together.h"

#define NEW STN_OP_NEW

static struct stn_err err;

static uint32_t lasting(struct stn_graph *graph, enum stn_dtype dtype, size_t rows, size_t cols)
{
    return stn_graph_lasting(graph, dtype, STN_EXTENT_FIXED, rows, cols);
}

static uint32_t op2(struct stn_graph *graph, enum stn_op op, uint32_t a, uint32_t b)
{
    struct stn_node node = {.op = op, .in = {a, b}, .scale = 1, .eps = 1e-5f, .out = NEW};
    return stn_graph_add(graph, 0, &node);
}

/* A graph of sums of random earlier tensors, of random widths. */
static void grow(struct stn_graph *graph, struct stn_rng *rng, size_t n_nodes)
{
    uint32_t pool[4][512];
    size_t n[4] = {0};
    for (size_t w = 0; w < 4; w++) {
        pool[w][n[w]++] = lasting(graph, STN_DTYPE_F32, 3, (w + 1) * 33);
    }
    for (size_t i = 0; i < n_nodes; i++) {
        size_t w = (size_t)stn_rng_below(rng, 4), near = n[w] < 6 ? n[w] : 6;
        uint32_t a = pool[w][n[w] - 1 - stn_rng_below(rng, near)];
        uint32_t b = pool[w][n[w] - 1 - stn_rng_below(rng, stn_rng_below(rng, 10) == 0 ? n[w] : near)];
        pool[w][n[w]++] = op2(graph, STN_OP_ADD, a, b);
    }
}

START_TEST(no_two_live_tensors_share_a_byte)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct stn_graph graph;
        struct stn_plan plan;
        struct stn_rng rng;
        stn_rng_init(&rng, seed);
        stn_graph_init(&graph, 4, 4);
        grow(&graph, &rng, 300);
        const size_t piece = seed % 2 == 0 ? 0 : 4096; /* the largest tensor has 2112 */
        ck_assert_int_eq(stn_plan_init(&plan, &graph, 0, piece, &err), STN_OK);
        size_t sum = 0, most = 0;
        for (uint32_t i = 0; i < graph.n_tensors; i++) {
            const struct stn_plan_span *a = stn_plan_find(&plan, i);
            if (a == NULL) {
                ck_assert_int_eq(graph.tensors[i].life, STN_LIFE_LASTING);
                continue;
            }
            sum += a->size;
            ck_assert_uint_le(a->offset + a->size, plan.size);
            ck_assert_uint_eq(a->offset % STN_PLAN_ALIGN, 0);
            ck_assert(piece == 0 || a->offset / piece == (a->offset + a->size - 1) / piece);
            for (uint32_t k = 0; k < i; k++) {
                const struct stn_plan_span *b = stn_plan_find(&plan, k);
                bool together = b != NULL && a->first <= b->last && b->first <= a->last;
                ck_assert(!together || a->offset + a->size <= b->offset || b->offset + b->size <= a->offset);
            }
        }
        for (size_t n = 0; n < graph.passes[0].n_nodes; n++) {
            size_t live = 0;
            for (uint32_t i = 0; i < graph.n_tensors; i++) {
                const struct stn_plan_span *span = stn_plan_find(&plan, i);
                live += span != NULL && span->first <= n && n <= span->last ? span->size : 0;
            }
            most = live > most ? live : most;
        }
        ck_assert_uint_lt(plan.size, sum / 3);
        ck_assert_uint_le(plan.size, most + most / (piece == 0 ? 4 : 1)); /* near the least there can be */
        stn_plan_fini(&plan);
        stn_graph_fini(&graph);
    }
}
END_TEST

/* x -> three products of which the middle one trains -> loss */
struct chain {
    struct stn_graph graph;
    uint32_t x, w[3], g[3], losses, guesses, labels, weights, table, seed;
};

enum { ROWS = 5, WIDTH = 19, WORDS = 23 };
static float numbers[WORDS * WIDTH];

static void begin(struct chain *c, unsigned trains)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 8);
    for (size_t i = 0; i < WORDS * WIDTH; i++) {
        numbers[i] = (float)stn_rng_normal(&rng) * 0.4f;
    }
    struct stn_graph *graph = &c->graph;
    stn_graph_init(graph, 8, 8);
    c->x = lasting(graph, STN_DTYPE_F32, ROWS, WIDTH);
    c->losses = lasting(graph, STN_DTYPE_F32, ROWS, 1);
    c->guesses = lasting(graph, STN_DTYPE_I32, ROWS, 1);
    c->labels = lasting(graph, STN_DTYPE_I32, ROWS, 1);
    c->weights = lasting(graph, STN_DTYPE_F32, ROWS, 1);
    c->seed = lasting(graph, STN_DTYPE_I32, 1, 2);
    c->table = stn_graph_constant(graph, STN_DTYPE_F32, WORDS, WIDTH, numbers);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t whole = lasting(graph, STN_DTYPE_F32, 1, WIDTH * WIDTH);
        c->g[i] = lasting(graph, STN_DTYPE_F32, 1, WIDTH * WIDTH);
        uint32_t gradient = stn_graph_view(graph, c->g[i], 0, WIDTH, WIDTH, STN_OP_NONE);
        c->w[i] = stn_graph_view(graph, whole, 0, WIDTH, WIDTH, trains >> i & 1 ? gradient : STN_OP_NONE);
    }
}

static void end(struct chain *c, uint32_t y)
{
    struct stn_node loss = {.op = STN_OP_LOSS, .in = {y, c->table, c->labels, c->weights}};
    loss.out[0] = c->losses;
    loss.out[1] = c->guesses;
    loss.out[2] = loss.out[3] = STN_OP_NONE;
    (void)stn_graph_add(&c->graph, 0, &loss);
    stn_grad_append(&c->graph, 0, c->seed, NULL, 0);
    ck_assert(!c->graph.failed);
}

static size_t count(const struct stn_graph *graph, enum stn_op op)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->passes[0].n_nodes; i++) {
        n += graph->passes[0].nodes[i].op == op;
    }
    return n;
}

START_TEST(gradients_are_computed_only_where_somebody_needs_them)
{
    static const size_t x_gradients[8] = {0, 2, 1, 2, 0, 2, 1, 2};
    for (unsigned trains = 0; trains < 8; trains++) {
        struct chain c;
        begin(&c, trains);
        uint32_t y = c.x;
        for (unsigned i = 0; i < 3; i++) {
            y = op2(&c.graph, STN_OP_LINEAR, y, c.w[i]);
        }
        end(&c, y);
        ck_assert_uint_eq(count(&c.graph, STN_OP_LINEAR_BACK_W), (size_t)__builtin_popcount(trains));
        ck_assert_uint_eq(count(&c.graph, STN_OP_LINEAR_BACK_X), x_gradients[trains]);
        stn_graph_fini(&c.graph);
    }
}
END_TEST

/* Runs it with its first weight changed by step at one place; the loss and, if asked, the gradient. */
static double run(struct chain *c, struct stn_backend *backend, size_t at, float step, float *gradient)
{
    const struct stn_backend_row *row = backend->row;
    float w[WIDTH * WIDTH], zero[WIDTH * WIDTH] = {0}, weights[ROWS], losses[ROWS];
    int32_t labels[ROWS];
    double loss = 0;
    for (int i = 0; i < ROWS; i++) {
        labels[i] = i * 5 % WORDS;
        weights[i] = 0.1f + 0.1f * (float)i;
    }
    memcpy(w, numbers + 7, sizeof w);
    w[at] += step;
    row->write(backend, c->x, 0, numbers, ROWS * WIDTH * sizeof(float));
    row->write(backend, c->labels, 0, labels, sizeof labels);
    row->write(backend, c->weights, 0, weights, sizeof weights);
    row->write(backend, stn_graph_root(&c->graph, c->w[0]), 0, w, sizeof w);
    row->write(backend, c->g[0], 0, zero, sizeof zero);
    ck_assert_int_eq(row->run(backend, 0, 0, 0, &err), STN_OK);
    row->read(backend, c->losses, 0, losses, sizeof losses);
    row->read(backend, c->g[0], 0, gradient, sizeof zero);
    for (int i = 0; i < ROWS; i++) {
        loss += (double)weights[i] * (double)losses[i];
    }
    return loss;
}

START_TEST(gradients_that_several_uses_share_come_together_and_do_not_mix)
{
    struct chain c;
    begin(&c, 1);
    /* every way in which a gradient could be shared too far: sums of a tensor with itself and with its own norms */
    uint32_t gain = stn_graph_constant(&c.graph, STN_DTYPE_F32, 1, WIDTH, numbers + 3);
    uint32_t y = op2(&c.graph, STN_OP_LINEAR, c.x, c.w[0]);
    uint32_t a = op2(&c.graph, STN_OP_ADD, y, op2(&c.graph, STN_OP_NORM, y, gain));
    uint32_t later = op2(&c.graph, STN_OP_NORM, y, gain);
    uint32_t b = op2(&c.graph, STN_OP_ADD, a, a);
    uint32_t d = op2(&c.graph, STN_OP_ADD, b, op2(&c.graph, STN_OP_ADD, later, y));
    end(&c, op2(&c.graph, STN_OP_ADD, d, op2(&c.graph, STN_OP_NORM, b, gain)));
    struct stn_backend *backend = NULL;
    const struct stn_backend_row *row = stn_backend_find("cpu");
    ck_assert_int_eq(row->new_for(&backend, &c.graph, 1, &err), STN_OK);
    ck_assert_int_eq(row->prepare(backend, 0, &err), STN_OK);
    float gradient[WIDTH * WIDTH], ignored[WIDTH * WIDTH];
    (void)run(&c, backend, 0, 0, gradient);
    for (size_t at = 0; at < WIDTH * WIDTH; at += 7) {
        const float h = 1e-2f;
        double slope = (run(&c, backend, at, h, ignored) - run(&c, backend, at, -h, ignored)) / (2 * (double)h);
        ck_assert_double_eq_tol((double)gradient[at], slope, 2e-3 + 2e-3 * fabs(slope));
    }
    row->free(backend);
    stn_graph_fini(&c.graph);
}
END_TEST

static void append(struct stn_graph *graph, enum stn_op op, uint32_t a, uint32_t b, uint32_t to, bool adds)
{
    struct stn_node node = {.op = op, .in = {a, b}, .scale = 1, .add = adds, .out = {to, STN_OP_NONE, STN_OP_NONE, STN_OP_NONE}};
    (void)stn_graph_add(graph, 0, &node);
}

/* dx = W^T dy, n = norm(x), dA += du^T x, dx += du A, and what is given in between */
static size_t n_behind(enum stn_op between, bool reads, bool writes)
{
    enum { N = 6, R = 2 };
    struct stn_graph graph;
    bool done[8] = {false};
    size_t with[STN_TOGETHER_MOST];
    stn_graph_init(&graph, 4, 4);
    uint32_t dy = lasting(&graph, STN_DTYPE_F32, 3, N), x = lasting(&graph, STN_DTYPE_F32, 3, N), du = lasting(&graph, STN_DTYPE_F32, 3, R);
    uint32_t w = stn_graph_constant(&graph, STN_DTYPE_TERNARY, N, N, &graph), dx = lasting(&graph, STN_DTYPE_F32, 3, N);
    uint32_t a = lasting(&graph, STN_DTYPE_F32, R, N), da = lasting(&graph, STN_DTYPE_F32, R, N);
    append(&graph, STN_OP_TERNARY_BACK, dy, w, dx, false);
    append(&graph, STN_OP_LINEAR_BACK_W, du, x, da, true);
    if (between == STN_OP_TERNARY_BACK) {
        append(&graph, between, dy, w, dx, true);
    } else {
        append(&graph, between, reads ? dx : x, STN_OP_NONE, writes ? dx : STN_OP_NONE, false);
    }
    append(&graph, STN_OP_LINEAR_BACK_X, du, a, dx, true);
    stn_together_find(&graph, 0, 0, done, with);
    ck_assert(with[0] == STN_TOGETHER_NONE || with[0] == 3);
    stn_graph_fini(&graph);
    return with[0] == 3 ? 1 : 0;
}

START_TEST(a_product_goes_behind_another_where_nobody_sees_the_difference)
{
    ck_assert_uint_eq(n_behind(STN_OP_COPY, false, false), 1);
    ck_assert_uint_eq(n_behind(STN_OP_TERNARY_BACK, true, true), 1); /* it adds too */
    ck_assert_uint_eq(n_behind(STN_OP_COPY, true, false), 0);        /* it would see too much */
    ck_assert_uint_eq(n_behind(STN_OP_COPY, false, true), 0);        /* it would take it away */
}
END_TEST

START_TEST(products_of_one_input_go_beside_each_other)
{
    struct stn_graph graph;
    bool done[8] = {false};
    size_t with[STN_TOGETHER_MOST];
    stn_graph_init(&graph, 4, 4);
    uint32_t x = lasting(&graph, STN_DTYPE_F32, 3, 6), other = lasting(&graph, STN_DTYPE_F32, 3, 6);
    uint32_t a[5];
    for (size_t i = 0; i < 5; i++) {
        a[i] = lasting(&graph, STN_DTYPE_F32, i == 4 ? 3 : 2, 6);
    }
    (void)op2(&graph, STN_OP_LINEAR, x, a[0]);
    (void)op2(&graph, STN_OP_LINEAR, x, a[1]);
    (void)op2(&graph, STN_OP_LINEAR, other, a[2]);
    (void)op2(&graph, STN_OP_LINEAR, x, a[3]); /* its output may have another's memory until then */
    (void)op2(&graph, STN_OP_LINEAR, x, a[4]); /* another shape */
    stn_together_find(&graph, 0, 0, done, with);
    ck_assert(with[0] == STN_TOGETHER_NONE && with[1] == 1 && with[2] == STN_TOGETHER_NONE);
    for (size_t n = 2; n < 4; n++) {
        stn_together_find(&graph, 0, n, done, with);
        ck_assert(with[0] == STN_TOGETHER_NONE && with[1] == STN_TOGETHER_NONE);
    }
    done[1] = true;
    stn_together_find(&graph, 0, 0, done, with);
    ck_assert_uint_eq(with[1], STN_TOGETHER_NONE);
    stn_graph_fini(&graph);
}
END_TEST

START_TEST(a_graph_that_finds_no_memory_says_so_at_the_end)
{
    for (uint64_t n = 1; n < 12; n++) {
        struct stn_graph graph;
        struct stn_rng rng;
        struct stn_backend *backend = NULL;
        stn_rng_init(&rng, 1);
        stn_graph_init(&graph, 4, 4);
        stn_mem_fail_from(n);
        uint32_t x = lasting(&graph, STN_DTYPE_F32, 3, 5);
        for (size_t i = 0; i < 600 && !graph.failed; i++) {
            x = op2(&graph, STN_OP_ADD, x, x);
        }
        enum stn_code code = stn_backend_find(NULL)->new_for(&backend, &graph, 1, &err);
        code = code != STN_OK ? code : backend->row->prepare(backend, 0, &err);
        stn_mem_fail_from(0);
        ck_assert(code == STN_MEMORY || n > 10);
        if (backend != NULL) {
            backend->row->free(backend);
        }
        stn_graph_fini(&graph);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("graph");
    TCase *t = tcase_create("graph");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, no_two_live_tensors_share_a_byte);
    tcase_add_test(t, gradients_are_computed_only_where_somebody_needs_them);
    tcase_add_test(t, gradients_that_several_uses_share_come_together_and_do_not_mix);
    tcase_add_test(t, a_product_goes_behind_another_where_nobody_sees_the_difference);
    tcase_add_test(t, products_of_one_input_go_beside_each_other);
    tcase_add_test(t, a_graph_that_finds_no_memory_says_so_at_the_end);
    suite_add_tcase(s, t);
    return s;
}
