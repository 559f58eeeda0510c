#include "tests/lib/run.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "channel/url.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "server/shell/directory.h"
#include "server/shell/keys.h"

static char folder[64];
static struct stn_err err;
static struct stn_ident key;
static struct stn_directory *directory;
static struct stn_settings_directory settings;

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static void set_up(void)
{
    char path[STN_FILE_PATH_MAX];
    ok(stn_entropy_start(&err));
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ok(stn_file_join(path, folder, "keys", &err));
    ok(stn_file_make_folder(path, 0700, &err));
    ok(stn_file_join(path, folder, "keys/directory.key", &err));
    ok(stn_keys_make(&key, path, &err));
    settings = (struct stn_settings_directory){.token_days = 14, .address = "fleet.example.org:7740"};
    (void)snprintf(settings.folder, sizeof settings.folder, "%s", folder);
    (void)snprintf(settings.coordinator, sizeof settings.coordinator, "%064d", 7);
    ok(stn_directory_open(&directory, &settings, &err));
}

static void tear_down(void)
{
    stn_directory_close(directory);
    ok(stn_file_remove_tree(folder, &err));
}

static json_t *ask(enum stn_directory_door door, const char *text, uint64_t now_s)
{
    struct stn_buf reply = {0};
    stn_directory_answer(directory, door, text, strlen(text), now_s, &reply);
    json_t *root = json_loadb((const char *)reply.data, reply.size, 0, NULL);
    ck_assert_ptr_nonnull(root);
    stn_buf_fini(&reply);
    return root;
}

static const char *code_of(const json_t *reply)
{
    const char *code = json_string_value(json_object_get(json_object_get(reply, "error"), "code"));
    return code == NULL ? "ok" : code;
}

/* A token as text, and H of it. */
static void invite(uint64_t now_s, char token[65], char hash[65])
{
    struct stn_url url;
    json_t *reply = ask(STN_DIRECTORY_OPERATOR, "{\"command\":\"invite\"}", now_s);
    const char *text = json_string_value(json_array_get(json_object_get(reply, "urls"), 0));
    ck_assert_ptr_nonnull(text);
    ok(stn_url_get(&url, text, &err));
    ck_assert_str_eq(url.host, "fleet.example.org");
    ck_assert_uint_eq(url.key[31], 7);
    ck_assert_mem_eq(url.directory, key.pub, 32);
    ck_assert(url.has_token);
    stn_hex_put(token, url.token, sizeof url.token);
    struct stn_digest digest = stn_digest_of(url.token, sizeof url.token);
    stn_digest_put_text(&digest, hash);
    json_decref(reply);
}

static json_t *enrol(const char *hash, const struct stn_ident *device, uint64_t now_s)
{
    char text[256], hex[65];
    stn_hex_put(hex, device->pub, 32);
    (void)snprintf(text, sizeof text, "{\"command\":\"enrol\",\"token\":\"%s\",\"device\":\"%s\"}", hash, hex);
    return ask(STN_DIRECTORY_COORDINATOR, text, now_s);
}

static void is_enrolled(const json_t *reply, const struct stn_ident *device, const char *token, struct stn_ident_cert *ret)
{
    uint8_t bytes[STN_IDENT_CERT];
    ck_assert_str_eq(code_of(reply), "ok");
    ck_assert_str_eq(json_string_value(json_object_get(reply, "psk")), token);
    ck_assert(stn_hex_get(bytes, sizeof bytes, json_string_value(json_object_get(reply, "certificate"))));
    stn_ident_cert_get(ret, bytes);
    ok(stn_ident_cert_verify(ret, key.pub, &err));
    ck_assert_mem_eq(ret->device, device->pub, 32);
}

START_TEST(a_token_is_one_identitys_which_may_repeat_it)
{
    char token[65], hash[65];
    struct stn_ident device, other;
    struct stn_ident_cert cert, again;
    stn_ident_new(&device);
    stn_ident_new(&other);
    invite(1000, token, hash);
    json_t *first = enrol(hash, &device, 2000), *second = enrol(hash, &other, 2001), *third = enrol(hash, &device, 3000);
    is_enrolled(first, &device, token, &cert);
    ck_assert_uint_eq(cert.issued_at_s, 2000);
    ck_assert_str_eq(code_of(second), "denied");
    is_enrolled(third, &device, token, &again);
    ck_assert_mem_eq(&cert, &again, sizeof cert);
    stn_directory_close(directory);
    ok(stn_directory_open(&directory, &settings, &err));
    json_t *fourth = enrol(hash, &other, 4000), *fifth = enrol(hash, &device, (uint64_t)1 << 40);
    ck_assert_str_eq(code_of(fourth), "denied");
    is_enrolled(fifth, &device, token, &again);
    json_decref(first);
    json_decref(second);
    json_decref(third);
    json_decref(fourth);
    json_decref(fifth);
}
END_TEST

