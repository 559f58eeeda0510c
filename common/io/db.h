/* db: one SQLite file for what must survive a restart: metadata, never model bytes. The first write
 * opens a transaction, stn_db_commit at the end of the turn closes it: nothing is promised before
 * that returned STN_OK. The database is in WAL mode with full syncs. Library: sqlite3. Thread: one
 * at a time; it lives on the loop. */
#ifndef STN_IO_DB_H
#define STN_IO_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct stn_db;

/* ---- values: what goes into a statement, and what comes out of a row ---- */

enum stn_db_type { STN_DB_NULL, STN_DB_I64, STN_DB_F64, STN_DB_TEXT, STN_DB_BLOB };

struct stn_db_value {
    enum stn_db_type type;
    int64_t i64;
    double f64;
    const void *p; /* of TEXT and BLOB; never NULL in a row, and TEXT in a row ends with a zero */
    size_t size;   /* of TEXT without a zero */
};

struct stn_db_value stn_db_null(void);
struct stn_db_value stn_db_i64(int64_t v);
struct stn_db_value stn_db_f64(double v);
struct stn_db_value stn_db_text(const char *s); /* NULL is null */
struct stn_db_value stn_db_blob(const void *p, size_t size);

/* ---- the file ---- */

#define STN_DB_APPLICATION_ID 0x53544e41 /* "STNA" */

/* Opens or makes the file (mode 0600) and brings it to n_steps: steps[i] is SQL that takes version
 * i to i + 1, each in a transaction of its own. STN_UNSUPPORTED when a newer program wrote it,
 * STN_CORRUPT when it is no database, STN_INVALID when it is another program's, STN_AGAIN when
 * another process holds it. The caller closes *ret. */
enum stn_code stn_db_open(struct stn_db **ret, const char *path, const char *const *steps,
                          size_t n_steps, struct stn_err *err) STN_CHECKED;
/* What was not committed is rolled back. NULL is fine. */
void stn_db_close(struct stn_db *db);

/* ---- statements ---- */

/* For each row, with its n columns; they live for the call. A code other than STN_OK ends the
 * statement with it. */
typedef enum stn_code stn_db_row(void *user, const struct stn_db_value *columns, size_t n,
                                 struct stn_err *err);

/* Runs one statement: sql (a string that lives as long as db: statements are kept by its content)
 * with args for its ?1, ?2, ... Each row goes to on_row (NULL when none is wanted), which may run
 * other statements. A statement that fails has changed nothing. STN_EXISTS: a key is there already.
 * STN_INVALID: another constraint, or wrong SQL. STN_FULL, STN_CORRUPT, STN_AGAIN, STN_MEMORY,
 * STN_IO: stn_db_rollback is then the way on, for the turn's earlier writes may be lost. */
enum stn_code stn_db_run(struct stn_db *db, const char *sql, const struct stn_db_value *args,
                         size_t n_args, stn_db_row *on_row, void *user,
                         struct stn_err *err) STN_CHECKED;

/* The first column of the first row as a number. STN_NOT_FOUND when there is no row, STN_INVALID
 * when it is no number. */
enum stn_code stn_db_number(struct stn_db *db, const char *sql, const struct stn_db_value *args,
                            size_t n_args, int64_t *ret, struct stn_err *err) STN_CHECKED;

/* Rows that the last insert, update or delete changed, and the key of the last insert. */
int64_t stn_db_n_changed(const struct stn_db *db);
int64_t stn_db_last_key(const struct stn_db *db);

/* ---- the turn's transaction ---- */

/* On disk when it returns STN_OK; nothing to do is fine. An error means that nothing of the turn
 * was kept: all or nothing, and never an earlier half. */
enum stn_code stn_db_commit(struct stn_db *db, struct stn_err *err) STN_CHECKED;
/* The turn's writes never were. */
void stn_db_rollback(struct stn_db *db);
bool stn_db_is_open(const struct stn_db *db); /* whether a transaction is */

/* Writes a whole, compact copy of what is committed to path, all or nothing, while the database is
 * in use. No transaction may be open. */
enum stn_code stn_db_backup(struct stn_db *db, const char *path, struct stn_err *err) STN_CHECKED;

/* STN_CORRUPT names the first thing that is wrong with the file. Reads all of it. */
enum stn_code stn_db_check(struct stn_db *db, struct stn_err *err) STN_CHECKED;

#endif
