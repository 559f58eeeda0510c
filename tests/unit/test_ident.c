#include "tests/lib/run.h"

#include <string.h>

#include "base/hex.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "crypto/ident.h"

static void from_hex(uint8_t *dst, size_t size, const char *s)
{
    ck_assert(stn_hex_get(dst, size, s));
}

START_TEST(a_seed_gives_the_public_key_of_rfc_8032)
{
    uint8_t seed[32], pub[32];
    struct stn_ident ident;
    from_hex(seed, 32, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    from_hex(pub, 32, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    stn_ident_from_seed(&ident, seed);
    ck_assert_mem_eq(ident.pub, pub, 32);
    stn_ident_fini(&ident);
    ck_assert(ident.seed[0] == 0 && ident.seed[31] == 0);
    stn_ident_fini(NULL);
}
END_TEST

START_TEST(a_signature_holds_for_its_key_label_and_message_only)
{
    struct stn_ident a, b;
    uint8_t signature[STN_IDENT_SIGNATURE], message[3000] = {7};
    stn_ident_new(&a);
    stn_ident_new(&b);
    ck_assert_mem_ne(a.pub, b.pub, 32);
    stn_ident_sign(signature, &a, "SA1/a", message, sizeof message);
    struct stn_err err = {0};
    ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/a", message, sizeof message, &err), 0);
    ck_assert_int_eq(stn_ident_verify(signature, b.pub, "SA1/a", message, sizeof message, &err),
                     STN_DENIED);
    ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/b", message, sizeof message, &err),
                     STN_DENIED);
    ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/a", message, 2999, &err), STN_DENIED);
    message[1500] ^= 1;
    ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/a", message, sizeof message, &err),
                     STN_DENIED);
    message[1500] ^= 1;
    for (size_t i = 0; i < sizeof signature; i++) {
        signature[i] ^= 0x10;
        ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/a", message, sizeof message, NULL),
                         STN_DENIED);
        signature[i] ^= 0x10;
    }
}
END_TEST

START_TEST(a_label_cannot_run_into_its_message)
{
    struct stn_ident a;
    uint8_t signature[STN_IDENT_SIGNATURE];
    stn_ident_new(&a);
    stn_ident_sign(signature, &a, "SA1/a", "b", 1);
    ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/ab", "", 0, NULL), STN_DENIED);
    ck_assert_int_eq(stn_ident_verify(signature, a.pub, "SA1/a", "b", 1, NULL), STN_OK);
}
END_TEST

START_TEST(a_key_file_is_read_back_and_a_damaged_one_refused)
{
    struct stn_ident a, back = {0}, kept = {.pub = {5}};
    struct stn_err err = {0};
    uint8_t bytes[STN_IDENT_FILE];
    stn_ident_new(&a);
    stn_ident_put(&a, bytes);
    ck_assert_int_eq(stn_ident_get(&back, bytes, sizeof bytes, &err), STN_OK);
    ck_assert_mem_eq(&a, &back, sizeof a);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        ck_assert_int_eq(stn_ident_get(&kept, bytes, sizeof bytes, &err), STN_CORRUPT);
        bytes[i] ^= 1;
    }
    ck_assert_int_eq(stn_ident_get(&kept, bytes, sizeof bytes - 1, &err), STN_CORRUPT);
    ck_assert_int_eq(stn_ident_get(&kept, bytes, 0, &err), STN_CORRUPT);
    ck_assert_int_eq(kept.pub[0], 5);
}
END_TEST

