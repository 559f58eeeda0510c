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
        "sterna://a:1/?key=" KEY "&dir=" DIR "&via=tls+tcp&token=" TOKEN,
        "sterna://a:1/?key=" KEY "&dir=" DIR "&via=ws",
        "sterna://a:1/?key=" KEY "&dir=" DIR "&via=wss&path=/sterna/x&token=" TOKEN,
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
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&via=ipc", "via="},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&via=ws&via=wss", "once"},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&via=ws&path=x", "begins with a /"},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&via=ws&path=/a?b", "begins with a /"},
        {"sterna://a:1/?key=" KEY "&dir=" DIR "&path=/x", "is for via=ws"},
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

START_TEST(a_place_has_a_way_and_is_a_link)
{
    static const struct {
        const char *place, *link;
        bool is_tls;
    } rows[] = {{"home.example:7740", "tcp://home.example:7740", false},
                {"tcp://[::1]:1", "tcp://[::1]:1", false},
                {"tls+tcp://a:7740", "tls+tcp://a:7740", true},
                {"ws://a:80", "ws://a:80", false},
                {"wss://a:443/sterna", "wss://a:443/sterna", true}};
    static const char *const wrong[] = {"",          "a",        "a:0",          "ipc:///tmp/a", "http://a:1",
                                        "a:1/",      "a:1/path", "tls+tcp://a:1/x", "ws://a:80x",   "tcp://a:1?",
                                        "ws://a:1/ "};
    struct stn_url url = {.key = {7}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char link[STN_URL_LINK];
        ck_assert_int_eq(stn_url_get_place(&url, rows[i].place, NULL), STN_OK);
        stn_url_put_link(&url, link);
        ck_assert_str_eq(link, rows[i].link);
        ck_assert_int_eq(stn_url_is_tls(&url), rows[i].is_tls);
        ck_assert_uint_eq(url.key[0], 7);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(stn_url_get_place(&url, wrong[i], NULL) == STN_INVALID, "%s", wrong[i]);
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
    tcase_add_test(t, a_place_has_a_way_and_is_a_link);
    suite_add_tcase(s, t);
    return s;
}
