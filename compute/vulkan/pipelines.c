#include "compute/vulkan/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "compute/vulkan/tape.h"
#include "io/file.h"

#define CACHE_MOST ((size_t)256 << 20) /* bytes of a cache file */

bool stn_pipelines_path(const struct stn_gpu_caps *caps, const char *folder, const char *end, char path[static STN_FILE_PATH_MAX])
{
    char id[2 * VK_UUID_SIZE + 1];
    for (size_t i = 0; i < VK_UUID_SIZE; i++) {
        (void)snprintf(id + 2 * i, 3, "%02x", caps->cache_id[i]);
    }
    int n = snprintf(path, STN_FILE_PATH_MAX, "%s/vulkan-%08x-%08x-%08x-%s%s", folder, caps->vendor, caps->model,
                     caps->driver, id, end);
    return folder[0] != '\0' && n > 0 && n < STN_FILE_PATH_MAX;
}

/* Drivers check what they are given by its header, and ours is in the name too. */
static VkResult load_cache(struct stn_pipelines *pipelines, const char *folder)
{
    const struct stn_gpu *gpu = pipelines->gpu;
    struct stn_buf buf = {0};
    char path[STN_FILE_PATH_MAX];
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    if (folder != NULL && stn_pipelines_path(&gpu->caps, folder, "", path) && stn_file_read(path, CACHE_MOST, &buf, NULL) == STN_OK) {
        info.initialDataSize = pipelines->loaded = buf.size;
        info.pInitialData = buf.data;
    }
    VkResult result = gpu->vk.CreatePipelineCache(gpu->handle, &info, NULL, &pipelines->cache);
    if (result != VK_SUCCESS && info.initialDataSize > 0) {
        info.initialDataSize = pipelines->loaded = 0;
        result = gpu->vk.CreatePipelineCache(gpu->handle, &info, NULL, &pipelines->cache);
    }
    pipelines->cache = result == VK_SUCCESS ? pipelines->cache : VK_NULL_HANDLE;
    stn_buf_fini(&buf);
    return result;
}

static void save_cache(const struct stn_pipelines *pipelines, const char *folder)
{
    const struct stn_gpu *gpu = pipelines->gpu;
    char path[STN_FILE_PATH_MAX];
    size_t size = 0;
    if (folder == NULL || pipelines->cache == VK_NULL_HANDLE || gpu->lost || !stn_pipelines_path(&gpu->caps, folder, "", path) ||
        gpu->vk.GetPipelineCacheData(gpu->handle, pipelines->cache, &size, NULL) != VK_SUCCESS ||
        size == pipelines->loaded || size > CACHE_MOST) {
        return;
    }
    void *p = stn_mem_new(size, 1);
    if (p != NULL && gpu->vk.GetPipelineCacheData(gpu->handle, pipelines->cache, &size, p) == VK_SUCCESS) {
        /* without the file the next start is slower, and that is all */
        stn_err_ignore(stn_file_replace(path, p, size, STN_FILE_MODE, NULL));
    }
    stn_mem_free(p);
}

static VkResult make_layout(struct stn_pipelines *pipelines, uint32_t n)
{
    const struct stn_gpu *gpu = pipelines->gpu;
    VkDescriptorSetLayoutBinding bindings[STN_PIPELINE_BINDINGS + 1];
    for (uint32_t i = 0; i <= n; i++) {
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i < n ? i : STN_PIPELINE_STEP,
                                                     .descriptorType = i < n ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                                             : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                                     .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    }
    VkDescriptorSetLayoutCreateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                           .bindingCount = n + 1,
                                           .pBindings = bindings};
    VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = sizeof(struct stn_tape_push)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &pipelines->sets[n],
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &push};
    VkResult result = gpu->vk.CreateDescriptorSetLayout(gpu->handle, &set, NULL, &pipelines->sets[n]);
    if (result != VK_SUCCESS) {
        pipelines->sets[n] = VK_NULL_HANDLE;
        return result;
    }
    result = gpu->vk.CreatePipelineLayout(gpu->handle, &layout, NULL, &pipelines->layouts[n]);
    pipelines->layouts[n] = result == VK_SUCCESS ? pipelines->layouts[n] : VK_NULL_HANDLE;
    return result;
}

