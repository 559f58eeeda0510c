/* device_caps: reads what a physical device can do, once. Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_DEVICE_CAPS_H
#define STN_COMPUTE_VULKAN_DEVICE_CAPS_H

#include "compute/vulkan/device.h"

/* Fills ret from device->physical. The physical device speaks Vulkan 1.1. */
void stn_device_caps_read(const struct stn_device *device, VkPhysicalDevice physical, struct stn_device_caps *ret);

/* As the weakest supported phone would have them. */
void stn_device_caps_clamp(struct stn_device_caps *caps);

/* "discrete", "integrated", "virtual", "cpu", "other" */
const char *stn_device_caps_type(const struct stn_device_caps *caps);

bool stn_device_caps_extension(const struct stn_device *device, VkPhysicalDevice physical, const char *name);

#endif
