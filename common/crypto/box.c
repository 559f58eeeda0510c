#include "crypto/box.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

static_assert(STN_BOX_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key's size");
static_assert(STN_BOX_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "the tag's size");

static const uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];

void stn_box_seal(uint8_t *dst, const uint8_t key[static STN_BOX_KEY], const void *ad,
                  size_t ad_size, const void *p, size_t size)
{
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(dst, NULL, p, size, ad, ad_size, NULL, nonce,
                                                     key);
}

enum stn_code stn_box_open(uint8_t *dst, const uint8_t key[static STN_BOX_KEY], const void *ad,
                           size_t ad_size, const void *p, size_t size, struct stn_err *err)
{
    if (size < STN_BOX_TAG || crypto_aead_xchacha20poly1305_ietf_decrypt(
                                  dst, NULL, NULL, p, size, ad, ad_size, nonce, key) != 0) {
        return stn_err_set(err, STN_CORRUPT, "a sealed box of %zu bytes does not open", size);
    }
    return STN_OK;
}
