#include "tests/lib/run.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/cpu/ternary.h"

/* One matrix, its weights in the open, and a batch of inputs for both directions. */
struct world {
    size_t rows, cols, n, n_blocks;
    int8_t *weights; /* (rows, cols) */
    float *scales;   /* (rows, n_blocks) */
    struct stn_ternary *w;
    float *x, *dy; /* (n, cols), (n, rows) */
    int8_t *q, *q_dy;
    float *scale, *scale_dy;
    void *scratch;
};

static void row_of(const void *user, size_t row, int8_t *values, float *scales)
{
    const struct world *world = user;
    memcpy(values, world->weights + row * world->cols, world->cols);
    memcpy(scales, world->scales + row * world->n_blocks, world->n_blocks * sizeof *scales);
}

static struct stn_ternary *packed(const struct world *world)
{
    struct stn_ternary *w = NULL;
    struct stn_err err = {0};
    struct stn_ternary_source source = {world->rows, world->cols, row_of, world};
    ck_assert_msg(stn_ternary_new(&w, &source, &err) == STN_OK, "%s", err.text);
    return w;
}

static void make(struct world *world, size_t rows, size_t cols, size_t n, bool per_block)
{
    struct stn_rng rng;
    stn_rng_init(&rng, rows * 31 + cols * 7 + n);
    *world = (struct world){.rows = rows, .cols = cols, .n = n, .n_blocks = (cols + 255) / 256};
    world->weights = stn_mem_new(rows, cols);
    world->scales = stn_mem_new(rows * world->n_blocks, sizeof(float));
    for (size_t i = 0; i < rows * cols; i++) {
        world->weights[i] = (int8_t)((int)stn_rng_below(&rng, 3) - 1);
    }
    for (size_t i = 0; i < rows * world->n_blocks; i++) {
        float varied = stn_rng_below(&rng, 8) == 0 ? 0 : (float)(0.01 + stn_rng_unit(&rng));
        world->scales[i] = per_block ? varied : 0.037f;
    }
    world->w = packed(world);
    world->x = stn_mem_new(n * cols, sizeof(float));
    world->dy = stn_mem_new(n * rows, sizeof(float));
    for (size_t i = 0; i < n * cols; i++) {
        world->x[i] = (float)stn_rng_normal(&rng);
    }
    for (size_t i = 0; i < n * rows; i++) {
        world->dy[i] = (float)(1e-3 * stn_rng_normal(&rng));
    }
    world->q = stn_mem_new(n, stn_ternary_stride(cols));
    world->q_dy = stn_mem_new(n, stn_ternary_stride(rows));
    world->scale = stn_mem_new(n, sizeof(float));
    world->scale_dy = stn_mem_new(n, sizeof(float));
    world->scratch = stn_mem_aligned(1, stn_ternary_scratch(world->w, n));
    stn_ternary_quantise(world->x, n, cols, world->q, world->scale);
    stn_ternary_quantise_random(world->dy, n, rows, 9, 100, world->q_dy, world->scale_dy);
}

static void fini(struct world *world)
{
    void *all[] = {world->weights, world->scales, world->x,        world->dy,     world->q,
                   world->q_dy,    world->scale,  world->scale_dy, world->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        stn_mem_free(all[i]);
    }
    stn_ternary_free(world->w);
}

static void use(const char *name)
{
    struct stn_err err = {0};
    ck_assert_msg(stn_ternary_use(name, &err) == STN_OK, "%s", err.text);
    ck_assert_str_eq(stn_ternary_kernel(), name);
}

static double weight(const struct world *world, size_t r, size_t c)
{
    return world->weights[r * world->cols + c] *
           (double)world->scales[r * world->n_blocks + c / 256];
}

/* The four products of a world, each (n, rows) or (n, cols) with a row stride of its own and a
 * margin that must stay. */
