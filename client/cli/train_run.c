#include "client/cli/train_run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/command.h"
#include "base/mem.h"
#include "base/progress.h"
#include "client/cli/train_metrics.h"
#include "compute/backend.h"
#include "compute/train/checkpoint.h"
#include "compute/train/trainer.h"
#include "compute/train/watch.h"
#include "io/file.h"

/* Why a run has come to its end. */
enum end { END_STEPS, END_PATIENCE, END_SIGNAL, END_TIME };
static const char *const end_words[] = {"steps", "patience", "signal", "time"};

struct stn_train_run {
    const struct stn_train_run_options *options;
    struct stn_train_run_place place;
    struct stn_session *session;
    struct stn_dataset *dataset, *held; /* held: NULL without validation */
    struct stn_trainer_config config;
    struct stn_trainer *trainer;
    struct stn_watch *watch;
    struct stn_session_plan plan;
    struct stn_buf identity;
    struct stn_err fell_back;        /* why a GPU failed; code STN_OK: none did */
    char folder[STN_FILE_PATH_MAX];  /* of checkpoints; empty: none */
    bool resumes, has_kept; /* has_kept: a checkpoint of its own */
    int lock; /* of the folder, or -1 */
    struct stn_train_metrics metrics;
    enum end end;
    double wall_s;
    uint64_t rows_before; /* of what was resumed: not of this process's speed */
};

static enum stn_code name(const struct stn_train_run *run, const char *path, char sign, char *ret, struct stn_err *err)
{
    int n = run->place.number == 1 ? snprintf(ret, STN_FILE_PATH_MAX, "%s", path)
                                   : snprintf(ret, STN_FILE_PATH_MAX, "%s%c%u", path, sign, run->place.number);
    return n > 0 && n < STN_FILE_PATH_MAX ? STN_OK : stn_err_set(err, STN_INVALID, "%.100s is too long a name", path);
}

static enum stn_code check(struct stn_train_run *run, struct stn_err *err)
{
    const struct stn_train_run_options *o = run->options;
    const char *const inputs[] = {o->model, run->place.data, o->validation};
    const char *folder = o->checkpoint != NULL ? o->checkpoint : o->resume;
    enum stn_code code = stn_session_can_write(run->place.output, inputs, 3, err);
    if (code == STN_OK && o->metrics != NULL) {
        code = name(run, o->metrics, '.', run->metrics.path, err);
    }
    if (code == STN_OK && o->resume != NULL) {
        code = name(run, o->resume, '/', run->folder, err);
        run->resumes = code == STN_OK && stn_checkpoint_exists(run->folder);
        if (code == STN_OK && run->place.number == 1 && !run->resumes) {
            code = stn_err_set(err, STN_NOT_FOUND, "%s has no checkpoint to resume from", o->resume);
        }
    }
    if (code == STN_OK && folder != NULL) {
        code = name(run, folder, '/', run->folder, err);
    }
    if (code == STN_OK && folder != NULL) {
        code = stn_checkpoint_claim(&run->lock, run->folder, err);
    }
    return code;
}

enum stn_code stn_train_run_check(struct stn_train_run **ret, const struct stn_train_run_options *options,
                                  const struct stn_train_run_place *place, struct stn_err *err)
{
    struct stn_train_run *run = stn_mem_new(1, sizeof *run);
    if (run == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a run");
    }
    run->options = options;
    run->place = *place;
    run->lock = -1;
    enum stn_code code = check(run, err);
    if (code != STN_OK) {
        stn_train_run_close(run);
        return code;
    }
    *ret = run;
    return STN_OK;
}

void stn_train_run_close(struct stn_train_run *run)
{
    if (run == NULL) {
        return;
    }
    stn_train_metrics_close(&run->metrics);
    stn_file_close(run->lock);
    stn_buf_fini(&run->identity);
    stn_watch_free(run->watch);
    stn_trainer_free(run->trainer);
    stn_dataset_free(run->dataset);
    stn_dataset_free(run->held);
    if (run->session != NULL) {
        stn_adapter_free(run->session->adapter);
        run->session->adapter = NULL;
    }
    stn_mem_free(run);
}

