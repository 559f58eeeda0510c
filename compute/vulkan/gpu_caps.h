/* gpu_caps: reads what a physical device can do, once. Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_GPU_CAPS_H
#define STN_COMPUTE_VULKAN_GPU_CAPS_H

#include "compute/vulkan/gpu.h"

/* Fills ret from gpu->physical. The physical device speaks Vulkan 1.1. */
void stn_gpu_caps_read(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps *ret);

/* As the weakest supported phone would have them. */
void stn_gpu_caps_clamp(struct stn_gpu_caps *caps);

/* "discrete", "integrated", "virtual", "cpu", "other" */
const char *stn_gpu_caps_type(const struct stn_gpu_caps *caps);

/* What we use beyond the core, as the device has it: chained for asking, and for opening it with just that. */
#define STN_GPU_CAPS_EXTENSIONS 8
struct stn_gpu_caps_features {
    VkPhysicalDeviceFeatures2 all; /* the core's own are not asked for: robust access costs time */
    VkPhysicalDevice16BitStorageFeatures storage16;
    VkPhysicalDevice8BitStorageFeatures storage8;
    VkPhysicalDeviceShaderFloat16Int8Features small;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroup;
    VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
    const char *extensions[STN_GPU_CAPS_EXTENSIONS]; /* that these come with */
    uint32_t n_extensions;
};
/* features is not to be moved: it points into itself. */
void stn_gpu_caps_features(const struct stn_gpu *gpu, VkPhysicalDevice physical, struct stn_gpu_caps_features *features);

bool stn_gpu_caps_extension(const struct stn_gpu *gpu, VkPhysicalDevice physical, const char *name);

#endif
