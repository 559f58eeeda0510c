#include "client/cli/cli.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/progress.h"
#include "client/cli/builtin.h"
#include "client/cli/session.h"
#include "client/simulate/host.h"
#include "client/simulate/report.h"
#include "client/simulate/result_json.h"
#include "io/loop.h"
#include "secagg/bound.h"
#include "server/shell/outer.h"
#include "server/shell/task_file.h"

#define N_MIN_MOST 16

struct options {
    const char *model, *data, *eval, *partition, *task, *report, *adapter_out;
    uint64_t clients, rounds, cohort, seed, local_steps, rank, staleness, latency_ms, threads;
    double dropout, lr, outer_rate;
    int lora, outer, backend, secure;
    struct stn_session_reading reading;
    bool compare;
};

static const char *const loras[] = {"both", "ffa", "alternate", NULL};
static const char *const switches[] = {"off", "on", NULL};

/* rounds, local_steps, rank, lr and the like: 0 or below is "as the task says", whose defaults the help names */
static const struct options defaults = {.clients = 20, .seed = 1, .lr = -1, .lora = -1, .outer = -1, .outer_rate = -1,
                                        .secure = -1, .staleness = UINT64_MAX};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF (the built-in home-base)"},
    {"data", 'd', STN_OPTION_STR, AT(data), "DATA", "all clients' examples, JSONL (the built-in homes)"},
    {"eval", 0, STN_OPTION_STR, AT(eval), "DATA", "what to test on (a held-out tenth; the homes' own test set)"},
    {"clients", 0, STN_OPTION_U64, AT(clients), "N", "devices (20)", 2, STN_PARTITION_CLIENTS_MAX},
    {"rounds", 0, STN_OPTION_U64, AT(rounds), "N", "merged versions to make (24)", 1, 1000000},
    {"partition", 0, STN_OPTION_STR, AT(partition), "HOW", "iid, dirichlet:ALPHA or by:FIELD (by:home; iid for your data)"},
    {"cohort", 0, STN_OPTION_U64, AT(cohort), "N", "devices of a round (all)", 1, STN_PARTITION_CLIENTS_MAX},
    {"secure", 0, STN_OPTION_WORD, AT(secure), "on|off", "secure aggregation (on)", .words = switches},
    {"dropout", 0, STN_OPTION_F64, AT(dropout), "P", "chance that a device vanishes in a round (0)", 0, 0.99},
    {"lora", 0, STN_OPTION_WORD, AT(lora), "both|ffa|alternate", "which LoRA factors train (ffa)", .words = loras},
    {"outer", 0, STN_OPTION_WORD, AT(outer), "avg|nesterov|momentum|adam|yogi", "the coordinator's optimiser (nesterov; avg for alternate)",
     .words = stn_outer_names},
    {"outer-rate", 0, STN_OPTION_F64, AT(outer_rate), "RATE", "of the coordinator's optimiser (its own default)", 1e-6, 100},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "of everything that is drawn (1)"},
    {"task", 0, STN_OPTION_STR, AT(task), "FILE.ini", "a task's settings; the options here override them"},
    {"local-steps", 0, STN_OPTION_U64, AT(local_steps), "N", "of a device in a round (5)", 1, 1000000},
    {"rank", 0, STN_OPTION_U64, AT(rank), "R", "of the adapter (8)", 1, 256},
    {"lr", 0, STN_OPTION_F64, AT(lr), "RATE", "of a device's AdamW (3e-3; 1e-2 for one factor)", 1e-9, 10},
    {"staleness", 0, STN_OPTION_U64, AT(staleness), "N", "versions that a delta may be behind (0)", 0, STN_MSG_BASES - 1},
    {"latency", 0, STN_OPTION_U64, AT(latency_ms), "MS", "of a message, on average (0)", 0, 600000},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_POOL_THREADS_MAX},
    STN_SESSION_READING(AT(reading)),
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto: the cpu)", .words = stn_session_backends},
    {"compare", 0, STN_OPTION_FLAG, AT(compare), NULL, "with each device alone and with all data in one place"},
    {"report", 0, STN_OPTION_STR, AT(report), "FILE.html", "write the result as a page with curves"},
    {"adapter-out", 0, STN_OPTION_STR, AT(adapter_out), "FILE.gguf", "write the merged adapter"},
    {0},
};

