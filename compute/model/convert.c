#include "compute/model/convert.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "compute/model/arch.h"
#include "compute/model/safetensors.h"
#include "io/file.h"

#define BLOCK STN_QUANT_TERNARY

/* What config.json calls a family, and what its sub-norms are called. */
static const struct family {
    const char *name, *arch, *attn_sub_norm, *ffn_sub_norm;
    bool turns;  /* q and k get their rows in pairs: see peft.h */
    bool rounds; /* its own code rounds weights to ternary at each use, and saves what it rounds */
} families[] = {
    {"BitnetForCausalLM", "bitnet", "self_attn.inner_attn_ln", "mlp.ffn_layernorm", false, true},
    {"BitNetForCausalLM", "bitnet-b1.58", "self_attn.attn_sub_norm", "mlp.ffn_sub_norm", false, false},
    {"LlamaForCausalLM", "llama", NULL, NULL, true, false},
};

struct convert {
    const char *folder;
    const struct family *family;
    json_t *config;
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context;
    double eps, base;
    bool is_tied, divides; /* divides: a packed weight's scale is its inverse */
    bool ternarise;        /* floats that are not ternary become so */
    enum stn_quant_type type;
    struct stn_safetensors *files[STN_CONVERT_FILES];
    size_t n_files;
    struct stn_map used; /* names of arrays that became tensors */
    struct stn_gguf_write *w;
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *user;
    uint64_t done;
    float *freqs; /* (head_dim / 2) of a Llama 3 scaling, or NULL */
};

/* A tensor on its way: described in a first round, its values made in a second. */
struct tensor {
    const char *to;
    const struct stn_safetensors_array *from;
    uint64_t rows, cols;
    enum stn_quant_type type;
    uint32_t turn; /* rows of a head that change places, or 0 */
    float scale;   /* of packed weights */
};

typedef enum stn_code visit(struct convert *c, const struct tensor *t, struct stn_err *err);

/* ---- config.json ---- */

static enum stn_code number(const struct convert *c, const char *key, uint32_t most, bool optional, uint32_t *ret,
                            struct stn_err *err)
{
    const json_t *value = json_object_get(c->config, key);
    if (optional && (value == NULL || json_is_null(value))) {
        return STN_OK;
    }
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;
    if (n < 1 || n > (json_int_t)most) {
        return stn_err_set(err, STN_INVALID, "%.150s/config.json: %s is no whole number from 1 to %u", c->folder, key, most);
    }
    *ret = (uint32_t)n;
    return STN_OK;
}

static double real(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static enum stn_code read_llama3(struct convert *c, const json_t *scaling, struct stn_err *err)
{
    const struct stn_arch_slowing slowing = {.factor = real(scaling, "factor", 0), .low = real(scaling, "low_freq_factor", 0),
                                             .high = real(scaling, "high_freq_factor", 0),
                                             .context = real(scaling, "original_max_position_embeddings", 0)};
    if (!(slowing.factor >= 1 && slowing.low > 0 && slowing.high > slowing.low && slowing.context > 0)) {
        return stn_err_set(err, STN_INVALID, "%.150s/config.json: rope_scaling lacks its four numbers", c->folder);
    }
    c->freqs = stn_mem_new(c->head_dim / 2, sizeof *c->freqs);
    if (c->freqs == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for frequencies");
    }
    stn_arch_slow_down(c->freqs, c->head_dim, c->base, &slowing);
    return STN_OK;
}

static enum stn_code read_scaling(struct convert *c, struct stn_err *err)
{
    const json_t *scaling = json_object_get(c->config, "rope_scaling");
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));
    type = type != NULL ? type : json_string_value(json_object_get(scaling, "type"));
    if (!json_is_object(scaling) || type == NULL || strcmp(type, "default") == 0) {
        return STN_OK;
    }
    char key[64];
    if (strcmp(type, "linear") == 0) {
        (void)snprintf(key, sizeof key, "%s.rope.scaling.type", c->family->arch);
        stn_gguf_write_str(c->w, key, "linear");
        (void)snprintf(key, sizeof key, "%s.rope.scaling.factor", c->family->arch);
        stn_gguf_write_f32(c->w, key, (float)real(scaling, "factor", 1));
        return STN_OK;
    }
    return strcmp(type, "llama3") == 0
               ? read_llama3(c, scaling, err)
               : stn_err_set(err, STN_UNSUPPORTED, "%.150s/config.json: rope_scaling %.30s", c->folder, type);
}

