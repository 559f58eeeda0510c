#include "compute/vulkan/vram.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

#define NO_TYPE UINT32_MAX
#define SECOND_NS ((uint64_t)1000 * 1000 * 1000)
#define PATIENCE_S 120 /* a device that is silent for so long is lost to us */
#define REST_S 10      /* what is given up gets so long to end */

enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    VISIBLE = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT
};

/* The first type among BITS that has all that is wanted. Drivers list the best first. */
static uint32_t find_type(const struct stn_gpu *gpu, uint32_t bits, VkMemoryPropertyFlags wanted)
{
    for (uint32_t i = 0; i < gpu->memory.memoryTypeCount; i++) {
        if ((bits >> i & 1) != 0 && (gpu->memory.memoryTypes[i].propertyFlags & wanted) == wanted) {
            return i;
        }
    }
    return NO_TYPE;
}

static uint32_t choose_type(const struct stn_gpu *gpu, uint32_t bits, bool host)
{
    const VkMemoryPropertyFlags ours[] = {VISIBLE | CACHED, VISIBLE}, unified[] = {LOCAL | VISIBLE, LOCAL};
    const VkMemoryPropertyFlags *list = host ? ours : gpu->caps.unified ? unified : unified + 1;
    uint32_t type = find_type(gpu, bits, list[0]);
    if (type == NO_TYPE && list != unified + 1) {
        type = find_type(gpu, bits, list[1]);
    }
    return type;
}

static void free_block(const struct stn_gpu *gpu, struct stn_vram_block *block)
{
    if (block->buffer != VK_NULL_HANDLE) {
        gpu->vk.DestroyBuffer(gpu->handle, block->buffer, NULL);
    }
    if (block->memory != VK_NULL_HANDLE) {
        gpu->vk.FreeMemory(gpu->handle, block->memory, NULL);
    }
    *block = (struct stn_vram_block){0};
}

static VkResult back_block(struct stn_gpu *gpu, struct stn_vram_block *block)
{
    VkMemoryRequirements needs;
    gpu->vk.GetBufferMemoryRequirements(gpu->handle, block->buffer, &needs);
    VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size};
    allocate.memoryTypeIndex = choose_type(gpu, needs.memoryTypeBits, block->host);
    if (allocate.memoryTypeIndex == NO_TYPE) {
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    VkResult result = stn_gpu_fails(&gpu->faults.oom)
                          ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                          : gpu->vk.AllocateMemory(gpu->handle, &allocate, NULL, &block->memory);
    if (result != VK_SUCCESS) {
        block->memory = VK_NULL_HANDLE;
        return result;
    }
    result = gpu->vk.BindBufferMemory(gpu->handle, block->buffer, block->memory, 0);
    if (result == VK_SUCCESS && (block->host || gpu->caps.unified)) {
        void *p = NULL;
        result = gpu->vk.MapMemory(gpu->handle, block->memory, 0, VK_WHOLE_SIZE, 0, &p);
        block->mapped = p;
    }
    return result;
}

static enum stn_code no_room(const struct stn_vram *vram, uint64_t size, const char *what, struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "%.100s: no memory for %llu bytes of %s, %llu are taken", vram->gpu->caps.name,
                       (unsigned long long)size, what, (unsigned long long)vram->total);
}

static enum stn_code new_block(struct stn_vram *vram, uint64_t size, bool host, const char *what, size_t *ret,
                               struct stn_err *err)
{
    struct stn_gpu *gpu = vram->gpu;
    if (size > gpu->caps.allocation || (vram->limit > 0 && (vram->total >= vram->limit || size > vram->limit - vram->total))) {
        return no_room(vram, size, what, err);
    }
    struct stn_vram_block *grown = stn_mem_grow(vram->blocks, vram->n_blocks + 1, sizeof *grown);
    if (grown == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a list of blocks");
    }
    vram->blocks = grown;
    struct stn_vram_block *block = &grown[vram->n_blocks];
    *block = (struct stn_vram_block){.size = size, .host = host};
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = size,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT |
                                        VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                               .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    VkResult result = gpu->vk.CreateBuffer(gpu->handle, &info, NULL, &block->buffer);
    if (result == VK_SUCCESS) {
        result = back_block(gpu, block);
    } else {
        block->buffer = VK_NULL_HANDLE;
    }
    if (result != VK_SUCCESS) {
        free_block(gpu, block);
        return result == VK_ERROR_OUT_OF_DEVICE_MEMORY ? no_room(vram, size, what, err) : stn_gpu_check(gpu, result, what, err);
    }
    *ret = vram->n_blocks++;
    vram->total += size;
    return STN_OK;
}

