#include "compute/vulkan/tape.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "compute/together.h"

#define EXTENT_SHIFT 30 /* rows carry their extent above */
#define SLACK 256       /* bytes that aligning a binding's start may put before it */
#define TILE 2048       /* words of logits at a time, at most */
#define LOGITS_MOST ((size_t)32 << 20)

enum { ROUNDS = 4 }; /* beside up to three products */
enum { ADD = 1, NEOX = 2, INVERSE = 4, RELU2 = 8, HALF = 16, ONE_SCALE = 32, FIRST = 128 };

/* Rows [first, first + count) of what is walked, and of the table (or floats). */
struct window {
    size_t first, count, table_first, table_count;
};

struct builder {
    const struct stn_tape_place *place;
    const struct stn_node *node, *with[STN_TOGETHER_MOST]; /* that go with it, or NULL */
    struct stn_tape_list *list;
    struct stn_err *err;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t ceiling(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* False where a binding is of a node that would go with this one, and there is none. */
static bool is_there(const struct builder *b, uint16_t binding)
{
    return binding < STN_PIPELINE_WITH(1) || b->with[binding / STN_PIPELINE_WITH(1) - 1] != NULL;
}

static uint32_t tensor_of(const struct builder *b, uint16_t binding)
{
    uint16_t what = binding & STN_PIPELINE_WHAT, with = binding / STN_PIPELINE_WITH(1);
    const struct stn_node *node = with == 0 ? b->node : b->with[with - 1];
    assert(what < STN_PIPELINE_LOGITS && is_there(b, binding));
    return what >= STN_PIPELINE_SCALES(0) ? node->in[what - STN_PIPELINE_SCALES(0)]
           : what >= STN_PIPELINE_OUT(0)  ? node->out[what - STN_PIPELINE_OUT(0)]
                                          : node->in[what];
}

static const struct stn_shape *shape_of(const struct builder *b, uint16_t binding)
{
    return stn_graph_shape(b->place->graph, tensor_of(b, binding));
}

static size_t row_bytes(const struct builder *b, uint16_t binding)
{
    const struct stn_shape *shape = shape_of(b, binding);
    return (binding & STN_PIPELINE_FLAT) != 0 ? 4 : shape->cols * (shape->dtype == STN_DTYPE_F16 ? 2 : 4);
}

/* The most that a run will have of a tensor. */
static size_t rows_of(const struct builder *b, const struct stn_shape *shape)
{
    return shape->extent == STN_EXTENT_TOKENS ? least(shape->rows, b->place->most_tokens) : shape->rows;
}

static enum stn_code too_long(const struct builder *b, uint64_t bytes)
{
    const struct stn_gpu_caps *caps = &b->place->gpu->caps;
    return stn_err_set(b->err, STN_LIMIT, "%.100s: %s needs %llu bytes at once, the device shows %llu", caps->name,
                       stn_op_row(b->node->op)->name, (unsigned long long)bytes, (unsigned long long)caps->range);
}

/* The most rows of a window, so that each binding that is cut with it fits; 0: one row is too long. */
static size_t most_rows(const struct builder *b, const struct stn_pipeline_row *row, uint8_t flag)
{
    size_t most = SIZE_MAX;
    for (size_t i = 0; row->bindings[i] != STN_PIPELINE_END; i++) {
        if ((row->bindings[i] & flag) != 0 && is_there(b, row->bindings[i])) {
            most = least(most, ((size_t)b->place->gpu->caps.range - SLACK) / row_bytes(b, row->bindings[i]));
        }
    }
    if (flag == STN_PIPELINE_ROWS && row->tile_y > 0 && !row->sums) {
        size_t head = row->shape == STN_PIPELINE_HEAD ? 1 : row->tile_y; /* tiles of wide heads may be one row high */
        most = least(most, (size_t)b->place->gpu->caps.max_groups * head);
    }
    if (flag == STN_PIPELINE_TABLE && row->across == STN_PIPELINE_TABLE_ROWS) {
        most = least(most, (size_t)b->place->gpu->caps.max_groups * row->tile_x);
    }
    return flag == STN_PIPELINE_TABLE && most > 1 ? most / 2 * 2 : most; /* rows of halves begin at whole words */
}

/* STN_LIMIT where a window would have no row. */
static enum stn_code check_window(const struct builder *b, const struct stn_pipeline_row *row, size_t n_rows)
{
    size_t longest = 0;
    for (size_t i = 0; row->bindings[i] != STN_PIPELINE_END; i++) {
        if ((row->bindings[i] & (STN_PIPELINE_ROWS | STN_PIPELINE_TABLE)) != 0 && is_there(b, row->bindings[i])) {
            size_t bytes = row_bytes(b, row->bindings[i]);
            longest = bytes > longest ? bytes : longest;
        }
    }
    return n_rows > 0 ? STN_OK : too_long(b, longest + SLACK);
}

static uint32_t encoded(const struct stn_shape *shape)
{
    assert(shape->rows < (size_t)1 << EXTENT_SHIFT);
    return shape->extent == STN_EXTENT_FIXED ? (uint32_t)shape->rows : (uint32_t)shape->extent << EXTENT_SHIFT;
}

/* Where a Q8 tensor's scales begin, in words. */
static uint32_t scales_at(const struct stn_shape *shape)
{
    return (uint32_t)(stn_graph_size(shape) / 4 - shape->rows);
}

static uint32_t flags_of(const struct builder *b)
{
    const struct stn_node *node = b->node;
    uint32_t flags = (node->add ? ADD : 0u) | (node->neox ? NEOX : 0u) | (node->inverse ? INVERSE : 0u);
    flags |= node->gate == STN_OP_GATE_RELU2 ? RELU2 : 0u;
    if (stn_op_row(node->op)->n_inputs > 1) {
        const struct stn_shape *table = shape_of(b, STN_PIPELINE_IN(1));
        flags |= table->dtype == STN_DTYPE_F16 ? HALF : 0u;
        if (table->dtype == STN_DTYPE_TERNARY) {
            flags |= b->place->find(b->place->user, node->in[1], true).size == 4 ? ONE_SCALE : 0u;
        }
    }
    return flags;
}

static bool is_ternary(enum stn_op op)
{
    return op == STN_OP_TERNARY || op == STN_OP_TERNARY_BACK;
}

static void fill_push(const struct builder *b, const struct stn_pipeline_row *row, const struct window *w,
                      struct stn_tape_push *push)
{
    const struct stn_node *node = b->node;
    size_t n_inputs = stn_op_row(node->op)->n_inputs;
    const struct stn_shape *out = shape_of(b, STN_PIPELINE_OUT(0));
    *push = (struct stn_tape_push){.out_rows = encoded(out),
                                     .out_cols = (uint32_t)out->cols,
                                     .rows = encoded(shape_of(b, row->walks)),
                                     .first = (uint32_t)w->first,
                                     .count = (uint32_t)w->count,
                                     .table_first = (uint32_t)w->table_first,
                                     .table_count = (uint32_t)w->table_count,
                                     .flags = flags_of(b),
                                     .heads = node->heads,
                                     .kv_heads = node->kv_heads,
                                     .head_size = node->head_size,
                                     .number = node->number,
                                     .scale = node->scale,
                                     .eps = node->eps};
    for (size_t i = 0; i < least(n_inputs, 3); i++) {
        const struct stn_shape *shape = shape_of(b, (uint8_t)STN_PIPELINE_IN(i));
        push->in_rows[i] = encoded(shape);
        push->in_cols[i] = (uint32_t)shape->cols;
    }
    if (out->dtype == STN_DTYPE_Q8) {
        push->extra[0] = scales_at(out);
    } else if (shape_of(b, STN_PIPELINE_IN(0))->dtype == STN_DTYPE_Q8) {
        push->extra[0] = scales_at(shape_of(b, STN_PIPELINE_IN(0)));
    } else if (row->across == STN_PIPELINE_TABLE_ROWS) {
        push->extra[0] = (uint32_t)w->table_first;
    }
    push->extra[1] = (b->with[1] != NULL ? 1u : 0u) + (b->with[2] != NULL ? 1u : 0u);
    if (b->with[0] != NULL && is_ternary(node->op)) { /* the sum that stands behind: over so many columns */
        push->extra[1] = (uint32_t)shape_of(b, STN_PIPELINE_IN(0) | STN_PIPELINE_WITH(1))->cols;
        push->scale = b->with[0]->scale;
    } else if (b->with[0] != NULL) { /* a rounding */
        push->extra[0] = scales_at(shape_of(b, STN_PIPELINE_OUT(0) | STN_PIPELINE_WITH(1)));
        push->extra[1] += ROUNDS;
        push->number = b->with[0]->number;
    }
}

/* The part of a tensor that a binding shows, from a start that the device accepts. */
static enum stn_code bind(const struct builder *b, uint16_t binding, const struct window *w, struct stn_vram_span *ret,
                          uint32_t *ret_words)
{
    const struct stn_gpu_caps *caps = &b->place->gpu->caps;
    uint16_t what = binding & STN_PIPELINE_WHAT;
    struct stn_vram_span span = what == STN_PIPELINE_LOGITS  ? b->place->logits
                                 : what == STN_PIPELINE_STATE ? b->place->state
                                                              : b->place->find(b->place->user, tensor_of(b, binding),
                                                                               what >= STN_PIPELINE_SCALES(0));
    if ((binding & (STN_PIPELINE_ROWS | STN_PIPELINE_TABLE | STN_PIPELINE_FLAT)) != 0) {
        bool by_rows = (binding & STN_PIPELINE_ROWS) != 0;
        size_t bytes = row_bytes(b, binding);
        span.offset += (by_rows ? w->first : w->table_first) * bytes;
        span.size = ceiling((by_rows ? w->count : w->table_count) * bytes, 4) * 4;
    }
    uint64_t before = span.offset % caps->offset_align;
    span.offset -= before;
    span.size += before;
    if (span.size > caps->range) {
        return too_long(b, span.size);
    }
    *ret = span;
    *ret_words = (uint32_t)before / 4;
    return STN_OK;
}

static size_t across(const struct builder *b, const struct stn_pipeline_row *row, const struct window *w)
{
    switch (row->across) {
    case STN_PIPELINE_ONE:
        break;
    case STN_PIPELINE_COLS:
        return b->node->op == STN_OP_LOSS ? shape_of(b, STN_PIPELINE_IN(0))->cols : shape_of(b, STN_PIPELINE_OUT(0))->cols;
    case STN_PIPELINE_PAIRS:
        return b->node->heads * shape_of(b, STN_PIPELINE_IN(1))->cols / 2;
    case STN_PIPELINE_HEADS:
        return b->node->heads;
    case STN_PIPELINE_KV_HEADS:
        return b->node->kv_heads;
    case STN_PIPELINE_TABLE_ROWS:
    case STN_PIPELINE_FLOATS:
        return w->table_count;
    case STN_PIPELINE_SPANS:
        return shape_of(b, STN_PIPELINE_IN(2))->cols;
    }
    return 1;
}

static struct stn_tape_dispatch *append(struct builder *b)
{
    struct stn_tape_list *list = b->list;
    if (list->n == list->room) {
        size_t room = list->room == 0 ? 256 : 2 * list->room;
        struct stn_tape_dispatch *grown = stn_mem_grow(list->dispatches, room, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        list->dispatches = grown;
        list->room = room;
    }
    return &list->dispatches[list->n];
}

static bool is_written(uint16_t binding)
{
    uint16_t what = binding & STN_PIPELINE_WHAT;
    return (what >= STN_PIPELINE_OUT(0) && what < STN_PIPELINE_SCALES(0)) || what >= STN_PIPELINE_LOGITS;
}

static enum stn_code dispatch(struct builder *b, const struct stn_pipeline_row *row, const struct window *w,
                              const struct stn_tape_push *push)
{
    const struct stn_gpu_caps *caps = &b->place->gpu->caps;
    struct stn_tape_dispatch *d = append(b);
    if (d == NULL) {
        return stn_err_set(b->err, STN_MEMORY, "no memory for %zu dispatches", b->list->n);
    }
    *d = (struct stn_tape_dispatch){.row = row, .node = b->node, .with = {b->with[0], b->with[1], b->with[2]}, .push = *push};
    for (size_t i = 0; row->bindings[i] != STN_PIPELINE_END; i++) {
        uint32_t words = 0;
        uint16_t binding = row->bindings[i];
        if (!is_there(b, binding)) { /* something must be bound: what is read, or written, anyway */
            binding = is_written(binding) ? binding % STN_PIPELINE_WITH(1) : row->bindings[0];
        }
        d->written |= is_written(binding) ? 1u << i : 0u;
        enum stn_code code = bind(b, binding, w, &d->spans[i], &words);
        if (code != STN_OK) {
            return code;
        }
        d->push.at[i / 4] |= words << i % 4 * 8;
    }
    stn_pipeline_constants(row, caps, b->node->head_size, d->constants);
    d->tile_y = row->shape == STN_PIPELINE_HEAD ? d->constants[row->across == STN_PIPELINE_HEADS ? 1 : 2] : row->tile_y;
    d->groups_x = (uint32_t)least(ceiling(across(b, row, w), row->tile_x), caps->max_groups);
    d->groups_x = (b->place->spoilt & stn_pipeline_only(row)) != 0 ? 0 : d->groups_x;
    bool is_cells = row->shape == STN_PIPELINE_GROUP && row->across != STN_PIPELINE_ONE; /* nothing is summed for them */
    d->cost = (uint64_t)w->count * d->groups_x * row->tile_x * (is_cells || d->push.in_cols[0] == 0 ? 1 : d->push.in_cols[0]);
    d->cost += is_ternary(b->node->op) ? (uint64_t)w->count * d->push.out_cols * d->push.extra[1] : d->cost * (d->push.extra[1] % ROUNDS);
    b->list->n++;
    return STN_OK;
}

/* All windows of one row of the table. */
static enum stn_code windows(struct builder *b, const struct stn_pipeline_row *row)
{
    size_t n_rows = rows_of(b, shape_of(b, row->walks)), step = most_rows(b, row, STN_PIPELINE_ROWS);
    size_t n_table = stn_op_row(b->node->op)->n_inputs > 1 ? shape_of(b, STN_PIPELINE_IN(1))->rows : 0;
    bool flat = row->across == STN_PIPELINE_FLOATS || row->across == STN_PIPELINE_SPANS;
    n_table = flat ? shape_of(b, STN_PIPELINE_IN(0))->cols : n_table;
    size_t table_step = least(most_rows(b, row, STN_PIPELINE_TABLE), most_rows(b, row, STN_PIPELINE_FLAT));
    enum stn_code code = check_window(b, row, least(step, table_step));
    for (struct window w = {0}; code == STN_OK && (w.table_first == 0 || w.table_first < n_table); w.table_first += table_step) {
        w.table_count = least(n_table - w.table_first, table_step);
        for (w.first = 0; w.first < n_rows && code == STN_OK; w.first += step) {
            struct stn_tape_push push;
            w.count = least(n_rows - w.first, step);
            fill_push(b, row, &w, &push);
            push.flags |= w.table_first == 0 && w.first == 0 ? FIRST : 0u;
            push.flags |= row->sums && w.first > 0 ? ADD : 0u;
            code = dispatch(b, row, &w, &push);
        }
    }
    return code;
}

/* So many tiles of 128 x 128 that they fill a device, and room for them in shared memory. */
static bool is_wide(const struct stn_gpu_caps *caps, const struct stn_shape *out)
{
    const struct stn_gpu_matrix *matrix = caps->matrix_i8.m > 0 ? &caps->matrix_i8 : &caps->matrix_f16;
    uint32_t shared = 2 * STN_GPU_MATRIX_SHARED + STN_GPU_SUBGROUPS * matrix->m * matrix->n * 4;
    return shared <= caps->shared && out->rows / STN_PIPELINE_TILE * (out->cols / STN_PIPELINE_TILE) >= STN_PIPELINE_WIDE_TILES;
}

/* Rows of halves that are whole words, and room for a tile of floats as two of halves, one of theirs, and results. */
static bool has_halves(const struct stn_gpu_caps *caps, const struct stn_shape *table)
{
    uint32_t results = STN_GPU_SUBGROUPS * caps->matrix_f16.m * caps->matrix_f16.n * 4;
    return table->dtype == STN_DTYPE_F16 && table->cols % 2 == 0 && STN_GPU_SPLIT_SHARED + results <= caps->shared;
}

static uint32_t traits_of(const struct builder *b)
{
    const struct stn_gpu_caps *caps = &b->place->gpu->caps;
    const struct stn_shape *out = shape_of(b, STN_PIPELINE_OUT(0));
    bool is_q8 = shape_of(b, STN_PIPELINE_IN(0))->dtype == STN_DTYPE_Q8;
    const struct stn_shape *table = shape_of(b, STN_PIPELINE_IN(stn_op_row(b->node->op)->n_inputs > 1 ? 1 : 0));
    bool has_f32 = table->dtype == STN_DTYPE_F32;
    return (is_q8 ? STN_PIPELINE_Q8 : STN_PIPELINE_F32) |
           (has_f32 && out->cols <= STN_PIPELINE_MOST_NARROW ? STN_PIPELINE_NARROW : 0u) |
           (has_f32 && out->extent == STN_EXTENT_FIXED && out->rows <= STN_PIPELINE_MOST_NARROW ? STN_PIPELINE_SHORT : 0u) |
           (has_halves(caps, table) ? STN_PIPELINE_HALVES : 0u) |
           (rows_of(b, out) <= STN_PIPELINE_MOST_FEW ? STN_PIPELINE_FEW : 0u) |
           ((flags_of(b) & ONE_SCALE) != 0 ? STN_PIPELINE_ONE_SCALE : 0u) | (is_wide(caps, out) ? STN_PIPELINE_WIDE : 0u) |
           stn_pipeline_device(caps);
}

/* STN_UNSUPPORTED where a step that the op has on this device has no row left. */
static enum stn_code check_rows(const struct builder *b)
{
    uint32_t has = traits_of(b);
    for (unsigned step = 0; step < STN_PIPELINE_STEPS; step++) {
        if (stn_pipeline_row(b->node->op, step, has, b->place->barred) == NULL && stn_pipeline_row(b->node->op, step, has, 0) != NULL) {
            return stn_err_set(b->err, STN_UNSUPPORTED, "%.100s: no kernel is left for %s", b->place->gpu->caps.name,
                               stn_op_row(b->node->op)->name);
        }
    }
    return STN_OK;
}

/* ---- loss: logits are there for a tile of words at a time ---- */

enum { STEP_LOGITS, STEP_TAKE_IN, STEP_SPREAD, STEP_FINISH };

static enum stn_code loss_step(struct builder *b, unsigned number, const struct window *w)
{
    const struct stn_pipeline_row *row = stn_pipeline_row(b->node->op, number, traits_of(b), b->place->barred);
    struct stn_tape_push push;
    if (row == NULL) {
        return STN_OK; /* a score has no gradient */
    }
    fill_push(b, row, w, &push);
    push.scale = 1;
    push.extra[0] = 0;
    push.flags |= w->table_first == 0 ? FIRST : 0u;
    if (number == STEP_LOGITS) {
        push.out_cols = (uint32_t)b->place->tile;
    } else if (number != STEP_FINISH) {
        push.in_cols[0] = (uint32_t)b->place->tile;
        push.out_cols = (uint32_t)shape_of(b, STN_PIPELINE_IN(0))->cols;
    }
    return dispatch(b, row, w, &push);
}

static enum stn_code loss(struct builder *b)
{
    const struct stn_shape *y = shape_of(b, STN_PIPELINE_IN(0)), *table = shape_of(b, STN_PIPELINE_IN(1));
    size_t step = b->place->logits.size / (b->place->tile * 4);
    const struct stn_pipeline_row *finish = stn_pipeline_row(b->node->op, STEP_FINISH, 0, b->place->barred);
    step = least(step, most_rows(b, finish, STN_PIPELINE_ROWS));
    step = least(step, ((size_t)b->place->gpu->caps.range - SLACK) / (y->cols * 4));
    size_t table_step = most_rows(b, finish, STN_PIPELINE_TABLE);
    enum stn_code code = least(step, table_step) > 0 ? STN_OK : too_long(b, y->cols * 4 + SLACK);
    for (struct window w = {0}; w.first < y->rows && code == STN_OK; w.first += step) {
        w.count = least(y->rows - w.first, step);
        for (w.table_first = 0; w.table_first < table->rows && code == STN_OK; w.table_first += b->place->tile) {
            w.table_count = least(table->rows - w.table_first, b->place->tile);
            for (unsigned i = STEP_LOGITS; i < STEP_FINISH && code == STN_OK; i++) {
                code = loss_step(b, i, &w);
            }
        }
        for (w.table_first = 0; w.table_first < table->rows && code == STN_OK; w.table_first += table_step) {
            w.table_count = least(table->rows - w.table_first, table_step);
            code = loss_step(b, STEP_FINISH, &w);
        }
    }
    return code;
}

static bool is_loss(enum stn_op op)
{
    return op == STN_OP_LOSS || op == STN_OP_SCORE;
}

void stn_tape_list_scratch(const struct stn_gpu *gpu, const struct stn_graph *graph, size_t pass, size_t *ret_logits,
                             size_t *ret_state, size_t *ret_tile)
{
    *ret_logits = *ret_state = *ret_tile = 0;
    for (size_t n = 0; n < graph->passes[pass].n_nodes; n++) {
        const struct stn_node *node = &graph->passes[pass].nodes[n];
        if (!is_loss(node->op)) {
            continue;
        }
        size_t rows = stn_graph_shape(graph, node->in[0])->rows, words = stn_graph_shape(graph, node->in[1])->rows;
        size_t bytes = stn_graph_shape(graph, node->in[1])->cols * 4, most = (size_t)gpu->caps.range - SLACK;
        most = least(most, LOGITS_MOST);
        *ret_tile = least(least(ceiling(words, 64) * 64, TILE), (most / bytes > 64 ? most / bytes : 64) / 64 * 64);
        *ret_logits = least(rows, most / (*ret_tile * 4)) * *ret_tile * 4;
        *ret_state = *ret_logits / *ret_tile * 4;
    }
}

/* What goes with the node, where the row takes it; marked as done. */
static void gather(struct builder *b, const struct stn_pipeline_row *row, size_t pass, bool *done)
{
    const struct stn_node *nodes = b->place->graph->passes[pass].nodes;
    size_t with[STN_TOGETHER_MOST];
    stn_together_find(b->place->graph, pass, (size_t)(b->node - nodes), done, with);
    for (size_t i = 0; row->bindings[i] != STN_PIPELINE_END; i++) {
        size_t place = row->bindings[i] / STN_PIPELINE_WITH(1);
        if (place > 0 && with[place - 1] != STN_TOGETHER_NONE) {
            b->with[place - 1] = &nodes[with[place - 1]];
            done[with[place - 1]] = true;
        }
    }
}

/* The rows of a node that is no loss. */
static enum stn_code node_rows(struct builder *b, size_t pass, bool *done)
{
    uint32_t has = traits_of(b);
    const struct stn_pipeline_row *row = stn_pipeline_row(b->node->op, 0, has, b->place->barred);
    if (b->node->head_size > STN_PIPELINE_MOST_HEAD) {
        return stn_err_set(b->err, STN_UNSUPPORTED, "heads of %u columns, at most %d on a GPU", b->node->head_size,
                           STN_PIPELINE_MOST_HEAD);
    }
    gather(b, row, pass, done);
    enum stn_code code = STN_OK;
    for (unsigned step = 0; row != NULL && code == STN_OK; row = stn_pipeline_row(b->node->op, ++step, has, b->place->barred)) {
        code = windows(b, row);
    }
    return code;
}

enum stn_code stn_tape_list_init(struct stn_tape_list *list, const struct stn_tape_place *place, size_t pass,
                                   struct stn_err *err)
{
    const struct stn_pass *nodes = &place->graph->passes[pass];
    bool *done = stn_mem_new(nodes->n_nodes, sizeof *done);
    enum stn_code code = done == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %zu dispatches", nodes->n_nodes) : STN_OK;
    *list = (struct stn_tape_list){0};
    for (size_t n = 0; n < nodes->n_nodes && code == STN_OK; n++) {
        struct builder b = {.place = place, .node = &nodes->nodes[n], .list = list, .err = err};
        if (!done[n]) {
            code = check_rows(&b);
            code = code != STN_OK ? code : is_loss(b.node->op) ? loss(&b) : node_rows(&b, pass, done);
        }
    }
    stn_mem_free(done);
    if (code != STN_OK) {
        stn_tape_list_fini(list);
    }
    return code;
}

void stn_tape_list_fini(struct stn_tape_list *list)
{
    stn_mem_free(list->dispatches);
    *list = (struct stn_tape_list){0};
}
