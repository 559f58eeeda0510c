#include "compute/plan.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void touch(struct stn_plan *plan, const struct stn_graph *graph, uint32_t tensor, size_t node)
{
    if (tensor == STN_OP_NONE) {
        return;
    }
    uint32_t root = stn_graph_root(graph, tensor);
    if (graph->tensors[root].life != STN_LIFE_TEMPORARY) {
        return;
    }
    struct stn_plan_span *span = &plan->spans[root];
    if (span->size == 0) {
        span->tensor = root;
        span->first = node;
        span->size = (stn_graph_size(&graph->tensors[root].shape) + STN_PLAN_ALIGN - 1) / STN_PLAN_ALIGN * STN_PLAN_ALIGN;
    }
    span->last = node;
}

/* Biggest first; equal sizes by the tensor's number, so that a plan is always the same. */
static int by_size(const void *a, const void *b)
{
    const struct stn_plan_span *x = *(struct stn_plan_span *const *)a, *y = *(struct stn_plan_span *const *)b;
    if (x->size != y->size) {
        return x->size > y->size ? -1 : 1;
    }
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

/* The first place from offset on where size bytes are in one piece. */
static size_t within(size_t offset, size_t size, size_t piece)
{
    return piece == 0 || offset % piece + size <= piece ? offset : (offset / piece + 1) * piece;
}

/* The tightest gap between placed spans (by rising offset) that live while this one does. */
static size_t best_offset(struct stn_plan_span *const *placed, size_t n, const struct stn_plan_span *span, size_t piece)
{
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct stn_plan_span *other = placed[i];
        if (other->last < span->first || other->first > span->last) {
            continue;
        }
        size_t start = within(end, span->size, piece);
        if (other->offset >= start + span->size && other->offset - end < best_gap) {
            best = start;
            best_gap = other->offset - end;
        }
        end = other->offset + other->size > end ? other->offset + other->size : end;
    }
    return best == SIZE_MAX ? within(end, span->size, piece) : best;
}

static void place(struct stn_plan_span **placed, size_t n, struct stn_plan_span *span, size_t piece)
{
    span->offset = best_offset(placed, n, span, piece);
    size_t at = n;
    while (at > 0 && placed[at - 1]->offset > span->offset) {
        placed[at] = placed[at - 1];
        at--;
    }
    placed[at] = span;
}

enum stn_code stn_plan_init(struct stn_plan *plan, const struct stn_graph *graph, size_t pass, size_t piece, struct stn_err *err)
{
    *plan = (struct stn_plan){.n_spans = graph->n_tensors};
    plan->spans = stn_mem_new(graph->n_tensors, sizeof *plan->spans);
    struct stn_plan_span **order = stn_mem_new(graph->n_tensors, 2 * sizeof *order);
    if (graph->failed || plan->spans == NULL || order == NULL) {
        stn_mem_free(order);
        stn_plan_fini(plan);
        return stn_err_set(err, STN_MEMORY, "no memory to plan a graph of %zu tensors", graph->n_tensors);
    }
    const struct stn_pass *list = &graph->passes[pass];
    for (size_t n = 0; n < list->n_nodes; n++) {
        const struct stn_op_row *row = stn_op_row(list->nodes[n].op);
        for (size_t i = 0; i < row->n_inputs; i++) {
            touch(plan, graph, list->nodes[n].in[i], n);
        }
        for (size_t i = 0; i < row->n_outputs; i++) {
            touch(plan, graph, list->nodes[n].out[i], n);
        }
    }
    size_t n_order = 0;
    for (size_t i = 0; i < plan->n_spans; i++) {
        if (plan->spans[i].size > 0) {
            order[n_order++] = &plan->spans[i];
        }
    }
    if (n_order > 0) {
        qsort(order, n_order, sizeof *order, by_size);
    }
    if (piece > 0 && n_order > 0 && order[0]->size > piece) {
        const size_t largest = order[0]->size;
        stn_mem_free(order);
        stn_plan_fini(plan);
        return stn_err_set(err, STN_LIMIT, "a tensor of %zu bytes, where a piece of memory has %zu", largest, piece);
    }
    for (size_t i = 0; i < n_order; i++) {
        place(order + graph->n_tensors, i, order[i], piece);
        size_t end = order[i]->offset + order[i]->size;
        plan->size = end > plan->size ? end : plan->size;
    }
    stn_mem_free(order);
    return STN_OK;
}

void stn_plan_fini(struct stn_plan *plan)
{
    stn_mem_free(plan->spans);
    *plan = (struct stn_plan){0};
}

const struct stn_plan_span *stn_plan_find(const struct stn_plan *plan, uint32_t tensor)
{
    return tensor < plan->n_spans && plan->spans[tensor].size > 0 ? &plan->spans[tensor] : NULL;
}
