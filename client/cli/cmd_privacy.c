#include <stdio.h>

#include "client/cli/cli.h"
#include "client/cli/operator.h"
#include "client/cli/session.h"

static const struct stn_operator defaults = {0};
static const struct stn_option options[] = {STN_OPERATOR_OPTIONS, {0}};

static void print_directory(const json_t *directory)
{
    const json_t *can_read = json_object_get(directory, "key_is_readable"), *can_invite = json_object_get(directory, "can_invite");
    (void)printf("directory: on this host (%s); its key %s\n", stn_operator_text(directory, "socket"),
                 json_is_true(can_read)
                     ? "CAN be read by the coordinator\n"
                       "  Who has both keys can enrol devices of his own and fill a round with them. Give its folder to another\n"
                       "  user, who runs `sternad directory`; better, another person."
                 : json_is_false(can_read) ? "cannot be read by the coordinator"
                                           : "is not beside its socket: who can read it is not known");
    (void)printf("  invites: %s\n", json_is_true(can_invite)    ? "the coordinator CAN mint them, and enrol devices of its own"
                                     : json_is_false(can_invite) ? "the coordinator cannot mint them"
                                                                 : "who can mint them is not known");
}

static void print_bound(const char *what, const json_t *bound)
{
    (void)printf("  %s of %lld: holds against %lld of them, goes on without %lld; %lld neighbours each, %lld open one's secret\n",
                 what, stn_operator_number(bound, "devices"), stn_operator_number(bound, "adversaries"),
                 stn_operator_number(bound, "losses"), stn_operator_number(bound, "neighbours"),
                 stn_operator_number(bound, "threshold"));
}

static void print_task(const json_t *task)
{
    if (!json_is_true(json_object_get(task, "secure"))) {
        (void)printf("task %s: NOT secure: the coordinator can read every delta\n", stn_operator_text(task, "task"));
        return;
    }
    (void)printf("task %s: the coordinator learns sums of at least %lld devices, and no device's delta\n",
                 stn_operator_text(task, "task"), stn_operator_number(task, "n_min"));
    print_bound("a full round", json_object_get(task, "full"));
    print_bound("the smallest", json_object_get(task, "smallest"));
    (void)printf("  what a sum itself says is not hidden: there is no differential privacy\n");
}

static enum stn_code privacy(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL;
    enum stn_code code = stn_operator_ask(parsed, json_pack("{ss}", "command", "privacy"), STN_OPERATOR_MS, &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    const json_t *tasks = json_object_get(reply, "tasks");
    print_directory(json_object_get(reply, "directory"));
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        print_task(json_array_get(tasks, i));
    }
    json_decref(reply);
    return STN_OK;
}

const struct stn_command stn_cmd_privacy = {
    .name = "privacy", .args = "", .summary = "what the coordinator can learn of a device, task by task",
    .example = "sterna privacy --dir /var/lib/sterna", .options = options, .defaults = &defaults, .size = sizeof defaults,
    .run = privacy,
};
