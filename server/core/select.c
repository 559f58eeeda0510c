#include "server/core/select.h"

static uint32_t *count_of(struct stn_select *select, uint64_t second)
{
    return &select->count[second % STN_SELECT_SECONDS];
}

/* Seconds that are over are counted no more, and stand for those at the far end. */
static void advance(struct stn_select *select, uint64_t second)
{
    if (second < select->second) {
        second = select->second; /* the clock was set back */
    }
    if (second - select->second >= STN_SELECT_SECONDS) {
        *select = (struct stn_select){.second = second};
    }
    for (; select->second < second; select->second++) {
        *count_of(select, select->second) = 0;
    }
}

uint64_t stn_select_wait_ms(struct stn_select *select, struct stn_rng *rng, uint64_t now_ms,
                            const struct stn_select_demand *demand)
{
    advance(select, now_ms / 1000);
    uint64_t first = demand->at_ms / 1000;
    uint64_t end = select->second + STN_SELECT_SECONDS;
    if (first <= select->second) {
        first = select->second + 1;
    }
    if (first > end - STN_SELECT_SECONDS / 4) {
        first = end - STN_SELECT_SECONDS / 4;
    }
    uint64_t at = first;
    double n_told = 0;
    for (; at < end; at++) {
        uint32_t here = *count_of(select, at);
        n_told += here;
        if (here < STN_SELECT_MOST && n_told < demand->n + demand->per_s * (double)(at - first)) {
            break;
        }
    }
    if (at == end) { /* far more devices than work: evenly over the later half */
        at = end - STN_SELECT_SECONDS / 2 + stn_rng_below(rng, STN_SELECT_SECONDS / 2);
    }
    (*count_of(select, at))++;
    uint64_t due_ms = at * 1000 + stn_rng_below(rng, 1000);
    return due_ms > now_ms ? due_ms - now_ms : 1;
}
