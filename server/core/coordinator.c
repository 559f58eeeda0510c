#include "server/core/coordinator.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "crypto/entropy.h"
#include "server/core/cohort.h"
#include "server/core/cohort_secure.h"
#include "server/core/coordinator_state.h"
#include "server/core/quarantine.h"
#include "server/core/task.h"

#define TASKS_MOST 1024
#define IDLE_MS 30000 /* a device with nothing to do looks again */
#define IDLE_PER_S                                                                                 \
    20 /* and at most so many of them a second, as long as the book of appointments reaches */

enum stn_code stn_coordinator_new(struct stn_coordinator **ret,
                                  const struct stn_coordinator_config *config,
                                  struct stn_err *err)
{
    struct stn_coordinator *coordinator = stn_mem_new(1, sizeof *coordinator);
    if (coordinator == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a coordinator");
    }
    coordinator->config = *config;
    stn_rng_fork(&coordinator->rng, config->seed, "coordinator", 0);
    coordinator->wake_ms = UINT64_MAX;
    *ret = coordinator;
    return STN_OK;
}

void stn_coordinator_free(struct stn_coordinator *coordinator)
{
    if (coordinator == NULL) {
        return;
    }
    for (size_t i = 0; i < coordinator->tasks.n; i++) {
        stn_task_free(coordinator->tasks.entries[i].value);
    }
    stn_map_fini(&coordinator->tasks);
    stn_map_fini(&coordinator->rounds);
    stn_map_fini(&coordinator->tickets);
    stn_quarantine_fini(&coordinator->quarantine);
    stn_coordinator_restore_fini(coordinator);
    stn_entropy_wipe(&coordinator->config, sizeof coordinator->config);
    stn_mem_free(coordinator);
}

struct stn_task *stn_coordinator_task(const struct stn_coordinator *coordinator, const char *name)
{
    return stn_map_get(&coordinator->tasks, name, strlen(name));
}

struct stn_cohort *stn_coordinator_round(const struct stn_coordinator *coordinator,
                                         const struct stn_round_id *round)
{
    return stn_map_get(&coordinator->rounds, round, sizeof *round);
}

static struct stn_member *member_of(const struct stn_coordinator *coordinator,
                                    const struct stn_round_id *round, const struct stn_id *device)
{
    struct stn_cohort *cohort = stn_coordinator_round(coordinator, round);
    return cohort == NULL ? NULL : stn_cohort_member(cohort, device);
}

/* ---- the start ---- */

static void start(struct stn_coordinator *coordinator, struct stn_emit *emit)
{
    stn_coordinator_restore_end(coordinator, emit);
    for (size_t i = 0; i < coordinator->tasks.n; i++) {
        struct stn_task *task = coordinator->tasks.entries[i].value;
        task->n_live = stn_lease_count(&task->leases, task->record.version);
        for (struct stn_list *link = task->cohorts.next, *next; link != &task->cohorts;
             link = next) {
            next = link->next;
            stn_cohort_resume(STN_LIST_OF(link, struct stn_cohort, link), emit);
        }
    }
    coordinator->is_started = true;
    stn_emit_trace(emit, "start", "", NULL, coordinator->tasks.n, STN_OK);
}

/* ---- the operator ---- */

static void create_task(struct stn_coordinator *coordinator, struct stn_emit *emit,
                        const struct stn_server_event *event)
{
    const struct stn_task_spec *spec = &event->create.spec;
    enum stn_code code = stn_task_check(spec, &event->create.adapter);
    const struct stn_task *old =
        code == STN_OK ? stn_coordinator_task(coordinator, spec->name) : NULL;
    if (old != NULL && memcmp(&old->record.spec.digest, &spec->digest, sizeof spec->digest) != 0) {
        code = STN_EXISTS;
    } else if (code == STN_OK && old == NULL && coordinator->tasks.n == TASKS_MOST) {
        code = STN_LIMIT;
    }
    if (code == STN_OK && old == NULL) {
        struct stn_task_record record = {
            .spec = *spec, .clip_norm = spec->clip_norm, .created_ms = emit->now_ms};
        struct stn_version_record version = {.adapter = event->create.adapter,
                                             .created_ms = emit->now_ms};
        (void)stn_str_copy(version.task, sizeof version.task, spec->name);
        struct stn_task *task = stn_task_new(&record);
        stn_emit_set(&coordinator->tasks, spec->name, strlen(spec->name), task);
        stn_task_add_version(task, &version);
        stn_emit_save_task(emit, &record);
        stn_emit_save_version(emit, &version);
        stn_emit_trace(emit, "task", spec->name, NULL, 0, STN_OK);
    }
    stn_emit_answer(emit, event->ticket, code);
}

