#include "server/core/cohort.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "server/core/cohort_stage.h"
#include "server/core/cohort_secure.h"
#include "server/core/task.h"

/* An upload holds n_values elements, padded to blocks of at most 2^13, and a few that sum other
 * things. */
#define EXTRA_VALUES (8192 + 4096)

#define AGAIN_MS 30000 /* of a stage, at most, after a restart */

static bool is_zero(const struct stn_digest *hash)
{
    static const struct stn_digest zero;
    return memcmp(hash, &zero, sizeof zero) == 0;
}

/* ---- life ---- */

struct stn_cohort *stn_cohort_new(struct stn_task *task, const struct stn_round_record *record)
{
    struct stn_cohort *cohort = stn_emit_need(stn_mem_new(1, sizeof *cohort));
    cohort->task = task;
    cohort->record = *record;
    stn_list_init(&cohort->link);
    return cohort;
}

void stn_cohort_free(struct stn_cohort *cohort, struct stn_map *tickets)
{
    if (cohort == NULL) {
        return;
    }
    for (size_t i = 0; i < cohort->members.n; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        stn_member_unpark(&member->poll, tickets);
        stn_member_unpark(&member->put_end, tickets);
        stn_mem_free(member);
    }
    stn_map_fini(&cohort->members);
    stn_cohort_secure_free(cohort->secure);
    stn_list_remove(&cohort->link);
    stn_mem_free(cohort);
}

static struct stn_member *add_member(struct stn_cohort *cohort,
                                     const struct stn_member_record *record)
{
    assert(record->state <= STN_MEMBER_LOST && record->tier <= STN_MSG_HALVINGS);
    struct stn_member *member = stn_emit_need(stn_mem_new(1, sizeof *member));
    member->cohort = cohort;
    member->record = *record;
    stn_emit_set(&cohort->members, &record->device, sizeof record->device, member);
    cohort->n[record->state]++;
    return member;
}

void stn_cohort_restore(struct stn_cohort *cohort, const struct stn_member_record *record)
{
    if (stn_cohort_member(cohort, &record->device) == NULL) {
        (void)add_member(cohort, record);
    }
}

struct stn_member *stn_cohort_member(const struct stn_cohort *cohort, const struct stn_id *device)
{
    return stn_map_get(&cohort->members, device, sizeof *device);
}

bool stn_cohort_is_open(const struct stn_cohort *cohort)
{
    return cohort->record.state < STN_ROUND_DONE;
}

void stn_cohort_forget(const struct stn_cohort *cohort, struct stn_emit *emit)
{
    for (size_t i = 0; i < cohort->members.n; i++) {
        const struct stn_member *member = cohort->members.entries[i].value;
        stn_emit_forget(emit,
                        &(struct stn_record){.type = STN_RECORD_MEMBER, .member = member->record});
    }
    stn_emit_forget(emit, &(struct stn_record){.type = STN_RECORD_ROUND, .round = cohort->record});
}

void stn_cohort_time(struct stn_cohort *cohort, struct stn_emit *emit)
{
    if (cohort->record.deadline_ms > emit->now_ms) {
        return;
    }
    if (cohort->secure != NULL) {
        stn_cohort_secure_time(cohort, emit);
    } else {
        stn_cohort_stage_advance(cohort, emit, true);
    }
}

/* ---- joining ---- */

static void add_terms(struct stn_msg_round_config *config, const struct stn_task_spec *spec)
{
    config->gamma = spec->gamma;
    config->delta = spec->delta;
    config->sigma = spec->sigma;
    config->eta = spec->eta;
    config->share_ms = spec->share_ms;
    config->ack_ms = spec->ack_ms;
    config->unmask_ms = spec->unmask_ms;
}

/* The versions that deltas may start from: those that are not too old and trained the same factor. */
static void add_bases(struct stn_msg_round_config *config, const struct stn_task *task)
{
    const struct stn_task_spec *spec = &task->record.spec;
    for (uint32_t age = 0; age <= spec->staleness && age <= config->version; age++) {
        const struct stn_version_record *version = stn_task_version(task, config->version - age);
        if (version != NULL && stn_task_factor(spec, version->version) == config->factor) {
            config->bases[config->n_bases++] =
                (struct stn_base){.adapter = version->adapter.digest,
                                  .version = version->version,
                                  .discount = pow(1 + (double)age, -spec->discount)};
        }
    }
}

