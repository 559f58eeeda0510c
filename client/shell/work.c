#include "client/shell/work.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "client/shell/delta.h"
#include "client/shell/desk.h"
#include "client/shell/job.h"
#include "compute/model/choose.h"
#include "compute/model/fit.h"
#include "crypto/entropy.h"
#include "update/pack.h"
#include "update/round.h"

#define PIECE ((size_t)1 << 19) /* elements that are packed at once: enough chunks to be hashed side by side */
#define FEW ((size_t)1024)      /* elements whose bytes stay in the first cache */
#define JUDGE_CONTEXT 512

static bool stopping(void *context)
{
    const struct stn_work *work = context;
    return stn_worker_is_cancelled(&work->job);
}

/* Packed weights lie beside the models, and go with them. path has the room of one. */
static struct stn_desk_paths paths_of(const struct stn_work *work, char path[static STN_FILE_PATH_MAX])
{
    int n = snprintf(path, STN_FILE_PATH_MAX, "%s/models", work->folder);
    bool has_folder = work->folder[0] != '\0' && n < STN_FILE_PATH_MAX;
    return (struct stn_desk_paths){work->base, work->adapter, work->data, has_folder ? path : NULL};
}

/* ---- train ---- */

static enum stn_code check_lease(const struct stn_msg_lease *lease, struct stn_err *err)
{
    const struct stn_train_spec *spec = &lease->train;
    if (spec->ctx < 2 || spec->ctx > spec->batch_tokens) {
        return stn_err_set(err, STN_INVALID, "task %s: a context of %u in a batch of %u tokens", lease->task, spec->ctx,
                           spec->batch_tokens);
    }
    return STN_OK;
}

/* Bytes beside the weights. */
static size_t room_of(const struct stn_work *work, const struct stn_desk *desk)
{
    size_t weights = stn_model_size(desk->model);
    return work->memory > weights ? (size_t)(work->memory - weights) : 0;
}

/* What a training takes: memory beside the weights, with the longest passes that fit; weights are streamed where nothing
 * fits beside them. rows 0: it does not fit. */
static enum stn_code fit(const struct stn_work *work, const struct stn_desk *desk, const struct stn_adapter *shape,
                         struct stn_trainer_config *config, struct stn_fit *ret, struct stn_err *err)
{
    const struct stn_network_config network = stn_trainer_shape(config);
    enum stn_code code = stn_fit_find(ret, desk->model, shape, &network, config->context, room_of(work, desk), err);
    if (code == STN_OK && ret->rows == 0 && !stn_model_streams(desk->model)) {
        code = stn_model_stream(desk->model, err);
        code = code == STN_OK ? stn_fit_find(ret, desk->model, shape, &network, config->context, room_of(work, desk), err) : code;
    }
    if (code == STN_OK && ret->rows > 0) {
        config->pass_tokens = ret->rows;
        config->recompute = ret->recompute;
    }
    return code;
}

/* The most ranks that the owner allows and that fit into the memory: activations are computed again, then passes cut, then
 * weights streamed, then ranks halved, before a task is refused. *ret_shape is the caller's to free; NULL: it is the adapter itself. */
static enum stn_code choose_ranks(struct stn_work *work, const struct stn_desk *desk, struct stn_trainer_config *config,
                                  struct stn_adapter **ret_shape, struct stn_err *err)
{
    const struct stn_train_spec *spec = &work->lease.train;
    const uint32_t rank = desk->adapter->rank, fewest = rank >> spec->n_halvings;
    struct stn_fit fits = {.rows = 1};
    if (fewest == 0 || (work->rank > 0 && fewest > work->rank)) {
        return stn_err_set(err, STN_LIMIT, "task %s trains %u ranks at least, the owner allows %u", work->lease.task, fewest,
                           work->rank);
    }
    for (uint32_t tier = 0; tier <= spec->n_halvings; tier++) {
        struct stn_adapter *narrow = NULL;
        if (work->rank > 0 && rank >> tier > work->rank) {
            continue;
        }
        enum stn_code code = tier == 0 ? STN_OK : stn_slice_narrow(&narrow, desk->adapter, rank >> tier, err);
        if (code == STN_OK && work->memory > 0) {
            code = fit(work, desk, narrow != NULL ? narrow : desk->adapter, config, &fits, err);
        }
        if (code == STN_OK && fits.rows > 0) {
            work->tier = tier;
            *ret_shape = narrow;
            return STN_OK;
        }
        stn_adapter_free(narrow);
        if (code != STN_OK) {
            return code;
        }
    }
    size_t size = stn_model_size(desk->model) + fits.memory.activations + fits.memory.adapter + fits.memory.scratch;
    return stn_err_set(err, STN_LIMIT, "task %s takes %zu MiB to train, the owner allows %llu", work->lease.task, size >> 20,
                       (unsigned long long)(work->memory >> 20));
}

