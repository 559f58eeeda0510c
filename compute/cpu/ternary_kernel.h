/* ternary_kernel: the packed layout, and what a set of instructions provides to ternary.c.
 *
 * A panel is 64 outputs x n_inputs (a multiple of 64) in units of 64 bytes: 64 outputs x 4 inputs. Byte 4 i + j of
 * unit u holds, in its 2-bit field f (bits 2 f and 2 f + 1), weight + 1 of output 16 f + i, input 4 u + j:
 *
 *      unit u    byte 0          byte 1          byte 2          byte 3          byte 4 ...
 *      field 0   (0, 4u)         (0, 4u + 1)     (0, 4u + 2)     (0, 4u + 3)     (1, 4u) ...
 *      field 1   (16, 4u)        (16, 4u + 1)    (16, 4u + 2)    (16, 4u + 3)    (17, 4u) ...
 *
 * so that one load and four masks give four vectors of 16 outputs x 4 inputs, which is what an integer dot product
 * eats, and four inputs of a token are one 32-bit broadcast. Sixteen units are a square block of 64 x 64; the
 * transpose of a panel is made of transposed blocks and has the same layout, so that the backward product is the
 * forward product of a transposed panel. The layout is the same for all sets of instructions. */
#ifndef STN_COMPUTE_CPU_TERNARY_KERNEL_H
#define STN_COMPUTE_CPU_TERNARY_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STN_TERNARY_LANES 64    /* outputs of a panel */
#define STN_TERNARY_UNIT 64     /* bytes of 64 outputs x 4 inputs */
#define STN_TERNARY_SQUARE 1024 /* bytes of 64 x 64 */
#define STN_TERNARY_BLOCK 256   /* inputs that share a scale */

/* y[t][o] (+)= (float)(sum_i w[o][i] q[t][i]) * (w_scale * scale[t])                 when block_scales is NULL, else
 * y[t][o] (+)= (sum_b (float)(sum_{i in b} w[o][i] q[t][i]) * block_scales[b][o]) * scale[t]      b in order
 * for o < count. (+)= is a separate addition, never fused: all kernels give the same bits. */
struct stn_ternary_product {
    const uint8_t *panel;
    size_t n_inputs;
    const int8_t *q; /* (n, n_inputs), rows 64-byte padded */
    const float *scale;
    const int32_t *sums; /* (n, n_blocks): sum of q over each block, or (n) without block_scales */
    size_t n;
    float w_scale;
    const float *block_scales; /* (n_blocks, 64) */
    float *y;
    size_t ldy;
    size_t count;
    bool add;
};

struct stn_ternary_kernel {
    void (*product)(const struct stn_ternary_product *product);
    /* sums[t][b] = sum of q[t][i] for i in the b-th piece of block inputs (a multiple of 64, the last may be short) */
    void (*sums)(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *sums);
    /* to(o, i) = from(i, o): one square */
    void (*transpose)(const uint8_t *from, uint8_t *to);
    /* w[i][o] = weight(o, i) for the n_units * 4 inputs from the first unit on: rows of 64 floats */
    void (*expand)(const uint8_t *units, size_t n_units, float *w);
    /* As stn_ternary_quantise and stn_ternary_quantise_random, for one row; they return the scale. */
    float (*quantise)(const float *x, size_t n, int8_t *q);
    float (*quantise_random)(const float *x, size_t n, uint64_t key, int8_t *q);
};

extern const struct stn_ternary_kernel stn_ternary_c_kernel;
extern const struct stn_ternary_kernel stn_ternary_avx2_kernel;
extern const struct stn_ternary_kernel stn_ternary_avx_vnni_kernel;
extern const struct stn_ternary_kernel stn_ternary_avx512_kernel;
extern const struct stn_ternary_kernel stn_ternary_neon_kernel;
extern const struct stn_ternary_kernel stn_ternary_neon_i8mm_kernel;

/* The product of stn_ternary_avx_vnni_kernel where the processor has it in AVX-512's encoding alone. */
void stn_ternary_avx_vnni_evex_product(const struct stn_ternary_product *product);

/* The 2-bit code (weight + 1) of one output and input. */
static inline unsigned stn_ternary_code(const uint8_t *panel, size_t output, size_t input)
{
    size_t byte = input / 4 * STN_TERNARY_UNIT + output % 16 * 4 + input % 4;
    return panel[byte] >> (2 * (output / 16)) & 3u;
}

/* 32 random bits of column c under a key: a finaliser with low bias ("lowbias32", Wellons 2018) over a Weyl sequence,
 * with the key's halves before and between its rounds. */
static inline uint32_t stn_ternary_hash(uint64_t key, uint32_t c)
{
    uint32_t x = c * 0x9e3779b9u + (uint32_t)key;
    x = (x ^ x >> 16) * 0x7feb352du ^ (uint32_t)(key >> 32);
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

#endif