struct stn_cohort *stn_cohort_open(struct stn_task *task, struct stn_emit *emit,
                                   const struct stn_round_id *round, const uint8_t seed[static 32])
{
    const struct stn_task_spec *spec = &task->record.spec;
    struct stn_round_record record = {.round = *round,
                                      .number = task->n_rounds,
                                      .version = task->record.version,
                                      .state = STN_ROUND_JOINING,
                                      .opened_ms = emit->now_ms,
                                      .deadline_ms = emit->now_ms + spec->join_window_ms};
    (void)stn_str_copy(record.task, sizeof record.task, spec->name);
    record.config =
        (struct stn_msg_round_config){.round = *round,
                                      .protocol = STN_MSG_VERSION,
                                      .task_digest = spec->digest,
                                      .model = spec->base.digest,
                                      .adapter = stn_task_released(task)->adapter.digest,
                                      .version = task->record.version,
                                      .factor = stn_task_factor(spec, task->record.version),
                                      .bits = spec->bits,
                                      .n_max = spec->target,
                                      .n_min = spec->n_min,
                                      .clip_norm = task->record.clip_norm,
                                      .weight_max = spec->weight_max,
                                      .n_halvings = spec->train.n_halvings,
                                      .secure = spec->secure,
                                      .join_ms = spec->join_window_ms,
                                      .upload_ms = spec->upload_ms};
    record.config.n_values = stn_task_n_values(spec, (enum stn_factor)record.config.factor);
    add_bases(&record.config, task);
    if (spec->secure) {
        add_terms(&record.config, spec);
    }
    (void)stn_str_copy(record.config.task, sizeof record.config.task, spec->name);
    memcpy(record.config.seed, seed, sizeof record.config.seed);
    struct stn_cohort *cohort = stn_cohort_new(task, &record);
    stn_emit_set(emit->rounds, round, sizeof *round, cohort);
    stn_list_add(&task->cohorts, &cohort->link);
    task->n_cohorts++;
    task->n_rounds++;
    task->open = cohort;
    stn_emit_save_round(emit, &cohort->record);
    stn_cohort_stage_trace(cohort, emit, "open", NULL, STN_OK);
    if (spec->secure) {
        stn_cohort_secure_open(cohort, emit);
    }
    return cohort;
}

static void reply_config(const struct stn_cohort *cohort, struct stn_emit *emit, stn_ticket ticket)
{
    stn_emit_reply(
        emit, ticket,
        &(struct stn_msg){.type = STN_MSG_ROUND_CONFIG, .round_config = cohort->record.config});
}

void stn_cohort_join(struct stn_cohort *cohort, struct stn_emit *emit, stn_ticket ticket,
                     const struct stn_lease_record *lease, const struct stn_msg_join *join)
{
    assert(cohort->record.state == STN_ROUND_JOINING);
    struct stn_member_record record = {.round = cohort->record.round,
                                       .device = lease->device,
                                       .state = STN_MEMBER_JOINED,
                                       .lease = lease->lease,
                                       .n_samples = join->n_samples,
                                       .tier = join->tier};
    (void)add_member(cohort, &record);
    stn_task_hold(cohort->task, lease->lease, true);
    stn_emit_save_member(emit, &record);
    stn_cohort_stage_trace(cohort, emit, "join", &record.device, STN_OK);
    reply_config(cohort, emit, ticket);
}

void stn_cohort_join_again(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket)
{
    struct stn_cohort *cohort = member->cohort;
    if (member->record.state == STN_MEMBER_LOST) { /* it left: the same round never has it twice */
        uint64_t left_ms = cohort->record.deadline_ms - emit->now_ms;
        bool is_timed =
            cohort->record.state < STN_ROUND_MERGING && cohort->record.deadline_ms > emit->now_ms;
        stn_emit_come_back(emit, ticket, is_timed ? left_ms : 1000);
    } else {
        reply_config(cohort, emit, ticket);
    }
}

