#include "compute/model/model.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

#define BLOCK STN_QUANT_TERNARY
#define VARIANT_TERNARISED 1u
#define VARIANT_I2_S_ARM 2u

/* One block of at most 256 floats that are 0 or plus or minus one number. */
static bool take_floats(const float *x, size_t n, int8_t *values, float *scale)
{
    float top = 0;
    for (size_t i = 0; i < n; i++) {
        top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    }
    for (size_t i = 0; i < n; i++) {
        if (x[i] != 0 && fabsf(x[i]) != top) {
            return false;
        }
        values[i] = (int8_t)(x[i] > 0 ? 1 : x[i] < 0 ? -1 : 0);
    }
    *scale = top;
    return true;
}

/* Block c / 256 of a row, from the file's block or from floats that are ternary in fact. */
static bool take_block(const struct stn_model_weight *w, const uint8_t *src, size_t n, int8_t *values, float *scale)
{
    enum stn_quant_type type = w->tensor->type;
    float x[BLOCK];
    if (stn_quant_format(type)->ternary) {
        uint16_t d;
        bool right = stn_quant_unpack(type, values, &d, src, n);
        *scale = stn_quant_f16(d);
        return right;
    }
    if (!stn_quant_to_f32(type, x, src, n)) {
        return false;
    }
    if (w->own > 0) {
        stn_quant_ternarise(values, x, n, w->own);
        *scale = w->own;
        return true;
    }
    return take_floats(x, n, values, scale);
}

/* A row of struct stn_ternary_source. */
static void take_row(const void *user, size_t row, int8_t *values, float *scales)
{
    const struct stn_model_weight *w = user;
    size_t cols = (size_t)w->tensor->ne[0];
    const struct stn_quant_format *format = stn_quant_format(w->tensor->type);
    const uint8_t *src = w->tensor->data + (format->type == STN_QUANT_I2_S ? 0 : row * stn_quant_size(format->type, cols));
    for (size_t c = 0; c < cols; c += BLOCK) {
        size_t n = cols - c < BLOCK ? cols - c : BLOCK;
        bool right;
        if (format->type == STN_QUANT_I2_S) {
            right = stn_quant_i2_s_unpack(w->i2_s, values + c, src, row * cols + c, n);
            scales[c / BLOCK] = w->own;
        } else {
            right = take_block(w, src + c / format->n_values * format->size, n, values + c, &scales[c / BLOCK]);
        }
        if (!right || !isfinite(scales[c / BLOCK])) {
            *w->is_broken = true;
            memset(values + c, 0, n);
            scales[c / BLOCK] = 0;
        }
        scales[c / BLOCK] *= w->scale;
    }
}

static void page(const void *user, bool soon)
{
    const struct stn_model_weight *w = user;
    if (soon) {
        stn_gguf_will_read(w->gguf, w->tensor);
    } else {
        stn_gguf_drop(w->gguf, w->tensor);
    }
}

/* The mean magnitude of floats that are not ternary into w->own. Those that are stay what they are, whatever is asked. */
static enum stn_code measure(struct stn_model *model, struct stn_model_weight *w, struct stn_err *err)
{
    const struct stn_quant_format *format = stn_quant_format(w->tensor->type);
    size_t cols = (size_t)w->tensor->ne[0], rows = (size_t)w->tensor->ne[1];
    bool is_ternary = true;
    double sum = 0;
    for (size_t row = 0; row < rows; row++) {
        const uint8_t *src = w->tensor->data + row * stn_quant_size(format->type, cols);
        for (size_t c = 0; c < cols; c += BLOCK) {
            float x[BLOCK], scale;
            int8_t values[BLOCK];
            size_t n = cols - c < BLOCK ? cols - c : BLOCK;
            (void)stn_quant_to_f32(format->type, x, src + c * format->size, n);
            is_ternary = is_ternary && take_floats(x, n, values, &scale);
            for (size_t i = 0; i < n; i++) {
                sum += (double)fabsf(x[i]);
            }
        }
    }
    stn_gguf_drop(model->gguf, w->tensor);
    double mean = sum / ((double)rows * (double)cols);
    if (!(mean < 1e30)) {
        return stn_err_set(err, STN_CORRUPT, "%.150s: weights of magnitude %g are none", w->tensor->name, mean);
    }
    w->own = is_ternary ? 0 : (float)(mean > 1e-5 ? mean : 1e-5);
    model->variant |= is_ternary ? 0 : VARIANT_TERNARISED;
    return STN_OK;
}

