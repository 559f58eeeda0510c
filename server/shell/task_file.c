#include "server/shell/task_file.h"

#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "crypto/digest.h"
#include "io/conf.h"
#include "secagg/bound.h"
#include "server/shell/outer.h"
#include "update/encode.h"

#define SECOND_MS 1000
#define UNSAID (-1.0) /* of a rate or an optimiser: as its lora or its kind has it */

/* What the table fills: numbers as the table's types, then copied into the spec's. */
struct raw {
    char name[STN_MSG_NAME], base[1024], targets[64];
    uint64_t rounds, seed, rank, halvings, local_steps, local_epochs, batch_examples, batch_tokens, ctx, target, n_min,
        join_window_s, report_deadline_s, upload_s, staleness, sigma, eta, share_s, ack_s, unmask_s, weight_max, bits;
    double alpha, lr, warmup, clip, weight_decay, fedprox, over_selection, gamma, delta, rate, momentum, beta1, beta2, eps, discount,
        clip_norm, clip_quantile;
    int schedule, loss, lora, outer;
    bool secure;
};

static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
static const char *const losses[] = {"completion", "all", NULL};
static const char *const loras[] = {"both", "ffa", "alternate", NULL};

static const struct raw defaults = {
    .targets = "all", .rounds = 24, .seed = 1, .rank = 8, .alpha = 16, .local_steps = 5, .batch_examples = 24,
    .batch_tokens = 512, .ctx = 256, .lr = UNSAID, .clip = 1.0, .target = 20, .n_min = 16, .over_selection = 1.0,
    .join_window_s = 600, .report_deadline_s = 3600, .upload_s = 180, .discount = 0.5, .secure = true, .gamma = 0.10, .delta = 0.10,
    .sigma = 64, .eta = 30, .share_s = 20, .ack_s = 15, .unmask_s = 20, .lora = STN_LORA_FFA, .outer = -1, .rate = UNSAID,
    .momentum = UNSAID, .beta1 = UNSAID, .beta2 = UNSAID, .eps = UNSAID, .clip_norm = 10, .clip_quantile = 0.9,
    .weight_max = 1000, .bits = 24,
};

#define ROW(section, key, type, member, ...) {section, key, type, offsetof(struct raw, member), __VA_ARGS__}
#define NUMBER(section, key, member, low, high) ROW(section, key, STN_CONF_U64, member, 0, low, high)
#define REAL(section, key, member, low, high) ROW(section, key, STN_CONF_F64, member, 0, low, high)
#define WORD(section, key, member, list) ROW(section, key, STN_CONF_WORD, member, .words = list)
#define TEXT(section, key, member, ...) ROW(section, key, STN_CONF_STR, member, sizeof(((struct raw *)0)->member), __VA_ARGS__)

static const struct stn_conf_row rows[] = {
    TEXT("task", "name", name, .required = true),
    NUMBER("task", "rounds", rounds, 0, 1e6),
    NUMBER("task", "seed", seed, 0, 0),
    TEXT("model", "base", base, .required = true),
    TEXT("model", "targets", targets),
    NUMBER("model", "rank", rank, 1, 256),
    NUMBER("model", "halvings", halvings, 0, STN_MSG_HALVINGS),
    REAL("model", "alpha", alpha, 1e-3, 1e4),
    NUMBER("train", "local_steps", local_steps, 0, 1e6),
    NUMBER("train", "local_epochs", local_epochs, 0, 1000),
    NUMBER("train", "batch_examples", batch_examples, 0, 4096),
    NUMBER("train", "batch_tokens", batch_tokens, 8, 1 << 20),
    NUMBER("train", "ctx", ctx, 8, 1 << 17),
    REAL("train", "lr", lr, 0, 10),
    WORD("train", "schedule", schedule, schedules),
    REAL("train", "warmup", warmup, 0, 1),
    REAL("train", "clip", clip, 0, 1e6),
    REAL("train", "weight_decay", weight_decay, 0, 10),
    WORD("train", "loss", loss, losses),
    REAL("train", "fedprox", fedprox, 0, 1e3),
    NUMBER("cohort", "target", target, 1, 10000),
    NUMBER("cohort", "n_min", n_min, 1, 10000),
    REAL("cohort", "over_selection", over_selection, 1, 10),
    NUMBER("cohort", "join_window_s", join_window_s, 1, 7 * 86400),
    NUMBER("cohort", "report_deadline_s", report_deadline_s, 1, 30 * 86400),
    NUMBER("cohort", "upload_s", upload_s, 1, 86400),
    NUMBER("cohort", "staleness", staleness, 0, STN_MSG_BASES - 1),
    REAL("cohort", "discount", discount, 0, 100),
    ROW("cohort", "secure", STN_CONF_BOOL, secure, 0),
    REAL("cohort", "gamma", gamma, 0, 0.5),
    REAL("cohort", "delta", delta, 0, 0.5),
    NUMBER("cohort", "sigma", sigma, 1, 256),
    NUMBER("cohort", "eta", eta, 1, 256),
    NUMBER("cohort", "share_s", share_s, 1, 86400),
    NUMBER("cohort", "ack_s", ack_s, 1, 86400),
    NUMBER("cohort", "unmask_s", unmask_s, 1, 86400),
    WORD("merge", "lora", lora, loras),
    WORD("merge", "outer", outer, stn_outer_names),
    REAL("merge", "rate", rate, 1e-6, 100),
    REAL("merge", "momentum", momentum, 0, 0.9999),
    REAL("merge", "beta1", beta1, 0, 0.9999),
    REAL("merge", "beta2", beta2, 0, 0.999999),
    REAL("merge", "eps", eps, 1e-9, 1),
    REAL("merge", "clip_norm", clip_norm, 1e-6, 1e9),
    REAL("merge", "clip_quantile", clip_quantile, 0, 1),
    NUMBER("merge", "weight_max", weight_max, 1, 1 << 20),
    NUMBER("merge", "bits", bits, 16, 32),
    {0},
};

