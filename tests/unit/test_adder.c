#include "tests/lib/run.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/mem.h"
#include "io/fd.h"
#include "io/mailbox.h"
#include "server/shell/adder.h"
#include "update/round.h"

/* Sums on a real worker thread, and what becomes of them when the process stops in their midst. */
enum { D = 700, N = 3 };

static char folder[64], kept[STN_FILE_PATH_MAX];
static struct stn_err err;
static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_worker *worker;
static struct stn_store *store;
static struct stn_turn turn;
static struct stn_spool spool;
static struct stn_adder *adder;
static struct stn_adder_config wiring;
static struct stn_msg_round_config config;
static int n_merged, n_unmasked, n_wanted;

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static struct stn_server_upload upload(int i)
{
    return (struct stn_server_upload){.round = config.round, .device = {{(uint8_t)(i + 1), 0xbb}}};
}

/* Device i's upload, whole and checked. */
static void put(int i)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_encode_config encoding;
    const struct stn_server_upload up = upload(i);
    ok(stn_round_encoding(&config, &encoding, &err));
    size_t size = (size_t)stn_round_upload_size(&encoding);
    uint8_t *bytes = stn_mem_new(size, 1);
    ck_assert_ptr_nonnull(bytes);
    stn_spool_folder(&spool, &up.round, path);
    ok(stn_file_make_folder(path, 0700, &err));
    stn_spool_path(&spool, &up.round, &up.device, path);
    ok(stn_file_replace(path, bytes, size, STN_FILE_SECRET, &err));
    stn_mem_free(bytes);
}

static void merged(void *user, struct stn_server_event *event)
{
    (void)user;
    n_merged += event->type == STN_SERVER_MERGED;
    n_unmasked += event->type == STN_SERVER_UNMASKED;
    if (event->type == STN_SERVER_UNMASKED && n_unmasked == n_wanted) {
        stn_loop_stop(loop);
    }
}

static void open_all(uint64_t snapshot, size_t n_threads)
{
    char path[STN_FILE_PATH_MAX];
    ok(stn_loop_open(&loop, &err));
    ok(stn_mailbox_open(&mailbox, loop, &err));
    ok(stn_worker_open(&worker, mailbox, n_threads, &err));
    ok(stn_file_join(path, folder, "state.db", &err));
    ok(stn_store_open(&store, path, &err));
    ok(stn_file_join(path, folder, "rounds", &err));
    ok(stn_spool_open(&spool, path, &err));
    ok(stn_file_join(kept, folder, "kept", &err));
    ok(stn_file_make_folder(kept, 0700, &err));
    stn_turn_open(&turn, loop, store);
    config = (struct stn_msg_round_config){.protocol = STN_MSG_VERSION, .n_values = D, .bits = 24, .n_max = N,
                                           .n_min = 2, .clip_norm = 1, .join_ms = 1, .upload_ms = 1};
    (void)snprintf(config.task, sizeof config.task, "home");
    memset(&config.round, 5, sizeof config.round);
    struct stn_record record = {.type = STN_RECORD_ROUND};
    record.round = (struct stn_round_record){.round = config.round, .state = STN_ROUND_UPLOADING, .config = config};
    (void)snprintf(record.round.task, sizeof record.round.task, "home");
    ok(stn_store_save(store, &record, &err));
    ok(stn_store_commit(store, &err));
    wiring = (struct stn_adder_config){
        .worker = worker, .n_threads = n_threads, .turn = &turn, .store = store, .spool = &spool, .snapshot = snapshot, .kept = kept,
        .tell = merged};
    ok(stn_adder_new(&adder, &wiring, &err));
}

struct marker {
    struct stn_job job;
    sem_t ran;
};

static void mark(struct stn_job *job)
{
    struct marker *marker = STN_LIST_OF(job, struct marker, job);
    (void)sem_post(&marker->ran);
}

static void marked(struct stn_job *job)
{
    (void)job;
}

