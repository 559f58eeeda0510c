#include "compute/cpu/kernel.h"

#include <assert.h>

size_t stn_kernel_rows(const struct stn_kernel_call *call)
{
    return call->out[0].rows;
}

size_t stn_kernel_rows_in(const struct stn_kernel_call *call)
{
    return call->in[0].rows;
}

size_t stn_kernel_one(const struct stn_kernel_call *call)
{
    (void)call;
    return 1;
}

size_t stn_kernel_none(const struct stn_kernel_call *call)
{
    (void)call;
    return 0;
}

/* Rough figures of one core: what matters is which side of a thread's waking they lie on. */

size_t stn_kernel_passing(const struct stn_kernel_call *call)
{
    return call->out[0].rows * call->out[0].cols / 4;
}

/* Each row sees as many keys as its position says. */
size_t stn_kernel_attending(const struct stn_kernel_call *call)
{
    size_t n_keys = 0;
    for (size_t t = 0; t < call->in[4].rows; t++) {
        n_keys += (size_t)call->in[4].i[t] + 1;
    }
    return n_keys * call->out[0].cols / 4;
}

size_t stn_kernel_ternary(const struct stn_kernel_call *call)
{
    return call->out[0].rows * call->in[1].rows * call->in[1].cols / 64;
}

size_t stn_kernel_dense(const struct stn_kernel_call *call)
{
    return call->in[0].rows * call->in[0].cols * call->out[0].cols / 16;
}

size_t stn_kernel_much(const struct stn_kernel_call *call)
{
    (void)call;
    return SIZE_MAX;
}

#define ROW(NAME, name, n_inputs, n_outputs, n_in_place, straight, shape, backward, units, scratch, run, work)           \
    [STN_OP_##NAME] = {units, scratch, run, work},
static const struct stn_kernel kernels[STN_N_OPS] = {STN_OP_ROWS(ROW)};

const struct stn_kernel *stn_kernel_row(enum stn_op op)
{
    assert(op < STN_N_OPS);
    return &kernels[op];
}
