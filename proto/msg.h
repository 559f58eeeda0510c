/* msg: what devices and the coordinator say to each other, as plain structs. The cores read and write these and
 * nothing else; codec.h turns them into the bytes of sterna.proto and back. Requests come from the device, each has
 * one reply. A request that changes something may be repeated: it is idempotent by (round, device, stage).
 *
 * A round on the wire:
 *   check_in -> lease | come_back                           what to train, or when to ask again
 *   get_leaves -> leaves, get_chunk -> chunk                the base model and the adapter, by digest
 *   (the device trains)
 *   join -> round_config | come_back                        a cohort for a finished delta
 *   advertise -> ok                                         the device has signed the config: it takes part
 *   poll(ADVERTISE) -> roster | voided | wait               how many take part
 *   put_begin -> missing, put_chunk -> ok, put_end -> ok    the encoded delta
 *   poll(UPLOAD) -> result | voided | wait                  the merged adapter's digest
 * Any request may be answered by refused, with a code.
 *
 * With secure aggregation advertise carries the device's keys, and there is more between the roster and the result:
 *   poll(ADVERTISE) -> roster                               with the neighbours' adverts, and what proves them
 *   share -> ok, poll(SHARE) -> deliver                     sealed shares for the neighbours; who of them has shared
 *   (the masked delta, as above)
 *   poll(UPLOAD) -> survivors                               whose delta counts
 *   ack -> ok, poll(ACK) -> acks                            the neighbours have been told the same
 *   unmask -> ok, poll(UNMASK) -> result                    the key of one share of every neighbour
 *
 * Bytes and strings in a decoded message are borrowed from the decoder's arena. Thread: values. */
#ifndef STN_PROTO_MSG_H
#define STN_PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/digest.h"

/* Limits, checked before anything is allocated. */
#define STN_MSG_NAME 64               /* a task's name with its zero: [a-z0-9._-]+ */
#define STN_MSG_TASKS 16              /* tasks in one check-in */
#define STN_MSG_CHUNK (256u * 1024)   /* bytes of a blob's or an upload's chunk */
#define STN_MSG_CHUNKS 3              /* of them in one message */
#define STN_MSG_LEAVES 16384          /* chunks of one blob: 4 GiB */
#define STN_MSG_BYTES (1024u * 1024 - 4096) /* one encoded message */
#define STN_MSG_VALUES (1u << 28)     /* values of an adapter */
#define STN_MSG_NEIGHBOURS 1024       /* of a member of a secure round */
#define STN_MSG_PROOF 16384           /* hashes of a proof */
#define STN_MSG_HALVINGS 8            /* of a rank */
#define STN_MSG_BASES 17              /* versions that a round's deltas may start from */

#define STN_MSG_VERSION 1 /* of the protocol; negotiated in the handshake */

struct stn_id { /* a device's identity: its Ed25519 public key */
    uint8_t bytes[32];
};
struct stn_round_id {
    uint8_t bytes[16];
};

/* Which LoRA factor of an adapter trains and travels. */
enum stn_factor {
    STN_FACTOR_BOTH = 0,
    STN_FACTOR_A = 1,
    STN_FACTOR_B = 2
};

enum stn_train_schedule {
    STN_TRAIN_CONSTANT = 0,
    STN_TRAIN_LINEAR = 1,
    STN_TRAIN_COSINE = 2
};

/* How a device trains for a task: everything that the delta depends on besides the data. */
struct stn_train_spec {
    uint32_t rank;
    float alpha;
    uint32_t targets;        /* bit i: target i of q k v o gate up down */
    uint32_t local_steps;    /* optimiser steps a round; 0: local_epochs instead */
    uint32_t local_epochs;
    uint32_t batch_examples; /* examples a step; 0: as many whole ones as batch_tokens holds */
    uint32_t batch_tokens;   /* rows a step, at most */
    uint32_t ctx;            /* tokens of one example, at most */
    double lr;
    uint32_t schedule;       /* enum stn_train_schedule, over the steps of one round */
    double warmup;           /* share of the steps */
    double clip;             /* global gradient norm, 0: none */
    double weight_decay;
    double fedprox;          /* mu; 0: off */
    bool loss_all;           /* loss on prompts too */
    uint32_t factor;         /* enum stn_factor */
    uint32_t n_halvings;     /* a device of tier t, at most this, trains the first rank >> t ranks */
};

