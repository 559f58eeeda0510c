#include "server/shell/release.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "compute/model/slice.h"
#include "server/shell/merge.h"
#include "server/shell/task_file.h"

#define STATE_BYTES (STN_BLOB_LEAVES_MAX * STN_DIGEST_CHUNK) /* of an optimiser's state, at most: a blob's */

/* ---- adapters as blobs ---- */

static enum stn_code note(struct stn_adapter *adapter, const struct stn_task_spec *spec, uint64_t version,
                          struct stn_err *err)
{
    char base[STN_DIGEST_TEXT];
    stn_digest_put_text(&spec->base.digest, base);
    enum stn_code code = stn_adapter_set_str(adapter, "sterna.task", spec->name, err);
    if (code == STN_OK) {
        code = stn_adapter_set_u64(adapter, "sterna.version", version, err);
    }
    return code == STN_OK ? stn_adapter_set_str(adapter, "sterna.base", base, err) : code;
}

static enum stn_code put_adapter(const struct stn_blob_store *store, const struct stn_adapter *adapter,
                                 struct stn_blob_ref *ret, struct stn_err *err)
{
    struct stn_buf bytes = {0};
    struct stn_digest digest;
    enum stn_code code = stn_adapter_file_write(adapter, &bytes, err);
    if (code == STN_OK) {
        code = stn_blob_put(store, bytes.data, bytes.size, &digest, err);
    }
    if (code == STN_OK) {
        *ret = (struct stn_blob_ref){.digest = digest, .size = bytes.size};
    }
    stn_buf_fini(&bytes);
    return code;
}

/* ---- version 0 ---- */

static enum stn_code make_first(const struct stn_blob_store *store, struct stn_task_spec *spec,
                                const struct stn_arch *arch, struct stn_blob_ref *ret, struct stn_err *err)
{
    struct stn_adapter *adapter = NULL;
    enum stn_code code =
        stn_adapter_new(&adapter, arch, spec->train.rank, spec->train.alpha, spec->train.targets, err);
    if (code == STN_OK && adapter->n_values > STN_MSG_VALUES) {
        code = stn_err_set(err, STN_LIMIT, "rank %u of this model makes an adapter of %zu values, at most %u",
                           spec->train.rank, adapter->n_values, STN_MSG_VALUES);
    }
    if (code == STN_OK) {
        stn_adapter_init(adapter, spec->seed);
        code = note(adapter, spec, 0, err);
    }
    if (code == STN_OK) {
        code = put_adapter(store, adapter, ret, err);
    }
    if (code == STN_OK) {
        spec->n_values = adapter->n_values;
        spec->n_values_b = stn_slice_size(adapter, STN_SLICE_B);
        spec->digest = stn_task_file_digest(spec);
    }
    stn_adapter_free(adapter);
    return code;
}

enum stn_code stn_release_first(const struct stn_blob_store *store, struct stn_task_spec *spec,
                                struct stn_blob_ref *ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_gguf *gguf = NULL;
    struct stn_arch *arch = NULL;
    stn_blob_path(store, &spec->base.digest, path);
    enum stn_code code = stn_gguf_open(&gguf, path, err);
    if (code == STN_OK) {
        code = stn_arch_new(&arch, gguf, err);
    }
    if (code == STN_OK) {
        code = make_first(store, spec, arch, ret, err);
    }
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    return code;
}

/* ---- the next version ---- */

/* The optimiser's state is as long as the adapter: it is read and written beside it. */
struct state {
    const struct stn_blob_store *store;
    struct stn_blob_ref ref;
    struct stn_buf bytes;
    pthread_t thread;
    bool has_thread;
    void *(*work)(void *state);
    enum stn_code code;
    struct stn_err err;
};

static void *read_state(void *arg)
{
    struct state *state = arg;
    char path[STN_FILE_PATH_MAX];
    if (state->ref.size == 0) {
        return NULL;
    }
    stn_blob_path(state->store, &state->ref.digest, path);
    state->code = stn_file_read(path, STATE_BYTES, &state->bytes, &state->err);
    struct stn_digest digest = {0};
    if (state->code == STN_OK) {
        digest = stn_digest_blob(state->bytes.data, state->bytes.size);
    }
    if (state->code == STN_OK && !stn_digest_equal(&digest, &state->ref.digest)) {
        state->code = stn_err_set(&state->err, STN_CORRUPT, "%s: the bytes are not what the name says", path);
    }
    return NULL;
}

