#include "client/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/rng.h"
#include "client/cli/bench_model.h"
#include "client/cli/bench_profile.h"
#include "client/cli/session.h"
#include "compute/backend.h"
#include "compute/train/trainer.h"

#define SHAPE_125M 1

struct options {
    struct stn_bench_model_options model;
    const char *targets;
    uint64_t context, tokens, pass, rank, steps, prompt, generate;
    int backward;
    const char *device;
    bool recompute, profile;
};

static const struct options defaults = {
    .model = {.shape = SHAPE_125M, .seed = 1}, .targets = "all", .context = 128, .tokens = 128, .rank = 8, .steps = 10,
    .prompt = 512, .generate = 128, .backward = STN_BACKWARD_INT8,
};

#define AT(member) offsetof(struct options, member)

/* What both commands take. */
#define COMMON                                                                                                         \
    {"model", 'm', STN_OPTION_STR, AT(model.model), "MODEL", "what is measured, GGUF (a random model of --shape)"},    \
        {"shape", 0, STN_OPTION_WORD, AT(model.shape), "tiny|125m|large|xl|13b", "of a random model (125m)",           \
         .words = stn_bench_model_shapes},                                                                             \
        {"type", 0, STN_OPTION_WORD, AT(model.type), "tq2_0|tq1_0", "of its weights (tq2_0)",                          \
         .words = stn_bench_model_types},                                                                              \
        {"vocab", 0, STN_OPTION_STR, AT(model.vocab), "VOCAB.gguf", "whose vocabulary it gets (the built-in model's)"}, \
        {"seed", 0, STN_OPTION_U64, AT(model.seed), "S", "of all random numbers (1)"},                                 \
        {"threads", 0, STN_OPTION_U64, AT(model.threads), "N", "one a processor by default", 1,                        \
         STN_SESSION_THREADS_MAX},                                                                                     \
        STN_SESSION_READING(AT(model.reading)),                                                                        \
        {"backend", 0, STN_OPTION_WORD, AT(model.backend), "auto|cpu|vulkan", "what computes (auto: the cpu)",                        \
         .words = stn_session_backends},                                                                               \
        {"device", 0, STN_OPTION_STR, AT(device), "NAME", "of several GPUs: part of a name, or its number in bench devices"}

static const struct stn_option train_options[] = {
    COMMON,
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "tokens of an example (128)", 2, 1 << 20},
    {"tokens", 0, STN_OPTION_U64, AT(tokens), "N", "tokens of a step, all with loss but each example's last (128)", 2, 1 << 24},
    {"pass-tokens", 0, STN_OPTION_U64, AT(pass), "N", "computed at once, as in train (256, or an example)", 2, 1 << 24},
    {"rank", 0, STN_OPTION_U64, AT(rank), "N", "of the adapter (8)", 1, STN_ADAPTER_RANK},
    {"targets", 0, STN_OPTION_STR, AT(targets), "LIST", "all, or some of q,k,v,o,gate,up,down (all)"},
    {"steps", 0, STN_OPTION_U64, AT(steps), "N", "that are measured, after one that is not (10)", 1, 1e9},
    {"backward", 0, STN_OPTION_WORD, AT(backward), "exact|int8", "precision of the gradients (int8)",
     .words = stn_session_backwards},
    {"profile", 0, STN_OPTION_FLAG, AT(profile), NULL, "what each op takes, by time, by count and of the device's peak"},
    {"recompute", 0, STN_OPTION_FLAG, AT(recompute), NULL, "compute activations again instead of keeping them"},
    {0},
};

static const struct stn_option infer_options[] = {
    COMMON,
    {"prompt", 0, STN_OPTION_U64, AT(prompt), "N", "tokens that are read at once (512)", 1, 1 << 20},
    {"count", 'n', STN_OPTION_U64, AT(generate), "N", "tokens that are written behind them (128)", 1, 1 << 20},
    {0},
};

