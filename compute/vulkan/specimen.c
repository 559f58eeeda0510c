#include "compute/vulkan/specimen.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

#define TOLERANCE 1e-3 /* of the greatest value: a kernel that is wrong is far more wrong */

enum { T = 70, FEW = 3, M = 9, N = 77, EVEN = N + 1, RANK = 8, WORDS = 130, HEADS = 4, KV_HEADS = 2, HEAD = 36, SPANS = 3, VALUES = 300 };
enum { WIDE_ROWS = 2050, WIDE_COLS = 1030, WIDE_DEEP = 70 };

struct stn_specimen_matrix {
    struct stn_specimen_matrix *next;
    struct stn_matrix matrix;
    struct stn_ternary *packed;
    bool per_block;
};

struct maker {
    struct stn_specimen *specimen;
    struct stn_rng rng;
    uint32_t table; /* of halves: (WORDS, EVEN) */
};

/* ---- tensors ---- */

static uint32_t keep(struct maker *m, enum stn_dtype dtype, size_t rows, size_t cols, void **ret_data)
{
    struct stn_specimen *s = m->specimen;
    uint32_t tensor = stn_graph_lasting(&s->graph, dtype, STN_EXTENT_FIXED, rows, cols);
    assert(s->n_tensors < STN_SPECIMEN_TENSORS);
    if (tensor == STN_OP_NONE) {
        return tensor;
    }
    struct stn_specimen_tensor *t = &s->tensors[s->n_tensors++];
    *t = (struct stn_specimen_tensor){.tensor = tensor, .size = stn_graph_size(stn_graph_shape(&s->graph, tensor))};
    t->data = stn_mem_new(t->size, 1);
    s->failed = s->failed || t->data == NULL;
    *ret_data = t->data;
    return tensor;
}

static uint32_t floats(struct maker *m, size_t rows, size_t cols)
{
    void *data = NULL;
    uint32_t tensor = keep(m, STN_DTYPE_F32, rows, cols, &data);
    float *p = data;
    for (size_t i = 0; p != NULL && i < rows * cols; i++) {
        p[i] = (float)stn_rng_normal(&m->rng);
    }
    return tensor;
}

/* p[i] = from + i step, modulo */
static uint32_t numbers(struct maker *m, size_t n, int32_t from, int32_t step, int32_t modulo)
{
    void *data = NULL;
    uint32_t tensor = keep(m, STN_DTYPE_I32, n, 1, &data);
    int32_t *p = data;
    for (size_t i = 0; p != NULL && i < n; i++) {
        p[i] = (from + (int32_t)i * step) % modulo;
    }
    return tensor;
}

static uint32_t row_of_numbers(struct maker *m, enum stn_dtype dtype, const void *numbers_, size_t n)
{
    void *data = NULL;
    uint32_t tensor = keep(m, dtype, 1, n, &data);
    if (data != NULL) {
        memcpy(data, numbers_, n * sizeof(float));
    }
    return tensor;
}

static uint32_t quantised(struct maker *m, size_t rows, size_t cols)
{
    void *data = NULL;
    uint32_t tensor = keep(m, STN_DTYPE_Q8, rows, cols, &data);
    float *x = stn_mem_new(rows * cols, sizeof *x);
    for (size_t i = 0; x != NULL && i < rows * cols; i++) {
        x[i] = (float)stn_rng_normal(&m->rng);
    }
    if (x != NULL && data != NULL) {
        stn_ternary_quantise(x, rows, cols, data, (float *)(void *)((char *)data + rows * stn_ternary_stride(cols)));
    }
    m->specimen->failed = m->specimen->failed || x == NULL;
    stn_mem_free(x);
    return tensor;
}

static void weights_of(const void *user, size_t row, int8_t *values, float *scales)
{
    const struct stn_specimen_matrix *matrix = user;
    struct stn_rng rng;
    stn_rng_init(&rng, row);
    for (size_t c = 0; c < matrix->matrix.source.cols; c++) {
        values[c] = (int8_t)((int)stn_rng_below(&rng, 3) - 1);
    }
    for (size_t c = 0; c < matrix->matrix.source.cols; c += 256) {
        scales[c / 256] = matrix->per_block ? 0.02f + 0.001f * (float)(row % 7) : 0.037f;
    }
}

