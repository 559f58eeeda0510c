#include "compute/vulkan/arena.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define NO_TYPE UINT32_MAX
#define TIMEOUT_NS ((uint64_t)120 * 1000 * 1000 * 1000) /* a device that is silent for so long is lost to us */

enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT
};

/* The first type among BITS that has all that is wanted. Drivers list the best first. */
static uint32_t find_type(const struct stn_device *device, uint32_t bits, VkMemoryPropertyFlags wanted)
{
    for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++) {
        if ((bits >> i & 1) != 0 && (device->memory.memoryTypes[i].propertyFlags & wanted) == wanted) {
            return i;
        }
    }
    return NO_TYPE;
}

static uint32_t choose_type(const struct stn_device *device, uint32_t bits, bool host)
{
    const VkMemoryPropertyFlags ours[] = {VISIBLE | CACHED, VISIBLE}, unified[] = {LOCAL | VISIBLE, LOCAL};
    const VkMemoryPropertyFlags *list = host ? ours : device->caps.unified ? unified : unified + 1;
    uint32_t type = find_type(device, bits, list[0]);
    if (type == NO_TYPE && list != unified + 1) {
        type = find_type(device, bits, list[1]);
    }
    return type;
}

static void free_block(const struct stn_device *device, struct stn_arena_block *block)
{
    if (block->buffer != VK_NULL_HANDLE) {
        device->vk.DestroyBuffer(device->handle, block->buffer, NULL);
    }
    if (block->memory != VK_NULL_HANDLE) {
        device->vk.FreeMemory(device->handle, block->memory, NULL);
    }
    *block = (struct stn_arena_block){0};
}

static VkResult back_block(const struct stn_device *device, struct stn_arena_block *block)
{
    VkMemoryRequirements needs;
    device->vk.GetBufferMemoryRequirements(device->handle, block->buffer, &needs);
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size};
    allocate.memoryTypeIndex = choose_type(device, needs.memoryTypeBits, block->host);
    if (allocate.memoryTypeIndex == NO_TYPE) {
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    VkResult result = device->vk.AllocateMemory(device->handle, &allocate, NULL, &block->memory);
    if (result != VK_SUCCESS) {
        block->memory = VK_NULL_HANDLE;
        return result;
    }
    result = device->vk.BindBufferMemory(device->handle, block->buffer, block->memory, 0);
    if (result == VK_SUCCESS && (block->host || device->caps.unified)) {
        void *p = NULL;
        result = device->vk.MapMemory(device->handle, block->memory, 0, VK_WHOLE_SIZE, 0, &p);
        block->mapped = p;
    }
    return result;
}

static enum stn_code new_block(struct stn_arena *arena, uint64_t size, bool host, const char *what, size_t *ret,
                               struct stn_err *err)
{
    struct stn_device *device = arena->device;
    if (size > device->caps.allocation || (arena->limit > 0 && size > arena->limit - arena->total)) {
        return stn_err_set(err, STN_MEMORY, "%.100s: no memory for %llu bytes of %s, %llu are taken", device->caps.name,
                           (unsigned long long)size, what, (unsigned long long)arena->total);
    }
    struct stn_arena_block *grown = stn_mem_grow(arena->blocks, arena->n_blocks + 1, sizeof *grown);
    if (grown == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a list of blocks");
    }
    arena->blocks = grown;
    struct stn_arena_block *block = &grown[arena->n_blocks];
    *block = (struct stn_arena_block){.size = size, .host = host};
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = size,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT |
                                        VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                               .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    VkResult result = device->vk.CreateBuffer(device->handle, &info, NULL, &block->buffer);
    if (result == VK_SUCCESS) {
        result = back_block(device, block);
    } else {
        block->buffer = VK_NULL_HANDLE;
    }
    if (result != VK_SUCCESS) {
        free_block(device, block);
        return stn_device_check(device, result, what, err);
    }
    *ret = arena->n_blocks++;
    arena->total += size;
    return STN_OK;
}

static struct stn_arena_span cut(struct stn_arena_block *block, uint64_t size)
{
    struct stn_arena_span span = {.buffer = block->buffer, .offset = block->used, .size = size};
    span.mapped = block->mapped == NULL ? NULL : block->mapped + block->used;
    block->used += (size + STN_ARENA_ALIGN - 1) / STN_ARENA_ALIGN * STN_ARENA_ALIGN;
    return span;
}

