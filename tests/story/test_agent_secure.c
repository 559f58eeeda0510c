/* An agent in secure rounds. */
#include "tests/lib/run.h"

#include <string.h>

#include "tests/story/tell_agent_secure.h"

START_TEST(a_device_sees_a_secure_round_through)
{
    until(STN_STAGE_UNMASK);
    hears(230, secure_result());
    expect("[    0] start ->\n"
           "[    0] consent ->\n"
           "[    0] may work -> ask check_in\n"
           "[   10] lease -> save fetching, fetch b, wake\n"
           "[   20] fetched -> fetch a\n"
           "[   30] fetched -> save training, train 1\n"
           "[  100] trained -> save ready, ask join\n"
           "[  110] round_config -> save joined, ask advertise, wake\n"
           "[  120] ok -> ask poll advertise\n"
           "[  130] roster -> save joined, ask share\n"
           "[  140] ok -> ask poll share\n"
           "[  150] deliver -> save uploading, encode under 8 masks\n"
           "[  160] encoded -> save uploading, send\n"
           "[  170] sent -> ask put_end\n"
           "[  180] ok -> save uploaded, ask poll upload\n"
           "[  190] survivors -> save uploaded, ask ack\n"
           "[  200] ok -> ask poll ack\n"
           "[  210] acks -> save uploaded, ask unmask\n"
           "[  220] ok -> ask poll unmask\n"
           "[  230] result -> save idle, discard 1, fetch n, wake never\n");
    ck_assert(stn_world.is_clear);
    ck_assert_uint_eq(stn_world.n_clear, N);
    for (int j = 0; j < STN_WORLD_VALUES; j++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < N; i++) {
            sum += stn_world.devices[i].x[j];
        }
        ck_assert_uint_eq(sum, stn_world.sum[j]);
    }
}
END_TEST

/* ---- restarts ---- */

START_TEST(a_restart_past_the_advert_leaves_the_cohort_and_never_comes_back)
{
    enum stn_stage stage = (enum stn_stage)_i;
    until(stage);
    struct stn_secagg_client_record record = disk.secure;
    ck_assert_uint_eq(record.stage, stage);
    ck_assert_mem_eq(&record.cfg, &stn_world.terms.cfg, sizeof record.cfg);
    stn_buf_clear(&text);
    restart(300);
    bool is_spent = stage >= STN_STAGE_UPLOAD;
    ck_assert_uint_eq(disk.phase, is_spent ? STN_AGENT_IDLE : STN_AGENT_READY);
    ck_assert_mem_eq(&disk.secure, &record, sizeof record);
    if (!is_spent) {
        time_comes();
    }
    ck_assert_int_eq(last_asked.type, STN_MSG_LEAVE);
    hears(500, ok);
    ck_assert_int_eq(last_asked.type, is_spent ? STN_MSG_CHECK_IN : STN_MSG_JOIN);
    if (is_spent) {
        return;
    }
    stn_buf_clear(&text);
    hears_config(510, secure_config(), &stn_world.terms.cfg); /* the same round once more */
    time_comes();
    hears(800, ok);
    expect("[  510] round_config -> save ready, wake\n"
           "[  559] time -> ask leave, wake\n"
           "[  800] ok -> save ready, ask join\n");
    struct stn_msg other = secure_config();
    struct stn_digest cfg = {{9}};
    other.round_config.round.bytes[0] ^= 1;
    hears_config(900, other, &cfg);
    expect("[  900] round_config -> save joined, ask advertise, wake\n");
    ck_assert_mem_eq(&disk.secure.cfg, &cfg, sizeof cfg);
}
END_TEST

START_TEST(a_round_that_was_left_is_not_entered_again_after_others)
{
    until(STN_STAGE_ADVERTISE);
    for (uint8_t i = 1; i < STN_AGENT_ROUNDS; i++) {
        struct stn_msg other = secure_config();
        struct stn_digest cfg = {{i}};
        hears(1000 * i, secure_voided(STN_LIMIT));
        time_comes();
        other.round_config.round.bytes[0] ^= i;
        hears_config(1000 * i + 500, other, &cfg);
        ck_assert_int_eq(last_asked.type, STN_MSG_ADVERTISE);
        struct stn_msg end = secure_voided(STN_LIMIT);
        end.voided.round = other.round_config.round;
        hears(1000 * i + 600, end);
        time_comes();
        if (i % 2 == 0) {
            restart(1000 * i + 900);
        }
        ck_assert_int_eq(last_asked.type, STN_MSG_JOIN);
        hears_config(1000 * i + 950, secure_config(), &stn_world.terms.cfg);
        time_comes();
        ck_assert_int_eq(last_asked.type, STN_MSG_LEAVE);
        hears(1000 * i + 999, ok);
        time_comes();
    }
}
END_TEST

