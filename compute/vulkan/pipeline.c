#include "compute/vulkan/pipeline.h"

#include <assert.h>
#include <string.h>

#include "all_spv.h"

#define CODE(shader) .name = #shader, .code = shader##_code, .size = sizeof shader##_code
#define IN(i) STN_PIPELINE_IN(i)
#define OUT(i) STN_PIPELINE_OUT(i)
#define SCALES(i) STN_PIPELINE_SCALES(i)
#define LOGITS STN_PIPELINE_LOGITS
#define STATE STN_PIPELINE_STATE
#define WITH(k) | STN_PIPELINE_WITH(k)
#define R | STN_PIPELINE_ROWS
#define T | STN_PIPELINE_TABLE
#define F | STN_PIPELINE_FLAT
#define BIND(...) .bindings = {__VA_ARGS__, STN_PIPELINE_END}

/* How a row is cut: cells of a matrix, a group for each row, tiles of a product, heads. */
#define CELLS .walks = OUT(0), .across = STN_PIPELINE_COLS, .tile_x = 64, .tile_y = 1, .shape = STN_PIPELINE_GROUP
#define LINES .walks = OUT(0), .across = STN_PIPELINE_ONE, .tile_x = 1, .tile_y = 1, .shape = STN_PIPELINE_GROUP
#define FOURS .walks = OUT(0), .across = STN_PIPELINE_ONE, .tile_x = 1, .tile_y = 4
#define TILES .walks = OUT(0), .across = STN_PIPELINE_COLS, .tile_x = 64, .tile_y = 64
#define LANES .walks = OUT(0), .across = STN_PIPELINE_COLS, .tile_x = 128, .tile_y = 16
#define FEW_BY(count) .across = count, .tile_x = 4, .tile_y = STN_PIPELINE_MOST_FEW, .walks = OUT(0)
#define MATRICES(tile)                                                                                                 \
    .walks = OUT(0), .across = STN_PIPELINE_COLS, .tile_x = tile, .tile_y = tile, .shape = STN_PIPELINE_MATRIX
#define QUERIES(q, k)                                                                                                  \
    .walks = OUT(0), .across = STN_PIPELINE_HEADS, .tile_x = 1, .tile_y = q, .shape = STN_PIPELINE_HEAD, .queries = q, .keys = k
#define KEYS(q, k)                                                                                                     \
    .walks = OUT(1), .across = STN_PIPELINE_KV_HEADS, .tile_x = 1, .tile_y = k, .shape = STN_PIPELINE_HEAD, .queries = q, .keys = k

/* Ternary products of int8 rows with weights of one scale, the fastest first; all are exact. f32 rows and weights with a scale
 * for each block have the plain row alone: f16 holds neither the range of gradients nor sums of scaled weights. */
