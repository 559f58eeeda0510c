#include "client/cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "client/cli/train_run.h"
#include "compute/train/trainer.h"

#define MOST_ADAPTERS 64

static const struct stn_train_run_options defaults = {
    .targets = "all", .rank = 8, .alpha = 16, .lr = 1e-4, .context = 512, .batch_tokens = 2048, .warmup = 0.1, .clip = 1,
    .checkpoint_steps = 100, .loss = STN_DATASET_COMPLETION, .schedule = STN_SCHEDULE_COSINE, .backward = STN_BACKWARD_INT8,
};

#define AT(member) offsetof(struct stn_train_run_options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base model, GGUF; it is never changed", .required = true},
    {"data", 'd', STN_OPTION_STR, AT(data), "DATA", "what to learn from, JSONL", .required = true},
    {"output", 'o', STN_OPTION_STR, AT(output), "ADAPTER", "where the adapter goes, GGUF", .required = true},
    {"adapter", 'a', STN_OPTION_STR, AT(adapter), "ADAPTER", "go on from this one; its rank, alpha and targets count"},
    {"rank", 0, STN_OPTION_U64, AT(rank), "N", "of the adapter (8)", 1, STN_ADAPTER_RANK},
    {"alpha", 0, STN_OPTION_F64, AT(alpha), "X", "the adapter's scale is alpha / rank (16)", 1e-6, 1e6},
    {"rslora", 0, STN_OPTION_FLAG, AT(rslora), NULL, "the scale is alpha / sqrt(rank), for higher ranks"},
    {"targets", 0, STN_OPTION_STR, AT(targets), "LIST", "all, or some of q,k,v,o,gate,up,down (all)"},
    {"dropout", 0, STN_OPTION_F64, AT(dropout), "X", "the share of its inputs that the adapter does not see (0)", 0, 0.9},
    {"lr", 0, STN_OPTION_F64, AT(lr), "X", "the highest learning rate (1e-4)", 1e-12, 10},
    {"weight-decay", 0, STN_OPTION_F64, AT(weight_decay), "X", "AdamW's, decoupled (0)", 0, 10},
    {"epochs", 0, STN_OPTION_U64, AT(epochs), "N", "how often each example is seen (1)", 1, 100000},
    {"steps", 0, STN_OPTION_U64, AT(steps), "N", "so many steps instead of epochs", 1, 1e12},
    {"token-limit", 0, STN_OPTION_U64, AT(token_limit), "N", "end with the step that reaches N tokens", 1, 1e10},
    {"time-limit", 0, STN_OPTION_F64, AT(time_limit), "MINUTES", "stop then, as Ctrl-C does; --resume goes on", 1e-3, 1e6},
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "most tokens of an example (512)", 2, 1 << 20},
    {"batch-tokens", 0, STN_OPTION_U64, AT(batch_tokens), "N", "tokens of a step (2048)", 1, 1 << 24},
    {"batch-examples", 0, STN_OPTION_U64, AT(batch_examples), "N", "exactly so many examples a step instead", 1, 1 << 20},
    {"pass-tokens", 0, STN_OPTION_U64, AT(pass_tokens), "N",
     "tokens computed at once; the gradients of a step's passes add up (256, or the longest example)", 1, 1 << 24},
    {"loss", 0, STN_OPTION_WORD, AT(loss), "completion|all", "what of a prompt's example is learned (completion)",
     .words = stn_session_losses},
    {"schedule", 0, STN_OPTION_WORD, AT(schedule), "cosine|linear|constant", "of the rate (cosine)",
     .words = stn_schedule_names},
    {"warmup", 0, STN_OPTION_F64, AT(warmup), "X", "the share of the steps over which the rate rises (0.1)", 0, 1},
    {"clip", 0, STN_OPTION_F64, AT(clip), "X", "the gradient's greatest norm, 0: none (1)", 0, 1e9},
    {"validation", 0, STN_OPTION_STR, AT(validation), "FILE", "evaluate with these now and then, keep what did best; JSONL"},
    {"validation-share", 0, STN_OPTION_F64, AT(validation_share), "X", "hold back this share of the data for it", 1e-4, 0.9},
    {"validation-steps", 0, STN_OPTION_U64, AT(validation_steps), "N", "evaluate every N steps (a tenth of the run)", 1, 1e12},
    {"patience", 0, STN_OPTION_U64, AT(patience), "N", "stop after N evaluations without a better one (never)", 1, 1e6},
    {"resume", 0, STN_OPTION_STR, AT(resume), "DIR", "go on from the checkpoint in DIR"},
    {"checkpoint", 0, STN_OPTION_STR, AT(checkpoint), "DIR", "keep a checkpoint in DIR"},
    {"checkpoint-steps", 0, STN_OPTION_U64, AT(checkpoint_steps), "N", "write it every N steps (100)", 1, 1e12},
    {"metrics", 0, STN_OPTION_STR, AT(metrics), "FILE", "one JSON object a step and an evaluation, a line each"},
    {"skip-bad", 0, STN_OPTION_FLAG, AT(skip_bad), NULL, "count broken lines instead of stopping"},
    {"seed", 0, STN_OPTION_U64, AT(seed), "S", "of first values, order, dropout and rounding (0)"},
    {"threads", 0, STN_OPTION_U64, AT(threads), "N", "one a processor by default; no result depends on it", 1,
     STN_SESSION_THREADS_MAX},
    STN_SESSION_READING(AT(reading)),
    STN_SESSION_TEMPLATE(AT(reading)),
    {"backend", 0, STN_OPTION_WORD, AT(backend), "auto|cpu|vulkan", "what computes (auto: what is faster here)", .words = stn_session_backends},
    {"device", 0, STN_OPTION_STR, AT(device), "NAME", "of several GPUs: part of a name, or its number in bench devices"},
    {"backward", 0, STN_OPTION_WORD, AT(backward), "exact|int8", "precision of the gradients (int8)",
     .words = stn_session_backwards},
    {"memory-limit", 0, STN_OPTION_SIZE, AT(reading.memory_limit), "SIZE",
     "as 1.5G; to fit, activations are computed twice, layer by layer, then passes cut, then weights streamed"},
    {0},
};

