/* aead_libcrypto: the cipher of aead.h by OpenSSL's libcrypto, for aead.c alone. Without libcrypto in the build nothing is done. */
#ifndef STN_CRYPTO_AEAD_LIBCRYPTO_H
#define STN_CRYPTO_AEAD_LIBCRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/aead.h"

#ifdef STN_HAVE_LIBCRYPTO

/* false: not to be had, or out of memory; then p is as it was, even where it is dst. */
bool stn_aead_libcrypto_seal(uint8_t *dst, const void *p, size_t size, const void *ad, size_t ad_size,
                        const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY]) STN_CHECKED;

/* The same; true says that *ret_verifies is known. When it is false, dst holds plain text that nobody vouches for. */
bool stn_aead_libcrypto_open(uint8_t *dst, const uint8_t *p, size_t size, const void *ad, size_t ad_size,
                        const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY],
                        bool *ret_verifies) STN_CHECKED;

#else

static inline bool stn_aead_libcrypto_seal(uint8_t *dst, const void *p, size_t size, const void *ad, size_t ad_size,
                                      const uint8_t *nonce, const uint8_t *key)
{
    (void)dst, (void)p, (void)size, (void)ad, (void)ad_size, (void)nonce, (void)key;
    return false;
}

static inline bool stn_aead_libcrypto_open(uint8_t *dst, const uint8_t *p, size_t size, const void *ad, size_t ad_size,
                                      const uint8_t *nonce, const uint8_t *key, bool *ret_verifies)
{
    (void)dst, (void)p, (void)size, (void)ad, (void)ad_size, (void)nonce, (void)key, (void)ret_verifies;
    return false;
}

#endif

#endif
