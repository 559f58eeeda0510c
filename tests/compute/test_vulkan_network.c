/* The whole model on the GPU: logits, losses, gradients, a training run and greedy words are the CPU's, and nothing leaves the
 * device within a step. */
#include "tests/compute/gpu.h"
#include "tests/compute/pack.h"

#include <dirent.h>

#include "compute/model/choose.h"
#include "compute/model/network_build.h"
#include "io/file.h"

enum { STEPS = 100, FEW_STEPS = 6, FED = 64 };

static struct stn_network_config on(const char *backend)
{
    struct stn_network_config c = config();
    c.backend = backend;
    return c;
}

/* Two short examples: Mesa's device is slow. */
static void pack_few(struct pack *p)
{
    int32_t tokens[16];
    pack_init(p);
    for (size_t i = 0; i < 2; i++) {
        fill(tokens, 16, i + 20);
        pack_add(p, tokens, 9 + 6 * i, NULL, 0.05f);
    }
}

static void has_been_silent(const struct stn_network *network)
{
    if (strcmp(stn_network_backend(network), "vulkan") == 0) {
        gpu_is_silent(network->backend);
    }
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Without int8, so that no value falls to the other side of a middle. */
START_TEST(logits_losses_and_gradients_are_the_cpus)
{
    struct pack p = {0};
    pack_few(&p);
    struct stn_adapter *adapter = new_adapter(6, 12, 3, STN_ARCH_ALL);
    size_t n = adapter->n_values, n_tokens = 20;
    float *gradients = stn_mem_new(n, 2 * sizeof *gradients), *logits = stn_mem_new(n_tokens * WORDS, 2 * sizeof *logits);
    double loss[2];
    for (size_t i = 0; i < 2; i++) {
        struct stn_network_config c = on(i == 0 ? "cpu" : "vulkan");
        c.act_int8 = false;
        struct stn_network *network = new_network(adapter, &c);
        struct stn_network_result result;
        loss[i] = accumulate(network, &p);
        stn_network_get_gradients(network, gradients + i * n);
        ck_assert_int_eq(stn_network_logits(network, p.tokens, n_tokens, logits + i * n_tokens * WORDS, &err), STN_OK);
        ck_assert_int_eq(stn_network_eval(network, &p.batch, &result, &err), STN_OK);
        ck_assert_double_eq_tol(result.loss, loss[i], 1e-5);
        has_been_silent(network);
        stn_network_free(network);
    }
    ck_assert_double_eq_tol(loss[0], loss[1], 2e-6 * loss[0]);
    ck_assert_double_gt(cosine(gradients, gradients + n, n), 0.9999999);
    ck_assert_double_gt(cosine(logits, logits + n_tokens * WORDS, n_tokens * WORDS), 0.9999999);
    stn_mem_free(gradients);
    stn_mem_free(logits);
    stn_adapter_free(adapter);
}
END_TEST

/* _i: exact gradients and all kept; or int8, activations computed again, and dropout */
START_TEST(a_training_run_follows_the_cpus)
{
    struct pack p = {0};
    pack_few(&p);
    struct stn_adapter *adapter = new_adapter(4, 8, 1, STN_ARCH_ALL);
    stn_adapter_init(adapter, 3);
    bool is_second = getenv("STERNA_VULKAN") != NULL && strstr(getenv("STERNA_VULKAN"), "floor") != NULL; /* the long run is made once */
    size_t n_steps = _i == 0 && !is_second ? STEPS : FEW_STEPS;
    double loss[2][STEPS], norm;
    struct stn_network_update update = {.lr = 2e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    for (size_t i = 0; i < 2; i++) {
        struct stn_network_config c = on(i == 0 ? "cpu" : "vulkan");
        c.backward = _i == 0 ? STN_BACKWARD_EXACT : STN_BACKWARD_INT8;
        c.recompute = _i != 0 ? STN_NETWORK_ALL : 0;
        c.dropout = _i != 0 ? 0.2f : 0;
        struct stn_network *network = new_network(adapter, &c);
        for (size_t s = 0; s < n_steps; s++) {
            loss[i][s] = accumulate(network, &p);
            ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
        }
        has_been_silent(network);
        stn_network_free(network);
    }
    ck_assert_double_lt(loss[1][n_steps - 1], loss[1][0] - (n_steps == STEPS ? 0.5 : 0.02));
    for (size_t s = 0; s < n_steps; s++) {
        ck_assert_msg(fabs(loss[0][s] - loss[1][s]) < 0.01 * loss[0][s] + 0.002, "step %zu: %g, the CPU's %g", s, loss[1][s], loss[0][s]);
    }
    stn_adapter_free(adapter);
}
END_TEST

/* The file of an answer in a folder; empty: none is kept. */
static void find_answer(const char *folder, char path[static STN_FILE_PATH_MAX])
{
    DIR *dir = opendir(folder);
    path[0] = '\0';
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strncmp(entry->d_name, "backend-", 8) == 0) {
            ck_assert_int_eq(stn_file_join(path, folder, entry->d_name, &err), STN_OK);
        }
    }
    ck_assert_int_eq(closedir(dir), 0);
}

