/* quant: how the numbers of a tensor lie in a file: plain floats, the ternary blocks TQ2_0 and TQ1_0, and the
 * block formats in which embeddings and heads arrive. One table, a row a format. Rows of a tensor are whole
 * blocks; n is always a number of values and a multiple of the format's. Everything is little endian.
 * Source of the layouts: the GGUF specification and ggml's reference code. Thread: any. */
#ifndef STN_MODEL_QUANT_H
#define STN_MODEL_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers stand in files. */
enum stn_quant_type {
    STN_QUANT_F32 = 0,
    STN_QUANT_F16 = 1,
    STN_QUANT_Q8_0 = 8,
    STN_QUANT_Q4_K = 12,
    STN_QUANT_Q6_K = 14,
    STN_QUANT_BF16 = 30,
    STN_QUANT_TQ1_0 = 34,
    STN_QUANT_TQ2_0 = 35,
    STN_QUANT_I2_S = 36
};

#define STN_QUANT_TERNARY 256 /* values in a block of TQ1_0 or TQ2_0 */

struct stn_quant_format {
    enum stn_quant_type type;
    const char *name;  /* "tq2_0" */
    uint32_t n_values; /* in a block */
    uint32_t size;     /* of a block, in bytes */
    uint32_t tail;     /* bytes behind a tensor's last block (I2_S: its one scale) */
    bool ternary;      /* unpack and pack know it */
    /* dst[n_blocks * n_values]; NULL when this build cannot read it as floats */
    void (*to_f32)(float *dst, const uint8_t *src, size_t n_blocks);
};

/* NULL when the number, or the name, is none we know. */
const struct stn_quant_format *stn_quant_format(uint32_t type);
const struct stn_quant_format *stn_quant_named(const char *name);

/* Bytes of n values without the tail. n must be whole blocks. */
size_t stn_quant_size(enum stn_quant_type type, size_t n);

/* dst[i] = value i of src. False, and nothing written, when this build cannot read the format as floats. */
bool stn_quant_to_f32(enum stn_quant_type type, float *dst, const uint8_t *src, size_t n);

/* A ternary format taken apart: q[n] in {-1, 0, 1} and one f16 scale a block, d[n / 256]; value i is q[i] * d[i / 256].
 * False when a digit stands for none of the three (TQ2_0 has a fourth pattern; it comes out as 2). */
bool stn_quant_unpack(enum stn_quant_type type, int8_t *q, uint16_t *d, const uint8_t *src, size_t n);
/* And put together again: pack(unpack(x)) is x for what pack made. */
void stn_quant_pack(enum stn_quant_type type, uint8_t *dst, const int8_t *q, const uint16_t *d, size_t n);

/* I2_S: 2 bits a value and one f32 scale behind the last. Where a value lies depends on the kernels for which a file was made,
 * and no file says which they are. The number is the width w: in w bytes lie 4 w values, byte i holds values i, w + i, 2 w + i
 * and 3 w + i, the first in its highest bits; 0, 1, 2 are -1, 0, 1. */
enum stn_quant_i2_s {
    STN_QUANT_I2_S_X86 = 32,
    STN_QUANT_I2_S_ARM = 16
};
#define STN_QUANT_I2_S_BLOCK 128 /* a tensor is a whole number of these values, its rows need not be */

/* q[i] = value first + i of the tensor at src. False when one is none of the three. */
bool stn_quant_i2_s_unpack(enum stn_quant_i2_s width, int8_t *q, const uint8_t *src, size_t first, size_t n);
void stn_quant_i2_s_pack(enum stn_quant_i2_s width, uint8_t *dst, const int8_t *q, size_t n);
/* The scale of a tensor of n values. */
float stn_quant_i2_s_scale(const uint8_t *src, size_t n);

/* q[i] = max(-1, min(1, round(x[i] / mean)))     mean: of the tensor's magnitudes (BitNet b1.58, Ma et al. 2024) */
void stn_quant_ternarise(int8_t *q, const float *x, size_t n, float mean);

/* IEEE half and bfloat16, rounded half to even; infinities and NaN stay what they are. */
float stn_quant_f16(uint16_t v);
uint16_t stn_quant_to_f16(float v);
float stn_quant_bf16(uint16_t v);
uint16_t stn_quant_to_bf16(float v);

#endif
