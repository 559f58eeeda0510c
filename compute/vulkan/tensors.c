#include "compute/vulkan/tensors.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define CODES 16  /* to a word */
#define BLOCK 256 /* columns that share a scale */
#define ZEROES 0x55555555u
#define CHUNK ((size_t)1 << 20) /* bytes of codes packed at a time */

void stn_tensors_init(struct stn_tensors *tensors, struct stn_vram *vram, const struct stn_graph *graph)
{
    *tensors = (struct stn_tensors){.vram = vram, .graph = graph};
}

void stn_tensors_fini(struct stn_tensors *tensors)
{
    stn_mem_free(tensors->list);
    *tensors = (struct stn_tensors){0};
}

/* ---- ternary constants ---- */

struct packing {
    const struct stn_ternary_source *source;
    size_t words, blocks; /* of a row */
    uint32_t *codes;      /* n_rows rows */
    size_t n_rows;
    int8_t *values;
    float *row_scales, *scales;
    float one;  /* the scale that all have so far, 0 before the first */
    bool equal; /* there is no other */
};

/* Blocks whose weights are all zero, or whose scale is, have neither. */
static void pack_row(struct packing *p, size_t row, uint32_t *codes)
{
    const struct stn_ternary_source *source = p->source;
    source->row(source->user, row, p->values, p->row_scales);
    for (size_t i = 0; i < p->words; i++) {
        codes[i] = ZEROES;
    }
    for (size_t block = 0; block < p->blocks; block++) {
        size_t end = (block + 1) * BLOCK < source->cols ? (block + 1) * BLOCK : source->cols;
        float scale = p->row_scales[block];
        bool any = false;
        for (size_t c = block * BLOCK; c < end && scale != 0; c++) {
            any |= p->values[c] != 0;
            codes[c / CODES] += (uint32_t)p->values[c] << 2 * (c % CODES); /* -1, 0 or 1 beside the 1 that is there: no carry */
        }
        p->scales[row * p->blocks + block] = any ? scale : 0;
        if (any) {
            p->equal = p->equal && (p->one == 0 || p->one == scale);
            p->one = scale;
        }
    }
}

static enum stn_code pack_all(struct stn_tensors *tensors, struct packing *p, const struct stn_vram_span *span, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    for (size_t row = 0; row < p->source->rows && code == STN_OK; row += p->n_rows) {
        size_t n = p->source->rows - row < p->n_rows ? p->source->rows - row : p->n_rows;
        for (size_t i = 0; i < n; i++) {
            pack_row(p, row + i, p->codes + i * p->words);
        }
        code = stn_vram_write(tensors->vram, span, row * p->words * 4, p->codes, n * p->words * 4, err);
    }
    return code;
}

static void page(const struct stn_ternary_source *source, bool soon)
{
    if (source->page != NULL) {
        source->page(source->user, soon);
    }
}

static enum stn_code upload_ternary(struct stn_tensors *tensors, const struct stn_matrix *matrix, struct stn_tensors_tensor *to,
                                    struct stn_err *err)
{
    const struct stn_ternary_source *source = &matrix->source;
    struct packing p = {.source = source, .equal = true};
    p.words = (source->cols + CODES - 1) / CODES;
    p.blocks = (source->cols + BLOCK - 1) / BLOCK;
    p.n_rows = CHUNK / (p.words * 4) > 0 ? CHUNK / (p.words * 4) : 1;
    p.codes = stn_mem_new(p.n_rows * p.words, 4);
    p.values = stn_mem_new(source->cols, 1);
    p.row_scales = stn_mem_new(p.blocks, sizeof *p.row_scales);
    p.scales = stn_mem_new(source->rows * p.blocks, sizeof *p.scales);
    enum stn_code code = STN_OK;
    if (p.codes == NULL || p.values == NULL || p.row_scales == NULL || p.scales == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory to pack %zu x %zu weights", source->rows, source->cols);
        goto out;
    }
    code = stn_vram_take(tensors->vram, source->rows * p.words * 4, "weights", &to->span, err);
    if (code == STN_OK) {
        page(source, true);
        code = pack_all(tensors, &p, &to->span, err);
        page(source, false);
    }
    size_t n_scales = p.equal ? 1 : source->rows * p.blocks;
    if (code == STN_OK) {
        code = stn_vram_take(tensors->vram, n_scales * 4, "scales", &to->scales, err);
    }
    if (code == STN_OK) {
        code = stn_vram_write(tensors->vram, &to->scales, 0, p.equal ? &p.one : p.scales, n_scales * 4, err);
    }
    tensors->constants_size += (source->rows * p.words + n_scales) * 4;
out:
    stn_mem_free(p.codes);
    stn_mem_free(p.values);
    stn_mem_free(p.row_scales);
    stn_mem_free(p.scales);
    return code;
}

