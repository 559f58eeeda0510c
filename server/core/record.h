/* record: the rows that outlive the process. The core says SAVE with a whole record, the shell
 * writes it within the turn's transaction, and after a restart gives every record back, in any
 * order, by RESTORE. Records hold no padding that matters, and no pointers but one: the bytes of a
 * secagg record are borrowed, from the core until its next step, from the shell for the step. The
 * shell's store maps records to SQLite columns. Thread: values. */
#ifndef STN_SERVER_CORE_RECORD_H
#define STN_SERVER_CORE_RECORD_H

#include "proto/msg.h"
#include "server/core/secagg_server.h"

/* Which LoRA factors train. */
enum stn_lora {
    STN_LORA_BOTH = 0,
    STN_LORA_FFA = 1,      /* B alone: A stays as it was drawn */
    STN_LORA_ALTERNATE = 2 /* B from even versions, A from odd ones: a factor at a time */
};

enum stn_outer { /* formulas: server/shell/outer.h */
    STN_OUTER_AVG = 0,
    STN_OUTER_NESTEROV = 1,
    STN_OUTER_MOMENTUM = 2,
    STN_OUTER_ADAM = 3,
    STN_OUTER_YOGI = 4
};
#define STN_OUTER_KINDS 5

struct stn_outer_spec {
    uint32_t kind; /* enum stn_outer */
    double rate, momentum;
    double beta1, beta2, eps; /* of adam and yogi */
};

/* A task's settings, as an operator gave them (interface.md, "A task"). */
struct stn_task_spec {
    char name[STN_MSG_NAME];
    struct stn_digest digest; /* of the settings, for cfg */
    struct stn_blob_ref base;
    struct stn_train_spec train; /* but for its factor: that is the version's, by lora */
    uint32_t lora;               /* enum stn_lora */
    uint64_t n_values;           /* of the adapter */
    uint64_t n_values_b;         /* those of them that are of B factors */
    uint32_t target;   /* members of a cohort */
    uint32_t n_min;
    double over_select;      /* leases given for one version: target * over_select, rounded up */
    uint64_t join_window_ms; /* from the first join until the cohort closes at the latest */
    uint64_t report_deadline_ms; /* a lease's life: training must end within it */
    uint64_t upload_ms;          /* from the roster until the cohort merges at the latest */
    uint32_t staleness;          /* versions that a delta may be behind; 0: synchronous */
    double discount;             /* a delta that is a versions behind weighs (1 + a)^-discount */
    bool secure;                /* what follows is of secure rounds (secagg/bound.h) */
    double gamma, delta;        /* shares of a roster: adversaries, and losses after sharing */
    uint32_t sigma, eta;
    uint64_t share_ms, ack_ms, unmask_ms; /* stages last so long, at most */
    struct stn_outer_spec outer;
    double clip_norm, clip_quantile; /* C to begin with, and the share that should be unclipped;
                                        quantile 0: C is fixed */
    uint32_t weight_max;
    uint32_t bits;
    uint64_t n_rounds; /* versions to make, then the task is finished; 0: no end */
    uint64_t seed;
};

enum stn_task_state { STN_TASK_RUNNING = 0, STN_TASK_PAUSED = 1, STN_TASK_FINISHED = 2 };

struct stn_task_record {
    struct stn_task_spec spec;
    uint32_t state;    /* enum stn_task_state */
    uint64_t version;  /* the released one */
    double clip_norm;  /* of the next round */
    uint64_t n_leases; /* ever given: a lease's number */
    uint64_t created_ms;
};

struct stn_totals { /* what a merge learned besides the mean */
    uint32_t n_included;
    double weight, loss, tokens;
    double share_clipped;
};

struct stn_version_record {
    char task[STN_MSG_NAME];
    uint64_t version; /* 0: the first, before any round */
    struct stn_blob_ref adapter, state;
    struct stn_round_id round; /* zero for version 0 */
    struct stn_totals totals;
    uint64_t created_ms;
};

enum stn_round_state {
    STN_ROUND_JOINING = 0,
    STN_ROUND_UPLOADING = 1,
    STN_ROUND_MERGING = 2, /* the included set is fixed: uploaded members of this record's round */
    STN_ROUND_DONE = 3,
    STN_ROUND_VOID = 4
};

struct stn_round_record {
    struct stn_round_id round;
    char task[STN_MSG_NAME];
    uint64_t number;                    /* counts a task's rounds, the void ones too */
    uint64_t version;                   /* that it starts from */
    uint32_t state;                     /* enum stn_round_state */
    uint32_t code;                      /* of VOID: why */
    uint64_t opened_ms, deadline_ms;    /* deadline of the stage */
    struct stn_msg_round_config config; /* as it was sent, but for the signature */
    uint32_t n_roster;                  /* members of the roster, once it is made */
    uint32_t tier;                      /* of the roster: ranks above it are in no delta */
    uint64_t result_version;            /* of DONE */
};

enum stn_member_state {
    STN_MEMBER_JOINED = 0,     /* has the config */
    STN_MEMBER_ADVERTISED = 1, /* is in the roster, when that is made */
    STN_MEMBER_UPLOADED = 2,   /* its bytes are on disk and checked: it counts */
    STN_MEMBER_LOST = 3
};

struct stn_member_record {
    struct stn_round_id round;
    struct stn_id device;
    uint32_t state; /* enum stn_member_state */
    uint64_t lease, n_samples;
    uint32_t tier;            /* of the ranks that it has trained */
    struct stn_digest upload; /* tree digest of the packed vector */
    uint64_t upload_size;
};

struct stn_lease_record {
    char task[STN_MSG_NAME];
    uint64_t lease;
    struct stn_id device;
    uint64_t version;
    uint64_t given_ms, expires_ms;
    bool spent; /* its delta's upload has begun: never again, whatever became of it */
};

struct stn_secagg_record { /* of an open secure round */
    struct stn_round_id round;
    struct stn_secagg_server_record of;
};

struct stn_quarantine_record { /* a device that has lied in a round: it gets no lease any more */
    struct stn_id device;
    struct stn_round_id round;
    uint64_t since_ms;
};

enum stn_record_type {
    STN_RECORD_TASK,
    STN_RECORD_VERSION,
    STN_RECORD_ROUND,
    STN_RECORD_MEMBER,
    STN_RECORD_LEASE,
    STN_RECORD_SECAGG,
    STN_RECORD_QUARANTINE
};

struct stn_record {
    enum stn_record_type type;
    union {
        struct stn_task_record task;       /* key: spec.name */
        struct stn_version_record version; /* key: task, version */
        struct stn_round_record round;     /* key: round */
        struct stn_member_record member;   /* key: round, device */
        struct stn_lease_record lease;     /* key: task, lease */
        struct stn_secagg_record secagg;   /* key: round, kind, index; FORGET: all of the round */
        struct stn_quarantine_record quarantine; /* key: device */
    };
};

#endif