/* delta has room for the whole adapter's. */
static enum stn_code train_on(const char *backend, struct stn_work *work, const struct stn_desk *desk, struct stn_delta *delta,
                              struct stn_err *err)
{
    struct stn_trainer *trainer = NULL;
    struct stn_adapter *narrow = NULL;
    struct stn_delta low = {0}; /* of fewer ranks */
    struct stn_job_result result;
    const struct stn_msg_lease *lease = &work->lease;
    struct stn_trainer_config config = stn_job_trainer_config(&lease->train, STN_BACKWARD_INT8, desk->n_threads);
    config.backend = backend;
    enum stn_code code = choose_ranks(work, desk, &config, &narrow, err);
    if (code != STN_OK) {
        return code;
    }
    const struct stn_adapter *shape = narrow != NULL ? narrow : desk->adapter;
    if (narrow != NULL) {
        low = (struct stn_delta){.values = stn_mem_new(narrow->n_values, sizeof *low.values), .n_values = narrow->n_values};
        code = low.values == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a delta") : STN_OK;
    }
    float *made = narrow != NULL ? low.values : delta->values;
    const struct stn_job_input input = {.spec = &lease->train, .dataset = desk->kept, .shape = shape, .from = shape->values,
                                        .seed = stn_job_seed(lease->seed, lease->version, &work->device),
                                        .stopping = stopping, .stopping_context = work};
    code = code == STN_OK ? stn_trainer_new(&trainer, desk->model, shape, &config, err) : code;
    code = code == STN_OK ? stn_job_train(trainer, &input, made, &result, err) : code;
    stn_trainer_free(trainer);
    if (code == STN_OK) {
        delta->info = result.info;
        delta->info.tier = work->tier;
        work->n_samples = result.info.n_samples;
        work->loss = result.loss;
    }
    if (code == STN_OK && narrow != NULL) {
        stn_slice_widen(desk->adapter, narrow, stn_job_slice(&lease->train), made, delta->values);
    }
    stn_delta_free(&low);
    stn_adapter_free(narrow);
    return code;
}

/* To its first n values. */
static enum stn_code shorten(struct stn_delta *delta, size_t n, struct stn_err *err)
{
    struct stn_delta part = *delta;
    if (n == delta->n_values) {
        return STN_OK;
    }
    part.values = stn_mem_copy(delta->values, n * sizeof *part.values);
    part.n_values = n;
    if (part.values == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a delta");
    }
    stn_delta_free(delta);
    *delta = part;
    return STN_OK;
}

/* A backend that fails, whatever the reason, is not the end: the processor trains from the start. */
static enum stn_code train_at(struct stn_work *work, const struct stn_desk *desk, struct stn_err *err)
{
    struct stn_delta delta = {.n_values = desk->adapter->n_values};
    delta.values = stn_mem_new(delta.n_values, sizeof *delta.values);
    if (work->backend != NULL && strcmp(work->backend, STN_WORK_AUTO) == 0) {
        struct stn_choose_result chosen = {0};
        if (work->memory == 0) { /* what a trial takes is not in the owner's limit */
            stn_choose_backend(&chosen, desk->model, desk->n_threads, work->folder);
        }
        work->backend = chosen.backend;
    }
    enum stn_code code = delta.values == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a delta")
                                              : train_on(work->backend, work, desk, &delta, err);
    if (code != STN_OK && delta.values != NULL && work->backend != NULL && !stopping(work)) {
        work->fell_back = *err;
        code = train_on(NULL, work, desk, &delta, err);
    }
    code = code == STN_OK ? shorten(&delta, stn_slice_size(desk->adapter, stn_job_slice(&work->lease.train)), err) : code;
    code = code == STN_OK ? stn_delta_write(work->out, &work->lease, &delta, err) : code;
    if (code == STN_OK) {
        stn_work_keep_made(work, &delta);
    }
    stn_delta_free(&delta);
    return code;
}

static enum stn_code train(struct stn_work *work, struct stn_err *err)
{
    struct stn_desk desk = {0};
    struct stn_delta made = {0};
    char packed[STN_FILE_PATH_MAX];
    if (stn_delta_read(&made, work->out, &work->lease, NULL) == STN_OK) { /* before a restart */
        work->n_samples = made.info.n_samples;
        work->tier = made.info.tier;
        work->loss = made.info.n_tokens > 0 ? made.info.loss_sum / (double)made.info.n_tokens : 0;
        stn_delta_free(&made);
        return STN_OK;
    }
    enum stn_code code = check_lease(&work->lease, err);
    const struct stn_desk_paths paths = paths_of(work, packed);
    const struct stn_dataset_config data = {.context = work->lease.train.ctx,
                                            .loss = work->lease.train.loss_all ? STN_DATASET_ALL : STN_DATASET_COMPLETION};
    code = code == STN_OK ? stn_desk_open(&desk, &paths, &data, &work->device, work->memory, work->n_threads, err) : code;
    code = code == STN_OK ? train_at(work, &desk, err) : code;
    stn_desk_close(&desk);
    return code;
}

