#include "compute/cpu/kernel.h"

#include <assert.h>

static size_t rows_of_output(const struct stn_kernel_call *call)
{
    return call->out[0].rows;
}

static size_t rows_of_input(const struct stn_kernel_call *call)
{
    return call->in[0].rows;
}

static size_t one(const struct stn_kernel_call *call)
{
    (void)call;
    return 1;
}

/* Rough figures of one core: what matters is which side of a thread's waking they lie on. */

static size_t passing(const struct stn_kernel_call *call)
{
    return call->out[0].rows * call->out[0].cols / 4;
}

/* Each row sees as many keys as its position says. */
static size_t attending(const struct stn_kernel_call *call)
{
    size_t n_keys = 0;
    for (size_t t = 0; t < call->in[4].rows; t++) {
        n_keys += (size_t)call->in[4].i[t] + 1;
    }
    return n_keys * call->out[0].cols / 4;
}

static size_t ternary(const struct stn_kernel_call *call)
{
    return call->out[0].rows * call->in[1].rows * call->in[1].cols / 64;
}

static size_t dense(const struct stn_kernel_call *call)
{
    return call->in[0].rows * call->in[0].cols * call->out[0].cols / 16;
}

static size_t much(const struct stn_kernel_call *call)
{
    (void)call;
    return SIZE_MAX;
}

static const struct stn_kernel kernels[STN_N_OPS] = {
    [STN_OP_EMBED] = {rows_of_output, NULL, stn_rows_embed, passing},
    [STN_OP_NORM] = {rows_of_output, NULL, stn_norm_run, passing},
    [STN_OP_NORM_BACK] = {rows_of_output, NULL, stn_norm_back, passing},
    [STN_OP_QUANTISE] = {rows_of_output, NULL, stn_product_quantise, passing},
    [STN_OP_QUANTISE_RANDOM] = {rows_of_output, NULL, stn_product_quantise_random, passing},
    [STN_OP_TERNARY] = {stn_product_ternary_units, stn_product_ternary_scratch, stn_product_ternary, ternary},
    [STN_OP_TERNARY_BACK] = {stn_product_ternary_back_units, stn_product_ternary_scratch, stn_product_ternary_back, ternary},
    [STN_OP_LINEAR] = {stn_product_linear_units, NULL, stn_product_linear, dense},
    [STN_OP_LINEAR_BACK_X] = {rows_of_output, NULL, stn_product_linear_back_x, dense},
    [STN_OP_LINEAR_BACK_W] = {stn_product_linear_back_w_units, NULL, stn_product_linear_back_w, dense},
    [STN_OP_ROPE] = {rows_of_output, NULL, stn_rope_run, passing},
    [STN_OP_ATTENTION] = {stn_attention_units, stn_attention_scratch, stn_attention_run, attending},
    [STN_OP_ATTENTION_BACK] = {stn_attention_back_units, stn_attention_back_scratch, stn_attention_back_run, attending},
    [STN_OP_GATE] = {rows_of_output, NULL, stn_gate_run, passing},
    [STN_OP_GATE_BACK] = {rows_of_output, NULL, stn_gate_back, passing},
    [STN_OP_DROPOUT] = {rows_of_output, NULL, stn_rows_dropout, passing},
    [STN_OP_ADD] = {rows_of_output, NULL, stn_rows_add, passing},
    [STN_OP_COPY] = {rows_of_output, NULL, stn_rows_copy, passing},
    [STN_OP_GATHER] = {rows_of_output, NULL, stn_rows_gather, passing},
    [STN_OP_SCATTER] = {one, NULL, stn_rows_scatter, passing},
    [STN_OP_STORE] = {rows_of_input, NULL, stn_rows_store, passing},
    [STN_OP_SCORE] = {stn_loss_units, stn_loss_scratch, stn_loss_run, much},
    [STN_OP_LOSS] = {stn_loss_units, stn_loss_scratch, stn_loss_run, much},
    [STN_OP_SQUARES] = {stn_adamw_units, NULL, stn_adamw_squares, much},
    [STN_OP_ADAMW] = {stn_adamw_units, NULL, stn_adamw_run, much},
};

const struct stn_kernel *stn_kernel_row(enum stn_op op)
{
    assert(op < STN_N_OPS);
    return &kernels[op];
}