enum product { FORWARD, FORWARD_EXACT, BACKWARD_INT8, BACKWARD, N_PRODUCTS };
#define MARGIN 3
#define UNTOUCHED 12345.0f
#define BEFORE 0.25f /* what stands in dx, to be added to */

static size_t outputs(const struct world *world, enum product product)
{
    return product <= FORWARD_EXACT ? world->rows : world->cols;
}

static void run(const struct world *world, enum product product, float *y, size_t first,
                size_t count)
{
    const struct world *o = world;
    size_t ld = outputs(world, product) + MARGIN;
    if (product == FORWARD) {
        stn_ternary_forward(o->w, o->q, o->scale, o->n, y, ld, first, count, o->scratch);
    } else if (product == FORWARD_EXACT) {
        stn_ternary_forward_exact(o->w, o->x, o->n, y, ld, first, count, o->scratch);
    } else if (product == BACKWARD_INT8) {
        stn_ternary_backward_int8(o->w, o->q_dy, o->scale_dy, o->n, y, ld, first, count,
                                  o->scratch);
    } else {
        stn_ternary_backward(o->w, o->dy, o->n, y, ld, first, count, o->scratch);
    }
}

static float *whole(const struct world *world, enum product product)
{
    size_t n_out = outputs(world, product), ld = n_out + MARGIN;
    float *y = stn_mem_new(world->n * ld, sizeof *y);
    for (size_t i = 0; i < world->n * ld; i++) {
        y[i] = i % ld >= n_out ? UNTOUCHED : product >= BACKWARD_INT8 ? BEFORE : NAN;
    }
    run(world, product, y, 0, n_out);
    return y;
}

/* In double: the value of an element, and the sum of magnitudes that bounds its rounding error. */
static double expected(const struct world *o, enum product product, size_t t, size_t out,
                       double *size)
{
    bool forward = product <= FORWARD_EXACT;
    double sum = 0;
    *size = forward ? 0 : BEFORE;
    for (size_t i = 0; i < (forward ? o->cols : o->rows); i++) {
        double in = product == FORWARD
                        ? o->q[t * stn_ternary_stride(o->cols) + i] * (double)o->scale[t]
                    : product == FORWARD_EXACT ? (double)o->x[t * o->cols + i]
                    : product == BACKWARD_INT8
                        ? o->q_dy[t * stn_ternary_stride(o->rows) + i] * (double)o->scale_dy[t]
                        : (double)o->dy[t * o->rows + i];
        double term = in * (forward ? weight(o, out, i) : weight(o, i, out));
        sum += term;
        *size += fabs(term);
    }
    return forward ? sum : sum + (double)BEFORE;
}

static void check_against_doubles(const struct world *world, enum product product, const float *y)
{
    size_t n_out = outputs(world, product), ld = n_out + MARGIN;
    for (size_t t = 0; t < world->n; t += 1 + world->n / 5) {
        for (size_t o = 0; o < n_out; o += 1 + n_out / 97) {
            double size, want = expected(world, product, t, o, &size);
            ck_assert_msg(fabs((double)y[t * ld + o] - want) <= 3e-6 * size + 1e-12,
                          "%s, product %d, %zu x %zu, (%zu, %zu): %.9g, expected %.9g",
                          stn_ternary_kernel(), (int)product, world->rows, world->cols, t, o,
                          (double)y[t * ld + o], want);
        }
    }
    for (size_t t = 0; t < world->n; t++) {
        for (size_t o = n_out; o < ld; o++) {
            ck_assert(y[t * ld + o] == UNTOUCHED);
        }
    }
}

/* The integer products must agree to the bit where no f32 sum is involved. */
static bool has_one_answer(enum product product, bool per_block)
{
    return product == FORWARD || (product == BACKWARD_INT8 && !per_block);
}

