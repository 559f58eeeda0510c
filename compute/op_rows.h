/* op_rows: the table of ops. A row is an op's number (op.h), its row there (op.c), and the processor's kernel (cpu/kernel.h, kernel.c),
 * which each take from it what they need. Thread: there is nothing here but names.
 *
 *   ROW(NAME, name, n_inputs, n_outputs, in_place, straight, shape, backward,     as struct stn_op_row says
 *       units, scratch, run, work)                                                as struct stn_kernel says; they are declared here
 *
 * The comment says what an op reads and what it makes of it. T: tokens, M: targets, V: words. */
#ifndef STN_COMPUTE_OP_ROWS_H
#define STN_COMPUTE_OP_ROWS_H

#define STN_OP_ROWS(ROW)                                                                                                \
    /* tokens (T), table (V, n) -> x (T, n) */                                                                          \
    ROW(EMBED, "embed", 2, 1, 0, false, shape_embed, NULL,                                                              \
        stn_kernel_rows, stn_kernel_none, stn_rows_embed, stn_kernel_passing)                                           \
    /* x (T, n), gain (1, n) -> y (T, n): root mean square */                                                           \
    ROW(NORM, "norm", 2, 1, 0, false, shape_norm, back_norm,                                                            \
        stn_kernel_rows, stn_kernel_none, stn_norm_run, stn_kernel_passing)                                             \
    /* x, gain, dy -> dx */                                                                                             \
    ROW(NORM_BACK, "norm_back", 3, 1, 0, false, shape_norm, NULL,                                                       \
        stn_kernel_rows, stn_kernel_none, stn_norm_back, stn_kernel_passing)                                            \
    /* x (T, n) -> xq (T, n): int8 per row */                                                                           \
    ROW(QUANTISE, "quantise", 1, 1, 0, true, shape_quantise, NULL,                                                      \
        stn_kernel_rows, stn_kernel_none, stn_product_quantise, stn_kernel_passing)                                     \
    /* dy (T, n), seed (1, 2) -> dyq (T, n): stochastic rounding */                                                     \
    ROW(QUANTISE_RANDOM, "quantise_random", 2, 1, 0, false, shape_quantise, NULL,                                       \
        stn_kernel_rows, stn_kernel_none, stn_product_quantise_random, stn_kernel_passing)                              \
    /* xq or x (T, n), W (m, n) -> y (T, m) */                                                                          \
    ROW(TERNARY, "ternary", 2, 1, 0, false, shape_product, back_ternary,                                                \
        stn_product_ternary_units, stn_product_ternary_scratch, stn_product_ternary, stn_kernel_ternary)                \
    /* dyq or dy (T, m), W (m, n) -> dx (T, n) */                                                                       \
    ROW(TERNARY_BACK, "ternary_back", 2, 1, 0, false, shape_product_back, NULL,                                         \
        stn_product_ternary_back_units, stn_product_ternary_scratch, stn_product_ternary_back, stn_kernel_ternary)      \
    /* x (T, n), W (m, n) -> y (T, m): y = scale x W^T */                                                               \
    ROW(LINEAR, "linear", 2, 1, 0, false, shape_product, back_linear,                                                   \
        stn_product_linear_units, stn_kernel_none, stn_product_linear, stn_kernel_dense)                                \
    /* dy (T, m), W (m, n) -> dx (T, n) */                                                                              \
    ROW(LINEAR_BACK_X, "linear_back_x", 2, 1, 0, false, shape_product_back, NULL,                                       \
        stn_kernel_rows, stn_kernel_none, stn_product_linear_back_x, stn_kernel_dense)                                  \
    /* dy (T, m), x (T, n) -> dW (m, n) */                                                                              \
    ROW(LINEAR_BACK_W, "linear_back_w", 2, 1, 0, false, shape_outer, NULL,                                              \
        stn_product_linear_back_w_units, stn_kernel_none, stn_product_linear_back_w, stn_kernel_dense)                  \
    /* positions (T), table (context, d) -> x (T, heads d) in place */                                                  \
    ROW(ROPE, "rope", 2, 1, 1, false, shape_rope, back_rope,                                                            \
        stn_kernel_rows, stn_kernel_none, stn_rope_run, stn_kernel_passing)                                             \
    /* q (T, H d), k, v (S, K d), starts, positions (T) -> o (T, H d), lse (T, H) */                                    \
    ROW(ATTENTION, "attention", 5, 2, 0, false, shape_attention, back_attention,                                        \
        stn_attention_units, stn_attention_scratch, stn_attention_run, stn_kernel_attending)                            \
    /* q, k, v, starts, positions, o, lse, do -> dq, dk, dv */                                                          \
    ROW(ATTENTION_BACK, "attention_back", 8, 3, 0, false, shape_attention_back, NULL,                                   \
        stn_attention_back_units, stn_attention_back_scratch, stn_attention_back_run, stn_kernel_attending)             \
    /* g, u (T, n) -> a (T, n): SwiGLU or squared ReLU */                                                               \
    ROW(GATE, "gate", 2, 1, 0, false, shape_as_two, back_gate,                                                          \
        stn_kernel_rows, stn_kernel_none, stn_gate_run, stn_kernel_passing)                                             \
    /* g, u, da -> dg, du */                                                                                            \
    ROW(GATE_BACK, "gate_back", 3, 2, 0, false, shape_as_two, NULL,                                                     \
        stn_kernel_rows, stn_kernel_none, stn_gate_back, stn_kernel_passing)                                            \
    /* x (T, n), seed (1, 2) -> y (T, n): 0 by chance, else scaled up */                                                \
    ROW(DROPOUT, "dropout", 2, 1, 0, false, shape_as_first, back_dropout,                                               \
        stn_kernel_rows, stn_kernel_none, stn_rows_dropout, stn_kernel_passing)                                         \
    /* a, b (T, n) -> c (T, n) */                                                                                       \
    ROW(ADD, "add", 2, 1, 0, false, shape_as_two, back_add,                                                             \
        stn_kernel_rows, stn_kernel_none, stn_rows_add, stn_kernel_passing)                                             \
    /* a (T, n) -> b (T, n) */                                                                                          \
    ROW(COPY, "copy", 1, 1, 0, false, shape_as_first, NULL,                                                             \
        stn_kernel_rows, stn_kernel_none, stn_rows_copy, stn_kernel_passing)                                            \
    /* x (T, n), rows (M) -> y (M, n) */                                                                                \
    ROW(GATHER, "gather", 2, 1, 0, false, shape_gather, back_gather,                                                    \
        stn_kernel_rows, stn_kernel_none, stn_rows_gather, stn_kernel_passing)                                          \
    /* dy (M, n), rows (M) -> dx (T, n): zero elsewhere */                                                              \
    ROW(SCATTER, "scatter", 2, 1, 1, false, shape_scatter, NULL,                                                        \
        stn_kernel_one, stn_kernel_none, stn_rows_scatter, stn_kernel_passing)                                          \
    /* x (T, n), rows (T) -> cache (context, n), rows written in place */                                               \
    ROW(STORE, "store", 2, 1, 1, false, shape_in_place, NULL,                                                           \
        stn_kernel_rows_in, stn_kernel_none, stn_rows_store, stn_kernel_passing)                                        \
    /* y (M, n), table (V, n), labels (M) -> losses, guesses (M): the forward half of loss */                           \
    ROW(SCORE, "score", 3, 2, 0, false, shape_loss, NULL,                                                               \
        stn_loss_units, stn_loss_scratch, stn_loss_run, stn_kernel_much)                                                \
    /* y, table, labels, weights (M) -> losses, guesses (M), dy (M, n) of the weighted sum */                           \
    ROW(LOSS, "loss", 4, 3, 0, false, shape_loss, back_loss,                                                            \
        stn_loss_units, stn_loss_scratch, stn_loss_run, stn_kernel_much)                                                \
    /* g (1, N), spans (1, P + 1), trains (1, P) -> s (1, P): sum of squares of each span */                            \
    ROW(SQUARES, "squares", 3, 1, 0, false, shape_squares, NULL,                                                        \
        stn_adamw_units, stn_kernel_none, stn_adamw_squares, stn_kernel_much)                                           \
    /* g (1, N), spans, trains, s, settings (1, 8) -> values, m, v, g in place */                                       \
    ROW(ADAMW, "adamw", 5, 4, 4, false, shape_in_place, NULL,                                                           \
        stn_adamw_units, stn_kernel_none, stn_adamw_run, stn_kernel_much)

#endif