enum stn_code stn_train_run_read(struct stn_train_run *run, const struct stn_session *session, struct stn_err *err)
{
    const struct stn_train_run_options *o = run->options;
    const struct stn_dataset_config config = {.context = o->context, .loss = (enum stn_dataset_loss)o->loss,
                                              .skip_bad = o->skip_bad};
    enum stn_code code = stn_dataset_open(&run->dataset, run->place.data, session->tokenizer, &config, err);
    if (code == STN_OK && o->validation != NULL) {
        code = stn_dataset_open(&run->held, o->validation, session->tokenizer, &config, err);
    } else if (code == STN_OK && o->validation_share > 0) {
        struct stn_dataset *kept = NULL;
        code = stn_dataset_split(&kept, &run->held, run->dataset, o->validation_share, o->seed, err);
        if (code == STN_OK) {
            kept->counts = run->dataset->counts; /* of the file */
            stn_dataset_free(run->dataset);
            run->dataset = kept;
        }
    }
    return code;
}

/* ---- preparing ---- */

static enum stn_code make_adapter(struct stn_train_run *run, struct stn_err *err)
{
    const struct stn_train_run_options *o = run->options;
    struct stn_session *session = run->session;
    const struct stn_arch *arch = stn_model_arch(session->model);
    double alpha = o->rslora ? o->alpha * sqrt((double)o->rank) : o->alpha; /* alpha / rank is then alpha / sqrt(rank) */
    uint32_t targets;
    if (o->adapter != NULL) {
        return stn_adapter_file_load(&session->adapter, arch, o->adapter, err);
    }
    enum stn_code code = stn_arch_targets(o->targets, &targets, err);
    code = code != STN_OK ? code : stn_adapter_new(&session->adapter, arch, (uint32_t)o->rank, (float)alpha, targets, err);
    if (code == STN_OK && o->rslora) {
        code = stn_adapter_set_u64(session->adapter, STN_ADAPTER_RSLORA, 1, err);
    }
    if (code == STN_OK) {
        stn_adapter_init(session->adapter, o->seed);
    }
    return code;
}

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Where the checkpoint lies that the run goes on from: its own, or the one that was named. */
static enum stn_code name_earlier(const struct stn_train_run *run, char ret[static STN_FILE_PATH_MAX], struct stn_err *err)
{
    if (run->has_kept) {
        (void)snprintf(ret, STN_FILE_PATH_MAX, "%s", run->folder);
        return STN_OK;
    }
    return name(run, run->options->resume, '/', ret, err);
}

/* What computed the checkpoint, where a run goes on from one and nobody says what is to compute; false: that is no matter. */
static bool find_earlier(const struct stn_train_run *run, char ret[static STN_CHECKPOINT_BACKEND])
{
    char from[STN_FILE_PATH_MAX];
    return run->resumes && run->options->backend == STN_SESSION_AUTO && name_earlier(run, from, NULL) == STN_OK &&
           stn_checkpoint_backend(from, ret);
}

/* NULL is the processor, as everywhere: what fails there has nothing to fall back to. */
static const char *choose_backend(const struct stn_train_run *run)
{
    const struct stn_train_run_options *o = run->options;
    char earlier[STN_CHECKPOINT_BACKEND];
    if (run->fell_back.code != STN_OK) {
        return NULL;
    }
    const struct stn_backend_row *row =
        o->reading.memory_limit == 0 && find_earlier(run, earlier) ? stn_backend_find(earlier) : NULL;
    if (row != NULL) {
        return row == stn_backend_find(NULL) ? NULL : row->name;
    }
    return stn_session_choose(run->session, o->backend, o->reading.memory_limit);
}

static void fill_config(struct stn_train_run *run, size_t longest)
{
    const struct stn_train_run_options *o = run->options;
    struct stn_trainer_config *config = &run->config;
    *config = stn_trainer_defaults();
    config->context = longest;
    config->batch_tokens = o->batch_tokens;
    config->pass_tokens = o->pass_tokens;
    config->batch_examples = o->batch_examples;
    config->lr = o->lr;
    config->schedule = (enum stn_schedule_shape)o->schedule;
    config->warmup = o->warmup;
    config->clip = o->clip;
    config->weight_decay = o->weight_decay;
    config->dropout = (float)o->dropout;
    config->evaluates = run->held != NULL;
    config->backward = (enum stn_backward)o->backward;
    config->n_threads = run->session->n_threads;
    config->backend = choose_backend(run);
    config->seed = o->seed;
}

