#include "compute/vulkan/speed.h"

#include <time.h>

#include "base/mem.h"
#include "compute/vulkan/tape.h"
#include "all_spv.h"

#define LONG 0.02          /* seconds of a loop that is measured */
#define TURNS 3            /* of which the best counts */
#define MOST_ROUNDS (1u << 20)
#define GROUPS 8192        /* of 64 invocations */
#define MATRIX_GROUPS 512  /* of four subgroups */

#define LOOP(shader) .name = #shader, .code = shader##_code, .size = sizeof shader##_code, .bindings = {STN_PIPELINE_OUT(0), STN_PIPELINE_END}

/* Rows of the same kind as the pipeline table's, which no graph asks for. */
static const struct loop {
    struct stn_pipeline_row row;
    size_t where; /* in struct stn_speed */
    size_t reads; /* bytes of an invocation's round; 0: it multiplies */
} loops[] = {
    {{LOOP(speed_f32)}, offsetof(struct stn_speed, f32)},
    {{LOOP(speed_bytes)}, offsetof(struct stn_speed, bytes), 256},
#ifdef STN_HAS_SHADER_DOT8
    {{LOOP(speed_dot8), .needs = STN_PIPELINE_DOT8}, offsetof(struct stn_speed, dot8)},
#endif
#ifdef STN_HAS_SHADER_MATRIX
    {{LOOP(speed_matrix_i8), .needs = STN_PIPELINE_MATRIX_I8, .shape = STN_PIPELINE_MATRIX, .tile_x = 64},
     offsetof(struct stn_speed, matrix_i8)},
    {{LOOP(speed_matrix_f16), .needs = STN_PIPELINE_MATRIX_F16, .shape = STN_PIPELINE_MATRIX, .tile_x = 64},
     offsetof(struct stn_speed, matrix_f16)},
#endif
};

struct meter {
    struct stn_vram *vram;
    struct stn_pipelines *pipelines;
    struct stn_tape_config config;
    struct stn_vram_span out;
};

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t groups_of(const struct stn_pipeline_row *row)
{
    return row->shape == STN_PIPELINE_MATRIX ? MATRIX_GROUPS : GROUPS;
}

/* MACs, or bytes, of a round of all groups: see the shaders. */
static double work_of(const struct stn_gpu_caps *caps, const struct loop *loop)
{
    const struct stn_pipeline_row *row = &loop->row;
    const struct stn_gpu_matrix *m = (row->needs & STN_PIPELINE_MATRIX_I8) != 0 ? &caps->matrix_i8 : &caps->matrix_f16;
    if (row->shape == STN_PIPELINE_MATRIX) {
        return (double)MATRIX_GROUPS * STN_GPU_SUBGROUPS * 4 * m->m * m->n * m->k;
    }
    return (double)GROUPS * 64 * (double)(loop->reads > 0 ? loop->reads : (row->needs & STN_PIPELINE_DOT8) != 0 ? 256 : 64);
}

static size_t bytes_of(const struct stn_gpu_caps *caps, const struct loop *loop)
{
    const struct stn_pipeline_row *row = &loop->row;
    const struct stn_gpu_matrix *m = (row->needs & STN_PIPELINE_MATRIX_I8) != 0 ? &caps->matrix_i8 : &caps->matrix_f16;
    return row->shape == STN_PIPELINE_MATRIX ? (size_t)MATRIX_GROUPS * STN_GPU_SUBGROUPS * m->m * m->n * 4
                                               : (size_t)GROUPS * 64 * (loop->reads > 0 ? loop->reads : 4);
}

static enum stn_code time_rounds(struct meter *meter, const struct stn_pipeline_row *row, uint32_t rounds, double *ret_s,
                                 struct stn_err *err)
{
    static const struct stn_node node = {.op = STN_OP_COPY};
    struct stn_tape tape = {0};
    struct stn_tape_list list = {.dispatches = stn_mem_new(1, sizeof *list.dispatches), .n = 1, .room = 1};
    uint64_t n_submissions = 0;
    if (list.dispatches == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a measurement");
    }
    struct stn_tape_dispatch *d = &list.dispatches[0];
    *d = (struct stn_tape_dispatch){.row = row, .node = &node, .groups_x = groups_of(row)};
    d->push = (struct stn_tape_push){.rows = 1, .count = 1, .extra = {rounds, 1}};
    d->spans[0] = meter->out;
    stn_pipeline_constants(row, &meter->vram->gpu->caps, 0, d->constants);
    enum stn_code code = stn_tape_init(&tape, meter->vram, meter->pipelines, &list, &meter->config, err);
    double best = 0;
    for (int turn = 0; turn < TURNS && code == STN_OK; turn++) {
        double from = now_s();
        code = stn_tape_run(&tape, 0, 0, &n_submissions, err);
        double took = now_s() - from;
        best = turn == 0 || took < best ? took : best;
    }
    *ret_s = best;
    stn_tape_fini(&tape);
    return code;
}

static enum stn_code measure(struct meter *meter, const struct loop *loop, double *ret, struct stn_err *err)
{
    const struct stn_gpu_caps *caps = &meter->vram->gpu->caps;
    enum stn_code code = stn_vram_take_alone(meter->vram, bytes_of(caps, loop), false, "a measurement", &meter->out, err);
    double took = 0;
    uint32_t rounds = 1;
    if (code != STN_OK) {
        return code == STN_MEMORY ? STN_OK : code; /* a model fills the device: it is not measured */
    }
    code = stn_vram_clear(meter->vram, &meter->out, err); /* pages that nobody has written may be one */
    code = code != STN_OK ? code : time_rounds(meter, &loop->row, rounds, &took, err);
    while (code == STN_OK && took < LONG && rounds < MOST_ROUNDS) {
        rounds *= 4;
        code = time_rounds(meter, &loop->row, rounds, &took, err);
    }
    *ret = took > 0 ? work_of(caps, loop) * rounds / took : 0;
    stn_vram_drop(meter->vram, &meter->out);
    return code;
}

enum stn_code stn_speed_measure(struct stn_speed *ret, struct stn_vram *vram, struct stn_pipelines *pipelines,
                                const struct stn_vram_span *step, struct stn_err *err)
{
    struct meter meter = {.vram = vram, .pipelines = pipelines, .config = {.step = *step}};
    uint32_t has = stn_pipeline_device(&vram->gpu->caps);
    enum stn_code code = STN_OK;
    *ret = (struct stn_speed){0};
    for (size_t i = 0; i < sizeof loops / sizeof loops[0] && code == STN_OK; i++) {
        if ((loops[i].row.needs & ~has) == 0) {
            code = measure(&meter, &loops[i], (double *)(void *)((char *)ret + loops[i].where), err);
        }
    }
    return code;
}
