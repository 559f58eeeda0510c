#include "io/db.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "io/file.h"
#include "io/usage.h"

#define BUSY_MS 2000
#define N_COLUMNS 64

struct stn_db {
    sqlite3 *sqlite;
    char *path;
    struct stn_map statements; /* SQL to sqlite3_stmt */
    bool open;                 /* a transaction of ours */
    enum stn_code lost; /* why SQLite gave up the transaction by itself; STN_OK: it did not */
};

/* ---- values ---- */

struct stn_db_value stn_db_null(void)
{
    return (struct stn_db_value){.type = STN_DB_NULL};
}

struct stn_db_value stn_db_i64(int64_t v)
{
    return (struct stn_db_value){.type = STN_DB_I64, .i64 = v};
}

struct stn_db_value stn_db_f64(double v)
{
    return (struct stn_db_value){.type = STN_DB_F64, .f64 = v};
}

struct stn_db_value stn_db_text(const char *s)
{
    return s == NULL ? stn_db_null()
                     : (struct stn_db_value){.type = STN_DB_TEXT, .p = s, .size = strlen(s)};
}

struct stn_db_value stn_db_blob(const void *p, size_t size)
{
    return (struct stn_db_value){.type = STN_DB_BLOB, .p = p == NULL ? "" : p, .size = size};
}

/* ---- errors ---- */

/* The one place where SQLite's numbers become codes. */
static enum stn_code code_of(int rc)
{
    switch (rc) {
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_ROWID:
        return STN_EXISTS;
    default:
        break;
    }
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return STN_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return STN_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STN_AGAIN;
    case SQLITE_NOMEM:
        return STN_MEMORY;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return STN_DENIED;
    case SQLITE_TOOBIG:
        return STN_LIMIT;
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        return STN_INVALID;
    default:
        return STN_IO;
    }
}

static enum stn_code fail(struct stn_db *db, int rc, struct stn_err *err)
{
    int extended = sqlite3_extended_errcode(db->sqlite);
    enum stn_code code = code_of((extended & 0xff) == (rc & 0xff) ? extended : rc);
    /* some failures end the whole transaction: what this turn wrote before is lost with it */
    if (db->open && sqlite3_get_autocommit(db->sqlite) != 0 && db->lost == STN_OK) {
        db->lost = code;
    }
    return stn_err_set(err, code, "%.120s: %.120s", db->path, sqlite3_errmsg(db->sqlite));
}

/* ---- statements ---- */

static enum stn_code exec(struct stn_db *db, const char *sql, struct stn_err *err)
{
    int rc = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? STN_OK : fail(db, rc, err);
}

/* A kept statement, or one for this call alone (*ret_kept false) when the kept one is in the middle
 * of its rows. */
static enum stn_code prepare(struct stn_db *db, const char *sql, sqlite3_stmt **ret, bool *ret_kept,
                             struct stn_err *err)
{
    sqlite3_stmt *stmt = stn_map_get(&db->statements, sql, strlen(sql));
    bool is_new = stmt == NULL;
    if (is_new || sqlite3_stmt_busy(stmt) != 0) {
        const char *rest = "";
        int rc = sqlite3_prepare_v3(db->sqlite, sql, -1, is_new ? SQLITE_PREPARE_PERSISTENT : 0,
                                    &stmt, &rest);
        if (rc != SQLITE_OK) {
            return fail(db, rc, err);
        }
        if (stmt == NULL || rest[strspn(rest, " \t\r\n;")] != '\0') {
            (void)sqlite3_finalize(stmt);
            return stn_err_set(err, STN_INVALID, "%.120s: not one statement: %.100s", db->path,
                               sql);
        }
        if (is_new && !stn_map_set(&db->statements, sql, strlen(sql), stmt)) {
            (void)sqlite3_finalize(stmt);
            return stn_err_set(err, STN_MEMORY, "%.120s: no memory for a statement", db->path);
        }
        *ret_kept = is_new;
    } else {
        *ret_kept = true;
    }
    *ret = stmt;
    return STN_OK;
}

