#include "client/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/progress.h"
#include "client/cli/session.h"
#include "compute/train/checkpoint.h"
#include "compute/train/trainer.h"
#include "io/file.h"

struct options {
    const char *model, *data, *adapter, *output, *targets, *resume, *checkpoint, *metrics;
    uint64_t rank, epochs, steps, context, batch_tokens, batch_examples, seed, threads, checkpoint_steps, memory_limit;
    double alpha, lr, warmup, clip;
    int loss, schedule, backend, backward;
    const char *device;
    bool skip_bad;
};

static const struct options defaults = {
    .targets = "all", .rank = 8, .alpha = 16, .lr = 1e-4, .epochs = 1, .context = 512, .batch_tokens = 2048,
    .warmup = 0.1, .clip = 1, .checkpoint_steps = 100, .loss = STN_DATASET_COMPLETION,
    .schedule = STN_SCHEDULE_COSINE, .backward = STN_BACKWARD_INT8,
};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF; it is never changed", .required = true},
    {"data", 'd', STN_OPTION_STR, AT(data), "DATA", "what to learn from, JSONL", .required = true},
    {"output", 'o', STN_OPTION_STR, AT(output), "ADAPTER", "where the adapter goes, GGUF", .required = true},
    {"adapter", 'a', STN_OPTION_STR, AT(adapter), "ADAPTER",
     "go on from this one; its rank, alpha and targets count"},
    {"rank", 0, STN_OPTION_U64, AT(rank), "N", "of the adapter (8)", 1, STN_ADAPTER_RANK},
    {"alpha", 0, STN_OPTION_F64, AT(alpha), "X", "the adapter's scale is alpha / rank (16)", 1e-6, 1e6},
    {"targets", 0, STN_OPTION_STR, AT(targets), "LIST", "all, or some of q,k,v,o,gate,up,down (all)"},
    {"lr", 0, STN_OPTION_F64, AT(lr), "X", "the highest learning rate (1e-4)", 1e-12, 10},
    {"epochs", 0, STN_OPTION_U64, AT(epochs), "N", "how often each example is seen (1)", 1, 100000},
    {"steps", 0, STN_OPTION_U64, AT(steps), "N", "so many steps instead of epochs", 1, 1e12},
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "most tokens of an example (512)", 2, 1 << 20},
    {"batch-tokens", 0, STN_OPTION_U64, AT(batch_tokens), "N", "tokens of a step (2048)", 1, 1 << 24},
    {"batch-examples", 0, STN_OPTION_U64, AT(batch_examples), "N", "exactly so many examples a step instead", 1, 1 << 20},
    {"loss", 0, STN_OPTION_WORD, AT(loss), "completion|all", "what of a prompt's example is learned (completion)",
     .words = stn_session_losses},
    {"schedule", 0, STN_OPTION_WORD, AT(schedule), "cosine|linear|constant", "of the rate (cosine)",
     .words = stn_schedule_names},
    {"warmup", 0, STN_OPTION_F64, AT(warmup), "X", "the share of the steps over which the rate rises (0.1)", 0, 1},
    {"clip", 0, STN_OPTION_F64, AT(clip), "X", "the gradient's greatest norm, 0: none (1)", 0, 1e9},
    {"resume", 0, STN_OPTION_STR, AT(resume), "DIR", "go on from the checkpoint in DIR"},
    {"checkpoint", 0, STN_OPTION_STR, AT(checkpoint), "DIR", "keep a checkpoint in DIR"},
    {"checkpoint-steps", 0, STN_OPTION_U64, AT(checkpoint_steps), "N", "write it every N steps (100)", 1, 1e12},
    {"metrics", 0, STN_OPTION_STR, AT(metrics), "FILE", "one JSON object a step, a line each"},
    {"skip-bad", 0, STN_OPTION_FLAG, AT(skip_bad), NULL, "count broken lines instead of stopping"},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "of first values, order and rounding (0)"},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_SESSION_THREADS_MAX},
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto)", .words = stn_session_backends},
    {"device", 0, STN_OPTION_STR, AT(device), "NAME", "of several GPUs: part of a name, or its number in bench devices"},
    {"backward", 0, STN_OPTION_WORD, AT(backward), "exact|int8", "precision of the gradients (int8)",
     .words = stn_session_backwards},
    {"memory-limit", 0, STN_OPTION_SIZE, AT(memory_limit), "SIZE", "as 1.5G; activations are computed twice, then passes cut, to fit"},
    {0},
};

