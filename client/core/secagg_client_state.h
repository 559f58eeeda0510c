/* secagg_client_state: the inside of a device's side of a round, for secagg_client.c and
 * secagg_client_hear.c. */
#ifndef STN_CLIENT_CORE_SECAGG_CLIENT_STATE_H
#define STN_CLIENT_CORE_SECAGG_CLIENT_STATE_H

#include "client/core/secagg_client.h"
#include "secagg/derive.h"
#include "secagg/harary.h"
#include "secagg/share.h"

/* One neighbour, by slot. */
struct stn_secagg_client_neighbour {
    uint32_t index; /* in the roster */
    struct stn_advert advert;
    bool has_shared; /* the coordinator says so: there is a mask between us */
    bool survived;
    uint8_t keys[2][32]; /* of the boxes that it seals for this device, by what their shares are of: secret */
};

struct stn_secagg_client {
    struct stn_secagg_client_config config;
    struct stn_terms terms;
    uint32_t stage; /* the last spoken in */
    struct stn_secagg_client_record record;
    struct stn_msg sent; /* the last; points into what follows */

    /* secret, in memory only */
    struct stn_secagg_client_entropy entropy;
    uint8_t mask_secret[32];
    struct stn_mask *masks;
    size_t n_masks;

    struct stn_advert advert;
    struct stn_derive_round round; /* after the roster */
    uint32_t tier;
    uint8_t roster_signature[64];
    struct stn_bound bound;
    struct stn_harary graph;
    uint32_t index;
    struct stn_secagg_client_neighbour *neighbours;
    struct stn_sealed *sealed;

    bool has_uploaded;
    struct stn_digest upload;
    struct {
        struct stn_digest root;
        uint32_t n;
        uint8_t signature[64];
    } survivors;
    uint32_t n_opened;
    uint32_t *slots;
    struct stn_opened *opened;
};

/* What every part has in hand during a step. */
struct stn_secagg_client_turn {
    struct stn_secagg_client *client;
    uint64_t now_ms;
    struct stn_secagg_client_effects *effects;
};

struct stn_secagg_client_effect *stn_secagg_client_emit(struct stn_secagg_client_turn *turn,
                                                        enum stn_secagg_client_effect_type type);
/* Wipes and says OVER. */
void stn_secagg_client_end(struct stn_secagg_client_turn *turn, enum stn_code code);
/* Saves that the device speaks in a stage, and what; then SEND says client->sent. */
void stn_secagg_client_speak(struct stn_secagg_client_turn *turn, enum stn_stage stage,
                             const struct stn_digest *spoken);

/* Messages of the coordinator. */
void stn_secagg_client_hear(struct stn_secagg_client_turn *turn, const struct stn_msg *msg);

#endif
