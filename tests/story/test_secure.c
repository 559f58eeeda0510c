#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "client/simulate/disk.h"
#include "tests/story/tell_secure.h"

/* Of seven devices with n_min 5: t is 4, so that one may be lost at any stage. */
static const uint8_t nobody[] = {0}, six[] = {6, 0}, one[] = {1, 0}, two[] = {2, 0},
                     many[] = {5, 6, 7, 0}, few[] = {4, 5, 6, 7, 0};

START_TEST(a_secure_round_goes_from_roster_to_result_without_a_clock)
{
    begin(secure_task(5));
    all_do(100, STN_STAGE_ADVERTISE, 4, nobody);
    hears(110, 1, STN_STAGE_ADVERTISE);
    enters(120, 5);
    says(130, 1);
    hears(135, 1, STN_STAGE_SHARE);
    all_do(140, STN_STAGE_SHARE, 4, one);
    hears(150, 5, STN_STAGE_ADVERTISE);
    says(160, 5);
    uploads(200, 1);
    hears(210, 1, STN_STAGE_UPLOAD);
    all_do(220, STN_STAGE_UPLOAD, 4, one);
    hears(230, 5, STN_STAGE_SHARE);
    uploads(240, 5);
    says(300, 1);
    hears(310, 1, STN_STAGE_ACK);
    all_do(320, STN_STAGE_ACK, 4, one);
    hears(330, 5, STN_STAGE_UPLOAD);
    says(340, 5);
    says(400, 1);
    hears(410, 1, STN_STAGE_UNMASK);
    all_do(420, STN_STAGE_UNMASK, 4, one);
    hears(430, 5, STN_STAGE_ACK);
    says(440, 5);
    unmasked(450);
    assert_sum_is_clear();
    merged(460, STN_OK);
    hears(470, 5, STN_STAGE_UNMASK);
    expect("[  110] 1 poll ->\n"
           "[  120] 5 check_in -> task, lease, 5: lease 5 v0\n"
           "[  120] 5 join -> member joined, 5: round_config\n"
           "[  120] 5 advertise -> advert, member advertised, 5: ok, stage, round uploading, 1: "
           "tell roster, wake 1120\n"
           "[  130] 1 share -> shared, 1: ok\n"
           "[  135] 1 poll ->\n"
           "[  150] 5 poll -> 5: tell roster\n"
           "[  160] 5 share -> shared, 5: ok, stage, 1: tell shares, wake 2160\n"
           "[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  200] 1 put_end -> member advertised, check 1\n"
           "[  200] whole -> counted, member uploaded, add 1, 1: ok\n"
           "[  210] 1 poll ->\n"
           "[  230] 5 poll -> 5: tell shares\n"
           "[  240] 5 put_begin -> member advertised, lease spent, spool 5\n"
           "[  240] 5 put_end -> member advertised, check 5\n"
           "[  240] whole -> counted, member uploaded, add 5, 5: ok, stage, round merging, 1: tell "
           "survivors, wake 1240\n"
           "[  300] 1 ack -> acked, 1: ok\n"
           "[  310] 1 poll ->\n"
           "[  330] 5 poll -> 5: tell survivors\n"
           "[  340] 5 ack -> acked, 5: ok, stage, 1: tell acks, wake 1340\n"
           "[  400] 1 unmask -> opened, 1: ok\n"
           "[  410] 1 poll ->\n"
           "[  430] 5 poll -> 5: tell acks\n"
           "[  440] 5 unmask -> opened, 5: ok, stage, unmask 5 first, wake never\n"
           "[  450] unmasked -> merge 5 from v0\n"
           "[  460] merged -> version 1, task, -lease spent, -lease spent, -lease spent, -lease "
           "spent, -lease spent, round done, 1: result v1 of 2, close, -secrets\n"
           "[  470] 5 poll -> 5: result v1 of 2\n");
}
END_TEST

