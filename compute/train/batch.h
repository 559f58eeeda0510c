/* batch: examples of a dataset packed into passes of the network, none attending to another, no row spent on
 * padding. A step is what one update learns from; it is cut into passes of at most pass_rows rows, and every target
 * of a step weighs 1 / (targets of the step), so that the passes' gradients add up to those of one big batch.
 *
 * An example of n tokens takes n - 1 rows: its last token is predicted and never read. Epoch e visits the examples in
 * an order drawn from (seed, e). Where a reader stands is two numbers, and a reader set to them goes on exactly as
 * the one they were taken from. Thread: one at a time for each reader; the dataset is shared. */
#ifndef STN_COMPUTE_TRAIN_BATCH_H
#define STN_COMPUTE_TRAIN_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/network.h"
#include "compute/train/dataset.h"

struct stn_batch_config {
    size_t step_rows;  /* a step takes as many whole examples as fit in here, and ends with its epoch ... */
    size_t n_examples; /* ... or, when not 0, exactly that many, going on into the next epoch */
    size_t pass_rows;  /* rows of one pass; an example has to fit */
    bool in_order;     /* as the dataset has them, unshuffled (evaluation) */
    uint64_t seed;
};

struct stn_batch_position {
    uint64_t epoch, index; /* index: examples of the epoch that are behind us */
};

/* Which rows and targets of a pass belong to which example. */
struct stn_batch_span {
    size_t example;
    size_t first_row, n_rows;
    size_t first_target, n_targets;
};

struct stn_batch_reader;

/* dataset is borrowed until free. STN_LIMIT when an example does not fit into a pass or a step; STN_INVALID for a
 * dataset without examples. */
enum stn_code stn_batch_new(struct stn_batch_reader **ret, const struct stn_dataset *dataset,
                            const struct stn_batch_config *config, struct stn_err *err) STN_CHECKED;
void stn_batch_free(struct stn_batch_reader *reader);

/* Draws the next step: its examples are chosen and the position stands behind them. */
void stn_batch_draw(struct stn_batch_reader *reader);
/* How many rows, targets and examples the drawn step has. */
size_t stn_batch_rows(const struct stn_batch_reader *reader);
size_t stn_batch_targets(const struct stn_batch_reader *reader);
size_t stn_batch_examples(const struct stn_batch_reader *reader);

/* The next pass of the drawn step, and false when all have been given. *ret and the spans are the reader's, valid until
 * the next call. */
bool stn_batch_next(struct stn_batch_reader *reader, struct stn_batch *ret);
const struct stn_batch_span *stn_batch_spans(const struct stn_batch_reader *reader, size_t *ret_n);

struct stn_batch_position stn_batch_position(const struct stn_batch_reader *reader);
/* False, and nothing changed, for an index beyond the dataset. */
bool stn_batch_seek(struct stn_batch_reader *reader, struct stn_batch_position position);
/* From the start again, in another order. */
void stn_batch_restart(struct stn_batch_reader *reader, uint64_t seed);

/* How many steps n_epochs take from the start. The position stays as it is. */
uint64_t stn_batch_steps(struct stn_batch_reader *reader, uint64_t n_epochs);
/* How many of the first n_steps it takes until n_rows have been read; all of them where they have fewer. At least 1. */
uint64_t stn_batch_steps_for_rows(struct stn_batch_reader *reader, uint64_t n_steps, uint64_t n_rows);

#endif
