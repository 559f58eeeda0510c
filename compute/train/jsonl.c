#include "compute/train/jsonl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/mem.h"
#include "base/str.h"

#define CHUNK ((size_t)64 << 10)
#define SHAPES "{\"prompt\", \"completion\"}, {\"messages\"} or {\"text\"}"

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "a string", "a number",
                                        "a number",  "true",     "false",    "null"};
    return value == NULL ? "missing" : names[json_typeof(value)];
}

/* A copy of the string that a key of object must have. */
static enum stn_code take_text(const char **ret, struct stn_arena *arena, const json_t *object,
                               const char *key, struct stn_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return stn_err_set(err, STN_INVALID, "\"%s\" is %s, expected a string", key, type_name(value));
    }
    *ret = stn_arena_str(arena, json_string_value(value));
    return *ret == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a line's text") : STN_OK;
}

static enum stn_code take_messages(struct stn_jsonl_record *record, struct stn_arena *arena, const json_t *list,
                                   struct stn_err *err)
{
    size_t n = json_array_size(list), n_answers = 0;
    if (!json_is_array(list) || n == 0) {
        return stn_err_set(err, STN_INVALID, "\"messages\" is %s, expected a list of {\"role\", \"content\"}",
                           json_is_array(list) ? "empty" : type_name(list));
    }
    if (n > STN_JSONL_MESSAGES_LIMIT) {
        return stn_err_set(err, STN_LIMIT, "%zu messages, at most %d", n, STN_JSONL_MESSAGES_LIMIT);
    }
    struct stn_jsonl_message *messages = stn_arena_new(arena, n, sizeof *messages);
    if (messages == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu messages", n);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_object(item)) {
            return stn_err_set(err, STN_INVALID, "message %zu is %s, expected {\"role\", \"content\"}", i + 1,
                               type_name(item));
        }
        if (take_text(&messages[i].role, arena, item, "role", err) != STN_OK ||
            take_text(&messages[i].content, arena, item, "content", err) != STN_OK) {
            return stn_err_prefix(err, "message %zu", i + 1);
        }
        const char *role = messages[i].role;
        bool is_answer = strcmp(role, "assistant") == 0;
        if (!is_answer && strcmp(role, "user") != 0 && strcmp(role, "system") != 0) {
            return stn_err_set(err, STN_INVALID, "message %zu has role \"%.32s\", expected system, user or assistant",
                               i + 1, role);
        }
        n_answers += is_answer;
    }
    if (n_answers == 0) {
        return stn_err_set(err, STN_INVALID, "no message is the assistant's: there is nothing to learn");
    }
    record->messages = messages;
    record->n_messages = n;
    return STN_OK;
}

static bool is_ours(enum stn_jsonl_kind kind, const char *key)
{
    switch (kind) {
    case STN_JSONL_PAIR:
        return strcmp(key, "prompt") == 0 || strcmp(key, "completion") == 0;
    case STN_JSONL_MESSAGES:
        return strcmp(key, "messages") == 0;
    case STN_JSONL_TEXT:
        return strcmp(key, "text") == 0;
    }
    return false;
}

/* The value as a short text in to, or false. */
static bool put_value(char to[static STN_JSONL_FIELD_LIMIT + 1], const json_t *value)
{
    if (json_is_string(value)) {
        return stn_str_copy(to, STN_JSONL_FIELD_LIMIT + 1, json_string_value(value));
    }
    if (json_is_integer(value)) {
        (void)snprintf(to, STN_JSONL_FIELD_LIMIT, "%lld", (long long)json_integer_value(value));
        return true;
    }
    if (json_is_real(value)) {
        (void)snprintf(to, STN_JSONL_FIELD_LIMIT, "%.17g", json_real_value(value));
        return true;
    }
    return json_is_boolean(value) && stn_str_copy(to, STN_JSONL_FIELD_LIMIT + 1, json_is_true(value) ? "true" : "false");
}

static enum stn_code take_fields(struct stn_jsonl_record *record, struct stn_arena *arena, json_t *object,
                                 struct stn_err *err)
{
    size_t room = json_object_size(object), n = 0;
    room = room < STN_JSONL_FIELDS_LIMIT ? room : STN_JSONL_FIELDS_LIMIT;
    struct stn_jsonl_field *fields = stn_arena_new(arena, room, sizeof *fields);
    const char *key;
    json_t *value;
    if (fields == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a line's fields");
    }
    json_object_foreach(object, key, value) {
        char text[STN_JSONL_FIELD_LIMIT + 1];
        if (is_ours(record->kind, key)) {
            continue;
        }
        if (n == room || strlen(key) > STN_JSONL_FIELD_LIMIT || !put_value(text, value)) {
            record->n_fields_left_out++;
            continue;
        }
        fields[n].name = stn_arena_str(arena, key);
        fields[n].value = stn_arena_str(arena, text);
        if (fields[n].name == NULL || fields[n].value == NULL) {
            return stn_err_set(err, STN_MEMORY, "no memory for a line's fields");
        }
        n++;
    }
    record->fields = fields;
    record->n_fields = n;
    return STN_OK;
}