#define BEHIND IN(0) WITH(1) R, IN(1) WITH(1)
#define PRODUCT BIND(IN(0), IN(1), SCALES(1), OUT(0) R, BEHIND)
#define PRODUCT_F32 BIND(IN(0) R, IN(1), SCALES(1), OUT(0) R, BEHIND)
#define INT8 STN_PIPELINE_Q8 | STN_PIPELINE_ONE_SCALE
#define PRODUCT_BY(op, shader, has, cut) {op, 0, CODE(shader), .needs = INT8 | has, PRODUCT, cut}
#define MATRIX_PRODUCTS(op, shader)                                                                                    \
    PRODUCT_BY(op, shader##_i8, STN_PIPELINE_MATRIX_I8 | STN_PIPELINE_WIDE, MATRICES(STN_PIPELINE_TILE)),              \
        PRODUCT_BY(op, shader##_i8, STN_PIPELINE_MATRIX_I8, MATRICES(64)),                                             \
        PRODUCT_BY(op, shader##_f16, STN_PIPELINE_MATRIX_F16 | STN_PIPELINE_WIDE, MATRICES(STN_PIPELINE_TILE)),        \
        PRODUCT_BY(op, shader##_f16, STN_PIPELINE_MATRIX_F16, MATRICES(64))

/* The head, by f16 matrices: logits, and the gradient that they spread. */
#define SPLIT .needs = STN_PIPELINE_MATRIX_F16 | STN_PIPELINE_HALVES, .tile_x = 64, .tile_y = 64, .shape = STN_PIPELINE_MATRIX
#define WORDS_OF(tensor) .walks = tensor, .across = STN_PIPELINE_TABLE_ROWS

static const struct stn_pipeline_row rows[] = {
    {STN_OP_EMBED, 0, CODE(embed), BIND(IN(0) R, IN(1) T, OUT(0) R), CELLS},
    {STN_OP_NORM, 0, CODE(norm), BIND(IN(0) R, IN(1), OUT(0) R), LINES},
    {STN_OP_NORM_BACK, 0, CODE(norm_back), BIND(IN(0) R, IN(1), IN(2) R, OUT(0) R), LINES},
    {STN_OP_QUANTISE, 0, CODE(quantise), BIND(IN(0) R, OUT(0)), LINES},
    {STN_OP_QUANTISE_RANDOM, 0, CODE(quantise_random), BIND(IN(0) R, IN(1), OUT(0)), LINES},
#ifdef STN_HAS_SHADER_DOT8
    PRODUCT_BY(STN_OP_TERNARY, ternary_few_dot8, STN_PIPELINE_FEW | STN_PIPELINE_DOT8, FEW_BY(STN_PIPELINE_COLS)),
#endif
    PRODUCT_BY(STN_OP_TERNARY, ternary_few, STN_PIPELINE_FEW, FEW_BY(STN_PIPELINE_COLS)),
#ifdef STN_HAS_SHADER_MATRIX
    MATRIX_PRODUCTS(STN_OP_TERNARY, ternary_matrix),
    MATRIX_PRODUCTS(STN_OP_TERNARY_BACK, ternary_back_matrix),
#endif
#ifdef STN_HAS_SHADER_DOT8
    PRODUCT_BY(STN_OP_TERNARY, ternary_dot8, STN_PIPELINE_DOT8, TILES),
    PRODUCT_BY(STN_OP_TERNARY_BACK, ternary_back_dot8, STN_PIPELINE_DOT8, TILES),
#endif
#ifdef STN_HAS_SHADER_F16
    PRODUCT_BY(STN_OP_TERNARY, ternary_f16, STN_PIPELINE_F16, TILES),
    PRODUCT_BY(STN_OP_TERNARY_BACK, ternary_back_f16, STN_PIPELINE_F16, TILES),
#endif
    PRODUCT_BY(STN_OP_TERNARY, ternary_lanes, STN_PIPELINE_LANES, LANES),
    PRODUCT_BY(STN_OP_TERNARY_BACK, ternary_back_lanes, STN_PIPELINE_LANES, LANES),
    {STN_OP_TERNARY, 0, CODE(ternary_q8), .needs = STN_PIPELINE_Q8, PRODUCT, TILES},
    {STN_OP_TERNARY, 0, CODE(ternary_f32), .needs = STN_PIPELINE_F32, PRODUCT_F32, TILES},
    {STN_OP_TERNARY_BACK, 0, CODE(ternary_back_q8), .needs = STN_PIPELINE_Q8, PRODUCT, TILES},
    {STN_OP_TERNARY_BACK, 0, CODE(ternary_back_f32), .needs = STN_PIPELINE_F32, PRODUCT_F32, TILES},
    {STN_OP_LINEAR, 0, CODE(narrow), .needs = STN_PIPELINE_NARROW,
     BIND(IN(0) R, IN(1), IN(1) WITH(2), IN(1) WITH(3), OUT(0) R, OUT(0) WITH(2) R, OUT(0) WITH(3) R, OUT(0) WITH(1)), FOURS},
    {STN_OP_LINEAR, 0, CODE(linear_few), .needs = STN_PIPELINE_FEW, BIND(IN(0) R, IN(1) T, OUT(0) R), FEW_BY(STN_PIPELINE_TABLE_ROWS)},
#ifdef STN_HAS_SHADER_MATRIX
    {STN_OP_LINEAR, 0, CODE(linear_matrix), BIND(IN(0) R, IN(1) T, OUT(0) R), WORDS_OF(OUT(0)), SPLIT},
    {STN_OP_SCORE, 0, CODE(linear_matrix), BIND(IN(0) R, IN(1) T, LOGITS), WORDS_OF(IN(0)), SPLIT},
    {STN_OP_LOSS, 0, CODE(linear_matrix), BIND(IN(0) R, IN(1) T, LOGITS), WORDS_OF(IN(0)), SPLIT},
    {STN_OP_LOSS, 2, CODE(spread_matrix), BIND(LOGITS, IN(1) T, OUT(2) R, STATE), .walks = OUT(2), .across = STN_PIPELINE_COLS, SPLIT},
#endif
    {STN_OP_LINEAR, 0, CODE(linear), BIND(IN(0) R, IN(1) T, OUT(0) R), WORDS_OF(OUT(0)), .tile_x = 64, .tile_y = 64},
    {STN_OP_LINEAR_BACK_X, 0, CODE(narrow_back), .needs = STN_PIPELINE_NARROW,
     BIND(IN(0) R, IN(1), OUT(0) R, IN(1) WITH(1), OUT(0) WITH(1)), FOURS},
    {STN_OP_LINEAR_BACK_X, 0, CODE(linear_back_x), BIND(IN(0) R, IN(1), OUT(0) R), TILES},
    {STN_OP_LINEAR_BACK_W, 0, CODE(narrow_up), .needs = STN_PIPELINE_NARROW, BIND(IN(0) R, IN(1) R, OUT(0)), .walks = IN(0),
     .across = STN_PIPELINE_ONE, .tile_x = 1, .tile_y = 16, .sums = true},
    {STN_OP_LINEAR_BACK_W, 0, CODE(narrow_down), .needs = STN_PIPELINE_SHORT,
     BIND(IN(1) R, IN(0) R, IN(0) WITH(2) R, IN(0) WITH(3) R, OUT(0), OUT(0) WITH(2), OUT(0) WITH(3)), .walks = IN(0),
     .across = STN_PIPELINE_COLS, .tile_x = 16, .tile_y = 16, .sums = true},
    {STN_OP_LINEAR_BACK_W, 0, CODE(linear_back_w), BIND(IN(0) R, IN(1) R, OUT(0)), .walks = IN(0),
     .across = STN_PIPELINE_COLS, .tile_x = 64, .tile_y = 64, .sums = true},
    {STN_OP_ROPE, 0, CODE(rope), BIND(IN(0) R, IN(1), OUT(0) R), .walks = OUT(0), .across = STN_PIPELINE_PAIRS, .tile_x = 64,
     .tile_y = 1, .shape = STN_PIPELINE_GROUP},
    {STN_OP_ATTENTION, 0, CODE(attention), BIND(IN(0) R, IN(1), IN(2), IN(3) R, IN(4) R, OUT(0) R, OUT(1) R), QUERIES(8, 16)},
    {STN_OP_ATTENTION_BACK, 0, CODE(attention_back_q),
     BIND(IN(0) R, IN(1), IN(2), IN(3) R, IN(4) R, IN(5) R, IN(6) R, IN(7) R, OUT(0) R), QUERIES(8, 8)},
    {STN_OP_ATTENTION_BACK, 1, CODE(attention_back_kv),
     BIND(IN(0), IN(1) R, IN(2) R, IN(3), IN(4), IN(5), IN(6), IN(7), OUT(1) R, OUT(2) R), KEYS(4, 8)},
    {STN_OP_GATE, 0, CODE(gate), BIND(IN(0) R, IN(1) R, OUT(0) R), CELLS},
    {STN_OP_GATE_BACK, 0, CODE(gate_back), BIND(IN(0) R, IN(1) R, IN(2) R, OUT(0) R, OUT(1) R), CELLS},
    {STN_OP_DROPOUT, 0, CODE(dropout), BIND(IN(0) R, IN(1), OUT(0) R), CELLS},
    {STN_OP_ADD, 0, CODE(add), BIND(IN(0) R, IN(1) R, OUT(0) R), CELLS},
    {STN_OP_COPY, 0, CODE(copy), BIND(IN(0) R, OUT(0) R), CELLS},
    {STN_OP_GATHER, 0, CODE(gather), BIND(IN(0), IN(1) R, OUT(0) R), CELLS},
    {STN_OP_SCATTER, 0, CODE(scatter), BIND(IN(0), IN(1), OUT(0) R), CELLS},
    {STN_OP_STORE, 0, CODE(store), BIND(IN(0) R, IN(1) R, OUT(0)), .walks = IN(0), .across = STN_PIPELINE_COLS, .tile_x = 64,
     .tile_y = 1, .shape = STN_PIPELINE_GROUP},
    /* loss: for each tile of the vocabulary logits, softmax, gradient; then the end */
    {STN_OP_SCORE, 0, CODE(linear), BIND(IN(0) R, IN(1) T, LOGITS), WORDS_OF(IN(0)), .tile_x = 64, .tile_y = 64},
    {STN_OP_SCORE, 1, CODE(take_in), BIND(LOGITS, IN(2) R, STATE, OUT(1) R), LINES},
    {STN_OP_SCORE, 3, CODE(score_finish), BIND(STATE, IN(1) T, IN(2) R, OUT(0) R), LINES},
    {STN_OP_LOSS, 0, CODE(linear), BIND(IN(0) R, IN(1) T, LOGITS), WORDS_OF(IN(0)), .tile_x = 64, .tile_y = 64},
    {STN_OP_LOSS, 1, CODE(take_in), BIND(LOGITS, IN(2) R, STATE, OUT(1) R), LINES},
    {STN_OP_LOSS, 2, CODE(spread), BIND(LOGITS, IN(1) T, OUT(2) R, STATE), .walks = OUT(2), .across = STN_PIPELINE_COLS,
     .tile_x = 64, .tile_y = 64},
    {STN_OP_LOSS, 3, CODE(loss_finish), BIND(STATE, IN(1) T, IN(2) R, OUT(0) R, IN(3) R, OUT(2) R), LINES},
    {STN_OP_SQUARES, 0, CODE(squares), BIND(IN(0) F, IN(1), IN(2), OUT(0)), .walks = OUT(0), .across = STN_PIPELINE_SPANS,
     .tile_x = 1, .shape = STN_PIPELINE_GROUP},
    {STN_OP_ADAMW, 0, CODE(adamw), BIND(IN(1), IN(2), IN(3), IN(4), OUT(0) F, OUT(1) F, OUT(2) F, OUT(3) F), .walks = OUT(0),
     .across = STN_PIPELINE_FLOATS, .tile_x = 64, .shape = STN_PIPELINE_GROUP},
};

#define N_ROWS (sizeof rows / sizeof rows[0])
_Static_assert(N_ROWS <= 64, "a set of rows is 64 bits");

const struct stn_pipeline_row *stn_pipeline_row(enum stn_op op, unsigned step, uint32_t has, uint64_t barred)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op && rows[i].step == step && (rows[i].needs & ~has) == 0 && (barred >> i & 1) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

uint32_t stn_pipeline_device(const struct stn_gpu_caps *caps)
{
    if (caps->emulates) { /* the rest is slow there */
        return caps->subgroup == 8 ? STN_PIPELINE_LANES : 0;
    }
    return (caps->f16 ? STN_PIPELINE_F16 : 0u) | (caps->dot8 ? STN_PIPELINE_DOT8 : 0u) |
           (caps->matrix_i8.m > 0 ? STN_PIPELINE_MATRIX_I8 : 0u) | (caps->matrix_f16.m > 0 ? STN_PIPELINE_MATRIX_F16 : 0u);
}

const struct stn_pipeline_row *stn_pipeline_at(size_t number)
{
    return number < N_ROWS ? &rows[number] : NULL;
}

uint64_t stn_pipeline_only(const struct stn_pipeline_row *row)
{
    return (uint64_t)1 << (row - rows);
}

uint64_t stn_pipeline_named(const char *name)
{
    uint64_t set = 0;
    for (size_t i = 0; i < N_ROWS; i++) {
        set |= strcmp(rows[i].name, name) == 0 ? (uint64_t)1 << i : 0;
    }
    return set;
}

size_t stn_pipeline_n_bindings(const struct stn_pipeline_row *row)
{
    size_t n = 0;
    while (row->bindings[n] != STN_PIPELINE_END) {
        n++;
    }
    return n;
}

void stn_pipeline_constants(const struct stn_pipeline_row *row, const struct stn_gpu_caps *caps, uint32_t head_size,
                            uint32_t ret[STN_PIPELINE_CONSTANTS])
{
    memset(ret, 0, STN_PIPELINE_CONSTANTS * sizeof *ret);
    if (row->shape == STN_PIPELINE_GROUP) {
        ret[0] = 64;
    } else if (row->shape == STN_PIPELINE_HEAD) {
        uint32_t share = head_size <= 128 ? 1 : head_size <= 256 ? 2 : 4; /* the tiles' bytes stay what they are */
        assert(head_size <= STN_PIPELINE_MOST_HEAD);
        ret[0] = head_size;
        ret[1] = row->queries / share;
        ret[2] = row->keys / share;
    } else if (row->shape == STN_PIPELINE_MATRIX) {
        const struct stn_gpu_matrix *matrix = (row->needs & STN_PIPELINE_MATRIX_I8) != 0 ? &caps->matrix_i8 : &caps->matrix_f16;
        ret[0] = caps->subgroup * STN_GPU_SUBGROUPS;
        ret[1] = matrix->m;
        ret[2] = matrix->n;
        ret[3] = matrix->k;
        ret[4] = row->tile_x;
    }
}
