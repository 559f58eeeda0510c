#include "compute/model/network_build.h"

#include <assert.h>
#include <math.h>

#include "compute/grad.h"

/* What the passes that run the model differ in. */
struct plan {
    struct stn_network *network;
    size_t pass;
    uint32_t rows;     /* the rows that the last layer goes on with; STN_OP_NONE: all */
    bool caches;       /* keys and values behind the KV cache's */
    bool rounds;       /* int8 backward */
    size_t *bounds;    /* NULL, or where each layer's first node goes: (n_layers) */
    float dropout;     /* as in stn_network_config */
    /* the last input that was quantised, and that was thinned, so that products of one input share it */
    uint32_t quantised_from, quantised, thinned_from, thinned;
};

static uint32_t add(struct plan *plan, const struct stn_node *node)
{
    return stn_graph_add(&plan->network->graph, plan->pass, node);
}

static uint32_t norm(struct plan *plan, uint32_t x, uint32_t gain)
{
    struct stn_node node = {.op = STN_OP_NORM, .in = {x, gain}, .eps = plan->network->model->arch->rms_eps, .out = STN_OP_NEW};
    return gain == STN_OP_NONE ? x : add(plan, &node);
}

static uint32_t gather(struct plan *plan, uint32_t x, uint32_t rows)
{
    struct stn_node node = {.op = STN_OP_GATHER, .in = {x, rows}, .out = STN_OP_NEW};
    return rows == STN_OP_NONE ? x : add(plan, &node);
}

/* What a branch sees of x. */
static uint32_t thin(struct plan *plan, uint32_t x)
{
    struct stn_network *network = plan->network;
    if (plan->dropout > 0 && plan->thinned_from != x) {
        struct stn_node node = {.op = STN_OP_DROPOUT, .in = {x, network->tensors.seed}, .eps = plan->dropout, .out = STN_OP_NEW};
        node.scale = 1 / (1 - plan->dropout);
        node.number = network->graph.n_streams++;
        plan->thinned = add(plan, &node);
        plan->thinned_from = x;
    }
    return plan->dropout > 0 ? plan->thinned : x;
}

static uint32_t quantise(struct plan *plan, uint32_t x)
{
    if (!plan->network->config.act_int8) {
        return x;
    }
    if (plan->quantised_from != x) {
        struct stn_node node = {.op = STN_OP_QUANTISE, .in = {x}, .out = STN_OP_NEW};
        plan->quantised = add(plan, &node);
        plan->quantised_from = x;
    }
    return plan->quantised;
}

/* y = W x_q + scale B (A x) for some targets of one input: what needs nothing of each other stands together */
static void project(struct plan *plan, size_t layer, const enum stn_arch_target *targets, size_t n, uint32_t x, uint32_t *ret_y)
{
    const struct stn_network_layer *l = &plan->network->layers[layer];
    uint32_t downs[STN_ARCH_N_TARGETS];
    for (size_t i = 0; i < n; i++) {
        const struct stn_network_branch *branch = &l->branches[targets[i]];
        struct stn_node down = {.op = STN_OP_LINEAR, .scale = 1, .out = STN_OP_NEW};
        down.in[0] = branch->a == STN_OP_NONE ? STN_OP_NONE : thin(plan, x);
        down.in[1] = branch->a;
        downs[i] = branch->a == STN_OP_NONE ? STN_OP_NONE : add(plan, &down);
    }
    uint32_t xq = quantise(plan, x);
    for (size_t i = 0; i < n; i++) {
        const struct stn_network_branch *branch = &l->branches[targets[i]];
        struct stn_node product = {.op = STN_OP_TERNARY, .in = {xq, l->weights[targets[i]]}, .out = STN_OP_NEW};
        product.rounds = plan->rounds;
        ret_y[i] = add(plan, &product);
        struct stn_node up = {.op = STN_OP_LINEAR, .in = {downs[i], branch->b}, .scale = branch->scale, .add = true, .out = STN_OP_NEW};
        up.out[0] = ret_y[i];
        if (branch->a != STN_OP_NONE) {
            (void)add(plan, &up);
        }
    }
}

