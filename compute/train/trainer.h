/* trainer: an adapter learns from a dataset, step by step. One trainer is one network with its memory, and serves any
 * number of runs one after the other: a run is a dataset, a seed and a number of steps (a whole `sterna train`, or
 * one device's part of one federated round). Nothing is allocated in a step. Thread: one at a time.
 *
 *   new                       the network for the adapter's shapes
 *   set_values, start         a run: where it starts, what it learns from
 *   step, step, ... until done
 *   get_values                what came of it
 *
 * The same values, dataset, seed and config give the same values again, bit for bit, for any number of threads; a run
 * that is saved (checkpoint.h) and taken up again cannot be told from one that never stopped. */
#ifndef STN_COMPUTE_TRAIN_TRAINER_H
#define STN_COMPUTE_TRAIN_TRAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/network.h"
#include "compute/train/batch.h"
#include "compute/train/dataset.h"
#include "compute/train/schedule.h"

#define STN_TRAINER_PASS 256 /* rows at which a pass is as fast a row as any longer one, and far smaller */

/* What the network is built for, and how every run learns. */
struct stn_trainer_config {
    size_t context;        /* tokens of an example, at most */
    size_t batch_tokens;   /* rows of a step, at least context; see stn_batch_config.step_rows */
    size_t pass_tokens;    /* rows of a pass, at least context and at most batch_tokens. Fewer take less memory: the
                              gradients of a step's passes add up. 0: STN_TRAINER_PASS within these bounds */
    size_t batch_examples; /* not 0: exactly so many examples a step, whatever their rows */
    double lr;             /* the schedule's peak */
    enum stn_schedule_shape schedule;
    double warmup;
    double clip;           /* global norm, 0: none */
    double beta1, beta2, eps, weight_decay; /* AdamW (Loshchilov and Hutter, 2019) */
    enum stn_backward backward;
    enum stn_slice slice;  /* as in stn_network_config */
    float dropout;         /* as in stn_network_config */
    bool evaluates;        /* as in stn_network_config: a watch will look */
    uint32_t recompute;    /* as in stn_network_config: less memory, the same values */
    unsigned n_threads;
    uint64_t seed;         /* of stochastic rounding and dropout */
    const char *backend;   /* as in stn_network_config */
};

/* context 512, batch_tokens 2048, lr 1e-4, cosine with warm-up 0.1, clip 1, AdamW 0.9 0.999 1e-8 without decay,
 * int8 backward, one thread, seed 0. */
struct stn_trainer_config stn_trainer_defaults(void);

size_t stn_trainer_pass_tokens(const struct stn_trainer_config *config); /* what pass_tokens comes to */
struct stn_network_config stn_trainer_shape(const struct stn_trainer_config *config); /* of the network that it trains */

/* One run. What it points to is borrowed until the next start or free. */
struct stn_trainer_run {
    const struct stn_dataset *dataset;
    uint64_t n_steps;      /* 0: as many as n_epochs take */
    uint64_t n_epochs;     /* 0 with n_steps 0: as many as n_rows take */
    uint64_t n_rows;       /* the run ends with the step that reaches so many rows; 0: no such limit */
    uint64_t seed;         /* of the examples' order */
    bool keep_moments;     /* go on with the optimiser's state; otherwise it starts fresh */
    double prox;           /* FedProx (Li et al., 2020): the gradient gets prox * (value - anchor). 0: none */
    const float *anchor;   /* (n_values), where prox > 0 */
    /* Asked between passes; true ends the step with STN_CANCELLED. NULL: never. */
    bool (*stopping)(void *context);
    void *stopping_context;
};

/* What one step was. */
struct stn_trainer_step {
    uint64_t step;  /* from 1 */
    uint64_t epoch; /* from 0, of the last example */
    double loss;    /* mean over the step's targets before the update, nats */
    double norm;    /* of the gradient before the clip */
    double lr;
    uint64_t n_examples, n_rows, n_targets;
};

/* Over a run. A tenth is max(1, n_steps / 10) steps. */
struct stn_trainer_totals {
    uint64_t n_examples, n_rows, n_targets;
    double first_sum, last_sum;    /* losses of the first and of the last tenth */
    uint64_t n_first, n_last;      /* how many of them have been */
    double loss;                   /* of the last step */
};

struct stn_trainer;

/* adapter gives shapes, scale and first values, and is not kept. model outlives the trainer. */
enum stn_code stn_trainer_new(struct stn_trainer **ret, const struct stn_model *model,
                              const struct stn_adapter *adapter, const struct stn_trainer_config *config,
                              struct stn_err *err) STN_CHECKED;
void stn_trainer_free(struct stn_trainer *trainer);

struct stn_network *stn_trainer_network(struct stn_trainer *trainer); /* to evaluate with what was learned */
size_t stn_trainer_n_values(const struct stn_trainer *trainer);
size_t stn_trainer_pass_rows(const struct stn_trainer *trainer); /* of a pass, at most */
void stn_trainer_set_values(struct stn_trainer *trainer, const float *values);
void stn_trainer_get_values(const struct stn_trainer *trainer, float *values);

/* Begins a run from the values as they are. Errors are those of stn_batch_new. */
enum stn_code stn_trainer_start(struct stn_trainer *trainer, const struct stn_trainer_run *run,
                                struct stn_err *err) STN_CHECKED;
uint64_t stn_trainer_n_steps(const struct stn_trainer *trainer); /* of the run */
uint64_t stn_trainer_n_done(const struct stn_trainer *trainer);
bool stn_trainer_is_done(const struct stn_trainer *trainer);

/* One step; not after the last. STN_CORRUPT, naming the example (of a gradient: those of the pass), when a loss or the gradient is not finite;
 * STN_CANCELLED when run.stopping said so. After either the step has not been: values, moments and position are as they were. */
enum stn_code stn_trainer_step(struct stn_trainer *trainer, struct stn_trainer_step *ret,
                               struct stn_err *err) STN_CHECKED;

struct stn_trainer_totals stn_trainer_totals(const struct stn_trainer *trainer);
/* The means of a run's first and last tenth; of the last step where a tenth has not been reached. */
double stn_trainer_loss_first(const struct stn_trainer *trainer);
double stn_trainer_loss_last(const struct stn_trainer *trainer);

/* Everything that the rest of a run depends on. The pointers are the caller's, (n_values) each. */
struct stn_trainer_state {
    uint64_t n_done, n_steps;
    struct stn_batch_position position;
    struct stn_trainer_totals totals;
    uint64_t n_updates; /* the optimiser's */
    float *values, *m, *v;
};
enum stn_code stn_trainer_save(const struct stn_trainer *trainer, struct stn_trainer_state *ret, struct stn_err *err) STN_CHECKED;
/* STN_INVALID when it cannot be a state of the run that was started. */
enum stn_code stn_trainer_can_restore(const struct stn_trainer *trainer, const struct stn_trainer_state *state,
                                      struct stn_err *err) STN_CHECKED;
/* Into a run that was started in the same way. STN_INVALID, and nothing changed, when that cannot be. */
enum stn_code stn_trainer_restore(struct stn_trainer *trainer, const struct stn_trainer_state *state,
                                  struct stn_err *err) STN_CHECKED;

#endif
