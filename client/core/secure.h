/* secure: an agent in a secure round: what its secagg_client wants done becomes the agent's state and
 * effects. The client, and with it every secret, lives from the config to the end of the round and
 * in memory alone.
 *
 * How a round that the device does not see through ends for the delta: before the masks are asked
 * for it is the device's own and goes to another cohort, at once when it was late or left, later
 * when too few others were there; after that it is spent. A coordinator that says what cannot be is
 * given up on, with a back-off that grows. */
#ifndef STN_CLIENT_CORE_SECURE_H
#define STN_CLIENT_CORE_SECURE_H

#include "client/core/state.h"

/* Enters the round of a round_config that policy agrees to: says holds its advert. Else why not:
 * STN_INVALID, STN_LIMIT (the owner asks for more), STN_LATE (it was in it before). */
enum stn_code stn_secure_enter(struct stn_agent *agent, struct stn_state_turn *turn,
                               const struct stn_client_event *event) STN_CHECKED;

/* A message of the coordinator's. False: it says nothing that was waited for, or is for others to
 * hear (result, voided). */
bool stn_secure_hear(struct stn_agent *agent, struct stn_state_turn *turn,
                     const struct stn_msg *msg);

/* The vector is masked and on disk. In a round that is not secure nothing is to be done. */
void stn_secure_masked(struct stn_agent *agent, struct stn_state_turn *turn,
                       const struct stn_digest *digest);

/* secure_end_ms has come. */
void stn_secure_time(struct stn_agent *agent, struct stn_state_turn *turn);

#endif
