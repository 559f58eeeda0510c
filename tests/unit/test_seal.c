#include "tests/lib/run.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "crypto/aead.h"
#include "crypto/entropy.h"
#include "crypto/replycache.h"
#include "crypto/seal.h"

static struct stn_seal device, server;

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    struct stn_noise_keys keys = {.send = {1}, .receive = {2}},
                          other = {.send = {2}, .receive = {1}};
    stn_seal_init(&device, &keys);
    stn_seal_init(&server, &other);
}

struct record {
    uint64_t counter;
    uint8_t bytes[24];
};

/* The device seals the eight bytes of its record's counter under the associated data "ad". */
static struct record say(void)
{
    struct record record;
    uint64_t text = stn_seal_next(&device);
    ck_assert_int_eq(
        stn_seal_put(&device, "ad", 2, &text, sizeof text, record.bytes, &record.counter, NULL),
        STN_OK);
    ck_assert_uint_eq(record.counter, text);
    return record;
}

static enum stn_code hear(const struct record *record)
{
    uint64_t text = 0;
    enum stn_code code = stn_seal_open(&server, record->counter, "ad", 2, record->bytes,
                                       sizeof record->bytes, (uint8_t *)&text, NULL);
    ck_assert(code != STN_OK || text == record->counter);
    return code;
}

START_TEST(a_record_opens_once_and_in_the_other_direction_never)
{
    struct record record = say();
    uint8_t back[8];
    ck_assert_int_eq(stn_seal_open(&device, record.counter, "ad", 2, record.bytes, 24, back, NULL),
                     STN_DENIED);
    ck_assert_int_eq(hear(&record), STN_OK);
    ck_assert_int_eq(hear(&record), STN_DENIED);
}
END_TEST

START_TEST(a_record_may_be_sealed_and_opened_in_place)
{
    uint8_t bytes[5 + STN_SEAL_TAG] = "hello";
    uint64_t counter;
    ck_assert_int_eq(stn_seal_put(&device, NULL, 0, bytes, 5, bytes, &counter, NULL), STN_OK);
    ck_assert_mem_ne(bytes, "hello", 5);
    ck_assert_int_eq(stn_seal_open(&server, counter, NULL, 0, bytes, sizeof bytes, bytes, NULL), 0);
    ck_assert_mem_eq(bytes, "hello", 5);
}
END_TEST

START_TEST(a_false_record_leaves_the_window_as_it_was)
{
    struct record record = say(), bad;
    struct stn_seal before = server;
    for (size_t i = 0; i < sizeof record.bytes * 8; i++) {
        bad = record;
        bad.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert_int_eq(hear(&bad), STN_DENIED);
    }
    for (uint64_t far = 1; far < 1 << 20; far *= 2) {
        bad = record;
        bad.counter = record.counter + far;
        ck_assert_int_eq(hear(&bad), STN_DENIED);
    }
    uint8_t text[8];
    ck_assert_int_eq(stn_seal_open(&server, record.counter, "aD", 2, record.bytes, 24, text, NULL),
                     STN_DENIED);
    ck_assert_int_eq(stn_seal_open(&server, record.counter, "ad", 2, record.bytes, 15, text, NULL),
                     STN_CORRUPT);
    ck_assert_int_eq(stn_seal_open(&server, record.counter, "ad", 2, record.bytes,
                                   STN_SEAL_RECORD + STN_SEAL_TAG + 1, text, NULL),
                     STN_CORRUPT);
    ck_assert_mem_eq(&before, &server, sizeof server);
    ck_assert_int_eq(hear(&record), STN_OK);
}
END_TEST

START_TEST(the_window_reaches_back_32_counters_and_no_further)
{
    struct record records[100];
    for (size_t i = 0; i < 100; i++) {
        records[i] = say();
    }
    ck_assert_int_eq(hear(&records[40]), STN_OK);
    ck_assert_int_eq(hear(&records[8]), STN_DENIED);
    ck_assert_int_eq(hear(&records[9]), STN_OK);
    ck_assert_int_eq(hear(&records[9]), STN_DENIED);
    ck_assert_int_eq(hear(&records[71]), STN_OK); /* 40 is the oldest that the window remembers */
    ck_assert_int_eq(hear(&records[40]), STN_DENIED);
    ck_assert_int_eq(hear(&records[41]), STN_OK);
    ck_assert_int_eq(hear(&records[39]), STN_DENIED);
    ck_assert_int_eq(hear(&records[72]), STN_OK);
    ck_assert_int_eq(hear(&records[41]), STN_DENIED);
}
END_TEST

