#include "tests/lib/run.h"
#include "tests/story/tell_server.h"

START_TEST(a_round_with_full_attendance_goes_from_lease_to_result_without_a_clock)
{
    begin(task());
    check_in(10, 1);
    check_in(20, 2);
    join(100, 1, 1);
    advertise(110, 1);
    poll(115, 1, STN_STAGE_ADVERTISE);
    join(120, 2, 2);
    advertise(130, 2);
    poll(140, 2, STN_STAGE_ADVERTISE);
    for (uint8_t i = 1; i <= 2; i++) {
        put_begin(200, i);
        put_end(210, i);
        checked(220, i, STN_OK);
        poll(230, i, STN_STAGE_UPLOAD);
    }
    merged(300, STN_OK);
    check_in(310, 1);
    expect("[   10] 1 check_in -> task, lease, 1: lease 1 v0, wake 20010\n"
           "[   20] 2 check_in -> task, lease, 2: lease 2 v0\n"
           "[  100] 1 join -> round open, member joined, 1: round_config, wake 1100\n"
           "[  110] 1 advertise -> 1: ok, member advertised\n"
           "[  115] 1 poll ->\n"
           "[  120] 2 join -> member joined, 2: round_config\n"
           "[  130] 2 advertise -> 2: ok, member advertised, round uploading, 1: roster of 2, wake "
           "2130\n"
           "[  140] 2 poll -> 2: roster of 2\n"
           "[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  230] 1 poll ->\n"
           "[  200] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[  210] 2 put_end -> member advertised, check 2\n"
           "[  220] whole -> member uploaded, add 2, 2: ok, round merging, merge 2 from v0, wake "
           "never\n"
           "[  230] 2 poll ->\n"
           "[  300] merged -> version 1, task, -lease spent, -lease spent, round done, 1: result "
           "v1 of 2, 2: result v1 of 2, close\n"
           "[  310] 1 check_in -> task, lease, 1: lease 3 v1, wake 20310\n");
}
END_TEST

START_TEST(more_leases_are_given_than_a_round_needs_and_no_more_than_that)
{
    begin(task());
    for (uint8_t i = 1; i <= 4; i++) {
        check_in(10, i); /* ceil(2 * 1.5) */
    }
    check_in(11, 2);            /* the same again */
    check_in_from(12, 9, 3, 0); /* its floor is above n_min */
    for (uint8_t i = 1; i <= 3; i++) {
        join(100, i, i);
    }
    advertise(110, 1);
    advertise(110, 2);
    advertise(110, 3); /* too late for this roster */
    join(120, 3, 3);
    time_comes(20010); /* the round is void, the third lease has run out */
    expect(
        "[   10] 1 check_in -> task, lease, 1: lease 1 v0, wake 20010\n"
        "[   10] 2 check_in -> task, lease, 2: lease 2 v0\n"
        "[   10] 3 check_in -> task, lease, 3: lease 3 v0\n"
        "[   10] 4 check_in -> 4: come_back\n"
        "[   11] 2 check_in -> 2: lease 2 v0\n"
        "[   12] 9 check_in -> 9: come_back\n"
        "[  100] 1 join -> round open, member joined, 1: round_config, wake 1100\n"
        "[  100] 2 join -> member joined, 2: round_config\n"
        "[  100] 3 join -> member joined, 3: round_config\n"
        "[  110] 1 advertise -> 1: ok, member advertised\n"
        "[  110] 2 advertise -> 2: ok, member advertised, round uploading, member lost, wake 2110\n"
        "[  110] 3 advertise -> 3: voided again\n"
        "[  120] 3 join -> 3: come_back\n"
        "[20010] time -> round void, close, -lease, -lease, -lease\n");
}
END_TEST