struct stn_blob_ref {
    struct stn_digest digest;
    uint64_t size;
};

/* What secure aggregation says, as bytes without gaps; numbers are little endian. */
struct stn_advert { /* a member's keys for one round; what is signed is in secagg/roster.h */
    uint8_t id[32];
    uint8_t transport[32]; /* E: shares for the member are sealed to it */
    uint8_t mask[32];      /* M: its masks come from it */
    uint8_t nonce[16];
    uint8_t version[8];    /* of the adapter that its delta starts from */
    uint8_t tier;          /* of the ranks that it has trained */
    uint8_t token[32], issued_at_s[8], certificate[64]; /* its enrolment (crypto/ident.h) */
    uint8_t signature[64];
};
struct stn_sealed { /* for one neighbour (secagg/share.h): a share of the self seed, and one of the mask seed */
    uint8_t boxes[2][56];
};
struct stn_opened { /* the key of one such box */
    uint8_t key[32];
};
struct stn_survivor {
    uint8_t survived; /* 0 or 1 */
    uint8_t upload[32]; /* digest of its vector, or zeroes */
};
struct stn_signature {
    uint8_t bytes[64];
};

/* ---- requests ---- */

/* How a released version did on the device's own held-out examples against what it had before. */
struct stn_holdout {
    struct stn_digest adapter;
    uint32_t n_targets;
    double loss_before, loss_after;
    bool kept_old;
};
struct stn_consent { /* a task that the device's owner allows, and what there is for it */
    char task[STN_MSG_NAME];
    uint64_t n_examples;
    uint64_t version; /* the released one that is in place; 0: none */
    uint64_t spent;   /* a lease whose delta has left the device, though the coordinator may not know; 0: none */
    bool has_holdout;
    struct stn_holdout holdout;
};
struct stn_msg_check_in {
    uint32_t n_min_floor; /* the device takes part in no smaller cohort, */
    bool secure_only;     /* and in none that is not secure */
    uint32_t n_consents;
    struct stn_consent consents[STN_MSG_TASKS];
};
struct stn_msg_get_leaves {
    struct stn_digest digest;
};
struct stn_msg_get_chunk {
    struct stn_digest digest;
    uint32_t index;
    uint32_t n; /* that many from index on, or as many as there are: 1 to STN_MSG_CHUNKS */
};
struct stn_msg_join {
    char task[STN_MSG_NAME];
    uint64_t lease;
    uint64_t version;  /* of the adapter that the delta starts from */
    uint64_t n_samples; /* examples that the delta has seen, the weight before its cap */
    uint32_t tier;      /* of the ranks that it has trained */
};
/* The device has checked and signed the config. */
struct stn_msg_advertise {
    struct stn_round_id round;
    struct stn_digest config; /* H of the encoded round_config */
    uint8_t signature[64];  /* Ed25519 by the device's identity over "SA1/advertise", config */
    bool has_advert;        /* in a secure round */
    struct stn_advert advert;
};
enum stn_stage { /* the stage whose end a poll waits for; the values travel */
    STN_STAGE_ADVERTISE = 1,
    STN_STAGE_SHARE = 2,
    STN_STAGE_UPLOAD = 3,
    STN_STAGE_ACK = 4,
    STN_STAGE_UNMASK = 5,
    STN_STAGE_DONE = 6
};
struct stn_msg_poll {
    struct stn_round_id round;
    uint32_t stage; /* enum stn_stage */
};
struct stn_msg_put_begin {
    struct stn_round_id round;
    uint64_t size; /* bytes of the packed vector */
};
struct stn_msg_put_chunk {
    struct stn_round_id round;
    uint32_t index; /* of the first of 1 to STN_MSG_CHUNKS whole ones */
    uint32_t size;
    const uint8_t *data;
};
struct stn_msg_put_end {
    struct stn_round_id round;
    struct stn_digest digest; /* tree digest of the packed vector */
    uint8_t signature[64];  /* Ed25519 over "SA1/upload", config, digest */
};
struct stn_msg_leave {
    struct stn_round_id round;
};
struct stn_msg_share {
    struct stn_round_id round;
    struct stn_digest commitment; /* H("SA1/b", the self seed) */
    uint32_t n_sealed;
    const struct stn_sealed *sealed; /* to every neighbour, by slot */
    uint8_t signature[64];
};
struct stn_msg_ack {
    struct stn_round_id round;
    struct stn_digest survivors; /* R3 */
    uint8_t signature[64];       /* over "SA1/ack", cfg, R, R3, the number of survivors */
};
struct stn_msg_unmask {
    struct stn_round_id round;
    struct stn_digest survivors; /* R3 */
    uint32_t n_slots;
    const uint32_t *slots; /* of the neighbours of whom it opens a share, rising */
    uint32_t n_opened;
    const struct stn_opened *opened; /* of each: the one of its self seed if it survived, else of its mask seed */
};

