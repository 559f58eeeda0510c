#include "tests/swarm/secagg_world.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "client/core/secagg_client_state.h"
#include "crypto/entropy.h"
#include "crypto/shamir.h"
#include "secagg/roster.h"
#include "secagg/share.h"

struct stn_world stn_world;

static struct stn_rng rng;

static void draw(void *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)p)[i] = (uint8_t)stn_rng_u64(&rng);
    }
}

static void draw_ident(struct stn_ident *ident)
{
    uint8_t seed[32];
    draw(seed, sizeof seed);
    stn_ident_from_seed(ident, seed);
}

static struct stn_world_device *device_of(const struct stn_id *id)
{
    for (uint32_t i = 0; i < stn_world.n; i++) {
        if (memcmp(&stn_world.devices[i].id, id, sizeof *id) == 0) {
            return &stn_world.devices[i];
        }
    }
    ck_abort_msg("a device that is none");
    return NULL;
}

static void keep(const struct stn_secagg_server_record *record)
{
    size_t i = 0;
    while (i < stn_world.n_records && (stn_world.records[i].kind != record->kind ||
                                       stn_world.records[i].index != record->index)) {
        i++;
    }
    ck_assert_uint_lt(i, STN_WORLD_RECORDS);
    stn_world.n_records += i == stn_world.n_records;
    stn_mem_free(stn_world.records[i].data);
    stn_world.records[i] = (struct stn_world_record){
        record->kind, record->index, stn_mem_copy(record->data, record->size), record->size};
}

static bool is_liar(const struct stn_world_device *device)
{
    return device->lies || device->deals_false || device->n_locked > 0 || device->n_crooked > 0;
}

/* The sum as the snapshots have it: of every upload that counts. */
static void add_up(void)
{
    memset(stn_world.sum, 0, sizeof stn_world.sum);
    for (uint32_t i = 0; i < stn_world.n; i++) {
        for (int j = 0; j < STN_WORLD_VALUES && stn_world.devices[i].counts; j++) {
            stn_world.sum[j] += stn_world.devices[i].y[j];
        }
    }
}

static enum stn_code tell(struct stn_secagg_server_event event)
{
    enum stn_code answer = STN_OK;
    bool again = true;
    event.now_ms = stn_world.now_ms;
    while (again) {
        again = false;
        stn_secagg_server_step(stn_world.server, &event, &stn_world.effects);
        for (size_t i = 0; i < stn_world.effects.n; i++) {
            const struct stn_secagg_server_effect *effect = &stn_world.effects.items[i];
            switch (effect->type) {
            case STN_SECAGG_SERVER_SAVE:
                keep(&effect->record);
                break;
            case STN_SECAGG_SERVER_ANSWER:
                answer = effect->code;
                break;
            case STN_SECAGG_SERVER_COUNT:
                device_of(&effect->device)->counts = true;
                break;
            case STN_SECAGG_SERVER_WAKE:
                stn_world.wake_ms = effect->at_ms;
                break;
            case STN_SECAGG_SERVER_MASK:
                if (effect->masks.is_first) {
                    add_up();
                }
                stn_mask_apply(stn_world.sum, STN_WORLD_VALUES, 0, effect->masks.items,
                               effect->masks.n);
                event.type = STN_SECAGG_SERVER_MASKED;
                again = !stn_world.stops_under_masks;
                break;
            case STN_SECAGG_SERVER_CLEAR:
                stn_world.is_clear = true;
                stn_world.n_clear = effect->n;
                break;
            case STN_SECAGG_SERVER_DISPUTE:
                ck_assert(device_of(&effect->device)->lies || device_of(&effect->dealer)->n_locked > 0);
                device_of(&effect->device)->n_disputes++;
                device_of(&effect->dealer)->n_disputes++;
                stn_world.n_disputes++;
                break;
            case STN_SECAGG_SERVER_LIAR:
                ck_assert(is_liar(device_of(&effect->device)) && !device_of(&effect->device)->is_named);
                device_of(&effect->device)->is_named = true;
                stn_world.n_named++;
                break;
            case STN_SECAGG_SERVER_VOID:
                stn_world.is_void = true;
                stn_world.why_void = effect->code;
                break;
            case STN_SECAGG_SERVER_NEWS:
                break;
            }
        }
    }
    return answer;
}

/* ---- what an honest device never lets happen, seen from outside ---- */

