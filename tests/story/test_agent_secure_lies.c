/* An agent in secure rounds whose coordinator lies, or whose owner has other plans. */
#include "tests/lib/run.h"

#include <string.h>

#include "secagg/roster.h"
#include "tests/story/tell_agent_secure.h"

/* ---- lies ---- */

/* What no honest coordinator says: half of retry_most_ms at least. */
START_TEST(a_coordinator_that_lies_is_kept_away_from)
{
    for (int i = 0; i < 4; i++) {
        until(i < 2 ? STN_STAGE_UPLOAD : STN_STAGE_ACK);
        struct stn_msg msg = answer(i < 2 ? STN_STAGE_UPLOAD : STN_STAGE_ACK);
        struct stn_signature signatures[N];
        if (i == 0) {
            msg.survivors.n_survivors = N_MIN - 1;
        } else if (i == 1) {
            msg.survivors.signature[0] ^= 1;
        } else {
            memcpy(signatures, msg.acks.signatures, msg.acks.n_signatures * sizeof *signatures);
            msg.acks.signatures = signatures;
            signatures[0].bytes[9] ^= 1;
            signatures[1].bytes[9] ^= 1;
            signatures[2].bytes[9] ^= 1; /* 4 of 7 are true, and 5 are the quorum */
            msg.acks.n_signatures -= i == 3; /* one slot without a signature */
        }
        hears(300, msg);
        ck_assert_int_eq(last_asked.type, STN_MSG_LEAVE);
        hears(310, ok);
        ck_assert_uint_ge(disk.next_check_in_ms, 300 + agent_config.retry_most_ms / 2);
        ck_assert_uint_le(disk.next_check_in_ms, 300 + agent_config.retry_most_ms);
        ck_assert(!was_said("unmask"));
        end();
        begin();
    }
}
END_TEST

START_TEST(two_rosters_are_evidence_and_the_coordinator_is_given_up)
{
    until(STN_STAGE_SHARE);
    struct stn_derive_round other = {.cfg = stn_world.terms.cfg, .root = {{1}}, .n = 6};
    struct stn_msg second = {.type = STN_MSG_ROSTER,
                             .roster = {.round = stn_world.terms.round, .n_members = 6, .root = {1}}};
    stn_roster_sign(second.roster.signature, &other, &stn_world.coordinator);
    stn_buf_clear(&text);
    hears(150, second);
    hears(160, ok);
    ck_assert_uint_ge(disk.next_check_in_ms, 150 + agent_config.retry_most_ms / 2);
    expect("[  150] roster -> evidence of two rosters, save idle, discard 1, ask leave, wake never\n"
           "[  160] ok -> save idle, wake\n");
}
END_TEST

START_TEST(two_sets_of_survivors_are_evidence_and_open_nothing)
{
    until(STN_STAGE_ACK);
    struct stn_msg second = {.type = STN_MSG_SURVIVORS,
                             .survivors = {.round = stn_world.terms.round, .n_survivors = 6}};
    struct stn_derive_round round = {.cfg = stn_world.terms.cfg, .root = disk.secure.root, .n = N};
    struct stn_roster_survivors said = {.n = 6};
    stn_roster_survivors_sign(second.survivors.signature, STN_ROSTER_SURVIVORS, &round, &said,
                              &stn_world.coordinator);
    stn_buf_clear(&text);
    hears(210, second);
    hears(220, ok);
    expect("[  210] survivors -> evidence of two sets of survivors, save idle, discard 1, "
           "ask leave, wake never\n"
           "[  220] ok -> save idle, wake\n");
    ck_assert(!was_said("unmask"));
}
END_TEST

START_TEST(a_roster_that_lies_is_answered_with_nothing_but_a_leave)
{
    for (int i = 0; i < 6; i++) {
        until(STN_STAGE_ADVERTISE);
        struct stn_msg roster = answer(STN_STAGE_ADVERTISE);
        struct stn_advert adverts[N];
        memcpy(adverts, roster.roster.adverts, roster.roster.n_adverts * sizeof *adverts);
        roster.roster.adverts = adverts;
        switch (i) {
        case 0:
            roster.roster.signature[5] ^= 1;
            break;
        case 1:
            roster.roster.root[3] ^= 1;
            break;
        case 2:
            adverts[2].mask[0] ^= 1;
            break;
        case 3:
            adverts[1] = adverts[0];
            break;
        case 4:
            roster.roster.index ^= 1;
            break;
        default:
            roster.roster.n_adverts--;
            break;
        }
        hears(130, roster);
        ck_assert_msg(!was_said("share") && was_said("discard 1"), "%d", i);
        ck_assert_int_eq(last_asked.type, STN_MSG_LEAVE);
        ck_assert_uint_eq(stn_agent_record(agent)->phase, STN_AGENT_IDLE);
        end();
        begin();
    }
}
END_TEST

