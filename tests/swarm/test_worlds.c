#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "tests/swarm/swarm.h"

static struct stn_task_spec draw_spec(struct stn_rng *rng, const char *name, uint32_t n_devices)
{
    uint32_t target = 2 + (uint32_t)stn_rng_below(rng, n_devices - 1);
    struct stn_task_spec spec = {
        .base = {.digest = stn_digest_of("base", 4), .size = 100000},
        .train = {.rank = 8,
                  .alpha = 16,
                  .targets = 1,
                  .local_steps = 5,
                  .batch_tokens = 256,
                  .ctx = 64,
                  .lr = 1e-3,
                  .n_halvings = (uint32_t)stn_rng_below(rng, 3)},
        .lora = (uint32_t)stn_rng_below(rng, STN_LORA_ALTERNATE + 1),
        .n_values = 1000,
        .n_values_b = 400,
        .target = target,
        .n_min = 1 + (uint32_t)stn_rng_below(rng, target),
        .over_select = 1 + stn_rng_unit(rng),
        .join_window_ms = 10000 + stn_rng_below(rng, 60000),
        .report_deadline_ms = 60000 + stn_rng_below(rng, 600000),
        .upload_ms =
            20000 +
            stn_rng_below(rng, 60000), /* five messages and the chunks: it must be possible */
        .staleness = (uint32_t)stn_rng_below(rng, 3),
        .discount = 0.5,
        .outer = {.rate = 1},
        .clip_norm = 1,
        .clip_quantile = 0.9,
        .weight_max = 8,
        .bits = 24,
        .n_rounds = 2 + stn_rng_below(rng, 4),
        .seed = stn_rng_u64(rng)};
    (void)name;
    return spec;
}

static struct stn_world_config draw_config(struct stn_rng *rng, uint64_t seed)
{
    bool is_calm = seed % 5 == 0;
    struct stn_world_config config = {
        .seed = seed,
        .n_devices = 3 + (uint32_t)stn_rng_below(rng, 10),
        .n_examples = 10,
        .n_per_ms = 1 + stn_rng_below(rng, 1000),
        .is_encoded = seed % 4 == 1,
        .wire = {.least_ms = 1,
                 .most_ms = 1 + stn_rng_below(rng, 2000),
                 .loss = 0.1 * stn_rng_unit(rng),
                 .repeat = 0.2 * stn_rng_unit(rng)},
        .agent = {.n_min_floor = 1, .allows_plain = true, .retry_first_ms = 500, .retry_most_ms = 60000}};
    if (!is_calm) {
        config.faults = (struct stn_faults_config){.until_ms = 3600000,
                                                   .coordinator_crash = 0.02 * stn_rng_unit(rng),
                                                   .device_crash = 0.02 * stn_rng_unit(rng),
                                                   .down_ms = 60000,
                                                   .job_failure = 0.1 * stn_rng_unit(rng),
                                                   .corruption = 0.1 * stn_rng_unit(rng),
                                                   .owner_ms = stn_rng_below(rng, 2) * 300000,
                                                   .jump_ms = stn_rng_below(rng, 2) * 120000};
    }
    return config;
}

static const struct stn_swarm_kind plain = {draw_spec, draw_config, NULL};

START_TEST(every_world_keeps_every_promise_and_comes_to_its_end)
{
    (void)stn_swarm_run_all(&plain, 50);
}
END_TEST

START_TEST(a_seed_run_twice_gives_the_same_transcript)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct stn_swarm_outcome a = stn_swarm_run(&plain, seed, NULL),
                                 b = stn_swarm_run(&plain, seed, NULL);
        ck_assert_uint_eq(a.transcript, b.transcript);
        ck_assert_uint_eq(a.n_steps, b.n_steps);
    }
    ck_assert_uint_ne(stn_swarm_run(&plain, 1, NULL).transcript,
                      stn_swarm_run(&plain, 2, NULL).transcript);
}
END_TEST

START_TEST(a_double_count_that_is_planted_is_caught)
{
    ck_assert_uint_eq(stn_swarm_n_caught(&plain, 30, &(struct stn_swarm_plants){.repeats_adds = true},
                                         "counted twice"), 30);
    /* only worlds whose coordinator crashes in the middle of an upload can show it */
    ck_assert_uint_gt(stn_swarm_n_caught(&plain, 30, &(struct stn_swarm_plants){.forgets_to_lose = true},
                                         "counted twice"), 3);
}
END_TEST

START_TEST(a_delta_that_leaves_twice_is_caught_before_and_after_it_is_added)
{
    ck_assert_uint_gt(stn_swarm_n_caught(&plain, 20, &(struct stn_swarm_plants){.forgets_journal = true},
                                         "leaves its device twice"), 0);
    ck_assert_uint_gt(stn_swarm_n_caught(&plain, 20, &(struct stn_swarm_plants){.spends_nothing = true},
                                         "is in two sums"), 3);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("swarm");
    TCase *t = tcase_create("worlds");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, every_world_keeps_every_promise_and_comes_to_its_end);
    tcase_add_test(t, a_seed_run_twice_gives_the_same_transcript);
    tcase_add_test(t, a_double_count_that_is_planted_is_caught);
    tcase_add_test(t, a_delta_that_leaves_twice_is_caught_before_and_after_it_is_added);
    suite_add_tcase(s, t);
    return s;
}
