/* slice: the part of an adapter that trains and travels: both LoRA factors of every product, or its A alone, or its B
 * alone. A slice's values are those of its tensors one behind the other, in the adapter's order. Thread: any. */
#ifndef STN_COMPUTE_MODEL_SLICE_H
#define STN_COMPUTE_MODEL_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/model/adapter.h"

enum stn_slice { /* the numbers of enum stn_factor (proto/msg.h) */
    STN_SLICE_BOTH = 0,
    STN_SLICE_A = 1,
    STN_SLICE_B = 2
};

static inline bool stn_slice_has(enum stn_slice slice, bool is_b)
{
    return slice == STN_SLICE_BOTH || (slice == STN_SLICE_B) == is_b;
}

/* How many values it has: of the adapter's n_values. */
size_t stn_slice_size(const struct stn_adapter *shape, enum stn_slice slice);

/* values is (n_values), sliced (size). take may work in place; put leaves the other values as they are. */
void stn_slice_take(const struct stn_adapter *shape, enum stn_slice slice, const float *values, float *sliced);
void stn_slice_put(const struct stn_adapter *shape, enum stn_slice slice, const float *sliced, float *values);
/* values += sliced, where they are of the slice */
void stn_slice_add(const struct stn_adapter *shape, enum stn_slice slice, const float *sliced, float *values);

#endif
