/* The ops that test_ops.c has no formula for: what the GPU computes is what the CPU does, at odd sizes and with tensors cut in
 * windows; and what a device cannot do is an error. */
#include "tests/compute/vulkan_job.h"

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
        is_rounded_alike(0, T, N);
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

/* The node is no device's that is as the environment says: one error, with these words. */
static void prepare_fails(enum stn_code code, const char *words)
{
    struct stn_backend *backend;
    (void)stn_graph_add(&job.graph, 0, &job.node);
    ck_assert_int_eq(stn_vulkan_backend.new_for(&backend, &job.graph, 1, &err), STN_OK);
    ck_assert_int_eq(stn_vulkan_backend.prepare(backend, 0, &err), code);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s", err.text);
    stn_vulkan_backend.free(backend);
    stn_graph_fini(&job.graph);
}

START_TEST(a_tensor_that_cannot_be_cut_is_an_error_with_its_size)
{
    ck_assert_int_eq(setenv("STERNA_VULKAN", "range=1024", 1), 0);
    begin(STN_OP_LINEAR_BACK_X);
    (void)in(STN_DTYPE_F32, 2, 40, x);
    constant(STN_DTYPE_F32, 40, 40, x);
    (void)out(STN_DTYPE_F32, 2, 40, NULL);
    prepare_fails(STN_LIMIT, "linear_back_x needs 6400 bytes");
}
END_TEST

START_TEST(a_row_that_is_longer_than_a_binding_is_an_error_with_its_size)
{
    enum { N = 300 };
    static const int32_t labels[2] = {1, 2};
    ck_assert_int_eq(setenv("STERNA_VULKAN", "range=1024", 1), 0);
    for (int loss = 0; loss < 2; loss++) {
        begin(loss ? STN_OP_LOSS : STN_OP_NORM);
        (void)in(STN_DTYPE_F32, 2, N, x);
        constant(STN_DTYPE_F32, loss ? 4 : 1, N, x);
        if (loss) {
            (void)in(STN_DTYPE_I32, 2, 1, labels);
            (void)in(STN_DTYPE_F32, 2, 1, x);
        }
        prepare_fails(STN_LIMIT, loss ? "loss needs 1456 bytes" : "norm needs 1456 bytes");
    }
}
END_TEST

START_TEST(a_limit_below_what_is_taken_is_a_limit)
{
    ck_assert_int_eq(setenv("STERNA_VULKAN", "staged,memory=4", 1), 0); /* the staging buffer has four */
    begin(STN_OP_COPY);
    (void)in(STN_DTYPE_F32, 2, 40, x);
    (void)out(STN_DTYPE_F32, 2, 40, NULL);
    prepare_fails(STN_MEMORY, "no memory for");
}
END_TEST

START_TEST(a_device_without_memory_is_an_error)
{
    static float large[2 << 20];
    ck_assert_int_eq(setenv("STERNA_VULKAN", "memory=10", 1), 0);
    begin(STN_OP_COPY);
    (void)in(STN_DTYPE_F32, 1024, 1 << 11, large);
    (void)out(STN_DTYPE_F32, 1024, 1 << 11, NULL);
    prepare_fails(STN_MEMORY, "no memory for");
}
END_TEST

static char asked[8]; /* of the pager: + and - */

static void page(const void *user, bool soon)
{
    (void)user;
    ck_assert_uint_lt(strlen(asked), sizeof asked - 1);
    asked[strlen(asked)] = soon ? '+' : '-';
}

START_TEST(a_file_of_weights_is_let_go_once_the_device_has_them)
{
    enum { M = 3, N = 40 };
    begin(STN_OP_TERNARY);
    make_weights(5, N, false);
    weights.matrix.source.page = page;
    draw(x, M * N, 1);
    (void)in(STN_DTYPE_F32, M, N, x);
    constant(STN_DTYPE_TERNARY, 5, N, &weights.matrix);
    (void)out(STN_DTYPE_F32, M, 5, NULL);
    run_both();
    agree(0, M * 5, 2e-6, "y");
    ck_assert_str_eq(asked, "+-");
    stn_ternary_free(weights.packed);
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
    tcase_add_test(t, rows_are_rounded_to_the_cpus_int8);
    tcase_add_test(t, dropout_takes_what_the_cpu_takes);
    tcase_add_test(t, tensors_above_the_range_of_a_binding_are_cut);
    tcase_add_test(t, a_tensor_that_cannot_be_cut_is_an_error_with_its_size);
    tcase_add_test(t, a_row_that_is_longer_than_a_binding_is_an_error_with_its_size);
    tcase_add_test(t, a_limit_below_what_is_taken_is_a_limit);
    tcase_add_test(t, a_device_without_memory_is_an_error);
    tcase_add_test(t, a_file_of_weights_is_let_go_once_the_device_has_them);
    tcase_add_test(t, words_that_mean_nothing_are_refused);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