/* What trained best (docs/federated-lora.md): a factor alone takes a higher rate, and momentum hurts factors in turn. */
static const struct lora_row {
    double lr;
    enum stn_outer outer;
} by_lora[] = {[STN_LORA_BOTH] = {3e-3, STN_OUTER_NESTEROV},
               [STN_LORA_FFA] = {1e-2, STN_OUTER_NESTEROV},
               [STN_LORA_ALTERNATE] = {1e-2, STN_OUTER_AVG}};

void stn_task_file_set_lora(struct stn_task_spec *spec, enum stn_lora lora)
{
    spec->lora = lora;
    spec->train.lr = by_lora[lora].lr;
    spec->outer = stn_outer_defaults(by_lora[lora].outer);
}

static struct stn_outer_spec outer_of(const struct raw *raw)
{
    struct stn_outer_spec outer = stn_outer_defaults(raw->outer < 0 ? by_lora[raw->lora].outer : (enum stn_outer)raw->outer);
    outer.rate = raw->rate < 0 ? outer.rate : raw->rate;
    outer.momentum = raw->momentum < 0 ? outer.momentum : raw->momentum;
    outer.beta1 = raw->beta1 < 0 ? outer.beta1 : raw->beta1;
    outer.beta2 = raw->beta2 < 0 ? outer.beta2 : raw->beta2;
    outer.eps = raw->eps < 0 ? outer.eps : raw->eps;
    return outer;
}

static void spec_of(const struct raw *raw, struct stn_task_spec *spec)
{
    *spec = (struct stn_task_spec){
        .train = {.rank = (uint32_t)raw->rank, .alpha = (float)raw->alpha, .local_steps = (uint32_t)raw->local_steps,
                  .local_epochs = (uint32_t)raw->local_epochs, .batch_examples = (uint32_t)raw->batch_examples,
                  .batch_tokens = (uint32_t)raw->batch_tokens, .ctx = (uint32_t)raw->ctx, .lr = raw->lr < 0 ? by_lora[raw->lora].lr : raw->lr,
                  .schedule = (uint32_t)raw->schedule, .warmup = raw->warmup, .clip = raw->clip,
                  .weight_decay = raw->weight_decay, .fedprox = raw->fedprox, .loss_all = raw->loss == 1,
                  .n_halvings = (uint32_t)raw->halvings},
        .target = (uint32_t)raw->target, .n_min = (uint32_t)raw->n_min, .over_select = raw->over_selection,
        .join_window_ms = raw->join_window_s * SECOND_MS, .report_deadline_ms = raw->report_deadline_s * SECOND_MS,
        .upload_ms = raw->upload_s * SECOND_MS, .staleness = (uint32_t)raw->staleness, .discount = raw->discount, .secure = raw->secure,
        .gamma = raw->gamma, .delta = raw->delta, .sigma = (uint32_t)raw->sigma, .eta = (uint32_t)raw->eta,
        .share_ms = raw->share_s * SECOND_MS, .ack_ms = raw->ack_s * SECOND_MS, .unmask_ms = raw->unmask_s * SECOND_MS,
        .lora = (uint32_t)raw->lora, .outer = outer_of(raw),
        .clip_norm = raw->clip_norm, .clip_quantile = raw->clip_quantile, .weight_max = (uint32_t)raw->weight_max,
        .bits = (uint32_t)raw->bits, .n_rounds = raw->rounds, .seed = raw->seed};
    memcpy(spec->name, raw->name, sizeof spec->name);
    (void)stn_task_file_targets(raw->targets, &spec->train.targets);
}

