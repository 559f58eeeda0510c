#include "compute/vulkan/vulkan.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compute/plan.h"
#include "compute/vulkan/vram.h"
#include "compute/vulkan/pipeline.h"
#include "compute/vulkan/proof.h"
#include "compute/vulkan/speed.h"
#include "compute/vulkan/tensors.h"
#include "compute/vulkan/tape.h"
#include "compute/vulkan/vulkan_env.h"

/* Multiplications of one submission, by who computes: some tenths of a second on a slow one of its kind. A device that also draws
 * a screen must get to it; one that is silent for minutes is taken for lost (vram.c). */
#define SPLIT_DISCRETE ((uint64_t)2000000000000)
#define SPLIT_SHARED ((uint64_t)100000000000)
#define SPLIT_EMULATED ((uint64_t)20000000000)

#define RANGE_LEAST 1024

struct pass {
    struct stn_plan plan;
    struct stn_tape tape;
    struct stn_tape few; /* the same for runs of few tokens, where those come one after the other */
    bool is_prepared;
};

struct vulkan {
    struct stn_backend base;
    const struct stn_graph *graph;
    struct stn_vulkan_env env;
    struct stn_gpu *gpu;
    struct stn_vram vram;
    struct stn_pipelines pipelines;
    struct stn_tensors tensors;
    struct stn_vram_pieces temporaries;
    struct stn_vram_span logits, state, step;
    struct pass passes[STN_GRAPH_PASSES];
    uint64_t n_submissions;
    uint64_t barred; /* rows of the pipeline table */
};

/* Where a pass has its tensors. */
struct view {
    const struct vulkan *vulkan;
    const struct stn_plan *plan;
};

static struct vulkan *vulkan_of(struct stn_backend *backend)
{
    assert(backend->row == &stn_vulkan_backend);
    return (struct vulkan *)(void *)backend;
}

static const struct vulkan *vulkan_in(const struct stn_backend *backend)
{
    assert(backend->row == &stn_vulkan_backend);
    return (const struct vulkan *)(const void *)backend;
}

static void vulkan_free(struct stn_backend *backend)
{
    if (backend == NULL) {
        return;
    }
    struct vulkan *vulkan = vulkan_of(backend);
    if (!stn_vram_rests(&vulkan->vram)) {
        return; /* the device may still write: what it has is given back with the process */
    }
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        stn_tape_fini(&vulkan->passes[i].tape);
        stn_tape_fini(&vulkan->passes[i].few);
        stn_plan_fini(&vulkan->passes[i].plan);
    }
    stn_tensors_fini(&vulkan->tensors);
    stn_pipelines_close(&vulkan->pipelines, vulkan->env.folder[0] == '\0' ? NULL : vulkan->env.folder);
    stn_vram_close(&vulkan->vram);
    stn_gpu_close(vulkan->gpu);
    stn_mem_free(vulkan);
}

static enum stn_code open_all(struct vulkan *vulkan, struct stn_err *err)
{
    enum stn_code code = stn_gpu_open(&vulkan->gpu, &vulkan->env.device, err);
    if (code == STN_OK) {
        code = stn_vram_open(&vulkan->vram, vulkan->gpu, err);
    }
    if (code == STN_OK) {
        code = stn_pipelines_open(&vulkan->pipelines, vulkan->gpu, vulkan->env.folder[0] == '\0' ? NULL : vulkan->env.folder, err);
    }
    return code != STN_OK ? code : stn_vram_take_shared(&vulkan->vram, 2 * sizeof(uint32_t), &vulkan->step, err);
}

/* Of activations: as much as the device gives at once, or less. */
static void set_piece(struct vulkan *vulkan, uint64_t wanted)
{
    const uint64_t most = vulkan->gpu->caps.allocation;
    vulkan->temporaries.piece = (wanted > 0 && wanted < most ? wanted : most) / STN_VRAM_ALIGN * STN_VRAM_ALIGN;
}

