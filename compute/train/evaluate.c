#include "compute/train/evaluate.h"

#include <math.h>

#include "compute/train/batch.h"

/* Adds what the network said of one example. */
static enum stn_code count(struct stn_evaluate_result *sum, const struct stn_dataset *dataset,
                           const struct stn_batch *pass, const struct stn_batch_span *span,
                           const struct stn_network_result *said, struct stn_err *err)
{
    const struct stn_dataset_example *example = &dataset->examples[span->example];
    const uint8_t *marks = dataset->marks + example->first_token;
    bool is_exact = true;
    for (size_t k = span->first_target; k < span->first_target + span->n_targets; k++) {
        size_t place = (size_t)pass->target_rows[k] - span->first_row + 1; /* of the target in its example */
        bool is_correct = said->guesses[k] == pass->target_tokens[k];
        if (!isfinite(said->losses[k])) {
            return stn_err_set(err, STN_CORRUPT, "the loss of the example of line %llu is %g",
                               (unsigned long long)example->line, (double)said->losses[k]);
        }
        sum->loss_sum += (double)said->losses[k];
        sum->n_correct += is_correct;
        is_exact &= is_correct || (marks[place] & STN_DATASET_ANSWER) == 0;
    }
    sum->n_examples++;
    sum->n_rows += span->n_rows;
    sum->n_targets += span->n_targets;
    sum->n_answers += example->has_answer;
    sum->n_exact += example->has_answer && is_exact;
    return STN_OK;
}

enum stn_code stn_evaluate_run(struct stn_network *network, const struct stn_dataset *dataset, size_t pass_rows,
                               stn_evaluate_at *at, void *context, struct stn_evaluate_result *ret,
                               struct stn_err *err)
{
    const struct stn_batch_config config = {.step_rows = pass_rows, .pass_rows = pass_rows, .in_order = true};
    struct stn_batch_reader *reader = NULL;
    struct stn_evaluate_result sum = {0};
    enum stn_code code = stn_batch_new(&reader, dataset, &config, err);
    while (code == STN_OK && sum.n_examples < dataset->n_examples && !sum.is_stopped) {
        struct stn_batch pass;
        struct stn_network_result said;
        size_t n_spans;
        stn_batch_draw(reader);
        (void)stn_batch_next(reader, &pass);
        const struct stn_batch_span *spans = stn_batch_spans(reader, &n_spans);
        code = stn_network_eval(network, &pass, &said, err);
        for (size_t i = 0; code == STN_OK && i < n_spans; i++) {
            code = count(&sum, dataset, &pass, &spans[i], &said, err);
        }
        sum.is_stopped = code == STN_OK && at != NULL && !at(context, sum.n_examples, dataset->n_examples);
    }
    stn_batch_free(reader);
    if (code == STN_OK) {
        *ret = sum;
    }
    return code;
}

static double ratio(double part, uint64_t whole)
{
    return whole == 0 ? 0 : part / (double)whole;
}

double stn_evaluate_loss(const struct stn_evaluate_result *result)
{
    return ratio(result->loss_sum, result->n_targets);
}

double stn_evaluate_perplexity(const struct stn_evaluate_result *result)
{
    return exp(stn_evaluate_loss(result));
}

double stn_evaluate_token_accuracy(const struct stn_evaluate_result *result)
{
    return ratio((double)result->n_correct, result->n_targets);
}

double stn_evaluate_exact_match(const struct stn_evaluate_result *result)
{
    return ratio((double)result->n_exact, result->n_answers);
}

double stn_evaluate_accuracy(const struct stn_evaluate_result *result)
{
    return result->n_answers > 0 ? stn_evaluate_exact_match(result) : stn_evaluate_token_accuracy(result);
}
