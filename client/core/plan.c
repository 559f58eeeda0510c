#include "client/core/plan.h"

#include <string.h>

#include "base/str.h"
#include "client/core/secure.h"

static void save(struct stn_agent *agent, struct stn_state_turn *turn)
{
    if (agent->is_dirty) {
        agent->is_dirty = false;
        stn_state_emit(turn, STN_CLIENT_SAVE)->record = agent->record;
    }
}

static void ask(struct stn_agent *agent, struct stn_state_turn *turn, const struct stn_msg *msg)
{
    save(agent, turn);
    agent->ask = ++agent->n_asks;
    agent->asked = msg->type;
    agent->asked_ms = turn->now_ms;
    struct stn_client_effect *effect = stn_state_emit(turn, STN_CLIENT_ASK);
    effect->ask.ask = agent->ask;
    effect->ask.msg = *msg;
}

static struct stn_client_effect *begin(struct stn_agent *agent, struct stn_state_turn *turn,
                                       enum stn_state_job job, enum stn_client_effect_type type)
{
    save(agent, turn);
    agent->job = job;
    agent->is_cancelling = false;
    return stn_state_emit(turn, type);
}

static void fetch(struct stn_agent *agent, struct stn_state_turn *turn,
                  const struct stn_blob_ref *blob)
{
    agent->fetching = blob->digest;
    begin(agent, turn, STN_STATE_FETCH, STN_CLIENT_FETCH)->blob = *blob;
}

static void install(struct stn_agent *agent, struct stn_state_turn *turn, const char *task,
                    uint64_t version, const struct stn_blob_ref *adapter)
{
    struct stn_client_effect *effect = begin(agent, turn, STN_STATE_INSTALL, STN_CLIENT_INSTALL);
    (void)stn_str_copy(effect->install.task, sizeof effect->install.task, task);
    effect->install.version = version;
    effect->install.adapter = *adapter;
}

static void check_in(struct stn_agent *agent, struct stn_state_turn *turn)
{
    struct stn_msg msg = {.type = STN_MSG_CHECK_IN};
    msg.check_in.n_min_floor = agent->config.n_min_floor;
    msg.check_in.secure_only = !agent->config.allows_plain;
    msg.check_in.n_consents = agent->n_consents;
    for (uint32_t i = 0; i < agent->n_consents; i++) {
        msg.check_in.consents[i] = agent->consents[i];
        msg.check_in.consents[i].version = stn_state_installed(agent, agent->consents[i].task);
        bool has_spent = strcmp(agent->consents[i].task, agent->spent.task) == 0;
        msg.check_in.consents[i].spent = has_spent ? agent->spent.lease : 0;
    }
    ask(agent, turn, &msg);
}

static void idle(struct stn_agent *agent, struct stn_state_turn *turn)
{
    if (!agent->may_work) {
        return;
    }
    if (agent->has_release && !agent->has_release_blob) {
        fetch(agent, turn, &agent->release.adapter);
    } else if (agent->has_release) {
        install(agent, turn, agent->release.task, agent->release.version, &agent->release.adapter);
    } else if (agent->n_consents > 0 && agent->record.next_check_in_ms <= turn->now_ms) {
        check_in(agent, turn);
    }
}

static void fetching(struct stn_agent *agent, struct stn_state_turn *turn)
{
    const struct stn_msg_lease *lease = &agent->record.lease;
    if (!agent->may_work) {
        return;
    }
    if (!agent->has_base) {
        fetch(agent, turn, &lease->base);
    } else if (!agent->has_adapter) {
        fetch(agent, turn, &lease->adapter);
    } else if (!agent->was_offered && lease->version > stn_state_installed(agent, lease->task)) {
        agent->was_offered = true;
        install(agent, turn, lease->task, lease->version, &lease->adapter);
    } else {
        stn_state_set_phase(agent, STN_AGENT_TRAINING);
        begin(agent, turn, STN_STATE_TRAIN, STN_CLIENT_TRAIN)->lease = *lease;
    }
}

static void join(struct stn_agent *agent, struct stn_state_turn *turn)
{
    const struct stn_agent_record *record = &agent->record;
    struct stn_msg msg = {.type = STN_MSG_JOIN,
                          .join = {.lease = record->lease.lease,
                                   .version = record->lease.version,
                                   .n_samples = record->n_samples,
                                   .tier = record->tier}};
    (void)stn_str_copy(msg.join.task, sizeof msg.join.task, record->lease.task);
    ask(agent, turn, &msg);
}

static void poll(struct stn_agent *agent, struct stn_state_turn *turn, enum stn_stage stage)
{
    ask(agent, turn,
        &(struct stn_msg){.type = STN_MSG_POLL,
                          .poll = {.round = agent->record.round, .stage = stage}});
}

/* In a secure round a device says something at every stage and then waits for its end. */
static void in_round(struct stn_agent *agent, struct stn_state_turn *turn)
{
    bool is_secure = agent->secure != NULL;
    if (agent->has_said) {
        poll(agent, turn,
             is_secure ? (enum stn_stage)stn_secagg_client_stage(agent->secure)
             : agent->record.phase == STN_AGENT_JOINED ? STN_STAGE_ADVERTISE
                                                       : STN_STAGE_UPLOAD);
    } else if (is_secure) {
        ask(agent, turn, &agent->says);
    } else {
        ask(agent, turn,
            &(struct stn_msg){.type = STN_MSG_ADVERTISE,
                              .advertise = {.round = agent->record.round,
                                            .config = agent->record.config_digest}});
    }
}

