#include "server/core/cohort_stage.h"

#include <assert.h>

#include "base/str.h"
#include "server/core/cohort_secure.h"
#include "server/core/task.h"

void stn_cohort_stage_trace(const struct stn_cohort *cohort, struct stn_emit *emit,
                            const char *event, const struct stn_id *device, enum stn_code code)
{
    stn_emit_trace(emit, event, cohort->record.task, device, cohort->record.number, code);
}

/* ---- members ---- */

void stn_cohort_stage_move(struct stn_member *member, struct stn_emit *emit,
                           enum stn_member_state state)
{
    member->cohort->n[member->record.state]--;
    member->cohort->n[state]++;
    member->record.state = state;
    stn_emit_save_member(emit, &member->record);
}

void stn_cohort_stage_lose(struct stn_member *member, struct stn_emit *emit)
{
    stn_cohort_stage_move(member, emit, STN_MEMBER_LOST);
    stn_task_hold(member->cohort->task, member->record.lease, false);
    stn_cohort_stage_trace(member->cohort, emit, "lost", &member->record.device, STN_OK);
}

/* ---- news ---- */

static void reply_roster(const struct stn_cohort *cohort, struct stn_emit *emit, stn_ticket ticket)
{
    stn_emit_reply(emit, ticket,
                   &(struct stn_msg){.type = STN_MSG_ROSTER,
                                     .roster = {.round = cohort->record.round,
                                                .n_members = cohort->record.n_roster,
                                                .tier = cohort->record.tier}});
}

static void reply_result(const struct stn_member *member, struct stn_emit *emit, stn_ticket ticket)
{
    struct stn_cohort *cohort = member->cohort;
    const struct stn_version_record *version =
        stn_task_version(cohort->task, cohort->record.result_version);
    if (version == NULL) {
        stn_emit_refused(emit, ticket, STN_LATE);
        return;
    }
    struct stn_msg msg = {.type = STN_MSG_RESULT,
                          .result = {.round = cohort->record.round,
                                     .version = version->version,
                                     .adapter = version->adapter,
                                     .n_included = version->totals.n_included,
                                     .included = member->record.state == STN_MEMBER_UPLOADED}};
    (void)stn_str_copy(msg.result.task, sizeof msg.result.task, cohort->record.task);
    stn_emit_reply(emit, ticket, &msg);
}

/* Of a member that is still in an open round whose roster stands. */
static bool tell_roster(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                        uint32_t stage)
{
    if (member->cohort->secure != NULL) {
        return stn_cohort_secure_tell(member, emit, ticket, stage);
    }
    if (stage == STN_STAGE_ADVERTISE && member->cohort->record.state == STN_ROUND_UPLOADING) {
        reply_roster(member->cohort, emit, ticket);
        return true;
    }
    return false; /* too late to upload: the result is the news */
}

bool stn_cohort_stage_tell(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                           uint32_t stage)
{
    const struct stn_round_record *round = &member->cohort->record;
    if (round->state == STN_ROUND_DONE) {
        reply_result(member, emit, ticket);
        return true;
    }
    if (round->state == STN_ROUND_VOID || member->record.state == STN_MEMBER_LOST) {
        stn_emit_voided(emit, ticket, &round->round,
                        round->state == STN_ROUND_VOID ? (enum stn_code)round->code : STN_AGAIN);
        return true;
    }
    return round->state != STN_ROUND_JOINING && tell_roster(member, emit, ticket, stage);
}

void stn_cohort_stage_tell_all(struct stn_cohort *cohort, struct stn_emit *emit)
{
    for (size_t i = 0; i < cohort->members.n; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        if (member->poll != 0 && stn_cohort_stage_tell(member, emit, member->poll, member->stage)) {
            stn_member_unpark(&member->poll, emit->tickets);
        }
    }
}

/* ---- from state to state ---- */

/* The tier of the highest ranks that n_min members in this state have trained, also when only this share of them is left. */
static uint32_t lowest_tier(const struct stn_cohort *cohort, enum stn_member_state state, double left)
{
    const struct stn_msg_round_config *config = &cohort->record.config;
    uint32_t n[STN_MSG_HALVINGS + 1] = {0}, n_sum = 0, tier = 0;
    for (size_t i = 0; i < cohort->members.n; i++) {
        const struct stn_member *member = cohort->members.entries[i].value;
        n[member->record.tier] += member->record.state == (uint32_t)state;
    }
    for (n_sum = n[0]; tier < config->n_halvings && left * n_sum < config->n_min; n_sum += n[tier]) {
        tier++;
    }
    return tier;
}

static void set_round(struct stn_cohort *cohort, struct stn_emit *emit, enum stn_round_state state,
                      uint64_t deadline_ms)
{
    cohort->record.state = state;
    cohort->record.deadline_ms = deadline_ms;
    stn_emit_save_round(emit, &cohort->record);
}

