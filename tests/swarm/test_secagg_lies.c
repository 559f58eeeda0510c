/* A coordinator that lies, with all its own keys, against one honest device: number 0 of eight.
 * Each attack of "what a device never does" must get nothing. */
#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "crypto/entropy.h"
#include "secagg/merkle.h"
#include "secagg/roster.h"
#include "tests/swarm/secagg_world.h"

enum { N = 8, N_MIN = 5 };

static struct stn_world_device *const victim = &stn_world.devices[0];
static const bool everybody[N] = {true, true, true, true, true, true, true, true};

/* All stages up to and with this one; then the message with which the next would begin. */
static struct stn_msg run_to(enum stn_stage stage)
{
    struct stn_msg msg = {0};
    stn_world_begin(N, N_MIN, 40);
    for (uint32_t s = STN_STAGE_ADVERTISE; s <= (uint32_t)stage; s++) {
        stn_world_stage((enum stn_stage)s, everybody);
    }
    ck_assert_int_eq(stn_secagg_server_answer(stn_world.server, &victim->id, stage, &msg), STN_OK);
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
static void assert_nothing_is_got(enum stn_msg_type type)
{
    const struct stn_secagg_client *client = victim->client;
    ck_assert(victim->is_over && victim->over != STN_OK);
    ck_assert_uint_eq(victim->n_sent[type], 0);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    const struct stn_secagg_client_entropy *entropy = &victim->entropy;
    uint8_t mask_secret[32];
    stn_derive_mask_secret(mask_secret, entropy->mask_seed, &stn_world.terms.cfg);
    const uint8_t *secrets[] = {entropy->transport, entropy->mask_seed, entropy->self_seed,
                                entropy->deal, mask_secret};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        ck_assert(!holds(client, sizeof *client, secrets[i]));
    }
    ck_assert_ptr_null(client->masks);
    for (uint32_t slot = 0; client->neighbours != NULL && slot < client->bound.k; slot++) {
        static const struct stn_shamir_share none;
        ck_assert_mem_eq(&client->neighbours[slot].self, &none, sizeof none);
        ck_assert_mem_eq(&client->neighbours[slot].mask, &none, sizeof none);
    }
    uint32_t before[64];
    memcpy(before, victim->n_sent, sizeof before);
    for (uint32_t stage = STN_STAGE_ADVERTISE; stage < STN_STAGE_UNMASK; stage++) {
        (void)stn_world_poll(0, (enum stn_stage)stage);
    }
    ck_assert_mem_eq(before, victim->n_sent, sizeof before);
    stn_world_end();
}

/* ---- rosters ---- */

struct roster_lie {
    struct stn_msg msg;
    struct stn_advert adverts[N];
    struct stn_digest proof[64];
};

