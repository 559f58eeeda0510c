#include "tests/lib/run.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "crypto/digest.h"
#include "crypto/digest_wide.h"
#include "crypto/entropy.h"

static void expect(struct stn_digest digest, const char *text)
{
    char got[STN_DIGEST_TEXT];
    stn_digest_put_text(&digest, got);
    ck_assert_str_eq(got, text);
}

/* The bytes of the known blobs: the same formula made the expected names elsewhere. */
static uint8_t *blob_of(size_t size)
{
    uint8_t *p = stn_mem_new(size, 1);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < size; i++) {
        p[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + (i >> 16));
    }
    return p;
}

START_TEST(the_hash_is_blake2b_with_32_bytes)
{
    expect(stn_digest_of(NULL, 0),
           "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    expect(stn_digest_of("abc", 3),
           "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}
END_TEST

START_TEST(pieces_hash_as_the_whole_does)
{
    uint8_t bytes[1000];
    struct stn_rng rng;
    stn_rng_init(&rng, 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)stn_rng_u64(&rng);
    }
    struct stn_digest whole = stn_digest_of(bytes, sizeof bytes);
    for (int run = 0; run < 50; run++) {
        struct stn_digest_state state;
        stn_digest_init(&state);
        for (size_t at = 0; at < sizeof bytes;) {
            size_t n = (size_t)stn_rng_below(&rng, sizeof bytes - at + 1);
            stn_digest_add(&state, bytes + at, n);
            at += n;
        }
        struct stn_digest pieces = stn_digest_end(&state);
        ck_assert(stn_digest_equal(&whole, &pieces));
    }
}
END_TEST

START_TEST(a_name_as_text_is_read_back_and_nothing_else_is)
{
    struct stn_digest digest = stn_digest_of("x", 1), back = {0}, kept = {{1}};
    char text[STN_DIGEST_TEXT];
    stn_digest_put_text(&digest, text);
    ck_assert(stn_digest_get_text(&back, text));
    ck_assert(stn_digest_equal(&digest, &back) && stn_digest_compare(&digest, &back) == 0);
    text[7] = 'g';
    ck_assert(!stn_digest_get_text(&kept, text) && kept.bytes[0] == 1);
    ck_assert(!stn_digest_get_text(&kept, "00ff") && !stn_digest_get_text(&kept, ""));
    ck_assert(!stn_digest_is_zero(&digest) && stn_digest_is_zero(&(struct stn_digest){0}));
}
END_TEST

START_TEST(a_derived_key_depends_on_key_label_and_context)
{
    uint8_t k[32], key[32], other[32];
    for (size_t i = 0; i < sizeof k; i++) {
        k[i] = (uint8_t)i;
    }
    stn_digest_kdf(key, k, "SA1/mask", "context", 7);
    struct stn_digest known;
    memcpy(known.bytes, key, sizeof key);
    expect(known, "ed687e9901cb3f93e33c7264e0c92b214ba8c2382fa03b0edf5bb66df78c3642");
    stn_digest_kdf(other, k, "SA1/skM", "context", 7);
    ck_assert_mem_ne(key, other, 32);
    stn_digest_kdf(other, k, "SA1/mask", "contexu", 7);
    ck_assert_mem_ne(key, other, 32);
    k[31] ^= 1;
    stn_digest_kdf(other, k, "SA1/mask", "context", 7);
    ck_assert_mem_ne(key, other, 32);
}
END_TEST

static const struct {
    size_t size;
    const char *name;
} blobs[] = {
    {0, "2ed6a20ae5c0c063eafeaccf9f7cac2a9ef20ee3056dcac774042b1c1365b4ca"},
    {1, "df1257d9b71ef6261213b4bc0018cab2d1c67b79bd639c9bc4c2c7919aba14ba"},
    {262143, "f5b0bf38d0c57dcb7b276a2f2c22ddf2b209a4f072f7099562775886c4dc82a4"},
    {262144, "116f860d1cf7dbaadcf579c747cce09dd7630bf347c4a9cce4bae2789ded9950"},
    {262145, "6513edb3c0624162941d4f98181c41b39f604e7c7c8594503f5192aa5f3276ea"},
    {524288, "9a8772d525e8c7955edaafb5e22dfe119fb311d22cf3f4253e12ea69aeb562fe"},
    {786432, "0e20c343456a0fca740b385dd8d17319d48846dcedd29ce441ffab043b93c4a4"},
    {1310797, "7f7dfe6f286bf43baa0699b38c8a8c84fef3068e3a1ec3c39f5b710cd8b4e3ae"},
    {1835008, "f9cc61389a2bd517aec4ad7109bfef0dd5255a3bbd969039a437c3b79103d8d3"},
};

START_TEST(a_blob_has_one_name_however_its_bytes_come)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 2);
    for (size_t k = 0; k < sizeof blobs / sizeof *blobs; k++) {
        size_t size = blobs[k].size;
        uint8_t *p = blob_of(size);
        expect(stn_digest_blob(p, size), blobs[k].name);
        struct stn_digest_tree tree;
        struct stn_digest leaves[8];
        stn_digest_tree_init(&tree, leaves, 8);
        for (size_t at = 0; at < size;) {
            size_t n = (size_t)stn_rng_below(&rng, 400000);
            n = n < size - at ? n : size - at;
            stn_digest_tree_add(&tree, p + at, n);
            at += n;
        }
        struct stn_digest name = stn_digest_tree_end(&tree);
        expect(name, blobs[k].name);
        ck_assert_uint_eq(tree.n_leaves, stn_digest_n_chunks(size));
        ck_assert(stn_digest_tree_check(leaves, (size_t)tree.n_leaves, size, &name));
        stn_mem_free(p);
    }
}
END_TEST