START_TEST(every_order_of_arrival_agrees_with_a_plain_record_of_it)
{
    enum { N = 400 };
    static struct record records[N];
    struct stn_rng rng;
    for (size_t i = 0; i < N; i++) {
        records[i] = say();
    }
    for (uint64_t seed = 0; seed < 40; seed++) {
        bool came[N] = {false};
        size_t highest = 0;
        bool any = false;
        struct stn_noise_keys keys = {.send = {2}, .receive = {1}};
        stn_seal_init(&server, &keys);
        stn_rng_init(&rng, seed);
        for (int step = 0; step < 600; step++) {
            size_t lo = highest < 45 ? 0 : highest - 45, hi = highest + 1 + stn_rng_below(&rng, 5);
            size_t i = lo + (size_t)stn_rng_below(&rng, hi - lo);
            i = i < N ? i : N - 1;
            bool fresh = !came[i] && (!any || i + STN_SEAL_WINDOW > highest);
            ck_assert_int_eq(hear(&records[i]), fresh ? STN_OK : STN_DENIED);
            if (fresh) {
                came[i] = true;
                highest = i > highest ? i : highest;
                any = true;
            }
        }
    }
}
END_TEST

START_TEST(counters_end_before_they_could_come_again)
{
    uint8_t bytes[STN_SEAL_TAG];
    uint64_t counter = 7;
    device.next = STN_SEAL_COUNTERS - 1;
    ck_assert_int_eq(stn_seal_put(&device, NULL, 0, NULL, 0, bytes, &counter, NULL), STN_OK);
    ck_assert_uint_eq(counter, STN_SEAL_COUNTERS - 1);
    ck_assert_int_eq(stn_seal_open(&server, counter, NULL, 0, bytes, sizeof bytes, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(stn_seal_put(&device, NULL, 0, NULL, 0, bytes, &counter, NULL), STN_LIMIT);
    }
    ck_assert_uint_eq(counter, STN_SEAL_COUNTERS - 1);
    struct stn_err err = {0};
    ck_assert_int_eq(
        stn_seal_open(&server, STN_SEAL_COUNTERS, NULL, 0, bytes, sizeof bytes, NULL, &err),
        STN_DENIED);
    ck_assert_ptr_null(strstr(err.text, "verify")); /* refused before its tag was looked at */
    ck_assert_int_eq(stn_seal_open(&server, UINT64_MAX, NULL, 0, bytes, sizeof bytes, NULL, NULL),
                     STN_DENIED);
}
END_TEST

START_TEST(a_record_holds_a_mebibyte_and_not_a_byte_more)
{
    uint8_t *p = stn_mem_new(STN_SEAL_RECORD + 1 + STN_SEAL_TAG, 1);
    uint64_t counter, before = stn_mem_count();
    ck_assert_int_eq(stn_seal_put(&device, NULL, 0, p, STN_SEAL_RECORD + 1, p, &counter, NULL),
                     STN_LIMIT);
    ck_assert_uint_eq(stn_seal_next(&device), 0);
    ck_assert_int_eq(stn_seal_put(&device, NULL, 0, p, STN_SEAL_RECORD, p, &counter, NULL), STN_OK);
    ck_assert_int_eq(
        stn_seal_open(&server, counter, NULL, 0, p, STN_SEAL_RECORD + STN_SEAL_TAG, p, NULL),
        STN_OK);
    ck_assert(p[0] == 0 && p[STN_SEAL_RECORD - 1] == 0);
    ck_assert_uint_eq(stn_mem_count(), before);
    stn_mem_free(p);
    stn_seal_fini(&device);
    ck_assert(device.send[0] == 0 && device.receive[0] == 0 && device.next == 0);
    stn_seal_fini(NULL);
}
END_TEST

/* BLAKE2b of what libsodium and Python's cryptography make of the same text: sizes around the one from which on libcrypto is asked. */
static const struct known {
    size_t size;
    const char *digest;
} known[] = {
    {64, "309cc389dfe02ded1179448e24bf41330bf36375741686e4aee13ea6aa13aad4"},
    {4095, "a8a546750f9df6d960899844c0eae0b3d17354d5c973a9dd34b437c09b2034ae"},
    {4096, "dfd57e70931a57031d465a24f5dd0fa2abb52bdce2ed2a2afaadf36bd884fa46"},
    {4097, "63b328eb31c50d6c1a28e388b7bc02a4c80a1d20af9cfd6d14bb2f3be6223ed1"},
    {4159, "6189f7c0e9da591d3ae276abde9019774df211937959b8b027ca8073a4da6009"},
    {8191, "b40d1ecb23c5ae6f0cab00066c544d3d8d875637932687bcd521002aaf8ead44"},
    {65536, "ddeac7f3285966940f9bc539db09a3ca4ba4ded85a8d97de0434f3093a078428"},
    {70000, "1de21e06e0a251fa1098ed5b786930a4afa6857d9db712661111947a9cbb6f44"},
};

START_TEST(records_of_every_length_are_the_bytes_that_rfc_8439_says)
{
    enum { MOST = 70000, N_AD = 13 };
    static uint8_t text[MOST], sealed[MOST + STN_AEAD_TAG];
    const uint8_t key[STN_AEAD_KEY] = {7, 8, 9}, nonce[STN_AEAD_NONCE] = {1, 2};
    for (size_t i = 0; i < MOST; i++) {
        text[i] = (uint8_t)((i * i + 3 * i) >> 3);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = known[i].size;
        char made[STN_DIGEST_TEXT];
        memcpy(sealed, text, n);
        for (int in_place = 0; in_place < 2; in_place++) {
            stn_aead_seal(sealed, in_place ? sealed : text, n, key, N_AD, nonce, key);
            struct stn_digest digest = stn_digest_of(sealed, n + STN_AEAD_TAG);
            stn_digest_put_text(&digest, made);
            ck_assert_str_eq(made, known[i].digest);
            ck_assert(stn_aead_open(sealed, sealed, n + STN_AEAD_TAG, key, N_AD, nonce, key));
            ck_assert_mem_eq(sealed, text, n);
        }
    }
}
END_TEST

START_TEST(a_long_record_that_is_not_right_leaves_nothing)
{
    enum { N = 5000 };
    static uint8_t text[N], sealed[N + STN_AEAD_TAG], back[N];
    static const uint8_t nothing[N];
    const uint8_t key[STN_AEAD_KEY] = {7}, nonce[STN_AEAD_NONCE] = {1};
    memset(text, 0x5a, sizeof text);
    stn_aead_seal(sealed, text, N, "ad", 2, nonce, key);
    for (size_t bit = 0; bit < sizeof sealed * 8; bit += bit < 8 * N - 99 ? 97 : 1) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(back, 0x5a, sizeof back);
        ck_assert(!stn_aead_open(back, sealed, sizeof sealed, "ad", 2, nonce, key));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_mem_eq(back, nothing, N);
    }
    ck_assert(!stn_aead_open(back, sealed, sizeof sealed, "aD", 2, nonce, key));
    ck_assert(!stn_aead_open(back, sealed, STN_AEAD_TAG - 1, "ad", 2, nonce, key));
    ck_assert(stn_aead_open(back, sealed, sizeof sealed, "ad", 2, nonce, key));
    ck_assert_mem_eq(back, text, N);
}
END_TEST

