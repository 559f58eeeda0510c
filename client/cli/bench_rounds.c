#include "client/cli/bench_rounds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/cli/bench_load.h"
#include "client/cli/bench_sternad.h"
#include "client/cli/builtin.h"
#include "client/cli/session.h"
#include "client/shell/owner.h"
#include "compute/model/random.h"

#define TASK "bench"
#define MEMORY_FOLDER "/dev/shm"
#define TMPFS_MAGIC 0x01021994
#define WIDTH 256      /* of the model; an adapter of one product and rank 1 has twice as many values */
#define LAYERS_MOST 64
#define RANK_MOST 256
#define STALL_S 900 /* without a release */
/* Nobody is lost: many devices on the processors of one machine are slower than each on its own. */
#define DEADLINES "upload_s = 900\nshare_s = 900\nack_s = 900\nunmask_s = 900\n"

struct bench {
    const struct stn_bench_rounds_config *config;
    struct stn_bench_rounds *ret;
    char folder[STN_FILE_PATH_MAX];  /* the coordinator's side */
    char devices[STN_FILE_PATH_MAX]; /* the devices' */
    struct stn_random_shape shape;
    uint32_t rank;
    struct stn_bench_sternad sternad;
    struct stn_bench_load *load;
    uint64_t version;  /* that was seen last, */
    double version_s;  /* and when */
    double cpu_s;      /* of this process, and */
    json_t *before;    /* the coordinator's status, when every device had what the warm-up released */
};

/* ---- folders ---- */

static bool is_memory(const char *path)
{
    struct statfs st;
    return statfs(path, &st) == 0 && (unsigned long)st.f_type == TMPFS_MAGIC;
}

static enum stn_code make_folder(const char *in, char ret[static STN_FILE_PATH_MAX], struct stn_err *err)
{
    enum stn_code code = stn_file_join(ret, in, "sterna-bench-XXXXXX", err);
    return code != STN_OK || mkdtemp(ret) != NULL ? code : stn_err_errno(err, errno, "%s", ret);
}

/* ---- the task ---- */

/* Layers and a rank for an adapter of about n values on one product a layer: the fewest layers of the closest. */
static void choose_shape(struct bench *bench)
{
    uint64_t wanted = (bench->config->n_params + WIDTH) / (2 * WIDTH), least = UINT64_MAX;
    for (uint32_t layers = 1; layers <= LAYERS_MOST; layers++) {
        uint64_t rank = (wanted + layers / 2) / layers;
        rank = rank < 1 ? 1 : rank > RANK_MOST ? RANK_MOST : rank;
        uint64_t made = rank * layers, off = made > wanted ? made - wanted : wanted - made;
        if (off < least) {
            least = off;
            bench->rank = (uint32_t)rank;
            bench->shape = (struct stn_random_shape){"bench", WIDTH, layers, 4, 4, WIDTH};
        }
    }
    bench->ret->n_params = (uint64_t)2 * WIDTH * bench->rank * bench->shape.n_layers;
}

static enum stn_code write_model(const struct bench *bench, const char *path, struct stn_err *err)
{
    const struct stn_random_kind kind = {.arch = "bitnet", .type = STN_QUANT_TQ2_0, .table = STN_QUANT_F16};
    char builtin[STN_FILE_PATH_MAX];
    struct stn_gguf *vocab = NULL;
    enum stn_code code = stn_builtin_model(builtin, sizeof builtin, err);
    code = code == STN_OK ? stn_gguf_open(&vocab, builtin, err) : code;
    code = code == STN_OK ? stn_random_write(&bench->shape, &kind, vocab, bench->config->seed, path, NULL, NULL, err) : code;
    stn_gguf_close(vocab);
    return code;
}

static uint32_t n_min(const struct bench *bench)
{
    return bench->config->n_clients < STN_OWNER_N_MIN ? bench->config->n_clients : STN_OWNER_N_MIN;
}