/* A roster of these adverts, in order, signed by the coordinator, as the victim would see it. */
static void forge_roster(struct roster_lie *lie, struct stn_advert *adverts, uint32_t n)
{
    const struct stn_digest *cfg = &stn_world.terms.cfg;
    struct stn_digest leaves[N];
    struct stn_derive_round round = {.cfg = *cfg, .n = n};
    struct stn_merkle tree;
    uint32_t indices[N], mine = 0, n_others = 0;
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
        bool is_victim = memcmp(adverts[i].id, &victim->id, 32) == 0 &&
                         memcmp(adverts[i].mask, victim->client->advert.mask, 32) == 0;
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

static void all_adverts(struct stn_advert *adverts)
{
    for (uint32_t i = 0; i < N; i++) {
        adverts[i] = stn_world.devices[i].client->advert;
    }
}

/* An advert of a device that a directory enrolled; cfg is what it signs. */
static void make_advert(struct stn_advert *advert, const struct stn_ident *by,
                        const struct stn_ident *directory, const struct stn_digest *cfg)
{
    struct stn_ident_cert cert = {.issued_at_s = 5};
    memcpy(cert.device, by->pub, 32);
    stn_ident_cert_sign(&cert, directory);
    stn_roster_advert_sign(advert, cfg, by, &cert);
}

static void resign(struct roster_lie *lie)
{
    struct stn_derive_round round = {.cfg = stn_world.terms.cfg, .n = lie->msg.roster.n_members};
    memcpy(round.root.bytes, lie->msg.roster.root, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.coordinator);
}

static void another_signs_the_roster(struct roster_lie *lie)
{
    struct stn_derive_round round = {.cfg = stn_world.terms.cfg, .n = N};
    memcpy(round.root.bytes, lie->msg.roster.root, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.directory);
}
static void the_roster_is_of_another_config(struct roster_lie *lie)
{
    struct stn_derive_round round = {.cfg = {{9}}, .n = N};
    memcpy(round.root.bytes, lie->msg.roster.root, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.coordinator);
}
static void the_root_is_of_another_roster(struct roster_lie *lie)
{
    lie->msg.roster.root[0] ^= 1;
    resign(lie);
}
static void the_roster_says_fewer_than_it_has(struct roster_lie *lie)
{
    lie->msg.roster.n_members = N - 1;
    resign(lie);
}
static void the_roster_says_more_than_it_has(struct roster_lie *lie)
{
    lie->msg.roster.n_members = N + 1;
    resign(lie);
}
static void a_neighbours_mask_key_is_swapped(struct roster_lie *lie)
{
    lie->adverts[2].mask[0] ^= 1;
}
static void a_neighbours_transport_key_is_swapped(struct roster_lie *lie)
{
    memcpy(lie->adverts[2].transport, lie->adverts[3].transport, 32);
}
static void a_neighbour_is_not_in_the_tree(struct roster_lie *lie)
{
    struct stn_ident sybil;
    stn_ident_new(&sybil);
    make_advert(&lie->adverts[3], &sybil, &stn_world.directory, &stn_world.terms.cfg);
}
static void neighbours_change_places(struct roster_lie *lie)
{
    struct stn_advert first = lie->adverts[0];
    lie->adverts[0] = lie->adverts[1];
    lie->adverts[1] = first;
}
static void a_neighbour_is_left_out(struct roster_lie *lie)
{
    lie->msg.roster.n_adverts--;
}
static void the_receiver_is_elsewhere(struct roster_lie *lie)
{
    lie->msg.roster.index = (lie->msg.roster.index + 1) % N;
}
static void the_receiver_is_nowhere(struct roster_lie *lie)
{
    lie->msg.roster.index = N;
}
static void a_signed_key_is_of_low_order(struct roster_lie *lie)
{
    struct stn_advert adverts[N];
    all_adverts(adverts);
    memset(adverts[4].transport, 0, 32);
    make_advert(&adverts[4], &stn_world.devices[4].ident, &stn_world.directory,
                &stn_world.terms.cfg);
    forge_roster(lie, adverts, N);
}
static void a_neighbour_is_of_a_foreign_directory(struct roster_lie *lie)
{
    struct stn_advert adverts[N];
    all_adverts(adverts);
    make_advert(&adverts[4], &stn_world.devices[4].ident, &stn_world.coordinator,
                &stn_world.terms.cfg);
    forge_roster(lie, adverts, N);
}
static void a_neighbour_signed_another_config(struct roster_lie *lie)
{
    struct stn_advert adverts[N];
    all_adverts(adverts);
    make_advert(&adverts[4], &stn_world.devices[4].ident, &stn_world.directory,
                &(struct stn_digest){{1}});
    forge_roster(lie, adverts, N);
}
static void a_neighbour_is_there_twice(struct roster_lie *lie)
{
    struct stn_advert adverts[N];
    all_adverts(adverts);
    adverts[4] = adverts[3];
    adverts[4].nonce[0] ^= 1;
    make_advert(&adverts[4], &stn_world.devices[3].ident, &stn_world.directory,
                &stn_world.terms.cfg);
    forge_roster(lie, adverts, N);
}
static void the_receiver_is_there_twice(struct roster_lie *lie)
{
    struct stn_advert adverts[N];
    all_adverts(adverts);
    adverts[4].nonce[0] ^= 1;
    make_advert(&adverts[4], &victim->ident, &stn_world.directory, &stn_world.terms.cfg);
    forge_roster(lie, adverts, N);
}
static void the_cohort_is_too_small(struct roster_lie *lie)
{
    struct stn_advert adverts[N];
    all_adverts(adverts);
    forge_roster(lie, adverts, N_MIN - 1);
}

static void (*const roster_lies[])(struct roster_lie *) = {
    another_signs_the_roster,
    the_roster_is_of_another_config,
    the_root_is_of_another_roster,
    the_roster_says_fewer_than_it_has,
    the_roster_says_more_than_it_has,
    a_neighbours_mask_key_is_swapped,
    a_neighbours_transport_key_is_swapped,
    a_neighbour_is_not_in_the_tree,
    neighbours_change_places,
    a_neighbour_is_left_out,
    the_receiver_is_elsewhere,
    the_receiver_is_nowhere,
    a_signed_key_is_of_low_order,
    a_neighbour_is_of_a_foreign_directory,
    a_neighbour_signed_another_config,
    a_neighbour_is_there_twice,
    the_receiver_is_there_twice,
    the_cohort_is_too_small,
};

static struct roster_lie lie;

START_TEST(a_true_roster_that_is_built_here_is_taken)
{
    struct stn_advert adverts[N];
    (void)run_to(STN_STAGE_ADVERTISE);
    all_adverts(adverts);
    forge_roster(&lie, adverts, N);
    stn_world_hear(0, &lie.msg);
    ck_assert(!victim->is_over);
    ck_assert_uint_eq(victim->n_sent[STN_MSG_SHARE], 1);
    stn_world_end();
}
END_TEST

START_TEST(no_share_is_dealt_on_a_false_roster)
{
    struct stn_advert adverts[N];
    (void)run_to(STN_STAGE_ADVERTISE);
    all_adverts(adverts);
    forge_roster(&lie, adverts, N);
    roster_lies[_i](&lie);
    stn_world_hear(0, &lie.msg);
    assert_nothing_is_got(STN_MSG_SHARE);
}
END_TEST

START_TEST(a_second_roster_is_evidence)
{
    struct stn_advert adverts[N];
    (void)run_to(STN_STAGE_SHARE);
    all_adverts(adverts);
    forge_roster(&lie, adverts, N);
    lie.msg.roster.root[0] ^= 1;
    stn_world_hear(0, &lie.msg); /* nobody signed it: a stranger's noise */
    ck_assert(!victim->is_over);
    resign(&lie);
    stn_world_hear(0, &lie.msg);
    ck_assert(victim->has_evidence);
    assert_nothing_is_got(STN_MSG_PUT_END);
}
END_TEST

/* ---- deliveries ---- */

START_TEST(no_vector_leaves_for_fewer_than_t_neighbours)
{
    struct stn_msg msg = run_to(STN_STAGE_SHARE);
    msg.deliver.n_slots = msg.deliver.n_sealed = 4;
    stn_world_hear(0, &msg);
    ck_assert(!victim->has_put);
    assert_nothing_is_got(STN_MSG_PUT_END);
}
END_TEST

START_TEST(no_vector_leaves_when_a_neighbour_is_counted_twice)
{
    struct stn_msg msg = run_to(STN_STAGE_SHARE);
    uint32_t slots[7] = {0, 1, 2, 3, 4, 5, _i == 0 ? 5 : 7};
    msg.deliver.slots = slots;
    stn_world_hear(0, &msg);
    ck_assert(!victim->has_put);
    assert_nothing_is_got(STN_MSG_PUT_END);
}
END_TEST

START_TEST(a_broken_share_costs_a_share_and_not_the_round)
{
    struct stn_msg msg = run_to(STN_STAGE_SHARE);
    struct stn_sealed sealed[7];
    memcpy(sealed, msg.deliver.sealed, sizeof sealed);
    sealed[1].bytes[3] ^= 1;
    msg.deliver.sealed = sealed;
    stn_world_hear(0, &msg);
    for (uint32_t stage = STN_STAGE_UPLOAD; stage <= STN_STAGE_UNMASK; stage++) {
        if (stage == STN_STAGE_UPLOAD) {
            ck_assert_int_eq(stn_world_deliver(0), STN_OK);
        }
        stn_world_stage((enum stn_stage)stage, everybody);
    }
    ck_assert(stn_world.is_clear);
    ck_assert_uint_eq(victim->sent.unmask.n_slots, 6);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < N; i++) {
        sum += stn_world.devices[i].x[77];
    }
    ck_assert_uint_eq(sum, stn_world.sum[77]);
    stn_world_end();
}
END_TEST

