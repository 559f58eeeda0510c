/* merkle: a tree of hashes (digest.h: RFC 6962's) that proves some of its leaves at once.
 *
 * A proof is the nodes that whoever knows the leaves at certain indices lacks for the root: level
 * by level from the leaves, from left to right. Which these are follows from the indices and the
 * number of leaves, so that a proof binds both: it fits no other place and no other size. Thread:
 * any. */
#ifndef STN_SECAGG_MERKLE_H
#define STN_SECAGG_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/digest.h"

#define STN_MERKLE_LEVELS 33

struct stn_merkle {
    uint32_t n;                           /* leaves, at least 1 */
    uint32_t n_levels;                    /* the last is the root alone */
    struct stn_digest *nodes;             /* level after level */
    size_t starts[STN_MERKLE_LEVELS + 1]; /* of each level in nodes */
};

/* Of n leaf hashes, 1 to 2^31. The caller ends it with fini; zeroed is fine there. */
enum stn_code stn_merkle_init(struct stn_merkle *ret, const struct stn_digest *leaves, uint32_t n,
                              struct stn_err *err) STN_CHECKED;
void stn_merkle_fini(struct stn_merkle *tree);

const struct stn_digest *stn_merkle_root(const struct stn_merkle *tree);

/* Most nodes of a proof of n_indices of n leaves. */
size_t stn_merkle_room(uint32_t n, size_t n_indices);

/* Writes the proof of the leaves at indices (rising, at least one) and returns how many nodes it
 * has. */
size_t stn_merkle_prove(const struct stn_merkle *tree, const uint32_t *indices, size_t n_indices,
                        struct stn_digest *ret);

/* STN_OK when these leaves are at these indices of the tree of n leaves that has this root;
 * STN_DENIED when the proof does not show it; STN_INVALID for indices that do not rise or pass n;
 * STN_MEMORY. */
enum stn_code stn_merkle_check(const struct stn_digest *root, uint32_t n, const uint32_t *indices,
                               const struct stn_digest *leaves, size_t n_indices,
                               const struct stn_digest *proof, size_t n_proof,
                               struct stn_err *err) STN_CHECKED;

#endif
