#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[STN_N_CODES] = {
    [STN_OK] = "ok",
    [STN_INVALID] = "invalid",
    [STN_LIMIT] = "limit",
    [STN_NOT_FOUND] = "not-found",
    [STN_EXISTS] = "exists",
    [STN_AGAIN] = "again",
    [STN_DENIED] = "denied",
    [STN_CORRUPT] = "corrupt",
    [STN_UNSUPPORTED] = "unsupported",
    [STN_IO] = "io",
    [STN_FULL] = "full",
    [STN_MEMORY] = "memory",
    [STN_CANCELLED] = "cancelled",
    [STN_LATE] = "late",
};

/* Text often quotes what came from outside: an error stays one line and cannot speak to a terminal. */
static void tame(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = '?';
        }
    }
}

enum stn_code stn_err_set(struct stn_err *err, enum stn_code code, const char *format, ...)
{
    assert(code != STN_OK);
    if (err == NULL) {
        return code;
    }
    err->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    tame(err->text);
    return code;
}

enum stn_code stn_err_prefix(struct stn_err *err, const char *format, ...)
{
    if (err == NULL) {
        return STN_INVALID;
    }
    char old[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof err->text) {
        (void)snprintf(err->text + used, sizeof err->text - used, ": %s", old);
    }
    tame(err->text);
    return err->code;
}

static enum stn_code code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return STN_FULL;
    case ENOENT:
        return STN_NOT_FOUND;
    case ENOMEM:
        return STN_MEMORY;
    case EACCES:
    case EPERM:
        return STN_DENIED;
    case EEXIST:
        return STN_EXISTS;
    case EMFILE:
    case ENFILE:
        return STN_AGAIN;
    default:
        return STN_IO;
    }
}

enum stn_code stn_err_errno(struct stn_err *err, int number, const char *format, ...)
{
    enum stn_code code = code_of_errno(number);
    if (err == NULL) {
        return code;
    }
    err->code = code;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof err->text) {
        (void)snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(number));
    }
    tame(err->text);
    return code;
}

const char *stn_err_name(enum stn_code code)
{
    return (unsigned)code < STN_N_CODES ? names[code] : "unknown";
}

enum stn_code stn_err_code(const char *name, enum stn_code otherwise)
{
    for (int i = STN_OK + 1; i < STN_N_CODES; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum stn_code)i;
        }
    }
    return otherwise;
}
