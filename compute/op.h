/* op: everything a graph can do, one row each: its name, how many tensors it reads and writes, what shape it writes,
 * and how its gradient is made of other ops. A backend has one kernel for each row; the plain C kernels in
 * compute/cpu are the definition. To add an op: a row here, a kernel there, a test in tests/compute/test_ops.c.
 *
 * Rows are tokens (or targets); x: (T, n) means T rows of n columns. Thread: the table is read only. */
#ifndef STN_COMPUTE_OP_H
#define STN_COMPUTE_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stn_graph;
struct stn_grad;
struct stn_shape;

enum stn_op {
    STN_OP_EMBED,           /* tokens (T), table (V, n)                      -> x (T, n) */
    STN_OP_NORM,            /* x (T, n), gain (1, n)                         -> y (T, n)       root mean square */
    STN_OP_NORM_BACK,       /* x, gain, dy                                   -> dx */
    STN_OP_QUANTISE,        /* x (T, n)                                      -> xq (T, n)      int8 per row */
    STN_OP_QUANTISE_RANDOM, /* dy (T, n), seed (1, 2)                        -> dyq (T, n)     stochastic rounding */
    STN_OP_TERNARY,         /* xq or x (T, n), W (m, n)                      -> y (T, m) */
    STN_OP_TERNARY_BACK,    /* dyq or dy (T, m), W (m, n)                    -> dx (T, n) */
    STN_OP_LINEAR,          /* x (T, n), W (m, n)                            -> y (T, m)       y = scale x W^T */
    STN_OP_LINEAR_BACK_X,   /* dy (T, m), W (m, n)                           -> dx (T, n) */
    STN_OP_LINEAR_BACK_W,   /* dy (T, m), x (T, n)                           -> dW (m, n) */
    STN_OP_ROPE,            /* positions (T), table (context, d)             -> x (T, heads d) in place */
    STN_OP_ATTENTION,       /* q (T, H d), k, v (S, K d), starts, positions (T) -> o (T, H d), lse (T, H) */
    STN_OP_ATTENTION_BACK,  /* q, k, v, starts, positions, o, lse, do        -> dq, dk, dv */
    STN_OP_GATE,            /* g, u (T, n)                                   -> a (T, n)       SwiGLU or squared ReLU */
    STN_OP_GATE_BACK,       /* g, u, da                                      -> dg, du */
    STN_OP_DROPOUT,         /* x (T, n), seed (1, 2)                         -> y (T, n)       0 by chance, else scaled up */
    STN_OP_ADD,             /* a, b (T, n)                                   -> c (T, n) */
    STN_OP_COPY,            /* a (T, n)                                      -> b (T, n) */
    STN_OP_GATHER,          /* x (T, n), rows (M)                            -> y (M, n) */
    STN_OP_SCATTER,         /* dy (M, n), rows (M)                           -> dx (T, n)      zero elsewhere */
    STN_OP_STORE,           /* x (T, n), rows (T)                            -> cache (context, n), rows written in place */
    STN_OP_SCORE,           /* y (M, n), table (V, n), labels (M)            -> losses, guesses (M): the forward half of loss */
    STN_OP_LOSS,            /* y, table, labels, weights (M)                 -> losses, guesses (M), dy (M, n) of the weighted sum */
    STN_OP_SQUARES,         /* g (1, N), spans (1, P + 1), trains (1, P)     -> s (1, P)       sum of squares of each span */
    STN_OP_ADAMW,           /* g (1, N), spans, trains, s, settings (1, 8)   -> values, m, v, g in place */
    STN_N_OPS
};

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
