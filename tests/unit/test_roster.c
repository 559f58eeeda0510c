#include "tests/lib/run.h"

#include <string.h>

#include "base/rng.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "secagg/merkle.h"
#include "secagg/roster.h"

enum { MOST = 70 };

static struct stn_digest leaves[MOST];

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
    for (uint32_t i = 0; i < MOST; i++) {
        leaves[i] = stn_digest_leaf(&i, sizeof i);
    }
}

START_TEST(the_tree_is_that_of_rfc_6962)
{
    for (uint32_t n = 1; n <= MOST; n++) {
        struct stn_merkle tree;
        ck_assert_int_eq(stn_merkle_init(&tree, leaves, n, NULL), STN_OK);
        struct stn_digest root = stn_digest_root(leaves, n);
        ck_assert(stn_digest_equal(stn_merkle_root(&tree), &root));
        stn_merkle_fini(&tree);
        stn_merkle_fini(&tree);
    }
}
END_TEST

/* Some of n, rising, at least one. */
static size_t draw(struct stn_rng *rng, uint32_t n, uint32_t *indices)
{
    size_t n_drawn = 0;
    uint64_t one_in = 1 + stn_rng_below(rng, 4);
    for (uint32_t i = 0; i < n; i++) {
        if (stn_rng_below(rng, one_in) == 0) {
            indices[n_drawn++] = i;
        }
    }
    if (n_drawn == 0) {
        indices[n_drawn++] = n - 1;
    }
    return n_drawn;
}

START_TEST(any_leaves_are_proved_at_their_places_and_no_others)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    for (int trial = 0; trial < 2000; trial++) {
        uint32_t n = 1 + (uint32_t)stn_rng_below(&rng, MOST), indices[MOST];
        size_t n_indices = draw(&rng, n, indices);
        struct stn_merkle tree;
        ck_assert_int_eq(stn_merkle_init(&tree, leaves, n, NULL), STN_OK);
        struct stn_digest proof[MOST * 8 + 1], mine[MOST], root = *stn_merkle_root(&tree);
        size_t n_proof = stn_merkle_prove(&tree, indices, n_indices, proof);
        ck_assert_uint_le(n_proof, stn_merkle_room(n, n_indices));
        for (size_t i = 0; i < n_indices; i++) {
            mine[i] = leaves[indices[i]];
        }
        ck_assert_int_eq(stn_merkle_check(&root, n, indices, mine, n_indices, proof, n_proof, NULL),
                         0);
        if (n_proof > 0) {
            ck_assert_int_eq(
                stn_merkle_check(&root, n, indices, mine, n_indices, proof, n_proof - 1, NULL),
                STN_DENIED);
            proof[trial % (int)n_proof].bytes[trial % 32] ^= 4;
            ck_assert_int_eq(
                stn_merkle_check(&root, n, indices, mine, n_indices, proof, n_proof, NULL),
                STN_DENIED);
            proof[trial % (int)n_proof].bytes[trial % 32] ^= 4;
        }
        proof[n_proof] = root;
        ck_assert_int_eq(
            stn_merkle_check(&root, n, indices, mine, n_indices, proof, n_proof + 1, NULL),
            STN_DENIED);
        mine[0] = leaves[(indices[0] + 1) % MOST];
        ck_assert_int_eq(stn_merkle_check(&root, n, indices, mine, n_indices, proof, n_proof, NULL),
                         STN_DENIED);
        stn_merkle_fini(&tree);
    }
}
END_TEST