/* A GPU that a processor only plays is not tried; where it is asked for, both are timed, and the answer is kept. */
START_TEST(what_is_faster_is_found_by_a_trial_and_remembered)
{
    char folder[] = "/tmp/sterna-choose-XXXXXX", path[STN_FILE_PATH_MAX] = "";
    struct stn_choose_result result;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(setenv("STERNA_VULKAN", "", 1), 0);
    if (getenv("STERNA_NO_VALIDATION") == NULL) { /* where there is no other than Mesa's */
        stn_choose_backend(&result, model, 1, folder);
        ck_assert_ptr_null(result.backend);
        ck_assert(!result.was_known && result.cpu_s == 0 && result.gpu_s == 0);
    }
    ck_assert_int_eq(setenv("STERNA_VULKAN", "emulated,lost=1", 1), 0);
    stn_choose_backend(&result, model, 1, folder);
    find_answer(folder, path);
    ck_assert(result.backend == NULL && path[0] == '\0'); /* an accident is no answer */
    ck_assert_int_eq(setenv("STERNA_VULKAN", "emulated", 1), 0);
    stn_choose_backend(&result, model, 1, folder);
    ck_assert(!result.was_known && result.cpu_s > 0 && result.gpu_s > 0);
    ck_assert((result.backend != NULL) == (result.gpu_s < result.cpu_s));
    find_answer(folder, path);
    stn_choose_backend(&result, model, 1, folder);
    ck_assert(result.was_known && result.cpu_s > 0 && result.gpu_s > 0);
    ck_assert_int_eq(stn_file_replace(path, "vulkan 2 1\n", 11, STN_FILE_MODE, &err), STN_OK);
    stn_choose_backend(&result, model, 1, folder);
    ck_assert(result.was_known && result.cpu_s == 2 && result.gpu_s == 1);
    ck_assert_str_eq(result.backend, "vulkan");
    ck_assert_int_eq(setenv("STERNA_VULKAN", "emulated,device=another", 1), 0); /* of which nothing is known */
    stn_choose_backend(&result, model, 1, folder);
    ck_assert(result.backend == NULL && !result.was_known);
    ck_assert_int_eq(setenv("STERNA_VULKAN", "emulated", 1), 0);
    stn_choose_backend(&result, model, 2, folder); /* other threads, another question */
    ck_assert(!result.was_known);
    ck_assert_int_eq(stn_file_replace(path, "magic 2 1\n", 10, STN_FILE_MODE, &err), STN_OK);
    stn_choose_backend(&result, model, 1, folder);
    ck_assert(!result.was_known);
    ck_assert_int_eq(stn_file_remove_tree(folder, &err), STN_OK);
}
END_TEST

START_TEST(a_step_is_one_submission_and_nothing_else_moves)
{
    struct pack p = {0};
    pack_few(&p);
    struct stn_adapter *adapter = new_adapter(4, 8, 1, STN_ARCH_ALL);
    struct stn_network_config c = on("vulkan");
    struct stn_network *network = new_network(adapter, &c);
    struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    struct stn_vulkan_stats before, after;
    double norm;
    (void)accumulate(network, &p);
    stn_vulkan_stats(network->backend, &before);
    uint64_t n_allocated = stn_mem_count();
    (void)accumulate(network, &p);
    ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
    ck_assert_uint_eq(stn_mem_count(), n_allocated);
    stn_vulkan_stats(network->backend, &after);
    ck_assert_uint_eq(after.n_submissions - before.n_submissions, 2); /* gradients, AdamW */
    ck_assert_uint_eq(after.n_copies, before.n_copies);
    ck_assert_uint_le(after.device_size, after.planned_size + ((uint64_t)24 << 20)); /* blocks that are not full */
    stn_network_free(network);
    stn_adapter_free(adapter);
}
END_TEST

