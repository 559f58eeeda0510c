/* What is on disk of a round, and how it comes back. Records are bytes, little endian:
 *   advert    the 289 of it, or a zero byte: it has left before the roster
 *   stage     u32 stage, u32 void, u64 started, u64 deadline, R3 or zeroes
 *   shared    commitment, signature, the sealed shares
 *   uploaded  digest
 *   acked     signature
 *   opened    for each slot whether it is there and the key of the box, or zeroes
 *   left      its identity */
#include <string.h>

#include "base/mem.h"
#include "server/core/secagg_server_state.h"

static void save(struct stn_secagg_server_turn *turn, uint32_t kind, uint32_t index, size_t start)
{
    struct stn_secagg_server *server = turn->server;
    stn_secagg_server_need(server->record.failed ? NULL : server);
    struct stn_secagg_server_effect *effect = stn_secagg_server_emit(turn, STN_SECAGG_SERVER_SAVE);
    effect->record = (struct stn_secagg_server_record){.kind = kind,
                                                       .index = index,
                                                       .data = server->record.data + start,
                                                       .size = server->record.size - start};
    for (size_t i = 0, at = 0; i < turn->effects->n; i++) { /* the bytes may have moved */
        struct stn_secagg_server_effect *other = &turn->effects->items[i];
        if (other->type == STN_SECAGG_SERVER_SAVE) {
            other->record.data = server->record.data + at;
            at += other->record.size;
        }
    }
}

void stn_secagg_server_keep_stage(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    struct stn_buf *buf = &server->record;
    struct stn_digest none = {{0}};
    size_t start = buf->size;
    (void)stn_buf_add_u32(buf, server->stage);
    (void)stn_buf_add_u32(buf, server->is_void);
    (void)stn_buf_add_u64(buf, server->started_ms);
    (void)stn_buf_add_u64(buf, server->deadline_ms);
    (void)stn_buf_add(buf,
                      server->survivors.nodes == NULL ? &none : stn_merkle_root(&server->survivors),
                      sizeof none);
    save(turn, STN_SECAGG_SERVER_STAGE, 0, start);
}

void stn_secagg_server_keep(struct stn_secagg_server_turn *turn, uint32_t kind,
                            const struct stn_secagg_server_member *member)
{
    struct stn_secagg_server *server = turn->server;
    struct stn_buf *buf = &server->record;
    size_t start = buf->size, k = server->bound.k;
    uint32_t index = member->index;
    switch (kind) {
    case STN_SECAGG_SERVER_ADVERT:
        (void)stn_buf_add(buf, &member->advert, sizeof member->advert);
        break;
    case STN_SECAGG_SERVER_SHARED:
        (void)stn_buf_add(buf, &member->commitment, sizeof member->commitment);
        (void)stn_buf_add(buf, &member->share, sizeof member->share);
        (void)stn_buf_add(buf, member->sealed, k * sizeof *member->sealed);
        break;
    case STN_SECAGG_SERVER_UPLOADED:
        (void)stn_buf_add(buf, &member->upload, sizeof member->upload);
        break;
    case STN_SECAGG_SERVER_ACKED:
        (void)stn_buf_add(buf, &member->ack, sizeof member->ack);
        break;
    case STN_SECAGG_SERVER_LEFT:
        (void)stn_buf_add(buf, member->advert.id, sizeof member->advert.id);
        index = server->n_left;
        break;
    default: /* opened */
        (void)stn_buf_add(buf, member->opens, k);
        (void)stn_buf_add(buf, member->opened, k * sizeof *member->opened);
        break;
    }
    save(turn, kind, index, start);
}

void stn_secagg_server_keep_gone(struct stn_secagg_server_turn *turn, uint32_t index)
{
    static const uint8_t gone[STN_SECAGG_SERVER_SIZE_GONE] = {0};
    size_t start = turn->server->record.size;
    (void)stn_buf_add(&turn->server->record, gone, sizeof gone);
    save(turn, STN_SECAGG_SERVER_ADVERT, index, start);
}

static bool restore_advert(struct stn_secagg_server *server, uint32_t index,
                           struct stn_cursor *from)
{
    if (server->stage != STN_STAGE_ADVERTISE || index != server->n_adverts) {
        return false;
    }
    server->n_adverts++;
    if (from->size == STN_SECAGG_SERVER_SIZE_GONE) {
        return *stn_buf_take(from, STN_SECAGG_SERVER_SIZE_GONE) == 0;
    }
    const uint8_t *bytes = stn_buf_take(from, sizeof(struct stn_advert));
    if (bytes == NULL || server->n_members >= server->config.target ||
        stn_map_get(&server->devices, bytes, 32) != NULL) {
        return false;
    }
    struct stn_secagg_server_member *member =
        stn_secagg_server_need(stn_mem_new(1, sizeof *member));
    memcpy(&member->advert, bytes, sizeof member->advert);
    member->index = index;
    server->members[server->n_members++] = member;
    stn_secagg_server_need(stn_map_set(&server->devices, bytes, 32, member) ? server : NULL);
    return true;
}

