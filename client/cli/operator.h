/* operator: the operator's subcommands speak to the coordinator of this machine, and to the directory, over the sockets in
 * their folders: one JSON object asks, one answers (`sternad run` and `sternad directory` serve them). Thread: the main one. */
#ifndef STN_CLIENT_CLI_OPERATOR_H
#define STN_CLIENT_CLI_OPERATOR_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/command.h"
#include "base/err.h"

#define STN_OPERATOR_DIR "/var/lib/sterna"
#define STN_OPERATOR_MS 15000        /* for an answer */
#define STN_OPERATOR_LONG_MS 1800000 /* when a model is imported first */

/* The first member of a subcommand's options. */
struct stn_operator {
    const char *dir;    /* the coordinator's folder; NULL: $STERNA_DIR, or STN_OPERATOR_DIR */
    const char *socket; /* NULL: operator.sock in dir */
};

/* Rows for its table of options. */
#define STN_OPERATOR_OPTIONS                                                                                          \
    {"dir", 0, STN_OPTION_STR, offsetof(struct stn_operator, dir), "DIR",                                             \
     "the coordinator's folder (default $STERNA_DIR, or " STN_OPERATOR_DIR ")"},                                      \
    {"socket", 0, STN_OPTION_STR, offsetof(struct stn_operator, socket), "PATH",                                      \
     "its operator socket (default operator.sock in the folder)"}

/* Asks; takes request (NULL: STN_MEMORY). The caller releases *ret with json_decref. The coordinator's error is
 * returned as ours. STN_NOT_FOUND, and what to do, when none is running there. */
enum stn_code stn_operator_ask(const struct stn_operator *to, json_t *request, uint32_t timeout_ms, json_t **ret,
                               struct stn_err *err) STN_CHECKED;

/* As stn_operator_ask, of the directory: dir is its folder, or the coordinator's with directory/ in it, and the socket is
 * invite.sock there. Who answers with join URLs names the keys that devices will believe, and the coordinator's user could
 * answer in his folder: STN_DENIED when it is another user than ours, unless socket names the path. */
enum stn_code stn_operator_ask_directory(const struct stn_operator *to, json_t *request, uint32_t timeout_ms, json_t **ret,
                                         struct stn_err *err) STN_CHECKED;

/* Members of a reply, for people: "" and 0 where there is none. */
const char *stn_operator_text(const json_t *object, const char *key);
long long stn_operator_number(const json_t *object, const char *key);
/* "2026-01-31 12:00:00" in UTC of the milliseconds at key, "never" for 0. */
#define STN_OPERATOR_TIME 32
const char *stn_operator_time(const json_t *object, const char *key, char ret[static STN_OPERATOR_TIME]);

#endif
