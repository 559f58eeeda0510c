#include "crypto/aead_libcrypto.h"

#include <limits.h>
#include <pthread.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

static EVP_CIPHER *cipher; /* for good; NULL: this libcrypto does not have it */

/* In a context of its own, which reads no configuration and leaves the program's alone: an app may use libcrypto too. */
static void fetch(void)
{
    static OSSL_LIB_CTX *own;
    own = OSSL_LIB_CTX_new();
    cipher = own != NULL ? EVP_CIPHER_fetch(own, "ChaCha20-Poly1305", NULL) : NULL;
}

/* A cipher with its key and nonce set, and the associated data in it; NULL when that fails. */
static EVP_CIPHER_CTX *begin(int seals, const void *ad, size_t ad_size, size_t size, const uint8_t *nonce, const uint8_t *key)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fetch);
    int n = 0;
    EVP_CIPHER_CTX *ctx = cipher != NULL && size < INT_MAX && ad_size < INT_MAX ? EVP_CIPHER_CTX_new() : NULL;
    if (ctx != NULL && EVP_CipherInit_ex2(ctx, cipher, key, nonce, seals, NULL) == 1 &&
        (ad_size == 0 || EVP_CipherUpdate(ctx, NULL, &n, ad, (int)ad_size) == 1)) {
        return ctx;
    }
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

bool stn_aead_libcrypto_seal(uint8_t *dst, const void *p, size_t size, const void *ad, size_t ad_size,
                        const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY])
{
    EVP_CIPHER_CTX *ctx = begin(1, ad, ad_size, size, nonce, key);
    int n = 0;
    if (ctx == NULL) {
        return false;
    }
    /* after a good start neither can fail: there is nothing to allocate, and no padding */
    bool ok = EVP_CipherUpdate(ctx, dst, &n, p, (int)size) == 1 && EVP_CipherFinal_ex(ctx, dst + n, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, STN_AEAD_TAG, dst + size) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) {
        OPENSSL_die("a record could not be sealed", __FILE__, __LINE__);
    }
    return true;
}

bool stn_aead_libcrypto_open(uint8_t *dst, const uint8_t *p, size_t size, const void *ad, size_t ad_size,
                        const uint8_t nonce[static STN_AEAD_NONCE], const uint8_t key[static STN_AEAD_KEY], bool *ret_verifies)
{
    size_t n_text = size - STN_AEAD_TAG;
    EVP_CIPHER_CTX *ctx = begin(0, ad, ad_size, size, nonce, key);
    int n = 0;
    if (ctx == NULL) {
        return false;
    }
    uint8_t tag[STN_AEAD_TAG];
    for (size_t i = 0; i < sizeof tag; i++) {
        tag[i] = p[n_text + i];
    }
    *ret_verifies = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, STN_AEAD_TAG, tag) == 1 &&
                    EVP_CipherUpdate(ctx, dst, &n, p, (int)n_text) == 1 && EVP_CipherFinal_ex(ctx, dst + n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return true;
}
