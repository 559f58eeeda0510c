#include "tests/lib/run.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "crypto/replycache.h"
#include "proto/frame.h"
#include "tests/lib/wire.h"

static struct stn_wire wire;
static uint64_t now_ms;
static struct stn_buf bufs[64]; /* of the test in progress */
static size_t n_bufs;

static void start(void)
{
    stn_wire_init(&wire);
    now_ms = 1000000;
}

static void stop(void)
{
    for (size_t i = 0; i < n_bufs; i++) {
        stn_buf_fini(&bufs[i]);
    }
    n_bufs = 0;
    stn_wire_fini(&wire);
}

static struct stn_buf *new_buf(void)
{
    ck_assert_uint_lt(n_bufs, sizeof bufs / sizeof *bufs);
    return &bufs[n_bufs++];
}

static struct stn_buf *hello_of(struct stn_channel_client *client)
{
    struct stn_buf *frame = new_buf();
    now_ms += stn_channel_client_wait_ms(client, now_ms);
    ck_assert_int_eq(stn_channel_client_start(client, now_ms, frame, NULL), STN_OK);
    return frame;
}

static enum stn_code hear(struct stn_channel_client *client, const struct stn_buf *frame,
                          struct stn_channel_client_heard *ret)
{
    static uint8_t heard[STN_FRAME_SIZE];
    ck_assert_uint_le(frame->size, sizeof heard);
    memcpy(heard, frame->data, frame->size);
    return stn_channel_client_heard(client, heard, frame->size, ret, NULL);
}

/* Opens a session, by way of the directory when it must be. */
static void connect_client(struct stn_channel_client *client)
{
    struct stn_channel_client_heard heard;
    struct stn_buf answer = {0}, hello = {0};
    now_ms += stn_channel_client_wait_ms(client, now_ms);
    ck_assert_int_eq(stn_channel_client_start(client, now_ms, &hello, NULL), STN_OK);
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, &hello, &answer);
    if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
        stn_wire_ask_directory(&wire, &verdict, &answer);
    }
    ck_assert_int_eq(hear(client, &answer, &heard), STN_OK);
    ck_assert_int_eq(heard.kind, STN_CHANNEL_CLIENT_OPEN);
    stn_buf_fini(&answer);
    stn_buf_fini(&hello);
}

static struct stn_channel_client *connected(size_t i)
{
    stn_wire_enrol(&wire, i);
    struct stn_channel_client *client = stn_wire_client(&wire, i, false);
    connect_client(client);
    return client;
}

static struct stn_buf *request_of(struct stn_channel_client *client, const char *text,
                                  uint64_t *ret_counter)
{
    struct stn_buf *frame = new_buf();
    uint64_t counter;
    ck_assert_int_eq(stn_channel_client_request(client, text, strlen(text), frame, &counter, NULL),
                     STN_OK);
    if (ret_counter != NULL) {
        *ret_counter = counter;
    }
    return frame;
}

/* The request arrives, and is the one that was sent. */
static struct stn_channel_server_verdict arrives(const struct stn_buf *frame, const char *text)
{
    struct stn_buf answer = {0};
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, frame, &answer);
    ck_assert_int_eq(verdict.kind, STN_CHANNEL_SERVER_REQUEST);
    ck_assert_uint_eq(verdict.size, strlen(text));
    ck_assert_mem_eq(verdict.message, text, verdict.size);
    ck_assert_uint_eq(answer.size, 0);
    return verdict;
}

static struct stn_buf *reply_to(const struct stn_channel_server_verdict *verdict,
                                bool changes_state, const char *text)
{
    struct stn_buf *frame = new_buf();
    ck_assert_int_eq(stn_channel_server_reply(wire.server, verdict->session, verdict->counter,
                                              changes_state, text, strlen(text), frame, NULL),
                     STN_OK);
    return frame;
}

static enum stn_channel_server_kind kind_of(const struct stn_buf *frame)
{
    struct stn_buf answer = {0};
    enum stn_channel_server_kind kind = stn_wire_take(&wire, frame, &answer).kind;
    stn_buf_fini(&answer);
    return kind;
}

