#include "client/core/agent.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/hear.h"
#include "client/core/plan.h"
#include "client/core/policy.h"
#include "client/core/secure.h"
#include "client/core/state.h"
#include "crypto/entropy.h"

enum stn_code stn_agent_new(struct stn_agent **ret, const struct stn_agent_config *config,
                            struct stn_err *err)
{
    assert(config->retry_first_ms > 0 && config->retry_most_ms >= config->retry_first_ms);
    struct stn_agent *agent = stn_mem_new(1, sizeof *agent);
    if (agent == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an agent");
    }
    agent->config = *config;
    agent->config.secure.n_min_floor = config->n_min_floor;
    stn_rng_fork(&agent->rng, config->seed, "agent", 0);
    agent->wake_ms = UINT64_MAX;
    *ret = agent;
    return STN_OK;
}

void stn_agent_free(struct stn_agent *agent)
{
    if (agent != NULL) {
        stn_secagg_client_free(agent->secure);
        stn_entropy_wipe(agent, sizeof *agent);
        stn_mem_free(agent);
    }
}

const struct stn_agent_record *stn_agent_record(const struct stn_agent *agent)
{
    return &agent->record;
}

/* ---- the device ---- */

/* What is in hand ends when the owner would not agree to it any more. */
static void keep_to_floors(struct stn_agent *agent, struct stn_state_turn *turn)
{
    const struct stn_msg_lease *lease = &agent->record.lease;
    if (agent->record.phase != STN_AGENT_IDLE &&
        (lease->n_min < agent->config.n_min_floor ||
         (!lease->secure && !agent->config.allows_plain))) {
        stn_state_trace(turn, "withdrawn", lease->task, lease->lease, STN_LIMIT);
        stn_state_drop(agent, turn, 0);
    }
}

static void start(struct stn_agent *agent, struct stn_state_turn *turn,
                  const struct stn_agent_record *record)
{
    agent->record = *record;
    agent->is_started = true;
    switch ((enum stn_agent_phase)record->phase) {
    case STN_AGENT_IDLE:
    case STN_AGENT_READY:
        break;
    case STN_AGENT_FETCHING:
    case STN_AGENT_TRAINING: /* what was here may have gone: ask for it again, that costs nothing if
                                not */
        agent->record.phase = STN_AGENT_FETCHING;
        break;
    case STN_AGENT_JOINED: /* it leaves that cohort, and the delta is still its own */
        stn_state_ready_again(agent, turn);
        break;
    default: /* the delta is spent, whatever became of it */
        stn_state_drop(agent, turn, 0);
    }
    stn_state_trace(turn, "start", record->lease.task, record->phase, STN_OK);
    keep_to_floors(agent, turn);
}

/* Not allowed any more: everything of that task goes at once. */
static void withdraw(struct stn_agent *agent, struct stn_state_turn *turn)
{
    const char *task = agent->record.lease.task;
    bool is_held = agent->record.phase != STN_AGENT_IDLE;
    if (is_held && stn_policy_consent(agent->consents, agent->n_consents, task) == NULL) {
        stn_state_trace(turn, "withdrawn", task, agent->record.lease.lease, STN_DENIED);
        stn_state_drop(agent, turn, 0);
    }
    if (agent->has_release &&
        stn_policy_consent(agent->consents, agent->n_consents, agent->release.task) == NULL) {
        agent->has_release = false;
        stn_state_cancel(agent, turn);
    }
    if (agent->asked == STN_MSG_CHECK_IN) {
        stn_state_abandon(agent); /* what it said is not true any more */
    }
}

/* What it was refused may be there for it now, and it need not wait for that. */
static void ask_soon(struct stn_agent *agent, const struct stn_state_turn *turn)
{
    if (agent->record.next_check_in_ms > turn->now_ms) {
        agent->record.next_check_in_ms =
            turn->now_ms + stn_rng_below(&agent->rng, agent->config.retry_first_ms);
        agent->is_dirty = true;
    }
}

static void floors(struct stn_agent *agent, struct stn_state_turn *turn,
                   const struct stn_client_event *event)
{
    bool is_looser = event->floors.n_min < agent->config.n_min_floor ||
                     (event->floors.allows_plain && !agent->config.allows_plain);
    agent->config.n_min_floor = agent->config.secure.n_min_floor = event->floors.n_min;
    agent->config.allows_plain = event->floors.allows_plain;
    if (is_looser) {
        ask_soon(agent, turn);
    }
    keep_to_floors(agent, turn);
    if (agent->asked == STN_MSG_CHECK_IN) {
        stn_state_abandon(agent); /* what it said is not true any more */
    }
}

