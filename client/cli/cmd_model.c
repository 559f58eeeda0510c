#include "client/cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "client/cli/session.h"
#include "compute/model/convert.h"
#include "compute/model/random.h"
#include "compute/model/repack.h"

#define PIECE ((size_t)1 << 16) /* values looked at together: whole blocks of every format */

/* ---- model info ---- */

/* A model's file, and what is in it: arch is NULL for a vocabulary alone, tokenizer for weights alone. */
struct contents {
    struct stn_gguf *gguf;
    struct stn_arch *arch;
    struct stn_tokenizer *tokenizer;
};

static void close_contents(struct contents *c)
{
    stn_tokenizer_free(c->tokenizer);
    stn_arch_free(c->arch);
    stn_gguf_close(c->gguf);
}

static enum stn_code open_contents(struct contents *ret, const char *path, struct stn_err *err)
{
    struct contents c = {0};
    enum stn_code code = stn_gguf_open(&c.gguf, path, err);
    if (code == STN_OK && c.gguf->n_tensors > 0) {
        code = stn_arch_new(&c.arch, c.gguf, err);
    }
    if (code == STN_OK && (c.arch == NULL || stn_gguf_value(c.gguf, "tokenizer.ggml.model") != NULL)) {
        code = stn_tokenizer_new(&c.tokenizer, c.gguf, err);
    }
    if (code == STN_OK && c.arch != NULL && c.tokenizer != NULL &&
        stn_tokenizer_n_vocab(c.tokenizer) > c.arch->n_vocab) {
        code = stn_err_set(err, STN_CORRUPT, "%s: %u tokens, but %u rows of embeddings", path,
                           stn_tokenizer_n_vocab(c.tokenizer), c.arch->n_vocab);
    }
    if (code != STN_OK) {
        close_contents(&c);
        return code;
    }
    *ret = c;
    return STN_OK;
}

static json_t *json_str(const struct stn_gguf *gguf, const char *key)
{
    struct stn_gguf_str str;
    json_t *value = stn_gguf_str(gguf, key, &str, NULL) == STN_OK ? json_stringn(str.p, str.size) : NULL;
    return value == NULL ? json_null() : value;
}

/* Bytes and numbers of tensors by format, in the order of first appearance. */
static json_t *json_formats(const struct stn_gguf *gguf)
{
    json_t *formats = json_object();
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct stn_gguf_tensor *t = &gguf->tensors[i];
        const char *name = stn_quant_format(t->type)->name;
        json_t *row = json_object_get(formats, name);
        json_int_t n = json_integer_value(json_object_get(row, "tensors"));
        json_int_t size = json_integer_value(json_object_get(row, "bytes"));
        (void)json_object_set_new(formats, name,
                                  json_pack("{sI sI}", "tensors", n + 1, "bytes", size + (json_int_t)t->size));
    }
    return formats;
}

static void add_arch(json_t *object, const struct stn_arch *arch)
{
    json_t *part = json_pack(
        "{ss sI sI sI sI sI sI sI sI sf sf ss ss sb sb sI sI}", "architecture", arch->name, "layers",
        (json_int_t)arch->n_layers, "embedding", (json_int_t)arch->n_embd, "heads", (json_int_t)arch->n_heads,
        "kv_heads", (json_int_t)arch->n_kv_heads, "head_dim", (json_int_t)arch->head_dim, "ff", (json_int_t)arch->n_ff,
        "vocabulary", (json_int_t)arch->n_vocab, "context", (json_int_t)arch->context, "rms_eps", (double)arch->rms_eps,
        "rope_base", (double)arch->rope_base, "rope", arch->rope == STN_ARCH_NEOX ? "neox" : "interleaved", "activation",
        arch->activation == STN_ARCH_SWIGLU ? "swiglu" : "relu2", "sub_norms", (int)arch->has_sub_norms, "tied",
        (int)arch->tied, "ternary_parameters", (json_int_t)stn_arch_n_ternary(arch), "parameters",
        (json_int_t)stn_arch_n_params(arch));
    (void)json_object_update(object, part);
    json_decref(part);
}

static json_t *json_tokenizer(const struct stn_tokenizer *t)
{
    return json_pack("{ss ss sI si si si si sb ss}", "kind", stn_tokenizer_kind(t), "pre", stn_tokenizer_pre(t), "tokens",
                     (json_int_t)stn_tokenizer_n_vocab(t), "bos", stn_tokenizer_bos(t), "eos", stn_tokenizer_eos(t), "eot",
                     stn_tokenizer_eot(t), "pad", stn_tokenizer_pad(t), "adds_bos", (int)stn_tokenizer_adds_bos(t),
                     "chat_template", stn_tokenizer_chat_template(t));
}

