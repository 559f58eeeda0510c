/* What a device never does once it has a true roster, each against a coordinator that lies. */
#include "tests/lib/run.h"

#include <string.h>

#include "tests/swarm/secagg_forge.h"

static struct stn_world_device *const victim = STN_FORGE_VICTIM;

/* ---- deliveries ---- */

START_TEST(no_vector_leaves_for_fewer_than_t_neighbours)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_SHARE);
    msg.deliver.n_slots = 4;
    stn_world_hear(0, &msg);
    ck_assert(!victim->has_put);
    stn_forge_assert_nothing_is_got(STN_MSG_PUT_END);
}
END_TEST

START_TEST(no_vector_leaves_when_a_neighbour_is_counted_twice)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_SHARE);
    uint32_t slots[7] = {0, 1, 2, 3, 4, 5, _i == 0 ? 5 : 7};
    msg.deliver.slots = slots;
    stn_world_hear(0, &msg);
    ck_assert(!victim->has_put);
    stn_forge_assert_nothing_is_got(STN_MSG_PUT_END);
}
END_TEST

START_TEST(a_second_vector_never_leaves)
{
    (void)stn_forge_run_to(STN_STAGE_UPLOAD);
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

/* Other masks over the same delta would show the difference of two sums of masks. */
START_TEST(a_second_delivery_changes_nothing)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_SHARE), again = msg;
    uint32_t slots[6];
    memcpy(slots, msg.deliver.slots, sizeof slots);
    again.deliver.n_slots = 6; /* t are 5 */
    again.deliver.slots = slots;
    for (uint32_t stage = STN_STAGE_UPLOAD; stage <= STN_STAGE_UNMASK; stage++) {
        stn_world_stage((enum stn_stage)stage, stn_forge_everybody);
        struct stn_msg said = victim->sent;
        uint8_t y[sizeof victim->y];
        memcpy(y, victim->y, sizeof y);
        stn_world_hear(0, &again);
        ck_assert(!victim->is_over && !victim->has_evidence);
        ck_assert_uint_eq(victim->n_seeds, 1);
        ck_assert_uint_eq(victim->n_sent[STN_MSG_PUT_END], 1);
        ck_assert_int_eq(victim->sent.type, said.type);
        ck_assert_mem_eq(victim->y, y, sizeof y);
        ck_assert(victim->client->neighbours[6].has_shared);
    }
    ck_assert(stn_world.is_clear);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    stn_world_end();
}
END_TEST

/* ---- survivors ---- */

static struct stn_forge_survivors other;

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
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_UPLOAD);
    struct stn_survivor members[STN_FORGE_DEVICES];
    struct stn_derive_round round = victim->client->round;
    uint32_t index = victim->client->index, n_claimed = STN_FORGE_DEVICES;
    memcpy(members, msg.survivors.members, sizeof members);
    if (_i == 0) { /* the victim itself is lost: its pair masks are asked for */
        members[index] = (struct stn_survivor){.survived = 0};
        n_claimed = STN_FORGE_DEVICES - 1;
    } else if (_i == 1) { /* another vector is in its place */
        members[index].upload[0] ^= 1;
    } else if (_i == 2) { /* a small cohort */
        n_claimed = STN_FORGE_MIN - 1;
    } else if (_i == 3) { /* more losses than k - t */
        lose(members, 3);
        n_claimed = STN_FORGE_DEVICES - 3;
    } else if (_i == 4) { /* a root of another roster */
        round.root.bytes[0] ^= 1;
    } else if (_i == 5) { /* of another config */
        round.cfg.bytes[0] ^= 1;
    } else if (_i == 6) { /* more than there are */
        n_claimed = STN_FORGE_DEVICES + 1;
    } else if (_i == 7) { /* a survivor whose shares never came */
        victim->client->neighbours[2].has_shared = false;
    } else if (_i == 12) { /* fewer than are said: everybody is a neighbour here */
        lose(members, 1);
    } else if (_i == 13) { /* more than are said */
        n_claimed = STN_FORGE_DEVICES - 1;
    }
    stn_forge_survivors(&other, members, STN_FORGE_DEVICES, n_claimed, &round);
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
    stn_forge_assert_nothing_is_got(STN_MSG_ACK);
}
END_TEST

START_TEST(two_sets_of_survivors_are_evidence_and_open_nothing)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_UPLOAD);
    struct stn_survivor members[STN_FORGE_DEVICES];
    memcpy(members, msg.survivors.members, sizeof members);
    stn_world_stage(STN_STAGE_ACK, stn_forge_everybody);
    if (_i == 1) { /* even after it has said what it had to say */
        stn_world_stage(STN_STAGE_UNMASK, stn_forge_everybody);
        ck_assert_uint_eq(victim->n_sent[STN_MSG_UNMASK], 1);
    }
    lose(members, 1);
    stn_forge_survivors(&other, members, STN_FORGE_DEVICES, STN_FORGE_DEVICES - 1,
                        &victim->client->round);
    stn_world_hear(0, &other.msg);
    ck_assert(victim->is_over && victim->has_evidence);
    ck_assert_uint_eq(victim->n_sent[STN_MSG_UNMASK], (uint32_t)_i);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    stn_world_end();
}
END_TEST