/* Zeroes through the stage, or where it lies. */
static enum stn_code clear(struct stn_arena *arena, const struct stn_arena_span *span, struct stn_err *err)
{
    if (span->mapped != NULL) {
        memset(span->mapped, 0, span->size);
        return STN_OK;
    }
    static const char zeroes[65536];
    enum stn_code code = STN_OK;
    for (uint64_t at = 0; at < span->size && code == STN_OK; at += sizeof zeroes) {
        size_t n = span->size - at < sizeof zeroes ? (size_t)(span->size - at) : sizeof zeroes;
        code = stn_arena_write(arena, span, at, zeroes, n, err);
    }
    return code;
}

static enum stn_code take(struct stn_arena *arena, uint64_t size, bool host, const char *what, struct stn_arena_span *ret,
                          struct stn_err *err)
{
    assert(size > 0);
    size_t number = 0;
    uint64_t rounded = (size + STN_ARENA_ALIGN - 1) / STN_ARENA_ALIGN * STN_ARENA_ALIGN;
    while (number < arena->n_blocks &&
           (arena->blocks[number].host != host || arena->blocks[number].alone || arena->blocks[number].size - arena->blocks[number].used < rounded)) {
        number++;
    }
    if (number == arena->n_blocks) {
        uint64_t block = host ? STN_ARENA_SHARED : STN_ARENA_BLOCK;
        block = rounded > block ? rounded : block;
        enum stn_code code = new_block(arena, block, host, what, &number, err);
        if (code != STN_OK) {
            return code;
        }
    }
    *ret = cut(&arena->blocks[number], size);
    return STN_OK;
}

enum stn_code stn_arena_take(struct stn_arena *arena, uint64_t size, const char *what, struct stn_arena_span *ret,
                             struct stn_err *err)
{
    enum stn_code code = take(arena, size, false, what, ret, err);
    return code != STN_OK ? code : clear(arena, ret, err);
}

enum stn_code stn_arena_take_alone(struct stn_arena *arena, uint64_t size, bool shared, const char *what,
                                   struct stn_arena_span *ret, struct stn_err *err)
{
    size_t number;
    uint64_t rounded = (size + STN_ARENA_ALIGN - 1) / STN_ARENA_ALIGN * STN_ARENA_ALIGN;
    enum stn_code code = new_block(arena, rounded, shared, what, &number, err);
    if (code == STN_OK) {
        arena->blocks[number].alone = true;
        *ret = cut(&arena->blocks[number], size);
    }
    return code;
}

void stn_arena_drop(struct stn_arena *arena, struct stn_arena_span *span)
{
    for (size_t i = 0; i < arena->n_blocks && span->buffer != VK_NULL_HANDLE; i++) {
        if (arena->blocks[i].buffer == span->buffer) {
            assert(arena->blocks[i].alone);
            arena->total -= arena->blocks[i].size;
            free_block(arena->device, &arena->blocks[i]);
            arena->blocks[i] = arena->blocks[--arena->n_blocks];
            break;
        }
    }
    *span = (struct stn_arena_span){0};
}

enum stn_code stn_arena_take_shared(struct stn_arena *arena, uint64_t size, struct stn_arena_span *ret, struct stn_err *err)
{
    enum stn_code code = take(arena, size, true, "shared memory", ret, err);
    if (code == STN_OK) {
        memset(ret->mapped, 0, ret->size);
    }
    return code;
}

/* ---- in and out ---- */

enum stn_code stn_arena_submit(struct stn_arena *arena, const VkCommandBuffer *commands, uint32_t n, const char *what,
                               struct stn_err *err)
{
    struct stn_device *device = arena->device;
    VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = n, .pCommandBuffers = commands};
    if (device->lost) {
        return stn_err_set(err, STN_IO, "%.100s: the device was lost", device->caps.name);
    }
    VkResult result = device->vk.QueueSubmit(device->queue, 1, &info, arena->fence);
    if (result == VK_SUCCESS) {
        result = device->vk.WaitForFences(device->handle, 1, &arena->fence, VK_TRUE, TIMEOUT_NS);
        result = result == VK_TIMEOUT ? VK_ERROR_DEVICE_LOST : result;
    }
    if (result == VK_SUCCESS) {
        result = device->vk.ResetFences(device->handle, 1, &arena->fence);
    }
    return stn_device_check(device, result, what, err);
}

