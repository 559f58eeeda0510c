#include "update/unmask.h"

void stn_unmask_init(struct stn_unmask *unmask, uint32_t *sum, size_t length, const struct stn_mask *masks,
                     size_t n_masks)
{
    unmask->sum = sum;
    unmask->length = length;
    unmask->masks = masks;
    unmask->n_masks = n_masks;
    atomic_init(&unmask->next, 0);
}

void stn_unmask_help(struct stn_unmask *unmask)
{
    size_t from;
    while ((from = atomic_fetch_add_explicit(&unmask->next, STN_UNMASK_STRIDE, memory_order_relaxed)) < unmask->length) {
        size_t left = unmask->length - from;
        stn_mask_apply(unmask->sum + from, left < STN_UNMASK_STRIDE ? left : STN_UNMASK_STRIDE, from / STN_MASK_SUPERBLOCK, unmask->masks,
                       unmask->n_masks);
    }
}
