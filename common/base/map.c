#include "base/map.h"

#include <string.h>

#include "base/mem.h"

uint64_t stn_map_hash(const void *p, size_t size)
{
    const uint8_t *bytes = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ bytes[i]) * 0x100000001b3u;
    }
    return h;
}

/* Where a key stands, or the empty slot where it would; the table is never full. */
static size_t slot_of(const struct stn_map *map, uint64_t hash, const void *key, size_t key_size)
{
    size_t mask = map->n_slots - 1;
    size_t slot = (size_t)(hash ^ hash >> 32) & mask;
    while (map->slots[slot] != 0) {
        const struct stn_map_entry *entry = &map->entries[map->slots[slot] - 1];
        if (entry->hash == hash && entry->key_size == key_size &&
            memcmp(entry->key, key, key_size) == 0) {
            break;
        }
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void index_again(struct stn_map *map)
{
    memset(map->slots, 0, map->n_slots * sizeof *map->slots);
    for (size_t i = 0; i < map->n; i++) {
        const struct stn_map_entry *e = &map->entries[i];
        map->slots[slot_of(map, e->hash, e->key, e->key_size)] = (uint32_t)(i + 1);
    }
}

static bool make_room(struct stn_map *map)
{
    if (map->n < map->room) {
        return true;
    }
    size_t room = map->room == 0 ? 8 : map->room * 2;
    if (room > UINT32_MAX / 4) {
        return false;
    }
    struct stn_map_entry *entries = stn_mem_grow(map->entries, room, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    map->entries = entries;
    uint32_t *slots = stn_mem_new(room * 2, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    stn_mem_free(map->slots);
    map->slots = slots;
    map->n_slots = room * 2;
    map->room = room;
    index_again(map);
    return true;
}

bool stn_map_set(struct stn_map *map, const void *key, size_t key_size, void *value)
{
    if (!make_room(map)) {
        return false;
    }
    uint64_t hash = stn_map_hash(key, key_size);
    size_t slot = slot_of(map, hash, key, key_size);
    if (map->slots[slot] != 0) {
        map->entries[map->slots[slot] - 1].value = value;
        return true;
    }
    void *copy = stn_mem_copy(key, key_size);
    if (copy == NULL) {
        return false;
    }
    map->entries[map->n] =
        (struct stn_map_entry){.key = copy, .key_size = key_size, .value = value, .hash = hash};
    map->slots[slot] = (uint32_t)++map->n;
    return true;
}

void *stn_map_get(const struct stn_map *map, const void *key, size_t key_size)
{
    if (map->n == 0) {
        return NULL;
    }
    size_t slot = slot_of(map, stn_map_hash(key, key_size), key, key_size);
    return map->slots[slot] == 0 ? NULL : map->entries[map->slots[slot] - 1].value;
}

/* Closes the gap behind an emptied slot: every entry of the run moves as near to its home as it can. */
static void close_gap(struct stn_map *map, size_t gap)
{
    size_t mask = map->n_slots - 1;
    for (size_t at = (gap + 1) & mask; map->slots[at] != 0; at = (at + 1) & mask) {
        uint64_t hash = map->entries[map->slots[at] - 1].hash;
        size_t home = (size_t)(hash ^ hash >> 32) & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            map->slots[gap] = map->slots[at];
            map->slots[at] = 0;
            gap = at;
        }
    }
}

void *stn_map_remove(struct stn_map *map, const void *key, size_t key_size)
{
    if (map->n == 0) {
        return NULL;
    }
    size_t slot = slot_of(map, stn_map_hash(key, key_size), key, key_size);
    if (map->slots[slot] == 0) {
        return NULL;
    }
    size_t i = map->slots[slot] - 1;
    void *value = map->entries[i].value;
    stn_mem_free(map->entries[i].key);
    size_t last = map->n - 1;
    if (i != last) {
        const struct stn_map_entry *e = &map->entries[last];
        size_t moved = slot_of(map, e->hash, e->key, e->key_size);
        map->slots[moved] = (uint32_t)(i + 1);
        map->entries[i] = *e;
    }
    map->slots[slot] = 0;
    map->n = last;
    close_gap(map, slot);
    return value;
}

void stn_map_fini(struct stn_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        stn_mem_free(map->entries[i].key);
    }
    stn_mem_free(map->entries);
    stn_mem_free(map->slots);
    *map = (struct stn_map){0};
}
