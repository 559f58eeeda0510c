#include "client/cli/bench_load.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/command.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "base/str.h"
#include "channel/url.h"
#include "client/shell/delta.h"
#include "client/shell/device.h"
#include "client/shell/job.h"
#include "client/shell/joining.h"
#include "compute/model/gguf.h"

#define JOIN_MS 60000
#define WATCH_MS 100
#define FILES 4         /* that a device holds open, at most */
#define FILES_BESIDE 256
#define EXAMPLES 16 /* that each says it has */

struct device {
    struct stn_bench_load *load;
    struct stn_device *device;
    uint32_t phase;
    uint64_t lease;
    uint64_t version; /* in place */
};

struct stn_bench_load {
    struct stn_bench_load_config config;
    char folder[STN_FILE_PATH_MAX - 64];
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_worker *worker;
    struct stn_device_host host;
    struct stn_timer watch;
    struct stn_progress progress;
    struct device *devices;
    size_t n_open; /* on the loop */
    uint64_t n_there; /* devices with the last version in place */
    uint64_t version; /* the newest that any has in place */
    bool is_ending;
    enum stn_code code;
    struct stn_err err;
    struct stn_bench_load_round *rounds;
};

/* ---- folders ---- */

static void name_file(const struct stn_bench_load *load, uint32_t i, const char *name, char ret[static STN_FILE_PATH_MAX])
{
    (void)snprintf(ret, STN_FILE_PATH_MAX, "%s/%05u%s", load->folder, i, name);
}

static enum stn_code write_text(const char *path, const char *text, struct stn_err *err)
{
    return stn_file_replace(path, text, strlen(text), STN_FILE_MODE, err);
}

static enum stn_code write_data(const struct stn_bench_load *load, struct stn_err *err)
{
    static const char line[] = "{\"text\": \"nobody reads this\"}\n";
    char path[STN_FILE_PATH_MAX], text[EXAMPLES * sizeof line] = "";
    for (int i = 0; i < EXAMPLES; i++) {
        (void)memcpy(text + (size_t)i * (sizeof line - 1), line, sizeof line);
    }
    (void)snprintf(path, sizeof path, "%s/data.jsonl", load->folder);
    return write_text(path, text, err);
}

/* What an owner may have written: a floor, the data, and that plain rounds will do. Everything else is as it comes. */
static enum stn_code write_config(const struct stn_bench_load *load, uint32_t i, const char *url_text, struct stn_err *err)
{
    struct stn_url url;
    char path[STN_FILE_PATH_MAX], key[65], directory[65];
    struct stn_buf text = {0};
    enum stn_code code = stn_url_get(&url, url_text, err);
    if (code != STN_OK) {
        return code;
    }
    stn_hex_put(key, url.key, sizeof url.key);
    stn_hex_put(directory, url.directory, sizeof url.directory);
    bool ok = stn_buf_printf(&text, "[server]\nurl = tcp://%s:%u\nkey = %s\ndirectory = %s\n", url.host, url.port, key, directory);
    name_file(load, i, "", path);
    ok = ok && stn_buf_printf(&text, "[agent]\ndir = %s\nn_min = %u\nallow_plain = yes\n[data]\n%s = %s/data.jsonl\n", path, load->config.n_min,
                                load->config.task, load->folder);
    name_file(load, i, ".conf", path);
    code = ok ? stn_file_replace(path, text.data, text.size, STN_FILE_MODE, err)
              : stn_err_set(err, STN_MEMORY, "no memory for a device's config");
    stn_buf_fini(&text);
    return code;
}

static bool stopping(void)
{
    return stn_command_stopping();
}

static enum stn_code enrol(const struct stn_bench_load *load, uint32_t i, const char *url, struct stn_err *err)
{
    char folder[STN_FILE_PATH_MAX], config[STN_FILE_PATH_MAX];
    struct stn_joining_result result;
    name_file(load, i, "", folder);
    name_file(load, i, ".conf", config);
    const struct stn_joining joining = {.url = url, .dir = folder, .config = config, .timeout_ms = JOIN_MS, .stopping = stopping};
    enum stn_code code = write_config(load, i, url, err);
    code = code == STN_OK ? stn_joining_run(&joining, &result, err) : code;
    return code == STN_OK ? STN_OK : stn_err_prefix(err, "device %u", i);
}

static enum stn_code enrol_all(struct stn_bench_load *load, const json_t *urls, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    stn_progress_start(&load->progress, "device", load->config.n);
    for (uint32_t i = 0; i < load->config.n && code == STN_OK; i++) {
        const char *url = json_string_value(json_array_get(urls, i));
        code = url == NULL ? stn_err_set(err, STN_INVALID, "%zu join URLs for %u devices", json_array_size(urls), load->config.n)
                           : enrol(load, i, url, err);
        stn_progress_at(&load->progress, i + 1, "enrolled");
    }
    stn_progress_end(&load->progress);
    return code;
}