static int bind(sqlite3_stmt *stmt, int number, const struct stn_db_value *v)
{
    switch (v->type) {
    case STN_DB_I64:
        return sqlite3_bind_int64(stmt, number, v->i64);
    case STN_DB_F64:
        return sqlite3_bind_double(stmt, number, v->f64);
    case STN_DB_TEXT:
        return sqlite3_bind_text64(stmt, number, v->p, v->size, SQLITE_STATIC, SQLITE_UTF8);
    case STN_DB_BLOB:
        return sqlite3_bind_blob64(stmt, number, v->p, v->size, SQLITE_STATIC);
    case STN_DB_NULL:
    default:
        return sqlite3_bind_null(stmt, number);
    }
}

static struct stn_db_value column(sqlite3_stmt *stmt, int i)
{
    const void *p;
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        return stn_db_i64(sqlite3_column_int64(stmt, i));
    case SQLITE_FLOAT:
        return stn_db_f64(sqlite3_column_double(stmt, i));
    case SQLITE_TEXT:
        p = sqlite3_column_text(stmt, i);
        return (struct stn_db_value){.type = STN_DB_TEXT,
                                     .p = p == NULL ? "" : p,
                                     .size = (size_t)sqlite3_column_bytes(stmt, i)};
    case SQLITE_BLOB:
        p = sqlite3_column_blob(stmt, i);
        return stn_db_blob(p, (size_t)sqlite3_column_bytes(stmt, i));
    default:
        return stn_db_null();
    }
}

static enum stn_code step(struct stn_db *db, sqlite3_stmt *stmt, stn_db_row *on_row, void *user,
                          struct stn_err *err)
{
    struct stn_db_value columns[N_COLUMNS];
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (on_row == NULL) {
            continue;
        }
        int n = sqlite3_data_count(stmt);
        assert(n <= N_COLUMNS);
        for (int i = 0; i < n; i++) {
            columns[i] = column(stmt, i);
        }
        enum stn_code code = on_row(user, columns, (size_t)n, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return rc == SQLITE_DONE ? STN_OK : fail(db, rc, err);
}

enum stn_code stn_db_run(struct stn_db *db, const char *sql, const struct stn_db_value *args,
                         size_t n_args, stn_db_row *on_row, void *user, struct stn_err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool kept = false;
    enum stn_code code = prepare(db, sql, &stmt, &kept, err);
    if (code != STN_OK) {
        return code;
    }
    assert((size_t)sqlite3_bind_parameter_count(stmt) == n_args);
    if (sqlite3_stmt_readonly(stmt) == 0 && !db->open) {
        code = exec(db, "BEGIN IMMEDIATE", err);
        db->open = code == STN_OK;
    }
    if (code == STN_OK && db->lost != STN_OK) {
        code = stn_err_set(err, db->lost, "%.120s: an earlier failure ended this transaction",
                           db->path);
    }
    for (size_t i = 0; i < n_args && code == STN_OK; i++) {
        int rc = bind(stmt, (int)i + 1, &args[i]);
        code = rc == SQLITE_OK ? STN_OK : fail(db, rc, err);
    }
    if (code == STN_OK) {
        code = step(db, stmt, on_row, user, err);
    }
    if (kept) {
        (void)sqlite3_reset(stmt); /* repeats the error of the step */
        (void)sqlite3_clear_bindings(stmt);
    } else {
        (void)sqlite3_finalize(stmt);
    }
    return code;
}

struct number {
    int64_t value;
    bool found;
};

static enum stn_code take_number(void *user, const struct stn_db_value *columns, size_t n,
                                 struct stn_err *err)
{
    struct number *number = user;
    if (number->found) {
        return STN_OK;
    }
    if (n == 0 || columns[0].type != STN_DB_I64) {
        return stn_err_set(err, STN_INVALID, "not a number");
    }
    *number = (struct number){.value = columns[0].i64, .found = true};
    return STN_OK;
}

enum stn_code stn_db_number(struct stn_db *db, const char *sql, const struct stn_db_value *args,
                            size_t n_args, int64_t *ret, struct stn_err *err)
{
    struct number number = {0};
    enum stn_code code = stn_db_run(db, sql, args, n_args, take_number, &number, err);
    if (code == STN_OK && !number.found) {
        code = stn_err_set(err, STN_NOT_FOUND, "%.120s: no such row", db->path);
    }
    if (code == STN_OK) {
        *ret = number.value;
    }
    return code;
}

int64_t stn_db_n_changed(const struct stn_db *db)
{
    return sqlite3_changes(db->sqlite);
}

int64_t stn_db_last_key(const struct stn_db *db)
{
    return sqlite3_last_insert_rowid(db->sqlite);
}

/* ---- the turn's transaction ---- */

void stn_db_rollback(struct stn_db *db)
{
    if (db->open && sqlite3_get_autocommit(db->sqlite) == 0) {
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL,
                           NULL); /* fails only when there is none */
    }
    db->open = false;
    db->lost = STN_OK;
}

