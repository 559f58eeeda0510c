/* plan: what an agent does next. It is asked after every event, looks at the state, and begins at
 * most one thing. */
#ifndef STN_CLIENT_CORE_PLAN_H
#define STN_CLIENT_CORE_PLAN_H

#include "client/core/state.h"

/* Saves what has changed, begins what is due, and sets the clock for what is not. */
void stn_plan_next(struct stn_agent *agent, struct stn_state_turn *turn);

#endif
