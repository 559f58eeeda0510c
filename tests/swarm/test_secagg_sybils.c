/* Sybils above and below gamma. A coordinator that lies owns A of the n members of a roster, with
 * all their keys, and equivocates about one honest device X: to one group of the honest it says that
 * X survived, to the others that X was lost. Each group is handed all acknowledgements that there
 * can be of its set of survivors: its own and the Sybils', who acknowledge anything. The coordinator
 * keeps what honest devices then open, and the Sybils' shares of both of X's secrets. The cores are
 * the real ones, and a secret counts as got only when the shares give back its very bytes.
 *
 * With the complete graph t = floor((n + floor(gamma n)) / 2) + 1 shares are needed of each secret.
 * Shown, at gamma 0.1 and for every split of the honest:
 *   - with A <= floor(gamma n), no split gives both secrets of X;
 *   - nor does any up to A = 2t + 1 - n, and with one Sybil more there is a split that gives both:
 *     g1 + A >= t in the first group and g2 + A > t in the second, in which X has nothing to say and
 *     a device does not count its own acknowledgement. What was opened is, to the share, what these
 *     counts say, so that the harness has teeth and the bound is where the document has it;
 *   - Sybils that are said to be lost do not help: their shares are there all the same, but their
 *     acknowledgements do not count, and where one split was enough, one lost Sybil spoils it. Nor
 *     does any device acknowledge more than k - t losses, whoever they are;
 *   - with fewer honest survivors than n_min - A nothing is acknowledged and nothing opened, though
 *     the coordinator says that there are n_min: X sees who is there.
 *
 * On a ring of 64 members the Sybils sit about X, and the honest are cut in two on either side of it: up to
 * gamma n Sybils, and one more, no cut gives both; with 8 among the 20 neighbours, 2t - k of them, one does. */
#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/core/secagg_server_state.h"
#include "tests/swarm/secagg_forge.h"

enum { N_MIN = 5 };

static struct stn_world_device *const victim = STN_FORGE_VICTIM;
static const uint32_t sizes[] = {10, 16, 20};

enum group { SYBILS, TOLD_SURVIVED, TOLD_LOST };

/* X is device 0, then come the first group and the second, and last the Sybils; the first n_lost
 * of these are said to be lost. */
struct attack {
    uint32_t n, n_sybils, n_first, n_lost;
};

/* What the coordinator has of one of X's secrets. */
struct loot {
    struct stn_shamir_share shares[STN_WORLD_DEVICES];
    uint32_t xs[STN_WORLD_DEVICES];
    uint32_t n;
};

static struct stn_survivor said[3][STN_WORLD_DEVICES]; /* by group, in the order of the roster */
static uint32_t n_said[3];                             /* how many survivors that is */
static struct stn_forge_survivors lie;                 /* as a device sees one of them */
static enum group groups[STN_WORLD_DEVICES];           /* by device; X is in the first */
static struct loot self, mask;

static uint32_t threshold(uint32_t n)
{
    return (n + n / 10) / 2 + 1;
}

static void split(const struct attack *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        groups[i] = i >= a->n - a->n_sybils ? SYBILS : i <= a->n_first ? TOLD_SURVIVED : TOLD_LOST;
    }
}

static bool is_said_lost(const struct attack *a, uint32_t i)
{
    return i >= a->n - a->n_sybils && i < a->n - a->n_sybils + a->n_lost;
}

/* Everybody has uploaded: who survived is to be said. */
static void run_to_uploads(uint32_t n, uint32_t n_min)
{
    bool all[STN_WORLD_DEVICES];
    struct stn_msg msg;
    memset(all, true, sizeof all);
    stn_world_begin(n, n_min, 40 + n);
    for (uint32_t stage = STN_STAGE_ADVERTISE; stage <= STN_STAGE_UPLOAD; stage++) {
        stn_world_stage((enum stn_stage)stage, all);
    }
    ck_assert_int_eq(
        stn_secagg_server_answer(stn_world.server, &victim->id, STN_STAGE_UPLOAD, &msg), STN_OK);
    ck_assert_uint_eq(msg.survivors.n_survivors, n);
}

