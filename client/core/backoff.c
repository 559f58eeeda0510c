#include "client/core/backoff.h"

uint64_t stn_backoff_ms(struct stn_backoff *backoff, struct stn_rng *rng, uint64_t first_ms,
                        uint64_t most_ms)
{
    uint64_t cap_ms = first_ms < most_ms ? first_ms : most_ms;
    for (uint32_t i = 0; i < backoff->n_failures && cap_ms < most_ms; i++) {
        cap_ms = cap_ms > most_ms / 2 ? most_ms : cap_ms * 2;
    }
    if (backoff->n_failures < UINT32_MAX) {
        backoff->n_failures++;
    }
    return 1 + stn_rng_below(rng, cap_ms);
}
