/* admin: the operator's commands: a JSON object asks, a JSON object answers, whatever carries them. A table has a row
 * for each command; what a command has changed is on disk before its answer leaves.
 *
 *   {"command":"status"}                         {"ok":true,"version","key","directory","listen","folder",
 *                                                 "started_ms","devices","sessions","tasks":[TASK...]}
 *   {"command":"task.create","name","text",      {"ok":true,"task":TASK}   text: the INI file, name: what errors call it,
 *    "folder","base"}                             folder: relative paths in it start there; base: replaces [model] base
 *   {"command":"task.list"}                      {"ok":true,"tasks":[TASK...]}
 *   {"command":"task.show","task"}               {"ok":true,"task":TASK and its settings}
 *   {"command":"task.pause"|"task.resume","task"} {"ok":true,"task":TASK}
 *   {"command":"adapter.list","task"}            {"ok":true,"adapters":[...]}   task: left out, of all
 *   {"command":"device.list"}                    {"ok":true,"devices":[...]}   quarantined_ms: since it was seen to lie
 *   {"command":"device.release","device"}        {"ok":true}   device: the whole identity, quarantined until now
 * or {"error":{"code":"not-found","text":"..."}}. Invites are the directory's (directory.h). Thread: the loop's. */
#ifndef STN_SERVER_SHELL_ADMIN_H
#define STN_SERVER_SHELL_ADMIN_H

#include <jansson.h>

#include "server/shell/service.h"

/* A question until it is answered. */
struct stn_admin_call {
    struct stn_service *service;
    json_t *request;
    void (*answer)(struct stn_admin_call *call, const char *text, size_t size); /* once, after the commit; not called
                                                                                   when the service stops before */
    void *user;
    struct stn_after after;
    char *text; /* of the answer */
};

/* Asks; answer comes in this turn or a later one. text is borrowed. */
void stn_admin_ask(struct stn_service *service, const char *text, size_t size,
                   void (*answer)(struct stn_admin_call *call, const char *text, size_t size), void *user);

/* For handlers that answer later: takes reply (a reference), or err when code is not STN_OK. The call is over. */
void stn_admin_answer(struct stn_admin_call *call, enum stn_code code, json_t *reply, const struct stn_err *err);

/* A line of the operator's socket: for stn_local_listen, with the service as user. */
void stn_admin_take(void *service, struct stn_local_request *request);

#endif
