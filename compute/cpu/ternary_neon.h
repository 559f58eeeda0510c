/* ternary_neon: what the ternary kernels of NEON share. */
#ifndef STN_COMPUTE_CPU_TERNARY_NEON_H
#define STN_COMPUTE_CPU_TERNARY_NEON_H

#include <arm_neon.h>

#include "compute/cpu/ternary_kernel.h"

/* y[t][lane ..] (+)= value, as far as the panel's outputs are asked for */
static inline void put(const struct stn_ternary_product *p, size_t t, size_t lane, float32x4_t value)
{
    if (lane >= p->count) {
        return;
    }
    float *y = p->y + t * p->ldy + lane;
    if (p->count - lane >= 4) {
        vst1q_f32(y, p->add ? vaddq_f32(vld1q_f32(y), value) : value);
        return;
    }
    float values[4];
    vst1q_f32(values, value);
    for (size_t i = 0; i < p->count - lane; i++) {
        y[i] = p->add ? y[i] + values[i] : values[i];
    }
}

#endif
