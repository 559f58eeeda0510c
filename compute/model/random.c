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
#define DEVIATION 0.02          /* of embeddings */
#define PI 3.14159265358979323846

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

static const struct family {
    const char *name;
    bool has_sub_norms, has_head, is_slowed; /* is_slowed: by 8 from a context of 512, as Llama 3.1 by 8 from 8192 */
    float base;
} families[] = {
    {"bitnet", true, false, false, 10000},
    {"bitnet-b1.58", true, false, false, 500000},
    {"bitnet-25", true, true, false, 500000},
    {"llama", false, true, true, 500000},
};

static const struct family *family_of(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].name, name) == 0) {
            return &families[i];
        }
    }
    return NULL;
}

bool stn_random_has(const char *arch)
{
    return family_of(arch) != NULL;
}

/* What a tensor's numbers are. */
enum filling {
    TABLE,
    NORM,
    TERNARY,
    SCALE,
    DIVISORS
};

struct writing {
    const struct stn_random_shape *shape;
    const struct stn_random_kind *kind;
    const struct family *family;
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
        bool sub;
    } tensors[] = {
        {"attn_norm", NORM, s->n_embd, 1, false},
        {"attn_sub_norm", NORM, s->n_embd, 1, true},
        {"ffn_norm", NORM, s->n_embd, 1, false},
        {"ffn_sub_norm", NORM, s->n_ff, 1, true},
        {"attn_q", TERNARY, s->n_embd, s->n_embd, false},
        {"attn_k", TERNARY, s->n_embd, kv, false},
        {"attn_v", TERNARY, s->n_embd, kv, false},
        {"attn_output", TERNARY, s->n_embd, s->n_embd, false},
        {"ffn_gate", TERNARY, s->n_embd, s->n_ff, false},
        {"ffn_up", TERNARY, s->n_embd, s->n_ff, false},
        {"ffn_down", TERNARY, s->n_ff, s->n_embd, false},
    };
    enum stn_code code = STN_OK;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors && code == STN_OK; i++) {
        char name[STN_GGUF_NAME];
        if (tensors[i].sub && !writing->family->has_sub_norms) {
            continue;
        }
        (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer, tensors[i].name);
        code = visitor(writing, name, tensors[i].filling, tensors[i].in, tensors[i].out, err);
        if (code == STN_OK && writing->kind->scaled && tensors[i].filling == TERNARY) {
            (void)snprintf(name, sizeof name, "blk.%u.%s.scale", layer, tensors[i].name);
            code = visitor(writing, name, SCALE, 1, 1, err);
        }
    }
    return code;
}

/* Every tensor of the model, in the file's order. */
static enum stn_code visit_all(struct writing *writing, visit *visitor, struct stn_err *err)
{
    const struct stn_random_shape *s = writing->shape;
    enum stn_code code = visitor(writing, "token_embd.weight", TABLE, s->n_embd, writing->n_vocab, err);
    code = code != STN_OK ? code : visitor(writing, "output_norm.weight", NORM, s->n_embd, 1, err);
    if (code == STN_OK && writing->family->has_head) {
        code = visitor(writing, "output.weight", TABLE, s->n_embd, writing->n_vocab, err);
    }
    if (code == STN_OK && writing->family->is_slowed) {
        code = visitor(writing, "rope_freqs.weight", DIVISORS, s->n_embd / s->n_heads / 2, 1, err);
    }
    for (uint32_t layer = 0; layer < s->n_layers && code == STN_OK; layer++) {
        code = visit_layer(writing, layer, visitor, err);
    }
    return code;
}

static enum stn_quant_type type_of(const struct writing *writing, enum filling filling, uint64_t in)
{
    enum stn_quant_type type = writing->kind->type;
    switch (filling) {
    case TERNARY:
        return stn_quant_format(type)->ternary && in % STN_QUANT_TERNARY != 0 ? STN_QUANT_F16 : type;
    case TABLE:
        return writing->kind->table;
    default:
        return STN_QUANT_F32;
    }
}

static enum stn_code describe(struct writing *writing, const char *name, enum filling filling, uint64_t in,
                              uint64_t out, struct stn_err *err)
{
    (void)err;
    enum stn_quant_type type = type_of(writing, filling, in);
    stn_gguf_write_tensor(writing->w, name, type, filling == TERNARY || filling == TABLE ? 2 : 1, (uint64_t[]){in, out});
    writing->total += stn_quant_size(type, (size_t)(in * out));
    return STN_OK;
}