static enum stn_code copy(struct stn_arena *arena, VkBuffer from, uint64_t from_offset, VkBuffer to, uint64_t to_offset,
                          uint64_t size, struct stn_err *err)
{
    struct stn_device *device = arena->device;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkMemoryBarrier all = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                           .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                           .dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                                            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    VkBufferCopy region = {.srcOffset = from_offset, .dstOffset = to_offset, .size = size};
    VkResult result = device->vk.BeginCommandBuffer(arena->commands, &begin);
    if (result == VK_SUCCESS) {
        device->vk.CmdCopyBuffer(arena->commands, from, to, 1, &region);
        device->vk.CmdPipelineBarrier(arena->commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                      VK_PIPELINE_STAGE_HOST_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT |
                                          VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                      0, 1, &all, 0, NULL, 0, NULL);
        result = device->vk.EndCommandBuffer(arena->commands);
    }
    if (result != VK_SUCCESS) {
        return stn_device_check(device, result, "a copy", err);
    }
    arena->n_copies++;
    return stn_arena_submit(arena, &arena->commands, 1, "a copy", err);
}

enum stn_code stn_arena_write(struct stn_arena *arena, const struct stn_arena_span *span, uint64_t offset, const void *p,
                              size_t size, struct stn_err *err)
{
    assert(offset + size <= span->size);
    if (span->mapped != NULL) {
        memcpy(span->mapped + offset, p, size);
        return STN_OK;
    }
    enum stn_code code = STN_OK;
    for (size_t at = 0; at < size && code == STN_OK; at += STN_ARENA_STAGE) {
        size_t n = size - at < STN_ARENA_STAGE ? size - at : STN_ARENA_STAGE;
        memcpy(arena->stage.mapped, (const char *)p + at, n);
        code = copy(arena, arena->stage.buffer, arena->stage.offset, span->buffer, span->offset + offset + at, n, err);
    }
    return code;
}

enum stn_code stn_arena_read(struct stn_arena *arena, const struct stn_arena_span *span, uint64_t offset, void *p, size_t size,
                             struct stn_err *err)
{
    assert(offset + size <= span->size);
    if (span->mapped != NULL) {
        memcpy(p, span->mapped + offset, size);
        return STN_OK;
    }
    enum stn_code code = STN_OK;
    for (size_t at = 0; at < size && code == STN_OK; at += STN_ARENA_STAGE) {
        size_t n = size - at < STN_ARENA_STAGE ? size - at : STN_ARENA_STAGE;
        code = copy(arena, span->buffer, span->offset + offset + at, arena->stage.buffer, arena->stage.offset, n, err);
        if (code == STN_OK) {
            memcpy((char *)p + at, arena->stage.mapped, n);
        }
    }
    return code;
}

enum stn_code stn_arena_open(struct stn_arena *arena, struct stn_device *device, struct stn_err *err)
{
    *arena = (struct stn_arena){.device = device};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = device->family};
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkResult result = device->vk.CreateCommandPool(device->handle, &pool, NULL, &arena->pool);
    arena->pool = result == VK_SUCCESS ? arena->pool : VK_NULL_HANDLE;
    if (result == VK_SUCCESS) {
        VkCommandBufferAllocateInfo one = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = arena->pool,
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = 1};
        result = device->vk.AllocateCommandBuffers(device->handle, &one, &arena->commands);
    }
    if (result == VK_SUCCESS) {
        result = device->vk.CreateFence(device->handle, &fence, NULL, &arena->fence);
        arena->fence = result == VK_SUCCESS ? arena->fence : VK_NULL_HANDLE;
    }
    enum stn_code code = stn_device_check(device, result, "commands", err);
    if (code == STN_OK && !device->caps.unified) {
        code = stn_arena_take_shared(arena, STN_ARENA_STAGE, &arena->stage, err);
    }
    if (code != STN_OK) {
        stn_arena_close(arena);
    }
    return code;
}

void stn_arena_close(struct stn_arena *arena)
{
    struct stn_device *device = arena->device;
    for (size_t i = 0; i < arena->n_blocks; i++) {
        free_block(device, &arena->blocks[i]);
    }
    stn_mem_free(arena->blocks);
    if (arena->fence != VK_NULL_HANDLE) {
        device->vk.DestroyFence(device->handle, arena->fence, NULL);
    }
    if (arena->pool != VK_NULL_HANDLE) {
        device->vk.DestroyCommandPool(device->handle, arena->pool, NULL);
    }
    *arena = (struct stn_arena){0};
}
