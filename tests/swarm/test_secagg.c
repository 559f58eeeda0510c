#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "secagg/roster.h"
#include "tests/swarm/secagg_world.h"
#include "update/encode.h"
#include "update/pack.h"

/* A device's fate is how many messages it says: 0 not even its advert, 5 all. */
enum { FATES = 6, ALL = 5 };

/* Sanitizers see memory and arithmetic, and two sizes are enough for that: all of them take 15 s without. */
#ifdef __SANITIZE_ADDRESS__
enum { FIRST_SIZE = 8, LAST_SIZE = 9 };
#else
enum { FIRST_SIZE = 6, LAST_SIZE = 12 };
#endif

static uint32_t fate[STN_WORLD_DEVICES];

static uint32_t n_with(uint32_t least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < stn_world.n; i++) {
        n += fate[i] >= least;
    }
    return n;
}

static bool is_sum_right(void)
{
    for (int j = 0; j < STN_WORLD_VALUES; j++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < stn_world.n; i++) {
            sum += fate[i] >= STN_STAGE_UPLOAD ? stn_world.devices[i].x[j] : 0;
        }
        if (sum != stn_world.sum[j]) {
            return false;
        }
    }
    return true;
}

/* Whether a round of a complete graph succeeds, from the document alone. */
static bool should_succeed(void)
{
    uint32_t n = n_with(1), n_min = stn_world.terms.n_min;
    if (n < n_min || n < STN_BOUND_MEMBERS_MIN) {
        return false;
    }
    uint32_t t = (n + n / 10) / 2 + 1, k = n - 1, shared = n_with(2), survived = n_with(3);
    return shared - 1 >= t && survived >= n_min && survived - 1 >= t &&
           shared - survived <= k - t && n_with(4) >= t + 1 && n_with(5) >= t + 1;
}

static void check_end(void)
{
    bool should = should_succeed();
    ck_assert_uint_eq(stn_world.n_breaks + stn_world.n_mixed, 0);
    ck_assert_msg(stn_world.is_clear == should && stn_world.is_void == !should,
                  "clear %d, void %d of fates %u %u %u %u %u ...", stn_world.is_clear,
                  stn_world.is_void, fate[0], fate[1], fate[2], fate[3], fate[4]);
    if (should) {
        ck_assert_uint_eq(stn_world.n_clear, n_with(STN_STAGE_UPLOAD));
        ck_assert(is_sum_right());
    }
}

static void run_stage(enum stn_stage stage)
{
    bool is_there[STN_WORLD_DEVICES];
    for (uint32_t i = 0; i < stn_world.n; i++) {
        is_there[i] = fate[i] >= (uint32_t)stage;
    }
    stn_world_stage(stage, is_there);
}

static uint32_t *n_leaves, *n_clear; /* shared by all processes of an exploration */

static void explore(uint32_t stage, bool any_order);

/* One choice of who is lost before a stage, in a process of its own: what was done up to here is
 * done once for all choices. */
static void branch(uint32_t stage, bool any_order)
{
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        run_stage((enum stn_stage)stage);
        if (stage == ALL) {
            check_end();
            ++*n_leaves;
            *n_clear += stn_world.is_clear;
        } else {
            explore(stage + 1, any_order);
        }
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a branch at stage %u fails",
                  stage);
}

/* Every subset of those who are still there, or every number of them. */
static void explore(uint32_t stage, bool any_order)
{
    uint32_t there[STN_WORLD_DEVICES], n = 0;
    for (uint32_t i = 0; i < stn_world.n; i++) {
        if (fate[i] >= stage) {
            there[n++] = i;
        }
    }
    uint32_t n_choices = any_order ? n + 1 : (uint32_t)1 << n;
    for (uint32_t choice = 0; choice < n_choices; choice++) {
        for (uint32_t i = 0; i < n; i++) {
            bool is_lost = any_order ? i < choice : (choice >> i & 1) != 0;
            fate[there[i]] = is_lost ? stage - 1 : ALL;
        }
        branch(stage, any_order);
    }
}

