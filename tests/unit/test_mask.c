#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rng.h"
#include "crypto/box.h"
#include "crypto/digest.h"
#include "crypto/entropy.h"
#include "crypto/mask.h"

enum { WORDS = 4096 };

static struct stn_mask known(void)
{
    struct stn_mask mask = {.nonce = {0, 0, 0, 9, 0, 0, 0, 0x4a}};
    for (int i = 0; i < 32; i++) {
        mask.seed[i] = (uint8_t)i;
    }
    return mask;
}

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
}

START_TEST(every_variant_gives_the_known_words)
{
    struct stn_mask mask = known();
    static uint32_t v[WORDS];
    static uint8_t bytes[4 * WORDS];
    const char *name;
    size_t n_variants = 0;
    for (; (name = stn_mask_variant(n_variants)) != NULL; n_variants++) {
        ck_assert(stn_mask_choose(name));
        ck_assert_str_eq(stn_mask_chosen(), name);
        memset(v, 0, sizeof v);
        stn_mask_apply(v, WORDS, 0, &mask, 1);
        ck_assert_uint_eq(v[0], 0xfd91dc8a);
        ck_assert_uint_eq(v[1], 0xe4e7f110);
        ck_assert_uint_eq(v[2], 0x7783880a);
        ck_assert_uint_eq(v[3], 0xcbbdbfdc);
        ck_assert_uint_eq(v[16], 0xf5f0f49f);
        ck_assert_uint_eq(v[255], 0x4bc55a8a);
        ck_assert_uint_eq(v[256], 0x5cd476be);
        for (size_t i = 0; i < WORDS; i++) {
            stn_buf_put_u32(bytes + 4 * i, v[i]);
        }
        struct stn_digest digest = stn_digest_of(bytes, sizeof bytes), expected;
        ck_assert(stn_digest_get_text(
            &expected, "9b8b384861ea53ab85e2df84311a5d1e6243a49e70b092b7156254009da1747b"));
        ck_assert(stn_digest_equal(&digest, &expected));
    }
    ck_assert_uint_ge(n_variants, 1);
    ck_assert(!stn_mask_choose("another"));
}
END_TEST

/* The whole stream of one mask by the plainest variant. */
static void reference(uint32_t *v, size_t n, const struct stn_mask *mask)
{
    const char *chosen = stn_mask_chosen();
    ck_assert(stn_mask_choose("portable"));
    stn_mask_apply(v, n, 0, mask, 1);
    ck_assert(stn_mask_choose(chosen));
}

START_TEST(any_run_of_any_length_is_that_part_of_the_whole)
{
    enum { MOST = 3 * STN_MASK_TILE };
    static uint32_t whole[MOST], v[MOST + 1];
    struct stn_rng rng;
    stn_rng_init(&rng, 5);
    struct stn_mask mask = known();
    mask.nonce[3] = mask.nonce[7] = 0;
    reference(whole, MOST, &mask);
    const char *name;
    for (size_t variant = 0; (name = stn_mask_variant(variant)) != NULL; variant++) {
        ck_assert(stn_mask_choose(name));
        for (int trial = 0; trial < 300; trial++) {
            uint64_t first = stn_rng_below(&rng, MOST / STN_MASK_SUPERBLOCK);
            size_t at = first * STN_MASK_SUPERBLOCK, n = stn_rng_below(&rng, MOST - at + 1);
            mask.is_minus = stn_rng_below(&rng, 2) == 0;
            for (size_t i = 0; i <= n; i++) {
                v[i] = (uint32_t)(7 * i);
            }
            stn_mask_apply(v, n, first, &mask, 1);
            for (size_t i = 0; i < n; i++) {
                uint32_t word = whole[at + i];
                ck_assert_uint_eq(v[i], (uint32_t)(7 * i) + (mask.is_minus ? 0 - word : word));
            }
            ck_assert_uint_eq(v[n], (uint32_t)(7 * n));
        }
    }
}
END_TEST