/* A bit of anything that is in the message, by the number of the trial. */
static void flip(uint8_t *parts[static 4], const size_t sizes[static 4], int trial)
{
    size_t all = sizes[0] + sizes[1] + sizes[2] + sizes[3];
    size_t at = (size_t)trial * 2654435761u % (8 * all);
    for (int i = 0; i < 4; i++) {
        if (at < 8 * sizes[i]) {
            parts[i][at / 8] ^= (uint8_t)(1 << at % 8);
            return;
        }
        at -= 8 * sizes[i];
    }
}

START_TEST(no_bit_of_the_survivors_can_be_changed)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_UPLOAD);
    struct stn_survivor members[STN_FORGE_DEVICES];
    memcpy(members, msg.survivors.members, sizeof members);
    msg.survivors.members = members;
    uint8_t *parts[] = {(uint8_t *)members, msg.survivors.root.bytes, msg.survivors.signature,
                        (uint8_t *)&msg.survivors.n_survivors};
    flip(parts, (const size_t[]){sizeof members, 32, 64, 4}, _i);
    stn_world_hear(0, &msg);
    stn_forge_assert_nothing_is_got(STN_MSG_ACK);
}
END_TEST

START_TEST(no_bit_of_the_roster_can_be_changed)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_ADVERTISE);
    struct stn_advert adverts[STN_FORGE_DEVICES - 1];
    memcpy(adverts, msg.roster.adverts, sizeof adverts);
    msg.roster.adverts = adverts;
    uint8_t *parts[] = {(uint8_t *)adverts, msg.roster.root, msg.roster.signature,
                        (uint8_t *)&msg.roster.index};
    flip(parts, (const size_t[]){sizeof adverts, 32, 64, 4}, _i);
    stn_world_hear(0, &msg);
    stn_forge_assert_nothing_is_got(STN_MSG_SHARE);
}
END_TEST

/* ---- acknowledgements ---- */

START_TEST(no_share_is_opened_for_fewer_than_t_true_acknowledgements)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_ACK);
    struct stn_signature signatures[7];
    uint32_t slots[7] = {0, 1, 2, 3, 4, 5, 6};
    memcpy(signatures, msg.acks.signatures, sizeof signatures);
    msg.acks.signatures = signatures;
    msg.acks.slots = slots;
    struct stn_roster_survivors survivors = {victim->client->survivors.root, STN_FORGE_DEVICES};
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
        for (uint32_t j = 0; j < STN_FORGE_DEVICES; j++) {
            if (memcmp(&stn_world.devices[j].id, victim->client->neighbours[i].advert.id, 32) ==
                0) {
                stn_roster_survivors_sign(signatures[i].bytes, STN_ROSTER_ACK,
                                          &victim->client->round, &survivors,
                                          &stn_world.devices[j].ident);
            }
        }
    }
    stn_world_hear(0, &msg);
    stn_forge_assert_nothing_is_got(STN_MSG_UNMASK);
}
END_TEST

START_TEST(shares_are_opened_once)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_ACK);
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
        static const uint8_t none[2][32];
        ck_assert_mem_eq(victim->client->neighbours[slot].keys, none, sizeof none);
    }
    stn_world_end();
}
END_TEST

/* ---- the device itself ---- */

START_TEST(a_device_that_restarts_leaves_the_cohort)
{
    (void)stn_forge_run_to((enum stn_stage)_i);
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
    stn_world_begin(STN_FORGE_DEVICES, STN_FORGE_MIN, 1);
    victim->client->config.n_min_floor = _i == 0 ? STN_FORGE_MIN + 1 : STN_FORGE_MIN;
    victim->client->config.gamma_floor = _i == 1 ? 0.2 : 0.1;
    victim->client->config.sigma_floor = _i == 2 ? 65 : 64;
    stn_world_enter(0);
    ck_assert_int_eq(victim->over, STN_LIMIT);
    stn_forge_assert_nothing_is_got(STN_MSG_ADVERTISE);
}
END_TEST

START_TEST(a_device_gives_up_when_nothing_comes)
{
    (void)stn_forge_run_to((enum stn_stage)_i);
    struct stn_secagg_client_effects effects;
    stn_secagg_client_step(victim->client,
                           &(struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_TIME},
                           &effects);
    ck_assert_int_eq(effects.items[effects.n - 1].type, STN_SECAGG_CLIENT_OVER);
    victim->is_over = true;
    victim->over = effects.items[effects.n - 1].code;
    stn_forge_assert_nothing_is_got(STN_MSG_UNMASK);
}
END_TEST