static struct stn_vram_span cut(struct stn_vram_block *block, uint64_t size)
{
    struct stn_vram_span span = {.buffer = block->buffer, .offset = block->used, .size = size};
    span.mapped = block->mapped == NULL ? NULL : block->mapped + block->used;
    block->used += (size + STN_VRAM_ALIGN - 1) / STN_VRAM_ALIGN * STN_VRAM_ALIGN;
    return span;
}

static enum stn_code take(struct stn_vram *vram, uint64_t size, bool host, const char *what, struct stn_vram_span *ret,
                          struct stn_err *err)
{
    assert(size > 0);
    size_t number = 0;
    uint64_t rounded = (size + STN_VRAM_ALIGN - 1) / STN_VRAM_ALIGN * STN_VRAM_ALIGN;
    while (number < vram->n_blocks &&
           (vram->blocks[number].host != host || vram->blocks[number].alone || vram->blocks[number].size - vram->blocks[number].used < rounded)) {
        number++;
    }
    if (number == vram->n_blocks) {
        uint64_t block = host ? STN_VRAM_SHARED : STN_VRAM_BLOCK;
        block = rounded > block / STN_VRAM_PARTS ? rounded : block; /* or a block would be full of one and mostly empty */
        enum stn_code code = new_block(vram, block, host, what, &number, err);
        if (code != STN_OK) {
            return code;
        }
    }
    *ret = cut(&vram->blocks[number], size);
    return STN_OK;
}

enum stn_code stn_vram_take(struct stn_vram *vram, uint64_t size, const char *what, struct stn_vram_span *ret,
                             struct stn_err *err)
{
    return take(vram, size, false, what, ret, err);
}

enum stn_code stn_vram_take_alone(struct stn_vram *vram, uint64_t size, bool shared, const char *what,
                                   struct stn_vram_span *ret, struct stn_err *err)
{
    size_t number;
    uint64_t rounded = (size + STN_VRAM_ALIGN - 1) / STN_VRAM_ALIGN * STN_VRAM_ALIGN;
    enum stn_code code = new_block(vram, rounded, shared, what, &number, err);
    if (code == STN_OK) {
        vram->blocks[number].alone = true;
        *ret = cut(&vram->blocks[number], size);
    }
    return code;
}

void stn_vram_drop(struct stn_vram *vram, struct stn_vram_span *span)
{
    size_t n = span->buffer != VK_NULL_HANDLE && stn_vram_rests(vram) ? vram->n_blocks : 0;
    for (size_t i = 0; i < n; i++) {
        if (vram->blocks[i].buffer == span->buffer) {
            assert(vram->blocks[i].alone);
            vram->total -= vram->blocks[i].size;
            free_block(vram->gpu, &vram->blocks[i]);
            vram->blocks[i] = vram->blocks[--vram->n_blocks];
            break;
        }
    }
    *span = (struct stn_vram_span){0};
}

enum stn_code stn_vram_take_pieces(struct stn_vram *vram, uint64_t size, const char *what, struct stn_vram_pieces *pieces,
                                   struct stn_err *err)
{
    const uint64_t piece = pieces->piece;
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < STN_VRAM_PIECES; i++) {
        stn_vram_drop(vram, &pieces->list[i]);
    }
    pieces->size = 0;
    if ((size - 1) / piece >= STN_VRAM_PIECES) {
        return no_room(vram, size, what, err);
    }
    for (size_t i = 0; pieces->size < size && code == STN_OK; i++) {
        const uint64_t left = size - pieces->size, now = left < piece ? left : piece;
        code = stn_vram_take_alone(vram, now, false, what, &pieces->list[i], err);
        pieces->size += code == STN_OK ? now : 0;
    }
    return code;
}