static void pause_task(struct stn_coordinator *coordinator, struct stn_emit *emit,
                       const struct stn_server_event *event, enum stn_task_state state)
{
    struct stn_task *task = stn_coordinator_task(coordinator, event->task);
    enum stn_code code = task == NULL                              ? STN_NOT_FOUND
                         : task->record.state == STN_TASK_FINISHED ? STN_LATE
                                                                   : STN_OK;
    if (code == STN_OK && task->record.state != state) {
        task->record.state = state;
        stn_emit_save_task(emit, &task->record);
        stn_emit_trace(emit, state == STN_TASK_PAUSED ? "pause" : "go on", event->task, NULL, 0,
                       STN_OK);
    }
    stn_emit_answer(emit, event->ticket, code);
}

/* ---- devices ---- */

/* Consents that could be read: a decoder has checked them already. */
static bool is_check_in(const struct stn_msg_check_in *check_in)
{
    bool is_sound = check_in->n_consents <= STN_MSG_TASKS;
    for (uint32_t i = 0; is_sound && i < check_in->n_consents; i++) {
        const char *task = check_in->consents[i].task;
        is_sound = memchr(task, 0, STN_MSG_NAME) != NULL;
    }
    return is_sound;
}

static const struct stn_consent *consent_to(const struct stn_msg_check_in *check_in,
                                            const char *task)
{
    for (uint32_t i = 0; i < check_in->n_consents; i++) {
        if (strcmp(check_in->consents[i].task, task) == 0 && check_in->consents[i].n_examples > 0) {
            return &check_in->consents[i];
        }
    }
    return NULL;
}

/* What a device that has nothing to train may still put in place. */
static void add_release(const struct stn_coordinator *coordinator,
                        const struct stn_msg_check_in *check_in,
                        struct stn_msg_come_back *come_back)
{
    for (uint32_t i = 0; i < check_in->n_consents && !come_back->has_release; i++) {
        const struct stn_consent *consent = &check_in->consents[i];
        const struct stn_task *task = stn_coordinator_task(coordinator, consent->task);
        const struct stn_version_record *version = task == NULL ? NULL : stn_task_released(task);
        if (version != NULL && version->version > consent->version) {
            come_back->has_release = true;
            come_back->release =
                (struct stn_release){.version = version->version, .adapter = version->adapter};
            (void)stn_str_copy(come_back->release.task, sizeof come_back->release.task,
                               consent->task);
        }
    }
}

/* Where a device is needed most, as an index: the task whose lease it has already; then the one
 * that lacks the fewest devices for a round that has begun to gather (so that two tasks never
 * starve each other in a small fleet); then whose turn it is. */
static size_t first_task(const struct stn_coordinator *coordinator, const struct stn_emit *emit,
                         const struct stn_id *device, const struct stn_msg_check_in *check_in)
{
    size_t n = coordinator->tasks.n, best = coordinator->next_task % n;
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t at = (coordinator->next_task + i) % n;
        const struct stn_task *task = coordinator->tasks.entries[at].value;
        uint32_t n_min = task->record.spec.n_min;
        if (task->record.state != STN_TASK_RUNNING ||
            consent_to(check_in, task->record.spec.name) == NULL) {
            continue;
        }
        if (stn_lease_of(&task->leases, device, task->record.version, emit->now_ms) != NULL) {
            return at;
        }
        if (task->n_live > 0 && task->n_live < n_min && n_min - task->n_live < least) {
            least = n_min - task->n_live;
            best = at;
        }
    }
    return best;
}

/* Leases whose deltas have left the device, though no upload of them has begun here: it was killed
 * in between, or this process was. They are never offered again. */
