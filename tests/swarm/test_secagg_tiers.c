/* Secure rounds of mixed ranks: the ranks that too few members have are in nobody's delta. */
#include "tests/lib/run.h"

#include <string.h>

#include "base/buf.h"
#include "client/core/secagg_client_state.h"
#include "secagg/roster.h"
#include "tests/swarm/secagg_world.h"

static bool there[STN_WORLD_DEVICES];

/* n devices; of each tier so many, in the order in which they are counted. */
static void begin(uint32_t n, uint32_t n_min, uint32_t n_halvings, const uint32_t *n_of_tier)
{
    stn_world_begin_mixed(n, n_min, n_halvings, 7);
    for (uint32_t i = 0, tier = 0, left = n_of_tier[0]; i < n; i++, left--) {
        while (left == 0) {
            left = n_of_tier[++tier];
        }
        stn_world.devices[i].tier = tier;
        there[i] = true;
    }
}

static void run_all(enum stn_stage first)
{
    for (uint32_t stage = first; stage <= STN_STAGE_UNMASK; stage++) {
        stn_world_stage((enum stn_stage)stage, there);
    }
}

START_TEST(the_highest_ranks_are_those_that_enough_members_have)
{
    static const struct {
        uint32_t n_of_tier[3], tier;
    } cases[] = {{{9, 0, 0}, 0}, {{6, 3, 0}, 0}, {{5, 4, 0}, 1} /* not if one is lost */, {{2, 4, 3}, 1}, {{2, 2, 5}, 2},
                 {{0, 0, 9}, 2}};
    begin(9, 5, 2, cases[_i].n_of_tier);
    run_all(STN_STAGE_ADVERTISE);
    ck_assert(stn_world.is_clear);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    for (uint32_t i = 0; i < 9; i++) {
        ck_assert_uint_eq(stn_secagg_client_tier(stn_world.devices[i].client), cases[_i].tier);
    }
    for (int j = 0; j < STN_WORLD_VALUES; j++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < 9; i++) {
            sum += stn_world.devices[i].x[j];
        }
        ck_assert_uint_eq(sum, stn_world.sum[j]);
    }
    stn_world_end();
}
END_TEST

START_TEST(on_a_graph_that_is_not_complete_everybody_sees_enough_of_a_tier)
{
    static const uint32_t n_of_tier[][2] = {{90, 10}, {20, 80}};
    begin(100, 16, 1, n_of_tier[_i]);
    run_all(STN_STAGE_ADVERTISE);
    ck_assert(stn_world.is_clear);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(stn_secagg_client_tier(stn_world.devices[i].client), _i);
    }
    stn_world_end();
}
END_TEST

/* The roster as device 0 would be told it, of another tier, signed by the coordinator. */
static struct stn_msg roster_of_tier(uint32_t tier)
{
    struct stn_msg msg;
    if (stn_secagg_server_view(stn_world.server).stage == STN_STAGE_ADVERTISE) {
        stn_world_stage(STN_STAGE_ADVERTISE, there);
    }
    ck_assert_int_eq(stn_secagg_server_answer(stn_world.server, &stn_world.devices[0].id, STN_STAGE_ADVERTISE, &msg), STN_OK);
    struct stn_digest root;
    memcpy(root.bytes, msg.roster.root, 32);
    const struct stn_derive_round round = {.cfg = stn_world.terms.cfg,
                                           .root = stn_roster_fold(&root, tier),
                                           .n = msg.roster.n_members};
    msg.roster.tier = tier;
    stn_roster_sign(msg.roster.signature, &round, &stn_world.coordinator);
    return msg;
}

START_TEST(ranks_that_few_have_leave_no_device_whatever_the_coordinator_says)
{
    begin(9, 5, 2, (uint32_t[]){2, 2, 5});
    struct stn_msg msg = roster_of_tier((uint32_t)_i);
    stn_world_hear(0, &msg);
    ck_assert(stn_world.devices[0].is_over);
    ck_assert_int_eq(stn_world.devices[0].over, STN_INVALID);
    ck_assert_uint_eq(stn_world.devices[0].n_sent[STN_MSG_SHARE], 0);
    stn_world_end();
}
END_TEST

