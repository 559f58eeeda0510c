/* arch: which model a file holds: its hyperparameters by name and its tensors by place, each of the shape that the
 * hyperparameters ask for. Families are rows of a table. A tensor that is missing, mis-shaped or has no place in
 * the family is one error: a model that loads is run whole. Thread: any, it never changes. */
#ifndef STN_MODEL_ARCH_H
#define STN_MODEL_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "compute/model/gguf.h"

#define STN_ARCH_N_LAYERS 1024
#define STN_ARCH_N_HEADS 1024
#define STN_ARCH_N_EMBD 65536
#define STN_ARCH_N_FF (1 << 20)
#define STN_ARCH_N_VOCAB (1 << 22)

/* The seven ternary products of a layer, in the order that everything keeps: adapters, tables, graphs. */
enum stn_arch_target {
    STN_ARCH_Q,
    STN_ARCH_K,
    STN_ARCH_V,
    STN_ARCH_O,
    STN_ARCH_GATE,
    STN_ARCH_UP,
    STN_ARCH_DOWN,
    STN_ARCH_N_TARGETS
};
#define STN_ARCH_ALL ((1u << STN_ARCH_N_TARGETS) - 1) /* a mask of targets: bit t is target t */

enum stn_arch_rope {
    STN_ARCH_NEOX,       /* pairs (i, i + head_dim / 2) */
    STN_ARCH_INTERLEAVED /* pairs (2 i, 2 i + 1) */
};

enum stn_arch_activation {
    STN_ARCH_SWIGLU, /* silu(gate) * up */
    STN_ARCH_RELU2   /* relu(gate)^2 * up */
};

/* y = W x      weight: (out, in) row-major, ne = {in, out} */
struct stn_arch_linear {
    const struct stn_gguf_tensor *weight;
    const struct stn_gguf_tensor *scale; /* f32[1] that multiplies the weight, or NULL */
    uint32_t in, out;
};

struct stn_arch_layer {
    const struct stn_gguf_tensor *attn_norm;     /* (n_embd) */
    const struct stn_gguf_tensor *attn_sub_norm; /* (n_heads * head_dim), before wo; NULL without sub-norms */
    const struct stn_gguf_tensor *ffn_norm;      /* (n_embd) */
    const struct stn_gguf_tensor *ffn_sub_norm;  /* (n_ff), before w_down; NULL without sub-norms */
    struct stn_arch_linear linears[STN_ARCH_N_TARGETS];
};

struct stn_arch {
    const struct stn_gguf *gguf; /* borrowed: it outlives this */
    const char *name;            /* general.architecture */
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context;
    float rms_eps, rope_base;
    float rope_factor; /* positions are divided by it: 1, or a linear scaling to longer contexts */
    enum stn_arch_rope rope;
    enum stn_arch_activation activation;
    bool has_sub_norms;
    bool tied; /* the head is token_embd */
    const struct stn_gguf_tensor *rope_freqs;  /* (head_dim / 2): what each pair's frequency is divided by, or NULL */
    const struct stn_gguf_tensor *token_embd;  /* (n_vocab, n_embd) */
    const struct stn_gguf_tensor *output_norm; /* (n_embd) */
    const struct stn_gguf_tensor *output;      /* (n_vocab, n_embd); token_embd itself when tied */
    struct stn_arch_layer *layers;             /* n_layers */
    struct stn_arena arena;
};

/* The caller frees *ret, before it closes gguf. STN_UNSUPPORTED for another architecture. */
enum stn_code stn_arch_new(struct stn_arch **ret, const struct stn_gguf *gguf,
                           struct stn_err *err) STN_CHECKED;
void stn_arch_free(struct stn_arch *arch);

/* Whether the family of this name turns neighbouring rows of q and k; false for a name that is none. */
bool stn_arch_interleaves(const char *name);

/* The angle by which pair i < head_dim / 2 of a head turns from one position to the next (RoFormer, Su et al. 2021), with
 * the model's scaling. */
double stn_arch_frequency(const struct stn_arch *arch, size_t i);

/* Llama 3.1's way to longer contexts: frequencies with fewer than `low` turns in the old context are divided by factor, those
 * with more than `high` stay, those between go over. divisors: (head_dim / 2), as rope_freqs has them. */
struct stn_arch_slowing {
    double factor, low, high, context;
};
void stn_arch_slow_down(float *divisors, uint32_t head_dim, double base, const struct stn_arch_slowing *slowing);

/* A target's columns and rows, without its tensor: from the hyperparameters alone. */
uint32_t stn_arch_in(const struct stn_arch *arch, enum stn_arch_target target);
uint32_t stn_arch_out(const struct stn_arch *arch, enum stn_arch_target target);

/* "attn_q": as in tensor names blk.N.attn_q.weight; and "self_attn.q_proj", as checkpoints call it. */
const char *stn_arch_target_name(enum stn_arch_target target);
const char *stn_arch_module_name(enum stn_arch_target target);

/* What multiplies a product besides its weight's own scales: 1 where the file has no tensor for it. */
float stn_arch_scale(const struct stn_arch *arch, uint32_t layer, enum stn_arch_target target);
/* Whether any product has one. */
bool stn_arch_is_scaled(const struct stn_arch *arch);

/* "all" or a list as "q,k,v,o,gate,up,down" to a mask. STN_INVALID for another word. */
enum stn_code stn_arch_targets(const char *text, uint32_t *ret_mask, struct stn_err *err) STN_CHECKED;
/* A mask as such a list. Returns dst. */
#define STN_ARCH_TARGETS_TEXT 32
const char *stn_arch_targets_text(uint32_t mask, char dst[static STN_ARCH_TARGETS_TEXT]);

/* How many numbers the ternary products hold in all, and how many the whole model. */
uint64_t stn_arch_n_ternary(const struct stn_arch *arch);
uint64_t stn_arch_n_params(const struct stn_arch *arch);

#endif
