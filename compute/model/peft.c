#include "compute/model/peft.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/str.h"
#include "compute/model/gguf_write.h"
#include "compute/model/peft_pattern.h"
#include "compute/model/safetensors.h"
#include "io/file.h"

#define PREFIX "base_model.model."
#define NOTE_ARCH "sterna.architecture"
#define NOTE_HEAD "sterna.head_dim" /* where q and k change their order */
#define NOTE_GGUF "gguf."           /* and a key of the GGUF: "kind number:bytes in hexadecimal" */
#define FIXED_NOTES 3

/* Row (head, i, half) of TO is row (head, half, i) of FROM, or the other way round. Rows of cols values. */
static void reorder(float *to, const float *from, size_t n_rows, size_t cols, size_t head_dim, bool to_pairs)
{
    for (size_t row = 0; row < n_rows; row++) {
        size_t in_head = row % head_dim, half = in_head / (head_dim / 2), i = in_head % (head_dim / 2);
        size_t other = row - in_head + 2 * i + half; /* row counts in halves, other in pairs */
        memcpy(to + (to_pairs ? other : row) * cols, from + (to_pairs ? row : other) * cols, cols * sizeof *to);
    }
}

static bool is_turned(enum stn_arch_target target, bool is_b)
{
    return is_b && (target == STN_ARCH_Q || target == STN_ARCH_K);
}

/* ---- out ---- */

struct out {
    const struct stn_adapter *adapter;
    uint32_t head_dim; /* 0: all rows stay where they are */
    struct stn_safetensors_matrix *matrices;
    struct stn_safetensors_note *notes;
    size_t n_notes;
    float *turned; /* values of the tensors whose rows change, one behind the other */
    struct stn_arena arena;
};

static enum stn_code no_memory(struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for an adapter");
}

static enum stn_code list_matrices(struct out *out, struct stn_err *err)
{
    const struct stn_adapter *a = out->adapter;
    size_t n_turned = 0;
    for (size_t i = 0; i < a->n_tensors; i++) {
        n_turned += is_turned(a->tensors[i].target, a->tensors[i].is_b) ? (size_t)a->tensors[i].rows * a->tensors[i].cols : 0;
    }
    out->matrices = stn_arena_new(&out->arena, a->n_tensors, sizeof *out->matrices);
    out->turned = stn_mem_new(out->head_dim == 0 ? 0 : n_turned, sizeof *out->turned);
    if (out->matrices == NULL || out->turned == NULL) {
        return no_memory(err);
    }
    float *turned = out->turned;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &a->tensors[i];
        struct stn_safetensors_matrix *m = &out->matrices[i];
        char name[STN_SAFETENSORS_NAME];
        (void)snprintf(name, sizeof name, PREFIX "model.layers.%u.%s.lora_%c.weight", t->layer, stn_arch_module_name(t->target),
                       t->is_b ? 'B' : 'A');
        *m = (struct stn_safetensors_matrix){.name = stn_arena_str(&out->arena, name), .rows = t->rows, .cols = t->cols,
                                             .values = a->values + t->offset};
        if (m->name == NULL) {
            return no_memory(err);
        }
        if (out->head_dim > 0 && is_turned(t->target, t->is_b)) {
            if (t->rows % out->head_dim != 0) {
                return stn_err_set(err, STN_INVALID, "%.100s has %u rows, no whole number of heads of %u", t->name, t->rows,
                                   out->head_dim);
            }
            reorder(turned, m->values, t->rows, t->cols, out->head_dim, false);
            m->values = turned;
            turned += (size_t)t->rows * t->cols;
        }
    }
    return STN_OK;
}

static bool add_note(struct out *out, const char *key, const char *value)
{
    struct stn_safetensors_note *note = &out->notes[out->n_notes++];
    note->key = stn_arena_str(&out->arena, key);
    note->value = stn_arena_str(&out->arena, value);
    return note->key != NULL && note->value != NULL;
}

static bool add_value(struct out *out, const struct stn_gguf_value *value)
{
    char key[STN_GGUF_NAME + sizeof NOTE_GGUF];
    char *text = stn_arena_new(&out->arena, 2 * value->size + 16, 1);
    if (text == NULL) {
        return false;
    }
    (void)snprintf(key, sizeof key, NOTE_GGUF "%s", value->key);
    int n = snprintf(text, 16, "%d:", (int)value->kind);
    stn_hex_put(text + n, value->data, value->size);
    return add_note(out, key, text);
}

