/* emit: what every part of the coordinator has in hand during a step: when it is, where effects go,
 * who waits. A step cannot be undone, so memory that is not there ends the process (crash-only; the
 * records on disk stand). */
#ifndef STN_SERVER_CORE_EMIT_H
#define STN_SERVER_CORE_EMIT_H

#include "base/map.h"
#include "server/core/effect.h"

struct stn_coordinator_config;

struct stn_emit {
    uint64_t now_ms;
    struct stn_server_effects *effects;
    const struct stn_coordinator_config *config;
    struct stn_map *rounds;  /* id -> struct stn_cohort */
    struct stn_map *tickets; /* a parked ticket -> the member that waits */
    struct stn_map *quarantine;
};

/* p, which is not NULL: otherwise the process ends. */
void *stn_emit_need(void *p);
/* The same for a map that was to grow. */
void stn_emit_set(struct stn_map *map, const void *key, size_t key_size, void *value);

/* A new effect, zeroed but for its type; valid until the next. */
struct stn_server_effect *stn_emit_new(struct stn_emit *emit, enum stn_server_effect_type type);

void stn_emit_save_task(struct stn_emit *emit, const struct stn_task_record *record);
void stn_emit_save_version(struct stn_emit *emit, const struct stn_version_record *record);
void stn_emit_save_round(struct stn_emit *emit, const struct stn_round_record *record);
void stn_emit_save_member(struct stn_emit *emit, const struct stn_member_record *record);
void stn_emit_save_lease(struct stn_emit *emit, const struct stn_lease_record *record);
void stn_emit_forget(struct stn_emit *emit, const struct stn_record *record);

/* Nothing happens for ticket 0. */
void stn_emit_reply(struct stn_emit *emit, stn_ticket ticket, const struct stn_msg *msg);
void stn_emit_ok(struct stn_emit *emit, stn_ticket ticket);
void stn_emit_wait(struct stn_emit *emit, stn_ticket ticket);
void stn_emit_refused(struct stn_emit *emit, stn_ticket ticket, enum stn_code code);
void stn_emit_come_back(struct stn_emit *emit, stn_ticket ticket, uint64_t after_ms);
void stn_emit_voided(struct stn_emit *emit, stn_ticket ticket, const struct stn_round_id *round,
                     enum stn_code code);
void stn_emit_answer(struct stn_emit *emit, stn_ticket ticket, enum stn_code code);

/* device may be NULL. */
void stn_emit_trace(struct stn_emit *emit, const char *event, const char *task,
                    const struct stn_id *device, uint64_t number, enum stn_code code);

#endif
