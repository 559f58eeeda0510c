#include "client/shell/control.h"

#include <stdlib.h>
#include <string.h>

#include "base/hex.h"

#define TEXT_MAX 4096 /* of a question */

const char *stn_control_phase(uint32_t phase)
{
    static const char *const names[] = {"idle", "fetching", "training", "ready", "joined", "uploading", "uploaded"};
    return phase < sizeof names / sizeof *names ? names[phase] : "unknown";
}

static json_t *hex(const uint8_t *p, size_t size)
{
    char text[2 * 32 + 1];
    stn_hex_put(text, p, size);
    return json_string(text);
}

static json_t *conditions_of(const struct stn_conditions_host *c)
{
    json_t *object = json_object();
    if (c->has_power) {
        (void)json_object_set_new(object, "on_ac", json_boolean(c->on_ac));
    }
    if (c->has_battery) {
        (void)json_object_set_new(object, "battery", json_real(c->battery));
    }
    if (c->has_temperature) {
        (void)json_object_set_new(object, "temperature_c", json_real(c->temperature_c));
    }
    if (c->has_load) {
        (void)json_object_set_new(object, "load", json_real(c->load));
    }
    (void)json_object_set_new(object, "metered", json_boolean(c->is_metered));
    return object;
}

static json_t *installed_of(const struct stn_device *device)
{
    const struct stn_agent_record *record = stn_agent_record(device->core);
    json_t *array = json_array();
    for (uint32_t i = 0; i < record->n_installed; i++) {
        char path[STN_FILE_PATH_MAX];
        stn_place_adapter(&device->place, record->installed[i].task, path);
        (void)json_array_append_new(
            array, json_pack("{ss sI so ss}", "task", record->installed[i].task, "version",
                             (json_int_t)record->installed[i].version, "adapter",
                             hex(record->installed[i].adapter.bytes, STN_DIGEST_SIZE), "path", path));
    }
    return array;
}

static json_t *stage_of(const struct stn_agent_record *record)
{
    static const char *const names[] = {[STN_STAGE_ADVERTISE] = "advertise",
                                        [STN_STAGE_SHARE] = "share",
                                        [STN_STAGE_UPLOAD] = "upload",
                                        [STN_STAGE_ACK] = "ack",
                                        [STN_STAGE_UNMASK] = "unmask"};
    bool is_in_it = record->phase >= STN_AGENT_JOINED && record->config.secure && record->secure.stage > 0 &&
                    record->secure.stage < STN_STAGE_DONE;
    return is_in_it ? json_string(names[record->secure.stage]) : json_null();
}

static enum stn_code count_one(void *user, const char *name, struct stn_err *err)
{
    (void)name;
    (void)err;
    ++*(json_int_t *)user;
    return STN_OK;
}

static json_t *n_evidence(const struct stn_device *device)
{
    char path[STN_FILE_PATH_MAX];
    json_int_t n = 0;
    stn_place_path(&device->place, "evidence", path);
    stn_err_ignore(stn_file_list(path, count_one, &n, NULL)); /* a folder that is not there has none */
    return json_integer(n);
}

static json_t *consents_of(const struct stn_device *device)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < device->owner.n_data; i++) {
        (void)json_array_append_new(array, json_pack("{ss ss}", "task", device->owner.data[i].task, "path",
                                                     device->owner.data[i].path));
    }
    return array;
}