static void put_u16(uint8_t *dst, uint16_t v)
{
    dst[0] = (uint8_t)v;
    dst[1] = (uint8_t)(v >> 8);
}

/* One number in a plain format. */
static void put_float(uint8_t *dst, enum stn_quant_type type, size_t i, float v)
{
    uint16_t half = type == STN_QUANT_BF16 ? stn_quant_to_bf16(v) : stn_quant_to_f16(v);
    if (type == STN_QUANT_F32) {
        memcpy(dst + i * sizeof v, &v, sizeof v);
    } else {
        memcpy(dst + i * sizeof half, &half, sizeof half);
    }
}

/* A normal weight over its absolute mean sqrt(2 / pi) / sqrt(in), rounded and clipped, is 0 where the normal number is
 * below half of sqrt(2 / pi): with probability erf(1 / (2 sqrt(pi))) = 0.310090. Four values a random number, each
 * from sixteen bits: the sign is the lowest. */
static void fill_ternary(struct writing *writing, struct stn_rng *rng, uint64_t in, size_t n)
{
    const uint64_t zeroes = (uint64_t)lrint(erf(0.5 / sqrt(PI)) * 32768);
    const enum stn_quant_type type = type_of(writing, TERNARY, in);
    const uint16_t half = stn_quant_to_f16((float)sqrt(2 / PI / (double)in));
    for (size_t i = 0; i < n; i += 4) {
        uint64_t bits = stn_rng_u64(rng);
        for (size_t k = 0; k < 4; k++, bits >>= 16) {
            int8_t sign = (int8_t)((bits & 1) * 2) - 1;
            writing->q[i + k] = (bits >> 1 & 0x7fff) < zeroes ? 0 : sign;
        }
    }
    if (stn_quant_format(type)->ternary) {
        for (size_t b = 0; b < n / STN_QUANT_TERNARY; b++) {
            writing->d[b] = half;
        }
        stn_quant_pack(type, writing->bytes, writing->q, writing->d, n);
    } else if (type == STN_QUANT_I2_S) {
        stn_quant_i2_s_pack(writing->kind->i2_s_arm ? STN_QUANT_I2_S_ARM : STN_QUANT_I2_S_X86, writing->bytes, writing->q, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            put_float(writing->bytes, type, i, (float)writing->q[i] * stn_quant_f16(half));
        }
    }
}

/* Blocks of random numbers under fixed scales: about as large as the floats would be. Where the scales of a block's parts
 * stand among its bytes, and which numbers these may be. */
static void fill_blocks(struct writing *writing, struct stn_rng *rng, enum stn_quant_type type, size_t n)
{
    const struct stn_quant_format *format = stn_quant_format(type);
    for (size_t b = 0; b < n / format->n_values; b++) {
        uint8_t *block = writing->bytes + b * format->size;
        for (size_t i = 0; i < format->size; i++) {
            block[i] = (uint8_t)stn_rng_u64(rng);
        }
        if (type == STN_QUANT_Q6_K) { /* d s (q - 32): q - 32 is about 18, s at most 16 and about 9 */
            for (size_t i = 192; i < 208; i++) {
                block[i] = (uint8_t)((int8_t)block[i] / 8);
            }
            put_u16(block + 208, stn_quant_to_f16((float)(DEVIATION / 18 / 9)));
        } else if (type == STN_QUANT_Q4_K) { /* d s q - m t: s and t about 32, q about 7.5 */
            put_u16(block, stn_quant_to_f16((float)(DEVIATION / 180)));
            put_u16(block + 2, stn_quant_to_f16((float)(DEVIATION / 180 * 7.5)));
        } else { /* Q8_0: d q */
            put_u16(block, stn_quant_to_f16((float)(DEVIATION / 74)));
        }
    }
}

static void fill_table(struct writing *writing, struct stn_rng *rng, size_t n)
{
    enum stn_quant_type type = writing->kind->table;
    if (stn_quant_format(type)->n_values > 1) {
        fill_blocks(writing, rng, type, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        put_float(writing->bytes, type, i, (float)(DEVIATION * stn_rng_normal(rng)));
    }
}

static void fill(struct writing *writing, struct stn_rng *rng, enum filling filling, uint64_t in, size_t n)
{
    switch (filling) {
    case TERNARY:
        fill_ternary(writing, rng, in, n);
        break;
    case TABLE:
        fill_table(writing, rng, n);
        break;
    case DIVISORS:
        stn_arch_slow_down((float *)(void *)writing->bytes, (uint32_t)in * 2, (double)writing->family->base,
                           &(struct stn_arch_slowing){.factor = 8, .low = 1, .high = 4, .context = 512});
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            put_float(writing->bytes, STN_QUANT_F32, i,
                      filling == SCALE ? (float)(0.5 + stn_rng_unit(rng)) : (float)(1 + 0.1 * stn_rng_normal(rng)));
        }
    }
}

