#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/simulate/world_state.h"
#include "crypto/entropy.h"
#include "server/core/coordinator_state.h"
#include "tests/swarm/swarm_state.h"

#define LIMIT_MS (7 * 24 * 3600 * 1000ull) /* of virtual time; everybody is done long before */

void stn_swarm_break(struct stn_swarm *swarm, const char *what)
{
    if (swarm->outcome.text[0] == '\0') {
        (void)snprintf(swarm->outcome.text, sizeof swarm->outcome.text, "%s", what);
    }
}

void stn_swarm_set(struct stn_map *map, const void *key, size_t size, void *value)
{
    ck_assert(stn_map_set(map, key, size, value));
}

struct stn_swarm_key stn_swarm_key_of(const struct stn_swarm *swarm, const struct stn_round_id *round, uint32_t device)
{
    return (struct stn_swarm_key){*round, stn_world_id(swarm->world, device)};
}

void stn_swarm_free_values(struct stn_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        stn_mem_free(map->entries[i].value);
    }
    stn_map_fini(map);
    *map = (struct stn_map){0};
}

/* ---- a world of a seed ---- */

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
    return n == STN_SWARM_TASKS;
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

/* When all faults are over, the operator lets back whoever is still kept out. */
static void release(struct stn_world *world)
{
    const struct stn_coordinator *core = stn_world_coordinator(world);
    if (core != NULL && core->quarantine.n > 0 && !stn_world_is_faulty(world)) {
        struct stn_server_event event = {.type = STN_SERVER_DEVICE_RELEASE};
        memcpy(&event.device, core->quarantine.entries[0].key, sizeof event.device);
        stn_central_step(world, &event);
    }
}

static void run(struct stn_swarm *swarm, const struct stn_world_config *config)
{
    struct stn_world *world = swarm->world;
    struct stn_swarm_outcome *outcome = &swarm->outcome;
    uint64_t late_ms = UINT64_MAX; /* since when a round is open past its deadline */
    while (!outcome->is_done && outcome->text[0] == '\0' && stn_world_step(world)) {
        outcome->n_steps++;
        stn_swarm_plant(swarm, config->n_devices);
        release(world);
        if (swarm->promises.is_broken) {
            stn_swarm_break(swarm, swarm->promises.text);
        } else if (ends_in_time(world)) {
            late_ms = UINT64_MAX;
        } else if (late_ms == UINT64_MAX) {
            late_ms = stn_world_now_ms(
                world); /* it is up again, or its clock has jumped: TIME is on its way */
        } else if (late_ms < stn_world_now_ms(world)) {
            stn_swarm_break(swarm, "a round is open past its deadline");
        }
        if (stn_world_now_ms(world) > STN_WORLD_START_MS + LIMIT_MS) {
            stn_swarm_break(swarm, "no end in a week");
        }
        outcome->is_done = is_finished(world) && is_installed(world, config->n_devices);
    }
    outcome->transcript = stn_world_transcript(world);
    outcome->end_ms = stn_world_now_ms(world) - STN_WORLD_START_MS;
}

static void create_tasks(struct stn_swarm *swarm, const struct stn_swarm_kind *kind,
                         const struct stn_world_config *config, const char *const *names)
{
    for (int i = 0; i < STN_SWARM_TASKS; i++) {
        struct stn_task_spec spec = kind->spec(&swarm->rng, names[i], config->n_devices);
        struct stn_blob_ref adapter = {.digest = stn_digest_of(names[i], 2), .size = 1000};
        enum stn_code code =
            STN_AGAIN; /* an operator tries again when the coordinator crashes over it */
        (void)stn_str_copy(spec.name, sizeof spec.name, names[i]);
        spec.digest = stn_digest_of(names[i], strlen(names[i]));
        for (int n = 0; code == STN_AGAIN && n < 10000; n++) {
            code = stn_world_create_task(swarm->world, &spec, &adapter);
            (void)(code == STN_AGAIN && stn_world_step(swarm->world));
        }
        ck_assert_int_eq(code, STN_OK);
    }
}