/* Everything of one run of the command. */
struct job {
    const struct options *options;
    struct stn_session session;
    struct stn_dataset *dataset;
    struct stn_trainer_config config;
    struct stn_trainer *trainer;
    struct stn_session_plan plan;
    struct stn_buf identity;
    const char *folder; /* of checkpoints; NULL: none */
    int lock;           /* of it, or -1 */
    FILE *metrics;
    bool is_stopped;
    double wall_s;
    uint64_t rows_before; /* of what was resumed: not of this process's speed */
};

static enum stn_code make_adapter(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    uint32_t targets;
    if (job->session.adapter != NULL) {
        return STN_OK;
    }
    enum stn_code code = stn_arch_targets(o->targets, &targets, err);
    if (code == STN_OK) {
        code = stn_adapter_new(&job->session.adapter, stn_model_arch(job->session.model), (uint32_t)o->rank,
                               (float)o->alpha, targets, err);
    }
    if (code == STN_OK) {
        stn_adapter_init(job->session.adapter, o->seed);
    }
    return code;
}

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A trainer that stays within the memory limit. What a step learns from does not change with it. */
static enum stn_code make_trainer(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    size_t longest = stn_session_longest(job->dataset), rows = 0;
    for (size_t i = 0; i < job->dataset->n_examples; i++) {
        rows += job->dataset->examples[i].n_tokens;
    }
    job->config = stn_trainer_defaults();
    job->config.context = longest;
    job->config.batch_tokens = o->batch_tokens;
    job->config.batch_examples = o->batch_examples;
    job->config.lr = o->lr;
    job->config.schedule = (enum stn_schedule_shape)o->schedule;
    job->config.warmup = o->warmup;
    job->config.clip = o->clip;
    job->config.backward = (enum stn_backward)o->backward;
    job->config.n_threads = job->session.n_threads;
    job->config.backend = stn_session_backend(o->backend);
    job->config.seed = o->seed;
    if (longest > o->batch_tokens) {
        return stn_err_set(err, STN_INVALID, "the longest example has %zu tokens, --batch-tokens is %llu: "
                                             "raise it, or lower --ctx", longest, (unsigned long long)o->batch_tokens);
    }
    size_t wanted = min_of(stn_trainer_pass_tokens(&job->config), rows);
    job->config.pass_tokens = wanted;
    /* the first values go when the network has them; a checkpoint writes three vectors */
    size_t vector = job->session.adapter->n_values * sizeof(float);
    uint64_t base = stn_session_base(&job->session);
    job->plan.base = (base > vector ? base - vector : 0) + (job->folder == NULL ? 0u : 3 * vector);
    const struct stn_network_config shape = stn_trainer_shape(&job->config);
    struct stn_fit fit;
    enum stn_code code = stn_session_fit(&job->session, &shape, longest, job->plan.base, o->memory_limit,
                                         "lower --ctx or --rank, or choose fewer --targets", &fit, err);
    if (code != STN_OK) {
        return code;
    }
    job->config.pass_tokens = job->plan.pass_tokens = fit.rows;
    job->config.recompute = job->plan.recompute = fit.recompute;
    code = stn_trainer_new(&job->trainer, job->session.model, job->session.adapter, &job->config, err);
    if (code == STN_OK) {
        job->plan.memory = stn_network_memory(stn_trainer_network(job->trainer));
    }
    return code;
}

static bool stopping(void *context)
{
    (void)context;
    return stn_command_stopping();
}

/* Names the run, and goes on with an earlier one. */
static enum stn_code start(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    const struct stn_adapter *adapter = job->session.adapter;
    const struct stn_trainer_run run = {.dataset = job->dataset, .n_steps = o->steps, .n_epochs = o->epochs,
                                        .seed = o->seed, .stopping = stopping};
    stn_trainer_set_values(job->trainer, adapter->values);
    enum stn_code code = stn_trainer_start(job->trainer, &run, err);
    if (code != STN_OK || job->folder == NULL) {
        return code;
    }
    struct stn_checkpoint_subject subject = {.data = stn_dataset_digest(job->dataset), .config = &job->config,
                                             .run = &run, .n_steps = stn_trainer_n_steps(job->trainer)};
    struct stn_buf bytes = {0};
    if ((code = stn_session_file_digest(o->model, &subject.model, err)) == STN_OK &&
        (code = stn_adapter_file_write(adapter, &bytes, err)) == STN_OK) {
        subject.start = stn_digest_of(bytes.data, bytes.size);
        code = stn_checkpoint_identity(&job->identity, &subject, err);
    }
    stn_buf_fini(&bytes);
    if (code == STN_OK && o->resume != NULL) {
        code = stn_checkpoint_load(o->resume, (const char *)job->identity.data, job->trainer, err);
    }
    job->rows_before = stn_trainer_totals(job->trainer).n_rows;
    return code;
}

static void read_values(void *context, size_t offset, float *values, size_t n)
{
    const struct job *job = context;
    stn_network_read_values(stn_trainer_network(job->trainer), offset, values, n);
}

