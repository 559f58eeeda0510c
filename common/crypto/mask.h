/* mask: what hides a vector of SA1. A stream of 32-bit words, made from a seed, is added to the
 * vector or taken from it, modulo 2^32.
 *
 * The stream is ChaCha20 (RFC 8439, 12-byte nonce, counter from 0), word-sliced: superblock s is
 * its blocks 16 s to 16 s + 15, and element 256 s + 16 w + l is the little-endian word w of block
 * 16 s + l. So sixteen blocks lie side by side in the lanes of a vector register from the first to
 * the last instruction, and no word is moved to another lane. A stream has STN_MASK_ELEMENTS
 * elements; past them is an assert.
 *
 * Words are made in registers and added at once: a stream never lies in memory. Of several streams,
 * each goes over a tile of the vector that stays in the first-level cache. Any run that begins at a
 * superblock can be masked on its own, so tiles may go to several threads. The processor's best
 * instructions are chosen at the first call; all variants give the same bits. What a kernel leaves
 * in registers and on the stack is not wiped; a seed is the caller's to wipe. Thread: any. */
#ifndef STN_CRYPTO_MASK_H
#define STN_CRYPTO_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STN_MASK_SEED 32
#define STN_MASK_NONCE 12
#define STN_MASK_SUPERBLOCK 256               /* elements */
#define STN_MASK_TILE 4096                    /* elements: 16 KiB, half of a small first cache */
#define STN_MASK_ELEMENTS ((uint64_t)1 << 36) /* of a stream */

struct stn_mask {
    uint8_t seed[STN_MASK_SEED];
    uint8_t nonce[STN_MASK_NONCE]; /* zeroes: every seed of SA1 makes one stream */
    bool is_minus;                 /* the stream is taken away */
};

/* v[i] += or -= element 256 first + i of every mask's stream, for i < n. first is a superblock; n
 * need not be whole superblocks. v is aligned as numbers are. */
void stn_mask_apply(uint32_t *v, size_t n, uint64_t first, const struct stn_mask *masks,
                    size_t n_masks);

/* The variants, for tests and the bench: the names of those that run here, the plainest first, NULL
 * past the last; the one in use; another from now on (false for a name that does not run here),
 * while nobody is masking. */
const char *stn_mask_variant(size_t i);
const char *stn_mask_chosen(void);
bool stn_mask_choose(const char *name);

#endif
