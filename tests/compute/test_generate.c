#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compute/train/generate.h"

static struct stn_err err;
static struct stn_generate_sampler sampler;

static void make(size_t n_vocab, double temperature, double top_p, uint64_t seed)
{
    stn_generate_sampler_fini(&sampler);
    ck_assert_int_eq(stn_generate_sampler_init(&sampler, n_vocab, temperature, top_p, seed, &err), STN_OK);
}

static int32_t sample(const float *logits)
{
    int32_t token = -1;
    ck_assert_int_eq(stn_generate_sample(&sampler, logits, &token, &err), STN_OK);
    return token;
}

START_TEST(temperature_zero_takes_the_first_of_the_most_likely)
{
    const float logits[] = {0, 3, -1, 3, NAN};
    make(5, 0, 1, 1);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(sample(logits), 1);
    }
}
END_TEST

START_TEST(tokens_come_as_often_as_their_probabilities_say)
{
    /* exp(logit / 2) is 1, 2, 4, 8 */
    const float logits[] = {0, 2 * 0.693147181f, 4 * 0.693147181f, 6 * 0.693147181f};
    const double wanted[] = {1.0 / 15, 2.0 / 15, 4.0 / 15, 8.0 / 15};
    unsigned seen[4] = {0};
    make(4, 2, 1, 1);
    for (int i = 0; i < 30000; i++) {
        seen[sample(logits)]++;
    }
    for (int i = 0; i < 4; i++) {
        /* five standard deviations of a share of 30000 draws are below 0.015 */
        ck_assert_double_eq_tol(seen[i] / 30000.0, wanted[i], 0.015);
    }
}
END_TEST

START_TEST(top_p_draws_from_the_fewest_tokens_that_reach_it)
{
    const float logits[] = {0, 0.693147181f, 2 * 0.693147181f, 3 * 0.693147181f}; /* 1, 2, 4, 8 of 15 */
    const struct {
        double top_p;
        int lowest;
    } rows[] = {{0.5, 3}, {0.6, 2}, {0.79, 2}, {0.85, 1}, {0.95, 0}, {1, 0}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int lowest = 3;
        make(4, 1, rows[r].top_p, 2);
        for (int i = 0; i < 2000; i++) {
            int32_t token = sample(logits);
            lowest = token < lowest ? token : lowest;
        }
        ck_assert_int_eq(lowest, rows[r].lowest);
    }
}
END_TEST

START_TEST(logits_that_are_no_numbers_are_never_drawn)
{
    const float logits[] = {NAN, 0, INFINITY, -INFINITY, 1}, none[] = {NAN, NAN, NAN, NAN, NAN};
    int32_t token;
    make(5, 1, 0.99, 3);
    for (int i = 0; i < 500; i++) {
        token = sample(logits);
        ck_assert(token == 1 || token == 4);
    }
    ck_assert_int_eq(stn_generate_sample(&sampler, none, &token, &err), STN_CORRUPT);
}
END_TEST

START_TEST(the_same_seed_draws_the_same_tokens)
{
    const float logits[] = {0, 0.1f, 0.2f, 0.3f, 0.4f, 0.5f};
    int32_t first[64];
    make(6, 1, 0.95, 4);
    for (int i = 0; i < 64; i++) {
        first[i] = sample(logits);
    }
    make(6, 1, 0.95, 4);
    for (int i = 0; i < 64; i++) {
        ck_assert_int_eq(sample(logits), first[i]);
    }
}
END_TEST

/* ---- with a model ---- */

static struct stn_model *model;
static struct stn_network *network;
static int32_t tokens[64];
static size_t n_tokens, wanted_tokens;

static void open_model(void)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    const struct stn_network_config config = {.max_tokens = 8, .max_targets = 1, .context = 32, .act_int8 = true, .n_threads = 1};
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
    ck_assert_msg(stn_network_new(&network, model, NULL, &config, &err) == STN_OK, "%s", err.text);
    wanted_tokens = 64;
}

static void close_model(void)
{
    stn_generate_sampler_fini(&sampler);
    stn_network_free(network);
    stn_model_close(model);
}

static bool take(void *context, int32_t token)
{
    (void)context;
    tokens[n_tokens++] = token;
    return n_tokens < wanted_tokens;
}

static struct stn_generate_result generate(const int32_t *prompt, size_t n_prompt, size_t n, int32_t stop)
{
    const struct stn_generate_job job = {.prompt = prompt, .n_prompt = n_prompt, .n = n, .stops = &stop, .n_stops = 1,
                                         .token = take};
    struct stn_generate_result result;
    n_tokens = 0;
    ck_assert_msg(stn_generate_run(network, &sampler, &job, &result, &err) == STN_OK, "%s", err.text);
    ck_assert_uint_eq(result.n, n_tokens);
    return result;
}

static const int32_t prompt[] = {70, 300, 310, 42, 77, 301, 99, 500, 411, 12};
#define N_PROMPT (sizeof prompt / sizeof *prompt)

