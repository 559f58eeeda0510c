/* blob: a folder of files named by their tree digest (crypto/digest.h): base models, adapters, optimiser states.
 * What is under a name is whole and right; what is still arriving is .part beside it. Both the coordinator's blobs/
 * and a device's cache are one. Thread: any, but one at a time for an incoming blob. */
#ifndef STN_BLOB_BLOB_H
#define STN_BLOB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "blob/parts.h"
#include "crypto/digest.h"
#include "io/file.h"

#define STN_BLOB_LEAVES_MAX 16384 /* chunks of one blob: 4 GiB */

struct stn_blob_store {
    char folder[STN_FILE_PATH_MAX - 128];
};

/* Makes the folder when it is missing. */
enum stn_code stn_blob_open(struct stn_blob_store *store, const char *folder, struct stn_err *err) STN_CHECKED;

/* FOLDER/HEX. It always fits. */
void stn_blob_path(const struct stn_blob_store *store, const struct stn_digest *digest, char ret[static STN_FILE_PATH_MAX]);
bool stn_blob_has(const struct stn_blob_store *store, const struct stn_digest *digest);

/* Puts bytes, or a copy of a file, into the store under their digest, and the hashes of their chunks beside them. Known ones
 * are not written again. STN_LIMIT: more than STN_BLOB_LEAVES_MAX chunks. */
enum stn_code stn_blob_put(const struct stn_blob_store *store, const void *p, size_t size, struct stn_digest *ret,
                           struct stn_err *err) STN_CHECKED;
enum stn_code stn_blob_put_file(const struct stn_blob_store *store, const char *path, struct stn_digest *ret,
                                uint64_t *ret_size, struct stn_err *err) STN_CHECKED;

/* The digest and size of any file. */
enum stn_code stn_blob_name_file(const char *path, struct stn_digest *ret, uint64_t *ret_size, struct stn_err *err) STN_CHECKED;

/* The hashes of a blob's chunks (the caller frees *ret), kept beside it once computed. STN_NOT_FOUND, or STN_CORRUPT
 * when the file is no longer what its name says. */
enum stn_code stn_blob_leaves(const struct stn_blob_store *store, const struct stn_digest *digest,
                              struct stn_digest **ret, size_t *ret_n, uint64_t *ret_size, struct stn_err *err) STN_CHECKED;
/* n chunks from i on, or as many as there are, into p (n * STN_DIGEST_CHUNK bytes of room). STN_INVALID: there is no chunk i. */
enum stn_code stn_blob_chunks(const struct stn_blob_store *store, const struct stn_digest *digest, size_t i, size_t n, void *p,
                              size_t *ret_size, struct stn_err *err) STN_CHECKED;

/* A blob that arrives. Chunks that came before a restart are checked again and kept. Whole ones are checked a few at a
 * time, side by side, before they are written. */
#define STN_BLOB_HELD 8
struct stn_blob_incoming {
    const struct stn_blob_store *store;
    struct stn_digest digest;
    struct stn_digest *leaves;
    struct stn_parts *parts;
    uint8_t *held; /* (n_held) chunks that are not checked yet, and which they are */
    size_t n_held, held_index[STN_BLOB_HELD];
};

/* STN_CORRUPT when the leaves are not the digest's. Closed by stn_blob_stop, also after finish. */
enum stn_code stn_blob_begin(struct stn_blob_incoming *incoming, const struct stn_blob_store *store,
                             const struct stn_digest *digest, uint64_t size, const struct stn_digest *leaves, size_t n,
                             struct stn_err *err) STN_CHECKED;
/* STN_CORRUPT when its bytes, or those of one that was held, are not the chunk's: that one is not written, the others are. */
enum stn_code stn_blob_take_chunk(struct stn_blob_incoming *incoming, size_t i, const void *p, size_t size,
                                  struct stn_err *err) STN_CHECKED;
/* Every chunk was taken: the blob gets its name. STN_CORRUPT as above. */
enum stn_code stn_blob_finish(struct stn_blob_incoming *incoming, struct stn_err *err) STN_CHECKED;
/* Keeps what has arrived. Zeroed is fine. */
void stn_blob_stop(struct stn_blob_incoming *incoming);

/* What has arrived of it goes, too; it is not arriving. */
enum stn_code stn_blob_remove(const struct stn_blob_store *store, const struct stn_digest *digest, struct stn_err *err) STN_CHECKED;

/* At the start of the process that has the folder: what an earlier one, killed, has left half written is removed. With
 * keep (n), what has begun to arrive of other blobs than those is, too. What cannot be removed stays. */
void stn_blob_sweep(const struct stn_blob_store *store, const struct stn_digest *keep, size_t n);

#endif
