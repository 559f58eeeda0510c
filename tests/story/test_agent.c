#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "tests/story/tell_client.h"

START_TEST(a_device_trains_first_and_joins_with_its_delta_in_hand)
{
    start(0);
    conditions(0, true);
    consents(0, 1);
    hears(10, lease(1, 0));
    fetched(20, 'b', STN_OK);
    fetched(30, 'a', STN_OK);
    trained(100, 1, STN_OK);
    hears(110, config());
    hears(120, ok);
    hears(130, roster(3));
    encoded(140);
    sent(150, STN_OK);
    hears(160, ok);
    hears(170, result(1));
    fetched(180, 'n', STN_OK);
    installed(190);
    hears(200, (struct stn_msg){.type = STN_MSG_COME_BACK, .come_back = {.after_ms = 5000}});
    time_comes();
    expect("[    0] start ->\n"
           "[    0] may work ->\n"
           "[    0] consent -> ask check_in\n"
           "[   10] lease -> save fetching, fetch b, wake\n"
           "[   20] fetched -> fetch a\n"
           "[   30] fetched -> save training, train 1\n"
           "[  100] trained -> save ready, ask join\n"
           "[  110] round_config -> save joined, ask advertise, wake never\n"
           "[  120] ok -> ask poll advertise\n"
           "[  130] roster -> save uploading, encode\n"
           "[  140] encoded -> save uploading, send\n"
           "[  150] sent -> ask put_end\n"
           "[  160] ok -> save uploaded, ask poll upload\n"
           "[  170] result -> save idle, discard 1, fetch n\n"
           "[  180] fetched -> install v1\n"
           "[  190] installed -> save idle, ask check_in\n"
           "[  200] come_back -> save idle, wake\n"
           "[ 5200] time -> ask check_in\n");
}
END_TEST

START_TEST(a_request_that_found_no_reply_is_made_again)
{
    until_joining();
    hears_nothing(110);
    time_comes();
    hears_nothing(150);
    time_comes();
    hears(900, ok); /* no answer to a join */
    expect("[  110] no reply -> wake\n"
           "[  140] time -> ask join, wake\n"
           "[  150] no reply -> wake\n"
           "[  249] time -> ask join, wake\n"
           "[  900] ok -> wake\n");
}
END_TEST

START_TEST(a_newer_version_in_a_lease_is_put_in_place_before_training)
{
    start(0);
    consents(0, 1);
    conditions(0, true);
    stn_buf_clear(&text);
    hears(10, lease(1, 3));
    fetched(20, 'b', STN_OK);
    fetched(30, 'a', STN_OK);
    installed(40);
    expect("[   10] lease -> save fetching, fetch b, wake\n"
           "[   20] fetched -> fetch a\n"
           "[   30] fetched -> install v3\n"
           "[   40] installed -> save fetching, save training, train 1\n");
    ck_assert_uint_eq(disk.installed[0].version, 3);
}
END_TEST

START_TEST(a_device_that_is_in_no_round_puts_a_released_version_in_place)
{
    start(0);
    consents(0, 1);
    conditions(0, true);
    stn_buf_clear(&text);
    struct stn_msg msg = {
        .type = STN_MSG_COME_BACK,
        .come_back = {.after_ms = 5000,
                      .has_release = true,
                      .release = {.task = "t",
                                  .version = 2,
                                  .adapter = {.digest = {.bytes = {'n'}}, .size = 10}}}};
    hears(10, msg);
    fetched(20, 'n', STN_OK);
    installed(30);
    ck_assert_uint_eq(disk.installed[0].version, 2);
    expect("[   10] come_back -> save idle, fetch n\n"
           "[   20] fetched -> install v2\n"
           "[   30] installed -> save idle, wake\n");
}
END_TEST

START_TEST(a_round_that_is_void_before_the_upload_leaves_the_delta_and_after_it_does_not)
{
    until_joined();
    hears(130, voided(STN_AGAIN));
    time_comes();
    hears(300, config());
    hears(310, ok);
    hears(320, roster(3));
    encoded(330);
    sent(340, STN_OK);
    hears(350, ok);
    hears(360, voided(STN_AGAIN));
    time_comes();
    expect("[  130] voided -> save ready, wake\n"
           "[  159] time -> ask join, wake\n"
           "[  300] round_config -> save joined, ask advertise, wake never\n"
           "[  310] ok -> ask poll advertise\n"
           "[  320] roster -> save uploading, encode\n"
           "[  330] encoded -> save uploading, send\n"
           "[  340] sent -> ask put_end\n"
           "[  350] ok -> save uploaded, ask poll upload\n"
           "[  360] voided -> save idle, discard 1, wake\n"
           "[  409] time -> ask check_in\n");
}
END_TEST

