#include "crypto/shamir.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"

#define P STN_SHAMIR_PRIME
#define LIMBS STN_SHAMIR_LIMBS

__extension__ typedef unsigned __int128 wide;

static const unsigned limb_bits[LIMBS] = {60, 60, 60, 60, 16};

/* x - p where x is at least p; x is below 2 p. No branch. */
static uint64_t reduce_once(uint64_t x)
{
    uint64_t less = x - P;
    uint64_t borrowed = 0 - (less >> 63); /* all ones when x was below p */
    return less + (P & borrowed);
}

/* 2^61 is 1: the high part comes down and is added. x is below 2^122 + 2^61. */
static uint64_t reduce(wide x)
{
    uint64_t low = (uint64_t)x & P, high = (uint64_t)(x >> 61);
    uint64_t sum = low + (high & P) + (high >> 61);
    return reduce_once((sum & P) + (sum >> 61));
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return reduce((wide)a * b);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return reduce_once(a + P - b);
}

/* a^(p - 2) (Fermat): the exponent is 2^61 - 3, public. */
static uint64_t inverse(uint64_t a)
{
    uint64_t ret = 1;
    for (int bit = 60; bit >= 0; bit--) {
        ret = times(ret, ret);
        if (((P - 2) >> bit & 1) != 0) {
            ret = times(ret, a);
        }
    }
    return ret;
}

void stn_shamir_draw(stn_shamir_coefficients *ret, size_t n, struct stn_stream *stream)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) {
        for (int limb = 0; limb < LIMBS; limb++) {
            do { /* again with a chance of 2^-61: what was drawn then is thrown away */
                stn_stream_bytes(stream, bytes, sizeof bytes);
                ret[i][limb] = stn_buf_get_u64(bytes) & P;
            } while (ret[i][limb] == P);
        }
    }
    sodium_memzero(bytes, sizeof bytes);
}

static void cut(uint64_t limbs[static LIMBS], const uint8_t secret[static STN_SHAMIR_SECRET])
{
    uint64_t words[5] = {0};
    for (int i = 0; i < 4; i++) {
        words[i] = stn_buf_get_u64(secret + 8 * i);
    }
    unsigned at = 0;
    for (int i = 0; i < LIMBS; at += limb_bits[i], i++) {
        wide pair = (wide)words[at / 64 + 1] << 64 | words[at / 64];
        limbs[i] = (uint64_t)(pair >> at % 64) & (((uint64_t)1 << limb_bits[i]) - 1);
    }
    sodium_memzero(words, sizeof words);
}

void stn_shamir_deal(struct stn_shamir_share *ret, const uint8_t secret[static STN_SHAMIR_SECRET],
                     const stn_shamir_coefficients *coefficients, size_t n, uint32_t x)
{
    assert(x > 0 && x <= STN_SHAMIR_X);
    uint64_t limbs[LIMBS], y[LIMBS] = {0};
    cut(limbs, secret);
    for (size_t i = n; i > 0; i--) { /* Horner, all limbs side by side */
        for (int limb = 0; limb < LIMBS; limb++) {
            y[limb] = reduce((wide)(y[limb] + coefficients[i - 1][limb]) * x);
        }
    }
    for (int limb = 0; limb < LIMBS; limb++) {
        ret->limbs[limb] = reduce_once(y[limb] + limbs[limb]);
    }
    sodium_memzero(limbs, sizeof limbs);
    sodium_memzero(y, sizeof y);
}

/* w_i = prod over j != i of (at - x_j) / (x_i - x_j): the numerator is the product over all j, with
 * (at - x_i) among the denominators, whose inverses all come from one (Montgomery's trick). */
void stn_shamir_weigh(uint64_t *ret_weights, const uint32_t *xs, size_t t, uint32_t at)
{
    assert(t <= STN_SHAMIR_THRESHOLD);
    uint64_t below[STN_SHAMIR_THRESHOLD], product = 1, whole = 1;
    for (size_t i = 0; i < t; i++) {
        assert(xs[i] <= STN_SHAMIR_X && xs[i] != at);
        below[i] = minus(at, xs[i]);
        whole = times(whole, below[i]);
        for (size_t j = 0; j < t; j++) {
            assert(j == i || xs[i] != xs[j]);
            below[i] = times(below[i], j == i ? 1 : minus(xs[i], xs[j]));
        }
        ret_weights[i] = product; /* of those before it */
        product = times(product, below[i]);
    }
    uint64_t rest = inverse(product); /* of those up to i */
    for (size_t i = t; i-- > 0;) {
        ret_weights[i] = times(whole, times(ret_weights[i], rest));
        rest = times(rest, below[i]);
    }
}

void stn_shamir_combine(struct stn_shamir_share *ret, const uint64_t *weights,
                        const struct stn_shamir_share *shares, size_t t)
{
    struct stn_shamir_share sum = {{0}};
    for (size_t i = 0; i < t; i++) {
        for (int limb = 0; limb < LIMBS; limb++) {
            assert(shares[i].limbs[limb] < P);
            sum.limbs[limb] = reduce((wide)weights[i] * shares[i].limbs[limb] + sum.limbs[limb]);
        }
    }
    *ret = sum;
    sodium_memzero(&sum, sizeof sum);
}

enum stn_code stn_shamir_join(uint8_t ret[static STN_SHAMIR_SECRET], const uint64_t *weights,
                              const struct stn_shamir_share *shares, size_t t, struct stn_err *err)
{
    struct stn_shamir_share limbs;
    uint64_t words[5] = {0}, too_long = 0;
    unsigned at = 0;
    stn_shamir_combine(&limbs, weights, shares, t);
    for (int i = 0; i < LIMBS; at += limb_bits[i], i++) {
        too_long |= limbs.limbs[i] >> limb_bits[i];
        wide pair = (wide)limbs.limbs[i] << at % 64;
        words[at / 64] |= (uint64_t)pair;
        words[at / 64 + 1] |= (uint64_t)(pair >> 64);
    }
    for (int i = 0; i < 4; i++) {
        stn_buf_put_u64(ret + 8 * i, words[i]);
    }
    sodium_memzero(&limbs, sizeof limbs);
    sodium_memzero(words, sizeof words);
    if (too_long != 0) {
        sodium_memzero(ret, STN_SHAMIR_SECRET);
        return stn_err_set(err, STN_CORRUPT, "%zu shares that are of no secret", t);
    }
    return STN_OK;
}

void stn_shamir_put(const struct stn_shamir_share *share, uint8_t dst[static STN_SHAMIR_BYTES])
{
    for (int i = 0; i < LIMBS; i++) {
        stn_buf_put_u64(dst + 8 * i, share->limbs[i]);
    }
}

enum stn_code stn_shamir_get(struct stn_shamir_share *ret,
                             const uint8_t src[static STN_SHAMIR_BYTES], struct stn_err *err)
{
    for (int i = 0; i < LIMBS; i++) {
        ret->limbs[i] = stn_buf_get_u64(src + 8 * i);
        if (ret->limbs[i] >= P) {
            sodium_memzero(ret, sizeof *ret);
            return stn_err_set(err, STN_CORRUPT, "a share's limb %d is no number of the field", i);
        }
    }
    return STN_OK;
}
