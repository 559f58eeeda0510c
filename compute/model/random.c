#include "compute/model/random.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "compute/model/arch.h"
#include "compute/model/gguf_write.h"

#define CONTEXT 2048
#define PIECE ((size_t)1 << 18) /* values made at a time: whole blocks */

static const struct stn_random_shape shapes[] = {
    {"tiny", 256, 4, 4, 4, 768},        {"125m", 768, 12, 12, 12, 2048},   {"large", 1536, 24, 16, 16, 4096},
    {"xl", 2048, 24, 32, 32, 5632},     {"13b", 5120, 40, 40, 40, 13824},
};

#define N_SHAPES (sizeof shapes / sizeof *shapes)

const struct stn_random_shape *stn_random_shape(const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

/* What a tensor's numbers are. */
enum filling {
    EMBEDDING,
    NORM,
    TERNARY
};

struct writing {
    const struct stn_random_shape *shape;
    enum stn_quant_type type;
    uint64_t n_vocab, seed;
    struct stn_gguf_write *w;
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
    uint64_t done, total;
    int8_t *q;      /* PIECE values */
    uint16_t *d;    /* their scales */
    uint8_t *bytes; /* their blocks */
};

/* Describes or makes one tensor. */
typedef enum stn_code visit(struct writing *writing, const char *name, enum filling filling, uint64_t in,
                            uint64_t out, struct stn_err *err);

static enum stn_code visit_layer(struct writing *writing, uint32_t layer, visit *visitor, struct stn_err *err)
{
    const struct stn_random_shape *s = writing->shape;
    uint64_t kv = s->n_embd / s->n_heads * s->n_kv_heads;
    const struct {
        const char *name;
        enum filling filling;
        uint64_t in, out;
    } tensors[] = {
        {"attn_norm", NORM, s->n_embd, 1},
        {"attn_sub_norm", NORM, s->n_embd, 1},
        {"ffn_norm", NORM, s->n_embd, 1},
        {"ffn_sub_norm", NORM, s->n_ff, 1},
        {"attn_q", TERNARY, s->n_embd, s->n_embd},
        {"attn_k", TERNARY, s->n_embd, kv},
        {"attn_v", TERNARY, s->n_embd, kv},
        {"attn_output", TERNARY, s->n_embd, s->n_embd},
        {"ffn_gate", TERNARY, s->n_embd, s->n_ff},
        {"ffn_up", TERNARY, s->n_embd, s->n_ff},
        {"ffn_down", TERNARY, s->n_ff, s->n_embd},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        char name[STN_GGUF_NAME];
        (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, tensors[i].name);
        enum stn_code code = visitor(writing, name, tensors[i].filling, tensors[i].in, tensors[i].out, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return STN_OK;
}

/* Every tensor of the model, in the file's order. */
static enum stn_code visit_all(struct writing *writing, visit *visitor, struct stn_err *err)
{
    const struct stn_random_shape *s = writing->shape;
    enum stn_code code = visitor(writing, "token_embd.weight", EMBEDDING, s->n_embd, writing->n_vocab, err);
    if (code == STN_OK) {
        code = visitor(writing, "output_norm.weight", NORM, s->n_embd, 1, err);
    }
    for (uint32_t layer = 0; layer < s->n_layers && code == STN_OK; layer++) {
        code = visit_layer(writing, layer, visitor, err);
    }
    return code;
}

static enum stn_quant_type type_of(const struct writing *writing, enum filling filling)
{
    return filling == TERNARY ? writing->type : filling == NORM ? STN_QUANT_F32 : STN_QUANT_F16;
}

static enum stn_code describe(struct writing *writing, const char *name, enum filling filling, uint64_t in,
                              uint64_t out, struct stn_err *err)
{
    (void)err;
    enum stn_quant_type type = type_of(writing, filling);
    stn_gguf_write_tensor(writing->w, name, type, filling == NORM ? 1 : 2, (uint64_t[]){in, out});
    writing->total += stn_quant_size(type, (size_t)(in * out));
    return STN_OK;
}

/* A normal weight over its absolute mean sqrt(2 / pi) / sqrt(in), rounded and clipped, is 0 where the normal number is
 * below half of sqrt(2 / pi): with probability erf(1 / (2 sqrt(pi))) = 0.310090. Four values a random number, each
 * from sixteen bits: the sign is the lowest. */
static void fill_ternary(struct writing *writing, struct stn_rng *rng, uint64_t in, size_t n)
{
    const uint64_t zeroes = (uint64_t)lrint(erf(0.5 / sqrt(3.14159265358979323846)) * 32768);
    uint16_t scale = stn_quant_to_f16((float)sqrt(2 / 3.14159265358979323846 / (double)in));
    for (size_t i = 0; i < n; i += 4) {
        uint64_t bits = stn_rng_u64(rng);
        for (size_t k = 0; k < 4; k++, bits >>= 16) {
            int8_t sign = (int8_t)((bits & 1) * 2) - 1;
            writing->q[i + k] = (bits >> 1 & 0x7fff) < zeroes ? 0 : sign;
        }
    }
    for (size_t b = 0; b < n / STN_QUANT_TERNARY; b++) {
        writing->d[b] = scale;
    }
    stn_quant_pack(writing->type, writing->bytes, writing->q, writing->d, n);
}

static void fill_floats(struct writing *writing, struct stn_rng *rng, enum filling filling, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v = stn_rng_normal(rng);
        if (filling == NORM) {
            float norm = (float)(1 + 0.1 * v);
            memcpy(writing->bytes + i * sizeof norm, &norm, sizeof norm);
        } else {
            uint16_t half = stn_quant_to_f16((float)(0.02 * v));
            memcpy(writing->bytes + i * sizeof half, &half, sizeof half);
        }
    }
}

static enum stn_code make(struct writing *writing, const char *name, enum filling filling, uint64_t in,
                          uint64_t out, struct stn_err *err)
{
    struct stn_rng rng;
    stn_rng_fork(&rng, writing->seed, name, 0);
    for (uint64_t left = in * out; left > 0;) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        size_t size = stn_quant_size(type_of(writing, filling), n);
        if (filling == TERNARY) {
            fill_ternary(writing, &rng, in, n);
        } else {
            fill_floats(writing, &rng, filling, n);
        }
        enum stn_code code = stn_gguf_write_data(writing->w, writing->bytes, size, err);
        if (code != STN_OK) {
            return code;
        }
        left -= n;
        writing->done += size;
        if (writing->progress != NULL && !writing->progress(writing->context, writing->done, writing->total)) {
            return stn_err_set(err, STN_CANCELLED, "stopped before the model was whole");
        }
    }
    return STN_OK;
}

static enum stn_code write_head(struct writing *writing, const struct stn_gguf *vocab, struct stn_err *err)
{
    const struct stn_random_shape *s = writing->shape;
    struct stn_gguf_array tokens;
    enum stn_code code = stn_gguf_array(vocab, "tokenizer.ggml.tokens", STN_GGUF_STR, &tokens, err);
    if (code != STN_OK) {
        return code;
    }
    if (tokens.n == 0 || tokens.n > STN_ARCH_N_VOCAB) {
        return stn_err_set(err, STN_LIMIT, "%.100s: a vocabulary of %zu, not 1 to %d", vocab->path, tokens.n,
                           STN_ARCH_N_VOCAB);
    }
    writing->n_vocab = tokens.n;
    char name[64];
    (void)snprintf(name, sizeof name, "random %.40s", s->name);
    stn_gguf_write_str(writing->w, "general.architecture", "bitnet");
    stn_gguf_write_str(writing->w, "general.name", name);
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"bitnet.context_length", CONTEXT},
        {"bitnet.embedding_length", s->n_embd},
        {"bitnet.block_count", s->n_layers},
        {"bitnet.feed_forward_length", s->n_ff},
        {"bitnet.attention.head_count", s->n_heads},
        {"bitnet.attention.head_count_kv", s->n_kv_heads},
        {"bitnet.rope.dimension_count", s->n_embd / s->n_heads},
        {"bitnet.vocab_size", (uint32_t)tokens.n},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        stn_gguf_write_u32(writing->w, numbers[i].key, numbers[i].value);
    }
    stn_gguf_write_f32(writing->w, "bitnet.attention.layer_norm_rms_epsilon", 1e-5f);
    stn_gguf_write_f32(writing->w, "bitnet.rope.freq_base", 10000);
    for (size_t i = 0; i < vocab->n_values; i++) {
        if (stn_str_starts(vocab->values[i].key, "tokenizer.")) {
            stn_gguf_write_value(writing->w, &vocab->values[i]);
        }
    }
    return visit_all(writing, describe, err);
}

