/* secagg_forge: a coordinator that lies, with all its own keys, against one honest device: number 0
 * of eight. */
#ifndef STN_TESTS_SECAGG_FORGE_H
#define STN_TESTS_SECAGG_FORGE_H

#include "client/core/secagg_client_state.h"
#include "secagg/roster.h"
#include "tests/swarm/secagg_world.h"

enum { STN_FORGE_DEVICES = 8, STN_FORGE_MIN = 5 };

#define STN_FORGE_VICTIM (&stn_world.devices[0])

extern const bool stn_forge_everybody[STN_FORGE_DEVICES];

/* All stages up to and with this one; then the message with which the next would begin. */
struct stn_msg stn_forge_run_to(enum stn_stage stage);

/* The device is out, has said nothing of this type, has no secret left, and cannot be woken. Ends
 * the world. */
void stn_forge_assert_nothing_is_got(enum stn_msg_type type);

struct stn_forge_lie {
    struct stn_msg msg;
    struct stn_advert adverts[STN_FORGE_DEVICES];
    struct stn_digest proof[64];
};

/* A roster of these adverts, which are put in order, signed by the coordinator, as the victim would
 * see it. */
void stn_forge_roster(struct stn_forge_lie *lie, struct stn_advert *adverts, uint32_t n);
/* The devices' own, of this round. */
void stn_forge_all_adverts(struct stn_advert *adverts);
/* Certifies and signs an advert by a device that this directory enrolled; cfg is what it signs. */
void stn_forge_advert(struct stn_advert *advert, const struct stn_ident *by,
                      const struct stn_ident *directory, const struct stn_digest *cfg);

struct stn_forge_survivors {
    struct stn_msg msg;
    struct stn_survivor members[STN_WORLD_DEVICES];
    struct stn_digest proof[STN_WORLD_DEVICES];
};

/* A set of survivors, signed by the coordinator, in the order of the roster; n_claimed is how many
 * it says there are. On a complete graph everybody sees the same. */
void stn_forge_survivors(struct stn_forge_survivors *lie, const struct stn_survivor *members,
                         uint32_t n_members, uint32_t n_claimed,
                         const struct stn_derive_round *round);
/* The same as this device sees it: itself and its neighbours. */
void stn_forge_survivors_for(struct stn_forge_survivors *lie, const struct stn_survivor *members, uint32_t n_claimed,
                             const struct stn_secagg_client *client);

#endif