/* 1: the key opens the holder's share of the owner's b, 2: of its mseed. */
static uint8_t share_of(const struct stn_world_device *holder, uint32_t owner_index, const struct stn_world_device *owner,
                        const uint8_t *key)
{
    const struct stn_secagg_client *client = holder->client;
    const struct stn_share_place place = {owner_index, client->index,
                                          stn_harary_slot(&client->graph, owner_index, client->index)};
    const struct stn_sealed *sealed = &owner->dealt[place.slot];
    struct stn_shamir_share share;
    bool is_self = stn_share_open(&share, STN_SHARE_OF_SELF, key, &place, sealed) == STN_OK;
    bool is_mask = stn_share_open(&share, STN_SHARE_OF_MASK, key, &place, sealed) == STN_OK;
    ck_assert(is_self != is_mask);
    return is_self ? 1 : 2;
}

static uint32_t n_shown(const struct stn_world_device *owner, uint8_t what)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < stn_world.n; i++) {
        n += (owner->shown[i] & what) == what;
    }
    return n;
}

static void look_at_unmask(const struct stn_world_device *holder, const struct stn_msg_unmask *unmask)
{
    uint32_t t = holder->client->bound.t;
    for (uint32_t i = 0; i < unmask->n_slots; i++) {
        const struct stn_secagg_client_neighbour *of = &holder->client->neighbours[unmask->slots[i]];
        struct stn_world_device *owner = device_of((const struct stn_id *)of->advert.id);
        uint8_t *shown = &owner->shown[holder - stn_world.devices];
        uint8_t what = share_of(holder, of->index, owner, unmask->opened[i].key);
        if ((*shown & what) == 0) {
            bool was_rebuilt = n_shown(owner, 1) >= t && n_shown(owner, 2) >= t;
            bool was_mixed = n_shown(owner, 1) > 0 && n_shown(owner, 2) > 0;
            *shown |= what;
            stn_world.n_breaks += *shown == 3;
            stn_world.n_breaks += !was_rebuilt && n_shown(owner, 1) >= t && n_shown(owner, 2) >= t;
            stn_world.n_mixed += !was_mixed && n_shown(owner, 1) > 0 && n_shown(owner, 2) > 0;
        }
    }
}

static void look_at_seed(struct stn_world_device *device, const uint8_t *seed)
{
    struct stn_digest digest = stn_digest_of(seed, 32);
    for (uint32_t i = 0; i < device->n_seeds; i++) {
        stn_world.n_breaks += stn_digest_equal(&digest, &device->seeds[i]);
    }
    ck_assert_uint_lt(device->n_seeds, 4);
    device->seeds[device->n_seeds++] = digest;
}

static void step(struct stn_world_device *device, struct stn_secagg_client_event event)
{
    struct stn_secagg_client_effects effects;
    event.now_ms = stn_world.now_ms;
    bool was_masked = false;
    stn_secagg_client_step(device->client, &event, &effects);
    for (size_t i = 0; i < effects.n; i++) {
        const struct stn_secagg_client_effect *effect = &effects.items[i];
        switch (effect->type) {
        case STN_SECAGG_CLIENT_SAVE:
            device->record = effect->record;
            break;
        case STN_SECAGG_CLIENT_SEND:
            ck_assert(!device->is_over);
            device->sent = effect->msg;
            device->n_sent[effect->msg.type]++;
            if (effect->msg.type == STN_MSG_SHARE) {
                memcpy(device->dealt, effect->msg.share.sealed, effect->msg.share.n_sealed * sizeof *device->dealt);
            } else if (effect->msg.type == STN_MSG_UNMASK) {
                look_at_unmask(device, &effect->msg.unmask);
            }
            break;
        case STN_SECAGG_CLIENT_MASK:
            look_at_seed(device, effect->masks.items[0].seed);
            memcpy(device->y, device->x, sizeof device->y);
            stn_mask_apply(device->y, STN_WORLD_VALUES, 0, effect->masks.items, effect->masks.n);
            device->has_put = was_masked = true;
            break;
        case STN_SECAGG_CLIENT_EVIDENCE:
            device->has_evidence = true;
            break;
        case STN_SECAGG_CLIENT_OVER:
            device->is_over = true;
            device->over = effect->code;
            break;
        case STN_SECAGG_CLIENT_WAKE:
            break;
        }
    }
    if (was_masked) {
        step(device, (struct stn_secagg_client_event){
                         .type = STN_SECAGG_CLIENT_MASKED,
                         .masked = {.digest = stn_digest_of(device->y, sizeof device->y)}});
    }
}

