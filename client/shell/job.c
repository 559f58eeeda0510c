#include "client/shell/job.h"

#include <assert.h>
#include <string.h>

#include "base/rng.h"
#include "base/map.h"
#include "base/mem.h"

struct stn_trainer_config stn_job_trainer_config(const struct stn_train_spec *spec, enum stn_backward backward,
                                                 unsigned n_threads)
{
    static const enum stn_schedule_shape shapes[] = {
        [STN_TRAIN_CONSTANT] = STN_SCHEDULE_CONSTANT,
        [STN_TRAIN_LINEAR] = STN_SCHEDULE_LINEAR,
        [STN_TRAIN_COSINE] = STN_SCHEDULE_COSINE,
    };
    struct stn_trainer_config config = stn_trainer_defaults();
    config.context = spec->ctx;
    config.batch_tokens = spec->batch_tokens;
    config.batch_examples = spec->batch_examples;
    config.lr = spec->lr;
    config.schedule = shapes[spec->schedule];
    config.warmup = spec->warmup;
    config.clip = spec->clip;
    config.weight_decay = spec->weight_decay;
    config.backward = backward;
    config.slice = stn_job_slice(spec);
    config.n_threads = n_threads;
    return config;
}

enum stn_slice stn_job_slice(const struct stn_train_spec *spec)
{
    static const enum stn_slice slices[] = {
        [STN_FACTOR_BOTH] = STN_SLICE_BOTH, [STN_FACTOR_A] = STN_SLICE_A, [STN_FACTOR_B] = STN_SLICE_B};
    assert(spec->factor <= STN_FACTOR_B);
    return slices[spec->factor];
}

uint64_t stn_job_seed(uint64_t task_seed, uint64_t version, const struct stn_id *device)
{
    uint64_t who = stn_map_hash(device->bytes, sizeof device->bytes);
    return stn_rng_mix(task_seed ^ stn_rng_mix(version ^ stn_rng_mix(who)));
}

enum stn_code stn_job_train(struct stn_trainer *trainer, const struct stn_job_input *input, float *delta,
                            struct stn_job_result *ret, struct stn_err *err)
{
    const struct stn_train_spec *spec = input->spec;
    const struct stn_trainer_run run = {.dataset = input->dataset,
                                        .n_steps = spec->local_steps,
                                        .n_epochs = spec->local_steps > 0 ? 0 : spec->local_epochs,
                                        .seed = input->seed,
                                        .prox = spec->fedprox,
                                        .anchor = spec->fedprox > 0 ? input->from : NULL,
                                        .stopping = input->stopping,
                                        .stopping_context = input->stopping_context};
    stn_trainer_set_values(trainer, input->from);
    enum stn_code code = stn_trainer_start(trainer, &run, err);
    double loss_sum = 0;
    while (code == STN_OK && !stn_trainer_is_done(trainer)) {
        struct stn_trainer_step step;
        code = stn_trainer_step(trainer, &step, err);
        if (code == STN_OK) {
            loss_sum += step.loss * (double)step.n_targets;
        }
    }
    if (code != STN_OK) {
        return code;
    }
    struct stn_trainer_totals totals = stn_trainer_totals(trainer);
    size_t n = stn_trainer_n_values(trainer);
    stn_trainer_get_values(trainer, delta);
    if ((code = stn_network_check(stn_trainer_network(trainer), err)) != STN_OK) {
        return code;
    }
    for (size_t i = 0; i < n; i++) {
        delta[i] -= input->from[i];
    }
    stn_slice_take(input->shape, stn_job_slice(spec), delta, delta);
    *ret = (struct stn_job_result){
        .loss = totals.n_targets > 0 ? loss_sum / (double)totals.n_targets : 0,
        .info = {.n_samples = input->dataset->n_examples, .loss_sum = loss_sum, .n_tokens = totals.n_targets},
        .n_rows = totals.n_rows};
    return STN_OK;
}

enum stn_code stn_job_enter(const struct stn_msg_round_config *config, uint64_t version, uint32_t tier,
                            const struct stn_adapter *shape, float *delta, struct stn_encode_info *info, struct stn_err *err)
{
    for (uint32_t i = 0; i < config->n_bases; i++) {
        info->discount = config->bases[i].version == version ? config->bases[i].discount : info->discount;
    }
    if (tier == info->tier) {
        return STN_OK;
    }
    double *by_slot = stn_mem_new(shape->rank, sizeof *by_slot);
    if (by_slot == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %u ranks", shape->rank);
    }
    for (uint32_t slot = 0; slot < shape->rank >> tier; slot++) {
        by_slot[slot] = 1;
    }
    stn_slice_scale(shape, (enum stn_slice)config->factor, by_slot, delta);
    info->tier = tier;
    stn_mem_free(by_slot);
    return STN_OK;
}
