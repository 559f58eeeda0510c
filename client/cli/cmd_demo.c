#include "client/cli/cli.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "client/simulate/demo.h"
#include "io/file.h"

struct options {
    const char *out;
    uint64_t devices, seed;
};

static const struct options defaults = {.devices = 20, .seed = 1};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"output", 'o', STN_OPTION_STR, AT(out), "DIR", "the folder to write to, made when missing", .required = true},
    {"devices", 0, STN_OPTION_U64, AT(devices), "N", "homes (20)", 1, STN_DEMO_HOMES_MAX},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "other homes for another seed (1)"},
    {0},
};

static enum stn_code add_line(struct stn_buf *lines, uint64_t seed, uint64_t home, uint64_t i, struct stn_err *err)
{
    struct stn_demo_example example;
    char name[32];
    stn_demo_make(seed, home, i, &example);
    (void)snprintf(name, sizeof name, "home-%02llu", (unsigned long long)home);
    json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "prompt", example.prompt, "completion", example.completion, "home",
                               name, "intent", example.intent);
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    const bool fits = text != NULL && stn_buf_add_str(lines, text) && stn_buf_add_u8(lines, '\n');
    free(text);
    json_decref(object);
    return fits ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for the homes' examples");
}

static enum stn_code write_lines(const char *folder, const char *name, const struct stn_buf *lines, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = stn_file_join(path, folder, name, err);
    return code == STN_OK ? stn_file_replace(path, lines->data, lines->size, STN_FILE_MODE, err) : code;
}

static enum stn_code write_homes(const struct options *o, struct stn_buf *home, struct stn_buf *test, struct stn_err *err)
{
    enum stn_code code = stn_file_make_folder(o->out, 0755, err);
    for (uint64_t h = 0; code == STN_OK && h < o->devices; h++) {
        char name[64];
        stn_buf_clear(home);
        for (uint64_t i = 0; code == STN_OK && i < STN_DEMO_EXAMPLES + STN_DEMO_TEST; i++) {
            code = add_line(i < STN_DEMO_EXAMPLES ? home : test, o->seed, h, i, err);
        }
        (void)snprintf(name, sizeof name, "home-%02llu.jsonl", (unsigned long long)h);
        if (code == STN_OK) {
            code = write_lines(o->out, name, home, err);
        }
    }
    return code == STN_OK ? write_lines(o->out, "test.jsonl", test, err) : code;
}

static enum stn_code run(const void *p, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = p;
    struct stn_buf home = {0}, test = {0};
    enum stn_code code = write_homes(o, &home, &test, err);
    stn_buf_fini(&home);
    stn_buf_fini(&test);
    if (code != STN_OK) {
        return code;
    }
    const unsigned long long n = o->devices;
    if (line->json) {
        (void)printf("{\"homes\":%llu,\"examples\":%llu,\"tests\":%llu,\"seed\":%llu}\n", n, n * STN_DEMO_EXAMPLES,
                     n * STN_DEMO_TEST, (unsigned long long)o->seed);
    } else {
        (void)printf("%s: %llu homes of %d examples, and test.jsonl with %llu\n", o->out, n, STN_DEMO_EXAMPLES,
                     n * STN_DEMO_TEST);
    }
    return STN_OK;
}

const struct stn_command stn_cmd_data_demo = {
    .name = "data demo",
    .args = "",
    .summary = "write the built-in household data: a JSONL file a home, and a test set that mixes all homes",
    .example = "sterna data demo -o homes --devices 20",
    .options = options,
    .defaults = &defaults,
    .size = sizeof defaults,
    .run = run,
};