void stn_cohort_stage_upload(struct stn_cohort *cohort, struct stn_emit *emit, uint32_t n_roster,
                             uint64_t deadline_ms)
{
    cohort->record.n_roster = n_roster;
    cohort->record.tier =
        cohort->secure != NULL
            ? stn_cohort_secure_view(cohort).tier
            : lowest_tier(cohort, STN_MEMBER_ADVERTISED, 1 - cohort->task->record.spec.delta);
    set_round(cohort, emit, STN_ROUND_UPLOADING, deadline_ms);
    for (size_t i = 0; i < cohort->members.n; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        if (member->record.state == STN_MEMBER_JOINED) {
            stn_cohort_stage_lose(member, emit);
        }
    }
    stn_cohort_stage_trace(cohort, emit, "roster", NULL, STN_OK);
    stn_cohort_stage_tell_all(cohort, emit);
}

void stn_cohort_stage_fix(struct stn_cohort *cohort, struct stn_emit *emit, uint64_t deadline_ms)
{
    set_round(cohort, emit, STN_ROUND_MERGING, deadline_ms);
    for (size_t i = 0; i < cohort->members.n; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        if (member->record.state == STN_MEMBER_ADVERTISED) {
            member->checking = false;
            stn_emit_refused(emit, stn_member_take(&member->put_end, emit), STN_LATE);
        }
    }
}

void stn_cohort_stage_merge(const struct stn_cohort *cohort, struct stn_emit *emit)
{
    const struct stn_version_record *from = stn_task_version(cohort->task, cohort->record.version);
    assert(from != NULL); /* the released version stays until the round ends */
    stn_cohort_stage_trace(cohort, emit, "merging", NULL, STN_OK);
    struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_MERGE);
    effect->merge.round = cohort->record.round;
    effect->merge.config = cohort->record.config;
    effect->merge.from = *from;
    effect->merge.spec = cohort->task->record.spec;
    effect->merge.n_included = cohort->n[STN_MEMBER_UPLOADED];
    uint32_t tier = lowest_tier(cohort, STN_MEMBER_UPLOADED, 1);
    effect->merge.tier = tier > cohort->record.tier ? tier : cohort->record.tier;
}

void stn_cohort_stage_advance(struct stn_cohort *cohort, struct stn_emit *emit, bool is_over)
{
    const struct stn_msg_round_config *config = &cohort->record.config;
    uint32_t n_in = cohort->n[STN_MEMBER_ADVERTISED], n_up = cohort->n[STN_MEMBER_UPLOADED];
    if (cohort->record.state == STN_ROUND_JOINING) {
        if (n_in == config->n_max || (is_over && n_in >= config->n_min)) {
            stn_cohort_stage_upload(cohort, emit, n_in, emit->now_ms + config->upload_ms);
        } else if (is_over) {
            stn_cohort_stage_void(cohort, emit, STN_AGAIN);
        }
    } else if (cohort->record.state == STN_ROUND_UPLOADING) {
        if ((n_in == 0 || is_over) && n_up >= config->n_min) {
            stn_cohort_stage_fix(cohort, emit, UINT64_MAX);
            stn_cohort_stage_merge(cohort, emit);
        } else if (is_over || n_in + n_up < config->n_min) {
            stn_cohort_stage_void(cohort, emit, STN_AGAIN);
        }
    }
}

/* ---- the end ---- */

void stn_cohort_stage_close(const struct stn_cohort *cohort, struct stn_emit *emit)
{
    struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_CLOSE);
    effect->merge.round = cohort->record.round;
    effect->merge.config = cohort->record.config;
}

/* No check is waited for, no lease is held, and what secure aggregation needed goes at once. */
static void end(struct stn_cohort *cohort, struct stn_emit *emit)
{
    for (size_t i = 0; i < cohort->members.n; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        member->checking = false;
        stn_emit_refused(emit, stn_member_take(&member->put_end, emit), STN_LATE);
        stn_task_hold(cohort->task, member->record.lease, false);
    }
    stn_cohort_stage_tell_all(cohort, emit);
    stn_cohort_stage_close(cohort, emit);
    stn_cohort_secure_end(cohort, emit);
    if (cohort->task->open == cohort) {
        cohort->task->open = NULL;
    }
}

void stn_cohort_stage_done(struct stn_cohort *cohort, struct stn_emit *emit, uint64_t version)
{
    cohort->record.result_version = version;
    set_round(cohort, emit, STN_ROUND_DONE, emit->now_ms);
    stn_cohort_stage_trace(cohort, emit, "merged", NULL, STN_OK);
    end(cohort, emit);
}

void stn_cohort_stage_void(struct stn_cohort *cohort, struct stn_emit *emit, enum stn_code code)
{
    cohort->record.code = code;
    set_round(cohort, emit, STN_ROUND_VOID, emit->now_ms);
    stn_cohort_stage_trace(cohort, emit, "void", NULL, code);
    end(cohort, emit);
}