START_TEST(a_second_vector_never_leaves)
{
    (void)run_to(STN_STAGE_UPLOAD);
    struct stn_secagg_client_effects effects;
    struct stn_secagg_client_event event = {.type = STN_SECAGG_CLIENT_MASKED,
                                            .masked = {.digest = victim->client->upload}};
    stn_secagg_client_step(victim->client, &event, &effects);
    ck_assert_uint_eq(effects.n, 0);
    event.masked.digest.bytes[0] ^= 1;
    stn_secagg_client_step(victim->client, &event, &effects);
    ck_assert_uint_eq(effects.n, 2);
    ck_assert_int_eq(effects.items[1].type, STN_SECAGG_CLIENT_OVER);
    ck_assert_int_eq(effects.items[1].code, STN_EXISTS);
    stn_world_end();
}
END_TEST

/* ---- survivors ---- */

struct survivors_lie {
    struct stn_msg msg;
    struct stn_survivor members[N];
    struct stn_digest proof[64];
};

static struct survivors_lie other;

/* A set of survivors, signed by the coordinator. The graph is complete: members are the roster. */
static void forge_survivors(const struct stn_survivor *members, uint32_t n_claimed,
                            const struct stn_derive_round *round)
{
    struct stn_digest leaves[N];
    uint32_t indices[N];
    struct stn_merkle tree;
    for (uint32_t i = 0; i < N; i++) {
        struct stn_digest upload;
        memcpy(upload.bytes, members[i].upload, 32);
        leaves[i] = stn_roster_survivor_leaf(i, members[i].survived ? &upload : NULL);
        indices[i] = i;
        other.members[i] = members[i];
    }
    ck_assert_int_eq(stn_merkle_init(&tree, leaves, N, NULL), STN_OK);
    struct stn_roster_survivors survivors = {*stn_merkle_root(&tree), n_claimed};
    other.msg = (struct stn_msg){.type = STN_MSG_SURVIVORS,
                                 .survivors = {.round = stn_world.terms.round,
                                               .root = survivors.root,
                                               .n_survivors = n_claimed,
                                               .n_members = N,
                                               .members = other.members,
                                               .proof = other.proof}};
    other.msg.survivors.n_proof = (uint32_t)stn_merkle_prove(&tree, indices, N, other.proof);
    stn_roster_survivors_sign(other.msg.survivors.signature, STN_ROSTER_SURVIVORS, round,
                              &survivors, &stn_world.coordinator);
    stn_merkle_fini(&tree);
}

