/* adapter: a LoRA adapter: for some of a model's ternary products W, y += alpha / rank * B (A x), with A (rank, in) and
 * B (out, rank). All its numbers are one flat vector in one canonical order (layer, then target in the order of
 * enum stn_arch_target, then A before B, each row-major), so that deltas, sums and updates are loops over floats.
 *
 * The file is GGUF as llama.cpp reads it; the same adapter gives the same bytes, and a file of ours that is loaded and
 * saved is the same file. Source: Hu et al., "LoRA" (2021), section 4.1. Thread: one at a time for each adapter. */
#ifndef STN_MODEL_ADAPTER_H
#define STN_MODEL_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "compute/model/arch.h"
#include "compute/model/gguf.h"

#define STN_ADAPTER_RANK 1024                 /* the greatest rank */
#define STN_ADAPTER_N_VALUES ((size_t)1 << 31) /* most values */
#define STN_ADAPTER_NOTES 65536               /* most bytes of other metadata */
#define STN_ADAPTER_RSLORA "sterna.rslora"     /* metadata, a number: alpha was meant for alpha / sqrt(rank), and is here times sqrt(rank) */
#define STN_ADAPTER_SCALED "sterna.scaled"     /* metadata, 1: the base keeps scales beside its weights, which multiply B A x too */

struct stn_adapter_tensor {
    const char *name; /* of the base tensor: blk.N.attn_q.weight */
    uint32_t layer;
    enum stn_arch_target target;
    bool is_b;           /* A comes first, its B next */
    uint32_t rows, cols; /* A: rank, in; B: out, rank */
    size_t offset;       /* of its first value */
};

struct stn_adapter {
    const char *arch; /* the base's general.architecture */
    uint32_t rank;
    float alpha;
    size_t n_tensors; /* even */
    struct stn_adapter_tensor *tensors;
    size_t n_values;
    float *values; /* aligned to STN_MEM_ALIGN */
    size_t n_notes, notes_room;
    struct stn_gguf_value *notes; /* other metadata, in the order it came */
    size_t notes_size;
    struct stn_arena arena;
};

/* For the targets of the mask in every layer, all values zero; STN_ADAPTER_SCALED is set where it holds. The caller frees *ret; arch is not kept. */
enum stn_code stn_adapter_new(struct stn_adapter **ret, const struct stn_arch *arch, uint32_t rank,
                              float alpha, uint32_t targets, struct stn_err *err) STN_CHECKED;
/* A copy with the same shape and notes; its values are copied too. */
enum stn_code stn_adapter_copy(struct stn_adapter **ret, const struct stn_adapter *from,
                               struct stn_err *err) STN_CHECKED;
void stn_adapter_free(struct stn_adapter *adapter);
/* Frees the values, for while a network has them: only the shape is of use then. */
void stn_adapter_drop_values(struct stn_adapter *adapter);

/* The first values of training: A uniform in (-1/sqrt(in), 1/sqrt(in)) (Kaiming-uniform with a = sqrt(5), as PEFT does),
 * one stream of numbers a tensor by its name; B zero. */
void stn_adapter_init(struct stn_adapter *adapter, uint64_t seed);
/* Values from a hash of name and place, for comparisons with other programs: value i of a tensor is
 * f32(s (2 u - 1)), u = (splitmix64((seed ^ fnv1a64(NAME.lora_x)) + i) >> 11) / 2^53, s = 1/sqrt(in) for A, 0.02 for B. */
void stn_adapter_init_hash(struct stn_adapter *adapter, uint64_t seed);

/* Same shape: architecture, rank, and tensors with their names. alpha may differ. */
bool stn_adapter_is_like(const struct stn_adapter *a, const struct stn_adapter *b);

/* STN_INVALID unless every tensor fits the model: says what differs first. */
enum stn_code stn_adapter_check(const struct stn_adapter *adapter, const struct stn_arch *arch,
                                struct stn_err *err) STN_CHECKED;

/* Which targets it has, as a mask; over all layers. */
uint32_t stn_adapter_targets(const struct stn_adapter *adapter);

/* Other metadata travels with the file: set or replace, get (NULL or false without). STN_LIMIT past STN_ADAPTER_NOTES. */
enum stn_code stn_adapter_set_str(struct stn_adapter *adapter, const char *key, const char *value,
                                  struct stn_err *err) STN_CHECKED;
enum stn_code stn_adapter_set_u64(struct stn_adapter *adapter, const char *key, uint64_t value,
                                  struct stn_err *err) STN_CHECKED;
/* A value as it stands in another file. */
enum stn_code stn_adapter_set_value(struct stn_adapter *adapter, const struct stn_gguf_value *value,
                                    struct stn_err *err) STN_CHECKED;
bool stn_adapter_get_str(const struct stn_adapter *adapter, const char *key, struct stn_gguf_str *ret);
bool stn_adapter_get_u64(const struct stn_adapter *adapter, const char *key, uint64_t *ret);

/* Files, in adapter_file.c. arch may be NULL: the adapter is then taken for what it says. STN_INVALID when it was made
 * for another model, STN_CORRUPT when a value is no finite number. The caller frees *ret. */
enum stn_code stn_adapter_file_load(struct stn_adapter **ret, const struct stn_arch *arch,
                                    const char *path, struct stn_err *err) STN_CHECKED;
/* From memory (borrowed for the call, any alignment); name stands for the file in errors. */
enum stn_code stn_adapter_file_parse(struct stn_adapter **ret, const struct stn_arch *arch,
                                     const void *p, size_t size, const char *name,
                                     struct stn_err *err) STN_CHECKED;
enum stn_code stn_adapter_file_save(const struct stn_adapter *adapter, const char *path,
                                    struct stn_err *err) STN_CHECKED;
/* The same with values that lie elsewhere: read gives n of them from offset; where it fails, the file stays what it was. */
typedef enum stn_code stn_adapter_read(void *context, size_t offset, float *values, size_t n, struct stn_err *err);
enum stn_code stn_adapter_file_save_from(const struct stn_adapter *adapter, const char *path, stn_adapter_read *read,
                                         void *context, struct stn_err *err) STN_CHECKED;
/* Appends the file's bytes. */
enum stn_code stn_adapter_file_write(const struct stn_adapter *adapter, struct stn_buf *buf,
                                     struct stn_err *err) STN_CHECKED;

#endif
