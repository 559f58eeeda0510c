/* digest_wide: the leaves of several whole chunks at once, one in each lane of a vector register: two to four times as
 * fast as one after the other, and the same hashes. A machine without such registers has no lanes. Thread: any. */
#ifndef STN_CRYPTO_DIGEST_WIDE_H
#define STN_CRYPTO_DIGEST_WIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/digest.h"

#define STN_DIGEST_WIDE_LANES 8 /* at most */

/* Hashes the first chunks of the n whole ones at p, and returns how many: as many as lanes can be filled well with; 0: hash
 * one by itself. Each is as stn_digest_leaf. */
size_t stn_digest_wide_leaves(struct stn_digest *ret, const uint8_t *p, size_t n);

/* For tests: no more lanes than these, from now on. */
void stn_digest_wide_limit(size_t lanes);

/* BLAKE2b's compression (RFC 7693, 3.2) of n blocks that follow each other from each of the pointers. h: word w of lane l
 * at h[w lanes + l]. t: bytes hashed before; end: bytes in all, when the last of these blocks is the last; else 0. */
typedef void stn_digest_wide_kernel(uint64_t *h, const uint8_t *const *from, size_t n, uint64_t t, uint64_t end);

#ifdef __x86_64__
stn_digest_wide_kernel stn_digest_wide_avx2, stn_digest_wide_avx512; /* 4 lanes, 8 */
#endif

#endif