static void make_server(void)
{
    struct stn_secagg_server_config config = {
        .terms = stn_world.terms, .target = stn_world.target, .coordinator = stn_world.coordinator};
    memcpy(config.directory, stn_world.directory.pub, 32);
    ck_assert_int_eq(stn_secagg_server_new(&stn_world.server, &config, NULL), STN_OK);
}

void stn_world_begin(uint32_t n, uint32_t n_min, uint64_t seed)
{
    stn_world_begin_mixed(n, n_min, 0, seed);
}

void stn_world_begin_mixed(uint32_t n, uint32_t n_min, uint32_t n_halvings, uint64_t seed)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    stn_rng_init(&rng, seed);
    memset(&stn_world, 0, sizeof stn_world);
    stn_world.n = stn_world.target = n;
    stn_world.now_ms = 1000;
    draw_ident(&stn_world.coordinator);
    draw_ident(&stn_world.directory);
    struct stn_msg_round_config config = {.secure = true,
                                          .version = 3,
                                          .n_bases = 2,
                                          .bases = {{.version = 3, .discount = 1}, {.version = 0, .discount = 0.5}},
                                          .n_halvings = n_halvings,
                                          .n_min = n_min,
                                          .n_max = n,
                                          .gamma = 0.1,
                                          .delta = 0.1,
                                          .sigma = 64,
                                          .eta = 30,
                                          .join_ms = 60000,
                                          .share_ms = 20000,
                                          .upload_ms = 180000,
                                          .ack_ms = 15000,
                                          .unmask_ms = 20000};
    struct stn_digest cfg;
    draw(&config.round, sizeof config.round);
    draw(&cfg, sizeof cfg);
    ck_assert_int_eq(stn_terms_of(&config, &cfg, &stn_world.terms, NULL), STN_OK);
    for (uint32_t i = 0; i < n; i++) {
        struct stn_world_device *device = &stn_world.devices[i];
        draw_ident(&device->ident);
        memcpy(&device->id, device->ident.pub, sizeof device->id);
        device->config = (struct stn_secagg_client_config){
            .identity = device->ident, .n_min_floor = n_min, .gamma_floor = 0.1, .sigma_floor = 64};
        memcpy(device->config.coordinator, stn_world.coordinator.pub, 32);
        memcpy(device->config.directory, stn_world.directory.pub, 32);
        memcpy(device->config.certificate.device, device->ident.pub, 32);
        stn_ident_cert_sign(&device->config.certificate, &stn_world.directory);
        ck_assert_int_eq(stn_secagg_client_new(&device->client, &device->config, NULL), STN_OK);
        draw(&device->entropy, sizeof device->entropy);
        draw(device->x, sizeof device->x);
    }
    make_server();
    (void)tell((struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_OPEN});
}

void stn_world_end(void)
{
    for (uint32_t i = 0; i < stn_world.n; i++) {
        stn_secagg_client_free(stn_world.devices[i].client);
    }
    for (size_t i = 0; i < stn_world.n_records; i++) {
        stn_mem_free(stn_world.records[i].data);
    }
    stn_secagg_server_free(stn_world.server);
    stn_secagg_server_effects_fini(&stn_world.effects);
}

void stn_world_enter(uint32_t i)
{
    struct stn_world_device *device = &stn_world.devices[i];
    step(device, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_START,
                                                  .start = {.terms = &stn_world.terms,
                                                            .version = 3,
                                                            .tier = device->tier,
                                                            .entropy = &device->entropy,
                                                            .record = &device->record}});
}

/* The shares for the neighbour at a slot are of another secret, and sealed as they should be. */
static void bend(const struct stn_world_device *device, uint32_t slot, struct stn_sealed *sealed)
{
    const struct stn_secagg_client *client = device->client;
    const struct stn_secagg_client_neighbour *to = &client->neighbours[slot];
    const struct stn_share_place place = {client->index, to->index, slot};
    uint8_t transport[32], back[32], key[32];
    ck_assert_int_eq(stn_derive_transport(transport, back, &client->round, client->entropy.transport, to->advert.transport,
                                          client->advert.id, to->advert.id, NULL),
                     STN_OK);
    for (int of = STN_SHARE_OF_SELF; of <= STN_SHARE_OF_MASK; of++) {
        struct stn_shamir_share share;
        stn_share_key(key, transport, (enum stn_share_of)of);
        ck_assert_int_eq(stn_share_open(&share, (enum stn_share_of)of, key, &place, sealed), STN_OK);
        share.limbs[slot % STN_SHAMIR_LIMBS] ^= 1;
        stn_share_seal(sealed, (enum stn_share_of)of, key, &place, &share);
    }
}

