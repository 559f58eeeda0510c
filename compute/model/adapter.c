#include "compute/model/adapter.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

static enum stn_code no_memory(struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for an adapter");
}

/* Fills the A and B of one product and moves *offset behind them. False without memory. */
static bool describe(struct stn_adapter *adapter, size_t number, const struct stn_arch *arch,
                     uint32_t layer, enum stn_arch_target target, size_t *offset)
{
    char name[STN_GGUF_NAME];
    (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, stn_arch_target_name(target));
    const char *kept = stn_arena_str(&adapter->arena, name);
    for (size_t b = 0; b < 2; b++) {
        struct stn_adapter_tensor *tensor = &adapter->tensors[number + b];
        *tensor = (struct stn_adapter_tensor){
            .name = kept,
            .layer = layer,
            .target = target,
            .is_b = b == 1,
            .rows = b == 1 ? stn_arch_out(arch, target) : adapter->rank,
            .cols = b == 1 ? adapter->rank : stn_arch_in(arch, target),
            .offset = *offset,
        };
        *offset += (size_t)tensor->rows * tensor->cols;
    }
    return kept != NULL;
}

static enum stn_code fill_shape(struct stn_adapter *adapter, const struct stn_arch *arch,
                                uint32_t targets, struct stn_err *err)
{
    size_t n_targets = (size_t)__builtin_popcount(targets), number = 0;
    adapter->n_tensors = arch->n_layers * n_targets * 2;
    adapter->tensors = stn_arena_new(&adapter->arena, adapter->n_tensors, sizeof *adapter->tensors);
    adapter->arch = stn_arena_str(&adapter->arena, arch->name);
    if (adapter->tensors == NULL || adapter->arch == NULL) {
        return no_memory(err);
    }
    for (uint32_t layer = 0; layer < arch->n_layers; layer++) {
        for (uint32_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
            if ((targets >> t & 1) != 0) {
                if (!describe(adapter, number, arch, layer, (enum stn_arch_target)t, &adapter->n_values)) {
                    return no_memory(err);
                }
                number += 2;
            }
        }
    }
    if (adapter->n_values > STN_ADAPTER_N_VALUES) {
        return stn_err_set(err, STN_LIMIT, "an adapter of %zu values, at most %zu", adapter->n_values,
                           STN_ADAPTER_N_VALUES);
    }
    adapter->values = stn_mem_aligned(adapter->n_values, sizeof *adapter->values);
    return adapter->values == NULL ? no_memory(err) : STN_OK;
}

enum stn_code stn_adapter_new(struct stn_adapter **ret, const struct stn_arch *arch, uint32_t rank,
                              float alpha, uint32_t targets, struct stn_err *err)
{
    assert(targets != 0 && (targets & ~STN_ARCH_ALL) == 0);
    if (rank == 0 || rank > STN_ADAPTER_RANK) {
        return stn_err_set(err, STN_LIMIT, "rank %u, not 1 to %d", rank, STN_ADAPTER_RANK);
    }
    if (!(alpha > 0 && isfinite(alpha))) {
        return stn_err_set(err, STN_INVALID, "alpha %g is no number above 0", (double)alpha);
    }
    struct stn_adapter *adapter = stn_mem_new(1, sizeof *adapter);
    if (adapter == NULL) {
        return no_memory(err);
    }
    adapter->rank = rank;
    adapter->alpha = alpha;
    enum stn_code code = fill_shape(adapter, arch, targets, err);
    if (code == STN_OK && stn_arch_is_scaled(arch)) {
        code = stn_adapter_set_u64(adapter, STN_ADAPTER_SCALED, 1, err);
    }
    if (code != STN_OK) {
        stn_adapter_free(adapter);
        return code;
    }
    *ret = adapter;
    return STN_OK;
}

static bool copy_notes(struct stn_adapter *adapter, const struct stn_adapter *from)
{
    adapter->notes = stn_arena_copy(&adapter->arena, from->notes, from->n_notes * sizeof *from->notes);
    if (adapter->notes == NULL) {
        return false;
    }
    adapter->notes_room = from->n_notes;
    for (size_t i = 0; i < from->n_notes; i++) {
        struct stn_gguf_value *note = &adapter->notes[i];
        note->key = stn_arena_str(&adapter->arena, from->notes[i].key);
        note->data = stn_arena_copy(&adapter->arena, from->notes[i].data, note->size);
        if (note->key == NULL || note->data == NULL) {
            return false;
        }
    }
    return true;
}