/* ---- in place of training ---- */

/* Uniform, so that its norm is about 1 for any length. By position, which a compiler turns into vectors: what stands for
 * a training is to take as little as can be. */
static void draw(float *values, size_t n, uint64_t seed)
{
    const float scale = sqrtf(3.0f / (float)n) * 0x1p-31f;
    const uint32_t start = (uint32_t)stn_rng_mix(seed);
    for (size_t i = 0; i < n; i++) {
        uint32_t x = start + (uint32_t)i * 0x9e3779b9u;
        x = (x ^ x >> 16) * 0x85ebca6bu;
        x = (x ^ x >> 13) * 0xc2b2ae35u;
        values[i] = scale * (float)(int32_t)(x ^ x >> 16);
    }
}

static enum stn_code count_values(const char *path, size_t *ret, struct stn_err *err)
{
    struct stn_gguf *gguf = NULL;
    enum stn_code code = stn_gguf_open(&gguf, path, err);
    *ret = 0;
    for (size_t i = 0; code == STN_OK && i < gguf->n_tensors; i++) {
        *ret += (size_t)(gguf->tensors[i].ne[0] * gguf->tensors[i].ne[1]);
    }
    stn_gguf_close(gguf);
    return code;
}

static enum stn_code draw_delta(struct stn_work *work, struct stn_err *err)
{
    const struct stn_msg_lease *lease = &work->lease;
    struct stn_delta delta = {.info = {.n_samples = EXAMPLES, .loss_sum = EXAMPLES, .n_tokens = EXAMPLES}};
    enum stn_code code = count_values(work->adapter, &delta.n_values, err);
    if (code == STN_OK) {
        delta.values = stn_mem_new(delta.n_values, sizeof *delta.values);
        code = delta.values == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a delta") : STN_OK;
    }
    if (code == STN_OK) {
        draw(delta.values, delta.n_values, stn_job_seed(lease->seed, lease->version, &work->device));
        code = stn_delta_write(work->out, lease, &delta, err);
        work->n_samples = EXAMPLES;
    }
    stn_mem_free(delta.values);
    return code;
}

static void work(struct stn_job *job)
{
    struct stn_work *here = STN_LIST_OF(job, struct stn_work, job);
    if (here->kind == STN_WORK_TRAIN) {
        here->code = draw_delta(here, &here->err);
    } else if (here->kind == STN_WORK_INSTALL) {
        here->code = STN_OK; /* it is judged by nobody, and used by nobody */
    } else {
        stn_work_run(job);
    }
}

/* ---- what they do ---- */

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void end(struct stn_bench_load *load, enum stn_code code)
{
    if (load->is_ending) {
        return;
    }
    load->is_ending = true;
    load->code = code;
    stn_loop_disarm(load->loop, &load->watch);
    for (uint32_t i = 0; i < load->config.n; i++) {
        if (load->devices[i].device != NULL) {
            stn_device_stop(load->devices[i].device);
        }
    }
}

/* A device that has all that it is to fetch goes through several phases in one step. */
static void note_phase(struct device *device, const struct stn_agent_record *record)
{
    uint64_t version = record->lease.version;
    if (record->phase == STN_AGENT_IDLE || version >= device->load->config.last_version) {
        return;
    }
    struct stn_bench_load_round *round = &device->load->rounds[version];
    if (record->lease.lease != device->lease) {
        device->lease = record->lease.lease;
        round->leased_s = now_s();
    }
    if (record->phase == STN_AGENT_JOINED) {
        round->joined_s = now_s();
    } else if (record->phase == STN_AGENT_UPLOADED) {
        round->uploaded_s = now_s();
    }
}

static void on_changed(void *user)
{
    struct device *device = user;
    struct stn_bench_load *load = device->load;
    const struct stn_agent_record *record = stn_agent_record(device->device->core);
    uint64_t version = record->n_installed > 0 ? record->installed[0].version : 0;
    if (record->phase != device->phase) {
        device->phase = record->phase;
        note_phase(device, record);
    }
    if (version > device->version) {
        load->n_there += version >= load->config.last_version && device->version < load->config.last_version;
        device->version = version;
    }
    if (version > load->version && load->code == STN_OK) {
        load->version = version;
        load->code = load->config.released(load->config.user, version, &load->err);
    }
    if (load->n_there == load->config.n || load->code != STN_OK) {
        stn_loop_arm(load->loop, &load->watch, 0); /* not from within a device's step */
    }
}

