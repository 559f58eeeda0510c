/* kernel: the CPU's row for each op. A call's work is cut in units that write disjoint outputs, so that any split
 * among threads gives the same bits. Each kernel opens with its formula. Thread: any, on disjoint units. */
#ifndef STN_COMPUTE_CPU_KERNEL_H
#define STN_COMPUTE_CPU_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "compute/graph.h"

/* A tensor as this run has it: row-major without gaps (STN_DTYPE_Q8: rows of stn_ternary_stride(cols) bytes). */
struct stn_kernel_view {
    union {
        void *p;
        const void *data;
        float *f;
        int32_t *i;
        int8_t *q;
    };
    float *scale; /* of Q8: one for each row */
    size_t rows, cols;
    enum stn_dtype dtype;
};

struct stn_kernel_call {
    const struct stn_node *node;
    struct stn_kernel_view in[STN_OP_INPUTS], out[STN_OP_OUTPUTS];
};

struct stn_kernel {
    size_t (*units)(const struct stn_kernel_call *call);
    size_t (*scratch)(const struct stn_kernel_call *call); /* bytes a thread needs, with rows at capacity; NULL: none */
    void (*run)(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
    size_t (*work)(const struct stn_kernel_call *call); /* about how many nanoseconds: little is not worth a team */
};

const struct stn_kernel *stn_kernel_row(enum stn_op op);

/* Kernels, by file. norm.c */
void stn_norm_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_norm_back(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* product.c */
void stn_product_quantise(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_product_quantise_random(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
size_t stn_product_ternary_units(const struct stn_kernel_call *call);
size_t stn_product_ternary_scratch(const struct stn_kernel_call *call);
void stn_product_ternary(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
size_t stn_product_ternary_back_units(const struct stn_kernel_call *call);
void stn_product_ternary_back(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
size_t stn_product_linear_units(const struct stn_kernel_call *call);
void stn_product_linear(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* The same product in the units of the ternary product that it adds to: STN_TERNARY_RANGE columns each. */
void stn_product_linear_columns(const struct stn_kernel_call *call, size_t first, size_t count);
void stn_product_linear_back_x(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
size_t stn_product_linear_back_w_units(const struct stn_kernel_call *call);
void stn_product_linear_back_w(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* rope.c */
void stn_rope_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* attention.c, attention_back.c */
size_t stn_attention_units(const struct stn_kernel_call *call);
size_t stn_attention_scratch(const struct stn_kernel_call *call);
void stn_attention_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
size_t stn_attention_back_units(const struct stn_kernel_call *call);
size_t stn_attention_back_scratch(const struct stn_kernel_call *call);
void stn_attention_back_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* gate.c */
void stn_gate_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_gate_back(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* rows.c */
void stn_rows_embed(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_rows_dropout(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_rows_add(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_rows_copy(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_rows_gather(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_rows_scatter(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_rows_store(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* loss.c */
size_t stn_loss_units(const struct stn_kernel_call *call);
size_t stn_loss_scratch(const struct stn_kernel_call *call);
void stn_loss_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
/* adamw.c */
size_t stn_adamw_units(const struct stn_kernel_call *call);
void stn_adamw_squares(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
void stn_adamw_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);

#endif
