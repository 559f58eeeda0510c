#include "server/shell/apply.h"

#include <assert.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "channel/signed.h"
#include "crypto/entropy.h"
#include "server/shell/inbox.h"
#include "update/round.h"

#define FULL_RETRY_MS 60000 /* a device whose upload found the disk full */
#define DEVICE_SHORT 8      /* bytes of an identity in a log line */

/* ---- rounds ---- */

enum stn_code stn_apply_round(struct stn_service *service, const struct stn_round_id *round,
                              struct stn_service_round *ret, struct stn_err *err)
{
    if (memcmp(&service->last_round.round, round, sizeof *round) == 0 && service->last_round.upload_size > 0) {
        *ret = service->last_round;
        return STN_OK;
    }
    struct stn_service_round found = {.round = *round};
    struct stn_record record = {.type = STN_RECORD_ROUND, .round = {.round = *round}};
    struct stn_encode_config encoding;
    enum stn_code code = stn_store_get(service->store, &record, err);
    if (code == STN_OK) {
        code = stn_signed_cfg(&record.round.config, &found.cfg, err);
    }
    if (code == STN_OK) {
        code = stn_round_encoding(&record.round.config, &encoding, err);
    }
    if (code == STN_OK) {
        found.upload_size = stn_round_upload_size(&encoding);
        service->last_round = *ret = found;
    }
    return code;
}

/* ---- replies ---- */

/* The signatures of what is the coordinator's word; the core knows no keys. */
static enum stn_code sign(struct stn_service *service, struct stn_msg *msg, struct stn_err *err)
{
    struct stn_digest cfg;
    struct stn_service_round round;
    enum stn_code code = STN_OK;
    if (msg->type == STN_MSG_ROUND_CONFIG) {
        code = stn_signed_cfg(&msg->round_config, &cfg, err);
        if (code == STN_OK) {
            stn_signed_config(&msg->round_config, &cfg, &service->identity);
        }
    } else if (msg->type == STN_MSG_ROSTER) {
        code = stn_apply_round(service, &msg->roster.round, &round, err);
        if (code == STN_OK) {
            stn_signed_roster(&msg->roster, &round.cfg, &service->identity);
        }
    } else if (msg->type == STN_MSG_RESULT) {
        code = stn_apply_round(service, &msg->result.round, &round, err);
        if (code == STN_OK) {
            stn_signed_result(&msg->result, &round.cfg, &service->identity);
        }
    }
    return code;
}

static void reply(struct stn_service *service, stn_ticket ticket, const struct stn_msg *msg)
{
    struct stn_err err;
    struct stn_msg said = *msg;
    if (sign(service, &said, &err) != STN_OK) {
        stn_log_err(STN_LOG_ERROR, "reply_failed", &err);
        said = (struct stn_msg){.type = STN_MSG_REFUSED, .refused = {.code = (uint32_t)err.code}};
    }
    stn_inbox_reply(service, ticket, &said);
}

static void refuse(struct stn_service *service, stn_ticket ticket, enum stn_code code, uint64_t retry_after_ms)
{
    struct stn_msg msg = {.type = STN_MSG_REFUSED,
                          .refused = {.code = (uint32_t)code, .retry_after_ms = retry_after_ms}};
    stn_inbox_reply(service, ticket, &msg);
}

/* ---- uploads ---- */

static void spool(struct stn_service *service, stn_ticket ticket, const struct stn_server_upload *upload)
{
    struct stn_err err;
    struct stn_service_round round;
    struct stn_arena arena = {0};
    struct stn_msg msg = {.type = STN_MSG_MISSING};
    enum stn_code code = stn_apply_round(service, &upload->round, &round, &err);
    if (code == STN_OK && upload->size != round.upload_size) {
        refuse(service, ticket, STN_INVALID, 0);
        return;
    }
    if (code == STN_OK) {
        code = stn_spool_begin(&service->spool, upload, &arena, &msg.missing, &err);
    }
    if (code == STN_OK) {
        stn_inbox_reply(service, ticket, &msg);
    } else { /* nothing was promised: the device may come again */
        stn_log_err(STN_LOG_ERROR, "spool_failed", &err);
        refuse(service, ticket, code, FULL_RETRY_MS);
    }
    stn_arena_fini(&arena);
}

struct checking {
    struct stn_job job;
    struct stn_service *service;
    struct stn_server_upload upload;
    enum stn_code code;
    struct stn_err err;
};

