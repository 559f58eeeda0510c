#include "client/core/secure.h"

#include <stdlib.h>
#include <string.h>

#include "secagg/terms.h"

/* The round goes on without this device. Too few others are left, or it has taken too long: that is
 * as when a round is void, and the next is waited for. What no honest coordinator says keeps the
 * device away. */
static void over(struct stn_agent *agent, struct stn_state_turn *turn, enum stn_code code)
{
    bool is_lie = code != STN_LIMIT && code != STN_LATE && code != STN_CANCELLED;
    stn_state_trace(turn, is_lie ? "secure round refused" : "secure round left",
                    agent->record.lease.task, agent->record.lease.lease, code);
    if (is_lie) {
        stn_state_drop(agent, turn, stn_state_away_ms(agent));
    } else if (agent->record.phase >= STN_AGENT_UPLOADING) {
        stn_state_drop(agent, turn, stn_rng_below(&agent->rng, agent->config.retry_first_ms));
    } else {
        stn_state_ready_again(agent, turn);
    }
}

/* Effects of the client but its last word. */
static void apply(struct stn_agent *agent, struct stn_state_turn *turn,
                  const struct stn_secagg_client_effect *effect)
{
    switch (effect->type) {
    case STN_SECAGG_CLIENT_SAVE:
        agent->record.secure = effect->record;
        agent->is_dirty = true;
        break;
    case STN_SECAGG_CLIENT_SEND:
        agent->says = effect->msg;
        agent->has_said = false;
        break;
    case STN_SECAGG_CLIENT_MASK: /* the delta is spent from here on */
        agent->masks = effect->masks.items;
        agent->n_masks = effect->masks.n;
        agent->record.round_tier = stn_secagg_client_tier(agent->secure);
        agent->has_encoded = agent->has_sent = false;
        agent->n_corrupt = 0;
        stn_state_set_phase(agent, STN_AGENT_UPLOADING);
        break;
    case STN_SECAGG_CLIENT_WAKE:
        agent->secure_end_ms = effect->at_ms;
        break;
    case STN_SECAGG_CLIENT_EVIDENCE:
        stn_state_emit(turn, STN_CLIENT_EVIDENCE)->evidence = effect->evidence;
        break;
    case STN_SECAGG_CLIENT_OVER:
        break;
    }
}

/* What the client does is done; STN_OK, or why it has left the round. How many effects there were. */
static enum stn_code step(struct stn_agent *agent, struct stn_state_turn *turn,
                          struct stn_secagg_client_event event, size_t *ret_n)
{
    struct stn_secagg_client_effects effects;
    enum stn_code code = STN_OK;
    event.now_ms = turn->now_ms;
    stn_secagg_client_step(agent->secure, &event, &effects);
    for (size_t i = 0; i < effects.n; i++) {
        apply(agent, turn, &effects.items[i]);
        if (effects.items[i].type == STN_SECAGG_CLIENT_OVER) {
            code = effects.items[i].code;
        }
    }
    *ret_n = effects.n;
    return code;
}

static bool was_in(const struct stn_agent_record *record, const struct stn_digest *cfg)
{
    for (uint64_t i = 0; i < STN_AGENT_ROUNDS && i < record->n_rounds; i++) {
        if (stn_digest_equal(&record->rounds[i], cfg)) {
            return true;
        }
    }
    return false;
}

enum stn_code stn_secure_enter(struct stn_agent *agent, struct stn_state_turn *turn,
                               const struct stn_client_event *event)
{
    struct stn_terms terms;
    size_t n;
    enum stn_code code =
        stn_terms_of(&event->reply.msg->round_config, &event->reply.config, &terms, NULL);
    if (code == STN_OK && was_in(&agent->record, &terms.cfg)) {
        code = STN_LATE;
    }
    if (code != STN_OK) {
        return code;
    }
    if (stn_secagg_client_new(&agent->secure, &agent->config.secure, NULL) != STN_OK) {
        abort(); /* a step cannot be undone */
    }
    code = step(agent, turn,
                (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_START,
                                                 .start = {.terms = &terms,
                                                           .version = agent->record.lease.version,
                                                           .tier = agent->record.tier,
                                                           .entropy = event->reply.entropy,
                                                           .record = &agent->record.secure}},
                &n);
    if (code != STN_OK) {
        stn_secagg_client_free(agent->secure);
        agent->secure = NULL;
        return code;
    }
    agent->record.rounds[agent->record.n_rounds++ % STN_AGENT_ROUNDS] = terms.cfg;
    return STN_OK;
}

bool stn_secure_hear(struct stn_agent *agent, struct stn_state_turn *turn, const struct stn_msg *msg)
{
    size_t n = 0;
    if (msg->type == STN_MSG_RESULT || msg->type == STN_MSG_VOIDED) {
        return false;
    }
    enum stn_code code = step(
        agent, turn,
        (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MESSAGE, .msg = msg}, &n);
    if (code != STN_OK) {
        over(agent, turn, code);
    } else if (n > 0) {
        agent->not_before_ms = 0;
        stn_state_trace(turn, stn_msg_name(msg->type), agent->record.lease.task,
                        agent->record.lease.lease, STN_OK);
    }
    return n > 0;
}

void stn_secure_masked(struct stn_agent *agent, struct stn_state_turn *turn,
                       const struct stn_digest *digest)
{
    size_t n;
    if (agent->secure == NULL) {
        return;
    }
    agent->masks = NULL;
    agent->n_masks = 0;
    enum stn_code code = step(agent, turn,
                              (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MASKED,
                                                               .masked = {.digest = *digest}},
                              &n);
    if (code != STN_OK) {
        over(agent, turn, code);
    }
}

void stn_secure_time(struct stn_agent *agent, struct stn_state_turn *turn)
{
    size_t n;
    enum stn_code code =
        step(agent, turn, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_TIME}, &n);
    if (code != STN_OK) {
        over(agent, turn, code);
    }
}
