/* ternary_ymm: what the ternary kernels of 256 bits share. The file that includes it has named TARGET, the attribute that
 * allows its instructions. */
#ifndef STN_COMPUTE_CPU_TERNARY_YMM_H
#define STN_COMPUTE_CPU_TERNARY_YMM_H

#include <immintrin.h>
#include <string.h>

#include "compute/cpu/ternary_kernel.h"

#define INLINE TARGET static inline __attribute__((always_inline))

/* Four inputs of a token in every lane. */
INLINE __m256i four(const int8_t *q)
{
    int32_t value;
    memcpy(&value, q, sizeof value);
    return _mm256_set1_epi32(value);
}

/* y[t][lane ..] (+)= value, as far as the panel's outputs are asked for */
TARGET static void put(const struct stn_ternary_product *p, size_t t, size_t lane, __m256 value)
{
    if (lane >= p->count) {
        return;
    }
    float *y = p->y + t * p->ldy + lane;
    if (p->count - lane >= 8) {
        _mm256_storeu_ps(y, p->add ? _mm256_add_ps(_mm256_loadu_ps(y), value) : value);
        return;
    }
    float values[8];
    _mm256_storeu_ps(values, value);
    for (size_t i = 0; i < p->count - lane; i++) {
        y[i] = p->add ? y[i] + values[i] : values[i];
    }
}

#endif
