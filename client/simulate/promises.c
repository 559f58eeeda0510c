#include "client/simulate/promises.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/simulate/key.h"

struct deltas { /* one round's */
    uint32_t n, room;
    struct delta {
        struct stn_id device;
        uint64_t lease;
    } * items;
};

struct round {
    struct deltas sum,
        candidate; /* what is in the accumulator, and what was in it when it was merged */
    char task[STN_MSG_NAME];
    bool was_merged, is_released, is_void;
};

static struct stn_key key_of_delta(const char *task, const struct delta *delta)
{
    struct stn_key key = {.size = 0};
    stn_key_add(&key, task, strlen(task));
    stn_key_add(&key, &delta->device, sizeof delta->device);
    stn_key_add(&key, &delta->lease, sizeof delta->lease);
    return key;
}

static void set(struct stn_map *map, const struct stn_key *key, void *value)
{
    if (!stn_map_set(map, key->bytes, key->size, value)) {
        abort();
    }
}

static void *get(const struct stn_map *map, const struct stn_key *key)
{
    return stn_map_get(map, key->bytes, key->size);
}

/* Numbers as values of a map: 0 is NULL, which is none. */
static void *from_number(uint64_t number)
{
    return (void *)(uintptr_t)(number + 1);
}

static uint64_t to_number(const void *value)
{
    return (uint64_t)(uintptr_t)value - 1;
}

STN_PRINTF(3, 4)
static void promise(struct stn_promises *promises, bool is_kept, const char *format, ...)
{
    promises->n_checks++;
    if (is_kept || promises->is_broken) {
        return;
    }
    promises->is_broken = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(promises->text, sizeof promises->text, format, args);
    va_end(args);
}

static struct round *round_of(struct stn_promises *promises, const struct stn_round_id *id)
{
    struct round *round = stn_map_get(&promises->rounds, id, sizeof *id);
    if (round == NULL) {
        round = stn_mem_new(1, sizeof *round);
        if (round == NULL || !stn_map_set(&promises->rounds, id, sizeof *id, round)) {
            abort();
        }
    }
    return round;
}

static bool has(const struct deltas *deltas, const struct stn_id *device)
{
    for (uint32_t i = 0; i < deltas->n; i++) {
        if (memcmp(&deltas->items[i].device, device, sizeof *device) == 0) {
            return true;
        }
    }
    return false;
}

static void append(struct deltas *deltas, const struct delta *delta)
{
    if (deltas->n == deltas->room) {
        uint32_t room = deltas->room == 0 ? 8 : deltas->room * 2;
        deltas->items = stn_mem_grow(deltas->items, room, sizeof *deltas->items);
        if (deltas->items == NULL) {
            abort();
        }
        deltas->room = room;
    }
    deltas->items[deltas->n++] = *delta;
}

void stn_promises_add(struct stn_promises *promises, const struct stn_server_upload *upload)
{
    struct round *round = round_of(promises, &upload->round);
    struct stn_key key = stn_key_of(&upload->round, &upload->device);
    const void *lease = get(&promises->leases, &key);
    promise(promises, lease != NULL, "device %u is added and not on disk as uploaded",
            upload->device.bytes[0]);
    promise(promises, !has(&round->sum, &upload->device), "device %u is counted twice in one round",
            upload->device.bytes[0]);
    promise(promises, !round->is_released && !round->is_void,
            "device %u is added to a round that is over", upload->device.bytes[0]);
    struct delta delta = {.device = upload->device, .lease = to_number(lease)};
    append(&round->sum, &delta);
    struct stn_key in = key_of_delta(round->task, &delta);
    const struct round *before = get(&promises->summed, &in);
    promise(promises, before == NULL || before == round, "device %u, lease %llu is in two sums",
            upload->device.bytes[0], (unsigned long long)delta.lease);
    set(&promises->summed, &in, round);
}

void stn_promises_lose(struct stn_promises *promises)
{
    for (size_t i = 0; i < promises->rounds.n; i++) {
        struct round *round = promises->rounds.entries[i].value;
        round->sum.n = 0;
    }
}

