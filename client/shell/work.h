/* work: what a device computes on a worker thread: a lease's delta, its encoding for a round, and whether a released
 * adapter is better here than the one in place. One at a time; everything it needs is copied into it.
 * Thread: set up and read on the loop, run on a worker. */
#ifndef STN_CLIENT_SHELL_WORK_H
#define STN_CLIENT_SHELL_WORK_H

#include "base/err.h"
#include "blob/blob.h"
#include "client/core/effect.h"
#include "client/shell/delta.h"
#include "crypto/mask.h"
#include "io/file.h"
#include "io/worker.h"

/* A release may do a little worse on so few examples, and still be the better one: in nats a target. */
#define STN_WORK_TOLERANCE 0.05

enum stn_work_kind {
    STN_WORK_NONE = 0,
    STN_WORK_NAME,    /* base: its digest */
    STN_WORK_TRAIN,   /* base, adapter, data -> out, made: the delta */
    STN_WORK_ENCODE,  /* made, or else delta -> packed: the vector, under its masks */
    STN_WORK_INSTALL  /* base, adapter, data -> out: the adapter in place. base "": put in place without a judgement */
};

#define STN_WORK_AUTO "auto"
#define STN_WORK_KEPT ((size_t)16 << 20) /* bytes of values that wait for their round in memory, too */

struct stn_work {
    struct stn_job job;
    enum stn_work_kind kind;
    char base[STN_FILE_PATH_MAX], adapter[STN_FILE_PATH_MAX], data[STN_FILE_PATH_MAX];
    char delta[STN_FILE_PATH_MAX], out[STN_FILE_PATH_MAX];
    struct stn_id device;
    unsigned n_threads;
    uint64_t memory; /* at most; 0: any */
    uint32_t rank;   /* TRAIN: at most; 0: any */
    const char *backend;     /* TRAIN: as in stn_network_config; NULL: the processor; STN_WORK_AUTO: what is faster (choose.h) */
    char folder[STN_FILE_PATH_MAX]; /* the device's: what AUTO took, and in models/ a large base packed; "": neither is kept */
    struct stn_err fell_back; /* TRAIN, given: why the backend did not, and the processor did; code STN_OK: it did */
    struct stn_msg_lease lease;         /* TRAIN, ENCODE */
    struct stn_msg_round_config config; /* ENCODE */
    struct stn_mask *masks;             /* ENCODE, of a secure round: secret, the work's own; NULL: none */
    size_t n_masks;
    uint64_t n_samples;                 /* ENCODE: as was told to the coordinator; TRAIN: what came out */

    uint32_t tier;                      /* the same of the ranks in the delta */

    enum stn_code code; /* what came of it */
    struct stn_err err;
    struct stn_digest digest; /* NAME: of the file; ENCODE: of packed; INSTALL: of the adapter, given */
    uint64_t size;
    struct stn_delta made;    /* TRAIN, given when it is small enough; ENCODE: used up. The work's own */
    uint8_t *packed;          /* ENCODE: (size) bytes, whoever takes them frees them by stn_work_free_packed */
    double loss;              /* TRAIN */
    bool has_holdout;         /* INSTALL */
    struct stn_holdout holdout;
};

/* The masks are wiped: when a work is done, whether it ran or not. What was made and packed is wiped and freed. A zeroed one is fine. */
void stn_work_fini(struct stn_work *work);

/* Wipes what ENCODE packed, which in a plain round is the delta in clear, and frees it. NULL is fine. */
void stn_work_free_packed(uint8_t *packed, uint64_t size);

/* What was made goes to the work, for its round, unless it is too large: then it stays in delta. */
void stn_work_keep_made(struct stn_work *work, struct stn_delta *delta);

/* The job's run; done and all inputs are set by the caller. */
void stn_work_run(struct stn_job *job);

#endif
