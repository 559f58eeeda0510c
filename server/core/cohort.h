/* cohort: one round: who is where in it, and what members ask.
 *
 *   JOINING     join, advertise; ends when target have advertised, or with the join window
 *   UPLOADING   put_begin, put_end; ends when every member of the roster has uploaded, or with its
 *               deadline
 *   MERGING     the included set is fixed; ends with MERGED
 *   DONE, VOID  polls are answered from the record until the round is forgotten
 *
 * In a secure round share comes before the uploads, ack and unmask come before the merge, and it is
 * cohort_secure.h that says when a state ends. Fewer than n_min at a stage's end make the round
 * void: a delta that was not uploaded is not spent by it.
 *
 * After a restart a stage lasts as long as it would from now on, 30 s at most, or until its deadline
 * if that is later. */
#ifndef STN_SERVER_CORE_COHORT_H
#define STN_SERVER_CORE_COHORT_H

#include "base/list.h"
#include "server/core/member.h"

struct stn_task;
struct stn_lease_record;
struct stn_cohort_secure;

struct stn_cohort {
    struct stn_list link; /* in its task */
    struct stn_task *task;
    struct stn_round_record record;
    struct stn_map members;          /* device -> struct stn_member */
    uint32_t n[STN_MEMBER_LOST + 1]; /* members in each state */
    struct stn_cohort_secure *secure;       /* of a secure round that is open; else NULL */
};

/* A round as it was on disk. free drops its parked tickets without a word. */
struct stn_cohort *stn_cohort_new(struct stn_task *task, const struct stn_round_record *record);
void stn_cohort_free(struct stn_cohort *cohort, struct stn_map *tickets);
void stn_cohort_restore(struct stn_cohort *cohort, const struct stn_member_record *record);
/* After a restart: holds leases, says ADD and MERGE (or UNMASK) again, or CLOSE. */
void stn_cohort_resume(struct stn_cohort *cohort, struct stn_emit *emit);

struct stn_member *stn_cohort_member(const struct stn_cohort *cohort, const struct stn_id *device);
bool stn_cohort_is_open(const struct stn_cohort *cohort);
/* The member may put bytes now. */
bool stn_cohort_may_put(const struct stn_member *member);

/* Opens a round in JOINING from the task's current version. */
struct stn_cohort *stn_cohort_open(struct stn_task *task, struct stn_emit *emit,
                                   const struct stn_round_id *round, const uint8_t seed[static 32]);
/* In JOINING; the device is no member yet, and the lease is its own and live. */
void stn_cohort_join(struct stn_cohort *cohort, struct stn_emit *emit, stn_ticket ticket,
                     const struct stn_lease_record *lease, const struct stn_msg_join *join);
/* A member that asks to join with the lease it joined by. */
void stn_cohort_join_again(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket);

/* Requests of a member. */
void stn_cohort_advertise(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                          const struct stn_msg *msg);
/* share, ack, unmask */
void stn_cohort_say(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                    const struct stn_msg *msg);
void stn_cohort_poll(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                     uint32_t stage);
void stn_cohort_put_begin(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                          uint64_t size);
void stn_cohort_put_end(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                        const struct stn_msg_put_end *msg);
void stn_cohort_leave(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket,
                      const struct stn_msg *msg);

void stn_cohort_lost_ticket(struct stn_member *member, struct stn_emit *emit, stn_ticket ticket);
void stn_cohort_checked(struct stn_member *member, struct stn_emit *emit, enum stn_code code);
void stn_cohort_unmasked(struct stn_cohort *cohort, struct stn_emit *emit);
/* event is of STN_SERVER_MERGED. */
void stn_cohort_merged(struct stn_cohort *cohort, struct stn_emit *emit,
                       const struct stn_server_event *event);
/* Ends the stage when its deadline has come. */
void stn_cohort_time(struct stn_cohort *cohort, struct stn_emit *emit);
/* Says FORGET of the round and its members. */
void stn_cohort_forget(const struct stn_cohort *cohort, struct stn_emit *emit);

#endif
