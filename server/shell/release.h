/* release: adapters as blobs: a task's version 0, and from a round's sum the next version. The same inputs give the
 * same bytes: a release that a crash cut short is made again, and who has the round's updates can make it too.
 * Thread: a worker's. */
#ifndef STN_SERVER_SHELL_RELEASE_H
#define STN_SERVER_SHELL_RELEASE_H

#include <stdint.h>

#include "base/err.h"
#include "blob/blob.h"
#include "server/core/record.h"

/* Version 0 of the task: rank, alpha, targets and seed are spec's, the shape is that of the base model, which is in the
 * store. Fills in spec->n_values, n_values_b and digest. STN_INVALID or STN_UNSUPPORTED when the base cannot be trained. */
enum stn_code stn_release_first(const struct stn_blob_store *store, struct stn_task_spec *spec,
                                struct stn_blob_ref *ret, struct stn_err *err) STN_CHECKED;

struct stn_release_input {
    const struct stn_task_spec *spec;
    const struct stn_msg_round_config *config;
    const struct stn_version_record *from; /* its blobs are in the store */
    const uint32_t *sum;                   /* stn_encode_length elements */
    uint32_t n_included, tier;             /* as in stn_merge_input */
};

struct stn_release_output {
    struct stn_blob_ref adapter;
    struct stn_blob_ref state; /* size 0: the optimiser keeps none */
    struct stn_totals totals;
    double clip_norm;
};

/* STN_CORRUPT when the sum is not one of n_included updates, or a blob is not what it should be. */
enum stn_code stn_release_next(const struct stn_blob_store *store, const struct stn_release_input *input,
                               struct stn_release_output *ret, struct stn_err *err) STN_CHECKED;

#endif