enum stn_code stn_vulkan_new_bare(struct stn_backend **ret, const struct stn_graph *graph, const struct stn_vulkan_env *env,
                                  uint64_t barred, struct stn_err *err)
{
    struct vulkan *vulkan = stn_mem_new(1, sizeof *vulkan);
    if (vulkan == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a backend");
    }
    vulkan->base.row = &stn_vulkan_backend;
    vulkan->graph = graph;
    vulkan->env = *env;
    vulkan->env.device.wanted = env->device.wanted == NULL ? NULL : vulkan->env.wanted;
    vulkan->env.memory = vulkan->env.range = vulkan->env.split = 0;
    vulkan->barred = barred;
    enum stn_code code = open_all(vulkan, err);
    if (code != STN_OK) {
        vulkan_free(&vulkan->base);
        return code;
    }
    stn_tensors_init(&vulkan->tensors, &vulkan->vram, graph);
    set_piece(vulkan, 0);
    *ret = &vulkan->base;
    return STN_OK;
}

/* The same, with limits, once each kernel is known to be right or barred. */
static enum stn_code vulkan_new(struct stn_backend **ret, const struct stn_graph *graph, unsigned n_threads, struct stn_err *err)
{
    struct stn_vulkan_env env;
    struct stn_backend *backend = NULL;
    (void)n_threads; /* the device has its own */
    enum stn_code code = stn_vulkan_env_read(&env, err);
    code = code != STN_OK ? code : stn_vulkan_new_bare(&backend, graph, &env, 0, err);
    if (code != STN_OK) {
        return code;
    }
    struct vulkan *vulkan = vulkan_of(backend);
    vulkan->env.memory = vulkan->vram.limit = env.memory;
    vulkan->env.range = env.range;
    vulkan->env.split = env.split;
    set_piece(vulkan, env.piece);
    code = stn_proof_find(&vulkan->barred, &vulkan->gpu->caps, &vulkan->env, err);
    if (env.range >= RANGE_LEAST && env.range < vulkan->gpu->caps.range) {
        vulkan->gpu->caps.range = env.range;
    }
    if (code != STN_OK) {
        vulkan_free(backend);
        return code;
    }
    *ret = backend;
    return STN_OK;
}

static struct stn_vram_span find(const void *user, uint32_t tensor, bool scales)
{
    const struct view *view = user;
    const struct stn_tensor *t = &view->vulkan->graph->tensors[tensor];
    if (t->life != STN_LIFE_TEMPORARY) {
        return stn_tensors_find(&view->vulkan->tensors, tensor, scales);
    }
    const struct stn_plan_span *planned = stn_plan_find(view->plan, stn_graph_root(view->vulkan->graph, tensor));
    const struct stn_vram_pieces *pieces = &view->vulkan->temporaries;
    struct stn_vram_span span = pieces->list[planned->offset / pieces->piece];
    span.offset += planned->offset % pieces->piece + (t->base == STN_OP_NONE ? 0 : t->offset * sizeof(float));
    span.size = stn_graph_size(&t->shape);
    return span;
}

static uint64_t split_of(const struct vulkan *vulkan)
{
    VkPhysicalDeviceType type = vulkan->gpu->caps.type;
    return vulkan->env.split > 0                            ? vulkan->env.split
           : type == VK_PHYSICAL_DEVICE_TYPE_CPU          ? SPLIT_EMULATED
           : type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU ? SPLIT_DISCRETE
                                                            : SPLIT_SHARED;
}

/* A pass that stores keys and values is run for what was asked, and then token by token. */
static bool feeds(const struct stn_graph *graph, size_t pass)
{
    bool stores = false;
    for (size_t n = 0; n < graph->passes[pass].n_nodes; n++) {
        stores = stores || graph->passes[pass].nodes[n].op == STN_OP_STORE;
    }
    return stores && graph->max_tokens > STN_PIPELINE_MOST_FEW;
}

