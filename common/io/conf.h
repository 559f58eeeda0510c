/* conf: INI files read into a struct by a table of rows, one row a setting. A key that no row knows
 * or that comes twice, a value that does not parse or lies outside its range, and a missing
 * required key are each one error with the file's name and the line. One setting is one line, in
 * UTF-8, from its first column on; # and ; begin a comment line, and " ;" a comment behind a value.
 * Library: inih. Thread: one at a time. */
#ifndef STN_IO_CONF_H
#define STN_IO_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_CONF_FILE_MAX ((size_t)1 << 20)
#define STN_CONF_LINE_MAX 8192 /* a path and its key; 197 where inih cannot be told so */

enum stn_conf_type {
    STN_CONF_STR,  /* char[size]: must fit */
    STN_CONF_U64,  /* uint64_t in [min, max] */
    STN_CONF_F64,  /* double in [min, max] */
    STN_CONF_SIZE, /* uint64_t bytes, "1.5G", in [min, max] */
    STN_CONF_BOOL, /* bool */
    STN_CONF_WORD, /* int: the index of the value in words */
    STN_CONF_EACH  /* any key that starts with KEY (a trailing dot): each() is called for it */
};

struct stn_conf_row {
    const char *section; /* "" for keys before any section */
    const char *key;
    enum stn_conf_type type;
    size_t offset;            /* where in the struct */
    size_t size;              /* of a STR's array */
    double min, max;          /* of numbers; both 0: any */
    const char *const *words; /* of a WORD, ended by NULL */
    bool required;            /* in the file, and a STR has some text in it */
    /* of an EACH: the rest of the key, its value, the struct */
    enum stn_code (*each)(void *to, const char *rest, const char *value, struct stn_err *err);
};

/* Settings that the file does not name keep what *to holds; after a failure it may hold some of the
 * file's. rows (at most 128) end with a row whose key is NULL. */
enum stn_code stn_conf_read(void *to, const struct stn_conf_row *rows, const char *path,
                            struct stn_err *err) STN_CHECKED;

/* As stn_conf_read from text of size bytes; name stands for the file in errors. */
enum stn_code stn_conf_parse(void *to, const struct stn_conf_row *rows, const char *name,
                             const char *text, size_t size, struct stn_err *err) STN_CHECKED;

#endif
