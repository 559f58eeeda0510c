#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "client/cli/session.h"
#include "compute/train/jsonl.h"

#define FIELDS_MAX 64        /* names that are told of */
#define VALUES_MAX 100000    /* of a field, that are told apart */

struct options {
    const char *model;
    uint64_t context;
    int loss;
    bool skip_bad;
};

static const struct options defaults = {.context = 512, .loss = STN_DATASET_COMPLETION};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "count in the tokens of this model too (no)"},
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "most tokens of an example, with -m (512)", 2, 1 << 20},
    {"loss", 0, STN_OPTION_WORD, AT(loss), "completion|all", "what of a prompt's example is learned, with -m (completion)",
     .words = stn_session_losses},
    {"skip-bad", 0, STN_OPTION_FLAG, AT(skip_bad), NULL, "count broken lines instead of failing"},
    {0},
};

struct field {
    uint64_t n;
    struct stn_map values;
};

/* What there is in a file. */
struct tally {
    uint64_t n_lines, n_kinds[3], n_bad, n_left_out, n_bytes, longest;
    struct stn_map fields; /* name -> struct field */
    struct stn_err first_bad;
};

static enum stn_code add_fields(struct tally *tally, const struct stn_jsonl_record *record, struct stn_err *err)
{
    for (size_t i = 0; i < record->n_fields; i++) {
        const char *name = record->fields[i].name, *value = record->fields[i].value;
        struct field *field = stn_map_get(&tally->fields, name, strlen(name));
        if (field == NULL && tally->fields.n < FIELDS_MAX) {
            field = stn_mem_new(1, sizeof *field);
            if (field == NULL || !stn_map_set(&tally->fields, name, strlen(name), field)) {
                stn_mem_free(field);
                return stn_err_set(err, STN_MEMORY, "no memory for field %s", name);
            }
        }
        if (field == NULL) {
            continue;
        }
        field->n++;
        if (field->values.n < VALUES_MAX && !stn_map_set(&field->values, value, strlen(value), field)) {
            return stn_err_set(err, STN_MEMORY, "no memory for the values of field %s", name);
        }
    }
    return STN_OK;
}

static enum stn_code add_line(struct tally *tally, const char *line, size_t size, uint64_t number, struct stn_err *err)
{
    struct stn_arena arena = {0};
    struct stn_jsonl_record record;
    struct stn_err why = {0};
    enum stn_code code = stn_jsonl_parse(&record, &arena, line, size, &why);
    tally->n_lines++;
    tally->n_bytes += size;
    tally->longest = size > tally->longest ? size : tally->longest;
    if (code == STN_OK) {
        tally->n_kinds[record.kind]++;
        tally->n_left_out += record.n_fields_left_out;
        code = add_fields(tally, &record, err);
    } else if (code == STN_INVALID || code == STN_LIMIT) {
        if (tally->n_bad++ == 0) {
            (void)stn_err_prefix(&why, "line %llu", (unsigned long long)number);
            tally->first_bad = why;
        }
        code = STN_OK;
    } else {
        code = stn_err_set(err, code, "%s", why.text);
    }
    stn_arena_fini(&arena);
    return code;
}

static enum stn_code read_all(struct tally *tally, const char *path, struct stn_err *err)
{
    struct stn_jsonl_file *file = NULL;
    const char *line = "";
    enum stn_code code = stn_jsonl_open(&file, path, err);
    while (code == STN_OK && line != NULL && !stn_command_stopping()) {
        size_t size;
        uint64_t number = 0;
        struct stn_err why = {0};
        code = stn_jsonl_next(file, &line, &size, &number, &why);
        if (code == STN_LIMIT) {
            tally->n_lines++;
            line = "";
            if (tally->n_bad++ == 0) {
                (void)stn_err_prefix(&why, "line %llu", (unsigned long long)number);
                tally->first_bad = why;
            }
            code = STN_OK;
        } else if (code != STN_OK) {
            code = stn_err_set(err, code, "%s: %s", path, why.text);
        } else if (line != NULL) {
            code = add_line(tally, line, size, number, err);
        }
    }
    stn_jsonl_close(file);
    if (code == STN_OK && stn_command_stopping()) {
        code = stn_err_set(err, STN_CANCELLED, "stopped at line %llu", (unsigned long long)tally->n_lines);
    }
    return code;
}

