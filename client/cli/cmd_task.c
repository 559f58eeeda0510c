#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/operator.h"
#include "client/cli/session.h"
#include "client/shell/owner.h"
#include "io/file.h"

#define INI_BYTES ((size_t)1 << 20)

struct options {
    struct stn_operator to;
    const char *base;
};

static const struct options defaults = {0};

static const struct stn_option create_options[] = {
    STN_OPERATOR_OPTIONS,
    {"model", 'm', STN_OPTION_STR, offsetof(struct options, base), "MODEL", "base model, instead of the file's [model] base"},
    {0},
};
static const struct stn_option options[] = {STN_OPERATOR_OPTIONS, {0}};

/* ---- tables ---- */

static const char *round_text(const json_t *task, char *dst, size_t room)
{
    const json_t *round = json_object_get(task, "round");
    if (!json_is_object(round)) {
        return "-";
    }
    const json_t *secure = json_object_get(round, "secure");
    (void)snprintf(dst, room, "%lld %s, %lld joined, %lld uploaded", stn_operator_number(round, "number"),
                   json_is_object(secure) ? stn_operator_text(secure, "stage") : stn_operator_text(round, "state"),
                   stn_operator_number(round, "joined"), stn_operator_number(round, "uploaded"));
    return dst;
}

static void print_task(const json_t *task)
{
    char round[128];
    const json_t *adapter = json_object_get(task, "adapter");
    (void)printf("%-20s %-9s %4lld/%-4lld %6lld  %8.4f  %s\n", stn_operator_text(task, "task"),
                 stn_operator_text(task, "state"), stn_operator_number(task, "version"), stn_operator_number(task, "rounds"),
                 stn_operator_number(task, "leased"), json_real_value(json_object_get(adapter, "loss")),
                 round_text(task, round, sizeof round));
}

static void print_tasks(const json_t *tasks)
{
    (void)printf("%-20s %-9s %9s %6s  %8s  %s\n", "task", "state", "version", "leased", "loss", "round");
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        print_task(json_array_get(tasks, i));
    }
}

/* ---- commands ---- */

/* The answer as it came, or its tasks as a table. */
static enum stn_code say(json_t *reply, const struct stn_command_line *line, struct stn_err *err)
{
    if (line->json) {
        return stn_session_take_json(reply, err);
    }
    json_t *tasks = json_object_get(reply, "tasks"), *task = json_object_get(reply, "task");
    json_t *one = tasks == NULL ? json_pack("[O]", task) : json_incref(tasks);
    print_tasks(one);
    json_decref(one);
    json_decref(reply);
    return STN_OK;
}

static enum stn_code ask_named(const void *parsed, const struct stn_command_line *line, const char *command, json_t **ret,
                               struct stn_err *err)
{
    const struct options *o = parsed;
    return stn_operator_ask(&o->to, json_pack("{ss ss}", "command", command, "task", line->args[0]), STN_OPERATOR_MS, ret,
                            err);
}

static enum stn_code list(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    json_t *reply = NULL;
    enum stn_code code = stn_operator_ask(&o->to, json_pack("{ss}", "command", "task.list"), STN_OPERATOR_MS, &reply, err);
    return code == STN_OK ? say(reply, line, err) : code;
}

static enum stn_code pause_task(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL;
    enum stn_code code = ask_named(parsed, line, "task.pause", &reply, err);
    return code == STN_OK ? say(reply, line, err) : code;
}

static enum stn_code resume(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL;
    enum stn_code code = ask_named(parsed, line, "task.resume", &reply, err);
    return code == STN_OK ? say(reply, line, err) : code;
}

static enum stn_code show(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *reply = NULL;
    char made[STN_OPERATOR_TIME];
    enum stn_code code = ask_named(parsed, line, "task.show", &reply, err);
    if (code != STN_OK || line->json) {
        return code != STN_OK ? code : stn_session_take_json(reply, err);
    }
    json_t *task = json_object_get(reply, "task");
    if (json_object_set_new(task, "created_utc", json_string(stn_operator_time(task, "created_ms", made))) == 0) {
        (void)json_object_del(task, "created_ms");
    }
    stn_session_print_object(task);
    json_decref(reply);
    return STN_OK;
}

