/* model: the inside of a loaded base model (struct stn_model of network.h), for those who build graphs from it. */
#ifndef STN_COMPUTE_MODEL_MODEL_H
#define STN_COMPUTE_MODEL_MODEL_H

#include "compute/graph.h"
#include "compute/model/arch.h"
#include "compute/model/gguf.h"
#include "compute/model/network.h"
#include "compute/model/panels.h"
#include "compute/model/quant.h"

/* A ternary tensor of the file, and as products want it. */
struct stn_model_weight {
    const struct stn_gguf *gguf;
    const struct stn_gguf_tensor *tensor;
    float scale;      /* multiplies every value, and what an adapter adds: y = scale (W x + s B A x) */
    float own;        /* of all the tensor's values, where it has one scale: I2_S's, or floats' mean magnitude; else 0 */
    enum stn_quant_i2_s i2_s;
    bool *is_broken;  /* set where a value is not ternary */
    struct stn_matrix matrix;
    struct stn_ternary *packed;
};

/* A table of words or a gain: f32 or f16, where the file has it or a copy. */
struct stn_model_table {
    enum stn_dtype dtype;
    const void *data;
    void *own; /* NULL where it lies in the file */
    size_t size;
};

struct stn_model_layer {
    struct stn_model_table attn_norm, attn_sub_norm, ffn_norm, ffn_sub_norm; /* sub norms: data NULL where there are none */
    struct stn_model_weight weights[STN_ARCH_N_TARGETS];
};

struct stn_model {
    struct stn_gguf *gguf;
    struct stn_arch *arch;
    struct stn_model_table embeddings, output_norm, head; /* head.own is NULL and data the embeddings' where tied */
    struct stn_model_layer *layers;
    struct stn_panels *panels; /* where packed weights lie in a file of their own; else NULL */
    size_t size;               /* bytes: packed weights, and tables here or in the file */
    struct stn_model_reading reading;
    unsigned variant; /* of the packed weights that can be made from this file: what of reading mattered */
    bool is_broken;
};

#endif