struct stn_swarm_outcome stn_swarm_run(const struct stn_swarm_kind *kind, uint64_t seed,
                                       const struct stn_swarm_plants *plants)
{
    static const char *const names[STN_SWARM_TASKS] = {"alpha", "beta"};
    struct stn_swarm swarm = {.outcome = {.n_steps = 0}};
    if (plants != NULL) {
        swarm.plants = *plants;
    }
    stn_rng_fork(&swarm.rng, seed, "swarm", 0);
    struct stn_world_config config = kind->config(&swarm.rng, seed);
    swarm.lies = kind->lies == NULL ? (struct stn_swarm_lies){false, 0} : kind->lies(seed, config.n_devices);
    swarm.most_train_ms = 1000 + stn_rng_below(&swarm.rng, 100000);
    struct stn_world_host host = stn_swarm_host;
    host.context = &swarm;
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    ck_assert_int_eq(stn_world_new(&swarm.world, &config, &host, names, STN_SWARM_TASKS, NULL),
                     STN_OK);
    create_tasks(&swarm, kind, &config, names);
    run(&swarm, &config);
    if (swarm.outcome.is_done && swarm.outcome.text[0] == '\0') {
        stn_promises_end(&swarm.promises);
        stn_swarm_break(&swarm, swarm.promises.text);
    }
    swarm.outcome.n_checks = swarm.promises.n_checks;
    stn_world_free(swarm.world);
    stn_promises_fini(&swarm.promises);
    stn_swarm_free_values(&swarm.deltas);
    stn_swarm_free_values(&swarm.vectors);
    stn_swarm_free_values(&swarm.sums);
    stn_swarm_free_values(&swarm.seeds);
    stn_swarm_free_values(&swarm.dealt);
    stn_swarm_free_values(&swarm.acked);
    stn_swarm_free_values(&swarm.survivors);
    stn_map_fini(&swarm.opened);
    stn_map_fini(&swarm.lied_in);
    for (int i = 0; i < STN_SWARM_TOLD; i++) {
        stn_buf_fini(&swarm.told[i]);
    }
    return swarm.outcome;
}

uint64_t stn_swarm_n_caught(const struct stn_swarm_kind *kind, uint64_t n, const struct stn_swarm_plants *plants,
                            const char *text)
{
    uint64_t n_caught = 0;
    for (uint64_t seed = 0; seed < n; seed++) {
        struct stn_swarm_outcome outcome = stn_swarm_run(kind, seed, plants);
        n_caught += strstr(outcome.text, text) != NULL;
    }
    return n_caught;
}

struct stn_swarm_outcome stn_swarm_run_all(const struct stn_swarm_kind *kind, uint64_t n)
{
    struct stn_swarm_outcome all = {.n_steps = 0};
    uint64_t first = 0;
    const char *one = getenv("STERNA_SWARM_SEED"), *many = getenv("STERNA_SWARM_SEEDS");
    ck_assert_msg(many == NULL || stn_str_u64(many, &n), "STERNA_SWARM_SEEDS is no number: %s", many);
    ck_assert_msg(one == NULL || stn_str_u64(one, &first), "STERNA_SWARM_SEED is no number: %s", one);
    uint64_t end = one == NULL ? n : first + 1;
    for (uint64_t seed = first; seed < end; seed++) {
        struct stn_swarm_outcome outcome = stn_swarm_run(kind, seed, NULL);
        ck_assert_msg(outcome.text[0] == '\0', "seed %llu, %llu ms, step %llu: %s",
                      (unsigned long long)seed, (unsigned long long)outcome.end_ms,
                      (unsigned long long)outcome.n_steps, outcome.text);
        ck_assert_msg(outcome.is_done, "seed %llu stands still", (unsigned long long)seed);
        all.n_steps += outcome.n_steps;
        all.n_checks += outcome.n_checks;
        all.n_merged += outcome.n_merged;
        all.n_merged_members += outcome.n_merged_members;
        all.n_void += outcome.n_void;
        all.n_self += outcome.n_self;
        all.n_mask += outcome.n_mask;
        all.n_folded += outcome.n_folded;
        all.n_evidence += outcome.n_evidence;
        all.n_named += outcome.n_named;
        for (int i = 0; i < STN_SWARM_LIES; i++) {
            all.n_lies[i] += outcome.n_lies[i];
        }
        for (size_t i = 0; i < sizeof all.said / sizeof *all.said; i++) {
            all.said[i] += outcome.said[i];
        }
    }
    (void)printf("%llu worlds, %llu steps, %llu promises checked, %llu versions of %.1f deltas, %llu void rounds\n",
                 (unsigned long long)(end - first), (unsigned long long)all.n_steps,
                 (unsigned long long)all.n_checks, (unsigned long long)all.n_merged,
                 (double)all.n_merged_members / (double)(all.n_merged > 0 ? all.n_merged : 1),
                 (unsigned long long)all.n_void);
    for (int i = 0; i < STN_SWARM_LIES && kind->lies != NULL; i++) {
        (void)printf("%llu%s", (unsigned long long)all.n_lies[i], i + 1 < STN_SWARM_LIES ? ", " : " lies by kind, ");
    }
    if (kind->lies != NULL) {
        (void)printf("%llu times evidence, %llu times a liar named\n", (unsigned long long)all.n_evidence,
                     (unsigned long long)all.n_named);
    }
    return all;
}