enum stn_code stn_adapter_copy(struct stn_adapter **ret, const struct stn_adapter *from,
                               struct stn_err *err)
{
    struct stn_adapter *adapter = stn_mem_new(1, sizeof *adapter);
    if (adapter == NULL) {
        return no_memory(err);
    }
    *adapter = *from;
    adapter->arena = (struct stn_arena){0};
    adapter->values = stn_mem_aligned(from->n_values, sizeof *from->values);
    adapter->arch = stn_arena_str(&adapter->arena, from->arch);
    adapter->tensors =
        stn_arena_copy(&adapter->arena, from->tensors, from->n_tensors * sizeof *from->tensors);
    bool done = adapter->values != NULL && adapter->arch != NULL && adapter->tensors != NULL &&
                copy_notes(adapter, from);
    for (size_t i = 0; i < from->n_tensors && done; i++) {
        adapter->tensors[i].name = stn_arena_str(&adapter->arena, from->tensors[i].name);
        done = adapter->tensors[i].name != NULL;
    }
    if (!done) {
        stn_adapter_free(adapter);
        return no_memory(err);
    }
    memcpy(adapter->values, from->values, from->n_values * sizeof *from->values);
    *ret = adapter;
    return STN_OK;
}

void stn_adapter_free(struct stn_adapter *adapter)
{
    if (adapter == NULL) {
        return;
    }
    stn_mem_free(adapter->values);
    stn_arena_fini(&adapter->arena);
    stn_mem_free(adapter);
}

void stn_adapter_drop_values(struct stn_adapter *adapter)
{
    stn_mem_free(adapter->values);
    adapter->values = NULL;
}

void stn_adapter_init(struct stn_adapter *adapter, uint64_t seed)
{
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &adapter->tensors[i];
        float *to = adapter->values + tensor->offset;
        size_t n = (size_t)tensor->rows * tensor->cols;
        if (tensor->is_b) {
            memset(to, 0, n * sizeof *to);
            continue;
        }
        struct stn_rng rng;
        stn_rng_fork(&rng, seed, tensor->name, 0);
        double bound = 1 / sqrt((double)tensor->cols);
        for (size_t k = 0; k < n; k++) {
            to[k] = (float)(bound * (2 * stn_rng_unit(&rng) - 1));
        }
    }
}

void stn_adapter_init_hash(struct stn_adapter *adapter, uint64_t seed)
{
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &adapter->tensors[i];
        char name[STN_GGUF_NAME];
        int size = snprintf(name, sizeof name, "%s.lora_%c", tensor->name, tensor->is_b ? 'b' : 'a');
        uint64_t start = seed ^ stn_map_hash(name, (size_t)size);
        double scale = tensor->is_b ? 0.02 : 1 / sqrt((double)tensor->cols);
        for (size_t k = 0; k < (size_t)tensor->rows * tensor->cols; k++) {
            double u = (double)(stn_rng_mix(start + k) >> 11) * 0x1p-53;
            adapter->values[tensor->offset + k] = (float)(scale * (2 * u - 1));
        }
    }
}

bool stn_adapter_is_like(const struct stn_adapter *a, const struct stn_adapter *b)
{
    if (strcmp(a->arch, b->arch) != 0 || a->rank != b->rank || a->n_tensors != b->n_tensors ||
        a->n_values != b->n_values) {
        return false;
    }
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct stn_adapter_tensor *x = &a->tensors[i], *y = &b->tensors[i];
        if (strcmp(x->name, y->name) != 0 || x->is_b != y->is_b || x->rows != y->rows ||
            x->cols != y->cols) {
            return false;
        }
    }
    return true;
}

enum stn_code stn_adapter_check(const struct stn_adapter *adapter, const struct stn_arch *arch,
                                struct stn_err *err)
{
    if (strcmp(adapter->arch, arch->name) != 0) {
        return stn_err_set(err, STN_INVALID, "the adapter is for a %.60s model, this one is %s",
                           adapter->arch, arch->name);
    }
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &adapter->tensors[i];
        if (tensor->layer >= arch->n_layers) {
            return stn_err_set(err, STN_INVALID, "the adapter has layer %u, the model only %u layers",
                               tensor->layer, arch->n_layers);
        }
        uint32_t size = tensor->is_b ? tensor->rows : tensor->cols;
        uint32_t wanted =
            tensor->is_b ? stn_arch_out(arch, tensor->target) : stn_arch_in(arch, tensor->target);
        if (size != wanted) {
            return stn_err_set(err, STN_INVALID, "the adapter is for another model: %s has %s %u, not %u",
                               tensor->name, tensor->is_b ? "output" : "input", wanted, size);
        }
    }
    return STN_OK;
}

