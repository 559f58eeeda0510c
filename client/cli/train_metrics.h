/* train_metrics: --metrics of `sterna train`: one JSON object a line, for each step and each look at the validation set, each
 * once however often the run is taken up again. Thread: the main one. */
#ifndef STN_CLIENT_CLI_TRAIN_METRICS_H
#define STN_CLIENT_CLI_TRAIN_METRICS_H

#include <stdio.h>

#include "base/err.h"
#include "compute/train/trainer.h"
#include "compute/train/watch.h"
#include "io/file.h"

/* Zeroed is closed; without a path nothing is written. */
struct stn_train_metrics {
    char path[STN_FILE_PATH_MAX];
    FILE *file;
};

/* Keeps the first n_kept lines of what is there, and nothing behind them. */
enum stn_code stn_train_metrics_open(struct stn_train_metrics *metrics, uint64_t n_kept, struct stn_err *err) STN_CHECKED;
void stn_train_metrics_close(struct stn_train_metrics *metrics); /* it can be opened again */

/* Seconds are those that the step, or the look, took. The line is in the file when it returns. */
enum stn_code stn_train_metrics_step(struct stn_train_metrics *metrics, const struct stn_trainer_step *step, double took_s,
                                     struct stn_err *err) STN_CHECKED;
enum stn_code stn_train_metrics_look(struct stn_train_metrics *metrics, const struct stn_watch_state *state, double took_s,
                                     struct stn_err *err) STN_CHECKED;

#endif
