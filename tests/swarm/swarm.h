/* swarm: a world of a seed and its host of symbols: a delta is sixteen numbers, its encoding too, and
 * an accumulator is their sum. Promises are checked after every step:
 *
 *   those of simulate/promises.h;
 *   a delta leaves its device once, whatever becomes of it;
 *   what is merged is the sum of the deltas that count, masks or not;
 *   nobody's self seed goes into two vectors;
 *   of no device are both secrets opened, by whomever;
 *   everybody of a round acknowledges the same survivors, and nobody has evidence;
 *   no rank of fewer than n_min members is released, nor under masks in the sum that is seen;
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
    bool equivocates;     /* the coordinator tells some devices of other survivors */
    bool sleeps;          /* the coordinator never hears that time has come */
    bool keeps_ranks;     /* a device leaves in its delta what the round has too few members for */
};

/* How worlds are drawn. */
struct stn_swarm_kind {
    struct stn_task_spec (*spec)(struct stn_rng *rng, const char *name, uint32_t n_devices);
    struct stn_world_config (*config)(struct stn_rng *rng, uint64_t seed);
};

struct stn_swarm_outcome {
    uint64_t transcript, end_ms, n_steps, n_checks;
    uint64_t n_merged, n_merged_members, n_void; /* versions, how many deltas are in them, void rounds */
    uint64_t n_self, n_mask; /* shares that were opened: of members that survived, and of lost ones */
    uint64_t n_folded;       /* versions whose sums have not all ranks */
    uint64_t said[64];       /* messages by type */
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
