/* desk: what a device needs open to train or to judge: the base model, an adapter, the owner's examples without a
 * tenth that is held out for good (the same for every version, so that no training ever sees it).
 * Thread: one at a time. */
#ifndef STN_CLIENT_SHELL_DESK_H
#define STN_CLIENT_SHELL_DESK_H

#include "base/err.h"
#include "compute/model/adapter.h"
#include "compute/model/network.h"
#include "compute/model/tokenizer.h"
#include "compute/train/dataset.h"
#include "compute/train/evaluate.h"
#include "proto/msg.h"

#define STN_DESK_HELD 0.1 /* share of the examples */

struct stn_desk {
    struct stn_model *model;
    struct stn_tokenizer *tokenizer;
    struct stn_adapter *adapter;
    struct stn_dataset *kept, *held;
    unsigned n_threads;
};

struct stn_desk_paths {
    const char *base, *adapter, *data;
    const char *packed; /* the folder in which a large base lies packed for the next time; NULL: in memory */
};

/* A base of more than memory (0: any) is streamed. n_threads 0: one a processor. The caller closes *ret; zeroed is fine there. */
enum stn_code stn_desk_open(struct stn_desk *ret, const struct stn_desk_paths *paths, const struct stn_dataset_config *data,
                            const struct stn_id *device, uint64_t memory, unsigned n_threads, struct stn_err *err) STN_CHECKED;
void stn_desk_close(struct stn_desk *desk);

/* How the held-out tenth is predicted with an adapter; NULL: by the base alone. STN_CANCELLED when at stopped it. */
enum stn_code stn_desk_judge(const struct stn_desk *desk, const struct stn_adapter *adapter, stn_evaluate_at *at,
                             void *context, struct stn_evaluate_result *ret, struct stn_err *err) STN_CHECKED;

/* The digest of the base model that an adapter file was made for. STN_NOT_FOUND when it does not say. */
enum stn_code stn_desk_base_of(const char *adapter, struct stn_digest *ret, struct stn_err *err) STN_CHECKED;

#endif
