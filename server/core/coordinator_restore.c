/* Records come back in any order. */
#include <string.h>

#include "base/mem.h"
#include "server/core/cohort.h"
#include "server/core/cohort_secure.h"
#include "server/core/coordinator_state.h"
#include "server/core/quarantine.h"
#include "server/core/task.h"

static void add_cohort(struct stn_coordinator *coordinator, struct stn_task *task,
                       const struct stn_round_record *record)
{
    if (stn_coordinator_round(coordinator, &record->round) != NULL) {
        return;
    }
    struct stn_cohort *cohort = stn_cohort_new(task, record);
    stn_emit_set(&coordinator->rounds, &record->round, sizeof record->round, cohort);
    struct stn_list *before = task->cohorts.prev;
    while (before != &task->cohorts &&
           STN_LIST_OF(before, struct stn_cohort, link)->record.number > record->number) {
        before = before->prev;
    }
    stn_list_add(before->next, &cohort->link);
    task->n_cohorts++;
    task->n_rounds = record->number >= task->n_rounds ? record->number + 1 : task->n_rounds;
    if (stn_cohort_is_open(cohort)) {
        task->open = cohort;
    }
}

/* False: what it belongs to is not there. */
static bool place(struct stn_coordinator *coordinator, const struct stn_record *record)
{
    struct stn_task *task = NULL;
    struct stn_cohort *cohort = NULL;
    switch (record->type) {
    case STN_RECORD_TASK:
        if (stn_coordinator_task(coordinator, record->task.spec.name) == NULL) {
            const char *name = record->task.spec.name;
            stn_emit_set(&coordinator->tasks, name, strlen(name), stn_task_new(&record->task));
        }
        return true;
    case STN_RECORD_VERSION:
        task = stn_coordinator_task(coordinator, record->version.task);
        if (task != NULL) {
            stn_task_add_version(task, &record->version);
        }
        return task != NULL;
    case STN_RECORD_ROUND:
        task = stn_coordinator_task(coordinator, record->round.task);
        if (task != NULL) {
            add_cohort(coordinator, task, &record->round);
        }
        return task != NULL;
    case STN_RECORD_MEMBER:
        cohort = stn_coordinator_round(coordinator, &record->member.round);
        if (cohort != NULL) {
            stn_cohort_restore(cohort, &record->member);
        }
        return cohort != NULL;
    case STN_RECORD_LEASE:
        task = stn_coordinator_task(coordinator, record->lease.task);
        if (task != NULL && stn_lease_get(&task->leases, record->lease.lease) == NULL) {
            (void)stn_lease_add(&task->leases, &record->lease);
        }
        return task != NULL;
    case STN_RECORD_SECAGG:
        cohort = stn_coordinator_round(coordinator, &record->secagg.round);
        if (cohort == NULL || !stn_cohort_is_open(cohort) || !cohort->record.config.secure) {
            return false;
        }
        stn_cohort_secure_restore(cohort, &record->secagg.of);
        return true;
    case STN_RECORD_QUARANTINE:
        stn_quarantine_restore(&coordinator->quarantine, &record->quarantine);
        return true;
    }
    return true;
}

static void keep_early(struct stn_coordinator *coordinator, const struct stn_record *record)
{
    if (coordinator->n_early == coordinator->early_room) {
        size_t room = coordinator->early_room == 0 ? 64 : coordinator->early_room * 2;
        coordinator->early =
            stn_emit_need(stn_mem_grow(coordinator->early, room, sizeof *coordinator->early));
        coordinator->early_room = room;
    }
    struct stn_coordinator_early *early = &coordinator->early[coordinator->n_early++];
    *early = (struct stn_coordinator_early){.record = *record};
    if (record->type == STN_RECORD_SECAGG) {
        const struct stn_secagg_server_record *of = &record->secagg.of;
        early->bytes = stn_emit_need(stn_mem_copy(of->data, of->size));
        early->record.secagg.of.data = early->bytes;
    }
}

void stn_coordinator_restore(struct stn_coordinator *coordinator, const struct stn_record *record)
{
    if (!place(coordinator, record)) {
        keep_early(coordinator, record);
    }
}

void stn_coordinator_restore_fini(struct stn_coordinator *coordinator)
{
    for (size_t i = 0; i < coordinator->n_early; i++) {
        stn_mem_free(coordinator->early[i].bytes);
    }
    stn_mem_free(coordinator->early);
    coordinator->early = NULL;
    coordinator->n_early = coordinator->early_room = 0;
}

void stn_coordinator_restore_end(struct stn_coordinator *coordinator, struct stn_emit *emit)
{
    for (enum stn_record_type type = STN_RECORD_TASK; type <= STN_RECORD_QUARANTINE; type++) {
        for (size_t i = 0; i < coordinator->n_early; i++) {
            struct stn_record *record = &coordinator->early[i].record;
            if (record->type == type && !place(coordinator, record)) {
                if (type == STN_RECORD_SECAGG) {
                    record->secagg.of = (struct stn_secagg_server_record){0}; /* its bytes go */
                }
                stn_emit_forget(emit, record); /* nothing is left that it belongs to */
            }
        }
    }
    stn_coordinator_restore_fini(coordinator);
}
