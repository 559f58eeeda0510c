#include "client/shell/carry.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "channel/signed.h"
#include "client/shell/desk.h"
#include "client/shell/evidence.h"
#include "client/shell/genuine.h"
#include "client/shell/sweep.h"
#include "crypto/entropy.h"
#include "secagg/bound.h"

#define PARKED_MS 70000 /* the coordinator may hold these until there is news, up to 55 s */
#define ASK_MS 30000

struct queued {
    struct stn_list link;
    struct stn_client_event event;
};

static _Noreturn void die(const char *event, const struct stn_err *err)
{
    stn_log_err(STN_LOG_ERROR, event, err);
    _Exit(EXIT_FAILURE); /* the next process starts from what is on disk; a worker may be at work in this one */
}

static void note(struct stn_device *device, const char *event, enum stn_code code, const struct stn_err *err)
{
    if (code == STN_OK || code == STN_CANCELLED) {
        return;
    }
    stn_log_err(STN_LOG_WARN, event, err);
    device->last_code = code;
    (void)stn_str_copy(device->last_error, sizeof device->last_error, err->text);
}

/* ---- files of the work in hand ---- */

static void delta_path(const struct stn_device *device, uint64_t lease, char ret[static STN_FILE_PATH_MAX])
{
    char name[64];
    (void)snprintf(name, sizeof name, "work/%016llx.delta", (unsigned long long)lease);
    stn_place_path(&device->place, name, ret);
}

/* Where a base model lies; false: not here. */
static bool base_path(const struct stn_device *device, const struct stn_digest *base, char ret[static STN_FILE_PATH_MAX])
{
    if (!stn_digest_is_zero(base) && stn_digest_equal(&device->model, base)) {
        return stn_str_copy(ret, STN_FILE_PATH_MAX, device->owner.model);
    }
    stn_blob_path(&device->store, base, ret);
    return stn_blob_has(&device->store, base);
}

/* ---- asks ---- */

static void on_told(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply)
{
    struct stn_device *device = STN_LIST_OF(ask, struct stn_device, ask);
    struct stn_client_event event = {.type = STN_CLIENT_REPLY};
    struct stn_secagg_client_entropy entropy;
    struct stn_err err = {0};
    if (code == STN_OK) {
        stn_entropy_fill(&entropy, sizeof entropy);
        event.reply.entropy = &entropy;
        event.reply.ask = device->ask_number;
        event.reply.msg = reply;
        code = stn_genuine_reply(reply, &stn_agent_record(device->core)->config_digest, device->owner.key,
                                 &event.reply.config, &err);
        bool is_forged = reply->type == STN_MSG_ROUND_CONFIG && stn_digest_is_zero(&event.reply.config);
        note(device, "not_genuine", is_forged ? STN_DENIED : code, &err);
    }
    if (code != STN_OK) {
        event = (struct stn_client_event){.type = STN_CLIENT_FAILED,
                                          .failed = {.ask = device->ask_number, .code = code}};
    }
    stn_carry_event(device, &event);
    stn_entropy_wipe(&entropy, sizeof entropy);
}

static void do_ask(struct stn_device *device, const struct stn_client_effect *effect)
{
    struct stn_msg msg = effect->ask.msg;
    const struct stn_digest *cfg = &stn_agent_record(device->core)->config_digest;
    bool is_parked = msg.type == STN_MSG_POLL || msg.type == STN_MSG_JOIN || msg.type == STN_MSG_CHECK_IN ||
                     msg.type == STN_MSG_PUT_END;
    if (msg.type == STN_MSG_ADVERTISE) {
        stn_signed_advertise(&msg.advertise, cfg, &device->identity);
    } else if (msg.type == STN_MSG_PUT_END) {
        stn_signed_put_end(&msg.put_end, cfg, &device->identity);
    }
    stn_dialog_drop(&device->ask);
    device->ask_number = effect->ask.ask;
    device->ask.told = on_told;
    stn_dialog_ask(device->dialog, &device->ask, &msg, is_parked ? PARKED_MS : ASK_MS);
}

/* ---- jobs ---- */

