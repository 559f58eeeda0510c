#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "client/shell/joining.h"

/* What is wrong before anybody is asked. */
#define KEY "28df4ae7250a51301efaffe297bde2448d3f117d51c36e0c1167eb4afb6d1bc3"
#define URL(via) "sterna://127.0.0.1:7740/?key=" KEY "&dir=" KEY via "&token=" KEY

static char folder[64], file[STN_FILE_PATH_MAX], nowhere[STN_FILE_PATH_MAX];

static void set_up(void)
{
    struct stn_err err;
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/ca.pem", folder);
    (void)snprintf(nowhere, sizeof nowhere, "%s/nowhere.pem", folder);
    ck_assert_int_eq(stn_file_replace(file, "", 0, STN_FILE_MODE, &err), STN_OK);
}

static void tear_down(void)
{
    struct stn_err err;
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}

START_TEST(the_authorities_are_where_the_first_file_is)
{
    const char *const last[] = {nowhere, file, NULL}, *const first[] = {file, nowhere, NULL}, *const none[] = {nowhere, NULL};
    ck_assert_ptr_eq(stn_joining_authorities(last), file);
    ck_assert_ptr_eq(stn_joining_authorities(first), file);
    ck_assert_ptr_null(stn_joining_authorities(none));
}
END_TEST

START_TEST(there_is_more_than_one_system)
{
    size_t n = 0;
    while (stn_joining_places[n] != NULL) {
        ck_assert_int_eq(stn_joining_places[n++][0], '/');
    }
    ck_assert_uint_gt(n, 1);
}
END_TEST

static void refuses(const char *url, const char *tls_ca, enum stn_code code, const char *words)
{
    struct stn_err err;
    struct stn_joining_result result;
    const struct stn_joining joining = {.url = url, .dir = folder, .tls_ca = tls_ca, .timeout_ms = 1000};
    ck_assert_int_eq(stn_joining_run(&joining, &result, &err), code);
    ck_assert_msg(strstr(err.text, words) != NULL, "%s", err.text);
}

START_TEST(authorities_that_are_not_there_or_not_wanted_are_said)
{
    refuses(URL("&via=tls+tcp"), nowhere, STN_NOT_FOUND, "nowhere.pem: no file of authorities there");
    refuses(URL(""), file, STN_INVALID, "this URL is not over TLS");
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("joining");
    TCase *t = tcase_create("joining");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, the_authorities_are_where_the_first_file_is);
    tcase_add_test(t, there_is_more_than_one_system);
    tcase_add_test(t, authorities_that_are_not_there_or_not_wanted_are_said);
    suite_add_tcase(s, t);
    return s;
}
