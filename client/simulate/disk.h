/* disk: the coordinator's records as they would be after a crash, and the spools of uploads.
 * Thread: one at a time. */
#ifndef STN_CLIENT_SIMULATE_DISK_H
#define STN_CLIENT_SIMULATE_DISK_H

#include "base/map.h"
#include "server/core/record.h"

/* Zeroed is empty and ready. */
struct stn_disk {
    struct stn_map records; /* key of its type -> struct stn_record */
    struct stn_map spools;  /* round, device -> struct stn_digest of the bytes that have arrived,
                               zero at first */
};

/* False when there is no memory. */
bool stn_disk_save(struct stn_disk *disk, const struct stn_record *record);
void stn_disk_forget(struct stn_disk *disk, const struct stn_record *record);

/* A spool is made empty if it is not there; NULL when there is no memory. */
struct stn_digest *stn_disk_spool(struct stn_disk *disk, const struct stn_round_id *round,
                                  const struct stn_id *device);
/* NULL: there is none. */
struct stn_digest *stn_disk_find(const struct stn_disk *disk, const struct stn_round_id *round,
                                 const struct stn_id *device);
void stn_disk_drop(struct stn_disk *disk, const struct stn_round_id *round,
                   const struct stn_id *device);
void stn_disk_close(struct stn_disk *disk, const struct stn_round_id *round);

void stn_disk_fini(struct stn_disk *disk);

#endif
