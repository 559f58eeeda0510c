#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "channel/url.h"

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define DIR "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
#define TOKEN "0101010101010101010101010101010101010101010101010101010101010101"

START_TEST(a_url_comes_back_as_it_went)
{
    static const char *const texts[] = {
        "sterna://home.example:7740/?key=" KEY "&dir=" DIR "&token=" TOKEN,
        "sterna://192.168.1.2:1/?key=" KEY "&dir=" DIR,
        "sterna://[2001:db8::1]:65535/?key=" KEY "&dir=" DIR "&token=" TOKEN,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct stn_url url;
        char back[STN_URL_TEXT];
        ck_assert_int_eq(stn_url_get(&url, texts[i], NULL), STN_OK);
        stn_url_put(&url, back);
        ck_assert_str_eq(back, texts[i]);
    }
}
END_TEST

START_TEST(the_parts_are_found_in_any_order)
{
    struct stn_url url;
    ck_assert_int_eq(
        stn_url_get(&url, "sterna://a:7740/?token=" TOKEN "&dir=" DIR "&key=" KEY, NULL), STN_OK);
    ck_assert_str_eq(url.host, "a");
    ck_assert_uint_eq(url.port, 7740);
    ck_assert_uint_eq(url.key[1], 0x11);
    ck_assert_uint_eq(url.directory[1], 0xee);
    ck_assert(url.has_token);
    ck_assert_uint_eq(url.token[31], 1);
}
END_TEST

START_TEST(a_wrong_url_is_refused_and_says_what_is_wrong)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"", "begins with sterna://"},
        {"http://a:1/?key=" KEY "&dir=" DIR, "begins with sterna://"},
        {"sterna://:1/?key=" KEY "&dir=" DIR, "no host"},
        {"sterna://[::1:1/?key=" KEY "&dir=" DIR, "no host"},
        {"sterna://a b:1/?key=" KEY "&dir=" DIR, "port"},
        {"sterna://a/?key=" KEY "&dir=" DIR, "port"},
        {"sterna://a:0/?key=" KEY "&dir=" DIR, "port"},
        {"sterna://a:65536/?key=" KEY "&dir=" DIR, "port"},
        {"sterna://a:100000000001/?key=" KEY "&dir=" DIR, "port"},
        {"sterna://a:1?key=" KEY "&dir=" DIR, "needs a /"},
        {"sterna://a:1/", "lacks its key"},
        {"sterna://a:1/x?key=" KEY "&dir=" DIR, "something but ?"},
        {"sterna://a:1/?key=" KEY, "lacks its dir"},
        {"sterna://a:1/?dir=" DIR, "lacks its key"},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&", "none of"},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&colour=red", "none of"},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&token=", "needs token="},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&token=0" TOKEN, "needs token="},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&key=" KEY, "once"},
        {"sterna://a:1/?key=" KEY "&dir=g" DIR, "needs dir="},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct stn_url url = {.port = 9};
        struct stn_err err = {0};
        ck_assert_msg(stn_url_get(&url, wrong[i].text, &err) == STN_INVALID, "%s", wrong[i].text);
        ck_assert_msg(strstr(err.text, wrong[i].says) != NULL, "%s: %s", wrong[i].text, err.text);
        ck_assert_uint_eq(url.port, 9);
        ck_assert_ptr_null(strstr(err.text, TOKEN));
    }
}
END_TEST

START_TEST(a_host_has_a_most)
{
    char text[800], host[400];
    struct stn_url url;
    for (int n = 254; n < 258; n++) {
        memset(host, 'a', sizeof host);
        (void)snprintf(text, sizeof text,
                       "sterna://%.*s:65535/?key=" KEY "&dir=" DIR "&token=" TOKEN, n, host);
        ck_assert_int_eq(stn_url_get(&url, text, NULL), n < STN_URL_HOST ? STN_OK : STN_INVALID);
        if (n < STN_URL_HOST) {
            char back[STN_URL_TEXT];
            stn_url_put(&url, back);
            ck_assert_str_eq(back, text);
        }
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("url");
    TCase *t = tcase_create("url");
    tcase_add_test(t, a_url_comes_back_as_it_went);
    tcase_add_test(t, the_parts_are_found_in_any_order);
    tcase_add_test(t, a_wrong_url_is_refused_and_says_what_is_wrong);
    tcase_add_test(t, a_host_has_a_most);
    suite_add_tcase(s, t);
    return s;
}
