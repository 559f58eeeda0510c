#include "client/simulate/lab.h"

#include <assert.h>
#include <string.h>

#include "base/command.h"
#include "base/mem.h"
#include "client/simulate/lab_data.h"

static bool stopping(void *context)
{
    (void)context;
    return stn_command_stopping();
}

static enum stn_code make_trainers(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err)
{
    struct stn_trainer_config trainer = stn_job_trainer_config(&config->train, config->backward, 1);
    trainer.backend = config->backend;
    lab->pass_rows = stn_trainer_pass_tokens(&trainer);
    const size_t n = lab->n_threads * STN_LAB_SLICES * lab->n_tiers;
    lab->trainers = stn_mem_new(n, sizeof(struct stn_trainer *));
    lab->scratch = stn_mem_new(lab->n_threads, sizeof(float *));
    if (lab->trainers == NULL || lab->scratch == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu trainers", n);
    }
    enum stn_code code = STN_OK;
    for (size_t i = 0; code == STN_OK && i < n; i++) {
        trainer.slice = (enum stn_slice)(i / lab->n_tiers % STN_LAB_SLICES);
        if ((config->slices >> trainer.slice & 1) != 0) {
            code = stn_trainer_new(&lab->trainers[i], lab->model, lab->shapes[i % lab->n_tiers], &trainer, err);
        }
    }
    for (size_t i = 0; code == STN_OK && i < lab->n_threads; i++) {
        lab->scratch[i] = stn_mem_new(lab->n_values, 2 * sizeof(float));
        code = lab->scratch[i] == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %zu values", lab->n_values) : STN_OK;
    }
    return code;
}

static enum stn_code make_shapes(struct stn_lab *lab, const struct stn_train_spec *spec, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    lab->shapes[0] = lab->first;
    lab->n_tiers = 1;
    if (spec->rank >> spec->n_halvings == 0) {
        return stn_err_set(err, STN_INVALID, "a rank of %u cannot be halved %u times", spec->rank, spec->n_halvings);
    }
    while (code == STN_OK && lab->n_tiers <= spec->n_halvings) {
        code = stn_slice_narrow(&lab->shapes[lab->n_tiers], lab->first, spec->rank >> lab->n_tiers, err);
        lab->n_tiers += code == STN_OK;
    }
    return code;
}

static struct stn_trainer *trainer_of(const struct stn_lab *lab, size_t thread, enum stn_slice slice, uint32_t tier)
{
    return lab->trainers[(thread * STN_LAB_SLICES + slice) * lab->n_tiers + tier];
}

struct stn_network *stn_lab_network(const struct stn_lab *lab, size_t thread)
{
    struct stn_trainer *any = NULL;
    for (enum stn_slice slice = STN_SLICE_BOTH; any == NULL; slice++) {
        assert(slice <= STN_SLICE_B);
        any = trainer_of(lab, thread, slice, 0);
    }
    return stn_trainer_network(any);
}

enum stn_code stn_lab_open(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err)
{
    *lab = (struct stn_lab){.train = config->train, .seed = config->seed, .n_threads = config->n_threads};
    enum stn_code code = stn_lab_data_model(lab, config, err);
    if (code == STN_OK) {
        code = stn_adapter_new(&lab->first, stn_model_arch(lab->model), config->train.rank, config->train.alpha,
                               config->train.targets, err);
    }
    if (code != STN_OK) {
        return code;
    }
    stn_adapter_init(lab->first, config->seed);
    lab->n_values = lab->first->n_values;
    code = make_shapes(lab, &config->train, err);
    if (code == STN_OK) {
        code = stn_lab_data_read(lab, config, err);
    }
    if (code == STN_OK) {
        code = stn_pool_new(&lab->pool, lab->n_threads, err);
    }
    return code == STN_OK ? make_trainers(lab, config, err) : code;
}

void stn_lab_close(struct stn_lab *lab)
{
    stn_pool_free(lab->pool);
    for (size_t i = 0; lab->trainers != NULL && i < lab->n_threads * STN_LAB_SLICES * lab->n_tiers; i++) {
        stn_trainer_free(lab->trainers[i]);
    }
    for (size_t i = 0; lab->scratch != NULL && i < lab->n_threads; i++) {
        stn_mem_free(lab->scratch[i]);
    }
    stn_mem_free(lab->trainers);
    stn_mem_free(lab->scratch);
    for (size_t i = 1; i < lab->n_tiers; i++) {
        stn_adapter_free(lab->shapes[i]);
    }
    stn_lab_data_free(lab);
    stn_adapter_free(lab->first);
    *lab = (struct stn_lab){0};
}

void stn_lab_train(struct stn_pool_task *task, size_t thread)
{
    struct stn_lab_training *t = STN_LIST_OF(task, struct stn_lab_training, task);
    struct stn_lab *lab = t->lab;
    const enum stn_slice slice = stn_job_slice(&t->spec);
    const struct stn_adapter *shape = lab->shapes[t->tier];
    struct stn_trainer *trainer = trainer_of(lab, thread, slice, t->tier);
    struct stn_job_input input = {.spec = &t->spec, .dataset = t->dataset, .shape = shape, .from = t->from, .seed = t->seed,
                                  .stopping = stopping};
    assert(trainer != NULL); /* it was asked for when the lab was opened */
    if (t->tier == 0) {
        t->code = stn_job_train(trainer, &input, t->delta, &t->result, &t->err);
        return;
    }
    float *from = lab->scratch[thread], *made = from + lab->n_values;
    stn_slice_narrow_values(lab->first, shape, t->from, from);
    input.from = from;
    t->code = stn_job_train(trainer, &input, made, &t->result, &t->err);
    if (t->code == STN_OK) {
        stn_slice_widen(lab->first, shape, slice, made, t->delta);
        t->result.info.tier = t->tier;
    }
}

