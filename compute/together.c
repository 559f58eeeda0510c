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

/* The temporaries that it alone writes must not begin to live earlier, where their memory may be that of what those before it
 * have read for the last time. */
static bool goes_beside(const struct stn_graph *graph, const struct stn_node *first, const struct stn_node *next, bool is_next)
{
    size_t shared = first->op == STN_OP_LINEAR ? 0 : 1;
    bool may_move = is_next && graph->tensors[first->in[1 - shared]].life != STN_LIFE_TEMPORARY &&
                    graph->tensors[next->in[1 - shared]].life != STN_LIFE_TEMPORARY;
    may_move = may_move || graph->tensors[stn_graph_root(graph, next->out[0])].life != STN_LIFE_TEMPORARY;
    return next->op == first->op && next->in[shared] == first->in[shared] && next->add == first->add && next->scale == first->scale &&
           may_move && is_dense(graph, first) && is_dense(graph, next) && !overlap(graph, first->out[0], next->out[0]) &&
           is_alike(stn_graph_shape(graph, first->out[0]), stn_graph_shape(graph, next->out[0]));
}

static size_t find_behind(const struct stn_graph *graph, const struct stn_pass *pass, size_t n, const bool *done)
{
    for (size_t m = n + 1; m < pass->n_nodes && m - n <= FAR; m++) {
        if (!done[m] && goes_behind(graph, &pass->nodes[n], &pass->nodes[m]) && may_come(graph, pass->nodes, n, m, done)) {
            return m;
        }
    }
    return STN_TOGETHER_NONE;
}

static void find_beside(const struct stn_graph *graph, const struct stn_pass *pass, size_t n, const bool *done, size_t ret[2])
{
    size_t found = 0;
    for (size_t m = n + 1; m < pass->n_nodes && m - n <= FAR && found < 2; m++) {
        bool goes = goes_beside(graph, &pass->nodes[n], &pass->nodes[m], m == n + 1 + found);
        if (!done[m] && goes && may_come(graph, pass->nodes, n, m, done)) {
            ret[found++] = m;
        }
    }
}

/* The next but for products beside, which keep what they read: their memory cannot be what the rounding writes. */
static size_t find_rounding(const struct stn_graph *graph, const struct stn_pass *pass, size_t n, const bool *done, const size_t beside[2])
{
    const struct stn_node *first = &pass->nodes[n];
    enum stn_op op = first->op == STN_OP_LINEAR ? STN_OP_QUANTISE : STN_OP_QUANTISE_RANDOM;
    size_t m = n + 1;
    for (size_t i = 0; i < 2; i++) {
        m += beside[i] == m ? 1 : 0;
    }
    for (size_t k = n; k < m; k++) {
        if (graph->tensors[pass->nodes[k].in[1]].life == STN_LIFE_TEMPORARY || !is_dense(graph, &pass->nodes[k])) {
            return STN_TOGETHER_NONE;
        }
    }
    bool goes = m < pass->n_nodes && !done[m] && pass->nodes[m].op == op && pass->nodes[m].in[0] == first->in[0];
    return goes ? m : STN_TOGETHER_NONE;
}

void stn_together_find(const struct stn_graph *graph, size_t pass, size_t n, const bool *done, size_t ret[STN_TOGETHER_MOST])
{
    const struct stn_pass *list = &graph->passes[pass];
    enum stn_op op = list->nodes[n].op;
    ret[0] = ret[1] = ret[2] = STN_TOGETHER_NONE;
    if (op == STN_OP_TERNARY || op == STN_OP_TERNARY_BACK) {
        ret[0] = find_behind(graph, list, n, done);
    }
    if (op == STN_OP_LINEAR || op == STN_OP_LINEAR_BACK_W) {
        find_beside(graph, list, n, done, ret + 1);
    }
    if (op == STN_OP_LINEAR || op == STN_OP_LINEAR_BACK_X) {
        ret[0] = find_rounding(graph, list, n, done, ret + 1);
    }
}
