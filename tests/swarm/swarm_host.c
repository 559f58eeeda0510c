#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/core/state.h"
#include "crypto/mask.h"
#include "tests/swarm/swarm_state.h"

struct delta { /* of a lease */
    uint32_t x[STN_SWARM_VALUES];
    bool has_left;
};

struct vector { /* a device's in a round */
    struct stn_digest digest;
    const uint32_t *x;            /* the delta */
    uint32_t y[STN_SWARM_VALUES]; /* as it is uploaded */
    uint32_t tier;                /* of the ranks that are in it */
};

struct sum { /* a round's */
    uint32_t x[STN_SWARM_VALUES], y[STN_SWARM_VALUES], clear[STN_SWARM_VALUES];
    uint32_t n_of_tier[STN_MSG_HALVINGS + 1];
};

/* ---- the devices' ---- */

static uint64_t train(void *context, uint32_t device, const struct stn_msg_lease *lease)
{
    struct stn_swarm *swarm = context;
    (void)device;
    (void)lease;
    return 1 + stn_rng_below(&swarm->rng, swarm->most_train_ms);
}

/* What the lease's training comes to: the same however often it is done. */
static struct delta *delta_of(struct stn_swarm *swarm, uint32_t device, const struct stn_msg_lease *lease)
{
    struct {
        struct stn_id device;
        uint64_t lease;
        char task[STN_MSG_NAME];
    } key = {stn_world_id(swarm->world, device), lease->lease, ""};
    (void)stn_str_copy(key.task, sizeof key.task, lease->task);
    struct delta *delta = stn_map_get(&swarm->deltas, &key, sizeof key);
    if (delta == NULL) {
        delta = stn_mem_new(1, sizeof *delta);
        ck_assert_ptr_nonnull(delta);
        for (int i = 0; i < STN_SWARM_VALUES; i++) {
            delta->x[i] = (uint32_t)stn_rng_u64(&swarm->rng);
        }
        stn_swarm_set(&swarm->deltas, &key, sizeof key, delta);
    }
    return delta;
}

static enum stn_code trained(void *context, uint32_t device, const struct stn_msg_lease *lease,
                             uint64_t *ret_n_samples, uint32_t *ret_tier)
{
    struct stn_swarm *swarm = context;
    bool forgets = swarm->plants.forgets_journal || swarm->plants.spends_nothing;
    if (delta_of(swarm, device, lease)->has_left && !forgets) {
        return STN_LATE; /* as a shell's journal has it */
    }
    *ret_tier = device % (lease->train.n_halvings + 1);
    *ret_n_samples = 1 + (device + lease->lease) % 7;
    return STN_OK;
}

static enum stn_code encode(void *context, uint32_t device, const struct stn_client_effect *effect,
                            struct stn_digest *ret_digest, uint64_t *ret_size)
{
    struct stn_swarm *swarm = context;
    struct stn_swarm_key key = stn_swarm_key_of(swarm, &effect->round.config.round, device);
    struct vector *vector = stn_map_get(&swarm->vectors, &key, sizeof key);
    if (vector != NULL) {
        stn_swarm_break(swarm, "a device makes a second vector for a round");
        return STN_EXISTS;
    }
    struct delta *delta = delta_of(swarm, device, &effect->round.lease);
    if (delta->has_left && !swarm->plants.spends_nothing) {
        stn_swarm_break(swarm, "a delta leaves its device twice");
    }
    delta->has_left = true;
    vector = stn_mem_new(1, sizeof *vector);
    ck_assert_ptr_nonnull(vector);
    vector->x = delta->x;
    memcpy(vector->y, delta->x, sizeof vector->y);
    vector->tier = swarm->plants.keeps_ranks ? stn_world_agent(swarm->world, device)->record.tier : effect->round.tier;
    stn_mask_apply(vector->y, STN_SWARM_VALUES, 0, effect->round.masks, effect->round.n_masks);
    vector->digest = stn_digest_of(vector->y, sizeof vector->y);
    stn_swarm_set(&swarm->vectors, &key, sizeof key, vector);
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
    struct stn_swarm *swarm = context;
    struct stn_id id = stn_world_id(swarm->world, device);
    (void)event;
    stn_promises_installed(&swarm->promises, &id, effect->install.task, effect->install.version);
}

static void acknowledged(void *context, uint32_t device, const struct stn_round_id *round,
                         const struct stn_digest *upload)
{
    struct stn_swarm *swarm = context;
    struct stn_id id = stn_world_id(swarm->world, device);
    (void)upload;
    stn_promises_acknowledged(&swarm->promises, &id, round);
}

/* ---- the coordinator's ---- */

static void add_up(struct stn_swarm *swarm, const struct stn_server_upload *upload)
{
    struct stn_swarm_key key = {upload->round, upload->device};
    const struct vector *vector = stn_map_get(&swarm->vectors, &key, sizeof key);
    struct sum *sum = stn_map_get(&swarm->sums, &upload->round, sizeof upload->round);
    stn_promises_add(&swarm->promises, upload);
    if (vector == NULL || !stn_digest_equal(&vector->digest, &upload->digest)) {
        stn_swarm_break(swarm, "bytes are added that no device has made");
        return;
    }
    if (sum == NULL) {
        sum = stn_mem_new(1, sizeof *sum);
        ck_assert_ptr_nonnull(sum);
        stn_swarm_set(&swarm->sums, &upload->round, sizeof upload->round, sum);
    }
    sum->n_of_tier[vector->tier]++;
    for (int i = 0; i < STN_SWARM_VALUES; i++) {
        sum->x[i] += vector->x[i];
        sum->y[i] += vector->y[i];
        sum->clear[i] += vector->y[i];
    }
}

