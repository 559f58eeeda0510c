/* vulkan_env: what the environment says of the Vulkan backend: STERNA_VULKAN (vulkan.h), and where compiled pipelines are kept,
 * STERNA_CACHE, or sterna in XDG_CACHE_HOME or in the home's .cache. Thread: any. */
#ifndef STN_COMPUTE_VULKAN_VULKAN_ENV_H
#define STN_COMPUTE_VULKAN_VULKAN_ENV_H

#include "compute/vulkan/gpu.h"

struct stn_vulkan_env {
    struct stn_gpu_config device;
    char wanted[128];
    uint64_t memory; /* bytes, 0: what there is */
    uint64_t range;  /* bytes that a binding spans, 0: what it does */
    uint64_t piece;  /* bytes of one piece of the activations' memory, 0: what the device gives at once */
    uint64_t split;  /* multiplications to a submission; 0: by the device */
    bool times;
    uint64_t barred; /* rows of the pipeline table */
    uint64_t spoilt; /* rows that are not run, to see that this is found out */
    char folder[512]; /* empty: nowhere */
};

/* STN_INVALID for a word that means nothing. env->device.wanted points into env. */
enum stn_code stn_vulkan_env_read(struct stn_vulkan_env *env, struct stn_err *err) STN_CHECKED;

#endif
