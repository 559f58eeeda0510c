#include "tests/lib/run.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "crypto/noise.h"
#include "crypto/seal.h"

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
}

/* A hexadecimal member as bytes; the test frees them. */
static uint8_t *bytes_of(const json_t *object, const char *name, size_t *ret_size)
{
    const char *text = json_string_value(json_object_get(object, name));
    ck_assert_msg(text != NULL, "no %s", name);
    *ret_size = strlen(text) / 2;
    uint8_t *p = stn_mem_new(*ret_size, 1);
    ck_assert(p != NULL && stn_hex_get(p, *ret_size, text));
    return p;
}

static void key_of(uint8_t ret[static 32], const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    ck_assert(text != NULL && stn_hex_get(ret, 32, text));
}

static void psk_of(uint8_t ret[static 32], const json_t *object, const char *name)
{
    const char *text = json_string_value(json_array_get(json_object_get(object, name), 0));
    ck_assert(text != NULL && stn_hex_get(ret, 32, text));
}

/* One message of a vector: what from writes is the ciphertext, and what to reads the payload. */
static void check_handshake(const json_t *message, struct stn_noise *from, struct stn_noise *to)
{
    size_t payload_size, text_size, n;
    uint8_t *payload = bytes_of(message, "payload", &payload_size), wrote[1024], read[1024];
    uint8_t *text = bytes_of(message, "ciphertext", &text_size);
    ck_assert_uint_le(text_size, sizeof wrote);
    ck_assert_int_eq(stn_noise_write(from, payload, payload_size, wrote, &n, NULL), STN_OK);
    ck_assert_uint_eq(n, text_size);
    ck_assert_mem_eq(wrote, text, n);
    ck_assert_int_eq(stn_noise_read(to, text, text_size, read, &n, NULL), STN_OK);
    ck_assert_uint_eq(n, payload_size);
    ck_assert_mem_eq(read, payload, n);
    stn_mem_free(payload);
    stn_mem_free(text);
}

static void check_transport(const json_t *message, struct stn_seal *from, struct stn_seal *to)
{
    size_t payload_size, text_size;
    uint64_t counter;
    uint8_t *payload = bytes_of(message, "payload", &payload_size), wrote[1024], read[1024];
    uint8_t *text = bytes_of(message, "ciphertext", &text_size);
    ck_assert_uint_le(text_size, sizeof wrote);
    ck_assert_int_eq(stn_seal_put(from, NULL, 0, payload, payload_size, wrote, &counter, NULL), 0);
    ck_assert_uint_eq(payload_size + STN_SEAL_TAG, text_size);
    ck_assert_mem_eq(wrote, text, text_size);
    ck_assert_int_eq(stn_seal_open(to, counter, NULL, 0, text, text_size, read, NULL), STN_OK);
    ck_assert_mem_eq(read, payload, payload_size);
    stn_mem_free(payload);
    stn_mem_free(text);
}

static void begin(const json_t *vector, enum stn_noise_pattern pattern, struct stn_noise *device,
                  struct stn_noise *server)
{
    uint8_t key[32], theirs[32];
    size_t size;
    uint8_t *prologue = bytes_of(vector, "init_prologue", &size);
    key_of(key, vector, "init_static");
    key_of(theirs, vector, "init_remote_static");
    stn_noise_initiate(device, pattern, key, theirs, prologue, size);
    stn_mem_free(prologue);
    prologue = bytes_of(vector, "resp_prologue", &size);
    key_of(key, vector, "resp_static");
    stn_noise_respond(server, pattern, key, prologue, size);
    stn_mem_free(prologue);
    key_of(key, vector, "init_ephemeral");
    stn_noise_set_ephemeral(device, key);
    key_of(key, vector, "resp_ephemeral");
    stn_noise_set_ephemeral(server, key);
    if (pattern == STN_NOISE_IKPSK2) {
        psk_of(key, vector, "init_psks");
        stn_noise_set_psk(device, key);
    }
}

