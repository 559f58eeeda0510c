/* watch: how a run does on examples that it does not learn from. At its start, now and then, and at its end the network is
 * evaluated with what it has learned; the values that did best are kept (they may be those it started from), and when
 * they have not been beaten for some time the run should stop (Prechelt, 1998, "Early stopping - but when?").
 * Thread: the trainer's. */
#ifndef STN_COMPUTE_TRAIN_WATCH_H
#define STN_COMPUTE_TRAIN_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/train/dataset.h"
#include "compute/train/evaluate.h"
#include "compute/train/trainer.h"

struct stn_watch_config {
    const struct stn_dataset *dataset; /* borrowed until free; no example longer than the trainer's context */
    uint64_t every;                    /* steps between two looks, at least 1 */
    uint64_t patience;                 /* looks without a better one after which to stop, 0: never */
};

/* What the looks have come to, and all that a run which is taken up again has to know of them. */
struct stn_watch_state {
    uint64_t n_looks, n_worse;  /* n_worse: since the best one */
    uint64_t last_step;         /* of the last look; steps count from 0, before the first */
    uint64_t best_step;
    double first_loss, last_loss, best_loss; /* nats a target */
    double last_accuracy, best_accuracy;     /* as stn_evaluate_accuracy */
};

struct stn_watch;

/* For the trainer's run. The caller frees *ret, before the trainer. STN_INVALID for a dataset without examples, STN_LIMIT for an example
 * that does not fit. */
enum stn_code stn_watch_new(struct stn_watch **ret, struct stn_trainer *trainer, const struct stn_watch_config *config,
                            struct stn_err *err) STN_CHECKED;
void stn_watch_free(struct stn_watch *watch);

/* Whether a look is due at the run's step: its first, each `every`-th, its last, and not taken yet. */
bool stn_watch_is_due(const struct stn_watch *watch);
/* Takes a look. at, context: as in stn_evaluate_run; stopped by it, the look has not been, and *ret says so. *ret may be wanted for
 * more than the state has. STN_CORRUPT when a loss is not finite. */
enum stn_code stn_watch_look(struct stn_watch *watch, stn_evaluate_at *at, void *context, struct stn_evaluate_result *ret,
                             struct stn_err *err) STN_CHECKED;
/* Patience is at an end: the run should take no further step. */
bool stn_watch_is_over(const struct stn_watch *watch);

const struct stn_watch_state *stn_watch_state(const struct stn_watch *watch);
const struct stn_watch_config *stn_watch_config(const struct stn_watch *watch);
/* The values of the best look, (n_values of the trainer); without a look so far, zeroes. */
const float *stn_watch_best(const struct stn_watch *watch);
/* As it was. STN_INVALID, and nothing changed, when it cannot be a state of this run. */
enum stn_code stn_watch_restore(struct stn_watch *watch, const struct stn_watch_state *state, const float *best,
                                struct stn_err *err) STN_CHECKED;

#endif
