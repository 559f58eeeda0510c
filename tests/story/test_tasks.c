#include "tests/lib/run.h"

#include <math.h>

#include "tests/story/tell_server.h"

START_TEST(a_merge_that_fails_voids_the_round)
{
    until_uploading(task());
    for (uint8_t i = 1; i <= 2; i++) {
        put_begin(200, i);
        put_end(210, i);
        checked(220, i, STN_OK);
    }
    merged(300, STN_CORRUPT);
    poll(310, 1, STN_STAGE_UPLOAD);
    expect("[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  200] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[  210] 2 put_end -> member advertised, check 2\n"
           "[  220] whole -> member uploaded, add 2, 2: ok, round merging, merge 2 from v0, wake "
           "never\n"
           "[  300] merged -> round void, close, wake 20010\n"
           "[  310] 1 poll -> 1: voided corrupt\n");
}
END_TEST

START_TEST(a_factor_trains_alone_or_in_turn_as_the_task_says)
{
    struct stn_task_spec spec = task();
    static const struct {
        enum stn_lora lora;
        enum stn_factor factors[2];
        uint64_t n_values[2];
    } cases[] = {{STN_LORA_BOTH, {STN_FACTOR_BOTH, STN_FACTOR_BOTH}, {500, 500}},
                 {STN_LORA_FFA, {STN_FACTOR_B, STN_FACTOR_B}, {90, 90}},
                 {STN_LORA_ALTERNATE, {STN_FACTOR_B, STN_FACTOR_A}, {90, 410}}};
    spec.lora = cases[_i].lora;
    spec.n_values = 500;
    spec.n_values_b = 90;
    begin(spec);
    for (int version = 0; version < 2; version++) {
        uint64_t now_ms = 10 + 1000 * (uint64_t)version;
        for (uint8_t i = 1; i <= 2; i++) {
            check_in(now_ms, i);
            ck_assert_uint_eq(last.lease.version, version);
            ck_assert_uint_eq(last.lease.train.factor, cases[_i].factors[version]);
            join_from(now_ms, i, last.lease.lease, (uint64_t)version);
            ck_assert_uint_eq(last.round_config.factor, cases[_i].factors[version]);
            ck_assert_uint_eq(last.round_config.n_values, cases[_i].n_values[version]);
            advertise(now_ms, i);
        }
        for (uint8_t i = 1; i <= 2; i++) {
            asks(now_ms, i, (struct stn_msg){.type = STN_MSG_PUT_BEGIN,
                                             .put_begin = {.round = round_id, .size = 3 * cases[_i].n_values[version]}});
            put_end(now_ms, i);
            checked(now_ms, i, STN_OK);
        }
        merged(now_ms, STN_OK);
    }
}
END_TEST

/* checks in, and says of which lease the delta has left it */
static void gives_back(uint64_t now_ms, uint8_t device, uint64_t spent)
{
    struct stn_msg msg = {.type = STN_MSG_CHECK_IN,
                          .check_in = {.n_min_floor = 1,
                                       .n_consents = 1,
                                       .consents = {{.task = "t", .n_examples = 10, .spent = spent}}}};
    asks(now_ms, device, msg);
}

START_TEST(a_lease_that_is_spent_elsewhere_is_not_offered_again)
{
    begin(task());
    check_in(10, 1);
    check_in(11, 2);
    stn_buf_clear(&text);
    check_in(20, 1);
    gives_back(30, 1, 2); /* another device's */
    gives_back(40, 1, 1);
    check_in(50, 2);
    join(60, 2, 2);
    gives_back(70, 2, 2); /* in a round: it leaves that first */
    expect("[   20] 1 check_in -> 1: lease 1 v0\n"
           "[   30] 1 check_in -> 1: lease 1 v0\n"
           "[   40] 1 check_in -> lease spent, task, lease, 1: lease 3 v0\n"
           "[   50] 2 check_in -> 2: lease 2 v0\n"
           "[   60] 2 join -> round open, member joined, 2: round_config, wake 1060\n"
           "[   70] 2 check_in -> 2: lease 2 v0\n");
}
END_TEST