static void check_vector(const json_t *vector, enum stn_noise_pattern pattern)
{
    struct stn_noise device, server;
    uint8_t key[32], pub[32];
    const json_t *messages = json_object_get(vector, "messages");
    ck_assert_uint_gt(json_array_size(messages), 2);
    begin(vector, pattern, &device, &server);
    check_handshake(json_array_get(messages, 0), &device, &server);
    key_of(key, vector, "init_static");
    stn_dh_public(pub, key);
    ck_assert_mem_eq(server.theirs, pub, 32);
    if (pattern == STN_NOISE_IKPSK2) { /* only after message 1 has been read */
        psk_of(key, vector, "resp_psks");
        stn_noise_set_psk(&server, key);
    }
    check_handshake(json_array_get(messages, 1), &server, &device);
    struct stn_noise_keys device_keys, server_keys;
    stn_noise_split(&device, &device_keys);
    stn_noise_split(&server, &server_keys);
    ck_assert_mem_eq(device_keys.hash, server_keys.hash, STN_NOISE_HASH);
    const char *hash = json_string_value(json_object_get(vector, "handshake_hash"));
    uint8_t known[STN_NOISE_HASH];
    if (hash != NULL) {
        ck_assert(stn_hex_get(known, sizeof known, hash));
        ck_assert_mem_eq(device_keys.hash, known, sizeof known);
    }
    struct stn_seal a, b;
    stn_seal_init(&a, &device_keys);
    stn_seal_init(&b, &server_keys);
    for (size_t i = 2; i < json_array_size(messages); i++) {
        check_transport(json_array_get(messages, i), i % 2 == 0 ? &a : &b, i % 2 == 0 ? &b : &a);
    }
}

START_TEST(every_known_handshake_of_ik_and_ikpsk2_is_reproduced)
{
    struct stn_buf path = {0};
    ck_assert(stn_buf_printf(&path, "%s/vectors/noise.json", STN_RUN_SHARED));
    ck_assert(stn_buf_add_u8(&path, 0));
    json_t *top = json_load_file((const char *)path.data, 0, NULL);
    if (top == NULL) {
        (void)printf("skipped: the Noise vectors are not at %s\n", (const char *)path.data);
        stn_buf_fini(&path);
        return;
    }
    stn_buf_fini(&path);
    size_t i, n[2] = {0, 0};
    json_t *vector;
    json_array_foreach(json_object_get(top, "vectors"), i, vector)
    {
        const char *name = json_string_value(json_object_get(vector, "protocol_name"));
        ck_assert_ptr_nonnull(name);
        if (strcmp(name, "Noise_IK_25519_ChaChaPoly_BLAKE2b") == 0) {
            check_vector(vector, STN_NOISE_IK);
            n[0]++;
        } else if (strcmp(name, "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b") == 0) {
            check_vector(vector, STN_NOISE_IKPSK2);
            n[1]++;
        }
    }
    ck_assert(n[0] >= 2 && n[1] >= 1);
    json_decref(top);
}
END_TEST

/* A world of two: new keys, no payloads, prologue "p". */
static uint8_t device_secret[32], device_pub[32], server_secret[32], server_pub[32];
static uint8_t token[32] = {1, 2, 3};

static void meet(enum stn_noise_pattern pattern, struct stn_noise *device, struct stn_noise *server)
{
    stn_dh_new(device_secret, device_pub);
    stn_dh_new(server_secret, server_pub);
    stn_noise_initiate(device, pattern, device_secret, server_pub, "p", 1);
    stn_noise_respond(server, pattern, server_secret, "p", 1);
}

static bool is_wiped(const struct stn_noise *noise)
{
    static const struct stn_noise zero;
    return memcmp(noise, &zero, sizeof zero) == 0;
}

START_TEST(fresh_keys_meet_and_agree_and_nothing_secret_stays)
{
    for (int p = 0; p < 2; p++) {
        struct stn_noise device, server;
        struct stn_noise_keys a, b;
        uint8_t message[256], payload[256];
        size_t n;
        uint64_t before = stn_mem_count();
        meet((enum stn_noise_pattern)p, &device, &server);
        ck_assert_int_eq(stn_noise_write(&device, "hello", 5, message, &n, NULL), STN_OK);
        ck_assert_uint_eq(n, 5 + STN_NOISE_OVERHEAD_1);
        ck_assert_int_eq(stn_noise_read(&server, message, n, payload, &n, NULL), STN_OK);
        ck_assert(n == 5 && memcmp(payload, "hello", 5) == 0);
        ck_assert_mem_eq(server.theirs, device_pub, 32);
        if (p == STN_NOISE_IKPSK2) {
            stn_noise_set_psk(&device, token);
            stn_noise_set_psk(&server, token);
        }
        ck_assert_int_eq(stn_noise_write(&server, NULL, 0, message, &n, NULL), STN_OK);
        ck_assert_uint_eq(n, STN_NOISE_OVERHEAD_2);
        ck_assert_int_eq(stn_noise_read(&device, message, n, payload, &n, NULL), STN_OK);
        ck_assert_uint_eq(n, 0);
        stn_noise_split(&device, &a);
        stn_noise_split(&server, &b);
        ck_assert_mem_eq(a.send, b.receive, 32);
        ck_assert_mem_eq(a.receive, b.send, 32);
        ck_assert_mem_ne(a.send, a.receive, 32);
        ck_assert_mem_eq(a.hash, b.hash, 64);
        ck_assert_mem_eq(server.theirs, device_pub, 32);
        memset(device.theirs, 0, 32);
        memset(server.theirs, 0, 32);
        ck_assert(is_wiped(&device) && is_wiped(&server));
        stn_noise_keys_fini(&a);
        ck_assert(a.send[0] == 0 && a.send[31] == 0 && a.receive[5] == 0);
        ck_assert_uint_eq(stn_mem_count(), before); /* no memory, so no failure for want of it */
    }
    stn_noise_fini(NULL);
    stn_noise_keys_fini(NULL);
}
END_TEST

