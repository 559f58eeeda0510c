#include "client/cli/cli.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "client/cli/session.h"
#include "compute/model/peft.h"

struct options {
    const char *model, *output;
    int to;
};

static const struct options defaults;

#define AT(member) offsetof(struct options, member)

static const char *const formats[] = {"peft", NULL};

static const struct stn_option export_options[] = {
    {"to", 0, STN_OPTION_WORD, AT(to), "peft", "the format: a PEFT folder (peft)", .words = formats},
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base, where rows or scales are kept in another way than in a checkpoint"},
    {0},
};

static const struct stn_option import_options[] = {
    {"output", 'o', STN_OPTION_STR, AT(output), "ADAPTER", "where the adapter goes, GGUF", .required = true},
    {"model", 'm', STN_OPTION_STR, AT(model), "MODEL", "the base; what sterna exported says it itself"},
    {0},
};

static const struct stn_option average_options[] = {
    {"output", 'o', STN_OPTION_STR, AT(output), "ADAPTER", "where the mean goes, GGUF", .required = true},
    {0},
};

/* The shape of a model, without its weights; *ret_arch is NULL for path NULL. */
static enum stn_code open_shape(const char *path, struct stn_gguf **ret_gguf, struct stn_arch **ret_arch, struct stn_err *err)
{
    *ret_gguf = NULL;
    *ret_arch = NULL;
    if (path == NULL) {
        return STN_OK;
    }
    enum stn_code code = stn_gguf_open(ret_gguf, path, err);
    return code != STN_OK ? code : stn_arch_new(ret_arch, *ret_gguf, err);
}

static enum stn_code report(const struct stn_adapter *a, const char *path, const struct stn_command_line *line,
                            struct stn_err *err)
{
    if (line->json) {
        return stn_session_take_json(json_pack("{ss ss sI sf sI sI}", "output", path, "architecture", a->arch, "rank",
                                               (json_int_t)a->rank, "alpha", (double)a->alpha, "tensors",
                                               (json_int_t)a->n_tensors, "values", (json_int_t)a->n_values),
                                     err);
    }
    (void)printf("%s: %s, rank %u, alpha %g, %zu matrices\n", path, a->arch, a->rank, (double)a->alpha, a->n_tensors);
    return STN_OK;
}

static enum stn_code export(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_gguf *gguf = NULL;
    struct stn_arch *arch = NULL;
    struct stn_adapter *adapter = NULL;
    enum stn_code code = open_shape(o->model, &gguf, &arch, err);
    code = code != STN_OK ? code : stn_adapter_file_load(&adapter, arch, line->args[0], err);
    code = code != STN_OK ? code : stn_peft_export(adapter, arch, line->args[1], err);
    code = code != STN_OK ? code : report(adapter, line->args[1], line, err);
    stn_adapter_free(adapter);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    return code;
}

static enum stn_code import(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_gguf *gguf = NULL;
    struct stn_arch *arch = NULL;
    struct stn_adapter *adapter = NULL;
    enum stn_code code = open_shape(o->model, &gguf, &arch, err);
    code = code != STN_OK ? code : stn_peft_import(&adapter, arch, line->args[0], err);
    code = code != STN_OK ? code : stn_adapter_file_save(adapter, o->output, err);
    code = code != STN_OK ? code : report(adapter, o->output, line, err);
    stn_adapter_free(adapter);
    stn_arch_free(arch);
    stn_gguf_close(gguf);
    return code;
}

/* sum += values of the adapter in PATH, which must be like FIRST. */
static enum stn_code add_one(double *sum, const struct stn_adapter *first, const char *path, struct stn_err *err)
{
    struct stn_adapter *adapter = NULL;
    enum stn_code code = stn_adapter_file_load(&adapter, NULL, path, err);
    if (code == STN_OK && (!stn_adapter_is_like(first, adapter) || fabsf(first->alpha - adapter->alpha) > 0)) {
        code = stn_err_set(err, STN_INVALID, "%.120s (%.40s, rank %u, alpha %g) is of another shape or scale than the first",
                           path, adapter->arch, adapter->rank, (double)adapter->alpha);
    }
    for (size_t i = 0; code == STN_OK && i < adapter->n_values; i++) {
        sum[i] += (double)adapter->values[i];
    }
    stn_adapter_free(adapter);
    return code;
}

/* The means of the factors, A and B apart, as a federation averages them; what the files say of themselves is left out, but
 * for what their base is. */
static enum stn_code average(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_adapter *first = NULL;
    double *sum = NULL;
    enum stn_code code = stn_adapter_file_load(&first, NULL, line->args[0], err);
    if (code == STN_OK) {
        sum = stn_mem_new(first->n_values, sizeof *sum);
        code = sum == NULL ? stn_err_set(err, STN_MEMORY, "no memory for %zu values", first->n_values) : STN_OK;
    }
    for (int i = 0; code == STN_OK && i < line->n_args; i++) {
        code = add_one(sum, first, line->args[i], err);
    }
    for (size_t i = 0; code == STN_OK && i < first->n_values; i++) {
        first->values[i] = (float)(sum[i] / line->n_args);
    }
    if (code == STN_OK) {
        uint64_t scaled = 0;
        bool is_scaled = stn_adapter_get_u64(first, STN_ADAPTER_SCALED, &scaled);
        first->n_notes = 0;
        code = is_scaled ? stn_adapter_set_u64(first, STN_ADAPTER_SCALED, scaled, err) : STN_OK;
        code = code != STN_OK ? code : stn_adapter_file_save(first, o->output, err);
    }
    code = code != STN_OK ? code : report(first, o->output, line, err);
    stn_mem_free(sum);
    stn_adapter_free(first);
    return code;
}

const struct stn_command stn_cmd_adapter_export = {
    .name = "adapter export", .args = "ADAPTER DIR", .min_args = 2, .max_args = 2,
    .summary = "write an adapter as a folder that other programs read", .example = "sterna adapter export home.gguf home-peft --to peft",
    .options = export_options, .defaults = &defaults, .size = sizeof(struct options), .run = export,
};

const struct stn_command stn_cmd_adapter_import = {
    .name = "adapter import", .args = "DIR", .min_args = 1, .max_args = 1,
    .summary = "read an adapter from a PEFT folder", .example = "sterna adapter import home-peft -o home.gguf",
    .options = import_options, .defaults = &defaults, .size = sizeof(struct options), .run = import,
};

const struct stn_command stn_cmd_adapter_average = {
    .name = "adapter average", .args = "ADAPTER...", .min_args = 1, .max_args = 4096,
    .summary = "the mean of adapters of one shape", .example = "sterna adapter average a.gguf b.gguf c.gguf -o mean.gguf",
    .options = average_options, .defaults = &defaults, .size = sizeof(struct options), .run = average,
};