static enum stn_code create_task(const struct bench *bench, struct stn_err *err)
{
    const struct stn_bench_rounds_config *config = bench->config;
    char path[STN_FILE_PATH_MAX], text[2048];
    json_t *reply = NULL;
    enum stn_code code = stn_file_join(path, bench->folder, "model.gguf", err);
    code = code == STN_OK ? write_model(bench, path, err) : code;
    if (code != STN_OK) {
        return code;
    }
    (void)snprintf(text, sizeof text,
                   "[task]\nname = " TASK "\nrounds = %u\nseed = %llu\n[model]\nbase = -\ntargets = q\nrank = %u\n"
                   "[train]\nlocal_steps = 1\n[cohort]\ntarget = %u\nn_min = %u\nsecure = %s\n" DEADLINES
                   "[merge]\nlora = both\n",
                   config->n_rounds + 1, (unsigned long long)config->seed, bench->rank, config->n_clients, n_min(bench),
                   config->secure ? "on" : "off");
    code = stn_bench_sternad_ask(&bench->sternad,
                                 json_pack("{ss ss ss ss}", "command", "task.create", "name", TASK, "text", text, "base", path),
                                 &reply, err);
    json_decref(reply);
    return code;
}

/* ---- watching ---- */

static enum stn_code ask(const struct bench *bench, const char *command, json_t **ret, struct stn_err *err)
{
    return stn_bench_sternad_ask(&bench->sternad, json_pack("{ss}", "command", command), ret, err);
}

static enum stn_code going_on(void *user, uint64_t version, struct stn_err *err)
{
    struct bench *bench = user;
    double now_s = stn_session_now_s();
    if (version != bench->version) {
        bench->version = version;
        bench->version_s = now_s;
    }
    if (now_s - bench->version_s > STALL_S) {
        return stn_err_set(err, STN_AGAIN, "round %llu has not ended in %d s", (unsigned long long)version + 1, STALL_S);
    }
    return stn_bench_sternad_check(&bench->sternad, err);
}

static enum stn_code begun(void *user, struct stn_err *err)
{
    struct bench *bench = user;
    bench->cpu_s = stn_session_cpu_s();
    return ask(bench, "status", &bench->before, err);
}

/* ---- what came of it ---- */

static double real_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* What the coordinator has taken between two of its statuses. */
static void count_usage(struct stn_bench_rounds *ret, const json_t *before, const json_t *after)
{
    const json_t *was = json_object_get(before, "process"), *is = json_object_get(after, "process");
    ret->cpu_s = real_of(is, "cpu_s") - real_of(was, "cpu_s");
    ret->sync_s = real_of(is, "sync_s") - real_of(was, "sync_s");
    ret->commit_s = real_of(is, "commit_s") - real_of(was, "commit_s");
    ret->n_syncs = (uint64_t)(real_of(is, "syncs") - real_of(was, "syncs"));
    ret->n_commits = (uint64_t)(real_of(is, "commits") - real_of(was, "commits"));
    ret->peak_rss = (uint64_t)real_of(is, "peak_rss_bytes");
    was = json_object_get(before, "wire");
    is = json_object_get(after, "wire");
    ret->n_requests = (uint64_t)(real_of(is, "requests") - real_of(was, "requests"));
    ret->n_bytes_in = (uint64_t)(real_of(is, "bytes_in") - real_of(was, "bytes_in"));
    ret->n_bytes_out = (uint64_t)(real_of(is, "bytes_out") - real_of(was, "bytes_out"));
}

/* released_ms (n + 2): when each version was, by the coordinator's clock. */
static enum stn_code read_releases(const struct bench *bench, double *released_ms, struct stn_err *err)
{
    const uint32_t n = bench->config->n_rounds;
    json_t *reply = NULL;
    enum stn_code code = ask(bench, "adapter.list", &reply, err);
    const json_t *adapters = json_object_get(reply, "adapters");
    for (size_t i = 0; i < json_array_size(adapters); i++) {
        const json_t *adapter = json_array_get(adapters, i);
        uint64_t version = (uint64_t)stn_operator_number(adapter, "version");
        if (version <= n + 1) {
            released_ms[version] = (double)stn_operator_number(adapter, "created_ms");
            bench->ret->n_updates += version > 1 ? (uint64_t)stn_operator_number(adapter, "included") : 0;
        }
    }
    json_decref(reply);
    return code;
}

