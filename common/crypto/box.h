/* box: a few secret bytes sealed under a key that seals nothing else: XChaCha20-Poly1305 with a
 * nonce of zero. Source: the IETF draft "XChaCha: eXtended-nonce ChaCha and
 * AEAD_XChaCha20_Poly1305". A key that sealed twice would give both texts away: SA1 derives one for
 * each pair, direction, round and kind of share. Nothing allocates. Thread: any. */
#ifndef STN_CRYPTO_BOX_H
#define STN_CRYPTO_BOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_BOX_KEY 32
#define STN_BOX_TAG 16

/* dst has room for size + STN_BOX_TAG bytes. */
void stn_box_seal(uint8_t *dst, const uint8_t key[static STN_BOX_KEY], const void *ad,
                  size_t ad_size, const void *p, size_t size);

/* dst has room for size - STN_BOX_TAG bytes. STN_CORRUPT, and nothing unverified in dst, for what
 * is not sealed under this key and associated data. */
enum stn_code stn_box_open(uint8_t *dst, const uint8_t key[static STN_BOX_KEY], const void *ad,
                           size_t ad_size, const void *p, size_t size,
                           struct stn_err *err) STN_CHECKED;

#endif