static enum stn_code record(struct vulkan *vulkan, size_t pass, size_t tile, bool few, struct stn_err *err)
{
    struct stn_tape *tape = few ? &vulkan->passes[pass].few : &vulkan->passes[pass].tape;
    const struct view view = {vulkan, &vulkan->passes[pass].plan};
    const struct stn_tape_place place = {.gpu = vulkan->gpu,
                                           .graph = vulkan->graph,
                                           .find = find,
                                           .user = &view,
                                           .logits = vulkan->logits,
                                           .state = vulkan->state,
                                           .tile = tile,
                                           .most_tokens = few ? STN_PIPELINE_MOST_FEW : vulkan->graph->max_tokens,
                                           .barred = vulkan->barred,
                                           .spoilt = vulkan->env.spoilt};
    struct stn_tape_config config = {.step = vulkan->step, .split = split_of(vulkan), .times = vulkan->env.times};
    struct stn_tape_copy *ins = NULL, *outs = NULL;
    struct stn_tape_list list;
    stn_tape_fini(tape);
    enum stn_code code = stn_tape_list_init(&list, &place, pass, err);
    if (code == STN_OK) {
        code = stn_tensors_copies(&vulkan->tensors, pass, &ins, &config.n_ins, &outs, &config.n_outs, err);
    }
    if (code == STN_OK) {
        config.ins = ins;
        config.outs = outs;
        code = stn_tape_init(tape, &vulkan->vram, &vulkan->pipelines, &list, &config, err);
    }
    stn_mem_free(ins);
    stn_mem_free(outs);
    stn_tape_list_fini(&list);
    return code;
}

/* Makes a span at least so big; what was in it is gone, and it may have moved. */
static enum stn_code widen(struct vulkan *vulkan, struct stn_vram_span *span, size_t size, const char *what, bool *moved,
                           struct stn_err *err)
{
    if (size <= span->size) {
        return STN_OK;
    }
    stn_vram_drop(&vulkan->vram, span);
    *moved = true;
    return stn_vram_take_alone(&vulkan->vram, size, false, what, span, err);
}

static enum stn_code prepare(struct vulkan *vulkan, size_t pass, struct stn_err *err)
{
    size_t logits, state, tile;
    bool moved = false;
    struct stn_plan *plan = &vulkan->passes[pass].plan;
    enum stn_code code = stn_plan_init(plan, vulkan->graph, pass, (size_t)vulkan->temporaries.piece, err);
    if (code == STN_OK) {
        code = stn_tensors_prepare(&vulkan->tensors, pass, err);
    }
    stn_tape_list_scratch(vulkan->gpu, vulkan->graph, pass, &logits, &state, &tile);
    if (code == STN_OK && plan->size > vulkan->temporaries.size) {
        moved = true;
        code = stn_vram_take_pieces(&vulkan->vram, plan->size, "activations", &vulkan->temporaries, err);
    }
    if (code == STN_OK) {
        code = widen(vulkan, &vulkan->logits, logits, "logits", &moved, err);
    }
    if (code == STN_OK) {
        code = widen(vulkan, &vulkan->state, state, "logits", &moved, err);
    }
    for (size_t i = 0; i < STN_GRAPH_PASSES && code == STN_OK; i++) {
        if (i == pass || (moved && vulkan->passes[i].is_prepared)) {
            stn_tape_list_scratch(vulkan->gpu, vulkan->graph, i, &logits, &state, &tile);
            code = record(vulkan, i, tile, false, err);
            code = code == STN_OK && feeds(vulkan->graph, i) ? record(vulkan, i, tile, true, err) : code;
        }
    }
    return code;
}

/* What has once failed is not tried again. */
static enum stn_code vulkan_check(const struct stn_backend *backend, struct stn_err *err)
{
    const struct stn_err *failed = &vulkan_in(backend)->gpu->failed;
    return failed->code == STN_OK ? STN_OK : stn_err_set(err, failed->code, "%s", failed->text);
}

