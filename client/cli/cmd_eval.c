#include "client/cli/cli.h"

#include <stdio.h>

#include "base/log.h"
#include "base/progress.h"
#include "client/cli/session.h"
#include "compute/train/evaluate.h"

struct options {
    const char *model, *data, *adapter;
    uint64_t context, batch_tokens, threads;
    int loss, backend;
    struct stn_session_reading reading;
    const char *device;
    bool skip_bad;
};

static const struct options defaults = {.context = 512, .batch_tokens = 512, .loss = STN_DATASET_COMPLETION};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF", .required = true},
    {"data", 'd', STN_OPTION_STR, AT(data), "DATA", "what to predict, JSONL", .required = true},
    {"adapter", 'a', STN_OPTION_STR, AT(adapter), "ADAPTER", "beside the model (none)"},
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "most tokens of an example (512)", 2, 1 << 20},
    {"batch-tokens", 0, STN_OPTION_U64, AT(batch_tokens), "N", "tokens of a pass (512)", 1, 1 << 24},
    {"loss", 0, STN_OPTION_WORD, AT(loss), "completion|all", "what of a prompt's example counts (completion)",
     .words = stn_session_losses},
    {"skip-bad", 0, STN_OPTION_FLAG, AT(skip_bad), NULL, "count broken lines instead of stopping"},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_SESSION_THREADS_MAX},
    STN_SESSION_READING(AT(reading)),
    STN_SESSION_TEMPLATE(AT(reading)),
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto: what is faster here)", .words = stn_session_backends},
    {"device", 0, STN_OPTION_STR, AT(device), "NAME", "of several GPUs: part of a name, or its number in bench devices"},
    {"memory-limit", 0, STN_OPTION_SIZE, AT(reading.memory_limit), "SIZE", "as 1.5G; passes are cut to fit"},
    {0},
};

/* Everything of one run of the command. */
struct job {
    const struct options *options;
    struct stn_session session;
    struct stn_dataset *dataset;
    const char *backend; /* of the network: NULL is the processor */
    struct stn_network *network;
    struct stn_err fell_back; /* why a GPU did not; code STN_OK: none failed */
    size_t pass_rows;
    struct stn_session_plan plan;
    struct stn_progress progress;
    struct stn_evaluate_result result;
    double wall_s;
};

/* A network whose passes are as long as the memory limit allows. */
static enum stn_code make_network(struct job *job, struct stn_err *err)
{
    size_t longest = stn_session_longest(job->dataset), wanted = job->options->batch_tokens;
    wanted = wanted < longest ? longest : wanted;
    struct stn_network_config config = {.max_tokens = wanted, .max_targets = wanted, .context = longest, .act_int8 = true,
                                        .n_threads = job->session.n_threads, .backend = job->backend};
    struct stn_fit fit;
    job->plan.base = stn_session_base(&job->session);
    enum stn_code code = stn_session_fit(&job->session, &config, longest, job->plan.base, job->options->reading.memory_limit,
                                         "lower --ctx", &fit, err);
    if (code != STN_OK) {
        return code;
    }
    job->pass_rows = job->plan.pass_tokens = config.max_tokens = config.max_targets = fit.rows;
    code = stn_network_new(&job->network, job->session.model, job->session.adapter, &config, err);
    if (code == STN_OK) {
        job->plan.memory = stn_network_memory(job->network);
        job->plan.streams = stn_model_streams(job->session.model);
    }
    return code;
}

static bool at(void *context, uint64_t n_done, uint64_t n_examples)
{
    struct job *job = context;
    (void)n_examples;
    stn_progress_at(&job->progress, n_done, "");
    return !stn_command_stopping();
}

static enum stn_code evaluate(struct job *job, struct stn_err *err)
{
    double started_s = stn_session_now_s();
    stn_progress_start(&job->progress, "example", job->dataset->n_examples);
    enum stn_code code = stn_evaluate_run(job->network, job->dataset, job->pass_rows, at, job, &job->result, err);
    stn_progress_end(&job->progress);
    job->wall_s = stn_session_now_s() - started_s;
    return code;
}

static enum stn_code evaluate_on(struct job *job, const char *backend, bool json, struct stn_err *err)
{
    job->backend = backend;
    enum stn_code code = make_network(job, err);
    if (code == STN_OK && !json) {
        stn_session_print_plan(&job->plan);
    }
    return code != STN_OK ? code : evaluate(job, err);
}

