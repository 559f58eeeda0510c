#include "tests/lib/run.h"

#include "compute/train/schedule.h"

static double factor(enum stn_schedule_shape shape, uint64_t n_steps, double warmup, uint64_t step)
{
    const struct stn_schedule schedule = {shape, n_steps, warmup};
    return stn_schedule_factor(&schedule, step);
}

START_TEST(a_warm_up_rises_in_a_straight_line_and_reaches_the_peak)
{
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_double_eq_tol(factor(STN_SCHEDULE_COSINE, 100, 0.1, i), (double)(i + 1) / 11, 1e-12);
    }
    ck_assert_double_eq(factor(STN_SCHEDULE_COSINE, 100, 0.1, 10), 1);
    ck_assert_double_eq(factor(STN_SCHEDULE_LINEAR, 100, 0.1, 10), 1);
}
END_TEST

START_TEST(a_warm_up_share_that_is_no_whole_step_is_rounded_up)
{
    ck_assert_double_eq(factor(STN_SCHEDULE_CONSTANT, 5, 0.1, 0), 0.5);
    ck_assert_double_eq(factor(STN_SCHEDULE_CONSTANT, 5, 0.1, 1), 1);
}
END_TEST

START_TEST(cosine_and_line_meet_at_the_middle)
{
    ck_assert_double_eq_tol(factor(STN_SCHEDULE_COSINE, 100, 0, 50), 0.5, 1e-12);
    ck_assert_double_eq_tol(factor(STN_SCHEDULE_LINEAR, 100, 0, 50), 0.5, 1e-12);
    ck_assert_double_gt(factor(STN_SCHEDULE_COSINE, 100, 0, 25), factor(STN_SCHEDULE_LINEAR, 100, 0, 25));
    ck_assert_double_lt(factor(STN_SCHEDULE_COSINE, 100, 0, 75), factor(STN_SCHEDULE_LINEAR, 100, 0, 75));
}
END_TEST

START_TEST(no_step_has_rate_zero_and_none_is_above_the_peak)
{
    for (int shape = 0; shape <= STN_SCHEDULE_CONSTANT; shape++) {
        for (uint64_t n = 1; n < 40; n++) {
            for (int warmup = 0; warmup <= 4; warmup++) {
                for (uint64_t i = 0; i < n + 2; i++) {
                    double f = factor((enum stn_schedule_shape)shape, n, warmup * 0.25, i);
                    ck_assert(f > 0 && f <= 1);
                }
            }
        }
    }
}
END_TEST

START_TEST(a_step_past_the_end_is_as_the_last)
{
    double last = factor(STN_SCHEDULE_COSINE, 20, 0.1, 19);
    ck_assert_double_eq(factor(STN_SCHEDULE_COSINE, 20, 0.1, 20), last);
    ck_assert_double_eq(factor(STN_SCHEDULE_COSINE, 20, 0.1, UINT64_MAX), last);
}
END_TEST

START_TEST(after_the_warm_up_the_rate_never_rises)
{
    for (int shape = 0; shape <= STN_SCHEDULE_CONSTANT; shape++) {
        for (uint64_t i = 10; i < 99; i++) {
            ck_assert_double_ge(factor((enum stn_schedule_shape)shape, 100, 0.1, i),
                                factor((enum stn_schedule_shape)shape, 100, 0.1, i + 1));
        }
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("schedule");
    TCase *t = tcase_create("schedule");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_warm_up_rises_in_a_straight_line_and_reaches_the_peak);
    tcase_add_test(t, a_warm_up_share_that_is_no_whole_step_is_rounded_up);
    tcase_add_test(t, cosine_and_line_meet_at_the_middle);
    tcase_add_test(t, no_step_has_rate_zero_and_none_is_above_the_peak);
    tcase_add_test(t, a_step_past_the_end_is_as_the_last);
    tcase_add_test(t, after_the_warm_up_the_rate_never_rises);
    return s;
}