static void spend_leases(const struct stn_coordinator *coordinator, struct stn_emit *emit,
                         const struct stn_id *device, const struct stn_msg_check_in *check_in)
{
    for (uint32_t i = 0; i < check_in->n_consents; i++) {
        const struct stn_consent *consent = &check_in->consents[i];
        struct stn_task *task = stn_coordinator_task(coordinator, consent->task);
        const struct stn_lease *lease =
            task == NULL ? NULL : stn_lease_get(&task->leases, consent->spent);
        if (lease != NULL && !lease->held &&
            memcmp(&lease->record.device, device, sizeof *device) == 0) {
            stn_task_spend(task, emit, consent->spent);
        }
    }
}

static void check_in(struct stn_coordinator *coordinator, struct stn_emit *emit, stn_ticket ticket,
                     const struct stn_id *device, const struct stn_msg_check_in *check_in)
{
    if (!is_check_in(check_in)) {
        stn_emit_refused(emit, ticket, STN_INVALID);
        return;
    }
    spend_leases(coordinator, emit, device, check_in);
    size_t n = coordinator->tasks.n;
    struct stn_select_demand demand = {
        .at_ms = emit->now_ms + IDLE_MS, .n = IDLE_PER_S, .per_s = IDLE_PER_S};
    size_t first = n == 0 ? 0 : first_task(coordinator, emit, device, check_in);
    for (size_t i = 0; i < n; i++) {
        struct stn_task *task = coordinator->tasks.entries[(first + i) % n].value;
        if (consent_to(check_in, task->record.spec.name) == NULL ||
            (check_in->secure_only && !task->record.spec.secure)) {
            continue;
        }
        if (stn_task_lease(task, emit, ticket, device, check_in->n_min_floor)) {
            coordinator->next_task = (first + i + 1) % n;
            return;
        }
        struct stn_select_demand other;
        bool is_for_it = check_in->n_min_floor <= task->record.spec.n_min;
        if (is_for_it && stn_task_demand(task, emit->now_ms, &other) &&
            other.at_ms < demand.at_ms) {
            demand = other;
        }
    }
    struct stn_msg msg = {.type = STN_MSG_COME_BACK};
    msg.come_back.after_ms =
        stn_select_wait_ms(&coordinator->select, &coordinator->rng, emit->now_ms, &demand);
    add_release(coordinator, check_in, &msg.come_back);
    stn_emit_reply(emit, ticket, &msg);
}

static void join(struct stn_coordinator *coordinator, struct stn_emit *emit, stn_ticket ticket,
                 const struct stn_id *device, const struct stn_msg_join *join)
{
    struct stn_task *task = memchr(join->task, 0, sizeof join->task) == NULL
                                ? NULL
                                : stn_coordinator_task(coordinator, join->task);
    if (task == NULL) {
        stn_emit_refused(emit, ticket, STN_NOT_FOUND);
    } else {
        stn_task_join(task, emit, &coordinator->rng, ticket, device, join);
    }
}

static const struct stn_round_id *round_of(const struct stn_msg *msg)
{
    return msg->type == STN_MSG_ADVERTISE   ? &msg->advertise.round
           : msg->type == STN_MSG_POLL      ? &msg->poll.round
           : msg->type == STN_MSG_SHARE     ? &msg->share.round
           : msg->type == STN_MSG_PUT_BEGIN ? &msg->put_begin.round
           : msg->type == STN_MSG_PUT_END   ? &msg->put_end.round
           : msg->type == STN_MSG_ACK       ? &msg->ack.round
           : msg->type == STN_MSG_UNMASK    ? &msg->unmask.round
           : msg->type == STN_MSG_LEAVE     ? &msg->leave.round
                                            : NULL;
}