static enum stn_code describe_i2_s(struct stn_model *model, struct stn_model_weight *w, struct stn_err *err)
{
    size_t n = (size_t)(w->tensor->ne[0] * w->tensor->ne[1]);
    w->own = n % STN_QUANT_I2_S_BLOCK == 0 ? stn_quant_i2_s_scale(w->tensor->data, n) : NAN;
    w->i2_s = model->reading.i2_s_arm ? STN_QUANT_I2_S_ARM : STN_QUANT_I2_S_X86;
    model->variant |= model->reading.i2_s_arm ? VARIANT_I2_S_ARM : 0;
    return w->own >= 0 && isfinite(w->own)
               ? STN_OK
               : stn_err_set(err, STN_CORRUPT, "%.150s: %zu values of i2_s with the scale %g: expected whole blocks of %d, and "
                                               "a number", w->tensor->name, n, (double)w->own, STN_QUANT_I2_S_BLOCK);
}

/* All but the packed matrix. */
static enum stn_code describe(struct stn_model *model, struct stn_model_weight *w, const struct stn_arch_linear *linear,
                              struct stn_err *err)
{
    const struct stn_quant_format *format = stn_quant_format(linear->weight->type);
    *w = (struct stn_model_weight){.tensor = linear->weight, .scale = 1, .is_broken = &model->is_broken};
    bool is_i2_s = linear->weight->type == STN_QUANT_I2_S;
    if (format == NULL || (!format->ternary && !is_i2_s && (format->to_f32 == NULL || format->n_values != 1))) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.150s: %s is no type of ternary weights that this build reads",
                           linear->weight->name, format == NULL ? "its type" : format->name);
    }
    if (linear->scale != NULL && !stn_quant_to_f32(linear->scale->type, &w->scale, linear->scale->data, 1)) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.200s: its scale is no float", linear->weight->name);
    }
    w->gguf = model->gguf;
    w->matrix.source =
        (struct stn_ternary_source){.rows = linear->out, .cols = linear->in, .row = take_row, .page = page, .user = w};
    return is_i2_s                                          ? describe_i2_s(model, w, err)
           : !format->ternary && model->reading.ternarise ? measure(model, w, err)
                                                            : STN_OK;
}

static struct stn_model_weight *weight_at(const struct stn_model *model, size_t i)
{
    return &model->layers[i / STN_ARCH_N_TARGETS].weights[i % STN_ARCH_N_TARGETS];
}

static enum stn_code not_ternary(const struct stn_model_weight *w, struct stn_err *err)
{
    return stn_err_set(err, STN_UNSUPPORTED, "%.150s (%s) is not ternary: convert the model, or give --ternarise",
                       w->tensor->name, stn_quant_format(w->tensor->type)->name);
}

static enum stn_code pack(void *context, size_t i, struct stn_ternary **ret, struct stn_err *err)
{
    struct stn_model *model = context;
    const struct stn_model_weight *w = weight_at(model, i);
    stn_gguf_will_read(model->gguf, w->tensor);
    enum stn_code code = stn_ternary_new(ret, &w->matrix.source, err);
    if (code == STN_OK && model->is_broken) {
        code = not_ternary(w, err);
        stn_ternary_free(*ret);
        *ret = NULL;
    } else if (code != STN_OK) {
        code = stn_err_prefix(err, "%.100s", w->tensor->name);
    }
    stn_gguf_drop(model->gguf, w->tensor);
    return code;
}

/* Reads all of a weight that will not be packed now: STN_UNSUPPORTED when it is not ternary. */
static enum stn_code check(struct stn_model *model, const struct stn_model_weight *w, struct stn_err *err)
{
    size_t cols = w->matrix.source.cols;
    int8_t *values = stn_mem_new(cols, sizeof *values);
    float *scales = stn_mem_new(cols / BLOCK + 1, sizeof *scales);
    enum stn_code code = values == NULL || scales == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %zu weights", cols)
                                                          : STN_OK;
    page(w, true);
    for (size_t row = 0; code == STN_OK && row < w->matrix.source.rows; row++) {
        take_row(w, row, values, scales);
    }
    page(w, false);
    stn_mem_free(values);
    stn_mem_free(scales);
    return code == STN_OK && model->is_broken ? not_ternary(w, err) : code;
}

/* Instead of packed weights: they are packed anew for each use. */
static enum stn_code make_hollow(struct stn_model_weight *w, struct stn_err *err)
{
    struct stn_ternary *hollow = NULL;
    enum stn_code code = stn_ternary_hollow(&hollow, w->matrix.source.rows, w->matrix.source.cols, err);
    if (code == STN_OK) {
        stn_ternary_free(w->packed);
        w->packed = hollow;
        w->matrix.packed = hollow;
    }
    return code;
}

/* Bytes of a weight packed, with one scale. */
static size_t size_of(const struct stn_model_weight *w)
{
    struct stn_ternary_parts parts;
    stn_ternary_measure(w->matrix.source.rows, w->matrix.source.cols, &parts);
    return parts.panels_size;
}