enum stn_code stn_vram_take_shared(struct stn_vram *vram, uint64_t size, struct stn_vram_span *ret, struct stn_err *err)
{
    enum stn_code code = take(vram, size, true, "shared memory", ret, err);
    if (code == STN_OK) {
        memset(ret->mapped, 0, ret->size);
    }
    return code;
}

/* ---- in and out ---- */

/* A processor that plays a device is never lost, and may be slow. */
static uint64_t patience_ns(const struct stn_gpu *gpu, uint64_t seconds)
{
    return gpu->caps.type == VK_PHYSICAL_DEVICE_TYPE_CPU ? UINT64_MAX : seconds * SECOND_NS;
}

static enum stn_code wait_for_it(struct stn_vram *vram, const char *what, struct stn_err *err)
{
    struct stn_gpu *gpu = vram->gpu;
    VkResult result = stn_gpu_fails(&gpu->faults.late)
                          ? VK_TIMEOUT
                          : gpu->vk.WaitForFences(gpu->handle, 1, &vram->fence, VK_TRUE, patience_ns(gpu, PATIENCE_S));
    if (result == VK_TIMEOUT) {
        vram->is_late = gpu->lost = true;
        return stn_err_set(err, STN_IO, "%.100s: the device was silent for %d s during %s and is taken for lost", gpu->caps.name,
                           PATIENCE_S, what);
    }
    if (stn_gpu_fails(&gpu->faults.broken)) {
        result = VK_ERROR_DEVICE_LOST;
    }
    return stn_gpu_check(gpu, result, what, err);
}

bool stn_vram_rests(struct stn_vram *vram)
{
    const struct stn_gpu *gpu = vram->gpu;
    if (vram->is_late) {
        VkResult result = gpu->vk.WaitForFences(gpu->handle, 1, &vram->fence, VK_TRUE, patience_ns(gpu, REST_S));
        vram->is_late = result == VK_TIMEOUT;
    }
    return !vram->is_late;
}

enum stn_code stn_vram_submit(struct stn_vram *vram, const VkCommandBuffer *commands, uint32_t n, const char *what,
                               struct stn_err *err)
{
    struct stn_gpu *gpu = vram->gpu;
    VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = n, .pCommandBuffers = commands};
    if (gpu->lost) {
        return stn_err_set(err, STN_IO, "%.100s: the device was lost", gpu->caps.name);
    }
    VkResult result = stn_gpu_fails(&gpu->faults.lost) ? VK_ERROR_DEVICE_LOST
                                                       : gpu->vk.QueueSubmit(gpu->queue, 1, &info, vram->fence);
    enum stn_code code = stn_gpu_check(gpu, result, what, err);
    code = code != STN_OK ? code : wait_for_it(vram, what, err);
    return code != STN_OK ? code : stn_gpu_check(gpu, gpu->vk.ResetFences(gpu->handle, 1, &vram->fence), what, err);
}

/* Records one transfer, and does it. region NULL: TO is zeroed. */
static enum stn_code transfer(struct stn_vram *vram, VkBuffer from, const struct stn_vram_span *to, const VkBufferCopy *region,
                              struct stn_err *err)
{
    struct stn_gpu *gpu = vram->gpu;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkMemoryBarrier all = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                           .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                           .dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                                            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    VkResult result = gpu->vk.BeginCommandBuffer(vram->commands, &begin);
    if (result == VK_SUCCESS) {
        if (region == NULL) {
            gpu->vk.CmdFillBuffer(vram->commands, to->buffer, to->offset, (to->size + 3) / 4 * 4, 0);
        } else {
            gpu->vk.CmdCopyBuffer(vram->commands, from, to->buffer, 1, region);
        }
        gpu->vk.CmdPipelineBarrier(vram->commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                   VK_PIPELINE_STAGE_HOST_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT |
                                       VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                   0, 1, &all, 0, NULL, 0, NULL);
        result = gpu->vk.EndCommandBuffer(vram->commands);
    }
    if (result != VK_SUCCESS) {
        return stn_gpu_check(gpu, result, "a copy", err);
    }
    vram->n_copies++;
    return stn_vram_submit(vram, &vram->commands, 1, "a copy", err);
}