static enum stn_code check_longest(const struct stn_train_run *run, size_t longest, struct stn_err *err)
{
    const struct stn_train_run_options *o = run->options;
    if (longest > o->batch_tokens) {
        return stn_err_set(err, STN_INVALID, "the longest example has %zu tokens, --batch-tokens is %llu: "
                                             "raise it, or lower --ctx", longest, (unsigned long long)o->batch_tokens);
    }
    if (o->pass_tokens > 0 && (longest > o->pass_tokens || o->pass_tokens > o->batch_tokens)) {
        return stn_err_set(err, STN_INVALID, "--pass-tokens is %llu: give at least %zu, the longest example's, and at most "
                                             "%llu, the --batch-tokens", (unsigned long long)o->pass_tokens, longest,
                           (unsigned long long)o->batch_tokens);
    }
    return STN_OK;
}

/* A trainer that stays within the memory limit. What a step learns from does not change with it. */
static enum stn_code make_trainer(struct stn_train_run *run, struct stn_err *err)
{
    const struct stn_train_run_options *o = run->options;
    struct stn_session *session = run->session;
    size_t longest = stn_session_longest(run->dataset), rows = 0;
    longest = run->held == NULL ? longest : max_of(longest, stn_session_longest(run->held));
    for (size_t i = 0; i < run->dataset->n_examples; i++) {
        rows += run->dataset->examples[i].n_tokens;
    }
    enum stn_code code = check_longest(run, longest, err);
    if (code != STN_OK) {
        return code;
    }
    fill_config(run, longest);
    run->config.pass_tokens = min_of(stn_trainer_pass_tokens(&run->config), max_of(rows, longest));
    /* the first values go when the network has them; a watch keeps the best, and a checkpoint has all four vectors */
    size_t vector = session->adapter->n_values * sizeof(float);
    uint64_t base = stn_session_base(session);
    run->plan.base = (base > vector ? base - vector : 0) + (run->held == NULL ? 0u : vector) +
                     (run->folder[0] == '\0' ? 0u
                      : run->held == NULL      ? 3 * vector
                                               : 4 * vector);
    const struct stn_network_config shape = stn_trainer_shape(&run->config);
    struct stn_fit fit;
    code = stn_session_fit(session, &shape, longest, run->plan.base, o->reading.memory_limit,
                           "lower --ctx or --rank, or choose fewer --targets", &fit, err);
    if (code != STN_OK) {
        return code;
    }
    run->config.pass_tokens = run->plan.pass_tokens = fit.rows;
    run->config.recompute = run->plan.recompute = fit.recompute;
    run->plan.n_layers = stn_model_arch(session->model)->n_layers;
    run->plan.streams = stn_model_streams(session->model);
    code = stn_trainer_new(&run->trainer, session->model, session->adapter, &run->config, err);
    if (code == STN_OK) {
        run->plan.memory = stn_network_memory(stn_trainer_network(run->trainer));
    }
    return code;
}

static bool stopping(void *context)
{
    struct stn_train_run *run = context;
    if (stn_command_stopping()) {
        run->end = END_SIGNAL;
    } else if (run->place.deadline_s > 0 && stn_session_now_s() >= run->place.deadline_s) {
        run->end = END_TIME;
    }
    return stn_train_run_is_stopped(run);
}

static enum stn_code make_watch(struct stn_train_run *run, struct stn_err *err)
{
    uint64_t tenth = stn_trainer_n_steps(run->trainer) / 10, every = run->options->validation_steps;
    const struct stn_watch_config config = {.dataset = run->held, .patience = run->options->patience,
                                            .every = every > 0 ? every : tenth > 0 ? tenth : 1};
    return run->held == NULL ? STN_OK : stn_watch_new(&run->watch, run->trainer, &config, err);
}

/* Goes on with an earlier run of this name, on whatever computed it where nobody says what is to compute. */
static enum stn_code resume(struct stn_train_run *run, struct stn_checkpoint_subject *subject, struct stn_err *err)
{
    char from[STN_FILE_PATH_MAX], backend[STN_CHECKPOINT_BACKEND];
    struct stn_trainer_config config = run->config;
    struct stn_buf identity = {0};
    config.backend = find_earlier(run, backend) ? backend : config.backend;
    subject->config = &config;
    enum stn_code code = name_earlier(run, from, err);
    code = code != STN_OK ? code : stn_checkpoint_identity(&identity, subject, err);
    code = code != STN_OK ? code : stn_checkpoint_load(from, (const char *)identity.data, run->trainer, run->watch, err);
    subject->config = &run->config;
    stn_buf_fini(&identity);
    return code;
}

