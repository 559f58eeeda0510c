#include "compute/train/watch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

struct stn_watch {
    struct stn_trainer *trainer;
    struct stn_watch_config config;
    struct stn_watch_state state;
    size_t pass_rows;
    float *best;
};

enum stn_code stn_watch_new(struct stn_watch **ret, struct stn_trainer *trainer, const struct stn_watch_config *config,
                            struct stn_err *err)
{
    assert(config->every > 0);
    size_t n = stn_trainer_n_values(trainer), rows = stn_trainer_pass_rows(trainer);
    if (config->dataset->n_examples == 0) {
        return stn_err_set(err, STN_INVALID, "there is no example to validate with");
    }
    for (size_t i = 0; i < config->dataset->n_examples; i++) {
        const struct stn_dataset_example *example = &config->dataset->examples[i];
        if (example->n_tokens - 1 > rows) {
            return stn_err_set(err, STN_LIMIT, "the example of line %llu takes %u positions, a pass has %zu",
                               (unsigned long long)example->line, example->n_tokens - 1, rows);
        }
    }
    struct stn_watch *watch = stn_mem_new(1, sizeof *watch);
    if (watch == NULL || (watch->best = stn_mem_new(n, sizeof *watch->best)) == NULL) {
        stn_mem_free(watch);
        return stn_err_set(err, STN_MEMORY, "no memory to keep %zu values", n);
    }
    watch->trainer = trainer;
    watch->config = *config;
    watch->pass_rows = rows;
    *ret = watch;
    return STN_OK;
}

void stn_watch_free(struct stn_watch *watch)
{
    if (watch != NULL) {
        stn_mem_free(watch->best);
        stn_mem_free(watch);
    }
}

bool stn_watch_is_due(const struct stn_watch *watch)
{
    uint64_t n = stn_trainer_n_done(watch->trainer);
    bool is_taken = watch->state.n_looks > 0 && watch->state.last_step >= n;
    return !is_taken && (n % watch->config.every == 0 || stn_trainer_is_done(watch->trainer));
}

enum stn_code stn_watch_look(struct stn_watch *watch, stn_evaluate_at *at, void *context, struct stn_evaluate_result *ret,
                             struct stn_err *err)
{
    struct stn_watch_state *state = &watch->state;
    struct stn_evaluate_result result;
    enum stn_code code = stn_evaluate_run(stn_trainer_network(watch->trainer), watch->config.dataset, watch->pass_rows, at,
                                          context, &result, err);
    if (code != STN_OK) {
        return stn_err_prefix(err, "validation at step %llu", (unsigned long long)stn_trainer_n_done(watch->trainer));
    }
    *ret = result;
    if (result.is_stopped) {
        return STN_OK;
    }
    state->last_step = stn_trainer_n_done(watch->trainer);
    state->last_loss = stn_evaluate_loss(&result);
    state->last_accuracy = stn_evaluate_accuracy(&result);
    if (state->n_looks++ == 0) {
        state->first_loss = state->last_loss;
    }
    state->n_worse++;
    if (state->n_looks == 1 || state->last_loss < state->best_loss) {
        state->best_step = state->last_step;
        state->best_loss = state->last_loss;
        state->best_accuracy = state->last_accuracy;
        state->n_worse = 0;
        stn_trainer_get_values(watch->trainer, watch->best);
    }
    return stn_network_check(stn_trainer_network(watch->trainer), err);
}

bool stn_watch_is_over(const struct stn_watch *watch)
{
    return watch->config.patience > 0 && watch->state.n_worse >= watch->config.patience;
}

const struct stn_watch_state *stn_watch_state(const struct stn_watch *watch)
{
    return &watch->state;
}

const struct stn_watch_config *stn_watch_config(const struct stn_watch *watch)
{
    return &watch->config;
}

const float *stn_watch_best(const struct stn_watch *watch)
{
    return watch->best;
}

enum stn_code stn_watch_restore(struct stn_watch *watch, const struct stn_watch_state *state, const float *best,
                                struct stn_err *err)
{
    size_t n = stn_trainer_n_values(watch->trainer);
    if (state->n_worse > state->n_looks || state->best_step > state->last_step ||
        state->last_step > stn_trainer_n_steps(watch->trainer) || !isfinite(state->best_loss) || !isfinite(state->last_loss)) {
        return stn_err_set(err, STN_INVALID, "%llu looks, the last at step %llu and the best at %llu of %llu",
                           (unsigned long long)state->n_looks, (unsigned long long)state->last_step,
                           (unsigned long long)state->best_step, (unsigned long long)stn_trainer_n_steps(watch->trainer));
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(best[i])) {
            return stn_err_set(err, STN_INVALID, "value %zu of the best is not finite", i);
        }
    }
    watch->state = *state;
    memcpy(watch->best, best, n * sizeof *best);
    return STN_OK;
}
