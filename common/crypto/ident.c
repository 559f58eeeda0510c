#include "crypto/ident.h"

#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/entropy.h"

#define MAGIC "stn-id1\n"
#define MAGIC_SIZE 8
#define ENROL "SA1/enrol"

void stn_ident_new(struct stn_ident *ret)
{
    uint8_t seed[STN_IDENT_SEED];
    stn_entropy_fill(seed, sizeof seed);
    stn_ident_from_seed(ret, seed);
    sodium_memzero(seed, sizeof seed);
}

void stn_ident_from_seed(struct stn_ident *ret, const uint8_t seed[static STN_IDENT_SEED])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    (void)crypto_sign_seed_keypair(ret->pub, secret, seed);
    memcpy(ret->seed, seed, sizeof ret->seed);
    sodium_memzero(secret, sizeof secret);
}

void stn_ident_fini(struct stn_ident *ident)
{
    if (ident != NULL) {
        sodium_memzero(ident, sizeof *ident);
    }
}

void stn_ident_put(const struct stn_ident *ident, uint8_t dst[static STN_IDENT_FILE])
{
    memcpy(dst, MAGIC, MAGIC_SIZE);
    memcpy(dst + MAGIC_SIZE, ident->seed, STN_IDENT_SEED);
    memcpy(dst + MAGIC_SIZE + STN_IDENT_SEED, ident->pub, STN_IDENT_PUBLIC);
}

enum stn_code stn_ident_get(struct stn_ident *ret, const void *p, size_t size, struct stn_err *err)
{
    const uint8_t *from = p;
    if (size != STN_IDENT_FILE) {
        return stn_err_set(err, STN_CORRUPT, "an identity key has %d bytes, this %zu",
                           STN_IDENT_FILE, size);
    }
    if (memcmp(from, MAGIC, MAGIC_SIZE) != 0) {
        return stn_err_set(err, STN_CORRUPT, "this is no identity key");
    }
    struct stn_ident ident;
    stn_ident_from_seed(&ident, from + MAGIC_SIZE);
    enum stn_code code = STN_OK;
    if (memcmp(ident.pub, from + MAGIC_SIZE + STN_IDENT_SEED, STN_IDENT_PUBLIC) == 0) {
        *ret = ident;
    } else {
        code = stn_err_set(err, STN_CORRUPT,
                           "the two halves of an identity key do not belong together");
    }
    stn_ident_fini(&ident);
    return code;
}

static struct stn_digest labelled(const char *label, const void *p, size_t size)
{
    struct stn_digest_state state;
    stn_digest_init(&state);
    stn_digest_add(&state, label, strlen(label) + 1);
    stn_digest_add(&state, p, size);
    return stn_digest_end(&state);
}

void stn_ident_sign(uint8_t ret_signature[static STN_IDENT_SIGNATURE],
                    const struct stn_ident *ident, const char *label, const void *p, size_t size)
{
    struct stn_digest digest = labelled(label, p, size);
    uint8_t secret[crypto_sign_SECRETKEYBYTES]; /* the library's form is seed || public */
    memcpy(secret, ident->seed, STN_IDENT_SEED);
    memcpy(secret + STN_IDENT_SEED, ident->pub, STN_IDENT_PUBLIC);
    (void)crypto_sign_detached(ret_signature, NULL, digest.bytes, sizeof digest.bytes, secret);
    sodium_memzero(secret, sizeof secret);
}

enum stn_code stn_ident_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                               const uint8_t pub[static STN_IDENT_PUBLIC], const char *label,
                               const void *p, size_t size, struct stn_err *err)
{
    struct stn_digest digest = labelled(label, p, size);
    if (crypto_sign_verify_detached(signature, digest.bytes, sizeof digest.bytes, pub) != 0) {
        return stn_err_set(err, STN_DENIED, "a signature for %s is not by the key %02x%02x%02x%02x",
                           label, pub[0], pub[1], pub[2], pub[3]);
    }
    return STN_OK;
}

void stn_ident_dh_secret(uint8_t ret[static 32], const struct stn_ident *ident)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    memcpy(secret, ident->seed, STN_IDENT_SEED);
    memcpy(secret + STN_IDENT_SEED, ident->pub, STN_IDENT_PUBLIC);
    (void)crypto_sign_ed25519_sk_to_curve25519(ret, secret);
    sodium_memzero(secret, sizeof secret);
}

enum stn_code stn_ident_dh_public(uint8_t ret[static 32],
                                  const uint8_t pub[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    if (crypto_sign_ed25519_pk_to_curve25519(ret, pub) != 0) {
        return stn_err_set(err, STN_INVALID, "%02x%02x%02x%02x is no public key", pub[0], pub[1],
                           pub[2], pub[3]);
    }
    return STN_OK;
}

#define CERT_SIGNED (STN_IDENT_CERT - STN_IDENT_SIGNATURE)

void stn_ident_cert_sign(struct stn_ident_cert *cert, const struct stn_ident *directory)
{
    uint8_t bytes[STN_IDENT_CERT];
    memset(cert->signature, 0, sizeof cert->signature);
    stn_ident_cert_put(cert, bytes);
    stn_ident_sign(cert->signature, directory, ENROL, bytes, CERT_SIGNED);
}

enum stn_code stn_ident_cert_verify(const struct stn_ident_cert *cert,
                                    const uint8_t directory[static STN_IDENT_PUBLIC],
                                    struct stn_err *err)
{
    uint8_t bytes[STN_IDENT_CERT];
    stn_ident_cert_put(cert, bytes);
    return stn_ident_verify(cert->signature, directory, ENROL, bytes, CERT_SIGNED, err);
}

void stn_ident_cert_put(const struct stn_ident_cert *cert, uint8_t dst[static STN_IDENT_CERT])
{
    memcpy(dst, cert->device, sizeof cert->device);
    memcpy(dst + 32, cert->token.bytes, sizeof cert->token.bytes);
    stn_buf_put_u64(dst + 64, cert->issued_at_s);
    memcpy(dst + 72, cert->signature, sizeof cert->signature);
}

void stn_ident_cert_get(struct stn_ident_cert *ret, const uint8_t src[static STN_IDENT_CERT])
{
    memcpy(ret->device, src, sizeof ret->device);
    memcpy(ret->token.bytes, src + 32, sizeof ret->token.bytes);
    ret->issued_at_s = stn_buf_get_u64(src + 64);
    memcpy(ret->signature, src + 72, sizeof ret->signature);
}