START_TEST(a_first_contact_enrols_and_brings_a_certificate)
{
    struct stn_channel_client *client = stn_wire_client(&wire, 1, true);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = new_buf();
    ck_assert_ptr_null(stn_channel_client_certificate(client));
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, hello_of(client), answer);
    ck_assert_int_eq(verdict.kind, STN_CHANNEL_SERVER_NEED_TOKEN);
    struct stn_ident ident;
    stn_wire_ident(&ident, 1);
    ck_assert_mem_eq(verdict.device.bytes, ident.pub, 32);
    ck_assert_uint_eq(answer->size, 0);
    stn_wire_ask_directory(&wire, &verdict, answer);
    ck_assert_int_eq(hear(client, answer, &heard), STN_OK);
    ck_assert_int_eq(heard.kind, STN_CHANNEL_CLIENT_OPEN);
    ck_assert(heard.is_enrolled);
    ck_assert_mem_eq(stn_channel_client_certificate(client), &wire.spent, sizeof wire.spent);
    verdict = arrives(request_of(client, "first", NULL), "first");
    ck_assert_mem_eq(verdict.device.bytes, ident.pub, 32);
    /* now it has a certificate, the next contact is by its key alone */
    connect_client(client);
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_enrolments, 0);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(an_enrolled_device_asks_and_is_answered)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    uint64_t counter;
    ck_assert_uint_eq(stn_channel_client_version(client), 1);
    struct stn_channel_server_verdict verdict =
        arrives(request_of(client, "what is new", &counter), "what is new");
    ck_assert_mem_eq(&verdict.device, &wire.devices[0], 32);
    ck_assert_uint_eq(verdict.version, 1);
    ck_assert_int_eq(hear(client, reply_to(&verdict, false, "nothing"), &heard), STN_OK);
    ck_assert_int_eq(heard.kind, STN_CHANNEL_CLIENT_REPLY);
    ck_assert_uint_eq(heard.counter, counter);
    ck_assert_uint_eq(heard.size, 7);
    ck_assert_mem_eq(heard.data, "nothing", 7);
    stn_channel_client_free(client);
}
END_TEST

/* What the client makes of the server's answer to its hello. */
static enum stn_code refused(struct stn_channel_client *client, enum stn_code *ret_hearsay)
{
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = new_buf();
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, hello_of(client), answer);
    if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
        stn_wire_ask_directory(&wire, &verdict, answer);
    }
    enum stn_code code = hear(client, answer, &heard);
    *ret_hearsay = stn_channel_client_refusal(client);
    return code;
}

