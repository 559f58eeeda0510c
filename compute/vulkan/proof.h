/* proof: each kernel of the pipeline table does on this device and driver what the processor does, shown once and then
 * remembered, in a file beside the compiled pipelines. A row that does not is barred: the next one of its op is taken, and where
 * there is none the backend says which op the device cannot do. Rows are shown one after the other, the best of each op first.
 * Thread: any. */
#ifndef STN_COMPUTE_VULKAN_PROOF_H
#define STN_COMPUTE_VULKAN_PROOF_H

#include "compute/vulkan/gpu.h"
#include "compute/vulkan/vulkan_env.h"

/* The rows that are not to be taken, a bit each as in pipeline.h, those that env bars included. */
enum stn_code stn_proof_find(uint64_t *ret_barred, const struct stn_gpu_caps *caps, const struct stn_vulkan_env *env,
                             struct stn_err *err) STN_CHECKED;

#endif
