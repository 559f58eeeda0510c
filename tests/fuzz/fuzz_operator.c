/* The door of the coordinator's operator socket: a whole coordinator with a task is asked each input as a line. Whatever it is, an
 * object answers: what was asked for, or an error. */
#include "tests/lib/fuzz.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "server/shell/admin.h"
#include "server/shell/apply.h"
#include "server/shell/settings.h"
#include "tests/lib/scratch.h"

static struct stn_service *service;
static unsigned n_answers;

static void end(void)
{
    stn_service_close(service);
}

static void begin(void)
{
    static const char conf[] = "[server]\nlisten = inproc://fuzz\ndirectory = directory.sock\nthreads = 1\n[log]\nlevel = error\n";
    uint8_t key[32], directory[32];
    stn_scratch_require(stn_entropy_start(NULL) == STN_OK);
    const struct stn_settings_new settings = {.folder = stn_scratch_folder(), .listen = "inproc://fuzz", .address = "127.0.0.1:7740"};
    stn_scratch_require(stn_settings_init(&settings, key, directory, NULL) == STN_OK);
    stn_scratch_put("sternad.conf", conf, sizeof conf - 1);
    stn_scratch_require(stn_service_open(&service, stn_scratch_path("sternad.conf"), NULL) == STN_OK);
    stn_scratch_require(atexit(end) == 0);
    struct stn_server_event event = {.type = STN_SERVER_TASK_CREATE};
    event.create.spec = (struct stn_task_spec){
        .name = "homes", .base = {.digest = {.bytes = {'b'}}, .size = 9}, .n_values = 700, .target = 6, .n_min = 5, .over_select = 1,
        .join_window_ms = 600000, .report_deadline_ms = 600000, .upload_ms = 600000, .outer = {.rate = 1}, .clip_norm = 1,
        .weight_max = 1, .bits = 24, .n_rounds = 1,
        .train = {.rank = 8, .alpha = 16, .targets = 1, .ctx = 8, .batch_tokens = 8, .local_steps = 1, .lr = 1e-3}};
    event.create.adapter = (struct stn_blob_ref){.digest = {.bytes = {'a'}}, .size = 9};
    stn_scratch_require(stn_apply_command(service, &event) == STN_OK);
}

static void answered(struct stn_admin_call *call, const char *text, size_t size)
{
    (void)call;
    json_t *answer = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    stn_scratch_require(memchr(text, '\n', size) == NULL);
    stn_scratch_require(json_is_true(json_object_get(answer, "ok")) != json_is_object(json_object_get(answer, "error")));
    json_decref(answer);
    n_answers++;
    stn_loop_stop(service->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (service == NULL) {
        begin();
    }
    n_answers = 0;
    stn_admin_ask(service, (const char *)data, size, answered, NULL);
    if (n_answers == 0) {
        stn_loop_run(service->loop);
    }
    stn_scratch_require(n_answers == 1);
    return 0;
}