static enum stn_code list_notes(struct out *out, struct stn_err *err)
{
    const struct stn_adapter *a = out->adapter;
    char head_dim[16];
    out->notes = stn_arena_new(&out->arena, a->n_notes + FIXED_NOTES, sizeof *out->notes);
    if (a->n_notes + FIXED_NOTES > STN_SAFETENSORS_N_NOTES) {
        return stn_err_set(err, STN_LIMIT, "an adapter with %zu keys of metadata, at most %d", a->n_notes,
                           STN_SAFETENSORS_N_NOTES - FIXED_NOTES);
    }
    (void)snprintf(head_dim, sizeof head_dim, "%u", out->head_dim);
    bool done = out->notes != NULL && add_note(out, "format", "pt") && add_note(out, NOTE_ARCH, a->arch) &&
                (out->head_dim == 0 || add_note(out, NOTE_HEAD, head_dim));
    for (size_t i = 0; i < a->n_notes && done; i++) {
        done = add_value(out, &a->notes[i]);
    }
    return done ? STN_OK : no_memory(err);
}

/* Whether its scale is alpha / sqrt(r) (Kalajdzievski 2023) in PEFT's words; *ret is alpha in those. Digits that come back as
 * the same alpha are kept short. */
static bool is_rslora(const struct stn_adapter *a, double *ret)
{
    uint64_t set = 0;
    double root = sqrt((double)a->rank);
    float shortened = (float)((double)a->alpha / root);
    *ret = (double)a->alpha;
    if (!stn_adapter_get_u64(a, STN_ADAPTER_RSLORA, &set) || set != 1) {
        return false;
    }
    bool is_same = !((float)((double)shortened * root) < a->alpha) && !((float)((double)shortened * root) > a->alpha);
    *ret = is_same ? (double)shortened : (double)a->alpha / root;
    return true;
}

/* What PEFT's LoraConfig asks for; alpha keeps all its digits. */
static json_t *make_config(const struct stn_adapter *a, const struct stn_arch *arch)
{
    json_t *names = json_array();
    uint32_t mask = stn_adapter_targets(a);
    for (size_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
        if ((mask >> t & 1) != 0) {
            (void)json_array_append_new(names, json_string(strchr(stn_arch_module_name((enum stn_arch_target)t), '.') + 1));
        }
    }
    double alpha;
    bool has_root = is_rslora(a, &alpha);
    bool is_whole = alpha <= 1e9 && fabs(alpha - floor(alpha)) <= 0;
    return json_pack("{sn so ss sb sb sb sn sn so sf sn ss si so sn so ss sb sb}", "base_model_name_or_path", "alpha_pattern",
                     stn_peft_pattern_new(a, arch, alpha), "bias", "none", "fan_in_fan_out", 0, "inference_mode", 1, "init_lora_weights", 1,
                     "layers_pattern", "layers_to_transform", "lora_alpha",
                     is_whole ? json_integer((json_int_t)alpha) : json_real(alpha), "lora_dropout", 0.0, "modules_to_save",
                     "peft_type", "LORA", "r", (int)a->rank, "rank_pattern", json_object(), "revision", "target_modules", names, "task_type", "CAUSAL_LM",
                     "use_dora", 0, "use_rslora", has_root);
}