START_TEST(whoever_is_lost_at_a_stage_is_all_that_is_lost)
{
    for (enum stn_stage stage = STN_STAGE_SHARE; stage <= STN_STAGE_UNMASK; stage++) {
        begin(secure_task(7));
        all_do_from(STN_STAGE_ADVERTISE, (enum stn_stage)(stage - 1), 7, nobody);
        all_do(100 * (uint64_t)stage, stage, 7, six);
        time_comes(last_wake_ms); /* nobody else will come */
        all_do_from((enum stn_stage)(stage + 1), STN_STAGE_UNMASK, 7, six);
        unmasked(5000);
        ck_assert_uint_eq(tell_n_merges, 1);
        ck_assert_uint_eq(tell_devices[6].counts, stage > STN_STAGE_UPLOAD);
        assert_sum_is_clear();
        secure_teardown();
        secure_setup();
    }
}
END_TEST

START_TEST(too_many_lost_void_the_round_and_unspent_deltas_go_into_the_next)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_ADVERTISE, 7, nobody);
    all_do_from(STN_STAGE_SHARE, STN_STAGE_SHARE, 7, many);
    hears(210, 1, STN_STAGE_SHARE);
    time_comes(1100); /* four of seven have shared */
    join(1200, 1, 1);
    expect("[  210] 1 poll ->\n"
           "[ 1100] time -> round void, 1: voided limit, close, -secrets, wake 20100\n"
           "[ 1200] 1 join -> round open, stage, member joined, 1: round_config, wake 2200\n");
}
END_TEST

START_TEST(a_round_is_void_when_fewer_than_a_quorum_acknowledge)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_UPLOAD, 7, nobody);
    all_do(400, STN_STAGE_ACK, 7, few);
    hears(410, 1, STN_STAGE_ACK);
    time_comes(last_wake_ms);
    hears(2000, 2, STN_STAGE_ACK);
    expect("[  410] 1 poll ->\n"
           "[ 1300] time -> round void, 1: voided limit, close, -secrets, wake 20100\n"
           "[ 2000] 2 poll -> 2: voided limit\n");
}
END_TEST

START_TEST(a_round_is_void_when_fewer_than_a_quorum_unmask_and_nothing_is_opened)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_ACK, 7, nobody);
    all_do(500, STN_STAGE_UNMASK, 7, few);
    time_comes(last_wake_ms);
    ck_assert_uint_eq(tell_n_unmasks, 0);
    says(2000, 4);
    expect("[ 1400] time -> round void, close, -secrets, wake 20100\n"
           "[ 2000] 4 ack -> 4: voided limit\n");
}
END_TEST

START_TEST(a_restart_at_any_stage_goes_on_with_the_same_survivors)
{
    for (enum stn_stage stage = STN_STAGE_ADVERTISE; stage <= STN_STAGE_UNMASK; stage++) {
        struct stn_digest survivors;
        static const uint8_t five[] = {5, 0}, but_five[] = {1, 2, 3, 4, 6, 7, 0};
        begin(secure_task(7));
        all_do_from(STN_STAGE_ADVERTISE, (enum stn_stage)(stage - 1), 7, nobody);
        all_do(100 * (uint64_t)stage, stage, 7, five); /* one has not spoken yet */
        survivors = tell_devices[1].survivors;
        restart(100 * (uint64_t)stage + 10);
        all_do(100 * (uint64_t)stage + 20, stage, 7, but_five);
        all_do_from((enum stn_stage)(stage + 1), STN_STAGE_UNMASK, 7, nobody);
        if (stage >= STN_STAGE_ACK) {
            ck_assert(stn_digest_equal(&survivors, &tell_devices[5].survivors));
        }
        ck_assert_uint_eq(tell_n_unmasks, 1);
        unmasked(5000);
        assert_sum_is_clear();
        ck_assert_uint_eq(tell_n_merges, 1);
        ck_assert(tell_devices[5].counts);
        secure_teardown();
        secure_setup();
    }
}
END_TEST

