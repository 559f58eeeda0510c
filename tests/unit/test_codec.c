#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "proto/codec.h"
#include "tests/lib/say.h"

static struct stn_buf encoded(const struct stn_msg *msg)
{
    struct stn_buf buf = {0};
    struct stn_err err = {0};
    ck_assert_msg(stn_codec_encode(msg, &buf, &err) == STN_OK, "%s", err.text);
    return buf;
}

static enum stn_code refusal(const void *p, size_t size)
{
    struct stn_arena arena = {0};
    struct stn_msg msg;
    struct stn_err err = {0};
    enum stn_code code = stn_codec_decode(&msg, &arena, p, size, &err);
    ck_assert(code == STN_OK || (code == err.code && err.text[0] != '\0'));
    stn_arena_fini(&arena);
    return code;
}

/* Where messages point elsewhere. */
#define POINTER(type_, member, pointer_, count_)                                                   \
    {                                                                                              \
        .type = type_, .at = offsetof(struct stn_msg, member.pointer_),                            \
        .n_at = offsetof(struct stn_msg, member.count_),                                           \
        .size = sizeof *((struct stn_msg *)0)->member.pointer_                                     \
    }
static const struct pointer {
    enum stn_msg_type type;
    size_t at, n_at, size;
} pointers[] = {
    POINTER(STN_MSG_PUT_CHUNK, put_chunk, data, size),
    POINTER(STN_MSG_CHUNK_IS, chunk, data, size),
    POINTER(STN_MSG_LEAVES_ARE, leaves, leaves, n_leaves),
    POINTER(STN_MSG_MISSING, missing, missing, n_missing),
    POINTER(STN_MSG_ROSTER, roster, adverts, n_adverts),
    POINTER(STN_MSG_ROSTER, roster, proof, n_proof),
    POINTER(STN_MSG_SHARE, share, sealed, n_sealed),
    POINTER(STN_MSG_DELIVER, deliver, slots, n_slots),
    POINTER(STN_MSG_SURVIVORS, survivors, members, n_members),
    POINTER(STN_MSG_SURVIVORS, survivors, proof, n_proof),
    POINTER(STN_MSG_ACKS, acks, slots, n_slots),
    POINTER(STN_MSG_ACKS, acks, signatures, n_signatures),
    POINTER(STN_MSG_UNMASK, unmask, slots, n_slots),
    POINTER(STN_MSG_UNMASK, unmask, opened, n_opened),
};

/* Equal but for the pointers, whose targets are compared instead. */
static void assert_same(const struct stn_msg *a, const struct stn_msg *b)
{
    struct stn_msg x = *a, y = *b;
    ck_assert_int_eq(a->type, b->type);
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        const struct pointer *p = &pointers[i];
        if (p->type == a->type) {
            const void *from, *to;
            uint32_t n;
            memcpy(&n, (const char *)a + p->n_at, sizeof n);
            memcpy(&from, (const char *)a + p->at, sizeof from);
            memcpy(&to, (const char *)b + p->at, sizeof to);
            ck_assert_mem_eq(from, to, n * p->size);
            memset((char *)&x + p->at, 0, sizeof from);
            memset((char *)&y + p->at, 0, sizeof from);
        }
    }
    ck_assert_mem_eq(&x.check_in, &y.check_in, sizeof x - offsetof(struct stn_msg, check_in));
}

START_TEST(every_message_comes_back_as_it_went_and_in_the_same_bytes)
{
    struct stn_msg msg = stn_say_message((size_t)_i), back;
    struct stn_buf buf = encoded(&msg);
    struct stn_arena arena = {0};
    struct stn_err err = {0};
    ck_assert_msg(stn_codec_decode(&back, &arena, buf.data, buf.size, &err) == STN_OK, "%s",
                  err.text);
    assert_same(&msg, &back);
    struct stn_buf again = encoded(&back);
    ck_assert_uint_eq(buf.size, again.size);
    ck_assert_mem_eq(buf.data, again.data, buf.size);
    stn_buf_fini(&again);
    stn_buf_fini(&buf);
    stn_arena_fini(&arena);
}
END_TEST

START_TEST(the_messages_cover_every_type)
{
    bool seen[64] = {0};
    for (size_t i = 0; i < STN_SAY_MESSAGES; i++) {
        seen[stn_say_message(i).type] = true;
    }
    for (unsigned type = 0; type < 64; type++) {
        ck_assert_int_eq(seen[type], strcmp(stn_msg_name((enum stn_msg_type)type), "unknown") != 0);
    }
}
END_TEST

