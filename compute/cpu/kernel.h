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
    size_t (*scratch)(const struct stn_kernel_call *call); /* bytes a thread needs, with rows at capacity */
    void (*run)(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch);
    size_t (*work)(const struct stn_kernel_call *call); /* about how many nanoseconds: little is not worth a team */
};

const struct stn_kernel *stn_kernel_row(enum stn_op op);

/* All that the rows name: units, scratch, kernels and times, which are each kernel's own or one of kernel.c's. */
#define STN_KERNEL_DECLARE(NAME, name, n_inputs, n_outputs, n_in_place, straight, shape, backward, units, scratch, run, work) \
    size_t units(const struct stn_kernel_call *call);                                                                         \
    size_t scratch(const struct stn_kernel_call *call);                                                                       \
    void run(const struct stn_kernel_call *call, size_t first, size_t count, void *memory);                                   \
    size_t work(const struct stn_kernel_call *call);
STN_OP_ROWS(STN_KERNEL_DECLARE)
#undef STN_KERNEL_DECLARE

/* A product in the units of the ternary product that it adds to: STN_TERNARY_RANGE columns each. */
void stn_product_linear_columns(const struct stn_kernel_call *call, size_t first, size_t count);

#endif
