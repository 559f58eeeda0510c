/* speed: what this device multiplies at best, as a measure for the rest: loops of which nothing leaves the registers; and how fast it
 * reads 128 MiB of its memory.
 * Thread: that of the device; nobody else should be computing on it. */
#ifndef STN_COMPUTE_VULKAN_SPEED_H
#define STN_COMPUTE_VULKAN_SPEED_H

#include "compute/vulkan/pipeline.h"
#include "compute/vulkan/vram.h"

/* MACs, and bytes, a second. 0: the device has none, or only plays it, or has no memory left to be measured. */
struct stn_speed {
    double f32, dot8, matrix_i8, matrix_f16, bytes;
};

/* step: two words that shaders read as the run's counts. */
enum stn_code stn_speed_measure(struct stn_speed *ret, struct stn_vram *vram, struct stn_pipelines *pipelines,
                                const struct stn_vram_span *step, struct stn_err *err) STN_CHECKED;

#endif