START_TEST(a_message_cut_anywhere_or_with_any_bit_flipped_does_no_harm)
{
    struct stn_msg msg = stn_say_message((size_t)_i);
    struct stn_buf buf = encoded(&msg);
    for (size_t size = 0; size < buf.size; size++) {
        uint8_t *exact = stn_mem_copy(buf.data, size);
        enum stn_code code = refusal(exact, size);
        ck_assert(code == STN_INVALID || code == STN_LIMIT || code == STN_UNSUPPORTED);
        stn_mem_free(exact);
    }
    size_t n_bits = buf.size < 300 ? buf.size * 8 : 300 * 8;
    for (size_t bit = 0; bit < n_bits; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)refusal(buf.data, buf.size);
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    stn_buf_fini(&buf);
}
END_TEST

START_TEST(a_field_of_a_later_version_is_skipped_and_leaves_no_trace)
{
    struct stn_msg msg = stn_say_message(1), back;
    struct stn_buf buf = encoded(&msg);
    /* field 63 of the envelope: a number; field 100 of get_leaves: bytes */
    static const uint8_t outer[] = {0xf8, 0x03, 0x2a}, inner[] = {0xa2, 0x06, 0x02, 'h', 'i'};
    uint8_t bytes[256];
    memcpy(bytes, buf.data, buf.size);
    bytes[1] = (uint8_t)(bytes[1] + sizeof inner); /* the length of the member */
    memcpy(bytes + buf.size, inner, sizeof inner);
    memcpy(bytes + buf.size + sizeof inner, outer, sizeof outer);
    struct stn_arena arena = {0};
    ck_assert_int_eq(
        stn_codec_decode(&back, &arena, bytes, buf.size + sizeof inner + sizeof outer, NULL),
        STN_OK);
    assert_same(&msg, &back);
    struct stn_buf again = encoded(&back);
    ck_assert_uint_eq(again.size, buf.size);
    stn_buf_fini(&again);
    stn_buf_fini(&buf);
    stn_arena_fini(&arena);
}
END_TEST

START_TEST(an_envelope_holds_exactly_one_message)
{
    static const uint8_t none[] = {0xf8, 0x03, 0x2a}; /* only a field that is unknown here */
    static const uint8_t two[] = {0x8a, 0x02, 0x00, 0xda, 0x02, 0x00}; /* ok, wait */
    static const uint8_t twice[] = {0x8a, 0x02, 0x00, 0x8a, 0x02, 0x00};
    static const uint8_t number[] = {0x88, 0x02, 0x01}; /* ok, as a number */
    ck_assert_int_eq(refusal("", 0), STN_UNSUPPORTED);
    ck_assert_int_eq(refusal(none, sizeof none), STN_UNSUPPORTED);
    ck_assert_int_eq(refusal(two, 3), STN_OK);
    ck_assert_int_eq(refusal(two, sizeof two), STN_INVALID);
    ck_assert_int_eq(refusal(twice, sizeof twice), STN_INVALID);
    ck_assert_int_eq(refusal(number, sizeof number), STN_INVALID);
}
END_TEST

START_TEST(what_breaks_a_rule_is_not_sent)
{
    struct stn_buf buf = {0};
    struct stn_err err = {0};
    struct stn_msg lease = stn_say_message(13), poll = stn_say_message(5);
    lease.lease.train.lr = (double)NAN;
    ck_assert_int_eq(stn_codec_encode(&lease, &buf, &err), STN_INVALID);
    ck_assert_str_eq(err.text, "lr of TrainSpec is not finite");
    lease = stn_say_message(13);
    memset(lease.lease.task, 'a', STN_MSG_NAME); /* no zero at its end */
    ck_assert_int_eq(stn_codec_encode(&lease, &buf, &err), STN_INVALID);
    poll.poll.stage = 7;
    ck_assert_int_eq(stn_codec_encode(&poll, &buf, &err), STN_INVALID);
    ck_assert_str_eq(err.text, "stage of Poll: 7, the limit is 6");
    poll.poll.stage = 0;
    ck_assert_int_eq(stn_codec_encode(&poll, &buf, NULL), STN_INVALID);
    ck_assert_uint_eq(buf.size, 0);
    stn_buf_fini(&buf);
}
END_TEST

/* Replaces a run of bytes that occurs in the encoded message. */
static enum stn_code refusal_with(size_t which, const void *from, const void *to, size_t size)
{
    struct stn_msg msg = stn_say_message(which);
    struct stn_buf buf = encoded(&msg);
    uint8_t *at = memmem(buf.data, buf.size, from, size);
    ck_assert_ptr_nonnull(at);
    memcpy(at, to, size);
    enum stn_code code = refusal(buf.data, buf.size);
    stn_buf_fini(&buf);
    return code;
}

