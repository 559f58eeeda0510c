/* select: pace steering. A device that finds no work is told when to come again, so that arrivals
 * meet demand: first come as many as the next round needs, then as many a second as rounds use up,
 * and never more than STN_SELECT_MOST a second. The book of appointments is a ring of seconds, so
 * its size does not grow with the fleet. After Bonawitz et al., "Towards federated learning at
 * scale" (2019), section 2.3. */
#ifndef STN_SERVER_CORE_SELECT_H
#define STN_SERVER_CORE_SELECT_H

#include <stdint.h>

#include "base/rng.h"

#define STN_SELECT_SECONDS 4096 /* the longest wait */
#define STN_SELECT_MOST 100

struct stn_select {
    uint64_t second; /* the ring's first: count[second % STN_SELECT_SECONDS] */
    uint32_t count[STN_SELECT_SECONDS];
};

struct stn_select_demand {
    uint64_t at_ms; /* when devices are wanted next */
    double n;       /* how many at once */
    double per_s;   /* and how many a second after that */
};

/* How long to stay away; the appointment is written down. */
uint64_t stn_select_wait_ms(struct stn_select *select, struct stn_rng *rng, uint64_t now_ms,
                            const struct stn_select_demand *demand);

#endif
