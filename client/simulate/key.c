#include "client/simulate/key.h"

#include <assert.h>
#include <string.h>

#include "proto/msg.h"

void stn_key_add(struct stn_key *key, const void *p, size_t size)
{
    assert(size <= sizeof key->bytes - key->size);
    memcpy(key->bytes + key->size, p, size);
    key->size += size;
}

struct stn_key stn_key_of(const struct stn_round_id *round, const struct stn_id *device)
{
    struct stn_key key = {.size = 0};
    stn_key_add(&key, round, sizeof *round);
    stn_key_add(&key, device, sizeof *device);
    return key;
}
