#include "tests/lib/run.h"

#include <string.h>

#include "crypto/box.h"
#include "secagg/share.h"

static const uint8_t transport[32] = {1, 2, 3};
static const struct stn_share_place place = {.dealer = 5, .holder = 9, .slot = 3};
static struct stn_shamir_share shares[2];
static struct stn_sealed sealed;
static uint8_t keys[2][32];

static void seal(void)
{
    for (int of = STN_SHARE_OF_SELF; of <= STN_SHARE_OF_MASK; of++) {
        for (int i = 0; i < STN_SHAMIR_LIMBS; i++) {
            shares[of].limbs[i] = 1000003u * (unsigned)(of + 1) + (unsigned)i;
        }
        stn_share_key(keys[of], transport, (enum stn_share_of)of);
        stn_share_seal(&sealed, (enum stn_share_of)of, keys[of], &place, &shares[of]);
    }
}

START_TEST(each_key_opens_its_own_box_and_nothing_else)
{
    for (int of = STN_SHARE_OF_SELF; of <= STN_SHARE_OF_MASK; of++) {
        for (int key = STN_SHARE_OF_SELF; key <= STN_SHARE_OF_MASK; key++) {
            struct stn_shamir_share back;
            enum stn_code code = stn_share_open(&back, (enum stn_share_of)of, keys[key], &place, &sealed);
            ck_assert_int_eq(code, of == key ? STN_OK : STN_DENIED);
            if (of == key) {
                ck_assert_mem_eq(&back, &shares[of], sizeof back);
            }
        }
    }
}
END_TEST

START_TEST(a_box_is_of_one_dealer_one_holder_and_one_slot)
{
    struct stn_share_place other = place;
    struct stn_shamir_share back;
    uint32_t *part = _i == 0 ? &other.dealer : _i == 1 ? &other.holder : &other.slot;
    *part ^= 1;
    ck_assert_int_eq(stn_share_open(&back, STN_SHARE_OF_SELF, keys[0], &other, &sealed), STN_DENIED);
}
END_TEST

START_TEST(no_bit_of_a_box_or_its_key_can_be_changed)
{
    struct stn_shamir_share back;
    for (size_t bit = 0; bit < 8 * sizeof sealed.boxes[0]; bit++) {
        struct stn_sealed other = sealed;
        other.boxes[1][bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_eq(stn_share_open(&back, STN_SHARE_OF_MASK, keys[1], &place, &other), STN_DENIED);
        ck_assert_int_eq(stn_share_open(&back, STN_SHARE_OF_SELF, keys[0], &place, &other), STN_OK);
    }
    for (size_t bit = 0; bit < 8 * sizeof keys[0]; bit++) {
        uint8_t key[32];
        memcpy(key, keys[1], sizeof key);
        key[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_eq(stn_share_open(&back, STN_SHARE_OF_MASK, key, &place, &sealed), STN_DENIED);
    }
}
END_TEST

START_TEST(what_is_sealed_and_is_no_share_is_its_dealers)
{
    struct stn_shamir_share back;
    uint8_t text[STN_SHAMIR_BYTES], ad[12] = {5, 0, 0, 0, 9, 0, 0, 0, 3};
    memset(text, 0xff, sizeof text);
    stn_box_seal(sealed.boxes[0], keys[0], ad, sizeof ad, text, sizeof text);
    ck_assert_int_eq(stn_share_open(&back, STN_SHARE_OF_SELF, keys[0], &place, &sealed), STN_CORRUPT);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("share");
    TCase *tc = tcase_create("share");
    tcase_add_checked_fixture(tc, seal, NULL);
    tcase_add_test(tc, each_key_opens_its_own_box_and_nothing_else);
    tcase_add_loop_test(tc, a_box_is_of_one_dealer_one_holder_and_one_slot, 0, 3);
    tcase_add_test(tc, no_bit_of_a_box_or_its_key_can_be_changed);
    tcase_add_test(tc, what_is_sealed_and_is_no_share_is_its_dealers);
    suite_add_tcase(s, tc);
    return s;
}
