/* network_build: the inside of a network, and the passes that its functions run. Each pass is built and prepared when it
 * is first asked for: a trainer that never generates has no KV cache. */
#ifndef STN_COMPUTE_MODEL_NETWORK_BUILD_H
#define STN_COMPUTE_MODEL_NETWORK_BUILD_H

#include "compute/backend.h"
#include "compute/graph.h"
#include "compute/model/model.h"
#include "compute/model/network.h"

enum stn_network_pass {
    STN_NETWORK_EVAL,   /* losses and guesses */
    STN_NETWORK_TRAIN,  /* and gradients */
    STN_NETWORK_UPDATE, /* clip and AdamW */
    STN_NETWORK_FEED,   /* behind the KV cache, the last token's logits */
    STN_NETWORK_TRUNK,  /* every token's last hidden row */
    STN_NETWORK_HEAD,   /* logits of some of them */
    STN_NETWORK_N_PASSES
};
_Static_assert(STN_NETWORK_N_PASSES <= STN_GRAPH_PASSES, "a graph has room for them");

#define STN_NETWORK_HEAD_ROWS 16

/* Lasting tensors; STN_OP_NONE until a pass wants them. */
struct stn_network_tensors {
    uint32_t tokens, positions, starts;                /* (T) */
    uint32_t target_rows, labels, weights;             /* (M) */
    uint32_t losses, guesses;                          /* (M) */
    uint32_t values, gradients, m, v;                  /* (1, n_values) */
    uint32_t spans, trains, squares, settings;         /* of AdamW: see op.h */
    uint32_t seed;                                     /* (1, 2) */
    uint32_t last_row, fed;                            /* feed: (1) the last token's row, (1, V) its logits */
    uint32_t hidden, head_rows, logits;                /* (T, n_embd), (STN_NETWORK_HEAD_ROWS), (STN_NETWORK_HEAD_ROWS, V) */
    uint32_t rope, embeddings, head, output_norm;      /* constants */
};

/* A LoRA branch: parameters in values; rank 0 where there is none. */
struct stn_network_branch {
    uint32_t a, b;
    float scale;
};

struct stn_network_layer {
    uint32_t attn_norm, attn_sub_norm, ffn_norm, ffn_sub_norm; /* constants */
    uint32_t weights[STN_ARCH_N_TARGETS];
    struct stn_network_branch branches[STN_ARCH_N_TARGETS];
    uint32_t k_cache, v_cache; /* (context, n_kv_heads head_dim) */
};

struct stn_network {
    const struct stn_model *model;
    struct stn_network_config config;
    struct stn_graph graph;
    const struct stn_backend_row *row;
    struct stn_backend *backend;
    struct stn_network_tensors tensors;
    struct stn_network_layer *layers;
    bool is_prepared[STN_NETWORK_N_PASSES];
    size_t *bounds; /* each layer's first node in the training pass */
    float *rope; /* (context, head_dim) */
    size_t n_values, n_spans;
    uint64_t n_steps, n_batches; /* of AdamW; accumulated since the last */
    size_t n_past;               /* rows in the KV cache */
    float *losses, *logits;      /* copies that the caller may look at */
    float *pieces;               /* scratch of training: two of n_piece floats */
    size_t n_piece;
    int32_t *guesses, *rows;     /* rows: scratch for whole numbers on their way in, (max_tokens) */
};

/* The parts of what a network takes, given its backend's; of a network without one as well (fit.h). */
struct stn_network_memory stn_network_sum(const struct stn_network *network, const struct stn_backend_memory *own);
/* Tensors that every pass shares. The adapter may be NULL. network->graph.failed when there is no memory. */
void stn_network_build_tensors(struct stn_network *network, const struct stn_adapter *adapter);
/* Builds a pass, once. */
void stn_network_build_nodes(struct stn_network *network, enum stn_network_pass pass);
/* Builds a pass and has the backend prepare it, once. */
enum stn_code stn_network_build_pass(struct stn_network *network, enum stn_network_pass pass, struct stn_err *err) STN_CHECKED;

#endif
