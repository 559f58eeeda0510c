#include "compute/cpu/cpu.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "compute/cpu/kernel.h"
#include "compute/cpu/schedule.h"
#include "compute/cpu/team.h"
#include "compute/cpu/ternary_room.h"
#include "compute/plan.h"

#define PIECE ((size_t)4 << 10) /* stays in the nearest cache */
#define WORTH_A_TEAM 8000 /* nanoseconds: some times what it takes when nobody sleeps yet */

/* A pass made ready: each node's call with pointers resolved, rows at capacity until it runs. */
struct recording {
    struct stn_plan plan;
    struct stn_kernel_call *calls;
    size_t *lengths; /* of the step that begins with a call, in calls; 0: it is not the first of one */
    size_t n_calls;
};

struct cpu {
    struct stn_backend base;
    const struct stn_graph *graph;
    struct stn_team *team;
    char **lasting; /* by tensor; NULL where it is no lasting one or a view */
    size_t n_lasting, lasting_size;
    char *arena;
    size_t arena_size;
    char *scratch; /* scratch_size bytes for each member of the team */
    size_t scratch_size;
    struct stn_ternary_room *room; /* where hollow matrices come in; NULL while there are none */
    struct stn_ternary_room_size room_size;
    struct stn_matrix unpacked; /* the one that is in it */
    struct recording recordings[STN_GRAPH_PASSES];
    uint64_t took_ns[STN_N_OPS];
};

static struct cpu *cpu_of(struct stn_backend *backend)
{
    assert(backend->row == &stn_cpu_backend);
    return (struct cpu *)(void *)backend;
}

static void forget(struct recording *recording)
{
    stn_plan_fini(&recording->plan);
    stn_mem_free(recording->calls);
    stn_mem_free(recording->lengths);
    *recording = (struct recording){0};
}

static void cpu_free(struct stn_backend *backend)
{
    if (backend == NULL) {
        return;
    }
    struct cpu *cpu = cpu_of(backend);
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        forget(&cpu->recordings[i]);
    }
    for (size_t i = 0; i < cpu->n_lasting; i++) {
        stn_mem_free(cpu->lasting[i]);
    }
    stn_mem_free(cpu->lasting);
    stn_mem_free(cpu->arena);
    stn_mem_free(cpu->scratch);
    stn_ternary_room_free(cpu->room);
    stn_team_free(cpu->team);
    stn_mem_free(cpu);
}

static enum stn_code cpu_new(struct stn_backend **ret, const struct stn_graph *graph, unsigned n_threads, struct stn_err *err)
{
    struct cpu *cpu = stn_mem_new(1, sizeof *cpu);
    if (cpu == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a backend");
    }
    cpu->base.row = &stn_cpu_backend;
    cpu->graph = graph;
    enum stn_code code = stn_team_new(&cpu->team, n_threads, err);
    if (code != STN_OK) {
        cpu_free(&cpu->base);
        return code;
    }
    *ret = &cpu->base;
    return STN_OK;
}

/* Where a tensor's first byte is, by the pass's plan. */
static void *place_of(const struct cpu *cpu, const struct stn_plan *plan, uint32_t tensor)
{
    const struct stn_tensor *t = &cpu->graph->tensors[tensor];
    if (t->life == STN_LIFE_CONSTANT) {
        return (void *)(uintptr_t)t->data; /* kernels do not write constants */
    }
    uint32_t root = stn_graph_root(cpu->graph, tensor);
    size_t offset = t->base == STN_OP_NONE ? 0 : t->offset * sizeof(float);
    if (t->life == STN_LIFE_LASTING) {
        return cpu->lasting[root] + offset;
    }
    return cpu->arena + stn_plan_find(plan, root)->offset + offset;
}

