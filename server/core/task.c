#include "server/core/task.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "server/core/cohort.h"
#include "server/core/coordinator.h"
#include "server/core/cohort_secure.h"

#define LONGEST_MS ((uint64_t)366 * 24 * 3600 * 1000) /* of any window */
#define TARGET_MOST (1u << 20)
#define OVER_SELECT_MOST 100.0
#define STALENESS_MOST (STN_MSG_BASES - 1)
#define WAIT_MOST_MS 600000.0 /* until a device without a lease looks again */

/* ---- what a spec may say ---- */

static bool is_window(uint64_t ms)
{
    return ms > 0 && ms <= LONGEST_MS;
}

static bool is_rate(double rate, double most)
{
    return rate >= 0 && rate <= most; /* and so no NaN */
}

static bool is_blob(const struct stn_blob_ref *blob)
{
    return blob->size > 0 && blob->size <= (uint64_t)STN_MSG_LEAVES * STN_MSG_CHUNK;
}

static bool can_train(const struct stn_train_spec *train)
{
    return train->rank > 0 && isfinite(train->alpha) && train->targets != 0 && train->ctx > 0 &&
           train->batch_tokens > 0 && (train->local_steps > 0 || train->local_epochs > 0) &&
           is_rate(train->lr, 1e6) && is_rate(train->warmup, 1) && is_rate(train->clip, 1e9) &&
           is_rate(train->weight_decay, 1e6) && is_rate(train->fedprox, 1e9) &&
           train->schedule <= STN_TRAIN_COSINE && train->n_halvings <= STN_MSG_HALVINGS &&
           train->rank >> train->n_halvings > 0;
}

static bool can_gather(const struct stn_task_spec *spec)
{
    return spec->n_min > 0 && spec->target >= spec->n_min && spec->target <= TARGET_MOST &&
           spec->over_select >= 1 && spec->over_select <= OVER_SELECT_MOST &&
           is_window(spec->join_window_ms) && is_window(spec->report_deadline_ms) &&
           is_window(spec->upload_ms) && spec->staleness <= STALENESS_MOST &&
           is_rate(spec->discount, 100);
}

static bool can_step(const struct stn_outer_spec *outer)
{
    return outer->kind < STN_OUTER_KINDS && is_rate(outer->rate, 1e6) && is_rate(outer->momentum, 1) &&
           is_rate(outer->beta1, 1) && is_rate(outer->beta2, 1) && is_rate(outer->eps, 1e6) &&
           (outer->eps > 0 || outer->kind < STN_OUTER_ADAM);
}

static bool can_merge(const struct stn_task_spec *spec)
{
    bool is_width = spec->bits == 16 || spec->bits == 24 || spec->bits == 32;
    return is_width && spec->target < (1ull << (spec->bits - 1)) && spec->n_values > 0 &&
           spec->n_values <= STN_MSG_VALUES && can_step(&spec->outer) &&
           spec->lora <= STN_LORA_ALTERNATE &&
           (spec->lora == STN_LORA_BOTH || (spec->n_values_b > 0 && spec->n_values_b < spec->n_values)) &&
           spec->clip_norm > 0 && isfinite(spec->clip_norm) && is_rate(spec->clip_quantile, 1) &&
           spec->weight_max > 0;
}

static enum stn_code can_hide(const struct stn_task_spec *spec)
{
    if (!spec->secure) {
        return STN_OK;
    }
    bool is_timed =
        is_window(spec->share_ms) && is_window(spec->ack_ms) && is_window(spec->unmask_ms);
    return is_timed ? stn_cohort_secure_check(spec) : STN_INVALID;
}

enum stn_code stn_task_check(const struct stn_task_spec *spec, const struct stn_blob_ref *adapter)
{
    bool is_named =
        memchr(spec->name, 0, sizeof spec->name) != NULL && stn_msg_is_task_name(spec->name);
    if (!is_named || !can_train(&spec->train) || !can_gather(spec) || !can_merge(spec) ||
        !is_blob(&spec->base) || !is_blob(adapter)) {
        return STN_INVALID;
    }
    return can_hide(spec);
}

enum stn_factor stn_task_factor(const struct stn_task_spec *spec, uint64_t version)
{
    static const enum stn_factor factors[][2] = {
        [STN_LORA_BOTH] = {STN_FACTOR_BOTH, STN_FACTOR_BOTH},
        [STN_LORA_FFA] = {STN_FACTOR_B, STN_FACTOR_B},
        [STN_LORA_ALTERNATE] = {STN_FACTOR_B, STN_FACTOR_A}, /* A has no gradient while B is zero */
    };
    return factors[spec->lora][version % 2];
}

