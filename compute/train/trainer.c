#include "compute/train/trainer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/mem.h"

struct stn_trainer {
    struct stn_trainer_config config;
    struct stn_network *network;
    size_t n_values;
    struct stn_trainer_run run;
    struct stn_batch_reader *reader; /* NULL before the first start */
    uint64_t n_steps, n_done;
    struct stn_trainer_totals totals;
};

struct stn_trainer_config stn_trainer_defaults(void)
{
    return (struct stn_trainer_config){
        .context = 512, .batch_tokens = 2048, .lr = 1e-4, .schedule = STN_SCHEDULE_COSINE, .warmup = 0.1,
        .clip = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .backward = STN_BACKWARD_INT8, .n_threads = 1,
    };
}

size_t stn_trainer_pass_tokens(const struct stn_trainer_config *config)
{
    size_t pass = config->context < STN_TRAINER_PASS ? STN_TRAINER_PASS : config->context;
    pass = pass > config->batch_tokens ? config->batch_tokens : pass;
    return config->pass_tokens == 0 ? pass : config->pass_tokens;
}

struct stn_network_config stn_trainer_shape(const struct stn_trainer_config *config)
{
    size_t rows = stn_trainer_pass_tokens(config);
    return (struct stn_network_config){
        .max_tokens = rows, .max_targets = rows, .context = config->context, .train = true, .slice = config->slice,
        .backward = config->backward, .dropout = config->dropout, .evaluates = config->evaluates,
        .recompute = config->recompute, .act_int8 = true, .n_threads = config->n_threads, .seed = config->seed,
        .backend = config->backend,
    };
}

static enum stn_code check(const struct stn_trainer_config *config, struct stn_err *err)
{
    size_t pass = stn_trainer_pass_tokens(config);
    if (config->context < 2 || pass < config->context || pass > config->batch_tokens) {
        return stn_err_set(err, STN_INVALID,
                           "context %zu, pass %zu and batch %zu tokens: expected 2 <= context <= pass <= batch",
                           config->context, pass, config->batch_tokens);
    }
    if (!(config->lr >= 0) || !isfinite(config->lr) || !(config->warmup >= 0 && config->warmup <= 1) ||
        !(config->clip >= 0)) {
        return stn_err_set(err, STN_INVALID, "rate %g, warm-up %g and clip %g: expected 0 or more, warm-up at most 1",
                           config->lr, config->warmup, config->clip);
    }
    return STN_OK;
}