static void explore_all(uint32_t n, uint32_t n_min, bool any_order, uint32_t n_expected)
{
    uint32_t *counters =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(counters, MAP_FAILED);
    n_leaves = &counters[0];
    n_clear = &counters[1];
    stn_world_begin(n, n_min, n);
    for (uint32_t i = 0; i < n; i++) {
        fate[i] = ALL;
    }
    explore(1, any_order);
    printf("secagg: %u devices, %u patterns of losses, %u sums\n", n, *n_leaves, *n_clear);
    ck_assert_uint_eq(*n_leaves, n_expected);
    ck_assert_uint_gt(*n_clear, 0);
    stn_world_end();
    (void)munmap(counters, 4096);
}

START_TEST(masks_cancel_for_every_pattern_of_losses_of_five)
{
    explore_all(5, 3, false, 7776);
}
END_TEST

/* Nobody is special but by the place in the roster, which the seed draws. */
START_TEST(masks_cancel_for_every_multiset_of_stages)
{
    static const uint32_t n_expected[] = {462, 792, 1287, 2002, 3003, 4368, 6188}; /* of 6 to 12 */
    explore_all((uint32_t)_i, 3, true, n_expected[_i - 6]);
}
END_TEST

static void run_all(void)
{
    for (uint32_t stage = 1; stage <= ALL; stage++) {
        run_stage((enum stn_stage)stage);
    }
    ck_assert_uint_eq(stn_world.n_breaks + stn_world.n_mixed, 0); /* whoever lies: it is not the coordinator */
}

START_TEST(masks_cancel_on_a_graph_that_is_not_complete)
{
    stn_world_begin(100, 50, 77);
    for (uint32_t i = 0; i < 100; i++) {
        fate[i] = i < 8 ? 2 + i % 3 : ALL;
    }
    fate[0] = 1;
    run_all();
    ck_assert(stn_world.is_clear);
    ck_assert_uint_eq(stn_world.n_clear, n_with(3));
    ck_assert(is_sum_right());
    stn_world_end();
}
END_TEST

/* b = 24: the sum of n numbers of +-L, with all masks on and off again, is exact in its low bits.
 */
START_TEST(the_largest_sums_do_not_wrap)
{
    struct stn_encode_config config = {
        .n_values = 100, .n_members = 12, .n_tiers = 1, .bits = 24, .clip = 1};
    ck_assert_int_eq(stn_encode_config_for(&config, NULL), STN_OK);
    int32_t bound = (int32_t)config.bound, most = 12 * bound;
    ck_assert_int_le(most, (1 << 23) - 1);
    ck_assert_int_gt(most + 12, (1 << 23) - 1); /* and no larger L would do */
    stn_world_begin(12, 5, 9);
    for (uint32_t i = 0; i < 12; i++) {
        fate[i] = ALL;
        for (int j = 0; j < STN_WORLD_VALUES; j++) {
            stn_world.devices[i].x[j] = (uint32_t)(j % 2 == 0 ? bound : -bound);
        }
    }
    run_all();
    ck_assert(stn_world.is_clear);
    uint8_t packed[3 * STN_WORLD_VALUES];
    stn_pack_put(packed, stn_world.sum, STN_WORLD_VALUES, 24);
    for (int j = 0; j < STN_WORLD_VALUES; j++) {
        const uint8_t *p = packed + 3 * j;
        int32_t sum =
            (int32_t)((uint32_t)p[0] << 8 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 24) >> 8;
        ck_assert_int_eq(sum, j % 2 == 0 ? most : -most);
    }
    stn_world_end();
}
END_TEST

/* As many as may be the adversary's show keys that fit nothing: the round goes on, and each is named. */
START_TEST(keys_that_fit_nothing_are_passed_over_and_name_who_shows_them)
{
    static const uint32_t sizes[] = {12, 30, 64};
    uint32_t n = sizes[_i], n_liars = n / 10;
    stn_world_begin(n, 5, 3);
    for (uint32_t i = 0; i < n; i++) {
        fate[i] = i == 5 ? 2 : ALL;
        stn_world.devices[i].lies = i % 10 == 1 && i / 10 < n_liars;
    }
    run_all();
    ck_assert(stn_world.is_clear && is_sum_right());
    ck_assert_uint_eq(stn_world.n_named, n_liars);
    stn_world_end();
}
END_TEST

