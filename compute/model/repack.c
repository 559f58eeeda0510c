#include "compute/model/repack.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "compute/model/gguf_write.h"
#include "compute/model/model.h"

#define BLOCK STN_QUANT_TERNARY

struct repack {
    struct stn_model *model;
    struct stn_gguf_write *w;
    enum stn_quant_type type;
    size_t cols; /* of the widest weight */
    int8_t *q;
    float *scales;
    uint16_t *d;
    uint8_t *bytes;
};

/* The product whose weight a tensor is, or NULL. */
static const struct stn_model_weight *weight_of(const struct stn_model *model, const struct stn_gguf_tensor *tensor)
{
    for (size_t i = 0; i < (size_t)model->arch->n_layers * STN_ARCH_N_TARGETS; i++) {
        const struct stn_model_weight *w = &model->layers[i / STN_ARCH_N_TARGETS].weights[i % STN_ARCH_N_TARGETS];
        if (w->tensor == tensor) {
            return w;
        }
    }
    return NULL;
}

static enum stn_code describe(struct repack *r, struct stn_err *err)
{
    const struct stn_gguf *gguf = r->model->gguf;
    for (size_t i = 0; i < gguf->n_values; i++) {
        const char *key = gguf->values[i].key;
        if (strcmp(key, "general.alignment") != 0 && strcmp(key, "general.file_type") != 0) {
            stn_gguf_write_value(r->w, &gguf->values[i]);
        }
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct stn_gguf_tensor *t = &gguf->tensors[i];
        bool is_weight = weight_of(r->model, t) != NULL;
        r->cols = is_weight && t->ne[0] > r->cols ? (size_t)t->ne[0] : r->cols;
        stn_gguf_write_tensor(r->w, t->name, !is_weight ? t->type : t->ne[0] % BLOCK == 0 ? r->type : STN_QUANT_F16, t->n_dims,
                              t->ne);
    }
    r->q = stn_mem_new(r->cols, 1);
    r->scales = stn_mem_new(r->cols / BLOCK + 1, sizeof *r->scales);
    r->d = stn_mem_new(r->cols / BLOCK + 1, sizeof *r->d);
    r->bytes = stn_mem_new(r->cols, sizeof(uint16_t));
    return r->q == NULL || r->scales == NULL || r->d == NULL || r->bytes == NULL
               ? stn_err_set(err, STN_MEMORY, "no memory for a row of %zu weights", r->cols)
               : STN_OK;
}

static enum stn_code put_row(struct repack *r, const struct stn_model_weight *weight, size_t row, struct stn_err *err)
{
    const struct stn_ternary_source *source = &weight->matrix.source;
    size_t cols = source->cols;
    source->row(source->user, row, r->q, r->scales);
    for (size_t b = 0; b < (cols + BLOCK - 1) / BLOCK; b++) {
        float scale = r->scales[b] / weight->scale; /* which stays a tensor of its own */
        r->d[b] = stn_quant_to_f16(scale);
        if (!isfinite(stn_quant_f16(r->d[b]))) {
            return stn_err_set(err, STN_UNSUPPORTED, "%.150s: a scale of %g is more than a block's f16 holds", weight->tensor->name,
                               (double)scale);
        }
    }
    if (cols % BLOCK == 0) {
        stn_quant_pack(r->type, r->bytes, r->q, r->d, cols);
        return stn_gguf_write_data(r->w, r->bytes, stn_quant_size(r->type, cols), err);
    }
    for (size_t i = 0; i < cols; i++) {
        uint16_t value = r->q[i] == 0 ? 0 : (uint16_t)(r->d[i / BLOCK] ^ (r->q[i] < 0 ? 0x8000 : 0));
        memcpy(r->bytes + 2 * i, &value, sizeof value);
    }
    return stn_gguf_write_data(r->w, r->bytes, 2 * cols, err);
}

static enum stn_code put_tensor(struct repack *r, const struct stn_gguf_tensor *tensor, struct stn_err *err)
{
    const struct stn_model_weight *weight = weight_of(r->model, tensor);
    enum stn_code code = weight == NULL ? stn_gguf_write_data(r->w, tensor->data, tensor->size, err) : STN_OK;
    for (size_t row = 0; weight != NULL && row < weight->matrix.source.rows && code == STN_OK; row++) {
        code = put_row(r, weight, row, err);
    }
    stn_gguf_drop(r->model->gguf, tensor);
    return code;
}

enum stn_code stn_repack_file(const char *from, const struct stn_model_reading *reading, const char *to, enum stn_quant_type type,
                              bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                              struct stn_err *err)
{
    struct stn_model_reading unpacked = *reading;
    struct repack r = {.type = type};
    unpacked.folder = NULL;
    unpacked.most = 1; /* rows are wanted, and no packed weights: they are only looked at */
    enum stn_code code = stn_model_open_with(&r.model, from, &unpacked, err);
    code = code != STN_OK ? code : stn_gguf_write_new(&r.w, err);
    code = code != STN_OK ? code : describe(&r, err);
    code = code != STN_OK ? code : stn_gguf_write_begin(r.w, to, err);
    for (size_t i = 0; code == STN_OK && i < r.model->gguf->n_tensors; i++) {
        code = put_tensor(&r, &r.model->gguf->tensors[i], err);
        if (code == STN_OK && progress != NULL && !progress(context, i + 1, r.model->gguf->n_tensors)) {
            code = stn_err_set(err, STN_CANCELLED, "stopped at %.100s", r.model->gguf->tensors[i].name);
        }
    }
    code = code != STN_OK ? code : stn_gguf_write_end(r.w, err);
    stn_gguf_write_free(r.w);
    stn_model_close(r.model);
    stn_mem_free(r.q);
    stn_mem_free(r.scales);
    stn_mem_free(r.d);
    stn_mem_free(r.bytes);
    return code;
}