static enum stn_code read_family(struct convert *c, struct stn_err *err)
{
    const char *name = json_string_value(json_array_get(json_object_get(c->config, "architectures"), 0));
    const char *act = json_string_value(json_object_get(c->config, "hidden_act"));
    const json_t *quantised = json_object_get(c->config, "quantization_config");
    const char *linear = json_string_value(json_object_get(quantised, "linear_class"));
    const char *method = json_string_value(json_object_get(quantised, "quant_method"));
    for (size_t i = 0; name != NULL && i < sizeof families / sizeof *families; i++) {
        c->family = strcmp(families[i].name, name) == 0 ? &families[i] : c->family;
    }
    if (c->family == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s/config.json: architecture %.40s, expected Bitnet, BitNet or Llama",
                           c->folder, name == NULL ? "missing" : name);
    }
    bool is_relu2 = strcmp(c->family->arch, "bitnet-b1.58") == 0;
    if (act != NULL && strcmp(act, is_relu2 ? "relu2" : "silu") != 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s/config.json: hidden_act %.30s of a %s model", c->folder, act,
                           c->family->arch);
    }
    c->divides = linear == NULL || strcmp(linear, "autobitlinear") != 0;
    c->ternarise = c->ternarise || c->family->rounds || (method != NULL && strcmp(method, "bitnet") == 0);
    return STN_OK;
}

static enum stn_code read_config(struct convert *c, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf text = {0};
    json_error_t why;
    enum stn_code code = stn_file_join(path, c->folder, "config.json", err);
    code = code != STN_OK ? code : stn_file_read(path, STN_CONVERT_CONFIG, &text, err);
    if (code == STN_OK) {
        c->config = json_loadb((const char *)text.data, text.size, 0, &why);
        code = json_is_object(c->config) ? STN_OK : stn_err_set(err, STN_CORRUPT, "%.150s: %.80s", path, why.text);
    }
    stn_buf_fini(&text);
    code = code != STN_OK ? code : read_family(c, err);
    code = code != STN_OK ? code : number(c, "num_hidden_layers", STN_ARCH_N_LAYERS, false, &c->n_layers, err);
    code = code != STN_OK ? code : number(c, "hidden_size", STN_ARCH_N_EMBD, false, &c->n_embd, err);
    code = code != STN_OK ? code : number(c, "num_attention_heads", STN_ARCH_N_HEADS, false, &c->n_heads, err);
    c->n_kv_heads = c->n_heads;
    c->context = 2048;
    code = code != STN_OK ? code : number(c, "num_key_value_heads", STN_ARCH_N_HEADS, true, &c->n_kv_heads, err);
    code = code != STN_OK ? code : number(c, "intermediate_size", STN_ARCH_N_FF, false, &c->n_ff, err);
    code = code != STN_OK ? code : number(c, "vocab_size", STN_ARCH_N_VOCAB, false, &c->n_vocab, err);
    code = code != STN_OK ? code : number(c, "max_position_embeddings", UINT32_MAX / 2, true, &c->context, err);
    c->head_dim = code == STN_OK ? c->n_embd / c->n_heads : 0;
    code = code != STN_OK ? code : number(c, "head_dim", STN_ARCH_N_EMBD, true, &c->head_dim, err);
    if (code == STN_OK && (c->head_dim == 0 || c->head_dim % 2 != 0)) {
        code = stn_err_set(err, STN_INVALID, "%.150s/config.json: heads of %u", c->folder, c->head_dim);
    }
    c->eps = real(c->config, "rms_norm_eps", 1e-5);
    c->base = real(c->config, "rope_theta", 10000);
    c->is_tied = json_is_true(json_object_get(c->config, "tie_word_embeddings"));
    return code;
}