/* ---- replies ---- */

struct stn_msg_refused {
    uint32_t code;           /* enum stn_code */
    uint64_t retry_after_ms; /* 0: do not */
};
struct stn_release { /* an adapter to put in place: how a device that was in no round of it learns of it */
    char task[STN_MSG_NAME];
    uint64_t version;
    struct stn_blob_ref adapter;
};
struct stn_msg_come_back {
    uint64_t after_ms;
    bool has_release;
    struct stn_release release;
};
struct stn_msg_lease {
    uint64_t lease;
    char task[STN_MSG_NAME];
    uint64_t version;          /* of the adapter to start from */
    struct stn_blob_ref base;  /* the model */
    struct stn_blob_ref adapter;
    struct stn_train_spec train;
    uint32_t n_min;
    bool secure;
    uint64_t seed;             /* of the task: a device derives its own from it, the round and its identity */
    uint64_t expires_after_ms;
};
struct stn_msg_leaves {
    struct stn_digest digest;
    uint64_t size;
    uint32_t n_leaves;
    const struct stn_digest *leaves;
};
struct stn_msg_chunk {
    struct stn_digest digest;
    uint32_t index; /* of the first */
    uint32_t size;
    const uint8_t *data;
};
struct stn_base { /* a version that a round's deltas may start from, trained in the round's factor */
    struct stn_digest adapter;
    uint64_t version;
    double discount; /* of the weight of such a delta, in (0, 1] */
};
/* Signed by the coordinator; every device of a cohort must have the same. cfg = H(its encoding). */
struct stn_msg_round_config {
    struct stn_round_id round;
    uint32_t protocol;       /* STN_MSG_VERSION */
    char task[STN_MSG_NAME];
    struct stn_digest task_digest;  /* of the task's settings */
    struct stn_digest model;
    struct stn_digest adapter;      /* the version that deltas start from */
    uint64_t version;
    uint32_t factor;         /* enum stn_factor */
    uint64_t n_values;       /* d: values of a delta */
    uint32_t bits;           /* b */
    uint32_t n_max;          /* members at most: sets the step of the encoding */
    uint32_t n_min;
    double clip_norm;        /* C */
    uint32_t weight_max;     /* W_max in examples */
    uint8_t seed[32];        /* of the Hadamard diagonal */
    bool secure;
    uint64_t join_ms, upload_ms; /* how long the stages last, at most */
    double gamma, delta;         /* secure: secagg/bound.h */
    uint32_t sigma, eta;
    uint64_t share_ms, ack_ms, unmask_ms;
    uint32_t n_halvings;     /* as in stn_train_spec */
    uint32_t n_bases;
    struct stn_base bases[STN_MSG_BASES]; /* the newest first: it is the round's own */
    uint8_t signature[64];   /* Ed25519 by the coordinator over "SA1/config", cfg (cfg without this field) */
};
struct stn_msg_roster {
    struct stn_round_id round;
    uint32_t n_members;
    uint8_t root[32];      /* Merkle root of the adverts; zero when the round is not secure */
    uint8_t signature[64]; /* over "SA1/roster", cfg, n, root with the tier folded in */
    uint32_t index;        /* the receiver's own place; this and the rest in a secure round */
    uint32_t n_adverts;
    const struct stn_advert *adverts; /* the neighbours', by slot */
    uint32_t n_proof;
    const struct stn_digest *proof; /* that they and the receiver are at their places */
    uint32_t tier; /* ranks above this tier's are in no delta: too few members have them */
};
struct stn_msg_deliver {
    struct stn_round_id round;
    uint32_t n_slots;
    const uint32_t *slots; /* of the neighbours who have shared, rising */
};
struct stn_msg_survivors {
    struct stn_round_id round;
    struct stn_digest root; /* R3 */
    uint32_t n_survivors;   /* |U3| */
    uint8_t signature[64];  /* over "SA1/survivors", cfg, R, R3, the number */
    uint32_t n_members;
    const struct stn_survivor *members; /* the receiver and its neighbours, by index in the roster */
    uint32_t n_proof;
    const struct stn_digest *proof;
};
struct stn_msg_acks {
    struct stn_round_id round;
    uint32_t n_slots;
    const uint32_t *slots; /* of the neighbours that have acknowledged, rising */
    uint32_t n_signatures;
    const struct stn_signature *signatures;
};
struct stn_msg_missing { /* chunks of the upload that the coordinator does not have yet */
    struct stn_round_id round;
    uint32_t n_chunks; /* of the upload in all */
    uint32_t n_missing;
    const uint32_t *missing; /* rising */
};
struct stn_msg_result {
    struct stn_round_id round;
    char task[STN_MSG_NAME];
    uint64_t version; /* of the adapter that came out */
    struct stn_blob_ref adapter;
    uint32_t n_included;
    bool included;         /* this device's delta is in it */
    uint8_t signature[64]; /* over "SA1/result", cfg, adapter, n_included */
};
struct stn_msg_voided {
    struct stn_round_id round;
    uint32_t code; /* enum stn_code: why */
};

