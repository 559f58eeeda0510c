#include "client/cli/bench_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/command.h"
#include "base/progress.h"
#include "client/cli/builtin.h"
#include "client/cli/session.h"
#include "compute/model/random.h"
#include "io/file.h"

const char *const stn_bench_model_shapes[] = {"tiny", "125m", "large", "xl", "13b", NULL};
const char *const stn_bench_model_types[] = {"tq2_0", "tq1_0", NULL};

static bool on_progress(void *context, uint64_t done, uint64_t total)
{
    struct stn_progress *progress = context;
    progress->total = total;
    stn_progress_at(progress, done, "of a random model");
    return !stn_command_stopping();
}

static enum stn_code write_random(const struct stn_bench_model_options *o, const char *path, struct stn_err *err)
{
    char builtin[STN_FILE_PATH_MAX];
    struct stn_gguf *vocab = NULL;
    struct stn_progress progress;
    enum stn_code code = o->vocab != NULL ? STN_OK : stn_builtin_model(builtin, sizeof builtin, err);
    code = code != STN_OK ? code : stn_gguf_open(&vocab, o->vocab != NULL ? o->vocab : builtin, err);
    if (code == STN_OK) {
        stn_progress_start(&progress, "byte", 0);
        const struct stn_random_kind kind = {.arch = "bitnet", .table = STN_QUANT_F16,
                                             .type = stn_quant_named(stn_bench_model_types[o->type])->type};
        code = stn_random_write(stn_random_shape(stn_bench_model_shapes[o->shape]), &kind, vocab, o->seed, path, on_progress,
                                &progress, err);
        stn_progress_end(&progress);
    }
    stn_gguf_close(vocab);
    return code;
}

/* The mapping outlives the file's name. */
static enum stn_code open_random(struct stn_bench_model *bench, const struct stn_bench_model_options *o, struct stn_err *err)
{
    const char *place = getenv("TMPDIR");
    char folder[STN_FILE_PATH_MAX - 16], path[STN_FILE_PATH_MAX];
    int n = snprintf(folder, sizeof folder, "%s/sterna-bench-XXXXXX", place != NULL && place[0] != '\0' ? place : "/tmp");
    if (n < 0 || (size_t)n >= sizeof folder) {
        return stn_err_set(err, STN_LIMIT, "TMPDIR is too long a name");
    }
    if (mkdtemp(folder) == NULL) {
        return stn_err_errno(err, errno, "%s", folder);
    }
    enum stn_code code = stn_file_join(path, folder, "model.gguf", err);
    code = code != STN_OK ? code : write_random(o, path, err);
    code = code != STN_OK ? code : stn_model_open_with(&bench->model, path, &(struct stn_model_reading){.most = stn_session_most(o->backend, 0)}, err);
    enum stn_code removed = stn_file_remove_tree(folder, code == STN_OK ? err : NULL);
    (void)snprintf(bench->name, sizeof bench->name, "%s %s", stn_bench_model_shapes[o->shape],
                   stn_bench_model_types[o->type]);
    return code != STN_OK ? code : removed;
}

enum stn_code stn_bench_model_open(struct stn_bench_model *ret, const struct stn_bench_model_options *options,
                                   struct stn_err *err)
{
    struct stn_bench_model bench = {.n_threads = stn_session_threads(options->threads)};
    enum stn_code code;
    if (options->model != NULL) {
        const char *slash = strrchr(options->model, '/');
        (void)snprintf(bench.name, sizeof bench.name, "%s", slash == NULL ? options->model : slash + 1);
        code = stn_session_open_model(&bench.model, options->model, &options->reading, options->backend, err);
    } else {
        code = open_random(&bench, options, err);
    }
    if (code != STN_OK) {
        stn_bench_model_close(&bench);
        return code;
    }
    *ret = bench;
    return STN_OK;
}

void stn_bench_model_close(struct stn_bench_model *bench)
{
    stn_model_close(bench->model);
    *bench = (struct stn_bench_model){0};
}

static double target_macs(const struct stn_arch *arch, enum stn_arch_target target)
{
    return (double)stn_arch_in(arch, target) * (double)stn_arch_out(arch, target);
}

double stn_bench_model_forward_macs(const struct stn_bench_model *bench)
{
    return (double)stn_arch_n_ternary(stn_model_arch(bench->model));
}

double stn_bench_model_backward_macs(const struct stn_bench_model *bench, uint32_t targets)
{
    /* what runs before what: a product needs the gradient of its input where an adapted one lies before it */
    static const int places[STN_ARCH_N_TARGETS] = {[STN_ARCH_Q] = 0,    [STN_ARCH_K] = 0,  [STN_ARCH_V] = 0,   [STN_ARCH_O] = 1,
                                                   [STN_ARCH_GATE] = 2, [STN_ARCH_UP] = 2, [STN_ARCH_DOWN] = 3};
    const struct stn_arch *arch = stn_model_arch(bench->model);
    int first = STN_ARCH_N_TARGETS;
    double sum = 0;
    for (int t = 0; t < STN_ARCH_N_TARGETS; t++) {
        first = (targets >> t & 1) != 0 && places[t] < first ? places[t] : first;
    }
    for (int t = 0; t < STN_ARCH_N_TARGETS; t++) {
        double n_layers = arch->n_layers - (places[t] > first ? 0.0 : 1.0);
        sum += n_layers * target_macs(arch, (enum stn_arch_target)t);
    }
    return sum;
}

enum stn_code stn_bench_model_peak(const struct stn_bench_model *bench, size_t n_tokens, struct stn_peak *ret, json_t *object,
                                   struct stn_err *err)
{
    const struct stn_arch *arch = stn_model_arch(bench->model);
    enum stn_code code = stn_peak_measure(ret, stn_arch_out(arch, STN_ARCH_UP), stn_arch_in(arch, STN_ARCH_UP), n_tokens,
                                          bench->n_threads, err);
    if (code != STN_OK) {
        return code;
    }
    (void)json_object_set_new(object, "machine",
                              json_pack("{sf sf sf sf sf sf sf}", "integer_dot_gmac_per_s", ret->integer * 1e-9,
                                        "f32_gmac_per_s", ret->floats * 1e-9, "memory_gb_per_s", ret->bytes * 1e-9,
                                        "ternary_forward_gmac_per_s", ret->forward * 1e-9, "ternary_backward_gmac_per_s",
                                        ret->backward * 1e-9, "ternary_forward_fraction", ret->forward / ret->integer,
                                        "ternary_backward_fraction", ret->backward / ret->integer));
    return STN_OK;
}