START_TEST(a_join_window_that_ends_with_enough_makes_a_roster_and_with_fewer_voids_the_round)
{
    struct stn_task_spec spec = task();
    spec.target = 3;
    begin(spec);
    for (uint8_t i = 1; i <= 3; i++) {
        check_in(10, i);
    }
    join(100, 1, 1);
    advertise(110, 1);
    poll(120, 1, STN_STAGE_ADVERTISE);
    time_comes(1100);
    join(1200, 1, 1);
    advertise(1210, 1);
    join(1220, 2, 2);
    join(1230, 3, 3); /* joins, and is not heard of again */
    advertise(1240, 2);
    poll(1250, 2, STN_STAGE_ADVERTISE);
    time_comes(2200);
    expect("[   10] 1 check_in -> task, lease, 1: lease 1 v0, wake 20010\n"
           "[   10] 2 check_in -> task, lease, 2: lease 2 v0\n"
           "[   10] 3 check_in -> task, lease, 3: lease 3 v0\n"
           "[  100] 1 join -> round open, member joined, 1: round_config, wake 1100\n"
           "[  110] 1 advertise -> 1: ok, member advertised\n"
           "[  120] 1 poll ->\n"
           "[ 1100] time -> round void, 1: voided again, close, wake 20010\n"
           "[ 1200] 1 join -> round open, member joined, 1: round_config, wake 2200\n"
           "[ 1210] 1 advertise -> 1: ok, member advertised\n"
           "[ 1220] 2 join -> member joined, 2: round_config\n"
           "[ 1230] 3 join -> member joined, 3: round_config\n"
           "[ 1240] 2 advertise -> 2: ok, member advertised\n"
           "[ 1250] 2 poll ->\n"
           "[ 2200] time -> round uploading, member lost, 2: roster of 2, wake 4200\n");
}
END_TEST

START_TEST(whatever_is_sent_again_counts_once)
{
    begin(task());
    check_in(10, 1);
    check_in(11, 2);
    join(100, 1, 1);
    join(101, 1, 1);
    advertise(110, 1);
    advertise(111, 1);
    join(120, 2, 2);
    advertise(130, 2);
    put_begin(200, 1);
    put_end(210, 1);
    put_end(211, 1);
    checked(220, 1, STN_OK);
    checked(221, 1, STN_OK);
    put_end(230, 1);
    put_end_of(231, 1, 77); /* another vector for the same round */
    put_begin(232, 1);
    put_begin(240, 2);
    put_end(250, 2);
    checked(260, 2, STN_OK);
    merged(300, STN_OK);
    merged(301, STN_OK);
    put_end(310, 1);
    expect("[   10] 1 check_in -> task, lease, 1: lease 1 v0, wake 20010\n"
           "[   11] 2 check_in -> task, lease, 2: lease 2 v0\n"
           "[  100] 1 join -> round open, member joined, 1: round_config, wake 1100\n"
           "[  101] 1 join -> 1: round_config\n"
           "[  110] 1 advertise -> 1: ok, member advertised\n"
           "[  111] 1 advertise -> 1: ok\n"
           "[  120] 2 join -> member joined, 2: round_config\n"
           "[  130] 2 advertise -> 2: ok, member advertised, round uploading, wake 2130\n"
           "[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  211] 1 put_end -> 1: wait\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  221] whole ->\n"
           "[  230] 1 put_end -> 1: ok\n"
           "[  231] 1 put_end -> 1: refused exists\n"
           "[  232] 1 put_begin -> 1: missing 0\n"
           "[  240] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[  250] 2 put_end -> member advertised, check 2\n"
           "[  260] whole -> member uploaded, add 2, 2: ok, round merging, merge 2 from v0, wake "
           "never\n"
           "[  300] merged -> version 1, task, -lease spent, -lease spent, round done, close\n"
           "[  301] merged ->\n"
           "[  310] 1 put_end -> 1: ok\n");
}
END_TEST

