/* Rosters that a device must not take, each with all the keys that the coordinator has. */
#include "tests/lib/run.h"

#include <string.h>

#include "tests/swarm/secagg_forge.h"

static struct stn_world_device *const victim = STN_FORGE_VICTIM;

static void resign(struct stn_forge_lie *lie)
{
    struct stn_derive_round round = {.cfg = stn_world.terms.cfg, .n = lie->msg.roster.n_members};
    memcpy(round.root.bytes, lie->msg.roster.root, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.coordinator);
}

static void another_signs_the_roster(struct stn_forge_lie *lie)
{
    struct stn_derive_round round = {.cfg = stn_world.terms.cfg, .n = STN_FORGE_DEVICES};
    memcpy(round.root.bytes, lie->msg.roster.root, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.directory);
}
static void the_roster_is_of_another_config(struct stn_forge_lie *lie)
{
    struct stn_derive_round round = {.cfg = {{9}}, .n = STN_FORGE_DEVICES};
    memcpy(round.root.bytes, lie->msg.roster.root, 32);
    stn_roster_sign(lie->msg.roster.signature, &round, &stn_world.coordinator);
}
static void the_root_is_of_another_roster(struct stn_forge_lie *lie)
{
    lie->msg.roster.root[0] ^= 1;
    resign(lie);
}
static void the_roster_says_fewer_than_it_has(struct stn_forge_lie *lie)
{
    lie->msg.roster.n_members = STN_FORGE_DEVICES - 1;
    resign(lie);
}
static void the_roster_says_more_than_it_has(struct stn_forge_lie *lie)
{
    lie->msg.roster.n_members = STN_FORGE_DEVICES + 1;
    resign(lie);
}
static void a_neighbours_mask_key_is_swapped(struct stn_forge_lie *lie)
{
    lie->adverts[2].mask[0] ^= 1;
}
static void a_neighbours_transport_key_is_swapped(struct stn_forge_lie *lie)
{
    memcpy(lie->adverts[2].transport, lie->adverts[3].transport, 32);
}
static void a_neighbour_is_not_in_the_tree(struct stn_forge_lie *lie)
{
    struct stn_ident sybil;
    stn_ident_new(&sybil);
    stn_forge_advert(&lie->adverts[3], &sybil, &stn_world.directory, &stn_world.terms.cfg);
}
static void neighbours_change_places(struct stn_forge_lie *lie)
{
    struct stn_advert first = lie->adverts[0];
    lie->adverts[0] = lie->adverts[1];
    lie->adverts[1] = first;
}
static void a_neighbour_is_left_out(struct stn_forge_lie *lie)
{
    lie->msg.roster.n_adverts--;
}
static void the_receiver_is_elsewhere(struct stn_forge_lie *lie)
{
    lie->msg.roster.index = (lie->msg.roster.index + 1) % STN_FORGE_DEVICES;
}
static void the_receiver_is_nowhere(struct stn_forge_lie *lie)
{
    lie->msg.roster.index = STN_FORGE_DEVICES;
}
static void a_signed_key_is_of_low_order(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    memset(adverts[4].transport, 0, 32);
    stn_forge_advert(&adverts[4], &stn_world.devices[4].ident, &stn_world.directory,
                     &stn_world.terms.cfg);
    stn_forge_roster(lie, adverts, STN_FORGE_DEVICES);
}
static void a_neighbour_is_of_a_foreign_directory(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    stn_forge_advert(&adverts[4], &stn_world.devices[4].ident, &stn_world.coordinator,
                     &stn_world.terms.cfg);
    stn_forge_roster(lie, adverts, STN_FORGE_DEVICES);
}
static void a_neighbour_signed_another_config(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    stn_forge_advert(&adverts[4], &stn_world.devices[4].ident, &stn_world.directory,
                     &(struct stn_digest){{1}});
    stn_forge_roster(lie, adverts, STN_FORGE_DEVICES);
}
static void a_neighbour_is_there_twice(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    adverts[4] = adverts[3];
    adverts[4].nonce[0] ^= 1;
    stn_forge_advert(&adverts[4], &stn_world.devices[3].ident, &stn_world.directory,
                     &stn_world.terms.cfg);
    stn_forge_roster(lie, adverts, STN_FORGE_DEVICES);
}
static void the_receiver_is_there_twice(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    adverts[4].nonce[0] ^= 1;
    stn_forge_advert(&adverts[4], &victim->ident, &stn_world.directory, &stn_world.terms.cfg);
    stn_forge_roster(lie, adverts, STN_FORGE_DEVICES);
}
static void the_cohort_is_too_small(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    victim->client->config.n_min_floor = STN_FORGE_MIN + 1;
    stn_forge_roster(lie, adverts, STN_FORGE_MIN);
}

static void the_cohort_has_no_graph(struct stn_forge_lie *lie)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    stn_forge_all_adverts(adverts);
    stn_forge_roster(lie, adverts, STN_BOUND_MEMBERS_MIN - 1);
}

static void (*const roster_lies[])(struct stn_forge_lie *) = {
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
    the_cohort_has_no_graph,
};

static struct stn_forge_lie lie;

START_TEST(a_true_roster_that_is_built_here_is_taken)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    (void)stn_forge_run_to(STN_STAGE_ADVERTISE);
    stn_forge_all_adverts(adverts);
    stn_forge_roster(&lie, adverts, STN_FORGE_DEVICES);
    stn_world_hear(0, &lie.msg);
    ck_assert(!victim->is_over);
    ck_assert_uint_eq(victim->n_sent[STN_MSG_SHARE], 1);
    stn_world_end();
}
END_TEST

START_TEST(no_share_is_dealt_on_a_false_roster)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    (void)stn_forge_run_to(STN_STAGE_ADVERTISE);
    stn_forge_all_adverts(adverts);
    stn_forge_roster(&lie, adverts, STN_FORGE_DEVICES);
    roster_lies[_i](&lie);
    stn_world_hear(0, &lie.msg);
    stn_forge_assert_nothing_is_got(STN_MSG_SHARE);
}
END_TEST

START_TEST(a_second_roster_is_evidence)
{
    struct stn_advert adverts[STN_FORGE_DEVICES];
    (void)stn_forge_run_to(STN_STAGE_SHARE);
    stn_forge_all_adverts(adverts);
    stn_forge_roster(&lie, adverts, STN_FORGE_DEVICES);
    lie.msg.roster.root[0] ^= 1;
    stn_world_hear(0, &lie.msg); /* nobody signed it: a stranger's noise */
    ck_assert(!victim->is_over);
    resign(&lie);
    stn_world_hear(0, &lie.msg);
    ck_assert(victim->has_evidence);
    stn_forge_assert_nothing_is_got(STN_MSG_PUT_END);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secagg rosters");
    TCase *tc = tcase_create("rosters");
    int n_roster_lies = sizeof roster_lies / sizeof *roster_lies;
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_true_roster_that_is_built_here_is_taken);
    tcase_add_loop_test(tc, no_share_is_dealt_on_a_false_roster, 0, n_roster_lies);
    tcase_add_test(tc, a_second_roster_is_evidence);
    suite_add_tcase(s, tc);
    return s;
}
