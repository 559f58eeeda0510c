#include "server/shell/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "io/usage.h"
#include "server/shell/admin_privacy.h"
#include "server/shell/admin_task.h"
#include "server/shell/apply.h"

/* ---- answers ---- */

static void answer_now(struct stn_after *after)
{
    struct stn_admin_call *call = STN_LIST_OF(after, struct stn_admin_call, after);
    if (!call->service->is_stopping) {
        static const char none[] = "{\"error\":{\"code\":\"memory\",\"text\":\"no memory for an answer\"}}";
        const char *text = call->text == NULL ? none : call->text;
        call->answer(call, text, strlen(text));
    }
    free(call->text);
    json_decref(call->request);
    stn_mem_free(call);
}

void stn_admin_answer(struct stn_admin_call *call, enum stn_code code, json_t *reply, const struct stn_err *err)
{
    json_t *object = reply;
    if (code != STN_OK) {
        json_decref(reply);
        object = json_pack("{s{ss ss}}", "error", "code", stn_err_name(code), "text", err->text);
    } else if (object != NULL) {
        (void)json_object_set_new(object, "ok", json_true());
    }
    call->text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(object);
    call->after.run = answer_now;
    stn_turn_after(&call->service->turn, &call->after);
}

/* ---- status ---- */

static json_t *json_key(const uint8_t key[static 32])
{
    char text[65];
    stn_hex_put(text, key, 32);
    return json_string(text);
}

/* What the process has taken, and what went over the wire, since it started. */
static void add_usage(const struct stn_service *service, json_t *object)
{
    struct stn_usage usage;
    const struct stn_link_stats link = stn_link_stats(service->link);
    stn_usage_read(&usage);
    (void)json_object_set_new(
        object, "process",
        json_pack("{sf sI sI sI sf sI sf}", "cpu_s", usage.cpu_s, "rss_bytes", (json_int_t)usage.rss, "peak_rss_bytes",
                  (json_int_t)usage.peak_rss, "syncs", (json_int_t)usage.n[STN_USAGE_SYNC], "sync_s",
                  usage.wait_s[STN_USAGE_SYNC], "commits", (json_int_t)usage.n[STN_USAGE_COMMIT], "commit_s",
                  usage.wait_s[STN_USAGE_COMMIT]));
    (void)json_object_set_new(object, "wire",
                              json_pack("{sI sI sI}", "requests", (json_int_t)link.n_requests, "bytes_in",
                                        (json_int_t)link.n_bytes_in, "bytes_out", (json_int_t)link.n_bytes_out));
}

static enum stn_code do_status(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    (void)request;
    uint64_t n_devices = 0;
    const struct stn_settings *settings = &service->settings;
    enum stn_code code = stn_store_count_devices(service->store, &n_devices, err);
    json_t *said = json_pack("{ss so so ss ss sI sI sI}", "version", STN_VERSION, "key", json_key(service->identity.pub),
                             "directory", json_key(service->directory_key), "listen", settings->listen, "folder", settings->folder, "started_ms",
                             (json_int_t)service->started_ms, "devices", (json_int_t)n_devices, "sessions",
                             (json_int_t)stn_channel_server_stats(service->channel).n_open);
    (void)json_object_update(reply, said);
    json_decref(said);
    add_usage(service, reply);
    return code == STN_OK ? stn_admin_task_list(service, request, reply, err) : code;
}

/* ---- devices ---- */

struct listing {
    json_t *devices;
    json_t *quarantined; /* identity: since when */
};

static void add_quarantined(void *user, const struct stn_record *record)
{
    char name[65];
    stn_hex_put(name, record->quarantine.device.bytes, sizeof record->quarantine.device.bytes);
    (void)json_object_set_new(user, name, json_integer((json_int_t)record->quarantine.since_ms));
}

static void add_device(void *user, const struct stn_store_device *device)
{
    const struct listing *listing = user;
    json_t *object = json_pack("{so sI sI}", "device", json_key(device->device.bytes), "enrolled_ms",
                               (json_int_t)device->enrolled_ms, "seen_ms", (json_int_t)device->seen_ms);
    const char *name = json_string_value(json_object_get(object, "device"));
    json_t *since = name == NULL ? NULL : json_object_get(listing->quarantined, name);
    if (since != NULL) {
        (void)json_object_set(object, "quarantined_ms", since);
    }
    (void)json_array_append_new(listing->devices, object);
}

