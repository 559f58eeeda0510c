#include "compute/model/arch.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* What the architectures differ in and files do not say. */
static const struct family {
    const char *name;
    enum stn_arch_rope rope;
    enum stn_arch_activation activation;
    bool has_sub_norms;
} families[] = {
    {"bitnet", STN_ARCH_NEOX, STN_ARCH_SWIGLU, true},
    {"bitnet-b1.58", STN_ARCH_NEOX, STN_ARCH_RELU2, true},
    {"bitnet-25", STN_ARCH_NEOX, STN_ARCH_RELU2, true},
    {"llama", STN_ARCH_INTERLEAVED, STN_ARCH_SWIGLU, false},
};

/* An axis of a tensor, as a member of struct stn_arch or made of several. */
enum axis {
    AXIS_NONE,
    AXIS_EMBD,
    AXIS_HEADS,    /* n_heads * head_dim */
    AXIS_KV_HEADS, /* n_kv_heads * head_dim */
    AXIS_FF,
    AXIS_VOCAB
};

static const struct target {
    const char *name, *word, *module;
    enum axis in, out;
} targets[STN_ARCH_N_TARGETS] = {
    [STN_ARCH_Q] = {"attn_q", "q", "self_attn.q_proj", AXIS_EMBD, AXIS_HEADS},
    [STN_ARCH_K] = {"attn_k", "k", "self_attn.k_proj", AXIS_EMBD, AXIS_KV_HEADS},
    [STN_ARCH_V] = {"attn_v", "v", "self_attn.v_proj", AXIS_EMBD, AXIS_KV_HEADS},
    [STN_ARCH_O] = {"attn_output", "o", "self_attn.o_proj", AXIS_HEADS, AXIS_EMBD},
    [STN_ARCH_GATE] = {"ffn_gate", "gate", "mlp.gate_proj", AXIS_EMBD, AXIS_FF},
    [STN_ARCH_UP] = {"ffn_up", "up", "mlp.up_proj", AXIS_EMBD, AXIS_FF},
    [STN_ARCH_DOWN] = {"ffn_down", "down", "mlp.down_proj", AXIS_FF, AXIS_EMBD},
};

static const struct norm {
    const char *name;
    size_t offset; /* in struct stn_arch_layer */
    enum axis axis;
    bool sub;
} norms[] = {
    {"attn_norm", offsetof(struct stn_arch_layer, attn_norm), AXIS_EMBD, false},
    {"attn_sub_norm", offsetof(struct stn_arch_layer, attn_sub_norm), AXIS_HEADS, true},
    {"ffn_norm", offsetof(struct stn_arch_layer, ffn_norm), AXIS_EMBD, false},
    {"ffn_sub_norm", offsetof(struct stn_arch_layer, ffn_sub_norm), AXIS_FF, true},
};

/* Whole numbers of the metadata: ARCH.name, where they go, and what they may be. */
static const struct number {
    const char *name;
    size_t offset;
    uint32_t most;
    bool optional; /* then 0 when absent: settled afterwards */
} numbers[] = {
    {"block_count", offsetof(struct stn_arch, n_layers), STN_ARCH_N_LAYERS, false},
    {"embedding_length", offsetof(struct stn_arch, n_embd), STN_ARCH_N_EMBD, false},
    {"attention.head_count", offsetof(struct stn_arch, n_heads), STN_ARCH_N_HEADS, false},
    {"attention.head_count_kv", offsetof(struct stn_arch, n_kv_heads), STN_ARCH_N_HEADS, true},
    {"attention.key_length", offsetof(struct stn_arch, head_dim), STN_ARCH_N_EMBD, true},
    {"feed_forward_length", offsetof(struct stn_arch, n_ff), STN_ARCH_N_FF, false},
    {"context_length", offsetof(struct stn_arch, context), UINT32_MAX, false},
};

static uint32_t size_of(const struct stn_arch *arch, enum axis axis)
{
    switch (axis) {
    case AXIS_EMBD:
        return arch->n_embd;
    case AXIS_HEADS:
        return arch->n_heads * arch->head_dim;
    case AXIS_KV_HEADS:
        return arch->n_kv_heads * arch->head_dim;
    case AXIS_FF:
        return arch->n_ff;
    case AXIS_VOCAB:
        return arch->n_vocab;
    default:
        return 1;
    }
}

double stn_arch_frequency(const struct stn_arch *arch, size_t i)
{
    double f = pow((double)arch->rope_base, -2.0 * (double)i / (double)arch->head_dim) / (double)arch->rope_factor;
    float divisor = 1;
    if (arch->rope_freqs != NULL) {
        memcpy(&divisor, arch->rope_freqs->data + i * sizeof divisor, sizeof divisor);
    }
    return f / (double)divisor;
}