/* The event of the job that has ended. */
static void end_job(struct stn_device *device, enum stn_code code)
{
    const struct stn_client_effect *doing = &device->doing;
    struct stn_client_event event = {.type = STN_CLIENT_TIME};
    enum stn_device_job job = device->job;
    device->job = STN_DEVICE_NO_JOB;
    switch (job) {
    case STN_DEVICE_FETCH:
        event.type = STN_CLIENT_FETCHED;
        event.fetched.digest = doing->blob.digest;
        event.fetched.code = code;
        break;
    case STN_DEVICE_TRAIN:
        event.type = STN_CLIENT_TRAINED;
        event.trained.lease = doing->lease.lease;
        event.trained.code = code;
        event.trained.n_samples = device->work.n_samples;
        event.trained.tier = device->work.tier;
        break;
    case STN_DEVICE_ENCODE:
        event.type = STN_CLIENT_ENCODED;
        event.encoded.round = doing->round.config.round;
        event.encoded.code = code;
        event.encoded.digest = device->work.digest;
        event.encoded.size = device->work.size;
        break;
    case STN_DEVICE_SEND:
        event.type = STN_CLIENT_SENT;
        event.sent.round = doing->round.config.round;
        event.sent.code = code;
        break;
    case STN_DEVICE_INSTALL:
        event.type = STN_CLIENT_INSTALLED;
        (void)stn_str_copy(event.installed.task, sizeof event.installed.task, doing->install.task);
        event.installed.code = code;
        event.installed.has_holdout = code == STN_OK && device->work.has_holdout;
        event.installed.holdout = device->work.holdout;
        break;
    case STN_DEVICE_NO_JOB:
        return;
    }
    stn_carry_event(device, &event);
}

static void on_fetched(void *user, enum stn_code code, const struct stn_err *err)
{
    struct stn_device *device = user;
    if (code != STN_OK) {
        note(device, "fetch_failed", code, err);
    }
    end_job(device, code);
}

static void on_sent(void *user, enum stn_code code)
{
    struct stn_device *device = user;
    struct stn_err err;
    if (code != STN_OK) {
        (void)stn_err_set(&err, code, "the upload stopped: %s", stn_err_name(code));
        note(device, "send_failed", code, &err);
    }
    end_job(device, code);
}

static void log_work(const struct stn_device *device)
{
    const struct stn_work *work = &device->work;
    const char *task = work->kind == STN_WORK_INSTALL ? device->doing.install.task : work->lease.task;
    if (work->kind == STN_WORK_TRAIN && work->fell_back.code != STN_OK) {
        stn_log_err(STN_LOG_WARN, "fell_back_to_cpu", &work->fell_back);
    }
    if (work->kind == STN_WORK_TRAIN) {
        stn_log(STN_LOG_INFO, "trained", "task=%s lease=%llu version=%llu samples=%llu loss=%.4f", task,
                (unsigned long long)work->lease.lease, (unsigned long long)work->lease.version,
                (unsigned long long)work->n_samples, work->loss);
    } else if (work->kind == STN_WORK_ENCODE) {
        stn_log(STN_LOG_INFO, "encoded", "task=%s bytes=%llu", task, (unsigned long long)work->size);
    } else if (work->kind == STN_WORK_INSTALL && work->has_holdout) {
        stn_log(STN_LOG_INFO, work->holdout.kept_old ? "kept_old" : "installed",
                "task=%s version=%llu held_out_before=%.4f held_out_after=%.4f targets=%u", task,
                (unsigned long long)device->doing.install.version, work->holdout.loss_before, work->holdout.loss_after,
                work->holdout.n_targets);
    } else if (work->kind == STN_WORK_INSTALL) {
        stn_log(STN_LOG_INFO, "installed", "task=%s version=%llu", task, (unsigned long long)device->doing.install.version);
    }
}

/* NULL: there is none any more. */
static void keep_packed(struct stn_device *device, uint8_t *packed, uint64_t size)
{
    assert(!device->send.is_busy);
    stn_work_free_packed(device->packed, device->packed_size);
    device->packed = packed;
    device->packed_size = size;
}

/* NULL: there is none any more. */
static void keep_made(struct stn_device *device, struct stn_delta *made)
{
    stn_delta_free(&device->made);
    if (made != NULL) {
        device->made = *made;
        *made = (struct stn_delta){0};
    }
}