START_TEST(a_device_that_nobody_enrolled_is_refused)
{
    struct stn_channel_client *client = stn_wire_client(&wire, 1, false);
    enum stn_code hearsay;
    ck_assert_int_eq(refused(client, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_DENIED);
    ck_assert(!stn_channel_client_is_open(client));
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_half_open, 0);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_spent_token_serves_its_own_device_again_and_no_other)
{
    struct stn_channel_client *first = stn_wire_client(&wire, 1, true),
                              *again = stn_wire_client(&wire, 1, true);
    struct stn_channel_client *other = stn_wire_client(&wire, 2, true);
    enum stn_code hearsay;
    connect_client(first);
    connect_client(again);
    ck_assert_int_eq(refused(other, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_DENIED);
    ck_assert_ptr_null(stn_channel_client_certificate(other));
    ck_assert_uint_eq(wire.n_enrolled, 1);
    stn_channel_client_free(first);
    stn_channel_client_free(again);
    stn_channel_client_free(other);
}
END_TEST

START_TEST(a_coordinator_with_another_key_gets_nowhere)
{
    struct stn_ident coordinator = wire.coordinator;
    stn_wire_ident(&wire.coordinator, 77);
    struct stn_channel_client *client = stn_wire_client(&wire, 1, false);
    enum stn_code hearsay;
    stn_wire_enrol(&wire, 1);
    ck_assert_int_eq(refused(client, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_DENIED);
    wire.coordinator = coordinator;
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_certificate_of_a_foreign_directory_is_not_taken)
{
    struct stn_channel_client *client = stn_wire_client(&wire, 1, true);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = new_buf();
    stn_wire_ident(&wire.directory, 78);
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, hello_of(client), answer);
    stn_wire_ask_directory(&wire, &verdict, answer);
    ck_assert_int_eq(hear(client, answer, &heard), STN_DENIED);
    ck_assert(!stn_channel_client_is_open(client));
    ck_assert_ptr_null(stn_channel_client_certificate(client));
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_coordinator_that_does_not_know_the_token_cannot_answer)
{
    struct stn_channel_client *client = stn_wire_client(&wire, 1, true);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = new_buf();
    static const uint8_t guess[32] = {1};
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, hello_of(client), answer);
    struct stn_ident_cert cert = {.token = verdict.token};
    memcpy(cert.device, verdict.device.bytes, 32);
    stn_ident_cert_sign(&cert, &wire.directory);
    ck_assert_int_eq(
        stn_channel_server_enrol(wire.server, verdict.enrolment, guess, &cert, answer, NULL),
        STN_OK);
    ck_assert_int_eq(hear(client, answer, &heard), STN_DENIED);
    ck_assert_int_eq(
        stn_channel_server_enrol(wire.server, verdict.enrolment, guess, &cert, answer, NULL),
        STN_LATE);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(an_unknown_version_is_refused_with_a_clear_code)
{
    struct stn_ident ident;
    struct stn_channel_client *client = NULL;
    enum stn_code hearsay;
    stn_wire_ident(&ident, 1);
    stn_wire_enrol(&wire, 1);
    struct stn_channel_client_config config = {.device = &ident,
                                               .coordinator = wire.coordinator.pub,
                                               .directory = wire.directory.pub,
                                               .version_min = 3,
                                               .version_max = 9};
    ck_assert_int_eq(stn_channel_client_new(&client, &config, NULL), STN_OK);
    ck_assert_int_eq(refused(client, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_UNSUPPORTED);
    stn_channel_client_free(client);
    config.version_min = 2;
    ck_assert_int_eq(stn_channel_client_new(&client, &config, NULL), STN_OK);
    connect_client(client);
    ck_assert_uint_eq(stn_channel_client_version(client), 2);
    struct stn_buf *frame = request_of(client, "x", NULL), *answer = new_buf();
    frame->data[1]++; /* a frame of tomorrow */
    ck_assert_int_eq(stn_wire_take(&wire, frame, answer).kind, STN_CHANNEL_SERVER_ANSWER);
    ck_assert_mem_eq(answer->data, "\6\1\0\0\0\0\0\0\0\0\0\0\x08\0\0\0", 16);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_repeated_change_happens_once_and_is_answered_in_the_same_bytes)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *request = request_of(client, "join", NULL), *again = new_buf();
    struct stn_channel_server_verdict verdict = arrives(request, "join");
    struct stn_channel_server_verdict repeated = stn_wire_take(&wire, request, again);
    ck_assert_int_eq(repeated.kind, STN_CHANNEL_SERVER_REPEATED);
    ck_assert_uint_eq(repeated.session, verdict.session);
    ck_assert_uint_eq(repeated.counter, verdict.counter);
    struct stn_buf *reply = reply_to(&verdict, true, "config");
    for (int i = 0; i < 100; i++) {
        stn_buf_clear(again);
        ck_assert_int_eq(stn_wire_take(&wire, request, again).kind, STN_CHANNEL_SERVER_ANSWER);
        ck_assert_uint_eq(again->size, reply->size);
        ck_assert_mem_eq(again->data, reply->data, reply->size);
    }
    ck_assert_int_eq(stn_channel_server_reply(wire.server, verdict.session, verdict.counter, true,
                                              "x", 1, again, NULL),
                     STN_LATE);
    ck_assert_int_eq(hear(client, reply, &heard), STN_OK);
    ck_assert_int_eq(hear(client, reply, &heard), STN_LATE); /* a replay of the reply */
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_repeated_read_is_answered_afresh_and_not_for_ever)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *request = request_of(client, "poll", NULL), *reply = NULL;
    for (uint64_t i = 0; i <= STN_CHANNEL_SERVER_REPEATS; i++) {
        struct stn_channel_server_verdict verdict = arrives(request, "poll");
        ck_assert_int_eq(kind_of(request), STN_CHANNEL_SERVER_REPEATED);
        reply = reply_to(&verdict, false, "wait");
        struct stn_frame frame;
        ck_assert_int_eq(stn_frame_get(&frame, reply->data, reply->size, NULL), STN_OK);
        ck_assert_uint_eq(frame.counter, i); /* never the same twice */
    }
    ck_assert_int_eq(kind_of(request), STN_CHANNEL_SERVER_DROP);
    ck_assert_int_eq(hear(client, reply, &heard), STN_OK);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_kept_reply_is_taken_however_late_it_is_repeated)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *first = request_of(client, "join", NULL), *again = new_buf();
    struct stn_channel_server_verdict verdict = arrives(first, "join");
    (void)reply_to(&verdict, true, "config"); /* lost */
    struct stn_buf *poll = request_of(client, "poll", NULL), *reply = NULL;
    for (int i = 0; i < 40; i++) { /* and forty more go by, some of them lost as well */
        if (i == STN_CHANNEL_SERVER_REPEATS || i == 2 * STN_CHANNEL_SERVER_REPEATS) {
            poll = request_of(client, "poll", NULL);
        }
        verdict = arrives(poll, "poll");
        reply = reply_to(&verdict, false, "wait");
    }
    ck_assert_int_eq(hear(client, reply, &heard), STN_OK);
    ck_assert_int_eq(stn_wire_take(&wire, first, again).kind, STN_CHANNEL_SERVER_ANSWER);
    ck_assert_int_eq(hear(client, again, &heard), STN_OK);
    ck_assert_uint_eq(heard.counter, 0);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_change_whose_reply_is_too_big_to_keep_is_still_done_once)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    static char big[STN_REPLYCACHE_SIZE + 1];
    memset(big, 'm', STN_REPLYCACHE_SIZE);
    struct stn_buf *request = request_of(client, "put_begin", NULL);
    struct stn_channel_server_verdict verdict = arrives(request, "put_begin");
    struct stn_buf *reply = reply_to(&verdict, true, big);
    ck_assert_int_eq(kind_of(request), STN_CHANNEL_SERVER_DROP);
    ck_assert_int_eq(hear(client, reply, &heard), STN_OK);
    ck_assert_uint_eq(heard.size, STN_REPLYCACHE_SIZE);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(thirty_two_requests_may_be_under_way_in_any_order_and_no_more)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *requests[32], *more = new_buf();
    uint64_t counter;
    for (int i = 0; i < 32; i++) {
        requests[i] = request_of(client, "r", NULL);
    }
    ck_assert_int_eq(stn_channel_client_request(client, "r", 1, more, &counter, NULL), STN_AGAIN);
    ck_assert_uint_eq(more->size, 0);
    for (int i = 31; i > 0; i--) {
        struct stn_channel_server_verdict verdict = arrives(requests[i], "r");
        struct stn_buf reply = {0};
        ck_assert_int_eq(stn_channel_server_reply(wire.server, verdict.session, verdict.counter,
                                                  true, "y", 1, &reply, NULL),
                         STN_OK);
        ck_assert_int_eq(hear(client, &reply, &heard), STN_OK);
        stn_buf_fini(&reply);
    }
    /* the oldest holds everything up until it is answered or given up */
    ck_assert_int_eq(stn_channel_client_request(client, "r", 1, more, &counter, NULL), STN_AGAIN);
    stn_channel_client_forget(client, 0);
    ck_assert_int_eq(stn_channel_client_request(client, "r", 1, more, &counter, NULL), STN_OK);
    ck_assert_uint_eq(counter, 32);
    (void)arrives(more, "r");
    ck_assert_int_eq(kind_of(requests[0]), STN_CHANNEL_SERVER_DROP); /* the window has left it */
    ck_assert_int_eq(kind_of(requests[1]), STN_CHANNEL_SERVER_ANSWER);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_frame_with_any_bit_changed_changes_nothing)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *request = request_of(client, "leave", NULL);
    for (size_t bit = 0; bit < 8 * request->size; bit++) {
        request->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum stn_channel_server_kind kind = kind_of(request);
        ck_assert(kind == STN_CHANNEL_SERVER_DROP || kind == STN_CHANNEL_SERVER_ANSWER);
        request->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_open, 0);
    struct stn_channel_server_verdict verdict = arrives(request, "leave");
    struct stn_buf *reply = reply_to(&verdict, true, "ok");
    for (size_t bit = 0; bit < 8 * reply->size; bit++) {
        reply->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_ne(hear(client, reply, &heard), STN_OK);
        reply->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_int_eq(hear(client, reply, &heard), STN_OK);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_forged_answer_does_not_end_a_handshake)
{
    stn_wire_enrol(&wire, 1);
    struct stn_channel_client *client = stn_wire_client(&wire, 1, false);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = new_buf();
    (void)stn_wire_take(&wire, hello_of(client), answer);
    for (size_t i = 0; i < answer->size; i++) {
        answer->data[i] ^= 0x40;
        ck_assert_int_ne(hear(client, answer, &heard), STN_OK);
        answer->data[i] ^= 0x40;
    }
    ck_assert_int_eq(hear(client, answer, &heard), STN_OK);
    ck_assert_int_eq(hear(client, answer, &heard), STN_LATE);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_session_is_replaced_at_the_first_verified_record_of_the_next)
{
    struct stn_channel_client *old = connected(1), *new = stn_wire_client(&wire, 1, false);
    struct stn_channel_client_heard heard;
    struct stn_channel_server_verdict first = arrives(request_of(old, "a", NULL), "a");
    connect_client(new);
    (void)arrives(request_of(old, "b", NULL), "b"); /* a handshake alone closes nothing */
    struct stn_buf *request = request_of(new, "c", NULL);
    request->data[request->size - 1] ^= 1;
    ck_assert_int_eq(kind_of(request), STN_CHANNEL_SERVER_DROP);
    (void)arrives(request_of(old, "d", NULL), "d"); /* nor does a record that does not verify */
    request->data[request->size - 1] ^= 1;
    struct stn_channel_server_verdict verdict = arrives(request, "c");
    ck_assert_uint_eq(verdict.closed, first.session);
    ck_assert_uint_eq(arrives(request_of(new, "e", NULL), "e").closed, 0);
    struct stn_buf *answer = new_buf();
    ck_assert_int_eq(stn_wire_take(&wire, request_of(old, "f", NULL), answer).kind,
                     STN_CHANNEL_SERVER_ANSWER);
    ck_assert_int_eq(hear(old, answer, &heard), STN_AGAIN);
    ck_assert_int_eq(stn_channel_client_refusal(old), STN_NOT_FOUND);
    ck_assert_int_eq(stn_channel_server_reply(wire.server, first.session, first.counter, true, "x",
                                              1, answer, NULL),
                     STN_LATE);
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_open, 1);
    stn_channel_client_free(old);
    stn_channel_client_free(new);
}
END_TEST