void stn_arch_slow_down(float *divisors, uint32_t head_dim, double base, const struct stn_arch_slowing *slowing)
{
    for (uint32_t i = 0; i < head_dim / 2; i++) {
        double wave = 2 * 3.14159265358979323846 * pow(base, 2.0 * i / head_dim);
        double smooth = (slowing->context / wave - slowing->low) / (slowing->high - slowing->low);
        smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
        divisors[i] = (float)(1 / ((1 - smooth) / slowing->factor + smooth));
    }
}

bool stn_arch_interleaves(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].name, name) == 0) {
            return families[i].rope == STN_ARCH_INTERLEAVED;
        }
    }
    return false;
}

uint32_t stn_arch_in(const struct stn_arch *arch, enum stn_arch_target target)
{
    return size_of(arch, targets[target].in);
}

uint32_t stn_arch_out(const struct stn_arch *arch, enum stn_arch_target target)
{
    return size_of(arch, targets[target].out);
}

const char *stn_arch_target_name(enum stn_arch_target target)
{
    assert(target < STN_ARCH_N_TARGETS);
    return targets[target].name;
}

const char *stn_arch_module_name(enum stn_arch_target target)
{
    assert(target < STN_ARCH_N_TARGETS);
    return targets[target].module;
}

float stn_arch_scale(const struct stn_arch *arch, uint32_t layer, enum stn_arch_target target)
{
    const struct stn_gguf_tensor *tensor = arch->layers[layer].linears[target].scale;
    float scale = 1;
    if (tensor != NULL) {
        memcpy(&scale, tensor->data, sizeof scale);
    }
    return scale;
}

bool stn_arch_is_scaled(const struct stn_arch *arch)
{
    for (size_t i = 0; i < (size_t)arch->n_layers * STN_ARCH_N_TARGETS; i++) {
        if (arch->layers[i / STN_ARCH_N_TARGETS].linears[i % STN_ARCH_N_TARGETS].scale != NULL) {
            return true;
        }
    }
    return false;
}

enum stn_code stn_arch_targets(const char *text, uint32_t *ret_mask, struct stn_err *err)
{
    uint32_t mask = strcmp(text, "all") == 0 ? STN_ARCH_ALL : 0;
    for (const char *p = text; mask != STN_ARCH_ALL || p != text;) {
        size_t size = strcspn(p, ","), t = 0;
        while (t < STN_ARCH_N_TARGETS &&
               (strlen(targets[t].word) != size || memcmp(targets[t].word, p, size) != 0)) {
            t++;
        }
        if (t == STN_ARCH_N_TARGETS) {
            return stn_err_set(err, STN_INVALID, "%.*s is no target: all, or some of q,k,v,o,gate,up,down",
                               size < 40 ? (int)size : 40, p);
        }
        mask |= 1u << t;
        p += size;
        if (*p == 0) {
            break;
        }
        p++;
    }
    *ret_mask = mask;
    return STN_OK;
}

const char *stn_arch_targets_text(uint32_t mask, char dst[static STN_ARCH_TARGETS_TEXT])
{
    size_t used = 0;
    dst[0] = '\0';
    for (size_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
        if ((mask >> t & 1) != 0) {
            int n = snprintf(dst + used, STN_ARCH_TARGETS_TEXT - used, "%s%s", used == 0 ? "" : ",", targets[t].word);
            used += (size_t)n;
        }
    }
    return dst;
}

/* ARCH.name, in a buffer of the caller. */
static const char *key_of(char dst[static STN_GGUF_NAME], const struct stn_arch *arch, const char *name)
{
    (void)snprintf(dst, STN_GGUF_NAME, "%s.%s", arch->name, name);
    return dst;
}

static enum stn_code read_numbers(struct stn_arch *arch, struct stn_err *err)
{
    char key[STN_GGUF_NAME];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const struct number *number = &numbers[i];
        uint32_t *to = (uint32_t *)(void *)((char *)arch + number->offset);
        enum stn_code code = stn_gguf_u32(arch->gguf, key_of(key, arch, number->name), to, err);
        if (code == STN_NOT_FOUND && number->optional) {
            continue;
        }
        if (code != STN_OK) {
            return code;
        }
        if (*to == 0 || *to > number->most) {
            return stn_err_set(err, STN_LIMIT, "%.100s: %s is %u, not 1 to %u", arch->gguf->path, key, *to,
                               number->most);
        }
    }
    return STN_OK;
}

