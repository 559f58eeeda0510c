#include "tests/lib/run.h"

#include <math.h>

#include "base/err.h"
#include "secagg/bound.h"

struct known {
    uint32_t n;
    double gamma, delta;
    uint32_t k, t;
};

static void check(const struct known *known, size_t n_known, bool lies)
{
    for (size_t i = 0; i < n_known; i++) {
        struct stn_bound_params params = {known[i].gamma, known[i].delta, .eta = 20, .sigma = 40};
        struct stn_bound bound;
        ck_assert_int_eq(stn_bound_find(known[i].n, &params, lies, &bound, NULL), STN_OK);
        ck_assert_uint_eq(bound.k, known[i].k);
        ck_assert_uint_eq(bound.t, known[i].t);
    }
}

START_TEST(the_known_graphs_against_an_honest_server_are_found)
{
    static const struct known known[] = {
        {1000, .33, .33, 286, 150}, {10000, .33, .33, 422, 221}, {1000, .05, .33, 72, 24},
        {1000, .33, .05, 78, 60},   {1000, .05, .05, 30, 17},    {100000, .05, .05, 36, 21},
    };
    check(known, sizeof known / sizeof *known, false);
}
END_TEST

START_TEST(the_known_graphs_against_a_lying_server_are_found)
{
    static const struct known known[] = {
        {100, .3, .3, 92, 62},       {1000, .05, .33, 398, 223}, {1000, .33, .05, 132, 109},
        {10000, .33, .05, 178, 146}, {100, .05, .05, 16, 11},    {1000, .05, .05, 52, 37},
        {100000, .05, .05, 68, 48},
    };
    check(known, sizeof known / sizeof *known, true);
}
END_TEST

START_TEST(the_defaults_give_the_known_graphs)
{
    static const uint32_t known[][4] = { /* most by exact fractions */
        {64, 20, 14, 6},       {100, 32, 22, 10},     {200, 60, 41, 19},      {500, 104, 73, 31}, {1000, 130, 91, 39},
        {2000, 146, 102, 44}, {10000, 166, 116, 50}, {100000, 182, 127, 55}, {5, 4, 3, 0},       {8, 7, 5, 0},
        {10, 9, 6, 1},        {16, 15, 9, 1},        {32, 31, 18, 3},
    };
    struct stn_bound_params params = STN_BOUND_DEFAULTS;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct stn_bound bound;
        ck_assert_int_eq(stn_bound_for(known[i][0], &params, &bound, NULL), STN_OK);
        ck_assert_uint_eq(bound.k, known[i][1]);
        ck_assert_uint_eq(bound.t, known[i][2]);
        ck_assert_uint_eq(bound.most, known[i][3]);
    }
}
END_TEST

static double log_choose(uint32_t n, uint32_t k)
{
    return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
}

/* t1 = min{x : Pr[Hyp(n, A, k) > x] <= 2^-(sigma + 1) / n}, summed from the far end. */
static uint32_t most_adverse(uint32_t n, uint32_t a, uint32_t k, double sigma)
{
    uint32_t x = a < k ? a : k;
    for (double tail = 0; x > 0; x--) {
        tail += exp(log_choose(a, x) + log_choose(n - a, k - x) - log_choose(n, k));
        if (tail > exp2(-(sigma + 1)) / n) {
            break;
        }
    }
    return x;
}

/* The adversary's may stand in both: of the complete graph A, of another t1 of a member's neighbours. */
START_TEST(no_two_quorums_share_but_adversaries_for_any_size)
{
    struct stn_bound_params params = STN_BOUND_DEFAULTS;
    for (uint32_t n = 5; n < 700; n++) {
        struct stn_bound bound;
        ck_assert_int_eq(stn_bound_for(n, &params, &bound, NULL), STN_OK);
        ck_assert_uint_lt(bound.k, n);
        ck_assert_uint_le(bound.t, bound.k);
        uint32_t a = n / 10, t1 = n < STN_BOUND_COMPLETE ? a : most_adverse(n, a, bound.k, params.sigma);
        ck_assert_uint_le(bound.most, t1);
        ck_assert_uint_gt(2 * bound.t, bound.k + t1);
        if (n < STN_BOUND_COMPLETE) {
            ck_assert_uint_gt(2 * bound.t, n + n / 10 - 1); /* honest ones would be in two */
        }
    }
}
END_TEST

START_TEST(parameters_that_make_no_sense_are_refused)
{
    struct stn_bound bound;
    struct stn_bound_params params = STN_BOUND_DEFAULTS;
    ck_assert_int_eq(stn_bound_for(4, &params, &bound, NULL), STN_LIMIT);
    ck_assert_int_eq(stn_bound_for(STN_BOUND_MEMBERS + 1, &params, &bound, NULL), STN_LIMIT);
    params.gamma = -0.1;
    ck_assert_int_eq(stn_bound_for(100, &params, &bound, NULL), STN_INVALID);
    params.gamma = 0.0 / 0.0;
    ck_assert_int_eq(stn_bound_for(100, &params, &bound, NULL), STN_INVALID);
    params = STN_BOUND_DEFAULTS;
    params.sigma = 0;
    ck_assert_int_eq(stn_bound_for(100, &params, &bound, NULL), STN_INVALID);
    params = (struct stn_bound_params){.gamma = 0.5, .delta = 0.5, .eta = 30, .sigma = 64};
    ck_assert_int_eq(stn_bound_for(10000, &params, &bound, NULL), STN_LIMIT);
    ck_assert_int_eq(stn_bound_for(8, &params, &bound, NULL), STN_OK);
    ck_assert_uint_eq(bound.t, 7);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("bound");
    TCase *tc = tcase_create("bound");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_known_graphs_against_an_honest_server_are_found);
    tcase_add_test(tc, the_known_graphs_against_a_lying_server_are_found);
    tcase_add_test(tc, the_defaults_give_the_known_graphs);
    tcase_add_test(tc, no_two_quorums_share_but_adversaries_for_any_size);
    tcase_add_test(tc, parameters_that_make_no_sense_are_refused);
    suite_add_tcase(s, tc);
    return s;
}