static enum stn_code take_record(struct stn_jsonl_record *record, struct stn_arena *arena, json_t *object,
                                 struct stn_err *err)
{
    bool pair = json_object_get(object, "prompt") != NULL || json_object_get(object, "completion") != NULL;
    bool messages = json_object_get(object, "messages") != NULL, text = json_object_get(object, "text") != NULL;
    if (pair + messages + text != 1) {
        return stn_err_set(err, STN_INVALID, "%s, expected " SHAPES,
                           pair + messages + text == 0 ? "none of the known keys" : "keys of more than one kind");
    }
    enum stn_code code;
    if (pair) {
        record->kind = STN_JSONL_PAIR;
        code = take_text(&record->prompt, arena, object, "prompt", err);
        code = code != STN_OK ? code : take_text(&record->completion, arena, object, "completion", err);
    } else if (messages) {
        record->kind = STN_JSONL_MESSAGES;
        code = take_messages(record, arena, json_object_get(object, "messages"), err);
    } else {
        record->kind = STN_JSONL_TEXT;
        code = take_text(&record->text, arena, object, "text", err);
    }
    return code != STN_OK ? code : take_fields(record, arena, object, err);
}

enum stn_code stn_jsonl_parse(struct stn_jsonl_record *ret, struct stn_arena *arena, const char *line, size_t size,
                               struct stn_err *err)
{
    if (size > STN_JSONL_LINE_LIMIT) {
        return stn_err_set(err, STN_LIMIT, "%zu bytes, at most %zu", size, STN_JSONL_LINE_LIMIT);
    }
    json_error_t where;
    json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (object == NULL) {
        return stn_err_set(err, STN_INVALID, "%.120s (at byte %d), expected one JSON object", where.text, where.position);
    }
    struct stn_jsonl_record record = {0};
    enum stn_code code = STN_OK;
    if (!json_is_object(object)) {
        code = stn_err_set(err, STN_INVALID, "%s, expected an object: " SHAPES, type_name(object));
    } else {
        code = take_record(&record, arena, object, err);
    }
    json_decref(object);
    if (code == STN_OK) {
        *ret = record;
    }
    return code;
}

struct stn_jsonl_file {
    FILE *file;
    char *line; /* room of STN_JSONL_LINE_LIMIT + 1 at most */
    size_t room;
    uint64_t number;
};

enum stn_code stn_jsonl_open(struct stn_jsonl_file **ret, const char *path, struct stn_err *err)
{
    struct stn_jsonl_file *file = stn_mem_new(1, sizeof *file);
    if (file == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory", path);
    }
    file->file = fopen(path, "rbe");
    if (file->file == NULL) {
        stn_mem_free(file);
        return stn_err_errno(err, errno, "%s", path);
    }
    *ret = file;
    return STN_OK;
}

void stn_jsonl_close(struct stn_jsonl_file *file)
{
    if (file != NULL) {
        (void)fclose(file->file);
        stn_mem_free(file->line);
        stn_mem_free(file);
    }
}

static enum stn_code grow(struct stn_jsonl_file *file, struct stn_err *err)
{
    size_t room = file->room == 0 ? CHUNK : 2 * file->room;
    char *line = stn_mem_grow(file->line, room, 1);
    if (line == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a line of %zu bytes", room);
    }
    file->line = line;
    file->room = room;
    return STN_OK;
}

/* One line into file->line; what is beyond the limit is read and counted, not kept. *ret_more is false at the end. */
static enum stn_code read_line(struct stn_jsonl_file *file, size_t *ret_size, bool *ret_more, struct stn_err *err)
{
    size_t size = 0;
    int c;
    while ((c = getc_unlocked(file->file)) != EOF && c != '\n') {
        if (size < STN_JSONL_LINE_LIMIT) {
            if (size == file->room && grow(file, err) != STN_OK) {
                return STN_MEMORY;
            }
            file->line[size] = (char)c;
        }
        size++;
    }
    if (c == EOF && ferror(file->file) != 0) {
        return stn_err_errno(err, errno, "it cannot be read");
    }
    *ret_size = size;
    *ret_more = c != EOF || size > 0;
    return STN_OK;
}

static bool is_blank(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r') {
            return false;
        }
    }
    return true;
}

enum stn_code stn_jsonl_next(struct stn_jsonl_file *file, const char **ret_line, size_t *ret_size,
                              uint64_t *ret_number, struct stn_err *err)
{
    for (;;) {
        size_t size = 0, from = 0;
        bool more = false;
        enum stn_code code = read_line(file, &size, &more, err);
        *ret_line = NULL;
        if (code != STN_OK || !more) {
            return code;
        }
        *ret_number = ++file->number;
        if (size > STN_JSONL_LINE_LIMIT) {
            return stn_err_set(err, STN_LIMIT, "%zu bytes, at most %zu", size, STN_JSONL_LINE_LIMIT);
        }
        if (file->number == 1 && size >= 3 && memcmp(file->line, "\xef\xbb\xbf", 3) == 0) {
            from = 3; /* a byte order mark, as some editors write */
        }
        if (!is_blank(file->line + from, size - from)) {
            *ret_line = file->line + from;
            *ret_size = size - from;
            return STN_OK;
        }
    }
}