/* The floats, and the rotary settings that this build does not know: it says so instead of computing something else. */
static enum stn_code read_rope(struct stn_arch *arch, struct stn_err *err)
{
    char key[STN_GGUF_NAME];
    struct stn_gguf_str type = {0};
    float factor = 1;
    uint32_t n_rotated = arch->head_dim;
    arch->rope_base = 10000;
    enum stn_code code = stn_gguf_f32(
        arch->gguf, key_of(key, arch, "attention.layer_norm_rms_epsilon"), &arch->rms_eps, err);
    if (code != STN_OK) {
        return code;
    }
    code = stn_gguf_f32(arch->gguf, key_of(key, arch, "rope.freq_base"), &arch->rope_base, err);
    if (code == STN_OK || code == STN_NOT_FOUND) {
        code = stn_gguf_f32(arch->gguf, key_of(key, arch, "rope.scaling.factor"), &factor, err);
    }
    if (code == STN_OK || code == STN_NOT_FOUND) {
        code = stn_gguf_str(arch->gguf, key_of(key, arch, "rope.scaling.type"), &type, err);
    }
    if (code == STN_OK || code == STN_NOT_FOUND) {
        code = stn_gguf_u32(arch->gguf, key_of(key, arch, "rope.dimension_count"), &n_rotated, err);
    }
    if (code != STN_OK && code != STN_NOT_FOUND) {
        return code;
    }
    if (!(arch->rms_eps >= 0 && arch->rms_eps < 1) || !(arch->rope_base > 0 && isfinite(arch->rope_base))) {
        return stn_err_set(err, STN_CORRUPT, "%.100s: epsilon %g and rope base %g make no model",
                           arch->gguf->path, (double)arch->rms_eps, (double)arch->rope_base);
    }
    bool is_linear = type.size == 0 || stn_gguf_is(type, "linear"), is_none = stn_gguf_is(type, "none");
    arch->rope_factor = is_none || factor == 0 ? 1 : factor;
    if (n_rotated != arch->head_dim || !(is_linear || is_none) || !(arch->rope_factor >= 1 && arch->rope_factor < 1e6f)) {
        return stn_err_set(err, STN_UNSUPPORTED,
                           "%.100s: %u of %u dimensions rotated, scaled by %.*s %g: only all, and linear from 1 up, are supported",
                           arch->gguf->path, n_rotated, arch->head_dim,
                           type.size < 16 ? (int)type.size : 16, type.size == 0 ? "" : type.p, (double)factor);
    }
    return STN_OK;
}

static enum stn_code read_shape(struct stn_arch *arch, struct stn_err *err)
{
    enum stn_code code = read_numbers(arch, err);
    if (code != STN_OK) {
        return code;
    }
    if (arch->n_kv_heads == 0) {
        arch->n_kv_heads = arch->n_heads;
    }
    if (arch->head_dim == 0) {
        arch->head_dim = arch->n_embd / arch->n_heads;
    }
    if (arch->n_heads % arch->n_kv_heads != 0 || arch->head_dim == 0 || arch->head_dim % 2 != 0 ||
        arch->n_heads * (uint64_t)arch->head_dim > STN_ARCH_N_EMBD) {
        return stn_err_set(err, STN_CORRUPT, "%.100s: %u heads of %u with %u for keys make no attention",
                           arch->gguf->path, arch->n_heads, arch->head_dim, arch->n_kv_heads);
    }
    return read_rope(arch, err);
}

/* Finds a tensor of ne = {in, out} (out 1: a vector). NULL in *ret when it is optional and absent. */
static enum stn_code find(const struct stn_arch *arch, const char *name, uint32_t in, uint32_t out,
                          bool optional, const struct stn_gguf_tensor **ret, struct stn_err *err)
{
    const struct stn_gguf_tensor *tensor = stn_gguf_tensor(arch->gguf, name);
    if (tensor == NULL) {
        *ret = NULL;
        return optional ? STN_OK
                        : stn_err_set(err, STN_NOT_FOUND, "%.100s: no tensor %s, which %s models have",
                                      arch->gguf->path, name, arch->name);
    }
    if (tensor->ne[0] != in || tensor->ne[1] != out || tensor->ne[2] != 1 || tensor->ne[3] != 1) {
        return stn_err_set(err, STN_CORRUPT, "%.80s: tensor %.60s is %llu x %llu, not %u x %u",
                           arch->gguf->path, name, (unsigned long long)tensor->ne[1],
                           (unsigned long long)tensor->ne[0], out, in);
    }
    *ret = tensor;
    return STN_OK;
}

