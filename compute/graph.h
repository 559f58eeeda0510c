/* graph: tensors, and passes over them: lists of ops in the order in which they run. A graph is built once for a
 * capacity; each run says how many tokens and targets there are today. What lasts (constants, parameters, inputs,
 * caches) is shared by all passes; temporaries belong to the pass that writes them, and plan gives them room.
 * Building never fails in between: no memory sets graph->failed, and the caller asks once at the end. */
#ifndef STN_COMPUTE_GRAPH_H
#define STN_COMPUTE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/cpu/ternary.h"
#include "compute/op.h"

enum stn_dtype {
    STN_DTYPE_F32,
    STN_DTYPE_F16,    /* constants only */
    STN_DTYPE_I32,
    STN_DTYPE_Q8,     /* int8 rows of stn_ternary_stride(cols) bytes, and behind the capacity's last an f32 scale for each row */
    STN_DTYPE_TERNARY /* constants only: data is a struct stn_matrix */
};

enum stn_extent {
    STN_EXTENT_FIXED,  /* rows as given */
    STN_EXTENT_TOKENS, /* as many as the batch has tokens, at most graph->max_tokens */
    STN_EXTENT_TARGETS /* as many as the batch has targets, at most graph->max_targets */
};

enum stn_life {
    STN_LIFE_TEMPORARY, /* within one run of one pass */
    STN_LIFE_CONSTANT,  /* data, borrowed, never written */
    STN_LIFE_LASTING    /* kept between runs, zero at first; read and written from outside */
};

struct stn_shape {
    enum stn_dtype dtype;
    enum stn_extent extent;
    size_t rows; /* of a fixed extent; else the capacity */
    size_t cols;
};

/* A frozen ternary weight: how a backend may have it. packed is the CPU's own, NULL where none was made. */
struct stn_matrix {
    struct stn_ternary_source source;
    const struct stn_ternary *packed;
    bool streams; /* there is no room for all: packed lies in a mapped file and is dropped after each use, or is hollow, and the
                     source is packed anew for each */
};

struct stn_tensor {
    struct stn_shape shape;
    enum stn_life life;
    const void *data;  /* constants */
    uint32_t base;     /* a view: shares base's memory from offset; else STN_OP_NONE */
    size_t offset;     /* floats */
    uint32_t gradient; /* a parameter's: the tensor that collects it; else STN_OP_NONE */
};

struct stn_pass {
    struct stn_node *nodes;
    size_t n_nodes, room;
};

#define STN_GRAPH_PASSES 6
#define STN_GRAPH_MAX_COLS ((size_t)1 << 31) /* no tensor is wider */

struct stn_graph {
    size_t max_tokens, max_targets;
    struct stn_tensor *tensors;
    size_t n_tensors, room;
    struct stn_pass passes[STN_GRAPH_PASSES];
    uint32_t n_streams; /* of random numbers handed out to quantise_random and dropout */
    bool failed;        /* there was no memory: sticky */
};

void stn_graph_init(struct stn_graph *graph, size_t max_tokens, size_t max_targets);
void stn_graph_fini(struct stn_graph *graph);

/* New tensors; their numbers. All functions below accept STN_OP_NONE once graph->failed is set. */
uint32_t stn_graph_constant(struct stn_graph *graph, enum stn_dtype dtype, size_t rows, size_t cols, const void *data);
uint32_t stn_graph_lasting(struct stn_graph *graph, enum stn_dtype dtype, enum stn_extent extent, size_t rows, size_t cols);
uint32_t stn_graph_temporary(struct stn_graph *graph, const struct stn_shape *shape);
/* (rows, cols) of f32 inside BASE from OFFSET floats. gradient is a view of the same shape, or STN_OP_NONE when frozen. */
uint32_t stn_graph_view(struct stn_graph *graph, uint32_t base, size_t offset, size_t rows, size_t cols, uint32_t gradient);

/* Appends a copy of NODE to a pass; outputs that are STN_OP_NONE are made. out[0], and all of them in ret_out if not NULL. */
uint32_t stn_graph_add(struct stn_graph *graph, size_t pass, const struct stn_node *node);
uint32_t stn_graph_add_all(struct stn_graph *graph, size_t pass, const struct stn_node *node, uint32_t ret_out[STN_OP_OUTPUTS]);

const struct stn_shape *stn_graph_shape(const struct stn_graph *graph, uint32_t tensor);
/* The tensor whose memory this one's is. */
uint32_t stn_graph_root(const struct stn_graph *graph, uint32_t tensor);
/* Rows in a run with so many tokens and targets; at capacity with max_tokens and max_targets. */
size_t stn_graph_rows(const struct stn_shape *shape, size_t n_tokens, size_t n_targets);
/* Bytes at capacity; for constants but ternary ones too. */
size_t stn_graph_size(const struct stn_shape *shape);

#endif
