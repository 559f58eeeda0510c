/* coordinator: the whole of what the server decides: step(state, event) -> effects. Pure: no clock,
 * file, lock, log or library. Inside are task (what is trained), lease (who trains what until
 * when), cohort (the stages of one round; cohort_secure: what a secure one has besides), select
 * (pace steering: how long a device without work should stay away).
 *
 * Promises, checked by the swarm after every step:
 *   a device's delta is in at most one merged version, and an acknowledged put_end is in exactly
 * one unless its round is void; no version is made from fewer than n_min devices; every round ends
 * by its deadlines once TIME comes; after a crash at any point the restored coordinator keeps every
 * promise that had left it. */
#ifndef STN_SERVER_CORE_COORDINATOR_H
#define STN_SERVER_CORE_COORDINATOR_H

#include "server/core/effect.h"
#include "server/core/event.h"

struct stn_coordinator;

struct stn_coordinator_config {
    uint64_t seed; /* of round ids, seeds and jitter; give a live coordinator entropy */
    struct stn_ident identity; /* signs what secure rounds are told */
    uint8_t directory[32];     /* the key whose enrolments count in them */
    /* H of a round's config without its signature: its bytes are the codec's to know. */
    enum stn_code (*cfg)(const struct stn_msg_round_config *config, struct stn_digest *ret,
                         struct stn_err *err);
};

/* The caller frees *ret; config is copied. */
enum stn_code stn_coordinator_new(struct stn_coordinator **ret,
                                  const struct stn_coordinator_config *config,
                                  struct stn_err *err) STN_CHECKED;
void stn_coordinator_free(struct stn_coordinator *coordinator);

/* Appends to effects. Never fails: what the world did wrong is answered, not returned. */
void stn_coordinator_step(struct stn_coordinator *coordinator, const struct stn_server_event *event,
                          struct stn_server_effects *effects);

/* What the shell asks before it moves bytes on its own. */
bool stn_coordinator_may_get(const struct stn_coordinator *coordinator,
                             const struct stn_digest *digest);
bool stn_coordinator_may_put(const struct stn_coordinator *coordinator,
                             const struct stn_round_id *round, const struct stn_id *device);

/* The message of a TELL: pointers in it last until the next call or step. WAIT when steps since then
 * have left nothing of it to say: who asks again is told what there is. */
void stn_coordinator_tell(struct stn_coordinator *coordinator, const struct stn_server_tell *tell,
                          struct stn_msg *ret);

/* For status pages: a task, its open round (NULL: none) and how many have joined and uploaded; i
 * from 0. False past the end. */
struct stn_coordinator_view {
    const struct stn_task_record *task;
    const struct stn_version_record *version;
    const struct stn_round_record *round;
    uint32_t n_leased, n_joined, n_uploaded;
    struct stn_secagg_server_view secagg; /* of a secure round */
};
bool stn_coordinator_view(const struct stn_coordinator *coordinator, size_t i,
                          struct stn_coordinator_view *ret);

#endif