static json_t *json_contents(const struct contents *c)
{
    json_t *object = json_pack("{ss so sI sI sI so}", "model", c->gguf->path, "name", json_str(c->gguf, "general.name"),
                               "bytes", (json_int_t)c->gguf->size, "gguf_version", (json_int_t)c->gguf->version,
                               "tensors", (json_int_t)c->gguf->n_tensors, "formats", json_formats(c->gguf));
    if (object != NULL && c->arch != NULL) {
        add_arch(object, c->arch);
    }
    if (object != NULL && c->tokenizer != NULL) {
        (void)json_object_set_new(object, "tokenizer", json_tokenizer(c->tokenizer));
    }
    return object;
}

static enum stn_code info(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    (void)parsed;
    struct contents c;
    enum stn_code code = open_contents(&c, line->args[0], err);
    if (code == STN_OK) {
        code = stn_session_take_result(json_contents(&c), line->json, err);
        close_contents(&c);
    }
    return code;
}

const struct stn_command stn_cmd_model_info = {
    .name = "model info", .args = "MODEL", .min_args = 1, .max_args = 1,
    .summary = "what a model's file holds: shape, formats, vocabulary",
    .example = "sterna model info base.gguf",
    .run = info,
};

/* ---- model check ---- */

/* What a look at every number of a file found. */
struct findings {
    uint64_t n_values, n_ternary, n_zeroes, n_scaled; /* n_scaled: ternary tensors whose blocks differ in scale */
    struct stn_progress progress;
    uint64_t done;
    int8_t *q;
    uint16_t *d;
    float *x;
};

static enum stn_code check_ternary(struct findings *f, const struct stn_gguf *gguf, const struct stn_gguf_tensor *t,
                                   const uint8_t *src, size_t n, bool *differs, struct stn_err *err)
{
    if (!stn_quant_unpack(t->type, f->q, f->d, src, n)) {
        return stn_err_set(err, STN_CORRUPT, "%.100s: tensor %.90s has a value that is not ternary", gguf->path, t->name);
    }
    for (size_t i = 0; i < n; i++) {
        f->n_zeroes += f->q[i] == 0;
    }
    for (size_t b = 0; b < n / STN_QUANT_TERNARY; b++) {
        *differs |= f->d[b] != f->d[0] && (f->d[b] & 0x7fff) != 0;
        if (!isfinite(stn_quant_f16(f->d[b]))) {
            return stn_err_set(err, STN_CORRUPT, "%.100s: tensor %.90s has a scale that is no finite number", gguf->path,
                               t->name);
        }
    }
    f->n_ternary += n;
    return STN_OK;
}

static enum stn_code check_floats(struct findings *f, const struct stn_gguf *gguf, const struct stn_gguf_tensor *t,
                                  const uint8_t *src, size_t n, struct stn_err *err)
{
    if (!stn_quant_to_f32(t->type, f->x, src, n)) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: tensor %.90s is %s, which this build cannot read", gguf->path,
                           t->name, stn_quant_format(t->type)->name);
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(f->x[i])) {
            return stn_err_set(err, STN_CORRUPT, "%.100s: tensor %.90s has a value that is no finite number", gguf->path,
                               t->name);
        }
    }
    return STN_OK;
}

/* I2_S stands by itself: its blocks have no scale, and a file does not say in which order its values are. */
static enum stn_code check_i2_s(struct findings *f, const struct stn_gguf *gguf, const struct stn_gguf_tensor *t,
                                struct stn_err *err)
{
    size_t n = (size_t)(t->ne[0] * t->ne[1]);
    float scale = stn_quant_i2_s_scale(t->data, n);
    if (n % STN_QUANT_I2_S_BLOCK != 0 || !isfinite(scale)) {
        return stn_err_set(err, STN_CORRUPT, "%.100s: tensor %.90s is %zu values, scaled by %g", gguf->path, t->name, n,
                           (double)scale);
    }
    for (size_t at = 0; at < n; at += PIECE) {
        size_t size = n - at < PIECE ? n - at : PIECE;
        if (!stn_quant_i2_s_unpack(STN_QUANT_I2_S_X86, f->q, t->data, at, size)) {
            return stn_err_set(err, STN_CORRUPT, "%.100s: tensor %.90s has a value that is not ternary", gguf->path, t->name);
        }
        for (size_t i = 0; i < size; i++) {
            f->n_zeroes += f->q[i] == 0;
        }
    }
    f->n_ternary += n;
    f->n_values += n;
    f->done += t->size;
    stn_progress_at(&f->progress, f->done, t->name);
    stn_gguf_drop(gguf, t);
    return stn_command_stopping() ? stn_err_set(err, STN_CANCELLED, "stopped at tensor %.100s", t->name) : STN_OK;
}

