#include "server/core/cohort_secure.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/core/cohort_stage.h"
#include "server/core/coordinator.h"
#include "server/core/quarantine.h"
#include "server/core/task.h"

struct kept { /* a record that waits for resume */
    struct stn_secagg_server_record record;
    uint8_t *bytes;
};

struct stn_cohort_secure {
    struct stn_secagg_server *server; /* NULL: not resumed yet */
    struct stn_secagg_server_effects effects;
    struct kept *kept;
    size_t n_kept, room;
};

/* What is being carried out: of whom, and who waits for it (0: nobody). */
struct turn {
    struct stn_cohort *cohort;
    struct stn_emit *emit;
    struct stn_member *member;
    stn_ticket ticket;
};

/* ---- life ---- */

static struct stn_cohort_secure *new_secure(struct stn_cohort *cohort)
{
    if (cohort->secure == NULL) {
        cohort->secure = stn_emit_need(stn_mem_new(1, sizeof *cohort->secure));
    }
    return cohort->secure;
}

static void free_kept(struct stn_cohort_secure *secure)
{
    for (size_t i = 0; i < secure->n_kept; i++) {
        stn_mem_free(secure->kept[i].bytes);
    }
    stn_mem_free(secure->kept);
    secure->kept = NULL;
    secure->n_kept = secure->room = 0;
}

void stn_cohort_secure_free(struct stn_cohort_secure *secure)
{
    if (secure == NULL) {
        return;
    }
    stn_secagg_server_free(secure->server);
    stn_secagg_server_effects_fini(&secure->effects);
    free_kept(secure);
    stn_mem_free(secure);
}

void stn_cohort_secure_end(struct stn_cohort *cohort, struct stn_emit *emit)
{
    if (cohort->secure != NULL) {
        struct stn_record record = {.type = STN_RECORD_SECAGG,
                                    .secagg = {.round = cohort->record.round}};
        stn_emit_forget(emit, &record);
        stn_cohort_secure_free(cohort->secure);
        cohort->secure = NULL;
    }
}

enum stn_code stn_cohort_secure_check(const struct stn_task_spec *spec)
{
    const struct stn_bound_params params = {
        .gamma = spec->gamma, .delta = spec->delta, .eta = spec->eta, .sigma = spec->sigma};
    struct stn_bound bound; /* a roster has so many in any case */
    uint32_t n = spec->n_min < STN_BOUND_MEMBERS_MIN ? STN_BOUND_MEMBERS_MIN : spec->n_min;
    enum stn_code code = stn_bound_for(n, &params, &bound, NULL);
    return code == STN_OK ? stn_bound_for(spec->target, &params, &bound, NULL) : code;
}

static enum stn_code make_server(struct stn_cohort *cohort, const struct stn_emit *emit)
{
    const struct stn_coordinator_config *from = emit->config;
    const struct stn_msg_round_config *round = &cohort->record.config;
    struct stn_secagg_server_config config = {.target = round->n_max,
                                              .coordinator = from->identity};
    struct stn_digest cfg;
    memcpy(config.directory, from->directory, sizeof config.directory);
    enum stn_code code = from->cfg(round, &cfg, NULL);
    code = code == STN_OK ? stn_terms_of(round, &cfg, &config.terms, NULL) : code;
    return code == STN_OK ? stn_secagg_server_new(&new_secure(cohort)->server, &config, NULL)
                          : code;
}

/* ---- effects ---- */

static void quarantine(const struct turn *turn, const struct stn_id *device)
{
    stn_quarantine_add(turn->emit,
                       &(struct stn_quarantine_record){.device = *device,
                                                       .round = turn->cohort->record.round,
                                                       .since_ms = turn->emit->now_ms});
    stn_cohort_stage_trace(turn->cohort, turn->emit, "quarantine", device, STN_CORRUPT);
}

