#include "tests/lib/run.h"

#include <string.h>

#include "base/rng.h"
#include "crypto/entropy.h"
#include "crypto/shamir.h"

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
}

static void known_secret(uint8_t secret[static 32])
{
    for (int i = 0; i < 32; i++) {
        secret[i] = (uint8_t)i;
    }
}

START_TEST(the_known_shares_are_dealt)
{
    static const struct {
        uint32_t x;
        uint64_t limbs[STN_SHAMIR_LIMBS];
    } known[] = {
        {1,
         {506097522916238453, 63279920802805883, 438278610884541584, 131098832842502776, 10015915}},
        {3,
         {506097522926301835, 63279920822869295, 438278610914605026, 131098832882566248, 60079417}},
        {5,
         {506097522944428593, 63279920858996107, 438278610968731892, 131098832954693168,
          150206391}},
    };
    uint8_t secret[32], back[32];
    known_secret(secret);
    stn_shamir_coefficients coefficients[2];
    for (uint64_t j = 0; j < 2; j++) {
        for (uint64_t i = 0; i < STN_SHAMIR_LIMBS; i++) {
            coefficients[j][i] = (i + 1) * 1000003 + 7919 * j;
        }
    }
    struct stn_shamir_share shares[3];
    uint32_t xs[3];
    for (int s = 0; s < 3; s++) {
        xs[s] = known[s].x;
        stn_shamir_deal(&shares[s], secret, (const stn_shamir_coefficients *)coefficients, 2,
                        xs[s]);
        ck_assert_mem_eq(shares[s].limbs, known[s].limbs, sizeof known[s].limbs);
    }
    uint64_t weights[3];
    stn_shamir_weigh(weights, xs, 3, 0);
    ck_assert_int_eq(stn_shamir_join(back, weights, shares, 3, NULL), STN_OK);
    ck_assert_mem_eq(back, secret, 32);
}
END_TEST

struct dealt {
    uint8_t secret[32];
    stn_shamir_coefficients coefficients[128];
    uint32_t xs[256];
    struct stn_shamir_share shares[256];
};

static void deal(struct dealt *dealt, uint32_t n, uint32_t t, uint8_t seed)
{
    struct stn_stream stream;
    uint8_t key[32] = {seed, 9};
    stn_stream_init(&stream, key, 0);
    stn_stream_bytes(&stream, dealt->secret, 32);
    if (seed % 3 == 0) {
        memset(dealt->secret, seed % 2 == 0 ? 0xff : 0, 32);
    }
    stn_shamir_draw(dealt->coefficients, t - 1, &stream);
    for (uint32_t i = 0; i < n; i++) {
        dealt->xs[i] = i + 1;
        stn_shamir_deal(&dealt->shares[i], dealt->secret,
                        (const stn_shamir_coefficients *)dealt->coefficients, t - 1, i + 1);
    }
    stn_stream_fini(&stream);
}

/* A random order of points and shares alike. */
static void shuffle(struct dealt *dealt, uint32_t n, struct stn_rng *rng)
{
    for (uint32_t i = n - 1; i > 0; i--) {
        uint32_t j = (uint32_t)stn_rng_below(rng, i + 1), x = dealt->xs[i];
        struct stn_shamir_share share = dealt->shares[i];
        dealt->xs[i] = dealt->xs[j], dealt->shares[i] = dealt->shares[j];
        dealt->xs[j] = x, dealt->shares[j] = share;
    }
}

START_TEST(any_t_shares_give_the_secret_back_and_every_other_share)
{
    static struct dealt dealt;
    static const uint32_t sizes[][2] = {{1, 1}, {2, 2}, {4, 3}, {20, 14}, {130, 91}, {182, 127}};
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    for (uint8_t trial = 0; trial < 60; trial++) {
        uint32_t n = sizes[trial % 6][0], t = sizes[trial % 6][1];
        uint64_t weights[128];
        uint8_t back[32];
        deal(&dealt, n, t, trial);
        shuffle(&dealt, n, &rng);
        stn_shamir_weigh(weights, dealt.xs, t, 0);
        ck_assert_int_eq(stn_shamir_join(back, weights, dealt.shares, t, NULL), STN_OK);
        ck_assert_mem_eq(back, dealt.secret, 32);
        for (uint32_t i = t; i < n; i++) {
            struct stn_shamir_share share;
            stn_shamir_weigh(weights, dealt.xs, t, dealt.xs[i]);
            stn_shamir_combine(&share, weights, dealt.shares, t);
            ck_assert_mem_eq(&share, &dealt.shares[i], sizeof share);
        }
    }
}
END_TEST