void stn_promises_merge(struct stn_promises *promises, const struct stn_server_effect *merge)
{
    struct round *round = round_of(promises, &merge->merge.round);
    promise(promises, round->sum.n == merge->merge.n_included,
            "%u deltas are merged, %u are counted", (unsigned)round->sum.n,
            (unsigned)merge->merge.n_included);
    promise(promises, round->sum.n >= merge->merge.config.n_min,
            "a version is made of %u devices, not %u", (unsigned)round->sum.n,
            (unsigned)merge->merge.config.n_min);
    if (round->was_merged) {
        bool is_same = round->sum.n == round->candidate.n;
        for (uint32_t i = 0; i < round->sum.n; i++) {
            is_same = is_same && has(&round->candidate, &round->sum.items[i].device);
        }
        promise(promises, is_same, "a merge made again is of other devices");
    }
    round->was_merged = true;
    round->candidate.n = 0;
    for (uint32_t i = 0; i < round->sum.n; i++) {
        append(&round->candidate, &round->sum.items[i]);
    }
}

static void released(struct stn_promises *promises, const struct stn_version_record *record)
{
    struct stn_key task = {.size = 0};
    stn_key_add(&task, record->task, strlen(record->task));
    const void *before = get(&promises->versions, &task);
    promise(promises,
            before == NULL ? record->version == 0 : record->version == to_number(before) + 1,
            "version %llu does not follow", (unsigned long long)record->version);
    set(&promises->versions, &task, from_number(record->version));
    if (record->version == 0) {
        return;
    }
    struct round *round = round_of(promises, &record->round);
    round->is_released = true;
    for (uint32_t i = 0; i < round->candidate.n; i++) {
        const struct delta *delta = &round->candidate.items[i];
        struct stn_key key = key_of_delta(record->task, delta);
        promise(promises, get(&promises->merged, &key) == NULL,
                "device %u, lease %llu is in two versions", delta->device.bytes[0],
                (unsigned long long)delta->lease);
        set(&promises->merged, &key, from_number(record->version));
    }
}

void stn_promises_committed(struct stn_promises *promises, const struct stn_record *record)
{
    if (record->type == STN_RECORD_VERSION) {
        released(promises, &record->version);
    } else if (record->type == STN_RECORD_MEMBER && record->member.state == STN_MEMBER_UPLOADED) {
        struct stn_key key = stn_key_of(&record->member.round, &record->member.device);
        set(&promises->leases, &key, from_number(record->member.lease));
    } else if (record->type == STN_RECORD_ROUND) {
        struct round *round = round_of(promises, &record->round.round);
        (void)stn_str_copy(round->task, sizeof round->task, record->round.task);
        round->is_void = round->is_void || record->round.state == STN_ROUND_VOID;
    }
}

void stn_promises_acknowledged(struct stn_promises *promises, const struct stn_id *device,
                               const struct stn_round_id *round)
{
    struct stn_key key = stn_key_of(round, device);
    promise(promises, get(&promises->leases, &key) != NULL,
            "device %u was told that it counts before it did", device->bytes[0]);
    set(&promises->accepted, &key, promises);
}

void stn_promises_installed(struct stn_promises *promises, const struct stn_id *device,
                            const char *task, uint64_t version)
{
    struct stn_key key = {.size = 0};
    stn_key_add(&key, device, sizeof *device);
    stn_key_add(&key, task, strlen(task));
    const void *before = get(&promises->installed, &key);
    /* the same again after a crash between the file and the record */
    promise(promises, before == NULL || version >= to_number(before),
            "device %u goes back from %llu to %llu", device->bytes[0],
            (unsigned long long)to_number(before), (unsigned long long)version);
    set(&promises->installed, &key, from_number(version));
}

void stn_promises_end(struct stn_promises *promises)
{
    for (size_t i = 0; i < promises->accepted.n; i++) {
        struct stn_round_id id;
        struct stn_id device;
        memcpy(&id, promises->accepted.entries[i].key, sizeof id);
        memcpy(&device, (const uint8_t *)promises->accepted.entries[i].key + sizeof id,
               sizeof device);
        const struct round *round = round_of(promises, &id);
        promise(promises, round->is_void != round->is_released,
                "device %u waits for a round that never ended", device.bytes[0]);
        promise(promises, round->is_void || has(&round->candidate, &device),
                "device %u was told that it counts and is in no version", device.bytes[0]);
    }
}

void stn_promises_fini(struct stn_promises *promises)
{
    for (size_t i = 0; i < promises->rounds.n; i++) {
        struct round *round = promises->rounds.entries[i].value;
        stn_mem_free(round->sum.items);
        stn_mem_free(round->candidate.items);
        stn_mem_free(round);
    }
    stn_map_fini(&promises->leases);
    stn_map_fini(&promises->rounds);
    stn_map_fini(&promises->summed);
    stn_map_fini(&promises->merged);
    stn_map_fini(&promises->installed);
    stn_map_fini(&promises->versions);
    stn_map_fini(&promises->accepted);
}
