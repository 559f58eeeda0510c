#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "base/str.h"
#include "client/simulate/promises.h"
#include "client/simulate/world.h"
#include "crypto/entropy.h"

/* Worlds drawn from a seed, with symbols for deltas: a vector is the name of its lease, a version
 * the name of its round. STERNA_SWARM_SEEDS says how many (default 50). */

#define TASK_NAMES                                                                                 \
    {                                                                                              \
        "alpha", "beta"                                                                            \
    }
#define N_TASKS 2
#define LIMIT_MS (7 * 24 * 3600 * 1000ull) /* of virtual time; everybody is done long before */

struct swarm {
    struct stn_world *world;
    struct stn_promises promises;
    struct stn_rng rng;
    bool forgets_to_lose; /* planted: an accumulator outlives the crash, and ADD comes again */
    bool repeats_adds;    /* planted: a retransmission is added again */
    uint64_t most_train_ms;
};

static uint64_t train(void *context, uint32_t device, const struct stn_msg_lease *lease)
{
    struct swarm *swarm = context;
    (void)device;
    (void)lease;
    return 1 + stn_rng_below(&swarm->rng, swarm->most_train_ms);
}

static enum stn_code trained(void *context, uint32_t device, const struct stn_msg_lease *lease,
                             uint64_t *ret_n_samples)
{
    (void)context;
    *ret_n_samples = 1 + (device + lease->lease) % 7;
    return STN_OK;
}

static enum stn_code encode(void *context, uint32_t device, const struct stn_client_effect *effect,
                            struct stn_digest *ret_digest, uint64_t *ret_size)
{
    (void)context;
    const uint64_t name[] = {device + 1ull, effect->round.lease.lease,
                             effect->round.config.version};
    *ret_digest = stn_digest_of(name, sizeof name);
    *ret_size = effect->round.config.n_values * effect->round.config.bits / 8;
    return STN_OK;
}

static void discard(void *context, uint32_t device, const struct stn_msg_lease *lease)
{
    (void)context;
    (void)device;
    (void)lease;
}

static void install(void *context, uint32_t device, const struct stn_client_effect *effect,
                    struct stn_client_event *event)
{
    struct swarm *swarm = context;
    struct stn_id id = stn_world_id(swarm->world, device);
    (void)event;
    stn_promises_installed(&swarm->promises, &id, effect->install.task, effect->install.version);
}

static void add(void *context, const struct stn_server_upload *upload)
{
    struct swarm *swarm = context;
    stn_promises_add(&swarm->promises, upload);
    if (swarm->repeats_adds) {
        stn_promises_add(&swarm->promises, upload);
    }
}

static void unmask(void *context, const struct stn_server_effect *effect)
{
    (void)context;
    (void)effect; /* names have no masks */
}

static void merge(void *context, const struct stn_server_effect *effect,
                  struct stn_server_event *event)
{
    struct swarm *swarm = context;
    stn_promises_merge(&swarm->promises, effect);
    event->merged.adapter =
        (struct stn_blob_ref){.digest = stn_digest_of(&effect->merge.round, 16), .size = 1000};
    event->merged.state = event->merged.adapter;
    event->merged.clip_norm = effect->merge.config.clip_norm;
    event->merged.totals.n_included = effect->merge.n_included;
    event->merged.code = stn_rng_below(&swarm->rng, 50) == 0 ? STN_CORRUPT : STN_OK;
}

static void close_round(void *context, const struct stn_round_id *round)
{
    (void)context;
    (void)round;
}

static void lose(void *context)
{
    struct swarm *swarm = context;
    if (!swarm->forgets_to_lose) {
        stn_promises_lose(&swarm->promises);
    }
}

static void committed(void *context, const struct stn_record *record)
{
    struct swarm *swarm = context;
    stn_promises_committed(&swarm->promises, record);
}

static void acknowledged(void *context, uint32_t device, const struct stn_round_id *round,
                         const struct stn_digest *upload)
{
    struct swarm *swarm = context;
    struct stn_id id = stn_world_id(swarm->world, device);
    (void)upload;
    stn_promises_acknowledged(&swarm->promises, &id, round);
}

static void said(void *context, uint32_t device, const struct stn_msg *msg)
{
    (void)context;
    (void)device;
    (void)msg;
}

static void trace(void *context, uint64_t now_ms, uint32_t who, const char *event, const char *task,
                  uint64_t number, enum stn_code code)
{
    (void)context;
    if (getenv("STERNA_SWARM_TRACE") != NULL) {
        (void)fprintf(stderr, "[%9llu] %3d %s %s %llu %s\n",
                      (unsigned long long)(now_ms - STN_WORLD_START_MS), (int)who, event, task,
                      (unsigned long long)number, stn_err_name(code));
    }
}

