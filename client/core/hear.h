/* hear: what an agent makes of the coordinator's answers. A reply that is no answer to what was
 * asked counts as none: back off and ask again. */
#ifndef STN_CLIENT_CORE_HEAR_H
#define STN_CLIENT_CORE_HEAR_H

#include "client/core/state.h"

/* To the ask that was waited for; config is H of a round_config, zero when nobody vouches for it.
 */
void stn_hear_reply(struct stn_agent *agent, struct stn_state_turn *turn, const struct stn_msg *msg,
                    const struct stn_digest *config);
/* There was no reply. */
void stn_hear_nothing(struct stn_agent *agent, struct stn_state_turn *turn, enum stn_code code);

#endif