enum stn_code stn_world_deliver(uint32_t i)
{
    struct stn_world_device *device = &stn_world.devices[i];
    struct stn_opened opened[STN_WORLD_DEVICES];
    struct stn_sealed sealed[STN_WORLD_DEVICES];
    struct stn_msg msg = device->sent;
    if (msg.type == STN_MSG_PUT_END) {
        return tell((struct stn_secagg_server_event){
            .type = STN_SECAGG_SERVER_UPLOAD, .device = device->id, .upload = &msg.put_end});
    }
    if (msg.type == STN_MSG_SHARE && is_liar(device)) {
        memcpy(sealed, msg.share.sealed, msg.share.n_sealed * sizeof *sealed);
        for (uint32_t j = 0; j < msg.share.n_sealed; j++) {
            sealed[j].boxes[0][9] ^= j < device->n_locked;
            sealed[j].boxes[1][9] ^= j < device->n_locked;
            if (j >= device->n_locked && j - device->n_locked < device->n_crooked) {
                bend(device, j, &sealed[j]);
            }
        }
        msg.share.sealed = sealed;
        msg.share.commitment.bytes[3] ^= device->deals_false;
        stn_roster_share_sign(msg.share.signature, &device->client->round, &msg.share.commitment, msg.share.sealed,
                              msg.share.n_sealed, &device->ident);
    }
    if (msg.type == STN_MSG_UNMASK && device->lies) {
        for (uint32_t j = 0; j < msg.unmask.n_opened; j++) {
            opened[j] = msg.unmask.opened[j];
            opened[j].key[(j + i) % 32] ^= (uint8_t)(1 + i);
        }
        msg.unmask.opened = opened;
    }
    return tell((struct stn_secagg_server_event){
        .type = STN_SECAGG_SERVER_REQUEST, .device = device->id, .msg = &msg});
}

void stn_world_hear(uint32_t i, const struct stn_msg *msg)
{
    step(&stn_world.devices[i],
         (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MESSAGE, .msg = msg});
}

enum stn_code stn_world_poll(uint32_t i, enum stn_stage stage)
{
    struct stn_msg msg;
    enum stn_code code =
        stn_secagg_server_answer(stn_world.server, &stn_world.devices[i].id, stage, &msg);
    if (code == STN_OK) {
        stn_world_hear(i, &msg);
    }
    return code;
}

void stn_world_expire(enum stn_stage stage)
{
    struct stn_secagg_server_view view = stn_secagg_server_view(stn_world.server);
    if (view.stage == stage && !view.is_void) {
        ck_assert_uint_ne(stn_world.wake_ms, UINT64_MAX);
        stn_world.now_ms = stn_world.wake_ms;
        (void)tell((struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_TIME});
        view = stn_secagg_server_view(stn_world.server);
        ck_assert(view.stage > stage || view.is_void); /* every stage ends by its deadline */
    }
}

static int by_kind(const void *a, const void *b)
{
    const struct stn_world_record *x = a, *y = b;
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
                              : (x->index > y->index) - (x->index < y->index);
}

void stn_world_crash(void)
{
    stn_secagg_server_free(stn_world.server);
    make_server();
    qsort(stn_world.records, stn_world.n_records, sizeof *stn_world.records, by_kind);
    for (uint32_t i = 0; i < stn_world.n; i++) {
        stn_world.devices[i].counts = stn_world.devices[i].is_named = false;
        stn_world.devices[i].n_disputes = 0;
    }
    stn_world.n_disputes = stn_world.n_named = 0;
    stn_world.stops_under_masks = false;
    for (size_t i = 0; i < stn_world.n_records; i++) {
        const struct stn_world_record *record = &stn_world.records[i];
        (void)tell((struct stn_secagg_server_event){
            .type = STN_SECAGG_SERVER_RESTORE,
            .record = {record->kind, record->index, record->data, record->size}});
    }
    (void)tell((struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_RESUME});
}

void stn_world_stage(enum stn_stage stage, const bool *is_there)
{
    for (uint32_t i = 0; i < stn_world.n && !stn_world.is_void; i++) {
        struct stn_world_device *device = &stn_world.devices[i];
        if (!is_there[i] || device->is_over) {
            continue;
        }
        if (stage == STN_STAGE_ADVERTISE) {
            stn_world_enter(i);
        } else if (stn_world_poll(i, (enum stn_stage)(stage - 1)) != STN_OK) {
            continue;
        }
        stn_world.now_ms += 7;
        if (!device->is_over) {
            (void)stn_world_deliver(i);
        }
    }
    stn_world_expire(stage);
}