static void request(struct stn_coordinator *coordinator, struct stn_emit *emit,
                    const struct stn_server_event *event)
{
    const struct stn_msg *msg = event->request.msg;
    const struct stn_id *device = &event->request.device;
    bool is_new = msg->type == STN_MSG_CHECK_IN || msg->type == STN_MSG_JOIN;
    if (is_new && stn_quarantine_has(&coordinator->quarantine, device)) {
        stn_emit_refused(emit, event->ticket, STN_DENIED);
        return;
    }
    if (msg->type == STN_MSG_CHECK_IN) {
        check_in(coordinator, emit, event->ticket, device, &msg->check_in);
        return;
    }
    if (msg->type == STN_MSG_JOIN) {
        join(coordinator, emit, event->ticket, device, &msg->join);
        return;
    }
    const struct stn_round_id *round = round_of(msg);
    struct stn_member *member = round == NULL ? NULL : member_of(coordinator, round, device);
    if (member == NULL) { /* not the core's to answer, or a round that is forgotten, or another's */
        stn_emit_refused(emit, event->ticket, round == NULL ? STN_UNSUPPORTED : STN_NOT_FOUND);
    } else if (msg->type == STN_MSG_ADVERTISE) {
        stn_cohort_advertise(member, emit, event->ticket, msg);
    } else if (msg->type == STN_MSG_POLL) {
        stn_cohort_poll(member, emit, event->ticket, msg->poll.stage);
    } else if (msg->type == STN_MSG_PUT_BEGIN) {
        stn_cohort_put_begin(member, emit, event->ticket, msg->put_begin.size);
    } else if (msg->type == STN_MSG_PUT_END) {
        stn_cohort_put_end(member, emit, event->ticket, &msg->put_end);
    } else if (msg->type == STN_MSG_LEAVE) {
        stn_cohort_leave(member, emit, event->ticket, msg);
    } else {
        stn_cohort_say(member, emit, event->ticket, msg);
    }
}

static void lost_ticket(struct stn_coordinator *coordinator, struct stn_emit *emit,
                        stn_ticket ticket)
{
    struct stn_member *member = stn_map_get(&coordinator->tickets, &ticket, sizeof ticket);
    if (member != NULL) {
        stn_cohort_lost_ticket(member, emit, ticket);
    }
}

/* ---- the step ---- */

static void time_has_come(struct stn_coordinator *coordinator, struct stn_emit *emit)
{
    coordinator->wake_ms = UINT64_MAX;
    for (size_t i = 0; i < coordinator->tasks.n; i++) {
        stn_task_time(coordinator->tasks.entries[i].value, emit);
    }
}

static void set_wake(struct stn_coordinator *coordinator, struct stn_emit *emit)
{
    uint64_t wake_ms = UINT64_MAX;
    for (size_t i = 0; i < coordinator->tasks.n; i++) {
        uint64_t task_ms = stn_task_next_ms(coordinator->tasks.entries[i].value);
        wake_ms = task_ms < wake_ms ? task_ms : wake_ms;
    }
    if (wake_ms != coordinator->wake_ms) {
        coordinator->wake_ms = wake_ms;
        stn_emit_new(emit, STN_SERVER_WAKE)->at_ms = wake_ms;
    }
}

static void release_device(struct stn_emit *emit, const struct stn_server_event *event)
{
    enum stn_code code = stn_quarantine_remove(emit, &event->device);
    if (code == STN_OK) {
        stn_emit_trace(emit, "quarantine over", "", &event->device, 0, STN_OK);
    }
    stn_emit_answer(emit, event->ticket, code);
}

static void dispatch(struct stn_coordinator *coordinator, struct stn_emit *emit,
                     const struct stn_server_event *event)
{
    struct stn_member *member = NULL;
    struct stn_cohort *cohort = NULL;
    switch (event->type) {
    case STN_SERVER_START:
        start(coordinator, emit);
        break;
    case STN_SERVER_TIME:
        time_has_come(coordinator, emit);
        break;
    case STN_SERVER_TASK_CREATE:
        create_task(coordinator, emit, event);
        break;
    case STN_SERVER_TASK_PAUSE:
        pause_task(coordinator, emit, event, STN_TASK_PAUSED);
        break;
    case STN_SERVER_TASK_RESUME:
        pause_task(coordinator, emit, event, STN_TASK_RUNNING);
        break;
    case STN_SERVER_DEVICE_RELEASE:
        release_device(emit, event);
        break;
    case STN_SERVER_REQUEST:
        request(coordinator, emit, event);
        break;
    case STN_SERVER_TICKET_LOST:
        lost_ticket(coordinator, emit, event->ticket);
        break;
    case STN_SERVER_UPLOAD_CHECKED:
        member = member_of(coordinator, &event->checked.round, &event->checked.device);
        if (member != NULL) {
            stn_cohort_checked(member, emit, event->checked.code);
        }
        break;
    case STN_SERVER_UNMASKED:
        cohort = stn_coordinator_round(coordinator, &event->unmasked);
        if (cohort != NULL) {
            stn_cohort_unmasked(cohort, emit);
        }
        break;
    case STN_SERVER_MERGED:
        cohort = stn_coordinator_round(coordinator, &event->merged.round);
        if (cohort != NULL) {
            stn_cohort_merged(cohort, emit, event);
        }
        break;
    case STN_SERVER_RESTORE:
        break;
    }
}