static void check_ranges(const struct world *world, enum product product, const float *all)
{
    size_t n_out = outputs(world, product), ld = n_out + MARGIN;
    float *y = stn_mem_copy(all, world->n * ld * sizeof *y);
    for (size_t t = 0; t < world->n; t++) {
        for (size_t o = 0; o < n_out; o++) {
            y[t * ld + o] = product >= BACKWARD_INT8 ? BEFORE : NAN;
        }
    }
    for (size_t end = n_out; end > 0;) { /* from the back, in uneven pieces */
        size_t first = end <= 2 * STN_TERNARY_RANGE ? 0
                                                    : (end / 2 + STN_TERNARY_RANGE - 1) /
                                                          STN_TERNARY_RANGE * STN_TERNARY_RANGE;
        first = first >= end ? 0 : first;
        run(world, product, y, first, end - first);
        end = first;
    }
    ck_assert_mem_eq(y, all, world->n * ld * sizeof *y);
    stn_mem_free(y);
}

static const struct {
    size_t rows, cols, n;
} shapes[] = {{1, 1, 1},     {3, 5, 2},       {64, 64, 6},    {65, 63, 17},
              {100, 300, 3}, {256, 256, 128}, {130, 1027, 7}, {517, 129, 13},
              {33, 5460, 4}, {1100, 40, 1},   {192, 512, 12}, {70, 769, 128}};

static void check_kernels(bool per_block)
{
    const char *names[8];
    size_t n_kernels = stn_ternary_kernels(names);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        use("c");
        struct world world;
        make(&world, shapes[s].rows, shapes[s].cols, shapes[s].n, per_block);
        for (enum product product = FORWARD; product < N_PRODUCTS; product++) {
            use("c");
            float *plain = whole(&world, product);
            for (size_t k = 0; k < n_kernels; k++) {
                use(names[k]);
                float *y = whole(&world, product);
                check_against_doubles(&world, product, y);
                check_ranges(&world, product, y);
                if (has_one_answer(product, per_block)) {
                    ck_assert_mem_eq(y, plain,
                                     world.n * (outputs(&world, product) + MARGIN) * sizeof *y);
                }
                stn_mem_free(y);
            }
            stn_mem_free(plain);
        }
        fini(&world);
    }
}

START_TEST(every_kernel_agrees_with_doubles_and_to_the_bit_with_plain_c)
{
    check_kernels(false);
}
END_TEST

START_TEST(blocks_with_scales_of_their_own_keep_them_in_every_kernel)
{
    check_kernels(true);
}
END_TEST

START_TEST(a_token_has_the_same_result_whatever_batch_it_is_in)
{
    const char *names[8];
    size_t n_kernels = stn_ternary_kernels(names);
    struct world world;
    make(&world, 130, 700, 29, false);
    for (size_t k = 0; k < n_kernels; k++) {
        use(names[k]);
        for (enum product product = FORWARD; product < N_PRODUCTS; product++) {
            float *all = whole(&world, product);
            struct world tail = world;
            tail.n = 8;
            tail.x += 21 * world.cols, tail.dy += 21 * world.rows;
            tail.q += 21 * stn_ternary_stride(world.cols),
                tail.q_dy += 21 * stn_ternary_stride(world.rows);
            tail.scale += 21, tail.scale_dy += 21;
            float *part = whole(&tail, product);
            size_t ld = outputs(&world, product) + MARGIN;
            ck_assert_mem_eq(part, all + 21 * ld, 8 * ld * sizeof *all);
            stn_mem_free(part);
            stn_mem_free(all);
        }
    }
    fini(&world);
}
END_TEST

START_TEST(the_largest_values_everywhere_do_not_overflow)
{
    const char *names[8];
    size_t n_kernels = stn_ternary_kernels(names);
    for (int sign = -1; sign <= 1; sign += 2) {
        struct world world;
        make(&world, 200, 20000, 7, false);
        memset(world.weights, sign, world.rows * world.cols);
        stn_ternary_free(world.w);
        world.w = packed(&world);
        for (size_t t = 0; t < world.n; t++) {
            memset(world.q + t * stn_ternary_stride(world.cols), t % 2 ? -127 : 127, world.cols);
        }
        for (size_t k = 0; k < n_kernels; k++) {
            use(names[k]);
            float *y = whole(&world, FORWARD);
            check_against_doubles(&world, FORWARD, y);
            stn_mem_free(y);
        }
        fini(&world);
    }
}
END_TEST

