/* checkpoint: a run on disk, so that it goes on exactly where it stood. One file, FOLDER/checkpoint, replaced whole:
 * whatever ends the process, the last one that was written whole is there.
 *
 * The file, numbers little endian: "STNCKPT2", u32 identity size, the identity, u64 n_values, steps done, steps,
 * epoch, index, updates, examples, rows, targets, firsts, lasts, and of the watch looks, worse, last step, best step; f64 first sum,
 * last sum, loss, and of the watch first, last, best loss, last and best accuracy; zeroes to a multiple of 64; f32 values, m, v, and
 * with a watch the best values (n_values each); BLAKE2b-256 of all before it.
 *
 * The identity is text, "NAME=VALUE" a line: everything that a run's result depends on besides the state. A checkpoint
 * whose identity is another is refused, and the first line that differs says why. Thread: the trainer's. */
#ifndef STN_COMPUTE_TRAIN_CHECKPOINT_H
#define STN_COMPUTE_TRAIN_CHECKPOINT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "compute/train/trainer.h"
#include "compute/train/watch.h"
#include "crypto/digest.h"

#define STN_CHECKPOINT_NAME "checkpoint"
#define STN_CHECKPOINT_IDENTITY_LIMIT ((size_t)16 << 10)

/* What a run is of. */
struct stn_checkpoint_subject {
    struct stn_digest model; /* of the base model's file */
    struct stn_digest data;  /* stn_dataset_digest */
    struct stn_digest start; /* of the adapter's first values, rank, alpha and targets */
    const struct stn_trainer_config *config;
    const struct stn_trainer_run *run;
    const struct stn_watch_config *watch; /* NULL: none */
    uint64_t n_steps;
};

/* Appends the identity's lines and a final zero, which its size does not count. */
enum stn_code stn_checkpoint_identity(struct stn_buf *ret, const struct stn_checkpoint_subject *subject,
                                      struct stn_err *err) STN_CHECKED;

/* For the process that will save there: makes the folder when it is missing, locks it until *ret is closed with
 * stn_file_close (or the process ends), and removes what killed processes left half written. STN_EXISTS when another
 * process has it. */
enum stn_code stn_checkpoint_claim(int *ret, const char *folder, struct stn_err *err) STN_CHECKED;

/* Makes the folder when it is missing. watch: NULL for a run without one. */
enum stn_code stn_checkpoint_save(const char *folder, const char *identity, const struct stn_trainer *trainer,
                                  const struct stn_watch *watch, struct stn_err *err) STN_CHECKED;

/* Into a trainer whose run was started, and its watch if it has one. STN_NOT_FOUND without a checkpoint, STN_CORRUPT when it is
 * damaged, STN_INVALID when it is of another model, data or setting; trainer and watch are then as they were. */
enum stn_code stn_checkpoint_load(const char *folder, const char *identity, struct stn_trainer *trainer,
                                  struct stn_watch *watch, struct stn_err *err) STN_CHECKED;

/* The backend that computed what is in a folder's checkpoint; false where none is said, or there is no checkpoint. */
#define STN_CHECKPOINT_BACKEND 16
bool stn_checkpoint_backend(const char *folder, char ret[static STN_CHECKPOINT_BACKEND]);

bool stn_checkpoint_exists(const char *folder);

#endif
