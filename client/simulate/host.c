#include "client/simulate/host.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/command.h"
#include "base/mem.h"
#include "base/str.h"
#include "update/pack.h"
#include "update/round.h"

#define TOKENS_PER_S 400.0 /* what a device trains, on average; each has its own, log-normal */
#define SPREAD 0.4         /* of its logarithm */
#define BYTES_PER_MS 1000  /* what a device sends and receives */
#define DOWN_MS 600000     /* most that a vanished device stays away */
#define RETRY_FIRST_MS 1000
#define RETRY_MOST_MS 60000
/* A world in which no version comes out for so many times the longest that a round may take is stuck. */
#define STUCK_AFTER_ROUNDS 20

void stn_host_fail(struct stn_host *host, const struct stn_err *err)
{
    if (host->err.code == STN_OK) {
        host->err = *err;
    }
}

/* ---- a device's work ---- */

/* What a training will take, known before it is done: the rows of a step are its examples' mean length. */
static uint64_t training_ms(const struct stn_host *host, uint32_t number, const struct stn_train_spec *spec)
{
    const struct stn_dataset *dataset = host->lab->clients[number];
    double rows = (double)dataset->counts.n_tokens / (double)dataset->n_examples;
    double examples = spec->batch_examples > 0 ? spec->batch_examples : spec->batch_tokens / rows;
    double n = spec->local_steps > 0 ? spec->local_steps * examples : spec->local_epochs * (double)dataset->n_examples;
    return 1 + (uint64_t)(n * rows / host->devices[number].tokens_per_ms);
}

static void wait_for(struct stn_host *host, struct stn_host_device *device)
{
    if (device->is_training) {
        stn_pool_wait(host->lab->pool, &device->training.task);
        device->is_training = false;
    }
}

/* Who a device is to the order of its examples: its number, so that no result depends on its keys. */
static struct stn_id numbered(uint32_t number)
{
    struct stn_id id;
    memset(id.bytes, 0x5a, sizeof id.bytes);
    stn_buf_put_u32(id.bytes, number);
    return id;
}

static uint64_t train(void *context, uint32_t number, const struct stn_msg_lease *lease)
{
    struct stn_host *host = context;
    struct stn_host_device *device = &host->devices[number];
    struct stn_host_version *version = stn_host_merge_find(host, &lease->adapter.digest);
    struct stn_id id = numbered(number);
    wait_for(host, device); /* one that its device did not live to see the end of */
    if (version == NULL) {
        return 1; /* so old that its delta would be refused */
    }
    version->n_training++;
    memcpy(device->from, version->values, host->lab->n_values * sizeof *device->from);
    device->training = (struct stn_lab_training){.task = {.run = stn_lab_train},
                                                 .lab = host->lab,
                                                 .dataset = host->lab->clients[number],
                                                 .spec = lease->train,
                                                 .tier = device->tier,
                                                 .from = device->from,
                                                 .seed = stn_job_seed(lease->seed, lease->version, &id),
                                                 .delta = device->delta};
    stn_pool_submit(host->lab->pool, &device->training.task);
    device->is_training = true;
    return training_ms(host, number, &lease->train);
}

static enum stn_code trained(void *context, uint32_t number, const struct stn_msg_lease *lease, uint64_t *ret_n_samples,
                             uint32_t *ret_tier)
{
    struct stn_host *host = context;
    struct stn_host_device *device = &host->devices[number];
    (void)lease;
    if (!device->is_training) {
        return STN_LATE;
    }
    wait_for(host, device);
    if (device->training.code != STN_OK && device->training.code != STN_CANCELLED) {
        (void)stn_err_prefix(&device->training.err, "client %u", (unsigned)number);
        stn_host_fail(host, &device->training.err);
    }
    *ret_n_samples = device->training.result.info.n_samples;
    *ret_tier = device->tier;
    return device->training.code;
}