/* ---- finding room ---- */

static enum stn_code upload(struct stn_tensors *tensors, uint32_t number, struct stn_err *err)
{
    const struct stn_tensor *tensor = &tensors->graph->tensors[number];
    struct stn_tensors_tensor *to = &tensors->list[number];
    if (tensor->life != STN_LIFE_CONSTANT || to->span.size > 0) {
        return STN_OK;
    }
    if (tensor->shape.dtype == STN_DTYPE_TERNARY) {
        return upload_ternary(tensors, tensor->data, to, err);
    }
    size_t size = stn_graph_size(&tensor->shape);
    enum stn_code code = stn_vram_take(tensors->vram, (size + 3) / 4 * 4, "constants", &to->span, err);
    tensors->constants_size += code == STN_OK ? size : 0;
    return code != STN_OK ? code : stn_vram_write(tensors->vram, &to->span, 0, tensor->data, size, err);
}

static enum stn_code find_lasting(struct stn_tensors *tensors, uint32_t number, struct stn_err *err)
{
    const struct stn_tensor *tensor = &tensors->graph->tensors[number];
    struct stn_tensors_tensor *to = &tensors->list[number];
    if (tensor->life != STN_LIFE_LASTING || tensor->base != STN_OP_NONE) {
        return STN_OK;
    }
    size_t size = stn_graph_size(&tensor->shape);
    enum stn_code code = stn_vram_take(tensors->vram, size, "lasting tensors", &to->span, err);
    code = code != STN_OK ? code : stn_vram_clear(tensors->vram, &to->span, err);
    if (code == STN_OK && !tensors->vram->gpu->caps.unified && size <= STN_TENSORS_SMALL) {
        code = stn_vram_take_shared(tensors->vram, size, &to->mirror, err);
    }
    tensors->lasting_size += size;
    return code;
}

enum stn_code stn_tensors_prepare(struct stn_tensors *tensors, size_t pass, struct stn_err *err)
{
    const struct stn_graph *graph = tensors->graph;
    struct stn_tensors_tensor *grown = stn_mem_grow(tensors->list, graph->n_tensors, sizeof *grown);
    enum stn_code code = STN_OK;
    if (grown == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu tensors", graph->n_tensors);
    }
    tensors->list = grown;
    for (; tensors->n < graph->n_tensors && code == STN_OK; tensors->n++) {
        grown[tensors->n] = (struct stn_tensors_tensor){0};
        code = find_lasting(tensors, (uint32_t)tensors->n, err);
    }
    for (size_t n = 0; n < graph->passes[pass].n_nodes && code == STN_OK; n++) {
        const struct stn_node *node = &graph->passes[pass].nodes[n];
        for (size_t i = 0; i < stn_op_row(node->op)->n_inputs && code == STN_OK; i++) {
            code = node->in[i] == STN_OP_NONE ? STN_OK : upload(tensors, node->in[i], err);
        }
    }
    return code;
}

struct stn_vram_span stn_tensors_find(const struct stn_tensors *tensors, uint32_t tensor, bool scales)
{
    const struct stn_tensor *t = &tensors->graph->tensors[tensor];
    const struct stn_tensors_tensor *root = &tensors->list[stn_graph_root(tensors->graph, tensor)];
    struct stn_vram_span span = scales ? root->scales : root->span;
    if (t->base != STN_OP_NONE) {
        span.offset += t->offset * sizeof(float);
        span.size = stn_graph_size(&t->shape);
    }
    return span;
}

