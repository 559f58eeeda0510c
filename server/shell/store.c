#include "server/shell/store.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "io/db.h"
#include "proto/codec.h"
#include "server/shell/store_table.h"

struct stn_store {
    struct stn_db *db;
    struct stn_buf config; /* of the record that is being written */
    struct { /* SQL made from the tables of columns */
        char *save, *forget, *all, *one;
    } sql[STN_STORE_TABLES];
};

/* ---- statements from columns ---- */

static size_t count_columns(const struct stn_store_table *table)
{
    size_t n = 0;
    while (table->columns[n].name != NULL) {
        n++;
    }
    assert(n <= STN_STORE_COLUMNS);
    return n;
}

/* "a, b, c" or "?1, ?2, ?3" */
static void add_list(struct stn_buf *buf, const struct stn_store_table *table, size_t n, bool names)
{
    for (size_t i = 0; i < n; i++) {
        const char *comma = i == 0 ? "" : ", ";
        if (names) {
            (void)stn_buf_printf(buf, "%s%s", comma, table->columns[i].name);
        } else {
            (void)stn_buf_printf(buf, "%s?%zu", comma, i + 1);
        }
    }
}

static void add_where(struct stn_buf *buf, const struct stn_store_table *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)stn_buf_printf(buf, "%s%s = ?%zu", i == 0 ? " WHERE " : " AND ", table->columns[i].name, i + 1);
    }
}

static char *take_text(struct stn_buf *buf)
{
    (void)stn_buf_add_u8(buf, 0);
    char *text = buf->failed ? NULL : (char *)buf->data;
    if (text == NULL) {
        stn_buf_fini(buf);
    }
    *buf = (struct stn_buf){0};
    return text;
}

static bool make_sql(struct stn_store *store, size_t i)
{
    const struct stn_store_table *table = &stn_store_table_rows[i];
    size_t n = count_columns(table);
    struct stn_buf buf = {0};
    (void)stn_buf_printf(&buf, "INSERT OR REPLACE INTO %s (", table->name);
    add_list(&buf, table, n, true);
    (void)stn_buf_add_str(&buf, ") VALUES (");
    add_list(&buf, table, n, false);
    (void)stn_buf_add_str(&buf, ")");
    store->sql[i].save = take_text(&buf);
    (void)stn_buf_printf(&buf, "DELETE FROM %s", table->name);
    add_where(&buf, table, table->n_forget);
    store->sql[i].forget = take_text(&buf);
    (void)stn_buf_add_str(&buf, "SELECT ");
    add_list(&buf, table, n, true);
    (void)stn_buf_printf(&buf, " FROM %s ORDER BY ", table->name);
    add_list(&buf, table, table->n_key, true);
    store->sql[i].all = take_text(&buf);
    (void)stn_buf_add_str(&buf, "SELECT ");
    add_list(&buf, table, n, true);
    (void)stn_buf_printf(&buf, " FROM %s", table->name);
    add_where(&buf, table, table->n_key);
    store->sql[i].one = take_text(&buf);
    return store->sql[i].save != NULL && store->sql[i].forget != NULL && store->sql[i].all != NULL &&
           store->sql[i].one != NULL;
}

/* ---- life ---- */

enum stn_code stn_store_open(struct stn_store **ret, const char *path, struct stn_err *err)
{
    struct stn_store *store = stn_mem_new(1, sizeof *store);
    if (store == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory for a store", path);
    }
    bool ok = true;
    for (size_t i = 0; i < STN_STORE_TABLES; i++) {
        ok = make_sql(store, i) && ok;
    }
    enum stn_code code = ok ? stn_db_open(&store->db, path, stn_store_table_steps, stn_store_table_n_steps, err)
                            : stn_err_set(err, STN_MEMORY, "%s: no memory for a store", path);
    if (code != STN_OK) {
        stn_store_close(store);
        return code;
    }
    *ret = store;
    return STN_OK;
}

void stn_store_close(struct stn_store *store)
{
    if (store == NULL) {
        return;
    }
    stn_db_close(store->db);
    stn_buf_fini(&store->config);
    for (size_t i = 0; i < STN_STORE_TABLES; i++) {
        stn_mem_free(store->sql[i].save);
        stn_mem_free(store->sql[i].forget);
        stn_mem_free(store->sql[i].all);
        stn_mem_free(store->sql[i].one);
    }
    stn_mem_free(store);
}

