#include "tests/lib/run.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/rng.h"
#include "crypto/digest.h"
#include "crypto/entropy.h"
#include "crypto/stream.h"
#include "update/encode.h"
#include "update/pack.h"

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
}

static struct stn_encode_config config_of(size_t d, uint32_t n, unsigned bits, uint32_t w_max)
{
    struct stn_encode_config config = {
        .n_values = d, .n_members = n, .n_tiers = 2, .w_max = w_max, .bits = bits, .clip = 1.0};
    struct stn_err err = {0};
    memset(config.seed, 0x5a, sizeof config.seed);
    enum stn_code code = stn_encode_config_for(&config, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
    return config;
}

/* A round in the open: the members' vectors travel packed, and what they should come to is kept in
 * double. */
struct round {
    struct stn_encode_config config;
    struct stn_rng rng;
    uint32_t *vector, *sum;
    uint8_t *packed;
    float *delta, *mean;
    double *want; /* sum(v) */
    double weight, loss;
    uint64_t n_tokens;
    uint32_t n_members, n_clipped;
    size_t n_clamped;
};

static void round_new(struct round *round, struct stn_encode_config config, uint64_t seed)
{
    size_t n = stn_encode_length(&config), d = config.n_values;
    *round = (struct round){.config = config};
    stn_rng_init(&round->rng, seed);
    round->vector = stn_mem_new(n, sizeof *round->vector);
    round->sum = stn_mem_new(n, sizeof *round->sum);
    round->packed = stn_mem_new(n, config.bits / 8);
    round->delta = stn_mem_new(d, sizeof *round->delta);
    round->mean = stn_mem_new(d, sizeof *round->mean);
    round->want = stn_mem_new(d, sizeof *round->want);
    ck_assert(round->vector != NULL && round->sum != NULL && round->packed != NULL);
    ck_assert(round->delta != NULL && round->mean != NULL && round->want != NULL);
}

static void round_free(struct round *round)
{
    stn_mem_free(round->vector);
    stn_mem_free(round->sum);
    stn_mem_free(round->packed);
    stn_mem_free(round->delta);
    stn_mem_free(round->mean);
    stn_mem_free(round->want);
}

/* A delta of that length, in every direction alike. */
static void draw(struct round *round, double length)
{
    double square = 0;
    for (size_t i = 0; i < round->config.n_values; i++) {
        round->delta[i] = (float)stn_rng_normal(&round->rng);
        square += (double)round->delta[i] * round->delta[i];
    }
    for (size_t i = 0; i < round->config.n_values; i++) {
        round->delta[i] = (float)(round->delta[i] * length / sqrt(square));
    }
}

static void contribute(struct round *round, uint64_t n_samples)
{
    const struct stn_encode_config *config = &round->config;
    size_t n = stn_encode_length(config);
    struct stn_encode_info info = {.n_samples = n_samples,
                                   .tier = round->n_members % config->n_tiers,
                                   .loss_sum = (double)stn_rng_below(&round->rng, 1000) / 4,
                                   .n_tokens = stn_rng_below(&round->rng, 1u << 31)};
    struct stn_encode_result result;
    struct stn_digest seed = stn_digest_of(&round->n_members, sizeof round->n_members);
    ck_assert_int_eq(
        stn_encode_delta(config, round->delta, &info, seed.bytes, round->vector, &result, NULL),
        STN_OK);
    stn_pack_put(round->packed, round->vector, n, config->bits);
    stn_pack_add(round->sum, round->packed, n, config->bits);
    double square = 0, w = result.weight / 4096.0;
    for (size_t i = 0; i < config->n_values; i++) {
        square += w * round->delta[i] * w * round->delta[i];
    }
    ck_assert(fabs(result.norm - sqrt(square)) <= 1e-12 * sqrt(square));
    ck_assert(result.clipped == (result.norm > config->clip));
    double factor = result.clipped ? w * config->clip / sqrt(square) : w;
    for (size_t i = 0; i < config->n_values; i++) {
        round->want[i] += factor * round->delta[i];
    }
    round->weight += w;
    round->loss += info.loss_sum;
    round->n_tokens += info.n_tokens;
    round->n_clipped += result.clipped;
    round->n_clamped += result.n_clamped;
    round->n_members++;
}

/* Decodes, and holds the mean against the header's two bounds. */
static void conclude(struct round *round)
{
    const struct stn_encode_config *config = &round->config;
    struct stn_encode_totals totals;
    struct stn_err err = {0};
    ck_assert_msg(stn_encode_decode(config, round->sum, round->n_members, round->mean, &totals,
                                    &err) == STN_OK,
                  "%s", err.text);
    ck_assert_uint_eq(totals.n_members, round->n_members);
    ck_assert_uint_eq(totals.n_clipped, round->n_clipped);
    ck_assert(totals.weight == round->weight && totals.loss_sum == round->loss);
    ck_assert(totals.tier_weight[0] + totals.tier_weight[1] == round->weight);
    ck_assert_uint_eq(totals.n_tokens, round->n_tokens);
    ck_assert_uint_eq(round->n_clamped, 0);
    double square = 0, rounding = 0, n = round->n_members;
    for (size_t i = 0; i < config->n_values; i++) {
        double error = totals.weight * round->mean[i] - round->want[i];
        square += error * error;
        rounding += pow(fabs(round->want[i]) * 0x1p-23, 2);
    }
    double padded = (double)(config->block * config->n_blocks), slack = sqrt(rounding);
    ck_assert(sqrt(square) < n * config->step * sqrt(padded) + slack);
    if (config->n_values >= 1000) { /* enough for the expectation to show, give or take a tenth */
        double rms = sqrt(square / (double)config->n_values);
        double expected = config->step * sqrt(n) / 2 + slack / sqrt((double)config->n_values);
        ck_assert_msg(rms < 1.1 * expected, "%zu values, %g members: rms %g, at most %g",
                      config->n_values, n, rms, expected);
    }
}

START_TEST(the_known_bounds_of_the_document_come_out)
{
    static const struct {
        uint32_t n, bound;
        unsigned bits, chosen;
    } known[] = {
        {100, 83886, 0, 24},    {1000, 8388, 0, 24}, {10000, 838, 0, 24},
        {10001, 214726, 0, 32}, {1000, 32, 16, 16},  {5, 6553, 16, 16},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct stn_encode_config config = config_of(1000, known[i].n, known[i].bits, 0);
        ck_assert_uint_eq(config.bits, known[i].chosen);
        ck_assert_uint_eq(config.bound, known[i].bound);
        ck_assert_uint_lt((uint64_t)config.bound * config.n_members, 1ull << (config.bits - 1));
        uint64_t limb = ((uint64_t)1 << config.limb_bits) - 1;
        ck_assert_uint_lt(limb * config.n_members, 1ull << (config.bits - 1));
        ck_assert_uint_ge((2 * limb + 1) * config.n_members, 1ull << (config.bits - 1));
    }
    struct stn_encode_config config = config_of((size_t)1 << 20, 1000, 0, 0);
    ck_assert(config.block == 8192 && config.n_blocks == 128);
    ck_assert(fabs(config.step - 6.0 / (1024.0 * 8388.0)) < 1e-18);
    /* all in, the wire bytes of a parameter are 3 and next to nothing */
    ck_assert_uint_lt(stn_encode_length(&config) - ((size_t)1 << 20), 20);
}
END_TEST

START_TEST(blocks_are_powers_of_two_that_hold_every_value)
{
    static const size_t d[] = {1, 2, 3, 5, 64, 65, 8191, 8192, 8193, 100003};
    static const size_t block[] = {1, 2, 4, 8, 64, 128, 8192, 8192, 8192, 8192};
    static const size_t n[] = {1, 1, 1, 1, 1, 1, 1, 1, 2, 13};
    for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
        struct stn_encode_config config = config_of(d[i], 10, 0, 0);
        ck_assert_uint_eq(config.block, block[i]);
        ck_assert_uint_eq(config.n_blocks, n[i]);
    }
}
END_TEST

