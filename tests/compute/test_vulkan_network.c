/* The whole model on the GPU: logits, losses, gradients, a training run and greedy words are the CPU's, and nothing leaves the
 * device within a step. */
#include "tests/compute/gpu.h"
#include "tests/compute/pack.h"

#include <dirent.h>

#include "compute/model/choose.h"
#include "compute/model/network_build.h"
#include "compute/model/random.h"
#include "compute/vulkan/pipeline.h"
#include "compute/vulkan/specimen.h"
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

/* What makes a kernel compute otherwise. */
struct way {
    const struct stn_node *node;
    const struct stn_graph *graph;
    bool few;
};

static enum stn_dtype dtype_of(const struct way *w, size_t input)
{
    bool has = input < stn_op_row(w->node->op)->n_inputs;
    return has ? stn_graph_shape(w->graph, w->node->in[input])->dtype : STN_DTYPE_F32;
}

static bool is_alike(const struct way *a, const struct way *b)
{
    const struct stn_node *m = a->node, *n = b->node;
    return m->op == n->op && m->add == n->add && m->neox == n->neox && m->inverse == n->inverse && m->gate == n->gate &&
           dtype_of(a, 0) == dtype_of(b, 0) && dtype_of(a, 1) == dtype_of(b, 1) && a->few == b->few;
}

static struct way way_of(const struct stn_graph *graph, const struct stn_node *node, bool feeds)
{
    const struct stn_shape *out = stn_graph_shape(graph, node->out[0]);
    bool is_product = node->op == STN_OP_LINEAR || node->op == STN_OP_TERNARY;
    return (struct way){node, graph, is_product && (out->rows <= STN_PIPELINE_MOST_FEW || (feeds && out->extent == STN_EXTENT_TOKENS))};
}

static void are_tried(const struct stn_specimen *specimen, const struct stn_network *network)
{
    for (size_t pass = 0; pass < STN_NETWORK_N_PASSES; pass++) {
        for (size_t n = 0; n < network->graph.passes[pass].n_nodes; n++) {
            const struct way way = way_of(&network->graph, &network->graph.passes[pass].nodes[n], pass == STN_NETWORK_FEED);
            bool is_there = false;
            for (size_t k = 0; k < specimen->graph.passes[0].n_nodes && !is_there; k++) {
                const struct way other = way_of(&specimen->graph, &specimen->graph.passes[0].nodes[k], false);
                is_there = is_alike(&way, &other);
            }
            ck_assert_msg(is_there, "%s%s%s%s, gate %d, inputs %d and %d,%s few rows: is not tried", stn_op_row(way.node->op)->name,
                          way.node->add ? ", adds" : "", way.node->neox ? ", neox" : "", way.node->inverse ? ", inverse" : "",
                          (int)way.node->gate, (int)dtype_of(&way, 0), (int)dtype_of(&way, 1), way.few ? "" : " not");
        }
    }
}

/* Of each family, training, evaluation and generation: each way to use a kernel is in the specimen that proves it. */
START_TEST(what_a_model_asks_of_a_kernel_is_what_is_tried)
{
    static const struct stn_random_shape shape = {"small", 256, 2, 4, 2, 256};
    static const char *const families[] = {"bitnet", "bitnet-b1.58", "llama"};
    char path[] = "/tmp/sterna-family-XXXXXX";
    struct stn_specimen specimen;
    ck_assert_int_eq(stn_specimen_init(&specimen, false, &err), STN_OK);
    ck_assert_int_eq(close(mkstemp(path)), 0);
    for (size_t i = 0; i < 2 * sizeof families / sizeof *families; i++) {
        const struct stn_random_kind kind = {.arch = families[i / 2], .type = STN_QUANT_TQ2_0, .table = STN_QUANT_F16};
        struct stn_network_config c = config();
        struct stn_model *family;
        struct stn_adapter *adapter;
        struct stn_network *network;
        c.backward = i % 2 == 0 ? STN_BACKWARD_INT8 : STN_BACKWARD_EXACT;
        c.dropout = i % 2 == 0 ? 0.1f : 0;
        c.recompute = i % 2 == 0 ? STN_NETWORK_ALL : 0;
        ck_assert_msg(stn_random_write(&shape, &kind, stn_model_gguf(model), 1, path, NULL, NULL, &err) == STN_OK, "%s", err.text);
        ck_assert_msg(stn_model_open(&family, path, &err) == STN_OK, "%s", err.text);
        ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(family), 8, 16, STN_ARCH_ALL, &err), STN_OK);
        stn_adapter_init(adapter, 1);
        ck_assert_msg(stn_network_new(&network, family, adapter, &c, &err) == STN_OK, "%s", err.text);
        for (int pass = 0; pass < STN_NETWORK_N_PASSES; pass++) {
            ck_assert_int_eq(stn_network_build_pass(network, (enum stn_network_pass)pass, &err), STN_OK);
        }
        are_tried(&specimen, network);
        stn_network_free(network);
        stn_adapter_free(adapter);
        stn_model_close(family);
    }
    ck_assert_int_eq(unlink(path), 0);
    stn_specimen_fini(&specimen);
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

/* On a card each submission is a wait, so that thousands of small ones would be what a step is made of. */
START_TEST(vectors_are_changed_from_outside_in_few_submissions)
{
    ck_assert_int_eq(setenv("STERNA_VULKAN", "validate,staged", 1), 0);
    struct stn_adapter *adapter = new_adapter(16, 32, 1, STN_ARCH_ALL);
    struct stn_network_config c = on("vulkan");
    struct stn_network *network = new_network(adapter, &c);
    size_t n = adapter->n_values;
    float *anchor = stn_mem_new(n, sizeof *anchor), *gradients = stn_mem_new(n, sizeof *gradients);
    struct stn_vulkan_stats before, after;
    ck_assert_uint_gt(n, 10000);
    for (size_t i = 0; i < n; i++) {
        anchor[i] = adapter->values[i] - (float)(i % 9);
    }
    stn_vulkan_stats(network->backend, &before);
    stn_network_reset_moments(network);
    stn_network_drop_gradients(network);
    stn_network_add_gradients(network, anchor);
    stn_network_pull(network, 0.5, anchor);
    ck_assert(stn_network_can_update(network));
    stn_vulkan_stats(network->backend, &after);
    ck_assert_uint_eq(after.n_copies - before.n_copies, 3 + 2 + 3 + 1); /* so much is one piece: a clear, a read or a write each */
    stn_network_get_gradients(network, gradients);
    for (size_t i = 0; i < n; i++) {
        float wanted = anchor[i] + (float)(0.5 * ((double)adapter->values[i] - (double)anchor[i]));
        ck_assert_msg(fabsf(gradients[i] - wanted) <= 0, "%zu: %g, not %g", i, (double)gradients[i], (double)wanted);
    }
    has_been_silent(network);
    stn_network_free(network);
    stn_mem_free(anchor);
    stn_mem_free(gradients);
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
    tcase_add_test(t, vectors_are_changed_from_outside_in_few_submissions);
    tcase_add_test(t, a_device_gives_no_more_than_the_plan_says);
    tcase_add_test(t, greedy_words_are_the_cpus);
    tcase_add_test(t, a_step_cut_in_submissions_is_the_same_step);
    TCase *specimen = tcase_create("specimen"); /* asks no device */
    tcase_set_timeout(specimen, 60);
    tcase_add_unchecked_fixture(specimen, open_model, close_model);
    tcase_add_test(specimen, what_a_model_asks_of_a_kernel_is_what_is_tried);
    suite_add_tcase(s, specimen);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