uint64_t stn_task_n_values(const struct stn_task_spec *spec, enum stn_factor factor)
{
    return factor == STN_FACTOR_BOTH ? spec->n_values
           : factor == STN_FACTOR_B  ? spec->n_values_b
                                     : spec->n_values - spec->n_values_b;
}

/* ---- life ---- */

#define VERSION_OF(at) STN_LIST_OF(at, struct stn_version, link)
#define COHORT_OF(at) STN_LIST_OF(at, struct stn_cohort, link)

struct stn_task *stn_task_new(const struct stn_task_record *record)
{
    struct stn_task *task = stn_emit_need(stn_mem_new(1, sizeof *task));
    task->record = *record;
    stn_list_init(&task->versions);
    stn_list_init(&task->cohorts);
    stn_lease_book_init(&task->leases);
    return task;
}

void stn_task_free(struct stn_task *task)
{
    if (task == NULL) {
        return;
    }
    struct stn_map no_tickets = {0};
    while (!stn_list_is_empty(&task->cohorts)) {
        stn_cohort_free(COHORT_OF(task->cohorts.next), &no_tickets);
    }
    for (struct stn_list *link; (link = stn_list_pop(&task->versions)) != NULL;) {
        stn_mem_free(VERSION_OF(link));
    }
    stn_lease_book_fini(&task->leases);
    stn_mem_free(task);
}

void stn_task_add_version(struct stn_task *task, const struct stn_version_record *record)
{
    if (stn_task_version(task, record->version) != NULL) {
        return;
    }
    struct stn_version *version = stn_emit_need(stn_mem_new(1, sizeof *version));
    version->record = *record;
    struct stn_list *before = task->versions.prev;
    while (before != &task->versions && VERSION_OF(before)->record.version > record->version) {
        before = before->prev;
    }
    stn_list_add(before->next, &version->link);
    uint64_t n_kept = STN_TASK_HISTORY + task->record.spec.staleness + 1;
    while (VERSION_OF(task->versions.next)->record.version + n_kept <
           VERSION_OF(task->versions.prev)->record.version) {
        stn_mem_free(VERSION_OF(stn_list_pop(&task->versions)));
    }
}

const struct stn_version_record *stn_task_version(const struct stn_task *task, uint64_t version)
{
    for (struct stn_list *link = task->versions.prev; link != &task->versions; link = link->prev) {
        if (VERSION_OF(link)->record.version == version) {
            return &VERSION_OF(link)->record;
        }
    }
    return NULL;
}

const struct stn_version_record *stn_task_released(const struct stn_task *task)
{
    return stn_task_version(task, task->record.version);
}

static uint64_t oldest_accepted(const struct stn_task *task)
{
    uint64_t staleness = task->record.spec.staleness;
    return task->record.version > staleness ? task->record.version - staleness : 0;
}

void stn_task_release(struct stn_task *task, struct stn_emit *emit,
                      const struct stn_version_record *record, double clip_norm)
{
    const struct stn_version_record *before = stn_task_released(task);
    if (before != NULL && emit->now_ms > before->created_ms) {
        double ms = (double)(emit->now_ms - before->created_ms);
        task->period_ms = task->period_ms > 0 ? 0.75 * task->period_ms + 0.25 * ms : ms;
    }
    task->record.version = record->version;
    if (isfinite(clip_norm) && clip_norm > 0) {
        task->record.clip_norm = clip_norm;
    }
    uint64_t n_rounds = task->record.spec.n_rounds;
    bool is_last = n_rounds != 0 && record->version >= n_rounds;
    if (is_last) {
        task->record.state = STN_TASK_FINISHED;
    }
    stn_emit_save_version(emit, record);
    stn_emit_save_task(emit, &task->record);
    stn_task_add_version(task, record);
    stn_lease_forget_before(&task->leases, is_last ? UINT64_MAX : oldest_accepted(task), emit);
    task->n_live = stn_lease_count(&task->leases, task->record.version);
    stn_emit_trace(emit, is_last ? "finished" : "released", task->record.spec.name, NULL,
                   record->version, STN_OK);
}

/* ---- leases ---- */

static uint32_t n_wanted(const struct stn_task *task)
{
    return (uint32_t)ceil(task->record.spec.target * task->record.spec.over_select);
}

static void reply_lease(const struct stn_task *task, struct stn_emit *emit, stn_ticket ticket,
                        const struct stn_lease_record *lease)
{
    const struct stn_task_spec *spec = &task->record.spec;
    struct stn_msg msg = {.type = STN_MSG_LEASE,
                          .lease = {.lease = lease->lease,
                                    .version = lease->version,
                                    .base = spec->base,
                                    .adapter = stn_task_released(task)->adapter,
                                    .train = spec->train,
                                    .n_min = spec->n_min,
                                    .secure = spec->secure,
                                    .seed = spec->seed,
                                    .expires_after_ms = lease->expires_ms - emit->now_ms}};
    msg.lease.train.factor = stn_task_factor(spec, lease->version);
    (void)stn_str_copy(msg.lease.task, sizeof msg.lease.task, spec->name);
    stn_emit_reply(emit, ticket, &msg);
}