/* Names the run, and goes on with an earlier one. */
static enum stn_code start(struct stn_train_run *run, struct stn_err *err)
{
    const struct stn_train_run_options *o = run->options;
    const struct stn_adapter *adapter = run->session->adapter;
    const struct stn_trainer_run how = {.dataset = run->dataset, .n_steps = o->steps, .n_rows = o->token_limit,
                                        .n_epochs = o->epochs > 0 || o->token_limit > 0 ? o->epochs : 1,
                                        .seed = o->seed, .stopping = stopping, .stopping_context = run};
    stn_trainer_set_values(run->trainer, adapter->values);
    enum stn_code code = stn_trainer_start(run->trainer, &how, err);
    code = code != STN_OK ? code : make_watch(run, err);
    if (code != STN_OK || run->folder[0] == '\0') {
        return code;
    }
    struct stn_checkpoint_subject subject = {.data = stn_dataset_digest(run->dataset), .config = &run->config, .run = &how,
                                             .n_steps = stn_trainer_n_steps(run->trainer)};
    subject.watch = run->watch == NULL ? NULL : stn_watch_config(run->watch);
    struct stn_buf bytes = {0};
    if ((code = stn_session_file_digest(o->model, &subject.model, err)) == STN_OK &&
        (code = stn_adapter_file_write(adapter, &bytes, err)) == STN_OK) {
        subject.start = stn_digest_of(bytes.data, bytes.size);
        code = stn_checkpoint_identity(&run->identity, &subject, err);
    }
    stn_buf_fini(&bytes);
    code = code == STN_OK && run->resumes ? resume(run, &subject, err) : code;
    run->rows_before = stn_trainer_totals(run->trainer).n_rows;
    return code;
}

enum stn_code stn_train_run_prepare(struct stn_train_run *run, struct stn_session *session, struct stn_err *err)
{
    run->session = session;
    enum stn_code code = make_adapter(run, err);
    code = code != STN_OK ? code : make_trainer(run, err);
    code = code != STN_OK ? code : start(run, err);
    if (code == STN_OK) {
        uint64_t n_looks = run->watch == NULL ? 0 : stn_watch_state(run->watch)->n_looks;
        code = stn_train_metrics_open(&run->metrics, stn_trainer_n_done(run->trainer) + n_looks, err);
    }
    if (code == STN_OK) {
        stn_adapter_drop_values(session->adapter);
    }
    return code;
}

const struct stn_session_plan *stn_train_run_plan(const struct stn_train_run *run)
{
    return &run->plan;
}

/* ---- training ---- */

static bool go_on(void *context, uint64_t n_done, uint64_t n_examples)
{
    (void)n_done;
    (void)n_examples;
    return !stopping(context);
}

/* Looks at the validation set where that is due. */
static enum stn_code look(struct stn_train_run *run, struct stn_err *err)
{
    struct stn_evaluate_result result;
    double at_s = stn_session_now_s();
    if (run->watch == NULL || !stn_watch_is_due(run->watch)) {
        return STN_OK;
    }
    enum stn_code code = stn_watch_look(run->watch, go_on, run, &result, err);
    if (code != STN_OK || result.is_stopped) {
        return code;
    }
    const struct stn_watch_state *state = stn_watch_state(run->watch);
    if (stn_watch_is_over(run->watch)) {
        run->end = END_PATIENCE;
    }
    return stn_train_metrics_look(&run->metrics, state, stn_session_now_s() - at_s, err);
}

static enum stn_code checkpoint(struct stn_train_run *run, struct stn_err *err)
{
    if (run->folder[0] == '\0') {
        return STN_OK;
    }
    enum stn_code code = stn_checkpoint_save(run->folder, (const char *)run->identity.data, run->trainer, run->watch, err);
    run->has_kept = run->has_kept || code == STN_OK;
    return code;
}