static void add(void *context, const struct stn_server_upload *upload)
{
    struct stn_swarm *swarm = context;
    add_up(swarm, upload);
    if (swarm->plants.repeats_adds) {
        add_up(swarm, upload);
    }
}

static void unmask(void *context, const struct stn_server_effect *effect)
{
    struct stn_swarm *swarm = context;
    struct sum *sum = stn_map_get(&swarm->sums, &effect->unmask.round, sizeof effect->unmask.round);
    if (sum == NULL) {
        stn_swarm_break(swarm, "masks come off a sum that is not there");
        return;
    }
    if (effect->unmask.is_first) {
        memcpy(sum->clear, sum->y, sizeof sum->clear);
    }
    size_t n = effect->unmask.n;
    stn_mask_apply(sum->clear, STN_SWARM_VALUES, 0, effect->unmask.masks,
                   swarm->plants.forgets_masks && n > 0 ? n - 1 : n);
}

/* No ranks that fewer than n_min members have trained are released; under masks nobody sees any in the sum. */
static void look_at_tiers(struct stn_swarm *swarm, const struct sum *sum, const struct stn_server_effect *effect)
{
    const struct stn_msg_round_config *config = &effect->merge.config;
    uint32_t n = 0, highest = 0;
    while (highest < config->n_halvings && sum->n_of_tier[highest] == 0) {
        highest++;
    }
    for (uint32_t tier = 0; tier <= config->n_halvings; tier++) {
        n += sum->n_of_tier[tier];
        if (tier == effect->merge.tier && n < config->n_min) {
            stn_swarm_break(swarm, "ranks of fewer than n_min members are released");
        }
        if (tier == highest && config->secure && n < config->n_min) {
            stn_swarm_break(swarm, "a sum in clear has ranks of fewer than n_min members");
        }
    }
    swarm->outcome.n_folded += highest > 0;
}

static void merge(void *context, const struct stn_server_effect *effect,
                  struct stn_server_event *event)
{
    struct stn_swarm *swarm = context;
    const struct sum *sum = stn_map_get(&swarm->sums, &effect->merge.round, sizeof effect->merge.round);
    stn_promises_merge(&swarm->promises, effect);
    bool is_right = sum != NULL && memcmp(sum->x, sum->clear, sizeof sum->x) == 0;
    bool is_spoiled = stn_map_get(&swarm->lied_in, &effect->merge.round, sizeof effect->merge.round) != NULL;
    if (!is_right && !is_spoiled) { /* who lies about masks has no sum of it */
        stn_swarm_break(swarm, "what is merged is not the sum of its deltas");
    } else if (is_right) {
        look_at_tiers(swarm, sum, effect);
    }
    event->merged.adapter =
        (struct stn_blob_ref){.digest = stn_digest_of(&effect->merge.round, 16), .size = 1000};
    event->merged.state = event->merged.adapter;
    event->merged.clip_norm = effect->merge.config.clip_norm;
    event->merged.totals.n_included = effect->merge.n_included;
    /* a merge refuses a sum that does not count its members */
    event->merged.code = !is_right || stn_rng_below(&swarm->rng, 50) == 0 ? STN_CORRUPT : STN_OK;
}

static void close_round(void *context, const struct stn_round_id *round)
{
    struct stn_swarm *swarm = context;
    stn_mem_free(stn_map_remove(&swarm->sums, round, sizeof *round));
}

static void lose(void *context)
{
    struct stn_swarm *swarm = context;
    if (!swarm->plants.forgets_to_lose) {
        stn_promises_lose(&swarm->promises);
        stn_swarm_free_values(&swarm->sums);
    }
}

static void committed(void *context, const struct stn_record *record)
{
    struct stn_swarm *swarm = context;
    stn_promises_committed(&swarm->promises, record);
    if (record->type == STN_RECORD_VERSION && record->version.version > 0) {
        swarm->outcome.n_merged++;
        swarm->outcome.n_merged_members += record->version.totals.n_included;
    }
    if (record->type == STN_RECORD_QUARANTINE) {
        bool is_liar = stn_world_device_of(swarm->world, &record->quarantine.device) + 1 == swarm->lies.by_device;
        swarm->outcome.n_named++;
        if (!is_liar && !swarm->lies.by_coordinator) {
            stn_swarm_break(swarm, "a device is named a liar that is none");
        }
    }
    swarm->outcome.n_void += record->type == STN_RECORD_ROUND && record->round.state == STN_ROUND_VOID;
}

static void trace(void *context, uint64_t now_ms, uint32_t who, const char *event, const char *task,
                  uint64_t number, enum stn_code code)
{
    struct stn_swarm *swarm = context;
    swarm->outcome.n_evidence += strcmp(event, "evidence") == 0;
    if (strcmp(event, "evidence") == 0 && !swarm->lies.by_coordinator) {
        stn_swarm_break(swarm, "a device has evidence against its coordinator");
    }
    if (getenv("STERNA_SWARM_TRACE") != NULL) {
        (void)fprintf(stderr, "[%9llu] %3d %s %s %llu %s\n",
                      (unsigned long long)(now_ms - STN_WORLD_START_MS), (int)who, event, task,
                      (unsigned long long)number, stn_err_name(code));
    }
}

static void said(void *context, uint32_t device, const struct stn_msg *msg)
{
    stn_swarm_watch(context, device, msg);
}

static void carried(void *context, uint32_t device, bool is_up, struct stn_msg *msg, struct stn_arena *arena)
{
    stn_swarm_lie(context, device, is_up, msg, arena);
}

const struct stn_world_host stn_swarm_host = {
    .train = train,
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
    .carried = carried,
    .acknowledged = acknowledged,
    .trace = trace};