static void on_watch(struct stn_timer *timer)
{
    struct stn_bench_load *load = STN_LIST_OF(timer, struct stn_bench_load, watch);
    enum stn_code code;
    if (load->n_there == load->config.n || load->code != STN_OK) {
        end(load, load->code);
    } else if (stn_command_stopping()) {
        end(load, stn_err_set(&load->err, STN_CANCELLED, "stopped after %llu rounds", (unsigned long long)load->version));
    } else if ((code = load->config.going_on(load->config.user, load->version, &load->err)) != STN_OK) {
        end(load, code);
    } else {
        stn_progress_at(&load->progress, load->version, "");
        stn_loop_arm(load->loop, &load->watch, WATCH_MS);
    }
}

static void on_closed(void *user) /* one device */
{
    struct stn_bench_load *load = user;
    if (--load->n_open > 0) {
        return;
    }
    stn_worker_close(load->worker);
    stn_mailbox_close(load->mailbox, NULL, NULL);
    load->worker = NULL;
    load->mailbox = NULL;
}

/* ---- life ---- */

/* A connection and a lock for each, and what an upload and a download hold open. */
static enum stn_code allow_files(uint32_t n, struct stn_err *err)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)FILES * n + FILES_BESIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) {
        return STN_OK;
    }
    limit.rlim_cur = limit.rlim_max;
    return limit.rlim_max >= wanted && setrlimit(RLIMIT_NOFILE, &limit) == 0
               ? STN_OK
               : stn_err_set(err, STN_LIMIT, "%u devices hold up to %llu files open, this process may %llu (ulimit -n)", n,
                             (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
}

enum stn_code stn_bench_load_new(struct stn_bench_load **ret, const struct stn_bench_load_config *config, const json_t *urls,
                                 struct stn_err *err)
{
    struct stn_bench_load *load = stn_mem_new(1, sizeof *load);
    if (load == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a load");
    }
    load->config = *config;
    load->host = (struct stn_device_host){.work = work, .closed = on_closed, .user = load};
    load->watch.fire = on_watch;
    load->devices = stn_mem_new(config->n, sizeof *load->devices);
    load->rounds = stn_mem_new((size_t)config->last_version, sizeof *load->rounds);
    enum stn_code code = load->devices == NULL || load->rounds == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %u devices", config->n)
                         : stn_str_copy(load->folder, sizeof load->folder, config->folder)
                             ? stn_file_make_folder(load->folder, 0700, err)
                             : stn_err_set(err, STN_LIMIT, "%.80s...: the path is too long", config->folder);
    code = code == STN_OK ? allow_files(config->n, err) : code;
    code = code == STN_OK ? write_data(load, err) : code;
    code = code == STN_OK ? enrol_all(load, urls, err) : code;
    if (code != STN_OK) {
        stn_bench_load_free(load);
        return code;
    }
    *ret = load;
    return STN_OK;
}

static enum stn_code open_all(struct stn_bench_load *load, struct stn_err *err)
{
    char config[STN_FILE_PATH_MAX];
    enum stn_code code = stn_loop_open(&load->loop, err);
    code = code == STN_OK ? stn_mailbox_open(&load->mailbox, load->loop, err) : code;
    code = code == STN_OK ? stn_worker_open(&load->worker, load->mailbox, load->config.n_threads, err) : code;
    load->host.loop = load->loop;
    load->host.mailbox = load->mailbox;
    load->host.worker = load->worker;
    for (uint32_t i = 0; i < load->config.n && code == STN_OK; i++) {
        struct device *device = &load->devices[i];
        name_file(load, i, ".conf", config);
        device->load = load;
        code = stn_device_open_in(&device->device, &load->host, config, err);
        if (code == STN_OK) {
            load->n_open++;
            device->device->changed = on_changed;
            device->device->user = device;
        }
    }
    return code;
}

enum stn_code stn_bench_load_run(struct stn_bench_load *load, const struct stn_bench_load_round **ret_rounds, struct stn_err *err)
{
    enum stn_code code = open_all(load, err);
    if (code == STN_OK) {
        stn_progress_start(&load->progress, "round", load->config.last_version);
        stn_loop_arm(load->loop, &load->watch, WATCH_MS);
        for (uint32_t i = 0; i < load->config.n; i++) {
            stn_device_start(load->devices[i].device);
        }
        stn_loop_run(load->loop);
        stn_progress_end(&load->progress);
        *err = load->err;
        code = load->code;
    }
    *ret_rounds = load->rounds;
    return code;
}

void stn_bench_load_free(struct stn_bench_load *load)
{
    if (load == NULL) {
        return;
    }
    if (load->loop != NULL) {
        end(load, STN_OK);
        if (load->n_open == 0) { /* none was opened, or all are closed */
            stn_worker_close(load->worker);
            stn_mailbox_close(load->mailbox, NULL, NULL);
        }
        stn_loop_run(load->loop);
    }
    for (uint32_t i = 0; load->devices != NULL && i < load->config.n; i++) {
        stn_device_close(load->devices[i].device);
    }
    stn_loop_close(load->loop);
    stn_mem_free(load->devices);
    stn_mem_free(load->rounds);
    stn_mem_free(load);
}