static uint32_t project_one(struct plan *plan, size_t layer, enum stn_arch_target target, uint32_t x)
{
    uint32_t y;
    project(plan, layer, &target, 1, x, &y);
    return y;
}

static void rope(struct plan *plan, uint32_t x, uint32_t positions, uint32_t heads)
{
    const struct stn_arch *arch = plan->network->model->arch;
    struct stn_node node = {.op = STN_OP_ROPE, .in = {positions, plan->network->tensors.rope}, .heads = heads, .out = STN_OP_NEW};
    node.neox = arch->rope == STN_ARCH_NEOX;
    node.head_size = arch->head_dim;
    node.out[0] = x;
    (void)add(plan, &node);
}

static uint32_t store(struct plan *plan, uint32_t x, uint32_t cache)
{
    struct stn_node node = {.op = STN_OP_STORE, .in = {x, plan->network->tensors.positions}, .out = STN_OP_NEW};
    node.out[0] = cache;
    return plan->caches ? add(plan, &node) : x;
}

/* The attention half of a layer on x; rows: those that go on, or STN_OP_NONE. */
static uint32_t attend(struct plan *plan, size_t layer, uint32_t x, uint32_t rows)
{
    const struct stn_arch *arch = plan->network->model->arch;
    const struct stn_network_tensors *t = &plan->network->tensors;
    const struct stn_network_layer *l = &plan->network->layers[layer];
    uint32_t h = norm(plan, x, l->attn_norm);
    static const enum stn_arch_target targets[] = {STN_ARCH_K, STN_ARCH_V, STN_ARCH_Q};
    uint32_t kvq[3];
    project(plan, layer, targets, rows == STN_OP_NONE ? 3 : 2, h, kvq);
    uint32_t k = kvq[0], v = kvq[1];
    uint32_t q = rows == STN_OP_NONE ? kvq[2] : project_one(plan, layer, STN_ARCH_Q, gather(plan, h, rows));
    uint32_t positions = gather(plan, t->positions, rows), starts = gather(plan, t->starts, rows);
    rope(plan, k, t->positions, arch->n_kv_heads);
    rope(plan, q, positions, arch->n_heads);
    struct stn_node attention = {.op = STN_OP_ATTENTION, .heads = arch->n_heads, .kv_heads = arch->n_kv_heads, .out = STN_OP_NEW};
    attention.in[0] = q;
    attention.in[1] = store(plan, k, l->k_cache);
    attention.in[2] = store(plan, v, l->v_cache);
    attention.in[3] = starts;
    attention.in[4] = positions;
    attention.head_size = arch->head_dim;
    attention.scale = 1.0f / sqrtf((float)arch->head_dim);
    uint32_t o = norm(plan, add(plan, &attention), l->attn_sub_norm);
    struct stn_node sum = {.op = STN_OP_ADD, .out = STN_OP_NEW};
    sum.in[0] = gather(plan, x, rows);
    sum.in[1] = project_one(plan, layer, STN_ARCH_O, o);
    return add(plan, &sum);
}

static uint32_t feed_forward(struct plan *plan, size_t layer, uint32_t x)
{
    const struct stn_arch *arch = plan->network->model->arch;
    const struct stn_network_layer *l = &plan->network->layers[layer];
    uint32_t h = norm(plan, x, l->ffn_norm);
    struct stn_node gate = {.op = STN_OP_GATE, .out = STN_OP_NEW};
    gate.gate = arch->activation == STN_ARCH_RELU2 ? STN_OP_GATE_RELU2 : STN_OP_GATE_SWIGLU;
    static const enum stn_arch_target targets[] = {STN_ARCH_GATE, STN_ARCH_UP};
    project(plan, layer, targets, 2, h, gate.in);
    struct stn_node sum = {.op = STN_OP_ADD, .in = {x}, .out = STN_OP_NEW};
    sum.in[1] = project_one(plan, layer, STN_ARCH_DOWN, norm(plan, add(plan, &gate), l->ffn_sub_norm));
    return add(plan, &sum);
}