static enum stn_code pack(struct stn_host_device *device, const struct stn_adapter *shape,
                          const struct stn_client_effect *encode, const struct stn_encode_config *encoding, uint32_t *vector,
                          struct stn_err *err)
{
    struct stn_encode_result result;
    uint8_t seed[STN_ENCODE_SEED];
    for (size_t i = 0; i < sizeof seed; i += 8) {
        stn_buf_put_u64(seed + i, stn_rng_u64(&device->rng));
    }
    stn_buf_clear(&device->packed);
    uint8_t *packed = stn_buf_extend(&device->packed, (size_t)stn_round_upload_size(encoding));
    if (packed == NULL || vector == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to encode %zu values", encoding->n_values);
    }
    struct stn_encode_info info = device->training.result.info;
    enum stn_code code = stn_job_enter(&encode->round.config, encode->round.lease.version, encode->round.tier, shape,
                                       device->delta, &info, err);
    code = code == STN_OK ? stn_encode_delta(encoding, device->delta, &info, seed, vector, &result, err) : code;
    if (code == STN_OK) {
        stn_mask_apply(vector, stn_encode_length(encoding), 0, encode->round.masks, encode->round.n_masks);
        stn_pack_put(packed, vector, stn_encode_length(encoding), encoding->bits);
    }
    return code;
}

static enum stn_code encode(void *context, uint32_t number, const struct stn_client_effect *effect,
                            struct stn_digest *ret_digest, uint64_t *ret_size)
{
    struct stn_host *host = context;
    struct stn_host_device *device = &host->devices[number];
    struct stn_encode_config encoding;
    struct stn_err err;
    uint32_t *vector = NULL;
    enum stn_code code = stn_round_encoding(&effect->round.config, &encoding, &err);
    if (code == STN_OK) {
        vector = stn_mem_new(stn_encode_length(&encoding), sizeof *vector);
        code = pack(device, host->lab->first, effect, &encoding, vector, &err);
        stn_mem_free(vector);
    }
    if (code != STN_OK) {
        stn_host_fail(host, &err);
        return code;
    }
    *ret_digest = stn_digest_blob(device->packed.data, device->packed.size);
    *ret_size = device->packed.size;
    return STN_OK;
}

/* ---- what the host does not need to hear ---- */

static void discard(void *context, uint32_t device, const struct stn_msg_lease *lease)
{
    (void)context;
    (void)device;
    (void)lease;
}

static void install(void *context, uint32_t device, const struct stn_client_effect *effect, struct stn_client_event *event)
{
    (void)context;
    (void)device;
    (void)effect;
    (void)event;
}

static void committed(void *context, const struct stn_record *record)
{
    (void)context;
    (void)record;
}

static void said(void *context, uint32_t device, const struct stn_msg *msg)
{
    (void)context;
    (void)device;
    (void)msg;
}

static void acknowledged(void *context, uint32_t device, const struct stn_round_id *round, const struct stn_digest *upload)
{
    (void)context;
    (void)device;
    (void)round;
    (void)upload;
}

static void trace(void *context, uint64_t now_ms, uint32_t who, const char *event, const char *task, uint64_t number,
                  enum stn_code code)
{
    (void)context;
    (void)now_ms;
    (void)who;
    (void)event;
    (void)task;
    (void)number;
    (void)code;
}

/* ---- the run ---- */

static enum stn_code make_devices(struct stn_host *host, struct stn_err *err)
{
    const struct stn_lab *lab = host->lab;
    host->devices = stn_mem_new(lab->n_clients, sizeof *host->devices);
    for (size_t i = 0; host->devices != NULL && i < lab->n_clients; i++) {
        struct stn_host_device *device = &host->devices[i];
        stn_rng_fork(&device->rng, lab->seed, "device", i);
        device->tokens_per_ms = TOKENS_PER_S / 1000 * exp(SPREAD * stn_rng_normal(&device->rng));
        device->tier = lab->n_tiers > 1 ? (uint32_t)stn_rng_below(&device->rng, lab->n_tiers) : 0;
        device->from = stn_mem_new(lab->n_values, sizeof *device->from);
        device->delta = stn_mem_new(lab->n_values, sizeof *device->delta);
        if (device->from == NULL || device->delta == NULL) {
            return stn_err_set(err, STN_MEMORY, "no memory for %zu clients", lab->n_clients);
        }
    }
    return host->devices == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %zu clients", lab->n_clients) : STN_OK;
}

static void fini(struct stn_host *host)
{
    stn_world_free(host->world);
    for (size_t i = 0; host->devices != NULL && i < host->lab->n_clients; i++) {
        wait_for(host, &host->devices[i]);
        stn_buf_fini(&host->devices[i].packed);
        stn_mem_free(host->devices[i].from);
        stn_mem_free(host->devices[i].delta);
    }
    stn_mem_free(host->devices);
    stn_host_merge_fini(host);
}

