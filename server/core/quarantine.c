#include "server/core/quarantine.h"

#include "base/mem.h"

bool stn_quarantine_has(const struct stn_map *quarantine, const struct stn_id *device)
{
    return stn_map_get(quarantine, device, sizeof *device) != NULL;
}

void stn_quarantine_restore(struct stn_map *quarantine, const struct stn_quarantine_record *record)
{
    if (!stn_quarantine_has(quarantine, &record->device)) {
        stn_emit_set(quarantine, &record->device, sizeof record->device,
                     stn_emit_need(stn_mem_copy(record, sizeof *record)));
    }
}

void stn_quarantine_add(struct stn_emit *emit, const struct stn_quarantine_record *record)
{
    if (!stn_quarantine_has(emit->quarantine, &record->device)) {
        stn_quarantine_restore(emit->quarantine, record);
        struct stn_record *to = &stn_emit_new(emit, STN_SERVER_SAVE)->record;
        to->type = STN_RECORD_QUARANTINE;
        to->quarantine = *record;
    }
}

enum stn_code stn_quarantine_remove(struct stn_emit *emit, const struct stn_id *device)
{
    struct stn_quarantine_record *record = stn_map_remove(emit->quarantine, device, sizeof *device);
    if (record == NULL) {
        return STN_NOT_FOUND;
    }
    stn_emit_forget(emit, &(struct stn_record){.type = STN_RECORD_QUARANTINE, .quarantine = *record});
    stn_mem_free(record);
    return STN_OK;
}

void stn_quarantine_fini(struct stn_map *quarantine)
{
    for (size_t i = 0; i < quarantine->n; i++) {
        stn_mem_free(quarantine->entries[i].value);
    }
    stn_map_fini(quarantine);
}