/* ---- a world of a seed ---- */

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
                  .lr = 1e-3},
        .n_values = 1000,
        .target = target,
        .n_min = 1 + (uint32_t)stn_rng_below(rng, target),
        .over_select = 1 + stn_rng_unit(rng),
        .join_window_ms = 10000 + stn_rng_below(rng, 60000),
        .report_deadline_ms = 60000 + stn_rng_below(rng, 600000),
        .upload_ms =
            20000 +
            stn_rng_below(rng, 60000), /* five messages and the chunks: it must be possible */
        .staleness = (uint32_t)stn_rng_below(rng, 3),
        .outer = {.rate = 1},
        .clip_norm = 1,
        .clip_quantile = 0.9,
        .weight_max = 8,
        .bits = 24,
        .n_rounds = 2 + stn_rng_below(rng, 4),
        .seed = stn_rng_u64(rng)};
    (void)stn_str_copy(spec.name, sizeof spec.name, name);
    spec.digest = stn_digest_of(name, strlen(name));
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

static bool is_finished(const struct stn_world *world)
{
    const struct stn_coordinator *core = stn_world_coordinator(world);
    struct stn_coordinator_view view;
    size_t n = 0;
    for (; core != NULL && stn_coordinator_view(core, n, &view); n++) {
        if (view.task->state != STN_TASK_FINISHED || view.round != NULL) {
            return false;
        }
    }
    return n == N_TASKS;
}

/* Every device has the last version of every task in place. */
static bool is_installed(const struct stn_world *world, uint32_t n_devices)
{
    struct stn_coordinator_view view;
    for (uint32_t d = 0; d < n_devices; d++) {
        const struct stn_agent_record *record = stn_world_device(world, d);
        for (size_t i = 0; stn_coordinator_view(stn_world_coordinator(world), i, &view); i++) {
            bool has = false;
            for (uint32_t k = 0; k < record->n_installed; k++) {
                has |= strcmp(record->installed[k].task, view.task->spec.name) == 0 &&
                       record->installed[k].version == view.task->version;
            }
            if (!has) {
                return false;
            }
        }
    }
    return true;
}

/* No round outlives its deadline once time has come: one wire's delay is allowed, and no crash. */
static bool ends_in_time(const struct stn_world *world)
{
    const struct stn_coordinator *core = stn_world_coordinator(world);
    struct stn_coordinator_view view;
    for (size_t i = 0; core != NULL && stn_coordinator_view(core, i, &view); i++) {
        if (view.round != NULL && view.round->deadline_ms < stn_world_coordinator_ms(world)) {
            return false;
        }
    }
    return true;
}

struct outcome {
    uint64_t transcript, end_ms, n_steps, n_checks;
    bool is_done;
    char text[256]; /* what is wrong, or nothing */
};

static void run_world(struct swarm *swarm, struct stn_world *world,
                      const struct stn_world_config *config, struct outcome *outcome)
{
    uint64_t late_ms = UINT64_MAX; /* since when a round is open past its deadline */
    while (!outcome->is_done && outcome->text[0] == '\0' && stn_world_step(world)) {
        outcome->n_steps++;
        if (swarm->promises.is_broken) {
            (void)snprintf(outcome->text, sizeof outcome->text, "%s", swarm->promises.text);
        } else if (ends_in_time(world)) {
            late_ms = UINT64_MAX;
        } else if (late_ms == UINT64_MAX) {
            late_ms = stn_world_now_ms(
                world); /* it is up again, or its clock has jumped: TIME is on its way */
        } else if (late_ms < stn_world_now_ms(world)) {
            (void)snprintf(outcome->text, sizeof outcome->text,
                           "a round is open past its deadline");
        }
        if (stn_world_now_ms(world) > STN_WORLD_START_MS + LIMIT_MS) {
            (void)snprintf(outcome->text, sizeof outcome->text, "no end after %llu ms", LIMIT_MS);
        }
        outcome->is_done = is_finished(world) && is_installed(world, config->n_devices);
    }
    outcome->transcript = stn_world_transcript(world);
    outcome->end_ms = stn_world_now_ms(world) - STN_WORLD_START_MS;
}