START_TEST(the_sum_of_the_encoded_is_the_weighted_mean_of_the_clipped)
{
    static const size_t d[] = {1, 2, 5, 7, 100, 1000, 8191, 8193, 20000, 70001};
    static const uint32_t n[] = {5, 5, 17, 1000, 100, 60, 33, 8, 7, 5};
    static const unsigned bits[] = {24, 16, 32, 16, 0, 24, 16, 0, 24, 32};
    for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
        struct round round;
        round_new(&round, config_of(d[i], n[i], bits[i], 100), i);
        for (uint32_t k = 0; k < n[i]; k++) {
            /* lengths from far below the clip norm to far above, weights from 0.01 to 1 */
            draw(&round, exp(stn_rng_normal(&round.rng)));
            contribute(&round, 1 + stn_rng_below(&round.rng, 150));
        }
        ck_assert(n[i] < 10 || (round.n_clipped > 0 && round.n_clipped < n[i]));
        conclude(&round);
        round_free(&round);
    }
}
END_TEST

START_TEST(any_survivors_of_any_cohort_give_their_own_mean)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 77);
    for (int run = 0; run < 60; run++) {
        static const unsigned bits[] = {0, 16, 24, 32};
        size_t d = 1 + (size_t)stn_rng_below(&rng, run % 10 == 0 ? 30000 : 300);
        uint32_t n = 5 + (uint32_t)stn_rng_below(&rng, 60);
        struct round round;
        round_new(&round, config_of(d, n, bits[run % 4], run % 3 == 0 ? 0 : 37), (uint64_t)run);
        uint32_t n_left = 1 + (uint32_t)stn_rng_below(&rng, n);
        for (uint32_t k = 0; k < n_left; k++) {
            draw(&round, 3 * stn_rng_unit(&rng) + 1e-3);
            contribute(&round, 1 + stn_rng_below(&rng, 50));
        }
        conclude(&round);
        round_free(&round);
    }
}
END_TEST