START_TEST(shares_that_are_of_no_secret_are_told_by_a_long_limb)
{
    static struct dealt dealt;
    uint64_t weights[14];
    uint8_t back[32] = {1}, zero[32] = {0};
    size_t n_told = 0;
    for (uint8_t trial = 0; trial < 100; trial++) {
        deal(&dealt, 20, 14, trial);
        dealt.shares[trial % 14].limbs[4] ^= (uint64_t)1 << 40; /* weights here are at most 3432 */
        stn_shamir_weigh(weights, dealt.xs, 14, 0);
        struct stn_err err;
        n_told += stn_shamir_join(back, weights, dealt.shares, 14, &err) == STN_CORRUPT;
        ck_assert_mem_eq(back, zero, 32);
    }
    ck_assert_uint_eq(n_told, 100);
}
END_TEST

/* With t - 1 shares fixed, each secret has exactly one polynomial: any guess fits equally. Shares
 * at the same points of two very different secrets are told apart by no bit's frequency. */
START_TEST(fewer_than_t_shares_look_uniform_whatever_the_secret)
{
    enum { T = 5, TRIALS = 4000 };
    static uint32_t ones[2][T - 1][61];
    stn_shamir_coefficients coefficients[T - 1];
    for (int which = 0; which < 2; which++) {
        uint8_t secret[32], key[32] = {(uint8_t)(40 + which)};
        memset(secret, which == 0 ? 0 : 0xff, 32);
        struct stn_stream stream;
        stn_stream_init(&stream, key, 0);
        for (int trial = 0; trial < TRIALS; trial++) {
            stn_shamir_draw(coefficients, T - 1, &stream);
            for (uint32_t x = 1; x < T; x++) {
                struct stn_shamir_share share;
                stn_shamir_deal(&share, secret, (const stn_shamir_coefficients *)coefficients,
                                T - 1, x);
                for (int bit = 0; bit < 61; bit++) {
                    ones[which][x - 1][bit] += (uint32_t)(share.limbs[4] >> bit & 1);
                }
            }
        }
    }
    for (int i = 0; i < 2 * (T - 1); i++) { /* a standard deviation is 31.6: five of them */
        for (int bit = 0; bit < 61; bit++) {
            uint32_t n = ones[i / (T - 1)][i % (T - 1)][bit];
            ck_assert_msg(n > TRIALS / 2 - 165 && n < TRIALS / 2 + 165, "bit %d: %u", bit, n);
        }
    }
}
END_TEST

START_TEST(t_minus_1_shares_and_any_other_secret_are_shares_of_that_secret)
{
    static struct dealt dealt;
    deal(&dealt, 8, 6, 1);
    for (uint8_t guess = 0; guess < 50; guess++) {
        uint8_t other[32], back[32];
        memset(other, guess, 32);
        struct stn_shamir_share points[6];
        uint32_t xs[6];
        uint64_t weights[6];
        /* the guess at 0 stands for the sixth share: in the field it is one more point */
        stn_shamir_deal(&points[0], other, NULL, 0, 1);
        memcpy(points + 1, dealt.shares, 5 * sizeof *points);
        xs[0] = 0;
        memcpy(xs + 1, dealt.xs, 5 * sizeof *xs);
        stn_shamir_weigh(weights, xs, 6, 9);
        struct stn_shamir_share sixth;
        stn_shamir_combine(&sixth, weights, points, 6);
        points[0] = sixth;
        xs[0] = 9;
        stn_shamir_weigh(weights, xs, 6, 0);
        ck_assert_int_eq(stn_shamir_join(back, weights, points, 6, NULL), STN_OK);
        ck_assert_mem_eq(back, other, 32);
    }
}
END_TEST

START_TEST(a_share_travels_as_forty_bytes_and_no_number_past_the_field)
{
    static struct dealt dealt;
    uint8_t bytes[STN_SHAMIR_BYTES];
    struct stn_shamir_share back;
    deal(&dealt, 3, 2, 7);
    stn_shamir_put(&dealt.shares[1], bytes);
    ck_assert_int_eq(stn_shamir_get(&back, bytes, NULL), STN_OK);
    ck_assert_mem_eq(&back, &dealt.shares[1], sizeof back);
    for (int limb = 0; limb < STN_SHAMIR_LIMBS; limb++) {
        dealt.shares[2] = dealt.shares[1];
        dealt.shares[2].limbs[limb] = STN_SHAMIR_PRIME;
        stn_shamir_put(&dealt.shares[2], bytes);
        ck_assert_int_eq(stn_shamir_get(&back, bytes, NULL), STN_CORRUPT);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("shamir");
    TCase *tc = tcase_create("shamir");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, the_known_shares_are_dealt);
    tcase_add_test(tc, any_t_shares_give_the_secret_back_and_every_other_share);
    tcase_add_test(tc, shares_that_are_of_no_secret_are_told_by_a_long_limb);
    tcase_add_test(tc, fewer_than_t_shares_look_uniform_whatever_the_secret);
    tcase_add_test(tc, t_minus_1_shares_and_any_other_secret_are_shares_of_that_secret);
    tcase_add_test(tc, a_share_travels_as_forty_bytes_and_no_number_past_the_field);
    suite_add_tcase(s, tc);
    return s;
}