/* What a group is told: the truth, but for these. */
static void forge(enum group group, const bool *is_lost, uint32_t n, uint32_t n_claimed)
{
    n_said[group] = n_claimed;
    for (uint32_t i = 0; i < n; i++) {
        const struct stn_secagg_client *client = stn_world.devices[i].client;
        struct stn_survivor *member = &said[group][client->index];
        *member = (struct stn_survivor){.survived = !is_lost[i]};
        if (!is_lost[i]) {
            memcpy(member->upload, client->upload.bytes, sizeof member->upload);
        }
    }
}

static void tell(uint32_t i, enum group group)
{
    stn_forge_survivors_for(&lie, said[group], n_said[group], stn_world.devices[i].client);
    stn_world_hear(i, &lie.msg);
}

/* By index in the roster: who acknowledges what this group was told, and how. */
static void collect_acks(uint32_t n, enum group group, bool *ret_has, struct stn_signature *ret)
{
    stn_forge_survivors_for(&lie, said[group], n_said[group], victim->client);
    struct stn_roster_survivors survivors = {lie.msg.survivors.root, n_said[group]};
    for (uint32_t i = 0; i < n; i++) {
        struct stn_world_device *device = &stn_world.devices[i];
        uint32_t index = device->client->index;
        ret_has[index] = true;
        if (groups[i] == SYBILS) {
            stn_roster_survivors_sign(ret[index].bytes, STN_ROSTER_ACK, &victim->client->round,
                                      &survivors, &device->ident);
        } else if (groups[i] == group && device->n_sent[STN_MSG_ACK] == 1) {
            memcpy(ret[index].bytes, device->client->sent.ack.signature, 64);
        } else {
            ret_has[index] = false;
        }
    }
}

/* A device hears every acknowledgement by a neighbour who is among the survivors that it knows. */
static void hand_acks(uint32_t i, const bool *has, const struct stn_signature *all)
{
    const struct stn_secagg_client *client = stn_world.devices[i].client;
    struct stn_signature signatures[STN_WORLD_DEVICES];
    uint32_t slots[STN_WORLD_DEVICES], n = 0;
    for (uint32_t slot = 0; slot < client->bound.k; slot++) {
        if (has[client->neighbours[slot].index]) {
            slots[n] = slot;
            signatures[n++] = all[client->neighbours[slot].index];
        }
    }
    stn_world_hear(i, &(struct stn_msg){.type = STN_MSG_ACKS,
                                        .acks = {.round = stn_world.terms.round,
                                                 .n_slots = n,
                                                 .slots = slots,
                                                 .n_signatures = n,
                                                 .signatures = signatures}});
}

/* X's boxes are the coordinator's; the key is the holder's. */
static void take(struct loot *loot, uint32_t holder, const uint8_t key[static 32])
{
    const struct stn_secagg_client *of = victim->client;
    uint32_t index = stn_world.devices[holder].client->index;
    const struct stn_share_place place = {of->index, index, stn_harary_slot(&of->graph, of->index, index)};
    const struct stn_sealed *sealed = &stn_world.server->members[of->index]->sealed[place.slot];
    ck_assert_int_eq(stn_share_open(&loot->shares[loot->n], loot == &self ? STN_SHARE_OF_SELF : STN_SHARE_OF_MASK,
                                    key, &place, sealed),
                     STN_OK);
    loot->xs[loot->n++] = place.slot + 1;
}

/* The share of X that an honest device has opened, if it has opened any. */
static void take_opened(uint32_t i, enum group group)
{
    const struct stn_world_device *device = &stn_world.devices[i];
    uint32_t slot = stn_harary_slot(&device->client->graph, device->client->index,
                                    victim->client->index);
    if (device->n_sent[STN_MSG_UNMASK] == 0) {
        return;
    }
    const struct stn_msg_unmask *unmask = &device->client->sent.unmask;
    for (uint32_t j = 0; j < unmask->n_slots; j++) {
        if (unmask->slots[j] == slot) {
            take(group == TOLD_SURVIVED ? &self : &mask, i, unmask->opened[j].key);
        }
    }
}