/* Everything that was submitted so far has run, and the loop has not heard of it. */
static void wait_for_worker(struct marker *marker)
{
    *marker = (struct marker){.job = {.run = mark, .done = marked}};
    ck_assert_int_eq(sem_init(&marker->ran, 0, 0), 0);
    stn_worker_submit(worker, &marker->job);
    ck_assert_int_eq(sem_wait(&marker->ran), 0);
}

static void add(int i)
{
    const struct stn_server_upload up = upload(i);
    stn_adder_add(adder, &up);
}

/* As the service stops. */
static void stop_all(void)
{
    stn_adder_stop(adder);
    stn_worker_close(worker);
    stn_mailbox_close(mailbox, NULL, NULL);
    stn_loop_run(loop);
    stn_turn_close(&turn);
    stn_adder_free(adder);
    stn_store_close(store);
    stn_loop_close(loop);
}

/* The worker is closed, so that asking it for the next upload would be a use of what is freed. */
START_TEST(a_stop_between_two_uploads_begins_nothing_new)
{
    struct marker marker;
    open_all(100, 1);
    for (int i = 0; i < N; i++) {
        put(i);
        add(i);
    }
    wait_for_worker(&marker);
    stop_all();
    ck_assert_int_eq(n_merged, 0);
}
END_TEST

START_TEST(a_stop_behind_a_snapshot_leaves_it_to_the_next_process)
{
    struct marker marker;
    struct stn_store_snapshot snapshot;
    char path[STN_FILE_PATH_MAX];
    open_all(1, 1);
    const struct stn_server_upload first = upload(0), second = upload(1);
    put(0);
    put(1);
    stn_adder_add(adder, &first);
    wait_for_worker(&marker);
    stn_adder_add(adder, &second);
    stop_all();
    ok(stn_file_join(path, folder, "state.db", &err));
    ok(stn_store_open(&store, path, &err));
    ck_assert_int_eq(stn_store_get_snapshot(store, &config.round, &snapshot, NULL, NULL, &err), STN_NOT_FOUND);
    stn_store_close(store);
    stn_spool_path(&spool, &first.round, &first.device, path);
    ck_assert(stn_file_exists(path));
}
END_TEST

static void stop_loop(struct stn_job *job)
{
    (void)job;
    stn_loop_stop(loop);
}

static struct marker behind_add, behind_write;

/* The upload is added, and the snapshot is being written. */
static void close_round(struct stn_job *job)
{
    (void)job;
    stn_adder_close(adder, &config.round, false);
    behind_write.job = (struct stn_job){.run = mark, .done = stop_loop};
    stn_worker_submit(worker, &behind_write.job);
}

static enum stn_code any_device(void *user, const struct stn_id *device, struct stn_err *why)
{
    (void)user;
    (void)device;
    (void)why;
    return STN_OK;
}

START_TEST(a_snapshot_that_is_written_as_its_round_is_closed_is_not_kept)
{
    struct stn_store_snapshot snapshot;
    char path[STN_FILE_PATH_MAX];
    open_all(1, 1);
    put(0);
    add(0);
    behind_add.job = (struct stn_job){.run = mark, .done = close_round};
    stn_worker_submit(worker, &behind_add.job);
    stn_loop_run(loop);
    stop_all();
    ok(stn_file_join(path, folder, "state.db", &err));
    ok(stn_store_open(&store, path, &err));
    ck_assert_int_eq(stn_store_get_snapshot(store, &config.round, &snapshot, any_device, NULL, &err), STN_NOT_FOUND);
    stn_store_close(store);
    stn_spool_folder(&spool, &config.round, path);
    ck_assert(!stn_file_exists(path));
}
END_TEST

START_TEST(a_round_closed_again_after_a_restart_keeps_updates_of_a_release_alone)
{
    char path[STN_FILE_PATH_MAX], name[2 * sizeof config.round + 1];
    open_all(100, 1);
    stn_hex_put(name, config.round.bytes, sizeof config.round.bytes);
    ok(stn_file_join(path, kept, name, &err));
    ok(stn_file_make_folder(path, 0700, &err)); /* the last process came so far */
    stn_adder_close(adder, &config.round, true);
    ck_assert(stn_file_exists(path));
    stn_adder_close(adder, &config.round, false);
    ck_assert(!stn_file_exists(path));
    stop_all();
}
END_TEST

