/* The stages of a round: when each ends, and what stands then. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "secagg/roster.h"
#include "server/core/secagg_server_state.h"

#define UPLOAD_LEAST_MS 30000

void stn_secagg_server_stage_set_wake(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    stn_secagg_server_emit(turn, STN_SECAGG_SERVER_WAKE)->at_ms =
        server->stage == STN_STAGE_DONE ? UINT64_MAX : server->deadline_ms;
}

struct place {
    struct stn_digest order;
    struct stn_secagg_server_member *member;
};

static int by_order(const void *a, const void *b)
{
    return stn_digest_compare(&((const struct place *)a)->order, &((const struct place *)b)->order);
}

static void sort(struct stn_secagg_server *server)
{
    struct place *places = stn_secagg_server_need(stn_mem_new(server->n_members, sizeof *places));
    for (uint32_t i = 0; i < server->n_members; i++) {
        places[i].member = server->members[i];
        places[i].order = stn_roster_order(&server->members[i]->advert, &server->round.cfg);
    }
    qsort(places, server->n_members, sizeof *places, by_order);
    for (uint32_t i = 0; i < server->n_members; i++) {
        server->members[i] = places[i].member;
        server->members[i]->index = i;
    }
    stn_mem_free(places);
}

/* Members with all the tier's ranks among one and its neighbours: the fewest that anyone sees. */
static uint32_t fewest_seen(const struct stn_secagg_server *server, uint32_t tier)
{
    uint32_t k = server->bound.k, fewest = UINT32_MAX;
    for (uint32_t i = 0; i < server->n_members; i++) {
        const uint32_t *list = server->lists + (size_t)i * k;
        uint32_t n = server->members[i]->advert.tier <= tier;
        for (uint32_t slot = 0; slot < k; slot++) {
            n += server->members[list[slot]]->advert.tier <= tier;
        }
        fewest = n < fewest ? n : fewest;
    }
    return fewest;
}

/* The tier of the round: the first of whose ranks every member sees n_min, also when as many are
 * lost as may be. */
static uint32_t lowest_tier(const struct stn_secagg_server *server)
{
    const struct stn_terms *terms = &server->config.terms;
    uint32_t tier = 0;
    while (tier < terms->n_halvings &&
           (1 - terms->params.delta) * fewest_seen(server, tier) < terms->n_min) {
        tier++;
    }
    return tier;
}

bool stn_secagg_server_stage_build_roster(struct stn_secagg_server *server)
{
    uint32_t n = server->n_members;
    if (n < server->config.terms.n_min ||
        stn_bound_for(n, &server->config.terms.params, &server->bound, NULL) != STN_OK) {
        return false;
    }
    sort(server);
    struct stn_digest *leaves = stn_secagg_server_need(stn_mem_new(n, sizeof *leaves));
    for (uint32_t i = 0; i < n; i++) {
        leaves[i] = stn_roster_leaf(&server->members[i]->advert, &server->round.cfg);
    }
    enum stn_code code = stn_merkle_init(&server->roster, leaves, n, NULL);
    stn_secagg_server_need(code == STN_OK ? server : NULL);
    stn_mem_free(leaves);
    server->round.root = *stn_merkle_root(&server->roster);
    server->round.n = n;
    uint8_t seed[32];
    struct stn_harary graph;
    stn_derive_graph_seed(seed, &server->round);
    code = stn_harary_init(&graph, n, server->bound.k, seed, NULL);
    stn_secagg_server_need(code == STN_OK ? server : NULL);
    server->lists =
        stn_secagg_server_need(stn_mem_new((size_t)n * server->bound.k, sizeof *server->lists));
    for (uint32_t i = 0; i < n; i++) {
        stn_harary_neighbours(&graph, i, server->lists + (size_t)i * server->bound.k);
    }
    stn_harary_fini(&graph);
    server->tier = lowest_tier(server);
    server->round.root = stn_roster_fold(&server->round.root, server->tier);
    stn_roster_sign(server->roster_signature, &server->round, &server->config.coordinator);
    return true;
}

bool stn_secagg_server_stage_build_survivors(struct stn_secagg_server *server)
{
    uint32_t n = server->n_members;
    if (server->n_uploaded < server->config.terms.n_min) {
        return false;
    }
    struct stn_digest *leaves = stn_secagg_server_need(stn_mem_new(n, sizeof *leaves));
    for (uint32_t i = 0; i < n; i++) {
        const struct stn_secagg_server_member *member = server->members[i];
        leaves[i] = stn_roster_survivor_leaf(i, member->has_uploaded ? &member->upload : NULL);
    }
    enum stn_code code = stn_merkle_init(&server->survivors, leaves, n, NULL);
    stn_secagg_server_need(code == STN_OK ? server : NULL);
    stn_mem_free(leaves);
    server->n_survivors = server->n_uploaded;
    struct stn_roster_survivors survivors = {*stn_merkle_root(&server->survivors),
                                             server->n_survivors};
    stn_roster_survivors_sign(server->survivors_signature, STN_ROSTER_SURVIVORS, &server->round,
                              &survivors, &server->config.coordinator);
    return true;
}

