#include "client/core/hear.h"

#include <string.h>

#include "base/str.h"
#include "client/core/policy.h"
#include "client/core/secure.h"

#define PAUSE_MS 200 /* between two asks at least, whatever the coordinator says */
#define POLL_MS 1000 /* between two polls at least */
#define AWAY_MOST_MS (24 * 3600 * 1000ull)
#define CORRUPT_MOST 3

static uint64_t within(uint64_t ms)
{
    return ms < PAUSE_MS ? PAUSE_MS : ms < AWAY_MOST_MS ? ms : AWAY_MOST_MS;
}

void stn_hear_nothing(struct stn_agent *agent, struct stn_state_turn *turn, enum stn_code code)
{
    stn_state_trace(turn, "no reply", agent->record.lease.task, agent->asked, code);
    stn_state_abandon(agent);
    stn_state_back_off(agent, turn);
}

/* ---- check_in ---- */

static void hear_lease(struct stn_agent *agent, struct stn_state_turn *turn,
                       const struct stn_msg_lease *lease)
{
    enum stn_code code =
        stn_policy_lease(lease, agent->consents, agent->n_consents, agent->config.n_min_floor,
                         agent->config.allows_plain);
    if (code != STN_OK) {
        stn_state_trace(turn, "lease declined", "", lease->lease, code);
        agent->record.next_check_in_ms = turn->now_ms + stn_state_away_ms(agent);
        agent->is_dirty = true;
        return;
    }
    agent->record.lease = *lease;
    uint64_t live_ms = lease->expires_after_ms;
    agent->record.lease_expires_ms =
        live_ms > UINT64_MAX - turn->now_ms ? UINT64_MAX : turn->now_ms + live_ms;
    agent->has_base = agent->has_adapter = agent->was_offered = false;
    stn_state_set_phase(agent, STN_AGENT_FETCHING);
    stn_state_trace(turn, "lease", lease->task, lease->lease, STN_OK);
}

static void hear_come_back(struct stn_agent *agent, struct stn_state_turn *turn,
                           const struct stn_msg_come_back *come_back)
{
    agent->record.next_check_in_ms = turn->now_ms + within(come_back->after_ms);
    agent->is_dirty = true;
    const struct stn_release *release = &come_back->release;
    if (come_back->has_release &&
        stn_policy_release(release, agent->consents, agent->n_consents) == STN_OK &&
        release->version > stn_state_installed(agent, release->task)) {
        agent->has_release = true;
        agent->has_release_blob = false;
        agent->release = *release;
    }
}

static bool hear_check_in(struct stn_agent *agent, struct stn_state_turn *turn,
                          const struct stn_msg *msg)
{
    if (msg->type == STN_MSG_LEASE) {
        hear_lease(agent, turn, &msg->lease);
    } else if (msg->type == STN_MSG_COME_BACK) {
        hear_come_back(agent, turn, &msg->come_back);
    } else if (msg->type == STN_MSG_REFUSED) {
        uint64_t wait_ms = msg->refused.retry_after_ms;
        agent->record.next_check_in_ms =
            turn->now_ms + (wait_ms == 0 ? stn_state_away_ms(agent) : within(wait_ms));
        agent->is_dirty = true;
        stn_state_trace(turn, "check-in refused", "", 0, (enum stn_code)msg->refused.code);
    } else {
        return false;
    }
    for (uint32_t i = 0; i < agent->n_consents; i++) {
        agent->consents[i].has_holdout = false; /* it has been told */
    }
    return true;
}

/* ---- join ---- */

/* Agrees to the config, and is in its round then. */
static enum stn_code agree(struct stn_agent *agent, struct stn_state_turn *turn,
                           const struct stn_client_event *event)
{
    const struct stn_msg_round_config *config = &event->reply.msg->round_config;
    const struct stn_digest *digest = &event->reply.config;
    enum stn_code code =
        stn_policy_config(config, digest, &agent->record.lease, agent->config.n_min_floor,
                          agent->config.allows_plain);
    if (code == STN_OK && !agent->may_work) { /* that ended while the answer was on its way */
        return STN_CANCELLED;
    }
    if (code == STN_OK && config->secure) {
        code = stn_secure_enter(agent, turn, event);
    }
    if (code == STN_OK) {
        agent->record.config = *config;
        agent->record.config_digest = *digest;
        agent->has_said = false;
        stn_state_set_phase(agent, STN_AGENT_JOINED);
    }
    return code;
}

