/* log: one logfmt line for each fact that an operator can see, on stderr:
 *   ts=2026-01-31T12:00:00.123Z level=info event=round_closed round=3 clients=18
 * Programs log; libraries return errors; cores do neither. A value with a blank, quote or equals sign is quoted
 * and escaped, so that one fact is always one line. Thread: any. */
#ifndef STN_BASE_LOG_H
#define STN_BASE_LOG_H

#include "base/err.h"

enum stn_log_level {
    STN_LOG_DEBUG,
    STN_LOG_INFO,
    STN_LOG_WARN,
    STN_LOG_ERROR
};

/* What is below the level is not written. The start is STN_LOG_INFO. */
void stn_log_level(enum stn_log_level level);

/* Pairs of name and printf format follow: stn_log(STN_LOG_INFO, "round_closed", "round=%llu clients=%u", ...).
 * The format's own text is written as it stands; a string from outside goes through stn_log_quote. */
void stn_log(enum stn_log_level level, const char *event, const char *format, ...) STN_PRINTF(3, 4);

/* The error as a line: event=EVENT code=CODE text="...". */
void stn_log_err(enum stn_log_level level, const char *event, const struct stn_err *err);

#define STN_LOG_QUOTED 512
/* s as a quoted logfmt value, cut to fit; returns dst. */
const char *stn_log_quote(char dst[static STN_LOG_QUOTED], const char *s);

#endif
