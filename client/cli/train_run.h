/* train_run: one adapter of `sterna train`, from its data to its file. A command trains one or several, one after the
 * other, on one loaded model:
 *
 *   check     what can be refused before anything is read
 *   read      its examples
 *   prepare   the adapter's first values and the trainer's memory; a run that is taken up again stands where it was
 *   train     until it is done, and writes the adapter
 *   print, json    what came of it
 *
 * Thread: the main one. */
#ifndef STN_CLIENT_CLI_TRAIN_RUN_H
#define STN_CLIENT_CLI_TRAIN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "client/cli/session.h"

/* The command's options. */
struct stn_train_run_options {
    const char *model, *data, *adapter, *output, *targets, *resume, *checkpoint, *metrics, *validation, *device;
    uint64_t rank, epochs, steps, context, batch_tokens, batch_examples, pass_tokens, seed, threads, checkpoint_steps;
    uint64_t token_limit, validation_steps, patience;
    double alpha, lr, warmup, clip, weight_decay, dropout, validation_share, time_limit;
    int loss, schedule, backend, backward;
    struct stn_session_reading reading;
    bool skip_bad, rslora;
};

/* Which of the command's adapters, counted from 1. What is not the first one's has its number behind the name of a folder of
 * checkpoints ("DIR/2") and of a file of metrics ("FILE.2"). */
struct stn_train_run_place {
    const char *data, *output;
    unsigned number;
    double deadline_s; /* of stn_session_now_s; 0: none */
};

struct stn_train_run;

/* Borrows options and place's names. The caller closes *ret, before the session. */
enum stn_code stn_train_run_check(struct stn_train_run **ret, const struct stn_train_run_options *options,
                                  const struct stn_train_run_place *place, struct stn_err *err) STN_CHECKED;
void stn_train_run_close(struct stn_train_run *run);

enum stn_code stn_train_run_read(struct stn_train_run *run, const struct stn_session *session, struct stn_err *err) STN_CHECKED;
/* The session's adapter is the run's until it is closed. */
enum stn_code stn_train_run_prepare(struct stn_train_run *run, struct stn_session *session, struct stn_err *err) STN_CHECKED;
const struct stn_session_plan *stn_train_run_plan(const struct stn_train_run *run);
enum stn_code stn_train_run_train(struct stn_train_run *run, struct stn_err *err) STN_CHECKED;
/* Whether what prepare or train could not do is a GPU's failure, of one that nobody has asked for; then the processor is prepared
 * instead, from the run's last checkpoint, or from the start. WHY is kept for the result. */
bool stn_train_run_can_fall_back(const struct stn_train_run *run);
enum stn_code stn_train_run_fall_back(struct stn_train_run *run, const struct stn_err *why, struct stn_err *err) STN_CHECKED;

bool stn_train_run_is_stopped(const struct stn_train_run *run); /* by a signal or at the deadline: nothing more should begin */
void stn_train_run_print(const struct stn_train_run *run);
json_t *stn_train_run_json(const struct stn_train_run *run); /* NULL without memory */

#endif