/* Members but the victim, from the first on, are said to be lost. */
static void lose(struct stn_survivor *members, uint32_t n)
{
    for (uint32_t i = 0; n > 0; i++) {
        if (i != victim->client->index) {
            members[i] = (struct stn_survivor){.survived = 0};
            n--;
        }
    }
}

START_TEST(no_acknowledgement_of_false_survivors)
{
    struct stn_msg msg = run_to(STN_STAGE_UPLOAD);
    struct stn_survivor members[N];
    struct stn_derive_round round = victim->client->round;
    uint32_t index = victim->client->index, n_claimed = N;
    memcpy(members, msg.survivors.members, sizeof members);
    if (_i == 0) { /* the victim itself is lost: its pair masks are asked for */
        members[index] = (struct stn_survivor){.survived = 0};
        n_claimed = N - 1;
    } else if (_i == 1) { /* another vector is in its place */
        members[index].upload[0] ^= 1;
    } else if (_i == 2) { /* a small cohort */
        n_claimed = N_MIN - 1;
    } else if (_i == 3) { /* more losses than k - t */
        lose(members, 3);
        n_claimed = N - 3;
    } else if (_i == 4) { /* a root of another roster */
        round.root.bytes[0] ^= 1;
    } else if (_i == 5) { /* of another config */
        round.cfg.bytes[0] ^= 1;
    } else if (_i == 6) { /* more than there are */
        n_claimed = N + 1;
    } else if (_i == 7) { /* a survivor whose shares never came */
        victim->client->neighbours[2].has_shared = false;
    }
    forge_survivors(members, n_claimed, &round);
    if (_i == 8) { /* a bitmap that is not what was signed */
        lose(other.members, 1);
    } else if (_i == 9) {
        other.msg.survivors.n_members--;
    } else if (_i == 10) {
        other.msg.survivors.n_proof = 1;
    } else if (_i == 11) {
        other.msg.survivors.signature[0] ^= 1;
    }
    stn_world_hear(0, &other.msg);
    assert_nothing_is_got(STN_MSG_ACK);
}
END_TEST

