/* dh: X25519 (RFC 7748), for Noise and for the round keys of SA1. A secret is 32 bytes of entropy,
 * clamped by the multiplication itself. Thread: any. */
#ifndef STN_CRYPTO_DH_H
#define STN_CRYPTO_DH_H

#include <stdint.h>

#include "base/err.h"

#define STN_DH_SIZE 32

void stn_dh_new(uint8_t ret_secret[static STN_DH_SIZE], uint8_t ret_public[static STN_DH_SIZE]);
void stn_dh_public(uint8_t ret[static STN_DH_SIZE], const uint8_t secret[static STN_DH_SIZE]);

/* The shared point, to be hashed before use and wiped after. STN_DENIED, and zeroes in ret, when it
 * is zero: their key is of low order. */
enum stn_code stn_dh_shared(uint8_t ret[static STN_DH_SIZE],
                            const uint8_t secret[static STN_DH_SIZE],
                            const uint8_t theirs[static STN_DH_SIZE],
                            struct stn_err *err) STN_CHECKED;

#endif
