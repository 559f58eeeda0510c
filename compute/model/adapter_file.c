#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "compute/model/adapter.h"
#include "compute/model/gguf_write.h"

#define CHUNK 4096 /* values on their way */
#define KEY_TYPE "general.type"
#define KEY_ARCH "general.architecture"
#define KEY_LORA "adapter.type"
#define KEY_ALPHA "adapter.lora.alpha"

static bool is_ours(const char *key)
{
    return strcmp(key, KEY_TYPE) == 0 || strcmp(key, KEY_ARCH) == 0 || strcmp(key, KEY_LORA) == 0 ||
           strcmp(key, KEY_ALPHA) == 0 || strcmp(key, "general.alignment") == 0;
}

/* A tensor of the file by its name: blk.LAYER.TARGET.weight.lora_a or _b. */
struct part {
    const struct stn_gguf_tensor *from;
    uint32_t layer;
    enum stn_arch_target target;
    bool is_b;
};

static bool read_name(struct part *part)
{
    const char *name = part->from->name;
    size_t size = strlen(name);
    if (!stn_str_starts(name, "blk.") || size < 12 ||
        (!stn_str_ends(name, ".weight.lora_a") && !stn_str_ends(name, ".weight.lora_b"))) {
        return false;
    }
    part->is_b = name[size - 1] == 'b';
    for (uint32_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
        char whole[STN_GGUF_NAME];
        unsigned layer = 0;
        if (sscanf(name + 4, "%5u", &layer) != 1 || layer >= STN_ARCH_N_LAYERS) {
            return false;
        }
        (void)snprintf(whole, sizeof whole, "blk.%u.%s.weight.lora_%c", layer,
                       stn_arch_target_name((enum stn_arch_target)t), part->is_b ? 'b' : 'a');
        if (strcmp(whole, name) == 0) {
            part->layer = layer;
            part->target = (enum stn_arch_target)t;
            return true;
        }
    }
    return false;
}

static int by_order(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    if (x->layer != y->layer) {
        return x->layer < y->layer ? -1 : 1;
    }
    if (x->target != y->target) {
        return x->target < y->target ? -1 : 1;
    }
    return (int)x->is_b - (int)y->is_b;
}

/* lora_a has ne = {in, rank}, lora_b {rank, out}: row-major (rank, in) and (out, rank). */
static enum stn_code add_tensor(struct stn_adapter *adapter, size_t number, const struct part *part,
                                struct stn_err *err)
{
    const struct stn_gguf_tensor *from = part->from;
    const struct stn_quant_format *format = stn_quant_format(from->type);
    uint64_t rank = part->is_b ? from->ne[0] : from->ne[1];
    if (number == 0) {
        adapter->rank = rank <= STN_ADAPTER_RANK ? (uint32_t)rank : 0;
    }
    if (from->ne[2] != 1 || from->ne[3] != 1 || from->ne[0] > STN_ARCH_N_FF ||
        from->ne[1] > STN_ARCH_N_FF || rank != adapter->rank || format->to_f32 == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED,
                           "tensor %.80s is %s of %llu x %llu: only matrices of one rank up to %d are supported",
                           from->name, format->name, (unsigned long long)from->ne[1],
                           (unsigned long long)from->ne[0], STN_ADAPTER_RANK);
    }
    char *name = stn_arena_str(&adapter->arena, from->name);
    if (name == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an adapter");
    }
    name[strlen(name) - strlen(".lora_a")] = 0;
    adapter->tensors[number] = (struct stn_adapter_tensor){.name = name,
                                                           .layer = part->layer,
                                                           .target = part->target,
                                                           .is_b = part->is_b,
                                                           .rows = (uint32_t)from->ne[1],
                                                           .cols = (uint32_t)from->ne[0],
                                                           .offset = adapter->n_values};
    adapter->n_values += (size_t)(from->ne[0] * from->ne[1]);
    return STN_OK;
}

static enum stn_code list_parts(const struct stn_gguf *gguf, struct part *parts, struct stn_err *err)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        parts[i].from = &gguf->tensors[i];
        if (!read_name(&parts[i])) {
            return stn_err_set(err, STN_UNSUPPORTED, "tensor %.100s is none that a LoRA adapter has here",
                               gguf->tensors[i].name);
        }
    }
    qsort(parts, gguf->n_tensors, sizeof *parts, by_order);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        size_t other = i ^ 1;
        if (parts[i].is_b != (i % 2 == 1) || other >= gguf->n_tensors ||
            parts[other].layer != parts[i].layer || parts[other].target != parts[i].target) {
            return stn_err_set(err, STN_CORRUPT, "tensor %.100s has no partner", parts[i].from->name);
        }
    }
    return STN_OK;
}