/* Of members that lie, or of whom one does. */
static void say_lies(const struct turn *turn, const struct stn_secagg_server_effect *effect)
{
    if (effect->type == STN_SECAGG_SERVER_LIAR) {
        quarantine(turn, &effect->device);
    } else if (effect->type == STN_SECAGG_SERVER_DISPUTE) {
        stn_cohort_stage_trace(turn->cohort, turn->emit, "dispute", &effect->device, STN_CORRUPT);
        stn_cohort_stage_trace(turn->cohort, turn->emit, "dispute", &effect->dealer, STN_CORRUPT);
    }
}

/* A record of a member is what it did. */
static void save(const struct turn *turn, const struct stn_secagg_server_record *record)
{
    static const char *const did[] = {[STN_SECAGG_SERVER_ADVERT] = "advertise",
                                      [STN_SECAGG_SERVER_SHARED] = "share",
                                      [STN_SECAGG_SERVER_UPLOADED] = "uploaded",
                                      [STN_SECAGG_SERVER_ACKED] = "ack",
                                      [STN_SECAGG_SERVER_OPENED] = "unmask",
                                      [STN_SECAGG_SERVER_LEFT] = "leave"};
    struct stn_record *to = &stn_emit_new(turn->emit, STN_SERVER_SAVE)->record;
    to->type = STN_RECORD_SECAGG;
    to->secagg = (struct stn_secagg_record){.round = turn->cohort->record.round, .of = *record};
    if (record->kind == STN_SECAGG_SERVER_STAGE) {
        return;
    }
    assert(turn->member != NULL);
    bool is_gone = record->kind == STN_SECAGG_SERVER_ADVERT && record->size == STN_SECAGG_SERVER_SIZE_GONE;
    if (record->kind == STN_SECAGG_SERVER_ADVERT && !is_gone) {
        stn_cohort_stage_move(turn->member, turn->emit, STN_MEMBER_ADVERTISED);
    } else if (record->kind == STN_SECAGG_SERVER_UPLOADED) {
        stn_cohort_stage_move(turn->member, turn->emit, STN_MEMBER_UPLOADED);
    }
    stn_cohort_stage_trace(turn->cohort, turn->emit,
                           did[is_gone ? STN_SECAGG_SERVER_LEFT : record->kind], &turn->member->record.device, STN_OK);
}

static void count(const struct turn *turn, const struct stn_id *device)
{
    const struct stn_member *member = stn_cohort_member(turn->cohort, device);
    if (member != NULL) { /* both records are of one transaction */
        stn_emit_new(turn->emit, STN_SERVER_ADD)->upload = stn_member_upload(member);
    }
}

static void say_news(const struct turn *turn, enum stn_stage stage)
{
    static const char *const begun[] = {[STN_STAGE_UPLOAD] = "shared",
                                        [STN_STAGE_ACK] = "survivors",
                                        [STN_STAGE_UNMASK] = "acked",
                                        [STN_STAGE_DONE] = "unmasking"};
    struct stn_cohort *cohort = turn->cohort;
    uint64_t deadline_ms = cohort->record.deadline_ms;
    if (stage == STN_STAGE_SHARE) {
        stn_cohort_stage_upload(cohort, turn->emit, stn_cohort_secure_view(cohort).n_roster,
                                deadline_ms);
        return;
    }
    for (size_t i = 0; i < cohort->members.n && stage == STN_STAGE_UPLOAD; i++) {
        struct stn_member *member = cohort->members.entries[i].value;
        if (member->record.state == STN_MEMBER_ADVERTISED && !stn_cohort_secure_may_put(member)) {
            stn_cohort_stage_lose(member, turn->emit); /* it has not shared in time */
        }
    }
    if (stage == STN_STAGE_ACK) {
        stn_cohort_stage_fix(cohort, turn->emit, deadline_ms);
    }
    stn_cohort_stage_trace(cohort, turn->emit, begun[stage], NULL, STN_OK);
    stn_cohort_stage_tell_all(cohort, turn->emit);
}