START_TEST(a_restart_in_any_stage_goes_on_where_it_was)
{
    begin(task());
    check_in(10, 1);
    check_in(11, 2);
    join(100, 1, 1);
    advertise(110, 1);
    stn_buf_clear(&text);
    restart(120);
    check_in(125, 1); /* the lease is the same */
    join(130, 2, 2);
    advertise(140, 2);
    put_begin(200, 1);
    put_end(210, 1);
    restart(215); /* in the middle of a check */
    put_end(216, 1);
    checked(220, 1, STN_OK);
    restart(230);
    put_end(235, 1);
    put_begin(240, 2);
    put_end(250, 2);
    checked(260, 2, STN_OK);
    restart(270);
    merged(300, STN_OK);
    restart(310);
    poll(320, 1, STN_STAGE_UPLOAD);
    join(330, 1, 1);
    expect("[  120] restart -> wake 1120\n"
           "[  125] 1 check_in -> 1: lease 1 v0\n"
           "[  130] 2 join -> member joined, 2: round_config\n"
           "[  140] 2 advertise -> 2: ok, member advertised, round uploading, wake 2140\n"
           "[  200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[  210] 1 put_end -> member advertised, check 1\n"
           "[  215] restart -> wake 2215\n"
           "[  216] 1 put_end -> member advertised, check 1\n"
           "[  220] whole -> member uploaded, add 1, 1: ok\n"
           "[  230] restart -> add 1, wake 2230\n"
           "[  235] 1 put_end -> 1: ok\n"
           "[  240] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[  250] 2 put_end -> member advertised, check 2\n"
           "[  260] whole -> member uploaded, add 2, 2: ok, round merging, merge 2 from v0, wake "
           "never\n"
           "[  270] restart -> add 2, add 1, merge 2 from v0\n"
           "[  300] merged -> version 1, task, -lease spent, -lease spent, round done, close\n"
           "[  310] restart -> close\n"
           "[  320] 1 poll -> 1: result v1 of 2\n"
           "[  330] 1 join -> 1: refused late\n");
}
END_TEST

START_TEST(a_coordinator_that_was_away_at_the_deadline_gives_the_stage_time_again)
{
    struct stn_task_spec spec = task();
    spec.report_deadline_ms = 600000;
    spec.upload_ms = 180000;
    begin(spec);
    check_in(10, 1);
    check_in(11, 2);
    join(100, 1, 1);
    advertise(110, 1);
    stn_buf_clear(&text);
    restart(5000);
    time_comes(5010);
    join(5100, 2, 2);
    advertise(5110, 2);
    put_begin(5200, 1);
    put_begin(5200, 2);
    restart(190000);
    time_comes(190010);
    for (uint8_t i = 1; i <= 2; i++) {
        put_begin(191000, i);
        put_end(191010, i);
        checked(191020, i, STN_OK);
    }
    expect("[ 5000] restart -> wake 6000\n"
           "[ 5010] time -> wake 6000\n"
           "[ 5100] 2 join -> member joined, 2: round_config\n"
           "[ 5110] 2 advertise -> 2: ok, member advertised, round uploading, wake 185110\n"
           "[ 5200] 1 put_begin -> member advertised, lease spent, spool 1\n"
           "[ 5200] 2 put_begin -> member advertised, lease spent, spool 2\n"
           "[190000] restart -> wake 220000\n"
           "[190010] time -> wake 220000\n"
           "[191000] 1 put_begin -> spool 1\n"
           "[191010] 1 put_end -> member advertised, check 1\n"
           "[191020] whole -> member uploaded, add 1, 1: ok\n"
           "[191000] 2 put_begin -> spool 2\n"
           "[191010] 2 put_end -> member advertised, check 2\n"
           "[191020] whole -> member uploaded, add 2, 2: ok, round merging, merge 2 from v0, wake never\n");
}
END_TEST