static void run_check(struct stn_job *job)
{
    struct checking *checking = STN_LIST_OF(job, struct checking, job);
    checking->code = stn_spool_check(&checking->service->spool, &checking->upload, &checking->err);
}

static bool is_open(struct stn_service *service, const struct stn_round_id *round)
{
    struct stn_record record = {.type = STN_RECORD_ROUND, .round = {.round = *round}};
    return stn_store_get(service->store, &record, NULL) == STN_OK && record.round.state < STN_ROUND_DONE;
}

static void checked(struct stn_job *job)
{
    struct checking *checking = STN_LIST_OF(job, struct checking, job);
    if (!job->ran || checking->service->is_stopping) {
        stn_mem_free(checking); /* the device asks again, and it is checked again */
        return;
    }
    if (checking->code != STN_OK && !is_open(checking->service, &checking->upload.round)) {
        checking->code = STN_CORRUPT; /* the round ended meanwhile, and its files went under the check */
    }
    if (checking->code == STN_AGAIN) { /* too few descriptors for now */
        stn_log_err(STN_LOG_WARN, "check_waits", &checking->err);
        stn_worker_submit(checking->service->worker, job);
        return;
    }
    if (checking->code != STN_OK && checking->code != STN_INVALID && checking->code != STN_CORRUPT) {
        stn_turn_die("check_failed", &checking->err);
    }
    struct stn_server_event event = {.type = STN_SERVER_UPLOAD_CHECKED};
    event.checked.round = checking->upload.round;
    event.checked.device = checking->upload.device;
    event.checked.code = checking->code;
    stn_apply_event(checking->service, &event);
    stn_mem_free(checking);
}

static void *need(void *p)
{
    if (p == NULL) {
        struct stn_err err;
        (void)stn_err_set(&err, STN_MEMORY, "no memory to carry out what was decided");
        stn_turn_die("apply_failed", &err);
    }
    return p;
}

static void check(struct stn_service *service, const struct stn_server_upload *upload)
{
    struct checking *checking = need(stn_mem_new(1, sizeof *checking));
    checking->service = service;
    checking->upload = *upload;
    checking->job = (struct stn_job){.run = run_check, .done = checked};
    stn_worker_submit(service->worker, &checking->job);
}

/* At once: nothing was promised of it, and the same upload may be checked again within this turn, which must not find
 * bytes that go later. */
static void drop(struct stn_service *service, const struct stn_server_upload *upload)
{
    stn_spool_remove(&service->spool, &upload->round, &upload->device);
}

/* ---- what waits for the commit because it cannot be undone ---- */

struct ending {
    struct stn_after after;
    struct stn_service *service;
    struct stn_round_id round;
    bool is_released;
};

static void end(struct stn_after *after)
{
    struct ending *ending = STN_LIST_OF(after, struct ending, after);
    stn_adder_close(ending->service->adder, &ending->round, ending->is_released);
    stn_mem_free(ending);
}

static void close_round(struct stn_service *service, const struct stn_round_id *round)
{
    struct stn_record record = {.type = STN_RECORD_ROUND, .round = {.round = *round}};
    struct ending *ending = need(stn_mem_new(1, sizeof *ending));
    *ending = (struct ending){.after.run = end, .service = service, .round = *round};
    stn_turn_after(&service->turn, &ending->after);
    ending->is_released = stn_store_get(service->store, &record, NULL) == STN_OK && record.round.state == STN_ROUND_DONE;
}

/* ---- the rest ---- */

static void wake(struct stn_timer *timer)
{
    struct stn_service *service = STN_LIST_OF(timer, struct stn_service, wake);
    struct stn_server_event event = {.type = STN_SERVER_TIME};
    stn_apply_event(service, &event);
}

/* at_ms is of the wall clock; the timer runs on one that nobody sets. */
static void set_wake(struct stn_service *service, uint64_t at_ms)
{
    uint64_t now_ms = stn_loop_wall_ms();
    if (at_ms == UINT64_MAX) {
        stn_loop_disarm(service->loop, &service->wake);
        return;
    }
    stn_loop_arm(service->loop, &service->wake, at_ms > now_ms ? at_ms - now_ms : 0);
}

