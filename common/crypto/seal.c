#include "crypto/seal.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/aead.h"

static_assert(STN_SEAL_TAG == STN_AEAD_TAG, "the tag's size");
static_assert(STN_NOISE_KEY == STN_AEAD_KEY, "the key's size");

void stn_seal_init(struct stn_seal *ret, const struct stn_noise_keys *keys)
{
    *ret = (struct stn_seal){0};
    memcpy(ret->send, keys->send, sizeof ret->send);
    memcpy(ret->receive, keys->receive, sizeof ret->receive);
}

void stn_seal_fini(struct stn_seal *seal)
{
    if (seal != NULL) {
        sodium_memzero(seal, sizeof *seal);
    }
}

uint64_t stn_seal_next(const struct stn_seal *seal)
{
    return seal->next;
}

static void nonce_of(uint8_t nonce[static 12], uint64_t counter)
{
    memset(nonce, 0, 4);
    stn_buf_put_u64(nonce + 4, counter);
}

enum stn_code stn_seal_put(struct stn_seal *seal, const void *ad, size_t ad_size, const void *p,
                           size_t size, uint8_t *dst, uint64_t *ret_counter, struct stn_err *err)
{
    if (size > STN_SEAL_RECORD) {
        return stn_err_set(err, STN_LIMIT, "a record of %zu bytes, at most %zu", size,
                           STN_SEAL_RECORD);
    }
    if (seal->next >= STN_SEAL_COUNTERS) {
        return stn_err_set(err, STN_LIMIT, "the session has sealed its last record");
    }
    uint64_t counter = seal->next++; /* spent, whatever comes of the record */
    uint8_t nonce[12];
    nonce_of(nonce, counter);
    stn_aead_seal(dst, p, size, ad, ad_size, nonce, seal->send);
    *ret_counter = counter;
    return STN_OK;
}

/* A counter that the window has not yet seen go through. */
static bool is_fresh(const struct stn_seal *seal, uint64_t counter)
{
    if (counter >= seal->end) {
        return counter < STN_SEAL_COUNTERS;
    }
    uint64_t back = seal->end - 1 - counter;
    return back < STN_SEAL_WINDOW && (seal->opened >> back & 1) == 0;
}

static void mark(struct stn_seal *seal, uint64_t counter)
{
    if (counter >= seal->end) {
        uint64_t ahead = counter + 1 - seal->end;
        seal->opened = ahead < STN_SEAL_WINDOW ? seal->opened << ahead : 0;
        seal->end = counter + 1;
    }
    seal->opened |= (uint32_t)1 << (seal->end - 1 - counter);
}

enum stn_code stn_seal_open_awaited(const struct stn_seal *seal, uint64_t counter, const void *ad,
                                    size_t ad_size, const void *p, size_t size, uint8_t *dst,
                                    struct stn_err *err)
{
    if (size < STN_SEAL_TAG || size > STN_SEAL_RECORD + STN_SEAL_TAG) {
        return stn_err_set(err, STN_CORRUPT, "a sealed record of %zu bytes, not %d to %zu", size,
                           STN_SEAL_TAG, STN_SEAL_RECORD + STN_SEAL_TAG);
    }
    uint8_t nonce[12];
    nonce_of(nonce, counter);
    if (!stn_aead_open(dst, p, size, ad, ad_size, nonce, seal->receive)) {
        return stn_err_set(err, STN_DENIED, "record %llu does not verify",
                           (unsigned long long)counter);
    }
    return STN_OK;
}

enum stn_code stn_seal_open(struct stn_seal *seal, uint64_t counter, const void *ad, size_t ad_size,
                            const void *p, size_t size, uint8_t *dst, struct stn_err *err)
{
    if (!is_fresh(seal, counter)) {
        return stn_err_set(
            err, STN_DENIED, "record %llu came again or too late: %llu is the newest",
            (unsigned long long)counter, (unsigned long long)(seal->end == 0 ? 0 : seal->end - 1));
    }
    enum stn_code code = stn_seal_open_awaited(seal, counter, ad, ad_size, p, size, dst, err);
    if (code == STN_OK) {
        mark(seal, counter);
    }
    return code;
}
