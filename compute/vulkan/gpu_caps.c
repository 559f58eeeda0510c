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

static bool take(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps_features *features, const char *extension)
{
    if (!stn_gpu_caps_extension(gpu, physical, extension)) {
        return false;
    }
    features->extensions[features->n_extensions++] = extension;
    return true;
}

void stn_gpu_caps_features(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps_features *features)
{
    *features = (struct stn_gpu_caps_features){
        .all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .storage16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES,
        .storage8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES,
        .small.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES,
        .memory_model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES,
        .subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
        .dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR,
        .matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    const struct {
        const char *extension;
        void *feature, **next;
    } list[] = {
        {VK_KHR_8BIT_STORAGE_EXTENSION_NAME, &features->storage8, &features->storage8.pNext},
        {VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, &features->small, &features->small.pNext},
        {VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME, &features->memory_model, &features->memory_model.pNext},
        {VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, &features->subgroup, &features->subgroup.pNext},
        {VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, &features->dot, &features->dot.pNext},
        {VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, &features->matrix, &features->matrix.pNext},
    };
    void **end = &features->storage16.pNext;
    features->all.pNext = &features->storage16;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        if (take(gpu, physical, features, list[i].extension)) {
            *end = list[i].feature;
            end = list[i].next;
        }
    }
    gpu->vk.GetPhysicalDeviceFeatures2(physical, &features->all);
    features->all.features = (VkPhysicalDeviceFeatures){0};
}

/* The product of most multiplications among those that our tiles of 64 are made of. */
static void keep_matrix(const struct stn_gpu_caps *caps, const VkCooperativeMatrixPropertiesKHR *p, struct stn_gpu_matrix *best)
{
    uint32_t m = p->MSize, n = p->NSize, k = p->KSize;
    bool fits = m > 0 && n > 0 && k > 0 && 64 % m == 0 && 64 % n == 0 && 32 % k == 0 && k % 4 == 0 && n % 4 == 0 &&
                64 / m * (64 / n) % STN_GPU_SUBGROUPS == 0 && STN_GPU_MATRIX_SHARED + STN_GPU_SUBGROUPS * m * n * 4 <= caps->shared;
    if (fits && m * n * k > best->m * best->n * best->k) {
        *best = (struct stn_gpu_matrix){m, n, k};
    }
}

static void read_matrices(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps *caps)
{
    enum { MOST = 256 };
    uint32_t n = 0;
    if (gpu->vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR == NULL ||
        caps->subgroup * STN_GPU_SUBGROUPS > caps->invocations ||
        gpu->vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &n, NULL) != VK_SUCCESS || n > MOST) {
        return;
    }
    VkCooperativeMatrixPropertiesKHR *list = stn_mem_new(n, sizeof *list);
    for (uint32_t i = 0; list != NULL && i < n; i++) {
        list[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    }
    if (list != NULL && gpu->vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &n, list) == VK_SUCCESS) {
        for (uint32_t i = 0; i < n; i++) {
            const VkCooperativeMatrixPropertiesKHR *p = &list[i];
            if (p->scope != VK_SCOPE_SUBGROUP_KHR || p->saturatingAccumulation || p->AType != p->BType || p->CType != p->ResultType) {
                continue;
            }
            if (p->AType == VK_COMPONENT_TYPE_SINT8_KHR && p->CType == VK_COMPONENT_TYPE_SINT32_KHR) {
                keep_matrix(caps, p, &caps->matrix_i8);
            } else if (p->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && p->CType == VK_COMPONENT_TYPE_FLOAT32_KHR) {
                keep_matrix(caps, p, &caps->matrix_f16);
            }
        }
    }
    stn_mem_free(list);
}

/* A device that takes the instruction apart gains nothing by it. */
static bool has_fast_dot8(const struct stn_gpu *gpu, VkPhysicalDevice physical)
{
    VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES_KHR};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &dot};
    gpu->vk.GetPhysicalDeviceProperties2(physical, &all);
    return dot.integerDotProduct4x8BitPackedSignedAccelerated;
}

/* What shaders may use beyond the core. caps has its limits already. */
static void read_features(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps *caps)
{
    struct stn_gpu_caps_features features;
    stn_gpu_caps_features(gpu, physical, &features);
    caps->storage16 = features.storage16.storageBuffer16BitAccess;
    caps->storage8 = features.storage8.storageBuffer8BitAccess;
    caps->f16 = features.small.shaderFloat16;
    caps->emulates = caps->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    caps->dot8 = features.dot.shaderIntegerDotProduct && (caps->emulates || has_fast_dot8(gpu, physical));
    if (features.matrix.cooperativeMatrix && features.memory_model.vulkanMemoryModel && features.subgroup.subgroupSizeControl &&
        features.subgroup.computeFullSubgroups) {
        read_matrices(gpu, physical, caps);
        caps->matrix_i8.m = features.small.shaderInt8 ? caps->matrix_i8.m : 0;
        caps->matrix_f16.m = caps->f16 ? caps->matrix_f16.m : 0;
    }
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
    caps->allocation = caps->allocation < STN_GPU_FLOOR_ALLOCATION ? caps->allocation : STN_GPU_FLOOR_ALLOCATION;
    clamp(&caps->shared, STN_GPU_FLOOR_SHARED);
    clamp(&caps->invocations, STN_GPU_FLOOR_INVOCATIONS);
    clamp(&caps->subgroup, STN_GPU_FLOOR_SUBGROUP);
    clamp(&caps->n_buffers, STN_GPU_FLOOR_BUFFERS);
    clamp(&caps->max_groups, 65535);
    caps->offset_align = caps->offset_align < 256 ? 256 : caps->offset_align;
    caps->storage8 = caps->storage16 = caps->f16 = caps->dot8 = false;
    caps->matrix_i8 = caps->matrix_f16 = (struct stn_gpu_matrix){0};
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
