#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "server/shell/merge.h"
#include "update/round.h"

enum { D = 300, N = 5, RANK = 4, IN = 50, OUT = 25, D_A = RANK * IN };

static struct stn_adapter_tensor tensors[] = {{.rows = RANK, .cols = IN},
                                              {.is_b = true, .rows = OUT, .cols = RANK, .offset = D_A}};
static const struct stn_adapter shape = {.rank = RANK, .n_tensors = 2, .tensors = tensors, .n_values = D};

static struct stn_task_spec spec;
static struct stn_msg_round_config config;
static struct stn_encode_config encoding;
static uint32_t sum[16384];
static float mean[D]; /* the plain mean of the clipped deltas */
static struct stn_err err;
static struct stn_buf state;

/* N members with small random deltas of d values, added up. */
static void add_up(uint32_t factor, size_t d)
{
    config = (struct stn_msg_round_config){.factor = factor, .n_values = d, .bits = 24, .n_max = N, .n_min = 2, .clip_norm = 50};
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
        for (size_t k = 0; k < d; k++) {
            delta[k] = (float)stn_rng_normal(&rng);
            mean[k] += delta[k] / N;
        }
        ck_assert_int_eq(stn_encode_delta(&encoding, delta, &info, seed, out, &result, &err), STN_OK);
        for (size_t k = 0; k < stn_encode_length(&encoding); k++) {
            sum[k] += out[k];
        }
    }
}

static void setup(void)
{
    spec = (struct stn_task_spec){
        .name = "t", .outer = {.kind = STN_OUTER_NESTEROV, .rate = 0.5, .momentum = 0.9}, .clip_quantile = 0.9};
    add_up(STN_FACTOR_BOTH, D);
}

static struct stn_merge_input input_of(void)
{
    return (struct stn_merge_input){.spec = &spec, .config = &config, .shape = &shape, .sum = sum, .n_included = N};
}

static void teardown(void)
{
    stn_buf_fini(&state);
    state = (struct stn_buf){0};
}

START_TEST(two_nesterov_steps_are_the_formula)
{
    float x[D] = {0}, m[D] = {0}, expected[D] = {0};
    struct stn_merge_output first = {0}, second = {0};
    const struct stn_merge_input input = input_of();
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &first, &err), STN_OK);
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &second, &err), STN_OK);
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
}
END_TEST

START_TEST(a_plain_average_keeps_no_state)
{
    float x[D] = {0};
    struct stn_merge_output out = {0};
    spec.outer = (struct stn_outer_spec){.kind = STN_OUTER_AVG, .rate = 1};
    const struct stn_merge_input input = input_of();
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &out, &err), STN_OK);
    ck_assert_uint_eq(state.size, 0);
    for (int k = 0; k < D; k++) {
        ck_assert_float_eq_tol(x[k], mean[k], 1e-3f);
    }
}
END_TEST

START_TEST(a_sum_that_counts_another_number_is_refused_and_changes_nothing)
{
    float x[D] = {1, 2, 3};
    struct stn_merge_output out = {0};
    struct stn_merge_input input = input_of();
    input.n_included--;
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &out, &err), STN_CORRUPT);
    ck_assert_float_eq(x[1], 2);
}
END_TEST

START_TEST(a_state_of_another_task_is_refused)
{
    float x[D] = {0};
    struct stn_merge_output out = {0};
    const struct stn_merge_input input = input_of();
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &out, &err), STN_OK);
    const float before = x[1];
    state.size--;
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &out, &err), STN_CORRUPT);
    state.size++;
    spec.outer.kind = STN_OUTER_MOMENTUM;
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &out, &err), STN_CORRUPT);
    ck_assert_float_eq(x[1], before);
}
END_TEST