START_TEST(another_psk_prologue_or_server_key_ends_the_handshake)
{
    struct stn_noise device, server;
    uint8_t message[256], payload[256];
    size_t n;
    struct stn_err err = {0};
    meet(STN_NOISE_IKPSK2, &device, &server);
    stn_noise_set_psk(&device, token);
    ck_assert_int_eq(stn_noise_write(&device, NULL, 0, message, &n, &err), STN_OK);
    ck_assert_int_eq(stn_noise_read(&server, message, n, payload, &n, &err), STN_OK);
    stn_noise_set_psk(&server, (const uint8_t[32]){9});
    ck_assert_int_eq(stn_noise_write(&server, NULL, 0, message, &n, &err), STN_OK);
    ck_assert_int_eq(stn_noise_read(&device, message, n, payload, &n, &err), STN_DENIED);
    ck_assert(is_wiped(&device));

    meet(STN_NOISE_IK, &device, &server);
    stn_noise_initiate(&device, STN_NOISE_IK, device_secret, server_pub, "q", 1);
    ck_assert_int_eq(stn_noise_write(&device, NULL, 0, message, &n, &err), STN_OK);
    ck_assert_int_eq(stn_noise_read(&server, message, n, payload, &n, &err), STN_DENIED);
    ck_assert(is_wiped(&server));

    meet(STN_NOISE_IK, &device, &server);
    stn_noise_respond(&server, STN_NOISE_IK, device_secret, "p", 1);
    ck_assert_int_eq(stn_noise_write(&device, NULL, 0, message, &n, &err), STN_OK);
    ck_assert_int_eq(stn_noise_read(&server, message, n, payload, &n, &err), STN_DENIED);

    meet(STN_NOISE_IK, &device, &server);
    stn_noise_respond(&server, STN_NOISE_IKPSK2, server_secret, "p", 1);
    ck_assert_int_eq(stn_noise_write(&device, NULL, 0, message, &n, &err), STN_OK);
    ck_assert_int_eq(stn_noise_read(&server, message, n, payload, &n, &err), STN_DENIED);
}
END_TEST

