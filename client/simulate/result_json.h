/* result_json: a simulation's result as the JSON object of `sterna simulate --json`. Thread: any. */
#ifndef STN_CLIENT_SIMULATE_RESULT_JSON_H
#define STN_CLIENT_SIMULATE_RESULT_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include "client/simulate/result.h"

/* Appends the text, without a line's end. */
enum stn_code stn_result_json_text(const struct stn_result *result, struct stn_buf *ret, struct stn_err *err) STN_CHECKED;

#endif