/* Everything of one run of the command. */
struct job {
    const struct options *options;
    bool is_json;
    char model_path[PATH_MAX];
    const char *model; /* what the result calls it */
    struct stn_task_file task;
    struct stn_lab lab;
    struct stn_result result;
    struct stn_progress progress;
    uint32_t over;
};

/* What the options say on top of the task. */
static void settle(struct job *job)
{
    const struct options *o = job->options;
    struct stn_task_spec *spec = &job->task.spec;
    spec->secure = o->secure >= 0 ? o->secure == 1 : o->task == NULL || spec->secure;
    spec->n_rounds = o->rounds > 0 ? o->rounds : spec->n_rounds > 0 ? spec->n_rounds : 24;
    if (o->lora >= 0 && o->task == NULL) {
        stn_task_file_set_lora(spec, (enum stn_lora)o->lora);
    }
    spec->train.local_steps = o->local_steps > 0 ? (uint32_t)o->local_steps : spec->train.local_steps;
    spec->train.local_epochs = o->local_steps > 0 ? 0 : spec->train.local_epochs;
    spec->train.rank = o->rank > 0 ? (uint32_t)o->rank : spec->train.rank;
    spec->train.alpha = o->rank > 0 ? 2.0f * (float)o->rank : spec->train.alpha;
    spec->train.lr = o->lr >= 0 ? o->lr : spec->train.lr;
    spec->staleness = o->staleness != UINT64_MAX ? (uint32_t)o->staleness : spec->staleness;
    spec->lora = o->lora >= 0 ? (uint32_t)o->lora : spec->lora;
    if (o->outer >= 0 && spec->outer.kind != (uint32_t)o->outer) {
        spec->outer = stn_outer_defaults((enum stn_outer)o->outer);
    }
    spec->outer.rate = o->outer_rate > 0 ? o->outer_rate : spec->outer.rate;
    spec->train.factor = spec->lora == STN_LORA_FFA ? STN_FACTOR_B : STN_FACTOR_BOTH; /* of who trains alone */
    spec->seed = o->seed;
}

/* The cohort, once it is known how many clients there are. */
static enum stn_code settle_cohort(struct job *job, struct stn_err *err)
{
    struct stn_task_spec *spec = &job->task.spec;
    const size_t n = job->lab.n_clients;
    if (job->options->cohort > n || (job->options->task != NULL && job->options->cohort == 0 && spec->target > n)) {
        return stn_err_set(err, STN_INVALID, "a cohort of %llu is more than the %zu clients",
                           (unsigned long long)(job->options->cohort > 0 ? job->options->cohort : spec->target), n);
    }
    if (job->options->cohort > 0 || job->options->task == NULL) {
        spec->target = (uint32_t)(job->options->cohort > 0 ? job->options->cohort : n);
        spec->n_min = (spec->target + 1) / 2 < N_MIN_MOST ? (spec->target + 1) / 2 : N_MIN_MOST;
    }
    if (spec->secure && spec->target < STN_BOUND_MEMBERS_MIN) {
        return stn_err_set(err, STN_INVALID, "a secure round has %d devices at least, this one %u: use more, or --secure off",
                           STN_BOUND_MEMBERS_MIN, spec->target);
    }
    spec->digest = stn_task_file_digest(spec);
    return STN_OK;
}

static void print_round(void *context, const struct stn_result_round *r)
{
    struct job *job = context;
    char note[64];
    (void)snprintf(note, sizeof note, "accuracy %.3f", r->eval_accuracy);
    stn_progress_end(&job->progress);
    if (!job->is_json) {
        (void)printf("%5llu  %10.4f  %9.4f  %8.1f%%  %7u  %4u  %9.2f  %9.2f  %9.1f\n", (unsigned long long)r->round,
                     r->train_loss, r->eval_loss, 100 * r->eval_accuracy, r->n_clients, r->n_lost, (double)r->bytes_up / 1e6,
                     (double)r->bytes_down / 1e6, (double)r->virtual_ms / 60000);
        (void)fflush(stdout);
    }
    stn_progress_at(&job->progress, r->round, note);
}