static void say_progress(const struct stn_train_run *run, struct stn_progress *progress, const struct stn_trainer_step *step,
                         double started_s)
{
    char note[96], held[32] = "";
    uint64_t rows = stn_trainer_totals(run->trainer).n_rows - run->rows_before;
    if (run->watch != NULL) {
        (void)snprintf(held, sizeof held, " (validation %.4f)", stn_watch_state(run->watch)->last_loss);
    }
    (void)snprintf(note, sizeof note, "loss %.4f%s  %.0f tok/s", step->loss, held,
                   (double)rows / (stn_session_now_s() - started_s));
    stn_progress_at(progress, step->step, note);
}

/* Steps until the run is done, or something else asks for the end. */
static enum stn_code steps(struct stn_train_run *run, struct stn_err *err)
{
    struct stn_progress progress;
    double started_s = stn_session_now_s();
    stn_progress_start(&progress, "step", stn_trainer_n_steps(run->trainer));
    run->end = run->watch != NULL && stn_watch_is_over(run->watch) ? END_PATIENCE : END_STEPS;
    enum stn_code code = look(run, err);
    while (code == STN_OK && run->end == END_STEPS && !stn_trainer_is_done(run->trainer)) {
        struct stn_trainer_step step;
        double at_s = stn_session_now_s();
        code = stn_trainer_step(run->trainer, &step, err);
        if (code == STN_CANCELLED) {
            code = STN_OK; /* run->end says why */
            break;
        }
        code = code != STN_OK ? code : stn_train_metrics_step(&run->metrics, &step, stn_session_now_s() - at_s, err);
        if (code == STN_OK) {
            say_progress(run, &progress, &step, started_s);
            code = look(run, err);
        }
        if (code == STN_OK && step.step % run->options->checkpoint_steps == 0) {
            code = checkpoint(run, err);
        }
    }
    stn_progress_end(&progress);
    run->wall_s = stn_session_now_s() - started_s;
    return code;
}

static enum stn_code read_values(void *context, size_t offset, float *values, size_t n, struct stn_err *err)
{
    const struct stn_train_run *run = context;
    if (run->watch != NULL) {
        memcpy(values, stn_watch_best(run->watch) + offset, n * sizeof *values);
        return STN_OK;
    }
    stn_network_read_values(stn_trainer_network(run->trainer), offset, values, n);
    return stn_network_check(stn_trainer_network(run->trainer), err);
}

enum stn_code stn_train_run_train(struct stn_train_run *run, struct stn_err *err)
{
    struct stn_evaluate_result result;
    enum stn_code code = steps(run, err);
    code = code != STN_OK ? code : checkpoint(run, err);
    /* what a run has learned since the last look counts too; it is no part of the checkpoint, which knows the planned looks alone */
    if (code == STN_OK && run->watch != NULL &&
        (stn_watch_state(run->watch)->n_looks == 0 ||
         stn_watch_state(run->watch)->last_step < stn_trainer_n_done(run->trainer))) {
        code = stn_watch_look(run->watch, NULL, NULL, &result, err);
    }
    return code != STN_OK ? code
                          : stn_adapter_file_save_from(run->session->adapter, run->place.output, read_values, run, err);
}

/* ---- where a GPU fails ---- */

bool stn_train_run_can_fall_back(const struct stn_train_run *run)
{
    return run->options->backend == STN_SESSION_AUTO && run->config.backend != NULL &&
           (run->trainer == NULL || stn_network_check(stn_trainer_network(run->trainer), NULL) != STN_OK);
}

enum stn_code stn_train_run_fall_back(struct stn_train_run *run, const struct stn_err *why, struct stn_err *err)
{
    run->fell_back = *why;
    stn_buf_fini(&run->identity);
    run->identity = (struct stn_buf){0};
    run->resumes = run->resumes || run->has_kept;
    stn_train_metrics_close(&run->metrics);
    stn_watch_free(run->watch);
    run->watch = NULL;
    stn_trainer_free(run->trainer);
    run->trainer = NULL;
    stn_adapter_free(run->session->adapter);
    run->session->adapter = NULL;
    return stn_train_run_prepare(run, run->session, err);
}

/* ---- what came of it ---- */

bool stn_train_run_is_stopped(const struct stn_train_run *run)
{
    return run->end == END_SIGNAL || run->end == END_TIME;
}

static double tokens_per_s(const struct stn_train_run *run)
{
    uint64_t rows = stn_trainer_totals(run->trainer).n_rows - run->rows_before;
    return run->wall_s > 0 ? (double)rows / run->wall_s : 0;
}

