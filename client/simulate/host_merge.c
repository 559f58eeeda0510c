#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "client/simulate/host.h"
#include "io/file.h"
#include "server/shell/merge.h"
#include "update/pack.h"

#define KEPT_BESIDES_STALENESS 3

static struct stn_host_version *version(const struct stn_host *host, uint64_t number)
{
    return &host->kept[number % host->n_kept];
}

/* The adapter's file of these values, and its name. */
static enum stn_code name_adapter(const struct stn_lab *lab, const float *values, struct stn_buf *ret_file,
                                  struct stn_blob_ref *ret, struct stn_err *err)
{
    struct stn_adapter *adapter = NULL;
    enum stn_code code = stn_adapter_copy(&adapter, lab->first, err);
    if (code == STN_OK) {
        memcpy(adapter->values, values, lab->n_values * sizeof *values);
        code = stn_adapter_file_write(adapter, ret_file, err);
    }
    if (code == STN_OK) {
        *ret = (struct stn_blob_ref){.digest = stn_digest_blob(ret_file->data, ret_file->size), .size = ret_file->size};
    }
    stn_adapter_free(adapter);
    return code;
}

enum stn_code stn_host_merge_open(struct stn_host *host, struct stn_blob_ref *ret_adapter, struct stn_err *err)
{
    const struct stn_lab *lab = host->lab;
    host->n_kept = host->config.spec.staleness + KEPT_BESIDES_STALENESS;
    host->kept = stn_mem_new(host->n_kept, sizeof *host->kept);
    host->result->rounds = stn_mem_new((size_t)host->config.spec.n_rounds, sizeof *host->result->rounds);
    if (host->kept == NULL || host->result->rounds == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu versions", host->n_kept);
    }
    for (size_t i = 0; i < host->n_kept; i++) {
        host->kept[i].values = stn_mem_new(lab->n_values, sizeof(float));
        if (host->kept[i].values == NULL) {
            return stn_err_set(err, STN_MEMORY, "no memory for %zu versions of %zu values", host->n_kept, lab->n_values);
        }
    }
    struct stn_buf file = {0};
    memcpy(version(host, 0)->values, lab->first->values, lab->n_values * sizeof(float));
    enum stn_code code = name_adapter(lab, lab->first->values, &file, ret_adapter, err);
    version(host, 0)->adapter = ret_adapter->digest;
    stn_buf_fini(&file);
    return code;
}

struct stn_host_version *stn_host_merge_find(const struct stn_host *host, const struct stn_digest *adapter)
{
    for (size_t i = 0; i < host->n_kept; i++) {
        if (stn_digest_equal(&host->kept[i].adapter, adapter)) {
            return &host->kept[i];
        }
    }
    return NULL;
}

void stn_host_merge_add(void *context, const struct stn_server_upload *upload)
{
    struct stn_host *host = context;
    const struct stn_buf *packed = &host->devices[stn_world_device_of(host->world, &upload->device)].packed;
    const unsigned bits = host->config.spec.bits;
    const size_t n = packed->size / (bits / 8);
    assert(packed->size == upload->size);
    if (host->sum == NULL) {
        host->sum = stn_mem_new(n, sizeof *host->sum);
        host->n_sum = n;
        host->adding = upload->round;
    }
    if (host->sum == NULL) {
        struct stn_err err;
        (void)stn_err_set(&err, STN_MEMORY, "no memory for an accumulator of %zu elements", n);
        stn_host_fail(host, &err);
        return;
    }
    assert(memcmp(&host->adding, &upload->round, sizeof upload->round) == 0);
    stn_pack_add(host->sum, packed->data, n, bits);
}

void stn_host_merge_unmask(void *context, const struct stn_server_effect *effect)
{
    struct stn_host *host = context;
    if (host->sum != NULL) {
        stn_mask_apply(host->sum, host->n_sum, 0, effect->unmask.masks, effect->unmask.n);
    }
}

void stn_host_merge_lose(void *context)
{
    struct stn_host *host = context;
    stn_mem_free(host->sum);
    host->sum = NULL;
}

void stn_host_merge_close(void *context, const struct stn_round_id *round)
{
    struct stn_host *host = context;
    if (memcmp(&host->adding, round, sizeof *round) == 0) {
        stn_host_merge_lose(host);
    }
}

