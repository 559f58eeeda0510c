#include "client/cli/cli.h"

#include <stdio.h>

#include "client/cli/bench_model.h"
#include "compute/model/count.h"

#define SHAPE_125M 1

struct options {
    struct stn_bench_model_options model;
    uint64_t context, tokens, rank;
    bool recompute;
};

static const struct options defaults = {.model = {.shape = SHAPE_125M, .seed = 1}, .context = 128, .tokens = 2048, .rank = 8};

#define AT(member) offsetof(struct options, member)

static const struct stn_option options[] = {
    {"model", 'm', STN_OPTION_STR, AT(model.model), "MODEL", "what is counted, GGUF (a random model of --shape)"},
    {"shape", 0, STN_OPTION_WORD, AT(model.shape), "tiny|125m|large|xl|13b", "of a random model (125m)",
     .words = stn_bench_model_shapes},
    {"vocab", 0, STN_OPTION_STR, AT(model.vocab), "VOCAB.gguf", "whose vocabulary it gets (the built-in model's)"},
    {"ctx", 0, STN_OPTION_U64, AT(context), "N", "tokens of an example (128)", 2, 1 << 20},
    {"tokens", 0, STN_OPTION_U64, AT(tokens), "N", "tokens of a step, all with loss (2048)", 2, 1 << 24},
    {"rank", 0, STN_OPTION_U64, AT(rank), "N", "of the adapter (8)", 1, STN_ADAPTER_RANK},
    {"recompute", 0, STN_OPTION_FLAG, AT(recompute), NULL, "compute activations again instead of keeping them"},
    {0},
};

/* What devices' makers say, a second's worth: MACs of int8 by the best way that we have a kernel for, of f32, and bytes from memory. */
static const struct device {
    const char *name, *by;
    double int8, f32, bytes;
} devices[] = {
    {"Mali G715 MP7", "dot8", 3.2e12, 0.8e12, 68e9},        /* 7 cores, 128 FMA a clock, 0.89 GHz; LPDDR5X */
    {"Adreno 830", "dot8", 6.8e12, 1.7e12, 77e9},           /* 1536 FMA a clock, 1.1 GHz; LPDDR5X */
    {"H200", "matrix_i8", 990e12, 33.5e12, 4800e9},         /* dense int8 of its matrix units; HBM3e */
};

#define N_DEVICES (sizeof devices / sizeof devices[0])

/* Milliseconds at best: computing and memory at once, the longer counts. */
static double bound_ms(const struct device *device, const struct stn_count *count)
{
    double compute = count->macs_int8 / device->int8 + count->macs_f32 / device->f32, memory = count->bytes / device->bytes;
    return (compute > memory ? compute : memory) * 1e3;
}

static json_t *row_of(const struct stn_count *count)
{
    json_t *row = json_pack("{sI sI sf sf sf}", "nodes", (json_int_t)count->n_nodes, "together", (json_int_t)count->n_together,
                            "int8_macs", count->macs_int8, "f32_macs",
                            count->macs_f32, "bytes", count->bytes);
    for (size_t d = 0; d < N_DEVICES; d++) {
        (void)json_object_set_new(row, devices[d].name, json_real(bound_ms(&devices[d], count)));
    }
    return row;
}

static void print_row(const char *name, const struct stn_count *count, const double *ms)
{
    (void)printf("| %s | %zu | %zu | %.2f | %.2f | %.0f |", name, count->n_nodes, count->n_nodes - count->n_together, count->macs_int8 * 1e-9, count->macs_f32 * 1e-9,
                 count->bytes * 1e-6);
    for (size_t d = 0; d < N_DEVICES; d++) {
        (void)printf(" %.3g |", ms[d]);
    }
    (void)printf("\n");
}

static void print_table(const struct stn_count *counts)
{
    struct stn_count all = {0};
    double sums[N_DEVICES] = {0};
    (void)printf("| op | nodes | alone | int8 GMAC | f32 GMAC | MB |");
    for (size_t d = 0; d < N_DEVICES; d++) {
        (void)printf(" %s ms |", devices[d].name);
    }
    (void)printf("\n|---|---|---|---|---|---|---|---|---|\n");
    for (int op = 0; op < STN_N_OPS; op++) {
        double ms[N_DEVICES];
        for (size_t d = 0; d < N_DEVICES; d++) {
            ms[d] = bound_ms(&devices[d], &counts[op]);
            sums[d] += ms[d];
        }
        all.n_nodes += counts[op].n_nodes;
        all.n_together += counts[op].n_together;
        all.macs_int8 += counts[op].macs_int8;
        all.macs_f32 += counts[op].macs_f32;
        all.bytes += counts[op].bytes;
        if (counts[op].n_nodes > 0) {
            print_row(stn_op_row((enum stn_op)op)->name, &counts[op], ms);
        }
    }
    print_row("all", &all, sums);
}

static enum stn_code report(const struct stn_count *counts, bool json, struct stn_err *err)
{
    if (!json) {
        print_table(counts);
        return STN_OK;
    }
    json_t *ops = json_object();
    for (int op = 0; op < STN_N_OPS; op++) {
        if (counts[op].n_nodes > 0) {
            (void)json_object_set_new(ops, stn_op_row((enum stn_op)op)->name, row_of(&counts[op]));
        }
    }
    return stn_session_take_json(json_pack("{so}", "ops", ops), err);
}

static enum stn_code run(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    struct stn_bench_model model = {0};
    struct stn_adapter *adapter = NULL;
    struct stn_count counts[STN_N_OPS];
    enum stn_code code = stn_bench_model_open(&model, &o->model, err);
    code = code != STN_OK ? code
                          : stn_adapter_new(&adapter, stn_model_arch(model.model), (uint32_t)o->rank, (float)(2 * o->rank),
                                            STN_ARCH_ALL, err);
    if (code == STN_OK) {
        const struct stn_network_config config = {.max_tokens = o->tokens, .max_targets = o->tokens, .context = o->context,
                                                  .train = true, .recompute = o->recompute ? STN_NETWORK_ALL : 0,
                                                  .backward = STN_BACKWARD_INT8, .act_int8 = true, .n_threads = 1};
        code = stn_count_step(counts, model.model, adapter, &config, err);
    }
    stn_adapter_free(adapter);
    stn_bench_model_close(&model);
    return code != STN_OK ? code : report(counts, line->json, err);
}

const struct stn_command stn_cmd_bench_roofline = {
    .name = "bench roofline", .args = "", .summary = "what a training step takes by count, and how fast devices can be on paper",
    .example = "sterna bench roofline --shape 125m --tokens 2048",
    .options = options, .defaults = &defaults, .size = sizeof(struct options), .run = run,
};
