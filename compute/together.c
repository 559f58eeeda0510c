#include "compute/together.h"

#define FAR 32 /* nodes that are looked at: more than lie between two products of one group */

/* The floats of a tensor, wherever it has them, are partly those of the other. */
static bool overlap(const struct stn_graph *graph, uint32_t a, uint32_t b)
{
    if (a == STN_OP_NONE || b == STN_OP_NONE || stn_graph_root(graph, a) != stn_graph_root(graph, b)) {
        return false;
    }
    const struct stn_tensor *x = &graph->tensors[a], *y = &graph->tensors[b];
    size_t x_from = x->base == STN_OP_NONE ? 0 : x->offset, y_from = y->base == STN_OP_NONE ? 0 : y->offset;
    return x_from < y_from + y->shape.rows * y->shape.cols && y_from < x_from + x->shape.rows * x->shape.cols;
}

static bool writes(const struct stn_graph *graph, const struct stn_node *node, uint32_t tensor)
{
    for (size_t i = 0; i < stn_op_row(node->op)->n_outputs; i++) {
        if (overlap(graph, node->out[i], tensor)) {
            return true;
        }
    }
    return false;
}

static bool reads(const struct stn_graph *graph, const struct stn_node *node, uint32_t tensor)
{
    for (size_t i = 0; i < stn_op_row(node->op)->n_inputs; i++) {
        if (overlap(graph, node->in[i], tensor)) {
            return true;
        }
    }
    return false;
}

/* Whether M, a product, may be done at N's place: what it reads is there by then, and who sees its output in between only adds. */
static bool may_come(const struct stn_graph *graph, const struct stn_node *nodes, size_t n, size_t m, const bool *done)
{
    const struct stn_node *moved = &nodes[m];
    for (size_t k = n; k < m; k++) {
        bool adds = nodes[k].add && nodes[k].out[0] == moved->out[0] && moved->add;
        if (writes(graph, &nodes[k], moved->in[0]) || writes(graph, &nodes[k], moved->in[1])) {
            return false;
        }
        if (k > n && !done[k] && (reads(graph, &nodes[k], moved->out[0]) || (writes(graph, &nodes[k], moved->out[0]) && !adds))) {
            return false;
        }
    }
    return true;
}

static bool is_dense(const struct stn_graph *graph, const struct stn_node *node)
{
    return stn_graph_shape(graph, node->in[0])->dtype == STN_DTYPE_F32 && stn_graph_shape(graph, node->in[1])->dtype == STN_DTYPE_F32;
}

static bool is_alike(const struct stn_shape *a, const struct stn_shape *b)
{
    return a->dtype == b->dtype && a->extent == b->extent && a->rows == b->rows && a->cols == b->cols;
}

static bool goes_behind(const struct stn_graph *graph, const struct stn_node *first, const struct stn_node *next)
{
    enum stn_op op = first->op == STN_OP_TERNARY ? STN_OP_LINEAR : STN_OP_LINEAR_BACK_X;
    return next->op == op && next->add && next->out[0] == first->out[0] && is_dense(graph, next);
}

/* What it rounds is what the product before it reads. */
static bool is_rounding(const struct stn_graph *graph, const struct stn_node *first, const struct stn_node *next)
{
    return next->op == STN_OP_QUANTISE_RANDOM && next->in[0] == first->in[0] && is_dense(graph, first) &&
           graph->tensors[first->in[1]].life != STN_LIFE_TEMPORARY;
}

/* The temporaries that it alone writes must not begin to live earlier: their memory may be another's until then. */
static bool goes_beside(const struct stn_graph *graph, const struct stn_node *first, const struct stn_node *next, bool is_next)
{
    size_t shared = first->op == STN_OP_LINEAR ? 0 : 1;
    bool may_move = is_next && graph->tensors[next->in[1]].life != STN_LIFE_TEMPORARY;
    may_move = may_move || graph->tensors[stn_graph_root(graph, next->out[0])].life != STN_LIFE_TEMPORARY;
    return next->op == first->op && next->in[shared] == first->in[shared] && next->add == first->add && next->scale == first->scale &&
           may_move && is_dense(graph, first) && is_dense(graph, next) && !overlap(graph, first->out[0], next->out[0]) &&
           is_alike(stn_graph_shape(graph, first->out[0]), stn_graph_shape(graph, next->out[0]));
}

size_t stn_together_find(const struct stn_graph *graph, size_t pass, size_t n, const bool *done, size_t ret[STN_TOGETHER_MOST])
{
    const struct stn_node *nodes = graph->passes[pass].nodes;
    size_t end = graph->passes[pass].n_nodes, found = 0;
    bool is_ternary = nodes[n].op == STN_OP_TERNARY || nodes[n].op == STN_OP_TERNARY_BACK;
    size_t most = is_ternary ? 1 : nodes[n].op == STN_OP_LINEAR || nodes[n].op == STN_OP_LINEAR_BACK_W ? STN_TOGETHER_MOST : 0;
    if (nodes[n].op == STN_OP_LINEAR_BACK_X && n + 1 < end && !done[n + 1] && is_rounding(graph, &nodes[n], &nodes[n + 1])) {
        ret[0] = n + 1;
        return 1;
    }
    for (size_t m = n + 1; m < end && m - n <= FAR && found < most; m++) {
        bool goes = is_ternary ? goes_behind(graph, &nodes[n], &nodes[m])
                               : goes_beside(graph, &nodes[n], &nodes[m], m == n + 1 + found);
        if (!done[m] && goes && may_come(graph, nodes, n, m, done)) {
            ret[found++] = m;
        }
    }
    return found;
}
