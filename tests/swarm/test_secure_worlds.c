#include "tests/lib/run.h"

#include <stdlib.h>
#include <string.h>

#include "tests/swarm/swarm.h"

static struct stn_task_spec draw_spec(struct stn_rng *rng, const char *name, uint32_t n_devices)
{
    struct stn_task_spec spec = stn_swarm_spec(rng, n_devices, 5, 5);
    spec.gamma = 0.1;
    spec.delta = 0.1;
    spec.sigma = 64;
    spec.eta = 30;
    spec.join_window_ms = 30000 + stn_rng_below(rng, 150000);
    spec.upload_ms = 30000 + stn_rng_below(rng, 60000);
    spec.share_ms = 15000 + stn_rng_below(rng, 20000);
    spec.ack_ms = 15000 + stn_rng_below(rng, 20000);
    spec.unmask_ms = 15000 + stn_rng_below(rng, 20000);
    spec.n_rounds = 2 + stn_rng_below(rng, 3);
    spec.secure = strcmp(name, "beta") != 0 || stn_rng_below(rng, 4) > 0; /* or beside a plain one */
    return spec;
}

static struct stn_world_config draw_config(struct stn_rng *rng, uint64_t seed)
{
    struct stn_world_config config = stn_swarm_config(rng, seed, 6, 13, 0.05);
    config.agent.n_min_floor = 5;
    config.agent.secure.gamma_floor = 0.1;
    config.agent.secure.sigma_floor = 64;
    if (seed % 3 == 0) { /* these devices vanish at drawn stages of a round, calm or not */
        config.faults.vanish = 0.15;
        config.faults.down_ms = 30000;
    }
    if (seed % 5 != 0) {
        stn_swarm_faults(rng, &config.faults, 0.01, 30000, 600000);
    }
    return config;
}

static struct stn_swarm_lies draw_lies(uint64_t seed, uint32_t n_devices)
{
    return (struct stn_swarm_lies){.by_coordinator = seed % 4 == 2,
                                   .by_device = seed % 4 == 3 || seed % 8 == 1 ? 1 + (uint32_t)(seed % n_devices) : 0};
}

static struct stn_swarm_lies draw_lying_coordinator(uint64_t seed, uint32_t n_devices)
{
    (void)seed;
    (void)n_devices;
    return (struct stn_swarm_lies){.by_coordinator = true};
}

static const struct stn_swarm_kind secure = {draw_spec, draw_config, draw_lies};
static const struct stn_swarm_kind lying = {draw_spec, draw_config, draw_lying_coordinator};

START_TEST(every_secure_world_keeps_every_promise_and_comes_to_its_end)
{
    struct stn_swarm_outcome all = stn_swarm_run_all(&secure, 40);
    if (getenv("STERNA_SWARM_SEED") != NULL || getenv("STERNA_SWARM_SEEDS") != NULL) {
        return; /* what follows is of many worlds, and one may be without losses */
    }
    /* losses come at every stage, also when a share has to stand for a member that has gone */
    ck_assert_uint_gt(all.said[STN_MSG_ADVERTISE], all.said[STN_MSG_SHARE]);
    ck_assert_uint_gt(all.said[STN_MSG_SHARE], all.said[STN_MSG_ACK]);
    ck_assert_uint_gt(all.said[STN_MSG_ACK], all.said[STN_MSG_UNMASK]);
    ck_assert_uint_gt(all.n_self, all.n_mask);
    ck_assert_uint_gt(all.n_mask, 0);
    for (int i = 0; i < STN_SWARM_LIES; i++) {
        ck_assert_uint_gt(all.n_lies[i], 0);
    }
    ck_assert_uint_gt(all.n_evidence, 0);
    ck_assert_uint_gt(all.n_named, 0);
    ck_assert_uint_gt(all.n_folded, 0);
    ck_assert_uint_lt(all.n_folded, all.n_merged);
}
END_TEST

START_TEST(a_seed_run_twice_gives_the_same_transcript)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct stn_swarm_outcome a = stn_swarm_run(&secure, seed, NULL),
                                 b = stn_swarm_run(&secure, seed, NULL);
        ck_assert_uint_eq(a.transcript, b.transcript);
        ck_assert_uint_eq(a.n_steps, b.n_steps);
    }
}
END_TEST

START_TEST(what_is_planted_is_caught)
{
    ck_assert_uint_eq(stn_swarm_n_caught(&secure, 5, &(struct stn_swarm_plants){.repeats_adds = true},
                                         "counted twice"), 5);
    ck_assert_uint_eq(stn_swarm_n_caught(&secure, 10, &(struct stn_swarm_plants){.forgets_masks = true},
                                         "not the sum of its deltas"), 10);
    ck_assert_uint_gt(stn_swarm_n_caught(&secure, 10, &(struct stn_swarm_plants){.keeps_ranks = true},
                                         "ranks of fewer than n_min"), 0);
    ck_assert_uint_eq(stn_swarm_n_caught(&secure, 5, &(struct stn_swarm_plants){.repeats_secrets = true},
                                         "a seed is used twice"), 5);
    ck_assert_uint_gt(stn_swarm_n_caught(&secure, 5, &(struct stn_swarm_plants){.opens_both = true},
                                         "both secrets of a device are opened"), 2);
    ck_assert_uint_gt(stn_swarm_n_caught(&secure, 10, &(struct stn_swarm_plants){.equivocates = true},
                                         "two sets of survivors are acknowledged"), 3);
    ck_assert_uint_gt(stn_swarm_n_caught(&lying, 20, &(struct stn_swarm_plants){.acks_again = true},
                                         "a device acknowledges two sets"), 0);
    ck_assert_uint_gt(stn_swarm_n_caught(&lying, 5, &(struct stn_swarm_plants){.opens_both = true},
                                         "both secrets of a device are opened"), 2);
    ck_assert_uint_gt(stn_swarm_n_caught(&secure, 5, &(struct stn_swarm_plants){.sleeps = true},
                                         "past its deadline"), 3);
}
END_TEST

START_TEST(a_delta_that_leaves_twice_is_caught_before_and_after_it_is_added)
{
    ck_assert_uint_gt(stn_swarm_n_caught(&secure, 20, &(struct stn_swarm_plants){.forgets_journal = true},
                                         "leaves its device twice"), 0);
    ck_assert_uint_gt(stn_swarm_n_caught(&secure, 10, &(struct stn_swarm_plants){.spends_nothing = true},
                                         "is in two sums"), 0);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secure worlds");
    TCase *t = tcase_create("worlds");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, every_secure_world_keeps_every_promise_and_comes_to_its_end);
    tcase_add_test(t, a_seed_run_twice_gives_the_same_transcript);
    tcase_add_test(t, what_is_planted_is_caught);
    tcase_add_test(t, a_delta_that_leaves_twice_is_caught_before_and_after_it_is_added);
    suite_add_tcase(s, t);
    return s;
}