static void print_summary(const struct tally *tally, const struct stn_dataset *dataset)
{
    (void)printf("%-10s %llu: %llu prompts, %llu conversations, %llu texts, %llu broken\n", "lines",
                 (unsigned long long)tally->n_lines, (unsigned long long)tally->n_kinds[STN_JSONL_PAIR],
                 (unsigned long long)tally->n_kinds[STN_JSONL_MESSAGES],
                 (unsigned long long)tally->n_kinds[STN_JSONL_TEXT], (unsigned long long)tally->n_bad);
    if (tally->n_bad > 0) {
        (void)printf("%-10s %s\n", "broken", tally->first_bad.text);
    }
    (void)printf("%-10s %llu in all, %llu the longest line\n", "bytes", (unsigned long long)tally->n_bytes,
                 (unsigned long long)tally->longest);
    for (size_t i = 0; i < tally->fields.n; i++) {
        const struct stn_map_entry *entry = &tally->fields.entries[i];
        const struct field *field = entry->value;
        (void)printf("%-10s %.*s: %zu%s values in %llu lines\n", "field", (int)entry->key_size, (const char *)entry->key,
                     field->values.n, field->values.n == VALUES_MAX ? " or more" : "", (unsigned long long)field->n);
    }
    if (tally->n_left_out > 0) {
        (void)printf("%-10s %llu keys are too long or no text, and cannot be used with by:FIELD\n", "left out",
                     (unsigned long long)tally->n_left_out);
    }
    if (dataset != NULL) {
        stn_session_print_counts(dataset);
        (void)printf("%-10s %llu in all, %llu with loss, %zu the longest example\n", "tokens",
                     (unsigned long long)dataset->counts.n_tokens, (unsigned long long)dataset->counts.n_targets,
                     stn_session_longest(dataset));
    }
}

static enum stn_code print_json(const struct tally *tally, const struct stn_dataset *dataset, struct stn_err *err)
{
    json_t *fields = json_object();
    for (size_t i = 0; i < tally->fields.n; i++) {
        const struct stn_map_entry *entry = &tally->fields.entries[i];
        const struct field *field = entry->value;
        (void)json_object_setn_new(fields, entry->key, entry->key_size,
                                   json_pack("{sI sI}", "values", (json_int_t)field->values.n, "lines", (json_int_t)field->n));
    }
    json_t *object = json_pack("{sI sI sI sI sI sI sI sI so}", "lines", (json_int_t)tally->n_lines,
                               "prompts", (json_int_t)tally->n_kinds[STN_JSONL_PAIR],
                               "conversations", (json_int_t)tally->n_kinds[STN_JSONL_MESSAGES],
                               "texts", (json_int_t)tally->n_kinds[STN_JSONL_TEXT], "broken", (json_int_t)tally->n_bad,
                               "bytes", (json_int_t)tally->n_bytes, "longest_line", (json_int_t)tally->longest,
                               "fields_left_out", (json_int_t)tally->n_left_out, "fields", fields);
    if (object != NULL && tally->n_bad > 0) {
        (void)json_object_set_new(object, "first_broken", json_string(tally->first_bad.text));
    }
    if (object != NULL && dataset != NULL) {
        stn_session_add_counts(object, dataset);
        (void)json_object_set_new(object, "tokens", json_integer((json_int_t)dataset->counts.n_tokens));
        (void)json_object_set_new(object, "targets", json_integer((json_int_t)dataset->counts.n_targets));
        (void)json_object_set_new(object, "longest_example", json_integer((json_int_t)stn_session_longest(dataset)));
    }
    return stn_session_take_json(object, err);
}

/* In the tokens of a model, which is opened for its vocabulary alone. */
static enum stn_code tokenise(struct stn_dataset **ret, const struct options *o, const char *path, struct stn_err *err)
{
    struct stn_gguf *gguf = NULL;
    struct stn_tokenizer *tokenizer = NULL;
    const struct stn_dataset_config config = {.context = o->context, .loss = (enum stn_dataset_loss)o->loss,
                                              .skip_bad = o->skip_bad};
    enum stn_code code = stn_gguf_open(&gguf, o->model, err);
    code = code != STN_OK ? code : stn_tokenizer_new(&tokenizer, gguf, err);
    code = code != STN_OK ? code : stn_dataset_open(ret, path, tokenizer, &config, err);
    stn_tokenizer_free(tokenizer);
    stn_gguf_close(gguf);
    return code;
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    const char *path = line->args[0];
    struct tally tally = {0};
    struct stn_dataset *dataset = NULL;
    enum stn_code code = read_all(&tally, path, err);
    if (code == STN_OK && tally.n_bad > 0 && !o->skip_bad) {
        code = stn_err_set(err, STN_INVALID, "%s: %s (%llu of %llu lines are broken)", path, tally.first_bad.text,
                           (unsigned long long)tally.n_bad, (unsigned long long)tally.n_lines);
    }
    if (code == STN_OK && tally.n_lines == tally.n_bad) {
        code = stn_err_set(err, STN_INVALID, "%s: no example in it", path);
    }
    if (code == STN_OK && o->model != NULL) {
        code = tokenise(&dataset, o, path, err);
    }
    if (code == STN_OK && line->json) {
        code = print_json(&tally, dataset, err);
    } else if (code == STN_OK) {
        print_summary(&tally, dataset);
    }
    for (size_t i = 0; i < tally.fields.n; i++) {
        struct field *field = tally.fields.entries[i].value;
        stn_map_fini(&field->values);
        stn_mem_free(field);
    }
    stn_map_fini(&tally.fields);
    stn_dataset_free(dataset);
    return code;
}

const struct stn_command stn_cmd_data_check = {
    .name = "data check", .args = "DATA.jsonl", .min_args = 1, .max_args = 1,
    .summary = "read a dataset and say what is in it, or what is wrong with it",
    .example = "sterna data check notes.jsonl -m base.gguf",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = check,
};