static void print_head(const struct job *job)
{
    const struct stn_task_spec *spec = &job->task.spec;
    (void)printf("%zu clients, cohort %u, n_min %u, %llu rounds of %u local steps, rank %u, lora %s, outer %s %g, "
                 "seed %llu, %s/%s\n",
                 job->lab.n_clients, spec->target, spec->n_min, (unsigned long long)spec->n_rounds, spec->train.local_steps,
                 spec->train.rank, loras[spec->lora], stn_outer_names[spec->outer.kind], spec->outer.rate,
                 (unsigned long long)job->options->seed, job->result.backend, job->result.kernel);
    (void)printf("%zu examples to train on, %zu to test on, %zu values in the adapter; secure aggregation is %s\n\n",
                 job->lab.pooled->n_examples, job->lab.test->n_examples, job->lab.n_values, switches[spec->secure]);
    (void)printf("%5s  %10s  %9s  %9s  %7s  %4s  %9s  %9s  %9s\n", "round", "train loss", "eval loss", "accuracy", "clients",
                 "lost", "MB up", "MB down", "virt. min");
    (void)fflush(stdout);
}

static void print_score(const char *name, const struct stn_lab_score *score)
{
    (void)printf("%-22s loss %7.4f   accuracy %5.1f%%\n", name, score->loss, 100 * score->accuracy);
}

static void print_end(const struct job *job)
{
    char digest[STN_DIGEST_TEXT];
    const struct stn_result *r = &job->result;
    stn_digest_put_text(&r->adapter, digest);
    (void)printf("\n");
    print_score("base", &r->base);
    if (r->has_compare) {
        print_score("each alone (mean)", &r->local);
    }
    print_score("federated", &r->federated);
    if (r->has_compare) {
        print_score("all data in one place", &r->central);
    }
    (void)printf("\nadapter %s\n%.1f s%s\n", digest, r->wall_s, r->stopped ? ", stopped early" : "");
}

static void note_alone(void *context, size_t n)
{
    struct job *job = context;
    stn_progress_at(&job->progress, n, "alone");
}

static enum stn_code compare(struct job *job, struct stn_err *err)
{
    const struct stn_task_spec *spec = &job->task.spec;
    struct stn_train_spec *train = &job->lab.train;
    uint64_t steps = train->local_steps;
    if (steps == 0) { /* epochs: as many steps as they take a client on average */
        double examples = (double)job->lab.pooled->n_examples / (double)job->lab.n_clients;
        double batch = train->batch_examples > 0 ? train->batch_examples : 16;
        steps = (uint64_t)ceil(train->local_epochs * examples / batch);
    }
    struct stn_lab_comparison comparison = {.n_local = spec->n_rounds * steps,
                                            .n_central = spec->n_rounds * steps * spec->target,
                                            .done = note_alone,
                                            .context = job};
    stn_progress_start(&job->progress, "client", job->lab.n_clients);
    enum stn_code code = stn_lab_compare(&job->lab, &comparison, err);
    stn_progress_end(&job->progress);
    job->result.local = comparison.local;
    job->result.central = comparison.central;
    job->result.has_compare = code == STN_OK;
    return code;
}

static enum stn_code open_lab(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    struct stn_lab_config config = {.data = o->data, .eval = o->eval, .n_clients = o->clients, .seed = o->seed,
                                    .train = job->task.spec.train, .backward = STN_BACKWARD_INT8};
    enum stn_code code = STN_OK;
    config.model = o->model != NULL ? o->model : job->task.base[0] != '\0' ? job->task.base : NULL;
    job->model = config.model != NULL ? config.model : "home-base";
    if (config.model == NULL) {
        code = stn_builtin_model(job->model_path, sizeof job->model_path, err);
        config.model = job->model_path;
    }
    if (code == STN_OK && o->partition != NULL) {
        config.has_partition = true;
        code = stn_partition_parse(&config.partition, o->partition, err);
    }
    static const uint32_t slices[] = {[STN_LORA_BOTH] = 1u << STN_SLICE_BOTH, [STN_LORA_FFA] = 1u << STN_SLICE_B,
                                      [STN_LORA_ALTERNATE] = 1u << STN_SLICE_A | 1u << STN_SLICE_B};
    config.slices = slices[job->task.spec.lora] | (o->compare ? 1u << config.train.factor : 0);
    config.n_threads = stn_session_threads(o->threads);
    config.backend = stn_session_backend(o->backend);
    config.reading = (struct stn_model_reading){.ternarise = o->reading.ternarise, .i2_s_arm = o->reading.i2_s == 1,
                                                  .most = stn_session_most(o->backend, 0)};
    return code == STN_OK ? stn_lab_open(&job->lab, &config, err) : code;
}

