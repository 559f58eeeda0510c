#include "crypto/entropy.h"

#include <sodium.h>

enum stn_code stn_entropy_start(struct stn_err *err)
{
    if (sodium_init() < 0) {
        return stn_err_set(err, STN_IO, "the crypto library finds no source of entropy");
    }
    return STN_OK;
}

void stn_entropy_fill(void *p, size_t size)
{
    randombytes_buf(p, size);
}

void stn_entropy_wipe(void *p, size_t size)
{
    sodium_memzero(p, size);
}
