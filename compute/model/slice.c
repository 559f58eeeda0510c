#include "compute/model/slice.h"

#include <assert.h>
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

/* ---- ranks ---- */

/* A tensor's first slots: to is a narrower one's values. They may overlap when to is not behind from. */
static void narrow_tensor(const struct stn_adapter_tensor *wide, const struct stn_adapter_tensor *narrow, const float *from,
                          float *to)
{
    for (size_t row = 0; row < narrow->rows; row++) {
        memmove(to + row * narrow->cols, from + row * wide->cols, narrow->cols * sizeof *to);
    }
}

enum stn_code stn_slice_narrow(struct stn_adapter **ret, const struct stn_adapter *from, uint32_t rank, struct stn_err *err)
{
    struct stn_adapter *narrow = NULL;
    assert(rank > 0 && rank <= from->rank);
    enum stn_code code = stn_adapter_copy(&narrow, from, err);
    if (code != STN_OK) {
        return code;
    }
    narrow->rank = rank;
    narrow->alpha = from->alpha * (float)rank / (float)from->rank;
    narrow->n_values = 0;
    for (size_t i = 0; i < narrow->n_tensors; i++) {
        struct stn_adapter_tensor *tensor = &narrow->tensors[i];
        *(tensor->is_b ? &tensor->cols : &tensor->rows) = rank;
        tensor->offset = narrow->n_values;
        narrow_tensor(&from->tensors[i], tensor, from->values + from->tensors[i].offset, narrow->values + tensor->offset);
        narrow->n_values += size_of(tensor);
    }
    *ret = narrow;
    return STN_OK;
}

void stn_slice_narrow_values(const struct stn_adapter *wide, const struct stn_adapter *narrow, const float *from, float *to)
{
    assert(wide->n_tensors == narrow->n_tensors);
    for (size_t i = 0; i < wide->n_tensors; i++) {
        narrow_tensor(&wide->tensors[i], &narrow->tensors[i], from + wide->tensors[i].offset, to + narrow->tensors[i].offset);
    }
}

void stn_slice_widen(const struct stn_adapter *wide, const struct stn_adapter *narrow, enum stn_slice slice,
                     const float *from, float *to)
{
    assert(wide->n_tensors == narrow->n_tensors);
    memset(to, 0, stn_slice_size(wide, slice) * sizeof *to);
    for (size_t i = 0; i < wide->n_tensors; i++) {
        const struct stn_adapter_tensor *into = &wide->tensors[i], *of = &narrow->tensors[i];
        if (stn_slice_has(slice, into->is_b)) {
            for (size_t row = 0; row < of->rows; row++) {
                memcpy(to + row * into->cols, from + row * of->cols, of->cols * sizeof *to);
            }
            to += size_of(into);
            from += size_of(of);
        }
    }
}

void stn_slice_scale(const struct stn_adapter *shape, enum stn_slice slice, const double *by_slot, float *sliced)
{
    for (size_t i = 0; i < shape->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &shape->tensors[i];
        for (size_t k = 0; stn_slice_has(slice, tensor->is_b) && k < size_of(tensor); k++, sliced++) {
            *sliced = (float)((double)*sliced * by_slot[tensor->is_b ? k % tensor->cols : k / tensor->cols]);
        }
    }
}