START_TEST(a_thousand_members_stay_inside_every_width)
{
    static const unsigned bits[] = {16, 24, 32};
    for (size_t i = 0; i < 3; i++) {
        struct round round;
        round_new(&round, config_of(1100, 1000, bits[i], 0), i);
        draw(&round, 5.0); /* all the same, all clipped: the sum is as large as sums get */
        for (uint32_t k = 0; k < 1000; k++) {
            contribute(&round, 1);
        }
        ck_assert_uint_eq(round.n_clipped, 1000);
        conclude(&round);
        round_free(&round);
    }
}
END_TEST

START_TEST(the_largest_and_smallest_sums_do_not_wrap)
{
    static const unsigned bits[] = {16, 24, 32};
    static const uint32_t n[] = {5, 999, 1000};
    for (size_t i = 0; i < 9; i++) {
        struct round round;
        round_new(&round, config_of(1, n[i % 3], bits[i / 3], 0), i);
        const struct stn_encode_config *config = &round.config;
        for (uint32_t k = 0; k < n[i % 3]; k++) {
            contribute(&round, 1);
        }
        struct stn_encode_totals totals;
        for (int sign = -1; sign <= 1; sign += 2) {
            int64_t edge = sign * (int64_t)config->bound * config->n_members;
            float other = round.mean[0];
            round.sum[0] = (uint32_t)(uint64_t)edge;
            ck_assert_int_eq(
                stn_encode_decode(config, round.sum, round.n_members, round.mean, &totals, NULL),
                STN_OK);
            double want = (double)config->bound * config->step;
            ck_assert(fabs(fabs(round.mean[0]) - want) < 1e-6 * want);
            ck_assert(sign < 0 || other == -round.mean[0]);
            round.sum[0] &= (uint32_t)(((uint64_t)1 << config->bits) - 1); /* only b bits count */
            float full = round.mean[0];
            ck_assert_int_eq(
                stn_encode_decode(config, round.sum, round.n_members, round.mean, &totals, NULL),
                STN_OK);
            ck_assert(round.mean[0] == full);
        }
        round_free(&round);
    }
}
END_TEST

