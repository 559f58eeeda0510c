#include "compute/vulkan/tape.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define MOST_PENDING 64

/* What dispatches since the last barrier touched. */
struct touched {
    VkBuffer buffer;
    uint64_t from, to;
    bool writes;
};

struct recorder {
    struct stn_tape *tape;
    struct stn_pipelines *pipelines;
    VkCommandBuffer commands; /* that is being written */
    struct touched pending[MOST_PENDING];
    size_t n_pending;
    VkPipeline bound;
};

/* ---- hazards ---- */

static bool conflicts(const struct recorder *r, const struct touched *t)
{
    for (size_t i = 0; i < r->n_pending; i++) {
        const struct touched *p = &r->pending[i];
        if (p->buffer == t->buffer && p->from < t->to && t->from < p->to && (p->writes || t->writes)) {
            return true;
        }
    }
    return false;
}

static void barrier(struct recorder *r, VkPipelineStageFlags from, VkPipelineStageFlags to, VkAccessFlags written, VkAccessFlags seen)
{
    VkMemoryBarrier all = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = written, .dstAccessMask = seen};
    r->tape->vram->gpu->vk.CmdPipelineBarrier(r->commands, from, to, 0, 1, &all, 0, NULL, 0, NULL);
    r->n_pending = 0;
    r->tape->n_barriers++;
}

static void wait_for_shaders(struct recorder *r)
{
    barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
}

static void order(struct recorder *r, const struct stn_tape_dispatch *d)
{
    struct touched own[STN_PIPELINE_BINDINGS];
    size_t n = stn_pipeline_n_bindings(d->row);
    bool waits = r->n_pending + n > MOST_PENDING;
    for (size_t i = 0; i < n; i++) {
        const struct stn_vram_span *span = &d->spans[i];
        own[i] = (struct touched){span->buffer, span->offset, span->offset + span->size, (d->written >> i & 1) != 0};
        waits = waits || conflicts(r, &own[i]);
    }
    if (waits) {
        wait_for_shaders(r);
    }
    memcpy(r->pending + r->n_pending, own, n * sizeof *own);
    r->n_pending += n;
}

/* ---- recording ---- */

static VkResult new_sets(struct recorder *r)
{
    struct stn_tape *tape = r->tape;
    const struct stn_gpu *gpu = tape->vram->gpu;
    uint32_t n_buffers = 0, n = (uint32_t)tape->list.n;
    for (size_t i = 0; i < tape->list.n; i++) {
        n_buffers += (uint32_t)stn_pipeline_n_bindings(tape->list.dispatches[i].row);
    }
    VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, n_buffers}, {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, n}};
    VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = n,
                                       .poolSizeCount = 2,
                                       .pPoolSizes = sizes};
    VkResult result = gpu->vk.CreateDescriptorPool(gpu->handle, &info, NULL, &tape->sets);
    tape->sets = result == VK_SUCCESS ? tape->sets : VK_NULL_HANDLE;
    return result;
}

static VkResult new_set(struct recorder *r, const struct stn_tape_dispatch *d, VkDescriptorSet *ret)
{
    const struct stn_gpu *gpu = r->tape->vram->gpu;
    size_t n = stn_pipeline_n_bindings(d->row);
    VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                        .descriptorPool = r->tape->sets,
                                        .descriptorSetCount = 1,
                                        .pSetLayouts = &r->pipelines->sets[n]};
    VkResult result = gpu->vk.AllocateDescriptorSets(gpu->handle, &info, ret);
    if (result != VK_SUCCESS) {
        return result;
    }
    VkDescriptorBufferInfo buffers[STN_PIPELINE_BINDINGS + 1];
    VkWriteDescriptorSet writes[STN_PIPELINE_BINDINGS + 1];
    for (size_t i = 0; i <= n; i++) {
        const struct stn_vram_span *span = i < n ? &d->spans[i] : &r->tape->config.step;
        buffers[i] = (VkDescriptorBufferInfo){span->buffer, span->offset, span->size};
        writes[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                           .dstSet = *ret,
                                           .dstBinding = i < n ? (uint32_t)i : STN_PIPELINE_STEP,
                                           .descriptorCount = 1,
                                           .descriptorType = i < n ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                                   : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                           .pBufferInfo = &buffers[i]};
    }
    gpu->vk.UpdateDescriptorSets(gpu->handle, (uint32_t)n + 1, writes, 0, NULL);
    return VK_SUCCESS;
}

