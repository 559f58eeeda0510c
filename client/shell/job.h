/* job: what a device computes for a lease: from the released adapter's values to a delta. The live agent and the
 * simulator call the same functions on a worker thread. The same inputs give the same delta, bit for bit: a training
 * that a restart cut short is made again. Thread: one at a time for each trainer. */
#ifndef STN_CLIENT_SHELL_JOB_H
#define STN_CLIENT_SHELL_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/train/dataset.h"
#include "compute/train/trainer.h"
#include "proto/msg.h"
#include "update/encode.h"

/* How the task's settings build a trainer. n_threads and backward are the device's own. */
struct stn_trainer_config stn_job_trainer_config(const struct stn_train_spec *spec, enum stn_backward backward,
                                                 unsigned n_threads);

/* The factors that train. */
enum stn_slice stn_job_slice(const struct stn_train_spec *spec);

/* The order of a device's examples in a round: of the task's seed, the version and who it is. */
uint64_t stn_job_seed(uint64_t task_seed, uint64_t version, const struct stn_id *device);

struct stn_job_input {
    const struct stn_train_spec *spec;
    const struct stn_dataset *dataset;
    const struct stn_adapter *shape; /* what the trainer was made for: the adapter, or its first ranks */
    const float *from;               /* (n_values) its values as released */
    uint64_t seed;
    bool (*stopping)(void *context); /* NULL: never */
    void *stopping_context;
};

struct stn_job_result {
    double loss;     /* mean over the round's targets, before each update */
    struct stn_encode_info info; /* for the encoding */
    uint64_t n_rows; /* tokens that went through the model: the work it was */
};

/* What a round makes of a delta that was trained from this version: its discount, and at most the ranks of this tier. shape
 * is the whole adapter's; NULL where the tier is the delta's own. */
enum stn_code stn_job_enter(const struct stn_msg_round_config *config, uint64_t version, uint32_t tier,
                            const struct stn_adapter *shape, float *delta, struct stn_encode_info *info,
                            struct stn_err *err) STN_CHECKED;

/* delta = values after training - from, of the slice that trains; there must be room for n_values. STN_CANCELLED when
 * stopping said so. */
enum stn_code stn_job_train(struct stn_trainer *trainer, const struct stn_job_input *input, float *delta,
                            struct stn_job_result *ret, struct stn_err *err) STN_CHECKED;

#endif
