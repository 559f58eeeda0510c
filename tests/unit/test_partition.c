#include "tests/lib/run.h"

#include <stdio.h>
#include <string.h>

#include "client/simulate/partition.h"

enum { N = 200 };

static struct stn_dataset *dataset;
static size_t owner[N], counts[N];
static struct stn_err err;

/* N examples in five classes, without a model: tokens as they are. */
static void setup(void)
{
    const struct stn_dataset_config config = {.context = 16};
    ck_assert_int_eq(stn_dataset_new(&dataset, &config, &err), STN_OK);
    for (int32_t i = 0; i < N; i++) {
        const int32_t tokens[] = {1, i + 2, 3};
        const uint8_t marks[] = {0, STN_DATASET_TARGET, STN_DATASET_TARGET};
        ck_assert_int_eq(stn_dataset_add_tokens(dataset, tokens, marks, 3, &err), STN_OK);
    }
}

static void teardown(void)
{
    stn_dataset_free(dataset);
}

/* Splits, and counts each client's examples. */
static enum stn_code split(const char *how, size_t *n_clients, uint64_t seed)
{
    struct stn_partition partition;
    ck_assert_int_eq(stn_partition_parse(&partition, how, &err), STN_OK);
    enum stn_code code = stn_partition_make(&partition, dataset, seed, n_clients, owner, &err);
    memset(counts, 0, sizeof counts);
    for (size_t i = 0; code == STN_OK && i < N; i++) {
        ck_assert_uint_lt(owner[i], *n_clients);
        counts[owner[i]]++;
    }
    return code;
}

START_TEST(iid_deals_out_evenly_and_by_seed)
{
    size_t n = 7, first[N];
    ck_assert_int_eq(split("iid", &n, 1), STN_OK);
    for (size_t k = 0; k < n; k++) {
        ck_assert_uint_ge(counts[k], N / 7);
        ck_assert_uint_le(counts[k], N / 7 + 1);
    }
    memcpy(first, owner, sizeof owner);
    ck_assert_int_eq(split("iid", &n, 1), STN_OK);
    ck_assert_mem_eq(first, owner, sizeof owner);
    ck_assert_int_eq(split("iid", &n, 2), STN_OK);
    ck_assert_mem_ne(first, owner, sizeof owner);
}
END_TEST

START_TEST(a_field_that_examples_lack_is_an_error_with_its_line)
{
    size_t n = 4;
    ck_assert_int_eq(split("by:home", &n, 1), STN_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "no field home"));
    ck_assert_int_eq(split("dirichlet:0.5", &n, 1), STN_INVALID);
}
END_TEST

START_TEST(too_few_examples_are_refused)
{
    size_t n = N + 1;
    ck_assert_int_eq(split("iid", &n, 1), STN_INVALID);
    ck_assert_ptr_nonnull(strstr(err.text, "too few"));
}
END_TEST

START_TEST(words_that_are_no_partition_are_refused)
{
    static const char *const words[] = {"", "even", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:x", "by", "by:"};
    struct stn_partition partition;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        ck_assert_int_eq(stn_partition_parse(&partition, words[i], &err), STN_INVALID);
    }
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("partition");
    TCase *t = tcase_create("partition");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, iid_deals_out_evenly_and_by_seed);
    tcase_add_test(t, a_field_that_examples_lack_is_an_error_with_its_line);
    tcase_add_test(t, too_few_examples_are_refused);
    tcase_add_test(t, words_that_are_no_partition_are_refused);
    suite_add_tcase(s, t);
    return s;
}