START_TEST(a_round_of_one_factor_moves_that_factor_alone_with_its_own_momentum)
{
    float x[D] = {0}, m[D] = {0}, expected[D] = {0};
    struct stn_merge_output out = {0};
    for (int round = 0; round < 4; round++) { /* B, A, B, A */
        size_t first = round % 2 == 0 ? D_A : 0, end = round % 2 == 0 ? D : D_A;
        add_up(round % 2 == 0 ? STN_FACTOR_B : STN_FACTOR_A, end - first);
        const struct stn_merge_input input = input_of();
        ck_assert_msg(stn_merge_apply(&input, x, &state, &out, &err) == STN_OK, "%s", err.text);
        for (size_t k = first; k < end; k++) {
            m[k] = 0.9f * m[k] + mean[k - first];
            expected[k] += 0.5f * (mean[k - first] + 0.9f * m[k]);
        }
        for (int k = 0; k < D; k++) {
            ck_assert_float_eq_tol(x[k], expected[k], 2e-3f);
        }
    }
}
END_TEST

/* Members 0 to 2 train all four ranks, 3 and 4 the first two. */
START_TEST(a_slot_is_the_mean_of_the_tiers_that_trained_it)
{
    static uint32_t out[16384];
    float x[D] = {0};
    double want[D] = {0}, weights[2] = {0};
    struct stn_merge_output merged = {0};
    spec.outer = (struct stn_outer_spec){.kind = STN_OUTER_AVG, .rate = 1};
    config.n_halvings = 1;
    config.weight_max = 100;
    memset(sum, 0, sizeof sum);
    ck_assert_int_eq(stn_round_encoding(&config, &encoding, &err), STN_OK);
    for (uint32_t i = 0; i < N; i++) {
        float delta[D];
        uint8_t seed[32] = {(uint8_t)i};
        struct stn_encode_result result;
        const struct stn_encode_info info = {.n_samples = 10 + 10 * i, .n_tokens = 1, .tier = i >= 3};
        for (size_t k = 0; k < D; k++) {
            size_t slot = k < D_A ? k / IN : (k - D_A) % RANK;
            delta[k] = i >= 3 && slot >= 2 ? 0 : (float)(1 + i) * 0.1f + (float)(k % 9) * 0.01f;
            want[k] += (double)delta[k] * (double)info.n_samples;
        }
        weights[i >= 3] += (double)info.n_samples;
        ck_assert_int_eq(stn_encode_delta(&encoding, delta, &info, seed, out, &result, &err), STN_OK);
        for (size_t k = 0; k < stn_encode_length(&encoding); k++) {
            sum[k] += out[k];
        }
    }
    struct stn_merge_input input = input_of();
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &merged, &err), STN_OK);
    for (size_t k = 0; k < D; k++) {
        size_t slot = k < D_A ? k / IN : (k - D_A) % RANK;
        ck_assert_double_eq_tol((double)x[k], want[k] / (slot < 2 ? weights[0] + weights[1] : weights[0]), 2e-3);
    }
    input.tier = 1; /* too few members are left of tier 0 */
    memset(x, 0, sizeof x);
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &merged, &err), STN_OK);
    for (size_t k = 0; k < D; k++) {
        size_t slot = k < D_A ? k / IN : (k - D_A) % RANK;
        ck_assert_double_eq_tol((double)x[k], slot < 2 ? want[k] / (weights[0] + weights[1]) : 0, 2e-3);
    }
}
END_TEST

START_TEST(a_round_of_another_number_of_values_than_its_factor_has_is_refused)
{
    float x[D] = {0};
    struct stn_merge_output out = {0};
    add_up(STN_FACTOR_A, D_A + 1);
    const struct stn_merge_input input = input_of();
    ck_assert_int_eq(stn_merge_apply(&input, x, &state, &out, &err), STN_CORRUPT);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("merge");
    TCase *t = tcase_create("merge");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, two_nesterov_steps_are_the_formula);
    tcase_add_test(t, a_plain_average_keeps_no_state);
    tcase_add_test(t, a_sum_that_counts_another_number_is_refused_and_changes_nothing);
    tcase_add_test(t, a_state_of_another_task_is_refused);
    tcase_add_test(t, a_round_of_one_factor_moves_that_factor_alone_with_its_own_momentum);
    tcase_add_test(t, a_slot_is_the_mean_of_the_tiers_that_trained_it);
    tcase_add_test(t, a_round_of_another_number_of_values_than_its_factor_has_is_refused);
    suite_add_tcase(s, t);
    return s;
}
