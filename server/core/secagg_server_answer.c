/* What members are told at the end of each stage. */
#include <string.h>

#include "server/core/secagg_server_state.h"

/* n items of this size in a piece of its own. */
static void *piece(struct stn_secagg_server *server, int i, size_t n, size_t size)
{
    stn_buf_clear(&server->pieces[i]);
    return stn_secagg_server_need(stn_buf_extend(&server->pieces[i], n * size + 1));
}

static const uint32_t *neighbours_of(const struct stn_secagg_server *server, uint32_t index)
{
    return server->lists + (size_t)index * server->bound.k;
}

/* The member and its neighbours, rising. */
static void circle(const struct stn_secagg_server *server, uint32_t index, uint32_t *ret)
{
    const uint32_t *list = neighbours_of(server, index);
    uint32_t n = 0, k = server->bound.k;
    while (n < k && list[n] < index) {
        ret[n] = list[n];
        n++;
    }
    ret[n] = index;
    for (; n < k; n++) {
        ret[n + 1] = list[n];
    }
}

/* The proof of the circle, in the last piece. */
static const struct stn_digest *prove(struct stn_secagg_server *server,
                                      const struct stn_merkle *tree, uint32_t index,
                                      uint32_t *ret_n)
{
    uint32_t indices[STN_BOUND_DEGREE + 1], n = server->bound.k + 1;
    circle(server, index, indices);
    struct stn_digest *proof =
        piece(server, 2, stn_merkle_room(server->n_members, n), sizeof *proof);
    *ret_n = (uint32_t)stn_merkle_prove(tree, indices, n, proof);
    return proof;
}

static void say_roster(struct stn_secagg_server *server,
                       const struct stn_secagg_server_member *member, struct stn_msg *ret)
{
    uint32_t k = server->bound.k;
    struct stn_advert *adverts = piece(server, 0, k, sizeof *adverts);
    for (uint32_t slot = 0; slot < k; slot++) {
        adverts[slot] = server->members[neighbours_of(server, member->index)[slot]]->advert;
    }
    ret->type = STN_MSG_ROSTER;
    ret->roster = (struct stn_msg_roster){.round = server->config.terms.round,
                                          .n_members = server->n_members,
                                          .index = member->index,
                                          .n_adverts = k,
                                          .adverts = adverts,
                                          .tier = server->tier};
    memcpy(ret->roster.root, stn_merkle_root(&server->roster), sizeof ret->roster.root);
    memcpy(ret->roster.signature, server->roster_signature, sizeof ret->roster.signature);
    ret->roster.proof = prove(server, &server->roster, member->index, &ret->roster.n_proof);
}

static void say_deliver(struct stn_secagg_server *server,
                        const struct stn_secagg_server_member *member, struct stn_msg *ret)
{
    uint32_t k = server->bound.k, n = 0;
    uint32_t *slots = piece(server, 0, k, sizeof *slots);
    for (uint32_t slot = 0; slot < k; slot++) {
        if (server->members[neighbours_of(server, member->index)[slot]]->has_shared) {
            slots[n++] = slot;
        }
    }
    ret->type = STN_MSG_DELIVER;
    ret->deliver = (struct stn_msg_deliver){
        .round = server->config.terms.round, .n_slots = n, .slots = slots};
}

static void say_survivors(struct stn_secagg_server *server,
                          const struct stn_secagg_server_member *member, struct stn_msg *ret)
{
    uint32_t n = server->bound.k + 1, indices[STN_BOUND_DEGREE + 1];
    struct stn_survivor *members = piece(server, 0, n, sizeof *members);
    circle(server, member->index, indices);
    for (uint32_t i = 0; i < n; i++) {
        const struct stn_secagg_server_member *of = server->members[indices[i]];
        members[i] = (struct stn_survivor){.survived = of->has_uploaded};
        if (of->has_uploaded) {
            memcpy(members[i].upload, of->upload.bytes, sizeof members[i].upload);
        }
    }
    ret->type = STN_MSG_SURVIVORS;
    ret->survivors = (struct stn_msg_survivors){.round = server->config.terms.round,
                                                .root = *stn_merkle_root(&server->survivors),
                                                .n_survivors = server->n_survivors,
                                                .n_members = n,
                                                .members = members};
    memcpy(ret->survivors.signature, server->survivors_signature, sizeof ret->survivors.signature);
    ret->survivors.proof =
        prove(server, &server->survivors, member->index, &ret->survivors.n_proof);
}

static void say_acks(struct stn_secagg_server *server,
                     const struct stn_secagg_server_member *member, struct stn_msg *ret)
{
    uint32_t k = server->bound.k, n = 0;
    uint32_t *slots = piece(server, 0, k, sizeof *slots);
    struct stn_signature *signatures = piece(server, 1, k, sizeof *signatures);
    for (uint32_t slot = 0; slot < k; slot++) {
        const struct stn_secagg_server_member *neighbour =
            server->members[neighbours_of(server, member->index)[slot]];
        if (neighbour->has_acked) {
            slots[n] = slot;
            signatures[n++] = neighbour->ack;
        }
    }
    ret->type = STN_MSG_ACKS;
    ret->acks = (struct stn_msg_acks){.round = server->config.terms.round,
                                      .n_slots = n,
                                      .slots = slots,
                                      .n_signatures = n,
                                      .signatures = signatures};
}

enum stn_code stn_secagg_server_answer_code(const struct stn_secagg_server *server,
                                           const struct stn_id *device, uint32_t stage)
{
    const struct stn_secagg_server_member *member =
        stn_map_get(&server->devices, device, sizeof *device);
    if (member == NULL) {
        return STN_DENIED;
    }
    if (stage < STN_STAGE_ADVERTISE || stage > STN_STAGE_UNMASK) {
        return STN_INVALID;
    }
    bool is_late = stage < STN_STAGE_UNMASK && server->stage > stage + 1;
    if (server->is_void || member->has_left || is_late) {
        return STN_LATE;
    }
    if (server->stage <= stage || stage == STN_STAGE_UNMASK) {
        return STN_AGAIN; /* the result is not ours to tell */
    }
    bool has_done = stage == STN_STAGE_SHARE    ? member->has_shared
                    : stage == STN_STAGE_UPLOAD ? member->has_uploaded
                    : stage == STN_STAGE_ACK    ? member->has_acked
                                                : true;
    return has_done ? STN_OK : STN_LATE; /* it was lost at this stage */
}

enum stn_code stn_secagg_server_answer(struct stn_secagg_server *server,
                                       const struct stn_id *device, enum stn_stage stage,
                                       struct stn_msg *ret)
{
    static void (*const says[])(struct stn_secagg_server *, const struct stn_secagg_server_member *,
                                struct stn_msg *) = {
        [STN_STAGE_ADVERTISE] = say_roster,
        [STN_STAGE_SHARE] = say_deliver,
        [STN_STAGE_UPLOAD] = say_survivors,
        [STN_STAGE_ACK] = say_acks,
    };
    enum stn_code code = stn_secagg_server_answer_code(server, device, stage);
    if (code == STN_OK) {
        says[stage](server, stn_map_get(&server->devices, device, sizeof *device), ret);
    }
    return code;
}