/* ---- planted bugs: what the world's observer is for ---- */

START_TEST(planted_a_device_that_forgets_its_disk_uses_a_seed_twice)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_SHARE);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_secagg_client_free(victim->client);
    ck_assert_int_eq(stn_secagg_client_new(&victim->client, &victim->config, NULL), STN_OK);
    memset(&victim->record, 0, sizeof victim->record);
    stn_world_enter(0);
    stn_forge_all_adverts(adverts);
    static struct stn_forge_lie lie;
    stn_forge_roster(&lie, adverts, STN_FORGE_DEVICES);
    stn_world_hear(0, &lie.msg);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 1);
    stn_world_end();
}
END_TEST

/* It says again what it has said, and that device 7 is lost. */
static void show_both(uint32_t number, const struct stn_msg *acks)
{
    struct stn_secagg_client *client = stn_world.devices[number].client;
    struct stn_secagg_client_neighbour before[STN_FORGE_DEVICES - 1];
    memcpy(before, client->neighbours, sizeof before);
    stn_world_hear(number, acks);
    memcpy(client->neighbours, before, sizeof before);
    client->stage = STN_STAGE_ACK;
    for (uint32_t slot = 0; slot < STN_FORGE_DEVICES - 1; slot++) {
        if (memcmp(client->neighbours[slot].advert.id, &stn_world.devices[7].id, 32) == 0) {
            client->neighbours[slot].survived = false;
        }
    }
    stn_world_hear(number, acks);
}

START_TEST(planted_devices_that_forget_what_they_said_show_both_shares)
{
    uint32_t t = 5;
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_ACK);
    ck_assert_uint_eq(victim->client->bound.t, t);
    show_both(0, &msg);
    ck_assert_uint_eq(stn_world.n_breaks, 1);
    for (uint32_t i = 1; i < t; i++) {
        ck_assert_int_eq(stn_secagg_server_answer(stn_world.server, &stn_world.devices[i].id, STN_STAGE_ACK, &msg), STN_OK);
        show_both(i, &msg);
    }
    ck_assert_uint_eq(stn_world.n_breaks, t + 1); /* and both secrets are there */
    ck_assert_uint_eq(stn_world.n_mixed, 1);
    stn_world_end();
}
END_TEST

START_TEST(planted_a_device_that_shows_another_key_than_it_says_is_seen_among_others)
{
    struct stn_msg msg = stn_forge_run_to(STN_STAGE_ACK);
    memcpy(victim->client->neighbours[3].keys[STN_SHARE_OF_SELF], victim->client->neighbours[3].keys[STN_SHARE_OF_MASK], 32);
    stn_world_hear(0, &msg);
    ck_assert_uint_eq(stn_world.n_mixed, 0); /* nobody else has shown anything */
    ck_assert_int_eq(stn_world_poll(victim->client->neighbours[3].index == stn_world.devices[1].client->index ? 2 : 1, STN_STAGE_ACK), STN_OK);
    ck_assert_uint_eq(stn_world.n_mixed, 1);
    ck_assert_uint_eq(stn_world.n_breaks, 0); /* one share is no secret */
    stn_world_end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secagg lies");
    TCase *tc = tcase_create("lies");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, no_vector_leaves_for_fewer_than_t_neighbours);
    tcase_add_loop_test(tc, no_vector_leaves_when_a_neighbour_is_counted_twice, 0, 2);
    tcase_add_test(tc, a_second_vector_never_leaves);
    tcase_add_test(tc, a_second_delivery_changes_nothing);
    tcase_add_loop_test(tc, no_acknowledgement_of_false_survivors, 0, 14);
    tcase_add_loop_test(tc, no_bit_of_the_survivors_can_be_changed, 0, 60);
    tcase_add_loop_test(tc, no_bit_of_the_roster_can_be_changed, 0, 60);
    tcase_add_loop_test(tc, two_sets_of_survivors_are_evidence_and_open_nothing, 0, 2);
    tcase_add_loop_test(tc, no_share_is_opened_for_fewer_than_t_true_acknowledgements, 0, 7);
    tcase_add_test(tc, shares_are_opened_once);
    tcase_add_loop_test(tc, a_device_that_restarts_leaves_the_cohort, STN_STAGE_ADVERTISE,
                        STN_STAGE_UNMASK);
    tcase_add_loop_test(tc, a_device_keeps_to_its_own_floors, 0, 3);
    tcase_add_loop_test(tc, a_device_gives_up_when_nothing_comes, STN_STAGE_ADVERTISE,
                        STN_STAGE_UNMASK);
    tcase_add_test(tc, planted_a_device_that_forgets_its_disk_uses_a_seed_twice);
    tcase_add_test(tc, planted_devices_that_forget_what_they_said_show_both_shares);
    tcase_add_test(tc, planted_a_device_that_shows_another_key_than_it_says_is_seen_among_others);
    suite_add_tcase(s, tc);
    return s;
}
