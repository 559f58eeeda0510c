#include "tests/lib/run.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/rng.h"
#include "update/block.h"

/* Values at, around and beyond every edge of rounding. */
static void fill_edges(double *v, uint32_t *coins, size_t n, uint32_t bound)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 5);
    for (size_t i = 0; i < n; i++) {
        uint64_t coin = i % 3 == 0 ? 0 : i % 3 == 1 ? UINT32_MAX : stn_rng_u64(&rng);
        double whole = (double)(int64_t)stn_rng_below(&rng, 2 * (uint64_t)bound + 5) - bound - 2;
        v[i] = i % 2 == 0 ? whole : whole + 2 * stn_rng_unit(&rng) - 1;
        coins[i] = (uint32_t)coin;
    }
}

START_TEST(every_variant_of_a_block_gives_the_same_bits)
{
    enum { N = 8192 };
    static double v[N], a[N], b[N];
    static uint32_t coins[N], x[N], y[N];
    const uint8_t *signs = (const uint8_t *)coins;
    static float f[N];
    const struct stn_block_kernel *first = stn_block_variant(0), *other;
    ck_assert_ptr_eq(first, &stn_block_portable);
    for (size_t i = 1; (other = stn_block_variant(i)) != NULL; i++) {
        for (size_t n = 1; n <= N; n = n < 40 ? n + 1 : 2 * n > N && n < N ? N : 2 * n) {
            uint32_t bound = n % 2 == 0 ? 83886 : n % 3 == 0 ? 1 : INT32_MAX;
            fill_edges(v, coins, n, bound);
            ck_assert_uint_eq(first->round(x, v, n, 1.0, bound, coins), other->round(y, v, n, 1.0, bound, coins));
            ck_assert_mem_eq(x, y, n * sizeof *x);
            for (size_t k = 0; k < n; k++) {
                double t = floor(v[k] + (double)coins[k] * 0x1p-32);
                t = t < -(double)bound ? -(double)bound : t > bound ? bound : t;
                ck_assert_int_eq((int32_t)x[k], (int32_t)t);
            }
            memcpy(a, v, sizeof a);
            memcpy(b, v, sizeof b);
            first->flip(a, n, signs);
            other->flip(b, n, signs);
            ck_assert_mem_eq(a, b, sizeof a);
            for (size_t k = 0; k < n; k++) {
                ck_assert_double_eq(a[k], (signs[k / 8] >> k % 8 & 1) != 0 ? -v[k] : v[k]);
                f[k] = (float)v[k];
            }
            if ((n & (n - 1)) == 0) {
                first->hadamard(a, n);
                other->hadamard(b, n);
                ck_assert_mem_eq(a, b, sizeof a);
            }
            double p = first->norm2(f, n), q = other->norm2(f, n);
            ck_assert_mem_eq(&p, &q, sizeof p);
        }
    }
}
END_TEST

/* Row i of Hadamard's matrix has -1 where i and the column share an odd number of bits. */
START_TEST(a_variant_multiplies_by_hadamards_matrix)
{
    enum { N = 64, LONG = 8192 };
    static double v[LONG], w[LONG];
    const struct stn_block_kernel *kernel;
    struct stn_rng rng;
    stn_rng_init(&rng, 8);
    for (size_t i = 0; (kernel = stn_block_variant(i)) != NULL; i++) {
        for (size_t m = 1; m <= LONG; m *= 2) {
            for (size_t k = 0; k < m; k++) {
                v[k] = w[k] = (double)stn_rng_below(&rng, 1 << 20) - (1 << 19); /* whole: no sum is rounded */
            }
            kernel->hadamard(w, m);
            for (size_t row = 0; row < m; row += m > N ? m / N + 1 : 1) {
                double sum = 0;
                for (size_t k = 0; k < m; k++) {
                    sum += __builtin_parityl(row & k) != 0 ? -v[k] : v[k];
                }
                ck_assert_double_eq(w[row], sum);
            }
        }
    }
}
END_TEST

START_TEST(a_variant_turns_rows_into_columns)
{
    enum { STRIDE = 11, PITCH = 19 };
    float from[8 * STRIDE];
    double to[8 * PITCH];
    const struct stn_block_kernel *kernel;
    for (size_t i = 0; i < 8 * STRIDE; i++) {
        from[i] = (float)i + 0.1f;
    }
    for (size_t v = 0; (kernel = stn_block_variant(v)) != NULL; v++) {
        memset(to, 0, sizeof to);
        kernel->turn(to + 3, PITCH, from + 1, STRIDE, 1.7);
        for (size_t at = 0; at < 8 * PITCH; at++) {
            size_t j = at / PITCH, i = at % PITCH - 3;
            bool inside = at % PITCH >= 3 && i < 8;
            ck_assert_double_eq(to[at], inside ? (double)from[1 + i * STRIDE + j] * 1.7 : 0);
        }
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("block");
    TCase *t = tcase_create("block");
    tcase_add_test(t, every_variant_of_a_block_gives_the_same_bits);
    tcase_add_test(t, a_variant_multiplies_by_hadamards_matrix);
    tcase_add_test(t, a_variant_turns_rows_into_columns);
    suite_add_tcase(s, t);
    return s;
}
