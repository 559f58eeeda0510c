#include "tests/lib/run.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/gemm_kernel.h"
#include "compute/cpu/ternary.h"

enum op { NT, NN, TN, NT_F16, NN_F16, N_OPS };
#define MARGIN                                                                                     \
    3 /* floats behind each row of each matrix; those of c must stay, those of a and b must not    \
         count */

/* One product and its operands, all with room behind their rows. */
struct world {
    enum op op;
    size_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    float *a, *b, *c;
    uint16_t *b16;
};

static float any_half(struct stn_rng *rng, uint16_t *half)
{
    do {
        *half = (uint16_t)stn_rng_u64(rng);
    } while ((*half & 0x7c00) > 0x4000); /* up to 4 in size, subnormal too */
    return stn_gemm_c_half(*half);
}

static void make(struct world *w, enum op op, size_t m, size_t n, size_t k, float alpha, float beta)
{
    struct stn_rng rng;
    stn_rng_init(&rng, m * 1000003 + n * 1009 + k + (size_t)op);
    size_t a_rows = op == TN ? k : m, b_rows = op == NT || op == NT_F16 ? n : k;
    *w = (struct world){
        .op = op, .m = m, .n = n, .k = k, .alpha = alpha, .beta = beta, .ldc = n + MARGIN};
    w->lda = (op == TN ? m : k) + MARGIN;
    w->ldb = (b_rows == n && (op == NT || op == NT_F16) ? k : n) + MARGIN;
    w->a = stn_mem_new(a_rows * w->lda + 1, sizeof(float));
    w->b = stn_mem_new(b_rows * w->ldb + 1, sizeof(float));
    w->b16 = stn_mem_new(b_rows * w->ldb + 1, sizeof(uint16_t));
    w->c = stn_mem_new(m * w->ldc + 1, sizeof(float));
    for (size_t i = 0; i < a_rows * w->lda; i++) {
        w->a[i] = i % w->lda >= w->lda - MARGIN ? NAN : (float)stn_rng_normal(&rng);
    }
    for (size_t i = 0; i < b_rows * w->ldb; i++) {
        bool inside = i % w->ldb < w->ldb - MARGIN;
        w->b[i] = inside ? any_half(&rng, &w->b16[i]) : NAN;
        w->b16[i] = inside ? w->b16[i] : 0x7e00;
    }
    for (size_t i = 0; i < m * w->ldc; i++) {
        w->c[i] = beta == 0 && i % w->ldc < n ? NAN : (float)(i % 17);
    }
}

static void fini(struct world *w)
{
    stn_mem_free(w->a);
    stn_mem_free(w->b);
    stn_mem_free(w->b16);
    stn_mem_free(w->c);
}

/* c's rows [first, first + count) */
static void run(const struct world *w, float *c, size_t first, size_t count)
{
    const float *a = w->a + first * (w->op == TN ? 1 : w->lda);
    c += first * w->ldc;
    switch (w->op) {
    case NT:
        stn_gemm_nt(count, w->n, w->k, w->alpha, a, w->lda, w->b, w->ldb, w->beta, c, w->ldc);
        break;
    case NN:
        stn_gemm_nn(count, w->n, w->k, w->alpha, a, w->lda, w->b, w->ldb, w->beta, c, w->ldc);
        break;
    case TN:
        stn_gemm_tn(count, w->n, w->k, w->alpha, a, w->lda, w->b, w->ldb, w->beta, c, w->ldc);
        break;
    case NT_F16:
        stn_gemm_nt_f16(count, w->n, w->k, w->alpha, a, w->lda, w->b16, w->ldb, w->beta, c, w->ldc);
        break;
    default:
        stn_gemm_nn_f16(count, w->n, w->k, w->alpha, a, w->lda, w->b16, w->ldb, w->beta, c, w->ldc);
        break;
    }
}

static void check_against_doubles(const struct world *w, const float *c, const char *kernel)
{
    bool b_turned = w->op == NT || w->op == NT_F16;
    for (size_t i = 0; i < w->m; i += 1 + w->m / 19) {
        for (size_t j = 0; j < w->n; j += 1 + w->n / 37) {
            double sum = 0, size = 0;
            for (size_t k = 0; k < w->k; k++) {
                double term = (double)w->a[w->op == TN ? k * w->lda + i : i * w->lda + k] *
                              (double)w->b[b_turned ? j * w->ldb + k : k * w->ldb + j];
                sum += term;
                size += fabs(term);
            }
            double before = w->beta == 0 ? 0 : (double)w->beta * (double)w->c[i * w->ldc + j];
            double want = before + (double)w->alpha * sum, got = (double)c[i * w->ldc + j];
            double bound = 2e-6 * (fabs(before) + fabs((double)w->alpha) * size) + 1e-30;
            ck_assert_msg(fabs(got - want) <= bound,
                          "%s, op %d, %zu x %zu x %zu at (%zu, %zu): %.9g, expected %.9g", kernel,
                          (int)w->op, w->m, w->n, w->k, i, j, got, want);
        }
    }
    for (size_t i = 0; i < w->m; i++) {
        for (size_t j = w->n; j < w->ldc; j++) {
            ck_assert(c[i * w->ldc + j] == w->c[i * w->ldc + j]);
        }
    }
}