START_TEST(each_chunk_is_checked_alone_once_the_leaves_are)
{
    size_t size = 5 * STN_DIGEST_CHUNK + 77;
    uint8_t *p = blob_of(size);
    struct stn_digest leaves[6];
    struct stn_digest_tree tree;
    stn_digest_tree_init(&tree, leaves, 6);
    stn_digest_tree_add(&tree, p, size);
    struct stn_digest name = stn_digest_tree_end(&tree);
    ck_assert(stn_digest_tree_check(leaves, 6, size, &name));
    for (uint64_t i = 0; i < 6; i++) {
        size_t n = stn_digest_chunk_size(size, i);
        ck_assert_uint_eq(n, i < 5 ? STN_DIGEST_CHUNK : 77);
        struct stn_digest leaf = stn_digest_leaf(p + i * STN_DIGEST_CHUNK, n);
        ck_assert(stn_digest_equal(&leaf, &leaves[i]));
        p[i * STN_DIGEST_CHUNK + n - 1] ^= 1;
        leaf = stn_digest_leaf(p + i * STN_DIGEST_CHUNK, n);
        ck_assert(!stn_digest_equal(&leaf, &leaves[i]));
    }
    ck_assert_uint_eq(stn_digest_chunk_size(size, 6), 0);
    ck_assert_uint_eq(stn_digest_chunk_size(size, UINT64_MAX), 0);
    stn_mem_free(p);
}
END_TEST

START_TEST(chunks_hashed_side_by_side_have_the_same_hashes)
{
    static const size_t limits[] = {0, 4, STN_DIGEST_WIDE_LANES};
    size_t size = 19 * STN_DIGEST_CHUNK + 1000;
    uint8_t *p = blob_of(size);
    struct stn_digest leaves[21], alone[20];
    for (uint64_t i = 0; i < 20; i++) {
        alone[i] = stn_digest_leaf(p + i * STN_DIGEST_CHUNK, stn_digest_chunk_size(size, i));
    }
    stn_digest_wide_limit(limits[_i]);
    for (size_t n = 0; n <= 20; n++) { /* every number of lanes in use; from an odd address, too */
        struct stn_digest_tree tree;
        uint8_t *odd = blob_of(n * STN_DIGEST_CHUNK + 1);
        memcpy(odd + 1, p, n < 20 ? n * STN_DIGEST_CHUNK : size);
        stn_digest_tree_init(&tree, leaves, 21);
        stn_digest_tree_add(&tree, odd + 1, n < 20 ? n * STN_DIGEST_CHUNK : size);
        (void)stn_digest_tree_end(&tree);
        ck_assert_uint_eq(tree.n_leaves, n);
        ck_assert_mem_eq(leaves, alone, n * sizeof *leaves);
        stn_mem_free(odd);
    }
    size_t n = stn_digest_wide_leaves(leaves, p, 19);
    ck_assert_uint_le(n, limits[_i]);
    ck_assert_mem_eq(leaves, alone, n * sizeof *leaves);
    stn_mem_free(p);
}
END_TEST

