#include "compute/model/count.h"

#include "base/mem.h"
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

static void count(const struct counting *c, const struct stn_node *node)
{
    const struct stn_graph *graph = &c->network->graph;
    const struct stn_op_row *row = stn_op_row(node->op);
    struct stn_count *own = &c->ops[node->op];
    bool is_int8 = stn_graph_shape(graph, node->in[0])->dtype == STN_DTYPE_Q8;
    *(is_int8 ? &own->macs_int8 : &own->macs_f32) += macs_of(c, node);
    own->n_nodes++;
    for (size_t i = 0; i < row->n_inputs; i++) {
        bool is_looked_up = node->op == STN_OP_EMBED && i == 1; /* as many rows as are read */
        own->bytes += node->in[i] == STN_OP_NONE ? 0
                      : is_looked_up             ? bytes_of(graph, node->out[0]) / 2
                                                 : bytes_of(graph, node->in[i]);
    }
    for (size_t i = 0; i < row->n_outputs; i++) {
        own->bytes += bytes_of(graph, node->out[i]) * (i == 0 && node->add ? 2 : 1);
    }
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
    for (size_t p = 0; p < 2; p++) {
        stn_network_build_nodes(&network, passes[p]);
        for (size_t n = 0; n < network.graph.passes[passes[p]].n_nodes && !network.graph.failed; n++) {
            count(&c, &network.graph.passes[passes[p]].nodes[n]);
        }
    }
    if (network.graph.failed) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a graph of %u layers", n_layers);
    }
    stn_graph_fini(&network.graph);
out:
    stn_mem_free(network.layers);
    stn_mem_free(network.bounds);
    return code;
}