/* ---- encode ---- */

_Static_assert(PIECE % STN_MASK_SUPERBLOCK == 0, "a piece is masked on its own");

/* n elements from at on become bytes further down in the same memory, each of which was read before. */
static void pack_down(uint32_t *vector, size_t at, size_t n, unsigned bits)
{
    uint8_t few[FEW * sizeof *vector], *to = (uint8_t *)vector + at * (bits / 8);
    for (size_t i = 0; i < n; i += FEW) {
        size_t n_here = n - i < FEW ? n - i : FEW;
        stn_pack_put(few, vector + at + i, n_here, bits);
        memcpy(to + i * (bits / 8), few, n_here * (bits / 8));
    }
}

/* vector is masked, packed and given to the work, all in place: nothing else is as long. */
static enum stn_code pack(struct stn_work *work, const struct stn_encode_config *encoding, uint32_t **vector, struct stn_err *err)
{
    struct stn_digest_tree tree;
    size_t n = stn_encode_length(encoding), width = encoding->bits / 8;
    stn_digest_tree_init(&tree, NULL, 0);
    for (size_t at = 0; at < n; at += PIECE) {
        size_t n_here = n - at < PIECE ? n - at : PIECE;
        if (stopping(work)) {
            return stn_err_set(err, STN_CANCELLED, "stopped while a delta was packed");
        }
        if (work->masks != NULL) {
            stn_mask_apply(*vector + at, n_here, at / STN_MASK_SUPERBLOCK, work->masks, work->n_masks);
        }
        pack_down(*vector, at, n_here, encoding->bits);
        stn_digest_tree_add(&tree, (uint8_t *)*vector + at * width, n_here * width);
    }
    work->digest = stn_digest_tree_end(&tree);
    work->size = stn_round_upload_size(encoding);
    stn_entropy_wipe((uint8_t *)*vector + n * width, n * (sizeof **vector - width)); /* without masks it is the delta */
    work->packed = (uint8_t *)*vector;
    *vector = NULL;
    return STN_OK;
}

/* Its discount, and the ranks that the round has. */
static enum stn_code enter_round(struct stn_work *work, struct stn_delta *delta, struct stn_err *err)
{
    struct stn_adapter *shape = NULL;
    enum stn_code code = work->tier == delta->info.tier ? STN_OK : stn_adapter_file_load(&shape, NULL, work->adapter, err);
    if (code == STN_OK && (work->tier < delta->info.tier || work->tier > work->config.n_halvings ||
                           (shape != NULL && stn_slice_size(shape, stn_job_slice(&work->lease.train)) != delta->n_values))) {
        code = stn_err_set(err, STN_INVALID, "the round is for ranks of tier %u, the delta of tier %u", work->tier,
                           delta->info.tier);
    }
    if (code == STN_OK) {
        code = stn_job_enter(&work->config, work->lease.version, work->tier, shape, delta->values, &delta->info, err);
    }
    stn_adapter_free(shape);
    return code;
}

static enum stn_code encode_delta(struct stn_work *work, struct stn_delta *delta, struct stn_err *err)
{
    uint8_t seed[STN_ENCODE_SEED];
    struct stn_encode_config encoding;
    struct stn_encode_result result;
    uint32_t *vector = NULL;
    if (work->config.secure != (work->n_masks > 0)) { /* the last place to see a vector in clear that was promised masks */
        return stn_err_set(err, STN_DENIED, "%zu masks for a round that is %ssecure", work->n_masks,
                           work->config.secure ? "" : "not ");
    }
    enum stn_code code = stn_round_encoding(&work->config, &encoding, err);
    if (code == STN_OK && (encoding.n_values != delta->n_values || work->n_samples != delta->info.n_samples)) {
        code = stn_err_set(err, STN_INVALID, "the round is for %zu values of an adapter, the delta has %zu",
                           encoding.n_values, delta->n_values);
    }
    code = code == STN_OK ? enter_round(work, delta, err) : code;
    if (code != STN_OK) {
        return code;
    }
    vector = stn_mem_grow(NULL, stn_encode_length(&encoding), sizeof *vector);
    if (vector == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to encode %zu values", encoding.n_values);
    }
    stn_entropy_fill(seed, sizeof seed);
    code = stn_encode_delta(&encoding, delta->values, &delta->info, seed, vector, &result, err);
    stn_entropy_wipe(seed, sizeof seed);
    code = code == STN_OK ? pack(work, &encoding, &vector, err) : code;
    if (vector != NULL) {
        stn_entropy_wipe(vector, stn_encode_length(&encoding) * sizeof *vector);
        stn_mem_free(vector);
    }
    return code;
}