void stn_cohort_advertise(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                          const struct stn_msg *msg)
{
    struct stn_cohort *cohort = member->cohort;
    if (member->record.state == STN_MEMBER_LOST || cohort->record.state == STN_ROUND_VOID) {
        enum stn_code code =
            cohort->record.state == STN_ROUND_VOID ? cohort->record.code : STN_AGAIN;
        stn_emit_voided(emit, ticket, &cohort->record.round, code);
        return;
    }
    if (cohort->secure != NULL && msg->advertise.has_advert &&
        msg->advertise.advert.tier != member->record.tier) {
        stn_emit_refused(emit, ticket, STN_INVALID); /* it joined with another */
        return;
    }
    if (cohort->secure != NULL) {
        stn_cohort_secure_say(member, emit, ticket, msg);
        return;
    }
    stn_emit_ok(emit, ticket);
    if (member->record.state == STN_MEMBER_JOINED) {
        stn_cohort_stage_move(member, emit, STN_MEMBER_ADVERTISED);
        stn_cohort_stage_trace(cohort, emit, "advertise", &member->record.device, STN_OK);
        stn_cohort_stage_advance(cohort, emit, false);
    }
}

void stn_cohort_say(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                    const struct stn_msg *msg)
{
    const struct stn_round_record *round = &member->cohort->record;
    if (member->cohort->secure != NULL) {
        stn_cohort_secure_say(member, emit, ticket, msg);
    } else if (!round->config.secure) {
        stn_emit_refused(emit, ticket, STN_INVALID);
    } else if (round->state == STN_ROUND_VOID) {
        stn_emit_voided(emit, ticket, &round->round, round->code);
    } else {
        stn_emit_ok(emit, ticket); /* it is over: the poll that follows is told how */
    }
}

/* ---- uploading ---- */

bool stn_cohort_may_put(const struct stn_member *member)
{
    const struct stn_cohort *cohort = member->cohort;
    return cohort->record.state == STN_ROUND_UPLOADING &&
           member->record.state == STN_MEMBER_ADVERTISED &&
           (cohort->secure == NULL || stn_cohort_secure_may_put(member));
}

/* Whether the member may still put bytes; otherwise it is told why not. */
static bool may_put(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket)
{
    struct stn_cohort *cohort = member->cohort;
    if (cohort->record.state == STN_ROUND_VOID) {
        stn_emit_voided(emit, ticket, &cohort->record.round, cohort->record.code);
        return false;
    }
    if (cohort->record.state > STN_ROUND_UPLOADING || member->record.state == STN_MEMBER_LOST) {
        stn_emit_refused(emit, ticket, STN_LATE);
        return false;
    }
    if (!stn_cohort_may_put(member)) {
        stn_emit_refused(emit, ticket, STN_INVALID);
        return false;
    }
    return true;
}

void stn_cohort_put_begin(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                          uint64_t size)
{
    const struct stn_msg_round_config *config = &member->cohort->record.config;
    if (member->record.state == STN_MEMBER_UPLOADED) { /* all of it is here already */
        uint64_t n_chunks = (member->record.upload_size + STN_MSG_CHUNK - 1) / STN_MSG_CHUNK;
        stn_emit_reply(
            emit, ticket,
            &(struct stn_msg){.type = STN_MSG_MISSING,
                              .missing = {.round = config->round, .n_chunks = (uint32_t)n_chunks}});
        return;
    }
    if (!may_put(member, emit, ticket)) {
        return;
    }
    uint64_t width = config->bits / 8;
    if (size < config->n_values * width || size > (config->n_values + EXTRA_VALUES) * width) {
        stn_emit_refused(emit, ticket, STN_INVALID);
        return;
    }
    bool is_other = !is_zero(&member->record.upload) && member->record.upload_size != size;
    if (member->checking || is_other) {
        stn_emit_refused(emit, ticket, is_other ? STN_EXISTS : STN_AGAIN);
        return;
    }
    if (member->record.upload_size != size) {
        member->record.upload_size = size;
        stn_emit_save_member(emit, &member->record);
        stn_task_spend(member->cohort->task, emit,
                       member->record.lease); /* whatever becomes of it */
    }
    struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_SPOOL);
    effect->ticket = ticket;
    effect->upload = stn_member_upload(member);
    effect->upload.digest = (struct stn_digest){0};
}

