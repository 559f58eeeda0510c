#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/command.h"
#include "client/shell/device.h"
#include "crypto/entropy.h"

#define ANSWER_MS 10000

struct options {
    const char *dir, *config;
    bool yes;
};

static const struct options defaults = {0};

#define CONFIG                                                                                                       \
    {"dir", 0, STN_OPTION_STR, offsetof(struct options, dir), "DIR", "the agent's folder, as it was given to sterna join"}, \
    {"config", 'c', STN_OPTION_STR, offsetof(struct options, config), "FILE",                                        \
     "its agent.conf (DIR/agent.conf or $XDG_CONFIG_HOME/sterna/agent.conf)"}

static const struct stn_option options[] = {CONFIG, {0}};
static const struct stn_option forget_options[] = {
    CONFIG,
    {"yes", 'y', STN_OPTION_FLAG, offsetof(struct options, yes), NULL, "really: the device cannot come back with its identity"},
    {0},
};

/* ---- speaking to the agent ---- */

/* Where the config is; path holds it when no option names the file. */
static enum stn_code find_config(const struct options *o, char path[static STN_FILE_PATH_MAX], const char **ret, struct stn_err *err)
{
    *ret = o->config != NULL ? o->config : path;
    return o->config != NULL ? STN_OK
           : o->dir != NULL  ? stn_file_join(path, o->dir, "agent.conf", err)
                             : stn_owner_default_config(path, err);
}

static enum stn_code read_owner(const struct options *o, struct stn_owner *ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    const char *config;
    enum stn_code code = find_config(o, path, &config, err);
    return code == STN_OK ? stn_owner_read(ret, config, err) : code;
}

/* The answer, whose error is ours. */
static enum stn_code ask(const struct options *o, const char *command, json_t **ret, struct stn_err *err)
{
    static struct stn_owner owner;
    struct stn_place place;
    char path[STN_FILE_PATH_MAX], question[64];
    struct stn_buf reply = {0};
    enum stn_code code = read_owner(o, &owner, err);
    code = code == STN_OK ? stn_place_open(&place, owner.folder, err) : code;
    if (code != STN_OK) {
        return code;
    }
    stn_place_path(&place, STN_PLACE_SOCKET, path);
    int n = snprintf(question, sizeof question, "{\"command\":\"%s\"}", command);
    code = stn_local_ask(path, question, (size_t)n, ANSWER_MS, &reply, err);
    if (code == STN_NOT_FOUND) {
        code = stn_err_set(err, code, "no agent runs in %s: sterna-agent run", owner.folder);
    }
    if (code == STN_OK) {
        json_t *answer = json_loadb((const char *)reply.data, reply.size, 0, NULL);
        const char *text = json_string_value(json_object_get(json_object_get(answer, "error"), "text"));
        if (!json_is_object(answer) || text != NULL) {
            code = stn_err_set(err, STN_IO, "%s", text != NULL ? text : "the agent's answer is no JSON");
            json_decref(answer);
        } else {
            *ret = answer;
        }
    }
    stn_buf_fini(&reply);
    return code;
}

static enum stn_code print_json(json_t *answer, struct stn_err *err)
{
    char *text = answer == NULL ? NULL : json_dumps(answer, 0);
    if (text == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for JSON");
    }
    (void)printf("%s\n", text);
    free(text);
    return STN_OK;
}

/* ---- commands ---- */

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    (void)line;
    const struct options *o = parsed;
    struct stn_device *device = NULL;
    char path[STN_FILE_PATH_MAX];
    const char *config;
    enum stn_code code = find_config(o, path, &config, err);
    code = code == STN_OK ? stn_device_open(&device, config, err) : code;
    code = code == STN_OK ? stn_device_run(device, true, err) : code;
    stn_device_close(device);
    return code;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL || text[0] == '\0' ? "-" : text;
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void print_status(const json_t *s)
{
    size_t i;
    json_t *item;
    (void)printf("device      %s\n", text_of(s, "device"));
    (void)printf("server      %s, %s\n", text_of(s, "server"), json_is_true(json_object_get(s, "connected")) ? "connected" : "not connected");
    (void)printf("phase       %s\n", text_of(s, "phase"));
    (void)printf("task        %s\n", text_of(s, "task"));
    (void)printf("round       %s, stage %s\n", text_of(s, "round"), text_of(s, "stage"));
    (void)printf("may work    %s\n", json_is_true(json_object_get(s, "may_work")) ? "yes" : text_of(s, "why"));
    (void)printf("smallest    %lld devices in a round%s\n", number_of(s, "n_min"),
                 json_is_true(json_object_get(s, "n_min_lowered")) ? ": the owner has lowered it, fewer hide each other less"
                                                                   : "");
    (void)printf("plain       %s\n", json_is_true(json_object_get(s, "allow_plain"))
                                        ? "the owner allows rounds in which the coordinator can read what it learned"
                                        : "no part in rounds without secure aggregation");
    (void)printf("taken part  %lld times\n", number_of(s, "spent"));
    json_array_foreach(json_object_get(s, "consents"), i, item) {
        (void)printf("consent     %s: %s\n", text_of(item, "task"), text_of(item, "path"));
    }
    json_array_foreach(json_object_get(s, "installed"), i, item) {
        (void)printf("installed   %s version %lld: %s\n", text_of(item, "task"), number_of(item, "version"), text_of(item, "path"));
    }
    if (number_of(s, "evidence") > 0) {
        (void)printf("evidence    %lld against the coordinator: sterna log evidence\n", number_of(s, "evidence"));
    }
    (void)printf("last error  %s\n", text_of(s, "last_error"));
}

