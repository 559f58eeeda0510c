#include "client/simulate/disk.h"

#include <string.h>

#include "base/mem.h"
#include "client/simulate/key.h"

static struct stn_key key_of(const struct stn_record *record)
{
    struct stn_key key = {.bytes = {(uint8_t)record->type}, .size = 1};
    switch (record->type) {
    case STN_RECORD_TASK:
        stn_key_add(&key, record->task.spec.name, strlen(record->task.spec.name) + 1);
        break;
    case STN_RECORD_VERSION:
        stn_key_add(&key, record->version.task, strlen(record->version.task) + 1);
        stn_key_add(&key, &record->version.version, sizeof record->version.version);
        break;
    case STN_RECORD_ROUND:
        stn_key_add(&key, &record->round.round, sizeof record->round.round);
        break;
    case STN_RECORD_MEMBER:
        stn_key_add(&key, &record->member.round, sizeof record->member.round);
        stn_key_add(&key, &record->member.device, sizeof record->member.device);
        break;
    case STN_RECORD_LEASE:
        stn_key_add(&key, record->lease.task, strlen(record->lease.task) + 1);
        stn_key_add(&key, &record->lease.lease, sizeof record->lease.lease);
        break;
    case STN_RECORD_SECAGG:
        stn_key_add(&key, &record->secagg.round, sizeof record->secagg.round);
        stn_key_add(&key, &record->secagg.of.kind, sizeof record->secagg.of.kind);
        stn_key_add(&key, &record->secagg.of.index, sizeof record->secagg.of.index);
        break;
    case STN_RECORD_QUARANTINE:
        stn_key_add(&key, &record->quarantine.device, sizeof record->quarantine.device);
        break;
    }
    return key;
}

/* What a secagg record borrows lies behind its copy. */
static struct stn_record *copy_of(const struct stn_record *record)
{
    size_t size = record->type == STN_RECORD_SECAGG ? record->secagg.of.size : 0;
    struct stn_record *copy = stn_mem_new(1, sizeof *copy + size);
    if (copy != NULL) {
        *copy = *record;
    }
    if (copy != NULL && size > 0) {
        memcpy(copy + 1, record->secagg.of.data, size);
        copy->secagg.of.data = (const uint8_t *)(copy + 1);
    }
    return copy;
}

bool stn_disk_save(struct stn_disk *disk, const struct stn_record *record)
{
    struct stn_key key = key_of(record);
    struct stn_record *old = stn_map_get(&disk->records, key.bytes, key.size);
    struct stn_record *copy = copy_of(record);
    if (copy == NULL || !stn_map_set(&disk->records, key.bytes, key.size, copy)) {
        stn_mem_free(copy);
        return false;
    }
    stn_mem_free(old);
    return true;
}

static void forget_secagg(struct stn_disk *disk, const struct stn_round_id *round)
{
    for (size_t i = disk->records.n; i-- > 0;) {
        struct stn_record *record = disk->records.entries[i].value;
        if (record->type == STN_RECORD_SECAGG &&
            memcmp(&record->secagg.round, round, sizeof *round) == 0) {
            struct stn_key key = key_of(record);
            stn_mem_free(stn_map_remove(&disk->records, key.bytes, key.size));
        }
    }
}

void stn_disk_forget(struct stn_disk *disk, const struct stn_record *record)
{
    struct stn_key key = key_of(record);
    if (record->type == STN_RECORD_SECAGG) {
        forget_secagg(disk, &record->secagg.round);
    } else {
        stn_mem_free(stn_map_remove(&disk->records, key.bytes, key.size));
    }
}

struct stn_digest *stn_disk_find(const struct stn_disk *disk, const struct stn_round_id *round,
                                 const struct stn_id *device)
{
    struct stn_key key = stn_key_of(round, device);
    return stn_map_get(&disk->spools, key.bytes, key.size);
}

struct stn_digest *stn_disk_spool(struct stn_disk *disk, const struct stn_round_id *round,
                                  const struct stn_id *device)
{
    struct stn_digest *spool = stn_disk_find(disk, round, device);
    if (spool == NULL) {
        struct stn_key key = stn_key_of(round, device);
        spool = stn_mem_new(1, sizeof *spool);
        if (spool == NULL || !stn_map_set(&disk->spools, key.bytes, key.size, spool)) {
            stn_mem_free(spool);
            return NULL;
        }
    }
    return spool;
}

void stn_disk_drop(struct stn_disk *disk, const struct stn_round_id *round,
                   const struct stn_id *device)
{
    struct stn_key key = stn_key_of(round, device);
    stn_mem_free(stn_map_remove(&disk->spools, key.bytes, key.size));
}

void stn_disk_close(struct stn_disk *disk, const struct stn_round_id *round)
{
    for (size_t i = disk->spools.n; i-- > 0;) {
        const struct stn_map_entry *entry = &disk->spools.entries[i];
        if (memcmp(entry->key, round, sizeof *round) == 0) {
            uint8_t key[sizeof *round + sizeof(struct stn_id)];
            memcpy(key, entry->key, sizeof key);
            stn_mem_free(stn_map_remove(&disk->spools, key, sizeof key));
        }
    }
}

void stn_disk_fini(struct stn_disk *disk)
{
    for (size_t i = 0; i < disk->records.n; i++) {
        stn_mem_free(disk->records.entries[i].value);
    }
    for (size_t i = 0; i < disk->spools.n; i++) {
        stn_mem_free(disk->spools.entries[i].value);
    }
    stn_map_fini(&disk->records);
    stn_map_fini(&disk->spools);
}