/* A norm's weights and scales are small and read as floats by value: other formats have no use there. */
static enum stn_code find_f32(const struct stn_arch *arch, const char *name, uint32_t n, bool optional,
                              const struct stn_gguf_tensor **ret, struct stn_err *err)
{
    enum stn_code code = find(arch, name, n, 1, optional, ret, err);
    if (code == STN_OK && *ret != NULL && (*ret)->type != STN_QUANT_F32) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: tensor %.80s is %s, only f32 is supported there",
                           arch->gguf->path, name, stn_quant_format((*ret)->type)->name);
    }
    return code;
}

static enum stn_code find_layer(struct stn_arch *arch, uint32_t number, size_t *n_found,
                                struct stn_err *err)
{
    struct stn_arch_layer *layer = &arch->layers[number];
    char name[STN_GGUF_NAME];
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        if (norms[i].sub && !arch->has_sub_norms) {
            continue;
        }
        const struct stn_gguf_tensor **to =
            (const struct stn_gguf_tensor **)(void *)((char *)layer + norms[i].offset);
        (void)snprintf(name, sizeof name, "blk.%u.%s.weight", number, norms[i].name);
        enum stn_code code = find_f32(arch, name, size_of(arch, norms[i].axis), false, to, err);
        if (code != STN_OK) {
            return code;
        }
        ++*n_found;
    }
    for (size_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
        struct stn_arch_linear *linear = &layer->linears[t];
        linear->in = size_of(arch, targets[t].in);
        linear->out = size_of(arch, targets[t].out);
        (void)snprintf(name, sizeof name, "blk.%u.%s.weight", number, targets[t].name);
        enum stn_code code = find(arch, name, linear->in, linear->out, false, &linear->weight, err);
        if (code == STN_OK) {
            (void)snprintf(name, sizeof name, "blk.%u.%s.scale", number, targets[t].name);
            code = find_f32(arch, name, 1, true, &linear->scale, err);
        }
        if (code == STN_OK && linear->scale != NULL && !(stn_arch_scale(arch, number, (enum stn_arch_target)t) > 0)) {
            code = stn_err_set(err, STN_CORRUPT, "%.100s: tensor %.80s is no number above 0", arch->gguf->path, name);
        }
        if (code != STN_OK) {
            return code;
        }
        *n_found += linear->scale == NULL ? 1 : 2;
    }
    return STN_OK;
}

/* Long contexts slow some frequencies down: numbers of their own, of Llama 3.1 and its kin. */
static enum stn_code find_freqs(struct stn_arch *arch, struct stn_err *err)
{
    enum stn_code code = find_f32(arch, "rope_freqs.weight", arch->head_dim / 2, true, &arch->rope_freqs, err);
    for (size_t i = 0; code == STN_OK && arch->rope_freqs != NULL && i < arch->head_dim / 2; i++) {
        float divisor;
        memcpy(&divisor, arch->rope_freqs->data + i * sizeof divisor, sizeof divisor);
        if (!(divisor > 0 && isfinite(divisor))) {
            code = stn_err_set(err, STN_CORRUPT, "%.100s: rope_freqs %zu is %g", arch->gguf->path, i, (double)divisor);
        }
    }
    return code;
}

/* The vocabulary's size is that of the embedding; what the metadata says must agree. */
static enum stn_code find_ends(struct stn_arch *arch, size_t *n_found, struct stn_err *err)
{
    const struct stn_gguf_tensor *embd = stn_gguf_tensor(arch->gguf, "token_embd.weight");
    uint64_t n_vocab = embd == NULL ? 1 : embd->ne[1];
    char key[STN_GGUF_NAME];
    enum stn_code code = stn_gguf_u64(arch->gguf, key_of(key, arch, "vocab_size"), &n_vocab, err);
    if (code != STN_OK && code != STN_NOT_FOUND) {
        return code;
    }
    if (n_vocab == 0 || n_vocab > STN_ARCH_N_VOCAB) {
        return stn_err_set(err, STN_LIMIT, "%.100s: a vocabulary of %llu, not 1 to %d", arch->gguf->path,
                           (unsigned long long)n_vocab, STN_ARCH_N_VOCAB);
    }
    arch->n_vocab = (uint32_t)n_vocab;
    code = find(arch, "token_embd.weight", arch->n_embd, arch->n_vocab, false, &arch->token_embd, err);
    if (code == STN_OK) {
        code = find_f32(arch, "output_norm.weight", arch->n_embd, false, &arch->output_norm, err);
    }
    if (code == STN_OK) {
        code = find_freqs(arch, err);
    }
    if (code == STN_OK) {
        code = find(arch, "output.weight", arch->n_embd, arch->n_vocab, true, &arch->output, err);
    }
    if (code != STN_OK) {
        return code;
    }
    arch->tied = arch->output == NULL;
    *n_found += (arch->tied ? 2u : 3u) + (arch->rope_freqs == NULL ? 0 : 1);
    if (arch->tied) {
        arch->output = arch->token_embd;
    }
    return STN_OK;
}