/* A dealer whose shares are not of its secret has signed them: one that is looked at is enough, whoever holds them, with
 * 64 members, who are not all neighbours, as with 12. */
START_TEST(a_dealer_whose_shares_are_not_of_its_secret_is_named_whoever_holds_them)
{
    uint32_t n = _i % 2 == 0 ? 12 : STN_BOUND_COMPLETE;
    for (uint32_t what = 0; what < 4; what += n == 12 ? 1 : 2) {
        stn_world_begin(n, 5, 3);
        for (uint32_t i = 0; i < n; i++) {
            fate[i] = i == 4 && _i / 2 == 1 ? 2 : ALL; /* it may be lost itself */
            stn_world.devices[i].lies = i == 7 && what % 2 == 1;
        }
        struct stn_world_device *dealer = &stn_world.devices[4];
        dealer->deals_false = what / 2 == 0 && _i / 2 == 0;
        dealer->n_crooked = dealer->deals_false ? 0 : UINT32_MAX;
        run_all();
        ck_assert(stn_world.is_void && !stn_world.is_clear);
        ck_assert_int_eq(stn_world.why_void, STN_CORRUPT);
        ck_assert(dealer->is_named);
        stn_world_end();
    }
}
END_TEST

/* However few of the 20 neighbours have them. */
START_TEST(a_few_shares_of_another_secret_are_enough_to_be_named_by)
{
    for (uint32_t n_crooked = 1; n_crooked <= 7; n_crooked += 3) {
        stn_world_begin(STN_BOUND_COMPLETE, 30, 5);
        for (uint32_t i = 0; i < STN_BOUND_COMPLETE; i++) {
            fate[i] = ALL;
        }
        stn_world.devices[4].n_crooked = n_crooked;
        run_all();
        ck_assert(stn_world.is_void && stn_world.devices[4].is_named);
        ck_assert_uint_eq(stn_world.n_named, 1);
        stn_world_end();
    }
}
END_TEST

/* Boxes that no key fits may be the lie of either side: of so many that the round is void, it is the dealer's. */
START_TEST(a_dealer_whose_boxes_no_key_fits_is_named)
{
    uint32_t n = _i == 0 ? 12 : STN_BOUND_COMPLETE, n_locked = _i == 0 ? 5 : 7; /* k - t + 1 */
    stn_world_begin(n, 5, 3);
    for (uint32_t i = 0; i < n; i++) {
        fate[i] = ALL;
    }
    stn_world.devices[4].n_locked = n_locked - 1;
    run_all();
    ck_assert(stn_world.is_clear && is_sum_right());
    stn_world_end();
    stn_world_begin(n, 5, 3);
    for (uint32_t i = 0; i < n; i++) {
        fate[i] = ALL;
    }
    stn_world.devices[4].n_locked = n_locked;
    run_all();
    ck_assert(stn_world.is_void && !stn_world.is_clear);
    ck_assert_int_eq(stn_world.why_void, STN_LIMIT);
    ck_assert(stn_world.devices[4].is_named);
    ck_assert_uint_eq(stn_world.n_named, 1);
    stn_world_end();
}
END_TEST

/* As many liars as may be, of any kinds, and losses: the world holds that none but liars is named (a member in dispute
 * with one liar, as its holder and as its dealer, is so once) and that one side of a dispute lies. A round that is void for what was dealt names somebody; a sum that is in clear is right. */