static enum stn_code checkpoint(const struct job *job, struct stn_err *err)
{
    return job->folder == NULL ? STN_OK
                               : stn_checkpoint_save(job->folder, (const char *)job->identity.data, job->trainer, err);
}

static enum stn_code write_metrics(const struct job *job, const struct stn_trainer_step *step, double took_s,
                                   struct stn_err *err)
{
    if (job->metrics == NULL) {
        return STN_OK;
    }
    int n = fprintf(job->metrics,
                    "{\"step\": %llu, \"epoch\": %llu, \"loss\": %.9g, \"norm\": %.9g, \"lr\": %.9g, \"examples\": %llu,"
                    " \"tokens\": %llu, \"targets\": %llu, \"wall_s\": %.4f}\n",
                    (unsigned long long)step->step, (unsigned long long)step->epoch, step->loss, step->norm, step->lr,
                    (unsigned long long)step->n_examples, (unsigned long long)step->n_rows,
                    (unsigned long long)step->n_targets, took_s);
    return n > 0 && fflush(job->metrics) == 0 ? STN_OK : stn_err_errno(err, errno, "%s", job->options->metrics);
}

/* One line a step: of a run that is resumed those of the steps that are done are kept, and no others. */
static enum stn_code open_metrics(struct job *job, struct stn_err *err)
{
    const char *path = job->options->metrics;
    uint64_t n_done = stn_trainer_n_done(job->trainer), n_lines = 0;
    if (path == NULL) {
        return STN_OK;
    }
    job->metrics = n_done > 0 ? fopen(path, "r+e") : NULL;
    if (job->metrics == NULL) {
        job->metrics = fopen(path, "we");
    }
    if (job->metrics == NULL) {
        return stn_err_errno(err, errno, "%s", path);
    }
    for (int c; n_lines < n_done && (c = getc(job->metrics)) != EOF;) {
        n_lines += c == '\n';
    }
    off_t at = ftello(job->metrics);
    bool ok = at >= 0 && ftruncate(fileno(job->metrics), at) == 0 && fseeko(job->metrics, at, SEEK_SET) == 0;
    return ok ? STN_OK : stn_err_errno(err, errno, "%s", path);
}

/* Steps until the run is done or a signal asks for the end. */
static enum stn_code train(struct job *job, struct stn_err *err)
{
    struct stn_progress progress;
    enum stn_code code = STN_OK;
    double started_s = stn_session_now_s();
    stn_progress_start(&progress, "step", stn_trainer_n_steps(job->trainer));
    while (code == STN_OK && !stn_trainer_is_done(job->trainer)) {
        struct stn_trainer_step step;
        char note[96];
        double at_s = stn_session_now_s();
        code = stn_trainer_step(job->trainer, &step, err);
        if (code == STN_CANCELLED) {
            job->is_stopped = true;
            code = STN_OK;
            break;
        }
        if (code != STN_OK) {
            break;
        }
        double now_s = stn_session_now_s();
        uint64_t rows = stn_trainer_totals(job->trainer).n_rows - job->rows_before;
        (void)snprintf(note, sizeof note, "loss %.4f  %.0f tok/s", step.loss, (double)rows / (now_s - started_s));
        stn_progress_at(&progress, step.step, note);
        code = write_metrics(job, &step, now_s - at_s, err);
        if (code == STN_OK && step.step % job->options->checkpoint_steps == 0) {
            code = checkpoint(job, err);
        }
    }
    stn_progress_end(&progress);
    job->wall_s = stn_session_now_s() - started_s;
    return code;
}

static double tokens_per_s(const struct job *job)
{
    uint64_t rows = stn_trainer_totals(job->trainer).n_rows - job->rows_before;
    return job->wall_s > 0 ? (double)rows / job->wall_s : 0;
}

static void print_summary(const struct job *job)
{
    const struct stn_network *network = stn_trainer_network(job->trainer);
    struct stn_trainer_totals totals = stn_trainer_totals(job->trainer);
    stn_session_print_counts(job->dataset);
    (void)printf("%-10s %llu of %llu%s, %llu tokens, %llu of them with loss\n", "steps",
                 (unsigned long long)stn_trainer_n_done(job->trainer),
                 (unsigned long long)stn_trainer_n_steps(job->trainer), job->is_stopped ? " (stopped)" : "",
                 (unsigned long long)totals.n_rows, (unsigned long long)totals.n_targets);
    (void)printf("%-10s %.4f -> %.4f (means of the first and the last tenth of the steps)\n", "loss",
                 stn_trainer_loss_first(job->trainer), stn_trainer_loss_last(job->trainer));
    (void)printf("%-10s %.0f tok/s, %.1f s, peak memory %.0f MiB, %s %s, %u threads\n", "speed", tokens_per_s(job),
                 job->wall_s, (double)stn_session_peak_rss() / 1048576, stn_network_backend(network),
                 stn_network_kernel(network), job->session.n_threads);
    (void)printf("%-10s %s\n", "wrote", job->options->output);
    if (job->is_stopped && job->folder != NULL) {
        (void)printf("%-10s --resume %s goes on from here\n", "stopped", job->folder);
    }
}