bool stn_store_is_dirty(const struct stn_store *store)
{
    return stn_db_is_open(store->db);
}

enum stn_code stn_store_commit(struct stn_store *store, struct stn_err *err)
{
    return stn_db_commit(store->db, err);
}

/* ---- members to columns ---- */

static enum stn_code put_config(struct stn_store *store, const struct stn_msg_round_config *config,
                                struct stn_db_value *ret, struct stn_err *err)
{
    stn_buf_clear(&store->config);
    struct stn_msg msg = {.type = STN_MSG_ROUND_CONFIG, .round_config = *config};
    enum stn_code code = stn_codec_encode(&msg, &store->config, err);
    if (code == STN_OK) {
        *ret = stn_db_blob(store->config.data, store->config.size);
    }
    return code;
}

static struct stn_db_value put_blob(const struct stn_store_column *column, const void *record)
{
    const void *p;
    size_t size;
    memcpy(&p, (const uint8_t *)record + column->at, sizeof p);
    memcpy(&size, (const uint8_t *)record + column->size, sizeof size);
    return stn_db_blob(p, size);
}

static enum stn_code put_column(struct stn_store *store, const struct stn_store_column *column, const void *record,
                                struct stn_db_value *ret, struct stn_err *err)
{
    const void *p = (const uint8_t *)record + column->at;
    uint32_t u32;
    uint64_t u64;
    float f32;
    double f64;
    switch (column->kind) {
    case STN_STORE_TEXT:
        *ret = stn_db_text(p);
        break;
    case STN_STORE_BYTES:
        *ret = stn_db_blob(p, column->size);
        break;
    case STN_STORE_U32:
        memcpy(&u32, p, sizeof u32);
        *ret = stn_db_i64(u32);
        break;
    case STN_STORE_U64:
        memcpy(&u64, p, sizeof u64);
        *ret = stn_db_i64((int64_t)u64);
        break;
    case STN_STORE_F32:
        memcpy(&f32, p, sizeof f32);
        *ret = stn_db_f64((double)f32);
        break;
    case STN_STORE_F64:
        memcpy(&f64, p, sizeof f64);
        *ret = stn_db_f64(f64);
        break;
    case STN_STORE_BOOL:
        *ret = stn_db_i64(*(const bool *)p ? 1 : 0);
        break;
    case STN_STORE_BLOB:
        *ret = put_blob(column, record);
        break;
    case STN_STORE_CONFIG:
        return put_config(store, p, ret, err);
    }
    return STN_OK;
}

static enum stn_code put_columns(struct stn_store *store, const struct stn_record *record, size_t n,
                                 struct stn_db_value *values, struct stn_err *err)
{
    const struct stn_store_column *columns = stn_store_table_rows[record->type].columns;
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < n && code == STN_OK; i++) {
        code = put_column(store, &columns[i], record, &values[i], err);
    }
    return code;
}

/* ---- columns to members ---- */

static bool get_config(const struct stn_db_value *value, struct stn_msg_round_config *ret)
{
    struct stn_arena arena = {.limit = (size_t)1 << 20};
    struct stn_msg msg = {0};
    bool ok = value->type == STN_DB_BLOB &&
              stn_codec_decode(&msg, &arena, value->p, value->size, NULL) == STN_OK &&
              msg.type == STN_MSG_ROUND_CONFIG;
    if (ok) {
        *ret = msg.round_config;
    }
    stn_arena_fini(&arena);
    return ok;
}

