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

bool stn_gpu_caps_extension(const struct stn_gpu *gpu, VkPhysicalDevice physical, const char *name);

#endif
