#include "tests/lib/run.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/entropy.h"
#include "server/shell/apply.h"
#include "update/round.h"

/* A whole coordinator of one worker thread, told what devices ask without a network, so that the order of what the
 * thread, the turn and the device do is the test's to choose. Replies go to tickets that nobody has. */
enum { LARGE = 140000 }; /* devices, whose list is longer than a line of the operator's socket */

static char folder[64];
static struct stn_err err;
static struct stn_service *service;
static struct stn_server_upload upload;
static uint8_t bytes[65536];

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

static void say(struct stn_msg msg)
{
    struct stn_server_event event = {.type = STN_SERVER_REQUEST, .ticket = 1ull << 62};
    event.request.device = upload.device;
    event.request.msg = &msg;
    stn_apply_event(service, &event);
}

static void say_put_end(const struct stn_digest *digest)
{
    say((struct stn_msg){.type = STN_MSG_PUT_END, .put_end = {.round = upload.round, .digest = *digest}});
}

struct marker {
    struct stn_job job;
    sem_t ran;
    void (*then)(void);
};

static void mark(struct stn_job *job)
{
    (void)sem_post(&STN_LIST_OF(job, struct marker, job)->ran);
}

static void marked(struct stn_job *job)
{
    struct marker *marker = STN_LIST_OF(job, struct marker, job);
    if (marker->then != NULL) {
        marker->then();
    }
}

/* What was given to the worker has run; the loop hears of it in its next turn, and of the marker right behind it. */
static void wait_for_worker(struct marker *marker, void (*then)(void))
{
    *marker = (struct marker){.job = {.run = mark, .done = marked}, .then = then};
    ck_assert_int_eq(sem_init(&marker->ran, 0, 0), 0);
    stn_worker_submit(service->worker, &marker->job);
    ck_assert_int_eq(sem_wait(&marker->ran), 0);
}

static void open_service(void)
{
    static const char conf[] = "[server]\nlisten = inproc://apply\n"
                               "directory = directory.sock\nthreads = 1\n[log]\nlevel = error\n";
    char path[STN_FILE_PATH_MAX];
    uint8_t key[32], directory[32];
    ok(stn_entropy_start(&err));
    const struct stn_settings_new settings = {.folder = folder, .listen = "inproc://apply", .address = "127.0.0.1:7740"};
    ok(stn_settings_init(&settings, key, directory, &err));
    ok(stn_file_join(path, folder, "sternad.conf", &err));
    ok(stn_file_replace(path, conf, sizeof conf - 1, STN_FILE_MODE, &err));
    ok(stn_service_open(&service, path, &err));
}

static void create_task(void)
{
    struct stn_server_event event = {.type = STN_SERVER_TASK_CREATE};
    event.create.spec = (struct stn_task_spec){
        .name = "t", .base = {.digest = {.bytes = {'b'}}, .size = 9}, .n_values = 700, .target = 2, .n_min = 2,
        .over_select = 1, .join_window_ms = 600000, .report_deadline_ms = 600000, .upload_ms = 600000, .outer = {.rate = 1},
        .clip_norm = 1, .weight_max = 1, .bits = 24, .n_rounds = 1,
        .train = {.rank = 8, .alpha = 16, .targets = 1, .ctx = 8, .batch_tokens = 8, .local_steps = 1, .lr = 1e-3}};
    event.create.adapter = (struct stn_blob_ref){.digest = {.bytes = {'a'}}, .size = 9};
    ck_assert_int_eq(stn_apply_command(service, &event), STN_OK);
}

/* Two devices are in a round; the second one's upload is about to begin. */
static void until_uploading(void)
{
    struct stn_coordinator_view view;
    for (uint64_t i = 1; i <= 2; i++) {
        upload.device = (struct stn_id){{(uint8_t)i, 7}};
        struct stn_msg check_in = {.type = STN_MSG_CHECK_IN, .check_in = {.n_min_floor = 2, .n_consents = 1}};
        check_in.check_in.consents[0].task[0] = 't';
        check_in.check_in.consents[0].n_examples = 5;
        say(check_in);
        struct stn_msg join = {.type = STN_MSG_JOIN, .join = {.task = "t", .lease = i, .n_samples = 5}};
        say(join);
        ck_assert(stn_coordinator_view(service->coordinator, 0, &view) && view.round != NULL);
        upload.round = view.round->round;
        say((struct stn_msg){.type = STN_MSG_ADVERTISE, .advertise = {.round = upload.round}});
    }
    ck_assert_int_eq(view.round->state, STN_ROUND_UPLOADING);
    struct stn_encode_config encoding;
    ok(stn_round_encoding(&view.round->config, &encoding, &err));
    upload.size = stn_round_upload_size(&encoding);
    ck_assert_uint_le(upload.size, sizeof bytes);
    upload.digest = stn_digest_blob(bytes, (size_t)upload.size);
}

static void put(void)
{
    say((struct stn_msg){.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = upload.round, .size = upload.size}});
    ck_assert(stn_coordinator_may_put(service->coordinator, &upload.round, &upload.device));
    struct stn_msg_put_chunk chunk = {.round = upload.round, .size = (uint32_t)upload.size, .data = bytes};
    ok(stn_spool_put(&service->spool, &upload.device, &chunk, &err));
}

static uint32_t state_of_upload(void)
{
    struct stn_record record = {.type = STN_RECORD_MEMBER};
    record.member.round = upload.round;
    record.member.device = upload.device;
    ok(stn_store_get(service->store, &record, &err));
    return record.member.state;
}

