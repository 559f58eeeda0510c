#include "compute/op.h"

#include <assert.h>

#include "compute/grad.h"
#include "compute/graph.h"

#define NEW STN_OP_NEW

static struct stn_shape of(const struct stn_graph *graph, uint32_t tensor)
{
    return *stn_graph_shape(graph, tensor);
}

static struct stn_shape with(struct stn_shape shape, enum stn_dtype dtype, size_t cols)
{
    shape.dtype = dtype;
    shape.cols = cols;
    return shape;
}

/* Shape rules. */

static void shape_as_first(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    ret[0] = with(of(graph, node->in[0]), STN_DTYPE_F32, of(graph, node->in[0]).cols);
}

static void shape_in_place(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    for (size_t i = 0; i < stn_op_row(node->op)->n_outputs; i++) {
        ret[i] = of(graph, node->out[i]);
    }
}

static void shape_embed(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    assert(of(graph, node->in[0]).dtype == STN_DTYPE_I32);
    ret[0] = with(of(graph, node->in[0]), STN_DTYPE_F32, of(graph, node->in[1]).cols);
}

static void shape_norm(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    assert(of(graph, node->in[0]).cols == of(graph, node->in[1]).cols);
    shape_as_first(graph, node, ret);
}

static void shape_quantise(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    ret[0] = with(of(graph, node->in[0]), STN_DTYPE_Q8, of(graph, node->in[0]).cols);
}

/* x (T, n), W (m, n): (T, m) */
static void shape_product(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    assert(of(graph, node->in[0]).cols == of(graph, node->in[1]).cols);
    ret[0] = with(of(graph, node->in[0]), STN_DTYPE_F32, of(graph, node->in[1]).rows);
}

/* dy (T, m), W (m, n): (T, n) */
static void shape_product_back(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    assert(of(graph, node->in[0]).cols == of(graph, node->in[1]).rows);
    ret[0] = with(of(graph, node->in[0]), STN_DTYPE_F32, of(graph, node->in[1]).cols);
}

/* dy (T, m), x (T, n): (m, n) */
static void shape_outer(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    struct stn_shape dy = of(graph, node->in[0]), x = of(graph, node->in[1]);
    assert(dy.extent == x.extent && dy.rows == x.rows);
    ret[0] = (struct stn_shape){STN_DTYPE_F32, STN_EXTENT_FIXED, dy.cols, x.cols};
}

static void shape_rope(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    ret[0] = of(graph, node->out[0]);
    assert(ret[0].extent == of(graph, node->in[0]).extent && of(graph, node->in[1]).cols <= node->head_size);
    assert(ret[0].cols == (size_t)node->heads * node->head_size && of(graph, node->in[1]).cols % 2 == 0);
}

static void check_attention(const struct stn_graph *graph, const struct stn_node *node)
{
    assert(node->kv_heads > 0 && node->heads % node->kv_heads == 0);
    assert(of(graph, node->in[0]).cols == (size_t)node->heads * node->head_size);
    assert(of(graph, node->in[1]).cols == (size_t)node->kv_heads * node->head_size);
    assert(of(graph, node->in[2]).cols == (size_t)node->kv_heads * node->head_size);
    assert(of(graph, node->in[3]).extent == of(graph, node->in[0]).extent);
    assert(of(graph, node->in[4]).extent == of(graph, node->in[0]).extent);
}

static void shape_attention(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    check_attention(graph, node);
    ret[0] = of(graph, node->in[0]);
    ret[1] = with(of(graph, node->in[0]), STN_DTYPE_F32, node->heads);
}

static void shape_attention_back(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    check_attention(graph, node);
    for (size_t i = 0; i < 3; i++) {
        ret[i] = of(graph, node->in[i]);
    }
}

static void shape_as_two(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    assert(of(graph, node->in[0]).cols == of(graph, node->in[1]).cols);
    assert(of(graph, node->in[0]).extent == of(graph, node->in[1]).extent);
    ret[0] = ret[1] = of(graph, node->in[0]);
}

static void shape_gather(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    ret[0] = with(of(graph, node->in[1]), of(graph, node->in[0]).dtype, of(graph, node->in[0]).cols);
}

/* The rows are those of the tensor that was gathered from: the caller names the output. */
static void shape_scatter(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    ret[0] = of(graph, node->out[0]);
    assert(ret[0].cols == of(graph, node->in[0]).cols);
}

static void shape_loss(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    struct stn_shape y = of(graph, node->in[0]);
    assert(y.cols == of(graph, node->in[1]).cols && y.extent == of(graph, node->in[2]).extent);
    ret[0] = with(y, STN_DTYPE_F32, 1);
    ret[1] = with(y, STN_DTYPE_I32, 1);
    ret[2] = y;
}

static void shape_squares(const struct stn_graph *graph, const struct stn_node *node, struct stn_shape *ret)
{
    ret[0] = with(of(graph, node->in[2]), STN_DTYPE_F32, of(graph, node->in[2]).cols);
    assert(of(graph, node->in[1]).cols == ret[0].cols + 1);
}

/* Backward rules. */