START_TEST(every_bit_and_the_size_of_both_messages_count)
{
    struct stn_noise device, server, copy;
    uint8_t first[256], second[256], payload[256];
    size_t n, first_size, second_size;
    meet(STN_NOISE_IK, &device, &server);
    ck_assert_int_eq(stn_noise_write(&device, "abc", 3, first, &first_size, NULL), STN_OK);
    for (size_t i = 0; i < first_size * 8; i++) {
        copy = server;
        first[i / 8] ^= (uint8_t)(1 << i % 8);
        /* X25519 ignores the top bit of a key, but the hash of the handshake does not */
        ck_assert_int_eq(stn_noise_read(&copy, first, first_size, payload, &n, NULL), STN_DENIED);
        ck_assert(is_wiped(&copy));
        first[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t size = 0; size < first_size; size++) {
        copy = server;
        ck_assert_int_eq(stn_noise_read(&copy, first, size, payload, &n, NULL),
                         size < STN_NOISE_OVERHEAD_1 ? STN_CORRUPT : STN_DENIED);
    }
    ck_assert_int_eq(stn_noise_read(&server, first, first_size, payload, &n, NULL), STN_OK);
    ck_assert_int_eq(stn_noise_write(&server, "de", 2, second, &second_size, NULL), STN_OK);
    for (size_t i = 0; i < second_size * 8; i++) {
        copy = device;
        second[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert_int_eq(stn_noise_read(&copy, second, second_size, payload, &n, NULL), STN_DENIED);
        second[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    copy = device;
    ck_assert_int_eq(stn_noise_read(&copy, second, STN_NOISE_OVERHEAD_2 - 1, payload, &n, NULL),
                     STN_CORRUPT);
    ck_assert_int_eq(stn_noise_read(&device, second, second_size, payload, &n, NULL), STN_OK);
}
END_TEST

START_TEST(keys_of_low_order_abort)
{
    struct stn_noise device, server;
    uint8_t message[256] = {0}, payload[256];
    size_t n;
    struct stn_err err = {0};
    meet(STN_NOISE_IK, &device, &server);
    stn_noise_initiate(&device, STN_NOISE_IK, device_secret, (const uint8_t[32]){1}, "p", 1);
    ck_assert_int_eq(stn_noise_write(&device, NULL, 0, message, &n, &err), STN_DENIED);
    ck_assert_str_eq(err.text, "a public key of low order");
    ck_assert(is_wiped(&device));
    memset(message, 0, sizeof message); /* an ephemeral of zero */
    err = (struct stn_err){0};
    ck_assert_int_eq(stn_noise_read(&server, message, 96, payload, &n, &err), STN_DENIED);
    ck_assert_str_eq(err.text, "a public key of low order");
    ck_assert(is_wiped(&server));
    meet(STN_NOISE_IK, &device, &server);
    ck_assert_int_eq(stn_noise_write(&device, NULL, 0, message, &n, NULL), STN_OK);
    memset(message, 0, sizeof message);
    err = (struct stn_err){0};
    ck_assert_int_eq(stn_noise_read(&device, message, 48, payload, &n, &err), STN_DENIED);
    ck_assert_str_eq(err.text, "a public key of low order");
}
END_TEST

START_TEST(a_message_has_at_most_65535_bytes)
{
    struct stn_noise device, server;
    size_t n, most = STN_NOISE_MESSAGE - STN_NOISE_OVERHEAD_1;
    uint8_t *big = stn_mem_new(STN_NOISE_MESSAGE + 1, 1), *read = stn_mem_new(STN_NOISE_MESSAGE, 1);
    uint8_t *message = stn_mem_new(STN_NOISE_MESSAGE + 1, 1);
    meet(STN_NOISE_IK, &device, &server);
    ck_assert_int_eq(stn_noise_write(&device, big, most + 1, message, &n, NULL), STN_LIMIT);
    ck_assert(is_wiped(&device));
    meet(STN_NOISE_IK, &device, &server);
    ck_assert_int_eq(stn_noise_write(&device, big, most, message, &n, NULL), STN_OK);
    ck_assert_uint_eq(n, STN_NOISE_MESSAGE);
    struct stn_noise copy = server;
    ck_assert_int_eq(stn_noise_read(&copy, message, n + 1, read, &n, NULL), STN_CORRUPT);
    ck_assert_int_eq(stn_noise_read(&server, message, STN_NOISE_MESSAGE, read, &n, NULL), STN_OK);
    ck_assert_uint_eq(n, most);
    stn_mem_free(big);
    stn_mem_free(read);
    stn_mem_free(message);
}
END_TEST

START_TEST(writing_out_of_turn_is_our_own_mistake)
{
    struct stn_noise device, server;
    uint8_t message[256];
    size_t n;
    meet(STN_NOISE_IK, &device, &server);
    ck_assert_int_eq(stn_noise_write(&server, NULL, 0, message, &n, NULL), STN_OK);
}
END_TEST

START_TEST(answering_without_the_psk_is_our_own_mistake)
{
    struct stn_noise device, server;
    uint8_t message[256], payload[256];
    size_t n;
    meet(STN_NOISE_IKPSK2, &device, &server);
    if (stn_noise_write(&device, NULL, 0, message, &n, NULL) != STN_OK ||
        stn_noise_read(&server, message, n, payload, &n, NULL) != STN_OK) {
        return; /* no abort: the test fails */
    }
    ck_assert_int_eq(stn_noise_write(&server, NULL, 0, message, &n, NULL), STN_OK);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("noise");
    TCase *t = tcase_create("noise");
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, every_known_handshake_of_ik_and_ikpsk2_is_reproduced);
    tcase_add_test(t, fresh_keys_meet_and_agree_and_nothing_secret_stays);
    tcase_add_test(t, another_psk_prologue_or_server_key_ends_the_handshake);
    tcase_add_test(t, every_bit_and_the_size_of_both_messages_count);
    tcase_add_test(t, keys_of_low_order_abort);
    tcase_add_test(t, a_message_has_at_most_65535_bytes);
    tcase_add_test_raise_signal(t, writing_out_of_turn_is_our_own_mistake, SIGABRT);
    tcase_add_test_raise_signal(t, answering_without_the_psk_is_our_own_mistake, SIGABRT);
    suite_add_tcase(s, t);
    return s;
}