/* The whole model up to the norm before the head. */
static uint32_t trunk(struct plan *plan)
{
    const struct stn_network *network = plan->network;
    struct stn_node embed = {.op = STN_OP_EMBED, .in = {network->tensors.tokens, network->tensors.embeddings}, .out = STN_OP_NEW};
    uint32_t x = add(plan, &embed), n_layers = network->model->arch->n_layers;
    plan->quantised_from = plan->thinned_from = STN_OP_NONE;
    for (uint32_t layer = 0; layer < n_layers && !network->graph.failed; layer++) {
        if (plan->bounds != NULL) {
            plan->bounds[layer] = network->graph.passes[plan->pass].n_nodes;
        }
        x = attend(plan, layer, x, layer + 1 == n_layers ? plan->rows : STN_OP_NONE);
        x = feed_forward(plan, layer, x);
    }
    return network->graph.failed ? STN_OP_NONE : norm(plan, x, network->tensors.output_norm);
}

static void build_eval(struct stn_network *network)
{
    struct stn_network_tensors *t = &network->tensors;
    struct plan plan = {.network = network, .pass = STN_NETWORK_EVAL, .rows = t->target_rows};
    struct stn_node score = {.op = STN_OP_SCORE, .out = {t->losses, t->guesses, STN_OP_NONE, STN_OP_NONE}};
    score.in[0] = trunk(&plan);
    score.in[1] = t->head;
    score.in[2] = t->labels;
    (void)add(&plan, &score);
}

static void build_train(struct stn_network *network)
{
    struct stn_network_tensors *t = &network->tensors;
    struct plan plan = {.network = network, .pass = STN_NETWORK_TRAIN, .rows = t->target_rows};
    plan.rounds = network->config.backward == STN_BACKWARD_INT8;
    plan.bounds = network->bounds;
    plan.dropout = network->config.dropout;
    struct stn_node loss = {.op = STN_OP_LOSS, .out = {t->losses, t->guesses, STN_OP_NONE, STN_OP_NONE}};
    loss.in[0] = trunk(&plan);
    loss.in[1] = t->head;
    loss.in[2] = t->labels;
    loss.in[3] = t->weights;
    (void)add(&plan, &loss);
    /* the last layer's gradients come first: it has nothing to compute again */
    uint32_t again = network->config.recompute, n_layers = network->model->arch->n_layers;
    again = again < n_layers ? again : n_layers - 1;
    stn_grad_append(&network->graph, STN_NETWORK_TRAIN, t->seed, network->bounds, again == 0 ? 0 : again + 1);
}

static void build_update(struct stn_network *network)
{
    struct stn_network_tensors *t = &network->tensors;
    struct stn_node squares = {.op = STN_OP_SQUARES, .in = {t->gradients, t->spans, t->trains}, .out = STN_OP_NEW};
    squares.out[0] = t->squares;
    (void)stn_graph_add(&network->graph, STN_NETWORK_UPDATE, &squares);
    struct stn_node step = {.op = STN_OP_ADAMW, .in = {t->gradients, t->spans, t->trains, t->squares, t->settings}};
    step.out[0] = t->values;
    step.out[1] = t->m;
    step.out[2] = t->v;
    step.out[3] = t->gradients;
    (void)stn_graph_add(&network->graph, STN_NETWORK_UPDATE, &step);
}

static uint32_t fixed(struct stn_network *network, enum stn_dtype dtype, size_t rows, size_t cols)
{
    return stn_graph_lasting(&network->graph, dtype, STN_EXTENT_FIXED, rows, cols);
}

static void build_feed(struct stn_network *network)
{
    const struct stn_arch *arch = network->model->arch;
    struct stn_network_tensors *t = &network->tensors;
    size_t width = (size_t)arch->n_kv_heads * arch->head_dim;
    t->last_row = fixed(network, STN_DTYPE_I32, 1, 1);
    t->fed = fixed(network, STN_DTYPE_F32, 1, arch->n_vocab);
    for (uint32_t i = 0; i < arch->n_layers; i++) {
        network->layers[i].k_cache = fixed(network, STN_DTYPE_F32, network->config.context, width);
        network->layers[i].v_cache = fixed(network, STN_DTYPE_F32, network->config.context, width);
    }
    struct plan plan = {.network = network, .pass = STN_NETWORK_FEED, .rows = t->last_row, .caches = true};
    struct stn_node head = {.op = STN_OP_LINEAR, .scale = 1, .out = STN_OP_NEW};
    head.in[0] = trunk(&plan);
    head.in[1] = t->head;
    head.out[0] = t->fed;
    (void)add(&plan, &head);
}