START_TEST(greedy_text_is_what_whole_passes_say_token_by_token)
{
    make(stn_model_arch(model)->n_vocab, 0, 1, 1);
    struct stn_generate_result result = generate(prompt, N_PROMPT, 8, -1);
    ck_assert(result.end == STN_GENERATE_LENGTH && result.n == 8 && result.n_fed == 7);
    size_t n_vocab = stn_model_arch(model)->n_vocab;
    float *logits = malloc(32 * n_vocab * sizeof *logits);
    int32_t all[32];
    const struct stn_network_config config = {.max_tokens = 32, .max_targets = 1, .context = 32, .act_int8 = true, .n_threads = 1};
    struct stn_network *whole = NULL;
    ck_assert_int_eq(stn_network_new(&whole, model, NULL, &config, &err), STN_OK);
    memcpy(all, prompt, sizeof prompt);
    memcpy(all + N_PROMPT, tokens, 8 * sizeof *all);
    ck_assert_int_eq(stn_network_logits(whole, all, N_PROMPT + 8, logits, &err), STN_OK);
    for (size_t i = 0; i < 8; i++) {
        const float *row = logits + (N_PROMPT + i - 1) * n_vocab;
        for (size_t v = 0; v < n_vocab; v++) {
            ck_assert(row[v] <= row[tokens[i]] + 1e-3f);
        }
    }
    stn_network_free(whole);
    free(logits);
}
END_TEST

START_TEST(a_stop_token_ends_the_text_and_is_not_part_of_it)
{
    make(stn_model_arch(model)->n_vocab, 0, 1, 1);
    (void)generate(prompt, N_PROMPT, 6, -1);
    size_t first = 0;
    int32_t stop = tokens[5];
    while (tokens[first] != stop) {
        first++;
    }
    stn_network_reset(network);
    struct stn_generate_result result = generate(prompt, N_PROMPT, 6, stop);
    ck_assert(result.end == STN_GENERATE_STOP && result.n == first && result.n_fed == first);
}
END_TEST

START_TEST(the_end_of_the_context_and_of_the_callers_patience_end_the_text)
{
    make(stn_model_arch(model)->n_vocab, 1, 0.9, 1);
    struct stn_generate_result result = generate(prompt, N_PROMPT, 60, -1);
    ck_assert_int_eq(result.end, STN_GENERATE_CONTEXT);
    ck_assert_uint_eq(result.n_fed, 32 - N_PROMPT);
    ck_assert_uint_eq(result.n, result.n_fed + 1);
    stn_network_reset(network);
    wanted_tokens = 3;
    result = generate(prompt, N_PROMPT, 60, -1);
    ck_assert(result.end == STN_GENERATE_CALLER && result.n == 3);
}
END_TEST

START_TEST(a_prompt_that_does_not_fit_is_refused)
{
    int32_t long_prompt[33] = {0};
    const struct stn_generate_job job = {.prompt = long_prompt, .n_prompt = 33, .n = 1, .token = take};
    struct stn_generate_result result;
    make(stn_model_arch(model)->n_vocab, 0, 1, 1);
    ck_assert_int_eq(stn_generate_run(network, &sampler, &job, &result, &err), STN_LIMIT);
}
END_TEST

START_TEST(what_is_fed_in_two_parts_goes_on_as_what_is_fed_in_one)
{
    int32_t whole[5];
    make(stn_model_arch(model)->n_vocab, 0, 1, 1);
    (void)generate(prompt, N_PROMPT, 5, -1);
    memcpy(whole, tokens, sizeof whole);
    stn_network_reset(network);
    const float *logits;
    ck_assert_int_eq(stn_network_feed(network, prompt, 4, &logits, &err), STN_OK);
    (void)generate(prompt + 4, N_PROMPT - 4, 5, -1);
    ck_assert_mem_eq(whole, tokens, sizeof whole);
}
END_TEST

static void free_sampler(void)
{
    stn_generate_sampler_fini(&sampler);
}

Suite *suite(void)
{
    Suite *s = suite_create("generate");
    TCase *draw = tcase_create("sampling"), *run = tcase_create("text");
    suite_add_tcase(s, draw);
    tcase_add_checked_fixture(draw, NULL, free_sampler);
    tcase_add_test(draw, temperature_zero_takes_the_first_of_the_most_likely);
    tcase_add_test(draw, tokens_come_as_often_as_their_probabilities_say);
    tcase_add_test(draw, top_p_draws_from_the_fewest_tokens_that_reach_it);
    tcase_add_test(draw, logits_that_are_no_numbers_are_never_drawn);
    tcase_add_test(draw, the_same_seed_draws_the_same_tokens);
    suite_add_tcase(s, run);
    tcase_add_checked_fixture(run, open_model, close_model);
    tcase_add_test(run, greedy_text_is_what_whole_passes_say_token_by_token);
    tcase_add_test(run, a_stop_token_ends_the_text_and_is_not_part_of_it);
    tcase_add_test(run, the_end_of_the_context_and_of_the_callers_patience_end_the_text);
    tcase_add_test(run, a_prompt_that_does_not_fit_is_refused);
    tcase_add_test(run, what_is_fed_in_two_parts_goes_on_as_what_is_fed_in_one);
    return s;
}