static struct stn_kernel_view view_of(const struct cpu *cpu, const struct stn_plan *plan, uint32_t tensor)
{
    if (tensor == STN_OP_NONE) {
        return (struct stn_kernel_view){0};
    }
    const struct stn_shape *shape = stn_graph_shape(cpu->graph, tensor);
    struct stn_kernel_view view = {.rows = shape->rows, .cols = shape->cols, .dtype = shape->dtype};
    view.p = place_of(cpu, plan, tensor);
    if (shape->dtype == STN_DTYPE_Q8) {
        view.scale = (float *)(void *)(view.q + stn_graph_size(shape) - shape->rows * sizeof(float));
    }
    return view;
}

static struct stn_schedule_range range_of(const struct cpu *cpu, uint32_t tensor, const struct stn_kernel_view *view)
{
    if (tensor == STN_OP_NONE || cpu->graph->tensors[tensor].life == STN_LIFE_CONSTANT) {
        return (struct stn_schedule_range){0};
    }
    const char *from = view->data;
    return (struct stn_schedule_range){from, from + stn_graph_size(stn_graph_shape(cpu->graph, tensor))};
}

/* The frozen weights that a call reads and that leave memory again, or NULL. */
static const struct stn_matrix *streamed(const struct stn_kernel_call *call)
{
    const struct stn_matrix *matrix = call->in[1].data;
    bool is_ternary = call->node->op == STN_OP_TERNARY || call->node->op == STN_OP_TERNARY_BACK;
    return is_ternary && matrix->streams ? matrix : NULL;
}

/* Raises *most to hold the hollow matrix that a call reads, if it reads one. */
static void raise_room(struct stn_ternary_room_size *most, const struct stn_kernel_call *call)
{
    const struct stn_matrix *matrix = streamed(call);
    if (matrix != NULL && stn_ternary_is_hollow(matrix->packed)) {
        stn_ternary_room_raise(most, matrix->source.rows, matrix->source.cols);
    }
}

static void resolve(struct cpu *cpu, size_t pass, struct stn_schedule_use *uses)
{
    struct recording *recording = &cpu->recordings[pass];
    for (size_t n = 0; n < recording->n_calls; n++) {
        struct stn_kernel_call *call = &recording->calls[n];
        const struct stn_node *node = &cpu->graph->passes[pass].nodes[n];
        const struct stn_op_row *row = stn_op_row(node->op);
        *call = (struct stn_kernel_call){.node = node};
        uses[n] = (struct stn_schedule_use){.alone = false};
        for (size_t i = 0; i < row->n_inputs; i++) {
            call->in[i] = view_of(cpu, &recording->plan, node->in[i]);
            uses[n].in[i] = range_of(cpu, node->in[i], &call->in[i]);
        }
        for (size_t i = 0; i < row->n_outputs; i++) {
            call->out[i] = view_of(cpu, &recording->plan, node->out[i]);
            uses[n].out[i] = range_of(cpu, node->out[i], &call->out[i]);
        }
        uses[n].alone = streamed(call) != NULL; /* there is room for one in use and one on its way */
    }
    for (size_t n = 0; n < recording->n_calls; n += recording->lengths[n]) {
        recording->lengths[n] = stn_schedule_length(recording->calls + n, uses + n, recording->n_calls - n);
    }
}

static enum stn_code no_memory(size_t size, const char *what, struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for %zu bytes of %s", size, what);
}

/* Memory for lasting tensors that came since the last pass was prepared. */
static enum stn_code find_lasting(struct cpu *cpu, struct stn_err *err)
{
    const struct stn_graph *graph = cpu->graph;
    char **grown = stn_mem_grow(cpu->lasting, graph->n_tensors, sizeof *grown);
    if (grown == NULL) {
        return no_memory(graph->n_tensors * sizeof *grown, "tensors", err);
    }
    cpu->lasting = grown;
    for (; cpu->n_lasting < graph->n_tensors; cpu->n_lasting++) {
        const struct stn_tensor *t = &graph->tensors[cpu->n_lasting];
        grown[cpu->n_lasting] = NULL;
        if (t->life != STN_LIFE_LASTING || t->base != STN_OP_NONE) {
            continue;
        }
        size_t size = stn_graph_size(&t->shape);
        grown[cpu->n_lasting] = stn_mem_aligned(size, 1);
        if (grown[cpu->n_lasting] == NULL) {
            return no_memory(size, "lasting tensors", err);
        }
        cpu->lasting_size += size;
    }
    return STN_OK;
}

