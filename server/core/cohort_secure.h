/* cohort_secure: what a secure round has besides a plain one: between a cohort, with its members,
 * leases and records, and the machine of SA1 (secagg_server.h), whose every effect becomes one of
 * the coordinator's. The states of the round follow the machine's stages: JOINING is ADVERTISE,
 * UPLOADING is SHARE and UPLOAD, MERGING is ACK, UNMASK and what comes after, since the survivors
 * are who is included. */
#ifndef STN_SERVER_CORE_COHORT_SECURE_H
#define STN_SERVER_CORE_COHORT_SECURE_H

#include "server/core/cohort.h"

struct stn_cohort_secure;

/* STN_INVALID or STN_LIMIT when no round of a task with these settings has a graph. */
enum stn_code stn_cohort_secure_check(const struct stn_task_spec *spec) STN_CHECKED;

/* A new round. */
void stn_cohort_secure_open(struct stn_cohort *cohort, struct stn_emit *emit);
/* A round as it was on disk: its records in any order, then resume. */
void stn_cohort_secure_restore(struct stn_cohort *cohort,
                               const struct stn_secagg_server_record *record);
void stn_cohort_secure_resume(struct stn_cohort *cohort, struct stn_emit *emit);
/* The round is over: says FORGET of all of it, and wipes it. Nothing happens to a plain round. */
void stn_cohort_secure_end(struct stn_cohort *cohort, struct stn_emit *emit);
void stn_cohort_secure_free(struct stn_cohort_secure *secure); /* NULL is fine */

/* Of an open secure round. */

/* advertise, share, ack, unmask or leave. */
void stn_cohort_secure_say(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                    const struct stn_msg *msg);
/* The member's spool has the bytes of its digest. */
void stn_cohort_secure_upload(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket);
bool stn_cohort_secure_may_put(const struct stn_member *member);
/* As stn_cohort_stage_tell. */
bool stn_cohort_secure_tell(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                     uint32_t stage);
/* The message of a TELL; its pointers last until the next call or step. */
enum stn_code stn_cohort_secure_message(const struct stn_member *member, uint32_t stage,
                                 struct stn_msg *ret) STN_CHECKED;
void stn_cohort_secure_time(struct stn_cohort *cohort, struct stn_emit *emit);
void stn_cohort_secure_unmasked(struct stn_cohort *cohort, struct stn_emit *emit);
struct stn_secagg_server_view stn_cohort_secure_view(const struct stn_cohort *cohort);

#endif