START_TEST(a_stale_delta_joins_when_the_task_allows_it)
{
    struct stn_task_spec spec = task();
    spec.staleness = 1;
    spec.target = 1;
    spec.n_min = 1;
    spec.over_select = 3;
    begin(spec);
    check_in(10, 1);
    check_in(11, 2);
    for (uint8_t v = 0; v < 2; v++) { /* device 1 makes two versions */
        join_from(100, 1, v == 0 ? 1 : 3, v);
        advertise(110, 1);
        put_begin(120, 1);
        put_end(130, 1);
        checked(140, 1, STN_OK);
        merged(150, STN_OK);
        check_in(160, 1);
        if (v == 0) {
            stn_buf_clear(&text);
            join_from(170, 2, 2, 0); /* one behind */
            asks(180, 2, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
            time_comes(1170);
            expect("[  170] 2 join -> round open, member joined, 2: round_config, wake 1170\n"
                   "[  180] 2 leave -> 2: ok, member lost\n"
                   "[ 1170] time -> round void, close, wake 20010\n");
        }
    }
    stn_buf_clear(&text);
    join_from(1300, 2, 2, 0); /* two behind */
    expect("[ 1300] 2 join -> 2: refused late\n");
}
END_TEST

/* Version after version by device 1; then the bases of the round in which device 2 joins. */
START_TEST(a_round_names_the_versions_that_its_deltas_may_start_from_and_what_they_weigh)
{
    struct stn_task_spec spec = task();
    spec.lora = _i == 0 ? STN_LORA_BOTH : STN_LORA_ALTERNATE;
    spec.n_values = 100;
    spec.n_values_b = 50;
    spec.staleness = 2;
    spec.discount = 0.5;
    spec.target = spec.n_min = 1;
    begin(spec);
    for (uint64_t v = 0; v < 5; v++) {
        check_in(10 + 100 * v, 1);
        join_from(20 + 100 * v, 1, v + 1, v);
        const struct stn_msg_round_config *c = &last.round_config;
        const uint32_t step = _i == 0 ? 1 : 2; /* a base has the round's factor */
        ck_assert_uint_eq(c->n_bases, (v < 2 ? v : 2) / step + 1);
        for (uint32_t i = 0; i < c->n_bases; i++) {
            ck_assert_uint_eq(c->bases[i].version, v - i * step);
            ck_assert_double_eq_tol(c->bases[i].discount, 1 / sqrt(1 + i * step), 1e-12);
        }
        ck_assert_mem_eq(c->bases[0].adapter.bytes, c->adapter.bytes, sizeof c->adapter.bytes);
        advertise(30 + 100 * v, 1);
        put_begin(40 + 100 * v, 1);
        put_end(50 + 100 * v, 1);
        checked(60 + 100 * v, 1, STN_OK);
        merged(70 + 100 * v, STN_OK);
    }
}
END_TEST

START_TEST(a_delta_of_one_factor_waits_for_that_factors_turn)
{
    struct stn_task_spec spec = task();
    spec.lora = STN_LORA_ALTERNATE;
    spec.n_values = 100;
    spec.n_values_b = 50;
    spec.staleness = 2;
    spec.target = spec.n_min = 1;
    spec.over_select = 2;
    begin(spec);
    check_in(10, 2); /* lease 1: B from version 0 */
    for (uint64_t v = 0; v < 2; v++) {
        check_in(20 + 100 * v, 1);
        join_from(30 + 100 * v, 1, v + 2, v);
        advertise(40 + 100 * v, 1);
        put_begin(50 + 100 * v, 1);
        put_end(60 + 100 * v, 1);
        checked(70 + 100 * v, 1, STN_OK);
        merged(80 + 100 * v, STN_OK);
        stn_buf_clear(&text);
        join_from(90 + 100 * v, 2, 1, 0);
        ck_assert_int_eq(last.type, v == 0 ? STN_MSG_COME_BACK : STN_MSG_ROUND_CONFIG);
    }
    ck_assert_uint_eq(last.round_config.factor, STN_FACTOR_B);
    ck_assert_uint_eq(last.round_config.bases[1].version, 0);
}
END_TEST

static void join_of_tier(uint64_t now_ms, uint8_t device, uint64_t lease, uint32_t tier)
{
    asks(now_ms, device,
         (struct stn_msg){.type = STN_MSG_JOIN,
                          .join = {.task = "t", .lease = lease, .n_samples = 5, .tier = tier}});
}

START_TEST(ranks_of_too_few_members_are_in_no_delta_and_in_no_release)
{
    struct stn_task_spec spec = task();
    spec.train.n_halvings = 2;
    spec.target = 4;
    spec.n_min = 2;
    static const struct {
        uint32_t tiers[4], roster, merged; /* device 1 is lost before it has uploaded */
    } cases[] = {{{0, 0, 1, 2}, 0, 1}, {{0, 1, 2, 2}, 1, 2}, {{2, 2, 2, 2}, 2, 2}, {{1, 0, 0, 2}, 0, 0}};
    begin(spec);
    for (uint8_t i = 1; i <= 4; i++) {
        check_in(10, i);
        join_of_tier(20, i, i, 3);
        ck_assert_int_eq(last.refused.code, STN_INVALID);
        join_of_tier(20, i, i, cases[_i].tiers[i - 1]);
        ck_assert_uint_eq(last.round_config.n_halvings, 2);
        advertise(30, i);
    }
    restart(40);
    poll(50, 1, STN_STAGE_ADVERTISE);
    ck_assert_uint_eq(last.roster.tier, cases[_i].roster);
    for (uint8_t i = 2; i <= 4; i++) {
        put_begin(60, i);
        put_end(70, i);
        checked(80, i, STN_OK);
    }
    asks(90, 1, (struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = round_id}});
    const struct stn_server_effect *merge = NULL;
    for (size_t i = 0; i < effects.n; i++) {
        merge = effects.items[i].type == STN_SERVER_MERGE ? &effects.items[i] : merge;
    }
    ck_assert_ptr_nonnull(merge);
    ck_assert_uint_eq(merge->merge.n_included, 3);
    ck_assert_uint_eq(merge->merge.tier, cases[_i].merged);
}
END_TEST

