#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "client/simulate/world_state.h"
#include "proto/codec.h"
#include "secagg/merkle.h"
#include "secagg/roster.h"
#include "tests/swarm/swarm_state.h"

/* What somebody does in a round is a hash of it: the same lie is told again, and to several. */
static uint64_t chance(const struct stn_swarm *swarm, const struct stn_round_id *round, uint64_t of, uint64_t n)
{
    uint64_t x;
    memcpy(&x, round, sizeof x);
    return stn_rng_mix(stn_rng_mix(x ^ swarm->world->config.seed) ^ of) % n;
}

/* The root over all n leaves, and n of them need no proof. The graph is complete: everybody is told of all. */
static struct stn_digest root_of(const struct stn_digest *leaves, uint32_t n)
{
    struct stn_merkle tree;
    ck_assert_int_eq(stn_merkle_init(&tree, leaves, n, NULL), STN_OK);
    struct stn_digest root = *stn_merkle_root(&tree);
    stn_merkle_fini(&tree);
    return root;
}

/* ---- a coordinator ---- */

/* One other member is lost, and all of it is signed as it should be. */
static bool tell_other_survivors(struct stn_swarm *swarm, const struct stn_secagg_client *client, struct stn_msg *msg)
{
    struct stn_msg_survivors *survivors = &msg->survivors;
    struct stn_survivor *members = (struct stn_survivor *)survivors->members; /* in the letter's arena */
    struct stn_digest leaves[STN_SWARM_DEVICES];
    uint32_t n = survivors->n_members, lost = (uint32_t)chance(swarm, &survivors->round, 1, n);
    if (client->stage < STN_STAGE_UPLOAD || n != client->round.n || lost == client->index || members[lost].survived != 1) {
        return false;
    }
    members[lost] = (struct stn_survivor){.survived = 0};
    for (uint32_t i = 0; i < n; i++) {
        struct stn_digest upload;
        memcpy(upload.bytes, members[i].upload, sizeof upload.bytes);
        leaves[i] = stn_roster_survivor_leaf(i, members[i].survived == 1 ? &upload : NULL);
    }
    struct stn_roster_survivors said = {root_of(leaves, n), survivors->n_survivors - 1};
    survivors->root = said.root;
    survivors->n_survivors = said.n;
    stn_roster_survivors_sign(survivors->signature, STN_ROSTER_SURVIVORS, &client->round, &said,
                              &swarm->world->coordinator);
    return true;
}

/* One other member is not in it. */
static bool tell_other_roster(struct stn_swarm *swarm, const struct stn_secagg_client *client, struct stn_msg *msg)
{
    struct stn_msg_roster *roster = &msg->roster;
    struct stn_advert *adverts = (struct stn_advert *)roster->adverts; /* in the letter's arena */
    struct stn_digest leaves[STN_SWARM_DEVICES];
    if (roster->n_adverts + 1 != roster->n_members || roster->n_adverts < 2) {
        return false;
    }
    uint32_t n = roster->n_adverts, gone = (uint32_t)chance(swarm, &roster->round, 2, n);
    memmove(&adverts[gone], &adverts[gone + 1], (n - gone - 1) * sizeof *adverts);
    roster->index -= gone < roster->index;
    roster->n_members = n;
    roster->n_adverts = n - 1;
    for (uint32_t i = 0; i < n; i++) {
        const struct stn_advert *of = i == roster->index ? &client->advert : &adverts[i - (i > roster->index)];
        leaves[i] = stn_roster_leaf(of, &client->terms.cfg);
    }
    struct stn_digest root = root_of(leaves, n);
    struct stn_derive_round round = {.cfg = client->terms.cfg, .root = stn_roster_fold(&root, roster->tier), .n = n};
    memcpy(roster->root, root.bytes, sizeof roster->root);
    stn_roster_sign(roster->signature, &round, &swarm->world->coordinator);
    return true;
}

static bool tell_fewer_shares(struct stn_swarm *swarm, const struct stn_secagg_client *client, struct stn_msg *msg)
{
    (void)swarm;
    (void)client;
    msg->deliver.n_slots -= msg->deliver.n_slots > 0;
    return true;
}

static bool change_acks(struct stn_swarm *swarm, const struct stn_secagg_client *client, struct stn_msg *msg)
{
    struct stn_signature *signatures = (struct stn_signature *)msg->acks.signatures; /* in the letter's arena */
    (void)client;
    if (msg->acks.n_signatures > 0) {
        uint64_t at = chance(swarm, &msg->acks.round, 3, msg->acks.n_signatures);
        signatures[at].bytes[at] ^= 1;
    }
    return msg->acks.n_signatures > 0;
}

static const struct {
    enum stn_msg_type type;
    bool (*tell)(struct stn_swarm *swarm, const struct stn_secagg_client *client, struct stn_msg *msg);
} lies[] = {{STN_MSG_SURVIVORS, tell_other_survivors},
            {STN_MSG_ROSTER, tell_other_roster},
            {STN_MSG_DELIVER, tell_fewer_shares},
            {STN_MSG_ACKS, change_acks}};
enum { N_LIES = sizeof lies / sizeof *lies };

static bool is_of_stage(const struct stn_msg *msg)
{
    return msg->type == STN_MSG_ROSTER || msg->type == STN_MSG_DELIVER || msg->type == STN_MSG_SURVIVORS ||
           msg->type == STN_MSG_ACKS;
}