/* All adapters of one command. */
struct job {
    const struct stn_train_run_options *options;
    const struct stn_command_line *line;
    struct stn_session session;
    struct stn_train_run *runs[MOST_ADAPTERS];
    size_t n_runs;
    json_t *said; /* what came of each, for --json */
};

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct stn_train_run_options *o = parsed;
    uint32_t targets;
    if (line->n_args % 2 != 0) {
        return stn_err_set(err, STN_INVALID, "%.100s stands alone: further adapters are given as DATA ADAPTER, in pairs",
                           line->args[line->n_args - 1]);
    }
    if (o->validation != NULL && o->validation_share > 0) {
        return stn_err_set(err, STN_INVALID, "--validation and --validation-share: give one");
    }
    if (o->validation == NULL && o->validation_share <= 0 && (o->patience > 0 || o->validation_steps > 0)) {
        return stn_err_set(err, STN_INVALID, "%s needs --validation or --validation-share",
                           o->patience > 0 ? "--patience" : "--validation-steps");
    }
    return stn_arch_targets(o->targets, &targets, err);
}

/* -d and -o, then what stands behind the options in pairs. */
static enum stn_code check_places(struct job *job, struct stn_err *err)
{
    const struct stn_train_run_options *o = job->options;
    const struct stn_command_line *line = job->line;
    double deadline_s = o->time_limit > 0 ? stn_session_now_s() + 60 * o->time_limit : 0;
    for (int i = 0; i <= line->n_args / 2; i++) {
        const struct stn_train_run_place place = {.data = i == 0 ? o->data : line->args[2 * i - 2],
                                                  .output = i == 0 ? o->output : line->args[2 * i - 1],
                                                  .number = (unsigned)i + 1, .deadline_s = deadline_s};
        for (int k = 0; k < i; k++) {
            if (strcmp(place.output, k == 0 ? o->output : line->args[2 * k - 1]) == 0) {
                return stn_err_set(err, STN_INVALID, "two adapters would be written to %.150s", place.output);
            }
        }
        enum stn_code code = stn_train_run_check(&job->runs[i], o, &place, err);
        if (code != STN_OK) {
            return code;
        }
        job->n_runs++;
    }
    return STN_OK;
}