enum stn_code stn_tensors_write(struct stn_tensors *tensors, uint32_t tensor, size_t offset, const void *p, size_t size, struct stn_err *err)
{
    const struct stn_tensors_tensor *t = &tensors->list[tensor];
    assert(tensor < tensors->n && offset + size <= t->span.size);
    return stn_vram_write(tensors->vram, t->mirror.size > 0 ? &t->mirror : &t->span, offset, p, size, err);
}

enum stn_code stn_tensors_clear(struct stn_tensors *tensors, uint32_t tensor, struct stn_err *err)
{
    const struct stn_tensors_tensor *t = &tensors->list[tensor];
    assert(tensor < tensors->n);
    return stn_vram_clear(tensors->vram, t->mirror.size > 0 ? &t->mirror : &t->span, err);
}

enum stn_code stn_tensors_read(const struct stn_tensors *tensors, uint32_t tensor, size_t offset, void *p, size_t size, struct stn_err *err)
{
    const struct stn_tensors_tensor *t = &tensors->list[tensor];
    assert(tensor < tensors->n && offset + size <= t->span.size);
    return stn_vram_read(tensors->vram, t->mirror.size > 0 ? &t->mirror : &t->span, offset, p, size, err);
}

/* ---- mirrors ---- */

enum { TOUCHED = 1, WRITTEN = 2 };

static void mark(const struct stn_tensors *tensors, uint8_t *marks, uint32_t tensor, uint8_t mark_)
{
    if (tensor != STN_OP_NONE) {
        marks[stn_graph_root(tensors->graph, tensor)] |= mark_;
    }
}

static size_t list(const struct stn_tensors *tensors, const uint8_t *marks, uint8_t wanted, struct stn_tape_copy *to)
{
    size_t n = 0;
    for (size_t i = 0; i < tensors->n; i++) {
        const struct stn_tensors_tensor *t = &tensors->list[i];
        if ((marks[i] & wanted) != 0 && t->mirror.size > 0) {
            to[n++] = wanted == WRITTEN ? (struct stn_tape_copy){t->span, t->mirror} : (struct stn_tape_copy){t->mirror, t->span};
        }
    }
    return n;
}

enum stn_code stn_tensors_copies(const struct stn_tensors *tensors, size_t pass, struct stn_tape_copy **ret_ins, size_t *ret_n_ins,
                               struct stn_tape_copy **ret_outs, size_t *ret_n_outs, struct stn_err *err)
{
    const struct stn_pass *nodes = &tensors->graph->passes[pass];
    uint8_t *marks = stn_mem_new(tensors->n, 1);
    struct stn_tape_copy *ins = stn_mem_new(tensors->n, sizeof *ins), *outs = stn_mem_new(tensors->n, sizeof *outs);
    if (marks == NULL || ins == NULL || outs == NULL) {
        stn_mem_free(marks);
        stn_mem_free(ins);
        stn_mem_free(outs);
        return stn_err_set(err, STN_MEMORY, "no memory for %zu tensors", tensors->n);
    }
    for (size_t n = 0; n < nodes->n_nodes; n++) {
        const struct stn_op_row *row = stn_op_row(nodes->nodes[n].op);
        for (size_t i = 0; i < row->n_inputs; i++) {
            mark(tensors, marks, nodes->nodes[n].in[i], TOUCHED);
        }
        for (size_t i = 0; i < row->n_outputs; i++) {
            mark(tensors, marks, nodes->nodes[n].out[i], TOUCHED | WRITTEN);
        }
    }
    *ret_n_ins = list(tensors, marks, TOUCHED, ins);
    *ret_n_outs = list(tensors, marks, WRITTEN, outs);
    *ret_ins = ins;
    *ret_outs = outs;
    stn_mem_free(marks);
    return STN_OK;
}