START_TEST(a_lease_that_is_late_is_given_up_and_another_asked_for)
{
    until_joining();
    refused(110, STN_LATE);
    time_comes();
    expect("[  110] refused -> save idle, discard 1, wake\n"
           "[  139] time -> ask check_in\n");
}
END_TEST

START_TEST(a_lease_that_expires_is_given_up)
{
    until_training();
    happens(20010, "time", (struct stn_client_event){.type = STN_CLIENT_TIME});
    trained(20020, 1, STN_CANCELLED);
    expect("[20010] time -> cancel, save idle\n"
           "[20020] stopped -> discard 1, ask check_in\n");
}
END_TEST

START_TEST(training_stops_with_the_conditions_and_goes_on_with_them)
{
    until_training();
    conditions(50, false);
    trained(60, 1, STN_CANCELLED);
    conditions(70, true);
    trained(100, 1, STN_OK);
    expect("[   50] may not work -> cancel\n"
           "[   60] stopped ->\n"
           "[   70] may work -> train 1\n"
           "[  100] trained -> save ready, ask join\n");
}
END_TEST

START_TEST(a_cohort_is_left_when_the_device_may_not_work_but_not_past_the_roster)
{
    until_joined();
    conditions(130, false);
    hears(140, ok);
    conditions(150, true);
    hears(160, config());
    hears(170, ok);
    hears(180, roster(3));
    conditions(190, false);
    encoded(200);
    expect("[  130] may not work -> save ready, ask leave, wake\n"
           "[  140] ok -> save ready\n"
           "[  150] may work -> ask join\n"
           "[  160] round_config -> save joined, ask advertise, wake never\n"
           "[  170] ok -> ask poll advertise\n"
           "[  180] roster -> save uploading, encode\n"
           "[  190] may not work ->\n"
           "[  200] encoded -> save uploading, send\n");
}
END_TEST

START_TEST(a_consent_that_is_withdrawn_ends_everything_at_once)
{
    until_training();
    consents(50, 0);
    trained(60, 1, STN_CANCELLED);
    consents(70, 1);
    expect("[   50] no consent -> cancel, save idle, wake never\n"
           "[   60] stopped -> discard 1\n"
           "[   70] consent -> ask check_in\n");
    hears(500, lease(2, 0));
    fetched(510, 'b', STN_OK);
    fetched(520, 'a', STN_OK);
    trained(600, 2, STN_OK);
    hears(610, config());
    hears(620, ok);
    hears(630, roster(3));
    stn_buf_clear(&text);
    consents(640, 0);
    encoded(650);
    hears(660, ok);
    expect("[  640] no consent -> cancel, save idle\n"
           "[  650] encoded -> discard 2, ask leave\n"
           "[  660] ok -> save idle\n");
}
END_TEST

static void floors(uint64_t now_ms, uint32_t n_min, bool allows_plain)
{
    happens(now_ms, allows_plain ? "floors, plain" : "floors",
            (struct stn_client_event){.type = STN_CLIENT_FLOORS,
                                      .floors = {.n_min = n_min, .allows_plain = allows_plain}});
}

START_TEST(what_the_owner_does_not_agree_to_any_more_ends_at_once)
{
    until_training();
    floors(50, 2, true);
    floors(60, 3, true);
    trained(70, 1, STN_CANCELLED);
    ck_assert_uint_eq(last_asked.check_in.n_min_floor, 3);
    floors(80, 2, false);
    ck_assert(last_asked.check_in.secure_only);
    ck_assert_uint_eq(last_asked.check_in.n_min_floor, 2);
    hears(90, lease(2, 0));
    ck_assert_uint_eq(stn_agent_record(agent)->phase, STN_AGENT_IDLE);
    stn_buf_clear(&text);
    until_joining();
    floors(700, 5, true);
    restart(800);
    ck_assert_uint_eq(stn_agent_record(agent)->phase, STN_AGENT_IDLE);
}
END_TEST

START_TEST(a_lease_whose_delta_has_left_is_given_back)
{
    until_training(); /* lease 1: the coordinator was gone before the upload that spent it began */
    stn_buf_clear(&text);
    trained(60, 1, STN_LATE);
    time_comes();
    ck_assert_int_eq(last_asked.type, STN_MSG_CHECK_IN);
    ck_assert_uint_eq(last_asked.check_in.consents[0].spent, 1);
}
END_TEST

