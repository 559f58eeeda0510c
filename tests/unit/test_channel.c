#include "tests/lib/run.h"

#include <malloc.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/lib/talk.h"

START_TEST(a_first_contact_enrols_and_brings_a_certificate)
{
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, true);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = stn_talk_buf();
    ck_assert_ptr_null(stn_channel_client_certificate(client));
    struct stn_channel_server_verdict verdict =
        stn_wire_take(&stn_talk_wire, stn_talk_hello(client), answer);
    ck_assert_int_eq(verdict.kind, STN_CHANNEL_SERVER_NEED_TOKEN);
    struct stn_ident ident;
    stn_wire_ident(&ident, 1);
    ck_assert_mem_eq(verdict.device.bytes, ident.pub, 32);
    ck_assert_uint_eq(answer->size, 0);
    stn_wire_ask_directory(&stn_talk_wire, &verdict, answer);
    ck_assert_int_eq(stn_talk_hear(client, answer, &heard), STN_OK);
    ck_assert_int_eq(heard.kind, STN_CHANNEL_CLIENT_OPEN);
    ck_assert(heard.is_enrolled);
    ck_assert_mem_eq(stn_channel_client_certificate(client), &stn_talk_wire.spent,
                     sizeof stn_talk_wire.spent);
    verdict = stn_talk_arrives(stn_talk_request(client, "first", NULL), "first");
    ck_assert_mem_eq(verdict.device.bytes, ident.pub, 32);
    /* now it has a certificate, the next contact is by its key alone */
    stn_talk_connect(client);
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_enrolments, 0);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(an_enrolled_device_asks_and_is_answered)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    uint64_t counter;
    ck_assert_uint_eq(stn_channel_client_version(client), 1);
    struct stn_channel_server_verdict verdict =
        stn_talk_arrives(stn_talk_request(client, "what is new", &counter), "what is new");
    ck_assert_mem_eq(&verdict.device, &stn_talk_wire.devices[0], 32);
    ck_assert_uint_eq(verdict.version, 1);
    ck_assert_int_eq(stn_talk_hear(client, stn_talk_reply(&verdict, false, "nothing"), &heard),
                     STN_OK);
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
    struct stn_buf *answer = stn_talk_buf();
    struct stn_channel_server_verdict verdict =
        stn_wire_take(&stn_talk_wire, stn_talk_hello(client), answer);
    if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
        stn_wire_ask_directory(&stn_talk_wire, &verdict, answer);
    }
    enum stn_code code = stn_talk_hear(client, answer, &heard);
    *ret_hearsay = stn_channel_client_refusal(client);
    return code;
}