static enum stn_code check_tensor(struct findings *f, const struct stn_gguf *gguf, const struct stn_gguf_tensor *t,
                                  struct stn_err *err)
{
    const struct stn_quant_format *format = stn_quant_format(t->type);
    size_t left = (t->size - format->tail) / format->size * format->n_values;
    const uint8_t *src = t->data;
    bool differs = false;
    while (left > 0) {
        size_t n = left < PIECE ? left : PIECE;
        enum stn_code code = format->ternary ? check_ternary(f, gguf, t, src, n, &differs, err)
                                             : check_floats(f, gguf, t, src, n, err);
        if (code != STN_OK) {
            return code;
        }
        if (stn_command_stopping()) {
            return stn_err_set(err, STN_CANCELLED, "stopped at tensor %.100s", t->name);
        }
        size_t size = stn_quant_size(t->type, n);
        src += size;
        left -= n;
        f->n_values += n;
        f->done += size;
        stn_progress_at(&f->progress, f->done, t->name);
    }
    f->n_scaled += differs;
    stn_gguf_drop(gguf, t);
    return STN_OK;
}

static enum stn_code check_all(struct findings *f, const struct stn_gguf *gguf, struct stn_err *err)
{
    f->q = stn_mem_new(PIECE, sizeof *f->q);
    f->d = stn_mem_new(PIECE / STN_QUANT_TERNARY, sizeof *f->d);
    f->x = stn_mem_new(PIECE, sizeof *f->x);
    enum stn_code code = f->q == NULL || f->d == NULL || f->x == NULL
                             ? stn_err_set(err, STN_MEMORY, "no memory to check a model")
                             : STN_OK;
    stn_progress_start(&f->progress, "byte", gguf->size);
    for (size_t i = 0; i < gguf->n_tensors && code == STN_OK; i++) {
        code = gguf->tensors[i].type == STN_QUANT_I2_S ? check_i2_s(f, gguf, &gguf->tensors[i], err)
                                                       : check_tensor(f, gguf, &gguf->tensors[i], err);
    }
    stn_progress_end(&f->progress);
    stn_mem_free(f->q);
    stn_mem_free(f->d);
    stn_mem_free(f->x);
    return code;
}

static enum stn_code check(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    (void)parsed;
    struct contents c;
    struct findings f = {0};
    struct stn_digest digest;
    char text[STN_DIGEST_TEXT];
    enum stn_code code = open_contents(&c, line->args[0], err);
    if (code != STN_OK) {
        return code;
    }
    code = check_all(&f, c.gguf, err);
    if (code == STN_OK) {
        code = stn_session_file_digest(line->args[0], &digest, err);
    }
    if (code == STN_OK) {
        stn_digest_put_text(&digest, text);
        json_t *object = json_pack("{ss sb ss sI sI sI sf sI}", "model", c.gguf->path, "ok", 1, "digest", text, "tensors",
                                   (json_int_t)c.gguf->n_tensors, "values", (json_int_t)f.n_values, "ternary",
                                   (json_int_t)f.n_ternary, "zeroes",
                                   f.n_ternary == 0 ? 0 : (double)f.n_zeroes / (double)f.n_ternary,
                                   "tensors_with_several_scales", (json_int_t)f.n_scaled);
        code = stn_session_take_result(object, line->json, err);
    }
    close_contents(&c);
    return code;
}

const struct stn_command stn_cmd_model_check = {
    .name = "model check", .args = "MODEL", .min_args = 1, .max_args = 1,
    .summary = "read every number of a model's file and say whether it is whole",
    .example = "sterna model check base.gguf",
    .run = check,
};

/* ---- model random ---- */

