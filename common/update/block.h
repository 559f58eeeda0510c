/* block: what an encoding does to the values of one block: signs, Hadamard's matrix, rounding. One text in C, which is
 * compiled for several sets of instructions; every operation is one of IEEE 754, so all give the same bits.
 * Thread: any. */
#ifndef STN_UPDATE_BLOCK_H
#define STN_UPDATE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

struct stn_block_kernel {
    const char *name;
    /* v <- H v (m), unscaled; m is a power of two */
    void (*hadamard)(double *v, size_t m);
    /* Row i of 8 floats, at from + i stride, becomes column i: value j times factor goes to to[j pitch + i]. */
    void (*turn)(double *to, size_t pitch, const float *from, size_t stride, double factor);
    /* v <- D v (n): bit i mod 8 of signs[i / 8] is value i's */
    void (*flip)(double *v, size_t n, const uint8_t *signs);
    /* out (n) = clamp(floor(v scale + 2^-32 coins), -bound, bound), with coins (n); how many were beyond. bound is below
     * 2^31. */
    size_t (*round)(uint32_t *out, const double *v, size_t n, double scale, uint32_t bound, const uint32_t *coins);
    /* the sum of v's squares: v[i] goes to partial sum i mod 8, and these are added in pairs */
    double (*norm2)(const float *v, size_t n);
};

/* The best that runs here. */
const struct stn_block_kernel *stn_block_kernel(void);

/* For tests: every one that runs here, from 0; NULL after the last. */
const struct stn_block_kernel *stn_block_variant(size_t i);

extern const struct stn_block_kernel stn_block_portable;
#ifdef __x86_64__
extern const struct stn_block_kernel stn_block_avx2, stn_block_avx512;
#endif

#endif