START_TEST(what_was_said_is_on_disk_before_it_leaves)
{
    until_config();
    hears_config(110, secure_config(), &stn_world.terms.cfg);
    bool was_saved = false;
    for (size_t i = 0; i < effects.n; i++) {
        was_saved |= effects.items[i].type == STN_CLIENT_SAVE &&
                     effects.items[i].record.secure.stage == STN_STAGE_ADVERTISE;
        ck_assert(effects.items[i].type != STN_CLIENT_ASK || was_saved);
    }
    ck_assert(was_saved);
}
END_TEST

/* ---- the wire ---- */

START_TEST(what_found_no_reply_is_said_again_in_the_same_bytes)
{
    until(STN_STAGE_ADVERTISE);
    hears(130, answer(STN_STAGE_ADVERTISE));
    struct stn_sealed first[N];
    uint32_t n = last_asked.share.n_sealed;
    memcpy(first, last_asked.share.sealed, n * sizeof *first);
    stn_buf_clear(&text);
    hears_nothing(140);
    time_comes();
    expect("[  140] no reply -> wake\n"
           "[  170] time -> ask share, wake\n");
    ck_assert_int_eq(last_asked.type, STN_MSG_SHARE);
    ck_assert_uint_eq(last_asked.share.n_sealed, n);
    ck_assert_mem_eq(first, last_asked.share.sealed, n * sizeof *first);
}
END_TEST

START_TEST(a_message_that_is_repeated_or_of_another_stage_is_no_answer)
{
    until(STN_STAGE_ADVERTISE);
    struct stn_msg roster = answer(STN_STAGE_ADVERTISE);
    hears(130, roster);
    says(140, STN_STAGE_SHARE);
    stn_buf_clear(&text);
    hears(150, (struct stn_msg){.type = STN_MSG_ACKS, .acks = {.round = stn_world.terms.round}});
    time_comes();
    hears(900, (struct stn_msg){.type = STN_MSG_WAIT});
    time_comes();
    hears(1950, answer(STN_STAGE_SHARE));
    expect("[  150] acks -> wake\n"
           "[  180] time -> ask poll share, wake\n"
           "[  900] wait -> wake\n"
           "[ 1180] time -> ask poll share, wake\n"
           "[ 1950] deliver -> save uploading, encode under 8 masks\n");
}
END_TEST

START_TEST(a_broken_upload_is_sent_again_and_is_the_same)
{
    until(STN_STAGE_SHARE);
    hears(150, answer(STN_STAGE_SHARE));
    struct stn_digest digest = mask();
    encoded_as(160, &digest);
    stn_buf_clear(&text);
    sent_all(170);
    struct stn_msg first = last_asked;
    refused(180, STN_CORRUPT);
    sent_all(190);
    expect("[  170] sent -> ask put_end\n"
           "[  180] refused -> send\n"
           "[  190] sent -> ask put_end\n");
    ck_assert_mem_eq(&first.put_end, &last_asked.put_end, sizeof first.put_end);
    ck_assert_mem_eq(&first.put_end.digest, &digest, sizeof digest);
}
END_TEST

/* ---- losses ---- */

START_TEST(a_round_that_is_void_spends_what_was_uploaded_and_nothing_else)
{
    until((enum stn_stage)_i);
    hears(300, secure_voided(STN_LIMIT));
    bool is_spent = _i >= STN_STAGE_UPLOAD;
    ck_assert_uint_eq(disk.phase, is_spent ? STN_AGENT_IDLE : STN_AGENT_READY);
    ck_assert(!is_spent == !was_said("discard 1"));
    time_comes();
    ck_assert_int_eq(last_asked.type, is_spent ? STN_MSG_CHECK_IN : STN_MSG_JOIN);
}
END_TEST