static enum stn_code vulkan_prepare(struct stn_backend *backend, size_t pass, struct stn_err *err)
{
    struct vulkan *vulkan = vulkan_of(backend);
    assert(pass < STN_GRAPH_PASSES && !vulkan->passes[pass].is_prepared);
    if (vulkan->graph->failed) {
        return stn_err_set(err, STN_MEMORY, "no memory for a graph of %zu tensors", vulkan->graph->n_tensors);
    }
    enum stn_code code = vulkan_check(backend, err);
    if (code == STN_OK) {
        stn_err_ignore(prepare(vulkan, pass, &vulkan->gpu->failed));
        code = vulkan_check(backend, err);
    }
    vulkan->passes[pass].is_prepared = code == STN_OK;
    if (code != STN_OK) {
        stn_plan_fini(&vulkan->passes[pass].plan);
    }
    return code;
}

static enum stn_code vulkan_run(struct stn_backend *backend, size_t pass, size_t n_tokens, size_t n_targets, struct stn_err *err)
{
    struct vulkan *vulkan = vulkan_of(backend);
    assert(vulkan->passes[pass].is_prepared && n_tokens <= vulkan->graph->max_tokens && n_targets <= vulkan->graph->max_targets);
    enum stn_code code = vulkan_check(backend, err);
    struct pass *p = &vulkan->passes[pass];
    struct stn_tape *tape = p->few.n_commands > 0 && n_tokens <= STN_PIPELINE_MOST_FEW ? &p->few : &p->tape;
    if (code == STN_OK) {
        stn_err_ignore(stn_tape_run(tape, n_tokens, n_targets, &vulkan->n_submissions, &vulkan->gpu->failed));
        code = vulkan_check(backend, err);
    }
    return code;
}

static void vulkan_write(struct stn_backend *backend, uint32_t tensor, size_t offset, const void *p, size_t size)
{
    struct vulkan *vulkan = vulkan_of(backend);
    if (vulkan->gpu->failed.code == STN_OK) {
        stn_err_ignore(stn_tensors_write(&vulkan->tensors, tensor, offset, p, size, &vulkan->gpu->failed));
    }
}

static void vulkan_read(const struct stn_backend *backend, uint32_t tensor, size_t offset, void *p, size_t size)
{
    const struct vulkan *vulkan = vulkan_in(backend);
    if (vulkan->gpu->failed.code != STN_OK ||
        stn_tensors_read(&vulkan->tensors, tensor, offset, p, size, &vulkan->gpu->failed) != STN_OK) {
        memset(p, 0, size);
    }
}

static void vulkan_clear(struct stn_backend *backend, uint32_t tensor)
{
    struct vulkan *vulkan = vulkan_of(backend);
    if (vulkan->gpu->failed.code == STN_OK) {
        stn_err_ignore(stn_tensors_clear(&vulkan->tensors, tensor, &vulkan->gpu->failed));
    }
}

static struct stn_backend_memory vulkan_memory(const struct stn_backend *backend)
{
    const struct vulkan *vulkan = vulkan_in(backend);
    return (struct stn_backend_memory){
        .arena = (size_t)(vulkan->vram.total - vulkan->tensors.lasting_size - vulkan->tensors.constants_size),
        .lasting = vulkan->tensors.lasting_size,
        .constants = vulkan->tensors.constants_size,
        .device = (size_t)vulkan->vram.total};
}

static const char *vulkan_kernel(const struct stn_backend *backend)
{
    return vulkan_in(backend)->gpu->caps.name;
}

void stn_vulkan_stats(const struct stn_backend *backend, struct stn_vulkan_stats *ret)
{
    const struct vulkan *vulkan = vulkan_in(backend);
    *ret = (struct stn_vulkan_stats){.n_submissions = vulkan->n_submissions,
                                     .n_copies = vulkan->vram.n_copies,
                                     .device_size = vulkan->vram.total,
                                     .barred = vulkan->barred,
                                     .n_complaints = vulkan->gpu->n_complaints,
                                     .validates = vulkan->gpu->validates,
                                     .caps = &vulkan->gpu->caps};
    ret->n_pieces = vulkan->temporaries.size == 0 ? 0 : (vulkan->temporaries.size - 1) / vulkan->temporaries.piece + 1;
    ret->planned_size = vulkan->tensors.lasting_size + vulkan->tensors.constants_size + vulkan->temporaries.size +
                        vulkan->logits.size + vulkan->state.size;
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        ret->n_dispatches += vulkan->passes[i].tape.list.n;
    }
}

