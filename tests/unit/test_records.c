#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "crypto/replycache.h"
#include "proto/frame.h"
#include "tests/lib/talk.h"

START_TEST(a_repeated_change_happens_once_and_is_answered_in_the_same_bytes)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *request = stn_talk_request(client, "join", NULL), *again = stn_talk_buf();
    struct stn_channel_server_verdict verdict = stn_talk_arrives(request, "join");
    struct stn_channel_server_verdict repeated = stn_wire_take(&stn_talk_wire, request, again);
    ck_assert_int_eq(repeated.kind, STN_CHANNEL_SERVER_REPEATED);
    ck_assert_uint_eq(repeated.session, verdict.session);
    ck_assert_uint_eq(repeated.counter, verdict.counter);
    struct stn_buf *reply = stn_talk_reply(&verdict, true, "config");
    for (int i = 0; i < 100; i++) {
        stn_buf_clear(again);
        ck_assert_int_eq(stn_wire_take(&stn_talk_wire, request, again).kind,
                         STN_CHANNEL_SERVER_ANSWER);
        ck_assert_uint_eq(again->size, reply->size);
        ck_assert_mem_eq(again->data, reply->data, reply->size);
    }
    ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, verdict.session,
                                              verdict.counter, true, "x", 1, again, NULL),
                     STN_LATE);
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_OK);
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_LATE); /* a replay of the reply */
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_repeated_read_is_answered_afresh_and_not_for_ever)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *request = stn_talk_request(client, "poll", NULL), *reply = NULL;
    for (uint64_t i = 0; i <= STN_CHANNEL_SERVER_REPEATS; i++) {
        struct stn_channel_server_verdict verdict = stn_talk_arrives(request, "poll");
        ck_assert_int_eq(stn_talk_kind(request), STN_CHANNEL_SERVER_REPEATED);
        reply = stn_talk_reply(&verdict, false, "wait");
        struct stn_frame frame;
        ck_assert_int_eq(stn_frame_get(&frame, reply->data, reply->size, NULL), STN_OK);
        ck_assert_uint_eq(frame.counter, i); /* never the same twice */
    }
    ck_assert_int_eq(stn_talk_kind(request), STN_CHANNEL_SERVER_DROP);
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_OK);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_kept_reply_is_taken_however_late_it_is_repeated)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *first = stn_talk_request(client, "join", NULL), *again = stn_talk_buf();
    struct stn_channel_server_verdict verdict = stn_talk_arrives(first, "join");
    (void)stn_talk_reply(&verdict, true, "config"); /* lost */
    struct stn_buf *poll = stn_talk_request(client, "poll", NULL), *reply = NULL;
    for (int i = 0; i < 40; i++) { /* and forty more go by, some of them lost as well */
        if (i == STN_CHANNEL_SERVER_REPEATS || i == 2 * STN_CHANNEL_SERVER_REPEATS) {
            poll = stn_talk_request(client, "poll", NULL);
        }
        verdict = stn_talk_arrives(poll, "poll");
        reply = stn_talk_reply(&verdict, false, "wait");
    }
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_OK);
    ck_assert_int_eq(stn_wire_take(&stn_talk_wire, first, again).kind, STN_CHANNEL_SERVER_ANSWER);
    ck_assert_int_eq(stn_talk_hear(client, again, &heard), STN_OK);
    ck_assert_uint_eq(heard.counter, 0);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_change_whose_reply_is_too_big_to_keep_is_still_done_once)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    static char big[STN_REPLYCACHE_SIZE + 1];
    memset(big, 'm', STN_REPLYCACHE_SIZE);
    struct stn_buf *request = stn_talk_request(client, "put_begin", NULL);
    struct stn_channel_server_verdict verdict = stn_talk_arrives(request, "put_begin");
    struct stn_buf *reply = stn_talk_reply(&verdict, true, big);
    ck_assert_int_eq(stn_talk_kind(request), STN_CHANNEL_SERVER_DROP);
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_OK);
    ck_assert_uint_eq(heard.size, STN_REPLYCACHE_SIZE);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(thirty_two_requests_may_be_under_way_in_any_order_and_no_more)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *requests[32], *more = stn_talk_buf();
    uint64_t counter;
    for (int i = 0; i < 32; i++) {
        requests[i] = stn_talk_request(client, "r", NULL);
    }
    ck_assert_int_eq(stn_channel_client_request(client, "r", 1, more, &counter, NULL), STN_AGAIN);
    ck_assert_uint_eq(more->size, 0);
    for (int i = 31; i > 0; i--) {
        struct stn_channel_server_verdict verdict = stn_talk_arrives(requests[i], "r");
        struct stn_buf reply = {0};
        ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, verdict.session,
                                                  verdict.counter, true, "y", 1, &reply, NULL),
                         STN_OK);
        ck_assert_int_eq(stn_talk_hear(client, &reply, &heard), STN_OK);
        stn_buf_fini(&reply);
    }
    /* the oldest holds everything up until it is answered or given up */
    ck_assert_int_eq(stn_channel_client_request(client, "r", 1, more, &counter, NULL), STN_AGAIN);
    stn_channel_client_forget(client, 0);
    ck_assert_int_eq(stn_channel_client_request(client, "r", 1, more, &counter, NULL), STN_OK);
    ck_assert_uint_eq(counter, 32);
    (void)stn_talk_arrives(more, "r");
    ck_assert_int_eq(stn_talk_kind(requests[0]),
                     STN_CHANNEL_SERVER_DROP); /* the window has left it */
    ck_assert_int_eq(stn_talk_kind(requests[1]), STN_CHANNEL_SERVER_ANSWER);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_frame_with_any_bit_changed_changes_nothing)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *request = stn_talk_request(client, "leave", NULL);
    for (size_t bit = 0; bit < 8 * request->size; bit++) {
        request->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum stn_channel_server_kind kind = stn_talk_kind(request);
        ck_assert(kind == STN_CHANNEL_SERVER_DROP || kind == STN_CHANNEL_SERVER_ANSWER);
        request->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_open, 0);
    struct stn_channel_server_verdict verdict = stn_talk_arrives(request, "leave");
    struct stn_buf *reply = stn_talk_reply(&verdict, true, "ok");
    for (size_t bit = 0; bit < 8 * reply->size; bit++) {
        reply->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(stn_talk_hear(client, reply, &heard), STN_OK);
        reply->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_OK);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_record_holds_a_megabyte_and_not_a_byte_more)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *frame = stn_talk_buf(), *reply = stn_talk_buf();
    const size_t size = (size_t)1 << 20;
    uint8_t *message = stn_mem_new(1, size + 1);
    uint64_t counter;
    message[size - 1] = 9;
    ck_assert_int_eq(stn_channel_client_request(client, message, size + 1, frame, &counter, NULL),
                     STN_LIMIT);
    ck_assert_uint_eq(frame->size, 0);
    ck_assert_int_eq(stn_channel_client_request(client, message, size, frame, &counter, NULL),
                     STN_OK);
    struct stn_channel_server_verdict verdict = stn_wire_take(&stn_talk_wire, frame, reply);
    ck_assert_int_eq(verdict.kind, STN_CHANNEL_SERVER_REQUEST);
    ck_assert_uint_eq(verdict.size, size);
    ck_assert_mem_eq(verdict.message, message, size);
    ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, verdict.session, counter, false,
                                              message, size + 1, reply, NULL),
                     STN_LIMIT);
    ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, verdict.session, counter, false,
                                              message, size, reply, NULL),
                     STN_OK);
    ck_assert_int_eq(stn_talk_hear(client, reply, &heard), STN_OK);
    ck_assert_uint_eq(heard.size, size);
    stn_mem_free(message);
    stn_channel_client_free(client);
}
END_TEST