START_TEST(values_beyond_the_range_are_clamped_and_counted)
{
    struct round round;
    size_t d = (size_t)1 << 19;
    round_new(&round, config_of(d, 100, 0, 0), 1);
    round.delta[12345] =
        40.0f; /* the whole length in one value: its block is beyond 6 deviations */
    struct stn_encode_info info = {.n_samples = 1};
    struct stn_encode_result result;
    ck_assert_int_eq(stn_encode_delta(&round.config, round.delta, &info, (const uint8_t[32]){1},
                                      round.vector, &result, NULL),
                     STN_OK);
    ck_assert(result.clipped && result.norm == 40.0);
    ck_assert_uint_eq(result.n_clamped, STN_ENCODE_BLOCK);
    size_t n_edge = 0, n_other = 0;
    for (size_t i = 0; i < d; i++) {
        int32_t q = (int32_t)round.vector[i];
        n_edge += (uint32_t)(q < 0 ? -q : q) == round.config.bound;
        n_other += q != 0 && (uint32_t)(q < 0 ? -q : q) != round.config.bound;
    }
    ck_assert_uint_eq(n_edge, STN_ENCODE_BLOCK);
    ck_assert_uint_eq(n_other, 0); /* a zero stays a zero whatever the coin says */
    round_free(&round);
}
END_TEST

START_TEST(a_value_at_the_very_edge_is_not_clamped)
{
    struct round round;
    size_t d = 36 * STN_ENCODE_BLOCK; /* z^2 blocks: all the length in one value is y = +-s L */
    round_new(&round, config_of(d, 100, 0, 0), 1);
    round.delta[777] = 1.0f;
    struct stn_encode_info info = {.n_samples = 1};
    struct stn_encode_result result;
    ck_assert_int_eq(stn_encode_delta(&round.config, round.delta, &info, (const uint8_t[32]){1},
                                      round.vector, &result, NULL),
                     STN_OK);
    ck_assert(!result.clipped && result.n_clamped == 0);
    size_t n_edge = 0;
    for (size_t i = 0; i < d; i++) {
        int32_t q = (int32_t)round.vector[i];
        n_edge += (uint32_t)(q < 0 ? -q : q) >= round.config.bound - 1;
    }
    ck_assert_uint_eq(n_edge, STN_ENCODE_BLOCK);
    round_free(&round);
}
END_TEST

START_TEST(a_discount_is_of_the_weight_and_leaves_a_little)
{
    struct round round;
    round_new(&round, config_of(500, 50, 0, 10), 3);
    static const double cases[][3] = {{0, 5, 2048}, {1, 5, 2048}, {0.5, 5, 1024}, {0.25, 20, 1024}, {1e-9, 20, 1}};
    for (size_t i = 0; i < 5; i++) {
        struct stn_encode_info info = {.n_samples = (uint64_t)cases[i][1], .discount = cases[i][0]};
        struct stn_encode_result result;
        ck_assert_int_eq(STN_OK, stn_encode_delta(&round.config, round.delta, &info, (const uint8_t[32]){0}, round.vector,
                                                  &result, NULL));
        ck_assert_double_eq(result.weight, cases[i][2]);
    }
    round_free(&round);
}
END_TEST