static enum stn_code write_config(const struct stn_adapter *adapter, const struct stn_arch *arch, const char *folder,
                                  struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    json_t *config = make_config(adapter, arch);
    char *text = config == NULL ? NULL : json_dumps(config, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(config);
    enum stn_code code = text == NULL ? no_memory(err) : stn_file_join(path, folder, STN_PEFT_CONFIG, err);
    code = code != STN_OK ? code : stn_file_replace(path, text, strlen(text), STN_FILE_MODE, err);
    free(text);
    return code;
}

enum stn_code stn_peft_export(const struct stn_adapter *adapter, const struct stn_arch *arch, const char *folder,
                              struct stn_err *err)
{
    struct out out = {.adapter = adapter};
    char path[STN_FILE_PATH_MAX];
    bool is_turned_family = stn_arch_interleaves(adapter->arch);
    uint64_t scaled;
    if (is_turned_family && arch == NULL) {
        return stn_err_set(err, STN_INVALID, "an adapter of a %s model has rows in another order than a checkpoint: "
                                             "give the model, -m MODEL", adapter->arch);
    }
    if (arch == NULL && stn_adapter_get_u64(adapter, STN_ADAPTER_SCALED, &scaled)) {
        return stn_err_set(err, STN_INVALID, "an adapter of a model that keeps scales beside its weights: give the model, -m MODEL");
    }
    enum stn_code code = arch == NULL ? STN_OK : stn_adapter_check(adapter, arch, err);
    out.head_dim = is_turned_family ? arch->head_dim : 0;
    code = code != STN_OK ? code : list_matrices(&out, err);
    code = code != STN_OK ? code : list_notes(&out, err);
    code = code != STN_OK ? code : stn_file_make_folder(folder, 0755, err);
    code = code != STN_OK ? code : stn_file_join(path, folder, STN_PEFT_WEIGHTS, err);
    code = code != STN_OK ? code
                          : stn_safetensors_save(path, out.matrices, adapter->n_tensors, out.notes, out.n_notes, err);
    code = code != STN_OK ? code : write_config(adapter, arch, folder, err);
    stn_mem_free(out.turned);
    stn_arena_fini(&out.arena);
    return code;
}

/* ---- in ---- */

struct in {
    struct stn_safetensors *file;
    const char *arch; /* its name */
    uint32_t head_dim;
    double rank, alpha;
    json_t *pattern;               /* alphas of single products, or NULL */
    double pattern_alpha;          /* what they stand beside: lora_alpha as the config has it */
    const struct stn_arch *scales; /* the model, where its scales count; else NULL */
    struct stn_gguf_write *write;
};

/* Settings that change what an adapter computes, and the value at which they do not. */
static enum stn_code check_config(const json_t *config, struct stn_err *err)
{
    static const char *const off[] = {"fan_in_fan_out", "use_dora", "use_qalora", "lora_bias"};
    static const char *const empty[] = {"rank_pattern", "modules_to_save", "layer_replication", "target_parameters"};
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    const char *bias = json_string_value(json_object_get(config, "bias"));
    if (type == NULL || strcmp(type, "LORA") != 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "peft_type is %.40s, expected LORA", type == NULL ? "missing" : type);
    }
    if (bias != NULL && strcmp(bias, "none") != 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "bias is %.40s, expected none", bias);
    }
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        if (json_is_true(json_object_get(config, off[i]))) {
            return stn_err_set(err, STN_UNSUPPORTED, "%s is true", off[i]);
        }
    }
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        const json_t *value = json_object_get(config, empty[i]);
        if (json_object_size(value) > 0 || json_array_size(value) > 0) {
            return stn_err_set(err, STN_UNSUPPORTED, "%s is not empty", empty[i]);
        }
    }
    return stn_peft_pattern_check(json_object_get(config, "alpha_pattern"), err);
}

static enum stn_code read_config(struct in *in, const char *folder, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf text = {0};
    json_error_t why;
    enum stn_code code = stn_file_join(path, folder, STN_PEFT_CONFIG, err);
    code = code != STN_OK ? code : stn_file_read(path, STN_PEFT_CONFIG_SIZE, &text, err);
    if (code != STN_OK) {
        stn_buf_fini(&text);
        return code;
    }
    json_t *config = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &why);
    stn_buf_fini(&text);
    if (!json_is_object(config)) {
        json_decref(config);
        return stn_err_set(err, STN_CORRUPT, "%.150s is no JSON object: %.60s", path, why.text);
    }
    code = check_config(config, err);
    in->rank = json_number_value(json_object_get(config, "r"));
    in->alpha = in->pattern_alpha = json_number_value(json_object_get(config, "lora_alpha"));
    in->pattern = json_incref(json_object_get(config, "alpha_pattern"));
    if (json_is_true(json_object_get(config, "use_rslora"))) {
        in->alpha *= sqrt(in->rank); /* alpha / sqrt(r) (Kalajdzievski 2023) */
    }
    json_decref(config);
    if (code == STN_OK && !(in->rank >= 1 && in->rank <= STN_ADAPTER_RANK && in->alpha > 0 && in->alpha < 1e30)) {
        code = stn_err_set(err, STN_INVALID, "r is %g and lora_alpha %g: expected 1 to %d, and above 0", in->rank, in->alpha,
                           STN_ADAPTER_RANK);
    }
    return code == STN_OK ? code : stn_err_prefix(err, "%.100s", path);
}

static const char *note(const struct stn_safetensors *file, const char *key)
{
    for (size_t i = 0; i < stn_safetensors_n_notes(file); i++) {
        if (strcmp(stn_safetensors_note(file, i)->key, key) == 0) {
            return stn_safetensors_note(file, i)->value;
        }
    }
    return NULL;
}

