/* agent: the whole of what a device decides: step(state, event) -> effects. Pure, as the
 * coordinator. Inside is back-off (retry: exponential with full jitter, and the coordinator's own
 * "come back in").
 *
 * Promises: a delta is in at most one upload (it is spent when UPLOADING is on disk); nothing is
 * sent for a task that the owner does not allow, nor while the device may not work (a round past
 * its roster is finished first: the owner's cohort waits for it, and it costs no computing; and that
 * it leaves a round is said once); no part in a cohort below n_min_floor or with a config that does
 * not fit the lease; after a restart in JOINED or later the agent leaves that cohort; no part in a round that is not secure
 * unless the owner allows it. In a secure round it says what secagg_client.h promises. */
#ifndef STN_CLIENT_CORE_AGENT_H
#define STN_CLIENT_CORE_AGENT_H

#include "client/core/effect.h"
#include "client/core/event.h"

struct stn_agent;

struct stn_agent_config {
    uint64_t seed; /* of jitter */
    uint32_t n_min_floor;
    bool allows_plain; /* takes part in rounds that are not secure, too */
    uint64_t retry_first_ms, retry_most_ms; /* back-off after failures */
    struct stn_secagg_client_config secure; /* who it is in secure rounds; n_min_floor is above */
};

/* The caller frees *ret. */
enum stn_code stn_agent_new(struct stn_agent **ret, const struct stn_agent_config *config,
                            struct stn_err *err) STN_CHECKED;
void stn_agent_free(struct stn_agent *agent);

/* Appends to effects. Never fails. */
void stn_agent_step(struct stn_agent *agent, const struct stn_client_event *event,
                    struct stn_client_effects *effects);

/* For status. */
const struct stn_agent_record *stn_agent_record(const struct stn_agent *agent);

#endif
