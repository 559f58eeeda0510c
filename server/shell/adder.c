#include "server/shell/adder.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "crypto/entropy.h"
#include "server/shell/aggregate.h"
#include "server/shell/kept.h"
#include "server/shell/release.h"

#define RETRY_MS 1000
#define ROUND_TEXT (2 * sizeof(struct stn_round_id) + 1)

enum step {
    STEP_ADD,
    STEP_UNMASK,
    STEP_MERGE
};

struct order {
    struct stn_list link;
    enum step step;
    struct stn_id device;             /* ADD */
    struct unmasking *unmasking;      /* UNMASK */
    struct stn_server_effect *effect; /* MERGE: a copy */
};

struct unmasking {
    struct sum *sum;
    struct stn_unmask work;
    struct stn_mask *masks; /* (n), a copy */
    size_t n, n_out;        /* n_out: helpers that are not back */
    bool is_first;
    struct helper {
        struct stn_job job;
        struct unmasking *unmasking;
    } helpers[];
};

struct sum { /* a round */
    struct stn_adder *adder;
    struct stn_round_id round;
    struct stn_aggregate *aggregate; /* NULL until its snapshot could be loaded */
    struct stn_timer retry;          /* of that */
    struct stn_list orders;
    bool is_busy; /* a job is out, its snapshot waits for the commit, or the last one could not be loaded yet */
    bool is_closed, is_released;
    struct stn_job job;
    struct order *order; /* of the job; NULL: WRITE. Of UNMASK the job keeps the masks; helpers take them off */
    struct stn_after after;
    enum stn_code code;
    struct stn_err err;
    struct stn_release_output output;
    char kept[STN_FILE_PATH_MAX]; /* "": not */
};

struct stn_adder {
    struct stn_adder_config config;
    struct stn_map sums; /* round -> struct sum */
    bool is_stopped;
};

static void go_on(struct sum *sum);
static void start_unmasking(struct sum *sum);

/* ---- life ---- */

enum stn_code stn_adder_new(struct stn_adder **ret, const struct stn_adder_config *config, struct stn_err *err)
{
    struct stn_adder *adder = stn_mem_new(1, sizeof *adder);
    if (adder == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an adder");
    }
    adder->config = *config;
    *ret = adder;
    return STN_OK;
}

static void free_order(struct order *order)
{
    if (order == NULL) {
        return;
    }
    if (order->unmasking != NULL) {
        stn_entropy_wipe(order->unmasking->masks, order->unmasking->n * sizeof *order->unmasking->masks);
        stn_mem_free(order->unmasking->masks);
        stn_mem_free(order->unmasking);
    }
    stn_mem_free(order->effect);
    stn_mem_free(order);
}

static void free_sum(struct sum *sum)
{
    for (struct stn_list *link; (link = stn_list_pop(&sum->orders)) != NULL;) {
        free_order(STN_LIST_OF(link, struct order, link));
    }
    free_order(sum->order);
    stn_loop_disarm(sum->adder->config.turn->loop, &sum->retry);
    stn_aggregate_close(sum->aggregate);
    stn_mem_free(sum);
}

void stn_adder_stop(struct stn_adder *adder)
{
    if (adder == NULL) {
        return;
    }
    adder->is_stopped = true;
    for (size_t i = 0; i < adder->sums.n; i++) {
        struct sum *sum = adder->sums.entries[i].value;
        stn_loop_disarm(adder->config.turn->loop, &sum->retry);
    }
}

void stn_adder_free(struct stn_adder *adder)
{
    if (adder == NULL) {
        return;
    }
    for (size_t i = 0; i < adder->sums.n; i++) {
        free_sum(adder->sums.entries[i].value);
    }
    stn_map_fini(&adder->sums);
    stn_mem_free(adder);
}

static _Noreturn void no_memory(void)
{
    struct stn_err err;
    (void)stn_err_set(&err, STN_MEMORY, "no memory to add updates");
    stn_turn_die("adder_failed", &err);
}

/* ---- a round's sum ---- */

static enum stn_code open_aggregate(struct sum *sum, struct stn_err *err)
{
    struct stn_adder_config *config = &sum->adder->config;
    struct stn_record record = {.type = STN_RECORD_ROUND, .round = {.round = sum->round}};
    enum stn_code code = stn_store_get(config->store, &record, err);
    if (code == STN_OK && config->kept != NULL) {
        char name[ROUND_TEXT];
        stn_hex_put(name, sum->round.bytes, sizeof sum->round.bytes);
        code = stn_file_join(sum->kept, config->kept, name, err);
    }
    return code == STN_OK ? stn_aggregate_open(&sum->aggregate, config->spool, config->store, &record.round.config,
                                               sum->kept, err)
                          : code;
}