START_TEST(what_was_not_minted_or_has_expired_enrols_nobody)
{
    char token[65], hash[65];
    struct stn_ident device;
    stn_ident_new(&device);
    invite(1000, token, hash);
    json_t *unknown = enrol(token, &device, 1001); /* the token instead of its hash */
    json_t *late = enrol(hash, &device, 1000 + 14 * 86400 + 1);
    ck_assert_str_eq(code_of(unknown), "denied");
    ck_assert_str_eq(code_of(late), "denied");
    json_decref(unknown);
    json_decref(late);
}
END_TEST

START_TEST(every_enrolment_is_a_line_of_the_log_and_one_alone)
{
    char token[65], hash[65], path[STN_FILE_PATH_MAX];
    struct stn_buf log = {0};
    struct stn_ident device;
    stn_ident_new(&device);
    invite(1000, token, hash);
    json_decref(enrol(hash, &device, 1000));
    json_decref(enrol(hash, &device, 1000));
    ok(stn_file_join(path, folder, "enrolments.jsonl", &err));
    ok(stn_file_read(path, 65536, &log, &err));
    ck_assert(stn_buf_add_u8(&log, 0));
    char *end = strchr((char *)log.data, '\n');
    ck_assert(end != NULL && end[1] == '\0');
    ck_assert_ptr_nonnull(strstr((char *)log.data, hash));
    ck_assert_ptr_null(strstr((char *)log.data, token));
    stn_buf_fini(&log);
}
END_TEST

START_TEST(questions_that_make_no_sense_get_an_error_each)
{
    static const struct {
        enum stn_directory_door door;
        const char *text, *code;
    } rows[] = {{STN_DIRECTORY_OPERATOR, "", "invalid"},
                {STN_DIRECTORY_OPERATOR, "[]", "unsupported"},
                {STN_DIRECTORY_OPERATOR, "{\"command\":7}", "unsupported"},
                {STN_DIRECTORY_COORDINATOR, "{\"command\":\"fly\"}", "unsupported"},
                {STN_DIRECTORY_OPERATOR, "{\"command\":\"invite\",\"count\":0}", "invalid"},
                {STN_DIRECTORY_OPERATOR, "{\"command\":\"invite\",\"count\":1000000}", "invalid"},
                {STN_DIRECTORY_COORDINATOR, "{\"command\":\"enrol\"}", "invalid"},
                {STN_DIRECTORY_COORDINATOR, "{\"command\":\"enrol\",\"token\":\"00\",\"device\":\"00\"}", "invalid"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *reply = ask(rows[i].door, rows[i].text, 1);
        ck_assert_str_eq(code_of(reply), rows[i].code);
        json_decref(reply);
    }
    struct stn_directory *second = NULL;
    ck_assert_int_eq(stn_directory_open(&second, &settings, &err), STN_EXISTS);
}
END_TEST

START_TEST(the_coordinator_cannot_mint_invites_and_operators_enrol_nobody)
{
    char token[65], hash[65], text[256], hex[65];
    struct stn_ident device;
    stn_ident_new(&device);
    json_t *minted = ask(STN_DIRECTORY_COORDINATOR, "{\"command\":\"invite\",\"count\":10000}", 1);
    ck_assert_str_eq(code_of(minted), "unsupported");
    json_t *status = ask(STN_DIRECTORY_COORDINATOR, "{\"command\":\"status\"}", 1);
    ck_assert_int_eq(json_integer_value(json_object_get(status, "tokens")), 0);
    invite(1, token, hash);
    stn_hex_put(hex, device.pub, 32);
    (void)snprintf(text, sizeof text, "{\"command\":\"enrol\",\"token\":\"%s\",\"device\":\"%s\"}", hash, hex);
    json_t *enrolled = ask(STN_DIRECTORY_OPERATOR, text, 2);
    ck_assert_str_eq(code_of(enrolled), "unsupported");
    json_decref(minted);
    json_decref(status);
    json_decref(enrolled);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("directory");
    TCase *t = tcase_create("directory");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_token_is_one_identitys_which_may_repeat_it);
    tcase_add_test(t, what_was_not_minted_or_has_expired_enrols_nobody);
    tcase_add_test(t, every_enrolment_is_a_line_of_the_log_and_one_alone);
    tcase_add_test(t, the_coordinator_cannot_mint_invites_and_operators_enrol_nobody);
    tcase_add_test(t, questions_that_make_no_sense_get_an_error_each);
    suite_add_tcase(s, t);
    return s;
}
