/* op: everything a graph can do, one row each (op_rows.h): its name, how many tensors it reads and writes, what shape it writes,
 * how its gradient is made of other ops, and its kernel in plain C in compute/cpu, which is the definition. Other backends have
 * theirs. To add an op: docs/compute.md.
 *
 * Rows are tokens (or targets); x: (T, n) means T rows of n columns. Thread: the table is read only. */
#ifndef STN_COMPUTE_OP_H
#define STN_COMPUTE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/op_rows.h"

struct stn_graph;
struct stn_grad;
struct stn_shape;

#define STN_OP_NUMBER(NAME, ...) STN_OP_##NAME,
enum stn_op { STN_OP_ROWS(STN_OP_NUMBER) STN_N_OPS };
#undef STN_OP_NUMBER

#define STN_OP_INPUTS 8
#define STN_OP_OUTPUTS 4
#define STN_OP_NONE UINT32_MAX /* no tensor here */
#define STN_OP_NEW                                                                                                     \
    {                                                                                                                  \
        STN_OP_NONE, STN_OP_NONE, STN_OP_NONE, STN_OP_NONE                                                             \
    } /* outputs that the graph shall make */

enum stn_op_gate { STN_OP_GATE_SWIGLU, STN_OP_GATE_RELU2 };

/* The floats of AdamW's settings tensor. */
enum stn_op_setting {
    STN_OP_SETTING_LR,
    STN_OP_SETTING_BETA1,
    STN_OP_SETTING_BETA2,
    STN_OP_SETTING_EPS,
    STN_OP_SETTING_WEIGHT_DECAY,
    STN_OP_SETTING_CLIP,
    STN_OP_SETTING_CORRECTION1, /* 1 - beta1^t */
    STN_OP_SETTING_CORRECTION2, /* 1 - beta2^t */
    STN_OP_N_SETTINGS
};

struct stn_node {
    enum stn_op op;
    uint32_t in[STN_OP_INPUTS];
    uint32_t out[STN_OP_OUTPUTS]; /* STN_OP_NONE before it is added: the graph makes one by the shape rule */
    bool add;                     /* to what out[0] holds, instead of overwriting it */
    bool neox;                    /* rope: pairs (i, i + d/2) instead of (2i, 2i + 1) */
    bool inverse;                 /* rope: turns back */
    bool rounds;                  /* ternary: the gradient is rounded to int8 before it meets W */
    float scale;                  /* linear: of the product; attention: of the scores; dropout: of what stays */
    float eps;                    /* norm; dropout: the share that becomes 0 */
    enum stn_op_gate gate;
    uint32_t heads, kv_heads, head_size; /* rope (heads of x), attention */
    uint32_t number;              /* quantise_random, dropout: which of the graph's streams of random numbers */
};

struct stn_op_row {
    const char *name;
    uint8_t n_inputs, n_outputs;
    uint8_t in_place; /* outputs that exist before the op, the last so many: it must be told which */
    bool straight;    /* the output's gradient is the input's, unchanged: straight through a rounding */
    /* Asserts that the inputs fit and says what out[0..n_outputs) are. */
    void (*shape)(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret);
    /* Appends what turns the outputs' gradients into the inputs'. NULL: no gradient passes. */
    void (*backward)(struct stn_grad *grad, const struct stn_node *node);
};

const struct stn_op_row *stn_op_row(enum stn_op op);

#endif
