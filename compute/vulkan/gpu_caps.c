#include "compute/vulkan/gpu_caps.h"

#include <string.h>

#include "base/mem.h"

bool stn_gpu_caps_extension(const struct stn_gpu *gpu, VkPhysicalDevice physical, const char *name)
{
    uint32_t n = 0;
    bool found = false;
    if (gpu->vk.EnumerateDeviceExtensionProperties(physical, NULL, &n, NULL) != VK_SUCCESS) {
        return false;
    }
    VkExtensionProperties *list = stn_mem_new(n, sizeof *list);
    if (list != NULL && gpu->vk.EnumerateDeviceExtensionProperties(physical, NULL, &n, list) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n && !found; i++) {
            found = strcmp(list[i].extensionName, name) == 0;
        }
    }
    stn_mem_free(list);
    return found;
}

/* What shaders may use beyond the core, where the device has it. */
static void read_features(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps *caps)
{
    VkPhysicalDevice16BitStorageFeatures storage16 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES};
    VkPhysicalDevice8BitStorageFeatures storage8 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES};
    VkPhysicalDeviceShaderFloat16Int8Features small = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &storage16};
    void **end = &storage16.pNext;
    if (stn_gpu_caps_extension(gpu, physical, VK_KHR_8BIT_STORAGE_EXTENSION_NAME)) {
        *end = &storage8;
        end = &storage8.pNext;
    }
    if (stn_gpu_caps_extension(gpu, physical, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME)) {
        *end = &small;
        end = &small.pNext;
    }
#ifdef VK_KHR_shader_integer_dot_product
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR};
    if (stn_gpu_caps_extension(gpu, physical, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME)) {
        *end = &dot;
    }
    gpu->vk.GetPhysicalDeviceFeatures2(physical, &features);
    caps->dot8 = dot.shaderIntegerDotProduct;
#else
    gpu->vk.GetPhysicalDeviceFeatures2(physical, &features);
#endif
    caps->storage16 = storage16.storageBuffer16BitAccess;
    caps->storage8 = storage8.storageBuffer8BitAccess;
    caps->f16 = small.shaderFloat16;
}

/* Memory is unified when the device's own is all mapped and coherent, and there is no other. */
static void read_memory(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps *caps)
{
    const VkMemoryPropertyFlags all = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                      VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    VkPhysicalDeviceMemoryProperties memory;
    gpu->vk.GetPhysicalDeviceMemoryProperties(physical, &memory);
    bool shared = false;
    for (uint32_t i = 0; i < memory.memoryHeapCount; i++) {
        if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0 && memory.memoryHeaps[i].size > caps->memory) {
            caps->memory = memory.memoryHeaps[i].size;
        }
    }
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++) {
        const VkMemoryType *type = &memory.memoryTypes[i];
        shared |= (type->propertyFlags & all) == all && memory.memoryHeaps[type->heapIndex].size == caps->memory;
    }
    caps->unified = shared && caps->type != VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

void stn_gpu_caps_read(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps *ret)
{
    VkPhysicalDeviceMaintenance3Properties most = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
    VkPhysicalDeviceSubgroupProperties subgroup = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                                                   .pNext = &most};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &subgroup};
    gpu->vk.GetPhysicalDeviceProperties2(physical, &all);
    const VkPhysicalDeviceProperties *p = &all.properties;
    const VkPhysicalDeviceLimits *limits = &p->limits;
    *ret = (struct stn_gpu_caps){.type = p->deviceType, .vendor = p->vendorID, .model = p->deviceID};
    memcpy(ret->name, p->deviceName, sizeof ret->name);
    ret->name[sizeof ret->name - 1] = '\0';
    memcpy(ret->cache_id, p->pipelineCacheUUID, sizeof ret->cache_id);
    ret->driver = p->driverVersion;
    ret->api = p->apiVersion;
    ret->range = limits->maxStorageBufferRange;
    ret->allocation = most.maxMemoryAllocationSize;
    ret->shared = limits->maxComputeSharedMemorySize;
    ret->invocations = limits->maxComputeWorkGroupInvocations < limits->maxComputeWorkGroupSize[0]
                           ? limits->maxComputeWorkGroupInvocations
                           : limits->maxComputeWorkGroupSize[0];
    ret->subgroup = subgroup.subgroupSize;
    ret->n_buffers = limits->maxPerStageDescriptorStorageBuffers;
    ret->offset_align = (uint32_t)limits->minStorageBufferOffsetAlignment;
    ret->offset_align = ret->offset_align < 4 ? 4 : ret->offset_align;
    ret->max_groups = limits->maxComputeWorkGroupCount[0] < limits->maxComputeWorkGroupCount[1]
                          ? limits->maxComputeWorkGroupCount[0]
                          : limits->maxComputeWorkGroupCount[1];
    ret->timestamp_ns = limits->timestampComputeAndGraphics ? limits->timestampPeriod : 0;
    read_memory(gpu, physical, ret);
    read_features(gpu, physical, ret);
}

static void clamp(uint32_t *cap, uint32_t most)
{
    *cap = *cap < most ? *cap : most;
}

void stn_gpu_caps_clamp(struct stn_gpu_caps *caps)
{
    caps->range = caps->range < STN_GPU_FLOOR_RANGE ? caps->range : STN_GPU_FLOOR_RANGE;
    clamp(&caps->shared, STN_GPU_FLOOR_SHARED);
    clamp(&caps->invocations, STN_GPU_FLOOR_INVOCATIONS);
    clamp(&caps->subgroup, STN_GPU_FLOOR_SUBGROUP);
    clamp(&caps->n_buffers, STN_GPU_FLOOR_BUFFERS);
    clamp(&caps->max_groups, 65535);
    caps->offset_align = caps->offset_align < 256 ? 256 : caps->offset_align;
    caps->storage8 = caps->storage16 = caps->f16 = caps->dot8 = false;
}

const char *stn_gpu_caps_type(const struct stn_gpu_caps *caps)
{
    switch (caps->type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "cpu";
    default:
        return "other";
    }
}