/* Whether all the shares together are the secret. */
static bool is_got(const struct loot *loot, const uint8_t *secret)
{
    uint64_t weights[STN_WORLD_DEVICES];
    uint8_t joined[STN_SHAMIR_SECRET];
    if (loot->n == 0) {
        return false;
    }
    stn_shamir_weigh(weights, loot->xs, loot->n, 0);
    return stn_shamir_join(joined, weights, loot->shares, loot->n, NULL) == STN_OK &&
           memcmp(joined, secret, sizeof joined) == 0;
}

/* Each group hears what it is to believe, and whoever acknowledges that. */
static void lie_to_everybody(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (groups[i] != SYBILS) {
            tell(i, groups[i]);
        }
    }
    for (enum group group = TOLD_SURVIVED; group <= TOLD_LOST; group++) {
        bool has[STN_WORLD_DEVICES];
        struct stn_signature acks[STN_WORLD_DEVICES];
        collect_acks(n, group, has, acks);
        for (uint32_t i = 0; i < n; i++) {
            if (groups[i] == group && !stn_world.devices[i].is_over) {
                hand_acks(i, has, acks);
            }
        }
    }
}

/* What the coordinator has of X: from the honest what they have opened, from its neighbours among the Sybils all. */
static void collect_shares(uint32_t n)
{
    self.n = mask.n = 0;
    for (uint32_t i = 1; i < n; i++) {
        const struct stn_secagg_client *client = stn_world.devices[i].client;
        uint32_t slot = stn_harary_slot(&client->graph, client->index, victim->client->index);
        if (groups[i] != SYBILS) {
            take_opened(i, groups[i]);
        } else if (slot != STN_HARARY_NOBODY) {
            take(&self, i, client->neighbours[slot].keys[STN_SHARE_OF_SELF]);
            take(&mask, i, client->neighbours[slot].keys[STN_SHARE_OF_MASK]);
        }
    }
    ck_assert_uint_eq(stn_world.n_breaks, 0); /* no single device has opened both */
}

/* Whether the coordinator gets both secrets of X: by t shares, and not by fewer. */
static bool has_both(uint32_t t)
{
    bool has_self = is_got(&self, victim->entropy.self_seed);
    bool has_mask = is_got(&mask, victim->entropy.mask_seed);
    ck_assert_int_eq(has_self, self.n >= t);
    ck_assert_int_eq(has_mask, mask.n >= t);
    return has_self && has_mask;
}

/* What devices open is held against the counts. */
static bool gets_both(const struct attack *a)
{
    uint32_t t = threshold(a->n), n_second = a->n - 1 - a->n_sybils - a->n_first;
    uint32_t n_agree = a->n_sybils - a->n_lost; /* of the Sybils */
    bool is_lost[STN_WORLD_DEVICES];
    run_to_uploads(a->n, N_MIN);
    ck_assert_uint_eq(victim->client->bound.t, t);
    split(a);
    for (uint32_t i = 0; i < a->n; i++) {
        is_lost[i] = is_said_lost(a, i);
    }
    forge(TOLD_SURVIVED, is_lost, a->n, a->n - a->n_lost);
    is_lost[0] = true;
    forge(TOLD_LOST, is_lost, a->n, a->n - a->n_lost - 1);
    lie_to_everybody(a->n);
    collect_shares(a->n);
    ck_assert_uint_eq(self.n, a->n_sybils + (a->n_first + n_agree >= t ? a->n_first : 0));
    ck_assert_uint_eq(mask.n, a->n_sybils + (n_second + n_agree > t ? n_second : 0));
    bool is_open = has_both(t);
    stn_world_end();
    return is_open;
}

