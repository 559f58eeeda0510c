#include "crypto/noise.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/aead.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"

#define KEY STN_NOISE_KEY
#define HASH STN_NOISE_HASH
#define BLOCK 128 /* of BLAKE2b, for HMAC */
#define TAG STN_AEAD_TAG

static const char *const names[] = {
    [STN_NOISE_IK] = "Noise_IK_25519_ChaChaPoly_BLAKE2b",
    [STN_NOISE_IKPSK2] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b",
};

/* HMAC-BLAKE2b-512 (RFC 2104) of a || b. */
static void hmac(uint8_t ret[static HASH], const uint8_t key[static HASH], const void *a,
                 size_t a_size, const void *b, size_t b_size)
{
    crypto_generichash_state state;
    uint8_t pad[BLOCK], inner[HASH];
    memset(pad, 0x36, sizeof pad);
    for (size_t i = 0; i < HASH; i++) {
        pad[i] ^= key[i];
    }
    (void)crypto_generichash_init(&state, NULL, 0, HASH);
    (void)crypto_generichash_update(&state, pad, sizeof pad);
    (void)crypto_generichash_update(&state, a, a_size);
    (void)crypto_generichash_update(&state, b, b_size);
    (void)crypto_generichash_final(&state, inner, sizeof inner);
    for (size_t i = 0; i < BLOCK; i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    (void)crypto_generichash_init(&state, NULL, 0, HASH);
    (void)crypto_generichash_update(&state, pad, sizeof pad);
    (void)crypto_generichash_update(&state, inner, sizeof inner);
    (void)crypto_generichash_final(&state, ret, HASH);
    sodium_memzero(&state, sizeof state);
    sodium_memzero(pad, sizeof pad);
    sodium_memzero(inner, sizeof inner);
}

/* Section 4.3: n outputs, 2 or 3, of HKDF(chaining key, input). */
static void hkdf(uint8_t ret[static 3 * HASH], const uint8_t chain[static HASH], const void *input,
                 size_t size, size_t n)
{
    uint8_t temp[HASH];
    hmac(temp, chain, input, size, NULL, 0);
    for (size_t i = 0; i < n; i++) {
        uint8_t number = (uint8_t)(i + 1);
        hmac(ret + i * HASH, temp, i == 0 ? NULL : ret + (i - 1) * HASH, i == 0 ? 0 : HASH, &number,
             1);
    }
    sodium_memzero(temp, sizeof temp);
}

static void mix_hash(struct stn_noise *noise, const void *p, size_t size)
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, NULL, 0, HASH);
    (void)crypto_generichash_update(&state, noise->hash, HASH);
    (void)crypto_generichash_update(&state, p, size);
    (void)crypto_generichash_final(&state, noise->hash, HASH);
}

static void mix_key(struct stn_noise *noise, const uint8_t input[static KEY])
{
    uint8_t out[3 * HASH];
    hkdf(out, noise->chain, input, KEY, 2);
    memcpy(noise->chain, out, HASH);
    memcpy(noise->key, out + HASH, KEY);
    noise->counter = 0;
    sodium_memzero(out, sizeof out);
}

static void mix_key_and_hash(struct stn_noise *noise, const uint8_t input[static KEY])
{
    uint8_t out[3 * HASH];
    hkdf(out, noise->chain, input, KEY, 3);
    memcpy(noise->chain, out, HASH);
    mix_hash(noise, out + HASH, HASH);
    memcpy(noise->key, out + 2 * HASH, KEY);
    noise->counter = 0;
    sodium_memzero(out, sizeof out);
}

static enum stn_code mix_dh(struct stn_noise *noise, const uint8_t secret[static KEY],
                            const uint8_t theirs[static KEY], struct stn_err *err)
{
    uint8_t shared[KEY];
    enum stn_code code = stn_dh_shared(shared, secret, theirs, err);
    if (code == STN_OK) {
        mix_key(noise, shared);
    }
    sodium_memzero(shared, sizeof shared);
    return code;
}

/* The token "e": in psk handshakes an ephemeral key is mixed into the key too (section 9.2). */
static void mix_ephemeral(struct stn_noise *noise, const uint8_t pub[static KEY])
{
    mix_hash(noise, pub, KEY);
    if (noise->pattern == STN_NOISE_IKPSK2) {
        mix_key(noise, pub);
    }
}

static void nonce_of(uint8_t nonce[static 12], uint64_t counter)
{
    memset(nonce, 0, 4);
    stn_buf_put_u64(nonce + 4, counter);
}

