/* aggregate: the one sum of a round: every checked upload is added to one vector, so that memory is O(d) whatever the
 * cohort. Now and then the vector goes to disk, so that the uploads in it need not be kept:
 *
 *   1. stn_aggregate_write    the sum as ROUND/sum-NUMBER, synced
 *   2. the caller             its number, digest and the devices in it, in one transaction: stn_store_save_snapshot
 *   3. stn_aggregate_clean    only now: the spools of those devices and the older sums are removed
 *
 * and a restart (open, then add for every upload that counts) loads the sum of the last transaction and adds what is
 * not in it. Whatever the step at which the process ends, every upload is in the sum once.
 * The sum of a secure round is one of masked vectors. Its masks come off in memory alone, once every upload is in it:
 * what is on disk stays masked, and a restart begins with the first mask again.
 * Thread: one at a time; add and write are a worker's, the rest the loop's. */
#ifndef STN_SERVER_SHELL_AGGREGATE_H
#define STN_SERVER_SHELL_AGGREGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/map.h"
#include "server/shell/spool.h"
#include "server/shell/store.h"
#include "update/encode.h"
#include "update/unmask.h"

struct stn_aggregate {
    struct stn_round_id round;
    struct stn_spool spool;
    char kept[STN_FILE_PATH_MAX - 256]; /* folder that keeps the uploads of this round once they are in a snapshot; "": none does */
    struct stn_encode_config encoding;
    size_t length;          /* elements of the vector */
    uint32_t *sum;          /* (length) */
    struct stn_map devices; /* in the sum: identity -> the aggregate itself */
    struct stn_store_snapshot snapshot; /* the last one that was written; number 0: none yet */
    size_t n_in_snapshot;   /* the first so many devices */
    size_t n_retired;       /* the first so many have no spool any more */
    bool is_unmasking;      /* nothing is added and nothing is written any more */
};

/* Loads the round's snapshot if the store has one. kept may be NULL. STN_CORRUPT when the file is not what the store
 * says. The caller closes *ret. */
enum stn_code stn_aggregate_open(struct stn_aggregate **ret, const struct stn_spool *spool, struct stn_store *store,
                                 const struct stn_msg_round_config *config, const char *kept, struct stn_err *err) STN_CHECKED;
/* NULL is fine. */
void stn_aggregate_close(struct stn_aggregate *aggregate);

bool stn_aggregate_has(const struct stn_aggregate *aggregate, const struct stn_id *device);

/* Adds a checked upload, in pieces. One that is in the sum is not added again. On failure the sum is worth nothing:
 * the process ends, and a new one starts from the snapshot. */
enum stn_code stn_aggregate_add(struct stn_aggregate *aggregate, const struct stn_id *device, struct stn_err *err) STN_CHECKED;

/* Step 1. aggregate->snapshot says what the store is to be told. */
enum stn_code stn_aggregate_write(struct stn_aggregate *aggregate, struct stn_err *err) STN_CHECKED;
/* Step 2, but for the commit. */
enum stn_code stn_aggregate_save(struct stn_aggregate *aggregate, struct stn_store *store, struct stn_err *err) STN_CHECKED;
/* Step 3, after the commit. What cannot be removed is left for the end of the round. */
void stn_aggregate_clean(struct stn_aggregate *aggregate);

/* Masks to come off by stn_unmask_help; they are borrowed. is_first: none has come off yet. */
void stn_aggregate_unmask(struct stn_aggregate *aggregate, struct stn_unmask *ret, const struct stn_mask *masks, size_t n,
                          bool is_first);

/* Devices that were added since the last write. */
size_t stn_aggregate_n_new(const struct stn_aggregate *aggregate);

/* Links every upload of the sum into kept, if there is one. It may be repeated. Thread: as add. */
enum stn_code stn_aggregate_keep(struct stn_aggregate *aggregate, struct stn_err *err) STN_CHECKED;

#endif
