/* random: models of random ternary weights, for tests of speed, memory and format, of every family that this library runs.
 * Weights are N(0, 1/in) made ternary by their absolute mean, as BitNet b1.58 does; norms 1 + N(0, 0.1^2), embeddings and
 * heads about N(0, 0.02^2). A family's head is tied or not, its frequencies slowed down or not, as they are in its best
 * known models. Tensors are made and written a piece at a time, each from its own stream of numbers. Thread: any. */
#ifndef STN_MODEL_RANDOM_H
#define STN_MODEL_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/gguf.h"
#include "compute/model/quant.h"

/* n_embd is a multiple of 256. */
struct stn_random_shape {
    const char *name;
    uint32_t n_embd, n_layers, n_heads, n_kv_heads, n_ff;
};

/* tiny, 125m, large, xl, 13b; NULL for another name. */
const struct stn_random_shape *stn_random_shape(const char *name);

struct stn_random_kind {
    const char *arch;         /* bitnet, bitnet-b1.58, bitnet-25 or llama */
    enum stn_quant_type type; /* of the products: ternary blocks (those whose rows are no whole blocks are F16), I2_S, or
                                 floats that are ternary in fact */
    enum stn_quant_type table; /* of embeddings and head: floats, Q8_0, Q6_K or Q4_K */
    bool scaled;              /* each product has its scale in a tensor of its own */
    bool i2_s_arm;            /* how I2_S lies: see quant.h */
};

/* Whether stn_random_write knows the family. */
bool stn_random_has(const char *arch);

/* Writes a model of the shape with the vocabulary of a file (its tokenizer.* keys). progress, if not NULL, is called with
 * bytes done and bytes in all; false from it is STN_CANCELLED, and no file. */
enum stn_code stn_random_write(const struct stn_random_shape *shape, const struct stn_random_kind *kind,
                               const struct stn_gguf *vocab, uint64_t seed, const char *path,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct stn_err *err) STN_CHECKED;

#endif