START_TEST(what_breaks_a_rule_is_not_taken)
{
    const double good = 3e-3, bad = (double)INFINITY;
    ck_assert_int_eq(refusal_with(13, &good, &bad, sizeof bad), STN_INVALID);
    ck_assert_int_eq(refusal_with(16, "mail", "ma\0l", 4), STN_INVALID); /* a zero in a name */
    ck_assert_int_eq(refusal_with(16, "mail", "mAil", 4), STN_INVALID);
    ck_assert_int_eq(refusal_with(16, "mail", ".ail", 4), STN_INVALID);
    ck_assert_int_eq(refusal_with(5, "\x10\x06", "\x10\x07", 2),
                     STN_INVALID); /* a stage past the last */
    ck_assert_int_eq(refusal_with(10, "\x08\x0d", "\x08\x0e", 2),
                     STN_INVALID); /* a code past the last */
    ck_assert_int_eq(refusal_with(18, "\x03\xc8\x01", "\x03\x82\x00", 3),
                     STN_INVALID); /* 3, then 2 */
    static const uint8_t hash_of_31[] = {0x12, 33, 0x0a, 31, [34] = 0};
    ck_assert_int_eq(refusal(hash_of_31, sizeof hash_of_31), STN_INVALID);
}
END_TEST

START_TEST(the_biggest_messages_fit_and_one_unit_more_does_not)
{
    static uint8_t chunks[STN_MSG_CHUNKS * STN_MSG_CHUNK + 1];
    static struct stn_digest leaves[STN_MSG_LEAVES + 1];
    static uint32_t missing[STN_MSG_LEAVES + 1];
    for (uint32_t i = 0; i <= STN_MSG_LEAVES; i++) {
        missing[i] = i;
    }
    struct stn_msg msgs[3] = {
        {.type = STN_MSG_PUT_CHUNK, .put_chunk = {.size = sizeof chunks - 1, .data = chunks}},
        {.type = STN_MSG_LEAVES_ARE, .leaves = {.n_leaves = STN_MSG_LEAVES, .leaves = leaves}},
        {.type = STN_MSG_MISSING,
         .missing = {.n_chunks = STN_MSG_LEAVES, .n_missing = STN_MSG_LEAVES, .missing = missing}}};
    for (size_t i = 0; i < 3; i++) {
        struct stn_buf buf = encoded(&msgs[i]);
        ck_assert_int_eq(refusal(buf.data, buf.size), STN_OK);
        stn_buf_fini(&buf);
    }
    msgs[0].put_chunk.size++;
    msgs[1].leaves.n_leaves++;
    msgs[2].missing.n_missing++;
    for (size_t i = 0; i < 3; i++) {
        struct stn_buf buf = {0};
        ck_assert_int_eq(stn_codec_encode(&msgs[i], &buf, NULL), STN_LIMIT);
        stn_buf_fini(&buf);
    }
}
END_TEST

START_TEST(a_message_that_unfolds_into_much_is_refused_within_its_budget)
{
    /* half a million empty consents in a megabyte: two bytes on the wire, 80 in memory each */
    const size_t size = STN_MSG_BYTES;
    uint8_t *bytes = stn_mem_new(1, size);
    bytes[0] = 0x0a;
    bytes[1] = (uint8_t)(0x80 | ((size - 4) & 0x7f));
    bytes[2] = (uint8_t)(0x80 | ((size - 4) >> 7 & 0x7f));
    bytes[3] = (uint8_t)((size - 4) >> 14);
    for (size_t i = 4; i < size; i += 2) {
        bytes[i] = 0x12;
    }
    struct stn_arena arena = {0};
    struct stn_msg msg;
    ck_assert_int_eq(stn_codec_decode(&msg, &arena, bytes, size, NULL), STN_LIMIT);
    ck_assert_uint_le(arena.size, 2 * size + (128 << 10) + 4096);
    stn_arena_fini(&arena);
    ck_assert_int_eq(refusal(bytes, size + 1), STN_LIMIT); /* refused before it is read */
    stn_mem_free(bytes);
}
END_TEST

START_TEST(what_is_signed_of_a_config_is_all_of_it_but_the_signature)
{
    struct stn_msg msg = stn_say_message(16);
    struct stn_buf a = {0}, b = {0}, c = {0};
    ck_assert_int_eq(stn_codec_round_config_bytes(&msg.round_config, &a, NULL), STN_OK);
    memset(msg.round_config.signature, 0xee, 64);
    ck_assert_int_eq(stn_codec_round_config_bytes(&msg.round_config, &b, NULL), STN_OK);
    ck_assert_uint_eq(a.size, b.size);
    ck_assert_mem_eq(a.data, b.data, a.size);
    msg.round_config.upload_ms++;
    ck_assert_int_eq(stn_codec_round_config_bytes(&msg.round_config, &c, NULL), STN_OK);
    ck_assert(a.size != c.size || memcmp(a.data, c.data, a.size) != 0);
    ck_assert_ptr_null(memmem(a.data, a.size, "\x7a\x40", 2)); /* field 15, 64 bytes */
    stn_buf_fini(&a);
    stn_buf_fini(&b);
    stn_buf_fini(&c);
}
END_TEST