/* Makes *p at least so big; what was in it is gone. */
static enum stn_code widen(char **p, size_t *size, size_t wanted, size_t n, const char *what, struct stn_err *err)
{
    if (wanted <= *size) {
        return STN_OK;
    }
    stn_mem_free(*p);
    *size = 0;
    *p = stn_mem_aligned(n, wanted);
    if (*p == NULL) {
        return no_memory(n * wanted, what, err);
    }
    *size = wanted;
    return STN_OK;
}

static size_t scratch_of(const struct recording *recording)
{
    size_t most = 0;
    for (size_t n = 0; n < recording->n_calls; n++) {
        const struct stn_kernel *kernel = stn_kernel_row(recording->calls[n].node->op);
        size_t size = kernel->scratch(&recording->calls[n]);
        most = size > most ? size : most;
    }
    return (most + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN;
}

static enum stn_code find_room(struct cpu *cpu, const struct recording *recording, struct stn_err *err)
{
    struct stn_ternary_room_size most = cpu->room_size;
    for (size_t n = 0; n < recording->n_calls; n++) {
        raise_room(&most, &recording->calls[n]);
    }
    if (memcmp(&most, &cpu->room_size, sizeof most) == 0) {
        return STN_OK;
    }
    stn_ternary_room_free(cpu->room);
    cpu->room = NULL;
    enum stn_code code = stn_ternary_room_new(&cpu->room, &most, stn_team_size(cpu->team), err);
    cpu->room_size = code == STN_OK ? most : (struct stn_ternary_room_size){0};
    return code;
}

/* The plan and the calls of a pass, and places for all tensors; the arena may move, and every pass with it. uses: room for as
 * many calls as any pass has. */
static enum stn_code record(struct cpu *cpu, size_t pass, struct stn_schedule_use *uses, struct stn_err *err)
{
    struct recording *recording = &cpu->recordings[pass];
    size_t n_calls = cpu->graph->passes[pass].n_nodes;
    enum stn_code code = stn_plan_init(&recording->plan, cpu->graph, pass, 0, err);
    if (code != STN_OK) {
        return code;
    }
    recording->calls = stn_mem_new(n_calls, sizeof *recording->calls);
    recording->lengths = stn_mem_new(n_calls, sizeof *recording->lengths);
    if (recording->calls == NULL || recording->lengths == NULL) {
        return no_memory(n_calls * sizeof *recording->calls, "calls", err);
    }
    code = find_lasting(cpu, err);
    if (code == STN_OK) {
        code = widen(&cpu->arena, &cpu->arena_size, recording->plan.size, 1, "activations", err);
    }
    if (code != STN_OK) {
        return code;
    }
    recording->n_calls = n_calls;
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        resolve(cpu, i, uses);
    }
    code = find_room(cpu, recording, err);
    return code != STN_OK
               ? code
               : widen(&cpu->scratch, &cpu->scratch_size, scratch_of(recording), stn_team_size(cpu->team), "scratch", err);
}

static enum stn_code cpu_prepare(struct stn_backend *backend, size_t pass, struct stn_err *err)
{
    struct cpu *cpu = cpu_of(backend);
    assert(pass < STN_GRAPH_PASSES && cpu->recordings[pass].calls == NULL);
    if (cpu->graph->failed) {
        return stn_err_set(err, STN_MEMORY, "no memory for a graph of %zu tensors", cpu->graph->n_tensors);
    }
    size_t most = 0;
    for (size_t i = 0; i < STN_GRAPH_PASSES; i++) {
        most = cpu->graph->passes[i].n_nodes > most ? cpu->graph->passes[i].n_nodes : most;
    }
    struct stn_schedule_use *uses = stn_mem_new(most, sizeof *uses);
    if (uses == NULL) {
        return no_memory(most * sizeof *uses, "a schedule", err);
    }
    enum stn_code code = record(cpu, pass, uses, err);
    stn_mem_free(uses);
    if (code != STN_OK) {
        forget(&cpu->recordings[pass]);
    }
    return code;
}

