/* faults: what goes wrong besides the wire, drawn from a seed: crashes of the coordinator and of
 * devices at any point of a turn, owners who come and go, disks and jobs that fail, clocks that
 * jump forward. All of it ends at until_ms: from then on everybody must make progress. Thread: one
 * at a time. */
#ifndef STN_CLIENT_SIMULATE_FAULTS_H
#define STN_CLIENT_SIMULATE_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

struct stn_faults_config {
    uint64_t until_ms;        /* after the world began; 0: none at all */
    double coordinator_crash; /* the chance that a turn is the last */
    double device_crash;
    double vanish;            /* the chance that a device vanishes in a round, at a drawn stage; it never ends */
    uint64_t down_ms;         /* at most, until it is up again */
    double job_failure;       /* the chance that a fetch, training or sending fails */
    double corruption;        /* the chance that an upload's bytes do not arrive as they were */
    uint64_t owner_ms;        /* a device's owner changes something about this often; 0: never */
    uint64_t jump_ms;         /* the coordinator's clock jumps forward by up to this, now and then; 0: never */
};

enum stn_faults_cut { /* where in a turn the process dies */
    STN_FAULTS_NONE = 0,
    STN_FAULTS_BEFORE_COMMIT,
    STN_FAULTS_AFTER_COMMIT,
    STN_FAULTS_AFTER_ALL
};

enum stn_faults_doom { /* where in a round a device vanishes */
    STN_FAULTS_SPARED = 0,
    STN_FAULTS_IN_TRAINING,
    STN_FAULTS_IN_JOINING,
    STN_FAULTS_IN_SENDING,
    STN_FAULTS_IN_SHARING, /* these in secure rounds alone */
    STN_FAULTS_IN_ACKNOWLEDGING,
    STN_FAULTS_IN_UNMASKING,
    STN_FAULTS_N_DOOMS
};

struct stn_faults {
    struct stn_faults_config config;
    struct stn_rng rng;
};

void stn_faults_init(struct stn_faults *faults, const struct stn_faults_config *config,
                     uint64_t seed);
/* elapsed_ms is since the world began. */
bool stn_faults_last(const struct stn_faults *faults, uint64_t elapsed_ms);
enum stn_faults_cut stn_faults_cut(struct stn_faults *faults, uint64_t elapsed_ms, double chance);
/* Whether something of that chance goes wrong now. */
bool stn_faults_hit(struct stn_faults *faults, uint64_t elapsed_ms, double chance);
enum stn_faults_doom stn_faults_doom(struct stn_faults *faults, bool is_secure);
uint64_t stn_faults_down_ms(struct stn_faults *faults);
uint64_t stn_faults_owner_ms(struct stn_faults *faults);

#endif
