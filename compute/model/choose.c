#include "compute/model/choose.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/mem.h"
#include "compute/backend.h"
#include "compute/model/fit.h"
#include "compute/model/model.h"
#include "io/file.h"

#define GPU "vulkan"
#define RANK 8
#define FILE_MOST ((size_t)256)
#define SHARE 0.8 /* of a device's memory that a model may take: others want some too */

/* ---- the device that would be used ---- */

struct device {
    char caps[256], name[256];
    uint64_t memory;
    int rank;
};

/* As the backend chooses: what has memory of its own before what shares the processor's. */
static int rank_of(const struct stn_backend_device *device)
{
    static const char *const types[] = {"cpu", "other", "virtual", "integrated", "discrete"};
    int rank = 0;
    while (device->is_gpu && rank < 4 && strcmp(types[rank], device->type) != 0) {
        rank++;
    }
    return device->is_gpu ? rank + 1 : 0;
}

static void see(void *user, const struct stn_backend_device *device)
{
    struct device *best = user;
    if (device->is_wanted && rank_of(device) > best->rank) {
        best->rank = rank_of(device);
        best->memory = device->memory;
        (void)snprintf(best->name, sizeof best->name, "%s", device->name);
        (void)snprintf(best->caps, sizeof best->caps, "%s", device->caps);
    }
}

static void find_device(struct device *ret)
{
    const struct stn_backend_row *row = stn_backend_find(GPU);
    *ret = (struct device){0};
    if (row == NULL || row->devices(see, ret, NULL) != STN_OK) {
        ret->rank = 0;
    }
}

/* ---- what is remembered: "vulkan" or "cpu", and both times ---- */

static bool name_file(char path[static STN_FILE_PATH_MAX], const char *folder, const struct device *device, const struct stn_arch *arch,
                      unsigned n_threads)
{
    const uint32_t shape[] = {arch->n_layers, arch->n_embd,  arch->n_heads, arch->n_kv_heads, arch->head_dim,
                              arch->n_ff,     arch->n_vocab, n_threads,     STN_CHOOSE_TOKENS};
    struct stn_digest_state state;
    char text[STN_DIGEST_TEXT], name[32];
    stn_digest_init(&state);
    stn_digest_add(&state, device->name, strlen(device->name) + 1);
    stn_digest_add(&state, device->caps, strlen(device->caps) + 1);
    stn_digest_add(&state, shape, sizeof shape);
    const char *kernel = stn_ternary_kernel();
    stn_digest_add(&state, kernel, strlen(kernel) + 1);
    const struct stn_digest digest = stn_digest_end(&state);
    stn_digest_put_text(&digest, text);
    (void)snprintf(name, sizeof name, "backend-%.16s", text);
    return folder != NULL && stn_file_join(path, folder, name, NULL) == STN_OK;
}

static bool recall(struct stn_choose_result *ret, const char *path)
{
    struct stn_buf buf = {0};
    char text[FILE_MOST + 1], word[16];
    if (stn_file_read(path, FILE_MOST, &buf, NULL) != STN_OK) {
        return false;
    }
    memcpy(text, buf.data, buf.size);
    text[buf.size] = '\0';
    stn_buf_fini(&buf);
    bool ok = sscanf(text, "%15s %lf %lf", word, &ret->cpu_s, &ret->gpu_s) == 3 &&
              (strcmp(word, "cpu") == 0 || strcmp(word, GPU) == 0);
    ret->backend = ok && strcmp(word, GPU) == 0 ? GPU : NULL;
    ret->was_known = ok;
    return ok;
}

static void remember(const struct stn_choose_result *result, const char *path)
{
    char text[FILE_MOST];
    int n = snprintf(text, sizeof text, "%s %.6g %.6g\n", result->backend == NULL ? "cpu" : GPU, result->cpu_s, result->gpu_s);
    stn_err_ignore(stn_file_replace(path, text, (size_t)n, STN_FILE_MODE, NULL)); /* then it is tried again next time */
}

/* ---- the trial ---- */

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct stn_network_config config_of(const char *backend, unsigned n_threads)
{
    return (struct stn_network_config){.max_tokens = STN_CHOOSE_TOKENS,
                                       .max_targets = STN_CHOOSE_TOKENS,
                                       .context = STN_CHOOSE_TOKENS,
                                       .train = true,
                                       .backward = STN_BACKWARD_INT8,
                                       .act_int8 = true,
                                       .n_threads = n_threads,
                                       .backend = backend};
}