enum stn_code stn_random_write(const struct stn_random_shape *shape, enum stn_quant_type type,
                               const struct stn_gguf *vocab, uint64_t seed, const char *path,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct stn_err *err)
{
    assert(stn_quant_format(type)->ternary && shape->n_embd % STN_QUANT_TERNARY == 0 &&
           shape->n_ff % STN_QUANT_TERNARY == 0 && shape->n_embd % shape->n_heads == 0);
    struct writing writing = {.shape = shape, .type = type, .seed = seed, .progress = progress, .context = context};
    writing.q = stn_mem_new(PIECE, sizeof *writing.q);
    writing.d = stn_mem_new(PIECE / STN_QUANT_TERNARY, sizeof *writing.d);
    writing.bytes = stn_mem_new(PIECE, sizeof(float));
    enum stn_code code = stn_gguf_write_new(&writing.w, err);
    if (code == STN_OK && (writing.q == NULL || writing.d == NULL || writing.bytes == NULL)) {
        code = stn_err_set(err, STN_MEMORY, "no memory to make a model");
    }
    if (code == STN_OK) {
        code = write_head(&writing, vocab, err);
    }
    if (code == STN_OK) {
        code = stn_gguf_write_begin(writing.w, path, err);
    }
    if (code == STN_OK) {
        code = visit_all(&writing, make, err);
    }
    if (code == STN_OK) {
        code = stn_gguf_write_end(writing.w, err);
    }
    stn_gguf_write_free(writing.w);
    stn_mem_free(writing.q);
    stn_mem_free(writing.d);
    stn_mem_free(writing.bytes);
    return code;
}
