#include "client/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "client/cli/session.h"

/* ---- adapter info ---- */

struct info_options {
    const char *model;
};

static const struct info_options info_defaults;

static const struct stn_option info_options[] = {
    {"model", 'm', STN_OPTION_STR, offsetof(struct info_options, model), "MODEL", "check that it fits this model (no)"},
    {0},
};

static double norm_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

static json_t *json_note(const struct stn_gguf_value *note)
{
    json_t *value = NULL;
    if (note->kind == STN_GGUF_STR) {
        value = json_stringn((const char *)note->data + 8, note->size - 8);
    } else if (note->kind == STN_GGUF_U64 || note->kind == STN_GGUF_U32) {
        uint64_t v = note->kind == STN_GGUF_U64 ? stn_buf_get_u64(note->data) : stn_buf_get_u32(note->data);
        value = json_integer((json_int_t)v);
    }
    return value == NULL ? json_string(stn_gguf_kind_name(note->kind)) : value;
}

static json_t *json_adapter(const struct stn_adapter *a, const char *path, const struct stn_digest *digest)
{
    char targets[STN_ARCH_TARGETS_TEXT], text[STN_DIGEST_TEXT];
    double squares[2] = {0, 0};
    json_t *notes = json_object();
    stn_digest_put_text(digest, text);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &a->tensors[i];
        double norm = norm_of(a->values + t->offset, (size_t)t->rows * t->cols);
        squares[t->is_b] += norm * norm;
    }
    for (size_t i = 0; i < a->n_notes; i++) {
        (void)json_object_set_new(notes, a->notes[i].key, json_note(&a->notes[i]));
    }
    return json_pack("{ss ss ss sI sf ss sI sI sf sf so}", "adapter", path, "digest", text, "architecture", a->arch, "rank",
                     (json_int_t)a->rank, "alpha", (double)a->alpha, "targets",
                               stn_arch_targets_text(stn_adapter_targets(a), targets), "layers",
                     (json_int_t)(a->tensors[a->n_tensors - 1].layer + 1), "values", (json_int_t)a->n_values, "norm_a",
                     sqrt(squares[0]), "norm_b", sqrt(squares[1]), "metadata", notes);
}

/* Loads an adapter, for a model if its path is not NULL. */
static enum stn_code load(struct stn_adapter **ret, const char *path, const char *model, struct stn_err *err)
{
    struct stn_gguf *gguf = NULL;
    struct stn_arch *arch = NULL;
    enum stn_code code = STN_OK;
    if (model != NULL) {
        code = stn_gguf_open(&gguf, model, err);
        code = code != STN_OK ? code : stn_arch_new(&arch, gguf, err);
    }
    code = code != STN_OK ? code : stn_adapter_file_load(ret, arch, path, err);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    return code;
}

static enum stn_code info(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct info_options *o = parsed;
    struct stn_adapter *adapter = NULL;
    struct stn_digest digest;
    enum stn_code code = load(&adapter, line->args[0], o->model, err);
    code = code != STN_OK ? code : stn_session_file_digest(line->args[0], &digest, err);
    if (code == STN_OK) {
        json_t *object = json_adapter(adapter, line->args[0], &digest);
        if (line->json || object == NULL) {
            code = stn_session_take_json(object, err);
        } else {
            stn_session_print_object(object);
            json_decref(object);
        }
    }
    stn_adapter_free(adapter);
    return code;
}

const struct stn_command stn_cmd_adapter_info = {
    .name = "adapter info", .args = "ADAPTER", .min_args = 1, .max_args = 1,
    .summary = "what an adapter's file holds: shape, size of its matrices, where it comes from",
    .example = "sterna adapter info home.gguf -m base.gguf",
    .options = info_options, .defaults = &info_defaults, .size = sizeof(struct info_options), .run = info,
};

/* ---- adapter diff ---- */

struct difference {
    double norm, norm_a, norm_b, most; /* of b - a, of each, and the largest of a value */
    size_t n_differ;
};

static struct difference compare(const float *a, const float *b, size_t n)
{
    struct difference d = {.norm_a = norm_of(a, n), .norm_b = norm_of(b, n)};
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double by = (double)b[i] - (double)a[i];
        sum += by * by;
        d.most = fabs(by) > d.most ? fabs(by) : d.most;
        d.n_differ += memcmp(&a[i], &b[i], sizeof *a) != 0;
    }
    d.norm = sqrt(sum);
    return d;
}

static json_t *json_difference(const struct difference *d)
{
    return json_pack("{sI sf sf sf sf}", "values", (json_int_t)d->n_differ, "norm", d->norm, "largest", d->most, "norm_first",
                     d->norm_a, "norm_second", d->norm_b);
}

static void print_difference(const char *name, const struct difference *d, size_t n)
{
    (void)printf("%-32s %10zu of %10zu values differ, norm %.6g of %.6g, largest %.6g\n", name, d->n_differ, n, d->norm,
                 d->norm_a, d->most);
}

static enum stn_code print_diff(const struct stn_adapter *a, const struct stn_adapter *b, bool json, struct stn_err *err)
{
    json_t *tensors = json ? json_object() : NULL;
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct stn_adapter_tensor *t = &a->tensors[i];
        size_t n = (size_t)t->rows * t->cols;
        struct difference d = compare(a->values + t->offset, b->values + t->offset, n);
        char name[STN_GGUF_NAME + 8];
        (void)snprintf(name, sizeof name, "%s.lora_%c", t->name, t->is_b ? 'b' : 'a');
        if (json) {
            (void)json_object_set_new(tensors, name, json_difference(&d));
        } else {
            print_difference(name, &d, n);
        }
    }
    struct difference all = compare(a->values, b->values, a->n_values);
    bool same = all.n_differ == 0 && memcmp(&a->alpha, &b->alpha, sizeof a->alpha) == 0;
    if (json) {
        return stn_session_take_json(json_pack("{sb sf sf so so}", "same", (int)same, "alpha_first", (double)a->alpha,
                                               "alpha_second", (double)b->alpha, "all", json_difference(&all), "tensors",
                                               tensors),
                                     err);
    }
    print_difference("all", &all, a->n_values);
    if (a->alpha != b->alpha) {
        (void)printf("%-32s %g and %g\n", "alpha", (double)a->alpha, (double)b->alpha);
    }
    (void)printf("%s\n", same ? "the same values" : "different values");
    return STN_OK;
}

static enum stn_code diff(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    (void)parsed;
    struct stn_adapter *a = NULL, *b = NULL;
    enum stn_code code = load(&a, line->args[0], NULL, err);
    code = code != STN_OK ? code : load(&b, line->args[1], NULL, err);
    if (code == STN_OK && !stn_adapter_is_like(a, b)) {
        code = stn_err_set(err, STN_INVALID,
                           "%.80s (%s, rank %u, %zu values) and %.80s (%s, rank %u, %zu values) differ in shape",
                           line->args[0], a->arch, a->rank, a->n_values, line->args[1], b->arch, b->rank, b->n_values);
    }
    code = code != STN_OK ? code : print_diff(a, b, line->json, err);
    stn_adapter_free(a);
    stn_adapter_free(b);
    return code;
}

const struct stn_command stn_cmd_adapter_diff = {
    .name = "adapter diff", .args = "A B", .min_args = 2, .max_args = 2,
    .summary = "how far two adapters of one shape are apart, matrix by matrix",
    .example = "sterna adapter diff before.gguf after.gguf",
    .run = diff,
};
