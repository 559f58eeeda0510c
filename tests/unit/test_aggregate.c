#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "blob/parts.h"
#include "server/shell/aggregate.h"
#include "server/shell/kept.h"
#include "update/pack.h"
#include "update/round.h"

/* A round's sum over a fleet of uploads, with the process ended between every two steps. A process is what is in memory:
 * the store and the aggregate; what it leaves behind is the folder, which is copied at each step, and every copy is gone
 * on from. */
enum { D = 700, N = 7 };

static char top[64], folder[STN_FILE_PATH_MAX];
static struct stn_err err;
static struct stn_store *store;
static struct stn_spool spool;
static struct stn_aggregate *aggregate;
static struct stn_msg_round_config config;
static struct stn_encode_config encoding;
static size_t length;
static uint32_t expected[16384]; /* modulo 2^24 */

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static struct stn_id device(int i)
{
    return (struct stn_id){{(uint8_t)(i + 1), 0xaa}};
}

/* Device i's vector: known, and different from any other. */
static void vector(int i, uint32_t *ret)
{
    struct stn_rng rng;
    stn_rng_init(&rng, (uint64_t)i);
    for (size_t k = 0; k < length; k++) {
        ret[k] = (uint32_t)stn_rng_u64(&rng);
    }
}

static struct stn_server_upload upload(int i)
{
    static uint32_t v[16384];
    static uint8_t bytes[3 * 16384];
    struct stn_server_upload up = {.round = config.round, .device = device(i), .size = stn_round_upload_size(&encoding)};
    vector(i, v);
    stn_pack_put(bytes, v, length, 24);
    up.digest = stn_digest_blob(bytes, (size_t)up.size);
    return up;
}

static void start(const char *where)
{
    char path[STN_FILE_PATH_MAX];
    ok(stn_file_join(path, where, "state.db", &err));
    ok(stn_store_open(&store, path, &err));
    ok(stn_file_join(path, where, "rounds", &err));
    ok(stn_spool_open(&spool, path, &err));
    ok(stn_file_join(path, where, "kept", &err));
    ok(stn_aggregate_open(&aggregate, &spool, store, &config, path, &err));
}

static void end(void)
{
    stn_aggregate_close(aggregate);
    aggregate = NULL;
    stn_store_close(store);
    store = NULL;
}

static void put(int i)
{
    static uint32_t v[16384];
    static uint8_t bytes[3 * 16384];
    struct stn_arena arena = {0};
    struct stn_msg_missing missing;
    struct stn_server_upload up = upload(i);
    vector(i, v);
    stn_pack_put(bytes, v, length, 24);
    ok(stn_spool_begin(&spool, &up, &arena, &missing, &err));
    for (uint32_t m = 0; m < missing.n_missing; m++) {
        size_t at = missing.missing[m] * STN_DIGEST_CHUNK, size = (size_t)up.size - at;
        struct stn_msg_put_chunk chunk = {.round = up.round, .index = missing.missing[m],
                                          .size = (uint32_t)(size < STN_DIGEST_CHUNK ? size : STN_DIGEST_CHUNK),
                                          .data = bytes + at};
        ok(stn_spool_put(&spool, &up.device, &chunk, &err));
    }
    ok(stn_spool_check(&spool, &up, &err));
    stn_arena_fini(&arena);
}