START_TEST(leaves_of_another_number_order_or_size_are_refused)
{
    struct stn_digest leaves[5];
    for (uint8_t i = 0; i < 5; i++) {
        leaves[i] = stn_digest_leaf(&i, 1);
    }
    uint64_t size = 5 * (uint64_t)STN_DIGEST_CHUNK - 3;
    struct stn_digest name = stn_digest_tree_name(leaves, 5, size);
    ck_assert(stn_digest_tree_check(leaves, 5, size, &name));
    ck_assert(!stn_digest_tree_check(leaves, 4, size, &name));
    ck_assert(!stn_digest_tree_check(leaves, 5, size - 1, &name));
    ck_assert(!stn_digest_tree_check(leaves, 5, UINT64_MAX, &name));
    struct stn_digest swap = leaves[0];
    leaves[0] = leaves[1];
    leaves[1] = swap;
    ck_assert(!stn_digest_tree_check(leaves, 5, size, &name));
    /* an inner node in place of its two leaves changes the number, and the size is bound */
    struct stn_digest node = stn_digest_node(&leaves[0], &leaves[1]);
    struct stn_digest fewer[] = {node, leaves[2], leaves[3], leaves[4]};
    ck_assert(!stn_digest_tree_check(fewer, 4, size - STN_DIGEST_CHUNK, &name));
}
END_TEST

START_TEST(more_leaves_than_room_are_counted_and_not_written)
{
    uint8_t *p = blob_of(3 * STN_DIGEST_CHUNK);
    struct stn_digest leaves[3] = {0};
    struct stn_digest_tree tree;
    stn_digest_tree_init(&tree, leaves, 2);
    stn_digest_tree_add(&tree, p, 3 * STN_DIGEST_CHUNK);
    expect(stn_digest_tree_end(&tree), blobs[6].name);
    ck_assert_uint_eq(tree.n_leaves, 3);
    ck_assert(!stn_digest_is_zero(&leaves[1]) && stn_digest_is_zero(&leaves[2]));
    stn_mem_free(p);
}
END_TEST

/* RFC 6962, 2.1, written down as it is defined. */
static struct stn_digest root_by_definition(const struct stn_digest *leaves, size_t n)
{
    if (n == 0) {
        return stn_digest_of(NULL, 0);
    }
    if (n == 1) {
        return leaves[0];
    }
    size_t k = 1;
    while (2 * k < n) {
        k *= 2;
    }
    struct stn_digest left = root_by_definition(leaves, k);
    struct stn_digest right = root_by_definition(leaves + k, n - k);
    return stn_digest_node(&left, &right);
}

START_TEST(the_root_is_that_of_rfc_6962_for_every_number_of_leaves)
{
    struct stn_digest leaves[130];
    for (uint8_t i = 0; i < 130; i++) {
        leaves[i] = stn_digest_leaf(&i, 1);
    }
    for (size_t n = 0; n <= 130; n++) {
        struct stn_digest a = stn_digest_root(leaves, n), b = root_by_definition(leaves, n);
        ck_assert(stn_digest_equal(&a, &b));
    }
}
END_TEST

static void start(void)
{
    ck_assert_int_eq(stn_entropy_start(NULL), STN_OK);
}

Suite *suite(void)
{
    Suite *s = suite_create("digest");
    TCase *t = tcase_create("digest");
    tcase_add_checked_fixture(t, start, NULL);
    tcase_add_test(t, the_hash_is_blake2b_with_32_bytes);
    tcase_add_test(t, pieces_hash_as_the_whole_does);
    tcase_add_test(t, a_name_as_text_is_read_back_and_nothing_else_is);
    tcase_add_test(t, a_derived_key_depends_on_key_label_and_context);
    tcase_add_test(t, a_blob_has_one_name_however_its_bytes_come);
    tcase_add_test(t, each_chunk_is_checked_alone_once_the_leaves_are);
    tcase_add_loop_test(t, chunks_hashed_side_by_side_have_the_same_hashes, 0, 3);
    tcase_add_test(t, leaves_of_another_number_order_or_size_are_refused);
    tcase_add_test(t, more_leaves_than_room_are_counted_and_not_written);
    tcase_add_test(t, the_root_is_that_of_rfc_6962_for_every_number_of_leaves);
    suite_add_tcase(s, t);
    return s;
}