/* What can be refused before anything is computed. */
static enum stn_code check(const struct options *o, struct stn_err *err)
{
    const char *const inputs[] = {o->model, o->data, o->eval, o->task}, *const outputs[] = {o->report, o->adapter_out};
    enum stn_code code = stn_session_check_backend(o->backend, err);
    for (size_t i = 0; code == STN_OK && i < sizeof outputs / sizeof *outputs; i++) {
        code = outputs[i] == NULL ? STN_OK : stn_session_can_write(outputs[i], inputs, sizeof inputs / sizeof *inputs, err);
    }
    return code;
}

static enum stn_code simulate(struct job *job, struct stn_err *err)
{
    const struct options *o = job->options;
    const uint64_t started = stn_loop_clock_ms();
    stn_task_file_defaults(&job->task);
    (void)snprintf(job->task.spec.name, sizeof job->task.spec.name, "simulated");
    enum stn_code code = o->task == NULL ? STN_OK : stn_task_file_read(&job->task, o->task, err);
    if (code == STN_OK) {
        settle(job);
        code = open_lab(job, err);
    }
    if (code == STN_OK) {
        code = settle_cohort(job, err);
    }
    if (code != STN_OK) {
        return code;
    }
    const struct stn_network *network = stn_lab_network(&job->lab, 0);
    job->result = (struct stn_result){.model = job->model, .n_clients = job->lab.n_clients,
                                      .seed = o->seed, .backend = stn_network_backend(network),
                                      .kernel = stn_network_kernel(network), .n_values = job->lab.n_values,
                                      .n_examples = job->lab.pooled->n_examples, .n_test = job->lab.test->n_examples, .secure = job->task.spec.secure,
                                      .n_min = job->task.spec.n_min};
    if (!job->is_json) {
        print_head(job);
    }
    const struct stn_host_config world = {.spec = job->task.spec, .dropout = o->dropout, .latency_ms = o->latency_ms,
                                           .adapter_out = o->adapter_out, .on_round = print_round, .context = job};
    stn_progress_start(&job->progress, "round", job->task.spec.n_rounds);
    code = stn_host_run(&world, &job->lab, &job->result, err);
    stn_progress_end(&job->progress);
    if (code == STN_OK && o->compare && !job->result.stopped) {
        code = compare(job, err);
    }
    job->result.wall_s = (double)(stn_loop_clock_ms() - started) / 1000;
    return code;
}

static enum stn_code say(const struct job *job, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    if (job->is_json) {
        struct stn_buf text = {0};
        code = stn_result_json_text(&job->result, &text, err);
        if (code == STN_OK) {
            (void)printf("%.*s\n", (int)text.size, (const char *)text.data);
        }
        stn_buf_fini(&text);
    } else {
        print_end(job);
    }
    if (code == STN_OK && job->options->report != NULL) {
        code = stn_report_write(&job->result, job->options->report, err);
    }
    return code;
}

static enum stn_code check_words(const void *p, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = p;
    struct stn_partition partition;
    (void)line;
    return o->partition == NULL ? STN_OK : stn_partition_parse(&partition, o->partition, err);
}

static enum stn_code run(const void *p, const struct stn_command_line *line, struct stn_err *err)
{
    struct job *job = stn_mem_new(1, sizeof *job);
    if (job == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory");
    }
    job->options = p;
    job->is_json = line->json;
    enum stn_code code = check(job->options, err);
    if (code == STN_OK) {
        code = simulate(job, err);
    }
    if (code == STN_OK) {
        code = say(job, err);
    }
    stn_lab_close(&job->lab);
    stn_mem_free(job->result.rounds);
    stn_mem_free(job);
    return code;
}

const struct stn_command stn_cmd_simulate = {
    .name = "simulate",
    .args = "",
    .summary = "many devices on one machine, under a virtual clock, train an adapter together",
    .example = "sterna simulate --clients 20 --rounds 24 --compare --report rounds.html",
    .options = options,
    .defaults = &defaults,
    .size = sizeof defaults,
    .check = check_words,
    .run = run,
};
