/* carry: events into the core, its effects out of it, in their order: the record to disk before anything behind it
 * begins, asks and blobs over the dialog, heavy work to the worker. Signatures of the coordinator are checked here, and
 * what is not genuine never reaches the core. A failed save ends the process: the next one starts from what is on disk.
 * Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_CARRY_H
#define STN_CLIENT_SHELL_CARRY_H

#include "client/shell/device.h"

/* Restores the record and starts the core. */
enum stn_code stn_carry_start(struct stn_device *device, struct stn_err *err) STN_CHECKED;

/* One event; its time is set here. May be called from anywhere on the loop. */
void stn_carry_event(struct stn_device *device, const struct stn_client_event *event);

/* What is under way is stopped without a word to the core. */
void stn_carry_stop(struct stn_device *device);

#endif
