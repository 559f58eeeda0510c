#include "crypto/aead.h"

#include <assert.h>

#include <sodium.h>

#include "crypto/aead_libcrypto.h"

static_assert(STN_AEAD_KEY == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "the key's size");
static_assert(STN_AEAD_NONCE == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "the nonce's size");
static_assert(STN_AEAD_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "the tag's size");

#define LONG 4096 /* bytes from which on libcrypto's start is paid for */

void stn_aead_seal(uint8_t *dst, const void *p, size_t size, const void *ad, size_t ad_size,
                   const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY])
{
    if (size < LONG || !stn_aead_libcrypto_seal(dst, p, size, ad, ad_size, nonce, key)) {
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(dst, NULL, p, size, ad, ad_size, NULL, nonce, key);
    }
}

bool stn_aead_open(uint8_t *dst, const uint8_t *p, size_t size, const void *ad, size_t ad_size,
                   const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY])
{
    bool verifies = false;
    if (size < STN_AEAD_TAG) {
        return false;
    }
    if (size < LONG || !stn_aead_libcrypto_open(dst, p, size, ad, ad_size, nonce, key, &verifies)) {
        return crypto_aead_chacha20poly1305_ietf_decrypt(dst, NULL, NULL, p, size, ad, ad_size, nonce, key) == 0;
    }
    if (!verifies) {
        sodium_memzero(dst, size - STN_AEAD_TAG);
    }
    return verifies;
}
