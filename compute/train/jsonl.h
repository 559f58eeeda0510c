/* jsonl: one line of a JSONL file as what its author meant: a prompt with its completion, a conversation, or a
 * text, and the small other keys beside it. It knows nothing of tokens. Thread: one at a time for each record. */
#ifndef STN_COMPUTE_TRAIN_JSONL_H
#define STN_COMPUTE_TRAIN_JSONL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

#define STN_JSONL_LINE_LIMIT ((size_t)4 << 20) /* bytes of a line */
#define STN_JSONL_MESSAGES_LIMIT 1024
#define STN_JSONL_FIELDS_LIMIT 32
#define STN_JSONL_FIELD_LIMIT 256 /* bytes of a field's name or value; a longer one is not kept */

enum stn_jsonl_kind {
    STN_JSONL_PAIR,     /* {"prompt": TEXT, "completion": TEXT} */
    STN_JSONL_MESSAGES, /* {"messages": [{"role": "system|user|assistant", "content": TEXT}, ...]} */
    STN_JSONL_TEXT      /* {"text": TEXT} */
};

struct stn_jsonl_message {
    const char *role, *content;
};

struct stn_jsonl_field {
    const char *name, *value; /* a number or a truth as JSON writes it */
};

/* Strings are UTF-8 without zeroes inside, and live in the arena. */
struct stn_jsonl_record {
    enum stn_jsonl_kind kind;
    const char *prompt, *completion; /* of a pair */
    const char *text;                /* of a text */
    const struct stn_jsonl_message *messages;
    size_t n_messages;
    const struct stn_jsonl_field *fields; /* the other keys whose values are strings, numbers or truths */
    size_t n_fields;
    size_t n_fields_left_out; /* too long, too many, or no such value */
};

/* STN_INVALID says what was expected; STN_LIMIT names the limit. size bytes without the line's end. */
enum stn_code stn_jsonl_parse(struct stn_jsonl_record *ret, struct stn_arena *arena, const char *line, size_t size,
                               struct stn_err *err) STN_CHECKED;

/* A file of lines, for what reads record after record. */
struct stn_jsonl_file;
enum stn_code stn_jsonl_open(struct stn_jsonl_file **ret, const char *path, struct stn_err *err) STN_CHECKED;
void stn_jsonl_close(struct stn_jsonl_file *file);

/* The next line that is not blank, without its end, borrowed until the next call; *ret_line is NULL at the end of
 * the file. *ret_number counts from 1. STN_LIMIT for a line beyond the limit: the call after it goes on behind that line.
 * STN_IO when the file cannot be read. */
enum stn_code stn_jsonl_next(struct stn_jsonl_file *file, const char **ret_line, size_t *ret_size,
                              uint64_t *ret_number, struct stn_err *err) STN_CHECKED;

#endif