/* Which family it is for: the model says so, or export's metadata. */
static enum stn_code read_base(struct in *in, const struct stn_arch *arch, struct stn_err *err)
{
    const char *head = note(in->file, NOTE_HEAD);
    uint64_t head_dim = 0;
    in->arch = arch != NULL ? arch->name : note(in->file, NOTE_ARCH);
    if (in->arch == NULL) {
        return stn_err_set(err, STN_INVALID, "an adapter of another program does not say which GGUF it fits: give the model, "
                                             "-m MODEL");
    }
    if (stn_arch_interleaves(in->arch)) {
        if (arch == NULL && (head == NULL || !stn_str_u64(head, &head_dim))) {
            return stn_err_set(err, STN_INVALID, "an adapter without the size of its heads: give the model, -m MODEL");
        }
        head_dim = arch != NULL ? arch->head_dim : head_dim;
        if (head_dim < 2 || head_dim % 2 != 0 || head_dim > STN_ARCH_N_EMBD) {
            return stn_err_set(err, STN_INVALID, "heads of %llu cannot be turned", (unsigned long long)head_dim);
        }
    }
    in->head_dim = (uint32_t)head_dim;
    in->scales = arch;
    if (arch == NULL && note(in->file, NOTE_GGUF STN_ADAPTER_SCALED) != NULL) {
        json_decref(in->pattern); /* ours, of the model's scales: B is as it was */
        in->pattern = NULL;
    }
    return STN_OK;
}

/* "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight", with or without PEFT's word for its adapter. */
static bool read_name(const char *name, unsigned *ret_layer, enum stn_arch_target *ret_target, bool *ret_is_b)
{
    const char *rest = stn_str_starts(name, PREFIX) ? name + strlen(PREFIX) : name;
    int used = 0;
    if (sscanf(rest, "model.layers.%4u.%n", ret_layer, &used) != 1 || used == 0 || *ret_layer >= STN_ARCH_N_LAYERS) {
        return false;
    }
    for (int t = 0; t < STN_ARCH_N_TARGETS; t++) {
        const char *module = stn_arch_module_name((enum stn_arch_target)t);
        size_t n = strlen(module);
        if (strncmp(rest + used, module, n) != 0 || strncmp(rest + used + n, ".lora_", 6) != 0) {
            continue;
        }
        const char *end = rest + used + n + 6;
        *ret_target = (enum stn_arch_target)t;
        *ret_is_b = end[0] == 'B';
        return (end[0] == 'A' || end[0] == 'B') &&
               (strcmp(end + 1, ".weight") == 0 || strcmp(end + 1, ".default.weight") == 0);
    }
    return false;
}

static enum stn_code describe(struct in *in, struct stn_err *err)
{
    for (size_t i = 0; i < stn_safetensors_n_notes(in->file); i++) {
        const struct stn_safetensors_note *n = stn_safetensors_note(in->file, i);
        const char *hex = strchr(n->value, ':');
        struct stn_gguf_value value = {.key = n->key + strlen(NOTE_GGUF)};
        int kind = 0;
        if (!stn_str_starts(n->key, NOTE_GGUF)) {
            continue;
        }
        value.size = hex == NULL ? 0 : strlen(hex + 1) / 2;
        uint8_t *bytes = stn_mem_new(value.size, 1);
        if (bytes == NULL) {
            return no_memory(err);
        }
        bool is_right = hex != NULL && sscanf(n->value, "%2d:", &kind) == 1 && kind >= 0 && kind < STN_GGUF_N_KINDS &&
                        strlen(value.key) < STN_GGUF_NAME && stn_hex_get(bytes, value.size, hex + 1) &&
                        (stn_gguf_kind_size((enum stn_gguf_kind)kind) == value.size ||
                         (kind == STN_GGUF_ARRAY && value.size >= 12) ||
                         (kind == STN_GGUF_STR && value.size >= 8 && stn_buf_get_u64(bytes) == value.size - 8));
        value.kind = (enum stn_gguf_kind)kind;
        value.data = bytes;
        if (is_right) {
            stn_gguf_write_value(in->write, &value);
        }
        stn_mem_free(bytes);
        if (!is_right) {
            return stn_err_set(err, STN_CORRUPT, "metadata %.100s is no value of a GGUF", n->key);
        }
    }
    for (size_t i = 0; i < stn_safetensors_n_arrays(in->file); i++) {
        const struct stn_safetensors_array *array = stn_safetensors_array(in->file, i);
        char name[STN_GGUF_NAME];
        unsigned layer;
        enum stn_arch_target target;
        bool is_b;
        if (!read_name(array->name, &layer, &target, &is_b)) {
            return stn_err_set(err, STN_UNSUPPORTED, "%.150s is no LoRA matrix of a layer's seven products", array->name);
        }
        if (array->n_dims != 2 || array->n_values == 0 || (double)array->dims[is_b ? 1 : 0] != in->rank ||
            (in->head_dim > 0 && is_turned(target, is_b) && array->dims[0] % in->head_dim != 0)) {
            return stn_err_set(err, STN_INVALID, "%.120s is (%llu, %llu): that fits no adapter of rank %g", array->name,
                               (unsigned long long)array->dims[0], (unsigned long long)array->dims[1], in->rank);
        }
        (void)snprintf(name, sizeof name, "blk.%u.%s.weight.lora_%c", layer, stn_arch_target_name(target), is_b ? 'b' : 'a');
        stn_gguf_write_tensor(in->write, name, STN_QUANT_F32, 2, (uint64_t[]){array->dims[1], array->dims[0]});
    }
    return STN_OK;
}

