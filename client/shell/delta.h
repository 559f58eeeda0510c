/* delta: what a training came to: the values, and what goes with them into the encoding. It belongs to one lease. As a file
 * it is whole or not there. Thread: any. */
#ifndef STN_CLIENT_SHELL_DELTA_H
#define STN_CLIENT_SHELL_DELTA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "proto/msg.h"
#include "update/encode.h"

struct stn_delta {
    float *values; /* (n_values); NULL: there is none */
    size_t n_values;
    struct stn_encode_info info;
    struct stn_digest lease; /* whose it is; given by what writes or reads it */
};

/* Gives delta->lease, too. */
enum stn_code stn_delta_write(const char *path, const struct stn_msg_lease *lease, struct stn_delta *delta,
                              struct stn_err *err) STN_CHECKED;

/* The caller frees *ret. STN_NOT_FOUND; STN_CORRUPT when it is damaged or another lease's. */
enum stn_code stn_delta_read(struct stn_delta *ret, const char *path, const struct stn_msg_lease *lease,
                             struct stn_err *err) STN_CHECKED;

/* Wipes the values, which nobody else is to see, and frees them. One without is fine. */
void stn_delta_free(struct stn_delta *delta);

/* Whether it is there, and of this lease, given once or again. */
bool stn_delta_is_of(const struct stn_delta *delta, const struct stn_msg_lease *lease);

#endif
