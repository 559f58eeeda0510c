/* key: bytes put together to look something up by in a map. Thread: values. */
#ifndef STN_CLIENT_SIMULATE_KEY_H
#define STN_CLIENT_SIMULATE_KEY_H

#include <stddef.h>
#include <stdint.h>

struct stn_round_id;
struct stn_id;

struct stn_key {
    uint8_t bytes[160];
    size_t size;
};

void stn_key_add(struct stn_key *key, const void *p, size_t size);
/* Of a device in a round. */
struct stn_key stn_key_of(const struct stn_round_id *round, const struct stn_id *device);

#endif