static enum stn_code sum_up(const struct bench *bench, const struct stn_bench_load_round *rounds, struct stn_err *err)
{
    struct stn_bench_rounds *ret = bench->ret;
    json_t *after = NULL;
    double *released_ms = stn_mem_new((size_t)bench->config->n_rounds + 2, sizeof *released_ms);
    enum stn_code code = released_ms == NULL ? stn_err_set(err, STN_MEMORY, "no memory for times") : STN_OK;
    code = code == STN_OK ? ask(bench, "status", &after, err) : code;
    code = code == STN_OK ? read_releases(bench, released_ms, err) : code;
    if (code == STN_OK) {
        count_usage(ret, bench->before, after);
        ret->n = bench->config->n_rounds;
        ret->device_cpu_s = stn_session_cpu_s() - bench->cpu_s;
        for (uint32_t i = 0; i < ret->n; i++) {
            const struct stn_bench_load_round *round = &rounds[i + 1];
            ret->round_s[i] = (released_ms[i + 2] - released_ms[i + 1]) * 1e-3;
            ret->lease_s[i] = round->leased_s - released_ms[i + 1] * 1e-3;
            ret->join_s[i] = round->joined_s - round->leased_s;
            ret->upload_s[i] = round->uploaded_s - round->joined_s;
            ret->merge_s[i] = released_ms[i + 2] * 1e-3 - round->uploaded_s;
        }
    }
    json_decref(after);
    stn_mem_free(released_ms);
    return code;
}

/* ---- all of it ---- */

static enum stn_code load(struct bench *bench, struct stn_err *err)
{
    const struct stn_bench_rounds_config *config = bench->config;
    const struct stn_bench_load_round *rounds = NULL;
    json_t *reply = NULL;
    const struct stn_bench_load_config devices = {.folder = bench->devices, .task = TASK, .n = config->n_clients,
                                                  .n_min = n_min(bench), .n_threads = config->n_threads,
                                                  .last_version = (uint64_t)config->n_rounds + 1, .going_on = going_on,
                                                  .begun = begun, .user = bench};
    enum stn_code code = stn_bench_sternad_invite(&bench->sternad, config->n_clients, &reply, err);
    code = code == STN_OK ? stn_bench_load_new(&bench->load, &devices, json_object_get(reply, "urls"), err) : code;
    json_decref(reply);
    bench->version_s = stn_session_now_s();
    code = code == STN_OK ? stn_bench_load_run(bench->load, &rounds, err) : code;
    return code == STN_OK ? sum_up(bench, rounds, err) : code;
}

static enum stn_code run_in(struct bench *bench, struct stn_err *err)
{
    bench->ret->is_memory = is_memory(bench->folder);
    choose_shape(bench);
    enum stn_code code = stn_bench_sternad_start(&bench->sternad, bench->config->program, bench->folder, err);
    code = code == STN_OK ? create_task(bench, err) : code;
    code = code == STN_OK ? load(bench, err) : code;
    stn_bench_load_free(bench->load);
    stn_bench_sternad_stop(&bench->sternad);
    json_decref(bench->before);
    return code;
}

enum stn_code stn_bench_rounds_run(const struct stn_bench_rounds_config *config, struct stn_bench_rounds *ret,
                                   struct stn_err *err)
{
    struct bench *bench = stn_mem_new(1, sizeof *bench);
    if (bench == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a bench");
    }
    *ret = (struct stn_bench_rounds){0};
    bench->config = config;
    bench->ret = ret;
    enum stn_code code = make_folder(config->folder, bench->folder, err);
    if (code == STN_OK) { /* the devices' disks are not the coordinator's: in memory wherever there is such a folder */
        code = make_folder(is_memory(MEMORY_FOLDER) ? MEMORY_FOLDER : config->folder, bench->devices, err);
        code = code == STN_OK ? run_in(bench, err) : code;
        stn_err_ignore(stn_file_remove_tree(bench->devices, NULL)); /* it was not made */
    }
    enum stn_code removed = stn_file_remove_tree(bench->folder, code == STN_OK ? err : NULL);
    stn_mem_free(bench);
    return code != STN_OK ? code : removed;
}