json_t *stn_control_status(const struct stn_device *device)
{
    static const struct stn_round_id none;
    const struct stn_agent_record *record = stn_agent_record(device->core);
    bool is_in_round = memcmp(&record->round, &none, sizeof none) != 0;
    json_t *object = json_pack(
        "{sb ss so ss sb ss ss sI sI sI sI}", "ok", 1, "version", STN_VERSION, "device",
        hex(device->identity.pub, sizeof device->identity.pub), "server", device->owner.url, "connected",
        stn_dialog_is_open(device->dialog), "phase", stn_control_phase(record->phase), "task", record->lease.task, "lease",
        (json_int_t)record->lease.lease, "n_samples", (json_int_t)record->n_samples, "n_min", (json_int_t)device->owner.n_min,
        "spent", (json_int_t)device->journal.n_spent);
    if (object == NULL) {
        return NULL;
    }
    (void)json_object_set_new(object, "round",
                              is_in_round ? hex(record->round.bytes, sizeof record->round.bytes) : json_null());
    (void)json_object_set_new(object, "stage", stage_of(record));
    (void)json_object_set_new(object, "n_min_lowered", json_boolean(device->owner.n_min < STN_OWNER_N_MIN));
    (void)json_object_set_new(object, "allow_plain", json_boolean(device->owner.allow_plain));
    (void)json_object_set_new(object, "evidence", n_evidence(device));
    (void)json_object_set_new(object, "next_check_in_ms", json_integer((json_int_t)record->next_check_in_ms));
    (void)json_object_set_new(object, "paused", json_boolean(device->is_paused));
    (void)json_object_set_new(object, "may_work", json_boolean(device->may_work));
    (void)json_object_set_new(object, "why", json_string(device->is_paused ? "paused" : device->conditions.why));
    (void)json_object_set_new(object, "conditions", conditions_of(&device->conditions));
    (void)json_object_set_new(object, "consents", consents_of(device));
    (void)json_object_set_new(object, "installed", installed_of(device));
    (void)json_object_set_new(object, "last_error", json_string(device->last_error));
    return object;
}

/* ---- questions ---- */

static json_t *status(struct stn_device *device, struct stn_err *err)
{
    json_t *reply = stn_control_status(device);
    if (reply == NULL) {
        (void)stn_err_set(err, STN_MEMORY, "no memory for the status");
    }
    return reply;
}

static json_t *set_paused(struct stn_device *device, bool is_paused, struct stn_err *err)
{
    return stn_device_pause(device, is_paused, err) == STN_OK ? json_pack("{sb sb}", "ok", 1, "paused", is_paused) : NULL;
}

static json_t *pause_it(struct stn_device *device, struct stn_err *err)
{
    return set_paused(device, true, err);
}

static json_t *resume(struct stn_device *device, struct stn_err *err)
{
    return set_paused(device, false, err);
}

static json_t *stop(struct stn_device *device, struct stn_err *err)
{
    (void)device;
    (void)err;
    return json_pack("{sb}", "ok", 1);
}

static const struct row {
    const char *name;
    json_t *(*answer)(struct stn_device *device, struct stn_err *err);
} rows[] = {{"status", status}, {"pause", pause_it}, {"resume", resume}, {"stop", stop}};

static json_t *answer(struct stn_device *device, const char *command, struct stn_err *err)
{
    if (device->core == NULL) {
        (void)stn_err_set(err, STN_AGAIN, "the agent is starting: it reads the base model");
        return NULL;
    }
    for (size_t i = 0; command != NULL && i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, command) == 0) {
            return rows[i].answer(device, err);
        }
    }
    (void)stn_err_set(err, STN_INVALID, "expected {\"command\": one of status, pause, resume, stop}");
    return NULL;
}

void stn_control_answer(struct stn_device *device, const char *text, size_t size, struct stn_buf *reply, bool *ret_stops)
{
    struct stn_err err = {.code = STN_MEMORY, .text = "no memory for an answer"};
    json_t *question = size <= TEXT_MAX ? json_loadb(text, size, 0, NULL) : NULL;
    const char *command = json_string_value(json_object_get(question, "command"));
    bool stops = command != NULL && strcmp(command, "stop") == 0;
    json_t *object = answer(device, command, &err);
    if (object == NULL) {
        object = json_pack("{s{ss ss}}", "error", "code", stn_err_name(err.code), "text", err.text);
    }
    char *line = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    (void)stn_buf_add_str(reply, line == NULL ? "{}" : line);
    free(line);
    json_decref(object);
    json_decref(question);
    *ret_stops = stops;
}

void stn_control_take(void *user, struct stn_local_request *request)
{
    struct stn_device *device = user;
    struct stn_buf reply = {0};
    bool stops = false;
    stn_control_answer(device, request->text, request->size, &reply, &stops);
    stn_local_reply(request, reply.failed ? "{}" : (const char *)reply.data, reply.failed ? 2 : reply.size);
    stn_buf_fini(&reply);
    if (stops) {
        stn_device_stop_soon(device);
    }
}