static void on_worked(struct stn_job *job)
{
    struct stn_work *work = STN_LIST_OF(job, struct stn_work, job);
    struct stn_device *device = STN_LIST_OF(work, struct stn_device, work);
    if (work->packed != NULL && !device->is_stopping) {
        keep_packed(device, work->packed, work->size);
        work->packed = NULL;
    }
    if (work->kind == STN_WORK_TRAIN && !device->is_stopping) {
        keep_made(device, &work->made);
    }
    stn_work_fini(work);
    if (device->is_stopping) {
        return;
    }
    enum stn_code code = job->ran ? work->code : STN_CANCELLED;
    if (code == STN_OK) {
        log_work(device);
    } else {
        note(device, work->kind == STN_WORK_TRAIN ? "training_failed"
                     : work->kind == STN_WORK_ENCODE ? "encoding_failed" : "installing_failed", code, &work->err);
    }
    struct stn_digest replaced = {0};
    if (device->job == STN_DEVICE_INSTALL && code == STN_OK) {
        const struct stn_agent_record *record = stn_agent_record(device->core);
        for (uint32_t i = 0; i < record->n_installed; i++) {
            if (strcmp(record->installed[i].task, device->doing.install.task) == 0) {
                replaced = record->installed[i].adapter;
            }
        }
    }
    end_job(device, code);
    if (!stn_digest_is_zero(&replaced)) {
        stn_sweep_adapter(device, &replaced);
    }
}

static struct stn_work *new_work(struct stn_device *device, enum stn_work_kind kind)
{
    struct stn_work *work = &device->work;
    memset(work, 0, sizeof *work);
    work->job.run = device->host == NULL ? stn_work_run : device->host->work;
    work->job.done = on_worked;
    work->kind = kind;
    work->n_threads = (unsigned)device->owner.threads;
    work->memory = device->owner.memory;
    work->rank = (uint32_t)device->owner.rank;
    work->backend = device->owner.backend == STN_OWNER_VULKAN ? "vulkan" : device->owner.backend == STN_OWNER_AUTO ? STN_WORK_AUTO : NULL;
    (void)snprintf(work->folder, sizeof work->folder, "%s", device->owner.folder);
    memcpy(work->device.bytes, device->identity.pub, sizeof work->device.bytes);
    return work;
}

static void do_train(struct stn_device *device, const struct stn_msg_lease *lease)
{
    struct stn_work *work = new_work(device, STN_WORK_TRAIN);
    const char *data = stn_owner_data(&device->owner, lease->task);
    if (stn_journal_is_spent(&device->journal, lease)) {
        end_job(device, STN_LATE); /* its delta has left, whatever became of it */
        return;
    }
    if (data == NULL || !base_path(device, &lease->base.digest, work->base)) {
        end_job(device, data == NULL ? STN_DENIED : STN_NOT_FOUND);
        return;
    }
    work->lease = *lease;
    (void)stn_str_copy(work->data, sizeof work->data, data);
    stn_blob_path(&device->store, &lease->adapter.digest, work->adapter);
    delta_path(device, lease->lease, work->out);
    stn_log(STN_LOG_INFO, "training", "task=%s lease=%llu version=%llu", lease->task, (unsigned long long)lease->lease,
            (unsigned long long)lease->version);
    stn_worker_submit(device->worker, &work->job);
}

static void do_encode(struct stn_device *device, const struct stn_client_effect *effect)
{
    struct stn_work *work = new_work(device, STN_WORK_ENCODE);
    work->lease = effect->round.lease;
    work->config = effect->round.config;
    work->n_samples = effect->round.n_samples;
    work->tier = effect->round.tier;
    stn_blob_path(&device->store, &work->lease.adapter.digest, work->adapter);
    delta_path(device, work->lease.lease, work->delta);
    if (effect->round.n_masks > 0) {
        work->n_masks = effect->round.n_masks;
        work->masks = stn_mem_copy(effect->round.masks, work->n_masks * sizeof *work->masks);
        if (work->masks == NULL) {
            end_job(device, STN_MEMORY);
            return;
        }
    }
    work->made = device->made;
    device->made = (struct stn_delta){0};
    stn_worker_submit(device->worker, &work->job);
}

static void do_install(struct stn_device *device, const struct stn_client_effect *effect)
{
    struct stn_digest base = {0};
    struct stn_work *work = new_work(device, STN_WORK_INSTALL);
    const char *data = stn_owner_data(&device->owner, effect->install.task);
    work->digest = effect->install.adapter.digest;
    stn_blob_path(&device->store, &work->digest, work->adapter);
    stn_place_adapter(&device->place, effect->install.task, work->out);
    if (data == NULL || stn_desk_base_of(work->adapter, &base, NULL) != STN_OK || !base_path(device, &base, work->base)) {
        work->base[0] = '\0'; /* nothing to judge it with */
    } else {
        (void)stn_str_copy(work->data, sizeof work->data, data);
    }
    stn_worker_submit(device->worker, &work->job);
}