static void unmask(const struct turn *turn, const struct stn_secagg_server_effect *from)
{
    struct stn_server_effect *effect = stn_emit_new(turn->emit, STN_SERVER_UNMASK);
    effect->unmask.round = turn->cohort->record.round;
    effect->unmask.masks = from->masks.items;
    effect->unmask.n = from->masks.n;
    effect->unmask.is_first = from->masks.is_first;
}

static void answer(const struct turn *turn, enum stn_code code)
{
    if (code == STN_OK) {
        stn_emit_ok(turn->emit, turn->ticket);
    } else {
        stn_emit_refused(turn->emit, turn->ticket, code);
    }
}

static void carry_out_one(const struct turn *turn, const struct stn_secagg_server_effect *effect)
{
    switch (effect->type) {
    case STN_SECAGG_SERVER_SAVE:
        save(turn, &effect->record);
        break;
    case STN_SECAGG_SERVER_ANSWER:
        answer(turn, effect->code);
        break;
    case STN_SECAGG_SERVER_COUNT:
        count(turn, &effect->device);
        break;
    case STN_SECAGG_SERVER_NEWS:
        say_news(turn, effect->stage);
        break;
    case STN_SECAGG_SERVER_MASK:
        unmask(turn, effect);
        break;
    case STN_SECAGG_SERVER_CLEAR:
        stn_cohort_stage_merge(turn->cohort, turn->emit);
        break;
    case STN_SECAGG_SERVER_DISPUTE:
    case STN_SECAGG_SERVER_LIAR:
        say_lies(turn, effect);
        break;
    case STN_SECAGG_SERVER_WAKE:
    case STN_SECAGG_SERVER_VOID:
        break; /* carried out first */
    }
}

/* Of a round that is void nothing is kept and nobody is told anything else. */
static void make_void(const struct turn *turn, enum stn_code code)
{
    const struct stn_cohort_secure *secure = turn->cohort->secure;
    for (size_t i = 0; i < secure->effects.n; i++) {
        say_lies(turn, &secure->effects.items[i]);
    }
    stn_emit_voided(turn->emit, turn->ticket, &turn->cohort->record.round, code);
    stn_cohort_stage_void(turn->cohort, turn->emit, code);
}

static void step(const struct turn *turn, struct stn_secagg_server_event event)
{
    struct stn_cohort_secure *secure = turn->cohort->secure;
    struct stn_secagg_server_effects *effects = &secure->effects;
    event.now_ms = turn->emit->now_ms;
    stn_secagg_server_step(secure->server, &event, effects);
    for (size_t i = 0; i < effects->n; i++) {
        const struct stn_secagg_server_effect *effect = &effects->items[i];
        bool is_other = effect->type == STN_SECAGG_SERVER_CLEAR &&
                        effect->n != turn->cohort->n[STN_MEMBER_UPLOADED];
        if (effect->type == STN_SECAGG_SERVER_VOID || is_other) { /* other: records do not fit */
            make_void(turn, is_other ? STN_CORRUPT : effect->code);
            return;
        }
        if (effect->type == STN_SECAGG_SERVER_WAKE) {
            turn->cohort->record.deadline_ms = effect->at_ms;
        }
    }
    for (size_t i = 0; i < effects->n; i++) {
        carry_out_one(turn, &effects->items[i]);
    }
}

/* ---- from the beginning, or from the disk ---- */

void stn_cohort_secure_open(struct stn_cohort *cohort, struct stn_emit *emit)
{
    struct turn turn = {.cohort = cohort, .emit = emit};
    enum stn_code code = make_server(cohort, emit);
    assert(code == STN_OK); /* the task was checked for it */
    step(&turn, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_OPEN});
}

void stn_cohort_secure_restore(struct stn_cohort *cohort,
                               const struct stn_secagg_server_record *record)
{
    struct stn_cohort_secure *secure = new_secure(cohort);
    if (secure->n_kept == secure->room) {
        size_t room = secure->room == 0 ? 64 : secure->room * 2;
        secure->kept = stn_emit_need(stn_mem_grow(secure->kept, room, sizeof *secure->kept));
        secure->room = room;
    }
    struct kept *kept = &secure->kept[secure->n_kept++];
    kept->bytes = stn_emit_need(stn_mem_copy(record->data, record->size));
    kept->record = *record;
    kept->record.data = kept->bytes;
}