START_TEST(a_device_that_nobody_enrolled_is_refused)
{
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, false);
    enum stn_code hearsay;
    ck_assert_int_eq(refused(client, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_DENIED);
    ck_assert(!stn_channel_client_is_open(client));
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_half_open, 0);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_spent_token_serves_its_own_device_again_and_no_other)
{
    struct stn_channel_client *first = stn_wire_client(&stn_talk_wire, 1, true),
                              *again = stn_wire_client(&stn_talk_wire, 1, true);
    struct stn_channel_client *other = stn_wire_client(&stn_talk_wire, 2, true);
    enum stn_code hearsay;
    stn_talk_connect(first);
    stn_talk_connect(again);
    ck_assert_int_eq(refused(other, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_DENIED);
    ck_assert_ptr_null(stn_channel_client_certificate(other));
    ck_assert_uint_eq(stn_talk_wire.n_enrolled, 1);
    stn_channel_client_free(first);
    stn_channel_client_free(again);
    stn_channel_client_free(other);
}
END_TEST

START_TEST(a_coordinator_with_another_key_gets_nowhere)
{
    struct stn_ident coordinator = stn_talk_wire.coordinator;
    stn_wire_ident(&stn_talk_wire.coordinator, 77);
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, false);
    enum stn_code hearsay;
    stn_wire_enrol(&stn_talk_wire, 1);
    ck_assert_int_eq(refused(client, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_DENIED);
    stn_talk_wire.coordinator = coordinator;
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_certificate_of_a_foreign_directory_is_not_taken)
{
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, true);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = stn_talk_buf();
    stn_wire_ident(&stn_talk_wire.directory, 78);
    struct stn_channel_server_verdict verdict =
        stn_wire_take(&stn_talk_wire, stn_talk_hello(client), answer);
    stn_wire_ask_directory(&stn_talk_wire, &verdict, answer);
    ck_assert_int_eq(stn_talk_hear(client, answer, &heard), STN_DENIED);
    ck_assert(!stn_channel_client_is_open(client));
    ck_assert_ptr_null(stn_channel_client_certificate(client));
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_coordinator_that_does_not_know_the_token_cannot_answer)
{
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, true);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = stn_talk_buf();
    static const uint8_t guess[32] = {1};
    struct stn_channel_server_verdict verdict =
        stn_wire_take(&stn_talk_wire, stn_talk_hello(client), answer);
    struct stn_ident_cert cert = {.token = verdict.token};
    memcpy(cert.device, verdict.device.bytes, 32);
    stn_ident_cert_sign(&cert, &stn_talk_wire.directory);
    ck_assert_int_eq(stn_channel_server_enrol(stn_talk_wire.server, verdict.enrolment, guess, &cert,
                                              answer, NULL),
                     STN_OK);
    ck_assert_int_eq(stn_talk_hear(client, answer, &heard), STN_DENIED);
    ck_assert_int_eq(stn_channel_server_enrol(stn_talk_wire.server, verdict.enrolment, guess, &cert,
                                              answer, NULL),
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
    stn_wire_enrol(&stn_talk_wire, 1);
    struct stn_channel_client_config config = {.device = &ident,
                                               .coordinator = stn_talk_wire.coordinator.pub,
                                               .directory = stn_talk_wire.directory.pub,
                                               .version_min = 3,
                                               .version_max = 9};
    ck_assert_int_eq(stn_channel_client_new(&client, &config, NULL), STN_OK);
    ck_assert_int_eq(refused(client, &hearsay), STN_AGAIN);
    ck_assert_int_eq(hearsay, STN_UNSUPPORTED);
    stn_channel_client_free(client);
    config.version_min = 2;
    ck_assert_int_eq(stn_channel_client_new(&client, &config, NULL), STN_OK);
    stn_talk_connect(client);
    ck_assert_uint_eq(stn_channel_client_version(client), 2);
    struct stn_buf *frame = stn_talk_request(client, "x", NULL), *answer = stn_talk_buf();
    frame->data[1]++; /* a frame of tomorrow */
    ck_assert_int_eq(stn_wire_take(&stn_talk_wire, frame, answer).kind, STN_CHANNEL_SERVER_ANSWER);
    ck_assert_mem_eq(answer->data, "\6\1\0\0\0\0\0\0\0\0\0\0\x08\0\0\0", 16);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_forged_answer_does_not_end_a_handshake)
{
    stn_wire_enrol(&stn_talk_wire, 1);
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, false);
    struct stn_channel_client_heard heard;
    struct stn_buf *answer = stn_talk_buf();
    (void)stn_wire_take(&stn_talk_wire, stn_talk_hello(client), answer);
    for (size_t i = 0; i < answer->size; i++) {
        answer->data[i] ^= 0x40;
        ck_assert_int_ne(stn_talk_hear(client, answer, &heard), STN_OK);
        answer->data[i] ^= 0x40;
    }
    ck_assert_int_eq(stn_talk_hear(client, answer, &heard), STN_OK);
    ck_assert_int_eq(stn_talk_hear(client, answer, &heard), STN_LATE);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(a_session_is_replaced_at_the_first_verified_record_of_the_next)
{
    struct stn_channel_client *old = stn_talk_connected(1),
                              *new = stn_wire_client(&stn_talk_wire, 1, false);
    struct stn_channel_client_heard heard;
    struct stn_channel_server_verdict first =
        stn_talk_arrives(stn_talk_request(old, "a", NULL), "a");
    stn_talk_connect(new);
    (void)stn_talk_arrives(stn_talk_request(old, "b", NULL),
                           "b"); /* a handshake alone closes nothing */
    struct stn_buf *request = stn_talk_request(new, "c", NULL);
    request->data[request->size - 1] ^= 1;
    ck_assert_int_eq(stn_talk_kind(request), STN_CHANNEL_SERVER_DROP);
    (void)stn_talk_arrives(stn_talk_request(old, "d", NULL),
                           "d"); /* nor does a record that does not verify */
    request->data[request->size - 1] ^= 1;
    struct stn_channel_server_verdict verdict = stn_talk_arrives(request, "c");
    ck_assert_uint_eq(verdict.closed, first.session);
    ck_assert_uint_eq(stn_talk_arrives(stn_talk_request(new, "e", NULL), "e").closed, 0);
    struct stn_buf *answer = stn_talk_buf();
    ck_assert_int_eq(stn_wire_take(&stn_talk_wire, stn_talk_request(old, "f", NULL), answer).kind,
                     STN_CHANNEL_SERVER_ANSWER);
    ck_assert_int_eq(stn_talk_hear(old, answer, &heard), STN_AGAIN);
    ck_assert_int_eq(stn_channel_client_refusal(old), STN_NOT_FOUND);
    ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, first.session, first.counter,
                                              true, "x", 1, answer, NULL),
                     STN_LATE);
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_open, 1);
    stn_channel_client_free(old);
    stn_channel_client_free(new);
}
END_TEST

