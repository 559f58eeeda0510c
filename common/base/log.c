#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static _Atomic int lowest = STN_LOG_INFO;

void stn_log_level(enum stn_log_level level)
{
    atomic_store(&lowest, (int)level);
}

void stn_log(enum stn_log_level level, const char *event, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load(&lowest)) {
        return;
    }
    struct timespec now;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    char when[32], line[2048];
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(line, sizeof line, "ts=%s.%03ldZ level=%s event=%s ", when,
                     now.tv_nsec / 1000000, names[level], event);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    (void)fprintf(stderr, "%s\n", line); /* one call: lines of two threads do not mix */
}

void stn_log_err(enum stn_log_level level, const char *event, const struct stn_err *err)
{
    char text[STN_LOG_QUOTED];
    stn_log(level, event, "code=%s text=%s", stn_err_name(err->code), stn_log_quote(text, err->text));
}

const char *stn_log_quote(char dst[static STN_LOG_QUOTED], const char *s)
{
    size_t n = 0;
    dst[n++] = '"';
    for (; *s != '\0' && n < STN_LOG_QUOTED - 4; s++) {
        if (*s == '"' || *s == '\\') {
            dst[n++] = '\\';
            dst[n++] = *s;
        } else if ((unsigned char)*s < ' ') {
            dst[n++] = ' ';
        } else {
            dst[n++] = *s;
        }
    }
    dst[n++] = '"';
    dst[n] = '\0';
    return dst;
}
