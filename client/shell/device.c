#include "client/shell/device.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/shell/carry.h"
#include "client/shell/control.h"

#define STOP_MS 50

/* ---- the owner ---- */

static uint64_t time_of(const char *path) /* of its last change; 0: it is not there */
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec + 1 : 0;
}

static void tell_consents(struct stn_device *device)
{
    struct stn_client_event event = {.type = STN_CLIENT_CONSENTS};
    for (uint32_t i = 0; i < device->owner.n_data; i++) {
        struct stn_err err;
        const struct stn_owner_data *data = &device->owner.data[i];
        struct stn_consent *consent = &event.consents.consents[event.consents.n];
        device->data_time[i] = time_of(data->path);
        if (stn_owner_count(data->path, &consent->n_examples, &err) != STN_OK) {
            stn_log_err(STN_LOG_WARN, "no_data", &err);
            continue; /* no data, no part; when it appears, the next tick says so */
        }
        if (consent->n_examples > 0) {
            (void)stn_str_copy(consent->task, sizeof consent->task, data->task);
            event.consents.n++;
        }
    }
    stn_carry_event(device, &event);
}

static bool has_new_data(const struct stn_device *device)
{
    for (uint32_t i = 0; i < device->owner.n_data; i++) {
        if (device->data_time[i] != time_of(device->owner.data[i].path)) {
            return true;
        }
    }
    return false;
}

static void tell_conditions(struct stn_device *device)
{
    stn_conditions_host_read(&device->conditions, &device->owner.conditions, "", stn_loop_wall_ms() / 1000);
    bool may_work = device->conditions.may_work && !device->is_paused;
    if (may_work != device->may_work) {
        char why[STN_LOG_QUOTED];
        device->may_work = may_work;
        stn_log(STN_LOG_INFO, "conditions", "may_work=%s why=%s", may_work ? "yes" : "no",
                stn_log_quote(why, device->is_paused ? "paused" : device->conditions.why));
        stn_carry_event(device, &(struct stn_client_event){.type = STN_CLIENT_CONDITIONS, .may_work = may_work});
    }
    if (device->changed != NULL) {
        device->changed(device->user); /* why it may not work may be new, and that it is paused */
    }
}

static void on_tick(struct stn_timer *timer)
{
    struct stn_device *device = STN_LIST_OF(timer, struct stn_device, tick);
    if (has_new_data(device)) {
        tell_consents(device);
    }
    tell_conditions(device);
    stn_loop_arm(device->loop, &device->tick, STN_DEVICE_TICK_MS);
}

enum stn_code stn_device_pause(struct stn_device *device, bool is_paused, struct stn_err *err)
{
    enum stn_code code = stn_place_pause(&device->place, is_paused, err);
    if (code == STN_OK) {
        device->is_paused = is_paused;
        tell_conditions(device);
    }
    return code;
}

/* ---- what the owner has changed ---- */

/* Keeps what the dialog, the folder and the core were made with. */
static void keep_fixed(struct stn_owner *fresh, const struct stn_owner *owner)
{
    const struct {
        const char *name;
        void *to;
        const void *from;
        size_t size;
    } rows[] = {{"server.url", fresh->url, owner->url, sizeof owner->url},
                {"server.key", fresh->key, owner->key, sizeof owner->key},
                {"server.directory", fresh->directory, owner->directory, sizeof owner->directory},
                {"server.tls_ca", fresh->tls_ca, owner->tls_ca, sizeof owner->tls_ca},
                {"agent.dir", fresh->folder, owner->folder, sizeof owner->folder},
                {"agent.model", fresh->model, owner->model, sizeof owner->model},
                {"agent.retry_ms", &fresh->retry_ms, &owner->retry_ms, sizeof owner->retry_ms},
                {"agent.retry_most_ms", &fresh->retry_most_ms, &owner->retry_most_ms, sizeof owner->retry_most_ms}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (memcmp(rows[i].to, rows[i].from, rows[i].size) != 0) {
            stn_log(STN_LOG_WARN, "needs_a_restart", "setting=%s", rows[i].name);
            memcpy(rows[i].to, rows[i].from, rows[i].size);
        }
    }
}

