/* swarm: a world of a seed and its host of symbols: a delta is sixteen numbers, its encoding too, and
 * an accumulator is their sum. Promises are checked after every step:
 *
 *   those of simulate/promises.h;
 *   a delta leaves its device once, whatever becomes of it;
 *   what is merged is the sum of the deltas that count, masks or not; in a round in which the coordinator has lied it may be
 *   none, and is refused then;
 *   nobody's self seed goes into two vectors;
 *   of no device are both secrets opened, by whomever;
 *   a device acknowledges one set of survivors in a round;
 *   everybody of a round acknowledges the same survivors, and nobody has evidence, unless the coordinator lies;
 *   no rank of fewer than n_min members is released, nor under masks in the sum that is seen;
 *   nobody is named a liar but who is one, unless the coordinator lies;
 *   no round outlives its deadline. */
#ifndef STN_TESTS_SWARM_SWARM_H
#define STN_TESTS_SWARM_SWARM_H

#include "base/rng.h"
#include "client/simulate/promises.h"
#include "client/simulate/world.h"

#define STN_SWARM_TASKS 2

/* What goes wrong on purpose: each must be caught. */
struct stn_swarm_plants {
    bool forgets_to_lose; /* an accumulator outlives the crash, and ADD comes again */
    bool repeats_adds;    /* a retransmission is added again */
    bool forgets_masks;   /* one mask stays on a sum */
    bool forgets_journal; /* a device trains, and sends, what it has sent before it crashed */
    bool spends_nothing;  /* nor does the coordinator know that a lease's delta has been uploaded */
    bool repeats_secrets; /* a device draws the secrets of its rounds from a generator that begins anew */
    bool opens_both;      /* a device shows one key that it should not, whatever it says */
    bool acks_again;      /* a device acknowledges whatever survivors it is told of */
    bool equivocates;     /* the coordinator tells some devices of other survivors */
    bool sleeps;          /* the coordinator never hears that time has come */
    bool keeps_ranks;     /* a device leaves in its delta what the round has too few members for */
};

/* Who lies while there are faults, with all its own keys. Everything else is promised all the same. */
struct stn_swarm_lies {
    bool by_coordinator; /* to some of a round: other survivors, another roster, fewer shares, acknowledgements with a bit
                            changed; to all: what was said before, in this round or another, to whomever */
    uint32_t by_device;  /* a device's number, and 1; 0: none. It deals shares that are no good, or shows false keys */
};
#define STN_SWARM_LIES 7 /* kinds of them, in this order */

/* How worlds are drawn. lies may be NULL: nobody does. */
struct stn_swarm_kind {
    struct stn_task_spec (*spec)(struct stn_rng *rng, const char *name, uint32_t n_devices);
    struct stn_world_config (*config)(struct stn_rng *rng, uint64_t seed);
    struct stn_swarm_lies (*lies)(uint64_t seed, uint32_t n_devices);
};

/* What all kinds of worlds have in common; a kind says the rest. A task's target is between target_least and all devices,
 * its n_min between n_min_least and the target. */
struct stn_task_spec stn_swarm_spec(struct stn_rng *rng, uint32_t n_devices, uint32_t target_least, uint32_t n_min_least);
/* Of n_least to n_most devices, without faults. */
struct stn_world_config stn_swarm_config(struct stn_rng *rng, uint64_t seed, uint32_t n_least, uint32_t n_most,
                                         double loss_most);
/* All faults but that devices vanish, for an hour. */
void stn_swarm_faults(struct stn_rng *rng, struct stn_faults_config *faults, double crash_most, uint64_t down_ms,
                      uint64_t owner_ms);

struct stn_swarm_outcome {
    uint64_t transcript, end_ms, n_steps, n_checks;
    uint64_t n_merged, n_merged_members, n_void; /* versions, how many deltas are in them, void rounds */
    uint64_t n_self, n_mask; /* shares that were opened: of members that survived, and of lost ones */
    uint64_t n_folded;       /* versions whose sums have not all ranks */
    uint64_t n_lies[STN_SWARM_LIES], n_evidence, n_named;
    uint64_t said[64]; /* messages by type */
    bool is_done;
    char text[256]; /* what is wrong, or nothing */
};

struct stn_swarm_outcome stn_swarm_run(const struct stn_swarm_kind *kind, uint64_t seed,
                                       const struct stn_swarm_plants *plants);

/* Of the worlds of seeds 0 to n - 1, with something planted in them: how many are found wrong in these words. */
uint64_t stn_swarm_n_caught(const struct stn_swarm_kind *kind, uint64_t n, const struct stn_swarm_plants *plants,
                            const char *text);

/* Worlds from STERNA_SWARM_SEED (that one alone) or 0 on (STERNA_SWARM_SEEDS of them, n by default): all keep their
 * promises and come to their end. Their outcomes, added up. */
struct stn_swarm_outcome stn_swarm_run_all(const struct stn_swarm_kind *kind, uint64_t n);

#endif