static enum stn_code train_prepared(const struct job *job, struct stn_train_run *run, struct stn_err *err)
{
    if (!job->line->json) {
        stn_session_print_plan(stn_train_run_plan(run));
    }
    return stn_train_run_train(run, err);
}

static enum stn_code train(struct job *job, struct stn_train_run *run, struct stn_err *err)
{
    bool is_json = job->line->json;
    enum stn_code code = stn_train_run_prepare(run, &job->session, err);
    code = code != STN_OK ? code : train_prepared(job, run, err);
    if (code != STN_OK && stn_train_run_can_fall_back(run)) {
        const struct stn_err why = *err;
        stn_log_err(STN_LOG_WARN, "fell_back_to_cpu", &why);
        code = stn_train_run_fall_back(run, &why, err);
        code = code != STN_OK ? code : train_prepared(job, run, err);
    }
    if (code == STN_OK && is_json && json_array_append_new(job->said, stn_train_run_json(run)) != 0) {
        code = stn_err_set(err, STN_MEMORY, "no memory for the result");
    } else if (code == STN_OK && !is_json) {
        stn_train_run_print(run);
    }
    return code;
}

/* One object, or one that lists those of several adapters. */
static enum stn_code say(struct job *job, struct stn_err *err)
{
    json_t *object = NULL;
    if (job->n_runs == 1) {
        object = json_incref(json_array_get(job->said, 0));
    } else {
        object = json_pack("{sO sb}", "adapters", job->said, "stopped", json_array_size(job->said) < job->n_runs);
    }
    return stn_session_take_json(object, err);
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    struct job job = {.options = parsed, .line = line, .said = json_array()};
    const struct stn_train_run_options *o = job.options;
    bool is_stopped = false;
    enum stn_code code = check_places(&job, err);
    code = code != STN_OK ? code : stn_session_use_device(o->device, false, err);
    code = code != STN_OK ? code : stn_session_open(&job.session, o->model, &o->reading, NULL, o->backend, o->threads, err);
    for (size_t i = 0; i < job.n_runs && code == STN_OK; i++) {
        code = stn_train_run_read(job.runs[i], &job.session, err);
    }
    for (size_t i = 0; i < job.n_runs && code == STN_OK && !is_stopped; i++) {
        code = train(&job, job.runs[i], err);
        is_stopped = stn_train_run_is_stopped(job.runs[i]);
        stn_train_run_close(job.runs[i]);
        job.runs[i] = NULL;
    }
    if (code == STN_OK && line->json) {
        code = say(&job, err);
    }
    for (size_t i = 0; i < MOST_ADAPTERS; i++) {
        stn_train_run_close(job.runs[i]);
    }
    json_decref(job.said);
    stn_session_close(&job.session);
    return code;
}

const struct stn_command stn_cmd_train = {
    .name = "train", .args = "[DATA ADAPTER]...", .max_args = 2 * (MOST_ADAPTERS - 1),
    .summary = "train LoRA adapters beside a ternary base model",
    .example = "sterna train -m base.gguf -d notes.jsonl -o notes.gguf --epochs 2 --lr 3e-4 --validation-share 0.1",
    .options = options, .defaults = &defaults, .size = sizeof(struct stn_train_run_options),
    .check = check, .run = run,
};
