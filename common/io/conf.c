#include "io/conf.h"

#include <assert.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "io/file.h"

#define N_ROWS 128
#define SECTION_MAX 48 /* inih cuts longer ones without a word */

/* Debian's inih lets its line buffer be set; another has the one it was built with. */
extern int ini_max_line __attribute__((weak));

struct reading {
    const char *at, *end; /* of the text that inih has not seen */
    int line;             /* that it sees */
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
                    value[0] == '\0' && row->type == STN_CONF_STR ? "some text" : expected[row->type], range,
                    words.data == NULL ? "" : (const char *)words.data);
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
        ok = !(row->required && value[0] == '\0') && stn_str_copy(at, row->size, value);
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

static bool take_setting(struct reading *reading, const char *section, const char *key,
                         const char *value)
{
    const char *dot = section[0] == '\0' ? "" : ".";
    if (strlen(section) > SECTION_MAX) {
        (void)stn_err_set(reading->err, STN_INVALID, "no section is called %s...", section);
        return false;
    }
    for (size_t i = 0; reading->rows[i].key != NULL; i++) {
        const struct stn_conf_row *row = &reading->rows[i];
        if (!fits(row, section, key)) {
            continue;
        }
        if (reading->seen[i] && row->type != STN_CONF_EACH) {
            (void)stn_err_set(reading->err, STN_INVALID, "%s%s%s is set a second time", section,
                              dot, key);
            return false;
        }
        reading->seen[i] = true;
        return take(row, reading->to, key, value, reading->err) == STN_OK;
    }
    (void)stn_err_set(reading->err, STN_INVALID, "no setting is called %.48s%s%.100s", section, dot,
                      key);
    return false;
}

/* inih's callback: 0 is an error on this line. */
static int on_value(void *user, const char *section, const char *key, const char *value)
{
    struct reading *reading = user;
    if (reading->failed) {
        return 0;
    }
    reading->failed = !take_setting(reading, section, key, value == NULL ? "" : value);
    return reading->failed ? 0 : 1;
}

/* inih's fgets. Lines are known to fit; the first failure is the end. */
static char *next_line(char *to, int room, void *user)
{
    struct reading *reading = user;
    if (reading->failed || reading->at == reading->end) {
        return NULL;
    }
    const char *newline = memchr(reading->at, '\n', (size_t)(reading->end - reading->at));
    size_t size = (size_t)((newline == NULL ? reading->end : newline + 1) - reading->at);
    assert(room > 0 && size < (size_t)room);
    memcpy(to, reading->at, size);
    to[size] = '\0';
    reading->at += size;
    reading->line++;
    return to;
}

/* What inih would take for something else without a word: a line that it would cut in two, and one
 * that begins with a blank, which it would add to the setting before. */
static enum stn_code check_lines(const char *name, const char *text, size_t size, size_t line_max,
                                 struct stn_err *err)
{
    if (memchr(text, '\0', size) != NULL || !stn_str_is_utf8(text, size)) {
        return stn_err_set(err, STN_INVALID, "%.100s: not a text in UTF-8", name);
    }
    int number = 1;
    for (const char *at = text, *end = text + size; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline == NULL ? end : newline) - at);
        if (n > line_max) {
            return stn_err_set(err, STN_LIMIT, "%.100s line %d: %zu bytes, at most %zu", name,
                               number, n, line_max);
        }
        size_t blank = 0;
        while (blank < n && (at[blank] == ' ' || (at[blank] >= '\t' && at[blank] <= '\r'))) {
            blank++;
        }
        if (blank > 0 && blank < n && at[blank] != '#' && at[blank] != ';') {
            return stn_err_set(err, STN_INVALID, "%.100s line %d: begins with a blank", name,
                               number);
        }
        at += n + (newline != NULL);
    }
    return STN_OK;
}

enum stn_code stn_conf_parse(void *to, const struct stn_conf_row *rows, const char *name,
                             const char *text, size_t size, struct stn_err *err)
{
    struct stn_err mine = {0};
    struct reading reading = {.at = text, .end = text + size, .to = to, .rows = rows};
    reading.err = err == NULL ? &mine : err;
    size_t line_max = INI_MAX_LINE - 3;
    if (&ini_max_line != NULL) {
        ini_max_line = STN_CONF_LINE_MAX + 3;
        line_max = STN_CONF_LINE_MAX;
    }
    if (size == 0) {
        reading.at = reading.end = text = "";
    }
    enum stn_code code = check_lines(name, text, size, line_max, err);
    if (code != STN_OK) {
        return code;
    }
    int line = ini_parse_stream(next_line, &reading, on_value, &reading);
    if (line < 0) {
        return stn_err_set(err, STN_MEMORY, "%.100s: no memory to read it", name);
    }
    if (line != 0 && (!reading.failed || line < reading.line)) {
        return stn_err_set(err, STN_INVALID, "%.100s line %d: expected [section] or key = value",
                           name, line);
    }
    if (reading.failed) {
        return stn_err_prefix(reading.err, "%.100s line %d", name, line);
    }
    for (size_t i = 0; rows[i].key != NULL; i++) {
        if (rows[i].required && !reading.seen[i]) {
            return stn_err_set(err, STN_INVALID, "%.100s: %s in [%s] is missing", name, rows[i].key,
                               rows[i].section);
        }
    }
    return STN_OK;
}

enum stn_code stn_conf_read(void *to, const struct stn_conf_row *rows, const char *path,
                            struct stn_err *err)
{
    struct stn_buf buf = {0};
    enum stn_code code = stn_file_read(path, STN_CONF_FILE_MAX, &buf, err);
    if (code == STN_OK) {
        code = stn_conf_parse(to, rows, path, (const char *)buf.data, buf.size, err);
    }
    stn_buf_fini(&buf);
    return code;
}
