#include "io/conf.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define FILE_LIMIT ((size_t)1 << 20)
#define N_ROWS 128

struct reading {
    void *to;
    const struct stn_conf_row *rows;
    struct stn_err *err;
    bool seen[N_ROWS];
    bool failed;
};

static bool in_range(const struct stn_conf_row *row, double v)
{
    return (row->min == 0 && row->max == 0) || (v >= row->min && v <= row->max);
}

static enum stn_code bad_value(const struct stn_conf_row *row, const char *value,
                               struct stn_err *err)
{
    static const char *const expected[] = {
        [STN_CONF_STR] = "a shorter text", [STN_CONF_U64] = "a whole number",
        [STN_CONF_F64] = "a number",       [STN_CONF_SIZE] = "a size such as 512M or 1.5G",
        [STN_CONF_BOOL] = "yes or no",     [STN_CONF_WORD] = "one of",
        [STN_CONF_EACH] = "another value"};
    struct stn_buf words = {.limit = 256};
    for (size_t i = 0; row->type == STN_CONF_WORD && row->words[i] != NULL; i++) {
        (void)stn_buf_printf(&words, "%s%s", i == 0 ? " " : ", ", row->words[i]);
    }
    char range[64] = "";
    if (row->min != 0 || row->max != 0) {
        (void)snprintf(range, sizeof range, " from %g to %g", row->min, row->max);
    }
    enum stn_code code =
        stn_err_set(err, STN_INVALID, "%s is \"%.60s\", expected %s%s%s", row->key, value,
                    expected[row->type], range, words.data == NULL ? "" : (const char *)words.data);
    stn_buf_fini(&words);
    return code;
}

static bool take_word(const struct stn_conf_row *row, const char *value, int *ret)
{
    for (int i = 0; row->words[i] != NULL; i++) {
        if (strcmp(row->words[i], value) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static enum stn_code take(const struct stn_conf_row *row, void *to, const char *key,
                          const char *value, struct stn_err *err)
{
    char *at = (char *)to + row->offset;
    uint64_t u;
    double f;
    bool ok = false;
    switch (row->type) {
    case STN_CONF_STR:
        ok = stn_str_copy(at, row->size, value);
        break;
    case STN_CONF_U64:
    case STN_CONF_SIZE:
        ok = (row->type == STN_CONF_U64 ? stn_str_u64 : stn_str_size)(value, &u) &&
             in_range(row, (double)u);
        if (ok) {
            memcpy(at, &u, sizeof u);
        }
        break;
    case STN_CONF_F64:
        ok = stn_str_f64(value, &f) && in_range(row, f);
        if (ok) {
            memcpy(at, &f, sizeof f);
        }
        break;
    case STN_CONF_BOOL:
        ok = stn_str_bool(value, (bool *)(void *)at);
        break;
    case STN_CONF_WORD:
        ok = take_word(row, value, (int *)(void *)at);
        break;
    case STN_CONF_EACH:
        return row->each(to, key + strlen(row->key), value, err);
    }
    return ok ? STN_OK : bad_value(row, value, err);
}

static bool fits(const struct stn_conf_row *row, const char *section, const char *key)
{
    if (strcmp(row->section, section) != 0) {
        return false;
    }
    return row->type == STN_CONF_EACH ? stn_str_starts(key, row->key) : strcmp(row->key, key) == 0;
}

/* inih's callback: 0 stops at this line (the library is built to stop at the first error, or counts on). */
static int on_value(void *user, const char *section, const char *key, const char *value)
{
    struct reading *reading = user;
    if (reading->failed) {
        return 0;
    }
    for (size_t i = 0; reading->rows[i].key != NULL; i++) {
        const struct stn_conf_row *row = &reading->rows[i];
        if (!fits(row, section, key)) {
            continue;
        }
        reading->seen[i] = true;
        if (take(row, reading->to, key, value == NULL ? "" : value, reading->err) == STN_OK) {
            return 1;
        }
        reading->failed = true;
        return 0;
    }
    (void)stn_err_set(reading->err, STN_INVALID, "no setting is called %s%s%s", section,
                      section[0] == '\0' ? "" : ".", key);
    reading->failed = true;
    return 0;
}

enum stn_code stn_conf_parse(void *to, const struct stn_conf_row *rows, const char *name,
                             const char *text, size_t size, struct stn_err *err)
{
    struct stn_err mine = {0};
    struct reading reading = {.to = to, .rows = rows, .err = err == NULL ? &mine : err};
    if (memchr(text, '\0', size) != NULL) {
        return stn_err_set(err, STN_INVALID, "%s: a zero byte in the text", name);
    }
    char *copy = stn_mem_new(size + 1, 1);
    if (copy == NULL) {
        return stn_err_set(err, STN_MEMORY, "%s: no memory for %zu bytes", name, size);
    }
    memcpy(copy, text, size);
    int line = ini_parse_string(copy, on_value, &reading);
    stn_mem_free(copy);
    if (reading.failed) {
        return stn_err_prefix(reading.err, "%s line %d", name, line);
    }
    if (line != 0) {
        return stn_err_set(err, STN_INVALID, "%s line %d: expected [section] or key = value", name, line);
    }
    for (size_t i = 0; rows[i].key != NULL; i++) {
        if (rows[i].required && !reading.seen[i]) {
            return stn_err_set(err, STN_INVALID, "%s: %s in [%s] is missing", name, rows[i].key,
                               rows[i].section);
        }
    }
    return STN_OK;
}

enum stn_code stn_conf_read(void *to, const struct stn_conf_row *rows, const char *path,
                            struct stn_err *err)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return stn_err_errno(err, errno, "%s", path);
    }
    struct stn_buf buf = {.limit = FILE_LIMIT};
    enum stn_code code = STN_OK;
    for (size_t n = 1; n > 0;) {
        uint8_t *to_fill = stn_buf_extend(&buf, 4096);
        if (to_fill == NULL) {
            code = stn_err_set(err, STN_LIMIT, "%s: more than %zu bytes", path, FILE_LIMIT);
            break;
        }
        n = fread(to_fill, 1, 4096, f);
        buf.size -= 4096 - n;
    }
    if (code == STN_OK && ferror(f)) {
        code = stn_err_set(err, STN_IO, "%s: cannot be read", path);
    }
    (void)fclose(f);
    if (code == STN_OK) {
        code = stn_conf_parse(to, rows, path, (const char *)buf.data, buf.size, err);
    }
    stn_buf_fini(&buf);
    return code;
}
