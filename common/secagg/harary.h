/* harary: who is whose neighbour. The n members of a roster stand in a ring in an order that
 * nobody chose (Fisher and Yates's shuffle by a seed that comes from the roster), and everybody's
 * neighbours are those within k / 2 places. With k = n - 1 everybody is everybody's neighbour.
 * Source: Bell et al., CCS 2020, section 3.1 (Harary graphs). Thread: any. */
#ifndef STN_SECAGG_HARARY_H
#define STN_SECAGG_HARARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define STN_HARARY_NOBODY UINT32_MAX

struct stn_harary {
    uint32_t n, k;
    uint32_t *members; /* by place in the ring */
    uint32_t *places;  /* by member */
};

/* k is even and below n, or n - 1. The caller ends it with fini; zeroed is fine there. */
enum stn_code stn_harary_init(struct stn_harary *ret, uint32_t n, uint32_t k,
                              const uint8_t seed[static 32], struct stn_err *err) STN_CHECKED;
void stn_harary_fini(struct stn_harary *graph);

/* The k neighbours of a member, rising. A neighbour's slot is its number in this list. */
void stn_harary_neighbours(const struct stn_harary *graph, uint32_t member, uint32_t *ret);

bool stn_harary_are_neighbours(const struct stn_harary *graph, uint32_t a, uint32_t b);

/* The slot of `of` among the neighbours of member, or STN_HARARY_NOBODY. */
uint32_t stn_harary_slot(const struct stn_harary *graph, uint32_t member, uint32_t of);

#endif
