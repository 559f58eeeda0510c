#include "tests/swarm/swarm.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "crypto/entropy.h"

#define N_VALUES 16
#define LIMIT_MS (7 * 24 * 3600 * 1000ull) /* of virtual time; everybody is done long before */

struct vector { /* a device's in a round */
    struct stn_digest digest;
    uint32_t x[N_VALUES], y[N_VALUES]; /* the delta; as it is uploaded */
    uint32_t tier;                     /* of the ranks that are in it */
};

struct sum { /* a round's */
    uint32_t x[N_VALUES], y[N_VALUES], clear[N_VALUES];
    uint32_t n_of_tier[STN_MSG_HALVINGS + 1];
};

struct key {
    struct stn_round_id round;
    struct stn_id device;
};

struct swarm {
    struct stn_swarm_plants plants;
    struct stn_world *world;
    struct stn_promises promises;
    struct stn_rng rng;
    uint64_t most_train_ms;
    struct stn_map vectors;   /* struct key -> struct vector */
    struct stn_map sums;      /* round -> struct sum */
    struct stn_map seeds;     /* digest of a self seed -> the struct key that had it */
    struct stn_map opened;    /* struct key, of whom -> bits: 1 a share of b, 2 of mseed */
    struct stn_map survivors; /* round -> the root that is acknowledged */
    struct stn_swarm_outcome outcome;
};

static void breaks(struct swarm *swarm, const char *what)
{
    if (swarm->outcome.text[0] == '\0') {
        (void)snprintf(swarm->outcome.text, sizeof swarm->outcome.text, "%s", what);
    }
}

static void set(struct stn_map *map, const void *key, size_t size, void *value)
{
    ck_assert(stn_map_set(map, key, size, value));
}

static struct key key_of(const struct swarm *swarm, const struct stn_round_id *round, uint32_t device)
{
    return (struct key){*round, stn_world_id(swarm->world, device)};
}

/* ---- the devices' ---- */

static uint64_t train(void *context, uint32_t device, const struct stn_msg_lease *lease)
{
    struct swarm *swarm = context;
    (void)device;
    (void)lease;
    return 1 + stn_rng_below(&swarm->rng, swarm->most_train_ms);
}

static enum stn_code trained(void *context, uint32_t device, const struct stn_msg_lease *lease,
                             uint64_t *ret_n_samples, uint32_t *ret_tier)
{
    (void)context;
    *ret_tier = device % (lease->train.n_halvings + 1);
    *ret_n_samples = 1 + (device + lease->lease) % 7;
    return STN_OK;
}