START_TEST(a_finished_task_gives_its_last_version_to_who_lacks_it)
{
    struct stn_task_spec spec = task();
    spec.n_rounds = 1;
    until_uploading(spec);
    for (uint8_t i = 1; i <= 2; i++) {
        put_begin(200, i);
        put_end(210, i);
        checked(220, i, STN_OK);
    }
    stn_buf_clear(&text);
    merged(300, STN_OK);
    check_in(310, 3);
    ck_assert_int_eq(last.come_back.release.adapter.digest.bytes[0], 'w');
    check_in_from(320, 3, 1, 1);
    expect("[  300] merged -> version 1, task finished, -lease spent, -lease spent, round done, "
           "close\n"
           "[  310] 3 check_in -> 3: come_back with v1\n"
           "[  320] 3 check_in -> 3: come_back\n");
}
END_TEST

START_TEST(a_paused_task_opens_nothing_and_ends_what_is_under_way)
{
    begin(task());
    check_in(10, 1);
    check_in(11, 2);
    happens(20, "pause", (struct stn_server_event){.type = STN_SERVER_TASK_PAUSE, .task = "t"});
    check_in(30, 3);
    join(100, 1, 1);
    happens(200, "resume", (struct stn_server_event){.type = STN_SERVER_TASK_RESUME, .task = "t"});
    join(210, 1, 1);
    happens(220, "pause", (struct stn_server_event){.type = STN_SERVER_TASK_PAUSE, .task = "t"});
    join(230, 2, 2);
    happens(240, "pause", (struct stn_server_event){.type = STN_SERVER_TASK_PAUSE, .task = "x"});
    expect("[   10] 1 check_in -> task, lease, 1: lease 1 v0, wake 20010\n"
           "[   11] 2 check_in -> task, lease, 2: lease 2 v0\n"
           "[   20] pause -> task paused, answer ok\n"
           "[   30] 3 check_in -> 3: come_back\n"
           "[  100] 1 join -> 1: come_back\n"
           "[  200] resume -> task, answer ok\n"
           "[  210] 1 join -> round open, member joined, 1: round_config, wake 1210\n"
           "[  220] pause -> task paused, answer ok\n"
           "[  230] 2 join -> member joined, 2: round_config\n"
           "[  240] pause -> answer not-found\n");
}
END_TEST