enum stn_msg_type { /* the numbers are the envelope's field numbers */
    STN_MSG_NONE = 0,
    STN_MSG_CHECK_IN = 1,
    STN_MSG_GET_LEAVES = 2,
    STN_MSG_GET_CHUNK = 3,
    STN_MSG_JOIN = 4,
    STN_MSG_ADVERTISE = 5,
    STN_MSG_POLL = 6,
    STN_MSG_PUT_BEGIN = 7,
    STN_MSG_PUT_CHUNK = 8,
    STN_MSG_PUT_END = 9,
    STN_MSG_LEAVE = 10,
    STN_MSG_SHARE = 11,
    STN_MSG_ACK = 12,
    STN_MSG_UNMASK = 13,
    STN_MSG_REFUSED = 32,
    STN_MSG_OK = 33,
    STN_MSG_COME_BACK = 34,
    STN_MSG_LEASE = 35,
    STN_MSG_LEAVES_ARE = 36,
    STN_MSG_CHUNK_IS = 37,
    STN_MSG_ROUND_CONFIG = 38,
    STN_MSG_ROSTER = 39,
    STN_MSG_MISSING = 40,
    STN_MSG_RESULT = 41,
    STN_MSG_VOIDED = 42,
    STN_MSG_WAIT = 43, /* no news yet: poll again */
    STN_MSG_DELIVER = 44,
    STN_MSG_SURVIVORS = 45,
    STN_MSG_ACKS = 46
};

struct stn_msg {
    enum stn_msg_type type;
    union {
        struct stn_msg_check_in check_in;
        struct stn_msg_get_leaves get_leaves;
        struct stn_msg_get_chunk get_chunk;
        struct stn_msg_join join;
        struct stn_msg_advertise advertise;
        struct stn_msg_poll poll;
        struct stn_msg_put_begin put_begin;
        struct stn_msg_put_chunk put_chunk;
        struct stn_msg_put_end put_end;
        struct stn_msg_leave leave;
        struct stn_msg_share share;
        struct stn_msg_ack ack;
        struct stn_msg_unmask unmask;
        struct stn_msg_refused refused;
        struct stn_msg_come_back come_back;
        struct stn_msg_lease lease;
        struct stn_msg_leaves leaves;
        struct stn_msg_chunk chunk;
        struct stn_msg_round_config round_config;
        struct stn_msg_roster roster;
        struct stn_msg_missing missing;
        struct stn_msg_result result;
        struct stn_msg_voided voided;
        struct stn_msg_deliver deliver;
        struct stn_msg_survivors survivors;
        struct stn_msg_acks acks;
    };
};

/* "check_in", "lease", ... for traces and logs; "unknown" for a number that is no type. */
const char *stn_msg_name(enum stn_msg_type type);
/* A request changes state (and so its reply is kept for a repetition) or only reads. */
bool stn_msg_is_request(enum stn_msg_type type);
bool stn_msg_changes_state(enum stn_msg_type type);

/* Task names: 1 to STN_MSG_NAME - 1 of [a-z0-9._-], not beginning with a dot. */
bool stn_msg_is_task_name(const char *name);

#endif
