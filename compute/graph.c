#include "compute/graph.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

void stn_graph_init(struct stn_graph *graph, size_t max_tokens, size_t max_targets)
{
    memset(graph, 0, sizeof *graph);
    graph->max_tokens = max_tokens;
    graph->max_targets = max_targets;
}

void stn_graph_fini(struct stn_graph *graph)
{
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        stn_mem_free(graph->passes[i].nodes);
    }
    stn_mem_free(graph->tensors);
    memset(graph, 0, sizeof *graph);
}

static uint32_t new_tensor(struct stn_graph *graph, const struct stn_tensor *tensor)
{
    assert(tensor->shape.cols > 0 && tensor->shape.cols <= STN_GRAPH_MAX_COLS);
    if (graph->n_tensors == graph->room && !graph->failed) {
        size_t room = graph->room == 0 ? 256 : graph->room * 2;
        struct stn_tensor *grown = stn_mem_grow(graph->tensors, room, sizeof *grown);
        if (grown == NULL || room >= STN_OP_NONE) {
            graph->failed = true;
        }
        graph->tensors = grown == NULL ? graph->tensors : grown;
        graph->room = graph->failed ? graph->room : room;
    }
    if (graph->failed) {
        return STN_OP_NONE;
    }
    graph->tensors[graph->n_tensors] = *tensor;
    return (uint32_t)graph->n_tensors++;
}

static size_t capacity(const struct stn_graph *graph, enum stn_extent extent, size_t rows)
{
    return extent == STN_EXTENT_TOKENS ? graph->max_tokens : extent == STN_EXTENT_TARGETS ? graph->max_targets : rows;
}

uint32_t stn_graph_constant(struct stn_graph *graph, enum stn_dtype dtype, size_t rows, size_t cols, const void *data)
{
    return new_tensor(graph, &(struct stn_tensor){.shape = {dtype, STN_EXTENT_FIXED, rows, cols},
                                                  .life = STN_LIFE_CONSTANT,
                                                  .data = data,
                                                  .base = STN_OP_NONE,
                                                  .gradient = STN_OP_NONE});
}

uint32_t stn_graph_lasting(struct stn_graph *graph, enum stn_dtype dtype, enum stn_extent extent, size_t rows, size_t cols)
{
    return new_tensor(graph, &(struct stn_tensor){.shape = {dtype, extent, capacity(graph, extent, rows), cols},
                                                  .life = STN_LIFE_LASTING,
                                                  .base = STN_OP_NONE,
                                                  .gradient = STN_OP_NONE});
}

uint32_t stn_graph_temporary(struct stn_graph *graph, const struct stn_shape *shape)
{
    struct stn_tensor tensor = {.shape = *shape, .base = STN_OP_NONE, .gradient = STN_OP_NONE};
    tensor.shape.rows = capacity(graph, shape->extent, shape->rows);
    return new_tensor(graph, &tensor);
}

uint32_t stn_graph_view(struct stn_graph *graph, uint32_t base, size_t offset, size_t rows, size_t cols, uint32_t gradient)
{
    if (graph->failed) {
        return STN_OP_NONE;
    }
    const struct stn_tensor *whole = &graph->tensors[base];
    assert(whole->base == STN_OP_NONE && whole->shape.dtype == STN_DTYPE_F32);
    assert(offset + rows * cols <= whole->shape.rows * whole->shape.cols);
    return new_tensor(graph, &(struct stn_tensor){.shape = {STN_DTYPE_F32, STN_EXTENT_FIXED, rows, cols},
                                                  .life = whole->life,
                                                  .base = base,
                                                  .offset = offset,
                                                  .gradient = gradient});
}

/* Outputs that nobody named are made; those that somebody named must be as the op writes them. */
static void complete_outputs(struct stn_graph *graph, struct stn_node *node)
{
    const struct stn_op_row *row = stn_op_row(node->op);
    struct stn_shape shapes[STN_OP_OUTPUTS];
    row->shape(graph, node, shapes);
    for (size_t i = 0; i < row->n_outputs && !graph->failed; i++) {
        if (node->out[i] == STN_OP_NONE) {
            assert(i + row->in_place < row->n_outputs && !(i == 0 && node->add));
            node->out[i] = stn_graph_temporary(graph, &shapes[i]);
            continue;
        }
        const struct stn_shape *is = stn_graph_shape(graph, node->out[i]);
        assert(is->dtype == shapes[i].dtype && is->cols == shapes[i].cols);
        (void)is;
    }
}

uint32_t stn_graph_add_all(struct stn_graph *graph, size_t pass, const struct stn_node *node, uint32_t ret_out[STN_OP_OUTPUTS])
{
    struct stn_pass *list = &graph->passes[pass];
    if (list->n_nodes == list->room && !graph->failed) {
        size_t room = list->room == 0 ? 256 : list->room * 2;
        struct stn_node *grown = stn_mem_grow(list->nodes, room, sizeof *grown);
        graph->failed = grown == NULL;
        list->nodes = grown == NULL ? list->nodes : grown;
        list->room = grown == NULL ? list->room : room;
    }
    struct stn_node copy = *node;
    if (!graph->failed) {
        complete_outputs(graph, &copy);
    }
    if (!graph->failed) {
        list->nodes[list->n_nodes++] = copy;
    }
    if (ret_out != NULL) {
        memcpy(ret_out, copy.out, sizeof copy.out);
    }
    return copy.out[0];
}

uint32_t stn_graph_add(struct stn_graph *graph, size_t pass, const struct stn_node *node)
{
    return stn_graph_add_all(graph, pass, node, NULL);
}

const struct stn_shape *stn_graph_shape(const struct stn_graph *graph, uint32_t tensor)
{
    assert(tensor < graph->n_tensors);
    return &graph->tensors[tensor].shape;
}

uint32_t stn_graph_root(const struct stn_graph *graph, uint32_t tensor)
{
    assert(tensor < graph->n_tensors);
    uint32_t base = graph->tensors[tensor].base;
    return base == STN_OP_NONE ? tensor : base;
}

size_t stn_graph_rows(const struct stn_shape *shape, size_t n_tokens, size_t n_targets)
{
    switch (shape->extent) {
    case STN_EXTENT_TOKENS:
        return n_tokens;
    case STN_EXTENT_TARGETS:
        return n_targets;
    case STN_EXTENT_FIXED:
        break;
    }
    return shape->rows;
}

size_t stn_graph_size(const struct stn_shape *shape)
{
    switch (shape->dtype) {
    case STN_DTYPE_F32:
    case STN_DTYPE_I32:
        return shape->rows * shape->cols * 4;
    case STN_DTYPE_F16:
        return shape->rows * shape->cols * 2;
    case STN_DTYPE_Q8:
        return (shape->rows * stn_ternary_stride(shape->cols) + 63) / 64 * 64 + shape->rows * sizeof(float);
    case STN_DTYPE_TERNARY:
        break;
    }
    return 0;
}