START_TEST(a_poll_is_answered_once_and_a_lost_one_never)
{
    until_uploading(task());
    poll(200, 1, STN_STAGE_UPLOAD);
    poll(210, 1, STN_STAGE_UPLOAD);
    happens(
        220, "lost",
        (struct stn_server_event){.type = STN_SERVER_TICKET_LOST, .ticket = 100 + n_tickets % 100});
    time_comes(2110);
    expect("[  200] 1 poll ->\n"
           "[  210] 1 poll -> 1: wait\n"
           "[  220] lost ->\n"
           "[ 2110] time -> round void, close, wake 20010\n");
}
END_TEST

START_TEST(a_device_that_wants_secure_rounds_gets_no_lease_on_a_task_without)
{
    begin(task());
    asks(10, 1,
         (struct stn_msg){.type = STN_MSG_CHECK_IN,
                          .check_in = {.n_min_floor = 1,
                                       .secure_only = true,
                                       .n_consents = 1,
                                       .consents = {{.task = "t", .n_examples = 5}}}});
    check_in(10, 2);
    expect("[   10] 1 check_in -> 1: come_back\n"
           "[   10] 2 check_in -> task, lease, 2: lease 1 v0, wake 20010\n");
}
END_TEST

START_TEST(strangers_and_the_late_get_the_right_code)
{
    until_uploading(task());
    join(200, 3, 1);  /* another's lease */
    join(210, 3, 99); /* never given */
    advertise(220, 3);
    put_begin(230, 3);
    asks(
        240, 1,
        (struct stn_msg){.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = round_id, .size = 299}});
    asks(250, 1, (struct stn_msg){.type = STN_MSG_GET_LEAVES});
    asks(260, 1, (struct stn_msg){.type = STN_MSG_POLL, .poll = {.round = round_id, .stage = 9}});
    asks(270, 1, (struct stn_msg){.type = STN_MSG_OK});
    expect("[  200] 3 join -> 3: refused denied\n"
           "[  210] 3 join -> 3: refused denied\n"
           "[  220] 3 advertise -> 3: refused not-found\n"
           "[  230] 3 put_begin -> 3: refused not-found\n"
           "[  240] 1 put_begin -> 1: refused invalid\n"
           "[  250] 1 get_leaves -> 1: refused unsupported\n"
           "[  260] 1 poll -> 1: refused invalid\n"
           "[  270] 1 ok -> 1: refused unsupported\n");
}
END_TEST

START_TEST(a_spec_that_cannot_be_is_refused)
{
    happens(0, "start", (struct stn_server_event){.type = STN_SERVER_START});
    struct stn_task_spec spec = task();
    spec.n_min = 3;
    create(spec);
    spec = task();
    spec.bits = 17;
    create(spec);
    spec = task();
    spec.clip_norm = 0;
    create(spec);
    create(task());
    create(task());
    spec = task();
    spec.digest.bytes[0] = 2;
    create(spec);
    expect("[    0] start ->\n"
           "[    0] create -> answer invalid\n"
           "[    0] create -> answer invalid\n"
           "[    0] create -> answer invalid\n"
           "[    0] create -> task, version 0, answer ok\n"
           "[    0] create -> answer ok\n"
           "[    0] create -> answer exists\n");
}
END_TEST