static size_t packed_size(const struct stn_model *model)
{
    size_t sum = 0;
    for (size_t i = 0; i < (size_t)model->arch->n_layers * STN_ARCH_N_TARGETS; i++) {
        sum += size_of(weight_at(model, i));
    }
    return sum;
}

/* From the file of packed weights, which is made if need be. Without one there is no harm: packing is done again. */
static void find_panels(struct stn_model *model)
{
    size_t n = (size_t)model->arch->n_layers * STN_ARCH_N_TARGETS, size = 0;
    struct stn_panels_place place = {.folder = model->reading.folder, .gguf = model->gguf, .variant = model->variant};
    struct stn_panels_matrix *matrices = stn_mem_new(n, sizeof *matrices);
    struct stn_err err;
    if (matrices == NULL) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct stn_ternary_source *source = &weight_at(model, i)->matrix.source;
        matrices[i] = (struct stn_panels_matrix){.rows = source->rows, .cols = source->cols};
    }
    size = packed_size(model);
    if (size >= STN_PANELS_LEAST &&
        stn_panels_open(&model->panels, &place, matrices, n, &err) != STN_OK &&
        stn_panels_make(&place, matrices, n, pack, model, &err) == STN_OK) {
        stn_err_ignore(stn_panels_open(&model->panels, &place, matrices, n, &err)); /* packed in memory then */
        stn_mem_trim();
    }
    stn_mem_free(matrices);
}

static enum stn_code take_weights(struct stn_model *model, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    size_t n = (size_t)model->arch->n_layers * STN_ARCH_N_TARGETS;
    for (size_t i = 0; i < n && code == STN_OK; i++) {
        code = describe(model, weight_at(model, i),
                        &model->arch->layers[i / STN_ARCH_N_TARGETS].linears[i % STN_ARCH_N_TARGETS], err);
    }
    if (code == STN_OK && model->reading.folder != NULL) {
        find_panels(model);
    }
    bool streams = model->panels == NULL && model->reading.most > 0 && packed_size(model) > model->reading.most;
    size_t largest = 0;
    for (size_t i = 0; i < n && code == STN_OK; i++) {
        struct stn_model_weight *w = weight_at(model, i);
        code = streams ? check(model, w, err) : STN_OK;
        code = code != STN_OK          ? code
               : streams               ? make_hollow(w, err)
               : model->panels != NULL ? stn_panels_take(model->panels, i, &w->packed, err)
                                         : pack(model, i, &w->packed, err);
        if (code == STN_OK) {
            size_t size = streams ? size_of(w) : stn_ternary_size(w->packed);
            w->matrix.packed = w->packed;
            w->matrix.streams = streams;
            largest = size > largest ? size : largest;
            model->size += streams ? 0 : size;
        }
    }
    model->size += streams ? 2 * largest : 0; /* one in use, one on its way */
    return code;
}

static enum stn_code no_memory(const struct stn_gguf_tensor *tensor, struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for %.200s", tensor->name);
}

/* A vector or a table as f32, or (tables only) f16: other types become f16, which is finer than they are. */
static enum stn_code take_table(struct stn_model *model, struct stn_model_table *table, const struct stn_gguf_tensor *tensor,
                                bool may_be_f16, struct stn_err *err)
{
    size_t cols = (size_t)tensor->ne[0], rows = (size_t)tensor->ne[1];
    const struct stn_quant_format *format = stn_quant_format(tensor->type);
    bool is_f16 = may_be_f16 && tensor->type != STN_QUANT_F32;
    *table = (struct stn_model_table){.dtype = is_f16 ? STN_DTYPE_F16 : STN_DTYPE_F32, .data = tensor->data};
    table->size = rows * cols * (is_f16 ? 2 : 4);
    model->size += table->size;
    if (tensor->type == STN_QUANT_F32 || (is_f16 && tensor->type == STN_QUANT_F16)) {
        return STN_OK;
    }
    if (format == NULL || format->to_f32 == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.150s: %s cannot be read as floats", tensor->name,
                           format == NULL ? "its type" : format->name);
    }
    table->data = table->own = stn_mem_aligned(table->size, 1);
    float *row = stn_mem_new(cols, sizeof *row);
    if (table->own == NULL || row == NULL) {
        stn_mem_free(row);
        return no_memory(tensor, err);
    }
    for (size_t r = 0; r < rows; r++) {
        (void)stn_quant_to_f32(tensor->type, row, tensor->data + r * stn_quant_size(tensor->type, cols), cols);
        if (!is_f16) {
            memcpy((float *)table->own + r * cols, row, cols * sizeof *row);
        }
        for (size_t c = 0; is_f16 && c < cols; c++) {
            ((uint16_t *)table->own)[r * cols + c] = stn_quant_to_f16(row[c]);
        }
    }
    stn_mem_free(row);
    return STN_OK;
}