START_TEST(a_session_that_was_passed_over_does_not_come_back)
{
    struct stn_channel_client *first = stn_talk_connected(1), *second = stn_talk_connected(1);
    struct stn_channel_client *third = stn_talk_connected(1);
    struct stn_buf *held_back = stn_talk_request(first, "a", NULL);
    (void)stn_talk_arrives(stn_talk_request(second, "b", NULL), "b");
    ck_assert_int_eq(stn_talk_kind(held_back), STN_CHANNEL_SERVER_ANSWER); /* of no session */
    (void)stn_talk_arrives(stn_talk_request(second, "c", NULL), "c");
    (void)stn_talk_arrives(stn_talk_request(third, "d", NULL), "d"); /* a later one does come */
    ck_assert_int_eq(stn_talk_kind(stn_talk_request(second, "e", NULL)), STN_CHANNEL_SERVER_ANSWER);
    struct stn_channel_server_stats stats = stn_channel_server_stats(stn_talk_wire.server);
    ck_assert_uint_eq(stats.n_open, 1);
    ck_assert_uint_eq(stats.n_half_open, 0);
    stn_channel_client_free(first);
    stn_channel_client_free(second);
    stn_channel_client_free(third);
}
END_TEST

START_TEST(forged_refusals_cost_nothing_but_spaced_out_handshakes)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_channel_client_heard heard;
    struct stn_channel_server_verdict verdict =
        stn_talk_arrives(stn_talk_request(client, "a", NULL), "a");
    struct stn_buf forged = {0}, hello = {0};
    ck_assert(stn_buf_add(&forged, "\6\1\0\0\0\0\0\0\0\0\0\0\3\0\0\0", 16));
    stn_buf_put_u64(forged.data + 4, verdict.session);
    uint64_t waits[8];
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(stn_talk_hear(client, &forged, &heard), STN_AGAIN);
        stn_talk_now_ms += stn_channel_client_wait_ms(client, stn_talk_now_ms);
        ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, &hello, NULL), STN_OK);
        waits[i] = stn_channel_client_wait_ms(client, stn_talk_now_ms);
        ck_assert_int_eq(
            stn_channel_client_start(client, stn_talk_now_ms + waits[i] - 1, &hello, NULL),
            STN_AGAIN);
    }
    ck_assert_uint_eq(waits[0], 2000);
    ck_assert_uint_eq(waits[1], 4000);
    ck_assert_uint_eq(waits[7], STN_CHANNEL_CLIENT_WAIT_MAX);
    /* and the session goes on */
    ck_assert_int_eq(stn_talk_hear(client, stn_talk_reply(&verdict, true, "ok"), &heard), STN_OK);
    ck_assert_uint_le(stn_channel_client_wait_ms(client, stn_talk_now_ms),
                      STN_CHANNEL_CLIENT_WAIT_MIN);
    stn_buf_put_u64(forged.data + 4, verdict.session + 1);
    ck_assert_int_eq(stn_talk_hear(client, &forged, &heard), STN_LATE); /* of no session of ours */
    stn_buf_fini(&forged);
    stn_buf_fini(&hello);
    stn_channel_client_free(client);
}
END_TEST

