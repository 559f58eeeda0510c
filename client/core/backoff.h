/* backoff: how long to wait after a failure: exponential with full jitter, so that a fleet that
 * lost its coordinator at one moment does not come back at one moment. */
#ifndef STN_CLIENT_CORE_BACKOFF_H
#define STN_CLIENT_CORE_BACKOFF_H

#include <stdint.h>

#include "base/rng.h"

struct stn_backoff {
    uint32_t n_failures; /* in a row; zeroed after a success */
};

/* Counts a failure: uniform in 1 .. min(most, first * 2^(failures before it)). first and most are
 * not 0. */
uint64_t stn_backoff_ms(struct stn_backoff *backoff, struct stn_rng *rng, uint64_t first_ms,
                        uint64_t most_ms);

#endif