static void take_off(const struct stn_mask *masks, size_t n, bool is_first)
{
    struct stn_server_effect effect = {.type = STN_SERVER_UNMASK};
    effect.unmask.round = config.round;
    effect.unmask.masks = masks;
    effect.unmask.n = n;
    effect.unmask.is_first = is_first;
    stn_adder_unmask(adder, &effect);
}

START_TEST(masks_come_off_by_all_threads_behind_every_upload_and_are_kept_in_order)
{
    char path[STN_FILE_PATH_MAX], name[2 * sizeof config.round + 1];
    struct stn_mask masks[4] = {{.seed = {1}, .is_minus = true}, {.seed = {2}}, {.seed = {3}, .is_minus = true}, {.seed = {4}}};
    struct stn_buf bytes = {0};
    open_all(2, 3); /* a snapshot in between */
    for (int i = 0; i < N; i++) {
        put(i);
        add(i);
    }
    take_off(masks, 3, true);
    n_wanted = 1;
    stn_loop_run(loop);
    take_off(masks + 3, 1, false);
    memset(masks, 0, sizeof masks); /* they were copied */
    n_wanted = 2;
    stn_loop_run(loop);
    stn_adder_close(adder, &config.round, true);
    stop_all();
    stn_hex_put(name, config.round.bytes, sizeof config.round.bytes);
    ok(stn_file_join(path, kept, name, &err));
    (void)snprintf(path + strlen(path), sizeof path - strlen(path), "/masks");
    ok(stn_file_read(path, 1000, &bytes, &err));
    ck_assert_uint_eq(bytes.size, 4 * 33);
    for (uint8_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(bytes.data[33 * i], i % 2 == 0);
        ck_assert_uint_eq(bytes.data[33 * i + 1], i + 1);
    }
    stn_buf_fini(&bytes);
}
END_TEST

START_TEST(a_stop_under_the_masks_tells_nobody)
{
    struct marker marker;
    const struct stn_mask mask = {.seed = {1}};
    open_all(100, 1);
    put(0);
    add(0);
    wait_for_worker(&marker);
    take_off(&mask, 1, true); /* waits for the upload, whose end the loop has not heard of */
    stop_all();
    ck_assert_int_eq(n_unmasked, 0);
}
END_TEST

enum { FEW = 64 };

static int taken[FEW], n_taken;

static void take_all_files(void)
{
    const struct rlimit limit = {.rlim_cur = FEW, .rlim_max = FEW};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) {
        taken[n_taken++] = fd;
    }
}

static void give_back(struct stn_timer *timer)
{
    (void)timer;
    while (n_taken > 0) {
        (void)close(taken[--n_taken]);
    }
}

static void give_back_and_unmask(struct stn_timer *timer)
{
    const struct stn_mask mask = {.seed = {1}};
    give_back(timer);
    take_off(&mask, 1, true);
}

/* For longer than a thread waits for one. */
START_TEST(an_upload_that_finds_no_descriptor_is_added_when_there_is_one)
{
    struct stn_timer later = {.fire = give_back_and_unmask};
    open_all(100, 1);
    for (int i = 0; i < N; i++) {
        put(i);
    }
    take_all_files();
    for (int i = 0; i < N; i++) {
        add(i);
    }
    n_wanted = 1;
    stn_loop_arm(loop, &later, STN_FD_WAIT_MS + STN_FD_WAIT_MS / 2);
    stn_loop_run(loop);
    ck_assert_int_eq(n_unmasked, 1);
    stop_all();
}
END_TEST

START_TEST(masks_that_find_no_descriptor_are_kept_when_there_is_one)
{
    struct marker marker;
    struct stn_timer later = {.fire = give_back};
    const struct stn_mask mask = {.seed = {1}};
    open_all(100, 1);
    put(0);
    add(0);
    wait_for_worker(&marker);
    take_all_files();
    take_off(&mask, 1, true);
    n_wanted = 1;
    stn_loop_arm(loop, &later, STN_FD_WAIT_MS + STN_FD_WAIT_MS / 2);
    stn_loop_run(loop);
    ck_assert_int_eq(n_unmasked, 1);
    stop_all();
}
END_TEST