static void set_up(void)
{
    (void)snprintf(top, sizeof top, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    ok(stn_file_join(folder, top, "live", &err));
    ok(stn_file_make_folder(folder, 0700, &err));
    config = (struct stn_msg_round_config){.n_values = D, .bits = 24, .n_max = N, .n_min = 2, .clip_norm = 1};
    memset(&config.round, 3, sizeof config.round);
    ok(stn_round_encoding(&config, &encoding, &err));
    length = stn_encode_length(&encoding);
    ck_assert_uint_le(length, 16384);
    memset(expected, 0, sizeof expected);
    for (int i = 0; i < N; i++) {
        static uint32_t v[16384];
        vector(i, v);
        for (size_t k = 0; k < length; k++) {
            expected[k] = (expected[k] + v[k]) & 0xffffff;
        }
    }
    start(folder);
}

static void tear_down(void)
{
    end();
    ok(stn_file_remove_tree(top, &err));
}

/* ---- crashes ---- */


static void copy_tree(const char *from, const char *to);

static enum stn_code copy_entry(void *user, const char *name, struct stn_err *e)
{
    char from[STN_FILE_PATH_MAX], to[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {0};
    const char *const *pair = user;
    ok(stn_file_join(from, pair[0], name, e));
    ok(stn_file_join(to, pair[1], name, e));
    uint64_t size;
    if (stn_file_size(from, &size, NULL) == STN_OK) {
        ok(stn_file_read(from, (size_t)1 << 30, &bytes, e));
        ok(stn_file_replace(to, bytes.data, bytes.size, 0600, e));
        stn_buf_fini(&bytes);
    } else {
        copy_tree(from, to);
    }
    return STN_OK;
}

static void copy_tree(const char *from, const char *to)
{
    const char *pair[] = {from, to};
    ok(stn_file_make_folder(to, 0700, &err));
    ok(stn_file_list(from, copy_entry, pair, &err));
}

static void sum_is_expected(void)
{
    ck_assert_uint_eq(aggregate->devices.n, N);
    for (size_t k = 0; k < length; k++) {
        ck_assert_uint_eq(aggregate->sum[k] & 0xffffff, expected[k]);
    }
}

/* As the core does after a start: every upload that counts is asked to be added. */
static void add_all(void)
{
    for (int i = 0; i < N; i++) {
        struct stn_id id = device(i);
        ok(stn_aggregate_add(aggregate, &id, &err));
    }
}

static void snapshot(void)
{
    ok(stn_aggregate_write(aggregate, &err));
    ok(stn_aggregate_save(aggregate, store, &err));
    ok(stn_store_commit(store, &err));
    stn_aggregate_clean(aggregate);
}

static unsigned n_crashes;

/* The process ends here. Another one starts on a copy of what it left, adds what counts, takes a snapshot itself, and
 * a third one goes on from that; the sum is right each time. The first goes on as if nothing had been. */
static void crash(void)
{
    char to[STN_FILE_PATH_MAX], name[32];
    struct stn_store *old_store = store;
    struct stn_aggregate *old = aggregate;
    struct stn_spool old_spool = spool;
    (void)snprintf(name, sizeof name, "crash-%u", n_crashes++);
    ok(stn_file_join(to, top, name, &err));
    copy_tree(folder, to);
    start(to);
    add_all();
    sum_is_expected();
    snapshot();
    end();
    start(to);
    ck_assert_uint_eq(aggregate->n_in_snapshot, N);
    add_all();
    sum_is_expected();
    end();
    store = old_store;
    aggregate = old;
    spool = old_spool;
}

START_TEST(whenever_the_process_ends_every_update_is_in_the_sum_once)
{
    for (int i = 0; i < N; i++) {
        put(i);
    }
    n_crashes = 0;
    crash();
    for (int i = 0; i < N; i++) {
        struct stn_id id = device(i);
        ok(stn_aggregate_add(aggregate, &id, &err));
        ok(stn_aggregate_add(aggregate, &id, &err)); /* said twice, added once */
        if (i % 3 == 2) {
            crash();
            ok(stn_aggregate_write(aggregate, &err));
            crash();
            ok(stn_aggregate_save(aggregate, store, &err));
            crash(); /* a transaction that was not committed */
            ok(stn_store_commit(store, &err));
            crash();
            /* clean, one file after the other */
            struct stn_id first = device(i - 2);
            stn_spool_remove(&spool, &config.round, &first);
            crash();
            stn_aggregate_clean(aggregate);
            crash();
        }
    }
    crash();
    sum_is_expected();
    ck_assert_uint_ge(n_crashes, 12);
}
END_TEST

START_TEST(masks_come_off_in_memory_alone_and_again_from_the_first_after_a_crash)
{
    struct stn_mask masks[5] = {{.seed = {1}, .is_minus = true}, {.seed = {2}, .is_minus = true},
                                {.seed = {3}, .is_minus = true}, {.seed = {4}}, {.seed = {5}, .is_minus = true}};
    struct stn_unmask work;
    n_crashes = 0;
    for (int i = 0; i < N; i++) {
        struct stn_id id = device(i);
        put(i);
        ok(stn_aggregate_add(aggregate, &id, &err));
        if (i == 3) {
            snapshot();
        }
    }
    stn_aggregate_unmask(aggregate, &work, masks, 2, true);
    crash(); /* another process begins with every mask on */
    stn_unmask_help(&work);
    crash();
    stn_aggregate_unmask(aggregate, &work, masks + 2, 3, false);
    stn_unmask_help(&work);
    crash();
    stn_mask_apply(expected, length, 0, masks, 5);
    for (size_t k = 0; k < length; k++) {
        expected[k] &= 0xffffff;
    }
    sum_is_expected();
}
END_TEST

START_TEST(spools_go_only_after_their_snapshot_and_kept_updates_stay)
{
    char path[STN_FILE_PATH_MAX], kept[STN_FILE_PATH_MAX];
    struct stn_id id = device(0);
    put(0);
    put(1);
    ok(stn_aggregate_add(aggregate, &id, &err));
    ck_assert_uint_eq(stn_aggregate_n_new(aggregate), 1);
    stn_spool_path(&spool, &config.round, &id, path);
    ok(stn_aggregate_write(aggregate, &err));
    ok(stn_aggregate_save(aggregate, store, &err));
    ok(stn_store_commit(store, &err));
    ck_assert(stn_file_exists(path));
    stn_aggregate_clean(aggregate);
    ck_assert(!stn_file_exists(path));
    ck_assert_uint_eq(stn_aggregate_n_new(aggregate), 0);
    ok(stn_file_join(kept, aggregate->kept, strrchr(path, '/') + 1, &err));
    ck_assert(stn_file_exists(kept));
    stn_spool_remove_round(&spool, &config.round);
    ck_assert(stn_file_exists(kept));
    stn_spool_folder(&spool, &config.round, path);
    ck_assert(!stn_file_exists(path));
    stn_kept_remove(aggregate->kept);
    ck_assert(!stn_file_exists(kept));
}
END_TEST

START_TEST(a_sum_whose_bytes_changed_is_not_loaded)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_id id = device(0);
    int fd;
    put(0);
    ok(stn_aggregate_add(aggregate, &id, &err));
    snapshot();
    stn_aggregate_close(aggregate);
    aggregate = NULL;
    stn_spool_folder(&spool, &config.round, path);
    (void)snprintf(path + strlen(path), 16, "/sum-1");
    ok(stn_file_open(&fd, path, STN_FILE_WRITE, 0600, &err));
    ok(stn_file_pwrite(fd, path, "x", 1, 100, &err));
    stn_file_close(fd);
    ck_assert_int_eq(stn_aggregate_open(&aggregate, &spool, store, &config, NULL, &err), STN_CORRUPT);
}
END_TEST

/* ---- spools ---- */

START_TEST(an_upload_with_missing_or_wrong_bytes_does_not_count)
{
    struct stn_arena arena = {0};
    struct stn_msg_missing missing;
    struct stn_server_upload up = upload(0);
    static uint8_t bytes[3 * 16384];
    struct stn_msg_put_chunk chunk = {.round = up.round, .size = (uint32_t)up.size, .data = bytes};
    ck_assert_int_eq(stn_spool_put(&spool, &up.device, &chunk, &err), STN_NOT_FOUND);
    ck_assert_int_eq(stn_spool_check(&spool, &up, &err), STN_INVALID);
    ok(stn_spool_begin(&spool, &up, &arena, &missing, &err));
    ck_assert_uint_eq(missing.n_missing, 1);
    ck_assert_uint_eq(missing.n_chunks, 1);
    ck_assert_int_eq(stn_spool_check(&spool, &up, &err), STN_INVALID);
    chunk.index = 1;
    ck_assert_int_eq(stn_spool_put(&spool, &up.device, &chunk, &err), STN_INVALID);
    chunk.index = 0;
    ok(stn_spool_put(&spool, &up.device, &chunk, &err));
    ok(stn_spool_begin(&spool, &up, &arena, &missing, &err));
    ck_assert_uint_eq(missing.n_missing, 0);
    ck_assert_int_eq(stn_spool_check(&spool, &up, &err), STN_CORRUPT);
    stn_spool_remove(&spool, &up.round, &up.device);
    ok(stn_spool_begin(&spool, &up, &arena, &missing, &err));
    ck_assert_uint_eq(missing.n_missing, 1);
    put(0); /* the right ones, then */
    ok(stn_spool_begin(&spool, &up, &arena, &missing, &err));
    ck_assert_uint_eq(missing.n_missing, 0);
    ok(stn_spool_check(&spool, &up, &err));
    stn_arena_fini(&arena);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("aggregate");
    TCase *t = tcase_create("aggregate");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, whenever_the_process_ends_every_update_is_in_the_sum_once);
    tcase_add_test(t, masks_come_off_in_memory_alone_and_again_from_the_first_after_a_crash);
    tcase_add_test(t, spools_go_only_after_their_snapshot_and_kept_updates_stay);
    tcase_add_test(t, a_sum_whose_bytes_changed_is_not_loaded);
    tcase_add_test(t, an_upload_with_missing_or_wrong_bytes_does_not_count);
    suite_add_tcase(s, t);
    return s;
}