static void write_numbers(struct convert *c)
{
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"block_count", c->n_layers}, {"embedding_length", c->n_embd}, {"attention.head_count", c->n_heads},
                   {"attention.head_count_kv", c->n_kv_heads}, {"attention.key_length", c->head_dim},
                   {"attention.value_length", c->head_dim}, {"feed_forward_length", c->n_ff}, {"context_length", c->context},
                   {"vocab_size", c->n_vocab}, {"rope.dimension_count", c->head_dim}};
    char key[96];
    stn_gguf_write_str(c->w, "general.architecture", c->family->arch);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        (void)snprintf(key, sizeof key, "%s.%s", c->family->arch, numbers[i].name);
        stn_gguf_write_u32(c->w, key, numbers[i].value);
    }
    (void)snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", c->family->arch);
    stn_gguf_write_f32(c->w, key, (float)c->eps);
    (void)snprintf(key, sizeof key, "%s.rope.freq_base", c->family->arch);
    stn_gguf_write_f32(c->w, key, (float)c->base);
}

/* ---- tensors ---- */

static enum stn_code open_file(void *user, const char *name, struct stn_err *err)
{
    struct convert *c = user;
    char path[STN_FILE_PATH_MAX];
    if (!stn_str_ends(name, ".safetensors")) {
        return STN_OK;
    }
    if (c->n_files == STN_CONVERT_FILES) {
        return stn_err_set(err, STN_LIMIT, "%.150s holds more than %d files of tensors", c->folder, STN_CONVERT_FILES);
    }
    enum stn_code code = stn_file_join(path, c->folder, name, err);
    code = code != STN_OK ? code : stn_safetensors_open(&c->files[c->n_files], path, err);
    c->n_files += code == STN_OK;
    return code;
}

static const struct stn_safetensors_array *find(const struct convert *c, const char *name)
{
    const struct stn_safetensors_array *found = NULL;
    for (size_t i = 0; i < c->n_files && found == NULL; i++) {
        found = stn_safetensors_find(c->files[i], name);
    }
    return found;
}

static enum stn_code use(struct convert *c, const struct stn_safetensors_array *array, struct stn_err *err)
{
    return stn_map_set(&c->used, array->name, strlen(array->name), c)
               ? STN_OK
               : stn_err_set(err, STN_MEMORY, "no memory for the names of tensors");
}

/* What is in a checkpoint and not in its family (a bias, a norm before a product) would change its answers. */
static enum stn_code refuse_others(const struct convert *c, struct stn_err *err)
{
    for (size_t i = 0; i < c->n_files; i++) {
        for (size_t k = 0; k < stn_safetensors_n_arrays(c->files[i]); k++) {
            const char *name = stn_safetensors_array(c->files[i], k)->name;
            bool is_idle = stn_str_ends(name, "rotary_emb.inv_freq") || (c->is_tied && strcmp(name, "lm_head.weight") == 0);
            if (!is_idle && stn_map_get(&c->used, name, strlen(name)) == NULL) {
                return stn_err_set(err, STN_UNSUPPORTED, "%.120s: tensor %.100s has no place in a %s model", c->folder, name,
                                   c->family->arch);
            }
        }
    }
    return STN_OK;
}

static enum stn_code missing(const struct convert *c, const char *name, struct stn_err *err)
{
    return stn_err_set(err, STN_NOT_FOUND, "%.150s has no tensor %.80s of its shape", c->folder, name);
}

/* A table or a norm. */
static enum stn_code plain(struct convert *c, const char *to, const char *from, uint64_t rows, uint64_t cols,
                           enum stn_quant_type type, visit *visitor, struct stn_err *err)
{
    struct tensor t = {.to = to, .from = find(c, from), .rows = rows, .cols = cols, .type = type};
    if (t.from == NULL || t.from->n_values != rows * cols || t.from->dims[rows == 1 ? 0 : 1] != cols) {
        return missing(c, from, err);
    }
    enum stn_code code = use(c, t.from, err);
    return code != STN_OK ? code : visitor(c, &t, err);
}