/* Until then it is busy. */
static void open_or_wait(struct sum *sum)
{
    struct stn_err err;
    enum stn_code code = open_aggregate(sum, &err);
    if (code != STN_OK && code != STN_AGAIN) {
        stn_turn_die("sum_lost", &err);
    }
    sum->is_busy = code == STN_AGAIN;
    if (sum->is_busy) { /* too few descriptors for now */
        stn_log_err(STN_LOG_WARN, "sum_waits", &err);
        stn_loop_arm(sum->adder->config.turn->loop, &sum->retry, RETRY_MS);
    }
}

static void reopen(struct stn_timer *timer)
{
    struct sum *sum = STN_LIST_OF(timer, struct sum, retry);
    sum->is_busy = false;
    if (!sum->is_closed) {
        open_or_wait(sum);
    }
    go_on(sum);
}

static struct sum *sum_of(struct stn_adder *adder, const struct stn_round_id *round)
{
    struct sum *sum = stn_map_get(&adder->sums, round, sizeof *round);
    if (sum != NULL) {
        return sum;
    }
    sum = stn_mem_new(1, sizeof *sum);
    if (sum == NULL || !stn_map_set(&adder->sums, round, sizeof *round, sum)) {
        no_memory();
    }
    sum->adder = adder;
    sum->round = *round;
    stn_list_init(&sum->orders);
    sum->retry.fire = reopen;
    open_or_wait(sum);
    return sum;
}

/* Updates that were to be kept for a release which never came: the process that linked them may have ended since. */
static void forget_kept(struct stn_adder *adder, const struct stn_round_id *round)
{
    char name[ROUND_TEXT], folder[STN_FILE_PATH_MAX];
    stn_hex_put(name, round->bytes, sizeof round->bytes);
    if (adder->config.kept != NULL && stn_file_join(folder, adder->config.kept, name, NULL) == STN_OK) {
        stn_kept_remove(folder);
    }
}

static void drop_files(struct stn_adder *adder, const struct stn_round_id *round, bool is_released)
{
    if (!is_released) {
        forget_kept(adder, round);
    }
    stn_spool_remove_round(adder->config.spool, round);
}

static void drop_sum(struct sum *sum)
{
    drop_files(sum->adder, &sum->round, sum->is_released);
    (void)stn_map_remove(&sum->adder->sums, &sum->round, sizeof sum->round);
    free_sum(sum);
}

/* ---- jobs ---- */

/* What the round is to be when it is merged has numbers and bytes that only its uploads can make wrong; everything else
 * is the machine's. */
static bool is_rounds_fault(enum stn_code code)
{
    return code == STN_CORRUPT || code == STN_INVALID || code == STN_LIMIT || code == STN_UNSUPPORTED;
}

static enum stn_code run_merge(struct sum *sum)
{
    const struct stn_server_effect *effect = sum->order->effect;
    const struct stn_release_input input = {.spec = &effect->merge.spec, .config = &effect->merge.config,
                                            .from = &effect->merge.from, .sum = sum->aggregate->sum,
                                            .n_included = effect->merge.n_included,
                                            .tier = effect->merge.tier};
    enum stn_code code = stn_release_next(sum->adder->config.blobs, &input, &sum->output, &sum->err);
    if (code == STN_OK && sum->kept[0] != '\0') {
        code = stn_aggregate_keep(sum->aggregate, &sum->err);
    }
    if (code == STN_OK && sum->kept[0] != '\0') {
        code = stn_kept_write(sum->kept, &input, &sum->output, &sum->err);
        code = is_rounds_fault(code) ? stn_err_set(&sum->err, STN_IO, "%.200s: cannot keep the updates", sum->kept) : code;
    }
    return code;
}