START_TEST(a_coordinator_that_was_away_for_long_gives_the_stage_its_time_again)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_UPLOAD, 7, nobody);
    all_do(400, STN_STAGE_ACK, 7, few);
    restart(90000);
    static const uint8_t others[] = {1, 2, 3, 0};
    all_do(90500, STN_STAGE_ACK, 7, others);
    all_do(90600, STN_STAGE_UNMASK, 7, nobody);
    unmasked(90700);
    assert_sum_is_clear();
    ck_assert_uint_eq(tell_n_merges, 1);
    expect("[90000] restart -> add 1, add 4, add 6, add 7, add 5, add 2, add 3, wake 91000\n"
           "[90700] unmasked -> merge 7 from v0\n");
}
END_TEST

START_TEST(a_restart_under_the_masks_takes_them_off_again_from_the_first)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_UNMASK, 7, nobody);
    restart(600);
    unmasked(700);
    assert_sum_is_clear();
    restart(800); /* and under the merge */
    unmasked(900);
    assert_sum_is_clear();
    merged(1000, STN_OK);
    ck_assert_uint_eq(tell_n_unmasks, 3);
    ck_assert_uint_eq(tell_n_merges, 2);
    restart(1100);
    check_in_from(1200, 1, 5, 0);
    expect("[  600] restart -> add 1, add 4, add 6, add 7, add 5, add 2, add 3, unmask 7 first\n"
           "[  700] unmasked -> merge 7 from v0\n"
           "[  800] restart -> add 1, add 4, add 6, add 7, add 5, add 2, add 3, unmask 7 first\n"
           "[  900] unmasked -> merge 7 from v0\n"
           "[ 1000] merged -> version 1, task, -lease spent, -lease spent, -lease spent, -lease "
           "spent, -lease spent, -lease spent, -lease spent, round done, close, -secrets\n"
           "[ 1100] restart -> close\n"
           "[ 1200] 1 check_in -> task, lease, 1: lease 8 v1, wake 21200\n");
}
END_TEST

/* A round of 7 as far as UNMASK, in which the first of the roster lies about all others; who that is. */
static uint8_t lie_to_the_unmasking(void)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_ACK, 7, nobody);
    uint8_t liar = 1;
    while (tell_devices[liar].index != 0) {
        liar++;
    }
    tell_devices[liar].lies = true;
    all_do(500, STN_STAGE_UNMASK, 7, nobody);
    return liar;
}

START_TEST(a_share_that_is_false_costs_its_holder_every_further_lease)
{
    uint8_t liar = lie_to_the_unmasking();
    unmasked(600);
    assert_sum_is_clear();
    merged(700, STN_OK);
    uint64_t version = 1;
    for (uint8_t d = 1; d <= 7; d++) {
        check_in_from(800, d, 5, 0);
        ck_assert_int_eq(last.type, d == liar ? STN_MSG_REFUSED : STN_MSG_LEASE);
    }
    restart(900);
    check_in_from(1000, liar, 5, version);
    ck_assert_int_eq(last.type, STN_MSG_REFUSED);
    ck_assert_uint_eq(last.refused.code, STN_DENIED);
    struct stn_server_event back = {.type = STN_SERVER_DEVICE_RELEASE, .ticket = 1000, .device = id(liar)};
    stn_buf_clear(&text);
    happens(1100, "back", back);
    happens(1200, "back", back); /* once is enough */
    char back_and_back[128];
    (void)snprintf(back_and_back, sizeof back_and_back,
                   "[ 1100] back -> -quarantine %u, answer ok\n[ 1200] back -> answer not-found\n", liar);
    expect(back_and_back);
    restart(1300);
    check_in_from(1400, liar, 5, 0);
    ck_assert_int_eq(last.type, STN_MSG_LEASE);
}
END_TEST

