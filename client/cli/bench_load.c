#include "client/cli/bench_load.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
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
#include "io/fd.h"

#define JOIN_MS 60000
#define WATCH_MS 100
#define GROUPS_MOST 64
#define FILES 4         /* that a device holds open, at most */
#define FILES_BESIDE 256
#define EXAMPLES 16 /* that each says it has */

struct device {
    struct group *group;
    struct stn_device *device;
    uint32_t phase;
    uint64_t lease;
    uint64_t version; /* in place */
};

struct group { /* devices of one loop, which is a thread's alone */
    struct stn_bench_load *load;
    pthread_t thread;
    bool has_thread;
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_worker *worker;
    struct stn_device_host host;
    struct stn_timer watch;
    struct device *devices;
    uint32_t n;
    size_t n_open; /* on the loop */
    bool is_ending;
    struct stn_bench_load_round *rounds;
};

struct stn_bench_load {
    struct stn_bench_load_config config;
    char folder[STN_FILE_PATH_MAX - 64];
    struct stn_progress progress;
    struct device *devices;
    struct stn_bench_load_round *rounds;
    uint32_t n_groups;
    struct group groups[GROUPS_MOST];
    /* of all threads */
    atomic_uint n_begun, n_there;  /* devices with version 1, and with the last one, in place */
    atomic_uint_fast64_t version;  /* the newest that any has in place */
    atomic_bool is_blamed, is_over; /* somebody has an error; err has it */
    struct stn_err err;
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

#define STRIDE 16 /* values that are drawn side by side */

static inline float value_at(uint32_t x, float scale)
{
    x *= 0x9e3779b9u;
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return scale * (float)(int32_t)(x ^ x >> 16);
}

/* Uniform, so that its norm is about 1 for any length. By position and in strides of one length, which a compiler turns into
 * vectors: what stands for a training is to take as little as can be. */
static void draw(float *values, size_t n, uint64_t seed)
{
    const float scale = sqrtf(3.0f / (float)n) * 0x1p-31f;
    const uint32_t start = (uint32_t)stn_rng_mix(seed);
    size_t i = 0;
    for (; i + STRIDE <= n; i += STRIDE) {
        for (uint32_t k = 0; k < STRIDE; k++) {
            values[i + k] = value_at(start + (uint32_t)i + k, scale);
        }
    }
    for (; i < n; i++) {
        values[i] = value_at(start + (uint32_t)i, scale);
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
        delta.values = stn_mem_grow(NULL, delta.n_values, sizeof *delta.values);
        code = delta.values == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a delta") : STN_OK;
    }
    if (code == STN_OK) {
        draw(delta.values, delta.n_values, stn_job_seed(lease->seed, lease->version, &work->device));
        code = stn_delta_write(work->out, lease, &delta, err);
        work->n_samples = EXAMPLES;
    }
    if (code == STN_OK) {
        stn_work_keep_made(work, &delta);
    }
    stn_delta_free(&delta);
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

/* The first error is the load's. */
static void fail(struct stn_bench_load *load, const struct stn_err *err)
{
    if (!atomic_exchange(&load->is_blamed, true)) {
        load->err = *err;
        atomic_store(&load->is_over, true);
    }
}

static void end(struct group *group)
{
    if (group->is_ending) {
        return;
    }
    group->is_ending = true;
    stn_loop_disarm(group->loop, &group->watch);
    for (uint32_t i = 0; i < group->n; i++) {
        if (group->devices[i].device != NULL) {
            stn_device_stop(group->devices[i].device);
        }
    }
}

/* A device that has all that it is to fetch goes through several phases in one step. */
static void note_phase(struct device *device, const struct stn_agent_record *record)
{
    uint64_t version = record->lease.version;
    if (record->phase == STN_AGENT_IDLE || version >= device->group->load->config.last_version) {
        return;
    }
    struct stn_bench_load_round *round = &device->group->rounds[version];
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

static void note_version(struct stn_bench_load *load, uint64_t before, uint64_t version)
{
    struct stn_err err;
    uint_fast64_t newest = atomic_load(&load->version);
    while (version > newest && !atomic_compare_exchange_weak(&load->version, &newest, version)) {
    }
    if (before == 0 && atomic_fetch_add(&load->n_begun, 1) + 1 == load->config.n &&
        load->config.begun(load->config.user, &err) != STN_OK) {
        fail(load, &err);
    }
}

static void on_changed(void *user)
{
    struct device *device = user;
    struct stn_bench_load *load = device->group->load;
    const struct stn_agent_record *record = stn_agent_record(device->device->core);
    const uint64_t version = record->n_installed > 0 ? record->installed[0].version : 0, last = load->config.last_version;
    if (record->phase != device->phase) {
        device->phase = record->phase;
        note_phase(device, record);
    }
    if (version > device->version) {
        bool is_there = version >= last && device->version < last;
        note_version(load, device->version, version);
        device->version = version;
        if (is_there && atomic_fetch_add(&load->n_there, 1) + 1 == load->config.n) {
            stn_loop_arm(device->group->loop, &device->group->watch, 0); /* not from within a device's step */
        }
    }
}

/* What one of them looks after for all. */
static void look_after(struct stn_bench_load *load)
{
    struct stn_err err;
    uint64_t version = atomic_load(&load->version);
    if (stn_command_stopping()) {
        (void)stn_err_set(&err, STN_CANCELLED, "stopped after %llu rounds", (unsigned long long)version);
        fail(load, &err);
    } else if (load->config.going_on(load->config.user, version, &err) != STN_OK) {
        fail(load, &err);
    } else {
        stn_progress_at(&load->progress, version, "");
    }
}

static void on_watch(struct stn_timer *timer)
{
    struct group *group = STN_LIST_OF(timer, struct group, watch);
    struct stn_bench_load *load = group->load;
    if (group == load->groups) {
        look_after(load);
    }
    if (atomic_load(&load->is_over) || atomic_load(&load->n_there) == load->config.n) {
        end(group);
    } else {
        stn_loop_arm(group->loop, &group->watch, WATCH_MS);
    }
}

static void close_threads(struct group *group)
{
    stn_worker_close(group->worker);
    stn_mailbox_close(group->mailbox, NULL, NULL);
    group->worker = NULL;
    group->mailbox = NULL;
}

static void on_closed(void *user) /* one device */
{
    struct group *group = user;
    if (--group->n_open == 0) {
        close_threads(group);
    }
}

/* ---- life ---- */

/* A connection and a lock for each, and what an upload and a download hold open. */
static enum stn_code allow_files(uint32_t n, struct stn_err *err)
{
    const uint64_t wanted = (uint64_t)FILES * n + FILES_BESIDE, allowed = stn_fd_allow();
    return allowed >= wanted
               ? STN_OK
               : stn_err_set(err, STN_LIMIT, "%u devices hold up to %llu files open, this process may %llu (ulimit -n)", n,
                             (unsigned long long)wanted, (unsigned long long)allowed);
}

enum stn_code stn_bench_load_new(struct stn_bench_load **ret, const struct stn_bench_load_config *config, const json_t *urls,
                                 struct stn_err *err)
{
    struct stn_bench_load *load = stn_mem_new(1, sizeof *load);
    if (load == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a load");
    }
    load->config = *config;
    load->n_groups = config->n_threads < GROUPS_MOST ? config->n_threads : GROUPS_MOST;
    load->n_groups = load->n_groups < config->n ? load->n_groups : config->n;
    load->devices = stn_mem_new(config->n, sizeof *load->devices);
    load->rounds = stn_mem_new((size_t)config->last_version * (load->n_groups + 1), sizeof *load->rounds);
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

static enum stn_code open_group(struct stn_bench_load *load, uint32_t number, uint32_t first, uint32_t n, struct stn_err *err)
{
    char config[STN_FILE_PATH_MAX];
    struct group *group = &load->groups[number];
    group->load = load;
    group->devices = load->devices + first;
    group->n = n;
    group->rounds = load->rounds + (size_t)load->config.last_version * (number + 1);
    group->watch.fire = on_watch;
    enum stn_code code = stn_loop_open(&group->loop, err);
    code = code == STN_OK ? stn_mailbox_open(&group->mailbox, group->loop, err) : code;
    code = code == STN_OK ? stn_worker_open(&group->worker, group->mailbox,
                                            (load->config.n_threads + load->n_groups - 1) / load->n_groups, err)
                          : code;
    group->host = (struct stn_device_host){.loop = group->loop, .mailbox = group->mailbox, .worker = group->worker,
                                           .work = work, .closed = on_closed, .user = group};
    for (uint32_t i = 0; i < n && code == STN_OK; i++) {
        struct device *device = &group->devices[i];
        name_file(load, first + i, ".conf", config);
        device->group = group;
        code = stn_device_open_in(&device->device, &group->host, config, err);
        if (code == STN_OK) {
            group->n_open++;
            device->device->changed = on_changed;
            device->device->user = device;
        }
    }
    return code;
}

static void *run_group(void *user)
{
    struct group *group = user;
    stn_loop_arm(group->loop, &group->watch, WATCH_MS);
    for (uint32_t i = 0; i < group->n; i++) {
        stn_device_start(group->devices[i].device);
    }
    stn_loop_run(group->loop);
    return NULL;
}

/* The last of all groups. */
static void join_rounds(struct stn_bench_load *load)
{
    for (uint64_t i = 0; i < load->config.last_version; i++) {
        struct stn_bench_load_round *all = &load->rounds[i];
        for (uint32_t g = 0; g < load->n_groups; g++) {
            const struct stn_bench_load_round *one = &load->groups[g].rounds[i];
            all->leased_s = fmax(all->leased_s, one->leased_s);
            all->joined_s = fmax(all->joined_s, one->joined_s);
            all->uploaded_s = fmax(all->uploaded_s, one->uploaded_s);
        }
    }
}

/* The first group is this thread's. */
static enum stn_code run_all(struct stn_bench_load *load, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    for (uint32_t i = 1; i < load->n_groups && code == STN_OK; i++) {
        int failed = pthread_create(&load->groups[i].thread, NULL, run_group, &load->groups[i]);
        load->groups[i].has_thread = failed == 0;
        code = failed == 0 ? STN_OK : stn_err_errno(err, failed, "a thread for devices");
    }
    if (code == STN_OK) {
        (void)run_group(&load->groups[0]);
    } else {
        fail(load, err);
    }
    for (uint32_t i = 1; i < load->n_groups; i++) {
        if (load->groups[i].has_thread) {
            (void)pthread_join(load->groups[i].thread, NULL);
        }
    }
    *err = load->err;
    return load->err.code;
}

enum stn_code stn_bench_load_run(struct stn_bench_load *load, const struct stn_bench_load_round **ret_rounds, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    uint32_t first = 0;
    stn_mem_hoard(); /* as many devices as this in one process are the bench's, and so is what it costs to page in their vectors */
    for (uint32_t i = 0; i < load->n_groups && code == STN_OK; i++) {
        uint32_t n = load->config.n / load->n_groups + (i < load->config.n % load->n_groups);
        code = open_group(load, i, first, n, err);
        first += n;
    }
    if (code == STN_OK) {
        stn_progress_start(&load->progress, "round", load->config.last_version);
        code = run_all(load, err);
        stn_progress_end(&load->progress);
        join_rounds(load);
    }
    *ret_rounds = load->rounds;
    return code;
}

static void close_group(struct group *group)
{
    if (group->loop == NULL) {
        return;
    }
    end(group);
    if (group->n_open == 0) { /* none was opened, or all are closed */
        close_threads(group);
    }
    stn_loop_run(group->loop);
    for (uint32_t i = 0; i < group->n; i++) {
        stn_device_close(group->devices[i].device);
    }
    stn_loop_close(group->loop);
}

void stn_bench_load_free(struct stn_bench_load *load)
{
    if (load == NULL) {
        return;
    }
    for (uint32_t i = 0; i < load->n_groups; i++) {
        close_group(&load->groups[i]);
    }
    stn_mem_free(load->devices);
    stn_mem_free(load->rounds);
    stn_mem_free(load);
}