static void run(struct stn_job *job)
{
    struct sum *sum = STN_LIST_OF(job, struct sum, job);
    if (sum->order == NULL) {
        sum->code = stn_aggregate_write(sum->aggregate, &sum->err);
    } else if (sum->order->step == STEP_ADD) {
        sum->code = stn_aggregate_add(sum->aggregate, &sum->order->device, &sum->err);
    } else if (sum->order->step == STEP_UNMASK) {
        const struct unmasking *unmasking = sum->order->unmasking;
        sum->code = stn_kept_masks(sum->kept, unmasking->masks, unmasking->n, unmasking->is_first, &sum->err);
    } else {
        sum->code = run_merge(sum);
    }
}

static void tell_merged(struct sum *sum)
{
    struct stn_server_event event = {.type = STN_SERVER_MERGED};
    event.merged.round = sum->round;
    event.merged.code = sum->code;
    if (sum->code == STN_OK) {
        event.merged.adapter = sum->output.adapter;
        event.merged.state = sum->output.state;
        event.merged.clip_norm = sum->output.clip_norm;
        event.merged.totals = sum->output.totals;
    } else {
        stn_log_err(STN_LOG_ERROR, "merge_failed", &sum->err);
    }
    sum->adder->config.tell(sum->adder->config.user, &event);
}

/* The snapshot is on disk: its spools are not needed any more. */
static void after_commit(struct stn_after *after)
{
    struct sum *sum = STN_LIST_OF(after, struct sum, after);
    stn_aggregate_clean(sum->aggregate);
    sum->is_busy = false;
    go_on(sum);
}

static void done(struct stn_job *job)
{
    struct sum *sum = STN_LIST_OF(job, struct sum, job);
    struct order *order = sum->order;
    if (!job->ran || sum->adder->is_stopped) {
        return; /* the process stops: what was asked for is asked again after the start */
    }
    bool is_merge = order != NULL && order->step == STEP_MERGE, is_unmask = order != NULL && order->step == STEP_UNMASK;
    if (sum->code == STN_AGAIN) { /* too few descriptors for now: nothing was added, or written whole */
        stn_log_err(STN_LOG_WARN, "add_waits", &sum->err);
        stn_worker_submit(sum->adder->config.worker, job);
        return;
    }
    if (sum->code != STN_OK && !(is_merge && is_rounds_fault(sum->code))) {
        stn_turn_die(is_merge ? "merge_failed" : is_unmask ? "keep_failed" : "add_failed", &sum->err);
    }
    if (is_unmask && !sum->is_closed) {
        start_unmasking(sum);
        return;
    }
    sum->order = NULL;
    if (order == NULL && !sum->is_closed) { /* busy until the commit; of a closed round nothing is kept */
        if (stn_aggregate_save(sum->aggregate, sum->adder->config.store, &sum->err) != STN_OK) {
            stn_turn_die("snapshot_failed", &sum->err);
        }
        stn_turn_after(sum->adder->config.turn, &sum->after);
        return;
    }
    sum->is_busy = false;
    free_order(order);
    if (is_merge && !sum->is_closed) {
        tell_merged(sum);
    }
    go_on(sum);
}

/* ---- masks ---- */

static void help(struct stn_job *job)
{
    stn_unmask_help(&STN_LIST_OF(job, struct helper, job)->unmasking->work);
}

/* The last of those who helped is back. */
static void helped(struct stn_job *job)
{
    struct unmasking *unmasking = STN_LIST_OF(job, struct helper, job)->unmasking;
    struct sum *sum = unmasking->sum;
    if (!job->ran || sum->adder->is_stopped || --unmasking->n_out > 0) {
        return;
    }
    struct stn_server_event event = {.type = STN_SERVER_UNMASKED, .unmasked = sum->round};
    struct order *order = sum->order;
    sum->order = NULL;
    sum->is_busy = false;
    free_order(order);
    if (!sum->is_closed) {
        sum->adder->config.tell(sum->adder->config.user, &event);
    }
    go_on(sum);
}

static void start_unmasking(struct sum *sum)
{
    const struct stn_adder_config *config = &sum->adder->config;
    struct unmasking *unmasking = sum->order->unmasking;
    stn_aggregate_unmask(sum->aggregate, &unmasking->work, unmasking->masks, unmasking->n, unmasking->is_first);
    unmasking->n_out = config->n_threads;
    for (size_t i = 0; i < config->n_threads; i++) {
        struct helper *helper = &unmasking->helpers[i];
        *helper = (struct helper){.job = {.run = help, .done = helped}, .unmasking = unmasking};
        stn_worker_submit(config->worker, &helper->job);
    }
}

