/* swarm_state: the inside of a swarm's world. swarm.c runs it, swarm_host.c keeps its symbols, swarm_watch.c looks at
 * what leaves the devices, swarm_plant.c makes mistakes in it on purpose, and swarm_lie.c makes some of them liars. */
#ifndef STN_TESTS_SWARM_SWARM_STATE_H
#define STN_TESTS_SWARM_SWARM_STATE_H

#include "base/buf.h"
#include "base/map.h"
#include "tests/swarm/swarm.h"

#define STN_SWARM_VALUES 16
#define STN_SWARM_DEVICES 16 /* at most */
#define STN_SWARM_TOLD 64    /* messages that a coordinator can say again */

struct stn_swarm {
    struct stn_swarm_plants plants;
    struct stn_world *world;
    struct stn_promises promises;
    struct stn_rng rng;
    uint64_t most_train_ms;
    struct stn_map deltas;    /* task, device, lease -> what the device has trained */
    struct stn_map vectors;   /* struct stn_swarm_key -> a delta as it is uploaded */
    struct stn_map sums;      /* round -> the uploads that are added up */
    struct stn_map seeds;     /* digest of a self seed -> the struct stn_swarm_key that had it */
    struct stn_map dealt;     /* struct stn_swarm_key -> the shares of its secrets, by slot, as it sealed them */
    struct stn_map opened;    /* struct stn_swarm_key, of whom -> bits: 1 a share of b, 2 of mseed */
    struct stn_map acked;     /* struct stn_swarm_key -> the root that the device acknowledges */
    struct stn_map survivors; /* round -> the root that is acknowledged */
    struct stn_swarm_lies lies;
    struct stn_map lied_in; /* round -> something: somebody was told a lie in it */
    struct stn_buf told[STN_SWARM_TOLD];
    uint64_t n_told, last_lie; /* number i in place i mod STN_SWARM_TOLD */
    struct stn_swarm_outcome outcome;
};

struct stn_swarm_key {
    struct stn_round_id round;
    struct stn_id device;
};

struct stn_swarm_key stn_swarm_key_of(const struct stn_swarm *swarm, const struct stn_round_id *round, uint32_t device);
/* Only the first is kept. */
void stn_swarm_break(struct stn_swarm *swarm, const char *what);
void stn_swarm_set(struct stn_map *map, const void *key, size_t size, void *value);
void stn_swarm_free_values(struct stn_map *map);

/* The world's host; its context is the struct stn_swarm. */
extern const struct stn_world_host stn_swarm_host;

/* After each step of the world: what is planted happens to it. */
void stn_swarm_plant(struct stn_swarm *swarm, uint32_t n_devices);

/* A message from a device, or to it, may become a lie. */
void stn_swarm_lie(struct stn_swarm *swarm, uint32_t device, bool is_up, struct stn_msg *msg, struct stn_arena *arena);

/* A device says something. */
void stn_swarm_watch(struct stn_swarm *swarm, uint32_t device, const struct stn_msg *msg);

#endif
