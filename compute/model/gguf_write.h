/* gguf_write: writes a GGUF v3 file as a stream: metadata, then the descriptions of all tensors, then their bytes
 * in that order, never more than a piece of them in memory. A file appears whole, under its name, or not at all.
 * The same calls give the same bytes. Thread: one at a time. */
#ifndef STN_MODEL_GGUF_WRITE_H
#define STN_MODEL_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "compute/model/gguf.h"

struct stn_gguf_write;

/* The caller frees *ret. */
enum stn_code stn_gguf_write_new(struct stn_gguf_write **ret, struct stn_err *err) STN_CHECKED;
/* Without an end before, nothing is left behind. */
void stn_gguf_write_free(struct stn_gguf_write *w);

/* Metadata. A lack of memory is kept and told by begin. */
void stn_gguf_write_str(struct stn_gguf_write *w, const char *key, const char *value);
void stn_gguf_write_u32(struct stn_gguf_write *w, const char *key, uint32_t value);
void stn_gguf_write_u64(struct stn_gguf_write *w, const char *key, uint64_t value);
void stn_gguf_write_f32(struct stn_gguf_write *w, const char *key, float value);
void stn_gguf_write_bool(struct stn_gguf_write *w, const char *key, bool value);
/* Any value as it stands in a file: copies a vocabulary, say. */
void stn_gguf_write_value(struct stn_gguf_write *w, const struct stn_gguf_value *value);

/* Describes the next tensor: ne fastest first, whole blocks of its type. */
void stn_gguf_write_tensor(struct stn_gguf_write *w, const char *name, enum stn_quant_type type,
                           uint32_t n_dims, const uint64_t *ne);

/* Nothing more can be described. To a file (beside it first: end gives it its name), or to memory. */
enum stn_code stn_gguf_write_begin(struct stn_gguf_write *w, const char *path,
                                   struct stn_err *err) STN_CHECKED;
enum stn_code stn_gguf_write_begin_buf(struct stn_gguf_write *w, struct stn_buf *buf,
                                       struct stn_err *err) STN_CHECKED;

/* The next bytes of the tensors: any cut, in their order; the gaps between tensors are filled here. */
enum stn_code stn_gguf_write_data(struct stn_gguf_write *w, const void *p, size_t size,
                                  struct stn_err *err) STN_CHECKED;

/* All bytes are there, on disk, under their name. */
enum stn_code stn_gguf_write_end(struct stn_gguf_write *w, struct stn_err *err) STN_CHECKED;

#endif