static void stop_at(struct stn_timer *timer)
{
    (void)timer;
    stn_loop_stop(loop);
}

static void stop_behind_snapshot(struct stn_timer *timer)
{
    char path[STN_FILE_PATH_MAX];
    const struct stn_server_upload up = upload(0);
    stn_spool_path(&spool, &up.round, &up.device, path);
    if (stn_file_exists(path)) {
        stn_loop_arm(loop, timer, 20);
    } else {
        stn_loop_stop(loop);
    }
}

/* As after a restart: another adder finds the round's snapshot. */
static void leave_snapshot(void)
{
    struct stn_timer poll = {.fire = stop_behind_snapshot};
    open_all(1, 1);
    put(0);
    put(1);
    add(0);
    stn_loop_arm(loop, &poll, 20);
    stn_loop_run(loop);
    stn_adder_stop(adder);
    stn_adder_free(adder);
    ok(stn_adder_new(&adder, &wiring, &err));
}

START_TEST(a_snapshot_that_finds_no_descriptor_is_loaded_when_there_is_one)
{
    struct stn_timer later = {.fire = give_back_and_unmask}, end = {.fire = stop_at}; /* a loop with a timer goes on */
    leave_snapshot();
    take_all_files();
    add(1);
    n_wanted = 1;
    stn_loop_arm(loop, &later, 300);
    stn_loop_arm(loop, &end, 30000);
    stn_loop_run(loop);
    stn_loop_disarm(loop, &end);
    ck_assert_int_eq(n_unmasked, 1);
    stop_all();
}
END_TEST

START_TEST(a_round_that_is_closed_while_its_snapshot_waits_leaves_no_files)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_timer later = {.fire = give_back}, end = {.fire = stop_at};
    leave_snapshot();
    take_all_files();
    add(1);
    stn_adder_close(adder, &config.round, false);
    stn_loop_arm(loop, &later, 300);
    stn_spool_folder(&spool, &config.round, path);
    stn_loop_arm(loop, &end, 1500);
    stn_loop_run(loop);
    ck_assert(!stn_file_exists(path));
    stop_all();
}
END_TEST

START_TEST(a_stop_while_a_snapshot_waits_is_not_held_up)
{
    leave_snapshot();
    take_all_files();
    add(1);
    give_back(NULL);
    stop_all();
    ck_assert_int_eq(n_unmasked, 0);
}
END_TEST

static void set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    n_merged = n_unmasked = n_wanted = 0;
}

static void tear_down(void)
{
    ok(stn_file_remove_tree(folder, &err));
}

Suite *suite(void)
{
    Suite *s = suite_create("adder");
    TCase *t = tcase_create("adder");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_stop_between_two_uploads_begins_nothing_new);
    tcase_add_test(t, a_stop_behind_a_snapshot_leaves_it_to_the_next_process);
    tcase_add_test(t, a_snapshot_that_is_written_as_its_round_is_closed_is_not_kept);
    tcase_add_test(t, a_round_closed_again_after_a_restart_keeps_updates_of_a_release_alone);
    tcase_add_test(t, masks_come_off_by_all_threads_behind_every_upload_and_are_kept_in_order);
    tcase_add_test(t, a_stop_under_the_masks_tells_nobody);
    tcase_add_test(t, an_upload_that_finds_no_descriptor_is_added_when_there_is_one);
    tcase_add_test(t, masks_that_find_no_descriptor_are_kept_when_there_is_one);
    tcase_add_test(t, a_snapshot_that_finds_no_descriptor_is_loaded_when_there_is_one);
    tcase_add_test(t, a_round_that_is_closed_while_its_snapshot_waits_leaves_no_files);
    tcase_add_test(t, a_stop_while_a_snapshot_waits_is_not_held_up);
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    return s;
}
