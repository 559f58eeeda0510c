#include <stdio.h>

#include "client/cli/cli.h"
#include "client/cli/operator.h"
#include "client/cli/session.h"

#define INVITES 10000

struct options {
    struct stn_operator to;
    uint64_t count;
};

static const struct options defaults = {.count = 1};
static const struct stn_option options[] = {
    {"dir", 0, STN_OPTION_STR, offsetof(struct options, to.dir), "DIR",
     "the directory's folder, or the coordinator's with directory/ in it (default $STERNA_DIR, or " STN_OPERATOR_DIR ")"},
    {"socket", 0, STN_OPTION_STR, offsetof(struct options, to.socket), "PATH",
     "the directory's socket for operators (default invite.sock in its folder)"},
    {"count", 'n', STN_OPTION_U64, offsetof(struct options, count), "N", "join URLs, one a device (default 1)", 1, INVITES},
    {0},
};

static enum stn_code invite(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    json_t *reply = NULL;
    json_t *request = json_pack("{ss sI}", "command", "invite", "count", (json_int_t)o->count);
    enum stn_code code = stn_operator_ask_directory(&o->to, request, STN_OPERATOR_MS, &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    const json_t *urls = json_object_get(reply, "urls");
    for (size_t i = 0; i < json_array_size(urls); i++) {
        (void)printf("%s\n", json_string_value(json_array_get(urls, i)));
    }
    json_decref(reply);
    return STN_OK;
}

const struct stn_command stn_cmd_invite = {
    .name = "invite", .args = "", .summary = "a join URL for one device, good once",
    .example = "sterna invite -n 20 --dir /var/lib/sterna", .options = options, .defaults = &defaults,
    .size = sizeof(struct options), .run = invite,
};