static enum stn_code make_world(struct stn_host *host, struct stn_err *err)
{
    struct stn_task_spec *spec = &host->config.spec;
    const struct stn_world_host table = {.context = host, .train = train, .trained = trained, .encode = encode,
                                         .discard = discard, .install = install, .add = stn_host_merge_add,
                                         .unmask = stn_host_merge_unmask, .merge = stn_host_merge_merge,
                                         .close = stn_host_merge_close, .lose = stn_host_merge_lose, .committed = committed,
                                         .said = said, .acknowledged = acknowledged, .trace = trace};
    const struct stn_world_config config = {
        .seed = host->lab->seed,
        .n_devices = (uint32_t)host->lab->n_clients,
        .n_examples = (uint32_t)(host->lab->pooled->n_examples / host->lab->n_clients),
        .n_per_ms = BYTES_PER_MS,
        .is_encoded = true,
        .wire = {.most_ms = 2 * host->config.latency_ms},
        .faults = {.vanish = host->config.dropout, .down_ms = DOWN_MS},
        .agent = {.n_min_floor = spec->n_min,
                  .allows_plain = !spec->secure,
                  .retry_first_ms = RETRY_FIRST_MS,
                  .retry_most_ms = RETRY_MOST_MS,
                  .secure = {.gamma_floor = spec->gamma, .sigma_floor = spec->sigma}}};
    const char *const tasks[] = {spec->name};
    struct stn_blob_ref adapter;
    enum stn_code code = stn_host_merge_open(host, &adapter, err);
    if (code == STN_OK) {
        code = stn_world_new(&host->world, &config, &table, tasks, 1, err);
    }
    if (code == STN_OK && stn_world_create_task(host->world, spec, &adapter) != STN_OK) {
        code = stn_err_set(err, STN_INVALID, "the coordinator does not take the task: see its settings");
    }
    host->last_ms = code == STN_OK ? stn_world_now_ms(host->world) : 0;
    return code;
}

static enum stn_code live(struct stn_host *host, struct stn_err *err)
{
    const struct stn_task_spec *spec = &host->config.spec;
    const uint64_t patience = STUCK_AFTER_ROUNDS * (spec->report_deadline_ms + spec->join_window_ms + spec->upload_ms);
    while (host->err.code == STN_OK && host->n_versions < spec->n_rounds) {
        if (stn_command_stopping()) {
            host->result->stopped = true;
            return STN_OK;
        }
        if (!stn_world_step(host->world)) {
            return stn_err_set(err, STN_CORRUPT, "the simulated world has come to a halt after %llu rounds",
                               (unsigned long long)host->n_versions);
        }
        if (stn_world_now_ms(host->world) - host->last_ms > patience) {
            return stn_err_set(err, STN_LIMIT,
                               "no round has completed for %llu virtual hours: too many devices are lost for n_min %u of %u",
                               (unsigned long long)(patience / 3600000), (unsigned)spec->n_min, (unsigned)spec->target);
        }
    }
    if (host->err.code != STN_OK) {
        return stn_err_set(err, host->err.code, "%s", host->err.text);
    }
    return STN_OK;
}

enum stn_code stn_host_run(const struct stn_host_config *config, struct stn_lab *lab, struct stn_result *result,
                           struct stn_err *err)
{
    struct stn_host *host = stn_mem_new(1, sizeof *host);
    if (host == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a simulated world");
    }
    *host = (struct stn_host){.config = *config, .lab = lab, .result = result};
    host->config.spec.base = (struct stn_blob_ref){.digest = lab->model_digest, .size = lab->model_size};
    host->config.spec.n_values = lab->n_values;
    host->config.spec.n_values_b = stn_slice_size(lab->first, STN_SLICE_B);
    enum stn_code code = stn_lab_score(lab, lab->first->values, &result->base, err);
    if (code == STN_OK) {
        code = make_devices(host, err);
    }
    if (code == STN_OK) {
        code = make_world(host, err);
    }
    if (code == STN_OK) {
        code = live(host, err);
    }
    if (code == STN_OK) {
        code = stn_host_merge_finish(host, err);
    }
    fini(host);
    stn_mem_free(host);
    return code;
}