static bool restore_stage(struct stn_secagg_server *server, struct stn_cursor *from)
{
    uint32_t stage = stn_buf_take_u32(from), is_void = stn_buf_take_u32(from);
    uint64_t started_ms = stn_buf_take_u64(from), deadline_ms = stn_buf_take_u64(from);
    const uint8_t *root = stn_buf_take(from, sizeof server->saved_root);
    if (root == NULL || stage < STN_STAGE_ADVERTISE || stage > STN_STAGE_DONE || is_void > 1 ||
        server->stage != STN_STAGE_ADVERTISE) {
        return false;
    }
    server->is_void = is_void == 1;
    server->started_ms = started_ms;
    server->deadline_ms = deadline_ms;
    memcpy(&server->saved_root, root, sizeof server->saved_root);
    bool stands = stage == STN_STAGE_ADVERTISE || server->is_void ||
                  stn_secagg_server_stage_build_roster(server);
    server->stage = (enum stn_stage)stage;
    return stands;
}

/* Of a member; whoever has come this far has done what comes before. */
static bool restore_member(struct stn_secagg_server *server, uint32_t kind,
                           struct stn_secagg_server_member *member, struct stn_cursor *from)
{
    size_t k = server->bound.k;
    if (kind == STN_SECAGG_SERVER_SHARED && !member->has_shared) {
        const uint8_t *bytes = stn_buf_take(from, 32 + 64 + k * sizeof *member->sealed);
        if (bytes == NULL) {
            return false;
        }
        memcpy(&member->commitment, bytes, 32);
        memcpy(&member->share, bytes + 32, 64);
        member->sealed =
            stn_secagg_server_need(stn_mem_copy(bytes + 96, k * sizeof *member->sealed));
        member->has_shared = true;
        server->n_shared++;
    } else if (kind == STN_SECAGG_SERVER_UPLOADED && member->has_shared && !member->has_uploaded) {
        const uint8_t *bytes = stn_buf_take(from, 32);
        if (bytes == NULL) {
            return false;
        }
        memcpy(&member->upload, bytes, 32);
        member->has_uploaded = true;
        server->n_uploaded++;
    } else if (kind == STN_SECAGG_SERVER_ACKED && member->has_uploaded && !member->has_acked) {
        const uint8_t *bytes = stn_buf_take(from, 64);
        if (bytes == NULL) {
            return false;
        }
        memcpy(&member->ack, bytes, 64);
        member->has_acked = true;
        server->n_acked++;
    } else if (kind == STN_SECAGG_SERVER_OPENED && member->has_acked && !member->has_opened) {
        const uint8_t *bytes = stn_buf_take(from, k + k * sizeof *member->opened);
        if (bytes == NULL) {
            return false;
        }
        member->opens = stn_secagg_server_need(stn_mem_copy(bytes, k));
        member->opened =
            stn_secagg_server_need(stn_mem_copy(bytes + k, k * sizeof *member->opened));
        member->has_opened = true;
        server->n_opened++;
    } else {
        return false;
    }
    return true;
}

static bool restore_left(struct stn_secagg_server *server, uint32_t index, struct stn_cursor *from)
{
    const uint8_t *id = stn_buf_take(from, 32);
    struct stn_secagg_server_member *member =
        id == NULL ? NULL : stn_map_get(&server->devices, id, 32);
    if (member == NULL || member->has_left || index != server->n_left) {
        return false;
    }
    member->has_left = true;
    server->n_left++;
    return true;
}

bool stn_secagg_server_keep_restore(struct stn_secagg_server *server,
                                    const struct stn_secagg_server_record *record)
{
    struct stn_cursor from = stn_buf_cursor(record->data, record->size);
    bool fits;
    if (record->kind == STN_SECAGG_SERVER_ADVERT) {
        fits = restore_advert(server, record->index, &from);
    } else if (record->kind == STN_SECAGG_SERVER_STAGE) {
        fits = restore_stage(server, &from);
    } else if (record->kind == STN_SECAGG_SERVER_LEFT) {
        fits = restore_left(server, record->index, &from);
    } else {
        fits = server->stage >= STN_STAGE_SHARE && record->index < server->n_members &&
               restore_member(server, record->kind, server->members[record->index], &from);
    }
    return fits && !from.failed && from.at == from.size;
}