START_TEST(broken_bytes_are_refused_and_may_be_sent_again)
{
    until_uploading(task());
    put_end(150, 1); /* before there is a spool */
    put_begin(200, 1);
    put_end(210, 1);
    checked(220, 1, STN_CORRUPT);
    put_begin(230, 1);
    put_end(240, 1);
    checked(250, 1, STN_OK);
    expect("[  150] 1 put_end -> 1: refused invalid\n"
           "[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  220] broken -> drop 1, member advertised, 1: refused corrupt\n"
           "[  230] 1 put_begin -> spool 1\n"
           "[  240] 1 put_end -> member advertised, check 1\n"
           "[  250] whole -> member uploaded, add 1, 1: ok\n");
}
END_TEST

START_TEST(who_does_not_upload_in_time_is_left_out_and_told_that_it_is_late)
{
    struct stn_task_spec spec = task();
    spec.n_min = 1;
    until_uploading(spec);
    put_begin(200, 1);
    put_end(210, 1);
    checked(220, 1, STN_OK);
    put_begin(230, 2);
    time_comes(2110);
    put_end(2120, 2);
    poll(2130, 2, STN_STAGE_UPLOAD);
    merged(2200, STN_OK);
    poll(2210, 1, STN_STAGE_UPLOAD);
    join(2220, 2, 2);
    expect("[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  230] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[ 2110] time -> round merging, merge 1 from v0\n"
           "[ 2120] 2 put_end -> 2: refused late\n"
           "[ 2130] 2 poll ->\n"
           "[ 2200] merged -> version 1, task, -lease spent, -lease spent, round done, 2: result "
           "v1 of 2 without it, close\n"
           "[ 2210] 1 poll -> 1: result v1 of 2\n"
           "[ 2220] 2 join -> 2: refused late\n");
}
END_TEST

START_TEST(too_few_uploads_void_the_round_and_what_was_uploaded_is_spent)
{
    until_uploading(task());
    put_begin(200, 1);
    put_end(210, 1);
    checked(220, 1, STN_OK);
    poll(230, 1, STN_STAGE_UPLOAD);
    time_comes(2110);
    join(2120, 1, 1);
    check_in(2130, 1);
    join(2140, 2, 2);
    expect("[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  230] 1 poll ->\n"
           "[ 2110] time -> round void, 1: voided again, close, wake 20010\n"
           "[ 2120] 1 join -> 1: refused late\n"
           "[ 2130] 1 check_in -> task, lease, 1: lease 3 v0\n"
           "[ 2140] 2 join -> round open, member joined, 2: round_config, wake 3140\n");
}
END_TEST

START_TEST(a_device_that_leaves_is_not_waited_for)
{
    struct stn_task_spec spec = task();
    spec.n_min = 1;
    until_uploading(spec);
    put_begin(200, 1);
    put_end(210, 1);
    checked(220, 1, STN_OK);
    asks(230, 2, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
    asks(240, 2, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
    expect("[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  230] 2 leave -> 2: ok, member lost, round merging, merge 1 from v0, wake 20010\n"
           "[  240] 2 leave -> 2: ok\n");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("rounds");
    TCase *t = tcase_create("stories");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_round_with_full_attendance_goes_from_lease_to_result_without_a_clock);
    tcase_add_test(t, more_leases_are_given_than_a_round_needs_and_no_more_than_that);
    tcase_add_test(
        t, a_join_window_that_ends_with_enough_makes_a_roster_and_with_fewer_voids_the_round);
    tcase_add_test(t, whatever_is_sent_again_counts_once);
    tcase_add_test(t, broken_bytes_are_refused_and_may_be_sent_again);
    tcase_add_test(t, who_does_not_upload_in_time_is_left_out_and_told_that_it_is_late);
    tcase_add_test(t, too_few_uploads_void_the_round_and_what_was_uploaded_is_spent);
    tcase_add_test(t, a_device_that_leaves_is_not_waited_for);
    suite_add_tcase(s, t);
    return s;
}