static const char *const shape_words[] = {"tiny", "125m", "large", "xl", "13b", NULL};
static const char *const arch_words[] = {"bitnet", "bitnet-b1.58", "bitnet-25", "llama", NULL};
static const char *const weight_words[] = {"tq2_0", "tq1_0", "i2_s", "f32", "f16", "bf16", NULL};
static const char *const table_words[] = {"f16", "f32", "bf16", "q8_0", "q6_k", "q4_k", NULL};

struct random_options {
    int shape, arch, type, table, i2_s;
    uint64_t n_embd, n_layers, n_heads, n_kv_heads, n_ff, seed; /* 0: as the shape has it */
    const char *vocab, *out;
    bool scaled;
};

static const struct random_options random_defaults = {.seed = 1};

#define AT(member) offsetof(struct random_options, member)

static const struct stn_option random_options[] = {
    {"shape", 0, STN_OPTION_WORD, AT(shape), "tiny|125m|large|xl|13b", "the size (tiny)", .words = shape_words},
    {"arch", 0, STN_OPTION_WORD, AT(arch), "bitnet|bitnet-b1.58|bitnet-25|llama", "the family (bitnet)", .words = arch_words},
    {"embd", 0, STN_OPTION_U64, AT(n_embd), "N", "instead of the shape's: a multiple of 256", 256, STN_ARCH_N_EMBD},
    {"layers", 0, STN_OPTION_U64, AT(n_layers), "N", "instead of the shape's", 1, STN_ARCH_N_LAYERS},
    {"heads", 0, STN_OPTION_U64, AT(n_heads), "N", "instead of the shape's", 1, STN_ARCH_N_HEADS},
    {"kv", 0, STN_OPTION_U64, AT(n_kv_heads), "N", "heads of keys and values (as many as heads)", 1, STN_ARCH_N_HEADS},
    {"ff", 0, STN_OPTION_U64, AT(n_ff), "N", "instead of the shape's", 1, STN_ARCH_N_FF},
    {"type", 0, STN_OPTION_WORD, AT(type), "tq2_0|tq1_0|i2_s|f32|f16|bf16", "the format of the weights (tq2_0)",
     .words = weight_words},
    {"table", 0, STN_OPTION_WORD, AT(table), "f16|f32|bf16|q8_0|q6_k|q4_k", "the format of embeddings and head (f16)",
     .words = table_words},
    {"scales", 0, STN_OPTION_FLAG, AT(scaled), NULL, "give each product its scale in a tensor of its own"},
    {"i2s", 0, STN_OPTION_WORD, AT(i2_s), "x86|arm", "for which kernels I2_S weights are packed (x86)",
     .words = stn_session_packings},
    {"vocab", 0, STN_OPTION_STR, AT(vocab), "VOCAB.gguf", "whose vocabulary it gets", .required = true},
    {"seed", 0, STN_OPTION_U64, AT(seed), "N", "which random model (1)"},
    {"output", 'o', STN_OPTION_STR, AT(out), "MODEL.gguf", "the file to write", .required = true},
    {0},
};

/* The shape's numbers, or those that were given. */
static enum stn_code take_shape(const struct random_options *o, struct stn_random_shape *ret, struct stn_err *err)
{
    struct stn_random_shape s = *stn_random_shape(shape_words[o->shape]);
    s.n_embd = o->n_embd > 0 ? (uint32_t)o->n_embd : s.n_embd;
    s.n_layers = o->n_layers > 0 ? (uint32_t)o->n_layers : s.n_layers;
    s.n_heads = o->n_heads > 0 ? (uint32_t)o->n_heads : s.n_heads;
    s.n_kv_heads = o->n_kv_heads > 0 ? (uint32_t)o->n_kv_heads : s.n_heads;
    s.n_ff = o->n_ff > 0 ? (uint32_t)o->n_ff : s.n_ff;
    if (s.n_embd % STN_QUANT_TERNARY != 0 || s.n_embd % (2 * s.n_heads) != 0 || s.n_heads % s.n_kv_heads != 0) {
        return stn_err_set(err, STN_INVALID, "%u values in %u heads with %u for keys: expected a multiple of %d in heads of an "
                                             "even size, of which some share their keys", s.n_embd, s.n_heads, s.n_kv_heads,
                           STN_QUANT_TERNARY);
    }
    *ret = s;
    return STN_OK;
}

static bool random_progress(void *context, uint64_t done, uint64_t total)
{
    struct stn_progress *progress = context;
    progress->total = total;
    stn_progress_at(progress, done, "");
    return !stn_command_stopping();
}