/* The next thing to do for this round, if nothing is under way. The sum may be gone after it. */
static void go_on(struct sum *sum)
{
    if (sum->is_busy || sum->adder->is_stopped) {
        return;
    }
    if (sum->is_closed) {
        drop_sum(sum);
        return;
    }
    bool is_write = stn_aggregate_n_new(sum->aggregate) >= sum->adder->config.snapshot;
    if (!is_write && stn_list_is_empty(&sum->orders)) {
        return;
    }
    sum->order = is_write ? NULL : STN_LIST_OF(stn_list_pop(&sum->orders), struct order, link);
    sum->is_busy = true;
    if (sum->order != NULL && sum->order->step == STEP_UNMASK && sum->kept[0] == '\0') {
        start_unmasking(sum);
        return;
    }
    sum->after = (struct stn_after){.run = after_commit};
    sum->job = (struct stn_job){.run = run, .done = done};
    stn_worker_submit(sum->adder->config.worker, &sum->job);
}

/* ---- orders ---- */

void stn_adder_add(struct stn_adder *adder, const struct stn_server_upload *upload)
{
    struct sum *sum = sum_of(adder, &upload->round);
    struct order *order = stn_mem_new(1, sizeof *order);
    if (order == NULL) {
        no_memory();
    }
    order->step = STEP_ADD;
    order->device = upload->device;
    stn_list_add(&sum->orders, &order->link);
    go_on(sum);
}

void stn_adder_unmask(struct stn_adder *adder, const struct stn_server_effect *effect)
{
    struct sum *sum = sum_of(adder, &effect->unmask.round);
    size_t n = effect->unmask.n, n_threads = adder->config.n_threads;
    struct order *order = stn_mem_new(1, sizeof *order);
    struct unmasking *unmasking = stn_mem_new(1, sizeof *unmasking + n_threads * sizeof *unmasking->helpers);
    struct stn_mask *masks = stn_mem_copy(effect->unmask.masks, n * sizeof *masks);
    if (order == NULL || unmasking == NULL || masks == NULL) {
        no_memory();
    }
    unmasking->sum = sum;
    unmasking->masks = masks;
    unmasking->n = n;
    unmasking->is_first = effect->unmask.is_first;
    order->step = STEP_UNMASK;
    order->unmasking = unmasking;
    stn_list_add(&sum->orders, &order->link);
    go_on(sum);
}

void stn_adder_merge(struct stn_adder *adder, const struct stn_server_effect *effect)
{
    struct sum *sum = sum_of(adder, &effect->merge.round);
    struct order *order = stn_mem_new(1, sizeof *order);
    if (order == NULL || (order->effect = stn_mem_copy(effect, sizeof *effect)) == NULL) {
        no_memory();
    }
    order->step = STEP_MERGE;
    stn_list_add(&sum->orders, &order->link);
    go_on(sum);
}

void stn_adder_close(struct stn_adder *adder, const struct stn_round_id *round, bool is_released)
{
    struct stn_err err;
    struct sum *sum = stn_map_get(&adder->sums, round, sizeof *round);
    if (stn_store_forget_snapshot(adder->config.store, round, &err) != STN_OK) {
        stn_turn_die("snapshot_failed", &err);
    }
    if (sum == NULL) {
        drop_files(adder, round, is_released);
        return;
    }
    sum->is_closed = true;
    sum->is_released = is_released;
    go_on(sum);
}

/* ---- what the last process left ---- */

static enum stn_code sweep(void *user, const char *name, struct stn_err *err)
{
    struct stn_adder *adder = user;
    struct stn_record record = {.type = STN_RECORD_ROUND};
    if (!stn_hex_get(record.round.round.bytes, sizeof record.round.round.bytes, name)) {
        return STN_OK; /* not ours */
    }
    const struct stn_round_id round = record.round.round;
    enum stn_code code = stn_store_get(adder->config.store, &record, err);
    if (code == STN_NOT_FOUND || (code == STN_OK && record.round.state >= STN_ROUND_DONE)) {
        stn_spool_remove_round(adder->config.spool, &round);
        code = stn_store_forget_snapshot(adder->config.store, &round, err);
    }
    return code;
}

void stn_adder_sweep(struct stn_adder *adder)
{
    struct stn_err err;
    if (stn_file_list(adder->config.spool->folder, sweep, adder, &err) != STN_OK) {
        stn_log_err(STN_LOG_WARN, "sweep_failed", &err);
    }
}