/* Message number i of those that were said before, to whomever, instead of this. */
static bool say_again(struct stn_swarm *swarm, uint64_t i, struct stn_msg *msg, struct stn_arena *arena)
{
    bool is_there = i < swarm->n_told && i + STN_SWARM_TOLD >= swarm->n_told;
    const struct stn_buf *old = &swarm->told[i % STN_SWARM_TOLD];
    ck_assert(!is_there || stn_codec_decode(msg, arena, old->data, old->size, NULL) == STN_OK);
    return is_there;
}

static void keep(struct stn_swarm *swarm, const struct stn_msg *msg)
{
    struct stn_buf *place = &swarm->told[swarm->n_told++ % STN_SWARM_TOLD];
    place->size = 0;
    ck_assert_int_eq(stn_codec_encode(msg, place, NULL), STN_OK);
}

/* Which lie is a round's: N_LIES: everybody is told what was said before; above it: none. Planted, it is always the first. */
static uint64_t lie_of(const struct stn_swarm *swarm, const struct stn_round_id *round)
{
    static const uint64_t of[] = {0, 0, 0, 0, 1, 2, 3, 3, N_LIES, N_LIES + 1}; /* most rounds end before there are survivors */
    return swarm->plants.equivocates ? 0 : swarm->lies.by_coordinator ? of[chance(swarm, round, 4, 10)] : N_LIES + 1;
}

/* Whether this message is a lie now. Who is told of other survivors than others, or another roster, may hear of both. */
static bool lie_once(struct stn_swarm *swarm, uint32_t device, const struct stn_secagg_client *client, struct stn_msg *msg,
                     struct stn_arena *arena)
{
    const struct stn_round_id round = msg->poll.round; /* as every message of a stage begins */
    uint64_t lie = lie_of(swarm, &round);
    if (lie < N_LIES && msg->type == lies[lie].type && chance(swarm, &round, 100 + device, 3) == 0 &&
        lies[lie].tell(swarm, client, msg)) {
        swarm->outcome.n_lies[lie]++;
        swarm->last_lie = swarm->n_told;
        return true;
    }
    uint64_t old = UINT64_MAX;
    if (lie < 2 && !swarm->plants.equivocates && stn_rng_below(&swarm->rng, 3) == 0) {
        old = swarm->last_lie;
    } else if (lie == N_LIES && stn_rng_below(&swarm->rng, 8) == 0) {
        old = swarm->n_told - 1 - stn_rng_below(&swarm->rng, STN_SWARM_TOLD);
    }
    bool is_again = old != UINT64_MAX && say_again(swarm, old, msg, arena);
    swarm->outcome.n_lies[N_LIES] += is_again;
    return is_again;
}

static void coordinator_lies(struct stn_swarm *swarm, uint32_t device, struct stn_msg *msg, struct stn_arena *arena)
{
    const struct stn_agent *agent = stn_world_agent(swarm->world, device);
    const struct stn_round_id round = msg->poll.round;
    if (agent == NULL || agent->secure == NULL || !is_of_stage(msg)) {
        return;
    }
    keep(swarm, msg);
    if (lie_once(swarm, device, agent->secure, msg, arena)) {
        keep(swarm, msg);
        stn_swarm_set(&swarm->lied_in, &round, sizeof round, swarm);
    }
}

/* ---- a device ---- */

static void spoil_shares(struct stn_swarm *swarm, const struct stn_secagg_client *client, struct stn_msg_share *share)
{
    struct stn_sealed *sealed = (struct stn_sealed *)share->sealed; /* in the letter's arena */
    uint64_t kind = chance(swarm, &share->round, 5, 3);
    uint64_t n = kind == 0 ? share->n_sealed : 1 + chance(swarm, &share->round, 6, share->n_sealed);
    for (uint64_t i = 0; i < n && kind < 2; i++) {
        sealed[i].boxes[0][9] ^= 1;
        sealed[i].boxes[1][9] ^= 1;
    }
    share->commitment.bytes[3] ^= kind == 2;
    stn_roster_share_sign(share->signature, &client->round, &share->commitment, sealed, share->n_sealed,
                          &client->config.identity);
}

static void device_lies(struct stn_swarm *swarm, uint32_t device, struct stn_msg *msg)
{
    const struct stn_agent *agent = stn_world_agent(swarm->world, device);
    if (agent == NULL || agent->secure == NULL) {
        return;
    }
    uint64_t in = chance(swarm, &msg->poll.round, 7, 4); /* what this round's lie is in, if it has one */
    if (msg->type == STN_MSG_SHARE && in == 0) {
        spoil_shares(swarm, agent->secure, &msg->share);
        swarm->outcome.n_lies[N_LIES + 1]++;
    } else if (msg->type == STN_MSG_UNMASK && in > 1) {
        struct stn_opened *opened = (struct stn_opened *)msg->unmask.opened; /* in the letter's arena */
        for (uint32_t i = 0; i < msg->unmask.n_opened; i++) {
            opened[i].key[i % 32] ^= 1;
        }
        swarm->outcome.n_lies[N_LIES + 2]++;
    }
}

void stn_swarm_lie(struct stn_swarm *swarm, uint32_t device, bool is_up, struct stn_msg *msg, struct stn_arena *arena)
{
    if (swarm->world == NULL || (!stn_world_is_faulty(swarm->world) && !swarm->plants.equivocates)) {
        return; /* it is being made; honest in the end */
    }
    if (!is_up) {
        coordinator_lies(swarm, device, msg, arena);
    } else if (device + 1 == swarm->lies.by_device) {
        device_lies(swarm, device, msg);
    }
}
