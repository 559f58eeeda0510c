/* adapters: what tests of files of adapters ask of one: a new one of a model, its matrices, whether two are the same file. */
#ifndef STN_TESTS_UNIT_ADAPTERS_H
#define STN_TESTS_UNIT_ADAPTERS_H

#include "tests/lib/run.h"

#include <string.h>

#include "base/buf.h"
#include "compute/model/adapter.h"

/* Of every product of the model, with values from a hash. The caller frees it. */
static inline struct stn_adapter *new_adapter(const struct stn_arch *arch, uint32_t rank, float alpha)
{
    struct stn_adapter *adapter = NULL;
    struct stn_err err;
    ck_assert_msg(stn_adapter_new(&adapter, arch, rank, alpha, STN_ARCH_ALL, &err) == STN_OK, "%s", err.text);
    stn_adapter_init_hash(adapter, 11);
    return adapter;
}

static inline bool is_same_adapter(const struct stn_adapter *a, const struct stn_adapter *b)
{
    struct stn_buf one = {0}, two = {0};
    struct stn_err err;
    ck_assert_int_eq(stn_adapter_file_write(a, &one, &err), STN_OK);
    ck_assert_int_eq(stn_adapter_file_write(b, &two, &err), STN_OK);
    bool is_same = one.size == two.size && memcmp(one.data, two.data, one.size) == 0;
    stn_buf_fini(&one);
    stn_buf_fini(&two);
    return is_same;
}

/* A or B of a product of the first layer. */
static inline const float *values_of(const struct stn_adapter *adapter, enum stn_arch_target target, bool is_b)
{
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        if (adapter->tensors[i].target == target && adapter->tensors[i].is_b == is_b) {
            return adapter->values + adapter->tensors[i].offset;
        }
    }
    ck_abort_msg("no such matrix");
}

#endif