enum stn_code stn_vram_clear(struct stn_vram *vram, const struct stn_vram_span *span, struct stn_err *err)
{
    if (span->mapped != NULL) {
        memset(span->mapped, 0, span->size);
        return STN_OK;
    }
    return transfer(vram, VK_NULL_HANDLE, span, NULL, err);
}

enum stn_code stn_vram_write(struct stn_vram *vram, const struct stn_vram_span *span, uint64_t offset, const void *p,
                              size_t size, struct stn_err *err)
{
    assert(offset + size <= span->size);
    if (span->mapped != NULL) {
        memcpy(span->mapped + offset, p, size);
        return STN_OK;
    }
    enum stn_code code = STN_OK;
    for (size_t at = 0; at < size && code == STN_OK; at += STN_VRAM_STAGE) {
        size_t n = size - at < STN_VRAM_STAGE ? size - at : STN_VRAM_STAGE;
        memcpy(vram->stage.mapped, (const char *)p + at, n);
        const VkBufferCopy region = {vram->stage.offset, span->offset + offset + at, n};
        code = transfer(vram, vram->stage.buffer, span, &region, err);
    }
    return code;
}

enum stn_code stn_vram_read(struct stn_vram *vram, const struct stn_vram_span *span, uint64_t offset, void *p, size_t size,
                             struct stn_err *err)
{
    assert(offset + size <= span->size);
    if (span->mapped != NULL) {
        memcpy(p, span->mapped + offset, size);
        return STN_OK;
    }
    enum stn_code code = STN_OK;
    for (size_t at = 0; at < size && code == STN_OK; at += STN_VRAM_STAGE) {
        size_t n = size - at < STN_VRAM_STAGE ? size - at : STN_VRAM_STAGE;
        const VkBufferCopy region = {span->offset + offset + at, vram->stage.offset, n};
        code = transfer(vram, span->buffer, &vram->stage, &region, err);
        if (code == STN_OK) {
            memcpy((char *)p + at, vram->stage.mapped, n);
        }
    }
    return code;
}

enum stn_code stn_vram_open(struct stn_vram *vram, struct stn_gpu *gpu, struct stn_err *err)
{
    *vram = (struct stn_vram){.gpu = gpu};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = gpu->family};
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkResult result = gpu->vk.CreateCommandPool(gpu->handle, &pool, NULL, &vram->pool);
    vram->pool = result == VK_SUCCESS ? vram->pool : VK_NULL_HANDLE;
    if (result == VK_SUCCESS) {
        VkCommandBufferAllocateInfo one = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = vram->pool,
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = 1};
        result = gpu->vk.AllocateCommandBuffers(gpu->handle, &one, &vram->commands);
    }
    if (result == VK_SUCCESS) {
        result = gpu->vk.CreateFence(gpu->handle, &fence, NULL, &vram->fence);
        vram->fence = result == VK_SUCCESS ? vram->fence : VK_NULL_HANDLE;
    }
    enum stn_code code = stn_gpu_check(gpu, result, "commands", err);
    if (code == STN_OK && !gpu->caps.unified) {
        code = stn_vram_take_shared(vram, STN_VRAM_STAGE, &vram->stage, err);
    }
    if (code != STN_OK) {
        stn_vram_close(vram);
    }
    return code;
}

void stn_vram_close(struct stn_vram *vram)
{
    struct stn_gpu *gpu = vram->gpu;
    for (size_t i = 0; i < vram->n_blocks; i++) {
        free_block(gpu, &vram->blocks[i]);
    }
    stn_mem_free(vram->blocks);
    if (vram->fence != VK_NULL_HANDLE) {
        gpu->vk.DestroyFence(gpu->handle, vram->fence, NULL);
    }
    if (vram->pool != VK_NULL_HANDLE) {
        gpu->vk.DestroyCommandPool(gpu->handle, vram->pool, NULL);
    }
    *vram = (struct stn_vram){0};
}