static void *put_state(void *arg)
{
    struct state *state = arg;
    state->ref = (struct stn_blob_ref){.size = state->bytes.size};
    if (state->bytes.size > 0) {
        state->code = stn_blob_put(state->store, state->bytes.data, state->bytes.size, &state->ref.digest, &state->err);
    }
    return NULL;
}

/* Without a thread it is done when it is waited for. */
static void start_state(struct state *state, void *(*work)(void *state))
{
    state->work = work;
    state->code = STN_OK;
    state->has_thread = pthread_create(&state->thread, NULL, work, state) == 0;
}

/* code unless it is STN_OK, else the state's. */
static enum stn_code end_state(struct state *state, enum stn_code code, struct stn_err *err)
{
    if (state->has_thread) {
        (void)pthread_join(state->thread, NULL);
    } else {
        (void)state->work(state);
    }
    if (code != STN_OK || state->code == STN_OK) {
        return code;
    }
    if (err != NULL) {
        *err = state->err;
    }
    return state->code;
}

static enum stn_code load_from(const struct stn_blob_store *store, const struct stn_release_input *input,
                               struct stn_adapter **ret, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_file_map map = {0};
    struct stn_adapter *adapter = NULL;
    stn_blob_path(store, &input->from->adapter.digest, path);
    enum stn_code code = stn_file_map(&map, path, STN_FILE_USE_ONCE, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_digest digest = stn_digest_blob(map.data, map.size);
    if (!stn_digest_equal(&digest, &input->from->adapter.digest)) {
        code = stn_err_set(err, STN_CORRUPT, "%s: the bytes are not what the name says", path);
    } else {
        code = stn_adapter_file_parse(&adapter, NULL, map.data, map.size, path, err);
    }
    stn_file_unmap(&map);
    if (code == STN_OK) {
        *ret = adapter;
    } else {
        stn_adapter_free(adapter);
    }
    return code;
}

/* A model that is no longer finite is released to nobody. */
static enum stn_code check_finite(const struct stn_adapter *adapter, struct stn_err *err)
{
    for (size_t i = 0; i < adapter->n_values; i++) {
        if (!isfinite(adapter->values[i])) {
            return stn_err_set(err, STN_CORRUPT, "value %zu of the merged adapter is not finite", i);
        }
    }
    return STN_OK;
}

static enum stn_code merge(const struct stn_blob_store *store, const struct stn_release_input *input,
                           struct stn_adapter *adapter, struct state *state, struct stn_release_output *ret,
                           struct stn_err *err)
{
    const struct stn_merge_input in = {.spec = input->spec, .config = input->config, .shape = adapter, .sum = input->sum,
                                       .n_included = input->n_included, .tier = input->tier};
    struct stn_merge_output out = {0};
    struct stn_release_output made = {0};
    enum stn_code code = stn_merge_apply(&in, adapter->values, &state->bytes, &out, err);
    if (code == STN_OK) {
        code = check_finite(adapter, err);
    }
    if (code == STN_OK) {
        code = note(adapter, input->spec, input->from->version + 1, err);
    }
    if (code == STN_OK) {
        start_state(state, put_state);
        code = put_adapter(store, adapter, &made.adapter, err);
        code = end_state(state, code, err);
    }
    if (code == STN_OK) {
        made.state = state->ref;
        made.totals = out.totals;
        made.clip_norm = out.clip_norm;
        *ret = made;
    }
    return code;
}

enum stn_code stn_release_next(const struct stn_blob_store *store, const struct stn_release_input *input,
                               struct stn_release_output *ret, struct stn_err *err)
{
    struct stn_adapter *adapter = NULL;
    struct state state = {.store = store, .ref = input->from->state};
    start_state(&state, read_state);
    enum stn_code code = load_from(store, input, &adapter, err);
    code = end_state(&state, code, err);
    if (code == STN_OK) {
        code = merge(store, input, adapter, &state, ret, err);
    }
    stn_buf_fini(&state.bytes);
    stn_adapter_free(adapter);
    return code;
}
