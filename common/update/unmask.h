/* unmask: masks come off a sum (SA1), by as many threads as help: each takes a few tiles of the sum at a time, and takes
 * every mask off them while they are in its cache. The sum is the same for any number of threads. */
#ifndef STN_UPDATE_UNMASK_H
#define STN_UPDATE_UNMASK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/mask.h"

#define STN_UNMASK_STRIDE (4 * (size_t)STN_MASK_TILE) /* elements that a thread takes at a time */

struct stn_unmask {
    uint32_t *sum; /* (length) */
    size_t length;
    const struct stn_mask *masks;
    size_t n_masks;
    atomic_size_t next; /* the first element that nobody has taken */
};

/* Everything is borrowed until all who help have returned. */
void stn_unmask_init(struct stn_unmask *unmask, uint32_t *sum, size_t length, const struct stn_mask *masks,
                     size_t n_masks);

/* Returns when nothing is left to take; others may still be at theirs. Thread: any number of them at once. */
void stn_unmask_help(struct stn_unmask *unmask);

#endif