static void stop(void)
{
    stn_loop_stop(service->loop);
}

/* A turn in which everything has come back that the worker has in hand, and what that asked for. */
static void settle(void)
{
    for (int i = 0; i < 3; i++) {
        struct marker marker;
        wait_for_worker(&marker, stop);
        stn_loop_run(service->loop);
    }
}

static struct marker second;

static void end_again(void)
{
    say_put_end(&upload.digest);
    wait_for_worker(&second, NULL); /* the worker is quicker than the end of this turn */
}

START_TEST(a_second_end_in_the_turn_of_a_refused_one_counts_no_bytes_that_go)
{
    struct marker first;
    const struct stn_digest lie = {.bytes = {1}};
    open_service();
    create_task();
    until_uploading();
    put();
    say_put_end(&lie);
    wait_for_worker(&first, end_again);
    settle();
    ck_assert_uint_eq(state_of_upload(), STN_MEMBER_ADVERTISED);
    put(); /* all of it again: then it counts */
    say_put_end(&upload.digest);
    settle();
    ck_assert_uint_eq(state_of_upload(), STN_MEMBER_UPLOADED);
    stn_service_close(service);
}
END_TEST

/* It would be added by a worker that is gone, and its round's deadline would keep the loop. */
START_TEST(a_stop_under_a_check_ends_at_once_and_counts_nothing)
{
    char path[STN_FILE_PATH_MAX];
    struct marker first;
    open_service();
    create_task();
    until_uploading();
    put();
    say_put_end(&upload.digest);
    wait_for_worker(&first, NULL);
    stn_service_close(service);
    ok(stn_file_join(path, folder, "sternad.conf", &err));
    ok(stn_service_open(&service, path, &err));
    ck_assert_uint_eq(state_of_upload(), STN_MEMBER_ADVERTISED);
    say_put_end(&upload.digest); /* the device asks again */
    settle();
    ck_assert_uint_eq(state_of_upload(), STN_MEMBER_UPLOADED);
    stn_service_close(service);
}
END_TEST

struct asking {
    struct stn_job job;
    struct stn_buf reply;
    enum stn_code code;
};

static void ask(struct stn_job *job)
{
    static const char text[] = "{\"command\":\"device.list\"}";
    char path[STN_FILE_PATH_MAX];
    struct asking *asking = STN_LIST_OF(job, struct asking, job);
    asking->code = stn_file_join(path, folder, STN_SERVICE_SOCKET, &err);
    if (asking->code == STN_OK) {
        asking->code = stn_local_ask(path, text, sizeof text - 1, 50000, &asking->reply, &err);
    }
}

static void asked(struct stn_job *job)
{
    (void)job;
    stop();
}

START_TEST(a_device_that_lied_is_listed_with_the_time)
{
    struct asking asking = {.job = {.run = ask, .done = asked}};
    struct stn_record record = {.type = STN_RECORD_QUARANTINE};
    open_service();
    for (uint8_t i = 1; i <= 2; i++) {
        struct stn_store_device device = {.device = {.bytes = {i}}, .key = {i}, .enrolled_ms = 1700000000000};
        ok(stn_store_add_device(service->store, &device, &err));
    }
    record.quarantine = (struct stn_quarantine_record){.device = {.bytes = {2}}, .since_ms = 1700000000123};
    ok(stn_store_save(service->store, &record, &err));
    stn_worker_submit(service->worker, &asking.job);
    stn_loop_run(service->loop);
    ok(asking.code);
    const char *text = (const char *)asking.reply.data, *liar = strstr(text, "\"0200");
    ck_assert_ptr_nonnull(liar);
    ck_assert_ptr_nonnull(strstr(liar, "\"quarantined_ms\":1700000000123"));
    ck_assert_ptr_eq(strstr(text, "quarantined_ms"), strstr(liar, "quarantined_ms"));
    stn_buf_fini(&asking.reply);
    stn_service_close(service);
}
END_TEST

START_TEST(a_fleet_too_large_to_list_is_an_error_and_not_the_end)
{
    struct asking asking = {.job = {.run = ask, .done = asked}};
    open_service();
    for (uint32_t i = 0; i < LARGE; i++) {
        struct stn_store_device device = {.enrolled_ms = 1700000000000, .seen_ms = 1700000000000};
        memcpy(device.device.bytes, &i, sizeof i);
        memcpy(device.key, &i, sizeof i);
        ok(stn_store_add_device(service->store, &device, &err));
    }
    stn_worker_submit(service->worker, &asking.job);
    stn_loop_run(service->loop);
    ok(asking.code);
    ck_assert_ptr_nonnull(strstr((const char *)asking.reply.data, "\"limit\""));
    stn_buf_fini(&asking.reply);
    stn_service_close(service);
}
END_TEST

static void set_up(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    ok(stn_file_remove_tree(folder, &err));
}

Suite *suite(void)
{
    Suite *s = suite_create("apply");
    TCase *t = tcase_create("apply");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_second_end_in_the_turn_of_a_refused_one_counts_no_bytes_that_go);
    tcase_add_test(t, a_stop_under_a_check_ends_at_once_and_counts_nothing);
    tcase_add_test(t, a_device_that_lied_is_listed_with_the_time);
    tcase_add_test(t, a_fleet_too_large_to_list_is_an_error_and_not_the_end);
    suite_add_tcase(s, t);
    return s;
}