static uint32_t ternary(struct maker *m, size_t rows, size_t cols, bool per_block)
{
    struct stn_specimen_matrix *own = stn_mem_new(1, sizeof *own);
    if (own == NULL) {
        m->specimen->failed = true;
        return STN_OP_NONE;
    }
    *own = (struct stn_specimen_matrix){.next = m->specimen->matrices, .per_block = per_block};
    m->specimen->matrices = own;
    own->matrix.source = (struct stn_ternary_source){rows, cols, weights_of, own};
    if (stn_ternary_new(&own->packed, &own->matrix.source, NULL) != STN_OK) {
        m->specimen->failed = true;
    }
    own->matrix.packed = own->packed;
    return stn_graph_constant(&m->specimen->graph, STN_DTYPE_TERNARY, rows, cols, &own->matrix);
}

/* Embeddings and the head, as files have them. */
static uint32_t table_of_halves(struct maker *m)
{
    uint16_t *halves = m->specimen->halves = stn_mem_new((size_t)WORDS * EVEN, sizeof *halves);
    m->specimen->failed = m->specimen->failed || halves == NULL;
    for (size_t i = 0; halves != NULL && i < (size_t)WORDS * EVEN; i++) {
        halves[i] = (uint16_t)(0x2c00 + stn_rng_below(&m->rng, 0x0c00) + (stn_rng_below(&m->rng, 2) << 15));
    }
    return stn_graph_constant(&m->specimen->graph, STN_DTYPE_F16, WORDS, EVEN, halves);
}

/* ---- nodes ---- */

/* Outputs that are not there yet last. Returns the node as it was added. */
static struct stn_node add(struct maker *m, struct stn_node node)
{
    struct stn_specimen *s = m->specimen;
    const struct stn_op_row *row = stn_op_row(node.op);
    struct stn_shape shapes[STN_OP_OUTPUTS];
    if (s->failed || s->graph.failed) {
        return node;
    }
    row->shape(&s->graph, &node, shapes);
    for (size_t i = 0; i < row->n_outputs; i++) {
        if (node.out[i] == STN_OP_NONE) {
            void *data;
            node.out[i] = keep(m, shapes[i].dtype, shapes[i].rows, shapes[i].cols, &data);
        }
    }
    (void)stn_graph_add(&s->graph, 0, &node);
    return node;
}

#define NODE(name, ...) add(m, (struct stn_node){.op = STN_OP_##name, .scale = 0.5f, .eps = 1e-5f, .out = STN_OP_NEW, .in = {__VA_ARGS__}})

#define ONLY(tensor)                                                                                                   \
    {                                                                                                                  \
        tensor, STN_OP_NONE, STN_OP_NONE, STN_OP_NONE                                                                  \
    }