START_TEST(a_proof_is_bound_to_its_index)
{
    struct stn_merkle tree;
    ck_assert_int_eq(stn_merkle_init(&tree, leaves, 13, NULL), STN_OK);
    struct stn_digest proof[8], root = *stn_merkle_root(&tree);
    for (uint32_t i = 0; i < 13; i++) {
        size_t n_proof = stn_merkle_prove(&tree, &i, 1, proof);
        for (uint32_t other = 0; other < 13; other++) {
            ck_assert(stn_merkle_check(&root, 13, &other, &leaves[i], 1, proof, n_proof, NULL) ==
                      (other == i ? STN_OK : STN_DENIED));
        }
        uint32_t past = 13, twice[2] = {i, i};
        ck_assert_int_eq(stn_merkle_check(&root, 13, &past, &leaves[i], 1, proof, n_proof, NULL),
                         STN_INVALID);
        ck_assert_int_eq(stn_merkle_check(&root, 13, twice, leaves, 2, proof, n_proof, NULL),
                         STN_INVALID);
        ck_assert_int_eq(stn_merkle_check(&root, 13, &i, leaves, 0, proof, n_proof, NULL),
                         STN_INVALID);
    }
    stn_merkle_fini(&tree);
}
END_TEST

START_TEST(an_advert_is_the_devices_and_its_enrolment_the_directorys)
{
    struct stn_ident directory, foreign, device;
    stn_ident_new(&directory);
    stn_ident_new(&foreign);
    stn_ident_new(&device);
    struct stn_ident_cert cert = {.issued_at_s = 1234567};
    memcpy(cert.device, device.pub, 32);
    stn_ident_cert_sign(&cert, &directory);
    struct stn_digest cfg = stn_digest_of("cfg", 3), other_cfg = stn_digest_of("cfg2", 4);
    struct stn_advert advert = {.transport = {1}, .mask = {2}, .nonce = {3}, .version = {4}};
    stn_roster_advert_sign(&advert, &cfg, &device, &cert);
    static struct stn_roster_known all;
    struct stn_roster_known *known = NULL;
    for (int pass = 0; pass < 3; pass++) { /* nothing kept; its certificate is new; it is known */
        ck_assert_int_eq(stn_roster_advert_verify(&advert, &cfg, directory.pub, known, NULL), STN_OK);
        ck_assert_int_eq(stn_roster_advert_verify(&advert, &other_cfg, directory.pub, known, NULL), STN_DENIED);
        ck_assert_int_eq(stn_roster_advert_verify(&advert, &cfg, foreign.pub, known, NULL), STN_DENIED);
        for (size_t byte = 0; byte < sizeof advert; byte++) {
            struct stn_advert bad = advert;
            ((uint8_t *)&bad)[byte] ^= 1;
            ck_assert_int_eq(stn_roster_advert_verify(&bad, &cfg, directory.pub, known, NULL), STN_DENIED);
        }
        known = &all;
    }
    size_t n_known = 0;
    for (size_t i = 0; i < sizeof all.certificates / sizeof *all.certificates; i++) {
        n_known += !stn_digest_equal(&all.certificates[i], &(struct stn_digest){{0}});
    }
    ck_assert_uint_eq(n_known, 1); /* none of the bad ones */
}
END_TEST

START_TEST(a_statement_holds_for_its_round_and_voice_only)
{
    struct stn_ident by;
    stn_ident_new(&by);
    struct stn_derive_round round = {.cfg = {{1}}, .root = {{2}}, .n = 9}, other = round;
    struct stn_roster_survivors survivors = {.root = {{3}}, .n = 8}, fewer = survivors;
    uint8_t signature[64];
    other.root.bytes[0] = 9;
    fewer.n = 7;
    stn_roster_sign(signature, &round, &by);
    ck_assert_int_eq(stn_roster_verify(signature, &round, by.pub, NULL), STN_OK);
    ck_assert_int_eq(stn_roster_verify(signature, &other, by.pub, NULL), STN_DENIED);
    other = round;
    other.n = 8;
    ck_assert_int_eq(stn_roster_verify(signature, &other, by.pub, NULL), STN_DENIED);
    stn_roster_survivors_sign(signature, STN_ROSTER_ACK, &round, &survivors, &by);
    ck_assert_int_eq(
        stn_roster_survivors_verify(signature, STN_ROSTER_ACK, &round, &survivors, by.pub, NULL),
        0);
    ck_assert_int_eq(stn_roster_survivors_verify(signature, STN_ROSTER_SURVIVORS, &round,
                                                 &survivors, by.pub, NULL),
                     STN_DENIED);
    ck_assert_int_eq(
        stn_roster_survivors_verify(signature, STN_ROSTER_ACK, &round, &fewer, by.pub, NULL),
        STN_DENIED);
}
END_TEST