static enum stn_code print_json(const struct job *job, struct stn_err *err)
{
    const struct stn_adapter *adapter = job->session.adapter;
    struct stn_trainer_totals totals = stn_trainer_totals(job->trainer);
    json_t *object = json_pack("{ss ss sI sI sI sI sb so so so sf sI sf sf sI}", "output", job->options->output,
                               "model", job->options->model,
                               "steps", (json_int_t)stn_trainer_n_done(job->trainer),
                               "steps_planned", (json_int_t)stn_trainer_n_steps(job->trainer),
                               "tokens", (json_int_t)totals.n_rows, "targets", (json_int_t)totals.n_targets,
                               "stopped", job->is_stopped,
                               "loss_first", stn_session_real(stn_trainer_loss_first(job->trainer)),
                               "loss_last", stn_session_real(stn_trainer_loss_last(job->trainer)),
                               "tokens_per_s", stn_session_real(tokens_per_s(job)), "wall_s", job->wall_s,
                               "rank", (json_int_t)adapter->rank, "alpha", (double)adapter->alpha,
                               "lr", job->options->lr, "seed", (json_int_t)job->options->seed);
    if (object != NULL) {
        stn_session_add_counts(object, job->dataset);
        stn_session_add_machine(object, &job->session, stn_trainer_network(job->trainer));
        (void)json_object_set_new(object, "plan", stn_session_json_plan(&job->plan));
    }
    return stn_session_take_json(object, err);
}

/* What can be refused before anything is computed. */
static enum stn_code check(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    const char *const inputs[] = {o->model, o->data};
    enum stn_code code = stn_session_can_write(o->output, inputs, 2, err);
    job->folder = o->checkpoint != NULL ? o->checkpoint : o->resume;
    if (code == STN_OK && o->resume != NULL && !stn_checkpoint_exists(o->resume)) {
        code = stn_err_set(err, STN_NOT_FOUND, "%s has no checkpoint to resume from", o->resume);
    }
    if (code == STN_OK && job->folder != NULL) {
        code = stn_checkpoint_claim(&job->lock, job->folder, err);
    }
    return code;
}

static enum stn_code prepare(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    const struct stn_dataset_config data = {.context = o->context, .loss = (enum stn_dataset_loss)o->loss,
                                            .skip_bad = o->skip_bad};
    enum stn_code code = check(job, err);
    code = code != STN_OK ? code : stn_session_use_device(o->device, false, err);
    code = code != STN_OK ? code : stn_session_open(&job->session, o->model, o->adapter, o->backend, o->threads, err);
    code = code != STN_OK ? code : stn_dataset_open(&job->dataset, o->data, job->session.tokenizer, &data, err);
    code = code != STN_OK ? code : make_adapter(job, err);
    code = code != STN_OK ? code : make_trainer(job, err);
    code = code != STN_OK ? code : start(job, err);
    return code != STN_OK ? code : open_metrics(job, err);
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    struct job job = {.options = parsed, .lock = -1};
    enum stn_code code = prepare(&job, err);
    if (code == STN_OK) {
        stn_adapter_drop_values(job.session.adapter);
    }
    if (code == STN_OK && !line->json) {
        stn_session_print_plan(&job.plan);
    }
    code = code != STN_OK ? code : train(&job, err);
    code = code != STN_OK ? code : checkpoint(&job, err);
    if (code == STN_OK) {
        code = stn_adapter_file_save_from(job.session.adapter, job.options->output, read_values, &job, err);
    }
    if (code == STN_OK && line->json) {
        code = print_json(&job, err);
    } else if (code == STN_OK) {
        print_summary(&job);
    }
    if (job.metrics != NULL) {
        (void)fclose(job.metrics);
    }
    stn_file_close(job.lock);
    stn_buf_fini(&job.identity);
    stn_trainer_free(job.trainer);
    stn_dataset_free(job.dataset);
    stn_session_close(&job.session);
    return code;
}

const struct stn_command stn_cmd_train = {
    .name = "train", .args = "", .summary = "train a LoRA adapter beside a ternary base model",
    .example = "sterna train -m base.gguf -d notes.jsonl -o notes.gguf --epochs 2 --lr 3e-4",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = run,
};