const struct stn_pipeline_row *stn_vulkan_row(const struct stn_backend *backend, enum stn_op op)
{
    const struct vulkan *vulkan = vulkan_in(backend);
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        const struct stn_tape_list *list = &vulkan->passes[i].tape.list;
        for (size_t d = 0; d < list->n; d++) {
            if (list->dispatches[d].node->op == op) {
                return list->dispatches[d].row;
            }
        }
    }
    return NULL;
}

uint64_t stn_vulkan_rows(const struct stn_backend *backend, size_t pass, size_t node)
{
    const struct vulkan *vulkan = vulkan_in(backend);
    const struct stn_node *wanted = &vulkan->graph->passes[pass].nodes[node];
    const struct stn_tape_list *list = &vulkan->passes[pass].tape.list;
    uint64_t rows = 0;
    for (size_t d = 0; d < list->n; d++) {
        const struct stn_tape_dispatch *dispatch = &list->dispatches[d];
        bool does = dispatch->node == wanted || dispatch->with[0] == wanted || dispatch->with[1] == wanted ||
                    dispatch->with[2] == wanted;
        rows |= does ? stn_pipeline_only(dispatch->row) : 0;
    }
    return rows;
}

static uint64_t vulkan_time_ns(const struct stn_backend *backend, enum stn_op op)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        sum += vulkan_in(backend)->passes[i].tape.times_ns[op] + vulkan_in(backend)->passes[i].few.times_ns[op];
    }
    return sum;
}

static const char *name_of(const struct stn_backend *backend, enum stn_op op)
{
    const struct stn_pipeline_row *row = stn_vulkan_row(backend, op);
    return row == NULL ? NULL : row->name;
}

static void vulkan_tally(const struct stn_backend *backend, struct stn_backend_tally *ret)
{
    struct stn_vulkan_stats stats;
    stn_vulkan_stats(backend, &stats);
    *ret = (struct stn_backend_tally){.n_submissions = stats.n_submissions,
                                      .n_transfers = stats.n_copies,
                                      .planned = stats.planned_size,
                                      .forward = name_of(backend, STN_OP_TERNARY),
                                      .backward = name_of(backend, STN_OP_TERNARY_BACK)};
}

static enum stn_code vulkan_peak(struct stn_backend_peak *ret, struct stn_err *err)
{
    struct stn_vulkan_env env;
    struct stn_graph graph;
    struct stn_backend *backend;
    struct stn_speed speed;
    stn_graph_init(&graph, 1, 1);
    enum stn_code code = stn_vulkan_env_read(&env, err);
    code = code != STN_OK ? code : stn_vulkan_new_bare(&backend, &graph, &env, 0, err);
    if (code == STN_OK) {
        struct vulkan *vulkan = vulkan_of(backend);
        code = stn_speed_measure(&speed, &vulkan->vram, &vulkan->pipelines, &vulkan->step, err);
        vulkan_free(backend);
    }
    if (code == STN_OK) {
        *ret = (struct stn_backend_peak){speed.f32, speed.dot8, speed.matrix_i8, speed.matrix_f16, speed.bytes};
    }
    return code;
}

const struct stn_backend_row stn_vulkan_backend = {
    .name = "vulkan",
    .new_for = vulkan_new,
    .free = vulkan_free,
    .prepare = vulkan_prepare,
    .run = vulkan_run,
    .write = vulkan_write,
    .read = vulkan_read,
    .clear = vulkan_clear,
    .piece = STN_VRAM_STAGE,
    .check = vulkan_check,
    .memory = vulkan_memory,
    .kernel = vulkan_kernel,
    .time_ns = vulkan_time_ns,
    .tally = vulkan_tally,
    .peak = vulkan_peak,
    .devices = stn_vulkan_devices,
};