/* The newest version's row is complete once it is evaluated. */
static enum stn_code end_evaluation(struct stn_host *host, struct stn_err *err)
{
    if (!host->is_evaluating) {
        return STN_OK;
    }
    stn_pool_wait(host->lab->pool, &host->evaluation.task);
    host->is_evaluating = false;
    if (host->evaluation.code != STN_OK) {
        return stn_err_set(err, host->evaluation.code, "%s", host->evaluation.err.text);
    }
    struct stn_result_round *row = &host->result->rounds[host->result->n_rounds++];
    row->eval_loss = host->evaluation.score.loss;
    row->eval_accuracy = host->evaluation.score.accuracy;
    if (host->config.on_round != NULL) {
        host->config.on_round(host->config.context, row);
    }
    return STN_OK;
}

static void begin_row(struct stn_host *host, uint32_t n_training, const struct stn_totals *totals)
{
    const struct stn_world_traffic traffic = stn_world_traffic(host->world);
    const uint32_t n = totals->n_included;
    host->last_ms = stn_world_now_ms(host->world);
    host->result->rounds[host->result->n_rounds] =
        (struct stn_result_round){.round = host->n_versions,
                                  .train_loss = totals->loss,
                                  .n_clients = n,
                                  .n_lost = n_training > n ? n_training - n : 0,
                                  .bytes_up = traffic.up - host->seen.up,
                                  .bytes_down = traffic.down - host->seen.down,
                                  .virtual_ms = host->last_ms - STN_WORLD_START_MS};
    host->seen = traffic;
    host->evaluation = (struct stn_lab_evaluation){
        .task = {.run = stn_lab_evaluate}, .lab = host->lab, .values = version(host, host->n_versions)->values};
    stn_pool_submit(host->lab->pool, &host->evaluation.task);
    host->is_evaluating = true;
}

static enum stn_code merge(struct stn_host *host, const struct stn_server_effect *effect, struct stn_server_event *event,
                           struct stn_err *err)
{
    enum stn_code code = end_evaluation(host, err);
    if (code != STN_OK) {
        return code;
    }
    const struct stn_merge_input input = {.spec = &effect->merge.spec, .config = &effect->merge.config,
                                          .shape = host->lab->first, .sum = host->sum,
                                          .n_included = effect->merge.n_included, .tier = effect->merge.tier};
    struct stn_host_version *next = version(host, host->n_versions + 1);
    struct stn_merge_output out = {0};
    struct stn_buf file = {0};
    /* the mean moves the newest version, from whichever the deltas started */
    memcpy(next->values, version(host, host->n_versions)->values, host->lab->n_values * sizeof(float));
    code = stn_merge_apply(&input, next->values, &host->state, &out, err);
    if (code == STN_OK) {
        code = name_adapter(host->lab, next->values, &file, &event->merged.adapter, err);
    }
    stn_buf_fini(&file);
    if (code != STN_OK) {
        return code;
    }
    next->adapter = event->merged.adapter.digest;
    next->n_training = 0;
    host->n_versions++;
    event->merged.state.size = host->state.size;
    event->merged.clip_norm = out.clip_norm;
    event->merged.totals = out.totals;
    begin_row(host, version(host, effect->merge.config.version)->n_training, &out.totals);
    return STN_OK;
}

void stn_host_merge_merge(void *context, const struct stn_server_effect *effect, struct stn_server_event *event)
{
    struct stn_host *host = context;
    struct stn_err err;
    event->merged.code = merge(host, effect, event, &err);
    if (event->merged.code != STN_OK) {
        stn_host_fail(host, &err);
    }
}

enum stn_code stn_host_merge_finish(struct stn_host *host, struct stn_err *err)
{
    struct stn_result *result = host->result;
    struct stn_buf file = {0};
    struct stn_blob_ref adapter = {0};
    enum stn_code code = end_evaluation(host, err);
    if (code == STN_OK) {
        code = name_adapter(host->lab, version(host, host->n_versions)->values, &file, &adapter, err);
    }
    if (code == STN_OK && host->config.adapter_out != NULL) {
        code = stn_file_replace(host->config.adapter_out, file.data, file.size, STN_FILE_MODE, err);
    }
    stn_buf_fini(&file);
    if (code == STN_OK) {
        result->adapter = adapter.digest;
        result->federated = result->base;
        if (result->n_rounds > 0) {
            result->federated = (struct stn_lab_score){.loss = result->rounds[result->n_rounds - 1].eval_loss,
                                                       .accuracy = result->rounds[result->n_rounds - 1].eval_accuracy};
        }
    }
    return code;
}

void stn_host_merge_fini(struct stn_host *host)
{
    if (host->is_evaluating) {
        stn_pool_wait(host->lab->pool, &host->evaluation.task);
    }
    for (size_t i = 0; host->kept != NULL && i < host->n_kept; i++) {
        stn_mem_free(host->kept[i].values);
    }
    stn_mem_free(host->kept);
    stn_mem_free(host->sum);
    stn_buf_fini(&host->state);
}