/* A product's weight: floats (out, in), or four rows in a byte (out / 4, in) with a scale beside them. */
static enum stn_code weight(struct convert *c, uint32_t layer, enum stn_arch_target target, uint64_t rows, uint64_t cols,
                            visit *visitor, struct stn_err *err)
{
    char to[STN_GGUF_NAME], from[STN_SAFETENSORS_NAME];
    (void)snprintf(to, sizeof to, "blk.%u.%s.weight", layer, stn_arch_target_name(target));
    (void)snprintf(from, sizeof from, "model.layers.%u.%s.weight_scale", layer, stn_arch_module_name(target));
    const struct stn_safetensors_array *scale = find(c, from);
    from[strlen(from) - strlen("_scale")] = '\0';
    struct tensor t = {.to = to, .from = find(c, from), .rows = rows, .cols = cols, .scale = 1};
    t.type = cols % BLOCK == 0 ? c->type : STN_QUANT_F16;
    t.turn = c->family->turns && (target == STN_ARCH_Q || target == STN_ARCH_K) ? c->head_dim : 0;
    bool is_packed = t.from != NULL && t.from->type == STN_SAFETENSORS_U8;
    if (t.from == NULL || t.from->n_dims != 2 || t.from->dims[1] != cols || t.from->dims[0] * (is_packed ? 4 : 1) != rows) {
        return missing(c, from, err);
    }
    enum stn_code code = use(c, t.from, err);
    if (is_packed && code == STN_OK) {
        code = scale == NULL || scale->n_values != 1 ? missing(c, from, err) : use(c, scale, err);
        code = code != STN_OK ? code : stn_safetensors_floats(scale, 0, 1, &t.scale, err);
        if (code != STN_OK) {
            return code;
        }
        t.scale = c->divides ? 1 / t.scale : t.scale;
        if (!(t.scale > 0 && t.scale < 65504)) {
            return stn_err_set(err, STN_CORRUPT, "%.150s: its scale is %g", from, (double)t.scale);
        }
    }
    return code != STN_OK ? code : visitor(c, &t, err);
}

static enum stn_code visit_layer(struct convert *c, uint32_t n, visit *visitor, struct stn_err *err)
{
    const uint64_t heads = (uint64_t)c->n_heads * c->head_dim, kv = (uint64_t)c->n_kv_heads * c->head_dim;
    const uint64_t sides[STN_ARCH_N_TARGETS][2] = {{heads, c->n_embd}, {kv, c->n_embd}, {kv, c->n_embd}, {c->n_embd, heads},
                                                   {c->n_ff, c->n_embd}, {c->n_ff, c->n_embd}, {c->n_embd, c->n_ff}};
    const struct {
        const char *to, *from;
        uint64_t n;
    } norms[] = {{"attn_norm", "input_layernorm", c->n_embd}, {"attn_sub_norm", c->family->attn_sub_norm, heads},
                 {"ffn_norm", "post_attention_layernorm", c->n_embd}, {"ffn_sub_norm", c->family->ffn_sub_norm, c->n_ff}};
    char to[STN_GGUF_NAME], from[STN_SAFETENSORS_NAME];
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < sizeof norms / sizeof *norms && code == STN_OK; i++) {
        (void)snprintf(to, sizeof to, "blk.%u.%s.weight", n, norms[i].to);
        (void)snprintf(from, sizeof from, "model.layers.%u.%s.weight", n, norms[i].from == NULL ? "" : norms[i].from);
        code = norms[i].from == NULL ? STN_OK : plain(c, to, from, 1, norms[i].n, STN_QUANT_F32, visitor, err);
    }
    for (int t = 0; t < STN_ARCH_N_TARGETS && code == STN_OK; t++) {
        code = weight(c, n, (enum stn_arch_target)t, sides[t][0], sides[t][1], visitor, err);
    }
    return code;
}

static enum stn_code visit_all(struct convert *c, visit *visitor, struct stn_err *err)
{
    bool has_head = !c->is_tied && find(c, "lm_head.weight") != NULL;
    enum stn_code code = plain(c, "token_embd.weight", "model.embed_tokens.weight", c->n_vocab, c->n_embd, STN_QUANT_F16,
                               visitor, err);
    code = code != STN_OK ? code : plain(c, "output_norm.weight", "model.norm.weight", 1, c->n_embd, STN_QUANT_F32, visitor, err);
    if (code == STN_OK && has_head) {
        code = plain(c, "output.weight", "lm_head.weight", c->n_vocab, c->n_embd, STN_QUANT_F16, visitor, err);
    }
    for (uint32_t i = 0; i < c->n_layers && code == STN_OK; i++) {
        code = visit_layer(c, i, visitor, err);
    }
    return code;
}

static enum stn_code describe(struct convert *c, const struct tensor *t, struct stn_err *err)
{
    (void)err;
    stn_gguf_write_tensor(c->w, t->to, t->type, t->rows == 1 ? 1 : 2, (uint64_t[]){t->cols, t->rows});
    return STN_OK;
}

/* ---- values ---- */