static enum stn_code read_values(struct stn_adapter *adapter, const struct part *parts,
                                 struct stn_err *err)
{
    adapter->values = stn_mem_aligned(adapter->n_values, sizeof *adapter->values);
    if (adapter->values == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an adapter of %zu values", adapter->n_values);
    }
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &adapter->tensors[i];
        float *to = adapter->values + tensor->offset;
        size_t n = (size_t)tensor->rows * tensor->cols;
        (void)stn_quant_to_f32(parts[i].from->type, to, parts[i].from->data, n);
        for (size_t k = 0; k < n; k++) {
            if (!isfinite(to[k])) {
                return stn_err_set(err, STN_CORRUPT, "value %zu of tensor %.100s is no finite number", k,
                                   parts[i].from->name);
            }
        }
    }
    return STN_OK;
}

static enum stn_code read_tensors(struct stn_adapter *adapter, const struct stn_gguf *gguf,
                                  const struct stn_arch *arch, struct stn_err *err)
{
    struct part *parts = stn_mem_new(gguf->n_tensors, sizeof *parts);
    adapter->tensors = stn_arena_new(&adapter->arena, gguf->n_tensors, sizeof *adapter->tensors);
    adapter->n_tensors = gguf->n_tensors;
    enum stn_code code = parts == NULL || adapter->tensors == NULL
                             ? stn_err_set(err, STN_MEMORY, "no memory for an adapter")
                             : list_parts(gguf, parts, err);
    for (size_t i = 0; i < gguf->n_tensors && code == STN_OK; i++) {
        code = add_tensor(adapter, i, &parts[i], err);
    }
    if (code == STN_OK && adapter->n_values > STN_ADAPTER_N_VALUES) {
        code = stn_err_set(err, STN_LIMIT, "an adapter of %zu values, at most %zu", adapter->n_values,
                           STN_ADAPTER_N_VALUES);
    }
    if (code == STN_OK && arch != NULL) {
        code = stn_adapter_check(adapter, arch, err);
    }
    if (code == STN_OK) {
        code = read_values(adapter, parts, err);
    }
    stn_mem_free(parts);
    return code;
}

static enum stn_code read_keys(struct stn_adapter *adapter, const struct stn_gguf *gguf,
                               struct stn_err *err)
{
    struct stn_gguf_str type = {0}, lora = {0}, arch = {0};
    if (stn_gguf_str(gguf, KEY_TYPE, &type, NULL) != STN_OK || !stn_gguf_is(type, "adapter") ||
        stn_gguf_str(gguf, KEY_LORA, &lora, NULL) != STN_OK || !stn_gguf_is(lora, "lora") ||
        gguf->n_tensors == 0) {
        return stn_err_set(err, STN_INVALID, "no LoRA adapter");
    }
    if (stn_gguf_str(gguf, KEY_ARCH, &arch, NULL) != STN_OK || arch.size == 0 || arch.size > 64 ||
        memchr(arch.p, 0, arch.size) != NULL) {
        return stn_err_set(err, STN_CORRUPT, "an adapter without the architecture of its base");
    }
    if (stn_gguf_f32(gguf, KEY_ALPHA, &adapter->alpha, NULL) != STN_OK ||
        !(adapter->alpha > 0 && isfinite(adapter->alpha))) {
        return stn_err_set(err, STN_CORRUPT, "an adapter without an alpha above 0");
    }
    char *name = stn_arena_new(&adapter->arena, 1, arch.size + 1);
    if (name == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an adapter");
    }
    memcpy(name, arch.p, arch.size);
    adapter->arch = name;
    for (size_t i = 0; i < gguf->n_values; i++) {
        enum stn_code code = is_ours(gguf->values[i].key)
                                 ? STN_OK
                                 : stn_adapter_set_value(adapter, &gguf->values[i], err);
        if (code != STN_OK) {
            return code;
        }
    }
    return STN_OK;
}

static enum stn_code read_file(struct stn_adapter **ret, const struct stn_gguf *gguf,
                               const struct stn_arch *arch, struct stn_err *err)
{
    struct stn_adapter *adapter = stn_mem_new(1, sizeof *adapter);
    if (adapter == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an adapter");
    }
    enum stn_code code = read_keys(adapter, gguf, err);
    if (code == STN_OK) {
        code = read_tensors(adapter, gguf, arch, err);
    }
    if (code != STN_OK) {
        (void)stn_err_prefix(err, "%.100s", gguf->path);
        stn_adapter_free(adapter);
        return code;
    }
    *ret = adapter;
    return STN_OK;
}

