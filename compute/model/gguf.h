/* gguf: a reader of GGUF files, versions 2 and 3, memory-mapped. Every size that a file states is checked against
 * the file before it is used, so that after a successful open every view and every tensor lies inside the mapping.
 * What is wrong is one error that names the file and the thing.
 *
 * All that it hands out (strings, arrays, tensor data) are views that live until close. The file must not be changed
 * meanwhile. Source: the GGUF specification of the ggml project. Thread: any number may read. */
#ifndef STN_MODEL_GGUF_H
#define STN_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"
#include "compute/model/quant.h"

#define STN_GGUF_DIMS 4
#define STN_GGUF_N_TENSORS 65536 /* most tensors */
#define STN_GGUF_N_KEYS 65536    /* most metadata keys */
#define STN_GGUF_NAME 256        /* longest tensor name or key, with its zero */
#define STN_GGUF_ALIGN 32        /* where tensors start unless general.alignment says otherwise */

/* Kinds of metadata values; the numbers stand in files. */
enum stn_gguf_kind {
    STN_GGUF_U8 = 0,
    STN_GGUF_I8 = 1,
    STN_GGUF_U16 = 2,
    STN_GGUF_I16 = 3,
    STN_GGUF_U32 = 4,
    STN_GGUF_I32 = 5,
    STN_GGUF_F32 = 6,
    STN_GGUF_BOOL = 7,
    STN_GGUF_STR = 8,
    STN_GGUF_ARRAY = 9,
    STN_GGUF_U64 = 10,
    STN_GGUF_I64 = 11,
    STN_GGUF_F64 = 12,
    STN_GGUF_N_KINDS
};

/* A string of the file: not ended by a zero, perhaps not UTF-8. */
struct stn_gguf_str {
    const char *p;
    size_t size;
};

/* A metadata value as it stands in the file: a string's or array's bytes begin with its count. */
struct stn_gguf_value {
    const char *key; /* ended by a zero */
    enum stn_gguf_kind kind;
    const uint8_t *data;
    size_t size;
};

/* An array of metadata; numbers are read with base/buf's getters, strings with stn_gguf_next. */
struct stn_gguf_array {
    enum stn_gguf_kind kind;
    size_t n;
    const uint8_t *data; /* what is left of it */
    size_t size;
};

struct stn_gguf_tensor {
    const char *name; /* ended by a zero */
    enum stn_quant_type type;
    uint32_t n_dims;
    uint64_t ne[STN_GGUF_DIMS]; /* fastest first, 1 beyond n_dims: a matrix has ne = {columns, rows} */
    const uint8_t *data;        /* aligned to the file's alignment, at least 8 */
    size_t size;                /* bytes, with the format's tail */
};

/* Read it freely, change nothing. */
struct stn_gguf {
    const char *path;
    const uint8_t *data; /* the whole file */
    size_t size;
    uint32_t version;
    size_t alignment;
    size_t n_values;
    struct stn_gguf_value *values;
    size_t n_tensors;
    struct stn_gguf_tensor *tensors; /* in the file's order */
    struct stn_map by_key, by_name;
    struct stn_arena arena;
    bool mapped;
};

/* The caller closes *ret. STN_CORRUPT when the file is not what it says, STN_UNSUPPORTED when it is beyond us. */
enum stn_code stn_gguf_open(struct stn_gguf **ret, const char *path, struct stn_err *err) STN_CHECKED;
/* The same of bytes in memory (aligned to 8), which are borrowed until close; name stands for the file in errors. */
enum stn_code stn_gguf_parse(struct stn_gguf **ret, const void *p, size_t size, const char *name,
                             struct stn_err *err) STN_CHECKED;
void stn_gguf_close(struct stn_gguf *gguf);

/* NULL when there is none. */
const struct stn_gguf_value *stn_gguf_value(const struct stn_gguf *gguf, const char *key);
const struct stn_gguf_tensor *stn_gguf_tensor(const struct stn_gguf *gguf, const char *name);

/* Typed metadata. STN_NOT_FOUND without the key, STN_INVALID when it is of another kind or (any width and sign of
 * integer is taken) does not fit; *ret is then as it was, so that it may hold the default. */
enum stn_code stn_gguf_u64(const struct stn_gguf *gguf, const char *key, uint64_t *ret,
                           struct stn_err *err) STN_CHECKED;
enum stn_code stn_gguf_u32(const struct stn_gguf *gguf, const char *key, uint32_t *ret,
                           struct stn_err *err) STN_CHECKED;
enum stn_code stn_gguf_f32(const struct stn_gguf *gguf, const char *key, float *ret,
                           struct stn_err *err) STN_CHECKED;
enum stn_code stn_gguf_bool(const struct stn_gguf *gguf, const char *key, bool *ret,
                            struct stn_err *err) STN_CHECKED;
enum stn_code stn_gguf_str(const struct stn_gguf *gguf, const char *key, struct stn_gguf_str *ret,
                           struct stn_err *err) STN_CHECKED;
enum stn_code stn_gguf_array(const struct stn_gguf *gguf, const char *key, enum stn_gguf_kind kind,
                             struct stn_gguf_array *ret, struct stn_err *err) STN_CHECKED;

/* Whether a string is exactly s. */
bool stn_gguf_is(struct stn_gguf_str str, const char *s);

/* The next string of an array of strings; false at its end. */
bool stn_gguf_next(struct stn_gguf_array *array, struct stn_gguf_str *ret);

/* The bytes of one scalar of a kind; 0 for a string or an array. */
size_t stn_gguf_kind_size(enum stn_gguf_kind kind);
/* "u32", "str", ... */
const char *stn_gguf_kind_name(enum stn_gguf_kind kind);

/* Hints to the pager for a tensor's whole pages: soon, or no more for now. They change no value. */
void stn_gguf_will_read(const struct stn_gguf *gguf, const struct stn_gguf_tensor *tensor);
void stn_gguf_drop(const struct stn_gguf *gguf, const struct stn_gguf_tensor *tensor);

#endif