struct bench {
    const struct options *options;
    struct stn_bench_model model;
    struct stn_network *network;
    struct stn_progress progress;
    int32_t *tokens, *positions, *starts, *rows, *labels; /* of a batch */
    float *weights;
    double *took_s; /* by step */
    size_t n_measured;
    double loss_first, loss_last;
    uint64_t ops_ns[STN_N_OPS]; /* by op, before what is measured */
    struct stn_bench_profile profile;
    struct stn_backend_tally before; /* what is measured, on a device */
    double cpu_s; /* of what was measured: what else runs here does not count in it */
    uint64_t n_allocations, peak_rss;
    int64_t rss_growth; /* bytes, from the first step's end to the last one's */
};

static enum stn_code finish(struct bench *b, enum stn_code code)
{
    stn_progress_end(&b->progress);
    stn_network_free(b->network);
    stn_bench_model_close(&b->model);
    stn_mem_free(b->tokens);
    stn_mem_free(b->weights);
    stn_mem_free(b->took_s);
    return code;
}

static void begin_times(struct bench *b)
{
    const struct stn_backend *backend = stn_network_measured(b->network);
    for (int op = 0; op < STN_N_OPS && backend->row->time_ns != NULL; op++) {
        b->ops_ns[op] = backend->row->time_ns(backend, (enum stn_op)op);
    }
    if (backend->row->tally != NULL) {
        backend->row->tally(backend, &b->before);
    }
}

/* ---- bench train ---- */

/* Random tokens in examples of ctx tokens; every token but an example's first is a target. */
static enum stn_code make_batch(struct bench *b, struct stn_batch *ret, size_t n, struct stn_err *err)
{
    struct stn_rng rng;
    b->tokens = stn_mem_new(5 * n, sizeof *b->tokens);
    b->weights = stn_mem_new(n, sizeof *b->weights);
    if (b->tokens == NULL || b->weights == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a batch of %zu tokens", n);
    }
    b->positions = b->tokens + n;
    b->starts = b->tokens + 2 * n;
    b->rows = b->tokens + 3 * n;
    b->labels = b->tokens + 4 * n;
    stn_rng_init(&rng, b->options->model.seed);
    *ret = (struct stn_batch){.n_tokens = n, .tokens = b->tokens, .positions = b->positions, .starts = b->starts,
                              .target_rows = b->rows, .target_tokens = b->labels, .target_weights = b->weights};
    for (size_t i = 0; i < n; i++) {
        size_t position = i % b->options->context;
        b->tokens[i] = (int32_t)stn_rng_below(&rng, stn_model_arch(b->model.model)->n_vocab);
        b->positions[i] = (int32_t)position;
        b->starts[i] = (int32_t)(i - position);
        if (position > 0) {
            b->rows[ret->n_targets] = (int32_t)i - 1;
            b->labels[ret->n_targets++] = b->tokens[i];
        }
    }
    return STN_OK;
}

/* A step of as many passes as it takes, which the network's gradients add up. */
static enum stn_code step(struct bench *b, const struct stn_batch *batch, size_t n_passes, double *ret_loss, struct stn_err *err)
{
    const struct stn_network_update update = {.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 1};
    double norm;
    *ret_loss = 0;
    for (size_t i = 0; i < n_passes; i++) {
        struct stn_network_result result;
        enum stn_code code = stn_network_accumulate(b->network, batch, &result, err);
        if (code != STN_OK) {
            return code;
        }
        *ret_loss += result.loss;
    }
    return stn_network_update(b->network, &update, &norm, err);
}