/* Secure rounds must be such as devices take part in, and those of the fewest and of the most members must have a graph. */
static enum stn_code check_secure(const struct raw *raw, const char *path, struct stn_err *err)
{
    const struct stn_bound_params params = {
        .gamma = raw->gamma, .delta = raw->delta, .eta = (uint32_t)raw->eta, .sigma = (uint32_t)raw->sigma};
    const uint64_t members[] = {raw->n_min, raw->target};
    if (raw->secure && (raw->gamma < STN_BOUND_GAMMA_LEAST || raw->sigma < STN_BOUND_SIGMA_LEAST)) {
        return stn_err_set(err, STN_INVALID,
                           "%s: gamma and sigma in [cohort] are %.3g and %llu: every device refuses a secure round of less "
                           "than %.3g and %d", path, raw->gamma, (unsigned long long)raw->sigma, STN_BOUND_GAMMA_LEAST,
                           STN_BOUND_SIGMA_LEAST);
    }
    for (size_t i = 0; raw->secure && i < 2; i++) {
        struct stn_err why;
        struct stn_bound bound;
        if (stn_bound_for((uint32_t)members[i], &params, &bound, &why) != STN_OK) {
            return stn_err_set(err, STN_INVALID, "%s: %s of %llu in [cohort], with secure = yes: %.160s", path,
                               i == 0 ? "n_min" : "target", (unsigned long long)members[i], why.text);
        }
    }
    return STN_OK;
}

static enum stn_code check(const struct raw *raw, const char *path, struct stn_err *err)
{
    uint32_t targets;
    if (!stn_msg_is_task_name(raw->name)) {
        return stn_err_set(err, STN_INVALID, "%s: name in [task] is \"%s\", expected a-z 0-9 . _ - and not a leading dot",
                           path, raw->name);
    }
    if (!stn_task_file_targets(raw->targets, &targets)) {
        return stn_err_set(err, STN_INVALID, "%s: targets in [model] is \"%s\", expected all or some of q,k,v,o,gate,up,down",
                           path, raw->targets);
    }
    if (raw->n_min > raw->target) {
        return stn_err_set(err, STN_INVALID, "%s: n_min in [cohort] is %llu, above its target of %llu", path,
                           (unsigned long long)raw->n_min, (unsigned long long)raw->target);
    }
    if (raw->rank >> raw->halvings == 0) {
        return stn_err_set(err, STN_INVALID, "%s: halvings in [model] is %llu: a rank of %llu cannot be halved so often", path,
                           (unsigned long long)raw->halvings, (unsigned long long)raw->rank);
    }
    if ((raw->local_steps == 0) == (raw->local_epochs == 0)) {
        return stn_err_set(err, STN_INVALID, "%s: [train] wants one of local_steps and local_epochs", path);
    }
    if (raw->bits != 16 && raw->bits != 24 && raw->bits != 32) {
        return stn_err_set(err, STN_INVALID, "%s: bits in [merge] is %llu, expected 16, 24 or 32", path,
                           (unsigned long long)raw->bits);
    }
    struct stn_err why;
    struct stn_encode_config encoding = {.n_values = 1, .n_members = (uint32_t)raw->target, .n_tiers = 1,
                                         .bits = (unsigned)raw->bits, .clip = raw->clip_norm};
    if (stn_encode_config_for(&encoding, &why) != STN_OK) { /* no round of it could ever be added up */
        return stn_err_set(err, STN_INVALID, "%s: target in [cohort] and bits in [merge]: %.200s", path, why.text);
    }
    if (raw->ctx > raw->batch_tokens) {
        return stn_err_set(err, STN_INVALID, "%s: ctx in [train] is %llu, above batch_tokens of %llu", path,
                           (unsigned long long)raw->ctx, (unsigned long long)raw->batch_tokens);
    }
    return check_secure(raw, path, err);
}

