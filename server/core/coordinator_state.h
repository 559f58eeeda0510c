/* coordinator_state: the inside of a coordinator, for the files of coordinator. */
#ifndef STN_SERVER_CORE_COORDINATOR_STATE_H
#define STN_SERVER_CORE_COORDINATOR_STATE_H

#include "base/rng.h"
#include "server/core/coordinator.h"
#include "server/core/emit.h"
#include "server/core/select.h"

struct stn_task;
struct stn_cohort;

struct stn_coordinator {
    struct stn_coordinator_config config;
    struct stn_rng rng;
    bool is_started;
    struct stn_map tasks;   /* name -> struct stn_task */
    struct stn_map rounds;  /* id -> struct stn_cohort */
    struct stn_map tickets; /* parked ticket -> struct stn_member */
    struct stn_map quarantine;
    struct stn_select select;
    size_t next_task;         /* check-ins rotate over the tasks */
    uint64_t wake_ms;         /* as the shell knows it */
    struct stn_coordinator_early {
        struct stn_record record;
        uint8_t *bytes; /* that it borrows */
    } *early;           /* restored before what they belong to */
    size_t n_early, early_room;
};

/* NULL: there is none. */
struct stn_task *stn_coordinator_task(const struct stn_coordinator *coordinator, const char *name);
struct stn_cohort *stn_coordinator_round(const struct stn_coordinator *coordinator,
                                         const struct stn_round_id *round);

/* A record as it was on disk; what it belongs to may come later. */
void stn_coordinator_restore(struct stn_coordinator *coordinator, const struct stn_record *record);
/* All of them are there: says FORGET of what belongs to nothing. */
void stn_coordinator_restore_end(struct stn_coordinator *coordinator, struct stn_emit *emit);
void stn_coordinator_restore_fini(struct stn_coordinator *coordinator);

#endif
