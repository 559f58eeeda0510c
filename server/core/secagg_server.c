#include "server/core/secagg_server.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "secagg/roster.h"
#include "server/core/secagg_server_state.h"

void *stn_secagg_server_need(void *p)
{
    if (p == NULL) {
        abort(); /* a step cannot be undone; the records on disk stand */
    }
    return p;
}

enum stn_code stn_secagg_server_new(struct stn_secagg_server **ret,
                                    const struct stn_secagg_server_config *config,
                                    struct stn_err *err)
{
    const struct stn_terms *terms = &config->terms;
    if (config->target < terms->n_min || config->target > terms->n_max) {
        return stn_err_set(err, STN_INVALID, "a round of %u members, not %u to %u", config->target,
                           terms->n_min, terms->n_max);
    }
    struct stn_secagg_server *server = stn_mem_new(1, sizeof *server);
    if (server != NULL) {
        server->members = stn_mem_new(config->target, sizeof(void *));
    }
    if (server == NULL || server->members == NULL) {
        stn_mem_free(server);
        return stn_err_set(err, STN_MEMORY, "no memory for a round of %u members", config->target);
    }
    server->config = *config;
    server->round.cfg = terms->cfg;
    server->stage = STN_STAGE_ADVERTISE;
    *ret = server;
    return STN_OK;
}

void stn_secagg_server_free(struct stn_secagg_server *server)
{
    if (server == NULL) {
        return;
    }
    for (uint32_t i = 0; i < server->n_members; i++) {
        stn_mem_free(server->members[i]->sealed);
        stn_mem_free(server->members[i]->disputes);
        stn_mem_free(server->members[i]->opens);
        if (server->members[i]->opened != NULL) {
            stn_entropy_wipe(server->members[i]->opened, server->bound.k * sizeof *server->members[i]->opened);
        }
        stn_mem_free(server->members[i]->opened);
        stn_mem_free(server->members[i]);
    }
    if (server->masks != NULL) {
        stn_entropy_wipe(server->masks,
                         (STN_SECAGG_SERVER_BATCH + STN_BOUND_DEGREE) * sizeof *server->masks);
    }
    stn_mem_free(server->masks);
    stn_mem_free(server->members);
    stn_mem_free(server->lists);
    stn_map_fini(&server->devices);
    stn_merkle_fini(&server->roster);
    stn_merkle_fini(&server->survivors);
    if (server->record.data != NULL) {
        stn_entropy_wipe(server->record.data, server->record.room);
    }
    stn_buf_fini(&server->record);
    for (int i = 0; i < 3; i++) {
        stn_buf_fini(&server->pieces[i]);
    }
    stn_entropy_wipe(server, sizeof *server);
    stn_mem_free(server);
}

void stn_secagg_server_effects_fini(struct stn_secagg_server_effects *effects)
{
    stn_mem_free(effects->items);
    *effects = (struct stn_secagg_server_effects){0};
}

struct stn_secagg_server_view stn_secagg_server_view(const struct stn_secagg_server *server)
{
    return (struct stn_secagg_server_view){.stage = server->stage,
                                           .is_void = server->is_void,
                                           .n_roster = server->n_members,
                                           .n_shared = server->n_shared,
                                           .n_uploaded = server->n_uploaded,
                                           .n_acked = server->n_acked,
                                           .n_opened = server->n_opened,
                                           .tier = server->tier};
}

