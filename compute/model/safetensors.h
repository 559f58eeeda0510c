/* safetensors: files of named arrays, read and written. Eight bytes with a header's size, the header (JSON: a type, a shape
 * and a place for each name, and "__metadata__", strings by name), then all bytes without a gap. What a file says is checked
 * before it is used: after a successful open every array lies inside the file, and no two share a byte. Source: the format's
 * description in the safetensors project. Thread: any number may read. */
#ifndef STN_MODEL_SAFETENSORS_H
#define STN_MODEL_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_SAFETENSORS_HEADER ((size_t)32 << 20) /* most bytes of a header */
#define STN_SAFETENSORS_N_ARRAYS 65536            /* most arrays */
#define STN_SAFETENSORS_N_NOTES 4096              /* most entries of the metadata */
#define STN_SAFETENSORS_NAME 512                  /* longest name, with its zero */
#define STN_SAFETENSORS_DIMS 8

enum stn_safetensors_type {
    STN_SAFETENSORS_F64,
    STN_SAFETENSORS_F32,
    STN_SAFETENSORS_F16,
    STN_SAFETENSORS_BF16,
    STN_SAFETENSORS_I64,
    STN_SAFETENSORS_I32,
    STN_SAFETENSORS_I16,
    STN_SAFETENSORS_I8,
    STN_SAFETENSORS_U8,
    STN_SAFETENSORS_BOOL,
    STN_SAFETENSORS_N_TYPES
};

struct stn_safetensors_array {
    const char *name;
    enum stn_safetensors_type type;
    size_t n_dims;
    uint64_t dims[STN_SAFETENSORS_DIMS]; /* slowest first, 1 beyond n_dims */
    const uint8_t *data;                 /* of any alignment */
    uint64_t n_values, size;
};

struct stn_safetensors_note {
    const char *key, *value;
};

struct stn_safetensors;

/* The caller closes *ret; the file must not be changed meanwhile. STN_CORRUPT when it is not what it says, STN_UNSUPPORTED
 * for a type that is not listed above. */
enum stn_code stn_safetensors_open(struct stn_safetensors **ret, const char *path, struct stn_err *err) STN_CHECKED;
/* The same of bytes in memory, borrowed until close; name stands for the file in errors. */
enum stn_code stn_safetensors_parse(struct stn_safetensors **ret, const void *p, size_t size, const char *name,
                                    struct stn_err *err) STN_CHECKED;
void stn_safetensors_close(struct stn_safetensors *file);

size_t stn_safetensors_n_arrays(const struct stn_safetensors *file);
const struct stn_safetensors_array *stn_safetensors_array(const struct stn_safetensors *file, size_t i); /* in the header's order */
const struct stn_safetensors_array *stn_safetensors_find(const struct stn_safetensors *file, const char *name); /* or NULL */
size_t stn_safetensors_n_notes(const struct stn_safetensors *file);
const struct stn_safetensors_note *stn_safetensors_note(const struct stn_safetensors *file, size_t i);

const char *stn_safetensors_type_name(enum stn_safetensors_type type); /* "F32" */

/* Values [first, first + n) as f32. STN_UNSUPPORTED unless they are floats. */
enum stn_code stn_safetensors_floats(const struct stn_safetensors_array *array, uint64_t first, size_t n, float *ret,
                                     struct stn_err *err) STN_CHECKED;

/* A matrix to write: (rows, cols) of f32. */
struct stn_safetensors_matrix {
    const char *name;
    uint64_t rows, cols;
    const float *values;
};

/* Writes a whole file, all or nothing, in the order given. The same calls give the same bytes. */
enum stn_code stn_safetensors_save(const char *path, const struct stn_safetensors_matrix *matrices, size_t n_matrices,
                                   const struct stn_safetensors_note *notes, size_t n_notes, struct stn_err *err) STN_CHECKED;

#endif