static void back_norm(struct stn_grad *grad, const struct stn_node *node)
{
    struct stn_node back = {.op = STN_OP_NORM_BACK, .eps = node->eps, .out = NEW};
    back.in[0] = node->in[0];
    back.in[1] = node->in[1];
    back.in[2] = stn_grad_of(grad, node->out[0]);
    back.out[0] = stn_grad_into(grad, node->in[0], &back.add);
    stn_grad_add(grad, &back);
}

static void back_ternary(struct stn_grad *grad, const struct stn_node *node)
{
    uint32_t dy = stn_grad_of(grad, node->out[0]);
    if (!stn_grad_wanted(grad, node->in[0]) || dy == STN_OP_NONE) {
        return;
    }
    if (node->rounds) {
        struct stn_graph *graph = stn_grad_graph(grad);
        struct stn_node round = {.op = STN_OP_QUANTISE_RANDOM, .in = {dy, stn_grad_seed(grad)}, .out = NEW};
        round.number = graph->n_streams++;
        struct stn_shape shape = with(of(graph, dy), STN_DTYPE_Q8, of(graph, dy).cols);
        round.out[0] = stn_graph_temporary(graph, &shape);
        dy = round.out[0];
        stn_grad_add(grad, &round);
    }
    struct stn_node back = {.op = STN_OP_TERNARY_BACK, .in = {dy, node->in[1]}, .out = NEW};
    back.out[0] = stn_grad_into(grad, node->in[0], &back.add);
    stn_grad_add(grad, &back);
}

static void back_linear(struct stn_grad *grad, const struct stn_node *node)
{
    uint32_t x = node->in[0], w = node->in[1], dy = stn_grad_of(grad, node->out[0]);
    if (stn_grad_wanted(grad, w)) {
        struct stn_node back = {.op = STN_OP_LINEAR_BACK_W, .in = {dy, x}, .scale = node->scale, .out = NEW};
        back.out[0] = stn_grad_into(grad, w, &back.add);
        stn_grad_add(grad, &back);
    }
    if (stn_grad_wanted(grad, x)) {
        struct stn_node back = {.op = STN_OP_LINEAR_BACK_X, .in = {dy, w}, .scale = node->scale, .out = NEW};
        back.out[0] = stn_grad_into(grad, x, &back.add);
        stn_grad_add(grad, &back);
    }
}

static void back_rope(struct stn_grad *grad, const struct stn_node *node)
{
    struct stn_node back = *node;
    back.inverse = !node->inverse;
    back.out[0] = stn_grad_own(grad, node->out[0]);
    stn_grad_add(grad, &back);
}

static void back_attention(struct stn_grad *grad, const struct stn_node *node)
{
    struct stn_node back = *node;
    back.op = STN_OP_ATTENTION_BACK;
    back.in[5] = node->out[0];
    back.in[6] = node->out[1];
    back.in[7] = stn_grad_of(grad, node->out[0]);
    for (size_t i = 0; i < 3; i++) {
        bool add;
        back.out[i] = stn_grad_into(grad, node->in[i], &add);
        assert(!add); /* q, k and v of one attention are read by it alone */
    }
    stn_grad_add(grad, &back);
}

static void back_gate(struct stn_grad *grad, const struct stn_node *node)
{
    struct stn_node back = {.op = STN_OP_GATE_BACK, .gate = node->gate, .out = NEW};
    back.in[0] = node->in[0];
    back.in[1] = node->in[1];
    back.in[2] = stn_grad_of(grad, node->out[0]);
    for (size_t i = 0; i < 2; i++) {
        bool add;
        back.out[i] = stn_grad_into(grad, node->in[i], &add);
        assert(!add); /* a gate's inputs are read by it alone */
    }
    stn_grad_add(grad, &back);
}

/* The same values become 0: the node itself, on the gradient. */
static void back_dropout(struct stn_grad *grad, const struct stn_node *node)
{
    struct stn_node back = *node;
    back.in[0] = stn_grad_of(grad, node->out[0]);
    back.out[0] = stn_grad_into(grad, node->in[0], &back.add);
    stn_grad_add(grad, &back);
}

static void back_add(struct stn_grad *grad, const struct stn_node *node)
{
    uint32_t dc = stn_grad_of(grad, node->out[0]);
    stn_grad_pass_on(grad, node->in[0], dc);
    stn_grad_pass_on(grad, node->in[1], dc);
}

static void back_gather(struct stn_grad *grad, const struct stn_node *node)
{
    struct stn_node back = {.op = STN_OP_SCATTER, .out = NEW};
    back.in[0] = stn_grad_of(grad, node->out[0]);
    back.in[1] = node->in[1];
    back.out[0] = stn_grad_into(grad, node->in[0], &back.add);
    stn_grad_add(grad, &back);
}

/* The last node of a pass: its own output is where gradients begin. */
static void back_loss(struct stn_grad *grad, const struct stn_node *node)
{
    stn_grad_pass_on(grad, node->in[0], node->out[2]);
}

#define ROW(NAME, name, n_inputs, n_outputs, n_in_place, straight, shape, backward, ...)                                \
    [STN_OP_##NAME] = {name, n_inputs, n_outputs, n_in_place, straight, shape, backward},
static const struct stn_op_row rows[STN_N_OPS] = {STN_OP_ROWS(ROW)};

const struct stn_op_row *stn_op_row(enum stn_op op)
{
    assert(op < STN_N_OPS);
    return &rows[op];
}