/* One frame for each counter of each direction, whatever is lost, repeated or late. */
struct sealed {
    size_t n;
    struct stn_buf frames[4096];
};
static struct sealed sealed[2];

static void note(struct sealed *side, const struct stn_buf *frame)
{
    struct stn_frame parsed;
    ck_assert_int_eq(stn_frame_get(&parsed, frame->data, frame->size, NULL), STN_OK);
    ck_assert_uint_lt(parsed.counter, 4096);
    struct stn_buf *known = &side->frames[parsed.counter];
    if (known->size > 0) {
        ck_assert_uint_eq(known->size, frame->size);
        ck_assert_mem_eq(known->data, frame->data, frame->size);
        return;
    }
    ck_assert(stn_buf_add(known, frame->data, frame->size));
}

static uint32_t n_done[4096]; /* how often request number i was carried out */

/* The request is lost, or arrives and is carried out or not, and its answer is lost or heard. */
static bool carry(struct stn_channel_client *client, struct stn_rng *rng,
                  const struct stn_buf *request, uint64_t counter)
{
    struct stn_channel_client_heard heard;
    struct stn_buf answer = {0};
    bool is_answered = false;
    if (stn_rng_below(rng, 4) == 0) {
        return false;
    }
    struct stn_channel_server_verdict verdict = stn_wire_take(&stn_talk_wire, request, &answer);
    if (verdict.kind == STN_CHANNEL_SERVER_REQUEST) {
        uint32_t number;
        ck_assert_uint_eq(verdict.size, sizeof number);
        memcpy(&number, verdict.message, sizeof number);
        n_done[number]++;
        ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, verdict.session,
                                                  verdict.counter, true, "ok", 2, &answer, NULL),
                         STN_OK);
    }
    if (answer.size > 0) {
        note(&sealed[1], &answer);
        is_answered =
            stn_rng_below(rng, 4) != 0 && stn_talk_hear(client, &answer, &heard) == STN_OK;
        ck_assert(!is_answered || heard.counter == counter);
    }
    stn_buf_fini(&answer);
    return is_answered;
}