/* ---- the owner ---- */

START_TEST(no_part_in_a_round_that_asks_for_less_than_the_owner)
{
    for (int i = 0; i < 6; i++) {
        until_config();
        struct stn_msg msg = secure_config();
        struct stn_msg_round_config *c = &msg.round_config;
        c->n_min = i == 0 ? N_MIN - 1 : c->n_min;
        c->gamma = i == 1 ? 0.05 : c->gamma;
        c->sigma = i == 2 ? 40 : c->sigma;
        c->secure = i != 3;
        c->delta = i == 4 ? 0.95 : c->delta; /* no threshold stands for that */
        c->n_max = i == 5 ? c->n_min - 1 : c->n_max;
        hears_config(110, msg, &stn_world.terms.cfg);
        ck_assert_msg(!was_said("advertise") && was_said("discard 1"), "%d", i);
        ck_assert_uint_ge(stn_agent_record(agent)->next_check_in_ms, 110 + 5000);
        end();
        begin();
    }
}
END_TEST

START_TEST(a_task_that_is_not_secure_wants_the_owners_leave)
{
    for (int i = 0; i < 2; i++) {
        struct stn_msg msg = secure_lease();
        msg.lease.secure = false;
        disk = (struct stn_agent_record){0};
        agent_config.allows_plain = i == 1;
        teardown();
        effects = (struct stn_client_effects){0};
        text = (struct stn_buf){0};
        setup();
        start(0);
        consents(0, 1);
        conditions(0, true);
        hears(10, msg);
        ck_assert_uint_eq(stn_agent_record(agent)->phase, i == 1 ? STN_AGENT_FETCHING : STN_AGENT_IDLE);
    }
    fetched(20, 'b', STN_OK);
    fetched(30, 'a', STN_OK);
    trained(100, 1, STN_OK);
    agent_config.allows_plain = false; /* since then the owner has changed its mind */
    stn_buf_clear(&text);
    restart(110);
    ck_assert_uint_eq(stn_agent_record(agent)->phase, STN_AGENT_IDLE);
    ck_assert(!was_said("join") && was_said("discard 1"));
}
END_TEST

START_TEST(a_round_that_is_not_secure_is_none_for_a_secure_lease)
{
    until_config();
    struct stn_msg plain = secure_config();
    plain.round_config.secure = false;
    stn_buf_clear(&text);
    hears_signed(120, plain, 1);
    ck_assert(!was_said("advertise") && !was_said("encode"));
    ck_assert_uint_lt(stn_agent_record(agent)->phase, STN_AGENT_JOINED);
}
END_TEST

START_TEST(a_cohort_is_left_before_the_roster_and_seen_through_after_it)
{
    until(STN_STAGE_ADVERTISE);
    stn_buf_clear(&text);
    conditions(130, false);
    expect("[  130] may not work -> save ready, ask leave, wake\n");
    end();
    begin();
    until(STN_STAGE_SHARE);
    stn_buf_clear(&text);
    conditions(150, false);
    hears(160, answer(STN_STAGE_SHARE));
    expect("[  150] may not work ->\n"
           "[  160] deliver -> save uploading, encode under 8 masks\n");
}
END_TEST

START_TEST(a_consent_that_is_withdrawn_ends_the_round_at_once)
{
    until((enum stn_stage)_i);
    stn_buf_clear(&text);
    consents(300, 0);
    hears(310, ok);
    expect("[  300] no consent -> save idle, discard 1, ask leave, wake never\n"
           "[  310] ok -> save idle\n");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("agent_secure_lies");
    TCase *t = tcase_create("stories");
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, a_coordinator_that_lies_is_kept_away_from);
    tcase_add_test(t, two_rosters_are_evidence_and_the_coordinator_is_given_up);
    tcase_add_test(t, two_sets_of_survivors_are_evidence_and_open_nothing);
    tcase_add_test(t, a_roster_that_lies_is_answered_with_nothing_but_a_leave);
    tcase_add_test(t, no_part_in_a_round_that_asks_for_less_than_the_owner);
    tcase_add_test(t, a_task_that_is_not_secure_wants_the_owners_leave);
    tcase_add_test(t, a_round_that_is_not_secure_is_none_for_a_secure_lease);
    tcase_add_test(t, a_cohort_is_left_before_the_roster_and_seen_through_after_it);
    tcase_add_loop_test(t, a_consent_that_is_withdrawn_ends_the_round_at_once, STN_STAGE_ADVERTISE,
                        STN_STAGE_DONE);
    suite_add_tcase(s, t);
    return s;
}