void stn_coordinator_step(struct stn_coordinator *coordinator, const struct stn_server_event *event,
                          struct stn_server_effects *effects)
{
    struct stn_emit emit = {.now_ms = event->now_ms,
                            .effects = effects,
                            .config = &coordinator->config,
                            .rounds = &coordinator->rounds,
                            .tickets = &coordinator->tickets,
                            .quarantine = &coordinator->quarantine};
    if (event->type == STN_SERVER_RESTORE) {
        assert(!coordinator->is_started);
        stn_coordinator_restore(coordinator, &event->record);
        return;
    }
    assert(coordinator->is_started != (event->type == STN_SERVER_START));
    dispatch(coordinator, &emit, event);
    set_wake(coordinator, &emit);
}

/* ---- questions ---- */

static bool is_same(const struct stn_digest *a, const struct stn_digest *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool stn_coordinator_may_get(const struct stn_coordinator *coordinator,
                             const struct stn_digest *digest)
{
    for (size_t i = 0; i < coordinator->tasks.n; i++) {
        const struct stn_task *task = coordinator->tasks.entries[i].value;
        if (is_same(digest, &task->record.spec.base.digest)) {
            return true;
        }
        for (struct stn_list *link = task->versions.prev; link != &task->versions;
             link = link->prev) {
            if (is_same(digest,
                        &STN_LIST_OF(link, struct stn_version, link)->record.adapter.digest)) {
                return true;
            }
        }
    }
    return false;
}

bool stn_coordinator_may_put(const struct stn_coordinator *coordinator,
                             const struct stn_round_id *round, const struct stn_id *device)
{
    const struct stn_member *member = member_of(coordinator, round, device);
    return member != NULL && stn_cohort_may_put(member) && member->record.upload_size > 0 &&
           !member->checking;
}

void stn_coordinator_tell(struct stn_coordinator *coordinator, const struct stn_server_tell *tell,
                          struct stn_msg *ret)
{
    const struct stn_member *member = member_of(coordinator, &tell->round, &tell->device);
    enum stn_code code =
        member == NULL ? STN_NOT_FOUND : stn_cohort_secure_message(member, tell->stage, ret);
    if (code != STN_OK) {
        *ret = (struct stn_msg){.type = STN_MSG_WAIT};
    }
}

bool stn_coordinator_view(const struct stn_coordinator *coordinator, size_t i,
                          struct stn_coordinator_view *ret)
{
    if (i >= coordinator->tasks.n) {
        return false;
    }
    const struct stn_task *task = coordinator->tasks.entries[i].value;
    const struct stn_cohort *open = task->open;
    *ret = (struct stn_coordinator_view){
        .task = &task->record,
        .version = stn_task_released(task),
        .round = open == NULL ? NULL : &open->record,
        .n_leased = task->n_live,
        .n_joined = open == NULL ? 0
                                 : open->n[STN_MEMBER_JOINED] + open->n[STN_MEMBER_ADVERTISED] +
                                       open->n[STN_MEMBER_UPLOADED],
        .n_uploaded = open == NULL ? 0 : open->n[STN_MEMBER_UPLOADED]};
    if (open != NULL && open->secure != NULL) {
        ret->secagg = stn_cohort_secure_view(open);
    }
    return true;
}