/* The coordinator ends before anything of that is on disk: what follows from the records follows again. */
START_TEST(a_liar_is_found_again_after_a_restart_under_the_masks)
{
    uint8_t liar = lie_to_the_unmasking();
    uint32_t n_quarantined = 0;
    for (size_t i = disk.records.n; i-- > 0;) {
        struct stn_record record = *(struct stn_record *)disk.records.entries[i].value;
        if (record.type == STN_RECORD_QUARANTINE) {
            stn_disk_forget(&disk, &record);
            n_quarantined++;
        }
    }
    ck_assert_uint_eq(n_quarantined, 1);
    restart(600);
    unmasked(700);
    assert_sum_is_clear();
    merged(800, STN_OK);
    for (uint8_t d = 1; d <= 7; d++) {
        check_in_from(900, d, 5, 0);
        ck_assert_int_eq(last.type, d == liar ? STN_MSG_REFUSED : STN_MSG_LEASE);
    }
}
END_TEST

START_TEST(who_deals_what_it_did_not_commit_to_makes_one_round_void_and_no_other)
{
    begin(secure_task(7));
    tell_devices[3].deals_false = true;
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_UNMASK, 7, nobody);
    ck_assert_uint_eq(tell_n_unmasks, 0);
    for (uint8_t d = 1; d <= 7; d++) {
        check_in_from(20000, d, 5, 0);
        ck_assert_int_eq(last.type == STN_MSG_REFUSED, d == 3);
    }
}
END_TEST

/* Large answers leave one after the other, and the round may end meanwhile. */
START_TEST(an_answer_that_is_not_true_any_more_when_it_is_made_is_to_wait_and_ask_again)
{
    struct stn_msg msg;
    begin(secure_task(5));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_ADVERTISE, 5, nobody);
    const struct stn_server_tell roster = {.round = round_id, .device = id(1), .stage = STN_STAGE_ADVERTISE};
    stn_coordinator_tell(core, &roster, &msg);
    ck_assert_int_eq(msg.type, STN_MSG_ROSTER);
    time_comes(last_wake_ms); /* nobody has shared */
    stn_coordinator_tell(core, &roster, &msg);
    ck_assert_int_eq(msg.type, STN_MSG_WAIT);
    hears(3000, 1, STN_STAGE_ADVERTISE);
    ck_assert_int_eq(last.type, STN_MSG_VOIDED);
}
END_TEST

START_TEST(what_comes_too_early_too_late_or_twice_gets_its_code)
{
    begin(secure_task(5));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_ADVERTISE, 5, nobody);
    put_begin(110, 1);              /* nobody has shared */
    hears(120, 1, STN_STAGE_UNMASK);
    hears(130, 1, STN_STAGE_ADVERTISE);
    says(140, 1);
    says(150, 1); /* the same again */
    all_do(200, STN_STAGE_SHARE, 5, one);
    struct stn_msg share = tell_devices[2].says;
    all_do(300, STN_STAGE_UPLOAD, 5, two);
    put_begin(310, 2);
    asks(320, 2, share);
    struct stn_msg_share other = share.share;
    other.signature[0] ^= 1;
    asks(330, 2, (struct stn_msg){.type = STN_MSG_SHARE, .share = other});
    time_comes(last_wake_ms); /* too few for n_min */
    asks(3000, 2, share);
    expect("[  110] 1 put_begin -> 1: refused invalid\n"
           "[  120] 1 poll ->\n"
           "[  130] 1 poll -> 1: tell roster\n"
           "[  140] 1 share -> shared, 1: ok\n"
           "[  150] 1 share -> 1: ok\n"
           "[  310] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[  320] 2 share -> 2: ok\n"
           "[  330] 2 share -> 2: refused exists\n"
           "[ 2200] time -> round void, 1: voided limit, close, -secrets, wake 20100\n"
           "[ 3000] 2 share -> 2: voided limit\n");
}
END_TEST

