/* apply: events into the core, its effects out of it, in their order: records into the turn's transaction, replies and
 * everything that destroys something behind its commit, the heavy work to workers. A failed write ends the process.
 * Thread: the loop's. */
#ifndef STN_SERVER_SHELL_APPLY_H
#define STN_SERVER_SHELL_APPLY_H

#include "server/shell/service.h"

/* Restores every record and starts the core. */
enum stn_code stn_apply_start(struct stn_service *service, struct stn_err *err) STN_CHECKED;

/* One event; its time is set here. Not from within an effect. */
void stn_apply_event(struct stn_service *service, struct stn_server_event *event);

/* An operator's: the code of its ANSWER. */
enum stn_code stn_apply_command(struct stn_service *service, struct stn_server_event *event);

/* cfg and sizes of a round. STN_NOT_FOUND when it is forgotten. */
enum stn_code stn_apply_round(struct stn_service *service, const struct stn_round_id *round,
                              struct stn_service_round *ret, struct stn_err *err) STN_CHECKED;

#endif
