/* parts: a file that arrives in chunks, in any order, over any number of connections and restarts. Until it is whole
 * it is PATH.part, and PATH.have says which chunks are there (one byte each, written after the chunk). After a power
 * cut a byte of .have may promise a chunk that the disk lost: whoever names the file by its digest finds out.
 * Chunks have STN_DIGEST_CHUNK bytes, the last what is left. Thread: one at a time for each. */
#ifndef STN_BLOB_PARTS_H
#define STN_BLOB_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct stn_parts;

/* Opens what is there, or begins. One that was begun with another size begins again. The caller closes *ret. */
enum stn_code stn_parts_open(struct stn_parts **ret, const char *path, uint64_t size, struct stn_err *err) STN_CHECKED;
/* Keeps what has arrived. NULL is fine. */
void stn_parts_close(struct stn_parts *parts);

size_t stn_parts_n(const struct stn_parts *parts);         /* chunks in all */
size_t stn_parts_n_missing(const struct stn_parts *parts);
bool stn_parts_has(const struct stn_parts *parts, size_t i);
/* The first missing chunk at or behind i; stn_parts_n when there is none. */
size_t stn_parts_next_missing(const struct stn_parts *parts, size_t i);
/* The bytes that chunk i has when it is whole. */
size_t stn_parts_chunk_size(const struct stn_parts *parts, size_t i);

/* Whole chunks, from i on, that lie one behind the other in p. STN_INVALID for a number or size that does not fit. What is there
 * already is not written again. */
enum stn_code stn_parts_put(struct stn_parts *parts, size_t i, const void *p, size_t size, struct stn_err *err) STN_CHECKED;
/* Chunk i back into p (STN_DIGEST_CHUNK bytes of room), to check it. */
enum stn_code stn_parts_get(const struct stn_parts *parts, size_t i, void *p, size_t *ret_size, struct stn_err *err) STN_CHECKED;
/* Forgets chunk i: its bytes are not what they should be. */
enum stn_code stn_parts_forget(struct stn_parts *parts, size_t i, struct stn_err *err) STN_CHECKED;

/* All chunks are there: syncs and puts the file under its path. parts can then only be closed. */
enum stn_code stn_parts_finish(struct stn_parts *parts, struct stn_err *err) STN_CHECKED;

/* Removes PATH.part and PATH.have. Missing ones are fine. */
void stn_parts_remove(const char *path);

#endif