/* The second of two steps: in the first things are found and compiled. */
static enum stn_code time_steps(double *ret_s, struct stn_network *network, uint32_t n_vocab, struct stn_err *err)
{
    int32_t tokens[STN_CHOOSE_TOKENS], positions[STN_CHOOSE_TOKENS], starts[STN_CHOOSE_TOKENS] = {0};
    float weights[STN_CHOOSE_TOKENS];
    const struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const struct stn_batch batch = {.n_tokens = STN_CHOOSE_TOKENS, .tokens = tokens, .positions = positions, .starts = starts,
                                    .n_targets = STN_CHOOSE_TOKENS, .target_rows = positions, .target_tokens = tokens,
                                    .target_weights = weights};
    struct stn_network_result result;
    enum stn_code code = STN_OK;
    double norm;
    for (int32_t i = 0; i < STN_CHOOSE_TOKENS; i++) {
        tokens[i] = i * 37 % (int32_t)n_vocab;
        positions[i] = i;
        weights[i] = 1.0f / STN_CHOOSE_TOKENS;
    }
    for (int step = 0; step < 2 && code == STN_OK; step++) {
        double from_s = now_s();
        code = stn_network_accumulate(network, &batch, &result, err);
        code = code != STN_OK ? code : stn_network_update(network, &update, &norm, err);
        *ret_s = now_s() - from_s;
    }
    return code;
}

/* A step of the model with so many of its layers. */
static enum stn_code time_layers(double *ret_s, const struct stn_model *model, uint32_t n_layers,
                                 const struct stn_network_config *config, struct stn_err *err)
{
    struct stn_model few = *model;
    struct stn_arch arch = *model->arch;
    struct stn_adapter *adapter = NULL;
    struct stn_network *network = NULL;
    few.arch = &arch;
    arch.n_layers = n_layers;
    enum stn_code code = stn_adapter_new(&adapter, &arch, RANK, 2 * RANK, STN_ARCH_ALL, err);
    if (code == STN_OK) {
        stn_adapter_init(adapter, 1);
        code = stn_network_new(&network, &few, adapter, config, err);
    }
    code = code != STN_OK ? code : time_steps(ret_s, network, arch.n_vocab, err);
    stn_network_free(network);
    stn_adapter_free(adapter);
    return code;
}

/* The whole model's: one layer and the head as measured, the other layers like the second. */
static enum stn_code time_model(double *ret_s, const struct stn_model *model, const char *backend, unsigned n_threads,
                                struct stn_err *err)
{
    const struct stn_network_config config = config_of(backend, n_threads);
    uint32_t n_layers = model->arch->n_layers;
    double one = 0, two = 0;
    enum stn_code code = time_layers(&one, model, 1, &config, err);
    if (code == STN_OK && n_layers > 1) {
        code = time_layers(&two, model, 2, &config, err);
    }
    *ret_s = one + (two > one ? (two - one) * (n_layers - 1) : 0);
    return code;
}

static bool fits(const struct stn_model *model, const struct device *device, unsigned n_threads)
{
    struct stn_network_memory memory;
    struct stn_network_config config = config_of(GPU, n_threads);
    struct stn_adapter *adapter = NULL;
    config.recompute = STN_NETWORK_ALL;
    bool ok = stn_adapter_new(&adapter, model->arch, RANK, 2 * RANK, STN_ARCH_ALL, NULL) == STN_OK &&
              stn_fit_weigh(&memory, model, adapter, &config, NULL) == STN_OK;
    stn_adapter_free(adapter);
    return ok && (double)memory.weights + (double)memory.activations + (double)memory.adapter <= SHARE * (double)device->memory;
}

void stn_choose_backend(struct stn_choose_result *ret, const struct stn_model *model, unsigned n_threads, const char *folder)
{
    struct device device;
    char path[STN_FILE_PATH_MAX];
    *ret = (struct stn_choose_result){0};
    find_device(&device);
    if (device.rank == 0) {
        return;
    }
    bool has_path = name_file(path, folder, &device, model->arch, n_threads);
    if (has_path && recall(ret, path)) {
        return;
    }
    bool is_measured = true;
    if (fits(model, &device, n_threads)) {
        is_measured = time_model(&ret->gpu_s, model, GPU, n_threads, NULL) == STN_OK &&
                      time_model(&ret->cpu_s, model, NULL, n_threads, NULL) == STN_OK;
        ret->backend = is_measured && ret->gpu_s < ret->cpu_s ? GPU : NULL;
    }
    if (has_path && is_measured) { /* what failed today may work tomorrow */
        remember(ret, path);
    }
}