struct stn_secagg_server_effect *stn_secagg_server_emit(struct stn_secagg_server_turn *turn,
                                                        enum stn_secagg_server_effect_type type)
{
    struct stn_secagg_server_effects *effects = turn->effects;
    if (effects->n == effects->room) {
        size_t room = effects->room == 0 ? 8 : 2 * effects->room;
        effects->items =
            stn_secagg_server_need(stn_mem_grow(effects->items, room, sizeof *effects->items));
        effects->room = room;
    }
    struct stn_secagg_server_effect *effect = &effects->items[effects->n++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void stn_secagg_server_void(struct stn_secagg_server_turn *turn, enum stn_code code)
{
    turn->server->is_void = true;
    stn_secagg_server_keep_stage(turn);
    stn_secagg_server_emit(turn, STN_SECAGG_SERVER_WAKE)->at_ms = UINT64_MAX;
    stn_secagg_server_emit(turn, STN_SECAGG_SERVER_VOID)->code = code;
}

uint32_t stn_secagg_server_slot(const struct stn_secagg_server *server, uint32_t member,
                                uint32_t of)
{
    uint32_t k = server->bound.k, low = 0, high = k;
    const uint32_t *list = server->lists + (size_t)member * k;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (list[middle] < of) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < k && list[low] == of ? low : STN_HARARY_NOBODY;
}

bool stn_secagg_server_may_put(const struct stn_secagg_server *server, const struct stn_id *device)
{
    const struct stn_secagg_server_member *member =
        stn_map_get(&server->devices, device, sizeof *device);
    return !server->is_void && server->stage == STN_STAGE_UPLOAD && member != NULL &&
           member->has_shared && !member->has_left && !member->has_uploaded;
}

/* ---- what members say ---- */

/* Keys that a neighbour could not use would make it leave: X25519 gives zero for those of low order, whatever the
 * secret. */
static bool can_be_used(const struct stn_advert *advert, const struct stn_digest *any)
{
    uint8_t shared[STN_DH_SIZE];
    return stn_dh_shared(shared, any->bytes, advert->transport, NULL) == STN_OK &&
           stn_dh_shared(shared, any->bytes, advert->mask, NULL) == STN_OK;
}

static enum stn_code advertise(struct stn_secagg_server_turn *turn, const struct stn_id *device,
                               const struct stn_msg_advertise *msg)
{
    struct stn_secagg_server *server = turn->server;
    struct stn_secagg_server_member *member = stn_map_get(&server->devices, device, sizeof *device);
    if (member != NULL) {
        return !msg->has_advert || memcmp(&member->advert, &msg->advert, sizeof msg->advert) != 0
                   ? STN_EXISTS
                   : STN_OK;
    }
    if (server->stage != STN_STAGE_ADVERTISE) {
        return STN_LATE;
    }
    const struct stn_terms *terms = &server->config.terms;
    if (!msg->has_advert || memcmp(msg->advert.id, device, sizeof *device) != 0 ||
        !stn_terms_allow(terms, &msg->advert) || !can_be_used(&msg->advert, &terms->cfg)) {
        return STN_INVALID;
    }
    enum stn_code code =
        stn_roster_advert_verify(&msg->advert, &terms->cfg, server->config.directory, NULL, NULL);
    if (code != STN_OK) {
        return code;
    }
    member = stn_secagg_server_need(stn_mem_new(1, sizeof *member));
    member->advert = msg->advert;
    member->index = server->n_adverts++;
    server->members[server->n_members++] = member;
    if (!stn_map_set(&server->devices, device, sizeof *device, member)) {
        stn_secagg_server_need(NULL);
    }
    stn_secagg_server_keep(turn, STN_SECAGG_SERVER_ADVERT, member);
    return STN_OK;
}

static enum stn_code share(struct stn_secagg_server_turn *turn,
                           struct stn_secagg_server_member *member, const struct stn_msg_share *msg)
{
    struct stn_secagg_server *server = turn->server;
    if (member->has_shared) {
        return memcmp(&member->share, msg->signature, sizeof member->share) == 0 ? STN_OK
                                                                                 : STN_EXISTS;
    }
    if (server->stage != STN_STAGE_SHARE || member->has_left) {
        return STN_LATE;
    }
    uint32_t k = server->bound.k;
    if (msg->n_sealed != k) {
        return STN_INVALID;
    }
    enum stn_code code = stn_roster_share_verify(msg->signature, &server->round, &msg->commitment,
                                                 msg->sealed, k, member->advert.id, NULL);
    if (code != STN_OK) {
        return code;
    }
    member->sealed = stn_secagg_server_need(stn_mem_copy(msg->sealed, k * sizeof *msg->sealed));
    member->commitment = msg->commitment;
    memcpy(&member->share, msg->signature, sizeof member->share);
    member->has_shared = true;
    server->n_shared++;
    stn_secagg_server_keep(turn, STN_SECAGG_SERVER_SHARED, member);
    return STN_OK;
}

static enum stn_code upload(struct stn_secagg_server_turn *turn,
                            struct stn_secagg_server_member *member,
                            const struct stn_msg_put_end *msg)
{
    struct stn_secagg_server *server = turn->server;
    if (member->has_uploaded) {
        return stn_digest_equal(&member->upload, &msg->digest) ? STN_OK : STN_EXISTS;
    }
    if (server->stage != STN_STAGE_UPLOAD || member->has_left || !member->has_shared) {
        return STN_LATE;
    }
    enum stn_code code = stn_roster_upload_verify(msg->signature, &server->round.cfg, &msg->digest,
                                                  member->advert.id, NULL);
    if (code != STN_OK) {
        return code;
    }
    member->upload = msg->digest;
    member->has_uploaded = true;
    server->n_uploaded++;
    stn_secagg_server_keep(turn, STN_SECAGG_SERVER_UPLOADED, member);
    struct stn_secagg_server_effect *effect = stn_secagg_server_emit(turn, STN_SECAGG_SERVER_COUNT);
    memcpy(&effect->device, member->advert.id, sizeof effect->device);
    effect->digest = msg->digest;
    return STN_OK;
}

static enum stn_code ack(struct stn_secagg_server_turn *turn,
                         struct stn_secagg_server_member *member, const struct stn_msg_ack *msg)
{
    struct stn_secagg_server *server = turn->server;
    if (member->has_acked) {
        return memcmp(&member->ack, msg->signature, sizeof member->ack) == 0 ? STN_OK : STN_EXISTS;
    }
    if (server->stage != STN_STAGE_ACK || !member->has_uploaded || member->has_left) {
        return STN_LATE;
    }
    struct stn_roster_survivors survivors = {*stn_merkle_root(&server->survivors),
                                             server->n_survivors};
    enum stn_code code = stn_roster_survivors_verify(msg->signature, STN_ROSTER_ACK, &server->round,
                                                     &survivors, member->advert.id, NULL);
    if (code != STN_OK) {
        return code;
    }
    memcpy(&member->ack, msg->signature, sizeof member->ack);
    member->has_acked = true;
    server->n_acked++;
    stn_secagg_server_keep(turn, STN_SECAGG_SERVER_ACKED, member);
    return STN_OK;
}

static enum stn_code unmask(struct stn_secagg_server_turn *turn,
                            struct stn_secagg_server_member *member,
                            const struct stn_msg_unmask *msg)
{
    struct stn_secagg_server *server = turn->server;
    uint32_t k = server->bound.k;
    if (member->has_opened) {
        return STN_OK; /* the first counts */
    }
    if (server->stage != STN_STAGE_UNMASK || !member->has_acked || member->has_left) {
        return STN_LATE;
    }
    if (!stn_digest_equal(&msg->survivors, stn_merkle_root(&server->survivors)) ||
        msg->n_slots != msg->n_opened || msg->n_slots > k) {
        return STN_INVALID;
    }
    uint8_t *opens = stn_secagg_server_need(stn_mem_new(k, sizeof *opens));
    struct stn_opened *opened = stn_secagg_server_need(stn_mem_new(k, sizeof *opened));
    for (uint32_t i = 0; i < msg->n_slots; i++) {
        uint32_t slot = msg->slots[i];
        if (slot >= k || opens[slot]) {
            stn_mem_free(opens);
            stn_mem_free(opened);
            return STN_INVALID;
        }
        opens[slot] = 1;
        opened[slot] = msg->opened[i];
    }
    member->opens = opens;
    member->opened = opened;
    member->has_opened = true;
    server->n_opened++;
    stn_secagg_server_keep(turn, STN_SECAGG_SERVER_OPENED, member);
    return STN_OK;
}

/* Before the roster: it never was in the round, and there is room for another. */
static void forget(struct stn_secagg_server_turn *turn, struct stn_secagg_server_member *member)
{
    struct stn_secagg_server *server = turn->server;
    uint32_t at = 0;
    while (server->members[at] != member) {
        at++;
    }
    server->members[at] = server->members[--server->n_members];
    (void)stn_map_remove(&server->devices, member->advert.id, sizeof member->advert.id);
    stn_secagg_server_keep_gone(turn, member->index);
    stn_mem_free(member);
}

static enum stn_code leave(struct stn_secagg_server_turn *turn,
                           struct stn_secagg_server_member *member)
{
    if (turn->server->stage == STN_STAGE_ADVERTISE) {
        forget(turn, member);
    } else if (!member->has_left) {
        stn_secagg_server_keep(turn, STN_SECAGG_SERVER_LEFT, member);
        turn->server->n_left++;
        member->has_left = true; /* an upload that is there counts; nobody waits for more */
    }
    return STN_OK;
}

static enum stn_code request(struct stn_secagg_server_turn *turn, const struct stn_id *device,
                             const struct stn_msg *msg)
{
    struct stn_secagg_server *server = turn->server;
    if (server->is_void) {
        return STN_LATE;
    }
    if (msg->type == STN_MSG_ADVERTISE) {
        return advertise(turn, device, &msg->advertise);
    }
    struct stn_secagg_server_member *member = stn_map_get(&server->devices, device, sizeof *device);
    if (member == NULL) { /* who leaves twice has left */
        return msg->type == STN_MSG_LEAVE ? STN_OK : STN_DENIED;
    }
    switch (msg->type) {
    case STN_MSG_SHARE:
        return share(turn, member, &msg->share);
    case STN_MSG_ACK:
        return ack(turn, member, &msg->ack);
    case STN_MSG_UNMASK:
        return unmask(turn, member, &msg->unmask);
    case STN_MSG_PUT_END:
        return upload(turn, member, &msg->put_end);
    case STN_MSG_LEAVE:
        return leave(turn, member);
    default:
        return STN_INVALID;
    }
}

static void answer(struct stn_secagg_server_turn *turn, const struct stn_secagg_server_event *event)
{
    struct stn_msg msg = {.type = STN_MSG_PUT_END};
    if (event->type == STN_SECAGG_SERVER_UPLOAD) {
        msg.put_end = *event->upload;
    } else {
        msg = *event->msg;
    }
    enum stn_code code = request(turn, &event->device, &msg);
    struct stn_secagg_server_effect *effect =
        stn_secagg_server_emit(turn, STN_SECAGG_SERVER_ANSWER);
    effect->device = event->device;
    effect->code = code;
}

/* After the records: what was under way goes on. */
static void resume(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    if (server->is_void) {
        return;
    }
    if (server->stage > STN_STAGE_UPLOAD &&
        (!stn_secagg_server_stage_build_survivors(server) ||
         !stn_digest_equal(stn_merkle_root(&server->survivors), &server->saved_root))) {
        stn_secagg_server_void(turn, STN_CORRUPT); /* other survivors are never made up */
        return;
    }
    for (uint32_t i = 0; i < server->n_members; i++) {
        const struct stn_secagg_server_member *member = server->members[i];
        if (member->has_uploaded) {
            struct stn_secagg_server_effect *effect =
                stn_secagg_server_emit(turn, STN_SECAGG_SERVER_COUNT);
            memcpy(&effect->device, member->advert.id, sizeof effect->device);
            effect->digest = member->upload;
        }
    }
    stn_secagg_server_stage_renew(turn);
    stn_secagg_server_stage_set_wake(turn);
    if (server->stage == STN_STAGE_DONE) {
        stn_secagg_server_rebuild(turn);
    } else {
        stn_secagg_server_stage_advance(turn);
    }
}

void stn_secagg_server_step(struct stn_secagg_server *server,
                            const struct stn_secagg_server_event *event,
                            struct stn_secagg_server_effects *ret)
{
    struct stn_secagg_server_turn turn = {server, event->now_ms, ret};
    ret->n = 0;
    stn_buf_clear(&server->record);
    switch (event->type) {
    case STN_SECAGG_SERVER_OPEN:
        server->started_ms = event->now_ms;
        server->deadline_ms = event->now_ms + server->config.terms.join_ms;
        stn_secagg_server_keep_stage(&turn);
        stn_secagg_server_stage_set_wake(&turn);
        return;
    case STN_SECAGG_SERVER_RESTORE:
        if (!server->is_void && !stn_secagg_server_keep_restore(server, &event->record)) {
            stn_secagg_server_void(&turn, STN_CORRUPT);
        }
        return;
    case STN_SECAGG_SERVER_RESUME:
        resume(&turn);
        return;
    case STN_SECAGG_SERVER_REQUEST:
    case STN_SECAGG_SERVER_UPLOAD:
        answer(&turn, event);
        break;
    case STN_SECAGG_SERVER_TIME:
        break;
    case STN_SECAGG_SERVER_MASKED:
        if (!server->is_void && !server->is_clear && server->stage == STN_STAGE_DONE) {
            stn_secagg_server_rebuild(&turn);
        }
        return;
    }
    if (!server->is_void) {
        stn_secagg_server_stage_advance(&turn);
    }
}