static void consents(struct stn_agent *agent, struct stn_state_turn *turn,
                     const struct stn_client_event *event)
{
    assert(event->consents.n <= STN_MSG_TASKS);
    bool has_more = false;
    for (uint32_t i = 0; i < event->consents.n; i++) {
        has_more |= stn_policy_consent(agent->consents, agent->n_consents,
                                       event->consents.consents[i].task) == NULL;
    }
    agent->n_consents = event->consents.n;
    memcpy(agent->consents, event->consents.consents, sizeof agent->consents);
    if (has_more && agent->had_consents) {
        ask_soon(agent, turn);
    }
    agent->had_consents = true;
    withdraw(agent, turn);
}

static void conditions(struct stn_agent *agent, struct stn_state_turn *turn, bool may_work)
{
    agent->may_work = may_work;
    if (may_work) {
        return;
    }
    bool is_counted_on = agent->secure != NULL && /* others have its shares, and it theirs */
                         stn_secagg_client_stage(agent->secure) > STN_STAGE_ADVERTISE;
    if (agent->record.phase == STN_AGENT_JOINED && !is_counted_on) {
        stn_state_trace(turn, "leaving", agent->record.lease.task, agent->record.lease.lease,
                        STN_CANCELLED);
        stn_state_ready_again(agent, turn);
        agent->not_before_ms = 0;
    } else if (agent->record.phase < STN_AGENT_JOINED) {
        stn_state_cancel(agent, turn);
    }
}

/* ---- what jobs came to ---- */

/* A job of that kind has ended; false: it was no longer wanted, or nothing of the kind was under
 * way. */
static bool end_job(struct stn_agent *agent, enum stn_state_job job, bool *ret_cancelled)
{
    if (agent->job != job) {
        return false;
    }
    *ret_cancelled = agent->is_cancelling;
    agent->job = STN_STATE_NO_JOB;
    agent->is_cancelling = false;
    return true;
}

static bool is_passing(enum stn_code code)
{
    return code == STN_AGAIN || code == STN_IO || code == STN_CANCELLED || code == STN_MEMORY ||
           code == STN_FULL;
}

static void fetched(struct stn_agent *agent, struct stn_state_turn *turn,
                    const struct stn_client_event *event)
{
    bool is_cancelled = false;
    bool is_asked = memcmp(&event->fetched.digest, &agent->fetching, sizeof agent->fetching) == 0;
    if (!is_asked || !end_job(agent, STN_STATE_FETCH, &is_cancelled)) {
        return;
    }
    enum stn_code code = event->fetched.code;
    bool is_idle = agent->record.phase == STN_AGENT_IDLE;
    if (code == STN_OK) {
        if (is_idle) {
            agent->has_release_blob = agent->has_release;
        } else if (agent->record.phase == STN_AGENT_FETCHING) {
            agent->has_adapter = agent->has_base;
            agent->has_base = true;
        }
    } else if (is_cancelled) {
        return;
    } else if (is_passing(code)) {
        stn_state_back_off(agent, turn);
    } else if (is_idle) { /* a newer one has taken its place, or it is not to be had: the next
                             check-in tells */
        agent->has_release = false;
        stn_state_back_off(agent, turn);
    } else {
        stn_state_give_up(agent, turn, "fetch failed", code);
    }
}

static void trained(struct stn_agent *agent, struct stn_state_turn *turn,
                    const struct stn_client_event *event)
{
    bool is_cancelled = false;
    if (!end_job(agent, STN_STATE_TRAIN, &is_cancelled) ||
        agent->record.phase != STN_AGENT_TRAINING ||
        event->trained.lease != agent->record.lease.lease) {
        return;
    }
    enum stn_code code = event->trained.code;
    if (code == STN_OK && event->trained.n_samples > 0) {
        agent->record.n_samples = event->trained.n_samples;
        agent->record.tier = event->trained.tier;
        agent->backoff.n_failures = 0;
        stn_state_set_phase(agent, STN_AGENT_READY);
        stn_state_trace(turn, "trained", agent->record.lease.task, event->trained.n_samples,
                        STN_OK);
    } else if (is_passing(code)) {
        if (!is_cancelled) {
            stn_state_back_off(agent, turn);
        }
    } else {
        if (code == STN_LATE) { /* the coordinator does not know, or it would have given another */
            agent->spent = agent->record.lease;
        }
        stn_state_give_up(agent, turn, "training failed", code == STN_OK ? STN_INVALID : code);
    }
}

static bool is_this_round(const struct stn_agent *agent, const struct stn_round_id *round)
{
    return agent->record.phase == STN_AGENT_UPLOADING &&
           memcmp(round, &agent->record.round, sizeof *round) == 0;
}

