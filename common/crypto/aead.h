/* aead: ChaCha20-Poly1305 (RFC 8439), the cipher of sealed records.
 *
 * Short texts are libsodium's. Long ones are libcrypto's where the build has it, which has kernels for wider registers: the same
 * bytes at three times the speed (docs/decisions/0013-long-records-by-libcrypto.md). Where it cannot start, libsodium does the
 * work; past its start it fails for nothing that memory or input could bring about, and that would end the process.
 * Thread: any. */
#ifndef STN_CRYPTO_AEAD_H
#define STN_CRYPTO_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_AEAD_KEY 32
#define STN_AEAD_NONCE 12
#define STN_AEAD_TAG 16

/* dst gets size + STN_AEAD_TAG bytes; p may be dst. A nonce is never used twice with a key. */
void stn_aead_seal(uint8_t *dst, const void *p, size_t size, const void *ad, size_t ad_size,
                   const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY]);

/* size is that of a sealed text, with its tag; dst gets STN_AEAD_TAG less; p may be dst. false when the tag is wrong: then dst
 * holds no unverified plain text. */
bool stn_aead_open(uint8_t *dst, const uint8_t *p, size_t size, const void *ad, size_t ad_size,
                   const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY]) STN_CHECKED;

#endif