START_TEST(liars_of_any_kind_do_not_put_the_blame_on_others)
{
    uint32_t n_sums = 0, n_corrupt = 0, n_named = 0, n_disputes = 0;
    for (uint64_t seed = 0; seed < (getenv("STERNA_FULL") != NULL ? 1000 : 24); seed++) {
        struct stn_rng rng;
        stn_rng_init(&rng, seed);
        uint32_t n = 8 + (uint32_t)stn_rng_below(&rng, seed % 20 == 19 ? 70 : 20);
        stn_world_begin(n, 5, seed);
        for (uint32_t i = 0; i < n; i++) {
            fate[i] = stn_rng_below(&rng, 40) == 0 ? (uint32_t)stn_rng_below(&rng, FATES) : ALL;
        }
        for (uint32_t i = 0; i == 0 || i < n_with(1) / 10; i++) { /* of the roster */
            struct stn_world_device *liar = &stn_world.devices[stn_rng_below(&rng, n)];
            uint32_t kind = (uint32_t)stn_rng_below(&rng, 8), some = 1 + (uint32_t)stn_rng_below(&rng, n / 4);
            liar->lies = kind < 4;
            liar->n_locked = kind >= 2 && kind < 7 ? some : 0;
            liar->n_crooked = kind == 6 ? some / 2 : 0;
            liar->deals_false = kind == 7;
        }
        run_all();
        ck_assert(stn_world.is_clear != stn_world.is_void);
        ck_assert(!stn_world.is_clear || is_sum_right());
        ck_assert(!stn_world.is_void || stn_world.why_void != STN_CORRUPT || stn_world.n_named > 0);
        n_sums += stn_world.is_clear;
        n_corrupt += stn_world.is_void && stn_world.why_void == STN_CORRUPT;
        n_named += stn_world.n_named;
        n_disputes += stn_world.n_disputes;
        stn_world_end();
    }
    printf("secagg: %u sums among liars, %u void by what was dealt, %u named, %u disputes\n", n_sums, n_corrupt, n_named,
           n_disputes);
    ck_assert_uint_gt(n_sums, 0);
    ck_assert_uint_gt(n_corrupt, 0);
    ck_assert_uint_gt(n_named, n_corrupt);
}
END_TEST

START_TEST(too_many_false_keys_make_the_round_void)
{
    stn_world_begin(8, 5, 3);
    for (uint32_t i = 0; i < 8; i++) {
        fate[i] = ALL;
        stn_world.devices[i].lies = i < 4;
    }
    run_all();
    ck_assert(stn_world.is_void && !stn_world.is_clear);
    ck_assert_int_eq(stn_world.why_void, STN_LIMIT);
    stn_world_end();
}
END_TEST

/* It ends between two batches of masks, with part of the disputes seen: after it has started again all are. */
START_TEST(a_coordinator_that_crashes_under_the_masks_finds_the_same_liars)
{
    uint32_t n_disputes[2][100], n_named[2];
    for (int crashes = 0; crashes <= 1; crashes++) {
        stn_world_begin(100, 50, 77);
        for (uint32_t i = 0; i < 100; i++) {
            fate[i] = i < 8 ? 2 : ALL; /* 256 masks and more */
            stn_world.devices[i].lies = i % 20 == 11;
            stn_world.devices[i].n_locked = i == 50 ? 4 : 0;
        }
        stn_world.stops_under_masks = crashes == 1;
        run_all();
        uint32_t n_seen = stn_world.n_disputes;
        if (crashes == 1) {
            ck_assert(!stn_world.is_clear);
            stn_world_crash();
            ck_assert_uint_gt(stn_world.n_disputes, n_seen);
        }
        ck_assert(stn_world.is_clear && is_sum_right());
        ck_assert_uint_eq(stn_world.n_breaks + stn_world.n_mixed, 0);
        n_named[crashes] = stn_world.n_named;
        for (uint32_t i = 0; i < 100; i++) {
            n_disputes[crashes][i] = stn_world.devices[i].n_disputes;
        }
        stn_world_end();
    }
    ck_assert_uint_ge(n_named[0], 5);
    ck_assert_uint_eq(n_named[0], n_named[1]);
    ck_assert_mem_eq(n_disputes[0], n_disputes[1], sizeof n_disputes[0]);
}
END_TEST

/* The coordinator crashes before and after every stage: the same survivors, the same sum. */
START_TEST(a_coordinator_that_crashes_at_any_stage_goes_on)
{
    for (uint32_t when = 1; when <= ALL; when++) {
        stn_world_begin(9, 5, 100 + when);
        for (uint32_t i = 0; i < 9; i++) {
            fate[i] = i == 4 ? 2 : i == 5 ? 4 : ALL;
        }
        for (uint32_t stage = 1; stage <= ALL; stage++) {
            if (stage == when) {
                stn_world_crash();
            }
            run_stage((enum stn_stage)stage);
            if (stage == when) {
                stn_world_crash();
            }
        }
        ck_assert(stn_world.is_clear && !stn_world.is_void && is_sum_right());
        ck_assert_uint_eq(stn_world.n_breaks + stn_world.n_mixed, 0);
        stn_world_end();
    }
}
END_TEST