START_TEST(a_tier_that_was_not_signed_is_no_tier)
{
    begin(9, 5, 2, (uint32_t[]){2, 4, 3});
    struct stn_msg msg = roster_of_tier(1);
    msg.roster.tier = 2;
    stn_world_hear(0, &msg);
    ck_assert_int_eq(stn_world.devices[0].over, STN_DENIED);
    stn_world_end();
}
END_TEST

START_TEST(who_is_told_another_tier_has_other_keys_and_two_tiers_are_evidence)
{
    begin(9, 5, 2, (uint32_t[]){2, 4, 3});
    struct stn_msg msg = roster_of_tier(2);
    stn_world_hear(0, &msg); /* fewer ranks than the others: no harm, and no part in their sum */
    ck_assert(!stn_world.devices[0].is_over);
    ck_assert_int_eq(stn_world_deliver(0), STN_DENIED);
    msg = roster_of_tier(1);
    stn_world_hear(0, &msg);
    ck_assert(stn_world.devices[0].is_over && stn_world.devices[0].has_evidence);
    stn_world_end();
}
END_TEST

START_TEST(a_sum_with_too_few_of_the_highest_ranks_left_is_not_opened)
{
    begin(9, 5, 2, (uint32_t[]){6, 3, 0});
    stn_world_stage(STN_STAGE_ADVERTISE, there);
    stn_world_stage(STN_STAGE_SHARE, there);
    there[0] = there[1] = false; /* four of the first tier are left, and seven in all */
    stn_world_stage(STN_STAGE_UPLOAD, there);
    stn_world_expire(STN_STAGE_UPLOAD);
    stn_world_stage(STN_STAGE_ACK, there);
    stn_world_expire(STN_STAGE_ACK);
    ck_assert(stn_world.is_void && !stn_world.is_clear);
    for (uint32_t i = 2; i < 9; i++) {
        ck_assert_int_eq(stn_world.devices[i].over, STN_LIMIT);
        ck_assert_uint_eq(stn_world.devices[i].n_sent[STN_MSG_UNMASK], 0);
    }
    stn_world_end();
}
END_TEST

START_TEST(an_advert_of_a_version_or_tier_that_the_round_has_not_is_no_advert)
{
    struct stn_advert advert = {.version = {3}, .tier = 1};
    begin(9, 5, 1, (uint32_t[]){9, 0});
    ck_assert(stn_terms_allow(&stn_world.terms, &advert));
    advert.tier = 2;
    ck_assert(!stn_terms_allow(&stn_world.terms, &advert));
    advert.tier = 0;
    advert.version[0] = 2;
    ck_assert(!stn_terms_allow(&stn_world.terms, &advert));
    advert.version[0] = 0;
    ck_assert(stn_terms_allow(&stn_world.terms, &advert));
    stn_world_end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secagg_tiers");
    TCase *tc = tcase_create("secagg_tiers");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, the_highest_ranks_are_those_that_enough_members_have, 0, 6);
    tcase_add_loop_test(tc, on_a_graph_that_is_not_complete_everybody_sees_enough_of_a_tier, 0, 2);
    tcase_add_loop_test(tc, ranks_that_few_have_leave_no_device_whatever_the_coordinator_says, 0, 2);
    tcase_add_test(tc, a_tier_that_was_not_signed_is_no_tier);
    tcase_add_test(tc, who_is_told_another_tier_has_other_keys_and_two_tiers_are_evidence);
    tcase_add_test(tc, a_sum_with_too_few_of_the_highest_ranks_left_is_not_opened);
    tcase_add_test(tc, an_advert_of_a_version_or_tier_that_the_round_has_not_is_no_advert);
    suite_add_tcase(s, tc);
    return s;
}