START_TEST(a_failing_allocation_is_an_error_and_nothing_else)
{
    struct stn_msg msg = stn_say_message((size_t)_i), back;
    struct stn_buf good = encoded(&msg);
    for (uint64_t n = 1; n < 6; n++) {
        struct stn_buf buf = {0};
        struct stn_arena arena = {0};
        stn_mem_fail_from(n);
        enum stn_code code = stn_codec_encode(&msg, &buf, NULL);
        stn_mem_fail_from(n);
        enum stn_code code_back = stn_codec_decode(&back, &arena, good.data, good.size, NULL);
        stn_mem_fail_from(0);
        ck_assert(code == STN_OK || (code == STN_MEMORY && buf.size == 0));
        ck_assert(code_back == STN_OK || code_back == STN_MEMORY);
        stn_buf_fini(&buf);
        stn_arena_fini(&arena);
    }
    stn_buf_fini(&good);
}
END_TEST

START_TEST(hellos_come_back_as_they_went)
{
    static struct stn_hello hello = {.version_min = 1,
                                     .version_max = 3,
                                     .has_enrol = true,
                                     .enrol = {{4}, {5}}},
                            hello_back;
    static struct stn_hello_reply reply = {.version = 2,
                                           .session = UINT64_MAX,
                                           .has_certificate = true,
                                           .certificate = {6, [135] = 7}},
                                  reply_back;
    for (int round = 0; round < 2; round++) {
        struct stn_buf buf = {0};
        ck_assert_int_eq(stn_codec_hello(&hello, &buf, NULL), STN_OK);
        ck_assert_int_eq(stn_codec_hello_decode(&hello_back, buf.data, buf.size, NULL), STN_OK);
        ck_assert_mem_eq(&hello, &hello_back, sizeof hello);
        stn_buf_clear(&buf);
        ck_assert_int_eq(stn_codec_hello_reply(&reply, &buf, NULL), STN_OK);
        ck_assert_int_eq(stn_codec_hello_reply_decode(&reply_back, buf.data, buf.size, NULL),
                         STN_OK);
        ck_assert_mem_eq(&reply, &reply_back, sizeof reply);
        stn_buf_fini(&buf);
        memset(&hello.enrol, 0, sizeof hello.enrol);
        memset(reply.certificate, 0, sizeof reply.certificate);
        hello.has_enrol = reply.has_certificate = false;
    }
    struct stn_buf buf = {0};
    hello.version_min = 4;
    ck_assert_int_eq(stn_codec_hello(&hello, &buf, NULL), STN_INVALID);
    ck_assert_int_eq(stn_codec_hello_decode(&hello_back, "\x08\x01\x10\x02\x1a\x00", 6, NULL),
                     STN_INVALID);
    ck_assert_int_eq(stn_codec_hello_decode(&hello_back, "\x08\x01\x10\x02", 4, NULL), STN_OK);
    stn_buf_fini(&buf);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("codec");
    TCase *t = tcase_create("codec");
    tcase_add_loop_test(t, every_message_comes_back_as_it_went_and_in_the_same_bytes, 0,
                        STN_SAY_MESSAGES);
    tcase_add_test(t, the_messages_cover_every_type);
    tcase_add_loop_test(t, a_message_cut_anywhere_or_with_any_bit_flipped_does_no_harm, 0,
                        STN_SAY_MESSAGES);
    tcase_add_test(t, a_field_of_a_later_version_is_skipped_and_leaves_no_trace);
    tcase_add_test(t, an_envelope_holds_exactly_one_message);
    tcase_add_test(t, what_breaks_a_rule_is_not_sent);
    tcase_add_test(t, what_breaks_a_rule_is_not_taken);
    tcase_add_test(t, the_biggest_messages_fit_and_one_unit_more_does_not);
    tcase_add_test(t, a_message_that_unfolds_into_much_is_refused_within_its_budget);
    tcase_add_test(t, what_is_signed_of_a_config_is_all_of_it_but_the_signature);
    tcase_add_loop_test(t, a_failing_allocation_is_an_error_and_nothing_else, 0, STN_SAY_MESSAGES);
    tcase_add_test(t, hellos_come_back_as_they_went);
    suite_add_tcase(s, t);
    return s;
}