/* How many splits of the honest, of all, give both. */
static uint32_t splits_that_give_both(uint32_t n, uint32_t n_sybils, uint32_t n_lost)
{
    uint32_t n_splits = 0;
    for (uint32_t n_first = 0; n_first <= n - 1 - n_sybils; n_first++) {
        n_splits += gets_both(&(struct attack){n, n_sybils, n_first, n_lost});
    }
    return n_splits;
}

START_TEST(up_to_gamma_no_split_gives_both_secrets)
{
    uint32_t n = sizes[_i];
    for (uint32_t n_sybils = 0; n_sybils <= n / 10; n_sybils++) {
        ck_assert_uint_eq(splits_that_give_both(n, n_sybils, 0), 0);
    }
}
END_TEST

START_TEST(one_sybil_beyond_the_bound_and_a_split_gives_both)
{
    uint32_t n = sizes[_i], bound = 2 * threshold(n) + 1 - n;
    ck_assert_uint_gt(bound, n / 10);
    ck_assert_uint_eq(splits_that_give_both(n, bound, 0), 0);
    ck_assert_uint_eq(splits_that_give_both(n, bound + 1, 0), 1);
}
END_TEST

START_TEST(sybils_that_are_said_to_be_lost_do_not_help)
{
    uint32_t n = 10, enough = 2 * threshold(n) + 2 - n;
    ck_assert_uint_eq(splits_that_give_both(n, enough, 0), 1);
    for (uint32_t n_lost = 1; n_lost <= enough; n_lost++) {
        ck_assert_uint_eq(splits_that_give_both(n, enough, n_lost), 0);
    }
}
END_TEST

/* ---- a graph that is not complete: 64 members in a ring, and 20 neighbours, of whom 14 are needed ---- */

enum { RING = 64, REACH = 10, QUORUM = 14, MAX_CUT = 2 * REACH };

/* The Sybils are X's nearest neighbours on both sides, where they sit between most others. Of all its neighbours, from left
 * to right, the first so many that are honest are in the first group; whoever is farther away is in the first on the left and
 * in the second on the right. Whether that gives both secrets. */
static bool ring_gives_both(uint32_t n_sybils, uint32_t cut)
{
    const struct stn_harary *graph = &victim->client->graph;
    bool is_lost[STN_WORLD_DEVICES] = {false};
    uint32_t n_first = 0, n_second = 0;
    for (uint32_t i = 0; i < RING; i++) {
        uint32_t right = (graph->places[stn_world.devices[i].client->index] + RING -
                          graph->places[victim->client->index]) % RING; /* of X */
        bool is_left = right > RING / 2;
        uint32_t away = is_left ? RING - right : right;
        bool is_first = away > REACH ? is_left : (is_left ? REACH - away : REACH + away - 1) < cut;
        groups[i] = away == 0                               ? TOLD_SURVIVED
                    : 2 * (away - 1) + is_left < n_sybils ? SYBILS
                    : is_first                            ? TOLD_SURVIVED
                                                          : TOLD_LOST;
        n_first += away <= REACH && away > 0 && groups[i] == TOLD_SURVIVED;
        n_second += away <= REACH && groups[i] == TOLD_LOST;
    }
    ck_assert_uint_eq(n_first + n_second + n_sybils, 2 * REACH);
    forge(TOLD_SURVIVED, is_lost, RING, RING);
    is_lost[0] = true;
    forge(TOLD_LOST, is_lost, RING, RING - 1);
    lie_to_everybody(RING);
    collect_shares(RING);
    ck_assert_uint_le(self.n, n_sybils + n_first);
    ck_assert_uint_le(mask.n, n_sybils + n_second);
    return has_both(QUORUM);
}

/* How many of the cuts give both. What everybody did up to the survivors is done once; a cut is a process. */
static uint32_t cuts_that_give_both(uint32_t n_sybils)
{
    uint32_t n_cuts = 0;
    for (uint32_t cut = 0; cut <= MAX_CUT; cut++) {
        (void)fflush(NULL);
        pid_t child = fork();
        int status;
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            _exit(ring_gives_both(n_sybils, cut) ? 3 : 4);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status) && (WEXITSTATUS(status) == 3 || WEXITSTATUS(status) == 4));
        n_cuts += WEXITSTATUS(status) == 3;
    }
    return n_cuts;
}