static void build_trunk(struct stn_network *network)
{
    struct stn_network_tensors *t = &network->tensors;
    struct plan plan = {.network = network, .pass = STN_NETWORK_TRUNK, .rows = STN_OP_NONE};
    t->hidden = stn_graph_lasting(&network->graph, STN_DTYPE_F32, STN_EXTENT_TOKENS, 0, network->model->arch->n_embd);
    struct stn_node keep = {.op = STN_OP_COPY, .out = STN_OP_NEW};
    keep.in[0] = trunk(&plan);
    keep.out[0] = t->hidden;
    (void)add(&plan, &keep);
}

static void build_head(struct stn_network *network)
{
    struct stn_network_tensors *t = &network->tensors;
    struct plan plan = {.network = network, .pass = STN_NETWORK_HEAD};
    t->head_rows = fixed(network, STN_DTYPE_I32, STN_NETWORK_HEAD_ROWS, 1);
    t->logits = fixed(network, STN_DTYPE_F32, STN_NETWORK_HEAD_ROWS, network->model->arch->n_vocab);
    struct stn_node head = {.op = STN_OP_LINEAR, .scale = 1, .out = STN_OP_NEW};
    head.in[0] = network->graph.failed ? STN_OP_NONE : gather(&plan, t->hidden, t->head_rows);
    head.in[1] = t->head;
    head.out[0] = t->logits;
    (void)add(&plan, &head);
}

void stn_network_build_nodes(struct stn_network *network, enum stn_network_pass pass)
{
    static void (*const builders[STN_NETWORK_N_PASSES])(struct stn_network *) = {
        [STN_NETWORK_EVAL] = build_eval, [STN_NETWORK_TRAIN] = build_train, [STN_NETWORK_UPDATE] = build_update,
        [STN_NETWORK_FEED] = build_feed, [STN_NETWORK_TRUNK] = build_trunk, [STN_NETWORK_HEAD] = build_head};
    if (network->graph.passes[pass].n_nodes == 0) {
        builders[pass](network);
    }
}

enum stn_code stn_network_build_pass(struct stn_network *network, enum stn_network_pass pass, struct stn_err *err)
{
    if (network->is_prepared[pass]) {
        return STN_OK;
    }
    stn_network_build_nodes(network, pass);
    enum stn_code code = network->row->prepare(network->backend, pass, err);
    network->is_prepared[pass] = code == STN_OK;
    return code;
}

static uint32_t constant(struct stn_network *network, const struct stn_model_table *table, size_t rows, size_t cols)
{
    return table->data == NULL ? STN_OP_NONE : stn_graph_constant(&network->graph, table->dtype, rows, cols, table->data);
}

static void build_layer(struct stn_network *network, uint32_t number)
{
    const struct stn_arch *arch = network->model->arch;
    const struct stn_model_layer *from = &network->model->layers[number];
    struct stn_network_layer *to = &network->layers[number];
    to->attn_norm = constant(network, &from->attn_norm, 1, arch->n_embd);
    to->attn_sub_norm = constant(network, &from->attn_sub_norm, 1, (size_t)arch->n_heads * arch->head_dim);
    to->ffn_norm = constant(network, &from->ffn_norm, 1, arch->n_embd);
    to->ffn_sub_norm = constant(network, &from->ffn_sub_norm, 1, arch->n_ff);
    to->k_cache = to->v_cache = STN_OP_NONE;
    for (uint32_t i = 0; i < STN_ARCH_N_TARGETS; i++) {
        const struct stn_matrix *matrix = &from->weights[i].matrix;
        to->weights[i] =
            stn_graph_constant(&network->graph, STN_DTYPE_TERNARY, matrix->source.rows, matrix->source.cols, matrix);
        to->branches[i] = (struct stn_network_branch){.a = STN_OP_NONE, .b = STN_OP_NONE};
    }
}

