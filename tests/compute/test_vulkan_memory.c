/* Memory of a device: little more than what the plan says, whatever the shape; and a model that fits only because activations are computed
 * again, share bytes and are bound in windows, as one of 13 billion parameters does in 4 GiB. */
#include "tests/compute/gpu.h"
#include "tests/compute/pack.h"

#include "compute/model/network_build.h"
#include "compute/model/random.h"

enum { MANY = 2048 };

static void use(const char *words)
{
    static char first[256], all[512];
    if (all[0] == '\0') {
        (void)snprintf(first, sizeof first, "%s", getenv("STERNA_VULKAN"));
    }
    (void)snprintf(all, sizeof all, "%s,%s", first, words);
    ck_assert_int_eq(setenv("STERNA_VULKAN", all, 1), 0);
}

/* As wide as one of 13 billion parameters, and one thin layer deep. */
static struct stn_model *open_wide(void)
{
    static const struct stn_random_shape shape = {"wide", 5120, 1, 40, 40, 1280};
    static const struct stn_random_kind kind = {.arch = "bitnet", .type = STN_QUANT_TQ1_0, .table = STN_QUANT_F16};
    char path[] = "/tmp/sterna-wide-XXXXXX", home[512];
    struct stn_gguf *vocab;
    struct stn_model *wide;
    ck_assert_int_eq(close(mkstemp(path)), 0);
    (void)snprintf(home, sizeof home, "%s/%s", STN_RUN_SOURCE, MODEL);
    ck_assert_int_eq(stn_gguf_open(&vocab, home, &err), STN_OK);
    ck_assert_msg(stn_random_write(&shape, &kind, vocab, 1, path, NULL, NULL, &err) == STN_OK, "%s", err.text);
    stn_gguf_close(vocab);
    ck_assert_msg(stn_model_open(&wide, path, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(unlink(path), 0);
    return wide;
}

START_TEST(a_wide_model_takes_little_more_than_its_plan)
{
    struct stn_model *wide = open_wide();
    struct stn_adapter *adapter;
    struct stn_network *network;
    struct stn_network_config c = config();
    struct stn_vulkan_stats stats;
    c.backend = "vulkan";
    c.max_tokens = c.max_targets = c.context = 16;
    ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(wide), 4, 8, STN_ARCH_ALL, &err), STN_OK);
    ck_assert_msg(stn_network_new(&network, wide, adapter, &c, &err) == STN_OK, "%s", err.text);
    stn_vulkan_stats(stn_network_measured(network), &stats);
    ck_assert_uint_gt(stats.planned_size, (uint64_t)40 << 20);
    ck_assert_msg(stats.device_size <= stats.planned_size + stats.planned_size * 15 / 100, "%llu bytes, the plan says %llu",
                  (unsigned long long)stats.device_size, (unsigned long long)stats.planned_size);
    stn_network_free(network);
    stn_adapter_free(adapter);
    stn_model_close(wide);
}
END_TEST

/* A network for many tokens on a device that has so many MiB, gives so many KiB at once (0: any), and its loss of a few; 0:
 * that cannot be. */
static double loss_within(uint64_t mib, uint64_t kib, uint32_t recompute, struct stn_vulkan_stats *stats, size_t *ret_unshared)
{
    struct stn_adapter *adapter = new_adapter(4, 8, 1, STN_ARCH_ALL);
    struct stn_network_config c = config();
    struct stn_network_update update = {.lr = 2e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    struct stn_network *network;
    struct pack p = {0};
    int32_t tokens[16];
    char words[64];
    double norm, loss = 0;
    (void)snprintf(words, sizeof words, "range=4194304,memory=%llu,piece=%llu", (unsigned long long)mib, (unsigned long long)kib);
    use(words);
    c.backend = mib == 0 ? "cpu" : "vulkan";
    c.max_tokens = c.max_targets = MANY;
    c.recompute = recompute;
    pack_init(&p);
    fill(tokens, 16, 20);
    pack_add(&p, tokens, 16, NULL, 0.05f);
    enum stn_code code = stn_network_new(&network, model, adapter, &c, &err);
    for (int step = 0; step < 2 && code == STN_OK; step++) {
        loss = accumulate(network, &p);
        ck_assert_int_eq(stn_network_update(network, &update, &norm, &err), STN_OK);
    }
    if (code == STN_OK && mib > 0) {
        stn_vulkan_stats(network->backend, stats);
        gpu_is_silent(network->backend);
        *ret_unshared = 0;
        for (size_t i = 0; i < network->graph.n_tensors; i++) {
            const struct stn_tensor *t = &network->graph.tensors[i];
            *ret_unshared += t->life == STN_LIFE_TEMPORARY && t->base == STN_OP_NONE ? stn_graph_size(&t->shape) : 0;
        }
    }
    if (code == STN_OK) {
        stn_network_free(network);
    } else {
        ck_assert_msg(code == STN_MEMORY || code == STN_LIMIT, "%s", err.text);
    }
    stn_adapter_free(adapter);
    return loss;
}

START_TEST(activations_in_pieces_of_memory_are_the_same)
{
    struct stn_vulkan_stats stats;
    size_t unshared;
    double whole = loss_within(4096, 0, STN_NETWORK_ALL, &stats, &unshared);
    ck_assert_uint_eq(stats.n_pieces, 1);
    ck_assert_double_eq_tol(loss_within(4096, 8192, STN_NETWORK_ALL, &stats, &unshared), whole, 1e-12);
    ck_assert_uint_gt(stats.n_pieces, 1);
    ck_assert_double_eq(loss_within(4096, 64, STN_NETWORK_ALL, &stats, &unshared), 0);
    ck_assert_msg(strstr(err.text, "where a piece of memory has 65536") != NULL, "%s", err.text);
}
END_TEST

START_TEST(a_model_fits_because_activations_are_computed_again_and_share_bytes)
{
    struct stn_vulkan_stats stats;
    size_t unshared;
    double cpu = loss_within(0, 0, STN_NETWORK_ALL, &stats, &unshared), free_ = loss_within(4096, 0, STN_NETWORK_ALL, &stats, &unshared);
    ck_assert_double_eq_tol(free_, cpu, 0.01 * cpu);
    uint64_t needed = (stats.device_size + ((uint64_t)1 << 20) - 1) >> 20; /* MiB */
    ck_assert_uint_gt(needed, 20);
    ck_assert_uint_gt(unshared, needed << 20);
    ck_assert_double_eq_tol(loss_within(needed, 0, STN_NETWORK_ALL, &stats, &unshared), free_, 1e-12);
    ck_assert_double_eq(loss_within(needed, 0, 0, &stats, &unshared), 0);
    ck_assert_double_eq(loss_within(needed * 9 / 10, 0, STN_NETWORK_ALL, &stats, &unshared), 0);
    ck_assert_msg(strstr(err.text, ": no memory for ") != NULL && strstr(err.text, " bytes of ") != NULL &&
                      strstr(err.text, " are taken") != NULL,
                  "%s", err.text);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("vulkan memory");
    TCase *t = tcase_create("vulkan memory");
    tcase_set_timeout(t, 120);
    tcase_add_unchecked_fixture(t, open_model, close_model);
    tcase_add_test(t, a_wide_model_takes_little_more_than_its_plan);
    tcase_add_test(t, activations_in_pieces_of_memory_are_the_same);
    tcase_add_test(t, a_model_fits_because_activations_are_computed_again_and_share_bytes);
    if (gpu_is_there()) {
        suite_add_tcase(s, t);
    }
    return s;
}