static enum stn_code begin(struct recorder *r, struct stn_err *err)
{
    struct stn_tape *tape = r->tape;
    struct stn_gpu *gpu = tape->vram->gpu;
    VkCommandBuffer *grown = stn_mem_grow(tape->commands, tape->n_commands + 1, sizeof(VkCommandBuffer));
    if (grown == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for command buffers");
    }
    tape->commands = grown;
    VkCommandBufferAllocateInfo one = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                       .commandPool = tape->pool,
                                       .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                       .commandBufferCount = 1};
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult result = gpu->vk.AllocateCommandBuffers(gpu->handle, &one, &r->commands);
    if (result == VK_SUCCESS) {
        grown[tape->n_commands++] = r->commands;
        result = gpu->vk.BeginCommandBuffer(r->commands, &info);
    }
    r->bound = VK_NULL_HANDLE;
    return stn_gpu_check(gpu, result, "commands", err);
}

static void copy_all(struct recorder *r, const struct stn_tape_copy *copies, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        VkBufferCopy region = {copies[i].from.offset, copies[i].to.offset, copies[i].from.size};
        r->tape->vram->gpu->vk.CmdCopyBuffer(r->commands, copies[i].from.buffer, copies[i].to.buffer, 1, &region);
    }
}

static enum stn_code put(struct recorder *r, size_t number, struct stn_err *err)
{
    struct stn_tape *tape = r->tape;
    const struct stn_tape_dispatch *d = &tape->list.dispatches[number];
    struct stn_gpu *gpu = tape->vram->gpu;
    VkPipelineLayout layout = r->pipelines->layouts[stn_pipeline_n_bindings(d->row)];
    VkPipeline pipeline;
    VkDescriptorSet set;
    enum stn_code code = stn_pipelines_get(r->pipelines, d->row, d->constants, &pipeline, err);
    if (code == STN_OK) {
        code = stn_gpu_check(gpu, new_set(r, d, &set), "bindings", err);
    }
    if (code != STN_OK) {
        return code;
    }
    order(r, d);
    if (pipeline != r->bound) {
        gpu->vk.CmdBindPipeline(r->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
        r->bound = pipeline;
    }
    gpu->vk.CmdBindDescriptorSets(r->commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, NULL);
    gpu->vk.CmdPushConstants(r->commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof d->push, &d->push);
    gpu->vk.CmdDispatchIndirect(r->commands, tape->groups.buffer, tape->groups.offset + number * 12);
    if (tape->queries != VK_NULL_HANDLE) {
        gpu->vk.CmdWriteTimestamp(r->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, tape->queries, (uint32_t)number + 1);
    }
    return STN_OK;
}

static enum stn_code end(struct recorder *r, struct stn_err *err)
{
    struct stn_gpu *gpu = r->tape->vram->gpu;
    return stn_gpu_check(gpu, gpu->vk.EndCommandBuffer(r->commands), "commands", err);
}

static void open_run(struct recorder *r)
{
    struct stn_tape *tape = r->tape;
    const struct stn_gpu *gpu = tape->vram->gpu;
    if (tape->queries != VK_NULL_HANDLE) {
        gpu->vk.CmdResetQueryPool(r->commands, tape->queries, 0, (uint32_t)tape->list.n + 1);
        gpu->vk.CmdWriteTimestamp(r->commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, tape->queries, 0);
    }
    if (tape->config.n_ins > 0) {
        copy_all(r, tape->config.ins, tape->config.n_ins);
        barrier(r, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
                VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
    }
}

static void close_run(struct recorder *r)
{
    const struct stn_tape_config *config = &r->tape->config;
    if (config->n_outs > 0) {
        barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_ACCESS_TRANSFER_READ_BIT);
        copy_all(r, config->outs, config->n_outs);
        barrier(r, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
                VK_ACCESS_HOST_READ_BIT);
    } else {
        barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_ACCESS_HOST_READ_BIT);
    }
}

static enum stn_code record_all(struct recorder *r, struct stn_err *err)
{
    struct stn_tape *tape = r->tape;
    uint64_t cost = 0;
    enum stn_code code = begin(r, err);
    if (code == STN_OK) {
        open_run(r);
    }
    for (size_t i = 0; i < tape->list.n && code == STN_OK; i++) {
        uint64_t own = tape->list.dispatches[i].cost;
        if (tape->config.split > 0 && cost > 0 && cost + own > tape->config.split) {
            wait_for_shaders(r);
            code = end(r, err);
            code = code != STN_OK ? code : begin(r, err);
            cost = 0;
        }
        code = code != STN_OK ? code : put(r, i, err);
        cost += own;
    }
    if (code != STN_OK) {
        return code;
    }
    close_run(r);
    return end(r, err);
}

