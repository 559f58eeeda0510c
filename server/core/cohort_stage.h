/* cohort_stage: how a round goes from one state to the next and what its members are told of it,
 * whoever decides that it is time: the counts of a plain round (advance), or the machine of a
 * secure one (cohort_secure.h). */
#ifndef STN_SERVER_CORE_COHORT_STAGE_H
#define STN_SERVER_CORE_COHORT_STAGE_H

#include "server/core/cohort.h"

/* device may be NULL. */
void stn_cohort_stage_trace(const struct stn_cohort *cohort, struct stn_emit *emit,
                            const char *event, const struct stn_id *device, enum stn_code code);

/* A member's new state, saved. */
void stn_cohort_stage_move(struct stn_member *member, struct stn_emit *emit,
                           enum stn_member_state state);
/* The device is not in this round any more; its delta may go into another if it is not spent. */
void stn_cohort_stage_lose(struct stn_member *member, struct stn_emit *emit);

/* Whether there is news for a poll of this stage; if so it is told. */
bool stn_cohort_stage_tell(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                           uint32_t stage);
/* Something has changed: who waited for that is told. */
void stn_cohort_stage_tell_all(struct stn_cohort *cohort, struct stn_emit *emit);

/* Of a plain round: what a member did, or its absence, may have ended the stage. is_over: its time
 * is up. */
void stn_cohort_stage_advance(struct stn_cohort *cohort, struct stn_emit *emit, bool is_over);

/* JOINING -> UPLOADING: the roster stands; who has only joined is not in it. */
void stn_cohort_stage_upload(struct stn_cohort *cohort, struct stn_emit *emit, uint32_t n_roster,
                             uint64_t deadline_ms);
/* UPLOADING -> MERGING: the included set is fixed. */
void stn_cohort_stage_fix(struct stn_cohort *cohort, struct stn_emit *emit, uint64_t deadline_ms);
/* In MERGING: the sum can be read once every ADD is done. */
void stn_cohort_stage_merge(const struct stn_cohort *cohort, struct stn_emit *emit);
/* The end: version is released, or code says why there is none. */
void stn_cohort_stage_done(struct stn_cohort *cohort, struct stn_emit *emit, uint64_t version);
void stn_cohort_stage_void(struct stn_cohort *cohort, struct stn_emit *emit, enum stn_code code);
/* Its files are wanted no more: after its end, and again after a restart. */
void stn_cohort_stage_close(const struct stn_cohort *cohort, struct stn_emit *emit);

#endif
