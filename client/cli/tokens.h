/* tokens: lists of whole numbers as options give them: "1,2,3". Thread: any. */
#ifndef STN_CLIENT_CLI_TOKENS_H
#define STN_CLIENT_CLI_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_TOKENS_MAX 65536 /* numbers in a list */

/* Numbers below 2^31 between commas. The caller frees *ret with stn_mem_free. what stands for the option in errors. */
enum stn_code stn_tokens_parse(int32_t **ret, size_t *ret_n, const char *text, const char *what, struct stn_err *err) STN_CHECKED;

/* Whether it could be parsed. */
enum stn_code stn_tokens_check(const char *text, const char *what, struct stn_err *err) STN_CHECKED;

#endif