/* The row of the checkpoint that is row `row` of the GGUF: (head, i, half) is (head, half, i). */
static uint64_t source_row(const struct tensor *t, uint64_t row)
{
    if (t->turn == 0) {
        return row;
    }
    uint64_t in_head = row % t->turn;
    return row - in_head + in_head % 2 * (t->turn / 2) + in_head / 2;
}

/* The mean magnitude; of weights that are zero or plus or minus one number that number, and *ret_is_ternary. NaN when they are no
 * numbers. */
static float magnitude(const struct tensor *t, float *x, bool *ret_is_ternary, struct stn_err *err)
{
    double sum = 0;
    float one = 0;
    bool is_ternary = true;
    for (uint64_t row = 0; row < t->rows; row++) {
        if (stn_safetensors_floats(t->from, row * t->cols, (size_t)t->cols, x, err) != STN_OK) {
            return NAN;
        }
        for (uint64_t i = 0; i < t->cols; i++) {
            float a = fabsf(x[i]);
            sum += (double)a;
            one = one > 0 ? one : a;
            is_ternary = is_ternary && !(a > 0 && fabsf(a - one) > 0);
        }
    }
    double mean = sum / ((double)t->rows * (double)t->cols);
    *ret_is_ternary = is_ternary;
    return is_ternary ? one : (float)(mean > 1e-5 ? mean : 1e-5);
}

static enum stn_code read_row(const struct tensor *t, uint64_t row, float scale, float *x, int8_t *q, struct stn_err *err)
{
    uint64_t from = source_row(t, row);
    if (t->from->type == STN_SAFETENSORS_U8) {
        uint64_t quarter = t->rows / 4;
        const uint8_t *p = t->from->data + from % quarter * t->cols;
        unsigned shift = 2 * (unsigned)(from / quarter);
        for (uint64_t i = 0; i < t->cols; i++) {
            q[i] = (int8_t)((p[i] >> shift & 3) - 1);
            if (q[i] > 1) {
                return stn_err_set(err, STN_CORRUPT, "%.150s: row %llu holds a code that is no weight", t->from->name,
                                   (unsigned long long)from);
            }
        }
        return STN_OK;
    }
    enum stn_code code = stn_safetensors_floats(t->from, from * t->cols, (size_t)t->cols, x, err);
    if (code == STN_OK) {
        stn_quant_ternarise(q, x, (size_t)t->cols, scale);
    }
    return code;
}

/* One row of weights as the file has them. */
static enum stn_code put_row(struct convert *c, const struct tensor *t, float scale, const int8_t *q, uint16_t *d, uint8_t *bytes,
                             struct stn_err *err)
{
    uint16_t half = stn_quant_to_f16(scale);
    if (t->type == STN_QUANT_F16) {
        for (uint64_t i = 0; i < t->cols; i++) {
            uint16_t value = q[i] == 0 ? 0 : (uint16_t)(half ^ (q[i] < 0 ? 0x8000 : 0));
            memcpy(bytes + 2 * i, &value, sizeof value);
        }
        return stn_gguf_write_data(c->w, bytes, (size_t)t->cols * 2, err);
    }
    for (uint64_t b = 0; b < t->cols / BLOCK; b++) {
        d[b] = half;
    }
    stn_quant_pack(t->type, bytes, q, d, (size_t)t->cols);
    return stn_gguf_write_data(c->w, bytes, stn_quant_size(t->type, (size_t)t->cols), err);
}

static enum stn_code put_ternary(struct convert *c, const struct tensor *t, float *x, struct stn_err *err)
{
    size_t cols = (size_t)t->cols;
    int8_t *q = stn_mem_new(cols, 1);
    uint16_t *d = stn_mem_new(cols / BLOCK + 1, sizeof *d);
    uint8_t *bytes = stn_mem_new(cols, 2);
    enum stn_code code = STN_OK;
    bool is_ternary = true;
    float scale = t->from->type == STN_SAFETENSORS_U8 ? t->scale : magnitude(t, x, &is_ternary, err);
    if (q == NULL || d == NULL || bytes == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a row of %zu weights", cols);
    } else if (!(scale >= 0 && scale < 65504)) {
        code = stn_err_set(err, STN_CORRUPT, "%.150s: weights of magnitude %g are none", t->from->name, (double)scale);
    } else if (!is_ternary && !c->ternarise) {
        code = stn_err_set(err, STN_UNSUPPORTED, "%.150s is not ternary, and config.json does not say that it becomes so: give --ternarise",
                           t->from->name);
    }
    for (uint64_t row = 0; row < t->rows && code == STN_OK; row++) {
        code = read_row(t, row, scale, x, q, err);
        code = code != STN_OK ? code : put_row(c, t, scale, q, d, bytes, err);
    }
    stn_mem_free(q);
    stn_mem_free(d);
    stn_mem_free(bytes);
    return code;
}