/* Blocks that are not full, staging, work groups: at most a seventh beside what tensors have. */
START_TEST(a_device_gives_no_more_than_the_plan_says)
{
    struct stn_adapter *adapter = new_adapter(8, 16, 1, STN_ARCH_ALL);
    struct stn_network_config c = on("vulkan");
    struct stn_vulkan_stats stats;
    c.max_tokens = c.max_targets = 4096;
    struct stn_network *network = new_network(adapter, &c);
    struct stn_network_memory memory = stn_network_memory(network);
    stn_vulkan_stats(network->backend, &stats);
    ck_assert_uint_gt(stats.planned_size, (uint64_t)100 << 20);
    ck_assert_uint_le(stats.device_size, stats.planned_size + stats.planned_size * 15 / 100);
    ck_assert_uint_le(stats.device_size, memory.activations + memory.adapter + memory.weights);
    stn_network_free(network);
    stn_adapter_free(adapter);
}
END_TEST

START_TEST(greedy_words_are_the_cpus)
{
    int32_t words[2][FED];
    for (size_t i = 0; i < 2; i++) {
        struct stn_network_config c = on(i == 0 ? "cpu" : "vulkan");
        const float *logits;
        int32_t prompt[5], *said = words[i];
        fill(prompt, 5, 9);
        c.train = false;
        c.max_tokens = 5;
        struct stn_network *network = new_network(NULL, &c);
        ck_assert_int_eq(stn_network_feed(network, prompt, 5, &logits, &err), STN_OK);
        for (size_t k = 0; k < FED; k++) {
            said[k] = 0;
            for (int32_t w = 1; w < WORDS; w++) {
                said[k] = logits[w] > logits[said[k]] ? w : said[k];
            }
            ck_assert_int_eq(stn_network_feed(network, &said[k], 1, &logits, &err), STN_OK);
        }
        has_been_silent(network);
        stn_network_free(network);
    }
    ck_assert_mem_eq(words[0], words[1], sizeof words[0]);
}
END_TEST

START_TEST(a_step_cut_in_submissions_is_the_same_step)
{
    struct pack p = {0};
    pack_few(&p);
    struct stn_adapter *adapter = new_adapter(4, 8, 1, STN_ARCH_ALL);
    double loss[2];
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(setenv("STERNA_VULKAN", i == 0 ? "validate" : "validate,split=20", 1), 0);
        struct stn_network_config c = on("vulkan");
        struct stn_network *network = new_network(adapter, &c);
        struct stn_vulkan_stats stats;
        loss[i] = accumulate(network, &p);
        stn_vulkan_stats(network->backend, &stats);
        ck_assert(i == 0 ? stats.n_submissions == 1 : stats.n_submissions > 3);
        has_been_silent(network);
        stn_network_free(network);
    }
    ck_assert_double_eq_tol(loss[0], loss[1], 1e-12);
    stn_adapter_free(adapter);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("vulkan network");
    TCase *t = tcase_create("vulkan network");
    tcase_set_timeout(t, 240);
    tcase_add_unchecked_fixture(t, open_model, close_model);
    tcase_add_test(t, logits_losses_and_gradients_are_the_cpus);
    tcase_add_loop_test(t, a_training_run_follows_the_cpus, 0, 2);
    tcase_add_test(t, what_is_faster_is_found_by_a_trial_and_remembered);
    tcase_add_test(t, a_step_is_one_submission_and_nothing_else_moves);
    tcase_add_test(t, a_device_gives_no_more_than_the_plan_says);
    tcase_add_test(t, greedy_words_are_the_cpus);
    tcase_add_test(t, a_step_cut_in_submissions_is_the_same_step);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