enum stn_code stn_pipelines_open(struct stn_pipelines *pipelines, struct stn_gpu *gpu, const char *folder, struct stn_err *err)
{
    *pipelines = (struct stn_pipelines){.gpu = gpu};
    VkResult result = load_cache(pipelines, folder);
    for (uint32_t n = 1; n <= STN_PIPELINE_BINDINGS && result == VK_SUCCESS; n++) {
        result = make_layout(pipelines, n);
    }
    enum stn_code code = stn_gpu_check(gpu, result, "pipelines", err);
    if (code != STN_OK) {
        stn_pipelines_close(pipelines, NULL);
    }
    return code;
}

void stn_pipelines_close(struct stn_pipelines *pipelines, const char *folder)
{
    const struct stn_gpu *gpu = pipelines->gpu;
    if (gpu == NULL) {
        return;
    }
    save_cache(pipelines, folder);
    for (size_t i = 0; i < pipelines->n_list; i++) {
        gpu->vk.DestroyPipeline(gpu->handle, pipelines->list[i].handle, NULL);
    }
    for (size_t n = 0; n <= STN_PIPELINE_BINDINGS; n++) {
        gpu->vk.DestroyPipelineLayout(gpu->handle, pipelines->layouts[n], NULL);
        gpu->vk.DestroyDescriptorSetLayout(gpu->handle, pipelines->sets[n], NULL);
    }
    gpu->vk.DestroyPipelineCache(gpu->handle, pipelines->cache, NULL);
    stn_mem_free(pipelines->list);
    *pipelines = (struct stn_pipelines){0};
}

static VkResult compile(const struct stn_pipelines *pipelines, const struct stn_pipeline_row *row, const uint32_t *constants,
                        VkPipeline *ret)
{
    const struct stn_gpu *gpu = pipelines->gpu;
    const VkSpecializationMapEntry entries[] = {{0, 0, 4}, {1, 4, 4}, {2, 8, 4}, {3, 12, 4}, {4, 16, 4}};
    const uint32_t n_constants[] = {
        [STN_PIPELINE_FIXED] = 0, [STN_PIPELINE_GROUP] = 1, [STN_PIPELINE_HEAD] = 3, [STN_PIPELINE_MATRIX] = 5};
    VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = row->size, .pCode = row->code};
    VkShaderModule module;
    VkResult result = gpu->vk.CreateShaderModule(gpu->handle, &code, NULL, &module);
    if (result != VK_SUCCESS) {
        return result;
    }
    VkSpecializationInfo special = {.mapEntryCount = n_constants[row->shape], .pMapEntries = entries, .dataSize = STN_PIPELINE_CONSTANTS * sizeof *constants, .pData = constants};
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                  .module = module,
                                                  .pName = "main",
                                                  .pSpecializationInfo = &special},
                                        .layout = pipelines->layouts[stn_pipeline_n_bindings(row)]};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT whole = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
        .requiredSubgroupSize = gpu->caps.subgroup};
    if (row->shape == STN_PIPELINE_MATRIX) { /* a matrix is a whole subgroup's */
        info.stage.pNext = &whole;
        info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT;
    }
    result = gpu->vk.CreateComputePipelines(gpu->handle, pipelines->cache, 1, &info, NULL, ret);
    gpu->vk.DestroyShaderModule(gpu->handle, module, NULL);
    return result;
}

enum stn_code stn_pipelines_get(struct stn_pipelines *pipelines, const struct stn_pipeline_row *row,
                                const uint32_t constants[STN_PIPELINE_CONSTANTS], VkPipeline *ret, struct stn_err *err)
{
    for (size_t i = 0; i < pipelines->n_list; i++) {
        const struct stn_pipeline *own = &pipelines->list[i];
        if (own->row == row && memcmp(own->constants, constants, sizeof own->constants) == 0) {
            *ret = own->handle;
            return STN_OK;
        }
    }
    struct stn_pipeline *grown = stn_mem_grow(pipelines->list, pipelines->n_list + 1, sizeof *grown);
    if (grown == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for pipelines");
    }
    pipelines->list = grown;
    struct stn_pipeline *own = &grown[pipelines->n_list];
    *own = (struct stn_pipeline){.row = row};
    memcpy(own->constants, constants, sizeof own->constants);
    VkResult result = compile(pipelines, row, constants, &own->handle);
    if (result != VK_SUCCESS) {
        return stn_gpu_check(pipelines->gpu, result, row->name, err);
    }
    pipelines->n_list++;
    *ret = own->handle;
    return STN_OK;
}