void stn_device_reread(struct stn_device *device)
{
    struct stn_err err;
    struct stn_owner *fresh = stn_mem_new(1, sizeof *fresh);
    enum stn_code code = fresh == NULL ? stn_err_set(&err, STN_MEMORY, "no memory for %s", device->config)
                                       : stn_owner_read(fresh, device->config, &err);
    if (code != STN_OK) {
        stn_log_err(STN_LOG_WARN, "config_not_read", &err);
        stn_mem_free(fresh);
        return;
    }
    keep_fixed(fresh, &device->owner);
    device->owner = *fresh;
    stn_mem_free(fresh);
    device->send.kbps = device->owner.upload_kbps;
    stn_log(STN_LOG_INFO, "config_read", "n_min=%llu allow_plain=%s tasks=%u", (unsigned long long)device->owner.n_min,
            device->owner.allow_plain ? "yes" : "no", device->owner.n_data);
    if (device->core != NULL) { /* else it starts with them */
        stn_carry_event(device, &(struct stn_client_event){.type = STN_CLIENT_FLOORS,
                                                           .floors = {(uint32_t)device->owner.n_min, device->owner.allow_plain}});
        tell_consents(device);
        tell_conditions(device);
    }
}

/* ---- opening ---- */

static void on_greeted(void *user, enum stn_code code, const struct stn_ident_cert *enrolled)
{
    struct stn_device *device = user;
    (void)enrolled;
    if (code == STN_OK) {
        stn_log(STN_LOG_INFO, "connected", "server=%s", device->owner.url);
    } else {
        struct stn_err err;
        (void)stn_err_set(&err, code, "%s: no session: %s", device->owner.url,
                          code == STN_DENIED ? "the coordinator does not know this device (or has another key): join again"
                                             : stn_err_name(code));
        stn_log_err(STN_LOG_WARN, "not_connected", &err);
        device->last_code = code;
        (void)stn_str_copy(device->last_error, sizeof device->last_error, err.text);
    }
}

static enum stn_code open_dialog(struct stn_device *device, struct stn_err *err)
{
    enum stn_code code = stn_place_certificate(&device->place, device->identity.pub, device->owner.directory,
                                               &device->certificate, err);
    if (code != STN_OK) {
        return code;
    }
    const struct stn_dialog_config config = {.loop = device->loop, .mailbox = device->mailbox, .url = device->owner.url,
                                             .tls_ca = device->owner.tls_ca, .device = &device->identity,
                                             .key = device->owner.key, .directory = device->owner.directory,
                                             .certificate = &device->certificate, .greeted = on_greeted, .user = device};
    return stn_dialog_open(&device->dialog, &config, err);
}

static enum stn_code open_files(struct stn_device *device, const char *config, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = config == NULL ? stn_owner_default_config(device->config, err)
                         : stn_str_copy(device->config, sizeof device->config, config)
                             ? STN_OK
                             : stn_err_set(err, STN_LIMIT, "%.80s...: the path is too long", config);
    code = code == STN_OK ? stn_owner_read(&device->owner, device->config, err) : code;
    code = code == STN_OK ? stn_place_open(&device->place, device->owner.folder, err) : code;
    if (code == STN_OK) {
        stn_place_path(&device->place, "lock", path);
        code = stn_file_lock(&device->lock, path, err);
    }
    code = code == STN_OK ? stn_place_identity(&device->place, false, &device->identity, err) : code;
    if (code == STN_OK) {
        stn_place_path(&device->place, "models", path);
        code = stn_blob_open(&device->store, path, err);
    }
    device->is_paused = stn_place_is_paused(&device->place);
    return code;
}

/* What a host has already. */
static enum stn_code open_process(struct stn_device *device, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_loop_open(&device->loop, err);
    code = code == STN_OK ? stn_mailbox_open(&device->mailbox, device->loop, err) : code;
    code = code == STN_OK ? stn_worker_open(&device->worker, device->mailbox, 1, err) : code;
    if (code == STN_OK) {
        stn_place_path(&device->place, STN_PLACE_SOCKET, path);
        code = stn_local_listen(&device->local, device->loop, path, STN_LOCAL_OWNER, stn_control_take, device, err);
    }
    return code;
}

enum stn_code stn_device_open_in(struct stn_device **ret, const struct stn_device_host *host, const char *config,
                                 struct stn_err *err)
{
    struct stn_device *device = stn_mem_new(1, sizeof *device);
    if (device == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an agent");
    }
    device->lock = -1;
    device->tick.fire = on_tick;
    enum stn_code code = open_files(device, config, err);
    if (code == STN_OK && host != NULL) {
        device->host = host;
        device->loop = host->loop;
        device->mailbox = host->mailbox;
        device->worker = host->worker;
    } else if (code == STN_OK) {
        code = open_process(device, err);
    }
    code = code == STN_OK ? open_dialog(device, err) : code;
    if (code != STN_OK) {
        stn_device_close(device);
        return code;
    }
    *ret = device;
    return STN_OK;
}