/* Adds to what is there. */
#define ADDS(name, rows, cols, ...)                                                                                    \
    add(m, (struct stn_node){.op = STN_OP_##name, .add = true, .scale = 0.5f, .eps = 1e-5f, .out = ONLY(floats(m, rows, cols)), .in = {__VA_ARGS__}})

/* An adapter's product, which adds to what the node before writes: it stands behind it. */
static void behind(struct maker *m, struct stn_node node, size_t n_rows, size_t cols)
{
    bool back = node.op == STN_OP_TERNARY_BACK;
    struct stn_node next = {.op = back ? STN_OP_LINEAR_BACK_X : STN_OP_LINEAR, .add = true, .scale = 0.5f, .out = STN_OP_NEW};
    next.out[0] = node.out[0];
    next.in[0] = floats(m, n_rows, RANK);
    next.in[1] = back ? floats(m, RANK, cols) : floats(m, cols, RANK);
    (void)add(m, next);
}

static void products(struct maker *m, bool wide)
{
    enum { DEEP = 3 * N + 40 };
    for (int per_block = 0; per_block < 2; per_block++) {
        uint32_t w = ternary(m, N, DEEP, per_block != 0);
        behind(m, NODE(TERNARY, quantised(m, T, DEEP), w), T, N);
        behind(m, NODE(TERNARY, floats(m, T, DEEP), w), T, N);
        behind(m, NODE(TERNARY_BACK, quantised(m, T, N), w), T, DEEP);
        behind(m, NODE(TERNARY_BACK, floats(m, T, N), w), T, DEEP);
        behind(m, ADDS(TERNARY_BACK, T, DEEP, quantised(m, T, N), w), T, DEEP);
        behind(m, ADDS(TERNARY_BACK, T, DEEP, floats(m, T, N), w), T, DEEP);
    }
    if (wide) {
        (void)NODE(TERNARY, quantised(m, WIDE_ROWS, WIDE_DEEP), ternary(m, WIDE_COLS, WIDE_DEEP, false));
        (void)ADDS(TERNARY_BACK, WIDE_ROWS, WIDE_COLS, quantised(m, WIDE_ROWS, WIDE_DEEP), ternary(m, WIDE_DEEP, WIDE_COLS, false));
    }
    behind(m, NODE(TERNARY, quantised(m, FEW, DEEP), ternary(m, N, DEEP, false)), FEW, N);
    (void)NODE(LINEAR, floats(m, FEW, N), floats(m, N, N));
    (void)NODE(LINEAR, floats(m, FEW, EVEN), m->table); /* the head, as each word that is generated asks it */
    uint32_t x = floats(m, T, N);
    for (int i = 0; i < 3; i++) { /* side by side */
        (void)NODE(LINEAR, x, floats(m, RANK, N));
    }
    (void)NODE(QUANTISE, x); /* with them */
    for (int i = 0; i < 3; i++) {
        (void)ADDS(LINEAR_BACK_W, RANK, N, floats(m, T, RANK), x);
    }
    (void)NODE(LINEAR, floats(m, T, N), floats(m, N, N));
    static const int32_t seed[2] = {77, -5};
    uint32_t dy = floats(m, T, N);
    (void)NODE(LINEAR_BACK_X, dy, floats(m, N, RANK));
    (void)NODE(QUANTISE_RANDOM, dy, row_of_numbers(m, STN_DTYPE_I32, seed, 2)); /* with the product before it */
    (void)NODE(LINEAR_BACK_X, floats(m, T, N), floats(m, N, N));
    (void)ADDS(LINEAR_BACK_W, N, RANK, floats(m, T, N), floats(m, T, RANK));
    (void)NODE(LINEAR_BACK_W, floats(m, T, N), floats(m, T, N));
    (void)ADDS(LINEAR_BACK_W, N, N, floats(m, T, N), floats(m, T, N));
}

static void rows(struct maker *m)
{
    static const int32_t seed[2] = {77, -5};
    uint32_t x = floats(m, T, N), y = floats(m, T, N), gain = floats(m, 1, N);
    (void)NODE(EMBED, numbers(m, T, 3, 7, WORDS), floats(m, WORDS, N));
    (void)NODE(EMBED, numbers(m, T, 3, 7, WORDS), m->table);
    (void)NODE(NORM, x, gain);
    (void)NODE(NORM_BACK, x, gain, y);
    (void)ADDS(NORM_BACK, T, N, x, gain, y);
    (void)NODE(QUANTISE, x);
    (void)NODE(QUANTISE_RANDOM, x, row_of_numbers(m, STN_DTYPE_I32, seed, 2));
    struct stn_node drop = {.op = STN_OP_DROPOUT, .scale = 1.4f, .eps = 0.3f, .out = STN_OP_NEW};
    drop.in[0] = x;
    drop.in[1] = row_of_numbers(m, STN_DTYPE_I32, seed, 2);
    (void)add(m, drop);
    drop.add = true;
    drop.out[0] = floats(m, T, N);
    (void)add(m, drop);
    for (int gate = 0; gate < 2; gate++) {
        (void)add(m, (struct stn_node){.op = STN_OP_GATE, .gate = (enum stn_op_gate)gate, .out = STN_OP_NEW, .in = {x, y}});
        (void)add(m, (struct stn_node){.op = STN_OP_GATE_BACK, .gate = (enum stn_op_gate)gate, .out = STN_OP_NEW, .in = {x, y, floats(m, T, N)}});
    }
    (void)NODE(ADD, x, y);
    (void)NODE(COPY, x);
    (void)ADDS(COPY, T, N, x);
    (void)NODE(GATHER, x, numbers(m, M, 1, 5, T));
    (void)NODE(GATHER, numbers(m, T, 5, 3, 1000), numbers(m, M, 1, 5, T));
    struct stn_node scatter = {.op = STN_OP_SCATTER, .out = ONLY(floats(m, T, N))};
    scatter.in[0] = floats(m, M, N);
    scatter.in[1] = numbers(m, M, 1, 5, T);
    (void)add(m, scatter);
    struct stn_node store = {.op = STN_OP_STORE, .out = ONLY(floats(m, T, N))};
    store.in[0] = floats(m, M, N);
    store.in[1] = numbers(m, M, 2, 3, T);
    (void)add(m, store);
}

static void heads(struct maker *m)
{
    for (int way = 0; way < 4; way++) {
        struct stn_node turn = {.op = STN_OP_ROPE, .heads = HEADS, .head_size = HEAD, .neox = way % 2 == 1, .inverse = way >= 2,
                                .out = ONLY(floats(m, T, HEADS * HEAD))};
        turn.in[0] = numbers(m, T, 0, 1, T);
        turn.in[1] = floats(m, T, HEAD);
        (void)add(m, turn);
    }
    struct stn_node look = {.op = STN_OP_ATTENTION, .heads = HEADS, .kv_heads = KV_HEADS, .head_size = HEAD, .scale = 0.2f, .out = STN_OP_NEW};
    look.in[0] = floats(m, T, HEADS * HEAD);
    look.in[1] = floats(m, T, KV_HEADS * HEAD);
    look.in[2] = floats(m, T, KV_HEADS * HEAD);
    look.in[3] = numbers(m, T, 0, 0, T);
    look.in[4] = numbers(m, T, 0, 1, T);
    look = add(m, look);
    struct stn_node back = look;
    back.op = STN_OP_ATTENTION_BACK;
    back.in[5] = look.out[0];
    back.in[6] = look.out[1];
    back.in[7] = floats(m, T, HEADS * HEAD);
    memcpy(back.out, (const uint32_t[])STN_OP_NEW, sizeof back.out);
    (void)add(m, back);
}

/* The head in many rows, as losses ask it. */
static void heads_of_halves(struct maker *m)
{
    uint32_t y = floats(m, T, EVEN);
    uint32_t labels = numbers(m, T, 4, 11, WORDS);
    (void)NODE(LINEAR, y, m->table);
    (void)NODE(SCORE, y, m->table, labels);
    (void)NODE(LOSS, y, m->table, labels, floats(m, T, 1));
}

static void ends(struct maker *m)
{
    static const int32_t spans[SPANS + 1] = {0, 70, 190, VALUES};
    static const float trains[SPANS] = {1, 0, 1};
    static const float settings[STN_OP_N_SETTINGS] = {0.1f, 0.9f, 0.999f, 1e-6f, 0.01f, 1, 0.1f, 0.001f};
    uint32_t y = floats(m, M, N), table = floats(m, WORDS, N), labels = numbers(m, M, 4, 11, WORDS);
    (void)NODE(SCORE, y, table, labels);
    (void)NODE(LOSS, y, table, labels, floats(m, M, 1));
    struct stn_node squares = {.op = STN_OP_SQUARES, .out = STN_OP_NEW};
    squares.in[0] = floats(m, 1, VALUES);
    squares.in[1] = row_of_numbers(m, STN_DTYPE_I32, spans, SPANS + 1);
    squares.in[2] = row_of_numbers(m, STN_DTYPE_F32, trains, SPANS);
    squares = add(m, squares);
    struct stn_node adamw = {.op = STN_OP_ADAMW};
    memcpy(adamw.in, squares.in, sizeof adamw.in);
    adamw.in[3] = squares.out[0];
    adamw.in[4] = row_of_numbers(m, STN_DTYPE_F32, settings, STN_OP_N_SETTINGS);
    adamw.out[0] = floats(m, 1, VALUES);
    adamw.out[1] = floats(m, 1, VALUES);
    void *data;
    adamw.out[2] = keep(m, STN_DTYPE_F32, 1, VALUES, &data); /* a sum of squares is not below zero */
    adamw.out[3] = squares.in[0];
    (void)add(m, adamw);
}

enum stn_code stn_specimen_init(struct stn_specimen *specimen, bool wide, struct stn_err *err)
{
    struct maker maker = {.specimen = specimen};
    *specimen = (struct stn_specimen){0};
    stn_graph_init(&specimen->graph, 1, 1);
    stn_rng_init(&maker.rng, 5);
    maker.table = table_of_halves(&maker);
    products(&maker, wide);
    rows(&maker);
    heads(&maker);
    heads_of_halves(&maker);
    ends(&maker);
    if (specimen->failed || specimen->graph.failed) {
        stn_specimen_fini(specimen);
        return stn_err_set(err, STN_MEMORY, "no memory to try a device's kernels");
    }
    return STN_OK;
}

void stn_specimen_fini(struct stn_specimen *specimen)
{
    for (struct stn_specimen_matrix *m = specimen->matrices, *next; m != NULL; m = next) {
        next = m->next;
        stn_ternary_free(m->packed);
        stn_mem_free(m);
    }
    for (size_t i = 0; i < specimen->n_tensors; i++) {
        stn_mem_free(specimen->tensors[i].data);
    }
    stn_mem_free(specimen->halves);
    stn_graph_fini(&specimen->graph);
    *specimen = (struct stn_specimen){0};
}

/* ---- a run ---- */

size_t stn_specimen_size(const struct stn_specimen *specimen)
{
    size_t size = 0;
    for (size_t i = 0; i < specimen->n_tensors; i++) {
        size += specimen->tensors[i].size;
    }
    return size;
}

enum stn_code stn_specimen_run(const struct stn_specimen *specimen, struct stn_backend *backend, char *ret, struct stn_err *err)
{
    enum stn_code code = backend->row->prepare(backend, 0, err);
    for (size_t i = 0; i < specimen->n_tensors && code == STN_OK; i++) {
        backend->row->write(backend, specimen->tensors[i].tensor, 0, specimen->tensors[i].data, specimen->tensors[i].size);
    }
    code = code != STN_OK ? code : backend->row->run(backend, 0, 0, 0, err);
    for (size_t i = 0; i < specimen->n_tensors && code == STN_OK; i++) {
        backend->row->read(backend, specimen->tensors[i].tensor, 0, ret, specimen->tensors[i].size);
        ret += specimen->tensors[i].size;
    }
    return code != STN_OK ? code : stn_backend_check(backend, err);
}

static bool floats_agree(const char *p, const char *wanted, size_t n)
{
    const float *a = (const float *)(const void *)p, *b = (const float *)(const void *)wanted;
    double most = 1e-3;
    for (size_t i = 0; i < n; i++) {
        most = fabs((double)b[i]) > most ? fabs((double)b[i]) : most;
    }
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= TOLERANCE * most)) {
            return false;
        }
    }
    return true;
}

bool stn_specimen_agrees(const struct stn_specimen *specimen, uint32_t tensor, const char *p, const char *wanted)
{
    const struct stn_shape *shape = stn_graph_shape(&specimen->graph, tensor);
    size_t size = stn_graph_size(shape);
    if (shape->dtype == STN_DTYPE_I32) {
        return memcmp(p, wanted, size) == 0;
    }
    if (shape->dtype == STN_DTYPE_F32) {
        return floats_agree(p, wanted, size / sizeof(float));
    }
    size_t n = shape->rows * stn_ternary_stride(shape->cols), n_other = 0;
    for (size_t i = 0; i < n; i++) {
        int off = abs((int)(int8_t)p[i] - (int)(int8_t)wanted[i]);
        n_other += off > 1 ? n : (size_t)off;
    }
    return n_other <= 2 + n / 100 && floats_agree(p + n, wanted + n, shape->rows);
}