static enum stn_code run_steps(struct bench *b, const struct stn_batch *batch, size_t n_passes, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    uint64_t allocations = 0;
    stn_progress_start(&b->progress, "step", b->options->steps + 1);
    for (uint64_t i = 0; i <= b->options->steps && code == STN_OK && !stn_command_stopping(); i++) {
        double from_s = stn_session_now_s(), loss;
        char note[32];
        code = step(b, batch, n_passes, &loss, err);
        b->loss_first = i == 0 ? loss : b->loss_first;
        b->loss_last = loss;
        if (i == 0) {
            allocations = stn_mem_count();
            b->rss_growth = -(int64_t)stn_session_rss();
            begin_times(b);
            b->cpu_s = -stn_session_cpu_s();
        } else {
            b->took_s[b->n_measured++] = stn_session_now_s() - from_s;
        }
        (void)snprintf(note, sizeof note, "loss %.4f", loss);
        stn_progress_at(&b->progress, i + 1, note);
    }
    stn_progress_end(&b->progress);
    b->n_allocations = stn_mem_count() - allocations;
    b->rss_growth += (int64_t)stn_session_rss();
    b->cpu_s += stn_session_cpu_s();
    b->peak_rss = stn_session_peak_rss();
    if (code == STN_OK && b->n_measured == 0) {
        code = stn_err_set(err, STN_CANCELLED, "stopped before a step was measured");
    }
    return code;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "ops": {name: milliseconds a step or a token}, where the backend measures them. */
static void add_times(json_t *result, struct bench *b, uint64_t n)
{
    const struct stn_backend *backend = stn_network_measured(b->network);
    json_t *ops = result == NULL || backend->row->time_ns == NULL ? NULL : json_object();
    for (int op = 0; op < STN_N_OPS && ops != NULL; op++) {
        uint64_t ns = backend->row->time_ns(backend, (enum stn_op)op) - b->ops_ns[op];
        b->profile.ms[op] = (double)ns * 1e-6 / (double)n;
        if (ns > 0) {
            (void)json_object_set_new(ops, stn_op_row((enum stn_op)op)->name, json_real(b->profile.ms[op]));
        }
    }
    if (ops != NULL) {
        (void)json_object_set_new(result, "ops", ops);
    }
}

static double greatest(double a, double b)
{
    return a > b ? a : b;
}

/* The processor's peaks become those of a device that computes instead. "gpu", for so many steps or tokens that were measured: what
 * moved, the plan, the kernels and the device's peaks; an integer product may take any of its instructions. */
static enum stn_code add_device(json_t *object, struct bench *b, uint64_t n, struct stn_peak *peak, struct stn_err *err)
{
    const struct stn_backend *backend = stn_network_measured(b->network);
    struct stn_backend_tally after;
    struct stn_backend_peak own;
    if (backend->row->tally == NULL) {
        return STN_OK;
    }
    backend->row->tally(backend, &after);
    enum stn_code code = backend->row->peak(&own, err);
    if (code != STN_OK) {
        return code;
    }
    peak->integer = greatest(greatest(own.f32, own.dot8), greatest(own.matrix_i8, own.matrix_f16));
    peak->floats = own.f32;
    peak->bytes = own.bytes;
    json_t *gpu = json_pack("{sf sI sI ss* ss* sf sf sf sf sf}", "submissions_per_step",
                            (double)(after.n_submissions - b->before.n_submissions) / (double)n, "transfers",
                            (json_int_t)(after.n_transfers - b->before.n_transfers), "planned_bytes", (json_int_t)after.planned,
                            "forward_kernel", after.forward, "backward_kernel", after.backward, "f32_gmac_per_s",
                            own.f32 * 1e-9, "dot8_gmac_per_s", own.dot8 * 1e-9, "matrix_i8_gmac_per_s", own.matrix_i8 * 1e-9,
                            "matrix_f16_gmac_per_s", own.matrix_f16 * 1e-9, "memory_gb_per_s", own.bytes * 1e-9);
    (void)json_object_set_new(object, "gpu", gpu);
    return STN_OK;
}

static double fraction(double of, double peak)
{
    return peak > 0 ? of / peak : 0;
}

static enum stn_code report_train(struct bench *b, size_t n_tokens, size_t n_pass, uint32_t targets, bool json,
                                  struct stn_err *err)
{
    const struct options *o = b->options;
    struct stn_peak peak;
    struct stn_network_memory memory = stn_network_memory(b->network);
    const struct stn_backend *backend = stn_network_measured(b->network);
    qsort(b->took_s, b->n_measured, sizeof *b->took_s, compare);
    double median = b->took_s[b->n_measured / 2];
    double macs = stn_bench_model_forward_macs(&b->model) * (o->recompute ? 2 : 1) +
                  stn_bench_model_backward_macs(&b->model, targets);
    json_t *object = json_object();
    enum stn_code code = object == NULL ? stn_err_set(err, STN_MEMORY, "no memory for the result")
                                        : stn_bench_model_peak(&b->model, n_pass, &peak, object, err);
    code = code != STN_OK ? code : add_device(object, b, b->n_measured, &peak, err);
    if (code != STN_OK) {
        json_decref(object);
        return code;
    }
    json_t *result = json_pack(
        "{sf sf sI sI sf sf sf ss sI sI sI sI sI sf sI sI sf sI ss ss sI ss sb sI sI sI sI}", "tokens_per_s",
        (double)n_tokens / median, "ms_per_step", median * 1e3, "peak_rss_bytes", (json_int_t)b->peak_rss, "device_bytes",
        (json_int_t)backend->row->memory(backend).device,
        "loss_first", b->loss_first, "loss_last", b->loss_last, "peak_fraction",
        fraction(macs * (double)n_tokens / median, peak.integer), "model", b->model.name, "ctx", (json_int_t)o->context, "tokens",
        (json_int_t)n_tokens, "pass_tokens", (json_int_t)n_pass, "rank", (json_int_t)o->rank, "steps",
        (json_int_t)b->n_measured, "ms_best", b->took_s[0] * 1e3, "allocations", (json_int_t)b->n_allocations,
        "rss_growth_bytes", (json_int_t)b->rss_growth, "cpu_ms_per_step", b->cpu_s * 1e3 / (double)b->n_measured, "threads",
        (json_int_t)b->model.n_threads, "backend", stn_network_backend(b->network), "kernel", stn_network_kernel(b->network),
        "ternary_parameters", (json_int_t)stn_bench_model_forward_macs(&b->model), "backward",
        stn_session_backwards[o->backward], "recompute", (int)o->recompute, "weights_bytes", (json_int_t)memory.weights,
        "activations_bytes", (json_int_t)memory.activations, "adapter_bytes", (json_int_t)memory.adapter, "scratch_bytes",
        (json_int_t)memory.scratch);
    if (result != NULL) {
        (void)json_object_update(result, object);
    }
    json_decref(object);
    add_times(result, b, b->n_measured);
    b->profile.int8 = peak.integer;
    b->profile.f32 = peak.floats;
    if (o->profile && json) {
        (void)json_object_set_new(result, "profile", stn_bench_profile_json(&b->profile));
    } else if (o->profile) {
        stn_bench_profile_print(&b->profile);
        (void)json_object_del(result, "ops");
    }
    return stn_session_take_result(result, json, err);
}

static enum stn_code check_train(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    uint32_t targets;
    (void)line;
    if (o->tokens % o->context != 0) {
        return stn_err_set(err, STN_INVALID, "--tokens %llu are no whole number of examples of --ctx %llu",
                           (unsigned long long)o->tokens, (unsigned long long)o->context);
    }
    if (o->pass > 0 && (o->pass < o->context || o->pass > o->tokens)) {
        return stn_err_set(err, STN_INVALID, "--pass-tokens is %llu: give at least %llu, the --ctx, and at most %llu, the --tokens",
                           (unsigned long long)o->pass, (unsigned long long)o->context, (unsigned long long)o->tokens);
    }
    return stn_arch_targets(o->targets, &targets, err);
}

/* What the profile counts: a pass as often as there are, and one AdamW. */
static enum stn_code count_step(struct bench *b, const struct stn_adapter *adapter, const struct stn_network_config *config,
                                size_t n_passes, struct stn_err *err)
{
    struct stn_count *counts = b->profile.counts;
    enum stn_code code = !b->options->profile ? STN_OK : stn_count_step(counts, b->model.model, adapter, config, err);
    for (int op = 0; op < STN_N_OPS && code == STN_OK; op++) {
        size_t n = op == STN_OP_SQUARES || op == STN_OP_ADAMW ? 1 : n_passes;
        counts[op].n_nodes *= n;
        counts[op].macs_int8 *= (double)n;
        counts[op].macs_f32 *= (double)n;
        counts[op].bytes *= (double)n;
    }
    return code;
}

static enum stn_code train(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct bench b = {.options = o};
    struct stn_adapter *adapter = NULL;
    struct stn_batch batch;
    uint32_t targets = 0;
    const struct stn_trainer_config trainer = {.context = o->context, .batch_tokens = o->tokens, .pass_tokens = o->pass};
    size_t n_pass = stn_trainer_pass_tokens(&trainer), n_passes = 0;
    for (n_pass -= n_pass % o->context; o->tokens % n_pass != 0;) {
        n_pass -= o->context; /* passes of one length: one batch serves all */
    }
    n_passes = o->tokens / n_pass;
    enum stn_code code = stn_session_check_backend(o->model.backend, err);
    code = code != STN_OK ? code : stn_session_use_device(o->device, o->profile, err);
    code = code != STN_OK ? code : stn_arch_targets(o->targets, &targets, err);
    code = code != STN_OK ? code : stn_bench_model_open(&b.model, &o->model, err);
    code = code != STN_OK ? code
                          : stn_adapter_new(&adapter, stn_model_arch(b.model.model), (uint32_t)o->rank,
                                            (float)(2 * o->rank), targets, err);
    code = code != STN_OK ? code : make_batch(&b, &batch, n_pass, err);
    if (code == STN_OK) {
        const struct stn_network_config config = {
            .max_tokens = n_pass, .max_targets = n_pass, .context = o->context, .train = true, .recompute = o->recompute ? STN_NETWORK_ALL : 0,
            .backward = (enum stn_backward)o->backward, .act_int8 = true, .n_threads = b.model.n_threads,
            .seed = o->model.seed, .backend = stn_session_backend(o->model.backend)};
        for (size_t i = 0; i < batch.n_targets; i++) {
            b.weights[i] = 1.0f / (float)(batch.n_targets * n_passes);
        }
        stn_adapter_init(adapter, o->model.seed);
        code = stn_network_new(&b.network, b.model.model, adapter, &config, err);
        code = code != STN_OK ? code : count_step(&b, adapter, &config, n_passes, err);
    }
    stn_adapter_free(adapter);
    if (code == STN_OK) {
        b.took_s = stn_mem_new(o->steps, sizeof *b.took_s);
        code = b.took_s == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %llu steps", (unsigned long long)o->steps)
                                : run_steps(&b, &batch, n_passes, err);
    }
    code = code != STN_OK ? code : report_train(&b, o->tokens, n_pass, targets, line->json, err);
    return finish(&b, code);
}

const struct stn_command stn_cmd_bench_train = {
    .name = "bench train", .args = "", .summary = "how fast and in how much memory this machine trains, beside its own peak",
    .example = "sterna bench train --shape 125m --ctx 128 --tokens 128 --steps 10 --json",
    .options = train_options, .defaults = &defaults, .size = sizeof(struct options),
    .check = check_train, .run = train,
};

/* ---- bench infer ---- */

static size_t likeliest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* Three times the prompt, of which the fastest counts, then token by token. */
static enum stn_code run_infer(struct bench *b, double *ret_prefill_s, double *ret_decode_s, struct stn_err *err)
{
    const struct options *o = b->options;
    const struct stn_arch *arch = stn_model_arch(b->model.model);
    const float *logits = NULL;
    struct stn_rng rng;
    enum stn_code code = STN_OK;
    stn_rng_init(&rng, o->model.seed);
    for (size_t i = 0; i < o->prompt; i++) {
        b->tokens[i] = (int32_t)stn_rng_below(&rng, arch->n_vocab);
    }
    stn_progress_start(&b->progress, "token", 3 * o->prompt + o->generate);
    for (uint64_t round = 0; round < 3 && code == STN_OK; round++) {
        stn_network_reset(b->network);
        double from_s = stn_session_now_s();
        code = stn_network_feed(b->network, b->tokens, o->prompt, &logits, err);
        double took_s = stn_session_now_s() - from_s;
        *ret_prefill_s = round == 0 || took_s < *ret_prefill_s ? took_s : *ret_prefill_s;
        stn_progress_at(&b->progress, (round + 1) * o->prompt, "");
    }
    begin_times(b);
    double from_s = stn_session_now_s();
    b->cpu_s = -stn_session_cpu_s();
    for (uint64_t i = 0; i < o->generate && code == STN_OK; i++) {
        int32_t next = (int32_t)likeliest(logits, arch->n_vocab);
        code = stn_command_stopping() ? stn_err_set(err, STN_CANCELLED, "stopped at token %llu", (unsigned long long)i)
                                      : stn_network_feed(b->network, &next, 1, &logits, err);
        stn_progress_at(&b->progress, 3 * o->prompt + i + 1, "");
    }
    *ret_decode_s = stn_session_now_s() - from_s;
    b->cpu_s += stn_session_cpu_s();
    b->peak_rss = stn_session_peak_rss();
    stn_progress_end(&b->progress);
    return code;
}

static enum stn_code report_infer(struct bench *b, double prefill_s, double decode_s, bool json, struct stn_err *err)
{
    const struct options *o = b->options;
    struct stn_peak peak;
    struct stn_network_memory memory = stn_network_memory(b->network);
    const struct stn_backend *backend = stn_network_measured(b->network);
    size_t copied = backend->row->memory(backend).constants; /* a device reads its own */
    const struct stn_arch *arch = stn_model_arch(b->model.model);
    double macs = stn_bench_model_forward_macs(&b->model) * (double)o->prompt, decoded = (double)o->generate / decode_s;
    json_t *object = json_object();
    enum stn_code code = object == NULL ? stn_err_set(err, STN_MEMORY, "no memory for the result")
                                        : stn_bench_model_peak(&b->model, o->prompt, &peak, object, err);
    code = code != STN_OK ? code : add_device(object, b, o->generate, &peak, err);
    if (code != STN_OK) {
        json_decref(object);
        return code;
    }
    size_t cached = 2 * sizeof(float) * (size_t)arch->n_kv_heads * arch->head_dim * arch->n_layers; /* of a token that is past */
    size_t per_token = (copied > 0 ? copied : memory.weights) - (arch->tied ? 0 : (size_t)arch->n_vocab * arch->n_embd * 2) +
                       cached * (size_t)(o->prompt + o->generate / 2);
    json_t *result = json_pack("{sf sf sI sf sf sI sf ss sI sI sI ss ss sI sI sI}", "prefill_tokens_per_s",
                               (double)o->prompt / prefill_s, "decode_tokens_per_s", decoded, "peak_rss_bytes",
                               (json_int_t)b->peak_rss, "prefill_peak_fraction", fraction(macs / prefill_s, peak.integer),
                               "decode_memory_fraction", fraction(decoded * (double)per_token, peak.bytes),
                               "decode_bytes_per_token", (json_int_t)per_token, "decode_cpu_ms_per_token", b->cpu_s * 1e3 / (double)o->generate, "model", b->model.name,
                               "prompt", (json_int_t)o->prompt, "count", (json_int_t)o->generate, "threads",
                               (json_int_t)b->model.n_threads, "backend", stn_network_backend(b->network), "kernel",
                               stn_network_kernel(b->network), "ternary_parameters",
                               (json_int_t)stn_bench_model_forward_macs(&b->model), "weights_bytes",
                               (json_int_t)memory.weights, "activations_bytes", (json_int_t)memory.activations);
    if (result != NULL) {
        (void)json_object_update(result, object);
    }
    add_times(result, b, o->generate);
    json_decref(object);
    return stn_session_take_result(result, json, err);
}

static enum stn_code infer(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct bench b = {.options = o};
    double prefill_s = 0, decode_s = 0;
    enum stn_code code = stn_session_check_backend(o->model.backend, err);
    code = code != STN_OK ? code : stn_session_use_device(o->device, false, err);
    code = code != STN_OK ? code : stn_bench_model_open(&b.model, &o->model, err);
    if (code == STN_OK) {
        const struct stn_network_config config = {.max_tokens = o->prompt < STN_TRAINER_PASS ? o->prompt : STN_TRAINER_PASS,
                                                  .max_targets = 1, .context = o->prompt + o->generate, .act_int8 = true,
                                                  .n_threads = b.model.n_threads,
                                                  .backend = stn_session_backend(o->model.backend)};
        b.tokens = stn_mem_new(o->prompt, sizeof *b.tokens);
        code = b.tokens == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a prompt")
                                : stn_network_new(&b.network, b.model.model, NULL, &config, err);
    }
    code = code != STN_OK ? code : run_infer(&b, &prefill_s, &decode_s, err);
    code = code != STN_OK ? code : report_infer(&b, prefill_s, decode_s, line->json, err);
    return finish(&b, code);
}

const struct stn_command stn_cmd_bench_infer = {
    .name = "bench infer", .args = "", .summary = "how fast this machine reads a prompt and writes behind it, beside its own peak",
    .example = "sterna bench infer --shape 125m --prompt 512 -n 128 --json",
    .options = infer_options, .defaults = &defaults, .size = sizeof(struct options), .run = infer,
};