static bool is_placed(const struct stn_arch *arch, const struct stn_gguf_tensor *tensor)
{
    if (tensor == arch->token_embd || tensor == arch->output_norm || tensor == arch->output || tensor == arch->rope_freqs) {
        return true;
    }
    for (uint32_t i = 0; i < arch->n_layers; i++) {
        const struct stn_arch_layer *layer = &arch->layers[i];
        if (tensor == layer->attn_norm || tensor == layer->attn_sub_norm || tensor == layer->ffn_norm ||
            tensor == layer->ffn_sub_norm) {
            return true;
        }
        for (size_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
            if (tensor == layer->linears[t].weight || tensor == layer->linears[t].scale) {
                return true;
            }
        }
    }
    return false;
}

/* A tensor that the family does not have (a bias, say) would change the model's answers: it is not passed over. */
static enum stn_code refuse_others(const struct stn_arch *arch, struct stn_err *err)
{
    for (size_t i = 0; i < arch->gguf->n_tensors; i++) {
        if (!is_placed(arch, &arch->gguf->tensors[i])) {
            return stn_err_set(err, STN_UNSUPPORTED, "%.100s: tensor %.90s has no place in a %s model",
                               arch->gguf->path, arch->gguf->tensors[i].name, arch->name);
        }
    }
    assert(false);
    return STN_UNSUPPORTED;
}

static enum stn_code resolve(struct stn_arch *arch, struct stn_err *err)
{
    enum stn_code code = read_shape(arch, err);
    size_t n_found = 0;
    if (code == STN_OK) {
        code = find_ends(arch, &n_found, err);
    }
    if (code != STN_OK) {
        return code;
    }
    arch->layers = stn_arena_new(&arch->arena, arch->n_layers, sizeof *arch->layers);
    if (arch->layers == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %u layers", arch->n_layers);
    }
    for (uint32_t i = 0; i < arch->n_layers; i++) {
        code = find_layer(arch, i, &n_found, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return n_found == arch->gguf->n_tensors ? STN_OK : refuse_others(arch, err);
}

enum stn_code stn_arch_new(struct stn_arch **ret, const struct stn_gguf *gguf, struct stn_err *err)
{
    struct stn_gguf_str name;
    enum stn_code code = stn_gguf_str(gguf, "general.architecture", &name, err);
    if (code != STN_OK) {
        return code;
    }
    const struct family *family = families;
    const struct family *end = families + sizeof families / sizeof *families;
    while (family < end && !stn_gguf_is(name, family->name)) {
        family++;
    }
    if (family == end) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: architecture %.*s is not supported", gguf->path,
                           name.size < 60 ? (int)name.size : 60, name.p);
    }
    struct stn_arch *arch = stn_mem_new(1, sizeof *arch);
    if (arch == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a model");
    }
    arch->gguf = gguf;
    arch->name = family->name;
    arch->rope = family->rope;
    arch->activation = family->activation;
    arch->has_sub_norms = family->has_sub_norms;
    code = resolve(arch, err);
    if (code != STN_OK) {
        stn_arch_free(arch);
        return code;
    }
    *ret = arch;
    return STN_OK;
}

void stn_arch_free(struct stn_arch *arch)
{
    if (arch == NULL) {
        return;
    }
    stn_arena_fini(&arch->arena);
    stn_mem_free(arch);
}

uint64_t stn_arch_n_ternary(const struct stn_arch *arch)
{
    uint64_t n = 0;
    for (size_t t = 0; t < STN_ARCH_N_TARGETS; t++) {
        n += (uint64_t)size_of(arch, targets[t].in) * size_of(arch, targets[t].out);
    }
    return n * arch->n_layers;
}

uint64_t stn_arch_n_params(const struct stn_arch *arch)
{
    uint64_t per_layer = 0;
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        per_layer += norms[i].sub && !arch->has_sub_norms ? 0 : size_of(arch, norms[i].axis);
    }
    uint64_t head = (uint64_t)arch->n_vocab * arch->n_embd;
    return stn_arch_n_ternary(arch) + per_layer * arch->n_layers + head * (arch->tied ? 1 : 2) +
           arch->n_embd;
}