static struct outcome run_seed(uint64_t seed, const struct swarm *planted)
{
    static const struct stn_world_host functions = {.train = train,
                                                    .trained = trained,
                                                    .encode = encode,
                                                    .discard = discard,
                                                    .install = install,
                                                    .add = add,
                                                    .unmask = unmask,
                                                    .merge = merge,
                                                    .close = close_round,
                                                    .lose = lose,
                                                    .committed = committed,
                                                    .said = said,
                                                    .acknowledged = acknowledged,
                                                    .trace = trace};
    static const char *const names[] = TASK_NAMES;
    struct outcome outcome = {.n_steps = 0};
    struct swarm swarm = planted == NULL ? (struct swarm){.most_train_ms = 0} : *planted;
    stn_rng_fork(&swarm.rng, seed, "swarm", 0);
    struct stn_world_config config = draw_config(&swarm.rng, seed);
    swarm.most_train_ms = 1000 + stn_rng_below(&swarm.rng, 100000);
    struct stn_world_host host = functions;
    host.context = &swarm;
    struct stn_world *world = NULL;
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    ck_assert_int_eq(stn_world_new(&world, &config, &host, names, N_TASKS, NULL), STN_OK);
    swarm.world = world;
    for (int i = 0; i < N_TASKS; i++) {
        struct stn_task_spec spec = draw_spec(&swarm.rng, names[i], config.n_devices);
        struct stn_blob_ref adapter = {.digest = stn_digest_of(names[i], 2), .size = 1000};
        enum stn_code code =
            STN_AGAIN; /* an operator tries again when the coordinator crashes over it */
        for (int n = 0; code == STN_AGAIN && n < 10000; n++) {
            code = stn_world_create_task(world, &spec, &adapter);
            (void)(code == STN_AGAIN && stn_world_step(world));
        }
        ck_assert_int_eq(code, STN_OK);
    }
    run_world(&swarm, world, &config, &outcome);
    if (outcome.is_done) {
        stn_promises_end(&swarm.promises);
        (void)snprintf(outcome.text, sizeof outcome.text, "%s", swarm.promises.text);
    }
    outcome.n_checks = swarm.promises.n_checks;
    stn_world_free(world);
    stn_promises_fini(&swarm.promises);
    return outcome;
}

static uint64_t n_seeds(void)
{
    uint64_t n = 50;
    const char *text = getenv("STERNA_SWARM_SEEDS");
    ck_assert_msg(text == NULL || stn_str_u64(text, &n), "STERNA_SWARM_SEEDS is no number: %s",
                  text);
    return n;
}

START_TEST(every_world_keeps_every_promise_and_comes_to_its_end)
{
    uint64_t n_steps = 0, n_checks = 0, first = 0;
    const char *one = getenv("STERNA_SWARM_SEED");
    ck_assert(one == NULL || stn_str_u64(one, &first));
    uint64_t end = one == NULL ? n_seeds() : first + 1;
    for (uint64_t seed = first; seed < end; seed++) {
        struct outcome outcome = run_seed(seed, NULL);
        ck_assert_msg(outcome.text[0] == '\0', "seed %llu, %llu ms, step %llu: %s",
                      (unsigned long long)seed, (unsigned long long)outcome.end_ms,
                      (unsigned long long)outcome.n_steps, outcome.text);
        ck_assert_msg(outcome.is_done, "seed %llu stands still", (unsigned long long)seed);
        n_steps += outcome.n_steps;
        n_checks += outcome.n_checks;
    }
    (void)printf("%llu worlds, %llu steps, %llu promises checked\n",
                 (unsigned long long)(end - first), (unsigned long long)n_steps,
                 (unsigned long long)n_checks);
}
END_TEST

START_TEST(a_seed_run_twice_gives_the_same_transcript)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct outcome a = run_seed(seed, NULL), b = run_seed(seed, NULL);
        ck_assert_uint_eq(a.transcript, b.transcript);
        ck_assert_uint_eq(a.n_steps, b.n_steps);
    }
    ck_assert_uint_ne(run_seed(1, NULL).transcript, run_seed(2, NULL).transcript);
}
END_TEST

static uint64_t n_caught(const struct swarm *planted, const char *text)
{
    uint64_t n = 0;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct outcome outcome = run_seed(seed, planted);
        n += strstr(outcome.text, text) != NULL;
    }
    return n;
}

START_TEST(a_double_count_that_is_planted_is_caught)
{
    ck_assert_uint_eq(n_caught(&(struct swarm){.repeats_adds = true}, "counted twice"), 30);
    /* only worlds whose coordinator crashes in the middle of an upload can show it */
    ck_assert_uint_gt(n_caught(&(struct swarm){.forgets_to_lose = true}, "counted twice"), 3);
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
    suite_add_tcase(s, t);
    return s;
}