static void trace(const struct stn_server_effect *effect)
{
    static const struct stn_id nobody;
    char device[2 * DEVICE_SHORT + 1] = "-", name[64] = "";
    bool is_devices = memcmp(&effect->trace.device, &nobody, sizeof nobody) != 0; /* one of thousands a round */
    if (is_devices) {
        stn_hex_put(device, effect->trace.device.bytes, DEVICE_SHORT);
    }
    for (size_t i = 0; i + 1 < sizeof name && effect->trace.event[i] != '\0'; i++) {
        name[i] = effect->trace.event[i] == ' ' ? '_' : effect->trace.event[i];
    }
    stn_log(effect->trace.code != STN_OK ? STN_LOG_WARN : is_devices ? STN_LOG_DEBUG : STN_LOG_INFO, name, "task=%s device=%s number=%llu code=%s",
            effect->trace.task[0] == '\0' ? "-" : effect->trace.task, device, (unsigned long long)effect->trace.number,
            effect->trace.code == STN_OK ? "ok" : stn_err_name(effect->trace.code));
}

static void write_record(struct stn_service *service, const struct stn_server_effect *effect)
{
    struct stn_err err;
    enum stn_code code = effect->type == STN_SERVER_SAVE ? stn_store_save(service->store, &effect->record, &err)
                                                         : stn_store_forget(service->store, &effect->record, &err);
    if (code != STN_OK) {
        stn_turn_die("save_failed", &err);
    }
}

static void apply(struct stn_service *service, const struct stn_server_effect *effect)
{
    switch (effect->type) {
    case STN_SERVER_SAVE:
    case STN_SERVER_FORGET:
        write_record(service, effect);
        break;
    case STN_SERVER_REPLY:
        reply(service, effect->ticket, &effect->msg);
        break;
    case STN_SERVER_TELL:
        stn_inbox_tell(service, effect->ticket, &effect->tell);
        break;
    case STN_SERVER_ANSWER:
        service->answer = effect->code;
        break;
    case STN_SERVER_WAKE:
        set_wake(service, effect->at_ms);
        break;
    case STN_SERVER_SPOOL:
        spool(service, effect->ticket, &effect->upload);
        break;
    case STN_SERVER_CHECK:
        check(service, &effect->upload);
        break;
    case STN_SERVER_ADD:
        stn_adder_add(service->adder, &effect->upload);
        break;
    case STN_SERVER_DROP:
        drop(service, &effect->upload);
        break;
    case STN_SERVER_UNMASK:
        stn_adder_unmask(service->adder, effect);
        break;
    case STN_SERVER_MERGE:
        stn_adder_merge(service->adder, effect);
        break;
    case STN_SERVER_CLOSE:
        close_round(service, &effect->merge.round);
        break;
    case STN_SERVER_TRACE:
        trace(effect);
        break;
    }
}

void stn_apply_event(struct stn_service *service, struct stn_server_event *event)
{
    assert(!service->is_stepping);
    service->is_stepping = true;
    service->effects.n = 0;
    event->now_ms = stn_loop_wall_ms();
    stn_coordinator_step(service->coordinator, event, &service->effects);
    for (size_t i = 0; i < service->effects.n; i++) {
        apply(service, &service->effects.items[i]);
    }
    service->is_stepping = false;
}

enum stn_code stn_apply_command(struct stn_service *service, struct stn_server_event *event)
{
    service->answer = STN_CANCELLED;
    event->ticket = ++service->last_ticket;
    stn_apply_event(service, event);
    return service->answer;
}

static void restore(void *user, const struct stn_record *record)
{
    struct stn_server_event event = {.type = STN_SERVER_RESTORE};
    event.record = *record;
    stn_apply_event(user, &event);
}

enum stn_code stn_apply_start(struct stn_service *service, struct stn_err *err)
{
    struct stn_coordinator_config config = {.identity = service->identity, .cfg = stn_signed_cfg};
    stn_entropy_fill(&config.seed, sizeof config.seed);
    memcpy(config.directory, service->directory_key, sizeof config.directory);
    service->wake.fire = wake;
    enum stn_code code = stn_coordinator_new(&service->coordinator, &config, err);
    stn_entropy_wipe(&config, sizeof config);
    if (code == STN_OK) {
        code = stn_store_restore(service->store, restore, service, err);
    }
    if (code != STN_OK) {
        return code;
    }
    stn_adder_sweep(service->adder);
    struct stn_server_event event = {.type = STN_SERVER_START};
    stn_apply_event(service, &event);
    return STN_OK;
}
