/* secagg_server_state: the inside of the coordinator's side of a round, for the files of
 * secagg_server. */
#ifndef STN_SERVER_CORE_SECAGG_SERVER_STATE_H
#define STN_SERVER_CORE_SECAGG_SERVER_STATE_H

#include "base/buf.h"
#include "base/map.h"
#include "secagg/derive.h"
#include "secagg/harary.h"
#include "secagg/merkle.h"
#include "server/core/secagg_server.h"

struct stn_secagg_server_member {
    struct stn_advert advert;
    uint32_t index; /* of arrival; in the roster once that stands */
    bool has_left, has_shared, has_uploaded, has_acked, has_opened, is_liar;
    struct stn_digest commitment, upload;
    struct stn_sealed *sealed; /* for its neighbours, by slot */
    struct stn_signature share, ack;
    uint8_t *opens;            /* by slot: whether it has said a key */
    struct stn_opened *opened; /* by slot */
    uint8_t *disputes;         /* by slot: one of the two lies; NULL: with nobody */
    uint32_t n_disputes;
};

struct stn_secagg_server {
    struct stn_secagg_server_config config;
    enum stn_stage stage; /* what is being collected; DONE: masks come off */
    bool is_void, is_clear;
    uint64_t started_ms, deadline_ms;
    uint32_t n_adverts; /* that have come, of those too who left before the roster */
    uint32_t n_members, n_shared, n_uploaded, n_acked, n_opened, n_left;
    struct stn_secagg_server_member **members; /* in any order until the roster stands, then by index; target of room */
    struct stn_map devices;                    /* id -> member */

    /* once the roster stands */
    struct stn_derive_round round;
    struct stn_bound bound;
    uint32_t *lists; /* the neighbours of member i: k from lists[i k] on */
    struct stn_merkle roster;
    uint32_t tier; /* ranks above it are in no delta */
    uint8_t roster_signature[64];
    /* once the survivors are known */
    struct stn_merkle survivors;
    uint8_t survivors_signature[64];
    uint32_t n_survivors;
    struct stn_digest saved_root; /* of a restored round */

    uint32_t next; /* DONE: the member whose secret is rebuilt next */
    struct stn_mask *masks;
    struct stn_buf record, pieces[3]; /* what effects and answers point to */
};

struct stn_secagg_server_turn {
    struct stn_secagg_server *server;
    uint64_t now_ms;
    struct stn_secagg_server_effects *effects;
};

/* p, which is not NULL: otherwise the process ends. */
void *stn_secagg_server_need(void *p);
struct stn_secagg_server_effect *stn_secagg_server_emit(struct stn_secagg_server_turn *turn,
                                                        enum stn_secagg_server_effect_type type);
void stn_secagg_server_void(struct stn_secagg_server_turn *turn, enum stn_code code);

/* The slot of a member among another's neighbours, or STN_HARARY_NOBODY. */
uint32_t stn_secagg_server_slot(const struct stn_secagg_server *server, uint32_t member,
                                uint32_t of);

/* Ends and begins stages as sets are full or deadlines past. */
void stn_secagg_server_stage_advance(struct stn_secagg_server_turn *turn);
void stn_secagg_server_stage_set_wake(struct stn_secagg_server_turn *turn);
/* After a restart: nobody could speak while the coordinator was away. */
void stn_secagg_server_stage_renew(struct stn_secagg_server_turn *turn);
/* Of a restored round: what follows from the records. False when they do not fit. */
bool stn_secagg_server_stage_build_roster(struct stn_secagg_server *server);
bool stn_secagg_server_stage_build_survivors(struct stn_secagg_server *server);

/* Rebuilds secrets until a batch of masks is full, or all are done. */
void stn_secagg_server_rebuild(struct stn_secagg_server_turn *turn);

/* A record as it was saved. False when it fits nothing. */
bool stn_secagg_server_keep_restore(struct stn_secagg_server *server,
                                    const struct stn_secagg_server_record *record);
void stn_secagg_server_keep_stage(struct stn_secagg_server_turn *turn);
void stn_secagg_server_keep(struct stn_secagg_server_turn *turn, uint32_t kind,
                            const struct stn_secagg_server_member *member);
/* The advert of this index is not in the round any more. */
void stn_secagg_server_keep_gone(struct stn_secagg_server_turn *turn, uint32_t index);

#endif