START_TEST(a_device_that_is_late_with_its_shares_joins_another_cohort)
{
    until(STN_STAGE_ADVERTISE);
    stn_world_expire(STN_STAGE_ADVERTISE);
    hears(130, answer(STN_STAGE_ADVERTISE));
    stn_buf_clear(&text);
    refused(140, STN_LATE);
    time_comes();
    expect("[  140] refused -> save ready, wake\n"
           "[  169] time -> ask join, wake\n");
}
END_TEST

START_TEST(too_few_who_have_shared_are_left_and_the_delta_waits_for_more)
{
    until(STN_STAGE_SHARE);
    struct stn_msg deliver = answer(STN_STAGE_SHARE);
    deliver.deliver.n_slots = 3;
    stn_buf_clear(&text);
    hears(150, deliver);
    time_comes();
    hears(185, ok);
    expect("[  150] deliver -> save ready, wake\n"
           "[  179] time -> ask leave, wake\n"
           "[  185] ok -> save ready, ask join\n");
}
END_TEST

/* Of eight, with a quorum of five; n_min is five. */
static const bool too_few[N] = {false, true, true, true, true, false, false, false};

/* It is with the next cohort as soon as that opens: losses are nobody's fault. */
static void assert_comes_back_at_once(uint64_t now_ms)
{
    ck_assert_uint_eq(disk.phase, STN_AGENT_IDLE);
    ck_assert_int_eq(last_asked.type, STN_MSG_LEAVE);
    hears(now_ms, ok);
    ck_assert_uint_le(disk.next_check_in_ms, now_ms + agent_config.retry_first_ms);
    time_comes();
    ck_assert_int_eq(last_asked.type, STN_MSG_CHECK_IN);
}

START_TEST(too_few_survivors_are_left_without_staying_away)
{
    until(STN_STAGE_SHARE);
    hears(150, answer(STN_STAGE_SHARE));
    struct stn_digest digest = mask();
    encoded_as(160, &digest);
    sent_all(170);
    SELF->sent = last_asked;
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    hears(180, ok);
    stn_world_stage(STN_STAGE_UPLOAD, too_few);
    hears(190, answer(STN_STAGE_UPLOAD));
    assert_comes_back_at_once(200);
    ck_assert(!was_said("ask ack"));
}
END_TEST

START_TEST(too_few_acknowledgements_are_left_without_staying_away)
{
    until(STN_STAGE_ACK);
    struct stn_msg acks = answer(STN_STAGE_ACK);
    acks.acks.n_slots = acks.acks.n_signatures = 4;
    hears(210, acks);
    assert_comes_back_at_once(220);
    ck_assert(!was_said("ask unmask"));
}
END_TEST

START_TEST(a_device_waits_for_no_coordinator_for_ever)
{
    until(STN_STAGE_SHARE);
    stn_buf_clear(&text);
    hears_nothing(150);
    uint64_t end_ms = 60000 + 20000 + 180000 + 15000 + 20000 + 120000;
    happens(110 + end_ms, "time", (struct stn_client_event){.type = STN_CLIENT_TIME});
    expect("[  150] no reply -> wake\n"
           "[415110] time -> save ready, wake\n");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("agent_secure");
    TCase *t = tcase_create("stories");
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, a_device_sees_a_secure_round_through);
    tcase_add_loop_test(t, a_restart_past_the_advert_leaves_the_cohort_and_never_comes_back,
                        STN_STAGE_ADVERTISE, STN_STAGE_DONE);
    tcase_add_test(t, a_round_that_was_left_is_not_entered_again_after_others);
    tcase_add_test(t, what_was_said_is_on_disk_before_it_leaves);
    tcase_add_test(t, what_found_no_reply_is_said_again_in_the_same_bytes);
    tcase_add_test(t, a_message_that_is_repeated_or_of_another_stage_is_no_answer);
    tcase_add_test(t, a_broken_upload_is_sent_again_and_is_the_same);
    tcase_add_loop_test(t, a_round_that_is_void_spends_what_was_uploaded_and_nothing_else,
                        STN_STAGE_ADVERTISE, STN_STAGE_DONE);
    tcase_add_test(t, a_device_that_is_late_with_its_shares_joins_another_cohort);
    tcase_add_test(t, too_few_who_have_shared_are_left_and_the_delta_waits_for_more);
    tcase_add_test(t, too_few_survivors_are_left_without_staying_away);
    tcase_add_test(t, too_few_acknowledgements_are_left_without_staying_away);
    tcase_add_test(t, a_device_waits_for_no_coordinator_for_ever);
    suite_add_tcase(s, t);
    return s;
}