enum stn_code stn_device_open(struct stn_device **ret, const char *config, struct stn_err *err)
{
    return stn_device_open_in(ret, NULL, config, err);
}

/* ---- running ---- */

static void on_named(struct stn_job *job)
{
    struct stn_work *work = STN_LIST_OF(job, struct stn_work, job);
    struct stn_device *device = STN_LIST_OF(work, struct stn_device, work);
    struct stn_err err;
    if (device->is_stopping) {
        return;
    }
    if (job->ran && work->code == STN_OK) {
        device->model = work->digest;
    } else {
        stn_log_err(STN_LOG_WARN, "model_not_used", &work->err);
    }
    if (stn_carry_start(device, &err) != STN_OK) {
        stn_log_err(STN_LOG_ERROR, "start_failed", &err);
        device->last_code = err.code;
        (void)stn_str_copy(device->last_error, sizeof device->last_error, err.text);
        stn_device_stop(device);
        return;
    }
    tell_consents(device);
    tell_conditions(device);
    stn_loop_arm(device->loop, &device->tick, STN_DEVICE_TICK_MS);
}

static void on_signal(void *user, int number)
{
    struct stn_device *device = user;
    if (number != SIGHUP) {
        stn_device_stop(device);
    } else if (!device->is_stopping) {
        stn_device_reread(device);
    }
}

void stn_device_start(struct stn_device *device)
{
    stn_log(STN_LOG_INFO, "started", "version=%s server=%s n_min=%llu allow_plain=%s", STN_VERSION, device->owner.url,
            (unsigned long long)device->owner.n_min, device->owner.allow_plain ? "yes" : "no");
    device->started_ms = stn_loop_wall_ms();
    device->work = (struct stn_work){.kind = STN_WORK_NAME, .job = {.run = stn_work_run, .done = on_named}};
    if (device->owner.model[0] != '\0') {
        (void)stn_str_copy(device->work.base, sizeof device->work.base, device->owner.model);
        stn_worker_submit(device->worker, &device->work.job);
    } else {
        device->work.job.ran = true; /* nothing to name */
        on_named(&device->work.job);
    }
}

enum stn_code stn_device_run(struct stn_device *device, bool catch_signals, struct stn_err *err)
{
    if (catch_signals) {
        enum stn_code code = stn_loop_catch(device->loop, on_signal, device, err);
        if (code != STN_OK) {
            return code;
        }
    }
    stn_device_start(device);
    stn_loop_run(device->loop);
    stn_log(STN_LOG_INFO, "stopped", "version=%s", STN_VERSION);
    return device->core == NULL && device->last_code != STN_OK ? stn_err_set(err, device->last_code, "%s", device->last_error)
                                                               : STN_OK;
}

static void on_dialog_closed(void *user)
{
    struct stn_device *device = user;
    if (device->host != NULL) {
        device->host->closed(device->host->user);
    } else {
        stn_mailbox_close(device->mailbox, NULL, NULL);
        device->mailbox = NULL;
    }
}

/* Everything on the loop ends; the last of it ends the run. */
void stn_device_stop(struct stn_device *device)
{
    if (device->is_stopping) {
        return;
    }
    device->is_stopping = true;
    stn_carry_stop(device);
    stn_loop_disarm(device->loop, &device->tick);
    stn_loop_disarm(device->loop, &device->end);
    stn_local_close(device->local, NULL, NULL);
    if (device->host == NULL) {
        stn_worker_close(device->worker);
    }
    if (device->dialog != NULL) {
        stn_dialog_close(device->dialog, on_dialog_closed, device);
    } else {
        on_dialog_closed(device);
    }
    device->local = NULL;
    device->dialog = NULL;
    device->worker = NULL;
}

static void on_end(struct stn_timer *timer)
{
    stn_device_stop(STN_LIST_OF(timer, struct stn_device, end));
}

void stn_device_stop_soon(struct stn_device *device)
{
    device->end.fire = on_end;
    stn_loop_arm(device->loop, &device->end, STOP_MS);
}

void stn_device_close(struct stn_device *device)
{
    if (device == NULL) {
        return;
    }
    if (device->host == NULL && device->loop != NULL) {
        stn_device_stop(device);
        stn_loop_run(device->loop); /* what closes is told */
        stn_loop_close(device->loop);
    }
    stn_agent_free(device->core);
    stn_mem_free(device->effects.items);
    stn_ident_fini(&device->identity);
    stn_file_close(device->lock);
    stn_mem_free(device);
}
