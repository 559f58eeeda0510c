#include "client/core/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/core/policy.h"

struct stn_client_effect *stn_state_emit(struct stn_state_turn *turn,
                                         enum stn_client_effect_type type)
{
    struct stn_client_effects *effects = turn->effects;
    if (effects->n == effects->room) {
        size_t room = effects->room == 0 ? 8 : effects->room * 2;
        struct stn_client_effect *items = stn_mem_grow(effects->items, room, sizeof *items);
        if (items == NULL) {
            abort(); /* a step cannot be undone */
        }
        effects->items = items;
        effects->room = room;
    }
    struct stn_client_effect *effect = &effects->items[effects->n++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void stn_state_trace(struct stn_state_turn *turn, const char *event, const char *task,
                     uint64_t number, enum stn_code code)
{
    struct stn_client_effect *effect = stn_state_emit(turn, STN_CLIENT_TRACE);
    effect->trace.event = event;
    (void)stn_str_copy(effect->trace.task, sizeof effect->trace.task, task);
    effect->trace.number = number;
    effect->trace.code = code;
}

uint64_t stn_state_installed(const struct stn_agent *agent, const char *task)
{
    for (uint32_t i = 0; i < agent->record.n_installed; i++) {
        if (strcmp(agent->record.installed[i].task, task) == 0) {
            return agent->record.installed[i].version;
        }
    }
    return 0;
}

/* Where a task's installed version is kept: its own place, a free one, or that of a task that is
 * allowed no more. */
static struct stn_agent_installed *place_of(struct stn_agent *agent, const char *task)
{
    struct stn_agent_record *record = &agent->record;
    for (uint32_t i = 0; i < record->n_installed; i++) {
        if (strcmp(record->installed[i].task, task) == 0) {
            return &record->installed[i];
        }
    }
    if (record->n_installed < STN_MSG_TASKS) {
        return &record->installed[record->n_installed++];
    }
    for (uint32_t i = 0; i < record->n_installed; i++) {
        if (stn_policy_consent(agent->consents, agent->n_consents, record->installed[i].task) ==
            NULL) {
            return &record->installed[i];
        }
    }
    return &record->installed[0];
}

void stn_state_set_installed(struct stn_agent *agent, const char *task, uint64_t version,
                             const struct stn_digest *adapter)
{
    struct stn_agent_installed *installed = place_of(agent, task);
    *installed = (struct stn_agent_installed){.version = version, .adapter = *adapter};
    (void)stn_str_copy(installed->task, sizeof installed->task, task);
    agent->is_dirty = true;
}

void stn_state_set_phase(struct stn_agent *agent, enum stn_agent_phase phase)
{
    agent->record.phase = phase;
    agent->is_dirty = true;
    agent->not_before_ms = 0;
}

void stn_state_abandon(struct stn_agent *agent)
{
    agent->ask = 0;
    agent->asked = STN_MSG_NONE;
}

void stn_state_cancel(struct stn_agent *agent, struct stn_state_turn *turn)
{
    if (agent->job != STN_STATE_NO_JOB && !agent->is_cancelling) {
        agent->is_cancelling = true;
        (void)stn_state_emit(turn, STN_CLIENT_CANCEL);
    }
}

void stn_state_back_off(struct stn_agent *agent, const struct stn_state_turn *turn)
{
    uint64_t first_ms = agent->config.retry_first_ms, most_ms = agent->config.retry_most_ms;
    bool is_in_round = agent->record.phase >= STN_AGENT_JOINED;
    if (is_in_round && most_ms / 8 > first_ms) {
        most_ms = first_ms * 8; /* the cohort waits */
    }
    agent->not_before_ms =
        turn->now_ms + stn_backoff_ms(&agent->backoff, &agent->rng, first_ms, most_ms);
}

/* Its secrets are wiped. */
static void end_secure(struct stn_agent *agent)
{
    stn_secagg_client_free(agent->secure);
    agent->secure = NULL;
    agent->says = (struct stn_msg){.type = STN_MSG_NONE};
    agent->masks = NULL;
    agent->n_masks = 0;
}

void stn_state_drop(struct stn_agent *agent, struct stn_state_turn *turn, uint64_t wait_ms)
{
    stn_state_cancel(agent, turn);
    stn_state_abandon(agent);
    end_secure(agent);
    if (agent->record.phase != STN_AGENT_IDLE) {
        agent->is_dropping = true;
        agent->dropped = agent->record.lease;
    }
    agent->record.lease = (struct stn_msg_lease){0};
    agent->record.lease_expires_ms = 0;
    agent->record.n_samples = 0;
    agent->record.tier = 0;
    agent->record.upload = (struct stn_digest){0};
    agent->record.upload_size = 0;
    agent->record.next_check_in_ms = turn->now_ms + wait_ms;
    agent->join_after_ms = 0;
    stn_state_set_phase(agent, STN_AGENT_IDLE);
    agent->n_leaves = 0;
}

static uint64_t trouble_ms(struct stn_agent *agent)
{
    return stn_backoff_ms(&agent->trouble, &agent->rng, agent->config.retry_first_ms,
                          agent->config.retry_most_ms);
}

uint64_t stn_state_away_ms(struct stn_agent *agent)
{
    return agent->config.retry_most_ms / 2 +
           stn_rng_below(&agent->rng, agent->config.retry_most_ms / 2 + 1);
}

void stn_state_give_up(struct stn_agent *agent, struct stn_state_turn *turn, const char *why,
                       enum stn_code code)
{
    stn_state_trace(turn, why, agent->record.lease.task, agent->record.lease.lease, code);
    stn_state_drop(agent, turn, trouble_ms(agent));
}

void stn_state_out_of_round(struct stn_agent *agent)
{
    agent->record.round = (struct stn_round_id){0};
    agent->record.config = (struct stn_msg_round_config){0};
    agent->record.config_digest = (struct stn_digest){0};
    agent->is_dirty = true;
}

void stn_state_ready_again(struct stn_agent *agent, const struct stn_state_turn *turn)
{
    stn_state_abandon(agent);
    end_secure(agent);
    stn_state_set_phase(agent, STN_AGENT_READY);
    agent->not_before_ms = turn->now_ms + stn_rng_below(&agent->rng, agent->config.retry_first_ms);
    agent->n_leaves = 0;
}

void stn_state_ready_later(struct stn_agent *agent, const struct stn_state_turn *turn)
{
    stn_state_ready_again(agent, turn);
    agent->join_after_ms = turn->now_ms + trouble_ms(agent);
}

bool stn_state_is_leaving(const struct stn_agent *agent)
{
    static const struct stn_round_id none;
    return agent->record.phase < STN_AGENT_JOINED &&
           memcmp(&agent->record.round, &none, sizeof none) != 0;
}
