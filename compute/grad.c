#include "compute/grad.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "compute/recompute.h"

/* What is known of a forward tensor. */
struct knowledge {
    uint32_t gradient; /* its gradient so far */
    uint32_t straight; /* the tensor whose gradient this one's is: itself, or what it was quantised from */
    size_t first;      /* the first node that writes it */
    bool wanted;
};

struct stn_grad {
    struct stn_graph *graph;
    size_t pass;
    size_t at; /* the forward node whose rule is running */
    uint32_t seed;
    struct knowledge *known;
    size_t n_known;
};

static struct knowledge *known(const struct stn_grad *grad, uint32_t tensor)
{
    assert(tensor < grad->n_known);
    return &grad->known[grad->known[tensor].straight];
}

struct stn_graph *stn_grad_graph(struct stn_grad *grad)
{
    return grad->graph;
}

void stn_grad_add(struct stn_grad *grad, const struct stn_node *node)
{
    (void)stn_graph_add(grad->graph, grad->pass, node);
}

bool stn_grad_wanted(const struct stn_grad *grad, uint32_t tensor)
{
    return known(grad, tensor)->wanted;
}

uint32_t stn_grad_of(const struct stn_grad *grad, uint32_t tensor)
{
    return known(grad, tensor)->gradient;
}

uint32_t stn_grad_seed(const struct stn_grad *grad)
{
    return grad->seed;
}

static uint32_t new_like(struct stn_grad *grad, uint32_t tensor)
{
    struct stn_shape shape = *stn_graph_shape(grad->graph, tensor);
    shape.dtype = STN_DTYPE_F32;
    return stn_graph_temporary(grad->graph, &shape);
}

static void copy(struct stn_grad *grad, uint32_t from, uint32_t to, bool add)
{
    struct stn_node node = {.op = STN_OP_COPY, .in = {from}, .out = {to}, .add = add};
    stn_grad_add(grad, &node);
}

/* May K's gradient change, or will another tensor that shares it still be asked for it? */
static bool is_shared(const struct stn_grad *grad, const struct knowledge *k)
{
    for (size_t i = 0; i < grad->n_known; i++) {
        const struct knowledge *other = &grad->known[i];
        if (other != k && other->straight == i && other->gradient == k->gradient && other->first <= grad->at) {
            return true;
        }
    }
    return false;
}

uint32_t stn_grad_own(struct stn_grad *grad, uint32_t tensor)
{
    struct knowledge *k = known(grad, tensor);
    assert(k->gradient != STN_OP_NONE);
    if (is_shared(grad, k)) {
        uint32_t own = new_like(grad, k->straight);
        copy(grad, k->gradient, own, false);
        k->gradient = own;
    }
    return k->gradient;
}

uint32_t stn_grad_into(struct stn_grad *grad, uint32_t tensor, bool *ret_add)
{
    struct knowledge *k = known(grad, tensor);
    uint32_t lasting = grad->graph->tensors[k->straight].gradient;
    *ret_add = lasting != STN_OP_NONE || k->gradient != STN_OP_NONE;
    if (lasting != STN_OP_NONE) {
        return lasting;
    }
    if (k->gradient == STN_OP_NONE) {
        k->gradient = new_like(grad, k->straight);
        return k->gradient;
    }
    return stn_grad_own(grad, tensor);
}

void stn_grad_pass_on(struct stn_grad *grad, uint32_t tensor, uint32_t gradient)
{
    struct knowledge *k = known(grad, tensor);
    if (!k->wanted) {
        return;
    }
    if (k->gradient == STN_OP_NONE && grad->graph->tensors[k->straight].gradient == STN_OP_NONE) {
        k->gradient = gradient;
        return;
    }
    bool add;
    uint32_t to = stn_grad_into(grad, tensor, &add);
    copy(grad, gradient, to, add);
}

/* Forward once: who writes what first, what is quantised from what, and what has a parameter upstream. */
static void survey(struct stn_grad *grad)
{
    const struct stn_graph *graph = grad->graph;
    const struct stn_pass *pass = &graph->passes[grad->pass];
    for (uint32_t i = 0; i < grad->n_known; i++) {
        grad->known[i] = (struct knowledge){.gradient = STN_OP_NONE,
                                            .straight = i,
                                            .first = SIZE_MAX,
                                            .wanted = graph->tensors[i].gradient != STN_OP_NONE};
    }
    for (size_t n = 0; n < pass->n_nodes; n++) {
        const struct stn_node *node = &pass->nodes[n];
        const struct stn_op_row *row = stn_op_row(node->op);
        bool wanted = false;
        for (size_t i = 0; i < row->n_inputs; i++) {
            wanted = wanted || (node->in[i] != STN_OP_NONE && known(grad, node->in[i])->wanted);
        }
        for (size_t i = 0; i < row->n_outputs; i++) {
            if (node->out[i] == STN_OP_NONE) {
                continue;
            }
            struct knowledge *k = &grad->known[node->out[i]];
            k->first = k->first == SIZE_MAX ? n : k->first;
            k->wanted = k->wanted || (wanted && row->backward != NULL);
            if (row->straight) {
                k->straight = grad->known[node->in[0]].straight;
            }
        }
    }
}

/* The rules of nodes [first, end), last node first. */
static void run_rules(struct stn_grad *grad, size_t first, size_t end)
{
    for (size_t n = end; n-- > first && !grad->graph->failed;) {
        /* a copy: rules append to the list that this one is in */
        struct stn_node node = grad->graph->passes[grad->pass].nodes[n];
        grad->at = n;
        if (stn_op_row(node.op)->backward != NULL && stn_grad_wanted(grad, node.out[0])) {
            stn_op_row(node.op)->backward(grad, &node);
        }
    }
}

void stn_grad_append(struct stn_graph *graph, size_t pass, uint32_t seed, const size_t *bounds, size_t n_bounds)
{
    if (graph->failed) {
        return;
    }
    size_t end = graph->passes[pass].n_nodes;
    assert(end > 0 && graph->passes[pass].nodes[end - 1].op == STN_OP_LOSS);
    struct stn_grad grad = {.graph = graph, .pass = pass, .seed = seed, .n_known = graph->n_tensors};
    grad.known = stn_mem_new(grad.n_known, sizeof *grad.known);
    if (grad.known == NULL) {
        graph->failed = true;
        return;
    }
    survey(&grad);
    for (size_t i = n_bounds; i-- > 0; end = bounds[i]) {
        size_t at = graph->passes[pass].n_nodes;
        run_rules(&grad, bounds[i], end);
        if (i + 1 < n_bounds && !graph->failed) {
            stn_recompute_insert(graph, pass, bounds[i], end, at);
        }
    }
    run_rules(&grad, 0, end);
    stn_mem_free(grad.known);
}
