/* evaluate: how well a network predicts a dataset.
 *
 * Exact match needs no decoding loop. Greedy decoding of an answer gives the reference, token for token and its end
 * included, if and only if at every position of the reference, read with the reference before it, the most likely
 * token is the reference's: by induction both then stand on the same text at every step. So one packed forward pass
 * judges all examples. Thread: the network's. */
#ifndef STN_COMPUTE_TRAIN_EVALUATE_H
#define STN_COMPUTE_TRAIN_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/network.h"
#include "compute/train/dataset.h"

struct stn_evaluate_result {
    uint64_t n_examples; /* seen: all of the dataset's, unless stopped */
    uint64_t n_rows, n_targets;
    uint64_t n_correct;  /* targets that are the most likely token */
    uint64_t n_answers;  /* examples with a whole answer: prompt and completion, or messages */
    uint64_t n_exact;    /* answers that greedy decoding gives exactly */
    double loss_sum;     /* cross-entropy of all targets, nats */
    bool is_stopped;
};

/* After each pass; false stops the evaluation, which then is of what was seen. */
typedef bool stn_evaluate_at(void *context, uint64_t n_done, uint64_t n_examples);

/* pass_rows is at most the network's max_tokens and max_targets, and holds the dataset's longest example. at may
 * be NULL. STN_CORRUPT when a loss is not finite. */
enum stn_code stn_evaluate_run(struct stn_network *network, const struct stn_dataset *dataset, size_t pass_rows,
                               stn_evaluate_at *at, void *context, struct stn_evaluate_result *ret,
                               struct stn_err *err) STN_CHECKED;

/* Means; 0 where there is nothing to take the mean of. */
double stn_evaluate_loss(const struct stn_evaluate_result *result);       /* nats a target */
double stn_evaluate_perplexity(const struct stn_evaluate_result *result); /* exp(loss) */
double stn_evaluate_token_accuracy(const struct stn_evaluate_result *result);
double stn_evaluate_exact_match(const struct stn_evaluate_result *result); /* of the answers */
/* Exact match where there are answers, else token accuracy. */
double stn_evaluate_accuracy(const struct stn_evaluate_result *result);

#endif