START_TEST(a_secure_task_wants_five_members_and_a_graph_for_them)
{
    happens(0, "start", (struct stn_server_event){.type = STN_SERVER_START});
    struct stn_task_spec spec = task(), fits;
    spec.secure = true;
    spec.target = 64;
    spec.n_min = 5;
    spec.gamma = spec.delta = 0.1;
    spec.sigma = 64;
    spec.eta = 30;
    spec.share_ms = spec.ack_ms = spec.unmask_ms = 1000;
    fits = spec;
    spec.n_min = spec.target = 4;
    create(spec);
    spec = fits;
    spec.ack_ms = 0;
    create(spec);
    spec = fits;
    spec.gamma = 0.6;
    create(spec);
    spec = fits;
    spec.gamma = spec.delta = 0.45; /* no degree keeps so many losses and so many liars apart */
    create(spec);
    create(fits);
    expect("[    0] start ->\n"
           "[    0] create -> answer limit\n"
           "[    0] create -> answer invalid\n"
           "[    0] create -> answer invalid\n"
           "[    0] create -> answer limit\n"
           "[    0] create -> task, version 0, answer ok\n");
}
END_TEST

START_TEST(a_fleet_without_work_is_spread_over_the_time_until_it_is_needed)
{
    begin(task());
    uint32_t per_s[5000] = {0}, most = 0;
    uint64_t sum_ms = 0;
    for (uint32_t i = 0; i < 2000; i++) {
        check_in(10, (uint8_t)(1 + i % 250));
        if (last.type == STN_MSG_COME_BACK) {
            uint64_t ms = last.come_back.after_ms;
            ck_assert_uint_lt(ms, 4096 * 1000);
            most = ++per_s[ms / 1000] > most ? per_s[ms / 1000] : most;
            sum_ms += ms;
        }
    }
    stn_buf_clear(&text);
    /* three leases for each 5 s: the first three may come together, the others at that rate */
    ck_assert_uint_le(most, 4);
    ck_assert_uint_gt(sum_ms / 2000, 1000 * 1000);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("tasks");
    TCase *t = tcase_create("stories");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_merge_that_fails_voids_the_round);
    tcase_add_loop_test(t, a_factor_trains_alone_or_in_turn_as_the_task_says, 0, 3);
    tcase_add_test(t, a_lease_that_is_spent_elsewhere_is_not_offered_again);
    tcase_add_test(t, a_restart_in_any_stage_goes_on_where_it_was);
    tcase_add_test(t, a_coordinator_that_was_away_at_the_deadline_gives_the_stage_time_again);
    tcase_add_test(t, a_stale_delta_joins_when_the_task_allows_it);
    tcase_add_loop_test(t, a_round_names_the_versions_that_its_deltas_may_start_from_and_what_they_weigh, 0, 2);
    tcase_add_test(t, a_delta_of_one_factor_waits_for_that_factors_turn);
    tcase_add_loop_test(t, ranks_of_too_few_members_are_in_no_delta_and_in_no_release, 0, 4);
    tcase_add_test(t, a_finished_task_gives_its_last_version_to_who_lacks_it);
    tcase_add_test(t, a_paused_task_opens_nothing_and_ends_what_is_under_way);
    tcase_add_test(t, a_poll_is_answered_once_and_a_lost_one_never);
    tcase_add_test(t, a_device_that_wants_secure_rounds_gets_no_lease_on_a_task_without);
    tcase_add_test(t, strangers_and_the_late_get_the_right_code);
    tcase_add_test(t, a_spec_that_cannot_be_is_refused);
    tcase_add_test(t, a_secure_task_wants_five_members_and_a_graph_for_them);
    tcase_add_test(t, a_fleet_without_work_is_spread_over_the_time_until_it_is_needed);
    suite_add_tcase(s, t);
    return s;
}