/* A lease that was just given could not be used: the round is past joining, and its end makes a new
 * version; or the device's delta of this version is in that round already. */
static bool is_shut(const struct stn_task *task, const struct stn_id *device)
{
    if (task->open == NULL || task->open->record.state == STN_ROUND_JOINING) {
        return false;
    }
    const struct stn_member *member = stn_cohort_member(task->open, device);
    return task->record.spec.staleness == 0 ||
           (member != NULL && member->record.state == STN_MEMBER_UPLOADED);
}

bool stn_task_lease(struct stn_task *task, struct stn_emit *emit, stn_ticket ticket,
                    const struct stn_id *device, uint32_t n_min_floor)
{
    const struct stn_task_spec *spec = &task->record.spec;
    if (task->record.state != STN_TASK_RUNNING || spec->n_min < n_min_floor ||
        is_shut(task, device)) {
        return false;
    }
    uint64_t version = task->record.version;
    struct stn_lease *lease = stn_lease_of(&task->leases, device, version, emit->now_ms);
    if (lease != NULL) { /* the device asks again, or lost what it knew */
        reply_lease(task, emit, ticket, &lease->record);
        return true;
    }
    task->n_live -= stn_lease_expire(&task->leases, version, emit);
    if (task->n_live >= n_wanted(task)) {
        return false;
    }
    struct stn_lease_record record = {.lease = ++task->record.n_leases,
                                      .device = *device,
                                      .version = version,
                                      .given_ms = emit->now_ms,
                                      .expires_ms = emit->now_ms + spec->report_deadline_ms};
    (void)stn_str_copy(record.task, sizeof record.task, spec->name);
    (void)stn_lease_add(&task->leases, &record);
    task->n_live++;
    stn_emit_save_task(emit, &task->record);
    stn_emit_save_lease(emit, &record);
    stn_emit_trace(emit, "lease", spec->name, device, record.lease, STN_OK);
    reply_lease(task, emit, ticket, &record);
    return true;
}

bool stn_task_demand(const struct stn_task *task, uint64_t now_ms, struct stn_select_demand *ret)
{
    const struct stn_version_record *released = stn_task_released(task);
    if (task->record.state != STN_TASK_RUNNING || released == NULL) {
        return false;
    }
    double period_ms =
        task->period_ms > 0 ? task->period_ms : (double)task->record.spec.report_deadline_ms / 4;
    double due_ms = (double)released->created_ms + period_ms - (double)now_ms;
    if (due_ms < period_ms / 8) {
        due_ms = period_ms / 8; /* it is overdue, or all but */
    }
    if (task->open != NULL && task->open->record.state != STN_ROUND_JOINING) { /* it ends then, if not before */
        due_ms = fmin(due_ms, fmax(0, (double)task->open->record.deadline_ms - (double)now_ms));
    }
    double n = n_wanted(task);
    *ret = (struct stn_select_demand){.at_ms = now_ms + (uint64_t)fmin(due_ms, WAIT_MOST_MS),
                                      .n = n,
                                      .per_s = 1000 * n / fmax(period_ms, 1000)};
    return true;
}

void stn_task_spend(struct stn_task *task, struct stn_emit *emit, uint64_t number)
{
    struct stn_lease *lease = stn_lease_get(&task->leases, number);
    if (lease == NULL || lease->record.spent) {
        return;
    }
    lease->record.spent = true;
    task->n_live -= lease->record.version == task->record.version;
    stn_emit_save_lease(emit, &lease->record);
}

void stn_task_hold(struct stn_task *task, uint64_t number, bool held)
{
    struct stn_lease *lease = stn_lease_get(&task->leases, number);
    if (lease != NULL) {
        lease->held = held;
    }
}

/* ---- joining ---- */

/* How long a finished delta waits for the open round to end: it may be void, or of an accepted
 * version. */
static uint64_t until_open_ends_ms(const struct stn_task *task, struct stn_rng *rng,
                                   uint64_t now_ms)
{
    uint64_t step_ms = task->record.spec.upload_ms / 8 + 100;
    uint64_t deadline_ms = task->open->record.deadline_ms;
    if (deadline_ms != UINT64_MAX && deadline_ms > now_ms && deadline_ms - now_ms < step_ms) {
        step_ms = deadline_ms - now_ms;
    }
    step_ms = step_ms < 10000 ? step_ms : 10000;
    return step_ms + stn_rng_below(rng, step_ms / 2 + 1);
}

/* Drawn from a generator of its own: how often devices have asked for something meanwhile changes
 * no round. */
