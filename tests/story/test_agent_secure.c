/* An agent in secure rounds: number 0 of eight devices, whose coordinator is a real one. */
#include "tests/lib/run.h"

#include <string.h>

#include "secagg/roster.h"
#include "tests/story/tell_client.h"
#include "tests/swarm/secagg_world.h"

enum { N = 8, N_MIN = 5 };

#define SELF (&stn_world.devices[0])

static const bool others[N] = {false, true, true, true, true, true, true, true};

static void begin(void)
{
    stn_world_begin(N, N_MIN, 7);
    agent_config = (struct stn_agent_config){.seed = 1,
                                             .n_min_floor = N_MIN,
                                             .retry_first_ms = 100,
                                             .retry_most_ms = 10000,
                                             .secure = SELF->config};
    disk = (struct stn_agent_record){0};
    setup();
}

static void end(void)
{
    teardown();
    effects = (struct stn_client_effects){0};
    text = (struct stn_buf){0};
    stn_world_end();
}

static struct stn_msg secure_lease(void)
{
    struct stn_msg msg = lease(1, 0);
    msg.lease.secure = true;
    msg.lease.n_min = N_MIN;
    msg.lease.expires_after_ms = 1000000;
    return msg;
}

/* The config that the world's terms are of. */
static struct stn_msg secure_config(void)
{
    const struct stn_terms *terms = &stn_world.terms;
    struct stn_msg msg = config();
    struct stn_msg_round_config *c = &msg.round_config;
    c->round = terms->round;
    c->version = terms->bases[0];
    c->n_bases = terms->n_bases;
    for (uint32_t i = 0; i < c->n_bases; i++) { /* the lease's is the last */
        c->bases[i] = (struct stn_base){.adapter = c->adapter, .version = terms->bases[i], .discount = 1.0 / (1 + i)};
    }
    c->secure = true;
    c->n_min = terms->n_min;
    c->n_max = terms->n_max;
    c->gamma = terms->params.gamma;
    c->delta = terms->params.delta;
    c->sigma = terms->params.sigma;
    c->eta = terms->params.eta;
    c->join_ms = terms->join_ms;
    c->share_ms = terms->share_ms;
    c->upload_ms = terms->upload_ms;
    c->ack_ms = terms->ack_ms;
    c->unmask_ms = terms->unmask_ms;
    return msg;
}

static void until_config(void)
{
    start(0);
    consents(0, 1);
    conditions(0, true);
    hears(10, secure_lease());
    fetched(20, 'b', STN_OK);
    fetched(30, 'a', STN_OK);
    trained(100, 1, STN_OK);
}

/* What the agent has asked reaches the coordinator, which is content; then everybody else speaks. */
static void says(uint64_t now_ms, enum stn_stage stage)
{
    static const enum stn_msg_type types[] = {[STN_STAGE_ADVERTISE] = STN_MSG_ADVERTISE,
                                              [STN_STAGE_SHARE] = STN_MSG_SHARE,
                                              [STN_STAGE_UPLOAD] = STN_MSG_PUT_END,
                                              [STN_STAGE_ACK] = STN_MSG_ACK,
                                              [STN_STAGE_UNMASK] = STN_MSG_UNMASK};
    ck_assert_int_eq(last_asked.type, types[stage]);
    SELF->sent = last_asked;
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    hears(now_ms, ok);
    stn_world_stage(stage, others);
}

static struct stn_msg answer(enum stn_stage stage)
{
    struct stn_msg msg;
    ck_assert_int_eq(stn_secagg_server_answer(stn_world.server, &SELF->id, stage, &msg), STN_OK);
    return msg;
}

/* The vector as the masks of the last ENCODE make it; its digest. */
static struct stn_digest mask(void)
{
    memcpy(SELF->y, SELF->x, sizeof SELF->y);
    for (size_t i = 0; i < effects.n; i++) {
        const struct stn_client_effect *effect = &effects.items[i];
        if (effect->type == STN_CLIENT_ENCODE) {
            ck_assert_uint_eq(effect->round.n_masks, N);
            stn_mask_apply(SELF->y, STN_WORLD_VALUES, 0, effect->round.masks,
                           effect->round.n_masks);
        }
    }
    return stn_digest_of(SELF->y, sizeof SELF->y);
}

static void encoded_as(uint64_t now_ms, const struct stn_digest *digest)
{
    happens(now_ms, "encoded",
            (struct stn_client_event){
                .type = STN_CLIENT_ENCODED,
                .encoded = {.round = stn_world.terms.round, .digest = *digest, .size = 300}});
}

static void sent_all(uint64_t now_ms)
{
    happens(now_ms, "sent",
            (struct stn_client_event){.type = STN_CLIENT_SENT,
                                      .sent = {.round = stn_world.terms.round}});
}

/* The agent has spoken in this stage, and knows that it was heard. */
static void until(enum stn_stage stage)
{
    until_config();
    hears_config(110, secure_config(), &stn_world.terms.cfg);
    says(120, STN_STAGE_ADVERTISE);
    if (stage >= STN_STAGE_SHARE) {
        hears(130, answer(STN_STAGE_ADVERTISE));
        says(140, STN_STAGE_SHARE);
    }
    if (stage >= STN_STAGE_UPLOAD) {
        hears(150, answer(STN_STAGE_SHARE));
        struct stn_digest digest = mask();
        encoded_as(160, &digest);
        sent_all(170);
        says(180, STN_STAGE_UPLOAD);
    }
    if (stage >= STN_STAGE_ACK) {
        hears(190, answer(STN_STAGE_UPLOAD));
        says(200, STN_STAGE_ACK);
    }
    if (stage >= STN_STAGE_UNMASK) {
        hears(210, answer(STN_STAGE_ACK));
        says(220, STN_STAGE_UNMASK);
    }
}

static struct stn_msg secure_result(void)
{
    struct stn_msg msg = result(4);
    msg.result.round = stn_world.terms.round;
    return msg;
}

static struct stn_msg secure_voided(enum stn_code code)
{
    struct stn_msg msg = voided(code);
    msg.voided.round = stn_world.terms.round;
    return msg;
}

static bool was_said(const char *what)
{
    (void)stn_buf_add_u8(&text, 0);
    bool found = strstr((const char *)text.data, what) != NULL;
    text.size--;
    return found;
}

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
    deliver.deliver.n_slots = deliver.deliver.n_sealed = 3;
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

/* ---- lies ---- */

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
    restart(110);
    struct stn_msg plain = secure_config();
    plain.round_config.secure = false;
    stn_buf_clear(&text);
    hears_signed(120, plain, 1);
    ck_assert(!was_said("advertise") && was_said("discard 1"));
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
    tcase_add_test(t, a_coordinator_that_lies_is_kept_away_from);
    tcase_add_test(t, a_device_waits_for_no_coordinator_for_ever);
    tcase_add_test(t, two_rosters_are_evidence_and_the_coordinator_is_given_up);
    tcase_add_test(t, two_sets_of_survivors_are_evidence_and_open_nothing);
    tcase_add_test(t, a_roster_that_lies_is_answered_with_nothing_but_a_leave);
    tcase_add_test(t, no_part_in_a_round_that_asks_for_less_than_the_owner);
    tcase_add_test(t, a_task_that_is_not_secure_wants_the_owners_leave);
    tcase_add_test(t, a_cohort_is_left_before_the_roster_and_seen_through_after_it);
    tcase_add_loop_test(t, a_consent_that_is_withdrawn_ends_the_round_at_once, STN_STAGE_ADVERTISE,
                        STN_STAGE_DONE);
    suite_add_tcase(s, t);
    return s;
}
