#include "tests/lib/run.h"

#include <stdlib.h>
#include <string.h>

#include "io/db.h"
#include "io/file.h"
#include "io/usage.h"

#define LARGE ((size_t)64 << 20)

static char folder[] = "/tmp/stn-usage-XXXXXX", path[64];

static void make_folder(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/file", folder);
}

static void remove_folder(void)
{
    ck_assert_int_eq(stn_file_remove_tree(folder, NULL), STN_OK);
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
}

START_TEST(every_sync_is_counted)
{
    struct stn_usage before, after;
    stn_usage_read(&before);
    ck_assert_int_eq(stn_file_replace(path, "x", 1, STN_FILE_MODE, NULL), STN_OK); /* the file and its folder */
    stn_usage_read(&after);
    ck_assert_uint_eq(after.n[STN_USAGE_SYNC] - before.n[STN_USAGE_SYNC], 2);
    ck_assert_double_gt(after.wait_s[STN_USAGE_SYNC], before.wait_s[STN_USAGE_SYNC]);
    ck_assert_uint_eq(after.n[STN_USAGE_COMMIT], before.n[STN_USAGE_COMMIT]);
}
END_TEST

START_TEST(a_commit_is_counted_once_and_nothing_to_commit_is_not)
{
    static const char *const steps[] = {"CREATE TABLE t (x INTEGER)"};
    struct stn_db *db;
    struct stn_usage before, after;
    ck_assert_int_eq(stn_db_open(&db, path, steps, 1, NULL), STN_OK);
    stn_usage_read(&before);
    ck_assert_int_eq(stn_db_run(db, "INSERT INTO t VALUES (1)", NULL, 0, NULL, NULL, NULL), STN_OK);
    ck_assert_int_eq(stn_db_commit(db, NULL), STN_OK);
    ck_assert_int_eq(stn_db_commit(db, NULL), STN_OK);
    stn_usage_read(&after);
    stn_db_close(db);
    ck_assert_uint_eq(after.n[STN_USAGE_COMMIT] - before.n[STN_USAGE_COMMIT], 1);
    ck_assert_double_gt(after.wait_s[STN_USAGE_COMMIT], before.wait_s[STN_USAGE_COMMIT]);
}
END_TEST

START_TEST(the_peak_of_memory_stays)
{
    struct stn_usage before, held, after;
    stn_usage_read(&before);
    char *p = malloc(LARGE);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < LARGE; i += 4096) {
        p[i] = 1;
    }
    stn_usage_read(&held);
    free(p);
    stn_usage_read(&after);
    ck_assert_uint_ge(held.rss, before.rss + LARGE / 2);
    ck_assert_uint_ge(after.peak_rss, before.rss + LARGE / 2); /* the kernel counts pages in batches */
    ck_assert_double_gt(after.cpu_s, before.cpu_s);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("usage");
    TCase *tcase = tcase_create("usage");
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, every_sync_is_counted);
    tcase_add_test(tcase, a_commit_is_counted_once_and_nothing_to_commit_is_not);
    tcase_add_test(tcase, the_peak_of_memory_stays);
    suite_add_tcase(s, tcase);
    return s;
}
