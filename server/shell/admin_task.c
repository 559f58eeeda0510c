#include "server/shell/admin_task.h"

#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "base/str.h"
#include "compute/model/arch.h"
#include "server/shell/apply.h"
#include "server/shell/outer.h"
#include "server/shell/release.h"
#include "server/shell/task_file.h"

/* ---- tasks as JSON ---- */

static json_t *json_digest(const struct stn_digest *digest)
{
    char text[STN_DIGEST_TEXT];
    stn_digest_put_text(digest, text);
    return json_string(text);
}

/* The stage of a secure round, and how many have come so far. */
static json_t *json_secure(const struct stn_secagg_server_view *view)
{
    static const char *const stages[] = {[STN_STAGE_ADVERTISE] = "advertise", [STN_STAGE_SHARE] = "share",
                                         [STN_STAGE_UPLOAD] = "upload", [STN_STAGE_ACK] = "ack",
                                         [STN_STAGE_UNMASK] = "unmask", [STN_STAGE_DONE] = "open"};
    return json_pack("{ss sI sI sI sI}", "stage", stages[view->stage], "advertised", (json_int_t)view->n_roster, "shared",
                     (json_int_t)view->n_shared, "acknowledged", (json_int_t)view->n_acked, "unmasked",
                     (json_int_t)view->n_opened);
}

static json_t *json_round(const struct stn_coordinator_view *view)
{
    static const char *const states[] = {"joining", "uploading", "merging", "done", "void"};
    char id[2 * sizeof(struct stn_round_id) + 1];
    if (view->round == NULL) {
        return json_null();
    }
    stn_hex_put(id, view->round->round.bytes, sizeof view->round->round.bytes);
    bool is_timed = view->round->deadline_ms != UINT64_MAX;
    json_t *object = json_pack("{ss sI ss sI so sI sI}", "id", id, "number", (json_int_t)view->round->number, "state",
                     states[view->round->state], "opened_ms", (json_int_t)view->round->opened_ms, "deadline_ms",
                     is_timed ? json_integer((json_int_t)view->round->deadline_ms) : json_null(), "joined",
                     (json_int_t)view->n_joined, "uploaded", (json_int_t)view->n_uploaded);
    if (view->round->config.secure) {
        (void)json_object_set_new(object, "secure", json_secure(&view->secagg));
    }
    return object;
}

static json_t *json_task(const struct stn_coordinator_view *view)
{
    static const char *const states[] = {"running", "paused", "finished"};
    const struct stn_task_spec *spec = &view->task->spec;
    json_t *object = json_pack("{ss ss sI sI sI sI sI so so sI}", "task", spec->name, "state", states[view->task->state],
                               "version", (json_int_t)view->task->version, "rounds", (json_int_t)spec->n_rounds, "target",
                               (json_int_t)spec->target, "n_min", (json_int_t)spec->n_min, "leased",
                               (json_int_t)view->n_leased, "round", json_round(view), "base",
                               json_digest(&spec->base.digest), "created_ms", (json_int_t)view->task->created_ms);
    if (view->version != NULL) {
        json_t *adapter = json_pack("{so sI sI sf sf sf}", "digest", json_digest(&view->version->adapter.digest), "size",
                                    (json_int_t)view->version->adapter.size, "included",
                                    (json_int_t)view->version->totals.n_included, "loss", view->version->totals.loss,
                                    "tokens", view->version->totals.tokens, "clipped",
                                    view->version->totals.share_clipped);
        (void)json_object_set_new(object, "adapter", adapter);
    }
    return object;
}

enum stn_code stn_admin_task_list(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    (void)request;
    (void)err;
    json_t *tasks = json_array();
    struct stn_coordinator_view view;
    for (size_t i = 0; stn_coordinator_view(service->coordinator, i, &view); i++) {
        (void)json_array_append_new(tasks, json_task(&view));
    }
    (void)json_object_set_new(reply, "tasks", tasks);
    return STN_OK;
}