/* False: no column of ours holds this. */
static bool get_column(const struct stn_store_column *column, const struct stn_db_value *value, void *record)
{
    void *p = (uint8_t *)record + column->at;
    bool is_number = value->type == STN_DB_I64;
    uint32_t u32 = (uint32_t)value->i64;
    float f32 = (float)value->f64;
    switch (column->kind) {
    case STN_STORE_TEXT:
        if (value->type != STN_DB_TEXT || value->size >= column->size) {
            return false;
        }
        memcpy(p, value->p, value->size);
        return true;
    case STN_STORE_BYTES:
        if (value->type != STN_DB_BLOB || value->size != column->size) {
            return false;
        }
        memcpy(p, value->p, value->size);
        return true;
    case STN_STORE_U32:
        memcpy(p, &u32, sizeof u32);
        return is_number && value->i64 >= 0 && value->i64 <= UINT32_MAX;
    case STN_STORE_U64:
        memcpy(p, &value->i64, sizeof value->i64);
        return is_number;
    case STN_STORE_F32:
        memcpy(p, &f32, sizeof f32);
        return value->type == STN_DB_F64;
    case STN_STORE_F64:
        memcpy(p, &value->f64, sizeof value->f64);
        return value->type == STN_DB_F64;
    case STN_STORE_BOOL:
        *(bool *)p = value->i64 == 1;
        return is_number;
    case STN_STORE_BLOB:
        memcpy(p, &value->p, sizeof value->p);
        memcpy((uint8_t *)record + column->size, &value->size, sizeof value->size);
        return value->type == STN_DB_BLOB;
    case STN_STORE_CONFIG:
        return get_config(value, p);
    }
    return false;
}

struct reading {
    enum stn_record_type type;
    void (*each)(void *user, const struct stn_record *record);
    void *user;
};

static enum stn_code take_row(void *user, const struct stn_db_value *values, size_t n, struct stn_err *err)
{
    struct reading *reading = user;
    const struct stn_store_table *table = &stn_store_table_rows[reading->type];
    struct stn_record record = {0};
    record.type = reading->type;
    for (size_t i = 0; i < n; i++) {
        const struct stn_store_column *column = &table->columns[i];
        if (!get_column(column, &values[i], &record)) {
            return stn_err_set(err, STN_CORRUPT, "state.db: column %s of table %s holds what it cannot: restore a backup",
                               column->name, table->name);
        }
    }
    reading->each(reading->user, &record);
    return STN_OK;
}

/* ---- records ---- */

enum stn_code stn_store_save(struct stn_store *store, const struct stn_record *record, struct stn_err *err)
{
    struct stn_db_value values[STN_STORE_COLUMNS];
    size_t n = count_columns(&stn_store_table_rows[record->type]);
    enum stn_code code = put_columns(store, record, n, values, err);
    return code == STN_OK ? stn_db_run(store->db, store->sql[record->type].save, values, n, NULL, NULL, err) : code;
}

enum stn_code stn_store_forget(struct stn_store *store, const struct stn_record *record, struct stn_err *err)
{
    struct stn_db_value values[STN_STORE_COLUMNS];
    size_t n = stn_store_table_rows[record->type].n_forget;
    enum stn_code code = put_columns(store, record, n, values, err);
    return code == STN_OK ? stn_db_run(store->db, store->sql[record->type].forget, values, n, NULL, NULL, err) : code;
}

enum stn_code stn_store_each(struct stn_store *store, enum stn_record_type type,
                             void (*each)(void *user, const struct stn_record *record), void *user, struct stn_err *err)
{
    struct reading reading = {type, each, user};
    return stn_db_run(store->db, store->sql[type].all, NULL, 0, take_row, &reading, err);
}

enum stn_code stn_store_restore(struct stn_store *store, void (*each)(void *user, const struct stn_record *record),
                                void *user, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < STN_STORE_TABLES && code == STN_OK; i++) {
        code = stn_store_each(store, (enum stn_record_type)i, each, user, err);
    }
    return code;
}

struct found {
    struct stn_record record;
    bool is_there;
};

static void take_found(void *user, const struct stn_record *record)
{
    struct found *found = user;
    *found = (struct found){*record, true};
}

enum stn_code stn_store_get(struct stn_store *store, struct stn_record *record, struct stn_err *err)
{
    struct stn_db_value values[STN_STORE_COLUMNS];
    struct found found = {0};
    struct reading reading = {record->type, take_found, &found};
    const struct stn_store_table *table = &stn_store_table_rows[record->type];
    assert(record->type != STN_RECORD_SECAGG); /* its bytes do not outlive their row */
    enum stn_code code = put_columns(store, record, table->n_key, values, err);
    if (code == STN_OK) {
        code = stn_db_run(store->db, store->sql[record->type].one, values, table->n_key, take_row, &reading, err);
    }
    if (code == STN_OK && !found.is_there) {
        code = stn_err_set(err, STN_NOT_FOUND, "there is no such %s", table->name);
    }
    if (code == STN_OK) {
        *record = found.record;
    }
    return code;
}

