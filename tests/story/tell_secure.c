#include "tests/story/tell_secure.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "channel/signed.h"
#include "client/core/secagg_client_state.h"
#include "client/simulate/disk.h"
#include "crypto/entropy.h"
#include "secagg/roster.h"
#include "tests/lib/run.h"

struct tell_device tell_devices[TELL_DEVICES + 1];
uint32_t tell_sum[TELL_VALUES];
uint32_t tell_n_merges, tell_n_unmasks;

static struct stn_ident directory;
static struct stn_rng rng;
static uint64_t clock_ms;

/* ---- devices ---- */

/* An identity whose first byte is the device's number: one in 256 is. */
static void draw_ident(struct stn_ident *ret, uint8_t d)
{
    static struct stn_ident drawn[256];
    uint8_t seed[STN_IDENT_SEED] = {d};
    if (drawn[d].pub[0] == d) {
        *ret = drawn[d];
        return;
    }
    do {
        stn_ident_from_seed(ret, seed);
        seed[1] = (uint8_t)(seed[1] + 1);
        seed[2] = (uint8_t)(seed[2] + (seed[1] == 0));
    } while (ret->pub[0] != d);
    drawn[d] = *ret;
}

static void lie(struct tell_device *device)
{
    static struct stn_opened opened[TELL_DEVICES];
    struct stn_msg_unmask *unmask = &device->says.unmask;
    for (uint32_t i = 0; i < unmask->n_opened; i++) {
        opened[i] = unmask->opened[i];
        opened[i].key[3] ^= 1;
    }
    unmask->opened = opened;
}

static void client_step(struct tell_device *device, struct stn_secagg_client_event event)
{
    struct stn_secagg_client_effects said;
    bool has_masked = false;
    event.now_ms = clock_ms;
    stn_secagg_client_step(device->client, &event, &said);
    for (size_t i = 0; i < said.n; i++) {
        const struct stn_secagg_client_effect *effect = &said.items[i];
        if (effect->type == STN_SECAGG_CLIENT_SEND) {
            device->says = effect->msg;
        } else if (effect->type == STN_SECAGG_CLIENT_MASK) {
            memcpy(device->y, device->x, sizeof device->y);
            stn_mask_apply(device->y, TELL_VALUES, 0, effect->masks.items, effect->masks.n);
            has_masked = true;
        } else if (effect->type == STN_SECAGG_CLIENT_OVER) {
            device->is_over = true;
            device->over = effect->code;
        }
    }
    if (device->says.type == STN_MSG_SHARE && device->deals_false) {
        struct stn_msg_share *share = &device->says.share;
        share->commitment.bytes[3] = (uint8_t)~share->commitment.bytes[3];
        stn_roster_share_sign(share->signature, &device->client->round, &share->commitment, share->sealed, share->n_sealed,
                              &device->ident);
        device->deals_false = false; /* once: what it says is said again */
    }
    if (device->says.type == STN_MSG_UNMASK && device->lies) {
        lie(device);
    }
    if (has_masked) {
        client_step(device, (struct stn_secagg_client_event){
                                .type = STN_SECAGG_CLIENT_MASKED,
                                .masked = {.digest = stn_digest_of(device->y, sizeof device->y)}});
    }
}

static void start_client(struct tell_device *device, const struct stn_msg_round_config *round)
{
    static const struct stn_secagg_client_record nothing;
    struct stn_secagg_client_config of = {
        .identity = device->ident, .n_min_floor = 5, .gamma_floor = 0.1, .sigma_floor = 64};
    struct stn_secagg_client_entropy entropy;
    struct stn_terms terms;
    struct stn_digest cfg;
    memcpy(of.coordinator, config.identity.pub, sizeof of.coordinator);
    memcpy(of.directory, directory.pub, sizeof of.directory);
    memcpy(of.certificate.device, device->ident.pub, sizeof of.certificate.device);
    stn_ident_cert_sign(&of.certificate, &directory);
    stn_secagg_client_free(device->client);
    ck_assert_int_eq(stn_secagg_client_new(&device->client, &of, NULL), STN_OK);
    ck_assert_int_eq(stn_signed_cfg(round, &cfg, NULL), STN_OK);
    ck_assert_int_eq(stn_terms_of(round, &cfg, &terms, NULL), STN_OK);
    for (size_t i = 0; i < sizeof entropy; i++) {
        ((uint8_t *)&entropy)[i] = (uint8_t)stn_rng_u64(&rng);
    }
    device->is_over = device->counts = false;
    device->says = (struct stn_msg){.type = STN_MSG_NONE};
    client_step(device, (struct stn_secagg_client_event){
                            .type = STN_SECAGG_CLIENT_START,
                            .start = {.terms = &terms,
                                      .version = round->version,
                                      .entropy = &entropy,
                                      .record = &nothing}});
}

/* ---- the coordinator's shell ---- */

static void hear(stn_ticket ticket, const struct stn_msg *msg)
{
    uint64_t d = ticket / 100;
    if (d == 0 || d > TELL_DEVICES || tell_devices[d].client == NULL) {
        return;
    }
    if (msg->type == STN_MSG_ROSTER) {
        tell_devices[d].index = msg->roster.index;
    } else if (msg->type == STN_MSG_SURVIVORS) {
        tell_devices[d].survivors = msg->survivors.root;
    }
    client_step(&tell_devices[d], (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MESSAGE, .msg = msg});
}

static void add_up(void)
{
    memset(tell_sum, 0, sizeof tell_sum);
    for (uint32_t d = 1; d <= TELL_DEVICES; d++) {
        for (int i = 0; i < TELL_VALUES && tell_devices[d].counts; i++) {
            tell_sum[i] += tell_devices[d].y[i];
        }
    }
}

