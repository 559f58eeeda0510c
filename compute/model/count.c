#include "compute/model/count.h"

#include "base/mem.h"
#include "compute/together.h"
#include "compute/model/network_build.h"

struct counting {
    const struct stn_network *network;
    struct stn_count *ops;
};

static double cells(const struct stn_graph *graph, uint32_t tensor)
{
    const struct stn_shape *shape = stn_graph_shape(graph, tensor);
    return (double)shape->rows * (double)shape->cols;
}

static double bytes_of(const struct stn_graph *graph, uint32_t tensor)
{
    const struct stn_shape *shape = stn_graph_shape(graph, tensor);
    return shape->dtype == STN_DTYPE_TERNARY ? cells(graph, tensor) / 4 : (double)stn_graph_size(shape);
}

/* Products of a row of queries with the keys that it sees, half of an example's on average, for all heads. */
static double seen(const struct counting *c, const struct stn_node *node)
{
    double rows = (double)stn_graph_shape(&c->network->graph, node->in[0])->rows;
    return rows * node->heads * node->head_size * ((double)c->network->config.context + 1) / 2;
}

/* MACs of one node; those of norms, gates and the like are their cells. */
static double macs_of(const struct counting *c, const struct stn_node *node)
{
    const struct stn_graph *graph = &c->network->graph;
    double rows = (double)stn_graph_shape(graph, node->in[0])->rows;
    switch (node->op) {
    case STN_OP_TERNARY:
    case STN_OP_TERNARY_BACK:
    case STN_OP_LINEAR:
    case STN_OP_LINEAR_BACK_X:
    case STN_OP_SCORE:
        return rows * cells(graph, node->in[1]);
    case STN_OP_LINEAR_BACK_W:
        return rows * cells(graph, node->out[0]);
    case STN_OP_LOSS:
        return 2 * rows * cells(graph, node->in[1]); /* logits, and their gradient */
    case STN_OP_ATTENTION:
        return 2 * seen(c, node);
    case STN_OP_ATTENTION_BACK:
        return 5 * seen(c, node); /* scores again, and dp, dv, dq, dk */
    default:
        return cells(graph, node->out[0]);
    }
}

/* What a node that goes with FIRST reads and writes for itself: not the x that it shares, nor the y that it adds to. */
static double bytes_with(const struct stn_graph *graph, const struct stn_node *first, const struct stn_node *node)
{
    bool shares_y = node->out[0] == first->out[0];
    double bytes = shares_y ? 0 : bytes_of(graph, node->out[0]) * (node->add ? 2 : 1);
    for (size_t i = 0; i < stn_op_row(node->op)->n_inputs; i++) {
        bytes += node->in[i] == first->in[i] ? 0 : bytes_of(graph, node->in[i]);
    }
    return bytes;
}

static double bytes_alone(const struct stn_graph *graph, const struct stn_node *node)
{
    const struct stn_op_row *row = stn_op_row(node->op);
    double bytes = 0;
    for (size_t i = 0; i < row->n_inputs; i++) {
        bool is_looked_up = node->op == STN_OP_EMBED && i == 1; /* as many rows as are read */
        bytes += node->in[i] == STN_OP_NONE ? 0 : is_looked_up ? bytes_of(graph, node->out[0]) / 2 : bytes_of(graph, node->in[i]);
    }
    for (size_t i = 0; i < row->n_outputs; i++) {
        bytes += bytes_of(graph, node->out[i]) * (i == 0 && node->add ? 2 : 1);
    }
    return bytes;
}

/* first: the node that it goes with, or NULL */
static void count(const struct counting *c, const struct stn_node *node, const struct stn_node *first)
{
    const struct stn_graph *graph = &c->network->graph;
    struct stn_count *own = &c->ops[node->op];
    bool is_int8 = stn_graph_shape(graph, node->in[0])->dtype == STN_DTYPE_Q8;
    *(is_int8 ? &own->macs_int8 : &own->macs_f32) += macs_of(c, node);
    own->n_nodes++;
    own->n_together += first == NULL ? 0 : 1;
    own->bytes += first == NULL ? bytes_alone(graph, node) : bytes_with(graph, first, node);
}

static enum stn_code count_pass(const struct counting *c, size_t number, struct stn_err *err)
{
    const struct stn_pass *pass = &c->network->graph.passes[number];
    bool *done = stn_mem_new(pass->n_nodes, sizeof *done);
    if (c->network->graph.failed || done == NULL) {
        stn_mem_free(done);
        return stn_err_set(err, STN_MEMORY, "no memory for a graph of %zu tensors", c->network->graph.n_tensors);
    }
    for (size_t n = 0; n < pass->n_nodes; n++) {
        size_t with[STN_TOGETHER_MOST];
        if (done[n]) {
            continue;
        }
        count(c, &pass->nodes[n], NULL);
        stn_together_find(&c->network->graph, number, n, done, with);
        for (size_t i = 0; i < STN_TOGETHER_MOST; i++) {
            if (with[i] != STN_TOGETHER_NONE) {
                count(c, &pass->nodes[with[i]], &pass->nodes[n]);
                done[with[i]] = true;
            }
        }
    }
    stn_mem_free(done);
    return STN_OK;
}

enum stn_code stn_count_step(struct stn_count ret[static STN_N_OPS], const struct stn_model *model,
                             const struct stn_adapter *adapter, const struct stn_network_config *config, struct stn_err *err)
{
    uint32_t n_layers = stn_model_arch(model)->n_layers;
    struct stn_network network = {.model = model, .config = *config, .row = stn_backend_find(NULL)};
    const struct counting c = {&network, ret};
    const enum stn_network_pass passes[] = {STN_NETWORK_TRAIN, STN_NETWORK_UPDATE};
    network.layers = stn_mem_new(n_layers, sizeof *network.layers);
    network.bounds = stn_mem_new(n_layers, sizeof *network.bounds);
    enum stn_code code = STN_OK;
    for (size_t op = 0; op < STN_N_OPS; op++) {
        ret[op] = (struct stn_count){0};
    }
    if (network.layers == NULL || network.bounds == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for %u layers", n_layers);
        goto out;
    }
    stn_graph_init(&network.graph, config->max_tokens, config->max_targets);
    stn_network_build_tensors(&network, adapter);
    for (size_t p = 0; p < 2 && code == STN_OK; p++) {
        stn_network_build_nodes(&network, passes[p]);
        code = count_pass(&c, passes[p], err);
    }
    stn_graph_fini(&network.graph);
out:
    stn_mem_free(network.layers);
    stn_mem_free(network.bounds);
    return code;
}