enum stn_code stn_db_commit(struct stn_db *db, struct stn_err *err)
{
    if (!db->open) {
        return STN_OK;
    }
    enum stn_code code = db->lost;
    if (code != STN_OK) {
        (void)stn_err_set(err, code, "%.120s: an earlier failure ended this transaction", db->path);
    } else {
        uint64_t began_ns = stn_usage_now_ns();
        code = exec(db, "COMMIT", err);
        stn_usage_waited(STN_USAGE_COMMIT, began_ns);
    }
    if (code == STN_OK) {
        db->open = false;
    } else {
        stn_db_rollback(db);
    }
    return code;
}

bool stn_db_is_open(const struct stn_db *db)
{
    return db->open;
}

/* ---- the file ---- */

static enum stn_code pragma_number(struct stn_db *db, const char *sql, int64_t *ret,
                                   struct stn_err *err)
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(db->sqlite, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        *ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    }
    enum stn_code code = rc == SQLITE_ROW || rc == SQLITE_DONE ? STN_OK : fail(db, rc, err);
    (void)sqlite3_finalize(stmt);
    return code;
}

static enum stn_code take_step(struct stn_db *db, const char *sql, size_t number,
                               struct stn_err *err)
{
    char version[64];
    (void)snprintf(version, sizeof version, "PRAGMA user_version = %zu", number + 1);
    enum stn_code code = exec(db, "BEGIN IMMEDIATE", err);
    if (code != STN_OK) {
        return code;
    }
    code = exec(db, sql, err);
    if (code == STN_OK) {
        code = exec(db, version, err);
    }
    if (code == STN_OK) {
        code = exec(db, "COMMIT", err);
    }
    if (code != STN_OK) {
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL,
                           NULL); /* it may be rolled back already */
        return stn_err_prefix(err, "schema step %zu", number + 1);
    }
    return STN_OK;
}

static enum stn_code migrate(struct stn_db *db, const char *const *steps, size_t n_steps,
                             struct stn_err *err)
{
    int64_t id = 0, version = 0, n_tables = 0;
    enum stn_code code = pragma_number(db, "PRAGMA application_id", &id, err);
    if (code == STN_OK) {
        code = pragma_number(db, "PRAGMA user_version", &version, err);
    }
    if (code == STN_OK) {
        code = pragma_number(db, "SELECT count(*) FROM sqlite_schema", &n_tables, err);
    }
    if (code != STN_OK) {
        return code;
    }
    bool fresh = id == 0 && version == 0 && n_tables == 0;
    if (!fresh && id != STN_DB_APPLICATION_ID) {
        return stn_err_set(err, STN_INVALID,
                           "%.160s: the database of another program (application id %lld)",
                           db->path, (long long)id);
    }
    if (version < 0 || (uint64_t)version > n_steps) {
        return stn_err_set(err, STN_UNSUPPORTED,
                           "%.160s: schema version %lld, this program knows up to %zu", db->path,
                           (long long)version, n_steps);
    }
    if (fresh) {
        char sql[64];
        (void)snprintf(sql, sizeof sql, "PRAGMA application_id = %d", STN_DB_APPLICATION_ID);
        code = exec(db, sql, err);
    }
    for (size_t i = (size_t)version; i < n_steps && code == STN_OK; i++) {
        code = take_step(db, steps[i], i, err);
    }
    return code;
}

