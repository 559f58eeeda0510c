#include "compute/model/slice.h"

#include <string.h>

static size_t size_of(const struct stn_adapter_tensor *tensor)
{
    return (size_t)tensor->rows * tensor->cols;
}

size_t stn_slice_size(const struct stn_adapter *shape, enum stn_slice slice)
{
    size_t n = 0;
    for (size_t i = 0; i < shape->n_tensors; i++) {
        n += stn_slice_has(slice, shape->tensors[i].is_b) ? size_of(&shape->tensors[i]) : 0;
    }
    return n;
}

void stn_slice_take(const struct stn_adapter *shape, enum stn_slice slice, const float *values, float *sliced)
{
    for (size_t i = 0; i < shape->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &shape->tensors[i];
        if (stn_slice_has(slice, tensor->is_b)) {
            memmove(sliced, values + tensor->offset, size_of(tensor) * sizeof *sliced); /* never behind where it was */
            sliced += size_of(tensor);
        }
    }
}

void stn_slice_put(const struct stn_adapter *shape, enum stn_slice slice, const float *sliced, float *values)
{
    for (size_t i = 0; i < shape->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &shape->tensors[i];
        if (stn_slice_has(slice, tensor->is_b)) {
            memcpy(values + tensor->offset, sliced, size_of(tensor) * sizeof *sliced);
            sliced += size_of(tensor);
        }
    }
}

void stn_slice_add(const struct stn_adapter *shape, enum stn_slice slice, const float *sliced, float *values)
{
    for (size_t i = 0; i < shape->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &shape->tensors[i];
        if (stn_slice_has(slice, tensor->is_b)) {
            for (size_t k = 0; k < size_of(tensor); k++) {
                values[tensor->offset + k] += sliced[k];
            }
            sliced += size_of(tensor);
        }
    }
}
