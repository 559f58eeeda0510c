#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "server/shell/store.h"
#include "server/shell/store_table.h"

static char folder[64], path[STN_FILE_PATH_MAX];
static struct stn_err err;
static struct stn_store *store;

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static void set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ok(stn_file_join(path, folder, "state.db", &err));
    ok(stn_store_open(&store, path, &err));
}

static void tear_down(void)
{
    stn_store_close(store);
    ok(stn_file_remove_tree(folder, &err));
}

static void reopen(void)
{
    stn_store_close(store);
    ok(stn_store_open(&store, path, &err));
}

static const uint8_t blob[5000] = "a proof\0and a share";

/* A record of the type with a value of its own in every column: a column that is swapped or left out shows. */
static struct stn_record filled(enum stn_record_type type)
{
    struct stn_record record = {0};
    record.type = type;
    const struct stn_store_column *columns = stn_store_table_rows[type].columns;
    for (uint32_t i = 0; columns[i].name != NULL; i++) {
        uint8_t *p = (uint8_t *)&record + columns[i].at;
        switch (columns[i].kind) {
        case STN_STORE_TEXT:
            (void)snprintf((char *)p, columns[i].size, "text-%u", i);
            break;
        case STN_STORE_BYTES:
            memset(p, (int)(i + 1), columns[i].size);
            break;
        case STN_STORE_U32:
            *(uint32_t *)(void *)p = UINT32_MAX - i;
            break;
        case STN_STORE_U64:
            *(uint64_t *)(void *)p = UINT64_MAX - i;
            break;
        case STN_STORE_F32:
            *(float *)(void *)p = 0.1f + (float)i;
            break;
        case STN_STORE_F64:
            *(double *)(void *)p = 0.1 + i;
            break;
        case STN_STORE_BOOL:
            *(bool *)p = true;
            break;
        case STN_STORE_BLOB:
            record.secagg.of.data = blob;
            record.secagg.of.size = sizeof blob;
            break;
        case STN_STORE_CONFIG:
            break;
        }
    }
    if (type == STN_RECORD_ROUND) {
        record.round.config = (struct stn_msg_round_config){
            .round = record.round.round, .protocol = 1, .task = "home", .version = 7, .factor = STN_FACTOR_B, .n_values = 99,
            .bits = 24, .n_max = 20, .n_min = 16, .clip_norm = 0.3, .weight_max = 5, .secure = true, .join_ms = 11,
            .upload_ms = 12};
        memset(record.round.config.seed, 9, sizeof record.round.config.seed);
        memset(&record.round.config.model, 8, sizeof record.round.config.model);
    }
    return record;
}

static struct stn_record restored[16];
static size_t n_restored;
static bool is_blob_right;

static void take(void *user, const struct stn_record *record)
{
    (void)user;
    ck_assert_uint_lt(n_restored, 16);
    if (record->type == STN_RECORD_SECAGG) { /* it is borrowed for the call */
        const struct stn_secagg_server_record *of = &record->secagg.of;
        is_blob_right = of->size == sizeof blob && memcmp(of->data, blob, of->size) == 0;
    }
    restored[n_restored] = *record;
    if (record->type == STN_RECORD_SECAGG) {
        restored[n_restored].secagg.of.data = blob;
    }
    n_restored++;
}

static void restore(void)
{
    n_restored = 0;
    ok(stn_store_restore(store, take, NULL, &err));
}

START_TEST(every_record_comes_back_as_it_was)
{
    for (int type = STN_RECORD_TASK; type <= STN_RECORD_QUARANTINE; type++) {
        struct stn_record record = filled((enum stn_record_type)type);
        ok(stn_store_save(store, &record, &err));
    }
    ok(stn_store_commit(store, &err));
    reopen();
    restore();
    ck_assert_uint_eq(n_restored, STN_STORE_TABLES);
    ck_assert(is_blob_right);
    for (int type = STN_RECORD_TASK; type <= STN_RECORD_QUARANTINE; type++) {
        struct stn_record record = filled((enum stn_record_type)type);
        ck_assert_int_eq(restored[type].type, type);
        ck_assert_msg(memcmp(&restored[type], &record, sizeof record) == 0, "table %s", stn_store_table_rows[type].name);
    }
}
END_TEST

START_TEST(saving_again_replaces_and_forgetting_wants_the_key_alone)
{
    struct stn_record lease = filled(STN_RECORD_LEASE), other = lease;
    ok(stn_store_save(store, &lease, &err));
    lease.lease.spent = false;
    lease.lease.expires_ms = 5;
    ok(stn_store_save(store, &lease, &err));
    other.lease.lease = 3;
    ok(stn_store_save(store, &other, &err));
    restore();
    ck_assert_uint_eq(n_restored, 2);
    struct stn_record key = {.type = STN_RECORD_LEASE};
    memcpy(key.lease.task, lease.lease.task, sizeof key.lease.task);
    key.lease.lease = 3;
    ok(stn_store_forget(store, &key, &err));
    ok(stn_store_forget(store, &key, &err));
    restore();
    ck_assert_uint_eq(n_restored, 1);
    ck_assert_uint_eq(restored[0].lease.expires_ms, 5);
    ck_assert(!restored[0].lease.spent);
    ck_assert_int_eq(stn_store_get(store, &key, &err), STN_NOT_FOUND);
    key.lease.lease = lease.lease.lease;
    ok(stn_store_get(store, &key, &err));
    ck_assert_uint_eq(key.lease.expires_ms, 5);
}
END_TEST