START_TEST(a_vector_that_comes_after_the_survivors_are_known_is_not_looked_at)
{
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_SHARE, 7, nobody);
    all_do(300, STN_STAGE_UPLOAD, 7, six);
    hears(310, 6, STN_STAGE_SHARE);
    put_begin(320, 6);
    time_comes(last_wake_ms);
    says(2400, 6); /* put_end */
    hears(2410, 6, STN_STAGE_UPLOAD);
    all_do_from(STN_STAGE_ACK, STN_STAGE_UNMASK, 7, six);
    unmasked(2500);
    assert_sum_is_clear();
    merged(2600, STN_OK);
    expect("[  310] 6 poll -> 6: tell shares\n"
           "[  320] 6 put_begin -> member advertised, lease spent, spool 6\n"
           "[ 2200] time -> stage, round merging, wake 3200\n"
           "[ 2400] 6 put_end -> 6: refused late\n"
           "[ 2410] 6 poll ->\n"
           "[ 2500] unmasked -> merge 6 from v0\n"
           "[ 2600] merged -> version 1, task, -lease spent, -lease spent, -lease spent, -lease "
           "spent, -lease spent, -lease spent, -lease spent, round done, 6: result v1 of 2 without "
           "it, close, -secrets\n");
}
END_TEST

START_TEST(who_leaves_is_not_waited_for_and_what_it_has_given_counts)
{
    static const uint8_t seven[] = {7, 0}, both[] = {6, 7, 0};
    begin(secure_task(7));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_SHARE, 7, nobody);
    all_do(300, STN_STAGE_UPLOAD, 7, seven);
    asks(310, 7, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
    all_do(400, STN_STAGE_ACK, 7, both);
    asks(410, 6, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
    hears(420, 6, STN_STAGE_ACK);
    all_do(500, STN_STAGE_UNMASK, 7, both);
    unmasked(600);
    assert_sum_is_clear();
    merged(700, STN_OK);
    expect("[  310] 7 leave -> 7: ok, member lost, left, stage, round merging, wake 1310\n"
           "[  410] 6 leave -> 6: ok, left, stage, wake 1410\n"
           "[  420] 6 poll ->\n"
           "[  600] unmasked -> merge 6 from v0\n"
           "[  700] merged -> version 1, task, -lease spent, -lease spent, -lease spent, -lease "
           "spent, -lease spent, -lease spent, -lease, round done, 6: result v1 of 2, close, "
           "-secrets, wake never\n");
}
END_TEST

START_TEST(who_has_left_is_not_waited_for_after_a_restart_either)
{
    for (enum stn_stage stage = STN_STAGE_ADVERTISE; stage <= STN_STAGE_UNMASK; stage++) {
        static const uint8_t first[] = {1, 2, 0};
        bool is_open = stage == STN_STAGE_ADVERTISE; /* the roster is not there yet: there is room for another */
        struct stn_task_spec task = secure_task(is_open ? 6 : 7);
        task.over_select = 2;
        begin(task);
        all_do_from(STN_STAGE_ADVERTISE, stage, 7, is_open ? first : nobody);
        uint64_t now_ms = 100 * (uint64_t)stage + 10;
        asks(now_ms, 6, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
        restart(now_ms + 10);
        asks(now_ms + 20, 6, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
        restart(now_ms + 30);
        if (is_open) {
            enters(now_ms + 40, 1);
            enters(now_ms + 40, 2);
        }
        all_do_from((enum stn_stage)(stage + 1), STN_STAGE_UNMASK, 7, six); /* no time has to come */
        ck_assert_uint_eq(tell_n_unmasks, stage == STN_STAGE_UNMASK ? 3 : 1);
        unmasked(5000);
        assert_sum_is_clear();
        ck_assert_uint_eq(tell_devices[6].counts, stage >= STN_STAGE_UPLOAD);
        secure_teardown();
        secure_setup();
    }
}
END_TEST

START_TEST(who_leaves_before_the_roster_never_was_in_the_round)
{
    static const uint8_t four[] = {4, 0};
    struct stn_task_spec task = secure_task(5);
    task.over_select = 2;
    begin(task);
    all_do(100, STN_STAGE_ADVERTISE, 4, nobody);
    hears(105, 4, STN_STAGE_ADVERTISE);
    struct stn_msg leave = {.type = STN_MSG_LEAVE, .leave = {.round = round_id}};
    asks(110, 4, leave);
    asks(115, 4, leave);
    restart(120);
    asks(125, 4, leave);
    enters(130, 5);
    restart(135);
    enters(140, 6);
    expect("[  105] 4 poll ->\n"
           "[  110] 4 leave -> 4: ok, member lost, 4: voided again, advert gone\n"
           "[  115] 4 leave -> 4: ok\n"
           "[  120] restart -> wake 1120\n"
           "[  125] 4 leave -> 4: ok\n"
           "[  130] 5 check_in -> task, lease, 5: lease 5 v0\n"
           "[  130] 5 join -> member joined, 5: round_config\n"
           "[  130] 5 advertise -> advert, member advertised, 5: ok\n"
           "[  135] restart -> wake 1135\n"
           "[  140] 6 check_in -> task, lease, 6: lease 6 v0\n"
           "[  140] 6 join -> member joined, 6: round_config\n"
           "[  140] 6 advertise -> advert, member advertised, 6: ok, stage, round uploading, wake 1140\n");
    all_do_from(STN_STAGE_SHARE, STN_STAGE_SHARE, 6, four);
    restart(210); /* the roster is the same */
    all_do_from(STN_STAGE_UPLOAD, STN_STAGE_UNMASK, 6, four); /* no time has to come */
    unmasked(5000);
    assert_sum_is_clear();
    ck_assert_uint_eq(tell_n_merges, 1);
    ck_assert(tell_devices[6].counts && !tell_devices[4].counts);
}
END_TEST

START_TEST(a_round_whose_records_do_not_fit_is_void_and_not_made_up)
{
    begin(secure_task(5));
    all_do_from(STN_STAGE_ADVERTISE, STN_STAGE_UPLOAD, 5, nobody);
    for (size_t i = 0; i < disk.records.n; i++) {
        struct stn_record *record = disk.records.entries[i].value;
        if (record->type == STN_RECORD_SECAGG && record->secagg.of.kind == STN_SECAGG_SERVER_UPLOADED) {
            ((uint8_t *)(record + 1))[0] ^= 1; /* another upload than the survivors' root says */
            break;
        }
    }
    restart(400);
    expect("[  400] restart -> round void, close, -secrets, wake 20100\n");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secure");
    TCase *t = tcase_create("stories");
    tcase_add_checked_fixture(t, secure_setup, secure_teardown);
    tcase_add_test(t, a_secure_round_goes_from_roster_to_result_without_a_clock);
    tcase_add_test(t, whoever_is_lost_at_a_stage_is_all_that_is_lost);
    tcase_add_test(t, too_many_lost_void_the_round_and_unspent_deltas_go_into_the_next);
    tcase_add_test(t, a_round_is_void_when_fewer_than_a_quorum_acknowledge);
    tcase_add_test(t, a_round_is_void_when_fewer_than_a_quorum_unmask_and_nothing_is_opened);
    tcase_add_test(t, a_restart_at_any_stage_goes_on_with_the_same_survivors);
    tcase_add_test(t, a_coordinator_that_was_away_for_long_gives_the_stage_its_time_again);
    tcase_add_test(t, a_restart_under_the_masks_takes_them_off_again_from_the_first);
    tcase_add_test(t, a_share_that_is_false_costs_its_holder_every_further_lease);
    tcase_add_test(t, a_liar_is_found_again_after_a_restart_under_the_masks);
    tcase_add_test(t, who_deals_what_it_did_not_commit_to_makes_one_round_void_and_no_other);
    tcase_add_test(t, an_answer_that_is_not_true_any_more_when_it_is_made_is_to_wait_and_ask_again);
    tcase_add_test(t, what_comes_too_early_too_late_or_twice_gets_its_code);
    tcase_add_test(t, a_vector_that_comes_after_the_survivors_are_known_is_not_looked_at);
    tcase_add_test(t, who_leaves_is_not_waited_for_and_what_it_has_given_counts);
    tcase_add_test(t, who_has_left_is_not_waited_for_after_a_restart_either);
    tcase_add_test(t, who_leaves_before_the_roster_never_was_in_the_round);
    tcase_add_test(t, a_round_whose_records_do_not_fit_is_void_and_not_made_up);
    suite_add_tcase(s, t);
    return s;
}
