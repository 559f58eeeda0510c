#include "crypto/dh.h"

#include <sodium.h>

#include "crypto/entropy.h"

void stn_dh_new(uint8_t ret_secret[static STN_DH_SIZE], uint8_t ret_public[static STN_DH_SIZE])
{
    stn_entropy_fill(ret_secret, STN_DH_SIZE);
    stn_dh_public(ret_public, ret_secret);
}

void stn_dh_public(uint8_t ret[static STN_DH_SIZE], const uint8_t secret[static STN_DH_SIZE])
{
    (void)crypto_scalarmult_base(ret, secret);
}

enum stn_code stn_dh_shared(uint8_t ret[static STN_DH_SIZE],
                            const uint8_t secret[static STN_DH_SIZE],
                            const uint8_t theirs[static STN_DH_SIZE], struct stn_err *err)
{
    if (crypto_scalarmult(ret, secret, theirs) != 0 || sodium_is_zero(ret, STN_DH_SIZE)) {
        sodium_memzero(ret, STN_DH_SIZE);
        return stn_err_set(err, STN_DENIED, "a public key of low order");
    }
    return STN_OK;
}