START_TEST(survivor_leaves_differ_by_place_fate_and_upload)
{
    struct stn_digest y = {{1}}, zero = {{0}};
    struct stn_digest all[] = {stn_roster_survivor_leaf(0, &y), stn_roster_survivor_leaf(1, &y),
                               stn_roster_survivor_leaf(0, NULL),
                               stn_roster_survivor_leaf(0, &zero)};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < i; j++) {
            ck_assert(!stn_digest_equal(&all[i], &all[j]));
        }
    }
}
END_TEST

START_TEST(a_pair_finds_one_seed_and_each_direction_its_own_key)
{
    uint8_t secret[2][32], pub[2][32], seed[2][32], key[2][32], in[2][32], back[32], raw[32];
    uint8_t ids[2][32] = {{1}, {2}}, zero[32] = {0};
    struct stn_derive_round round = {.cfg = {{5}}, .root = {{6}}, .n = 7}, other = round;
    for (int i = 0; i < 2; i++) {
        stn_entropy_fill(raw, 32);
        stn_derive_mask_secret(secret[i], raw, &round.cfg);
        ck_assert_uint_eq(secret[i][0] & 7, 0);
        ck_assert_uint_eq(secret[i][31] & 0xc0, 0x40);
        stn_dh_public(pub[i], secret[i]);
    }
    struct stn_derive_party parties[2] = {{3, pub[0]}, {1, pub[1]}};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(
            stn_derive_pair(seed[i], &round, secret[i], &parties[i], &parties[1 - i], NULL),
            STN_OK);
        ck_assert_int_eq(
            stn_derive_transport(key[i], in[i], &round, secret[i], pub[1 - i], ids[i], ids[1 - i], NULL),
            STN_OK);
    }
    ck_assert_mem_eq(seed[0], seed[1], 32);
    ck_assert_mem_ne(key[0], key[1], 32);
    ck_assert_mem_eq(in[1], key[0], 32);
    ck_assert_mem_eq(in[0], key[1], 32);
    other.root.bytes[5] = 1;
    ck_assert_int_eq(stn_derive_pair(back, &other, secret[0], &parties[0], &parties[1], NULL),
                     STN_OK);
    ck_assert_mem_ne(back, seed[0], 32);
    other = round;
    other.cfg.bytes[5] = 1;
    ck_assert_int_eq(stn_derive_pair(back, &other, secret[0], &parties[0], &parties[1], NULL),
                     STN_OK);
    ck_assert_mem_ne(back, seed[0], 32);
    parties[1].mask_key = zero;
    ck_assert_int_eq(stn_derive_pair(back, &round, secret[0], &parties[0], &parties[1], NULL),
                     STN_DENIED);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("roster");
    TCase *tc = tcase_create("roster");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, the_tree_is_that_of_rfc_6962);
    tcase_add_test(tc, any_leaves_are_proved_at_their_places_and_no_others);
    tcase_add_test(tc, a_proof_is_bound_to_its_index);
    tcase_add_test(tc, an_advert_is_the_devices_and_its_enrolment_the_directorys);
    tcase_add_test(tc, a_statement_holds_for_its_round_and_voice_only);
    tcase_add_test(tc, survivor_leaves_differ_by_place_fate_and_upload);
    tcase_add_test(tc, a_pair_finds_one_seed_and_each_direction_its_own_key);
    suite_add_tcase(s, tc);
    return s;
}
