#include "tests/lib/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/simulate/partition.h"
#include "compute/model/gguf.h"
#include "compute/model/tokenizer.h"

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

/* What was split last, with this seed, is split so again, and otherwise with the next. */
static void goes_by_seed(const char *how, size_t n, uint64_t seed)
{
    size_t first[N];
    memcpy(first, owner, sizeof owner);
    ck_assert_int_eq(split(how, &n, seed), STN_OK);
    ck_assert_mem_eq(first, owner, sizeof owner);
    ck_assert_int_eq(split(how, &n, seed + 1), STN_OK);
    ck_assert_mem_ne(first, owner, sizeof owner);
}

START_TEST(iid_deals_out_evenly_and_by_seed)
{
    size_t n = 7;
    ck_assert_int_eq(split("iid", &n, 1), STN_OK);
    for (size_t k = 0; k < n; k++) {
        ck_assert_uint_ge(counts[k], N / 7);
        ck_assert_uint_le(counts[k], N / 7 + 1);
    }
    goes_by_seed("iid", n, 1);
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

/* The dataset again, n examples in n_labels classes and n_homes homes: "label" and "home" are fields of each. */
static void with_fields(size_t n, size_t n_labels, size_t n_homes)
{
    char path[512];
    struct stn_gguf *gguf = NULL;
    struct stn_tokenizer *tokenizer = NULL;
    const struct stn_dataset_config config = {.context = 16};
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", getenv("STERNA_SOURCE"));
    ck_assert_int_eq(stn_gguf_open(&gguf, path, &err), STN_OK);
    ck_assert_int_eq(stn_tokenizer_new(&tokenizer, gguf, &err), STN_OK);
    stn_dataset_free(dataset);
    ck_assert_int_eq(stn_dataset_new(&dataset, &config, &err), STN_OK);
    for (size_t i = 0; i < n; i++) {
        char label[32], home[32];
        (void)snprintf(label, sizeof label, "%zu", i % n_labels);
        (void)snprintf(home, sizeof home, "home %zu", i % n_homes);
        const struct stn_jsonl_field fields[] = {{"label", label}, {"home", home}};
        const struct stn_jsonl_record record = {.kind = STN_JSONL_PAIR, .prompt = "a", .completion = "b", .fields = fields, .n_fields = 2};
        ck_assert_int_eq(stn_dataset_add(dataset, tokenizer, &record, &err), STN_OK);
    }
    stn_tokenizer_free(tokenizer);
    stn_gguf_close(gguf);
}

START_TEST(a_field_makes_a_client_of_each_of_its_values)
{
    size_t n = 0;
    with_fields(N, 5, 8);
    ck_assert_int_eq(split("by:home", &n, 1), STN_OK);
    ck_assert_uint_eq(n, 8);
    for (size_t i = 0; i < N; i++) {
        ck_assert_uint_eq(owner[i], i % 8);
    }
}
END_TEST

START_TEST(more_values_than_clients_can_be_are_refused)
{
    static size_t owners[STN_PARTITION_CLIENTS_MAX + 1];
    const size_t n = STN_PARTITION_CLIENTS_MAX + 1;
    const struct stn_partition by = {.kind = STN_PARTITION_BY, .field = "home"};
    size_t n_clients = 0;
    with_fields(n, 5, n);
    ck_assert_int_eq(stn_partition_make(&by, dataset, 1, &n_clients, owners, &err), STN_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "home has 10001 values"));
}
END_TEST

/* The share of a class that its largest owner has, on average over the classes and seeds; *ret_last: of the last client's. */
static double largest_share(const char *how, size_t n_clients, double *ret_last)
{
    enum { LABELS = 5, SEEDS = 40 };
    double largest = 0, last = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        size_t n = n_clients;
        ck_assert_int_eq(split(how, &n, seed), STN_OK);
        for (size_t label = 0; label < LABELS; label++) {
            size_t of[16] = {0}, most = 0;
            for (size_t i = label; i < N; i += LABELS) {
                of[owner[i]]++;
            }
            for (size_t k = 0; k < n; k++) {
                most = of[k] > most ? of[k] : most;
            }
            largest += (double)most / (N / LABELS) / (LABELS * SEEDS);
            last += (double)of[n - 1] / (N / LABELS) / (LABELS * SEEDS);
        }
    }
    *ret_last = last;
    return largest;
}

START_TEST(a_small_alpha_gives_lopsided_clients_and_favours_none)
{
    double last;
    with_fields(N, 5, 8);
    ck_assert_double_lt(largest_share("dirichlet:1000", 4, &last), 0.4);
    ck_assert_double_eq_tol(last, 0.25, 0.03);
    /* E of the largest of four is far from even at 1, and nearly all at 0.05 */
    double at_one = largest_share("dirichlet:1", 4, &last);
    ck_assert_double_gt(at_one, 0.45);
    ck_assert_double_lt(at_one, 0.65);
    ck_assert_double_eq_tol(last, 0.25, 0.06);
    ck_assert_double_gt(largest_share("dirichlet:0.05", 4, &last), 0.85);
    /* Gamma draws are below every double here, all of them often: a class still goes to any of the four */
    ck_assert_double_gt(largest_share("dirichlet:0.001", 4, &last), 0.95);
    ck_assert_double_eq_tol(last, 0.25, 0.1);
}
END_TEST

START_TEST(a_dirichlet_split_comes_from_its_seed_and_leaves_nobody_empty)
{
    size_t n = 12;
    with_fields(N, 5, 8);
    ck_assert_int_eq(split("dirichlet:0.001", &n, 3), STN_OK);
    for (size_t k = 0; k < n; k++) {
        ck_assert_uint_ge(counts[k], 1);
    }
    goes_by_seed("dirichlet:0.001", n, 3);
}
END_TEST

START_TEST(lists_examples_by_their_group)
{
    static const size_t group[] = {2, 0, 2, 3, 0, 2}, starts[] = {0, 2, 2, 5, 6}, in_order[] = {1, 4, 0, 2, 5, 3};
    size_t start[5], order[6];
    stn_partition_list(group, 6, 4, start, order);
    ck_assert_mem_eq(start, starts, sizeof starts);
    ck_assert_mem_eq(order, in_order, sizeof in_order);
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
    tcase_add_test(t, a_field_makes_a_client_of_each_of_its_values);
    tcase_add_test(t, more_values_than_clients_can_be_are_refused);
    tcase_add_test(t, a_small_alpha_gives_lopsided_clients_and_favours_none);
    tcase_add_test(t, a_dirichlet_split_comes_from_its_seed_and_leaves_nobody_empty);
    tcase_add_test(t, lists_examples_by_their_group);
    tcase_add_test(t, too_few_examples_are_refused);
    tcase_add_test(t, words_that_are_no_partition_are_refused);
    suite_add_tcase(s, t);
    return s;
}