START_TEST(a_restart_goes_on_before_the_cohort_and_leaves_it_after)
{
    until_training();
    restart(50);
    fetched(60, 'b', STN_OK);
    fetched(60, 'a', STN_OK);
    trained(100, 1, STN_OK);
    restart(110);
    hears(120, config());
    restart(130);
    restart(140); /* before it could say that it leaves */
    hears(150, ok);
    hears(160, config());
    hears(170, ok);
    hears(180, roster(3));
    restart(190);
    hears(200, ok);
    expect("[   50] start -> wake\n"
           "[   50] consent ->\n"
           "[   50] may work -> fetch b\n"
           "[   60] fetched -> fetch a\n"
           "[   60] fetched -> save training, train 1\n"
           "[  100] trained -> save ready, ask join\n"
           "[  110] start -> wake\n"
           "[  110] consent ->\n"
           "[  110] may work -> ask join\n"
           "[  120] round_config -> save joined, ask advertise, wake never\n"
           "[  130] start -> save ready, wake\n"
           "[  130] consent ->\n"
           "[  130] may work ->\n"
           "[  140] start -> ask leave, wake\n"
           "[  140] consent ->\n"
           "[  140] may work ->\n"
           "[  150] ok -> save ready, ask join\n"
           "[  160] round_config -> save joined, ask advertise, wake never\n"
           "[  170] ok -> ask poll advertise\n"
           "[  180] roster -> save uploading, encode\n"
           "[  190] start -> save idle, discard 1, ask leave\n"
           "[  190] consent ->\n"
           "[  190] may work ->\n"
           "[  200] ok -> save idle, ask check_in\n");
}
END_TEST

START_TEST(an_upload_that_arrives_broken_is_sent_again_and_not_for_ever)
{
    until_uploading();
    sent(150, STN_IO);
    time_comes();
    sent(500, STN_OK);
    refused(510, STN_CORRUPT);
    sent(520, STN_OK);
    refused(530, STN_CORRUPT);
    sent(540, STN_OK);
    refused(550, STN_CORRUPT);
    expect("[  150] sent -> wake\n"
           "[  180] time -> send\n"
           "[  500] sent -> ask put_end\n"
           "[  510] refused -> send\n"
           "[  520] sent -> ask put_end\n"
           "[  530] refused -> send\n"
           "[  540] sent -> ask put_end\n"
           "[  550] refused -> save idle, discard 1, ask leave\n");
}
END_TEST

START_TEST(an_upload_that_is_late_is_given_up)
{
    until_uploading();
    sent(150, STN_OK);
    refused(160, STN_LATE);
    time_comes();
    expect("[  150] sent -> ask put_end\n"
           "[  160] refused -> save idle, discard 1, wake\n"
           "[  189] time -> ask check_in\n");
}
END_TEST

START_TEST(a_result_of_another_round_or_an_older_version_is_no_answer)
{
    until_uploaded();
    hears(200, result(0));
    time_comes();
    struct stn_msg other = result(5);
    other.result.round.bytes[0] = 8;
    hears(900, other);
    expect("[  200] result -> wake\n"
           "[  230] time -> ask poll upload\n"
           "[  900] result -> wake\n");
}
END_TEST

START_TEST(a_roster_below_the_floor_is_left_without_an_upload)
{
    until_joined();
    hears(130, roster(1));
    hears(140, ok);
    expect("[  130] roster -> save idle, discard 1, ask leave\n"
           "[  140] ok -> save idle, wake\n");
}
END_TEST

/* A config that lies is never advertised to. */
START_TEST(no_part_in_a_round_whose_config_does_not_fit)
{
    for (int i = 0; i < 14; i++) {
        struct stn_msg msg = config();
        struct stn_msg_round_config *c = &msg.round_config;
        switch (i) {
        case 0:
            c->model.bytes[0] ^= 1;
            break;
        case 1:
            c->adapter.bytes[0] ^= 1;
            break;
        case 2:
            c->n_min = 1;
            break;
        case 3:
            c->n_max = 1;
            break;
        case 4:
            c->clip_norm = NAN;
            break;
        case 5:
            c->clip_norm = 0;
            break;
        case 6:
            c->bits = 25;
            break;
        case 7:
            c->n_values = (uint64_t)STN_MSG_VALUES + 1;
            break;
        case 8:
            c->task[0] = 'u';
            break;
        case 9:
            c->secure = true;
            break;
        case 10:
            c->factor = STN_FACTOR_A;
            break;
        case 11:
            c->protocol = 2;
            break;
        case 12:
            c->round = (struct stn_round_id){{0}};
            break;
        default:
            break;
        }
        until_joining();
        hears_signed(110, msg, i == 13 ? 0 : 1);
        (void)stn_buf_add_u8(&text, 0);
        ck_assert_msg(strstr((const char *)text.data, "discard 1") != NULL, "%d: %s", i,
                      (const char *)text.data);
        ck_assert_msg(strstr((const char *)text.data, "advertise") == NULL, "%d: %s", i,
                      (const char *)text.data);
        ck_assert_uint_eq(stn_agent_record(agent)->phase, STN_AGENT_IDLE);
        ck_assert_uint_ge(stn_agent_record(agent)->next_check_in_ms, 110 + 5000);
        stn_buf_clear(&text);
        stn_agent_free(agent);
        disk = (struct stn_agent_record){0};
        setup();
    }
}
END_TEST

