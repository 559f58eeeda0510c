/* Products on the GPU are the CPU's: ternary ones under every kind of weights and by every variant, an adapter's with them, of few
 * columns, of few rows, and the head's. */
#include "tests/compute/vulkan_job.h"

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

/* _i: columns at and around what the kernel for few columns takes, which is one dispatch for three products, and for their input's
 * rounding to int8 */
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
        if (!back) {
            then(STN_OP_QUANTISE);
            job.node.in[0] = shared;
            (void)out(STN_DTYPE_Q8, T, N, NULL);
        }
        run_both();
        agree(0, 3 * m * (back ? N : T), 2e-6, back ? "dA" : "u");
        ck_assert_uint_eq(job.n_dispatches, m <= 16 ? 1 : back ? 3 : 4);
        if (!back) {
            is_rounded_alike(3 * m * T * sizeof(float), T, N);
        }
    }
}
END_TEST

/* _i: ranks at and around what the kernel for few columns takes */
START_TEST(a_gradient_is_rounded_where_it_meets_the_adapter)
{
    enum { T = 70, M = 203 };
    static const int32_t seed[2] = {0x12345678, -77};
    size_t rank = (const size_t[]){1, 8, 16, 17}[_i];
    begin(STN_OP_LINEAR_BACK_X);
    draw(x, T * M, 2);
    memset(x + M, 0, M * sizeof *x);
    draw(dy, M * rank, 1);
    uint32_t gradient = in(STN_DTYPE_F32, T, M, x);
    (void)in(STN_DTYPE_F32, M, rank, dy);
    (void)out(STN_DTYPE_F32, T, rank, NULL);
    then(STN_OP_QUANTISE_RANDOM);
    job.node.in[job.n_node_in++] = gradient;
    (void)in(STN_DTYPE_I32, 1, 2, seed);
    (void)out(STN_DTYPE_Q8, T, M, NULL);
    job.node.number = 3;
    run_both();
    agree(0, T * rank, 2e-6, "du");
    is_rounded_alike(job.before_sizes[0], T, M);
    ck_assert_uint_eq(job.n_dispatches, rank <= 16 ? 1 : 2);
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

/* Logits, losses and their gradient by f16 matrices, whose floats are split. _i: a row of the table */
START_TEST(the_head_by_matrices_is_the_cpus)
{
    enum { M = 70, V = 150, N = 66 };
    static uint16_t half[V * N];
    static int32_t labels[M];
    const struct stn_pipeline_row *row = stn_pipeline_at((size_t)_i);
    if (row == NULL || (row->needs & STN_PIPELINE_HALVES) == 0) {
        return;
    }
    take_only(row);
    begin(row->op);
    for (size_t i = 0; i < V * N; i++) {
        half[i] = (uint16_t)(0x2000 + stn_rng_below(&rng, 0x1800) + (stn_rng_below(&rng, 2) << 15));
    }
    draw(x, M * N, 3);
    draw(x, N, 1e-3); /* halves alone would not do for so small a row */
    draw(dy, M, 1);
    for (size_t i = 0; i < M; i++) {
        labels[i] = (int32_t)(i * 7 % V);
    }
    (void)in(STN_DTYPE_F32, M, N, x);
    constant(STN_DTYPE_F16, V, N, half);
    if (row->op == STN_OP_LINEAR) {
        (void)out(STN_DTYPE_F32, M, V, NULL);
    } else {
        (void)in(STN_DTYPE_I32, M, 1, labels);
        (void)out(STN_DTYPE_F32, M, 1, NULL);
        (void)out(STN_DTYPE_I32, M, 1, NULL);
    }
    if (row->op == STN_OP_LOSS) {
        (void)in(STN_DTYPE_F32, M, 1, dy);
        (void)out(STN_DTYPE_F32, M, N, NULL);
    }
    run_both();
    if ((job.rows & stn_pipeline_only(row)) == 0) {
        (void)printf("skipped: this device has no %s\n", row->name);
        return;
    }
    if (row->op == STN_OP_LINEAR) {
        agree(0, V, 2e-6, "logits of small values");
        agree(V * sizeof(float), (M - 1) * V, 2e-6, "logits");
        return;
    }
    agree(0, M, 2e-6, "losses");
    ck_assert_mem_eq(results[0] + M * sizeof(float), results[1] + M * sizeof(float), M * sizeof(int32_t));
    agree(2 * M * sizeof(float), row->op == STN_OP_LOSS ? M * N : 0, 2e-6, "dy");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("vulkan products");
    TCase *t = tcase_create("vulkan products");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, ternary_products_are_the_cpus, 0, 16);
    tcase_add_loop_test(t, each_variant_of_the_ternary_product_is_exact, 0, N_ROWS);
    tcase_add_loop_test(t, products_with_few_columns_are_the_cpus, 0, 4);
    tcase_add_loop_test(t, an_adapters_product_is_added_to_the_ternary_one_before_it_is_written, 0, 12);
    tcase_add_loop_test(t, an_adapters_products_of_one_input_are_one_dispatch, 0, 4);
    tcase_add_loop_test(t, a_gradient_is_rounded_where_it_meets_the_adapter, 0, 4);
    tcase_add_loop_test(t, gradients_of_few_columns_are_the_cpus, 0, 4);
    tcase_add_loop_test(t, the_head_by_matrices_is_the_cpus, 0, N_ROWS);
    tcase_add_loop_test(t, products_of_few_rows_are_the_cpus, 0, 5);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