void stn_cohort_put_end(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                        const struct stn_msg_put_end *msg)
{
    const struct stn_digest *digest = &msg->digest;
    bool is_same = memcmp(&member->record.upload, digest, sizeof *digest) == 0;
    if (member->record.state ==
        STN_MEMBER_UPLOADED) { /* a retransmission: already counted, and counted once */
        if (is_same) {
            stn_emit_ok(emit, ticket);
        } else {
            stn_emit_refused(emit, ticket, STN_EXISTS);
        }
        return;
    }
    if (!may_put(member, emit, ticket)) {
        return;
    }
    if (is_zero(digest) || member->record.upload_size == 0) {
        stn_emit_refused(emit, ticket, STN_INVALID);
        return;
    }
    if (!is_zero(&member->record.upload) && !is_same) {
        stn_emit_refused(emit, ticket, STN_EXISTS);
        return;
    }
    stn_emit_wait(emit, stn_member_take(&member->put_end,
                                        emit)); /* it asked again: only the last is waited for */
    stn_member_park(member, emit, &member->put_end, ticket);
    if (!member->checking) {
        member->checking = true;
        member->record.upload = *digest;
        memcpy(member->signature, msg->signature, sizeof member->signature);
        stn_emit_save_member(emit, &member->record);
        stn_emit_new(emit, STN_SERVER_CHECK)->upload = stn_member_upload(member);
    }
}

void stn_cohort_checked(struct stn_member *member, struct stn_emit *emit, enum stn_code code)
{
    struct stn_cohort *cohort = member->cohort;
    if (!member->checking) {
        return; /* the stage ended meanwhile, and the device knows */
    }
    member->checking = false;
    stn_ticket ticket = stn_member_take(&member->put_end, emit);
    if (code != STN_OK) {
        stn_emit_new(emit, STN_SERVER_DROP)->upload = stn_member_upload(member);
        member->record.upload = (struct stn_digest){0};
        stn_emit_save_member(emit, &member->record);
        stn_cohort_stage_trace(cohort, emit, "corrupt", &member->record.device, code);
        stn_emit_refused(emit, ticket, STN_CORRUPT);
        return;
    }
    if (cohort->secure != NULL) {
        stn_cohort_secure_upload(member, emit, ticket);
        return;
    }
    stn_cohort_stage_move(member, emit, STN_MEMBER_UPLOADED);
    stn_emit_new(emit, STN_SERVER_ADD)->upload = stn_member_upload(member);
    stn_cohort_stage_trace(cohort, emit, "uploaded", &member->record.device, STN_OK);
    stn_emit_ok(emit, ticket);
    stn_cohort_stage_advance(cohort, emit, false);
}

void stn_cohort_leave(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                      const struct stn_msg *msg)
{
    struct stn_cohort *cohort = member->cohort;
    stn_emit_ok(emit, ticket);
    bool is_in =
        member->record.state == STN_MEMBER_JOINED || member->record.state == STN_MEMBER_ADVERTISED;
    if (is_in && cohort->record.state <= STN_ROUND_UPLOADING) { /* what is uploaded counts */
        member->checking = false;
        stn_emit_refused(emit, stn_member_take(&member->put_end, emit), STN_CANCELLED);
        stn_cohort_stage_lose(member, emit);
        if (member->poll != 0 && stn_cohort_stage_tell(member, emit, member->poll, member->stage)) {
            stn_member_unpark(&member->poll, emit->tickets);
        }
    }
    if (cohort->secure != NULL) {
        stn_cohort_secure_say(member, emit, 0, msg); /* nobody waits for its shares, either */
    } else {
        stn_cohort_stage_advance(cohort, emit, false);
    }
}

