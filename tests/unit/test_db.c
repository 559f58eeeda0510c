#include "tests/lib/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/db.h"
#include "io/file.h"

static char folder[64], path[STN_FILE_PATH_MAX];
static struct stn_err err;
static struct stn_db *db;

static const char *const steps[] = {
    "CREATE TABLE task (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, weight REAL, digest "
    "BLOB) STRICT",
    "CREATE TABLE round (id INTEGER PRIMARY KEY, task INTEGER NOT NULL REFERENCES task(id)) STRICT;"
    "CREATE INDEX round_task ON round(task)",
};

static void open_db(void)
{
    enum stn_code code = stn_db_open(&db, path, steps, 2, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static void set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(stn_file_join(path, folder, "state.db", &err), STN_OK);
}

static void tear_down(void)
{
    stn_db_close(db);
    db = NULL;
    ck_assert_msg(stn_file_remove_tree(folder, &err) == STN_OK, "%s", err.text);
}

static enum stn_code add(const char *name)
{
    const struct stn_db_value args[] = {stn_db_text(name)};
    return stn_db_run(db, "INSERT INTO task (name) VALUES (?1)", args, 1, NULL, NULL, &err);
}

static int64_t count(void)
{
    int64_t n = -1;
    ck_assert_int_eq(stn_db_number(db, "SELECT count(*) FROM task", NULL, 0, &n, &err), STN_OK);
    return n;
}

static void commit(void)
{
    enum stn_code code = stn_db_commit(db, &err);
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static enum stn_code check_values(void *user, const struct stn_db_value *v, size_t n,
                                  struct stn_err *e)
{
    (void)e;
    ++*(int *)user;
    ck_assert_uint_eq(n, 6);
    ck_assert(v[0].type == STN_DB_I64 && v[0].i64 == INT64_MIN);
    ck_assert(v[1].type == STN_DB_F64 && v[1].f64 > 0.49 && v[1].f64 < 0.51);
    ck_assert(v[2].type == STN_DB_TEXT && v[2].size == 5);
    ck_assert_str_eq(v[2].p, "gr\xc3\xbcn");
    ck_assert(v[3].type == STN_DB_BLOB && v[3].size == 3 && memcmp(v[3].p, "\0\1\2", 3) == 0);
    ck_assert(v[4].type == STN_DB_NULL);
    ck_assert(v[5].type == STN_DB_BLOB && v[5].size == 0 && v[5].p != NULL);
    return STN_OK;
}

START_TEST(values_come_back_as_they_went_in)
{
    int n = 0;
    const struct stn_db_value args[] = {stn_db_i64(INT64_MIN),      stn_db_f64(0.5),
                                        stn_db_text("gr\xc3\xbcn"), stn_db_blob("\0\1\2", 3),
                                        stn_db_text(NULL),          stn_db_blob(NULL, 0)};
    open_db();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(
            stn_db_run(db, "SELECT ?1, ?2, ?3, ?4, ?5, ?6", args, 6, check_values, &n, &err),
            STN_OK);
    }
    ck_assert_int_eq(n, 3);
    ck_assert(!stn_db_is_open(db)); /* a read opens nothing */
}
END_TEST

START_TEST(the_first_write_opens_a_transaction_and_the_turn_commits_or_forgets_it_whole)
{
    open_db();
    commit(); /* nothing to do */
    ck_assert_int_eq(add("a"), STN_OK);
    ck_assert_int_eq(add("b"), STN_OK);
    ck_assert(stn_db_is_open(db));
    ck_assert_int_eq(stn_db_last_key(db), 2);
    commit();
    ck_assert(!stn_db_is_open(db));
    ck_assert_int_eq(add("c"), STN_OK);
    stn_db_rollback(db);
    ck_assert_int_eq(count(), 2);
    ck_assert_int_eq(add("d"), STN_OK);
    stn_db_close(db); /* without a commit */
    open_db();
    ck_assert_int_eq(count(), 2);
    ck_assert_int_eq(stn_db_run(db, "DELETE FROM task", NULL, 0, NULL, NULL, &err), STN_OK);
    ck_assert_int_eq(stn_db_n_changed(db), 2);
}
END_TEST

START_TEST(what_was_committed_survives_a_killed_process)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        bool good = stn_db_open(&db, path, steps, 2, NULL) == STN_OK && add("kept") == STN_OK &&
                    stn_db_commit(db, NULL) == STN_OK && add("lost") == STN_OK;
        _exit(good ? 7 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
    open_db();
    ck_assert_int_eq(count(), 1);
}
END_TEST

START_TEST(a_broken_constraint_fails_alone_and_says_which_kind)
{
    int64_t v;
    open_db();
    ck_assert_int_eq(add("a"), STN_OK);
    ck_assert_int_eq(add("a"), STN_EXISTS);
    ck_assert_ptr_nonnull(strstr(err.text, "task.name"));
    ck_assert_int_eq(add(NULL), STN_INVALID);
    ck_assert_int_eq(
        stn_db_run(db, "INSERT INTO round (task) VALUES (99)", NULL, 0, NULL, NULL, &err),
        STN_INVALID);
    ck_assert_int_eq(stn_db_run(db, "SELECT nothing", NULL, 0, NULL, NULL, &err), STN_INVALID);
    ck_assert_int_eq(stn_db_run(db, "SELECT 1; SELECT 2", NULL, 0, NULL, NULL, &err), STN_INVALID);
    ck_assert_int_eq(stn_db_run(db, "", NULL, 0, NULL, NULL, &err), STN_INVALID);
    ck_assert_int_eq(stn_db_number(db, "SELECT id FROM task WHERE id = 99", NULL, 0, &v, &err),
                     STN_NOT_FOUND);
    ck_assert_int_eq(stn_db_number(db, "SELECT name FROM task", NULL, 0, &v, &err), STN_INVALID);
    commit();
    ck_assert_int_eq(count(), 1);
}
END_TEST

static const char all_tasks[] = "SELECT id FROM task ORDER BY id";

static enum stn_code end_at_two(void *user, const struct stn_db_value *v, size_t n,
                                struct stn_err *e)
{
    (void)n;
    ++*(int *)user;
    return v[0].i64 == 2 ? stn_err_set(e, STN_CANCELLED, "enough") : STN_OK;
}

static enum stn_code write_and_read(void *user, const struct stn_db_value *v, size_t n,
                                    struct stn_err *e)
{
    (void)n;
    int n_inner = 0;
    ++*(int *)user;
    if (v[0].i64 == 1) {
        /* the same statement, while it is in the middle of its rows */
        ck_assert_int_eq(stn_db_run(db, all_tasks, NULL, 0, end_at_two, &n_inner, e),
                         STN_CANCELLED);
        ck_assert_int_eq(n_inner, 2);
        ck_assert_int_eq(add("below"), STN_OK);
    }
    return v[0].i64 == 2 ? stn_err_set(e, STN_LATE, "too late") : STN_OK;
}

START_TEST(a_row_may_run_statements_and_end_its_own)
{
    int n = 0;
    open_db();
    ck_assert_int_eq(add("a"), STN_OK);
    ck_assert_int_eq(add("b"), STN_OK);
    ck_assert_int_eq(stn_db_run(db, all_tasks, NULL, 0, write_and_read, &n, &err), STN_LATE);
    ck_assert_int_eq(n, 2);
    commit();
    ck_assert_int_eq(count(), 3);
}
END_TEST

START_TEST(the_schema_is_brought_up_step_by_step_and_never_down)
{
    int64_t v = 0;
    struct stat st;
    ck_assert_int_eq(stn_db_open(&db, path, steps, 1, &err), STN_OK);
    ck_assert_int_eq(add("old"), STN_OK);
    commit();
    stn_db_close(db);
    open_db();
    ck_assert_int_eq(stn_db_number(db, "PRAGMA user_version", NULL, 0, &v, &err), STN_OK);
    ck_assert_int_eq(v, 2);
    ck_assert_int_eq(stn_db_number(db, "PRAGMA synchronous", NULL, 0, &v, &err), STN_OK);
    ck_assert_int_eq(v, 2);
    ck_assert_int_eq(stn_db_number(db, "PRAGMA foreign_keys", NULL, 0, &v, &err), STN_OK);
    ck_assert_int_eq(v, 1);
    ck_assert_int_eq(count(), 1);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    stn_db_close(db);
    db = NULL;
    ck_assert_int_eq(stn_db_open(&db, path, steps, 1, &err), STN_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.text, "schema version 2, this program knows up to 1"));
}
END_TEST