uint32_t stn_adapter_targets(const struct stn_adapter *adapter)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        mask |= 1u << adapter->tensors[i].target;
    }
    return mask;
}

static struct stn_gguf_value *find_note(const struct stn_adapter *adapter, const char *key)
{
    for (size_t i = 0; i < adapter->n_notes; i++) {
        if (strcmp(adapter->notes[i].key, key) == 0) {
            return &adapter->notes[i];
        }
    }
    return NULL;
}

/* A new note behind the others; NULL without memory. */
static struct stn_gguf_value *add_note(struct stn_adapter *adapter, const char *key)
{
    char *name = stn_arena_str(&adapter->arena, key);
    if (name != NULL && adapter->n_notes == adapter->notes_room) {
        size_t room = adapter->notes_room == 0 ? 8 : adapter->notes_room * 2;
        struct stn_gguf_value *notes = stn_arena_new(&adapter->arena, room, sizeof *notes);
        if (notes == NULL) {
            return NULL;
        }
        if (adapter->n_notes > 0) {
            memcpy(notes, adapter->notes, adapter->n_notes * sizeof *notes);
        }
        adapter->notes = notes;
        adapter->notes_room = room;
    }
    if (name == NULL) {
        return NULL;
    }
    struct stn_gguf_value *note = &adapter->notes[adapter->n_notes++];
    *note = (struct stn_gguf_value){.key = name};
    return note;
}

static enum stn_code set_note(struct stn_adapter *adapter, const char *key, enum stn_gguf_kind kind,
                              const void *p, size_t size, struct stn_err *err)
{
    struct stn_gguf_value *note = find_note(adapter, key);
    size_t had = note == NULL ? 0 : note->size, needed = note == NULL ? strlen(key) + size : size;
    if (strlen(key) >= STN_GGUF_NAME || needed > STN_ADAPTER_NOTES - (adapter->notes_size - had)) {
        return stn_err_set(err, STN_LIMIT, "metadata %.60s of %zu bytes: an adapter holds %d", key, size,
                           STN_ADAPTER_NOTES);
    }
    const void *copy = p;
    if (note != NULL && note->size == size) {
        memcpy((void *)(uintptr_t)note->data, p, size); /* ours: a number that is set again takes no new room */
        copy = note->data;
    } else {
        copy = stn_arena_copy(&adapter->arena, p, size);
    }
    note = copy == NULL || note != NULL ? note : add_note(adapter, key);
    if (copy == NULL || note == NULL) {
        return no_memory(err);
    }
    adapter->notes_size = adapter->notes_size - had + needed;
    note->kind = kind;
    note->data = copy;
    note->size = size;
    return STN_OK;
}

enum stn_code stn_adapter_set_str(struct stn_adapter *adapter, const char *key, const char *value,
                                  struct stn_err *err)
{
    struct stn_buf buf = {0};
    (void)stn_buf_add_u64(&buf, strlen(value));
    (void)stn_buf_add_str(&buf, value);
    enum stn_code code =
        buf.failed ? no_memory(err) : set_note(adapter, key, STN_GGUF_STR, buf.data, buf.size, err);
    stn_buf_fini(&buf);
    return code;
}

enum stn_code stn_adapter_set_u64(struct stn_adapter *adapter, const char *key, uint64_t value,
                                  struct stn_err *err)
{
    uint8_t bytes[8];
    stn_buf_put_u64(bytes, value);
    return set_note(adapter, key, STN_GGUF_U64, bytes, sizeof bytes, err);
}

enum stn_code stn_adapter_set_value(struct stn_adapter *adapter, const struct stn_gguf_value *value,
                                    struct stn_err *err)
{
    return set_note(adapter, value->key, value->kind, value->data, value->size, err);
}

bool stn_adapter_get_str(const struct stn_adapter *adapter, const char *key, struct stn_gguf_str *ret)
{
    const struct stn_gguf_value *note = find_note(adapter, key);
    if (note == NULL || note->kind != STN_GGUF_STR) {
        return false;
    }
    *ret = (struct stn_gguf_str){.p = (const char *)note->data + 8, .size = note->size - 8};
    return true;
}

bool stn_adapter_get_u64(const struct stn_adapter *adapter, const char *key, uint64_t *ret)
{
    const struct stn_gguf_value *note = find_note(adapter, key);
    if (note == NULL || note->kind != STN_GGUF_U64) {
        return false;
    }
    *ret = stn_buf_get_u64(note->data);
    return true;
}