static enum stn_code take_layer(struct stn_model *model, size_t number, struct stn_err *err)
{
    const struct stn_arch_layer *from = &model->arch->layers[number];
    struct stn_model_layer *to = &model->layers[number];
    const struct {
        const struct stn_gguf_tensor *from;
        struct stn_model_table *to;
    } norms[] = {{from->attn_norm, &to->attn_norm},
                 {from->attn_sub_norm, &to->attn_sub_norm},
                 {from->ffn_norm, &to->ffn_norm},
                 {from->ffn_sub_norm, &to->ffn_sub_norm}};
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < sizeof norms / sizeof norms[0] && code == STN_OK; i++) {
        code = norms[i].from == NULL ? STN_OK : take_table(model, norms[i].to, norms[i].from, false, err);
    }
    return code;
}

static enum stn_code take_all(struct stn_model *model, struct stn_err *err)
{
    const struct stn_arch *arch = model->arch;
    model->layers = stn_mem_new(arch->n_layers, sizeof *model->layers);
    if (model->layers == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %u layers", arch->n_layers);
    }
    enum stn_code code = take_table(model, &model->embeddings, arch->token_embd, true, err);
    if (code == STN_OK && arch->output == arch->token_embd) {
        model->head = model->embeddings;
        model->head.own = NULL;
    } else if (code == STN_OK) {
        code = take_table(model, &model->head, arch->output, true, err);
    }
    if (code == STN_OK) {
        code = take_table(model, &model->output_norm, arch->output_norm, false, err);
    }
    for (size_t i = 0; i < arch->n_layers && code == STN_OK; i++) {
        code = take_layer(model, i, err);
    }
    return code != STN_OK ? code : take_weights(model, err);
}

enum stn_code stn_model_open(struct stn_model **ret, const char *path, struct stn_err *err)
{
    return stn_model_open_with(ret, path, &(struct stn_model_reading){0}, err);
}

enum stn_code stn_model_open_with(struct stn_model **ret, const char *path, const struct stn_model_reading *reading,
                                  struct stn_err *err)
{
    struct stn_model *model = stn_mem_new(1, sizeof *model);
    if (model == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a model");
    }
    model->reading = *reading;
    enum stn_code code = stn_gguf_open(&model->gguf, path, err);
    if (code == STN_OK) {
        code = stn_arch_new(&model->arch, model->gguf, err);
    }
    if (code == STN_OK) {
        code = take_all(model, err);
    }
    if (code != STN_OK) {
        stn_model_close(model);
        return code;
    }
    model->reading.folder = NULL; /* the caller's */
    *ret = model;
    return STN_OK;
}

void stn_model_close(struct stn_model *model)
{
    if (model == NULL) {
        return;
    }
    for (size_t i = 0; model->layers != NULL && i < model->arch->n_layers; i++) {
        struct stn_model_layer *layer = &model->layers[i];
        for (size_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
            stn_ternary_free(layer->weights[t].packed);
        }
        stn_mem_free(layer->attn_norm.own);
        stn_mem_free(layer->attn_sub_norm.own);
        stn_mem_free(layer->ffn_norm.own);
        stn_mem_free(layer->ffn_sub_norm.own);
    }
    stn_panels_close(model->panels);
    stn_mem_free(model->layers);
    stn_mem_free(model->embeddings.own);
    stn_mem_free(model->output_norm.own);
    stn_mem_free(model->head.own);
    stn_arch_free(model->arch);
    stn_gguf_close(model->gguf);
    stn_mem_free(model);
}

const struct stn_arch *stn_model_arch(const struct stn_model *model)
{
    return model->arch;
}

const struct stn_gguf *stn_model_gguf(const struct stn_model *model)
{
    return model->gguf;
}

size_t stn_model_size(const struct stn_model *model)
{
    return model->size;
}

bool stn_model_streams(const struct stn_model *model)
{
    return weight_at(model, 0)->matrix.streams;
}

enum stn_code stn_model_stream(struct stn_model *model, struct stn_err *err)
{
    size_t n = (size_t)model->arch->n_layers * STN_ARCH_N_TARGETS, largest = 0;
    enum stn_code code = STN_OK;
    if (stn_model_streams(model)) {
        return STN_OK;
    }
    for (size_t i = 0; i < n && code == STN_OK; i++) {
        struct stn_model_weight *w = weight_at(model, i);
        size_t size = stn_ternary_size(w->packed);
        if (model->panels != NULL) {
            stn_ternary_drop(w->packed);
        } else {
            code = make_hollow(w, err);
        }
        if (code == STN_OK) {
            w->matrix.streams = true;
            model->size -= size;
            largest = size > largest ? size : largest;
        }
    }
    model->size += 2 * largest; /* one in use, one on its way */
    stn_mem_trim();
    return code;
}
