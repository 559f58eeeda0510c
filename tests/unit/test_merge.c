#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "server/shell/merge.h"
#include "update/round.h"

enum { D = 300, N = 5 };

static struct stn_task_spec spec;
static struct stn_msg_round_config config;
static struct stn_encode_config encoding;
static uint32_t sum[16384];
static float mean[D]; /* the plain mean of the clipped deltas */
static struct stn_err err;

/* N members with small random deltas, added up. */
static void setup(void)
{
    spec = (struct stn_task_spec){.name = "t", .outer = STN_OUTER_NESTEROV, .outer_rate = 0.5, .outer_momentum = 0.9,
                                  .clip_quantile = 0.9};
    config = (struct stn_msg_round_config){.n_values = D, .bits = 24, .n_max = N, .n_min = 2, .clip_norm = 50, .weight_max = 0};
    ck_assert_int_eq(stn_round_encoding(&config, &encoding, &err), STN_OK);
    ck_assert_uint_le(stn_encode_length(&encoding), 16384);
    ck_assert_uint_eq(stn_round_upload_size(&encoding), stn_encode_length(&encoding) * 3);
    memset(sum, 0, sizeof sum);
    memset(mean, 0, sizeof mean);
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    for (int i = 0; i < N; i++) {
        float delta[D];
        static uint32_t out[16384];
        uint8_t seed[32] = {(uint8_t)i};
        struct stn_encode_result result;
        struct stn_encode_info info = {.n_samples = 10, .loss_sum = 20, .n_tokens = 10};
        for (int k = 0; k < D; k++) {
            delta[k] = (float)stn_rng_normal(&rng);
            mean[k] += delta[k] / N;
        }
        ck_assert_int_eq(stn_encode_delta(&encoding, delta, &info, seed, out, &result, &err), STN_OK);
        for (size_t k = 0; k < stn_encode_length(&encoding); k++) {
            sum[k] += out[k];
        }
    }
}

START_TEST(two_nesterov_steps_are_the_formula)
{
    float x[D] = {0}, m[D] = {0}, expected[D] = {0};
    struct stn_merge_input input = {.spec = &spec, .config = &config, .sum = sum, .n_included = N};
    struct stn_merge_output first = {0}, second = {0};
    ck_assert_int_eq(stn_merge_apply(&input, x, &first, &err), STN_OK);
    input.state = first.state.data;
    input.state_size = first.state.size;
    ck_assert_int_eq(stn_merge_apply(&input, x, &second, &err), STN_OK);
    for (int round = 0; round < 2; round++) {
        for (int k = 0; k < D; k++) {
            m[k] = 0.9f * m[k] + mean[k];
            expected[k] += 0.5f * (mean[k] + 0.9f * m[k]);
        }
    }
    for (int k = 0; k < D; k++) {
        ck_assert_float_eq_tol(x[k], expected[k], 1e-3f);
    }
    ck_assert_uint_eq(second.totals.n_included, N);
    ck_assert_double_eq_tol(second.totals.loss, 2, 1e-6);
    ck_assert_double_eq_tol(second.clip_norm, 50 * exp(-0.2 * (1 - 0.9)), 1e-9);
    stn_buf_fini(&first.state);
    stn_buf_fini(&second.state);
}
END_TEST

START_TEST(a_plain_average_keeps_no_state)
{
    float x[D] = {0};
    struct stn_merge_output out = {0};
    spec.outer = STN_OUTER_AVG;
    spec.outer_rate = 1;
    struct stn_merge_input input = {.spec = &spec, .config = &config, .sum = sum, .n_included = N};
    ck_assert_int_eq(stn_merge_apply(&input, x, &out, &err), STN_OK);
    ck_assert_uint_eq(out.state.size, 0);
    for (int k = 0; k < D; k++) {
        ck_assert_float_eq_tol(x[k], mean[k], 1e-3f);
    }
    stn_buf_fini(&out.state);
}
END_TEST

START_TEST(a_sum_that_counts_another_number_is_refused_and_changes_nothing)
{
    float x[D] = {1, 2, 3};
    struct stn_merge_output out = {0};
    struct stn_merge_input input = {.spec = &spec, .config = &config, .sum = sum, .n_included = N - 1};
    ck_assert_int_eq(stn_merge_apply(&input, x, &out, &err), STN_CORRUPT);
    ck_assert_float_eq(x[1], 2);
}
END_TEST

START_TEST(a_state_of_another_task_is_refused)
{
    float x[D] = {0};
    struct stn_merge_output out = {0}, again = {0};
    struct stn_merge_input input = {.spec = &spec, .config = &config, .sum = sum, .n_included = N};
    ck_assert_int_eq(stn_merge_apply(&input, x, &out, &err), STN_OK);
    input.state = out.state.data;
    input.state_size = out.state.size - 1;
    ck_assert_int_eq(stn_merge_apply(&input, x, &again, &err), STN_CORRUPT);
    input.state_size++;
    spec.outer = 7;
    ck_assert_int_eq(stn_merge_apply(&input, x, &again, &err), STN_CORRUPT);
    stn_buf_fini(&out.state);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("merge");
    TCase *t = tcase_create("merge");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, two_nesterov_steps_are_the_formula);
    tcase_add_test(t, a_plain_average_keeps_no_state);
    tcase_add_test(t, a_sum_that_counts_another_number_is_refused_and_changes_nothing);
    tcase_add_test(t, a_state_of_another_task_is_refused);
    suite_add_tcase(s, t);
    return s;
}