START_TEST(forged_refusals_cost_nothing_but_spaced_out_handshakes)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_channel_server_verdict verdict = arrives(request_of(client, "a", NULL), "a");
    struct stn_buf forged = {0}, hello = {0};
    ck_assert(stn_buf_add(&forged, "\6\1\0\0\0\0\0\0\0\0\0\0\3\0\0\0", 16));
    stn_buf_put_u64(forged.data + 4, verdict.session);
    uint64_t waits[8];
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(hear(client, &forged, &heard), STN_AGAIN);
        now_ms += stn_channel_client_wait_ms(client, now_ms);
        ck_assert_int_eq(stn_channel_client_start(client, now_ms, &hello, NULL), STN_OK);
        waits[i] = stn_channel_client_wait_ms(client, now_ms);
        ck_assert_int_eq(stn_channel_client_start(client, now_ms + waits[i] - 1, &hello, NULL),
                         STN_AGAIN);
    }
    ck_assert_uint_eq(waits[0], 2000);
    ck_assert_uint_eq(waits[1], 4000);
    ck_assert_uint_eq(waits[7], STN_CHANNEL_CLIENT_WAIT_MAX);
    /* and the session goes on */
    ck_assert_int_eq(hear(client, reply_to(&verdict, true, "ok"), &heard), STN_OK);
    ck_assert_uint_le(stn_channel_client_wait_ms(client, now_ms), STN_CHANNEL_CLIENT_WAIT_MIN);
    stn_buf_put_u64(forged.data + 4, verdict.session + 1);
    ck_assert_int_eq(hear(client, &forged, &heard), STN_LATE); /* of no session of ours */
    stn_buf_fini(&forged);
    stn_buf_fini(&hello);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(ten_thousand_hellos_of_strangers_leave_nothing_behind)
{
    struct stn_channel_client *client = connected(1);
    struct stn_buf hello = {0}, answer = {0}, valid = {0};
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    now_ms += stn_channel_client_wait_ms(client, now_ms);
    ck_assert_int_eq(stn_channel_client_start(client, now_ms, &valid, NULL), STN_OK);
    (void)arrives(request_of(client, "a", NULL), "a");
    ck_assert_ptr_nonnull(stn_buf_extend(&hello, 150));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 10000; i++) {
        for (size_t at = 0; at < hello.size; at++) {
            hello.data[at] = (uint8_t)stn_rng_u64(&rng);
        }
        memcpy(hello.data, i % 2 == 0 ? "\1\1\0\0" : "\2\1\0\0", 4);
        stn_buf_clear(&answer);
        ck_assert_int_eq(stn_wire_take(&wire, i % 16 == 0 ? &valid : &hello, &answer).kind,
                         STN_CHANNEL_SERVER_ANSWER);
    }
    /* the replays of one device's hello are half-open sessions, as many as one device may have */
    struct stn_channel_server_stats stats = stn_channel_server_stats(wire.server);
    ck_assert_uint_eq(stats.n_half_open, STN_CHANNEL_SERVER_HELLOS);
    ck_assert_uint_eq(stats.n_open, 1);
    ck_assert_uint_eq(stats.n_enrolments, 0);
    ck_assert_uint_lt(mallinfo2().uordblks, before + 16384);
    (void)arrives(request_of(client, "still there", NULL), "still there");
    stn_buf_fini(&hello);
    stn_buf_fini(&answer);
    stn_buf_fini(&valid);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(the_tables_are_bounded_and_the_oldest_makes_room)
{
    struct stn_channel_client *clients[STN_WIRE_OPEN + 1];
    struct stn_buf hello = {0}, answer = {0};
    for (size_t i = 0; i <= STN_WIRE_OPEN; i++) {
        clients[i] = connected(i);
        (void)arrives(request_of(clients[i], "a", NULL), "a");
    }
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_open, STN_WIRE_OPEN);
    ck_assert_int_eq(kind_of(request_of(clients[0], "b", NULL)),
                     STN_CHANNEL_SERVER_ANSWER); /* unknown session */
    (void)arrives(request_of(clients[1], "b", NULL), "b");
    for (size_t i = 100; i < 100 + STN_WIRE_HALF_OPEN + 10; i++) {
        struct stn_channel_client *client = stn_wire_client(&wire, i, false);
        stn_wire_enrol(&wire, i);
        stn_buf_clear(&hello);
        ck_assert_int_eq(stn_channel_client_start(client, now_ms, &hello, NULL), STN_OK);
        ck_assert_int_eq(stn_wire_take(&wire, &hello, &answer).kind, STN_CHANNEL_SERVER_ANSWER);
        stn_channel_client_free(client);
    }
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_half_open, STN_WIRE_HALF_OPEN);
    for (size_t i = 0; i < STN_WIRE_ENROLMENTS + 5; i++) {
        struct stn_channel_client *client = stn_wire_client(&wire, 500 + i, true);
        stn_buf_clear(&hello);
        ck_assert_int_eq(stn_channel_client_start(client, now_ms, &hello, NULL), STN_OK);
        ck_assert_int_eq(stn_wire_take(&wire, &hello, &answer).kind, STN_CHANNEL_SERVER_NEED_TOKEN);
        stn_channel_client_free(client);
    }
    ck_assert_uint_eq(stn_channel_server_stats(wire.server).n_enrolments, STN_WIRE_ENROLMENTS);
    (void)arrives(request_of(clients[1], "c", NULL), "c");
    stn_channel_server_forget(wire.server, &wire.devices[1]);
    ck_assert_int_eq(kind_of(request_of(clients[1], "d", NULL)), STN_CHANNEL_SERVER_ANSWER);
    for (size_t i = 0; i <= STN_WIRE_OPEN; i++) {
        stn_channel_client_free(clients[i]);
    }
    stn_buf_fini(&hello);
    stn_buf_fini(&answer);
}
END_TEST

