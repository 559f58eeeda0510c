/* task: what is trained: its settings, its released versions, the leases for the current one, and
 * its rounds, of which at most one is open. Between check-in and cohort, this is the door: it says
 * who may have a lease and whose delta may still join. */
#ifndef STN_SERVER_CORE_TASK_H
#define STN_SERVER_CORE_TASK_H

#include "base/list.h"
#include "base/rng.h"
#include "server/core/emit.h"
#include "server/core/lease.h"
#include "server/core/select.h"

#define STN_TASK_HISTORY 16 /* rounds that are over and still answered */

struct stn_cohort;

struct stn_version {
    struct stn_list link;
    struct stn_version_record record;
};

struct stn_task {
    struct stn_task_record record;
    struct stn_list versions; /* the last ones, rising; never empty once all is restored */
    struct stn_lease_book leases;
    uint32_t n_live;         /* unspent leases for the current version */
    struct stn_list cohorts; /* by number; the open one is the last */
    uint32_t n_cohorts;
    struct stn_cohort *open;
    uint64_t n_rounds; /* the next round's number */
    double period_ms;  /* from release to release, smoothed; 0: not known yet */
};

/* STN_INVALID or STN_LIMIT when no round could ever be made by this spec. */
enum stn_code stn_task_check(const struct stn_task_spec *spec,
                             const struct stn_blob_ref *adapter) STN_CHECKED;

/* The factors that are trained from a version, and how many values they have. */
enum stn_factor stn_task_factor(const struct stn_task_spec *spec, uint64_t version);
uint64_t stn_task_n_values(const struct stn_task_spec *spec, enum stn_factor factor);

struct stn_task *stn_task_new(const struct stn_task_record *record);
void stn_task_free(struct stn_task *task); /* and its rounds */

/* Keeps a version in its place; the oldest ones go from memory (never from disk). */
void stn_task_add_version(struct stn_task *task, const struct stn_version_record *record);
/* NULL: forgotten, or never made. */
const struct stn_version_record *stn_task_version(const struct stn_task *task, uint64_t version);
const struct stn_version_record *stn_task_released(const struct stn_task *task);

/* A new version is on disk: it is the released one from now on. */
void stn_task_release(struct stn_task *task, struct stn_emit *emit,
                      const struct stn_version_record *record, double clip_norm);

/* Answers with a lease and says true, or says nothing and false. */
bool stn_task_lease(struct stn_task *task, struct stn_emit *emit, stn_ticket ticket,
                    const struct stn_id *device, uint32_t n_min_floor);
/* When leases will be there again. False: not by waiting. */
bool stn_task_demand(const struct stn_task *task, uint64_t now_ms, struct stn_select_demand *ret);

void stn_task_join(struct stn_task *task, struct stn_emit *emit, struct stn_rng *rng,
                   stn_ticket ticket, const struct stn_id *device, const struct stn_msg_join *join);

/* A lease's delta went into an upload. */
void stn_task_spend(struct stn_task *task, struct stn_emit *emit, uint64_t lease);
/* A member is in an open round, or no longer. */
void stn_task_hold(struct stn_task *task, uint64_t lease, bool held);

/* Expiries and the open round's deadline. */
void stn_task_time(struct stn_task *task, struct stn_emit *emit);
uint64_t stn_task_next_ms(const struct stn_task *task);

#endif
