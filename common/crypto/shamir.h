/* shamir: a secret of 32 bytes cut into shares, any t of which give it back and any t - 1 say
 * nothing. Source: Shamir, "How to share a secret", 1979.
 *
 * Over the field of p = 2^61 - 1. The secret, little endian, is limbs of 60, 60, 60, 60 and 16
 * bits; limb i is the constant of a polynomial of degree t - 1, and the share at x is the five
 * values there. x is 1 to STN_SHAMIR_X. Time and memory accesses depend on t, x and how many shares
 * there are, and on no secret, coefficient or share. Nothing allocates. Thread: any. */
#ifndef STN_CRYPTO_SHAMIR_H
#define STN_CRYPTO_SHAMIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/stream.h"

#define STN_SHAMIR_SECRET 32
#define STN_SHAMIR_LIMBS 5
#define STN_SHAMIR_PRIME (((uint64_t)1 << 61) - 1)
#define STN_SHAMIR_X 65535
#define STN_SHAMIR_THRESHOLD 1024 /* most shares that a secret takes */
#define STN_SHAMIR_BYTES 40       /* a share where it travels: the five numbers, little endian */

struct stn_shamir_share {
    uint64_t limbs[STN_SHAMIR_LIMBS]; /* each below p */
};

/* The t - 1 coefficients of x, x^2, ... for each limb; they are as secret as the secret. */
typedef uint64_t stn_shamir_coefficients[STN_SHAMIR_LIMBS];

/* n coefficients, uniform below p, from a stream of secret key. */
void stn_shamir_draw(stn_shamir_coefficients *ret, size_t n, struct stn_stream *stream);

/* The share at x, of a threshold of n + 1. */
void stn_shamir_deal(struct stn_shamir_share *ret, const uint8_t secret[static STN_SHAMIR_SECRET],
                     const stn_shamir_coefficients *coefficients, size_t n, uint32_t x);

/* Lagrange's weights of the t different points xs for the value at `at`, 0 being the secret; they
 * serve every secret shared at these points. at is none of xs. Takes t^2 products and one inverse.
 */
void stn_shamir_weigh(uint64_t *ret_weights, const uint32_t *xs, size_t t, uint32_t at);

/* The sum of weights and shares: the share at `at`, or at 0 the limbs of the secret. */
void stn_shamir_combine(struct stn_shamir_share *ret, const uint64_t *weights,
                        const struct stn_shamir_share *shares, size_t t);

/* The secret of t shares under the weights for 0. STN_CORRUPT, and zeroes, when a limb is too long,
 * so that these shares are of no secret; that it is the secret meant, only a commitment says. */
enum stn_code stn_shamir_join(uint8_t ret[static STN_SHAMIR_SECRET], const uint64_t *weights,
                              const struct stn_shamir_share *shares, size_t t,
                              struct stn_err *err) STN_CHECKED;

/* As bytes. get gives STN_CORRUPT for a number that is not below p. */
void stn_shamir_put(const struct stn_shamir_share *share, uint8_t dst[static STN_SHAMIR_BYTES]);
enum stn_code stn_shamir_get(struct stn_shamir_share *ret,
                             const uint8_t src[static STN_SHAMIR_BYTES],
                             struct stn_err *err) STN_CHECKED;

#endif