START_TEST(two_sets_of_survivors_are_evidence_and_open_nothing)
{
    struct stn_msg msg = run_to(STN_STAGE_UPLOAD);
    struct stn_survivor members[N];
    memcpy(members, msg.survivors.members, sizeof members);
    stn_world_stage(STN_STAGE_ACK, everybody);
    if (_i == 1) { /* even after it has said what it had to say */
        stn_world_stage(STN_STAGE_UNMASK, everybody);
        ck_assert_uint_eq(victim->n_sent[STN_MSG_UNMASK], 1);
    }
    lose(members, 1);
    forge_survivors(members, N - 1, &victim->client->round);
    stn_world_hear(0, &other.msg);
    ck_assert(victim->is_over && victim->has_evidence);
    ck_assert_uint_eq(victim->n_sent[STN_MSG_UNMASK], (uint32_t)_i);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    stn_world_end();
}
END_TEST

/* ---- acknowledgements ---- */

START_TEST(no_share_is_opened_for_fewer_than_t_true_acknowledgements)
{
    struct stn_msg msg = run_to(STN_STAGE_ACK);
    struct stn_signature signatures[7];
    uint32_t slots[7] = {0, 1, 2, 3, 4, 5, 6};
    memcpy(signatures, msg.acks.signatures, sizeof signatures);
    msg.acks.signatures = signatures;
    msg.acks.slots = slots;
    struct stn_roster_survivors survivors = {victim->client->survivors.root, N};
    if (_i == 0) { /* t - 1 */
        msg.acks.n_slots = msg.acks.n_signatures = 4;
    } else if (_i == 1) { /* one neighbour many times */
        memset(slots, 0, sizeof slots);
        for (int i = 1; i < 7; i++) {
            signatures[i] = signatures[0];
        }
    } else if (_i == 2) { /* one signature for all */
        for (int i = 1; i < 7; i++) {
            signatures[i] = signatures[0];
        }
    } else if (_i == 3) { /* of another set */
        survivors.root.bytes[0] ^= 1;
    } else if (_i == 4) { /* of another number */
        survivors.n--;
    } else if (_i == 5) { /* in the coordinator's own voice */
        for (int i = 0; i < 7; i++) {
            stn_roster_survivors_sign(signatures[i].bytes, STN_ROSTER_ACK, &victim->client->round,
                                      &survivors, &stn_world.coordinator);
        }
    } else { /* of neighbours who were lost */
        for (int i = 0; i < 3; i++) {
            victim->client->neighbours[i].survived = false;
        }
    }
    for (uint32_t i = 0; (_i == 3 || _i == 4) && i < 7; i++) {
        for (uint32_t j = 0; j < N; j++) {
            if (memcmp(&stn_world.devices[j].id, victim->client->neighbours[i].advert.id, 32) ==
                0) {
                stn_roster_survivors_sign(signatures[i].bytes, STN_ROSTER_ACK,
                                          &victim->client->round, &survivors,
                                          &stn_world.devices[j].ident);
            }
        }
    }
    stn_world_hear(0, &msg);
    assert_nothing_is_got(STN_MSG_UNMASK);
}
END_TEST

START_TEST(shares_are_opened_once)
{
    struct stn_msg msg = run_to(STN_STAGE_ACK);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(victim->n_sent[STN_MSG_UNMASK], 1);
    struct stn_opened opened[7];
    memcpy(opened, victim->sent.unmask.opened, sizeof opened);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(victim->n_sent[STN_MSG_UNMASK], 1);
    struct stn_secagg_client_effects effects; /* the same process may say the same bytes again */
    stn_secagg_client_step(victim->client,
                           &(struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_AGAIN},
                           &effects);
    ck_assert_uint_eq(effects.n, 1);
    ck_assert_mem_eq(opened, effects.items[0].msg.unmask.opened, sizeof opened);
    for (uint32_t slot = 0; slot < 7; slot++) { /* and has nothing else to say */
        static const struct stn_shamir_share none;
        ck_assert_mem_eq(&victim->client->neighbours[slot].self, &none, sizeof none);
        ck_assert_mem_eq(&victim->client->neighbours[slot].mask, &none, sizeof none);
    }
    stn_world_end();
}
END_TEST

/* ---- the device itself ---- */

START_TEST(a_device_that_restarts_leaves_the_cohort)
{
    (void)run_to((enum stn_stage)_i);
    stn_secagg_client_free(victim->client);
    ck_assert_int_eq(stn_secagg_client_new(&victim->client, &victim->config, NULL), STN_OK);
    memset(victim->n_sent, 0, sizeof victim->n_sent);
    stn_world_enter(0);
    ck_assert(victim->is_over);
    ck_assert_int_eq(victim->over, STN_LATE);
    for (int type = 0; type < 64; type++) {
        ck_assert_uint_eq(victim->n_sent[type], 0);
    }
    stn_world_end();
}
END_TEST