/* The whole path: the coordinator has another working folder. */
static enum stn_code whole_path(const char *path, char ret[static PATH_MAX], struct stn_err *err)
{
    return realpath(path, ret) != NULL ? STN_OK : stn_err_set(err, STN_NOT_FOUND, "%s: there is no such file", path);
}

/* A task that devices decline by their own floor would wait for ever without a word. */
static void warn_of_floor(const json_t *task)
{
    const json_int_t n_min = json_integer_value(json_object_get(task, "n_min"));
    if (n_min < STN_OWNER_N_MIN_LEAST) {
        (void)fprintf(stderr, "warning: n_min %lld is below %d, the least that sterna-agent accepts: no agent will take part\n",
                      (long long)n_min, STN_OWNER_N_MIN_LEAST);
    } else if (n_min < STN_OWNER_N_MIN) {
        (void)fprintf(stderr, "warning: n_min %lld is below %d, an agent's own floor: owners must set n_min in [agent]\n",
                      (long long)n_min, STN_OWNER_N_MIN);
    }
}

static enum stn_code create(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    const char *path = line->args[0];
    char folder[PATH_MAX], base[PATH_MAX];
    struct stn_buf text = {0};
    json_t *reply = NULL;
    bool is_digest = o->base != NULL && strlen(o->base) == 64 && strspn(o->base, "0123456789abcdefABCDEF") == 64;
    enum stn_code code = stn_file_read(path, INI_BYTES, &text, err);
    code = code == STN_OK ? whole_path(path, folder, err) : code;
    code = code == STN_OK && o->base != NULL && !is_digest ? whole_path(o->base, base, err) : code;
    if (code == STN_OK) {
        *strrchr(folder, '/') = '\0'; /* a whole path has one */
        json_t *request = json_pack("{ss ss ss ss%}", "command", "task.create", "name", path, "folder", folder, "text",
                                    text.data == NULL ? "" : (const char *)text.data, text.size);
        if (request != NULL && o->base != NULL) {
            (void)json_object_set_new(request, "base", json_string(is_digest ? o->base : base));
        }
        code = stn_operator_ask(&o->to, request, STN_OPERATOR_LONG_MS, &reply, err);
    }
    stn_buf_fini(&text);
    if (code == STN_OK) {
        warn_of_floor(json_object_get(reply, "task"));
        code = say(reply, line, err);
    }
    return code;
}

const struct stn_command stn_cmd_task_create = {
    .name = "task create", .args = "FILE.ini", .min_args = 1, .max_args = 1,
    .summary = "give the fleet something to train",
    .example = "sterna task create home.ini --dir /var/lib/sterna",
    .options = create_options, .defaults = &defaults, .size = sizeof(struct options), .run = create,
};
const struct stn_command stn_cmd_task_list = {
    .name = "task list", .args = "", .summary = "every task, its version and its open round",
    .example = "sterna task list", .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = list,
};
const struct stn_command stn_cmd_task_show = {
    .name = "task show", .args = "TASK", .min_args = 1, .max_args = 1, .summary = "everything about one task",
    .example = "sterna task show home", .options = options, .defaults = &defaults, .size = sizeof(struct options),
    .run = show,
};
const struct stn_command stn_cmd_task_pause = {
    .name = "task pause", .args = "TASK", .min_args = 1, .max_args = 1,
    .summary = "no new leases and rounds; what is under way ends",
    .example = "sterna task pause home", .options = options, .defaults = &defaults, .size = sizeof(struct options),
    .run = pause_task,
};
const struct stn_command stn_cmd_task_resume = {
    .name = "task resume", .args = "TASK", .min_args = 1, .max_args = 1, .summary = "go on with a paused task",
    .example = "sterna task resume home", .options = options, .defaults = &defaults, .size = sizeof(struct options),
    .run = resume,
};