static void begin(struct stn_device *device, const struct stn_client_effect *effect)
{
    assert(device->job == STN_DEVICE_NO_JOB);
    device->doing = *effect;
    switch (effect->type) {
    case STN_CLIENT_FETCH:
        device->job = STN_DEVICE_FETCH;
        if (stn_digest_equal(&device->model, &effect->blob.digest)) {
            end_job(device, STN_OK);
        } else {
            stn_fetch_begin(&device->fetch, &effect->blob);
        }
        break;
    case STN_CLIENT_TRAIN:
        device->job = STN_DEVICE_TRAIN;
        do_train(device, &device->doing.lease);
        break;
    case STN_CLIENT_ENCODE:
        device->job = STN_DEVICE_ENCODE;
        do_encode(device, &device->doing);
        break;
    case STN_CLIENT_SEND:
        device->job = STN_DEVICE_SEND;
        if (device->packed == NULL) {
            end_job(device, STN_NOT_FOUND);
        } else {
            stn_send_begin(&device->send, &effect->round.config.round, device->packed, effect->round.upload_size);
        }
        break;
    default:
        device->job = STN_DEVICE_INSTALL;
        do_install(device, &device->doing);
    }
}

static void cancel(struct stn_device *device)
{
    if (device->job == STN_DEVICE_FETCH) {
        stn_fetch_stop(&device->fetch);
        end_job(device, STN_CANCELLED);
    } else if (device->job == STN_DEVICE_SEND) {
        stn_send_stop(&device->send);
        end_job(device, STN_CANCELLED);
    } else if (device->job != STN_DEVICE_NO_JOB) {
        stn_worker_cancel(&device->work.job); /* its event comes when it has ended */
    }
}

/* ---- effects ---- */

static void wake(struct stn_device *device, uint64_t at_ms)
{
    uint64_t now_ms = stn_loop_wall_ms();
    if (at_ms == UINT64_MAX) {
        stn_loop_disarm(device->loop, &device->wake);
    } else {
        stn_loop_arm(device->loop, &device->wake, at_ms > now_ms ? at_ms - now_ms : 0);
    }
}

static void save(struct stn_device *device, const struct stn_agent_record *record)
{
    struct stn_err err;
    if (stn_journal_save(&device->journal, record, &err) != STN_OK) {
        die("save_failed", &err);
    }
}

static void keep_evidence(struct stn_device *device, const struct stn_secagg_client_evidence *evidence)
{
    struct stn_err err;
    char path[STN_FILE_PATH_MAX];
    if (stn_evidence_keep(&device->place, evidence, device->owner.key, path, &err) != STN_OK) {
        die("evidence_failed", &err);
    }
    (void)stn_err_set(&err, STN_DENIED, "the coordinator signed two %s of one round: see %s",
                      evidence->of_rosters ? "rosters" : "sets of survivors", path);
    note(device, "evidence", STN_DENIED, &err);
}

static void trace(const struct stn_client_effect *effect)
{
    char name[32];
    size_t i = 0;
    if (strcmp(effect->trace.event, "trained") == 0 || strcmp(effect->trace.event, "installed") == 0) {
        return; /* the work has said so, and more */
    }
    for (const char *c = effect->trace.event; *c != '\0' && i + 1 < sizeof name; c++) {
        name[i++] = *c == ' ' || *c == '-' ? '_' : *c;
    }
    name[i] = '\0';
    stn_log(STN_LOG_INFO, name, "task=%s number=%llu code=%s", effect->trace.task[0] == '\0' ? "-" : effect->trace.task,
            (unsigned long long)effect->trace.number, stn_err_name(effect->trace.code));
}

static void discard(struct stn_device *device, const struct stn_msg_lease *lease)
{
    keep_packed(device, NULL, 0);
    keep_made(device, NULL);
    stn_sweep_work(device, stn_agent_record(device->core)->lease.lease); /* which may be a new one by now */
    stn_sweep_adapter(device, &lease->adapter.digest);
}