static struct stn_cohort *open_round(struct stn_task *task, struct stn_emit *emit)
{
    union { /* ids must not repeat after a restart, whatever the seed: the number of the round is in
               them */
        uint64_t words[4];
        uint8_t bytes[32];
    } seed, id;
    struct stn_round_id round;
    struct stn_rng rng;
    stn_rng_fork(&rng, emit->config->seed, task->record.spec.name, task->n_rounds);
    for (size_t i = 0; i < 4; i++) {
        seed.words[i] = stn_rng_u64(&rng);
        id.words[i] = stn_rng_u64(&rng);
    }
    id.words[0] = stn_rng_mix(stn_map_hash(task->record.spec.name, strlen(task->record.spec.name)) ^
                              id.words[2]) ^
                  task->n_rounds;
    memcpy(round.bytes, id.bytes, sizeof round.bytes);
    return stn_cohort_open(task, emit, &round, seed.bytes);
}

static void forget_old_rounds(struct stn_task *task, struct stn_emit *emit)
{
    while (task->n_cohorts > STN_TASK_HISTORY && COHORT_OF(task->cohorts.next) != task->open) {
        struct stn_cohort *cohort = COHORT_OF(task->cohorts.next);
        stn_cohort_forget(cohort, emit);
        (void)stn_map_remove(emit->rounds, &cohort->record.round, sizeof cohort->record.round);
        stn_cohort_free(cohort, emit->tickets);
        task->n_cohorts--;
    }
}

/* Whether the lease's delta may go into a round now; STN_AGAIN: perhaps later. */
static enum stn_code may_join(const struct stn_task *task, const struct stn_emit *emit,
                              const struct stn_lease *lease, const struct stn_id *device,
                              const struct stn_msg_join *join)
{
    if (lease == NULL) {
        return join->lease <= task->record.n_leases ? STN_LATE : STN_DENIED;
    }
    if (memcmp(&lease->record.device, device, sizeof *device) != 0) {
        return STN_DENIED;
    }
    const struct stn_task_spec *spec = &task->record.spec;
    if (join->version != lease->record.version || join->n_samples == 0 ||
        join->tier > spec->train.n_halvings) {
        return STN_INVALID;
    }
    bool is_over = task->record.state == STN_TASK_FINISHED ||
                   lease->record.version < oldest_accepted(task) ||
                   (lease->record.expires_ms <= emit->now_ms && !lease->held);
    if (is_over || lease->record.spent) {
        return STN_LATE;
    }
    if (task->record.state == STN_TASK_PAUSED && task->open == NULL) {
        return STN_AGAIN;
    }
    /* a round is of one factor: the other's may still be of an accepted version when its turn comes */
    bool is_other = stn_task_factor(spec, lease->record.version) !=
                    stn_task_factor(spec, task->record.version);
    return is_other ? STN_AGAIN : STN_OK;
}

void stn_task_join(struct stn_task *task, struct stn_emit *emit, struct stn_rng *rng,
                   stn_ticket ticket, const struct stn_id *device, const struct stn_msg_join *join)
{
    struct stn_lease *lease = stn_lease_get(&task->leases, join->lease);
    enum stn_code code = may_join(task, emit, lease, device, join);
    if (code == STN_AGAIN) {
        stn_emit_come_back(emit, ticket, 10000 + stn_rng_below(rng, 10000));
        return;
    }
    struct stn_member *member = task->open == NULL ? NULL : stn_cohort_member(task->open, device);
    bool is_again = member != NULL && member->record.lease == join->lease;
    bool is_spent_here = is_again && lease != NULL && lease->record.spent;
    if (code != STN_OK && !(is_spent_here && code == STN_LATE)) {
        stn_emit_refused(emit, ticket, code);
    } else if (is_again) {
        stn_cohort_join_again(member, emit, ticket);
    } else if (task->open != NULL &&
               (member != NULL || task->open->record.state != STN_ROUND_JOINING)) {
        stn_emit_come_back(emit, ticket, until_open_ends_ms(task, rng, emit->now_ms));
    } else {
        if (task->open == NULL) {
            (void)open_round(task, emit);
            forget_old_rounds(task, emit);
        }
        stn_cohort_join(task->open, emit, ticket, &lease->record, join);
    }
}

/* ---- time ---- */

void stn_task_time(struct stn_task *task, struct stn_emit *emit)
{
    if (task->open != NULL) {
        stn_cohort_time(task->open, emit);
    }
    task->n_live -= stn_lease_expire(&task->leases, task->record.version, emit);
}

uint64_t stn_task_next_ms(const struct stn_task *task)
{
    uint64_t lease_ms = stn_lease_next_ms(&task->leases);
    uint64_t round_ms = task->open == NULL ? UINT64_MAX : task->open->record.deadline_ms;
    return round_ms < lease_ms ? round_ms : lease_ms;
}