static void begin_in_round(struct stn_agent *agent, struct stn_state_turn *turn,
                           enum stn_state_job job, enum stn_client_effect_type type)
{
    struct stn_client_effect *effect = begin(agent, turn, job, type);
    effect->round.config = agent->record.config;
    effect->round.config_digest = agent->record.config_digest;
    effect->round.lease = agent->record.lease;
    effect->round.n_samples = agent->record.n_samples;
    effect->round.tier = agent->record.tier > agent->record.round_tier ? agent->record.tier
                                                                       : agent->record.round_tier;
    effect->round.upload = agent->record.upload;
    effect->round.upload_size = agent->record.upload_size;
    effect->round.masks = agent->masks;
    effect->round.n_masks = agent->n_masks;
}

static void uploading(struct stn_agent *agent, struct stn_state_turn *turn)
{
    if (!agent->has_encoded) {
        begin_in_round(agent, turn, STN_STATE_ENCODE, STN_CLIENT_ENCODE);
    } else if (!agent->has_sent) {
        begin_in_round(agent, turn, STN_STATE_SEND, STN_CLIENT_SEND);
    } else if (agent->secure != NULL) {
        ask(agent, turn, &agent->says);
    } else {
        ask(agent, turn,
            &(struct stn_msg){
                .type = STN_MSG_PUT_END,
                .put_end = {.round = agent->record.round, .digest = agent->record.upload}});
    }
}

static void begin_next(struct stn_agent *agent, struct stn_state_turn *turn)
{
    if (stn_state_is_leaving(agent)) {
        if (agent->may_work ||
            agent->n_leaves == 0) { /* a word that costs nothing, and is not insisted on */
            agent->n_leaves++;
            ask(agent, turn,
                &(struct stn_msg){.type = STN_MSG_LEAVE, .leave = {.round = agent->record.round}});
        }
        return;
    }
    switch ((enum stn_agent_phase)agent->record.phase) {
    case STN_AGENT_IDLE:
        idle(agent, turn);
        break;
    case STN_AGENT_FETCHING:
        fetching(agent, turn);
        break;
    case STN_AGENT_TRAINING:
        if (agent->may_work) {
            begin(agent, turn, STN_STATE_TRAIN, STN_CLIENT_TRAIN)->lease = agent->record.lease;
        }
        break;
    case STN_AGENT_READY:
        if (agent->may_work && agent->join_after_ms <= turn->now_ms) {
            join(agent, turn);
        }
        break;
    case STN_AGENT_UPLOADING:
        uploading(agent, turn);
        break;
    case STN_AGENT_JOINED:
    case STN_AGENT_UPLOADED:
        in_round(agent, turn);
        break;
    }
}

static bool is_perishable(const struct stn_agent *agent)
{
    return agent->record.phase >= STN_AGENT_FETCHING && agent->record.phase <= STN_AGENT_READY;
}

/* When something is to be begun, or ends, without an event of its own. */
static uint64_t next_ms(const struct stn_agent *agent, uint64_t now_ms)
{
    uint64_t at_ms = UINT64_MAX;
    bool is_busy = agent->ask != 0 || agent->job != STN_STATE_NO_JOB;
    if (!is_busy && agent->not_before_ms > now_ms) {
        at_ms = agent->not_before_ms;
    } else if (!is_busy && agent->record.phase == STN_AGENT_IDLE &&
               agent->record.next_check_in_ms > now_ms) {
        at_ms = agent->record.next_check_in_ms;
    } else if (!is_busy && agent->record.phase == STN_AGENT_READY &&
               agent->join_after_ms > now_ms) {
        at_ms = agent->join_after_ms;
    }
    if (is_perishable(agent) && agent->record.lease_expires_ms > now_ms &&
        agent->record.lease_expires_ms < at_ms) {
        at_ms = agent->record.lease_expires_ms;
    }
    if (agent->secure != NULL && agent->secure_end_ms < at_ms) {
        at_ms = agent->secure_end_ms;
    }
    return at_ms;
}

void stn_plan_next(struct stn_agent *agent, struct stn_state_turn *turn)
{
    if (!agent->is_started) {
        return;
    }
    if (is_perishable(agent) && agent->record.lease_expires_ms <= turn->now_ms && agent->ask == 0) {
        stn_state_trace(turn, "expired", agent->record.lease.task, agent->record.lease.lease,
                        STN_LATE);
        stn_state_drop(agent, turn, 0);
    }
    if (agent->secure != NULL && agent->secure_end_ms <= turn->now_ms) {
        stn_secure_time(agent, turn);
    }
    save(agent, turn);
    if (agent->is_dropping && agent->job == STN_STATE_NO_JOB) {
        agent->is_dropping = false;
        stn_state_emit(turn, STN_CLIENT_DISCARD)->lease = agent->dropped;
    }
    if (agent->ask == 0 && agent->job == STN_STATE_NO_JOB && agent->not_before_ms <= turn->now_ms) {
        begin_next(agent, turn);
    }
    uint64_t wake_ms = next_ms(agent, turn->now_ms);
    if (wake_ms != agent->wake_ms) {
        agent->wake_ms = wake_ms;
        stn_state_emit(turn, STN_CLIENT_WAKE)->at_ms = wake_ms;
    }
}