/* gamma n are 6, and t1 = 2t - k - 1 of them would have to be neighbours of X to be one short of enough. */
START_TEST(on_a_ring_no_cut_gives_both_secrets_but_with_more_than_t1_sybils_about_one_member)
{
    run_to_uploads(RING, N_MIN);
    ck_assert_uint_eq(victim->client->bound.k, 2 * REACH);
    ck_assert_uint_eq(victim->client->bound.t, QUORUM);
    for (uint32_t n_sybils = 0; n_sybils < 8; n_sybils += n_sybils == 0 ? 5 : 1) {
        ck_assert_uint_eq(cuts_that_give_both(n_sybils), 0);
    }
    ck_assert_uint_gt(cuts_that_give_both(8), 0);
    stn_world_end();
}
END_TEST

START_TEST(no_device_acknowledges_more_than_k_minus_t_losses)
{
    uint32_t n = sizes[0], k_minus_t = n - 1 - threshold(n);
    for (uint32_t n_lost = 0; n_lost < n; n_lost++) {
        bool is_lost[STN_WORLD_DEVICES] = {false};
        for (uint32_t i = n - n_lost; i < n; i++) {
            is_lost[i] = true;
        }
        run_to_uploads(n, N_MIN);
        forge(TOLD_SURVIVED, is_lost, n, n - n_lost);
        tell(0, TOLD_SURVIVED);
        ck_assert_uint_eq(victim->n_sent[STN_MSG_ACK], n_lost <= k_minus_t);
        ck_assert_int_eq(victim->is_over, n_lost > k_minus_t);
        stn_world_end();
    }
}
END_TEST

/* n_min is 8 of 10, and t would be content with 7. One is a Sybil: 7 honest will do, 6 will not. */
START_TEST(fewer_honest_than_n_min_less_the_sybils_open_nothing)
{
    enum { N = 10, MIN = 8, SYBIL = N - 1 };
    uint32_t n_honest = _i == 0 ? MIN - 1 : MIN - 2, n_claimed = _i == 1 ? MIN - 1 : MIN;
    bool is_lost[STN_WORLD_DEVICES] = {false};
    for (uint32_t i = n_honest; i < SYBIL; i++) {
        is_lost[i] = true;
    }
    run_to_uploads(N, MIN);
    forge(TOLD_SURVIVED, is_lost, N, n_claimed);
    split(&(struct attack){N, 1, N - 2, 0});
    bool has[STN_WORLD_DEVICES];
    struct stn_signature acks[STN_WORLD_DEVICES];
    for (uint32_t i = 0; i < n_honest; i++) {
        tell(i, TOLD_SURVIVED);
    }
    collect_acks(N, TOLD_SURVIVED, has, acks);
    for (uint32_t i = 0; i < n_honest; i++) {
        hand_acks(i, has, acks);
        ck_assert_uint_eq(stn_world.devices[i].n_sent[STN_MSG_ACK], _i == 0);
        ck_assert_uint_eq(stn_world.devices[i].n_sent[STN_MSG_UNMASK], _i == 0);
    }
    stn_world_end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secagg sybils");
    TCase *tc = tcase_create("sybils");
    int n_sizes = sizeof sizes / sizeof *sizes;
    tcase_set_timeout(tc, 180);
    tcase_add_loop_test(tc, up_to_gamma_no_split_gives_both_secrets, 0, n_sizes);
    tcase_add_loop_test(tc, one_sybil_beyond_the_bound_and_a_split_gives_both, 0, n_sizes);
    tcase_add_test(tc, sybils_that_are_said_to_be_lost_do_not_help);
    tcase_add_test(tc, on_a_ring_no_cut_gives_both_secrets_but_with_more_than_t1_sybils_about_one_member);
    tcase_add_test(tc, no_device_acknowledges_more_than_k_minus_t_losses);
    tcase_add_loop_test(tc, fewer_honest_than_n_min_less_the_sybils_open_nothing, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}
