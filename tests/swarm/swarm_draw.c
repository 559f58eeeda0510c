#include "tests/swarm/swarm.h"

struct stn_task_spec stn_swarm_spec(struct stn_rng *rng, uint32_t n_devices, uint32_t target_least, uint32_t n_min_least)
{
    struct stn_task_spec spec = {.base = {.digest = stn_digest_of("base", 4), .size = 100000},
                                 .train = {.rank = 8,
                                           .alpha = 16,
                                           .targets = 1,
                                           .local_steps = 5,
                                           .batch_tokens = 256,
                                           .ctx = 64,
                                           .lr = 1e-3},
                                 .n_values = 1000,
                                 .n_values_b = 400,
                                 .discount = 0.5,
                                 .outer = {.rate = 1},
                                 .clip_norm = 1,
                                 .clip_quantile = 0.9,
                                 .weight_max = 8,
                                 .bits = 24};
    spec.target = target_least + (uint32_t)stn_rng_below(rng, n_devices - target_least + 1);
    spec.n_min = n_min_least + (uint32_t)stn_rng_below(rng, spec.target - n_min_least + 1);
    spec.train.n_halvings = (uint32_t)stn_rng_below(rng, 3);
    spec.lora = (uint32_t)stn_rng_below(rng, STN_LORA_ALTERNATE + 1);
    spec.over_select = 1 + stn_rng_unit(rng);
    spec.report_deadline_ms = 60000 + stn_rng_below(rng, 600000);
    spec.staleness = (uint32_t)stn_rng_below(rng, 3);
    spec.seed = stn_rng_u64(rng);
    return spec;
}

struct stn_world_config stn_swarm_config(struct stn_rng *rng, uint64_t seed, uint32_t n_least, uint32_t n_most,
                                         double loss_most)
{
    struct stn_world_config config = {.seed = seed,
                                      .n_examples = 10,
                                      .is_encoded = seed % 4 == 1,
                                      .wire = {.least_ms = 1},
                                      .agent = {.allows_plain = true, .retry_first_ms = 500, .retry_most_ms = 60000}};
    config.n_devices = n_least + (uint32_t)stn_rng_below(rng, n_most - n_least + 1);
    config.n_per_ms = 1 + stn_rng_below(rng, 1000);
    config.wire.most_ms = 1 + stn_rng_below(rng, 2000);
    config.wire.loss = loss_most * stn_rng_unit(rng);
    config.wire.repeat = 0.2 * stn_rng_unit(rng);
    return config;
}

void stn_swarm_faults(struct stn_rng *rng, struct stn_faults_config *faults, double crash_most, uint64_t down_ms,
                      uint64_t owner_ms)
{
    faults->until_ms = 3600000;
    faults->down_ms = down_ms;
    faults->coordinator_crash = crash_most * stn_rng_unit(rng);
    faults->device_crash = crash_most * stn_rng_unit(rng);
    faults->job_failure = 0.1 * stn_rng_unit(rng);
    faults->corruption = 0.1 * stn_rng_unit(rng);
    faults->owner_ms = stn_rng_below(rng, 2) * owner_ms;
    faults->jump_ms = stn_rng_below(rng, 2) * 120000;
}
