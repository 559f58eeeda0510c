/* event: what happens to one device's agent, and when. Everything in an event is borrowed for the
 * step. */
#ifndef STN_CLIENT_CORE_EVENT_H
#define STN_CLIENT_CORE_EVENT_H

#include "client/core/record.h"
#include "proto/msg.h"

enum stn_client_event_type {
    STN_CLIENT_START,      /* with the record that was on disk, or a zeroed one */
    STN_CLIENT_TIME,       /* the time asked for by WAKE has come */
    STN_CLIENT_CONSENTS,   /* what the owner allows; replaces what was allowed before */
    STN_CLIENT_FLOORS,     /* what the owner asks of rounds; replaces what the agent was made with */
    STN_CLIENT_CONDITIONS, /* may the device work now (power, heat, network, user, pause) */
    STN_CLIENT_REPLY,      /* to the ASK of this number */
    STN_CLIENT_FAILED,     /* the ASK of this number found no reply: code */
    STN_CLIENT_FETCHED,    /* after FETCH: the blob is here (STN_OK), or code */
    STN_CLIENT_TRAINED,  /* after TRAIN: the delta is on disk, or code (STN_CANCELLED after CANCEL,
                            STN_LATE when a delta of that lease has left the device already) */
    STN_CLIENT_ENCODED,  /* after ENCODE: the packed vector is there, its digest and size, or code
                          */
    STN_CLIENT_SENT,     /* after SEND: every chunk has arrived, or code */
    STN_CLIENT_INSTALLED /* after INSTALL: the released adapter is in place, or the old one was
                            kept, or code */
};

struct stn_client_event {
    enum stn_client_event_type type;
    uint64_t now_ms; /* wall clock */
    union {
        struct stn_agent_record record; /* START */
        struct {
            uint32_t n;
            struct stn_consent consents[STN_MSG_TASKS];
        } consents;
        struct {
            uint32_t n_min;
            bool allows_plain;
        } floors;
        bool may_work; /* CONDITIONS */
        struct {
            uint64_t ask;
            const struct stn_msg *msg;
            struct stn_digest config; /* of a round_config: H of its encoding; zero when its
                                         signature is not the coordinator's */
            const struct stn_secagg_client_entropy
                *entropy; /* with a round_config: fresh secrets, which are written nowhere; the
                             shell wipes its own after the step */
        } reply;
        struct {
            uint64_t ask;
            enum stn_code code;
        } failed;
        struct {
            struct stn_digest digest;
            enum stn_code code;
        } fetched;
        struct {
            uint64_t lease;
            enum stn_code code;
            uint64_t n_samples;
            uint32_t tier; /* of the ranks that were trained */
        } trained;
        struct {
            struct stn_round_id round;
            enum stn_code code;
            struct stn_digest digest;
            uint64_t size;
        } encoded;
        struct {
            struct stn_round_id round;
            enum stn_code code;
        } sent;
        struct {
            char task[STN_MSG_NAME];
            enum stn_code code; /* STN_OK also when the old one was kept */
            struct stn_holdout holdout;
            bool has_holdout;
        } installed;
    };
};

#endif