static void encoded(struct stn_agent *agent, struct stn_state_turn *turn,
                    const struct stn_client_event *event)
{
    bool is_cancelled = false;
    if (!end_job(agent, STN_STATE_ENCODE, &is_cancelled) ||
        !is_this_round(agent, &event->encoded.round)) {
        return;
    }
    if (event->encoded.code == STN_OK) {
        agent->has_encoded = true;
        agent->record.upload = event->encoded.digest;
        agent->record.upload_size = event->encoded.size;
        agent->is_dirty = true;
        stn_secure_masked(agent, turn, &event->encoded.digest);
    } else {
        stn_state_give_up(agent, turn, "encoding failed", event->encoded.code);
    }
}

static void sent(struct stn_agent *agent, struct stn_state_turn *turn,
                 const struct stn_client_event *event)
{
    bool is_cancelled = false;
    if (!end_job(agent, STN_STATE_SEND, &is_cancelled) ||
        !is_this_round(agent, &event->sent.round)) {
        return;
    }
    if (event->sent.code == STN_OK) {
        agent->has_sent = true;
    } else if (is_passing(event->sent.code)) {
        stn_state_back_off(agent, turn);
    } else {
        stn_state_give_up(agent, turn, "sending failed", event->sent.code);
    }
}

/* What the agent is putting in place: the lease's adapter, or a release that it heard of. */
static const char *installing(const struct stn_agent *agent, uint64_t *ret_version,
                              struct stn_digest *ret_adapter)
{
    bool is_lease = agent->record.phase == STN_AGENT_FETCHING;
    const struct stn_blob_ref *adapter =
        is_lease ? &agent->record.lease.adapter : &agent->release.adapter;
    *ret_version = is_lease ? agent->record.lease.version : agent->release.version;
    *ret_adapter = adapter->digest;
    return is_lease ? agent->record.lease.task : agent->release.task;
}

static void installed(struct stn_agent *agent, struct stn_state_turn *turn,
                      const struct stn_client_event *event)
{
    bool is_cancelled = false;
    uint64_t version = 0;
    struct stn_digest adapter;
    const char *task = installing(agent, &version, &adapter);
    if (!end_job(agent, STN_STATE_INSTALL, &is_cancelled) ||
        strcmp(task, event->installed.task) != 0) {
        return; /* dropped meanwhile: the next check-in offers it again */
    }
    bool is_release = agent->record.phase == STN_AGENT_IDLE;
    if (event->installed.code == STN_OK && version > stn_state_installed(agent, task)) {
        stn_state_set_installed(agent, task, version, &adapter);
        stn_state_trace(turn, "installed", task, version, STN_OK);
        struct stn_consent *consent = stn_policy_consent(agent->consents, agent->n_consents, task);
        if (consent != NULL && event->installed.has_holdout) {
            consent->has_holdout = true;
            consent->holdout = event->installed.holdout;
        }
    } else if (is_cancelled && event->installed.code != STN_OK) {
        agent->was_offered = false; /* again, when the device may work */
        return;
    } else if (event->installed.code != STN_OK) {
        stn_state_trace(turn, "installing failed", task, version, event->installed.code);
        stn_state_back_off(agent, turn);
    }
    agent->has_release = agent->has_release && !is_release;
}

/* ---- the step ---- */

static void dispatch(struct stn_agent *agent, struct stn_state_turn *turn,
                     const struct stn_client_event *event)
{
    switch (event->type) {
    case STN_CLIENT_START:
        start(agent, turn, &event->record);
        break;
    case STN_CLIENT_TIME:
        agent->wake_ms = UINT64_MAX;
        break;
    case STN_CLIENT_CONSENTS:
        consents(agent, turn, event);
        break;
    case STN_CLIENT_FLOORS:
        floors(agent, turn, event);
        break;
    case STN_CLIENT_CONDITIONS:
        conditions(agent, turn, event->may_work);
        break;
    case STN_CLIENT_REPLY:
        if (event->reply.ask != 0 && event->reply.ask == agent->ask) {
            stn_hear_reply(agent, turn, event);
        }
        break;
    case STN_CLIENT_FAILED:
        if (event->failed.ask != 0 && event->failed.ask == agent->ask) {
            stn_hear_nothing(agent, turn, event->failed.code);
        }
        break;
    case STN_CLIENT_FETCHED:
        fetched(agent, turn, event);
        break;
    case STN_CLIENT_TRAINED:
        trained(agent, turn, event);
        break;
    case STN_CLIENT_ENCODED:
        encoded(agent, turn, event);
        break;
    case STN_CLIENT_SENT:
        sent(agent, turn, event);
        break;
    case STN_CLIENT_INSTALLED:
        installed(agent, turn, event);
        break;
    }
}

void stn_agent_step(struct stn_agent *agent, const struct stn_client_event *event,
                    struct stn_client_effects *effects)
{
    struct stn_state_turn turn = {.now_ms = event->now_ms, .effects = effects};
    dispatch(agent, &turn, event);
    stn_plan_next(agent, &turn);
}