/* Whether a member has yet to do what the stage is for. */
static bool is_due(const struct stn_secagg_server_member *member, enum stn_stage stage)
{
    switch (stage) {
    case STN_STAGE_SHARE:
        return !member->has_shared;
    case STN_STAGE_UPLOAD:
        return member->has_shared && !member->has_uploaded;
    case STN_STAGE_ACK:
        return member->has_uploaded && !member->has_acked;
    default:
        return member->has_acked && !member->has_opened;
    }
}

static bool is_full(const struct stn_secagg_server *server)
{
    uint32_t n[] = {server->n_members, server->n_shared, server->n_uploaded, server->n_acked,
                    server->n_opened};
    if (server->stage == STN_STAGE_ADVERTISE) {
        return server->n_members == server->config.target;
    }
    if (n[server->stage - STN_STAGE_SHARE] - n[server->stage - STN_STAGE_ADVERTISE] >
        server->n_left) {
        return false; /* more are due than have left: no need to look at each */
    }
    for (uint32_t i = 0; i < server->n_members; i++) {
        const struct stn_secagg_server_member *member = server->members[i];
        if (!member->has_left && is_due(member, server->stage)) {
            return false;
        }
    }
    return true;
}

/* How long a stage may last. */
static uint64_t length_ms(const struct stn_secagg_server *server, enum stn_stage stage)
{
    const struct stn_terms *terms = &server->config.terms;
    return stage == STN_STAGE_ADVERTISE ? terms->join_ms
           : stage == STN_STAGE_SHARE   ? terms->share_ms
           : stage == STN_STAGE_UPLOAD  ? terms->upload_ms
           : stage == STN_STAGE_ACK     ? terms->ack_ms
                                        : terms->unmask_ms;
}

void stn_secagg_server_stage_renew(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    if (server->stage == STN_STAGE_DONE) {
        return;
    }
    uint64_t length = length_ms(server, server->stage);
    uint64_t least_ms = turn->now_ms + (length < UPLOAD_LEAST_MS ? length : UPLOAD_LEAST_MS);
    if (server->deadline_ms < least_ms) {
        server->deadline_ms = least_ms;
    }
}

static void begin(struct stn_secagg_server_turn *turn, enum stn_stage stage)
{
    struct stn_secagg_server *server = turn->server;
    server->stage = stage;
    server->started_ms = turn->now_ms;
    server->deadline_ms = turn->now_ms + length_ms(server, stage);
    stn_secagg_server_keep_stage(turn);
    stn_secagg_server_emit(turn, STN_SECAGG_SERVER_NEWS)->stage = stage;
    stn_secagg_server_stage_set_wake(turn);
}

/* Half of U2 have uploaded: the last of them took as long as the median does. */
static void set_upload_deadline(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    if (server->stage != STN_STAGE_UPLOAD || server->n_uploaded != (server->n_shared + 1) / 2) {
        return;
    }
    uint64_t deadline_ms = turn->now_ms + UPLOAD_LEAST_MS + (turn->now_ms - server->started_ms);
    if (deadline_ms < server->deadline_ms) { /* started + 30 s + 2 x median */
        server->deadline_ms = deadline_ms;
        stn_secagg_server_keep_stage(turn);
        stn_secagg_server_stage_set_wake(turn);
    }
}

/* The stage is over: who is in the next. */
static void end(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    uint32_t n_min = server->config.terms.n_min;
    switch (server->stage) {
    case STN_STAGE_ADVERTISE:
        if (server->n_members < n_min || !stn_secagg_server_stage_build_roster(server)) {
            stn_secagg_server_void(turn, STN_LIMIT);
            return;
        }
        begin(turn, STN_STAGE_SHARE);
        return;
    case STN_STAGE_SHARE:
        if (server->n_shared < n_min) {
            stn_secagg_server_void(turn, STN_LIMIT);
            return;
        }
        begin(turn, STN_STAGE_UPLOAD);
        return;
    case STN_STAGE_UPLOAD:
        if (!stn_secagg_server_stage_build_survivors(server)) {
            stn_secagg_server_void(turn, STN_LIMIT);
            return;
        }
        begin(turn, STN_STAGE_ACK);
        return;
    case STN_STAGE_ACK:
        if (server->n_acked < server->bound.t) {
            stn_secagg_server_void(turn, STN_LIMIT);
            return;
        }
        begin(turn, STN_STAGE_UNMASK);
        return;
    default: /* unmask */
        begin(turn, STN_STAGE_DONE);
        stn_secagg_server_rebuild(turn);
        return;
    }
}

void stn_secagg_server_stage_advance(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    set_upload_deadline(turn);
    while (!server->is_void && server->stage < STN_STAGE_DONE &&
           (is_full(server) || turn->now_ms >= server->deadline_ms)) {
        end(turn);
    }
}