struct work {
    const struct cpu *cpu;
    struct stn_schedule_step step;
};

static void run_units(void *user, unsigned member, size_t first, size_t count)
{
    const struct work *work = user;
    stn_schedule_run(&work->step, first, count, work->cpu->scratch + member * work->cpu->scratch_size);
}

static void run_calls(struct cpu *cpu, const struct stn_kernel_call *calls, size_t n)
{
    struct work work = {.cpu = cpu};
    stn_schedule_fill(&work.step, calls, n);
    if (stn_schedule_work(&work.step) < WORTH_A_TEAM) {
        run_units(&work, 0, 0, work.step.n_units);
    } else {
        stn_team_run(cpu->team, run_units, &work, work.step.n_units);
    }
}

/* A hollow matrix comes into the room, and the call reads it there. */
static void take_in(struct cpu *cpu, struct stn_kernel_call *call, const struct stn_matrix *matrix)
{
    cpu->unpacked = (struct stn_matrix){.source = matrix->source, .packed = stn_ternary_room_pack(cpu->room, cpu->team, &matrix->source)};
    call->in[1].data = &cpu->unpacked;
}

/* While a product runs the next one's weights are read ahead; its own are dropped behind it. */
static void run_step(struct cpu *cpu, struct recording *recording, size_t first)
{
    struct stn_kernel_call *call = &recording->calls[first];
    const struct stn_matrix *own = streamed(call);
    for (size_t next = first + 1; own != NULL && next < recording->n_calls; next++) {
        const struct stn_matrix *other = streamed(&recording->calls[next]);
        if (other != NULL) {
            stn_ternary_page(other->packed, &other->source, true);
            break;
        }
    }
    if (own != NULL && stn_ternary_is_hollow(own->packed)) {
        take_in(cpu, call, own);
    }
    run_calls(cpu, call, recording->lengths[first]);
    if (own != NULL) {
        call->in[1].data = own;
        stn_ternary_page(own->packed, &own->source, false);
    }
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void set_rows(const struct cpu *cpu, struct stn_kernel_view *views, const uint32_t *tensors, size_t n, size_t n_tokens,
                     size_t n_targets)
{
    for (size_t i = 0; i < n; i++) {
        if (tensors[i] != STN_OP_NONE) {
            views[i].rows = stn_graph_rows(stn_graph_shape(cpu->graph, tensors[i]), n_tokens, n_targets);
        }
    }
}

static enum stn_code cpu_run(struct stn_backend *backend, size_t pass, size_t n_tokens, size_t n_targets, struct stn_err *err)
{
    struct cpu *cpu = cpu_of(backend);
    struct recording *recording = &cpu->recordings[pass];
    (void)err; /* a processor does not fail */
    assert(recording->calls != NULL && n_tokens <= cpu->graph->max_tokens && n_targets <= cpu->graph->max_targets);
    for (size_t n = 0; n < recording->n_calls; n++) {
        struct stn_kernel_call *call = &recording->calls[n];
        const struct stn_op_row *row = stn_op_row(call->node->op);
        set_rows(cpu, call->in, call->node->in, row->n_inputs, n_tokens, n_targets);
        set_rows(cpu, call->out, call->node->out, row->n_outputs, n_tokens, n_targets);
    }
    uint64_t then = now_ns();
    for (size_t n = 0; n < recording->n_calls; n += recording->lengths[n]) {
        run_step(cpu, recording, n);
        uint64_t now = now_ns();
        cpu->took_ns[recording->calls[n].node->op] += now - then; /* the op that a step begins with stands for all of it */
        then = now;
    }
    return STN_OK;
}

static char *bytes_of(const struct cpu *cpu, uint32_t tensor, size_t offset, size_t size)
{
    assert(tensor < cpu->n_lasting && cpu->lasting[tensor] != NULL);
    assert(offset + size <= stn_graph_size(stn_graph_shape(cpu->graph, tensor)));
    (void)size;
    return cpu->lasting[tensor] + offset;
}

static void cpu_write(struct stn_backend *backend, uint32_t tensor, size_t offset, const void *p, size_t size)
{
    memcpy(bytes_of(cpu_of(backend), tensor, offset, size), p, size);
}

static void cpu_read(const struct stn_backend *backend, uint32_t tensor, size_t offset, void *p, size_t size)
{
    memcpy(p, bytes_of((const struct cpu *)(const void *)backend, tensor, offset, size), size);
}

static void cpu_clear(struct stn_backend *backend, uint32_t tensor)
{
    struct cpu *cpu = cpu_of(backend);
    size_t size = stn_graph_size(stn_graph_shape(cpu->graph, tensor));
    memset(bytes_of(cpu, tensor, 0, size), 0, size);
}

static struct stn_backend_memory cpu_memory(const struct stn_backend *backend)
{
    const struct cpu *cpu = (const struct cpu *)(const void *)backend;
    size_t scratch = cpu->scratch_size * stn_team_size(cpu->team);
    scratch += cpu->room == NULL ? 0 : stn_ternary_room_bytes(&cpu->room_size, stn_team_size(cpu->team));
    return (struct stn_backend_memory){.arena = cpu->arena_size, .lasting = cpu->lasting_size, .scratch = scratch};
}

static struct stn_kernel_view shape_of(const struct stn_graph *graph, uint32_t tensor)
{
    struct stn_kernel_view view = {0};
    if (tensor != STN_OP_NONE) {
        const struct stn_shape *shape = stn_graph_shape(graph, tensor);
        view = (struct stn_kernel_view){.rows = shape->rows, .cols = shape->cols, .dtype = shape->dtype};
        view.data = graph->tensors[tensor].data;
    }
    return view;
}

static size_t cpu_scratch(const struct stn_graph *graph, size_t pass, unsigned n_threads)
{
    struct stn_ternary_room_size room = {0};
    size_t most = 0;
    for (size_t n = 0; n < graph->passes[pass].n_nodes; n++) {
        const struct stn_node *node = &graph->passes[pass].nodes[n];
        const struct stn_op_row *row = stn_op_row(node->op);
        const struct stn_kernel *kernel = stn_kernel_row(node->op);
        struct stn_kernel_call call = {.node = node};
        for (size_t i = 0; i < row->n_inputs; i++) {
            call.in[i] = shape_of(graph, node->in[i]);
        }
        for (size_t i = 0; i < row->n_outputs; i++) {
            call.out[i] = shape_of(graph, node->out[i]);
        }
        size_t size = kernel->scratch(&call);
        most = size > most ? size : most;
        raise_room(&room, &call);
    }
    return n_threads * ((most + STN_MEM_ALIGN - 1) / STN_MEM_ALIGN * STN_MEM_ALIGN) +
           (room.cols == 0 ? 0 : stn_ternary_room_bytes(&room, n_threads));
}

static const char *cpu_kernel(const struct stn_backend *backend)
{
    (void)backend;
    return stn_ternary_kernel();
}

static uint64_t cpu_time_ns(const struct stn_backend *backend, enum stn_op op)
{
    return ((const struct cpu *)(const void *)backend)->took_ns[op];
}

static enum stn_code cpu_devices(void (*see)(void *user, const struct stn_backend_device *device), void *user, struct stn_err *err)
{
    (void)err; /* there is one */
    see(user, &(struct stn_backend_device){.name = stn_ternary_kernel(), .type = "cpu", .caps = ""});
    return STN_OK;
}

const struct stn_backend_row stn_cpu_backend = {
    .name = "cpu",
    .new_for = cpu_new,
    .free = cpu_free,
    .prepare = cpu_prepare,
    .run = cpu_run,
    .write = cpu_write,
    .read = cpu_read,
    .clear = cpu_clear,
    .piece = PIECE,
    .memory = cpu_memory,
    .scratch = cpu_scratch,
    .kernel = cpu_kernel,
    .time_ns = cpu_time_ns,
    .devices = cpu_devices,
};