START_TEST(secrets_of_a_round_are_forgotten_together_and_no_others)
{
    struct stn_record record = filled(STN_RECORD_SECAGG);
    for (uint32_t round = 1; round <= 2; round++) {
        for (uint32_t i = 0; i < 6; i++) {
            memset(&record.secagg.round, (int)round, sizeof record.secagg.round);
            record.secagg.of.kind = 1 + i % 3;
            record.secagg.of.index = i / 3;
            ok(stn_store_save(store, &record, &err));
        }
    }
    restore();
    ck_assert_uint_eq(n_restored, 12);
    ok(stn_store_forget(store, &record, &err));
    restore();
    ck_assert_uint_eq(n_restored, 6);
    ck_assert_uint_eq(restored[0].secagg.round.bytes[0], 1);
}
END_TEST

START_TEST(what_was_not_committed_never_was)
{
    struct stn_record task = filled(STN_RECORD_TASK);
    ck_assert(!stn_store_is_dirty(store));
    ok(stn_store_save(store, &task, &err));
    ck_assert(stn_store_is_dirty(store));
    ok(stn_store_commit(store, &err));
    ck_assert(!stn_store_is_dirty(store));
    task.task.version = 1;
    ok(stn_store_save(store, &task, &err));
    reopen();
    restore();
    ck_assert_uint_eq(n_restored, 1);
    ck_assert_uint_eq(restored[0].task.version, filled(STN_RECORD_TASK).task.version);
}
END_TEST

static size_t n_devices;

static void count_device(void *user, const struct stn_store_device *device)
{
    *(struct stn_store_device *)user = *device;
    n_devices++;
}

START_TEST(a_device_is_found_by_its_key_and_enrols_once)
{
    struct stn_store_device device = {.enrolled_ms = 100}, last;
    struct stn_id id;
    uint64_t n = 9;
    memset(&device.device, 1, sizeof device.device);
    memset(device.key, 2, sizeof device.key);
    ck_assert(!stn_store_find_device(store, device.key, &id));
    ok(stn_store_add_device(store, &device, &err));
    ok(stn_store_saw_device(store, &device.device, 300, &err));
    device.enrolled_ms = 200; /* repeats its token: a newer certificate, the same device */
    memset(device.certificate, 7, sizeof device.certificate);
    ok(stn_store_add_device(store, &device, &err));
    ck_assert(stn_store_find_device(store, device.key, &id));
    ck_assert_mem_eq(&id, &device.device, sizeof id);
    ok(stn_store_count_devices(store, &n, &err));
    ck_assert_uint_eq(n, 1);
    n_devices = 0;
    ok(stn_store_each_device(store, count_device, &last, &err));
    ck_assert_uint_eq(n_devices, 1);
    ck_assert_uint_eq(last.enrolled_ms, 100);
    ck_assert_uint_eq(last.seen_ms, 300);
    ok(stn_store_commit(store, &err));
    ok(stn_store_saw_device(store, &device.device, 300 + STN_STORE_SEEN_MS - 1, &err));
    ck_assert(!stn_store_is_dirty(store)); /* nothing to commit */
    ok(stn_store_saw_device(store, &device.device, 300 + STN_STORE_SEEN_MS, &err));
    ok(stn_store_saw_device(store, &device.device, 200, &err)); /* the clock was set back */
    ok(stn_store_each_device(store, count_device, &last, &err));
    ck_assert_uint_eq(last.seen_ms, 200);
    ck_assert_uint_eq(last.certificate[0], 7);
    device.device.bytes[31] ^= 0x80; /* another identity with the same image */
    ck_assert_int_eq(stn_store_add_device(store, &device, &err), STN_EXISTS);
    ok(stn_store_commit(store, &err));
}
END_TEST

static enum stn_code count_in_snapshot(void *user, const struct stn_id *device, struct stn_err *e)
{
    (void)e;
    *(unsigned *)user += device->bytes[0];
    return STN_OK;
}

START_TEST(a_snapshot_counts_the_devices_of_all_before_it)
{
    struct stn_store_snapshot snapshot = {.number = 1}, found;
    struct stn_id ids[3] = {{{1}}, {{2}}, {{4}}};
    unsigned sum = 0;
    memset(&snapshot.round, 5, sizeof snapshot.round);
    ck_assert_int_eq(stn_store_get_snapshot(store, &snapshot.round, &found, count_in_snapshot, &sum, &err), STN_NOT_FOUND);
    ok(stn_store_save_snapshot(store, &snapshot, ids, 2, &err));
    snapshot.number = 2;
    memset(&snapshot.digest, 6, sizeof snapshot.digest);
    ok(stn_store_save_snapshot(store, &snapshot, ids + 2, 1, &err));
    ok(stn_store_get_snapshot(store, &snapshot.round, &found, count_in_snapshot, &sum, &err));
    ck_assert_mem_eq(&found, &snapshot, sizeof found);
    ck_assert_uint_eq(sum, 7);
    ok(stn_store_forget_snapshot(store, &snapshot.round, &err));
    ck_assert_int_eq(stn_store_get_snapshot(store, &snapshot.round, &found, count_in_snapshot, &sum, &err), STN_NOT_FOUND);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("store");
    TCase *t = tcase_create("store");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, every_record_comes_back_as_it_was);
    tcase_add_test(t, saving_again_replaces_and_forgetting_wants_the_key_alone);
    tcase_add_test(t, secrets_of_a_round_are_forgotten_together_and_no_others);
    tcase_add_test(t, what_was_not_committed_never_was);
    tcase_add_test(t, a_device_is_found_by_its_key_and_enrols_once);
    tcase_add_test(t, a_snapshot_counts_the_devices_of_all_before_it);
    suite_add_tcase(s, t);
    return s;
}