void stn_train_run_print(const struct stn_train_run *run)
{
    static const char *const words[] = {"", " (no better for a while)", " (stopped)", " (stopped: its time was up)"};
    const struct stn_network *network = stn_trainer_network(run->trainer);
    struct stn_trainer_totals totals = stn_trainer_totals(run->trainer);
    stn_session_print_counts(run->dataset);
    (void)printf("%-10s %llu of %llu%s, %llu tokens, %llu of them with loss\n", "steps",
                 (unsigned long long)stn_trainer_n_done(run->trainer), (unsigned long long)stn_trainer_n_steps(run->trainer),
                 words[run->end], (unsigned long long)totals.n_rows, (unsigned long long)totals.n_targets);
    (void)printf("%-10s %.4f -> %.4f (means of the first and the last tenth of the steps)\n", "loss",
                 stn_trainer_loss_first(run->trainer), stn_trainer_loss_last(run->trainer));
    if (run->watch != NULL) {
        const struct stn_watch_state *state = stn_watch_state(run->watch);
        (void)printf("%-10s %.4f -> %.4f over %zu examples, best at step %llu, which is what was written\n", "validation",
                     state->first_loss, state->best_loss, run->held->n_examples, (unsigned long long)state->best_step);
    }
    (void)printf("%-10s %.0f tok/s, %.1f s, peak memory %.0f MiB, %s %s, %u threads\n", "speed", tokens_per_s(run),
                 run->wall_s, (double)stn_session_peak_rss() / 1048576, stn_network_backend(network),
                 stn_network_kernel(network), run->session->n_threads);
    (void)printf("%-10s %s\n", "wrote", run->place.output);
    if (stn_train_run_is_stopped(run) && run->folder[0] != '\0') {
        (void)printf("%-10s --resume %s goes on from here\n", "stopped",
                     run->options->checkpoint != NULL ? run->options->checkpoint : run->options->resume);
    }
}

static json_t *json_of_watch(const struct stn_train_run *run)
{
    if (run->watch == NULL) {
        return json_null();
    }
    const struct stn_watch_state *state = stn_watch_state(run->watch);
    return json_pack("{sI sI so so so so sI}", "examples", (json_int_t)run->held->n_examples, "looks",
                     (json_int_t)state->n_looks, "loss_first", stn_session_real(state->first_loss), "loss_last",
                     stn_session_real(state->last_loss), "loss_best", stn_session_real(state->best_loss), "accuracy_best",
                     stn_session_real(state->best_accuracy), "best_step", (json_int_t)state->best_step);
}

json_t *stn_train_run_json(const struct stn_train_run *run)
{
    const struct stn_train_run_options *o = run->options;
    const struct stn_adapter *adapter = run->session->adapter;
    struct stn_trainer_totals totals = stn_trainer_totals(run->trainer);
    json_t *object = json_pack("{ss ss sI sI sI sI sb ss so so so so sf sI sf sf sI}", "output", run->place.output, "model",
                               o->model, "steps", (json_int_t)stn_trainer_n_done(run->trainer), "steps_planned",
                               (json_int_t)stn_trainer_n_steps(run->trainer), "tokens", (json_int_t)totals.n_rows, "targets",
                               (json_int_t)totals.n_targets, "stopped", stn_train_run_is_stopped(run), "end",
                               end_words[run->end], "loss_first", stn_session_real(stn_trainer_loss_first(run->trainer)),
                               "loss_last", stn_session_real(stn_trainer_loss_last(run->trainer)), "validation",
                               json_of_watch(run), "tokens_per_s", stn_session_real(tokens_per_s(run)), "wall_s", run->wall_s,
                               "rank", (json_int_t)adapter->rank, "alpha", (double)adapter->alpha, "lr", o->lr, "seed",
                               (json_int_t)o->seed);
    if (object != NULL) {
        stn_session_add_counts(object, run->dataset);
        stn_session_add_machine(object, run->session, stn_trainer_network(run->trainer));
        (void)json_object_set_new(object, "plan", stn_session_json_plan(&run->plan));
        if (run->fell_back.code != STN_OK) {
            (void)json_object_set_new(object, "fell_back", json_string(run->fell_back.text));
        }
    }
    return object;
}