START_TEST(a_step_that_fails_changes_nothing)
{
    static const char *const wrong[] = {"CREATE TABLE a (b)",
                                        "CREATE TABLE c (d); CREATE TABLE a (e)"};
    static const char *const right[] = {"CREATE TABLE a (b)", "CREATE TABLE c (d)"};
    int64_t n;
    ck_assert_int_eq(stn_db_open(&db, path, wrong, 2, &err), STN_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "schema step 2"));
    ck_assert_int_eq(stn_db_open(&db, path, right, 2, &err), STN_OK);
    ck_assert_int_eq(stn_db_number(db, "SELECT count(*) FROM c", NULL, 0, &n, &err), STN_OK);
}
END_TEST

START_TEST(a_file_that_is_no_database_or_another_programs_is_refused)
{
    static char text[5000];
    memset(text, 'x', sizeof text);
    ck_assert_int_eq(stn_file_replace(path, text, sizeof text, STN_FILE_SECRET, &err), STN_OK);
    ck_assert_int_eq(stn_db_open(&db, path, steps, 2, &err), STN_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    static const char *const other[] = {"PRAGMA application_id = 7; CREATE TABLE a (b)"};
    ck_assert_int_eq(stn_file_remove(path, &err), STN_OK);
    ck_assert_int_eq(stn_db_open(&db, path, other, 1, &err), STN_OK);
    stn_db_close(db);
    db = NULL;
    ck_assert_int_eq(stn_db_open(&db, path, steps, 2, &err), STN_INVALID);
    ck_assert_int_eq(stn_db_open(&db, folder, steps, 2, &err), STN_IO);
    ck_assert_int_eq(stn_db_open(&db, "/nowhere/state.db", steps, 2, &err), STN_NOT_FOUND);
}
END_TEST

START_TEST(damage_is_found)
{
    static char zeroes[512];
    uint64_t size = 0;
    int fd = -1;
    open_db();
    for (int i = 0; i < 300; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "a rather long name to fill the pages %d", i);
        ck_assert_int_eq(add(name), STN_OK);
    }
    commit();
    ck_assert_int_eq(stn_db_check(db, &err), STN_OK);
    stn_db_close(db);
    db = NULL;
    ck_assert_int_eq(stn_file_size(path, &size, &err), STN_OK);
    ck_assert_int_eq(stn_file_open(&fd, path, STN_FILE_WRITE, 0, &err), STN_OK);
    for (uint64_t at = 2 * 4096; at < size; at += 4096) {
        ck_assert_int_eq(stn_file_pwrite(fd, path, zeroes, sizeof zeroes, at, &err), STN_OK);
    }
    stn_file_close(fd);
    open_db();
    ck_assert_int_eq(stn_db_check(db, &err), STN_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(add("x"), STN_CORRUPT);
}
END_TEST

START_TEST(a_second_writer_is_told_to_try_later)
{
    struct stn_db *other;
    open_db();
    ck_assert_int_eq(stn_db_open(&other, path, steps, 2, &err), STN_OK);
    ck_assert_int_eq(add("a"), STN_OK);
    ck_assert_int_eq(
        stn_db_run(other, "INSERT INTO task (name) VALUES ('b')", NULL, 0, NULL, NULL, &err),
        STN_AGAIN);
    commit();
    ck_assert_int_eq(
        stn_db_run(other, "INSERT INTO task (name) VALUES ('b')", NULL, 0, NULL, NULL, &err),
        STN_OK);
    ck_assert_int_eq(stn_db_commit(other, &err), STN_OK);
    stn_db_close(other);
    ck_assert_int_eq(count(), 2);
}
END_TEST

START_TEST(a_backup_is_whole_and_replaces_the_last_one)
{
    char copy[STN_FILE_PATH_MAX];
    ck_assert_int_eq(stn_file_join(copy, folder, "copy.db", &err), STN_OK);
    open_db();
    for (int i = 1; i <= 2; i++) {
        ck_assert_int_eq(add(i == 1 ? "one" : "two"), STN_OK);
        commit();
        ck_assert_msg(stn_db_backup(db, copy, &err) == STN_OK, "%s", err.text);
        struct stn_db *kept = db;
        ck_assert_int_eq(stn_db_open(&db, copy, steps, 2, &err), STN_OK);
        ck_assert_int_eq(count(), i);
        stn_db_close(db);
        db = kept;
    }
    ck_assert_int_ne(stn_db_backup(db, "/nowhere/copy.db", &err), STN_OK);
}
END_TEST

START_TEST(a_full_disk_loses_the_turn_and_nothing_else)
{
    if (mount("tmpfs", folder, "tmpfs", 0, "size=400k") != 0) {
        (void)printf("skipped: a full disk: no small file system can be mounted here: %s\n",
                     strerror(errno));
        return;
    }
    static uint8_t blob[20000];
    open_db();
    enum stn_code kept = add("kept");
    enum stn_code committed = stn_db_commit(db, &err), code = STN_OK, later = STN_OK;
    const struct stn_db_value args[] = {stn_db_blob(blob, sizeof blob)};
    for (int i = 0; i < 100 && code == STN_OK; i++) {
        code = stn_db_run(db, "INSERT INTO task (name, digest) VALUES (hex(randomblob(8)), ?1)",
                          args, 1, NULL, NULL, &err);
        code = code == STN_OK && i % 4 == 3 ? stn_db_commit(db, &err) : code;
        if (code != STN_OK) {
            later = stn_db_is_open(db) ? stn_db_commit(db, &err) : code;
        }
    }
    stn_db_rollback(db);
    int64_t n = count();
    enum stn_code checked = stn_db_check(db, &err);
    stn_db_close(db);
    db = NULL;
    int unmounted = umount(folder);
    ck_assert(kept == STN_OK && committed == STN_OK);
    ck_assert_int_eq(code, STN_FULL);
    ck_assert_int_eq(later, STN_FULL);
    ck_assert_int_eq(n % 4, 1); /* whole turns of four, and the first */
    ck_assert_int_eq(checked, STN_OK);
    ck_assert_int_eq(unmounted, 0);
}
END_TEST

START_TEST(no_memory_is_an_error)
{
    for (uint64_t n = 1; n <= 2; n++) {
        stn_mem_fail_from(n);
        enum stn_code code = stn_db_open(&db, path, steps, 2, &err);
        stn_mem_fail_from(0);
        ck_assert_int_eq(code, STN_MEMORY);
    }
    open_db();
    stn_mem_fail_from(1);
    enum stn_code code = add("a");
    stn_mem_fail_from(0);
    ck_assert_int_eq(code, STN_MEMORY);
    ck_assert_int_eq(add("a"), STN_OK);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("db");
    TCase *c = tcase_create("db");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, values_come_back_as_they_went_in);
    tcase_add_test(c, the_first_write_opens_a_transaction_and_the_turn_commits_or_forgets_it_whole);
    tcase_add_test(c, what_was_committed_survives_a_killed_process);
    tcase_add_test(c, a_broken_constraint_fails_alone_and_says_which_kind);
    tcase_add_test(c, a_row_may_run_statements_and_end_its_own);
    tcase_add_test(c, the_schema_is_brought_up_step_by_step_and_never_down);
    tcase_add_test(c, a_step_that_fails_changes_nothing);
    tcase_add_test(c, a_file_that_is_no_database_or_another_programs_is_refused);
    tcase_add_test(c, damage_is_found);
    tcase_add_test(c, a_second_writer_is_told_to_try_later);
    tcase_add_test(c, a_backup_is_whole_and_replaces_the_last_one);
    tcase_add_test(c, a_full_disk_loses_the_turn_and_nothing_else);
    tcase_add_test(c, no_memory_is_an_error);
    suite_add_tcase(s, c);
    return s;
}