static enum stn_code status(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    json_t *answer = NULL;
    enum stn_code code = ask(parsed, "status", &answer, err);
    if (code == STN_OK && line->json) {
        code = print_json(answer, err);
    } else if (code == STN_OK) {
        print_status(answer);
    }
    json_decref(answer);
    return code;
}

static enum stn_code tell(const void *parsed, const struct stn_command_line *line, const char *command, const char *done,
                          struct stn_err *err)
{
    json_t *answer = NULL;
    enum stn_code code = ask(parsed, command, &answer, err);
    if (code == STN_OK && line->json) {
        code = print_json(answer, err);
    } else if (code == STN_OK) {
        (void)printf("%s\n", done);
    }
    json_decref(answer);
    return code;
}

static enum stn_code pause_it(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    return tell(parsed, line, "pause", "paused: nothing is computed or fetched until sterna-agent resume", err);
}

static enum stn_code resume(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    return tell(parsed, line, "resume", "resumed", err);
}

static enum stn_code forget(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    static struct stn_owner owner;
    const struct options *o = parsed;
    struct stn_place place;
    char path[STN_FILE_PATH_MAX];
    int lock = -1;
    enum stn_code code = read_owner(o, &owner, err);
    if (code == STN_OK && !o->yes) {
        code = stn_err_set(err, STN_INVALID, "this removes the identity, models and adapters in %s for good: say --yes",
                           owner.folder);
    }
    code = code == STN_OK ? stn_place_open(&place, owner.folder, err) : code;
    if (code == STN_OK) {
        stn_place_path(&place, "lock", path);
        code = stn_file_lock(&lock, path, err);
        if (code == STN_EXISTS) {
            code = stn_err_set(err, code, "an agent runs in %s: stop it first", owner.folder);
        }
    }
    code = code == STN_OK ? stn_place_forget(&place, err) : code;
    stn_file_close(lock);
    if (code == STN_OK && line->json) {
        json_t *answer = json_pack("{sb ss}", "ok", 1, "folder", owner.folder);
        code = print_json(answer, err);
        json_decref(answer);
    } else if (code == STN_OK) {
        (void)printf("forgotten: %s\n", owner.folder);
    }
    return code;
}

#define COMMAND(name_text, table, function, summary_text, example_text)                                              \
    {.name = name_text, .args = "", .summary = summary_text, .example = example_text, .options = table,              \
     .defaults = &defaults, .size = sizeof defaults, .run = function}

int main(int argc, char **argv)
{
    static const struct stn_command commands[] = {
        COMMAND("run", options, run, "take part for as long as the owner's conditions hold, until SIGTERM",
                "sterna-agent run --config ~/.config/sterna/agent.conf"),
        COMMAND("status", options, status, "what the agent does, and what it has", "sterna-agent status --json"),
        COMMAND("pause", options, pause_it, "work no more until resume, across restarts", "sterna-agent pause"),
        COMMAND("resume", options, resume, "work again", "sterna-agent resume"),
        COMMAND("forget", forget_options, forget, "remove the identity, the models and the adapters",
                "sterna-agent forget --yes"),
        {0},
    };
    struct stn_err err = {0};
    if (stn_entropy_start(&err) != STN_OK) {
        (void)fprintf(stderr, "error: %s\n", err.text);
        return EXIT_FAILURE;
    }
    return stn_command_main("sterna-agent", "The agent of one device: it fine-tunes on the owner's data, which stay here.",
                            commands, argc, argv);
}