START_TEST(a_device_keeps_to_its_own_floors)
{
    stn_world_begin(N, N_MIN, 1);
    victim->client->config.n_min_floor = _i == 0 ? N_MIN + 1 : N_MIN;
    victim->client->config.gamma_floor = _i == 1 ? 0.2 : 0.1;
    victim->client->config.sigma_floor = _i == 2 ? 65 : 64;
    stn_world_enter(0);
    ck_assert_int_eq(victim->over, STN_LIMIT);
    assert_nothing_is_got(STN_MSG_ADVERTISE);
}
END_TEST

START_TEST(a_device_gives_up_when_nothing_comes)
{
    (void)run_to((enum stn_stage)_i);
    struct stn_secagg_client_effects effects;
    stn_secagg_client_step(victim->client,
                           &(struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_TIME},
                           &effects);
    ck_assert_int_eq(effects.items[effects.n - 1].type, STN_SECAGG_CLIENT_OVER);
    victim->is_over = true;
    victim->over = effects.items[effects.n - 1].code;
    assert_nothing_is_got(STN_MSG_UNMASK);
}
END_TEST

/* ---- planted bugs: what the world's observer is for ---- */

START_TEST(planted_a_device_that_forgets_its_disk_uses_a_seed_twice)
{
    struct stn_msg msg = run_to(STN_STAGE_SHARE);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    struct stn_advert adverts[N];
    stn_secagg_client_free(victim->client);
    ck_assert_int_eq(stn_secagg_client_new(&victim->client, &victim->config, NULL), STN_OK);
    memset(&victim->record, 0, sizeof victim->record);
    stn_world_enter(0);
    all_adverts(adverts);
    forge_roster(&lie, adverts, N);
    stn_world_hear(0, &lie.msg);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 1);
    stn_world_end();
}
END_TEST

START_TEST(planted_a_device_that_forgets_what_it_said_shows_both_shares)
{
    struct stn_msg msg = run_to(STN_STAGE_ACK);
    struct stn_secagg_client_neighbour before[7];
    memcpy(before, victim->client->neighbours, sizeof before);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    memcpy(victim->client->neighbours, before, sizeof before);
    victim->client->stage = STN_STAGE_ACK;
    victim->client->neighbours[3].survived = false;
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 1);
    stn_world_end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secagg lies");
    TCase *tc = tcase_create("lies");
    int n_roster_lies = sizeof roster_lies / sizeof *roster_lies;
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_true_roster_that_is_built_here_is_taken);
    tcase_add_loop_test(tc, no_share_is_dealt_on_a_false_roster, 0, n_roster_lies);
    tcase_add_test(tc, a_second_roster_is_evidence);
    tcase_add_test(tc, no_vector_leaves_for_fewer_than_t_neighbours);
    tcase_add_loop_test(tc, no_vector_leaves_when_a_neighbour_is_counted_twice, 0, 2);
    tcase_add_test(tc, a_broken_share_costs_a_share_and_not_the_round);
    tcase_add_test(tc, a_second_vector_never_leaves);
    tcase_add_loop_test(tc, no_acknowledgement_of_false_survivors, 0, 12);
    tcase_add_loop_test(tc, two_sets_of_survivors_are_evidence_and_open_nothing, 0, 2);
    tcase_add_loop_test(tc, no_share_is_opened_for_fewer_than_t_true_acknowledgements, 0, 7);
    tcase_add_test(tc, shares_are_opened_once);
    tcase_add_loop_test(tc, a_device_that_restarts_leaves_the_cohort, STN_STAGE_ADVERTISE,
                        STN_STAGE_UNMASK);
    tcase_add_loop_test(tc, a_device_keeps_to_its_own_floors, 0, 3);
    tcase_add_loop_test(tc, a_device_gives_up_when_nothing_comes, STN_STAGE_ADVERTISE,
                        STN_STAGE_UNMASK);
    tcase_add_test(tc, planted_a_device_that_forgets_its_disk_uses_a_seed_twice);
    tcase_add_test(tc, planted_a_device_that_forgets_what_it_said_shows_both_shares);
    suite_add_tcase(s, tc);
    return s;
}