static void carry_out(const struct stn_server_effect *effect)
{
    struct stn_msg msg;
    if (effect->type == STN_SERVER_TELL) {
        stn_coordinator_tell(core, &effect->tell, &msg);
        hear(effect->ticket, &msg);
    } else if (effect->type == STN_SERVER_REPLY) {
        hear(effect->ticket, &effect->msg);
    } else if (effect->type == STN_SERVER_ADD) {
        tell_devices[effect->upload.device.bytes[0]].counts = true;
    } else if (effect->type == STN_SERVER_UNMASK) {
        if (effect->unmask.is_first) {
            add_up();
        }
        stn_mask_apply(tell_sum, TELL_VALUES, 0, effect->unmask.masks, effect->unmask.n);
        tell_n_unmasks++;
    } else if (effect->type == STN_SERVER_MERGE) {
        tell_n_merges++;
    }
}

/* ---- fixtures ---- */

void secure_setup(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    stn_rng_init(&rng, 5);
    draw_ident(&directory, 250);
    config = (struct stn_coordinator_config){.seed = 1, .cfg = stn_signed_cfg};
    draw_ident(&config.identity, 251);
    memcpy(config.directory, directory.pub, sizeof config.directory);
    for (uint8_t d = 1; d <= TELL_DEVICES; d++) {
        draw_ident(&tell_devices[d].ident, d);
        memcpy(ids[d].bytes, tell_devices[d].ident.pub, sizeof ids[d].bytes);
        for (int i = 0; i < TELL_VALUES; i++) {
            tell_devices[d].x[i] = (uint32_t)stn_rng_u64(&rng);
        }
    }
    on_effect = carry_out;
    ck_assert_int_eq(stn_coordinator_new(&core, &config, NULL), STN_OK);
}

void secure_teardown(void)
{
    for (uint32_t d = 1; d <= TELL_DEVICES; d++) {
        stn_secagg_client_free(tell_devices[d].client);
    }
    memset(tell_devices, 0, sizeof tell_devices);
    tell_n_merges = tell_n_unmasks = 0;
    teardown();
    effects = (struct stn_server_effects){0};
    text = (struct stn_buf){0};
    disk = (struct stn_disk){0};
}

struct stn_task_spec secure_task(uint32_t target)
{
    struct stn_task_spec spec = task();
    spec.secure = true;
    spec.target = target;
    spec.n_min = 5;
    spec.over_select = 1;
    spec.gamma = spec.delta = 0.1;
    spec.sigma = 64;
    spec.eta = 30;
    spec.share_ms = 1000;
    spec.ack_ms = 1000;
    spec.unmask_ms = 1000;
    return spec;
}

/* ---- what devices do ---- */

void enters(uint64_t now_ms, uint8_t d)
{
    clock_ms = now_ms;
    check_in_from(now_ms, d, 5, 0);
    ck_assert_int_eq(last.type, STN_MSG_LEASE);
    join_from(now_ms, d, last.lease.lease, last.lease.version);
    ck_assert_int_eq(last.type, STN_MSG_ROUND_CONFIG);
    start_client(&tell_devices[d], &last.round_config);
    says(now_ms, d);
}

void hears(uint64_t now_ms, uint8_t d, enum stn_stage stage)
{
    clock_ms = now_ms;
    poll(now_ms, d, stage);
}

void says(uint64_t now_ms, uint8_t d)
{
    clock_ms = now_ms;
    asks(now_ms, d, tell_devices[d].says);
}

void uploads(uint64_t now_ms, uint8_t d)
{
    put_begin(now_ms, d);
    says(now_ms, d);
    happens(now_ms, "whole",
            (struct stn_server_event){.type = STN_SERVER_UPLOAD_CHECKED,
                                      .checked = {.round = round_id, .device = ids[d], .code = STN_OK}});
}

void unmasked(uint64_t now_ms)
{
    happens(now_ms, "unmasked", (struct stn_server_event){.type = STN_SERVER_UNMASKED, .unmasked = round_id});
}

static bool is_lost(uint8_t d, const uint8_t *lost)
{
    return memchr(lost, d, strlen((const char *)lost)) != NULL;
}

void all_do(uint64_t now_ms, enum stn_stage stage, uint8_t n, const uint8_t *lost)
{
    size_t size = text.size;
    for (uint8_t d = 1; d <= n; d++) {
        if (is_lost(d, lost)) {
            continue;
        }
        if (stage == STN_STAGE_ADVERTISE) {
            enters(now_ms, d);
            continue;
        }
        hears(now_ms, d, (enum stn_stage)(stage - 1));
        if (tell_devices[d].is_over) {
            continue;
        }
        if (stage == STN_STAGE_UPLOAD) {
            uploads(now_ms, d);
        } else {
            says(now_ms, d);
        }
    }
    text.size = size;
}

void all_do_from(enum stn_stage first, enum stn_stage last_stage, uint8_t n, const uint8_t *lost)
{
    for (int stage = first; stage <= (int)last_stage; stage++) {
        all_do(100 * (uint64_t)stage, (enum stn_stage)stage, n, lost);
    }
}

void assert_sum_is_clear(void)
{
    for (int i = 0; i < TELL_VALUES; i++) {
        uint32_t sum = 0;
        for (uint32_t d = 1; d <= TELL_DEVICES; d++) {
            sum += tell_devices[d].counts ? tell_devices[d].x[i] : 0;
        }
        ck_assert_uint_eq(tell_sum[i], sum);
    }
}