static void apply(struct stn_device *device, const struct stn_client_effect *effect)
{
    switch (effect->type) {
    case STN_CLIENT_SAVE:
        save(device, &effect->record);
        break;
    case STN_CLIENT_ASK:
        do_ask(device, effect);
        break;
    case STN_CLIENT_WAKE:
        wake(device, effect->at_ms);
        break;
    case STN_CLIENT_CANCEL:
        cancel(device);
        break;
    case STN_CLIENT_DISCARD:
        discard(device, &effect->lease);
        break;
    case STN_CLIENT_EVIDENCE:
        keep_evidence(device, &effect->evidence);
        break;
    case STN_CLIENT_TRACE:
        trace(effect);
        break;
    default:
        begin(device, effect);
    }
}

static void step(struct stn_device *device, const struct stn_client_event *event)
{
    struct stn_client_event now = *event;
    now.now_ms = stn_loop_wall_ms();
    device->is_stepping = true;
    device->effects.n = 0;
    stn_agent_step(device->core, &now, &device->effects);
    for (size_t i = 0; i < device->effects.n; i++) {
        apply(device, &device->effects.items[i]);
    }
    device->is_stepping = false;
}

void stn_carry_event(struct stn_device *device, const struct stn_client_event *event)
{
    struct stn_list *link;
    if (device->is_stopping) {
        return;
    }
    if (device->is_stepping) { /* an effect that ended at once */
        struct queued *queued = stn_mem_new(1, sizeof *queued);
        assert(event->type != STN_CLIENT_REPLY);
        if (queued == NULL) {
            abort(); /* the core would wait for it for ever */
        }
        queued->event = *event;
        stn_list_add(&device->events, &queued->link);
        return;
    }
    step(device, event);
    while ((link = stn_list_pop(&device->events)) != NULL) {
        struct queued *queued = STN_LIST_OF(link, struct queued, link);
        step(device, &queued->event);
        stn_mem_free(queued);
    }
    if (device->changed != NULL) {
        device->changed(device->user);
    }
}

/* ---- life ---- */

static void on_wake(struct stn_timer *timer)
{
    stn_carry_event(STN_LIST_OF(timer, struct stn_device, wake), &(struct stn_client_event){.type = STN_CLIENT_TIME});
}

enum stn_code stn_carry_start(struct stn_device *device, struct stn_err *err)
{
    struct stn_client_event event = {.type = STN_CLIENT_START};
    struct stn_agent_config config = {.n_min_floor = (uint32_t)device->owner.n_min,
                                      .retry_first_ms = device->owner.retry_ms,
                                      .retry_most_ms = device->owner.retry_most_ms,
                                      .allows_plain = device->owner.allow_plain,
                                      .secure = {.identity = device->identity,
                                                 .certificate = device->certificate,
                                                 .known = &device->known,
                                                 .gamma_floor = STN_BOUND_GAMMA_LEAST,
                                                 .sigma_floor = STN_BOUND_SIGMA_LEAST}};
    memcpy(config.secure.coordinator, device->owner.key, sizeof config.secure.coordinator);
    memcpy(config.secure.directory, device->owner.directory, sizeof config.secure.directory);
    stn_list_init(&device->events);
    stn_entropy_fill(&config.seed, sizeof config.seed);
    device->wake.fire = on_wake;
    device->fetch = (struct stn_fetch){.dialog = device->dialog, .store = &device->store, .told = on_fetched, .user = device};
    device->send = (struct stn_send){.loop = device->loop, .dialog = device->dialog, .kbps = device->owner.upload_kbps,
                                     .told = on_sent, .user = device};
    enum stn_code code = stn_journal_open(&device->journal, &device->place, &event.record, err);
    if (code == STN_CORRUPT || code == STN_UNSUPPORTED) { /* what was in hand is dropped; what is spent stays spent */
        note(device, "fresh_start", code, err);
        code = STN_OK;
    }
    code = code == STN_OK ? stn_agent_new(&device->core, &config, err) : code;
    stn_entropy_wipe(&config, sizeof config);
    if (code != STN_OK) {
        return code;
    }
    stn_sweep_start(device, &event.record);
    stn_carry_event(device, &event);
    return STN_OK;
}

void stn_carry_stop(struct stn_device *device)
{
    stn_dialog_drop(&device->ask);
    stn_fetch_stop(&device->fetch);
    stn_send_stop(&device->send);
    keep_packed(device, NULL, 0);
    keep_made(device, NULL);
    stn_loop_disarm(device->loop, &device->wake);
}