static void hear_config(struct stn_agent *agent, struct stn_state_turn *turn,
                        const struct stn_client_event *event)
{
    const char *task = agent->record.lease.task;
    agent->record.round = event->reply.msg->round_config.round; /* if only to leave it */
    enum stn_code code = agree(agent, turn, event);
    if (code == STN_OK) {
        stn_state_trace(turn, "joined", task, agent->record.lease.lease, STN_OK);
    } else if (code == STN_CANCELLED) {
        stn_state_ready_again(agent, turn);
    } else if (code == STN_LATE) { /* it was in that round before a restart, with other keys */
        stn_state_trace(turn, "joined before", task, agent->record.lease.lease, code);
        stn_state_ready_later(agent, turn);
    } else {
        stn_state_trace(turn, "config declined", task, agent->record.lease.lease, code);
        stn_state_drop(agent, turn, stn_state_away_ms(agent));
    }
}

static bool hear_join(struct stn_agent *agent, struct stn_state_turn *turn,
                      const struct stn_client_event *event)
{
    const struct stn_msg *msg = event->reply.msg;
    if (msg->type == STN_MSG_ROUND_CONFIG) {
        hear_config(agent, turn, event);
    } else if (msg->type == STN_MSG_COME_BACK) {
        agent->not_before_ms = turn->now_ms + within(msg->come_back.after_ms);
    } else if (msg->type == STN_MSG_REFUSED && msg->refused.code == STN_LATE) {
        stn_state_trace(turn, "late", agent->record.lease.task, agent->record.lease.lease,
                        STN_LATE);
        stn_state_drop(agent, turn, stn_rng_below(&agent->rng, agent->config.retry_first_ms));
    } else if (msg->type == STN_MSG_REFUSED && msg->refused.code == STN_AGAIN) {
        agent->not_before_ms = turn->now_ms + within(msg->refused.retry_after_ms);
    } else if (msg->type == STN_MSG_REFUSED) {
        stn_state_give_up(agent, turn, "join refused", (enum stn_code)msg->refused.code);
    } else {
        return false;
    }
    return true;
}

/* ---- in a round ---- */

static bool is_voided(const struct stn_agent *agent, const struct stn_msg *msg)
{
    return msg->type == STN_MSG_VOIDED &&
           memcmp(&msg->voided.round, &agent->record.round, sizeof agent->record.round) == 0;
}

/* The round goes on without this device, or not at all. A delta that has not begun to leave is
 * still its own. */
static void hear_end(struct stn_agent *agent, struct stn_state_turn *turn, const char *why,
                     enum stn_code code)
{
    stn_state_trace(turn, why, agent->record.lease.task, agent->record.lease.lease, code);
    stn_state_out_of_round(agent);
    if (agent->record.phase == STN_AGENT_JOINED) {
        stn_state_ready_again(agent, turn);
    } else {
        stn_state_drop(agent, turn, stn_rng_below(&agent->rng, agent->config.retry_first_ms));
    }
}

static void hear_roster(struct stn_agent *agent, struct stn_state_turn *turn,
                        const struct stn_msg_roster *roster)
{
    enum stn_code code =
        stn_policy_roster(roster, &agent->record.config, agent->config.n_min_floor);
    if (code != STN_OK) {
        stn_state_trace(turn, "roster declined", agent->record.lease.task,
                        agent->record.lease.lease, code);
        stn_state_drop(agent, turn, stn_state_away_ms(agent)); /* and leaves */
        return;
    }
    agent->record.round_tier = roster->tier;
    agent->has_encoded = agent->has_sent = false;
    agent->n_corrupt = 0;
    stn_state_set_phase(agent, STN_AGENT_UPLOADING);
    stn_state_trace(turn, "roster", agent->record.lease.task, roster->n_members, STN_OK);
}

static void hear_result(struct stn_agent *agent, struct stn_state_turn *turn,
                        const struct stn_msg_result *result)
{
    stn_state_trace(turn, result->included ? "included" : "not included", result->task,
                    result->version, STN_OK);
    if (result->version > stn_state_installed(agent, result->task)) {
        agent->has_release = true;
        agent->has_release_blob = false;
        agent->release =
            (struct stn_release){.version = result->version, .adapter = result->adapter};
        (void)stn_str_copy(agent->release.task, sizeof agent->release.task, result->task);
    }
    stn_state_out_of_round(agent);
    stn_state_drop(agent, turn, 0);
}