START_TEST(equal_seeds_give_equal_bits_and_others_do_not)
{
    struct round round;
    round_new(&round, config_of(20000, 50, 0, 10), 3);
    draw(&round, 0.7);
    struct stn_encode_info info = {.n_samples = 3, .tier = 1, .loss_sum = 12.5, .n_tokens = 99};
    struct stn_encode_result result;
    size_t n = stn_encode_length(&round.config);
    struct stn_digest first[4];
    for (uint8_t run = 0; run < 4; run++) {
        struct stn_encode_config config = round.config;
        config.seed[0] ^= run == 3;
        memset(round.vector, run, n * 4); /* what was there before must not matter */
        ck_assert_int_eq(stn_encode_delta(&config, round.delta, &info,
                                          (const uint8_t[32]){run == 2}, round.vector, &result,
                                          NULL),
                         STN_OK);
        first[run] = stn_digest_of(round.vector, n * 4);
    }
    ck_assert(stn_digest_equal(&first[0], &first[1]));
    ck_assert(!stn_digest_equal(&first[0], &first[2]) && !stn_digest_equal(&first[0], &first[3]));
    ck_assert_uint_eq(result.weight, 1229); /* 0.3 in steps of 2^-12 */
    round_free(&round);
}
END_TEST

START_TEST(a_sum_of_another_number_or_with_impossible_extras_is_refused)
{
    struct round round;
    round_new(&round, config_of(10, 8, 16, 4), 4);
    draw(&round, 0.5);
    for (int i = 0; i < 8; i++) {
        contribute(&round, 2);
    }
    struct stn_encode_totals totals = {.n_members = 99};
    struct stn_err err = {0};
    round.mean[0] = 123.0f;
    for (uint32_t n = 1; n < 8; n++) {
        ck_assert_int_eq(stn_encode_decode(&round.config, round.sum, n, round.mean, &totals, &err),
                         STN_CORRUPT);
    }
    size_t length = stn_encode_length(&round.config);
    for (size_t i = round.config.block; i < length; i++) {
        uint32_t kept = round.sum[i];
        round.sum[i] = 0x8000; /* a limb below zero: no members put it there */
        ck_assert_int_eq(stn_encode_decode(&round.config, round.sum, 8, round.mean, &totals, &err),
                         STN_CORRUPT);
        round.sum[i] = kept;
    }
    ck_assert(round.mean[0] == 123.0f && totals.n_members == 99);
    stn_mem_fail_from(1);
    ck_assert_int_eq(stn_encode_decode(&round.config, round.sum, 8, round.mean, &totals, &err),
                     STN_MEMORY);
    stn_mem_fail_from(0);
    ck_assert(round.mean[0] == 123.0f && totals.n_members == 99);
    conclude(&round);
    round_free(&round);
}
END_TEST

START_TEST(deltas_and_facts_that_make_no_sense_are_refused)
{
    struct round round;
    round_new(&round, config_of(4, 8, 0, 4), 5);
    struct stn_encode_result result = {.weight = 7};
    const uint8_t seed[32] = {0};
    static const struct {
        struct stn_encode_info info;
        enum stn_code code;
    } cases[] = {
        {{.n_samples = 0}, STN_INVALID},
        {{.n_samples = 1, .tier = 2}, STN_INVALID},
        {{.n_samples = 1, .discount = 1.5}, STN_INVALID},
        {{.n_samples = 1, .discount = NAN}, STN_INVALID},
        {{.n_samples = 1, .loss_sum = -1}, STN_INVALID},
        {{.n_samples = 1, .loss_sum = NAN}, STN_INVALID},
        {{.n_samples = 1, .loss_sum = INFINITY}, STN_LIMIT},
        {{.n_samples = 1, .loss_sum = 0x1p35}, STN_LIMIT},
        {{.n_samples = 1, .n_tokens = (uint64_t)1 << 32}, STN_LIMIT},
        {{.n_samples = UINT64_MAX, .loss_sum = 0x1p35 - 1, .n_tokens = UINT32_MAX}, STN_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(stn_encode_delta(&round.config, round.delta, &cases[i].info, seed,
                                          round.vector, &result, NULL),
                         cases[i].code);
        ck_assert(cases[i].code == STN_OK || result.weight == 7);
    }
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        round.delta[i] = bad[i];
        ck_assert_int_eq(stn_encode_delta(&round.config, round.delta, &cases[9].info, seed,
                                          round.vector, &result, NULL),
                         STN_INVALID);
        round.delta[i] = 0;
    }
    stn_mem_fail_from(1);
    ck_assert_int_eq(stn_encode_delta(&round.config, round.delta, &cases[9].info, seed,
                                      round.vector, &result, NULL),
                     STN_MEMORY);
    stn_mem_fail_from(0);
    round_free(&round);
}
END_TEST