/* ---- waiting ---- */

void stn_cohort_poll(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                     uint32_t stage)
{
    bool is_plain = stage == STN_STAGE_ADVERTISE || stage == STN_STAGE_UPLOAD;
    bool is_any = stage >= STN_STAGE_ADVERTISE && stage <= STN_STAGE_UNMASK;
    if (!is_plain && !(is_any && member->cohort->record.config.secure)) {
        stn_emit_refused(emit, ticket, STN_INVALID);
    } else if (!stn_cohort_stage_tell(member, emit, ticket, stage)) {
        stn_emit_wait(
            emit,
            stn_member_take(&member->poll, emit)); /* it asked again: only the last is waited for */
        stn_member_park(member, emit, &member->poll, ticket);
        member->stage = stage;
    }
}

void stn_cohort_lost_ticket(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket)
{
    if (member->poll == ticket) {
        stn_member_unpark(&member->poll, emit->tickets);
    } else if (member->put_end == ticket) {
        stn_member_unpark(&member->put_end, emit->tickets);
    }
}

/* ---- the end ---- */

void stn_cohort_merged(struct stn_cohort *cohort, struct stn_emit *emit,
                       const struct stn_server_event *event)
{
    if (cohort->record.state != STN_ROUND_MERGING) {
        return; /* told twice */
    }
    if (event->merged.code != STN_OK) {
        stn_cohort_stage_void(cohort, emit, event->merged.code);
        return;
    }
    struct stn_version_record version = {.version = cohort->record.version + 1,
                                         .adapter = event->merged.adapter,
                                         .state = event->merged.state,
                                         .round = cohort->record.round,
                                         .totals = event->merged.totals,
                                         .created_ms = emit->now_ms};
    (void)stn_str_copy(version.task, sizeof version.task, cohort->record.task);
    stn_task_release(cohort->task, emit, &version, event->merged.clip_norm);
    stn_cohort_stage_done(cohort, emit, version.version);
}

void stn_cohort_unmasked(struct stn_cohort *cohort, struct stn_emit *emit)
{
    if (cohort->secure != NULL) {
        stn_cohort_secure_unmasked(cohort, emit);
    }
}

/* Nobody could speak while the coordinator was away: as in the stages of a secure round. */
static void renew(struct stn_cohort *cohort, uint64_t now_ms)
{
    const struct stn_msg_round_config *config = &cohort->record.config;
    uint64_t length_ms =
        cohort->record.state == STN_ROUND_JOINING ? config->join_ms : config->upload_ms;
    uint64_t least_ms = now_ms + (length_ms < AGAIN_MS ? length_ms : AGAIN_MS);
    if (cohort->record.deadline_ms < least_ms) {
        cohort->record.deadline_ms = least_ms;
    }
}

void stn_cohort_resume(struct stn_cohort *cohort, struct stn_emit *emit)
{
    if (!stn_cohort_is_open(cohort)) {
        stn_cohort_stage_close(cohort, emit); /* the process may have died over it */
        return;
    }
    for (size_t i = 0; i < cohort->members.n; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        if (member->record.state != STN_MEMBER_LOST) {
            stn_task_hold(cohort->task, member->record.lease, true);
        }
        if (member->record.state == STN_MEMBER_UPLOADED && !cohort->record.config.secure) {
            stn_emit_new(emit, STN_SERVER_ADD)->upload = stn_member_upload(member);
        }
    }
    stn_cohort_stage_trace(cohort, emit, "resume", NULL, STN_OK);
    if (stn_task_version(cohort->task, cohort->record.version) == NULL) {
        stn_cohort_stage_void(cohort, emit,
                              STN_CORRUPT); /* what it starts from is not on disk any more */
    } else if (cohort->record.config.secure) {
        stn_cohort_secure_resume(cohort, emit);
    } else if (cohort->record.state == STN_ROUND_MERGING) {
        stn_cohort_stage_merge(cohort, emit);
    } else {
        renew(cohort, emit->now_ms);
    }
}