START_TEST(no_round_whose_versions_or_ranks_are_not_those_of_the_delta)
{
    struct stn_msg msg = config();
    struct stn_msg_round_config *c = &msg.round_config;
    switch (_i) {
    case 0:
        c->n_bases = 0;
        break;
    case 1:
        c->bases[0].discount = 1.5;
        break;
    case 2:
        c->bases[0].adapter.bytes[0] ^= 1;
        break;
    case 3: /* newer than the round */
        c->bases[c->n_bases++] = (struct stn_base){.version = 1, .discount = 1};
        break;
    default:
        c->n_halvings = 1;
    }
    until_joining();
    hears_signed(110, msg, 1);
    (void)stn_buf_add_u8(&text, 0);
    ck_assert_ptr_nonnull(strstr((const char *)text.data, "discard 1"));
    ck_assert_ptr_null(strstr((const char *)text.data, "advertise"));
}
END_TEST

START_TEST(no_lease_that_the_owner_does_not_allow)
{
    for (int i = 0; i < 4; i++) {
        struct stn_msg msg = lease(1, 0);
        switch (i) {
        case 0:
            msg.lease.task[0] = 'u';
            break;
        case 1:
            msg.lease.n_min = 1;
            break;
        case 2:
            msg.lease.train.lr = INFINITY;
            break;
        default:
            msg.lease.adapter.size = UINT64_MAX;
            break;
        }
        start(0);
        consents(0, 1);
        conditions(0, true);
        hears(10, msg);
        ck_assert_uint_eq(stn_agent_record(agent)->phase, STN_AGENT_IDLE);
        ck_assert_uint_ge(stn_agent_record(agent)->next_check_in_ms, 10 + 5000);
        stn_agent_free(agent);
        disk = (struct stn_agent_record){0};
        setup();
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("agent");
    TCase *t = tcase_create("stories");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_device_trains_first_and_joins_with_its_delta_in_hand);
    tcase_add_test(t, a_request_that_found_no_reply_is_made_again);
    tcase_add_test(t, a_newer_version_in_a_lease_is_put_in_place_before_training);
    tcase_add_test(t, a_device_that_is_in_no_round_puts_a_released_version_in_place);
    tcase_add_test(t,
                   a_round_that_is_void_before_the_upload_leaves_the_delta_and_after_it_does_not);
    tcase_add_test(t, a_lease_that_is_late_is_given_up_and_another_asked_for);
    tcase_add_test(t, a_lease_that_expires_is_given_up);
    tcase_add_test(t, training_stops_with_the_conditions_and_goes_on_with_them);
    tcase_add_test(t, a_cohort_is_left_when_the_device_may_not_work_but_not_past_the_roster);
    tcase_add_test(t, a_consent_that_is_withdrawn_ends_everything_at_once);
    tcase_add_test(t, what_the_owner_does_not_agree_to_any_more_ends_at_once);
    tcase_add_test(t, a_lease_whose_delta_has_left_is_given_back);
    tcase_add_test(t, a_restart_goes_on_before_the_cohort_and_leaves_it_after);
    tcase_add_test(t, an_upload_that_arrives_broken_is_sent_again_and_not_for_ever);
    tcase_add_test(t, an_upload_that_is_late_is_given_up);
    tcase_add_test(t, a_result_of_another_round_or_an_older_version_is_no_answer);
    tcase_add_test(t, a_roster_below_the_floor_is_left_without_an_upload);
    tcase_add_test(t, no_part_in_a_round_whose_config_does_not_fit);
    tcase_add_loop_test(t, no_round_whose_versions_or_ranks_are_not_those_of_the_delta, 0, 5);
    tcase_add_test(t, no_lease_that_the_owner_does_not_allow);
    suite_add_tcase(s, t);
    return s;
}
