#include "tests/lib/run.h"

#include <string.h>

#include "base/str.h"
#include "channel/signed.h"
#include "client/shell/genuine.h"
#include "crypto/entropy.h"
#include "secagg/roster.h"

static struct stn_ident coordinator, liar;
static struct stn_msg msg;
static struct stn_digest cfg, config;
static struct stn_err err;

static void setup(void)
{
    ck_assert_int_eq(stn_entropy_start(&err), STN_OK);
    stn_ident_new(&coordinator);
    stn_ident_new(&liar);
    memset(&msg, 0, sizeof msg);
    memset(cfg.bytes, 3, sizeof cfg.bytes);
}

static enum stn_code hear(void)
{
    memset(&config, 0xff, sizeof config);
    return stn_genuine_reply(&msg, &cfg, coordinator.pub, &config, &err);
}

static void sign_config(const struct stn_ident *by)
{
    struct stn_digest digest;
    msg.type = STN_MSG_ROUND_CONFIG;
    msg.round_config = (struct stn_msg_round_config){.round = {{1}}, .protocol = 1, .version = 2, .n_values = 10,
                                                     .bits = 24, .n_max = 6, .n_min = 5, .clip_norm = 1, .weight_max = 9,
                                                     .seed = {7}, .join_ms = 1, .upload_ms = 1};
    (void)stn_str_copy(msg.round_config.task, STN_MSG_NAME, "home");
    ck_assert_int_eq(stn_signed_cfg(&msg.round_config, &digest, &err), STN_OK);
    stn_signed_config(&msg.round_config, &digest, by);
}

START_TEST(a_config_has_a_name_only_when_the_pinned_key_signed_it)
{
    struct stn_digest digest;
    sign_config(&coordinator);
    ck_assert_int_eq(stn_signed_cfg(&msg.round_config, &digest, &err), STN_OK);
    ck_assert_int_eq(hear(), STN_OK);
    ck_assert(stn_digest_equal(&config, &digest));
    sign_config(&liar);
    ck_assert_int_eq(hear(), STN_OK);
    ck_assert(stn_digest_is_zero(&config));
}
END_TEST

START_TEST(a_config_that_was_changed_behind_its_signature_has_none)
{
    sign_config(&coordinator);
    msg.round_config.n_min = 1;
    ck_assert_int_eq(hear(), STN_OK);
    ck_assert(stn_digest_is_zero(&config));
    sign_config(&coordinator);
    msg.round_config.clip_norm *= 2;
    ck_assert_int_eq(hear(), STN_OK);
    ck_assert(stn_digest_is_zero(&config));
}
END_TEST

START_TEST(a_roster_is_of_this_round_and_of_this_size)
{
    msg.type = STN_MSG_ROSTER;
    msg.roster.n_members = 6;
    stn_signed_roster(&msg.roster, &cfg, &coordinator);
    ck_assert_int_eq(hear(), STN_OK);
    msg.roster.n_members = 60;
    ck_assert_int_eq(hear(), STN_DENIED);
    msg.roster.n_members = 6;
    cfg.bytes[0]++; /* of another round */
    ck_assert_int_eq(hear(), STN_DENIED);
    stn_signed_roster(&msg.roster, &cfg, &liar);
    ck_assert_int_eq(hear(), STN_DENIED);
}
END_TEST

/* The coordinator's core has signed R already; what its shell signs is the same. */
START_TEST(a_roster_of_mixed_ranks_is_signed_with_its_tier)
{
    struct stn_derive_round round = {.cfg = cfg, .n = 6};
    uint8_t signature[STN_IDENT_SIGNATURE];
    memset(round.root.bytes, 9, sizeof round.root.bytes);
    msg.type = STN_MSG_ROSTER;
    msg.roster.n_members = 6;
    msg.roster.tier = 1;
    memcpy(msg.roster.root, round.root.bytes, sizeof msg.roster.root);
    round.root = stn_roster_fold(&round.root, 1);
    stn_roster_sign(signature, &round, &coordinator);
    memcpy(msg.roster.signature, signature, sizeof signature);
    ck_assert_int_eq(hear(), STN_OK);
    stn_signed_roster(&msg.roster, &cfg, &coordinator);
    ck_assert_mem_eq(msg.roster.signature, signature, sizeof signature);
    msg.roster.tier = 0; /* nobody is told another tier behind the signature */
    ck_assert_int_eq(hear(), STN_DENIED);
    msg.roster.tier = 2;
    ck_assert_int_eq(hear(), STN_DENIED);
}
END_TEST

START_TEST(a_result_names_one_adapter)
{
    msg.type = STN_MSG_RESULT;
    msg.result.adapter.digest.bytes[0] = 1;
    msg.result.n_included = 6;
    stn_signed_result(&msg.result, &cfg, &coordinator);
    ck_assert_int_eq(hear(), STN_OK);
    msg.result.adapter.digest.bytes[0] = 2;
    ck_assert_int_eq(hear(), STN_DENIED);
    msg.result.adapter.digest.bytes[0] = 1;
    msg.result.n_included = 7;
    ck_assert_int_eq(hear(), STN_DENIED);
    msg.result.n_included = 6;
    stn_signed_result(&msg.result, &cfg, &liar);
    ck_assert_int_eq(hear(), STN_DENIED);
}
END_TEST

START_TEST(what_carries_no_signature_is_not_asked_for_one)
{
    msg.type = STN_MSG_WAIT;
    ck_assert_int_eq(hear(), STN_OK);
    ck_assert(stn_digest_is_zero(&config));
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("genuine");
    TCase *c = tcase_create("genuine");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, a_config_has_a_name_only_when_the_pinned_key_signed_it);
    tcase_add_test(c, a_config_that_was_changed_behind_its_signature_has_none);
    tcase_add_test(c, a_roster_is_of_this_round_and_of_this_size);
    tcase_add_test(c, a_roster_of_mixed_ranks_is_signed_with_its_tier);
    tcase_add_test(c, a_result_names_one_adapter);
    tcase_add_test(c, what_carries_no_signature_is_not_asked_for_one);
    suite_add_tcase(s, c);
    return s;
}