static enum stn_code make_random(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct random_options *o = parsed;
    const struct stn_random_kind kind = {.arch = arch_words[o->arch], .type = stn_quant_named(weight_words[o->type])->type,
                                         .table = stn_quant_named(table_words[o->table])->type, .scaled = o->scaled,
                                         .i2_s_arm = o->i2_s == 1};
    struct stn_random_shape shape;
    struct stn_gguf *vocab = NULL;
    struct contents c;
    struct stn_progress progress;
    enum stn_code code = take_shape(o, &shape, err);
    code = code != STN_OK ? code : stn_session_can_write(o->out, &o->vocab, 1, err);
    code = code != STN_OK ? code : stn_gguf_open(&vocab, o->vocab, err);
    if (code == STN_OK) {
        stn_progress_start(&progress, "byte", 0);
        code = stn_random_write(&shape, &kind, vocab, o->seed, o->out, random_progress, &progress, err);
        stn_progress_end(&progress);
    }
    stn_gguf_close(vocab);
    code = code != STN_OK ? code : open_contents(&c, o->out, err);
    if (code == STN_OK) {
        code = stn_session_take_result(json_contents(&c), line->json, err);
        close_contents(&c);
    }
    return code;
}

const struct stn_command stn_cmd_model_random = {
    .name = "model random", .args = "",
    .summary = "write a random ternary model of any family and shape, for tests of speed, memory and format",
    .example = "sterna model random --shape 125m --type tq2_0 --vocab base.gguf --seed 1 -o random.gguf",
    .options = random_options, .defaults = &random_defaults, .size = sizeof(struct random_options), .run = make_random,
};

/* ---- model convert ---- */

struct convert_options {
    int type;
    struct stn_session_reading reading;
    const char *out;
};

static const struct convert_options convert_defaults = {.reading = {.i2_s = -1}}; /* -1: nobody said */
static const char *const type_words[] = {"tq2_0", "tq1_0", NULL};

static const struct stn_option convert_options[] = {
    {"type", 0, STN_OPTION_WORD, offsetof(struct convert_options, type), "tq2_0|tq1_0", "the format of the weights (tq2_0)",
     .words = type_words},
    {"ternarise", 0, STN_OPTION_FLAG, offsetof(struct convert_options, reading.ternarise), NULL,
     "make float weights ternary by their mean magnitude; without, they must be so, or be meant so by config.json"},
    {"i2s", 0, STN_OPTION_WORD, offsetof(struct convert_options, reading.i2_s), "x86|arm",
     "for which kernels a GGUF's I2_S weights were packed: no file says so (x86)", .words = stn_session_packings},
    {"output", 'o', STN_OPTION_STR, offsetof(struct convert_options, out), "MODEL.gguf", "the file to write", .required = true},
    {0},
};

static enum stn_code convert(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct convert_options *o = parsed;
    struct contents c;
    struct stn_progress progress;
    const char *from = line->args[0];
    const struct stn_model_reading reading = {.ternarise = o->reading.ternarise, .i2_s_arm = o->reading.i2_s == 1};
    enum stn_quant_type type = stn_quant_named(type_words[o->type])->type;
    bool is_file = stn_str_ends(from, ".gguf");
    enum stn_code code = stn_session_can_write(o->out, &from, 1, err);
    if (code == STN_OK && !is_file && o->reading.i2_s >= 0) {
        code = stn_err_set(err, STN_INVALID, "--i2s is of a GGUF, and %.150s is read as a folder", from);
    }
    if (code == STN_OK) {
        stn_progress_start(&progress, "tensor", 0);
        code = is_file ? stn_repack_file(from, &reading, o->out, type, random_progress, &progress, err)
                       : stn_convert_folder(from, o->out, type, reading.ternarise, random_progress, &progress, err);
        stn_progress_end(&progress);
    }
    code = code != STN_OK ? code : open_contents(&c, o->out, err);
    if (code == STN_OK) {
        code = stn_session_take_result(json_contents(&c), line->json, err);
        close_contents(&c);
    }
    return code;
}

const struct stn_command stn_cmd_model_convert = {
    .name = "model convert", .args = "HF_DIR|MODEL.gguf", .min_args = 1, .max_args = 1,
    .summary = "write a checkpoint folder (safetensors, config.json, tokenizer.json) as one GGUF, or a GGUF with ternary blocks",
    .example = "sterna model convert bitnet-2b -o base.gguf --type tq2_0",
    .options = convert_options, .defaults = &convert_defaults, .size = sizeof(struct convert_options), .run = convert,
};