enum stn_code stn_adapter_file_load(struct stn_adapter **ret, const struct stn_arch *arch,
                                    const char *path, struct stn_err *err)
{
    struct stn_gguf *gguf = NULL;
    enum stn_code code = stn_gguf_open(&gguf, path, err);
    if (code == STN_OK) {
        code = read_file(ret, gguf, arch, err);
    }
    stn_gguf_close(gguf);
    return code;
}

enum stn_code stn_adapter_file_parse(struct stn_adapter **ret, const struct stn_arch *arch,
                                     const void *p, size_t size, const char *name,
                                     struct stn_err *err)
{
    void *aligned = stn_mem_aligned(size, 1);
    if (aligned == NULL) {
        return stn_err_set(err, STN_MEMORY, "%.100s: no memory for %zu bytes", name, size);
    }
    if (size > 0) {
        memcpy(aligned, p, size);
    }
    struct stn_gguf *gguf = NULL;
    enum stn_code code = stn_gguf_parse(&gguf, aligned, size, name, err);
    if (code == STN_OK) {
        code = read_file(ret, gguf, arch, err);
    }
    stn_gguf_close(gguf);
    stn_mem_free(aligned);
    return code;
}

static void describe(const struct stn_adapter *adapter, struct stn_gguf_write *w)
{
    stn_gguf_write_str(w, KEY_TYPE, "adapter");
    stn_gguf_write_str(w, KEY_ARCH, adapter->arch);
    stn_gguf_write_str(w, KEY_LORA, "lora");
    stn_gguf_write_f32(w, KEY_ALPHA, adapter->alpha);
    for (size_t i = 0; i < adapter->n_notes; i++) {
        assert(!is_ours(adapter->notes[i].key));
        stn_gguf_write_value(w, &adapter->notes[i]);
    }
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &adapter->tensors[i];
        char name[STN_GGUF_NAME + 8];
        (void)snprintf(name, sizeof name, "%s.lora_%c", tensor->name, tensor->is_b ? 'b' : 'a');
        stn_gguf_write_tensor(w, name, STN_QUANT_F32, 2, (uint64_t[]){tensor->cols, tensor->rows});
    }
}

/* Where the values come from. */
struct values {
    stn_adapter_read *read;
    void *context;
};

static enum stn_code read_own(void *context, size_t offset, float *values, size_t n, struct stn_err *err)
{
    const struct stn_adapter *adapter = context;
    (void)err;
    memcpy(values, adapter->values + offset, n * sizeof *values);
    return STN_OK;
}

/* Canonical order is the file's order: one run of little-endian floats, cut at tensors by the writer. */
static enum stn_code write_values(struct stn_gguf_write *w, const struct values *from, size_t n_values, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    for (size_t at = 0; at < n_values && code == STN_OK; at += CHUNK) {
        float values[CHUNK];
        size_t n = n_values - at < CHUNK ? n_values - at : CHUNK;
        code = from->read(from->context, at, values, n, err);
        code = code != STN_OK ? code : stn_gguf_write_data(w, values, n * sizeof *values, err);
    }
    return code;
}

/* Both ends: path, or buf when path is NULL. */
static enum stn_code write_to(const struct stn_adapter *adapter, const struct values *from, const char *path,
                              struct stn_buf *buf, struct stn_err *err)
{
    struct stn_gguf_write *w = NULL;
    enum stn_code code = stn_gguf_write_new(&w, err);
    if (code != STN_OK) {
        return code;
    }
    describe(adapter, w);
    code = path == NULL ? stn_gguf_write_begin_buf(w, buf, err) : stn_gguf_write_begin(w, path, err);
    code = code != STN_OK ? code : write_values(w, from, adapter->n_values, err);
    code = code != STN_OK ? code : stn_gguf_write_end(w, err);
    stn_gguf_write_free(w);
    return code;
}

enum stn_code stn_adapter_file_save(const struct stn_adapter *adapter, const char *path,
                                    struct stn_err *err)
{
    const struct values own = {.read = read_own, .context = (void *)(uintptr_t)adapter};
    return write_to(adapter, &own, path, NULL, err);
}

enum stn_code stn_adapter_file_save_from(const struct stn_adapter *adapter, const char *path, stn_adapter_read *read,
                                         void *context, struct stn_err *err)
{
    const struct values from = {.read = read, .context = context};
    return write_to(adapter, &from, path, NULL, err);
}

enum stn_code stn_adapter_file_write(const struct stn_adapter *adapter, struct stn_buf *buf,
                                     struct stn_err *err)
{
    const struct values own = {.read = read_own, .context = (void *)(uintptr_t)adapter};
    return write_to(adapter, &own, NULL, buf, err);
}