enum stn_code stn_tape_init(struct stn_tape *tape, struct stn_vram *vram, struct stn_pipelines *pipelines,
                              struct stn_tape_list *take_list, const struct stn_tape_config *config, struct stn_err *err)
{
    struct stn_gpu *gpu = vram->gpu;
    *tape = (struct stn_tape){.vram = vram, .list = *take_list, .config = *config};
    *take_list = (struct stn_tape_list){0};
    struct recorder r = {.tape = tape, .pipelines = pipelines};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, .queueFamilyIndex = gpu->family};
    VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                     .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                     .queryCount = (uint32_t)tape->list.n + 1};
    assert(tape->list.n > 0);
    VkResult result = gpu->vk.CreateCommandPool(gpu->handle, &pool, NULL, &tape->pool);
    tape->pool = result == VK_SUCCESS ? tape->pool : VK_NULL_HANDLE;
    if (result == VK_SUCCESS && config->times && gpu->caps.timestamp_ns > 0) {
        result = gpu->vk.CreateQueryPool(gpu->handle, &queries, NULL, &tape->queries);
        tape->queries = result == VK_SUCCESS ? tape->queries : VK_NULL_HANDLE;
    }
    if (result == VK_SUCCESS) {
        result = new_sets(&r);
    }
    enum stn_code code = stn_gpu_check(gpu, result, "a recording", err);
    if (code == STN_OK) {
        code = stn_vram_take_alone(vram, tape->list.n * 12, true, "work groups", &tape->groups, err);
    }
    if (code == STN_OK) {
        code = record_all(&r, err);
    }
    tape->config.ins = tape->config.outs = NULL; /* they were borrowed */
    if (code != STN_OK) {
        stn_tape_fini(tape);
    }
    return code;
}

void stn_tape_fini(struct stn_tape *tape)
{
    if (tape->vram == NULL || !stn_vram_rests(tape->vram)) {
        return;
    }
    const struct stn_gpu *gpu = tape->vram->gpu;
    gpu->vk.DestroyQueryPool(gpu->handle, tape->queries, NULL);
    gpu->vk.DestroyDescriptorPool(gpu->handle, tape->sets, NULL);
    gpu->vk.DestroyCommandPool(gpu->handle, tape->pool, NULL);
    if (tape->groups.buffer != VK_NULL_HANDLE) {
        stn_vram_drop(tape->vram, &tape->groups);
    }
    stn_mem_free(tape->commands);
    stn_tape_list_fini(&tape->list);
    *tape = (struct stn_tape){0};
}

/* ---- a run ---- */

static uint32_t today(uint32_t rows, size_t n_tokens, size_t n_targets)
{
    uint32_t extent = rows >> 30;
    return extent == STN_EXTENT_FIXED ? rows : (uint32_t)(extent == STN_EXTENT_TOKENS ? n_tokens : n_targets);
}

/* How many work groups each dispatch has today. */
static void fill_groups(const struct stn_tape *tape, size_t n_tokens, size_t n_targets)
{
    uint32_t *groups = (uint32_t *)(void *)tape->groups.mapped;
    for (size_t i = 0; i < tape->list.n; i++, groups += 3) {
        const struct stn_tape_dispatch *d = &tape->list.dispatches[i];
        uint32_t rows = today(d->push.rows, n_tokens, n_targets), count;
        count = rows <= d->push.first ? 0 : rows - d->push.first < d->push.count ? rows - d->push.first : d->push.count;
        count = d->row->sums ? d->push.out_rows : count;
        groups[0] = d->groups_x;
        groups[1] = d->tile_y == 0 ? 1 : (count + d->tile_y - 1) / d->tile_y;
        groups[2] = 1;
    }
}

static enum stn_code take_times(struct stn_tape *tape, struct stn_err *err)
{
    struct stn_gpu *gpu = tape->vram->gpu;
    size_t n = tape->list.n + 1;
    uint64_t *times = stn_mem_new(n, sizeof *times);
    if (times == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu times", n);
    }
    VkResult result = gpu->vk.GetQueryPoolResults(gpu->handle, tape->queries, 0, (uint32_t)n, n * sizeof *times, times,
                                                     sizeof *times, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    for (size_t i = 0; i + 1 < n && result == VK_SUCCESS; i++) {
        double ticks = times[i + 1] > times[i] ? (double)(times[i + 1] - times[i]) : 0;
        tape->times_ns[tape->list.dispatches[i].node->op] += (uint64_t)(ticks * (double)gpu->caps.timestamp_ns);
    }
    stn_mem_free(times);
    return stn_gpu_check(gpu, result, "reading times", err);
}

enum stn_code stn_tape_run(struct stn_tape *tape, size_t n_tokens, size_t n_targets, uint64_t *n_submissions,
                             struct stn_err *err)
{
    uint32_t step[2] = {(uint32_t)n_tokens, (uint32_t)n_targets};
    memcpy(tape->config.step.mapped, step, sizeof step);
    fill_groups(tape, n_tokens, n_targets);
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < tape->n_commands && code == STN_OK; i++) {
        code = stn_vram_submit(tape->vram, &tape->commands[i], 1, "a step", err);
        ++*n_submissions;
    }
    if (code == STN_OK && tape->queries != VK_NULL_HANDLE) {
        code = take_times(tape, err);
    }
    return code;
}
