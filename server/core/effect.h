/* effect: what the coordinator's shell must do after a step, in this order. SAVE and FORGET belong
 * to one transaction that commits before any REPLY leaves: nothing is promised before it is on
 * disk. Thread: values. */
#ifndef STN_SERVER_CORE_EFFECT_H
#define STN_SERVER_CORE_EFFECT_H

#include "server/core/event.h"

enum stn_server_effect_type {
    STN_SERVER_SAVE,   /* record: write or replace it */
    STN_SERVER_FORGET, /* record (its key alone matters): delete it */
    STN_SERVER_REPLY,  /* ticket, msg; the shell signs round_config, roster and result */
    STN_SERVER_TELL,   /* ticket, tell: as REPLY, with what stn_coordinator_tell says, now or later: it
                          is signed already, and too large for all of them to be made at once */
    STN_SERVER_ANSWER, /* ticket, code: an operator's command is done */
    STN_SERVER_WAKE,   /* at_ms: send TIME then; replaces an earlier WAKE. UINT64_MAX: never */
    STN_SERVER_SPOOL,  /* ticket, upload (digest not known yet): make the spool if it is not there,
                          reply with what is  missing */
    STN_SERVER_CHECK,  /* upload: does the spool hold the digest's bytes? -> UPLOAD_CHECKED */
    STN_SERVER_ADD, /* upload: it counts; add the spool to the round's accumulator (after START: all
                       over again, unless a snapshot holds it) */
    STN_SERVER_DROP,  /* upload: its bytes are wanted no more */
    STN_SERVER_UNMASK, /* unmask: every ADD is done; its masks, which are secret and the core's until
                          the next step, come off the round's sum, the first ones off the sum as the
                          ADDs have it -> UNMASKED */
    STN_SERVER_MERGE, /* round: every ADD is done; make the next version -> MERGED. May be repeated
                         after a crash and must then give the same bytes */
    STN_SERVER_CLOSE, /* merge.round: done or void; its spools and accumulator go, counted or
                         not; said again after START */
    STN_SERVER_TRACE  /* trace: a fact for logs, transcripts and metrics */
};

struct stn_server_upload {
    struct stn_round_id round;
    struct stn_id device;
    struct stn_digest digest;
    uint64_t size;
};

struct stn_server_effect {
    enum stn_server_effect_type type;
    stn_ticket ticket;
    union {
        struct stn_record record;
        struct stn_msg msg; /* without borrowed pointers */
        struct stn_server_tell {
            struct stn_round_id round;
            struct stn_id device;
            uint32_t stage; /* enum stn_stage: that was polled for */
        } tell;
        enum stn_code code;
        uint64_t at_ms;
        struct stn_server_upload upload;
        struct {
            struct stn_round_id round;
            const struct stn_mask *masks;
            size_t n;
            bool is_first;
        } unmask;
        struct { /* MERGE, CLOSE */
            struct stn_round_id round;
            struct stn_msg_round_config config;
            uint32_t tier; /* ranks above it are in the deltas of fewer than n_min */
            struct stn_version_record from; /* of MERGE: the version that deltas started from:
                                               adapter and optimiser state */
            struct stn_task_spec spec;      /* of MERGE */
            uint32_t n_included;
        } merge;
        struct {
            const char
                *event; /* a literal: "lease", "join", "roster", "uploaded", "merged", "void" ... */
            char task[STN_MSG_NAME];
            struct stn_id device; /* or zero */
            uint64_t number;      /* round, version or lease, as the event says */
            enum stn_code code;
        } trace;
    };
};

/* The effects of one step. The shell owns it, clears it before a step and applies it after. Growing
 * it is the only allocation of a step; when that fails the process ends (crash-only), as the step
 * cannot be undone. */
struct stn_server_effects {
    struct stn_server_effect *items;
    size_t n;
    size_t room;
};

#endif
