#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/cpu/schedule.h"

static float numbers[64];

static struct stn_schedule_range range(size_t from, size_t n)
{
    return (struct stn_schedule_range){(const char *)(numbers + from), (const char *)(numbers + from + n)};
}

/* A call of OP that reads n floats from IN on and writes n from OUT on. */
static void use(struct stn_schedule_use *uses, struct stn_kernel_call *calls, struct stn_node *nodes, size_t i, size_t in,
                size_t out, size_t n)
{
    nodes[i] = (struct stn_node){.op = STN_OP_COPY};
    calls[i] = (struct stn_kernel_call){.node = &nodes[i]};
    calls[i].out[0].f = numbers + out;
    uses[i] = (struct stn_schedule_use){.in = {range(in, n)}, .out = {range(out, n)}};
}

START_TEST(neighbours_that_touch_nothing_of_each_others_are_one_step)
{
    struct stn_schedule_use uses[12];
    struct stn_kernel_call calls[12];
    struct stn_node nodes[12];
    for (size_t i = 0; i < 12; i++) {
        use(uses, calls, nodes, i, 60, 4 * i, 4); /* all read one place */
    }
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 1), 1);
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 3), 3);
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 12), STN_SCHEDULE_MOST);
    use(uses, calls, nodes, 2, 3, 40, 4); /* reads a float of what the first writes, and the rest of the second's */
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 4), 2);
    use(uses, calls, nodes, 2, 50, 60, 1); /* writes where the others read */
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 4), 2);
    use(uses, calls, nodes, 2, 50, 7, 1); /* writes where another writes: memory that was free in the graph's order */
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 4), 2);
    ck_assert_uint_eq(stn_schedule_length(calls + 2, uses + 2, 2), 2);
    use(uses, calls, nodes, 1, 50, 4, 4);
    uses[1].alone = true;
    ck_assert_uint_eq(stn_schedule_length(calls, uses, 2), 1);
    ck_assert_uint_eq(stn_schedule_length(calls + 1, uses + 1, 2), 1);
}
END_TEST

/* ---- a branch beside two ternary products ---- */

enum { T = 37, N = 70, M = 300, R = 5 };

static void random_row(const void *user, size_t row, int8_t *values, float *scales)
{
    struct stn_rng rng;
    stn_rng_init(&rng, row + *(const size_t *)user);
    for (size_t c = 0; c < N; c++) {
        values[c] = (int8_t)((int)stn_rng_below(&rng, 3) - 1);
    }
    scales[0] = 0.25f;
}

static struct parts {
    struct stn_matrix matrices[2];
    struct stn_ternary *packed[2];
    struct stn_node nodes[3];
    struct stn_kernel_call calls[3];
    struct stn_schedule_use uses[3];
    int8_t *q;
    float scale[T], b[M * R], down[T * R], *y[2];
    void *scratch;
} parts;

static struct stn_kernel_view view(void *p, size_t rows, size_t cols, enum stn_dtype dtype)
{
    return (struct stn_kernel_view){.p = p, .rows = rows, .cols = cols, .dtype = dtype};
}

static void make(size_t n_rows)
{
    static const size_t seeds[2] = {5, 6};
    struct stn_rng rng;
    struct stn_err err;
    static float x[T * N];
    stn_rng_init(&rng, 3);
    for (size_t i = 0; i < T * N; i++) {
        x[i] = (float)stn_rng_normal(&rng);
    }
    for (size_t i = 0; i < M * R; i++) {
        parts.b[i] = (float)stn_rng_normal(&rng);
    }
    for (size_t i = 0; i < T * R; i++) {
        parts.down[i] = (float)stn_rng_normal(&rng);
    }
    parts.q = stn_mem_aligned(T, stn_ternary_stride(N));
    stn_ternary_quantise(x, T, N, parts.q, parts.scale);
    for (size_t i = 0; i < 2; i++) {
        parts.matrices[i].source = (struct stn_ternary_source){M, N, random_row, &seeds[i]};
        ck_assert_int_eq(stn_ternary_new(&parts.packed[i], &parts.matrices[i].source, &err), STN_OK);
        parts.matrices[i].packed = parts.packed[i];
        parts.y[i] = stn_mem_new(T * M, sizeof(float));
    }
    parts.scratch = stn_mem_aligned(1, stn_ternary_scratch(parts.packed[0], T));
    for (size_t i = 0; i < 3; i++) {
        struct stn_kernel_call *call = &parts.calls[i];
        size_t w = i / 2; /* product, branch; product */
        parts.nodes[i] = (struct stn_node){.op = i == 1 ? STN_OP_LINEAR : STN_OP_TERNARY, .add = i == 1, .scale = 0.5f};
        *call = (struct stn_kernel_call){.node = &parts.nodes[i]};
        call->in[0] = i == 1 ? view(parts.down, n_rows, R, STN_DTYPE_F32) : view(parts.q, n_rows, N, STN_DTYPE_Q8);
        call->in[0].scale = parts.scale;
        call->in[1] = i == 1 ? view(parts.b, M, R, STN_DTYPE_F32) : view(&parts.matrices[w], M, N, STN_DTYPE_TERNARY);
        call->out[0] = view(parts.y[w], n_rows, M, STN_DTYPE_F32);
        parts.uses[i] = (struct stn_schedule_use){.out = {{(const char *)parts.y[w], (const char *)(parts.y[w] + T * M)}}};
    }
}

static void fini(void)
{
    for (size_t i = 0; i < 2; i++) {
        stn_ternary_free(parts.packed[i]);
        stn_mem_free(parts.y[i]);
    }
    stn_mem_free(parts.q);
    stn_mem_free(parts.scratch);
}

START_TEST(a_branch_right_behind_its_product_gives_the_same_bits)
{
    size_t n_rows = _i == 0 ? 1 : T;
    make(n_rows);
    for (size_t i = 0; i < 3; i++) {
        const struct stn_kernel *kernel = stn_kernel_row(parts.nodes[i].op);
        kernel->run(&parts.calls[i], 0, kernel->units(&parts.calls[i]), parts.scratch);
    }
    float *want[2];
    for (size_t i = 0; i < 2; i++) {
        want[i] = stn_mem_copy(parts.y[i], T * M * sizeof(float));
        memset(parts.y[i], 0xff, T * M * sizeof(float));
        memset(want[i] + n_rows * M, 0xff, (T - n_rows) * M * sizeof(float));
    }
    struct stn_schedule_step step;
    ck_assert_uint_eq(stn_schedule_length(parts.calls, parts.uses, 3), 3);
    stn_schedule_fill(&step, parts.calls, 3);
    ck_assert_uint_eq(step.n_items, 2);
    ck_assert_uint_eq(step.n_units, 2 * ((M + STN_TERNARY_RANGE - 1) / STN_TERNARY_RANGE));
    ck_assert_uint_gt(stn_schedule_work(&step), 0);
    for (size_t end = step.n_units, count; end > 0; end -= count) { /* from the back, across the items' border */
        count = end < 3 ? end : 3;
        stn_schedule_run(&step, end - count, count, parts.scratch);
    }
    for (size_t i = 0; i < 2; i++) {
        ck_assert_mem_eq(parts.y[i], want[i], T * M * sizeof(float));
        stn_mem_free(want[i]);
    }
    fini();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("schedule");
    TCase *t = tcase_create("schedule");
    tcase_add_test(t, neighbours_that_touch_nothing_of_each_others_are_one_step);
    tcase_add_loop_test(t, a_branch_right_behind_its_product_gives_the_same_bits, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