START_TEST(quantisers_give_the_same_bits_on_every_kernel)
{
    enum { N = 5, COLS = 1003, STRIDE = 1024 };
    static float x[N * COLS], want_scale[N], scale[N];
    static int8_t want[N * STRIDE], q[N * STRIDE];
    struct stn_rng rng;
    stn_rng_init(&rng, 4);
    for (size_t i = 0; i < N * COLS; i++) {
        x[i] = i / COLS == 1 ? 0 : (float)(stn_rng_normal(&rng) * pow(10, (double)(i / COLS)));
    }
    x[3 * COLS + 7] = NAN;
    x[4 * COLS + 1001] = INFINITY;
    ck_assert_uint_eq(stn_ternary_stride(COLS), STRIDE);
    const char *names[8];
    size_t n_kernels = stn_ternary_kernels(names);
    for (int random = 0; random < 2; random++) {
        for (size_t k = n_kernels; k-- > 0;) { /* plain C is the last, and goes first */
            use(names[k]);
            bool plain = k + 1 == n_kernels;
            memset(q, 99, sizeof q);
            if (random) {
                stn_ternary_quantise_random(x, N, COLS, 77, 5, plain ? want : q,
                                            plain ? want_scale : scale);
            } else {
                stn_ternary_quantise(x, N, COLS, plain ? want : q, plain ? want_scale : scale);
            }
            if (!plain) {
                ck_assert_mem_eq(q, want, sizeof q);
                ck_assert_mem_eq(scale, want_scale, sizeof scale);
            }
        }
        for (size_t i = 0; i < sizeof want; i++) {
            ck_assert_int_ge(want[i], -127);
            ck_assert(i % STRIDE < COLS || want[i] == 0);
        }
    }
}
END_TEST

START_TEST(rounding_is_to_the_nearest_and_half_to_even)
{
    const float x[8] = {127, -127, 0.5f, 1.5f, -2.5f, 2.51f, -0.49f, 0};
    const int8_t want[8] = {127, -127, 0, 2, -2, 3, 0, 0};
    int8_t q[64];
    float scale;
    const char *names[8];
    for (size_t k = stn_ternary_kernels(names); k-- > 0;) {
        use(names[k]);
        stn_ternary_quantise(x, 1, 8, q, &scale);
        ck_assert(scale == 1);
        ck_assert_mem_eq(q, want, sizeof want);
    }
}
END_TEST

START_TEST(random_rounding_has_no_bias_and_depends_on_the_row_number_alone)
{
    enum { N = 4000, COLS = 8 };
    static float x[N * COLS], scale[N];
    static int8_t q[N * 64], again[64];
    for (size_t i = 0; i < N * COLS; i++) {
        x[i] = (const float[COLS]){127, 0.1f, -0.1f, 3.7f, -90.25f, 0.5f, 1e-3f, -7}[i % COLS];
    }
    stn_ternary_quantise_random(x, N, COLS, 1, 50, q, scale);
    for (size_t c = 0; c < COLS; c++) {
        double sum = 0;
        for (size_t t = 0; t < N; t++) {
            sum += q[t * 64 + c];
            ck_assert(fabs(q[t * 64 + c] - (double)x[c]) < 1);
        }
        ck_assert_msg(fabs(sum / N - (double)x[c]) < 4 * 0.5 / sqrt(N),
                      "column %zu: mean %g, expected %g", c, sum / N, (double)x[c]);
    }
    stn_ternary_quantise_random(x + 17 * COLS, 1, COLS, 1, 67, again, scale);
    ck_assert_mem_eq(again, q + 17 * 64, 64);
    stn_ternary_quantise_random(x, 1, COLS, 2, 50, again, scale);
    ck_assert(memcmp(again, q, COLS) != 0 || memcmp(again, q + 64, COLS) != 0);
}
END_TEST