void stn_lab_evaluate(struct stn_pool_task *task, size_t thread)
{
    struct stn_lab_evaluation *e = STN_LIST_OF(task, struct stn_lab_evaluation, task);
    struct stn_network *network = stn_lab_network(e->lab, thread);
    struct stn_evaluate_result result;
    stn_network_set_values(network, e->values);
    e->code = stn_evaluate_run(network, e->lab->test, e->lab->pass_rows, NULL, NULL, &result, &e->err);
    if (e->code == STN_OK) {
        e->score = (struct stn_lab_score){.loss = stn_evaluate_loss(&result), .accuracy = stn_evaluate_accuracy(&result)};
    }
}

enum stn_code stn_lab_score(struct stn_lab *lab, const float *values, struct stn_lab_score *ret, struct stn_err *err)
{
    struct stn_lab_evaluation e = {.task = {.run = stn_lab_evaluate}, .lab = lab, .values = values};
    stn_pool_submit(lab->pool, &e.task);
    stn_pool_wait(lab->pool, &e.task);
    if (e.code != STN_OK) {
        return stn_err_set(err, e.code, "%s", e.err.text);
    }
    *ret = e.score;
    return STN_OK;
}

/* A model that somebody trains alone, and how well it then does. */
struct alone {
    struct stn_pool_task task; /* both trainings and evaluations follow each other on one thread */
    struct stn_lab_training training;
    struct stn_lab_evaluation evaluation;
    float *values; /* (n_values) */
};

static void train_and_evaluate(struct stn_pool_task *task, size_t thread)
{
    struct alone *a = STN_LIST_OF(task, struct alone, task);
    struct stn_lab *lab = a->training.lab;
    stn_lab_train(&a->training.task, thread);
    if (a->training.code != STN_OK) {
        return;
    }
    memcpy(a->values, lab->first->values, lab->n_values * sizeof *a->values);
    stn_slice_add(lab->first, stn_job_slice(&a->training.spec), a->training.delta, a->values);
    stn_lab_evaluate(&a->evaluation.task, thread);
}

static enum stn_code begin(struct stn_lab *lab, struct alone *a, const struct stn_dataset *dataset, uint64_t n_steps,
                           uint64_t seed, struct stn_err *err)
{
    float *values = stn_mem_new(lab->n_values, 2 * sizeof *values);
    if (values == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu values", lab->n_values);
    }
    *a = (struct alone){.task = {.run = train_and_evaluate},
                        .training = {.lab = lab, .dataset = dataset, .spec = lab->train, .from = lab->first->values,
                                     .seed = seed, .delta = values + lab->n_values},
                        .evaluation = {.lab = lab, .values = values},
                        .values = values};
    a->training.spec.local_steps = (uint32_t)n_steps;
    stn_pool_submit(lab->pool, &a->task);
    return STN_OK;
}

static enum stn_code end(struct stn_lab *lab, struct alone *a, struct stn_lab_score *ret, struct stn_err *err)
{
    stn_pool_wait(lab->pool, &a->task);
    stn_mem_free(a->values);
    const enum stn_code code = a->training.code != STN_OK ? a->training.code : a->evaluation.code;
    if (code != STN_OK) {
        return stn_err_set(err, code, "%s", a->training.code != STN_OK ? a->training.err.text : a->evaluation.err.text);
    }
    *ret = a->evaluation.score;
    return STN_OK;
}

enum stn_code stn_lab_compare(struct stn_lab *lab, struct stn_lab_comparison *comparison, struct stn_err *err)
{
    struct alone *all = stn_mem_new(lab->n_clients + 1, sizeof *all), *central = all;
    if (all == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu clients", lab->n_clients);
    }
    /* the central one takes longest: it begins first and is waited for last */
    enum stn_code code = begin(lab, central, lab->pooled, comparison->n_central, lab->seed, err);
    size_t n_begun = code == STN_OK;
    while (code == STN_OK && n_begun <= lab->n_clients) {
        code = begin(lab, &all[n_begun], lab->clients[n_begun - 1], comparison->n_local, lab->seed + n_begun, err);
        n_begun += code == STN_OK;
    }
    struct stn_lab_score sum = {0};
    for (size_t i = 1; i <= n_begun; i++) {
        struct stn_lab_score score = {0};
        struct stn_err mine = {0};
        enum stn_code one = end(lab, &all[i % n_begun], &score, &mine);
        if (one != STN_OK && code == STN_OK) {
            code = stn_err_set(err, one, "%s", mine.text);
        }
        if (i == n_begun) {
            comparison->central = score;
            break;
        }
        sum.loss += score.loss / (double)lab->n_clients;
        sum.accuracy += score.accuracy / (double)lab->n_clients;
        if (comparison->done != NULL) {
            comparison->done(comparison->context, i);
        }
    }
    comparison->local = sum;
    stn_mem_free(all);
    return code;
}