/* A table or a norm, value by value. */
static enum stn_code put_floats(struct convert *c, const struct tensor *t, float *x, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    for (uint64_t row = 0; row < t->rows && code == STN_OK; row++) {
        code = stn_safetensors_floats(t->from, row * t->cols, (size_t)t->cols, x, err);
        for (uint64_t i = 0; i < t->cols && code == STN_OK; i++) {
            uint16_t half = stn_quant_to_f16(x[i]);
            if (!isfinite(t->type == STN_QUANT_F16 ? stn_quant_f16(half) : x[i])) {
                code = stn_err_set(err, STN_CORRUPT, "%.150s: value %llu is no number that its type holds", t->from->name,
                                   (unsigned long long)(row * t->cols + i));
            } else {
                code = stn_gguf_write_data(c->w, t->type == STN_QUANT_F16 ? (const void *)&half : &x[i],
                                           t->type == STN_QUANT_F16 ? sizeof half : sizeof *x, err);
            }
        }
    }
    return code;
}

static enum stn_code put(struct convert *c, const struct tensor *t, struct stn_err *err)
{
    bool is_weight = strncmp(t->to, "blk.", 4) == 0 && t->rows > 1;
    float *x = stn_mem_new((size_t)t->cols, sizeof *x);
    enum stn_code code = x == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a row of %llu", (unsigned long long)t->cols)
                         : is_weight ? put_ternary(c, t, x, err)
                                     : put_floats(c, t, x, err);
    stn_mem_free(x);
    c->done++;
    if (code == STN_OK && c->progress != NULL && !c->progress(c->user, c->done, 3 + 11 * (uint64_t)c->n_layers)) {
        code = stn_err_set(err, STN_CANCELLED, "stopped at %.100s", t->to);
    }
    return code;
}

static enum stn_code write_all(struct convert *c, const char *path, struct stn_err *err)
{
    write_numbers(c);
    enum stn_code code = read_scaling(c, err);
    code = code != STN_OK ? code : stn_convert_tokenizer(c->w, c->folder, c->n_vocab, err);
    code = code != STN_OK ? code : visit_all(c, describe, err);
    code = code != STN_OK ? code : refuse_others(c, err);
    if (code == STN_OK && c->freqs != NULL) {
        stn_gguf_write_tensor(c->w, "rope_freqs.weight", STN_QUANT_F32, 1, (uint64_t[]){c->head_dim / 2});
    }
    code = code != STN_OK ? code : stn_gguf_write_begin(c->w, path, err);
    code = code != STN_OK ? code : visit_all(c, put, err);
    if (code == STN_OK && c->freqs != NULL) {
        code = stn_gguf_write_data(c->w, c->freqs, c->head_dim / 2 * sizeof *c->freqs, err);
    }
    return code != STN_OK ? code : stn_gguf_write_end(c->w, err);
}

enum stn_code stn_convert_folder(const char *folder, const char *path, enum stn_quant_type type, bool ternarise,
                                 bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                                 struct stn_err *err)
{
    struct convert *c = stn_mem_new(1, sizeof *c);
    if (c == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to convert %.150s", folder);
    }
    *c = (struct convert){.folder = folder, .type = type, .ternarise = ternarise, .progress = progress, .user = context};
    enum stn_code code = read_config(c, err);
    code = code != STN_OK ? code : stn_file_list(folder, open_file, c, err);
    code = code != STN_OK ? code : stn_gguf_write_new(&c->w, err);
    code = code != STN_OK ? code : write_all(c, path, err);
    stn_gguf_write_free(c->w);
    for (size_t i = 0; i < c->n_files; i++) {
        stn_safetensors_close(c->files[i]);
    }
    stn_map_fini(&c->used);
    stn_mem_free(c->freqs);
    json_decref(c->config);
    stn_mem_free(c);
    return code;
}