static enum stn_code keep(struct stn_replycache *cache, uint64_t counter, const char *request,
                          const char *reply)
{
    struct stn_digest digest = stn_digest_of(request, strlen(request));
    return stn_replycache_keep(cache, counter, &digest, reply, strlen(reply), NULL);
}

/* What the cache answers: the reply, or "-". */
static const char *ask(const struct stn_replycache *cache, uint64_t counter, const char *request)
{
    static char text[64];
    struct stn_digest digest = stn_digest_of(request, strlen(request));
    const uint8_t *reply;
    size_t size;
    if (!stn_replycache_find(cache, counter, &digest, &reply, &size)) {
        return "-";
    }
    ck_assert_uint_lt(size, sizeof text);
    memcpy(text, reply, size);
    text[size] = '\0';
    return text;
}

START_TEST(a_repeated_request_gets_the_same_bytes_and_another_gets_none)
{
    struct stn_replycache cache = {0};
    ck_assert_str_eq(ask(&cache, 0, "q0"), "-");
    ck_assert_int_eq(keep(&cache, 0, "q0", "r0"), STN_OK);
    ck_assert_int_eq(keep(&cache, 5, "q5", "r5"), STN_OK);
    ck_assert_str_eq(ask(&cache, 0, "q0"), "r0");
    ck_assert_str_eq(ask(&cache, 0, "q0"), "r0");
    ck_assert_str_eq(ask(&cache, 0, "another"), "-");
    ck_assert_str_eq(ask(&cache, 32, "q0"), "-");
    ck_assert_str_eq(ask(&cache, UINT64_MAX, "q0"), "-");
    ck_assert_int_eq(keep(&cache, 5, "q5", "second thoughts"), STN_OK);
    ck_assert_str_eq(ask(&cache, 5, "q5"), "r5");
    stn_replycache_fini(&cache);
    ck_assert_str_eq(ask(&cache, 5, "q5"), "-");
    stn_replycache_fini(NULL);
}
END_TEST