static enum stn_code write_array(struct in *in, const struct stn_safetensors_array *array, struct stn_err *err)
{
    unsigned layer;
    enum stn_arch_target target;
    bool is_b;
    size_t n = (size_t)array->n_values, cols = (size_t)array->dims[1];
    float *values = stn_mem_new(2 * n, sizeof *values);
    if (values == NULL) {
        return no_memory(err);
    }
    const float *out = values;
    enum stn_code code = stn_safetensors_floats(array, 0, n, values, err);
    bool is_known = read_name(array->name, &layer, &target, &is_b);
    double factor = is_known && is_b ? stn_peft_pattern_factor(in->pattern, in->pattern_alpha, in->scales, layer, target) : 1;
    for (size_t i = 0; i < n && fabs(factor - 1) > 0; i++) {
        values[i] = (float)((double)values[i] * factor);
    }
    if (is_known && in->head_dim > 0 && is_turned(target, is_b)) {
        reorder(values + n, values, (size_t)array->dims[0], cols, in->head_dim, true);
        out = values + n;
    }
    code = code != STN_OK ? code : stn_gguf_write_data(in->write, out, n * sizeof *out, err);
    stn_mem_free(values);
    return code;
}

/* Through the bytes of a GGUF, whose reader checks what an adapter must be and puts all in order. */
static enum stn_code build(struct in *in, struct stn_buf *bytes, struct stn_err *err)
{
    enum stn_code code = stn_gguf_write_new(&in->write, err);
    if (code != STN_OK) {
        return code;
    }
    stn_gguf_write_str(in->write, "general.type", "adapter");
    stn_gguf_write_str(in->write, "general.architecture", in->arch);
    stn_gguf_write_str(in->write, "adapter.type", "lora");
    stn_gguf_write_f32(in->write, "adapter.lora.alpha", (float)in->alpha);
    if (in->scales != NULL && stn_arch_is_scaled(in->scales) && note(in->file, NOTE_GGUF STN_ADAPTER_SCALED) == NULL) {
        stn_gguf_write_u64(in->write, STN_ADAPTER_SCALED, 1);
    }
    code = describe(in, err);
    code = code != STN_OK ? code : stn_gguf_write_begin_buf(in->write, bytes, err);
    for (size_t i = 0; i < stn_safetensors_n_arrays(in->file) && code == STN_OK; i++) {
        code = write_array(in, stn_safetensors_array(in->file, i), err);
    }
    return code != STN_OK ? code : stn_gguf_write_end(in->write, err);
}

enum stn_code stn_peft_import(struct stn_adapter **ret, const struct stn_arch *arch, const char *folder, struct stn_err *err)
{
    struct in in = {0};
    char path[STN_FILE_PATH_MAX];
    struct stn_buf bytes = {.limit = STN_ADAPTER_N_VALUES * sizeof(float)};
    enum stn_code code = read_config(&in, folder, err);
    code = code != STN_OK ? code : stn_file_join(path, folder, STN_PEFT_WEIGHTS, err);
    code = code != STN_OK ? code : stn_safetensors_open(&in.file, path, err);
    if (code == STN_OK) {
        code = read_base(&in, arch, err);
        code = code != STN_OK ? code : build(&in, &bytes, err);
        code = code != STN_OK ? stn_err_prefix(err, "%.100s", path) : code;
    }
    code = code != STN_OK ? code : stn_adapter_file_parse(ret, arch, bytes.data, bytes.size, folder, err);
    stn_gguf_write_free(in.write);
    json_decref(in.pattern);
    stn_safetensors_close(in.file);
    stn_buf_fini(&bytes);
    return code;
}