static enum stn_code encode(void *context, uint32_t device, const struct stn_client_effect *effect,
                            struct stn_digest *ret_digest, uint64_t *ret_size)
{
    struct swarm *swarm = context;
    struct key key = key_of(swarm, &effect->round.config.round, device);
    struct vector *vector = stn_map_get(&swarm->vectors, &key, sizeof key);
    if (vector != NULL) {
        breaks(swarm, "a device makes a second vector for a round");
        return STN_EXISTS;
    }
    vector = stn_mem_new(1, sizeof *vector);
    ck_assert_ptr_nonnull(vector);
    for (int i = 0; i < N_VALUES; i++) {
        vector->x[i] = vector->y[i] = (uint32_t)stn_rng_u64(&swarm->rng);
    }
    vector->tier = swarm->plants.keeps_ranks ? stn_world_agent(swarm->world, device)->record.tier : effect->round.tier;
    stn_mask_apply(vector->y, N_VALUES, 0, effect->round.masks, effect->round.n_masks);
    vector->digest = stn_digest_of(vector->y, sizeof vector->y);
    set(&swarm->vectors, &key, sizeof key, vector);
    *ret_digest = vector->digest;
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

static void acknowledged(void *context, uint32_t device, const struct stn_round_id *round,
                         const struct stn_digest *upload)
{
    struct swarm *swarm = context;
    struct stn_id id = stn_world_id(swarm->world, device);
    (void)upload;
    stn_promises_acknowledged(&swarm->promises, &id, round);
}

/* ---- what the coordinator gets to know ---- */

static void look_at_share(struct swarm *swarm, const struct key *key,
                          const struct stn_secagg_client *client)
{
    struct stn_digest digest = stn_digest_of(client->entropy.self_seed, 32);
    const struct key *before = stn_map_get(&swarm->seeds, &digest, sizeof digest);
    if (before == NULL) {
        set(&swarm->seeds, &digest, sizeof digest, stn_mem_copy(key, sizeof *key));
    } else if (memcmp(before, key, sizeof *key) != 0) {
        breaks(swarm, "a seed is used twice");
    }
}

static void look_at_ack(struct swarm *swarm, const struct stn_msg_ack *ack)
{
    const struct stn_digest *root =
        stn_map_get(&swarm->survivors, &ack->round, sizeof ack->round);
    if (root == NULL) {
        set(&swarm->survivors, &ack->round, sizeof ack->round,
            stn_mem_copy(&ack->survivors, sizeof ack->survivors));
    } else if (!stn_digest_equal(root, &ack->survivors)) {
        breaks(swarm, "two sets of survivors are acknowledged");
    }
}

static void look_at_unmask(struct swarm *swarm, const struct stn_msg_unmask *unmask,
                           const struct stn_secagg_client *client)
{
    static uint8_t bits[4] = {0, 1, 2, 3}; /* values of the map */
    for (uint32_t i = 0; i < unmask->n_slots; i++) {
        const struct stn_secagg_client_neighbour *of = &client->neighbours[unmask->slots[i]];
        struct key key = {.round = unmask->round};
        memcpy(&key.device, of->advert.id, sizeof key.device);
        const uint8_t *before = stn_map_get(&swarm->opened, &key, sizeof key);
        swarm->outcome.n_self += of->survived;
        swarm->outcome.n_mask += !of->survived;
        unsigned now = (before == NULL ? 0u : *before) | (of->survived ? 1u : 2u);
        if (now == 3) {
            breaks(swarm, "both secrets of a device are opened");
        }
        set(&swarm->opened, &key, sizeof key, &bits[now]);
    }
}

static void said(void *context, uint32_t device, const struct stn_msg *msg)
{
    struct swarm *swarm = context;
    swarm->outcome.said[msg->type]++;
    if (msg->type == STN_MSG_SHARE) {
        struct key key = key_of(swarm, &msg->share.round, device);
        look_at_share(swarm, &key, stn_world_agent(swarm->world, device)->secure);
    } else if (msg->type == STN_MSG_ACK) {
        look_at_ack(swarm, &msg->ack);
    } else if (msg->type == STN_MSG_UNMASK) {
        look_at_unmask(swarm, &msg->unmask, stn_world_agent(swarm->world, device)->secure);
    }
}

/* ---- the coordinator's ---- */

static void add_up(struct swarm *swarm, const struct stn_server_upload *upload)
{
    struct key key = {upload->round, upload->device};
    const struct vector *vector = stn_map_get(&swarm->vectors, &key, sizeof key);
    struct sum *sum = stn_map_get(&swarm->sums, &upload->round, sizeof upload->round);
    stn_promises_add(&swarm->promises, upload);
    if (vector == NULL || !stn_digest_equal(&vector->digest, &upload->digest)) {
        breaks(swarm, "bytes are added that no device has made");
        return;
    }
    if (sum == NULL) {
        sum = stn_mem_new(1, sizeof *sum);
        ck_assert_ptr_nonnull(sum);
        set(&swarm->sums, &upload->round, sizeof upload->round, sum);
    }
    sum->n_of_tier[vector->tier]++;
    for (int i = 0; i < N_VALUES; i++) {
        sum->x[i] += vector->x[i];
        sum->y[i] += vector->y[i];
        sum->clear[i] += vector->y[i];
    }
}

static void add(void *context, const struct stn_server_upload *upload)
{
    struct swarm *swarm = context;
    add_up(swarm, upload);
    if (swarm->plants.repeats_adds) {
        add_up(swarm, upload);
    }
}

static void unmask(void *context, const struct stn_server_effect *effect)
{
    struct swarm *swarm = context;
    struct sum *sum = stn_map_get(&swarm->sums, &effect->unmask.round, sizeof effect->unmask.round);
    if (sum == NULL) {
        breaks(swarm, "masks come off a sum that is not there");
        return;
    }
    if (effect->unmask.is_first) {
        memcpy(sum->clear, sum->y, sizeof sum->clear);
    }
    size_t n = effect->unmask.n;
    stn_mask_apply(sum->clear, N_VALUES, 0, effect->unmask.masks,
                   swarm->plants.forgets_masks && n > 0 ? n - 1 : n);
}

/* No ranks that fewer than n_min members have trained are released; under masks nobody sees any in the sum. */
static void look_at_tiers(struct swarm *swarm, const struct sum *sum, const struct stn_server_effect *effect)
{
    const struct stn_msg_round_config *config = &effect->merge.config;
    uint32_t n = 0, highest = 0;
    while (highest < config->n_halvings && sum->n_of_tier[highest] == 0) {
        highest++;
    }
    for (uint32_t tier = 0; tier <= config->n_halvings; tier++) {
        n += sum->n_of_tier[tier];
        if (tier == effect->merge.tier && n < config->n_min) {
            breaks(swarm, "ranks of fewer than n_min members are released");
        }
        if (tier == highest && config->secure && n < config->n_min) {
            breaks(swarm, "a sum in clear has ranks of fewer than n_min members");
        }
    }
    swarm->outcome.n_folded += highest > 0;
}

static void merge(void *context, const struct stn_server_effect *effect,
                  struct stn_server_event *event)
{
    struct swarm *swarm = context;
    const struct sum *sum = stn_map_get(&swarm->sums, &effect->merge.round, sizeof effect->merge.round);
    stn_promises_merge(&swarm->promises, effect);
    if (sum == NULL || memcmp(sum->x, sum->clear, sizeof sum->x) != 0) {
        breaks(swarm, "what is merged is not the sum of its deltas");
    } else {
        look_at_tiers(swarm, sum, effect);
    }
    event->merged.adapter =
        (struct stn_blob_ref){.digest = stn_digest_of(&effect->merge.round, 16), .size = 1000};
    event->merged.state = event->merged.adapter;
    event->merged.clip_norm = effect->merge.config.clip_norm;
    event->merged.totals.n_included = effect->merge.n_included;
    event->merged.code = stn_rng_below(&swarm->rng, 50) == 0 ? STN_CORRUPT : STN_OK;
}

static void close_round(void *context, const struct stn_round_id *round)
{
    struct swarm *swarm = context;
    stn_mem_free(stn_map_remove(&swarm->sums, round, sizeof *round));
}

static void free_values(struct stn_map *map)
{
    for (size_t i = 0; i < map->n; i++) {
        stn_mem_free(map->entries[i].value);
    }
    stn_map_fini(map);
    *map = (struct stn_map){0};
}

static void lose(void *context)
{
    struct swarm *swarm = context;
    if (!swarm->plants.forgets_to_lose) {
        stn_promises_lose(&swarm->promises);
        free_values(&swarm->sums);
    }
}

static void committed(void *context, const struct stn_record *record)
{
    struct swarm *swarm = context;
    stn_promises_committed(&swarm->promises, record);
    if (record->type == STN_RECORD_VERSION && record->version.version > 0) {
        swarm->outcome.n_merged++;
        swarm->outcome.n_merged_members += record->version.totals.n_included;
    }
    swarm->outcome.n_void += record->type == STN_RECORD_ROUND && record->round.state == STN_ROUND_VOID;
}

static void trace(void *context, uint64_t now_ms, uint32_t who, const char *event, const char *task,
                  uint64_t number, enum stn_code code)
{
    struct swarm *swarm = context;
    if (strcmp(event, "evidence") == 0) {
        breaks(swarm, "a device has evidence against its coordinator");
    }
    if (getenv("STERNA_SWARM_TRACE") != NULL) {
        (void)fprintf(stderr, "[%9llu] %3d %s %s %llu %s\n",
                      (unsigned long long)(now_ms - STN_WORLD_START_MS), (int)who, event, task,
                      (unsigned long long)number, stn_err_name(code));
    }
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

static void run(struct swarm *swarm, const struct stn_world_config *config)
{
    struct stn_world *world = swarm->world;
    struct stn_swarm_outcome *outcome = &swarm->outcome;
    uint64_t late_ms = UINT64_MAX; /* since when a round is open past its deadline */
    while (!outcome->is_done && outcome->text[0] == '\0' && stn_world_step(world)) {
        outcome->n_steps++;
        if (swarm->promises.is_broken) {
            breaks(swarm, swarm->promises.text);
        } else if (ends_in_time(world)) {
            late_ms = UINT64_MAX;
        } else if (late_ms == UINT64_MAX) {
            late_ms = stn_world_now_ms(
                world); /* it is up again, or its clock has jumped: TIME is on its way */
        } else if (late_ms < stn_world_now_ms(world)) {
            breaks(swarm, "a round is open past its deadline");
        }
        if (stn_world_now_ms(world) > STN_WORLD_START_MS + LIMIT_MS) {
            breaks(swarm, "no end in a week");
        }
        outcome->is_done = is_finished(world) && is_installed(world, config->n_devices);
    }
    outcome->transcript = stn_world_transcript(world);
    outcome->end_ms = stn_world_now_ms(world) - STN_WORLD_START_MS;
}

static void create_tasks(struct swarm *swarm, const struct stn_swarm_kind *kind,
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
    static const char *const names[STN_SWARM_TASKS] = {"alpha", "beta"};
    struct swarm swarm = {.outcome = {.n_steps = 0}};
    if (plants != NULL) {
        swarm.plants = *plants;
    }
    stn_rng_fork(&swarm.rng, seed, "swarm", 0);
    struct stn_world_config config = kind->config(&swarm.rng, seed);
    swarm.most_train_ms = 1000 + stn_rng_below(&swarm.rng, 100000);
    struct stn_world_host host = functions;
    host.context = &swarm;
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    ck_assert_int_eq(stn_world_new(&swarm.world, &config, &host, names, STN_SWARM_TASKS, NULL),
                     STN_OK);
    create_tasks(&swarm, kind, &config, names);
    run(&swarm, &config);
    if (swarm.outcome.is_done && swarm.outcome.text[0] == '\0') {
        stn_promises_end(&swarm.promises);
        breaks(&swarm, swarm.promises.text);
    }
    swarm.outcome.n_checks = swarm.promises.n_checks;
    stn_world_free(swarm.world);
    stn_promises_fini(&swarm.promises);
    free_values(&swarm.vectors);
    free_values(&swarm.sums);
    free_values(&swarm.seeds);
    free_values(&swarm.survivors);
    stn_map_fini(&swarm.opened);
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
        for (size_t i = 0; i < sizeof all.said / sizeof *all.said; i++) {
            all.said[i] += outcome.said[i];
        }
    }
    (void)printf("%llu worlds, %llu steps, %llu promises checked, %llu versions of %.1f deltas, %llu void rounds\n",
                 (unsigned long long)(end - first), (unsigned long long)all.n_steps,
                 (unsigned long long)all.n_checks, (unsigned long long)all.n_merged,
                 (double)all.n_merged_members / (double)(all.n_merged > 0 ? all.n_merged : 1),
                 (unsigned long long)all.n_void);
    return all;
}
