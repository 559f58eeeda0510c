/* digest: BLAKE2b-256, the name of everything, and how a blob is checked a chunk at a time.
 *
 * H is BLAKE2b with 32 bytes of output and no key (RFC 7693). A tree over n leaves is RFC 6962's: a
 * leaf is H(0x00 || bytes), a node H(0x01 || left || right), n leaves split at the largest power of
 * two below n, and no leaf at all is H of nothing. A blob is cut into chunks of STN_DIGEST_CHUNK
 * bytes (the last may be shorter, an empty blob has none), the chunks are the leaves, and the
 * blob's name is H(0x02 || le64 size || root): the size is bound, and a name is never a leaf or a
 * node.
 *
 * Comparisons are not constant time: digests are names, not secrets. Nothing here allocates or
 * fails. Thread: any; a state or a tree, one at a time. */
#ifndef STN_CRYPTO_DIGEST_H
#define STN_CRYPTO_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STN_DIGEST_SIZE 32
#define STN_DIGEST_TEXT (2 * STN_DIGEST_SIZE + 1) /* hexadecimal, with its zero */
#define STN_DIGEST_CHUNK ((size_t)256 << 10)

struct stn_digest {
    uint8_t bytes[STN_DIGEST_SIZE];
};

/* A hash in progress: only digest.c knows what is in it. It may be copied. */
struct stn_digest_state {
    uint64_t opaque[48];
};

struct stn_digest stn_digest_of(const void *p, size_t size);

/* The same in pieces: init, any number of adds, end. After end it must be started again. */
void stn_digest_init(struct stn_digest_state *state);
void stn_digest_add(struct stn_digest_state *state, const void *p, size_t size);
struct stn_digest stn_digest_end(struct stn_digest_state *state);

bool stn_digest_equal(const struct stn_digest *a, const struct stn_digest *b);
/* Below, at or above zero: the order of the bytes. */
int stn_digest_compare(const struct stn_digest *a, const struct stn_digest *b);
bool stn_digest_is_zero(const struct stn_digest *digest); /* the digest of nothing known: "none" */

/* Lower-case hexadecimal; reading takes exactly 64 digits of either case. */
void stn_digest_put_text(const struct stn_digest *digest, char dst[static STN_DIGEST_TEXT]);
bool stn_digest_get_text(struct stn_digest *ret, const char *s);

/* KDF(k, label, ctx) = BLAKE2b-256 of label || 0x00 || ctx with the key k (SA1, "Keys and names").
 * size is that of ctx. The result is as secret as k. */
void stn_digest_kdf(uint8_t ret[static 32], const uint8_t k[static 32], const char *label,
                    const void *ctx, size_t size);

/* The pieces of a tree, for every tree of the system. root reads n leaf hashes. */
struct stn_digest stn_digest_leaf(const void *p, size_t size);
struct stn_digest stn_digest_node(const struct stn_digest *left, const struct stn_digest *right);
struct stn_digest stn_digest_root(const struct stn_digest *leaves, size_t n);

/* How many chunks a blob of size bytes has. */
uint64_t stn_digest_n_chunks(uint64_t size);

/* Names a blob whose bytes come in any pieces. The layout is here for the stack's sake. */
struct stn_digest_tree {
    uint64_t size;                /* bytes added so far */
    uint64_t n_leaves;            /* whole chunks so far; after end, all */
    struct stn_digest *leaves;    /* borrowed, or NULL */
    size_t room;                  /* of leaves; those past it are hashed and not kept */
    struct stn_digest_state leaf; /* the chunk in progress */
    struct stn_digest stack[48];  /* roots of whole subtrees, one for each set bit of n_leaves */
};

/* leaves, of room elements, is borrowed until end, and gets the chunks' hashes in order; NULL and 0
 * when nobody wants them. */
void stn_digest_tree_init(struct stn_digest_tree *tree, struct stn_digest *leaves, size_t room);
void stn_digest_tree_add(struct stn_digest_tree *tree, const void *p, size_t size);
struct stn_digest stn_digest_tree_end(struct stn_digest_tree *tree);

/* The name of a blob that lies in memory. */
struct stn_digest stn_digest_blob(const void *p, size_t size);

/* The name of a blob of size bytes whose chunks hash to leaves; size must have n chunks. */
struct stn_digest stn_digest_tree_name(const struct stn_digest *leaves, size_t n, uint64_t size);

/* Whether leaves are the n hashes of the chunks of the blob that digest names, and size its size.
 * After that one check each chunk is checked alone: its hash is stn_digest_leaf, its number the
 * index in leaves. */
bool stn_digest_tree_check(const struct stn_digest *leaves, size_t n, uint64_t size,
                           const struct stn_digest *digest);

/* How many bytes chunk number i of a blob of size bytes has; 0 past the last. */
size_t stn_digest_chunk_size(uint64_t size, uint64_t i);
/* And n of them from i on, or as many as there are. n is small. */
size_t stn_digest_run_size(uint64_t size, uint64_t i, size_t n);

#endif
