/* effect: what the agent's shell must do after a step, in this order. SAVE is on disk before any
 * ASK, SEND or ENCODE behind it begins. What an ASK points to lasts until the next step. At most one of FETCH, TRAIN, ENCODE, SEND and INSTALL is
 * under way, and one ASK is waited for: a new ASK means that an older one's reply is wanted no
 * more. */
#ifndef STN_CLIENT_CORE_EFFECT_H
#define STN_CLIENT_CORE_EFFECT_H

#include "client/core/event.h"

enum stn_client_effect_type {
    STN_CLIENT_SAVE,   /* record */
    STN_CLIENT_ASK,    /* ask, msg: the shell signs advertise and put_end -> REPLY or FAILED */
    STN_CLIENT_WAKE,   /* at_ms: replaces an earlier one; UINT64_MAX: never */
    STN_CLIENT_FETCH,  /* blob: bring it into the cache, chunk by chunk, from where it stopped ->
                          FETCHED */
    STN_CLIENT_TRAIN,  /* lease: make its delta -> TRAINED. The same lease makes the same delta */
    STN_CLIENT_CANCEL, /* stop the fetch, training, encoding, sending or installing under way; its
                          event still comes and says STN_CANCELLED, or what became of it */
    STN_CLIENT_ENCODE, /* round, config, lease, n_samples, masks: pack the delta under its masks ->
                          ENCODED */
    STN_CLIENT_SEND, /* round, upload digest and size: put_begin and the chunks that are missing ->
                        SENT */
    STN_CLIENT_INSTALL, /* task, version, adapter (already fetched): put the released adapter in
                           place -> INSTALLED */
    STN_CLIENT_EVIDENCE, /* evidence: two statements of the coordinator that cannot both be: on disk
                            before anything behind it */
    STN_CLIENT_DISCARD, /* lease: its delta and packed vector are wanted no more */
    STN_CLIENT_TRACE
};

struct stn_client_effect {
    enum stn_client_effect_type type;
    union {
        struct stn_agent_record record;
        struct {
            uint64_t ask;
            struct stn_msg msg;
        } ask;
        uint64_t at_ms;
        struct stn_blob_ref blob;
        struct stn_msg_lease lease; /* TRAIN, DISCARD */
        struct {
            struct stn_msg_round_config config;
            struct stn_digest config_digest;
            struct stn_msg_lease lease;
            uint64_t n_samples;
            uint32_t tier;            /* ENCODE: ranks above it are left out of the delta */
            struct stn_digest upload; /* SEND */
            uint64_t upload_size;     /* SEND */
            const struct stn_mask *masks; /* ENCODE, of a secure round: until the next step; secret */
            size_t n_masks;
        } round;                      /* ENCODE, SEND */
        struct {
            char task[STN_MSG_NAME];
            uint64_t version;
            struct stn_blob_ref adapter;
        } install;
        struct stn_secagg_client_evidence evidence;
        struct {
            const char *event; /* a literal */
            char task[STN_MSG_NAME];
            uint64_t number;
            enum stn_code code;
        } trace;
    };
};

/* As struct stn_server_effects. */
struct stn_client_effects {
    struct stn_client_effect *items;
    size_t n;
    size_t room;
};

#endif