/* By what is faster here; a GPU that fails, and that nobody has asked for, is no end: the processor evaluates from the start. */
static enum stn_code evaluate_at(struct job *job, bool json, struct stn_err *err)
{
    const struct options *o = job->options;
    enum stn_code code = evaluate_on(job, stn_session_choose(&job->session, o->backend, o->reading.memory_limit), json, err);
    if (code == STN_OK || o->backend != STN_SESSION_AUTO || job->backend == NULL ||
        (job->network != NULL && stn_network_check(job->network, NULL) == STN_OK)) {
        return code;
    }
    job->fell_back = *err;
    stn_log_err(STN_LOG_WARN, "fell_back_to_cpu", &job->fell_back);
    stn_network_free(job->network);
    job->network = NULL;
    return evaluate_on(job, NULL, json, err);
}

static void print_summary(const struct job *job)
{
    const struct stn_evaluate_result *r = &job->result;
    stn_session_print_counts(job->dataset);
    if (r->is_stopped) {
        (void)printf("%-10s after %llu of them: what follows is of these\n", "stopped", (unsigned long long)r->n_examples);
    }
    (void)printf("%-10s %.4f nats a token, perplexity %.4g\n", "loss", stn_evaluate_loss(r), stn_evaluate_perplexity(r));
    (void)printf("%-10s %.2f %% of %llu tokens\n", "accuracy", 100 * stn_evaluate_token_accuracy(r),
                 (unsigned long long)r->n_targets);
    if (r->n_answers > 0) {
        (void)printf("%-10s %.2f %% of %llu greedy completions\n", "exact", 100 * stn_evaluate_exact_match(r),
                     (unsigned long long)r->n_answers);
    }
    (void)printf("%-10s %.0f tok/s, %.1f s, peak memory %.0f MiB, %s %s, %u threads\n", "speed",
                 job->wall_s > 0 ? (double)r->n_rows / job->wall_s : 0, job->wall_s,
                 (double)stn_session_peak_rss() / 1048576, stn_network_backend(job->network),
                 stn_network_kernel(job->network), job->session.n_threads);
}

static enum stn_code print_json(const struct job *job, struct stn_err *err)
{
    const struct stn_evaluate_result *r = &job->result;
    json_t *object = json_pack("{so so so so sI sI sI sI sb so sf}", "loss", stn_session_real(stn_evaluate_loss(r)),
                               "perplexity", stn_session_real(stn_evaluate_perplexity(r)),
                               "token_accuracy", stn_session_real(stn_evaluate_token_accuracy(r)),
                               "exact_match", r->n_answers > 0 ? stn_session_real(stn_evaluate_exact_match(r)) : json_null(),
                               "tokens", (json_int_t)r->n_rows, "targets", (json_int_t)r->n_targets,
                               "answers", (json_int_t)r->n_answers, "evaluated", (json_int_t)r->n_examples,
                               "stopped", r->is_stopped,
                               "tokens_per_s", stn_session_real((double)r->n_rows / job->wall_s), "wall_s", job->wall_s);
    if (object != NULL) {
        stn_session_add_counts(object, job->dataset);
        stn_session_add_machine(object, &job->session, job->network);
        (void)json_object_set_new(object, "plan", stn_session_json_plan(&job->plan));
        if (job->fell_back.code != STN_OK) {
            (void)json_object_set_new(object, "fell_back", json_string(job->fell_back.text));
        }
    }
    return stn_session_take_json(object, err);
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct job job = {.options = o};
    const struct stn_dataset_config data = {.context = o->context, .loss = (enum stn_dataset_loss)o->loss,
                                            .skip_bad = o->skip_bad};
    enum stn_code code = stn_session_use_device(o->device, false, err);
    code = code != STN_OK ? code : stn_session_open(&job.session, o->model, &o->reading, o->adapter, o->backend, o->threads, err);
    code = code != STN_OK ? code : stn_dataset_open(&job.dataset, o->data, job.session.tokenizer, &data, err);
    code = code != STN_OK ? code : evaluate_at(&job, line->json, err);
    if (code == STN_OK && line->json) {
        code = print_json(&job, err);
    } else if (code == STN_OK) {
        print_summary(&job);
    }
    stn_network_free(job.network);
    stn_dataset_free(job.dataset);
    stn_session_close(&job.session);
    return code;
}

const struct stn_command stn_cmd_eval = {
    .name = "eval", .args = "", .summary = "how well a model, with or without an adapter, predicts a dataset",
    .example = "sterna eval -m base.gguf -a notes.gguf -d held-out.jsonl",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = run,
};