static bool find(struct stn_service *service, const char *name, struct stn_coordinator_view *ret)
{
    for (size_t i = 0; stn_coordinator_view(service->coordinator, i, ret); i++) {
        if (strcmp(ret->task->spec.name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The request's task, which must exist. */
static enum stn_code named(struct stn_service *service, const json_t *request, struct stn_coordinator_view *ret,
                           struct stn_err *err)
{
    const char *name = json_string_value(json_object_get(request, "task"));
    if (name == NULL) {
        return stn_err_set(err, STN_INVALID, "the command wants a task");
    }
    return find(service, name, ret) ? STN_OK : stn_err_set(err, STN_NOT_FOUND, "there is no task \"%.64s\"", name);
}

static void set_new(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static json_t *json_settings(const struct stn_task_spec *spec)
{
    static const char *const schedules[] = {"constant", "linear", "cosine"};
    static const char *const loras[] = {"both", "ffa", "alternate"};
    const struct stn_train_spec *train = &spec->train;
    char targets[STN_ARCH_TARGETS_TEXT];
    json_t *object = json_object();
    set_new(object, "digest", json_digest(&spec->digest));
    set_new(object, "base_size", json_integer((json_int_t)spec->base.size));
    set_new(object, "values", json_integer((json_int_t)spec->n_values));
    set_new(object, "rank", json_integer(train->rank));
    set_new(object, "halvings", json_integer(train->n_halvings));
    set_new(object, "alpha", json_real((double)train->alpha));
    set_new(object, "targets", json_string(stn_arch_targets_text(train->targets, targets)));
    set_new(object, "local_steps", json_integer(train->local_steps));
    set_new(object, "local_epochs", json_integer(train->local_epochs));
    set_new(object, "batch_examples", json_integer(train->batch_examples));
    set_new(object, "batch_tokens", json_integer(train->batch_tokens));
    set_new(object, "ctx", json_integer(train->ctx));
    set_new(object, "lr", json_real(train->lr));
    set_new(object, "schedule", json_string(schedules[train->schedule]));
    set_new(object, "warmup", json_real(train->warmup));
    set_new(object, "clip", json_real(train->clip));
    set_new(object, "weight_decay", json_real(train->weight_decay));
    set_new(object, "loss", json_string(train->loss_all ? "all" : "completion"));
    set_new(object, "fedprox", json_real(train->fedprox));
    set_new(object, "over_selection", json_real(spec->over_select));
    set_new(object, "join_window_ms", json_integer((json_int_t)spec->join_window_ms));
    set_new(object, "report_deadline_ms", json_integer((json_int_t)spec->report_deadline_ms));
    set_new(object, "upload_ms", json_integer((json_int_t)spec->upload_ms));
    set_new(object, "staleness", json_integer(spec->staleness));
    set_new(object, "discount", json_real(spec->discount));
    set_new(object, "secure", json_boolean(spec->secure));
    if (spec->secure) {
        set_new(object, "gamma", json_real(spec->gamma));
        set_new(object, "delta", json_real(spec->delta));
        set_new(object, "sigma", json_integer(spec->sigma));
        set_new(object, "eta", json_integer(spec->eta));
        set_new(object, "share_ms", json_integer((json_int_t)spec->share_ms));
        set_new(object, "ack_ms", json_integer((json_int_t)spec->ack_ms));
        set_new(object, "unmask_ms", json_integer((json_int_t)spec->unmask_ms));
    }
    set_new(object, "lora", json_string(loras[spec->lora]));
    set_new(object, "outer", json_string(stn_outer_names[spec->outer.kind]));
    set_new(object, "outer_rate", json_real(spec->outer.rate));
    set_new(object, "outer_momentum", json_real(spec->outer.momentum));
    set_new(object, "outer_beta1", json_real(spec->outer.beta1));
    set_new(object, "outer_beta2", json_real(spec->outer.beta2));
    set_new(object, "outer_eps", json_real(spec->outer.eps));
    set_new(object, "clip_norm", json_real(spec->clip_norm));
    set_new(object, "clip_quantile", json_real(spec->clip_quantile));
    set_new(object, "weight_max", json_integer(spec->weight_max));
    set_new(object, "bits", json_integer(spec->bits));
    set_new(object, "seed", json_integer((json_int_t)spec->seed));
    return object;
}

enum stn_code stn_admin_task_show(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    struct stn_coordinator_view view;
    enum stn_code code = named(service, request, &view, err);
    if (code == STN_OK) {
        json_t *task = json_task(&view);
        set_new(task, "clip_norm", json_real(view.task->clip_norm));
        set_new(task, "settings", json_settings(&view.task->spec));
        set_new(reply, "task", task);
    }
    return code;
}

/* ---- pause and resume ---- */

static enum stn_code command(struct stn_service *service, enum stn_server_event_type type, const json_t *request,
                             json_t *reply, struct stn_err *err)
{
    struct stn_coordinator_view view;
    enum stn_code code = named(service, request, &view, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_server_event event = {.type = type};
    event.task = json_string_value(json_object_get(request, "task"));
    code = stn_apply_command(service, &event);
    if (code != STN_OK) {
        return stn_err_set(err, code, code == STN_LATE ? "task %.64s is finished" : "task %.64s: not possible now",
                           view.task->spec.name);
    }
    set_new(reply, "task", json_task(&view));
    return STN_OK;
}

enum stn_code stn_admin_task_pause(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    return command(service, STN_SERVER_TASK_PAUSE, request, reply, err);
}

enum stn_code stn_admin_task_resume(struct stn_service *service, const json_t *request, json_t *reply, struct stn_err *err)
{
    return command(service, STN_SERVER_TASK_RESUME, request, reply, err);
}

/* ---- adapters ---- */

struct listing {
    json_t *adapters;
    const char *task; /* NULL: all */
    const struct stn_service *service;
};

static void add_adapter(void *user, const struct stn_record *record)
{
    const struct listing *listing = user;
    const struct stn_version_record *version = &record->version;
    char path[STN_FILE_PATH_MAX];
    if (listing->task != NULL && strcmp(listing->task, version->task) != 0) {
        return;
    }
    stn_blob_path(&listing->service->blobs, &version->adapter.digest, path);
    (void)json_array_append_new(
        listing->adapters,
        json_pack("{ss sI so sI ss sI sf sf sf sf sI}", "task", version->task, "version", (json_int_t)version->version,
                  "digest", json_digest(&version->adapter.digest), "size", (json_int_t)version->adapter.size, "path", path,
                  "included", (json_int_t)version->totals.n_included, "weight", version->totals.weight, "loss",
                  version->totals.loss, "tokens", version->totals.tokens, "clipped", version->totals.share_clipped,
                  "created_ms", (json_int_t)version->created_ms));
}

enum stn_code stn_admin_task_adapters(struct stn_service *service, const json_t *request, json_t *reply,
                                      struct stn_err *err)
{
    struct stn_coordinator_view view;
    struct listing listing = {json_array(), json_string_value(json_object_get(request, "task")), service};
    enum stn_code code = listing.task == NULL ? STN_OK : named(service, request, &view, err);
    code = code == STN_OK ? stn_store_each(service->store, STN_RECORD_VERSION, add_adapter, &listing, err) : code;
    set_new(reply, "adapters", listing.adapters);
    return code;
}

/* ---- creating ---- */

struct creating {
    struct stn_job job;
    struct stn_admin_call *call;
    struct stn_task_file file;
    char folder[1024]; /* relative paths start here */
    struct stn_blob_ref adapter;
    enum stn_code code;
    struct stn_err err;
};

/* The base model is a blob from here on: what was a path, or one that is there already. */
static enum stn_code import_base(struct creating *creating, const struct stn_blob_store *blobs, struct stn_err *err)
{
    struct stn_task_spec *spec = &creating->file.spec;
    struct stn_digest *leaves = NULL;
    size_t n_leaves;
    char path[STN_FILE_PATH_MAX];
    enum stn_code code = STN_OK;
    if (!stn_digest_get_text(&spec->base.digest, creating->file.base)) {
        code = creating->file.base[0] == '/' ? stn_file_join(path, "/", creating->file.base + 1, err)
                                             : stn_file_join(path, creating->folder, creating->file.base, err);
        code = code == STN_OK ? stn_blob_put_file(blobs, path, &spec->base.digest, &spec->base.size, err) : code;
    }
    if (code == STN_OK) {
        code = stn_blob_leaves(blobs, &spec->base.digest, &leaves, &n_leaves, &spec->base.size, err);
    }
    stn_mem_free(leaves);
    return code == STN_OK ? STN_OK : stn_err_prefix(err, "the base model");
}

static void run_create(struct stn_job *job)
{
    struct creating *creating = STN_LIST_OF(job, struct creating, job);
    const struct stn_blob_store *blobs = &creating->call->service->blobs;
    creating->code = import_base(creating, blobs, &creating->err);
    if (creating->code == STN_OK) {
        creating->code = stn_release_first(blobs, &creating->file.spec, &creating->adapter, &creating->err);
    }
}

static enum stn_code say_why(const struct stn_task_spec *spec, enum stn_code code, struct stn_err *err)
{
    switch (code) {
    case STN_OK:
        return STN_OK;
    case STN_EXISTS:
        return stn_err_set(err, code, "there is a task %s with other settings: choose another name", spec->name);
    case STN_LIMIT:
        return stn_err_set(err, code, "there are too many tasks");
    default:
        return stn_err_set(err, code, "task %s: its settings do not fit together", spec->name);
    }
}

static void created(struct stn_job *job)
{
    struct creating *creating = STN_LIST_OF(job, struct creating, job);
    struct stn_admin_call *call = creating->call;
    const struct stn_task_spec *spec = &creating->file.spec;
    enum stn_code code = creating->code;
    json_t *reply = json_object();
    if (!job->ran) {
        code = stn_err_set(&creating->err, STN_CANCELLED, "the coordinator stops");
    }
    if (code == STN_OK) {
        struct stn_server_event event = {.type = STN_SERVER_TASK_CREATE};
        event.create.spec = *spec;
        event.create.adapter = creating->adapter;
        code = say_why(spec, stn_apply_command(call->service, &event), &creating->err);
    }
    struct stn_coordinator_view view;
    if (code == STN_OK && find(call->service, spec->name, &view)) {
        set_new(reply, "task", json_task(&view));
    }
    stn_admin_answer(call, code, reply, &creating->err);
    stn_mem_free(creating);
}

static enum stn_code read_request(struct creating *creating, const json_t *request, struct stn_err *err)
{
    const char *text = json_string_value(json_object_get(request, "text"));
    const char *name = json_string_value(json_object_get(request, "name"));
    const char *folder = json_string_value(json_object_get(request, "folder"));
    const char *base = json_string_value(json_object_get(request, "base"));
    if (text == NULL) {
        return stn_err_set(err, STN_INVALID, "task.create wants text: the task's INI file");
    }
    enum stn_code code = stn_task_file_parse(&creating->file, name == NULL ? "task" : name, text, strlen(text), err);
    if (code != STN_OK) {
        return code;
    }
    if (!stn_str_copy(creating->folder, sizeof creating->folder, folder == NULL ? "." : folder) ||
        (base != NULL && !stn_str_copy(creating->file.base, sizeof creating->file.base, base))) {
        return stn_err_set(err, STN_LIMIT, "a path of more than %zu bytes", sizeof creating->folder - 1);
    }
    return STN_OK;
}

enum stn_code stn_admin_task_create(struct stn_admin_call *call, struct stn_err *err)
{
    struct creating *creating = stn_mem_new(1, sizeof *creating);
    if (creating == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a task");
    }
    creating->call = call;
    enum stn_code code = read_request(creating, call->request, err);
    if (code != STN_OK) {
        stn_mem_free(creating);
        return code;
    }
    creating->job = (struct stn_job){.run = run_create, .done = created};
    stn_worker_submit(call->service->worker, &creating->job);
    return STN_OK;
}
