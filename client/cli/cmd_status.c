#include <stdio.h>

#include "client/cli/cli.h"
#include "client/cli/operator.h"
#include "client/cli/session.h"

#define MIB (1024.0 * 1024.0)

static const struct stn_operator defaults = {0};
static const struct stn_option options[] = {STN_OPERATOR_OPTIONS, {0}};

static void print_tasks(const json_t *tasks)
{
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *task = json_array_get(tasks, i), *round = json_object_get(task, "round");
        (void)printf("  task %s: %s, version %lld of %lld", stn_operator_text(task, "task"), stn_operator_text(task, "state"),
                     stn_operator_number(task, "version"), stn_operator_number(task, "rounds"));
        if (json_is_object(round)) {
            const json_t *secure = json_object_get(round, "secure");
            (void)printf(", round %lld %s%s%s (%lld joined, %lld uploaded)", stn_operator_number(round, "number"),
                         stn_operator_text(round, "state"), json_is_object(secure) ? ", secure: " : "",
                         json_is_object(secure) ? stn_operator_text(secure, "stage") : "",
                         stn_operator_number(round, "joined"), stn_operator_number(round, "uploaded"));
        }
        (void)putchar('\n');
    }
}

static void print_usage(const json_t *reply)
{
    const json_t *process = json_object_get(reply, "process"), *wire = json_object_get(reply, "wire");
    (void)printf("  %.1f MiB of memory (at most %.1f), %.1f s of processor time\n"
                 "  %lld requests, %.1f MiB in, %.1f MiB out\n",
                 (double)stn_operator_number(process, "rss_bytes") / MIB,
                 (double)stn_operator_number(process, "peak_rss_bytes") / MIB,
                 json_number_value(json_object_get(process, "cpu_s")), stn_operator_number(wire, "requests"),
                 (double)stn_operator_number(wire, "bytes_in") / MIB, (double)stn_operator_number(wire, "bytes_out") / MIB);
}

static enum stn_code status(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL;
    char since[STN_OPERATOR_TIME];
    enum stn_code code = stn_operator_ask(parsed, json_pack("{ss}", "command", "status"), STN_OPERATOR_MS, &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    (void)printf("sternad %s in %s, since %s UTC\n  listens on %s\n  key %s\n"
                 "  %lld devices, %lld sessions, %zu tasks\n",
                 stn_operator_text(reply, "version"), stn_operator_text(reply, "folder"),
                 stn_operator_time(reply, "started_ms", since), stn_operator_text(reply, "listen"),
                 stn_operator_text(reply, "key"), stn_operator_number(reply, "devices"),
                 stn_operator_number(reply, "sessions"), json_array_size(json_object_get(reply, "tasks")));
    print_usage(reply);
    print_tasks(json_object_get(reply, "tasks"));
    json_decref(reply);
    return STN_OK;
}

const struct stn_command stn_cmd_status = {
    .name = "status", .args = "", .summary = "the coordinator and its tasks at a glance",
    .example = "sterna status --dir /var/lib/sterna", .options = options, .defaults = &defaults, .size = sizeof defaults,
    .run = status,
};