START_TEST(ten_thousand_hellos_of_strangers_leave_nothing_behind)
{
    struct stn_channel_client *client = stn_talk_connected(1);
    struct stn_buf hello = {0}, answer = {0}, valid = {0};
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    stn_talk_now_ms += stn_channel_client_wait_ms(client, stn_talk_now_ms);
    ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, &valid, NULL), STN_OK);
    (void)stn_talk_arrives(stn_talk_request(client, "a", NULL), "a");
    ck_assert_ptr_nonnull(stn_buf_extend(&hello, 150));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 10000; i++) {
        for (size_t at = 0; at < hello.size; at++) {
            hello.data[at] = (uint8_t)stn_rng_u64(&rng);
        }
        memcpy(hello.data, i % 2 == 0 ? "\1\1\0\0" : "\2\1\0\0", 4);
        stn_buf_clear(&answer);
        ck_assert_int_eq(stn_wire_take(&stn_talk_wire, i % 16 == 0 ? &valid : &hello, &answer).kind,
                         STN_CHANNEL_SERVER_ANSWER);
    }
    /* the replays of one device's hello are half-open sessions, as many as one device may have */
    struct stn_channel_server_stats stats = stn_channel_server_stats(stn_talk_wire.server);
    ck_assert_uint_eq(stats.n_half_open, STN_CHANNEL_SERVER_HELLOS);
    ck_assert_uint_eq(stats.n_open, 1);
    ck_assert_uint_eq(stats.n_enrolments, 0);
    ck_assert_uint_lt(mallinfo2().uordblks, before + 16384);
    (void)stn_talk_arrives(stn_talk_request(client, "still there", NULL), "still there");
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
        clients[i] = stn_talk_connected(i);
        (void)stn_talk_arrives(stn_talk_request(clients[i], "a", NULL), "a");
    }
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_open, STN_WIRE_OPEN);
    ck_assert_int_eq(stn_talk_kind(stn_talk_request(clients[0], "b", NULL)),
                     STN_CHANNEL_SERVER_ANSWER); /* unknown session */
    (void)stn_talk_arrives(stn_talk_request(clients[1], "b", NULL), "b");
    for (size_t i = 100; i < 100 + STN_WIRE_HALF_OPEN + 10; i++) {
        struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, i, false);
        stn_wire_enrol(&stn_talk_wire, i);
        stn_buf_clear(&hello);
        ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, &hello, NULL), STN_OK);
        ck_assert_int_eq(stn_wire_take(&stn_talk_wire, &hello, &answer).kind,
                         STN_CHANNEL_SERVER_ANSWER);
        stn_channel_client_free(client);
    }
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_half_open,
                      STN_WIRE_HALF_OPEN);
    for (size_t i = 0; i < STN_WIRE_ENROLMENTS + 5; i++) {
        struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 500 + i, true);
        stn_buf_clear(&hello);
        ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, &hello, NULL), STN_OK);
        ck_assert_int_eq(stn_wire_take(&stn_talk_wire, &hello, &answer).kind,
                         STN_CHANNEL_SERVER_NEED_TOKEN);
        stn_channel_client_free(client);
    }
    ck_assert_uint_eq(stn_channel_server_stats(stn_talk_wire.server).n_enrolments,
                      STN_WIRE_ENROLMENTS);
    (void)stn_talk_arrives(stn_talk_request(clients[1], "c", NULL), "c");
    stn_channel_server_forget(stn_talk_wire.server, &stn_talk_wire.devices[1]);
    ck_assert_int_eq(stn_talk_kind(stn_talk_request(clients[1], "d", NULL)),
                     STN_CHANNEL_SERVER_ANSWER);
    for (size_t i = 0; i <= STN_WIRE_OPEN; i++) {
        stn_channel_client_free(clients[i]);
    }
    stn_buf_fini(&hello);
    stn_buf_fini(&answer);
}
END_TEST

START_TEST(a_failing_allocation_is_a_drop_and_the_device_may_try_again)
{
    for (uint64_t n = 1; n < 12; n++) {
        stn_wire_enrol(&stn_talk_wire, 1);
        struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, 1, n % 2 == 0);
        struct stn_buf hello = {0}, answer = {0};
        ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, &hello, NULL), STN_OK);
        stn_mem_fail_from(n);
        struct stn_channel_server_verdict verdict = stn_wire_take(&stn_talk_wire, &hello, &answer);
        if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
            stn_wire_ask_directory(&stn_talk_wire, &verdict, &answer);
        }
        stn_mem_fail_from(0);
        ck_assert(verdict.kind == STN_CHANNEL_SERVER_DROP ? answer.size == 0 : true);
        stn_talk_now_ms += 100000;
        stn_talk_connect(client);
        struct stn_buf request = {0};
        uint64_t counter;
        ck_assert_int_eq(stn_channel_client_request(client, "a", 1, &request, &counter, NULL),
                         STN_OK);
        stn_mem_fail_from(n);
        verdict = stn_wire_take(&stn_talk_wire, &request, &answer);
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
    tcase_add_checked_fixture(t, stn_talk_start, stn_talk_stop);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_first_contact_enrols_and_brings_a_certificate);
    tcase_add_test(t, an_enrolled_device_asks_and_is_answered);
    tcase_add_test(t, a_device_that_nobody_enrolled_is_refused);
    tcase_add_test(t, a_spent_token_serves_its_own_device_again_and_no_other);
    tcase_add_test(t, a_coordinator_with_another_key_gets_nowhere);
    tcase_add_test(t, a_certificate_of_a_foreign_directory_is_not_taken);
    tcase_add_test(t, a_coordinator_that_does_not_know_the_token_cannot_answer);
    tcase_add_test(t, an_unknown_version_is_refused_with_a_clear_code);
    tcase_add_test(t, a_forged_answer_does_not_end_a_handshake);
    tcase_add_test(t, a_session_is_replaced_at_the_first_verified_record_of_the_next);
    tcase_add_test(t, a_session_that_was_passed_over_does_not_come_back);
    tcase_add_test(t, forged_refusals_cost_nothing_but_spaced_out_handshakes);
    tcase_add_test(t, ten_thousand_hellos_of_strangers_leave_nothing_behind);
    tcase_add_test(t, the_tables_are_bounded_and_the_oldest_makes_room);
    tcase_add_test(t, a_failing_allocation_is_a_drop_and_the_device_may_try_again);
    suite_add_tcase(s, t);
    return s;
}
