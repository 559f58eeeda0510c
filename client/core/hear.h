/* hear: what an agent makes of the coordinator's answers. A reply that is no answer to what was
 * asked counts as none: back off and ask again. */
#ifndef STN_CLIENT_CORE_HEAR_H
#define STN_CLIENT_CORE_HEAR_H

#include "client/core/state.h"

/* REPLY to the ask that was waited for. */
void stn_hear_reply(struct stn_agent *agent, struct stn_state_turn *turn,
                    const struct stn_client_event *event);
/* There was no reply. */
void stn_hear_nothing(struct stn_agent *agent, struct stn_state_turn *turn, enum stn_code code);

#endif
