/* control: the agent's local socket: a JSON object asks, a JSON object answers.
 *
 *   {"command":"status"}             the whole of stn_control_status
 *   {"command":"pause"|"resume"}     {"ok":true,"paused":...}; kept across restarts
 *   {"command":"stop"}               {"ok":true}: the process ends cleanly
 * or {"error":{"code":"invalid","text":"..."}}. Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_CONTROL_H
#define STN_CLIENT_SHELL_CONTROL_H

#include <jansson.h>

#include "client/shell/device.h"

/* One line to its answer, which is appended to reply. *ret_stops: the device is to stop once the answer has left. */
void stn_control_answer(struct stn_device *device, const char *text, size_t size, struct stn_buf *reply, bool *ret_stops);

/* For stn_local_listen, with the device as user. */
void stn_control_take(void *user, struct stn_local_request *request);

/* {"ok","version","device","server","connected","phase","task","round","stage","lease","n_samples","next_check_in_ms","n_min",
 *  "n_min_lowered","allow_plain","spent","evidence","paused","may_work","why","conditions":{...},"consents":[{"task","path"}],
 *  "installed":[{"task","version","adapter","path"}],"last_error"}; NULL: no memory. */
json_t *stn_control_status(const struct stn_device *device);

/* A phase as a word: "idle", "fetching", ... "stage" is what it said last in a secure round: "advertise", "share", "upload",
 * "ack", "unmask"; null in none. "evidence" counts what sterna log evidence shows. */
const char *stn_control_phase(uint32_t phase);

#endif