static bool hear_poll(struct stn_agent *agent, struct stn_state_turn *turn,
                      const struct stn_msg *msg)
{
    if (msg->type == STN_MSG_WAIT) {
        agent->not_before_ms = agent->asked_ms + POLL_MS;
    } else if (agent->secure != NULL && stn_secure_hear(agent, turn, msg)) {
        return true;
    } else if (msg->type == STN_MSG_ROSTER && agent->secure == NULL &&
               agent->record.phase == STN_AGENT_JOINED) {
        hear_roster(agent, turn, &msg->roster);
    } else if (msg->type == STN_MSG_RESULT &&
               stn_policy_result(&msg->result, &agent->record.config) == STN_OK) {
        hear_result(agent, turn, &msg->result);
    } else if (is_voided(agent, msg)) {
        hear_end(agent, turn, "voided", (enum stn_code)msg->voided.code);
    } else if (msg->type == STN_MSG_REFUSED) {
        hear_end(agent, turn, "poll refused", (enum stn_code)msg->refused.code);
    } else {
        return false;
    }
    return true;
}

/* To what is said at the beginning of a stage. */
static bool hear_said(struct stn_agent *agent, struct stn_state_turn *turn,
                      const struct stn_msg *msg)
{
    if (msg->type == STN_MSG_OK) {
        agent->has_said = true;
    } else if (is_voided(agent, msg)) {
        hear_end(agent, turn, "voided", (enum stn_code)msg->voided.code);
    } else if (msg->type == STN_MSG_REFUSED && msg->refused.code == STN_AGAIN) {
        agent->not_before_ms = turn->now_ms + within(msg->refused.retry_after_ms);
    } else if (msg->type == STN_MSG_REFUSED) {
        hear_end(agent, turn, "stage refused", (enum stn_code)msg->refused.code);
    } else {
        return false;
    }
    return true;
}

static bool hear_put_end(struct stn_agent *agent, struct stn_state_turn *turn,
                         const struct stn_msg *msg)
{
    if (msg->type == STN_MSG_OK) {
        agent->trouble.n_failures = 0;
        agent->has_said = true;
        stn_state_set_phase(agent, STN_AGENT_UPLOADED);
        stn_state_trace(turn, "uploaded", agent->record.lease.task, agent->record.lease.lease,
                        STN_OK);
    } else if (msg->type == STN_MSG_WAIT) {
        agent->not_before_ms = agent->asked_ms + POLL_MS;
    } else if (msg->type == STN_MSG_REFUSED && msg->refused.code == STN_AGAIN) {
        agent->not_before_ms = turn->now_ms + within(msg->refused.retry_after_ms);
    } else if (msg->type == STN_MSG_REFUSED && msg->refused.code == STN_CORRUPT &&
               ++agent->n_corrupt < CORRUPT_MOST) {
        agent->has_sent = false;
    } else if (is_voided(agent, msg)) {
        hear_end(agent, turn, "voided", (enum stn_code)msg->voided.code);
    } else if (msg->type == STN_MSG_REFUSED &&
               (msg->refused.code == STN_LATE || msg->refused.code == STN_NOT_FOUND)) {
        hear_end(agent, turn, "upload refused", (enum stn_code)msg->refused.code);
    } else if (msg->type == STN_MSG_REFUSED) { /* and leaves: the cohort is not to wait */
        stn_state_give_up(agent, turn, "upload refused", (enum stn_code)msg->refused.code);
    } else {
        return false;
    }
    return true;
}

static bool hear(struct stn_agent *agent, struct stn_state_turn *turn, enum stn_msg_type asked,
                 const struct stn_client_event *event)
{
    const struct stn_msg *msg = event->reply.msg;
    switch (asked) {
    case STN_MSG_CHECK_IN:
        return hear_check_in(agent, turn, msg);
    case STN_MSG_JOIN:
        return hear_join(agent, turn, event);
    case STN_MSG_ADVERTISE:
    case STN_MSG_SHARE:
    case STN_MSG_ACK:
    case STN_MSG_UNMASK:
        return hear_said(agent, turn, msg);
    case STN_MSG_POLL:
        return hear_poll(agent, turn, msg);
    case STN_MSG_PUT_END:
        return hear_put_end(agent, turn, msg);
    default: /* of a leave any answer will do */
        stn_state_out_of_round(agent);
        return true;
    }
}

void stn_hear_reply(struct stn_agent *agent, struct stn_state_turn *turn,
                    const struct stn_client_event *event)
{
    enum stn_msg_type asked = agent->asked;
    stn_state_abandon(agent);
    if (hear(agent, turn, asked, event)) {
        agent->backoff.n_failures = 0;
    } else {
        agent->asked = asked;
        stn_hear_nothing(agent, turn, STN_INVALID);
    }
}