static void forget_record(size_t i)
{
    stn_mem_free(stn_world.records[i].data);
    stn_world.records[i] = stn_world.records[--stn_world.n_records];
    stn_world.records[stn_world.n_records] = (struct stn_world_record){0};
}

START_TEST(survivors_are_never_made_up_after_a_crash)
{
    stn_world_begin(9, 5, 8);
    for (uint32_t i = 0; i < 9; i++) {
        fate[i] = ALL;
    }
    for (uint32_t stage = 1; stage <= STN_STAGE_ACK; stage++) {
        run_stage((enum stn_stage)stage);
    }
    for (size_t i = 0; i < stn_world.n_records; i++) { /* planted: an upload is forgotten */
        if (stn_world.records[i].kind == STN_SECAGG_SERVER_UPLOADED) {
            forget_record(i);
            break;
        }
    }
    stn_world_crash();
    ck_assert(stn_world.is_void);
    ck_assert_int_eq(stn_world.why_void, STN_CORRUPT);
    stn_world_end();
}
END_TEST

/* Planted: after a crash a coordinator knows nothing of the survivors that it has signed, and makes
 * them up from the uploads that it finds. */
static void forget_the_survivors(void)
{
    bool has_forgotten = false;
    for (size_t i = stn_world.n_records; i-- > 0;) {
        struct stn_world_record *record = &stn_world.records[i];
        if (record->kind == STN_SECAGG_SERVER_STAGE) {
            stn_buf_put_u32(record->data, STN_STAGE_UPLOAD);
            memset(record->data + record->size - STN_DIGEST_SIZE, 0, STN_DIGEST_SIZE);
        } else if (record->kind == STN_SECAGG_SERVER_ACKED) {
            forget_record(i);
        } else if (record->kind == STN_SECAGG_SERVER_UPLOADED && !has_forgotten) {
            has_forgotten = true;
            forget_record(i);
        }
    }
}

START_TEST(planted_survivors_that_are_made_up_anew_open_nothing_and_are_evidence)
{
    stn_world_begin(9, 5, 12);
    for (uint32_t i = 0; i < 9; i++) {
        fate[i] = ALL;
    }
    for (uint32_t stage = 1; stage <= STN_STAGE_UPLOAD; stage++) {
        run_stage((enum stn_stage)stage);
    }
    for (uint32_t i = 0; i < 5; i++) { /* these have acknowledged the first */
        ck_assert_int_eq(stn_world_poll(i, STN_STAGE_UPLOAD), STN_OK);
        ck_assert_int_eq(stn_world_deliver(i), STN_OK);
    }
    forget_the_survivors();
    stn_world_crash();
    stn_world_expire(STN_STAGE_UPLOAD);
    ck_assert(!stn_world.is_void);
    for (uint32_t i = 0; i < 9; i++) { /* everybody asks once more, and says what there is to say */
        if (stn_world_poll(i, STN_STAGE_UPLOAD) == STN_OK && !stn_world.devices[i].is_over) {
            (void)stn_world_deliver(i);
        }
        ck_assert(stn_world.devices[i].has_evidence == (i < 5 && stn_world.devices[i].is_over));
    }
    for (uint32_t stage = STN_STAGE_ACK; stage <= ALL; stage++) {
        run_stage((enum stn_stage)stage);
    }
    uint32_t n_evidence = 0;
    for (uint32_t i = 0; i < 9; i++) {
        n_evidence += stn_world.devices[i].has_evidence;
        ck_assert_uint_eq(stn_world.devices[i].n_sent[STN_MSG_UNMASK], 0);
    }
    ck_assert_uint_ge(n_evidence, 4); /* all of the five but one at most, who is no survivor now */
    ck_assert(stn_world.is_void && !stn_world.is_clear);
    ck_assert_uint_eq(stn_world.n_breaks, 0);
    stn_world_end();
}
END_TEST

