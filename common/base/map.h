/* map: from byte strings to pointers. Keys are copied, values are borrowed. Iteration is in the order of
 * insertion (a removal moves the last entry to the gap), so that what is built from it is the same in every run.
 * Thread: one at a time. */
#ifndef STN_BASE_MAP_H
#define STN_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stn_map_entry {
    void *key;
    size_t key_size;
    void *value;
    uint64_t hash;
};

/* Zeroed is empty and ready. */
struct stn_map {
    struct stn_map_entry *entries; /* n of them, dense: iterate over these */
    size_t n;
    size_t room;
    uint32_t *slots; /* entry number + 1, or 0; n_slots is a power of two */
    size_t n_slots;
};

/* Sets or replaces. False when there is no memory; the map is then as it was. */
bool stn_map_set(struct stn_map *map, const void *key, size_t key_size, void *value);
/* The value, or NULL. */
void *stn_map_get(const struct stn_map *map, const void *key, size_t key_size);
/* The value that was there, or NULL. */
void *stn_map_remove(struct stn_map *map, const void *key, size_t key_size);
void stn_map_fini(struct stn_map *map);

/* FNV-1a, 64 bits: a hash for tables and seeds, not against adversaries. */
uint64_t stn_map_hash(const void *p, size_t size);

#endif