START_TEST(both_halves_map_to_one_curve25519_pair)
{
    struct stn_ident a, b;
    uint8_t secret_a[32], secret_b[32], public_a[32], public_b[32], image[32], ab[32], ba[32];
    stn_ident_new(&a);
    stn_ident_new(&b);
    stn_ident_dh_secret(secret_a, &a);
    stn_ident_dh_secret(secret_b, &b);
    ck_assert_int_eq(stn_ident_dh_public(public_a, a.pub, NULL), STN_OK);
    ck_assert_int_eq(stn_ident_dh_public(public_b, b.pub, NULL), STN_OK);
    stn_dh_public(image, secret_a);
    ck_assert_mem_eq(image, public_a, 32);
    ck_assert_int_eq(stn_dh_shared(ab, secret_a, public_b, NULL), STN_OK);
    ck_assert_int_eq(stn_dh_shared(ba, secret_b, public_a, NULL), STN_OK);
    ck_assert_mem_eq(ab, ba, 32);
}
END_TEST

START_TEST(keys_that_are_no_point_or_of_low_order_are_refused)
{
    struct stn_err err = {0};
    uint8_t image[32], shared[32], secret[32], pub[32], bad[32];
    memset(bad, 0xff, sizeof bad);
    ck_assert_int_eq(stn_ident_dh_public(image, bad, &err), STN_INVALID);
    memset(bad, 0, sizeof bad);
    bad[0] = 1; /* the neutral point */
    ck_assert_int_eq(stn_ident_dh_public(image, bad, &err), STN_INVALID);
    static const char *const low[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    stn_dh_new(secret, pub);
    for (size_t i = 0; i < sizeof low / sizeof *low; i++) {
        from_hex(bad, 32, low[i]);
        ck_assert_int_eq(stn_dh_shared(shared, secret, bad, &err), STN_DENIED);
    }
}
END_TEST

START_TEST(x25519_gives_the_answers_of_rfc_7748)
{
    uint8_t a[32], b[32], b_public[32], want[32], got[32];
    from_hex(a, 32, "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    from_hex(b_public, 32, "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    from_hex(want, 32, "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
    ck_assert_int_eq(stn_dh_shared(got, a, b_public, NULL), STN_OK);
    ck_assert_mem_eq(got, want, 32);
    stn_dh_new(b, b_public);
    stn_dh_public(got, b);
    ck_assert_mem_eq(got, b_public, 32);
}
END_TEST

START_TEST(a_certificate_is_the_directorys_word_for_each_of_its_fields)
{
    struct stn_ident directory, device;
    stn_ident_new(&directory);
    stn_ident_new(&device);
    struct stn_ident_cert cert = {.token = stn_digest_of("token", 5), .issued_at_s = 1700000000},
                          bad;
    memcpy(cert.device, device.pub, sizeof cert.device);
    stn_ident_cert_sign(&cert, &directory);
    ck_assert_int_eq(stn_ident_cert_verify(&cert, directory.pub, NULL), STN_OK);
    ck_assert_int_eq(stn_ident_cert_verify(&cert, device.pub, NULL), STN_DENIED);
    uint8_t bytes[STN_IDENT_CERT];
    stn_ident_cert_put(&cert, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 4;
        stn_ident_cert_get(&bad, bytes);
        ck_assert_int_eq(stn_ident_cert_verify(&bad, directory.pub, NULL), STN_DENIED);
        bytes[i] ^= 4;
    }
    stn_ident_cert_get(&bad, bytes);
    ck_assert_int_eq(stn_ident_cert_verify(&bad, directory.pub, NULL), STN_OK);
}
END_TEST

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
}

Suite *suite(void)
{
    Suite *s = suite_create("ident");
    TCase *t = tcase_create("ident");
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, a_seed_gives_the_public_key_of_rfc_8032);
    tcase_add_test(t, a_signature_holds_for_its_key_label_and_message_only);
    tcase_add_test(t, a_label_cannot_run_into_its_message);
    tcase_add_test(t, a_key_file_is_read_back_and_a_damaged_one_refused);
    tcase_add_test(t, both_halves_map_to_one_curve25519_pair);
    tcase_add_test(t, keys_that_are_no_point_or_of_low_order_are_refused);
    tcase_add_test(t, x25519_gives_the_answers_of_rfc_7748);
    tcase_add_test(t, a_certificate_is_the_directorys_word_for_each_of_its_fields);
    suite_add_tcase(s, t);
    return s;
}