START_TEST(a_thousand_masks_come_off_again)
{
    enum { N_MASKS = 1000, N = 5000 };
    static struct stn_mask masks[N_MASKS];
    static uint32_t v[N];
    for (int i = 0; i < N_MASKS; i++) {
        stn_entropy_fill(masks[i].seed, sizeof masks[i].seed);
        masks[i].is_minus = i % 3 == 0;
    }
    for (uint32_t i = 0; i < N; i++) {
        v[i] = i;
    }
    stn_mask_apply(v, N, 0, masks, N_MASKS);
    size_t n_same = 0;
    for (uint32_t i = 0; i < N; i++) {
        n_same += v[i] == i;
    }
    ck_assert_uint_le(n_same, 2); /* each by a chance of 2^-32 */
    for (int i = 0; i < N_MASKS; i++) {
        masks[i].is_minus = !masks[i].is_minus;
    }
    stn_mask_apply(v + STN_MASK_TILE, N - STN_MASK_TILE, STN_MASK_TILE / STN_MASK_SUPERBLOCK, masks,
                   N_MASKS); /* the second tile alone, before the first */
    stn_mask_apply(v, STN_MASK_TILE, 0, masks, N_MASKS);
    for (uint32_t i = 0; i < N; i++) {
        ck_assert_uint_eq(v[i], i);
    }
}
END_TEST

START_TEST(the_last_superblocks_of_a_stream_are_there)
{
    uint32_t v[2][STN_MASK_SUPERBLOCK] = {{0}}, plain[2][STN_MASK_SUPERBLOCK] = {{0}};
    uint64_t first = STN_MASK_ELEMENTS / STN_MASK_SUPERBLOCK - 2;
    struct stn_mask mask = known();
    ck_assert(stn_mask_choose("portable"));
    stn_mask_apply(plain[0], 512, first, &mask, 1);
    const char *name;
    for (size_t variant = 1; (name = stn_mask_variant(variant)) != NULL; variant++) {
        ck_assert(stn_mask_choose(name));
        memset(v, 0, sizeof v);
        stn_mask_apply(v[0], 512, first, &mask, 1);
        ck_assert_mem_eq(v, plain, sizeof v);
    }
}
END_TEST

/* What a variant does in a second is printed, and bounds nothing: a machine that tests is busy. */
START_TEST(the_rate_of_each_variant_is_said)
{
    enum { N = 1 << 16, N_MASKS = 16 };
    uint32_t *v = stn_mem_aligned(N, sizeof *v);
    static struct stn_mask masks[N_MASKS];
    const char *name;
    for (size_t variant = 0; (name = stn_mask_variant(variant)) != NULL; variant++) {
        ck_assert(stn_mask_choose(name));
        struct timespec begin, end;
        double best = 0;
        for (int trial = 0; trial < 5; trial++) {
            clock_gettime(CLOCK_MONOTONIC, &begin);
            stn_mask_apply(v, N, 0, masks, N_MASKS);
            clock_gettime(CLOCK_MONOTONIC, &end);
            double s =
                (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
            double rate = 4.0 * N * N_MASKS / s;
            best = rate > best ? rate : best;
        }
        printf("mask %s: %.2f GB/s\n", name, best * 1e-9);
        ck_assert(best > 0);
    }
    stn_mem_free(v);
}
END_TEST

START_TEST(a_box_opens_under_its_key_and_associated_data_only)
{
    uint8_t key[STN_BOX_KEY] = {1}, text[40] = "between two devices", sealed[40 + STN_BOX_TAG],
            back[40];
    stn_box_seal(sealed, key, "uv", 2, text, sizeof text);
    ck_assert_int_eq(stn_box_open(back, key, "uv", 2, sealed, sizeof sealed, NULL), STN_OK);
    ck_assert_mem_eq(back, text, sizeof text);
    ck_assert_int_eq(stn_box_open(back, key, "vu", 2, sealed, sizeof sealed, NULL), STN_CORRUPT);
    ck_assert_int_eq(stn_box_open(back, key, "uv", 2, sealed, sizeof sealed - 1, NULL),
                     STN_CORRUPT);
    ck_assert_int_eq(stn_box_open(back, key, "uv", 2, sealed, STN_BOX_TAG - 1, NULL), STN_CORRUPT);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_eq(stn_box_open(back, key, "uv", 2, sealed, sizeof sealed, NULL),
                         STN_CORRUPT);
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    key[31] = 1;
    ck_assert_int_eq(stn_box_open(back, key, "uv", 2, sealed, sizeof sealed, NULL), STN_CORRUPT);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("mask");
    TCase *tc = tcase_create("mask");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, every_variant_gives_the_known_words);
    tcase_add_test(tc, any_run_of_any_length_is_that_part_of_the_whole);
    tcase_add_test(tc, a_thousand_masks_come_off_again);
    tcase_add_test(tc, the_last_superblocks_of_a_stream_are_there);
    tcase_add_test(tc, the_rate_of_each_variant_is_said);
    tcase_add_test(tc, a_box_opens_under_its_key_and_associated_data_only);
    suite_add_tcase(s, tc);
    return s;
}