static enum stn_code set_up(struct stn_db *db, struct stn_err *err)
{
    (void)sqlite3_extended_result_codes(db->sqlite, 1);
    (void)sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    /* the file may be a backup from elsewhere: nothing in its schema is to be trusted */
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return exec(db,
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                "PRAGMA cell_size_check = ON",
                err);
}

enum stn_code stn_db_open(struct stn_db **ret, const char *path, const char *const *steps,
                          size_t n_steps, struct stn_err *err)
{
    int fd;
    /* SQLite gives its other files the mode of this one */
    enum stn_code code = stn_file_open(&fd, path, STN_FILE_WRITE, STN_FILE_SECRET, err);
    if (code != STN_OK) {
        return code;
    }
    stn_file_close(fd);
    struct stn_db *db = stn_mem_new(1, sizeof *db);
    if (db != NULL) {
        db->path = stn_mem_str(path);
    }
    if (db == NULL || db->path == NULL) {
        stn_mem_free(db);
        return stn_err_set(err, STN_MEMORY, "%.160s: no memory for a database", path);
    }
    int rc = sqlite3_open_v2(path, &db->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    code = rc == SQLITE_OK ? set_up(db, err)
           : db->sqlite == NULL
               ? stn_err_set(err, STN_MEMORY, "%.160s: no memory for a database", path)
               : fail(db, rc, err);
    if (code == STN_OK) {
        code = migrate(db, steps, n_steps, err);
    }
    if (code != STN_OK) {
        stn_db_close(db);
        return code;
    }
    *ret = db;
    return STN_OK;
}

void stn_db_close(struct stn_db *db)
{
    if (db == NULL) {
        return;
    }
    stn_db_rollback(db);
    for (size_t i = 0; i < db->statements.n; i++) {
        (void)sqlite3_finalize(db->statements.entries[i].value);
    }
    stn_map_fini(&db->statements);
    int rc = sqlite3_close(db->sqlite);
    assert(rc == SQLITE_OK); /* closed from within a row */
    (void)rc;
    stn_mem_free(db->path);
    stn_mem_free(db);
}

enum stn_code stn_db_backup(struct stn_db *db, const char *path, struct stn_err *err)
{
    assert(!db->open);
    struct stn_file_draft draft;
    enum stn_code code = stn_file_draft(&draft, path, STN_FILE_SECRET, err);
    if (code != STN_OK) {
        return code;
    }
    /* into the empty file that the draft is; not through stn_db_run, which would begin a
     * transaction */
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->sqlite, "VACUUM INTO ?1", -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(stmt, 1, draft.temporary, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    if (rc != SQLITE_DONE) {
        code = fail(db, rc, err);
        (void)stn_err_prefix(err, "backup to %.100s", path);
    }
    (void)sqlite3_finalize(stmt);
    if (code == STN_OK) {
        code = stn_file_draft_keep(&draft, err);
    }
    stn_file_draft_drop(&draft);
    return code;
}

static enum stn_code check_line(void *user, const struct stn_db_value *columns, size_t n,
                                struct stn_err *err)
{
    const char *path = user;
    if (n > 0 && columns[0].type == STN_DB_TEXT && strcmp(columns[0].p, "ok") == 0) {
        return STN_OK;
    }
    return stn_err_set(err, STN_CORRUPT, "%.120s: %.120s", path,
                       n > 0 && columns[0].type == STN_DB_TEXT ? (const char *)columns[0].p
                                                               : "damaged");
}

enum stn_code stn_db_check(struct stn_db *db, struct stn_err *err)
{
    return stn_db_run(db, "PRAGMA integrity_check(1)", NULL, 0, check_line, db->path, err);
}