/* What stands behind a tensor's values. */
static enum stn_code put_tail(struct writing *writing, enum stn_quant_type type, uint64_t in, struct stn_err *err)
{
    uint8_t tail[32] = {0};
    float scale = stn_quant_f16(stn_quant_to_f16((float)sqrt(2 / PI / (double)in)));
    size_t size = stn_quant_format(type)->tail;
    assert(size <= sizeof tail);
    memcpy(tail, &scale, sizeof scale);
    return stn_gguf_write_data(writing->w, tail, size, err);
}

static enum stn_code make(struct writing *writing, const char *name, enum filling filling, uint64_t in,
                          uint64_t out, struct stn_err *err)
{
    enum stn_quant_type type = type_of(writing, filling, in);
    struct stn_rng rng;
    stn_rng_fork(&rng, writing->seed, name, 0);
    for (uint64_t left = in * out; left > 0;) {
        size_t n = left < PIECE ? (size_t)left : PIECE;
        size_t size = stn_quant_size(type, n);
        fill(writing, &rng, filling, in, n);
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
    return put_tail(writing, type, in, err);
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
    const char *arch = writing->family->name;
    char name[64], key[96];
    (void)snprintf(name, sizeof name, "random %.40s", s->name);
    stn_gguf_write_str(writing->w, "general.architecture", arch);
    stn_gguf_write_str(writing->w, "general.name", name);
    const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {
        {"context_length", CONTEXT},
        {"embedding_length", s->n_embd},
        {"block_count", s->n_layers},
        {"feed_forward_length", s->n_ff},
        {"attention.head_count", s->n_heads},
        {"attention.head_count_kv", s->n_kv_heads},
        {"rope.dimension_count", s->n_embd / s->n_heads},
        {"vocab_size", (uint32_t)tokens.n},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        (void)snprintf(key, sizeof key, "%s.%s", arch, numbers[i].key);
        stn_gguf_write_u32(writing->w, key, numbers[i].value);
    }
    (void)snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    stn_gguf_write_f32(writing->w, key, 1e-5f);
    (void)snprintf(key, sizeof key, "%s.rope.freq_base", arch);
    stn_gguf_write_f32(writing->w, key, writing->family->base);
    for (size_t i = 0; i < vocab->n_values; i++) {
        if (stn_str_starts(vocab->values[i].key, "tokenizer.")) {
            stn_gguf_write_value(writing->w, &vocab->values[i]);
        }
    }
    return visit_all(writing, describe, err);
}

enum stn_code stn_random_write(const struct stn_random_shape *shape, const struct stn_random_kind *kind,
                               const struct stn_gguf *vocab, uint64_t seed, const char *path,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct stn_err *err)
{
    const uint32_t head = shape->n_embd / shape->n_heads;
    assert(stn_random_has(kind->arch) && shape->n_embd % STN_QUANT_TERNARY == 0 && shape->n_embd % shape->n_heads == 0 &&
           head % 2 == 0 && shape->n_heads % shape->n_kv_heads == 0);
    struct writing writing = {.shape = shape, .kind = kind, .family = family_of(kind->arch), .seed = seed,
                              .progress = progress, .context = context};
    writing.q = stn_mem_new(PIECE, sizeof *writing.q);
    writing.d = stn_mem_new(PIECE / STN_QUANT_TERNARY, sizeof *writing.d);
    writing.bytes = stn_mem_aligned(PIECE, sizeof(float));
    enum stn_code code = stn_gguf_write_new(&writing.w, err);
    if (code == STN_OK && (writing.q == NULL || writing.d == NULL || writing.bytes == NULL)) {
        code = stn_err_set(err, STN_MEMORY, "no memory to make a model");
    }
    code = code != STN_OK ? code : write_head(&writing, vocab, err);
    code = code != STN_OK ? code : stn_gguf_write_begin(writing.w, path, err);
    code = code != STN_OK ? code : visit_all(&writing, make, err);
    code = code != STN_OK ? code : stn_gguf_write_end(writing.w, err);
    stn_gguf_write_free(writing.w);
    stn_mem_free(writing.q);
    stn_mem_free(writing.d);
    stn_mem_free(writing.bytes);
    return code;
}
