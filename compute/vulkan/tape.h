/* tape: a pass of a graph as the device runs it: recorded once, replayed with nothing new but the run's counts. Building lists
 * the dispatches: each node's rows of the pipeline table, cut in windows where a tensor is longer than a binding may be. Recording
 * puts them into command buffers; a barrier stands where a dispatch touches what one since the last barrier wrote, or writes what
 * one read. A run fills in how many work groups there are today, and is one submission, or several where the device's watchdog
 * would bite. Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_TAPE_H
#define STN_COMPUTE_VULKAN_TAPE_H

#include "compute/graph.h"
#include "compute/together.h"
#include "compute/vulkan/vram.h"
#include "compute/vulkan/pipeline.h"

/* The shaders' push constants: see shaders/common.glsl. */
struct stn_tape_push {
    uint32_t in_rows[3], in_cols[3];
    uint32_t out_rows, out_cols;
    uint32_t rows, first, count;
    uint32_t table_first, table_count;
    uint32_t flags, heads, kv_heads, head_size, number;
    float scale, eps;
    uint32_t at[3];
    uint32_t extra[2];
};
_Static_assert(sizeof(struct stn_tape_push) <= 128, "every device has room for 128 bytes of push constants");

struct stn_tape_dispatch {
    const struct stn_pipeline_row *row;
    const struct stn_node *node, *with[STN_TOGETHER_MOST]; /* that it does, NULL: fewer */
    struct stn_tape_push push;
    struct stn_vram_span spans[STN_PIPELINE_BINDINGS];
    uint32_t written; /* a bit for each of them */
    uint32_t constants[STN_PIPELINE_CONSTANTS];
    uint32_t groups_x, tile_y;
    uint64_t cost; /* multiplications, about, at capacity */
};

/* Where things are, for one pass. */
struct stn_tape_place {
    struct stn_gpu *gpu;
    const struct stn_graph *graph;
    /* A tensor, or the scales of a ternary one. */
    struct stn_vram_span (*find)(const void *user, uint32_t tensor, bool scales);
    const void *user;
    struct stn_vram_span logits, state; /* scratch of loss */
    size_t tile;                         /* words of logits at a time */
    size_t most_tokens;                  /* that runs will have: less than the graph's leave other rows of the table to choose */
    uint64_t barred;                     /* rows of the table that are not taken */
    uint64_t spoilt;                     /* rows that are listed and do nothing */
};

struct stn_tape_list {
    struct stn_tape_dispatch *dispatches;
    size_t n, room;
};

/* Bytes of scratch that a pass wants for its loss, and the tile; zeroes where it has none. */
void stn_tape_list_scratch(const struct stn_gpu *gpu, const struct stn_graph *graph, size_t pass, size_t *ret_logits,
                             size_t *ret_state, size_t *ret_tile);
/* Lists a pass. STN_LIMIT when a tensor that a kernel needs whole, or one row, is longer than the device's bindings,
 * STN_UNSUPPORTED when an op has a step without a kernel. The caller finis it. */
enum stn_code stn_tape_list_init(struct stn_tape_list *list, const struct stn_tape_place *place, size_t pass,
                                   struct stn_err *err) STN_CHECKED;
void stn_tape_list_fini(struct stn_tape_list *list);

/* A copy that is part of every run. */
struct stn_tape_copy {
    struct stn_vram_span from, to;
};

struct stn_tape_config {
    const struct stn_tape_copy *ins, *outs;
    size_t n_ins, n_outs;
    struct stn_vram_span step; /* two words: tokens and targets */
    uint64_t split;             /* multiplications to a submission; 0: all */
    bool times;                 /* how long each dispatch takes */
};

struct stn_tape {
    struct stn_vram *vram;
    struct stn_tape_list list; /* taken */
    struct stn_tape_config config;
    VkDescriptorPool sets;
    VkCommandPool pool;
    VkCommandBuffer *commands;
    size_t n_commands;
    struct stn_vram_span groups; /* three words for each dispatch */
    VkQueryPool queries;
    size_t n_barriers;
    uint64_t times_ns[STN_N_OPS]; /* of all runs */
};

/* Takes the list, also on failure. config's copies are borrowed for the call. Zeroed is empty. */
enum stn_code stn_tape_init(struct stn_tape *tape, struct stn_vram *vram, struct stn_pipelines *pipelines,
                              struct stn_tape_list *take_list, const struct stn_tape_config *config,
                              struct stn_err *err) STN_CHECKED;
void stn_tape_fini(struct stn_tape *tape);

/* Has finished when it returns. Adds to *n_submissions. */
enum stn_code stn_tape_run(struct stn_tape *tape, size_t n_tokens, size_t n_targets, uint64_t *n_submissions,
                             struct stn_err *err) STN_CHECKED;

#endif