/* ---- devices ---- */

enum stn_code stn_store_add_device(struct stn_store *store, const struct stn_store_device *device, struct stn_err *err)
{
    const struct stn_db_value values[] = {
        stn_db_blob(device->device.bytes, sizeof device->device.bytes), stn_db_blob(device->key, sizeof device->key),
        stn_db_blob(device->certificate, sizeof device->certificate), stn_db_i64((int64_t)device->enrolled_ms),
        stn_db_i64((int64_t)device->seen_ms)};
    return stn_db_run(store->db,
                      "INSERT INTO device (device, key, certificate, enrolled_ms, seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
                      " ON CONFLICT (device) DO UPDATE SET certificate = excluded.certificate",
                      values, 5, NULL, NULL, err);
}

static enum stn_code take_id(void *user, const struct stn_db_value *values, size_t n, struct stn_err *err)
{
    struct stn_id *id = user;
    if (n != 1 || values[0].type != STN_DB_BLOB || values[0].size != sizeof id->bytes) {
        return stn_err_set(err, STN_CORRUPT, "state.db: a device without an identity: restore a backup");
    }
    memcpy(id->bytes, values[0].p, sizeof id->bytes);
    return STN_OK;
}

bool stn_store_find_device(struct stn_store *store, const uint8_t key[static 32], struct stn_id *ret)
{
    static const struct stn_id none;
    struct stn_id id = {0};
    struct stn_db_value value = stn_db_blob(key, 32);
    enum stn_code code =
        stn_db_run(store->db, "SELECT device FROM device WHERE key = ?1", &value, 1, take_id, &id, NULL);
    if (code != STN_OK || memcmp(&id, &none, sizeof id) == 0) {
        return false;
    }
    *ret = id;
    return true;
}

enum stn_code stn_store_saw_device(struct stn_store *store, const struct stn_id *device, uint64_t now_ms,
                                   struct stn_err *err)
{
    int64_t seen_ms = 0;
    const struct stn_db_value values[] = {stn_db_blob(device->bytes, sizeof device->bytes), stn_db_i64((int64_t)now_ms)};
    enum stn_code code = stn_db_number(store->db, "SELECT seen_ms FROM device WHERE device = ?1", values, 1, &seen_ms, err);
    uint64_t last_ms = (uint64_t)seen_ms;
    if (code == STN_NOT_FOUND || (code == STN_OK && last_ms > 0 && last_ms <= now_ms && now_ms - last_ms < STN_STORE_SEEN_MS)) {
        return STN_OK;
    }
    return code == STN_OK ? stn_db_run(store->db, "UPDATE device SET seen_ms = ?2 WHERE device = ?1", values, 2, NULL, NULL, err)
                          : code;
}

struct device_reading {
    void (*each)(void *user, const struct stn_store_device *device);
    void *user;
};

static enum stn_code take_device(void *user, const struct stn_db_value *values, size_t n, struct stn_err *err)
{
    struct device_reading *reading = user;
    struct stn_store_device device = {0};
    if (n != 5 || values[0].size != sizeof device.device.bytes || values[1].size != sizeof device.key ||
        values[2].size != sizeof device.certificate) {
        return stn_err_set(err, STN_CORRUPT, "state.db: a row of table device is not one: restore a backup");
    }
    memcpy(device.device.bytes, values[0].p, sizeof device.device.bytes);
    memcpy(device.key, values[1].p, sizeof device.key);
    memcpy(device.certificate, values[2].p, sizeof device.certificate);
    device.enrolled_ms = (uint64_t)values[3].i64;
    device.seen_ms = (uint64_t)values[4].i64;
    reading->each(reading->user, &device);
    return STN_OK;
}

enum stn_code stn_store_each_device(struct stn_store *store,
                                    void (*each)(void *user, const struct stn_store_device *device), void *user,
                                    struct stn_err *err)
{
    struct device_reading reading = {each, user};
    return stn_db_run(store->db,
                      "SELECT device, key, certificate, enrolled_ms, seen_ms FROM device ORDER BY enrolled_ms, device",
                      NULL, 0, take_device, &reading, err);
}