START_TEST(a_matrix_that_is_empty_too_big_or_not_ternary_is_refused)
{
    int8_t weights[3] = {1, 0, 2};
    float scales[1] = {1};
    struct world world = {
        .rows = 1, .cols = 3, .n_blocks = 1, .weights = weights, .scales = scales};
    struct stn_ternary_source source = {1, 3, row_of, &world};
    struct stn_ternary *w = NULL;
    struct stn_err err = {0};
    ck_assert_int_eq(stn_ternary_new(&w, &source, &err), STN_INVALID);
    ck_assert_str_eq(err.text, "row 0 of 1 holds a weight other than -1, 0 and 1");
    source.cols = 0;
    ck_assert_int_eq(stn_ternary_new(&w, &source, &err), STN_INVALID);
    source.cols = (size_t)1 << 40;
    ck_assert_int_eq(stn_ternary_new(&w, &source, &err), STN_LIMIT);
    ck_assert_int_eq(stn_ternary_use("abacus", &err), STN_UNSUPPORTED);
    ck_assert_ptr_null(w);
    stn_ternary_free(NULL);
}
END_TEST

START_TEST(a_failed_allocation_is_an_error_and_leaks_nothing)
{
    int8_t weights[3] = {1, 0, -1};
    float scales[1] = {1};
    struct world world = {
        .rows = 1, .cols = 3, .n_blocks = 1, .weights = weights, .scales = scales};
    struct stn_ternary_source source = {1, 3, row_of, &world};
    struct stn_ternary *w = NULL;
    enum stn_code code = STN_MEMORY;
    for (uint64_t n = 1; code == STN_MEMORY; n++) {
        stn_mem_fail_from(n);
        code = stn_ternary_new(&w, &source, NULL);
        stn_mem_fail_from(0);
        ck_assert(code == STN_OK ? n > 1 : w == NULL);
    }
    ck_assert_int_eq(code, STN_OK);
    stn_ternary_free(w);
}
END_TEST

START_TEST(a_packed_matrix_is_two_bits_a_weight)
{
    struct world world;
    make(&world, 640, 2048, 1, false);
    ck_assert_uint_eq(stn_ternary_rows(world.w), 640);
    ck_assert_uint_eq(stn_ternary_cols(world.w), 2048);
    ck_assert_uint_le(stn_ternary_size(world.w), 640 * 2048 / 4 + 128);
    fini(&world);
}
END_TEST

Suite *suite(void)
{
    Suite *suite = suite_create("ternary");
    TCase *tcase = tcase_create("ternary");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, every_kernel_agrees_with_doubles_and_to_the_bit_with_plain_c);
    tcase_add_test(tcase, blocks_with_scales_of_their_own_keep_them_in_every_kernel);
    tcase_add_test(tcase, a_token_has_the_same_result_whatever_batch_it_is_in);
    tcase_add_test(tcase, the_largest_values_everywhere_do_not_overflow);
    tcase_add_test(tcase, quantisers_give_the_same_bits_on_every_kernel);
    tcase_add_test(tcase, rounding_is_to_the_nearest_and_half_to_even);
    tcase_add_test(tcase, random_rounding_has_no_bias_and_depends_on_the_row_number_alone);
    tcase_add_test(tcase, a_matrix_that_is_empty_too_big_or_not_ternary_is_refused);
    tcase_add_test(tcase, a_failed_allocation_is_an_error_and_leaks_nothing);
    tcase_add_test(tcase, a_packed_matrix_is_two_bits_a_weight);
    suite_add_tcase(suite, tcase);
    return suite;
}