/* Its neighbours would make nothing of them, and leave. */
START_TEST(keys_of_low_order_come_into_no_roster)
{
    stn_world_begin(6, 5, 4);
    for (uint32_t i = 0; i < 6; i++) {
        fate[i] = ALL;
    }
    for (int what = 0; what < 2; what++) {
        struct stn_world_device *device = &stn_world.devices[5];
        stn_world_enter(5);
        struct stn_advert *advert = &device->sent.advertise.advert;
        memset(what == 0 ? advert->transport : advert->mask, 0, 32);
        stn_roster_advert_sign(advert, &stn_world.terms.cfg, &device->ident, &device->config.certificate);
        ck_assert_int_eq(stn_world_deliver(5), STN_INVALID);
        stn_secagg_client_free(device->client);
        ck_assert_int_eq(stn_secagg_client_new(&device->client, &device->config, NULL), STN_OK);
        memset(&device->record, 0, sizeof device->record);
    }
    run_all();
    ck_assert(stn_world.is_clear && is_sum_right());
    stn_world_end();
}
END_TEST

START_TEST(a_repetition_is_ok_and_another_word_or_a_late_one_is_not)
{
    stn_world_begin(6, 5, 4);
    for (uint32_t i = 0; i < 6; i++) {
        fate[i] = ALL;
    }
    run_stage(STN_STAGE_ADVERTISE);
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    struct stn_msg first = stn_world.devices[0].sent;
    stn_world.devices[0].sent.advertise.advert.nonce[0] ^= 1;
    ck_assert_int_eq(stn_world_deliver(0), STN_EXISTS);
    run_stage(STN_STAGE_SHARE);
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    fate[5] = 2;
    run_stage(STN_STAGE_UPLOAD);
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    ck_assert_int_eq(stn_world_poll(5, STN_STAGE_SHARE), STN_LATE);
    stn_world.devices[0].sent.put_end.digest.bytes[0] ^= 1;
    ck_assert_int_eq(stn_world_deliver(0), STN_EXISTS);
    ck_assert_int_eq(stn_world_poll(5, STN_STAGE_UPLOAD), STN_LATE);
    run_stage(STN_STAGE_ACK);
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    run_stage(STN_STAGE_UNMASK);
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    ck_assert(stn_world.is_clear && is_sum_right());
    stn_world.devices[0].sent = first;
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    stn_world_end();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("secagg");
    TCase *tc = tcase_create("secagg"), *liars = tcase_create("liars");
    tcase_set_timeout(tc, 300);
    tcase_set_timeout(liars, 300);
    tcase_add_test(tc, masks_cancel_for_every_pattern_of_losses_of_five);
    tcase_add_loop_test(tc, masks_cancel_for_every_multiset_of_stages, FIRST_SIZE, LAST_SIZE + 1);
    tcase_add_test(tc, masks_cancel_on_a_graph_that_is_not_complete);
    tcase_add_test(tc, the_largest_sums_do_not_wrap);
    tcase_add_loop_test(liars, keys_that_fit_nothing_are_passed_over_and_name_who_shows_them, 0, 3);
    tcase_add_loop_test(liars, a_dealer_whose_shares_are_not_of_its_secret_is_named_whoever_holds_them, 0, 4);
    tcase_add_test(liars, a_few_shares_of_another_secret_are_enough_to_be_named_by);
    tcase_add_loop_test(liars, a_dealer_whose_boxes_no_key_fits_is_named, 0, 2);
    tcase_add_test(liars, liars_of_any_kind_do_not_put_the_blame_on_others);
    tcase_add_test(liars, too_many_false_keys_make_the_round_void);
    tcase_add_test(liars, a_coordinator_that_crashes_under_the_masks_finds_the_same_liars);
    tcase_add_test(tc, a_coordinator_that_crashes_at_any_stage_goes_on);
    tcase_add_test(tc, survivors_are_never_made_up_after_a_crash);
    tcase_add_test(tc, planted_survivors_that_are_made_up_anew_open_nothing_and_are_evidence);
    tcase_add_test(tc, keys_of_low_order_come_into_no_roster);
    tcase_add_test(tc, a_repetition_is_ok_and_another_word_or_a_late_one_is_not);
    suite_add_tcase(s, tc);
    suite_add_tcase(s, liars);
    return s;
}
