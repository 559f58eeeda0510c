/* promises: what must hold of every history, stated per device and not in total, as a double count
 * can hide in a total. A host tells it what happens; the first promise that is broken is kept in
 * words.
 *
 *   a delta (a device's lease) is in the sum of at most one round, whatever becomes of the round, and once in it: a sum may
 *   be seen though no version is made of it;
 *   nothing is added that is not on disk as uploaded; a merge made again has the same deltas in it;
 *   no version is made of fewer than n_min;
 *   an upload that a device heard to be accepted is in its round's version, or its round is void;
 *   a task's versions rise by one; a device's installed version never falls. */
#ifndef STN_CLIENT_SIMULATE_PROMISES_H
#define STN_CLIENT_SIMULATE_PROMISES_H

#include "base/map.h"
#include "server/core/effect.h"

/* Zeroed is empty and ready. */
struct stn_promises {
    struct stn_map leases;    /* round, device -> the lease of an upload that is on disk */
    struct stn_map rounds;    /* round -> what is in it */
    struct stn_map summed;    /* task, device, lease -> the round whose sum it is in */
    struct stn_map merged;    /* the same -> the version it went into */
    struct stn_map installed; /* device, task -> version */
    struct stn_map versions;  /* task -> the released one */
    struct stn_map accepted;  /* round, device -> something */
    uint64_t n_checks;
    bool is_broken;
    char text[200]; /* the first one */
};

void stn_promises_add(struct stn_promises *promises, const struct stn_server_upload *upload);
void stn_promises_lose(struct stn_promises *promises); /* the accumulators are gone */
void stn_promises_merge(struct stn_promises *promises, const struct stn_server_effect *merge);
void stn_promises_committed(struct stn_promises *promises, const struct stn_record *record);
void stn_promises_acknowledged(struct stn_promises *promises, const struct stn_id *device,
                               const struct stn_round_id *round);
void stn_promises_installed(struct stn_promises *promises, const struct stn_id *device,
                            const char *task, uint64_t version);
/* Nothing more will happen, and no round is open. */
void stn_promises_end(struct stn_promises *promises);
void stn_promises_fini(struct stn_promises *promises);

#endif