static int by_kind_and_index(const void *a, const void *b)
{
    const struct stn_secagg_server_record *x = &((const struct kept *)a)->record;
    const struct stn_secagg_server_record *y = &((const struct kept *)b)->record;
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
                              : (x->index > y->index) - (x->index < y->index);
}

void stn_cohort_secure_resume(struct stn_cohort *cohort, struct stn_emit *emit)
{
    struct turn turn = {.cohort = cohort, .emit = emit};
    struct stn_cohort_secure *secure = new_secure(cohort);
    if (make_server(cohort, emit) != STN_OK) {
        stn_cohort_stage_void(cohort, emit, STN_CORRUPT);
        return;
    }
    if (secure->n_kept > 0) {
        qsort(secure->kept, secure->n_kept, sizeof *secure->kept, by_kind_and_index);
    }
    for (size_t i = 0; i < secure->n_kept; i++) {
        struct stn_secagg_server_event event = {.type = STN_SECAGG_SERVER_RESTORE,
                                                .record = secure->kept[i].record};
        stn_secagg_server_step(secure->server, &event, &secure->effects);
    }
    free_kept(secure);
    if (stn_cohort_secure_view(cohort).is_void) { /* they do not fit each other */
        stn_cohort_stage_void(cohort, emit, STN_CORRUPT);
        return;
    }
    step(&turn, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_RESUME});
}

/* ---- what happens ---- */

void stn_cohort_secure_say(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                    const struct stn_msg *msg)
{
    struct turn turn = {member->cohort, emit, member, ticket};
    step(&turn, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_REQUEST,
                                                 .device = member->record.device,
                                                 .msg = msg});
}

void stn_cohort_secure_upload(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket)
{
    struct turn turn = {member->cohort, emit, member, ticket};
    struct stn_msg_put_end put_end = {.round = member->record.round,
                                      .digest = member->record.upload};
    memcpy(put_end.signature, member->signature, sizeof put_end.signature);
    step(&turn, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_UPLOAD,
                                                 .device = member->record.device,
                                                 .upload = &put_end});
}

void stn_cohort_secure_time(struct stn_cohort *cohort, struct stn_emit *emit)
{
    struct turn turn = {.cohort = cohort, .emit = emit};
    step(&turn, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_TIME});
}

void stn_cohort_secure_unmasked(struct stn_cohort *cohort, struct stn_emit *emit)
{
    struct turn turn = {.cohort = cohort, .emit = emit};
    step(&turn, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_MASKED});
}

/* ---- questions ---- */

bool stn_cohort_secure_may_put(const struct stn_member *member)
{
    return stn_secagg_server_may_put(member->cohort->secure->server, &member->record.device);
}

bool stn_cohort_secure_tell(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                     uint32_t stage)
{
    enum stn_code code = stn_secagg_server_answer_code(member->cohort->secure->server,
                                                      &member->record.device, stage);
    if (code != STN_OK) {
        return false; /* too late for this stage: the result is the news */
    }
    if (ticket != 0) {
        struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_TELL);
        effect->ticket = ticket;
        effect->tell = (struct stn_server_tell){
            .round = member->record.round, .device = member->record.device, .stage = stage};
    }
    return true;
}

enum stn_code stn_cohort_secure_message(const struct stn_member *member, uint32_t stage,
                                 struct stn_msg *ret)
{
    struct stn_cohort_secure *secure = member->cohort->secure;
    return secure == NULL ? STN_LATE
                          : stn_secagg_server_answer(secure->server, &member->record.device,
                                                     (enum stn_stage)stage, ret);
}

struct stn_secagg_server_view stn_cohort_secure_view(const struct stn_cohort *cohort)
{
    return stn_secagg_server_view(cohort->secure->server);
}
