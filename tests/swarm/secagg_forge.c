#include "tests/swarm/secagg_forge.h"

#include <check.h>
#include <string.h>

#include "secagg/merkle.h"

const bool stn_forge_everybody[STN_FORGE_DEVICES] = {true, true, true, true,
                                                     true, true, true, true};

/* All stages up to and with this one; then the message with which the next would begin. */
struct stn_msg stn_forge_run_to(enum stn_stage stage)
{
    struct stn_msg msg = {0};
    stn_world_begin(STN_FORGE_DEVICES, STN_FORGE_MIN, 40);
    for (uint32_t s = STN_STAGE_ADVERTISE; s <= (uint32_t)stage; s++) {
        stn_world_stage((enum stn_stage)s, stn_forge_everybody);
    }
    ck_assert_int_eq(stn_secagg_server_answer(stn_world.server, &STN_FORGE_VICTIM->id, stage, &msg),
                     STN_OK);
    return msg;
}

static bool holds(const void *p, size_t size, const uint8_t *secret)
{
    for (size_t at = 0; at + 32 <= size; at++) {
        if (memcmp((const uint8_t *)p + at, secret, 32) == 0) {
            return true;
        }
    }
    return false;
}

/* The device is out, has said nothing of this type, has no secret left, and cannot be woken. */
void stn_forge_assert_nothing_is_got(enum stn_msg_type type)
{
    const struct stn_secagg_client *client = STN_FORGE_VICTIM->client;
    ck_assert(STN_FORGE_VICTIM->is_over && STN_FORGE_VICTIM->over != STN_OK);
    ck_assert_uint_eq(STN_FORGE_VICTIM->n_sent[type], 0);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    const struct stn_secagg_client_entropy *entropy = &STN_FORGE_VICTIM->entropy;
    uint8_t mask_secret[32];
    stn_derive_mask_secret(mask_secret, entropy->mask_seed, &stn_world.terms.cfg);
    const uint8_t *secrets[] = {entropy->transport, entropy->mask_seed, entropy->self_seed,
                                entropy->deal, mask_secret};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        ck_assert(!holds(client, sizeof *client, secrets[i]));
    }
    ck_assert_ptr_null(client->masks);
    for (uint32_t slot = 0; client->neighbours != NULL && slot < client->bound.k; slot++) {
        static const uint8_t none[2][32];
        ck_assert_mem_eq(client->neighbours[slot].keys, none, sizeof none);
    }
    uint32_t before[64];
    memcpy(before, STN_FORGE_VICTIM->n_sent, sizeof before);
    for (uint32_t stage = STN_STAGE_ADVERTISE; stage < STN_STAGE_UNMASK; stage++) {
        (void)stn_world_poll(0, (enum stn_stage)stage);
    }
    ck_assert_mem_eq(before, STN_FORGE_VICTIM->n_sent, sizeof before);
    stn_world_end();
}

/* A roster of these adverts, in order, signed by the coordinator, as the STN_FORGE_VICTIM would see
 * it. */
