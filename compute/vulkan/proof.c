#include "compute/vulkan/proof.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "compute/vulkan/pipeline.h"
#include "compute/vulkan/specimen.h"
#include "compute/vulkan/vulkan.h"
#include "crypto/digest.h"
#include "io/file.h"

#define FILE_MOST ((size_t)4096)

#define JUDGEMENT 3u /* raised when a trial is held or judged otherwise: what was found before is tried again */

/* ---- what is remembered: the digest of what was tried, and the names of rows that failed, a line each ---- */

/* Of all that a result depends on, beside the driver, which is in the file's name. */
static void name_trial(const struct stn_gpu_caps *caps, const struct stn_vulkan_env *env, char ret[static STN_DIGEST_TEXT])
{
    const uint32_t has[] = {JUDGEMENT, stn_pipeline_device(caps), caps->shared,      caps->subgroup,  caps->matrix_i8.m,  caps->matrix_i8.n,
                            caps->matrix_i8.k,         caps->matrix_f16.m, caps->matrix_f16.n, caps->matrix_f16.k, caps->emulates};
    struct stn_digest_state state;
    const struct stn_pipeline_row *row;
    stn_digest_init(&state);
    stn_digest_add(&state, has, sizeof has);
    stn_digest_add(&state, &env->spoilt, sizeof env->spoilt);
    for (size_t i = 0; (row = stn_pipeline_at(i)) != NULL; i++) {
        stn_digest_add(&state, row->name, strlen(row->name) + 1);
        stn_digest_add(&state, row->code, row->size);
    }
    const struct stn_digest digest = stn_digest_end(&state);
    stn_digest_put_text(&digest, ret);
}

static bool recall(const char *path, const char *trial, uint64_t *ret)
{
    struct stn_buf buf = {0};
    char text[FILE_MOST + 1], *rest = NULL;
    if (stn_file_read(path, FILE_MOST, &buf, NULL) != STN_OK) {
        return false;
    }
    memcpy(text, buf.data, buf.size);
    text[buf.size] = '\0';
    stn_buf_fini(&buf);
    char *line = strtok_r(text, "\n", &rest);
    if (line == NULL || strcmp(line, trial) != 0) {
        return false;
    }
    *ret = 0;
    while ((line = strtok_r(NULL, "\n", &rest)) != NULL) {
        unsigned long long number = 0;
        if (sscanf(line, "%llu", &number) != 1 || number >= 64) {
            return false;
        }
        *ret |= (uint64_t)1 << number;
    }
    return true;
}

static void remember(const char *path, const char *trial, uint64_t bad)
{
    char text[FILE_MOST];
    const struct stn_pipeline_row *row;
    int n = snprintf(text, sizeof text, "%s\n", trial);
    for (size_t i = 0; (row = stn_pipeline_at(i)) != NULL; i++) {
        if ((bad >> i & 1) != 0) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%zu %s\n", i, row->name);
        }
    }
    stn_err_ignore(stn_file_replace(path, text, (size_t)n, STN_FILE_MODE, NULL)); /* then it is tried again next time */
}

/* Said when it is found, by the one who looks: whoever runs the device wants to know, and nothing fails that could say it. */
static void say(const struct stn_gpu_caps *caps, uint64_t bad)
{
    char name[STN_LOG_QUOTED];
    const struct stn_pipeline_row *row;
    for (size_t i = 0; (row = stn_pipeline_at(i)) != NULL; i++) {
        if ((bad >> i & 1) != 0) {
            stn_log(STN_LOG_WARN, "gpu_kernel_barred", "device=%s driver=%08x kernel=%s", stn_log_quote(name, caps->name),
                    caps->driver, row->name);
        }
    }
}

/* ---- a trial ---- */

struct trial {
    struct stn_specimen specimen;
    char *wanted, *got;
    uint64_t bad;
};

static const char *find(const struct trial *t, const char *results, uint32_t tensor)
{
    for (size_t i = 0; i < t->specimen.n_tensors && t->specimen.tensors[i].tensor != tensor; i++) {
        results += t->specimen.tensors[i].size;
    }
    return results;
}

/* Rows that have others behind them, for devices that lack something, of steps from one on. */
static uint64_t specials(unsigned step)
{
    uint64_t set = 0;
    const struct stn_pipeline_row *row;
    for (size_t i = 0; (row = stn_pipeline_at(i)) != NULL; i++) {
        set |= row->step >= step && (row->needs & STN_PIPELINE_OF_DEVICE) != 0 ? (uint64_t)1 << i : 0;
    }
    return set;
}