/* Section 5.2, EncryptAndHash: every one of ours has a key. dst gets size + TAG bytes. */
static void seal(struct stn_noise *noise, uint8_t *dst, const void *p, size_t size)
{
    uint8_t nonce[12];
    nonce_of(nonce, noise->counter++);
    stn_aead_seal(dst, p, size, noise->hash, HASH, nonce, noise->key);
    mix_hash(noise, dst, size + TAG);
}

/* DecryptAndHash: dst gets size - TAG bytes, all zero when the tag is wrong. */
static enum stn_code unseal(struct stn_noise *noise, uint8_t *dst, const uint8_t *p, size_t size,
                            struct stn_err *err)
{
    uint8_t nonce[12];
    nonce_of(nonce, noise->counter++);
    if (!stn_aead_open(dst, p, size, noise->hash, HASH, nonce, noise->key)) {
        sodium_memzero(dst, size - TAG);
        return stn_err_set(err, STN_DENIED, "a handshake message does not verify");
    }
    mix_hash(noise, p, size);
    return STN_OK;
}

static void start(struct stn_noise *noise, enum stn_noise_pattern pattern,
                  const uint8_t secret[static KEY], const void *prologue, size_t size)
{
    *noise = (struct stn_noise){.pattern = pattern};
    size_t name_size = strlen(names[pattern]);
    static_assert(sizeof "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b" - 1 <= HASH,
                  "a name of at most the hash's size is padded, not hashed");
    memcpy(noise->hash, names[pattern], name_size);
    memcpy(noise->chain, noise->hash, HASH);
    mix_hash(noise, prologue, size);
    memcpy(noise->secret, secret, KEY);
    stn_dh_public(noise->pub, secret);
}

void stn_noise_initiate(struct stn_noise *ret, enum stn_noise_pattern pattern,
                        const uint8_t secret[static KEY], const uint8_t theirs[static KEY],
                        const void *prologue, size_t size)
{
    start(ret, pattern, secret, prologue, size);
    memcpy(ret->theirs, theirs, KEY);
    mix_hash(ret, theirs, KEY);
    ret->is_initiator = true;
    ret->stage = STN_NOISE_WRITE_1;
}

void stn_noise_respond(struct stn_noise *ret, enum stn_noise_pattern pattern,
                       const uint8_t secret[static KEY], const void *prologue, size_t size)
{
    start(ret, pattern, secret, prologue, size);
    mix_hash(ret, ret->pub, KEY);
    ret->stage = STN_NOISE_READ_1;
}

void stn_noise_set_psk(struct stn_noise *noise, const uint8_t psk[static KEY])
{
    assert(noise->pattern == STN_NOISE_IKPSK2);
    assert(noise->stage != STN_NOISE_OVER && noise->stage != STN_NOISE_DONE);
    memcpy(noise->psk, psk, KEY);
    noise->has_psk = true;
}

void stn_noise_set_ephemeral(struct stn_noise *noise, const uint8_t secret[static KEY])
{
    assert(noise->stage != STN_NOISE_OVER && noise->stage != STN_NOISE_DONE &&
           noise->stage != STN_NOISE_READ_2);
    memcpy(noise->ephemeral, secret, KEY);
    noise->has_ephemeral = true;
}

static void put_ephemeral(struct stn_noise *noise, uint8_t *dst)
{
    if (!noise->has_ephemeral) {
        stn_entropy_fill(noise->ephemeral, KEY);
    }
    stn_dh_public(noise->ephemeral_pub, noise->ephemeral);
    memcpy(dst, noise->ephemeral_pub, KEY);
    mix_ephemeral(noise, noise->ephemeral_pub);
}

/* -> e, es, s, ss */
static enum stn_code write_1(struct stn_noise *noise, uint8_t *dst, struct stn_err *err)
{
    put_ephemeral(noise, dst);
    enum stn_code code = mix_dh(noise, noise->ephemeral, noise->theirs, err);
    if (code == STN_OK) {
        seal(noise, dst + KEY, noise->pub, KEY);
        code = mix_dh(noise, noise->secret, noise->theirs, err);
    }
    return code;
}

static enum stn_code read_1(struct stn_noise *noise, const uint8_t *p, struct stn_err *err)
{
    memcpy(noise->theirs_ephemeral, p, KEY);
    mix_ephemeral(noise, noise->theirs_ephemeral);
    enum stn_code code = mix_dh(noise, noise->secret, noise->theirs_ephemeral, err);
    if (code == STN_OK) {
        code = unseal(noise, noise->theirs, p + KEY, KEY + TAG, err);
    }
    if (code == STN_OK) {
        code = mix_dh(noise, noise->secret, noise->theirs, err);
    }
    return code;
}

