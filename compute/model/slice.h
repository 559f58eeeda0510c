/* slice: the part of an adapter that trains and travels: both LoRA factors of every product, or its A alone, or its B
 * alone. A slice's values are those of its tensors one behind the other, in the adapter's order.
 *
 * Ranks are slots: slot r is row r of every A and column r of every B. A narrow adapter is the first slots of a wide one,
 * with the same alpha / rank: what is trained there is at home in the wide one (Diao et al. 2021, HeteroFL, for widths;
 * Cho et al. 2024, HetLoRA, for ranks). Thread: any. */
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

/* values is (n_values), sliced (size). May work in place. */
void stn_slice_take(const struct stn_adapter *shape, enum stn_slice slice, const float *values, float *sliced);
/* values += sliced, where they are of the slice */
void stn_slice_add(const struct stn_adapter *shape, enum stn_slice slice, const float *sliced, float *values);

/* The first slots of an adapter, with their values. 0 < rank <= from->rank. The caller frees *ret. */
enum stn_code stn_slice_narrow(struct stn_adapter **ret, const struct stn_adapter *from, uint32_t rank,
                               struct stn_err *err) STN_CHECKED;
/* The same of values alone: (wide->n_values) to (narrow->n_values). */
void stn_slice_narrow_values(const struct stn_adapter *wide, const struct stn_adapter *narrow, const float *from, float *to);
/* Slices: the narrow one's slots in the wide one, whose others are zero. */
void stn_slice_widen(const struct stn_adapter *wide, const struct stn_adapter *narrow, enum stn_slice slice,
                     const float *from, float *to);
/* sliced *= by_slot (shape->rank), each value by its slot's. */
void stn_slice_scale(const struct stn_adapter *shape, enum stn_slice slice, const double *by_slot, float *sliced);

#endif