START_TEST(on_a_bad_line_no_counter_seals_twice_and_every_change_happens_once)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_rng rng;
    struct {
        bool waits;
        uint64_t counter;
        struct stn_buf frame;
    } asked[20] = {0};
    uint32_t n_asked = 0, n_answered = 0;
    stn_rng_init(&rng, (uint64_t)_i);
    memset(n_done, 0, sizeof n_done);
    for (int turn = 0; turn < 4000; turn++) {
        size_t i = (size_t)stn_rng_below(&rng, 20);
        if (!asked[i].waits) {
            stn_buf_clear(&asked[i].frame);
            if (stn_channel_client_request(client, &n_asked, sizeof n_asked, &asked[i].frame,
                                           &asked[i].counter, NULL) != STN_OK) {
                continue; /* too far ahead of what is still waited for */
            }
            note(&sealed[0], &asked[i].frame);
            asked[i].waits = true;
            n_asked++;
        }
        if (carry(client, &rng, &asked[i].frame, asked[i].counter)) {
            asked[i].waits = false;
            n_answered++;
        }
    }
    ck_assert_uint_gt(n_answered, 1000);
    for (uint32_t number = 0; number < n_asked; number++) {
        ck_assert_uint_le(n_done[number], 1);
    }
    for (size_t i = 0; i < 20; i++) {
        stn_buf_fini(&asked[i].frame);
    }
    for (size_t i = 0; i < 4096; i++) {
        stn_buf_fini(&sealed[0].frames[i]);
        stn_buf_fini(&sealed[1].frames[i]);
    }
    stn_channel_client_free(client);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("records");
    TCase *t = tcase_create("records");
    tcase_add_checked_fixture(t, stn_talk_start, stn_talk_stop);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_repeated_change_happens_once_and_is_answered_in_the_same_bytes);
    tcase_add_test(t, a_repeated_read_is_answered_afresh_and_not_for_ever);
    tcase_add_test(t, a_kept_reply_is_taken_however_late_it_is_repeated);
    tcase_add_test(t, a_change_whose_reply_is_too_big_to_keep_is_still_done_once);
    tcase_add_test(t, thirty_two_requests_may_be_under_way_in_any_order_and_no_more);
    tcase_add_test(t, a_frame_with_any_bit_changed_changes_nothing);
    tcase_add_test(t, a_record_holds_a_megabyte_and_not_a_byte_more);
    tcase_add_loop_test(t, on_a_bad_line_no_counter_seals_twice_and_every_change_happens_once, 0,
                        4);
    suite_add_tcase(s, t);
    return s;
}
