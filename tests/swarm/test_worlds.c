#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "tests/swarm/swarm.h"

static struct stn_task_spec draw_spec(struct stn_rng *rng, const char *name, uint32_t n_devices)
{
    struct stn_task_spec spec = stn_swarm_spec(rng, n_devices, 2, 1);
    (void)name;
    spec.join_window_ms = 10000 + stn_rng_below(rng, 60000);
    spec.upload_ms = 20000 + stn_rng_below(rng, 60000); /* five messages and the chunks: it must be possible */
    spec.n_rounds = 2 + stn_rng_below(rng, 4);
    return spec;
}

static struct stn_world_config draw_config(struct stn_rng *rng, uint64_t seed)
{
    struct stn_world_config config = stn_swarm_config(rng, seed, 3, 12, 0.1);
    config.agent.n_min_floor = 1;
    if (seed % 5 != 0) {
        stn_swarm_faults(rng, &config.faults, 0.02, 60000, 300000);
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