/* The adapter's values are one lasting tensor, and each of its matrices a view. */
static void build_adapter(struct stn_network *network, const struct stn_adapter *adapter)
{
    struct stn_network_tensors *t = &network->tensors;
    bool train = network->config.train;
    t->values = fixed(network, STN_DTYPE_F32, 1, adapter->n_values);
    t->gradients = t->m = t->v = t->spans = t->trains = t->squares = t->settings = t->seed = STN_OP_NONE;
    if (train) {
        t->gradients = fixed(network, STN_DTYPE_F32, 1, adapter->n_values);
        t->m = fixed(network, STN_DTYPE_F32, 1, adapter->n_values);
        t->v = fixed(network, STN_DTYPE_F32, 1, adapter->n_values);
        t->spans = fixed(network, STN_DTYPE_I32, 1, adapter->n_tensors + 1);
        t->trains = fixed(network, STN_DTYPE_F32, 1, adapter->n_tensors);
        t->squares = fixed(network, STN_DTYPE_F32, 1, adapter->n_tensors);
        t->settings = fixed(network, STN_DTYPE_F32, 1, STN_OP_N_SETTINGS);
        t->seed = fixed(network, STN_DTYPE_I32, 1, 2);
    }
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *from = &adapter->tensors[i];
        struct stn_network_branch *branch = &network->layers[from->layer].branches[from->target];
        uint32_t gradient = STN_OP_NONE;
        if (train && stn_slice_has(network->config.slice, from->is_b)) {
            gradient = stn_graph_view(&network->graph, t->gradients, from->offset, from->rows, from->cols, STN_OP_NONE);
        }
        uint32_t view = stn_graph_view(&network->graph, t->values, from->offset, from->rows, from->cols, gradient);
        *(from->is_b ? &branch->b : &branch->a) = view;
        branch->scale = adapter->alpha / (float)adapter->rank *
                        network->model->layers[from->layer].weights[from->target].scale;
    }
}

void stn_network_build_tensors(struct stn_network *network, const struct stn_adapter *adapter)
{
    const struct stn_arch *arch = network->model->arch;
    struct stn_network_tensors *t = &network->tensors;
    struct stn_graph *graph = &network->graph;
    t->tokens = stn_graph_lasting(graph, STN_DTYPE_I32, STN_EXTENT_TOKENS, 0, 1);
    t->positions = stn_graph_lasting(graph, STN_DTYPE_I32, STN_EXTENT_TOKENS, 0, 1);
    t->starts = stn_graph_lasting(graph, STN_DTYPE_I32, STN_EXTENT_TOKENS, 0, 1);
    t->target_rows = stn_graph_lasting(graph, STN_DTYPE_I32, STN_EXTENT_TARGETS, 0, 1);
    t->labels = stn_graph_lasting(graph, STN_DTYPE_I32, STN_EXTENT_TARGETS, 0, 1);
    t->weights = stn_graph_lasting(graph, STN_DTYPE_F32, STN_EXTENT_TARGETS, 0, 1);
    t->losses = stn_graph_lasting(graph, STN_DTYPE_F32, STN_EXTENT_TARGETS, 0, 1);
    t->guesses = stn_graph_lasting(graph, STN_DTYPE_I32, STN_EXTENT_TARGETS, 0, 1);
    t->rope = stn_graph_constant(graph, STN_DTYPE_F32, network->config.context, arch->head_dim, network->rope);
    t->embeddings = constant(network, &network->model->embeddings, arch->n_vocab, arch->n_embd);
    t->head = arch->output == arch->token_embd ? t->embeddings
                                               : constant(network, &network->model->head, arch->n_vocab, arch->n_embd);
    t->output_norm = constant(network, &network->model->output_norm, 1, arch->n_embd);
    for (uint32_t i = 0; i < arch->n_layers; i++) {
        build_layer(network, i);
    }
    if (adapter != NULL && !graph->failed) {
        build_adapter(network, adapter);
    }
}