START_TEST(rounds_that_make_no_sense_are_refused)
{
    static const struct {
        size_t d;
        uint32_t n, n_tiers;
        unsigned bits;
        double clip;
        enum stn_code code;
    } cases[] = {
        {0, 5, 1, 0, 1, STN_INVALID},
        {5, 0, 1, 0, 1, STN_INVALID},
        {5, 5, 0, 0, 1, STN_INVALID},
        {5, 5, 17, 0, 1, STN_LIMIT},
        {SIZE_MAX, 5, 1, 0, 1, STN_LIMIT},
        {5, STN_ENCODE_MEMBERS + 1, 1, 0, 1, STN_LIMIT},
        {5, 1001, 1, 16, 1, STN_LIMIT},
        {5, 10001, 1, 24, 1, STN_LIMIT},
        {5, 5, 1, 20, 1, STN_INVALID},
        {5, 5, 1, 0, 0, STN_INVALID},
        {5, 5, 1, 0, -1, STN_INVALID},
        {5, 5, 1, 0, NAN, STN_INVALID},
        {5, 5, 1, 0, INFINITY, STN_INVALID},
        {STN_ENCODE_VALUES, STN_ENCODE_MEMBERS, STN_ENCODE_TIERS, 32, 1, STN_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stn_encode_config config = {.n_values = cases[i].d,
                                           .n_members = cases[i].n,
                                           .n_tiers = cases[i].n_tiers,
                                           .bits = cases[i].bits,
                                           .clip = cases[i].clip},
                                 before = config;
        ck_assert_int_eq(stn_encode_config_for(&config, NULL), cases[i].code);
        ck_assert(cases[i].code == STN_OK || memcmp(&config, &before, sizeof config) == 0);
    }
}
END_TEST

START_TEST(weights_are_shares_of_w_max_and_never_nothing)
{
    static const struct {
        uint32_t w_max;
        uint64_t n_samples;
        uint32_t weight;
    } cases[] = {
        {0, 1, 4096},     {0, 1000000, 4096}, {100, 100, 4096},
        {100, 101, 4096}, {100, 50, 2048},    {3, 1, 1365},
        {3, 2, 2731},     {UINT32_MAX, 1, 1}, {UINT32_MAX, UINT32_MAX - 1u, 4096},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct round round;
        round_new(&round, config_of(2, 5, 0, cases[i].w_max), i);
        struct stn_encode_info info = {.n_samples = cases[i].n_samples};
        struct stn_encode_result result;
        ck_assert_int_eq(stn_encode_delta(&round.config, round.delta, &info, (const uint8_t[32]){0},
                                          round.vector, &result, NULL),
                         STN_OK);
        ck_assert_uint_eq(result.weight, cases[i].weight);
        round_free(&round);
    }
}
END_TEST

START_TEST(the_clip_norm_follows_the_quantile)
{
    ck_assert(stn_encode_adapt(2.0, 0.9, 0.9) == 2.0);
    ck_assert(fabs(stn_encode_adapt(2.0, 1.0, 0.5) - 2.0 * exp(-0.1)) < 1e-15);
    ck_assert(fabs(stn_encode_adapt(2.0, 0.0, 0.9) - 2.0 * exp(0.18)) < 1e-15);
    ck_assert(fabs(stn_encode_adapt(1.0, 0.0, 1.0) - exp(0.2)) < 1e-15);
    ck_assert(stn_encode_adapt(STN_ENCODE_CLIP_MIN, 1, 0) == STN_ENCODE_CLIP_MIN);
    ck_assert(stn_encode_adapt(STN_ENCODE_CLIP_MAX, 0, 1) == STN_ENCODE_CLIP_MAX);
    /* norms are uniform in [0, 10]: the 0.9 quantile is 9 */
    double clip = 0.1;
    for (int round = 0; round < 500; round++) {
        clip = stn_encode_adapt(clip, clip < 10 ? clip / 10 : 1, 0.9);
    }
    ck_assert(fabs(clip - 9) < 0.01);
}
END_TEST

START_TEST(the_stream_is_chacha20_and_pieces_of_it_join)
{
    uint8_t zero[32] = {0}, known[64], whole[4096], pieces[4096];
    struct stn_stream stream;
    /* RFC 8439, appendix A.1, test vector 1 */
    ck_assert(stn_hex_get(known, 64,
                          "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                          "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"));
    stn_stream_init(&stream, zero, 0);
    stn_stream_bytes(&stream, whole, sizeof whole);
    ck_assert_mem_eq(whole, known, 64);
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    for (int run = 0; run < 50; run++) {
        stn_stream_init(&stream, zero, 0);
        for (size_t at = 0; at < sizeof pieces;) {
            size_t n = (size_t)stn_rng_below(&rng, run % 2 == 0 ? 10 : 1000);
            n = n < sizeof pieces - at ? n : sizeof pieces - at;
            stn_stream_bytes(&stream, pieces + at, n);
            at += n;
        }
        ck_assert_mem_eq(whole, pieces, sizeof whole);
    }
    stn_stream_init(&stream, zero, 0);
    ck_assert_uint_eq(stn_stream_u32(&stream), 0xade0b876);
    stn_stream_init(&stream, zero, 1);
    ck_assert_uint_ne(stn_stream_u32(&stream), 0xade0b876);
    size_t counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        counts[stn_stream_below(&stream, 7)]++;
    }
    for (size_t i = 0; i < 7; i++) {
        ck_assert(counts[i] > 9500 && counts[i] < 10500);
    }
    ck_assert_uint_eq(stn_stream_below(&stream, 1), 0);
    size_t thirds[3] = {
        0}; /* of 3 2^30 numbers one class would come twice as often as the others */
    for (int i = 0; i < 30000; i++) {
        thirds[stn_stream_below(&stream, 3u << 30) % 3]++;
    }
    for (size_t i = 0; i < 3; i++) {
        ck_assert(thirds[i] > 9500 && thirds[i] < 10500);
    }
    stn_stream_fini(&stream);
    ck_assert(stream.key[0] == 0 && stream.n_ahead == 0);
    stn_stream_fini(NULL);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("encode");
    TCase *t = tcase_create("encode");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, the_known_bounds_of_the_document_come_out);
    tcase_add_test(t, blocks_are_powers_of_two_that_hold_every_value);
    tcase_add_test(t, the_sum_of_the_encoded_is_the_weighted_mean_of_the_clipped);
    tcase_add_test(t, any_survivors_of_any_cohort_give_their_own_mean);
    tcase_add_test(t, a_thousand_members_stay_inside_every_width);
    tcase_add_test(t, the_largest_and_smallest_sums_do_not_wrap);
    tcase_add_test(t, values_beyond_the_range_are_clamped_and_counted);
    tcase_add_test(t, a_value_at_the_very_edge_is_not_clamped);
    tcase_add_test(t, a_discount_is_of_the_weight_and_leaves_a_little);
    tcase_add_test(t, equal_seeds_give_equal_bits_and_others_do_not);
    tcase_add_test(t, a_sum_of_another_number_or_with_impossible_extras_is_refused);
    tcase_add_test(t, deltas_and_facts_that_make_no_sense_are_refused);
    tcase_add_test(t, rounds_that_make_no_sense_are_refused);
    tcase_add_test(t, weights_are_shares_of_w_max_and_never_nothing);
    tcase_add_test(t, the_clip_norm_follows_the_quantile);
    tcase_add_test(t, the_stream_is_chacha20_and_pieces_of_it_join);
    suite_add_tcase(s, t);
    return s;
}