START_TEST(replies_are_forgotten_when_the_window_leaves_their_request)
{
    struct stn_replycache cache = {0};
    for (uint64_t i = 0; i < 32; i++) {
        ck_assert_int_eq(keep(&cache, i, "q", "r"), STN_OK);
    }
    ck_assert_str_eq(ask(&cache, 0, "q"), "r");
    ck_assert_int_eq(keep(&cache, 34, "q", "r34"), STN_OK);
    ck_assert_str_eq(ask(&cache, 2, "q"), "-");
    ck_assert_str_eq(ask(&cache, 3, "q"), "r");
    ck_assert_int_eq(keep(&cache, 2, "q", "too late"), STN_OK);
    ck_assert_str_eq(ask(&cache, 2, "q"), "-");
    ck_assert_str_eq(ask(&cache, 34, "q"), "r34");
    ck_assert_int_eq(keep(&cache, 33, "q", "r33"), STN_OK); /* parked longer than its successor */
    ck_assert_str_eq(ask(&cache, 33, "q"), "r33");
    stn_replycache_fini(&cache);
}
END_TEST

START_TEST(a_reply_over_four_kibibytes_or_without_memory_is_not_kept)
{
    struct stn_replycache cache = {0};
    static const uint8_t big[STN_REPLYCACHE_SIZE + 1];
    struct stn_digest digest = stn_digest_of("q", 1);
    const uint8_t *reply;
    size_t size;
    ck_assert_int_eq(stn_replycache_keep(&cache, 1, &digest, big, sizeof big, NULL), STN_OK);
    ck_assert(!stn_replycache_find(&cache, 1, &digest, &reply, &size));
    ck_assert_int_eq(stn_replycache_keep(&cache, 1, &digest, big, sizeof big - 1, NULL), STN_OK);
    ck_assert(stn_replycache_find(&cache, 1, &digest, &reply, &size) && size == sizeof big - 1);
    stn_mem_fail_from(1);
    ck_assert_int_eq(stn_replycache_keep(&cache, 33, &digest, "r", 1, NULL), STN_MEMORY);
    stn_mem_fail_from(0);
    ck_assert(!stn_replycache_find(&cache, 33, &digest, &reply, &size));
    ck_assert(stn_replycache_find(&cache, 1, &digest, &reply, &size)); /* nothing lost for it */
    stn_replycache_fini(&cache);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("seal");
    TCase *t = tcase_create("seal");
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, a_record_opens_once_and_in_the_other_direction_never);
    tcase_add_test(t, a_record_may_be_sealed_and_opened_in_place);
    tcase_add_test(t, a_false_record_leaves_the_window_as_it_was);
    tcase_add_test(t, the_window_reaches_back_32_counters_and_no_further);
    tcase_add_test(t, every_order_of_arrival_agrees_with_a_plain_record_of_it);
    tcase_add_test(t, counters_end_before_they_could_come_again);
    tcase_add_test(t, records_of_every_length_are_the_bytes_that_rfc_8439_says);
    tcase_add_test(t, a_long_record_that_is_not_right_leaves_nothing);
    tcase_add_test(t, a_record_holds_a_mebibyte_and_not_a_byte_more);
    tcase_add_test(t, a_repeated_request_gets_the_same_bytes_and_another_gets_none);
    tcase_add_test(t, replies_are_forgotten_when_the_window_leaves_their_request);
    tcase_add_test(t, a_reply_over_four_kibibytes_or_without_memory_is_not_kept);
    suite_add_tcase(s, t);
    return s;
}
