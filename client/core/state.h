/* state: the inside of an agent: what is kept on disk (record), what it waits for, and what is only
 * known to this process. Level-triggered: events change the state, then plan.c looks at the whole
 * of it and says what to do next. */
#ifndef STN_CLIENT_CORE_STATE_H
#define STN_CLIENT_CORE_STATE_H

#include "base/rng.h"
#include "client/core/agent.h"
#include "client/core/backoff.h"

enum stn_state_job {
    STN_STATE_NO_JOB = 0,
    STN_STATE_FETCH,
    STN_STATE_TRAIN,
    STN_STATE_ENCODE,
    STN_STATE_SEND,
    STN_STATE_INSTALL
};

struct stn_agent {
    struct stn_agent_config config;
    struct stn_rng rng;
    struct stn_agent_record record;
    bool is_started, may_work;
    bool is_dirty; /* record is not what is on disk */
    bool had_consents;
    uint32_t n_consents;
    struct stn_consent consents[STN_MSG_TASKS];

    uint64_t n_asks, ask; /* the number that is waited for, or 0 */
    enum stn_msg_type asked;
    uint64_t asked_ms;
    enum stn_state_job job;
    bool is_cancelling;
    struct stn_digest fetching;

    struct stn_backoff backoff; /* failures of asks and jobs in a row */
    struct stn_backoff trouble; /* leases in a row that came to nothing */
    uint64_t not_before_ms;     /* the next thing of this phase is not begun before */
    uint64_t join_after_ms;     /* READY: no cohort before */
    uint64_t wake_ms;           /* as the shell knows it */

    bool has_base, has_adapter,
        was_offered;            /* FETCHING: what is here; INSTALL of the adapter was tried */
    bool has_said;              /* in a round: what there is to say at this stage has been heard */
    bool has_encoded, has_sent; /* UPLOADING */
    uint32_t n_corrupt;         /* UPLOADING: uploads that did not arrive as they were sent */
    uint32_t n_leaves;          /* how often a leave was tried */
    bool has_release, has_release_blob; /* IDLE: an adapter to put in place */
    struct stn_release release;

    struct stn_secagg_client *secure; /* NULL: in no secure round */
    struct stn_msg says;              /* in it: what it says next; points into it */
    const struct stn_mask *masks;     /* and for its vector */
    size_t n_masks;
    uint64_t secure_end_ms; /* it waits no longer */

    bool is_dropping; /* dropped is to be discarded once no job uses it */
    struct stn_msg_lease dropped;
    struct stn_msg_lease spent; /* the last that came back although its delta had left */
};

struct stn_state_turn { /* one step: when it is, and where effects go */
    uint64_t now_ms;
    struct stn_client_effects *effects;
};

/* A new effect, zeroed but for its type; the process ends when there is no memory. */
struct stn_client_effect *stn_state_emit(struct stn_state_turn *turn,
                                         enum stn_client_effect_type type);
void stn_state_trace(struct stn_state_turn *turn, const char *event, const char *task,
                     uint64_t number, enum stn_code code);

/* The installed version of a task; 0: none. */
uint64_t stn_state_installed(const struct stn_agent *agent, const char *task);
void stn_state_set_installed(struct stn_agent *agent, const char *task, uint64_t version,
                             const struct stn_digest *adapter);

void stn_state_set_phase(struct stn_agent *agent, enum stn_agent_phase phase);
/* The ask under way is wanted no more. */
void stn_state_abandon(struct stn_agent *agent);
/* The job under way is to stop. */
void stn_state_cancel(struct stn_agent *agent, struct stn_state_turn *turn);
/* Not again before the back-off is over; in a round it stays short. */
void stn_state_back_off(struct stn_agent *agent, const struct stn_state_turn *turn);
/* Nothing is in hand any more: the lease and its delta go, the next check-in is after wait_ms. A
 * round that was joined and has not ended is left. */
void stn_state_drop(struct stn_agent *agent, struct stn_state_turn *turn, uint64_t wait_ms);
/* The same when a lease came to nothing: the more in a row, the longer the wait. */
void stn_state_give_up(struct stn_agent *agent, struct stn_state_turn *turn, const char *why,
                       enum stn_code code);
/* How long to wait after something that will not be better soon, such as a coordinator that lies:
 * half of retry_most_ms to all of it. */
uint64_t stn_state_away_ms(struct stn_agent *agent);
/* The round is over for this device; drop or ready_again follows. */
void stn_state_out_of_round(struct stn_agent *agent);
/* The same, and its delta is still its own: it wants another cohort, after a moment. */
void stn_state_ready_again(struct stn_agent *agent, const struct stn_state_turn *turn);
/* The same, but it is left for a while: the more often in a row, the longer. */
void stn_state_ready_later(struct stn_agent *agent, const struct stn_state_turn *turn);
/* A round is in the record, and its coordinator has yet to hear that the device leaves it. */
bool stn_state_is_leaving(const struct stn_agent *agent);

#endif