START_TEST(a_record_holds_a_megabyte_and_not_a_byte_more)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_buf *frame = new_buf(), *reply = new_buf();
    const size_t size = (size_t)1 << 20;
    uint8_t *message = stn_mem_new(1, size + 1);
    uint64_t counter;
    message[size - 1] = 9;
    ck_assert_int_eq(stn_channel_client_request(client, message, size + 1, frame, &counter, NULL),
                     STN_LIMIT);
    ck_assert_uint_eq(frame->size, 0);
    ck_assert_int_eq(stn_channel_client_request(client, message, size, frame, &counter, NULL),
                     STN_OK);
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, frame, reply);
    ck_assert_int_eq(verdict.kind, STN_CHANNEL_SERVER_REQUEST);
    ck_assert_uint_eq(verdict.size, size);
    ck_assert_mem_eq(verdict.message, message, size);
    ck_assert_int_eq(stn_channel_server_reply(wire.server, verdict.session, counter, false, message,
                                              size + 1, reply, NULL),
                     STN_LIMIT);
    ck_assert_int_eq(stn_channel_server_reply(wire.server, verdict.session, counter, false, message,
                                              size, reply, NULL),
                     STN_OK);
    ck_assert_int_eq(hear(client, reply, &heard), STN_OK);
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

START_TEST(on_a_bad_line_no_counter_seals_twice_and_every_change_happens_once)
{
    struct stn_channel_client *client = connected(1);
    struct stn_channel_client_heard heard;
    struct stn_rng rng;
    static uint32_t n_done[2048];
    struct {
        bool waits;
        uint64_t counter;
        struct stn_buf frame;
    } asked[20] = {0};
    uint32_t n_asked = 0, n_answered = 0;
    stn_rng_init(&rng, (uint64_t)_i);
    for (int turn = 0; turn < 4000; turn++) {
        size_t i = (size_t)stn_rng_below(&rng, 20);
        if (!asked[i].waits && n_asked < 2048) {
            stn_buf_clear(&asked[i].frame);
            if (stn_channel_client_request(client, &n_asked, sizeof n_asked, &asked[i].frame,
                                           &asked[i].counter, NULL) != STN_OK) {
                continue;
            }
            note(&sealed[0], &asked[i].frame);
            asked[i].waits = true;
            n_asked++;
        }
        struct stn_buf answer = {0};
        struct stn_channel_server_verdict verdict = {0};
        if (stn_rng_below(&rng, 4) != 0) { /* else the request is lost */
            verdict = stn_wire_take(&wire, &asked[i].frame, &answer);
        }
        if (verdict.kind == STN_CHANNEL_SERVER_REQUEST) {
            uint32_t number;
            ck_assert_uint_eq(verdict.size, sizeof number);
            memcpy(&number, verdict.message, sizeof number);
            n_done[number]++;
            ck_assert_int_eq(stn_channel_server_reply(wire.server, verdict.session, verdict.counter,
                                                      true, "ok", 2, &answer, NULL),
                             STN_OK);
        }
        if (answer.size > 0) {
            note(&sealed[1], &answer);
            if (stn_rng_below(&rng, 4) != 0 && hear(client, &answer, &heard) == STN_OK) {
                ck_assert_uint_eq(heard.counter, asked[i].counter);
                asked[i].waits = false;
                n_answered++;
            }
        }
        stn_buf_fini(&answer);
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
    memset(n_done, 0, sizeof n_done);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_failing_allocation_is_a_drop_and_the_device_may_try_again)
{
    for (uint64_t n = 1; n < 12; n++) {
        stn_wire_enrol(&wire, 1);
        struct stn_channel_client *client = stn_wire_client(&wire, 1, n % 2 == 0);
        struct stn_buf hello = {0}, answer = {0};
        ck_assert_int_eq(stn_channel_client_start(client, now_ms, &hello, NULL), STN_OK);
        stn_mem_fail_from(n);
        struct stn_channel_server_verdict verdict = stn_wire_take(&wire, &hello, &answer);
        if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
            stn_wire_ask_directory(&wire, &verdict, &answer);
        }
        stn_mem_fail_from(0);
        ck_assert(verdict.kind == STN_CHANNEL_SERVER_DROP ? answer.size == 0 : true);
        now_ms += 100000;
        connect_client(client);
        struct stn_buf request = {0};
        uint64_t counter;
        ck_assert_int_eq(stn_channel_client_request(client, "a", 1, &request, &counter, NULL),
                         STN_OK);
        stn_mem_fail_from(n);
        verdict = stn_wire_take(&wire, &request, &answer);
        stn_mem_fail_from(0);
        ck_assert(verdict.kind == STN_CHANNEL_SERVER_REQUEST ||
                  verdict.kind == STN_CHANNEL_SERVER_DROP);
        stn_buf_fini(&request);
        stn_buf_fini(&hello);
        stn_buf_fini(&answer);
        stn_channel_client_free(client);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("channel");
    TCase *t = tcase_create("channel");
    tcase_add_checked_fixture(t, start, stop);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_first_contact_enrols_and_brings_a_certificate);
    tcase_add_test(t, an_enrolled_device_asks_and_is_answered);
    tcase_add_test(t, a_device_that_nobody_enrolled_is_refused);
    tcase_add_test(t, a_spent_token_serves_its_own_device_again_and_no_other);
    tcase_add_test(t, a_coordinator_with_another_key_gets_nowhere);
    tcase_add_test(t, a_certificate_of_a_foreign_directory_is_not_taken);
    tcase_add_test(t, a_coordinator_that_does_not_know_the_token_cannot_answer);
    tcase_add_test(t, an_unknown_version_is_refused_with_a_clear_code);
    tcase_add_test(t, a_repeated_change_happens_once_and_is_answered_in_the_same_bytes);
    tcase_add_test(t, a_repeated_read_is_answered_afresh_and_not_for_ever);
    tcase_add_test(t, a_kept_reply_is_taken_however_late_it_is_repeated);
    tcase_add_test(t, a_change_whose_reply_is_too_big_to_keep_is_still_done_once);
    tcase_add_test(t, thirty_two_requests_may_be_under_way_in_any_order_and_no_more);
    tcase_add_test(t, a_frame_with_any_bit_changed_changes_nothing);
    tcase_add_test(t, a_forged_answer_does_not_end_a_handshake);
    tcase_add_test(t, a_session_is_replaced_at_the_first_verified_record_of_the_next);
    tcase_add_test(t, forged_refusals_cost_nothing_but_spaced_out_handshakes);
    tcase_add_test(t, ten_thousand_hellos_of_strangers_leave_nothing_behind);
    tcase_add_test(t, the_tables_are_bounded_and_the_oldest_makes_room);
    tcase_add_test(t, a_record_holds_a_megabyte_and_not_a_byte_more);
    tcase_add_loop_test(t, on_a_bad_line_no_counter_seals_twice_and_every_change_happens_once, 0,
                        4);
    tcase_add_test(t, a_failing_allocation_is_a_drop_and_the_device_may_try_again);
    suite_add_tcase(s, t);
    return s;
}