static const size_t shapes[][3] = {
    {1, 1, 1},     {2, 3, 5},     {128, 8, 256}, {17, 4, 300},  {5, 16, 64},
    {13, 9, 63},   {128, 100, 8}, {31, 70, 16},  {1, 130, 700}, {3, 64, 257},
    {6, 33, 1000}, {24, 17, 128}, {23, 48, 513}, {7, 200, 4},   {64, 1, 90},
    {9, 5, 1},     {11, 32, 12},  {40, 65, 66},  {1, 8, 768},   {4, 12, 0},
};

static void check_op(enum op op)
{
    const char *names[8];
    size_t n_kernels = stn_ternary_kernels(names);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t scales = 0; scales < 3; scales++) {
            struct world w;
            make(&w, op, shapes[s][0], shapes[s][1], shapes[s][2], scales == 1 ? -1.5f : 1,
                 (float)scales / 2);
            size_t size = (w.m * w.ldc + 1) * sizeof(float);
            for (size_t k = 0; k < n_kernels; k++) {
                ck_assert_int_eq(stn_ternary_use(names[k], NULL), STN_OK);
                float *c = stn_mem_copy(w.c, size), *in_parts = stn_mem_copy(w.c, size);
                run(&w, c, 0, w.m);
                check_against_doubles(&w, c, names[k]);
                for (size_t i = 0, count = 1; i < w.m; i += count, count = count % 5 + 1) {
                    count = count < w.m - i ? count : w.m - i;
                    run(&w, in_parts, i, count);
                }
                ck_assert_mem_eq(c, in_parts, size); /* however its rows are shared out */
                stn_mem_free(c);
                stn_mem_free(in_parts);
            }
            fini(&w);
        }
    }
}

START_TEST(products_agree_with_doubles_on_every_kernel_and_do_not_depend_on_ranges_of_rows)
{
    check_op((enum op)_i);
}
END_TEST

START_TEST(columns_may_be_shared_out_as_well)
{
    const char *names[8];
    size_t n_kernels = stn_ternary_kernels(names);
    for (size_t k = 0; k < n_kernels; k++) {
        ck_assert_int_eq(stn_ternary_use(names[k], NULL), STN_OK);
        for (size_t terms = 40; terms <= 640; terms += 600) {
            struct world nt, nn;
            make(&nt, NT, 10, 90, terms, 1, 0);
            make(&nn, NN, 10, 90, terms, 1, 0);
            float part[10 * 90];
            for (size_t n = 1; n <= 20; n += 3) { /* the columns from 61 on */
                run(&nt, nt.c, 0, 10);
                stn_gemm_nt(10, n, terms, 1, nt.a, nt.lda, nt.b + 61 * nt.ldb, nt.ldb, 0, part, 90);
                run(&nn, nn.c, 0, 10);
                for (size_t i = 0; i < 10; i++) {
                    ck_assert_mem_eq(part + i * 90, nt.c + i * nt.ldc + 61, n * sizeof *part);
                }
                stn_gemm_nn(10, n, terms, 1, nn.a, nn.lda, nn.b + 61, nn.ldb, 0, part, 90);
                for (size_t i = 0; i < 10; i++) {
                    ck_assert_mem_eq(part + i * 90, nn.c + i * nn.ldc + 61, n * sizeof *part);
                }
            }
            fini(&nt);
            fini(&nn);
        }
    }
}
END_TEST

START_TEST(every_half_is_expanded_to_the_number_it_stands_for)
{
    for (unsigned h = 0; h < 0x10000; h++) {
        int exponent = (int)(h >> 10 & 31);
        double fraction = h & 0x3ff;
        double want =
            exponent == 0 ? fraction * 0x1p-24 : ldexp(1 + fraction / 1024, exponent - 15);
        want = exponent < 31 ? want : fraction == 0 ? (double)INFINITY : (double)NAN;
        want = h & 0x8000 ? -want : want;
        double got = (double)stn_gemm_c_half((uint16_t)h);
        ck_assert(isnan(want) ? isnan(got) != 0 : got == want);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *suite = suite_create("gemm");
    TCase *tcase = tcase_create("gemm");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(
        tcase, products_agree_with_doubles_on_every_kernel_and_do_not_depend_on_ranges_of_rows, 0,
        N_OPS);
    tcase_add_test(tcase, columns_may_be_shared_out_as_well);
    tcase_add_test(tcase, every_half_is_expanded_to_the_number_it_stands_for);
    suite_add_tcase(suite, tcase);
    return suite;
}