enum stn_code stn_store_count_devices(struct stn_store *store, uint64_t *ret, struct stn_err *err)
{
    int64_t n = 0;
    enum stn_code code = stn_db_number(store->db, "SELECT count(*) FROM device", NULL, 0, &n, err);
    if (code == STN_OK) {
        *ret = (uint64_t)n;
    }
    return code;
}

/* ---- snapshots ---- */

enum stn_code stn_store_save_snapshot(struct stn_store *store, const struct stn_store_snapshot *snapshot,
                                      const struct stn_id *devices, size_t n, struct stn_err *err)
{
    const struct stn_db_value values[] = {stn_db_blob(snapshot->round.bytes, sizeof snapshot->round.bytes),
                                          stn_db_i64((int64_t)snapshot->number),
                                          stn_db_blob(snapshot->digest.bytes, sizeof snapshot->digest.bytes)};
    enum stn_code code = stn_db_run(store->db, "INSERT OR REPLACE INTO snapshot (round, number, digest) VALUES (?1, ?2, ?3)",
                                    values, 3, NULL, NULL, err);
    for (size_t i = 0; i < n && code == STN_OK; i++) {
        const struct stn_db_value pair[] = {values[0], stn_db_blob(devices[i].bytes, sizeof devices[i].bytes)};
        code = stn_db_run(store->db, "INSERT INTO snapshot_device (round, device) VALUES (?1, ?2)", pair, 2, NULL, NULL,
                          err);
    }
    return code;
}

struct snapshot_reading {
    struct stn_store_snapshot *ret;
    bool is_there;
    enum stn_code (*each)(void *user, const struct stn_id *device, struct stn_err *err);
    void *user;
};

static enum stn_code take_snapshot(void *user, const struct stn_db_value *values, size_t n, struct stn_err *err)
{
    struct snapshot_reading *reading = user;
    if (n != 2 || values[0].type != STN_DB_I64 || values[1].size != sizeof reading->ret->digest.bytes) {
        return stn_err_set(err, STN_CORRUPT, "state.db: a row of table snapshot is not one: restore a backup");
    }
    reading->ret->number = (uint64_t)values[0].i64;
    memcpy(reading->ret->digest.bytes, values[1].p, values[1].size);
    reading->is_there = true;
    return STN_OK;
}

static enum stn_code take_snapshot_device(void *user, const struct stn_db_value *values, size_t n, struct stn_err *err)
{
    struct snapshot_reading *reading = user;
    struct stn_id id = {0};
    enum stn_code code = take_id(&id, values, n, err);
    return code == STN_OK ? reading->each(reading->user, &id, err) : code;
}

enum stn_code stn_store_get_snapshot(struct stn_store *store, const struct stn_round_id *round,
                                     struct stn_store_snapshot *ret,
                                     enum stn_code (*each)(void *user, const struct stn_id *device, struct stn_err *err),
                                     void *user, struct stn_err *err)
{
    struct stn_db_value value = stn_db_blob(round->bytes, sizeof round->bytes);
    struct stn_store_snapshot snapshot = {.round = *round};
    struct snapshot_reading reading = {&snapshot, false, each, user};
    enum stn_code code = stn_db_run(store->db, "SELECT number, digest FROM snapshot WHERE round = ?1", &value, 1,
                                    take_snapshot, &reading, err);
    if (code == STN_OK && !reading.is_there) {
        return stn_err_set(err, STN_NOT_FOUND, "the round has no snapshot");
    }
    if (code == STN_OK) {
        code = stn_db_run(store->db, "SELECT device FROM snapshot_device WHERE round = ?1", &value, 1,
                          take_snapshot_device, &reading, err);
    }
    if (code == STN_OK) {
        *ret = snapshot;
    }
    return code;
}

enum stn_code stn_store_forget_snapshot(struct stn_store *store, const struct stn_round_id *round, struct stn_err *err)
{
    struct stn_db_value value = stn_db_blob(round->bytes, sizeof round->bytes);
    enum stn_code code = stn_db_run(store->db, "DELETE FROM snapshot WHERE round = ?1", &value, 1, NULL, NULL, err);
    return code == STN_OK
               ? stn_db_run(store->db, "DELETE FROM snapshot_device WHERE round = ?1", &value, 1, NULL, NULL, err)
               : code;
}
