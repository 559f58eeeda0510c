/* quarantine: identities that have lied in a secure round. They get no lease and join nothing until
 * the operator lets them back; what they have begun ends as it may. The map is from identity to
 * struct stn_quarantine_record. */
#ifndef STN_SERVER_CORE_QUARANTINE_H
#define STN_SERVER_CORE_QUARANTINE_H

#include "server/core/emit.h"

/* As it was on disk. */
void stn_quarantine_restore(struct stn_map *quarantine, const struct stn_quarantine_record *record);
/* And says SAVE. Once is enough. */
void stn_quarantine_add(struct stn_emit *emit, const struct stn_quarantine_record *record);
/* And says FORGET. STN_NOT_FOUND: it is not there. */
enum stn_code stn_quarantine_remove(struct stn_emit *emit, const struct stn_id *device);
bool stn_quarantine_has(const struct stn_map *quarantine, const struct stn_id *device);
void stn_quarantine_fini(struct stn_map *quarantine);

#endif