void stn_task_file_defaults(struct stn_task_file *file)
{
    *file = (struct stn_task_file){0};
    spec_of(&defaults, &file->spec);
}

static enum stn_code finish(struct stn_task_file *file, const struct raw *raw, const char *name, struct stn_err *err)
{
    enum stn_code code = check(raw, name, err);
    if (code == STN_OK) {
        spec_of(raw, &file->spec);
        memcpy(file->base, raw->base, sizeof file->base);
    }
    return code;
}

/* local_epochs in a file replaces the default of local_steps: only a file that says both is wrong. */
static void forget_default_steps(struct raw *raw)
{
    if (raw->local_epochs > 0 && raw->local_steps == UINT64_MAX) {
        raw->local_steps = 0;
    } else if (raw->local_steps == UINT64_MAX) {
        raw->local_steps = defaults.local_steps;
    }
}

enum stn_code stn_task_file_read(struct stn_task_file *file, const char *path, struct stn_err *err)
{
    struct raw raw = defaults;
    raw.local_steps = UINT64_MAX;
    enum stn_code code = stn_conf_read(&raw, rows, path, err);
    forget_default_steps(&raw);
    return code == STN_OK ? finish(file, &raw, path, err) : code;
}

enum stn_code stn_task_file_parse(struct stn_task_file *file, const char *name, const char *text, size_t size,
                                  struct stn_err *err)
{
    struct raw raw = defaults;
    raw.local_steps = UINT64_MAX;
    enum stn_code code = stn_conf_parse(&raw, rows, name, text, size, err);
    forget_default_steps(&raw);
    return code == STN_OK ? finish(file, &raw, name, err) : code;
}

bool stn_task_file_targets(const char *text, uint32_t *ret)
{
    static const char *const names[] = {"q", "k", "v", "o", "gate", "up", "down"};
    const uint32_t n = sizeof names / sizeof *names;
    if (strcmp(text, "all") == 0) {
        *ret = (1u << n) - 1;
        return true;
    }
    uint32_t bits = 0;
    for (;;) {
        size_t size = strcspn(text, ",");
        uint32_t i = 0;
        while (i < n && (strlen(names[i]) != size || strncmp(names[i], text, size) != 0)) {
            i++;
        }
        if (i == n) {
            return false;
        }
        bits |= 1u << i;
        if (text[size] == '\0') {
            *ret = bits;
            return true;
        }
        text += size + 1;
    }
}

/* Every setting as fixed-width little-endian fields, in the order of the struct. */
static void add_u64(struct stn_digest_state *state, uint64_t v)
{
    uint8_t bytes[8];
    stn_buf_put_u64(bytes, v);
    stn_digest_add(state, bytes, sizeof bytes);
}

static void add_f64(struct stn_digest_state *state, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_u64(state, bits);
}

struct stn_digest stn_task_file_digest(const struct stn_task_spec *spec)
{
    const struct stn_train_spec *t = &spec->train;
    const uint64_t numbers[] = {
        spec->base.size, t->rank, t->targets, t->local_steps, t->local_epochs, t->batch_examples, t->batch_tokens, t->ctx,
        t->schedule, t->loss_all, t->n_halvings, spec->lora, spec->n_values, spec->n_values_b, spec->target, spec->n_min, spec->join_window_ms,
        spec->report_deadline_ms, spec->upload_ms, spec->staleness, spec->secure, spec->outer.kind, spec->weight_max,
        spec->bits, spec->n_rounds, spec->seed, spec->sigma, spec->eta, spec->share_ms, spec->ack_ms, spec->unmask_ms};
    const double reals[] = {(double)t->alpha, t->lr, t->warmup, t->clip, t->weight_decay, t->fedprox, spec->over_select, spec->discount,
                            spec->outer.rate, spec->outer.momentum, spec->outer.beta1, spec->outer.beta2, spec->outer.eps,
                            spec->clip_norm, spec->clip_quantile, spec->gamma, spec->delta};
    struct stn_digest_state state;
    stn_digest_init(&state);
    stn_digest_add(&state, "SA1/task", 8);
    stn_digest_add(&state, spec->name, sizeof spec->name);
    stn_digest_add(&state, spec->base.digest.bytes, sizeof spec->base.digest.bytes);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        add_u64(&state, numbers[i]);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        add_f64(&state, reals[i]);
    }
    return stn_digest_end(&state);
}