/* <- e, ee, se, psk: the two sides' halves of each product. */
static enum stn_code write_2(struct stn_noise *noise, uint8_t *dst, struct stn_err *err)
{
    put_ephemeral(noise, dst);
    enum stn_code code = mix_dh(noise, noise->ephemeral, noise->theirs_ephemeral, err);
    if (code == STN_OK) {
        code = mix_dh(noise, noise->ephemeral, noise->theirs, err);
    }
    if (code == STN_OK && noise->pattern == STN_NOISE_IKPSK2) {
        mix_key_and_hash(noise, noise->psk);
    }
    return code;
}

static enum stn_code read_2(struct stn_noise *noise, const uint8_t *p, struct stn_err *err)
{
    memcpy(noise->theirs_ephemeral, p, KEY);
    mix_ephemeral(noise, noise->theirs_ephemeral);
    enum stn_code code = mix_dh(noise, noise->ephemeral, noise->theirs_ephemeral, err);
    if (code == STN_OK) {
        code = mix_dh(noise, noise->secret, noise->theirs_ephemeral, err);
    }
    if (code == STN_OK && noise->pattern == STN_NOISE_IKPSK2) {
        mix_key_and_hash(noise, noise->psk);
    }
    return code;
}

enum stn_code stn_noise_write(struct stn_noise *noise, const void *payload, size_t size,
                              uint8_t *dst, size_t *ret_size, struct stn_err *err)
{
    bool first = noise->stage == STN_NOISE_WRITE_1;
    assert(first || noise->stage == STN_NOISE_WRITE_2);
    assert(first || noise->pattern == STN_NOISE_IK || noise->has_psk);
    size_t overhead = first ? STN_NOISE_OVERHEAD_1 : STN_NOISE_OVERHEAD_2;
    enum stn_code code;
    if (size > STN_NOISE_MESSAGE - overhead) {
        code = stn_err_set(err, STN_LIMIT, "a handshake payload of %zu bytes, at most %zu", size,
                           STN_NOISE_MESSAGE - overhead);
    } else {
        code = first ? write_1(noise, dst, err) : write_2(noise, dst, err);
    }
    if (code != STN_OK) {
        stn_noise_fini(noise);
        return code;
    }
    seal(noise, dst + overhead - TAG, payload, size);
    noise->stage = first ? STN_NOISE_READ_2 : STN_NOISE_DONE;
    *ret_size = size + overhead;
    return STN_OK;
}

enum stn_code stn_noise_read(struct stn_noise *noise, const void *message, size_t size,
                             uint8_t *payload, size_t *ret_size, struct stn_err *err)
{
    bool first = noise->stage == STN_NOISE_READ_1;
    assert(first || noise->stage == STN_NOISE_READ_2);
    assert(first || noise->pattern == STN_NOISE_IK || noise->has_psk);
    size_t overhead = first ? STN_NOISE_OVERHEAD_1 : STN_NOISE_OVERHEAD_2;
    const uint8_t *p = message;
    enum stn_code code;
    if (size < overhead || size > STN_NOISE_MESSAGE) {
        code = stn_err_set(err, STN_CORRUPT, "a handshake message of %zu bytes, not %zu to %d",
                           size, overhead, STN_NOISE_MESSAGE);
    } else {
        code = first ? read_1(noise, p, err) : read_2(noise, p, err);
    }
    if (code == STN_OK) {
        code = unseal(noise, payload, p + overhead - TAG, size - overhead + TAG, err);
    }
    if (code != STN_OK) {
        stn_noise_fini(noise);
        return code;
    }
    noise->stage = first ? STN_NOISE_WRITE_2 : STN_NOISE_DONE;
    *ret_size = size - overhead;
    return STN_OK;
}

/* The first key is the initiator's to send with. */
void stn_noise_split(struct stn_noise *noise, struct stn_noise_keys *ret)
{
    assert(noise->stage == STN_NOISE_DONE);
    uint8_t out[3 * HASH], theirs[KEY];
    hkdf(out, noise->chain, NULL, 0, 2);
    memcpy(noise->is_initiator ? ret->send : ret->receive, out, KEY);
    memcpy(noise->is_initiator ? ret->receive : ret->send, out + HASH, KEY);
    memcpy(ret->hash, noise->hash, HASH);
    memcpy(theirs, noise->theirs, KEY);
    stn_noise_fini(noise);
    memcpy(noise->theirs, theirs, KEY);
    sodium_memzero(out, sizeof out);
}

void stn_noise_fini(struct stn_noise *noise)
{
    if (noise != NULL) {
        sodium_memzero(noise, sizeof *noise);
    }
}

void stn_noise_keys_fini(struct stn_noise_keys *keys)
{
    if (keys != NULL) {
        sodium_memzero(keys, sizeof *keys);
    }
}