/* The rows that a backend took for a node, and whether what they made is right. Where it is not, and some of them have others behind
 * them, it is these that are bad: what the rest does with the others is seen in a later round. */
static void judge(struct trial *t, const struct stn_backend *backend, size_t number, uint64_t *ret_special)
{
    const struct stn_node *node = &t->specimen.graph.passes[0].nodes[number];
    uint64_t used = stn_vulkan_rows(backend, 0, number), special = used & specials(0);
    bool ok = true;
    for (size_t i = 0; i < stn_op_row(node->op)->n_outputs && ok; i++) {
        ok = stn_specimen_agrees(&t->specimen, node->out[i], find(t, t->got, node->out[i]), find(t, t->wanted, node->out[i]));
    }
    t->bad |= ok ? 0 : special != 0 ? special : used;
    *ret_special |= special;
}

/* One round: the best rows but those barred. *ret_special: those of them that have others behind them. */
static enum stn_code try_rows(struct trial *t, uint64_t barred, const struct stn_vulkan_env *env, uint64_t *ret_special,
                              struct stn_err *err)
{
    struct stn_backend *backend;
    enum stn_code code = stn_vulkan_new_bare(&backend, &t->specimen.graph, env, barred, err);
    *ret_special = 0;
    if (code != STN_OK) {
        return code;
    }
    code = stn_specimen_run(&t->specimen, backend, t->got, err);
    for (size_t n = 0; n < t->specimen.graph.passes[0].n_nodes && code == STN_OK; n++) {
        judge(t, backend, n, ret_special);
    }
    stn_vulkan_backend.free(backend);
    return code;
}

static enum stn_code run_on_cpu(struct trial *t, struct stn_err *err)
{
    const struct stn_backend_row *cpu = stn_backend_find("cpu");
    struct stn_backend *backend;
    enum stn_code code = cpu->new_for(&backend, &t->specimen.graph, 1, err);
    if (code == STN_OK) {
        code = stn_specimen_run(&t->specimen, backend, t->wanted, err);
        cpu->free(backend);
    }
    return code;
}

static enum stn_code try_all(uint64_t *ret_bad, const struct stn_gpu_caps *caps, const struct stn_vulkan_env *env,
                             struct stn_err *err)
{
    struct trial t = {.bad = 0};
    uint64_t barred = 0, later = specials(1), special = 0;
    bool wide = !caps->emulates && (caps->matrix_i8.m > 0 || caps->matrix_f16.m > 0);
    enum stn_code code = stn_specimen_init(&t.specimen, wide, err);
    if (code != STN_OK) {
        return code;
    }
    t.wanted = stn_mem_new(stn_specimen_size(&t.specimen), 1);
    t.got = stn_mem_new(stn_specimen_size(&t.specimen), 1);
    code = t.wanted == NULL || t.got == NULL ? stn_err_set(err, STN_MEMORY, "no memory to try a device's kernels")
                                             : run_on_cpu(&t, err);
    /* an op's first step is tried with plain ones behind it, so that one that is wrong is known from the other */
    for (bool more = code == STN_OK; more; later = 0) {
        code = try_rows(&t, barred | later, env, &special, err);
        barred |= special;
        more = code == STN_OK && (special | later) != 0;
    }
    if (code == STN_OK) { /* and once as they work together, unless an op has none left: what wants it hears of it */
        code = try_rows(&t, t.bad, env, &special, err);
        code = code == STN_UNSUPPORTED ? STN_OK : code;
    }
    *ret_bad = t.bad;
    stn_mem_free(t.wanted);
    stn_mem_free(t.got);
    stn_specimen_fini(&t.specimen);
    return code;
}

enum stn_code stn_proof_find(uint64_t *ret_barred, const struct stn_gpu_caps *caps, const struct stn_vulkan_env *env,
                             struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX], trial[STN_DIGEST_TEXT];
    bool has_path = stn_pipelines_path(caps, env->folder, ".proof", path);
    uint64_t bad = 0;
    enum stn_code code = STN_OK;
    name_trial(caps, env, trial);
    if (!has_path || !recall(path, trial, &bad)) {
        code = try_all(&bad, caps, env, err);
        say(caps, bad);
        if (code == STN_OK && has_path) {
            remember(path, trial, bad);
        }
    }
    *ret_barred = bad | env->barred;
    return code;
}