static enum stn_code do_device_list(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    (void)request;
    struct listing listing = {json_array(), json_object()};
    enum stn_code code =
        stn_store_each(service->store, STN_RECORD_QUARANTINE, add_quarantined, listing.quarantined, err);
    code = code == STN_OK ? stn_store_each_device(service->store, add_device, &listing, err) : code;
    json_decref(listing.quarantined);
    (void)json_object_set_new(reply, "devices", listing.devices);
    return code;
}

static enum stn_code do_device_release(struct stn_service *service, const json_t *request, json_t *reply,
                                       struct stn_err *err)
{
    (void)reply;
    struct stn_server_event event = {.type = STN_SERVER_DEVICE_RELEASE};
    const char *name = json_string_value(json_object_get(request, "device"));
    if (name == NULL || !stn_hex_get(event.device.bytes, sizeof event.device.bytes, name)) {
        return stn_err_set(err, STN_INVALID, "expected a device's identity: %zu hex digits, as device list has them",
                           2 * sizeof event.device.bytes);
    }
    enum stn_code code = stn_apply_command(service, &event);
    return code == STN_OK ? STN_OK : stn_err_set(err, code, "device %.64s is not in quarantine", name);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    enum stn_code (*handle)(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err);
    enum stn_code (*start)(struct stn_admin_call *call, struct stn_err *err); /* answers later */
} commands[] = {
    {"status", do_status, NULL},
    {"task.create", NULL, stn_admin_task_create},
    {"task.list", stn_admin_task_list, NULL},
    {"task.show", stn_admin_task_show, NULL},
    {"task.pause", stn_admin_task_pause, NULL},
    {"task.resume", stn_admin_task_resume, NULL},
    {"adapter.list", stn_admin_task_adapters, NULL},
    {"device.list", do_device_list, NULL},
    {"device.release", do_device_release, NULL},
    {"privacy", stn_admin_privacy, NULL},
};

static void dispatch(struct stn_admin_call *call, size_t i)
{
    struct stn_err err = {0};
    if (commands[i].start != NULL) {
        enum stn_code code = commands[i].start(call, &err);
        if (code != STN_OK) {
            stn_admin_answer(call, code, NULL, &err);
        }
        return;
    }
    json_t *reply = json_object();
    enum stn_code code = reply == NULL ? stn_err_set(&err, STN_MEMORY, "no memory for an answer")
                                       : commands[i].handle(call->service, call->request, reply, &err);
    stn_admin_answer(call, code, reply, &err);
}

void stn_admin_ask(struct stn_service *service, const char *text, size_t size,
                   void (*answer)(struct stn_admin_call *call, const char *text, size_t size), void *user)
{
    struct stn_err err;
    struct stn_admin_call *call = stn_mem_new(1, sizeof *call);
    if (call == NULL) {
        (void)stn_err_set(&err, STN_MEMORY, "no memory for an operator's command");
        stn_turn_die("admin_failed", &err);
    }
    *call = (struct stn_admin_call){.service = service, .answer = answer, .user = user};
    call->request = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(call->request, "command"));
    for (size_t i = 0; name != NULL && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            dispatch(call, i);
            return;
        }
    }
    enum stn_code code = name == NULL ? stn_err_set(&err, STN_INVALID, "expected a JSON object with a command")
                                      : stn_err_set(&err, STN_UNSUPPORTED, "there is no command \"%.60s\"", name);
    stn_admin_answer(call, code, NULL, &err);
}

/* A fleet may have grown beyond what a line can list. */
static void answer_line(struct stn_admin_call *call, const char *text, size_t size)
{
    static const char too_long[] = "{\"error\":{\"code\":\"limit\",\"text\":\"the answer is longer than one may be here\"}}";
    bool fits = size <= STN_LOCAL_LINE_MAX;
    stn_local_reply(call->user, fits ? text : too_long, fits ? size : sizeof too_long - 1);
}

void stn_admin_take(void *service, struct stn_local_request *request)
{
    stn_admin_ask(service, request->text, request->size, answer_line, request);
}