static enum stn_code encode(struct stn_work *work, struct stn_err *err)
{
    struct stn_delta delta = work->made;
    enum stn_code code = STN_OK;
    work->made = (struct stn_delta){0};
    if (!stn_delta_is_of(&delta, &work->lease)) {
        stn_delta_free(&delta);
        code = stn_delta_read(&delta, work->delta, &work->lease, err);
    }
    code = code == STN_OK ? encode_delta(work, &delta, err) : code;
    stn_delta_free(&delta);
    return code;
}

/* ---- install ---- */

static bool on_judged(void *context, uint64_t n_done, uint64_t n_examples)
{
    (void)n_done;
    (void)n_examples;
    return !stopping(context);
}

/* What is in place; NULL when there is nothing, or nothing that fits this base any more. */
static struct stn_adapter *in_place(const struct stn_work *work, const struct stn_desk *desk)
{
    struct stn_adapter *adapter = NULL;
    bool ok = stn_file_exists(work->out) &&
              stn_adapter_file_load(&adapter, stn_model_arch(desk->model), work->out, NULL) == STN_OK;
    return ok ? adapter : NULL;
}

static enum stn_code judge(struct stn_work *work, const struct stn_desk *desk, struct stn_err *err)
{
    struct stn_evaluate_result before, after;
    struct stn_adapter *old = in_place(work, desk);
    enum stn_code code = stn_desk_judge(desk, old, on_judged, work, &before, err);
    code = code == STN_OK ? stn_desk_judge(desk, desk->adapter, on_judged, work, &after, err) : code;
    if (code == STN_OK) {
        work->has_holdout = true;
        work->holdout = (struct stn_holdout){.adapter = work->digest,
                                             .n_targets = (uint32_t)after.n_targets,
                                             .loss_before = stn_evaluate_loss(&before),
                                             .loss_after = stn_evaluate_loss(&after)};
        work->holdout.kept_old = work->holdout.loss_after > work->holdout.loss_before + STN_WORK_TOLERANCE;
    }
    stn_adapter_free(old);
    return code;
}

static enum stn_code install(struct stn_work *work, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    if (work->base[0] != '\0') {
        struct stn_desk desk = {0};
        char packed[STN_FILE_PATH_MAX];
        const struct stn_desk_paths paths = paths_of(work, packed);
        const struct stn_dataset_config data = {.context = JUDGE_CONTEXT, .loss = STN_DATASET_COMPLETION};
        code = stn_desk_open(&desk, &paths, &data, &work->device, work->memory, work->n_threads, err);
        code = code == STN_OK ? judge(work, &desk, err) : code;
        stn_desk_close(&desk);
    }
    if (code != STN_OK || (work->has_holdout && work->holdout.kept_old)) {
        return code;
    }
    return stn_file_copy(work->adapter, work->out, STN_FILE_MODE, err);
}

/* ---- all ---- */

void stn_work_free_packed(uint8_t *packed, uint64_t size)
{
    if (packed != NULL) {
        stn_entropy_wipe(packed, (size_t)size);
        stn_mem_free(packed);
    }
}

void stn_work_keep_made(struct stn_work *work, struct stn_delta *delta)
{
    if (delta->n_values <= STN_WORK_KEPT / sizeof *delta->values) {
        work->made = *delta;
        *delta = (struct stn_delta){0};
    }
}

void stn_work_fini(struct stn_work *work)
{
    if (work->masks != NULL) {
        stn_entropy_wipe(work->masks, work->n_masks * sizeof *work->masks);
        stn_mem_free(work->masks);
        work->masks = NULL;
        work->n_masks = 0;
    }
    stn_work_free_packed(work->packed, work->size);
    work->packed = NULL;
    stn_delta_free(&work->made);
}

void stn_work_run(struct stn_job *job)
{
    struct stn_work *work = STN_LIST_OF(job, struct stn_work, job);
    switch (work->kind) {
    case STN_WORK_NAME:
        work->code = stn_blob_name_file(work->base, &work->digest, &work->size, &work->err);
        break;
    case STN_WORK_TRAIN:
        work->code = train(work, &work->err);
        break;
    case STN_WORK_ENCODE:
        work->code = encode(work, &work->err);
        break;
    case STN_WORK_INSTALL:
        work->code = install(work, &work->err);
        break;
    case STN_WORK_NONE:
        work->code = STN_INVALID;
    }
}