enum stn_code stn_trainer_new(struct stn_trainer **ret, const struct stn_model *model,
                              const struct stn_adapter *adapter, const struct stn_trainer_config *config,
                              struct stn_err *err)
{
    enum stn_code code = check(config, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_trainer *trainer = stn_mem_new(1, sizeof *trainer);
    if (trainer == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a trainer");
    }
    trainer->config = *config;
    trainer->n_values = adapter->n_values;
    const struct stn_network_config shape = stn_trainer_shape(config);
    code = stn_network_new(&trainer->network, model, adapter, &shape, err);
    if (code != STN_OK) {
        stn_trainer_free(trainer);
        return code;
    }
    *ret = trainer;
    return STN_OK;
}

void stn_trainer_free(struct stn_trainer *trainer)
{
    if (trainer != NULL) {
        stn_batch_free(trainer->reader);
        stn_network_free(trainer->network);
        stn_mem_free(trainer);
    }
}

struct stn_network *stn_trainer_network(struct stn_trainer *trainer)
{
    return trainer->network;
}

size_t stn_trainer_n_values(const struct stn_trainer *trainer)
{
    return trainer->n_values;
}

size_t stn_trainer_pass_rows(const struct stn_trainer *trainer)
{
    return stn_trainer_pass_tokens(&trainer->config);
}

void stn_trainer_set_values(struct stn_trainer *trainer, const float *values)
{
    stn_network_set_values(trainer->network, values);
}

void stn_trainer_get_values(const struct stn_trainer *trainer, float *values)
{
    stn_network_get_values(trainer->network, values);
}

enum stn_code stn_trainer_start(struct stn_trainer *trainer, const struct stn_trainer_run *run,
                                struct stn_err *err)
{
    assert(run->prox == 0 || run->anchor != NULL);
    const struct stn_batch_config config = {
        .step_rows = trainer->config.batch_tokens, .n_examples = trainer->config.batch_examples,
        .pass_rows = stn_trainer_pass_tokens(&trainer->config), .seed = run->seed,
    };
    struct stn_batch_reader *reader = NULL;
    enum stn_code code = stn_batch_new(&reader, run->dataset, &config, err);
    if (code != STN_OK) {
        return code;
    }
    stn_batch_free(trainer->reader);
    trainer->reader = reader;
    trainer->run = *run;
    trainer->n_steps = run->n_steps > 0    ? run->n_steps
                       : run->n_epochs > 0 ? stn_batch_steps(reader, run->n_epochs)
                       : run->n_rows > 0   ? UINT64_MAX
                                           : 0;
    if (run->n_rows > 0) {
        trainer->n_steps = stn_batch_steps_for_rows(reader, trainer->n_steps, run->n_rows);
    }
    trainer->n_done = 0;
    trainer->totals = (struct stn_trainer_totals){0};
    if (!run->keep_moments) {
        stn_network_reset_moments(trainer->network);
    }
    return STN_OK;
}

uint64_t stn_trainer_n_steps(const struct stn_trainer *trainer)
{
    return trainer->n_steps;
}

uint64_t stn_trainer_n_done(const struct stn_trainer *trainer)
{
    return trainer->n_done;
}

bool stn_trainer_is_done(const struct stn_trainer *trainer)
{
    return trainer->n_done >= trainer->n_steps;
}

/* STN_CORRUPT with the example of the first loss that is not finite. */
static enum stn_code check_losses(const struct stn_trainer *trainer, const struct stn_network_result *result,
                                  struct stn_err *err)
{
    if (isfinite(result->loss)) {
        return STN_OK;
    }
    size_t n_spans;
    const struct stn_batch_span *spans = stn_batch_spans(trainer->reader, &n_spans);
    for (size_t i = 0; i < n_spans; i++) {
        for (size_t k = 0; k < spans[i].n_targets; k++) {
            double loss = (double)result->losses[spans[i].first_target + k];
            if (!isfinite(loss)) {
                return stn_err_set(err, STN_CORRUPT, "step %llu: the loss of the example of line %llu is %g: lower the rate",
                                   (unsigned long long)trainer->n_done + 1,
                                   (unsigned long long)trainer->run.dataset->examples[spans[i].example].line, loss);
            }
        }
    }
    return stn_err_set(err, STN_CORRUPT, "step %llu: the loss is %g", (unsigned long long)trainer->n_done + 1,
                       result->loss);
}

/* Gradients of the drawn step, pass after pass. */
static enum stn_code accumulate(struct stn_trainer *trainer, double *ret_loss, struct stn_err *err)
{
    struct stn_batch pass;
    double loss = 0;
    while (stn_batch_next(trainer->reader, &pass)) {
        struct stn_network_result result;
        if (trainer->run.stopping != NULL && trainer->run.stopping(trainer->run.stopping_context)) {
            return stn_err_set(err, STN_CANCELLED, "stopped at step %llu", (unsigned long long)trainer->n_done + 1);
        }
        enum stn_code code = stn_network_accumulate(trainer->network, &pass, &result, err);
        code = code != STN_OK ? code : check_losses(trainer, &result, err);
        if (code != STN_OK) {
            return code;
        }
        loss += result.loss;
    }
    *ret_loss = loss;
    return STN_OK;
}

static enum stn_code update(struct stn_trainer *trainer, struct stn_trainer_step *step, struct stn_err *err)
{
    const struct stn_trainer_config *config = &trainer->config;
    const struct stn_schedule schedule = {config->schedule, trainer->n_steps, config->warmup};
    step->lr = config->lr * stn_schedule_factor(&schedule, trainer->n_done);
    const struct stn_network_update how = {
        .lr = step->lr, .beta1 = config->beta1, .beta2 = config->beta2, .eps = config->eps,
        .weight_decay = config->weight_decay, .clip = config->clip,
    };
    if (trainer->run.prox > 0) {
        stn_network_pull(trainer->network, trainer->run.prox, trainer->run.anchor);
    }
    enum stn_code code = stn_network_update(trainer->network, &how, &step->norm, err);
    if (code != STN_OK) {
        return stn_err_prefix(err, "step %llu", (unsigned long long)trainer->n_done + 1);
    }
    return STN_OK;
}

static void count(struct stn_trainer *trainer, const struct stn_trainer_step *step)
{
    struct stn_trainer_totals *totals = &trainer->totals;
    uint64_t tenth = trainer->n_steps < 10 ? 1 : trainer->n_steps / 10;
    totals->n_examples += step->n_examples;
    totals->n_rows += step->n_rows;
    totals->n_targets += step->n_targets;
    totals->loss = step->loss;
    if (trainer->n_done < tenth) {
        totals->first_sum += step->loss;
        totals->n_first++;
    }
    if (trainer->n_done >= trainer->n_steps - tenth) {
        totals->last_sum += step->loss;
        totals->n_last++;
    }
}

/* Puts the lines of the drawn pass's examples before an error. */
static void name_examples(const struct stn_trainer *trainer, struct stn_err *err)
{
    size_t n_spans, at = 0;
    const struct stn_batch_span *spans = stn_batch_spans(trainer->reader, &n_spans);
    char lines[128] = "";
    for (size_t i = 0; i < n_spans && at + 32 < sizeof lines; i++) {
        int n = snprintf(lines + at, sizeof lines - at, "%s%llu", i == 0 ? "" : ", ",
                         (unsigned long long)trainer->run.dataset->examples[spans[i].example].line);
        at += n > 0 ? (size_t)n : 0;
    }
    (void)stn_err_prefix(err, "the example%s %s", n_spans == 1 ? " of line" : "s of lines", lines);
}

/* After an update that failed: the step again, until a pass leaves a gradient that cannot be. */
static void find_culprit(struct stn_trainer *trainer, struct stn_batch_position before, struct stn_err *err)
{
    struct stn_batch pass;
    struct stn_network_result result;
    bool is_found = false;
    (void)stn_batch_seek(trainer->reader, before);
    stn_batch_draw(trainer->reader);
    while (!is_found && stn_batch_next(trainer->reader, &pass) &&
           stn_network_accumulate(trainer->network, &pass, &result, NULL) == STN_OK) {
        is_found = !stn_network_can_update(trainer->network);
    }
    if (is_found) {
        name_examples(trainer, err);
    }
    stn_network_drop_gradients(trainer->network);
}

enum stn_code stn_trainer_step(struct stn_trainer *trainer, struct stn_trainer_step *ret, struct stn_err *err)
{
    assert(trainer->reader != NULL && !stn_trainer_is_done(trainer));
    struct stn_batch_position before = stn_batch_position(trainer->reader);
    stn_batch_draw(trainer->reader);
    struct stn_trainer_step step = {
        .step = trainer->n_done + 1, .epoch = stn_batch_position(trainer->reader).epoch,
        .n_examples = stn_batch_examples(trainer->reader), .n_rows = stn_batch_rows(trainer->reader),
        .n_targets = stn_batch_targets(trainer->reader),
    };
    enum stn_code code = accumulate(trainer, &step.loss, err);
    if (code != STN_OK) {
        stn_network_drop_gradients(trainer->network);
    } else {
        code = update(trainer, &step, err);
        if (code == STN_CORRUPT) {
            find_culprit(trainer, before, err);
        }
    }
    if (code != STN_OK) {
        bool is_back = stn_batch_seek(trainer->reader, before);
        assert(is_back);
        return code;
    }
    count(trainer, &step);
    trainer->n_done++;
    *ret = step;
    return STN_OK;
}

struct stn_trainer_totals stn_trainer_totals(const struct stn_trainer *trainer)
{
    return trainer->totals;
}

double stn_trainer_loss_first(const struct stn_trainer *trainer)
{
    const struct stn_trainer_totals *totals = &trainer->totals;
    return totals->n_first == 0 ? totals->loss : totals->first_sum / (double)totals->n_first;
}

double stn_trainer_loss_last(const struct stn_trainer *trainer)
{
    const struct stn_trainer_totals *totals = &trainer->totals;
    return totals->n_last == 0 ? totals->loss : totals->last_sum / (double)totals->n_last;
}

enum stn_code stn_trainer_save(const struct stn_trainer *trainer, struct stn_trainer_state *ret, struct stn_err *err)
{
    struct stn_network_moments moments = {.m = ret->m, .v = ret->v};
    stn_network_get_moments(trainer->network, &moments);
    stn_network_get_values(trainer->network, ret->values);
    ret->n_updates = moments.n_steps;
    ret->n_done = trainer->n_done;
    ret->n_steps = trainer->n_steps;
    ret->position = stn_batch_position(trainer->reader);
    ret->totals = trainer->totals;
    return stn_network_check(trainer->network, err);
}

enum stn_code stn_trainer_can_restore(const struct stn_trainer *trainer, const struct stn_trainer_state *state,
                                      struct stn_err *err)
{
    assert(trainer->reader != NULL);
    if (state->n_steps != trainer->n_steps || state->n_done > state->n_steps) {
        return stn_err_set(err, STN_INVALID, "step %llu of %llu, in a run of %llu steps",
                           (unsigned long long)state->n_done, (unsigned long long)state->n_steps,
                           (unsigned long long)trainer->n_steps);
    }
    for (size_t i = 0; i < trainer->n_values; i++) {
        if (!isfinite(state->values[i]) || !isfinite(state->m[i]) || !isfinite(state->v[i]) || state->v[i] < 0) {
            return stn_err_set(err, STN_INVALID, "value %zu or its moments are not finite", i);
        }
    }
    if (state->position.index > trainer->run.dataset->n_examples) {
        return stn_err_set(err, STN_INVALID, "position %llu, beyond %zu examples",
                           (unsigned long long)state->position.index, trainer->run.dataset->n_examples);
    }
    return STN_OK;
}

enum stn_code stn_trainer_restore(struct stn_trainer *trainer, const struct stn_trainer_state *state,
                                  struct stn_err *err)
{
    enum stn_code code = stn_trainer_can_restore(trainer, state, err);
    if (code != STN_OK) {
        return code;
    }
    bool is_there = stn_batch_seek(trainer->reader, state->position);
    assert(is_there);
    (void)is_there;
    const struct stn_network_moments moments = {.n_steps = state->n_updates, .m = state->m, .v = state->v};
    stn_network_set_moments(trainer->network, &moments);
    stn_network_set_values(trainer->network, state->values);
    trainer->n_done = state->n_done;
    trainer->totals = state->totals;
    return STN_OK;
}
