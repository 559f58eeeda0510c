/* random: models of random ternary weights, for tests of speed, memory and format: the architecture 'bitnet' (RMSNorm,
 * sub-norms, SwiGLU, RoPE neox, tied F16 embeddings). Weights are N(0, 1/in) made ternary by their absolute mean, as
 * BitNet b1.58 does; norms 1 + N(0, 0.1^2), embeddings N(0, 0.02^2). Tensors are made and written a piece at a time, each
 * from its own stream of numbers. Thread: any. */
#ifndef STN_MODEL_RANDOM_H
#define STN_MODEL_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/model/gguf.h"
#include "compute/model/quant.h"

/* n_embd and n_ff are multiples of 256. */
struct stn_random_shape {
    const char *name;
    uint32_t n_embd, n_layers, n_heads, n_kv_heads, n_ff;
};

/* tiny, 125m, large, xl, 13b; NULL for another name. */
const struct stn_random_shape *stn_random_shape(const char *name);

/* Writes a model of the shape with the vocabulary of a file (its tokenizer.* keys). type is TQ1_0 or TQ2_0. progress,
 * if not NULL, is called with bytes done and bytes in all; false from it is STN_CANCELLED, and no file. */
enum stn_code stn_random_write(const struct stn_random_shape *shape, enum stn_quant_type type,
                               const struct stn_gguf *vocab, uint64_t seed, const char *path,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct stn_err *err) STN_CHECKED;

#endif