void stn_forge_roster(struct stn_forge_lie *lie, struct stn_advert *adverts, uint32_t n)
{
    const struct stn_digest *cfg = &stn_world.terms.cfg;
    struct stn_digest leaves[STN_FORGE_DEVICES];
    struct stn_derive_round round = {.cfg = *cfg, .n = n};
    struct stn_merkle tree;
    uint32_t indices[STN_FORGE_DEVICES], mine = 0, n_others = 0;
    for (uint32_t i = 1; i < n; i++) {
        for (uint32_t j = i; j > 0; j--) {
            struct stn_digest a = stn_roster_order(&adverts[j - 1], cfg),
                              b = stn_roster_order(&adverts[j], cfg);
            if (stn_digest_compare(&a, &b) > 0) {
                struct stn_advert swapped = adverts[j];
                adverts[j] = adverts[j - 1];
                adverts[j - 1] = swapped;
            }
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        leaves[i] = stn_roster_leaf(&adverts[i], cfg);
        indices[i] = i;
        bool is_victim = memcmp(adverts[i].id, &STN_FORGE_VICTIM->id, 32) == 0 &&
                         memcmp(adverts[i].mask, STN_FORGE_VICTIM->client->advert.mask, 32) == 0;
        if (is_victim) {
            mine = i;
        } else {
            lie->adverts[n_others++] = adverts[i];
        }
    }
    ck_assert_int_eq(stn_merkle_init(&tree, leaves, n, NULL), STN_OK);
    round.root = *stn_merkle_root(&tree);
    lie->msg = (struct stn_msg){.type = STN_MSG_ROSTER,
                                .roster = {.round = stn_world.terms.round,
                                           .n_members = n,
                                           .index = mine,
                                           .n_adverts = n_others,
                                           .adverts = lie->adverts,
                                           .proof = lie->proof}};
    lie->msg.roster.n_proof = (uint32_t)stn_merkle_prove(&tree, indices, n, lie->proof);
    memcpy(lie->msg.roster.root, round.root.bytes, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.coordinator);
    stn_merkle_fini(&tree);
}

void stn_forge_all_adverts(struct stn_advert *adverts)
{
    for (uint32_t i = 0; i < STN_FORGE_DEVICES; i++) {
        adverts[i] = stn_world.devices[i].client->advert;
    }
}

/* An advert of a device that a directory enrolled; cfg is what it signs. */
void stn_forge_advert(struct stn_advert *advert, const struct stn_ident *by,
                      const struct stn_ident *directory, const struct stn_digest *cfg)
{
    struct stn_ident_cert cert = {.issued_at_s = 5};
    memcpy(cert.device, by->pub, 32);
    stn_ident_cert_sign(&cert, directory);
    stn_roster_advert_sign(advert, cfg, by, &cert);
}

/* The members at these indices are shown, rising. */
static void forge(struct stn_forge_survivors *lie, const struct stn_survivor *members, uint32_t n_members,
                  const uint32_t *indices, uint32_t n_shown, uint32_t n_claimed, const struct stn_derive_round *round)
{
    struct stn_digest leaves[STN_WORLD_DEVICES];
    struct stn_merkle tree;
    for (uint32_t i = 0; i < n_members; i++) {
        struct stn_digest upload;
        memcpy(upload.bytes, members[i].upload, 32);
        leaves[i] = stn_roster_survivor_leaf(i, members[i].survived ? &upload : NULL);
    }
    for (uint32_t i = 0; i < n_shown; i++) {
        lie->members[i] = members[indices[i]];
    }
    ck_assert_int_eq(stn_merkle_init(&tree, leaves, n_members, NULL), STN_OK);
    ck_assert_uint_le(stn_merkle_room(n_members, n_shown), sizeof lie->proof / sizeof *lie->proof);
    struct stn_roster_survivors survivors = {*stn_merkle_root(&tree), n_claimed};
    lie->msg = (struct stn_msg){.type = STN_MSG_SURVIVORS,
                                .survivors = {.round = stn_world.terms.round,
                                              .root = survivors.root,
                                              .n_survivors = n_claimed,
                                              .n_members = n_shown,
                                              .members = lie->members,
                                              .proof = lie->proof}};
    lie->msg.survivors.n_proof = (uint32_t)stn_merkle_prove(&tree, indices, n_shown, lie->proof);
    stn_roster_survivors_sign(lie->msg.survivors.signature, STN_ROSTER_SURVIVORS, round, &survivors,
                              &stn_world.coordinator);
    stn_merkle_fini(&tree);
}

void stn_forge_survivors(struct stn_forge_survivors *lie, const struct stn_survivor *members,
                         uint32_t n_members, uint32_t n_claimed,
                         const struct stn_derive_round *round)
{
    uint32_t indices[STN_WORLD_DEVICES];
    for (uint32_t i = 0; i < n_members; i++) {
        indices[i] = i;
    }
    forge(lie, members, n_members, indices, n_members, n_claimed, round);
}

void stn_forge_survivors_for(struct stn_forge_survivors *lie, const struct stn_survivor *members, uint32_t n_claimed,
                             const struct stn_secagg_client *client)
{
    uint32_t indices[STN_WORLD_DEVICES], n = 0;
    for (uint32_t i = 0; i < client->round.n; i++) {
        if (i == client->index || stn_harary_are_neighbours(&client->graph, client->index, i)) {
            indices[n++] = i;
        }
    }
    ck_assert_uint_eq(n, client->bound.k + 1);
    forge(lie, members, client->round.n, indices, n, n_claimed, &client->round);
}
