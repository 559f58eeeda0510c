#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "compute/model/convert.h"
#include "compute/model/tokenizer_parts.h"
#include "io/file.h"

#define KEY "tokenizer.ggml."

struct vocabulary {
    const char *folder;
    json_t *file, *settings, *config;
    uint32_t n;
    const char **texts; /* (n), NULL where no token is */
    uint8_t *types;     /* (n) */
    float *scores;      /* (n) */
    bool is_spm;
};

static enum stn_code load(json_t **ret, const char *folder, const char *name, size_t limit, bool optional, struct stn_err *err)
{
    char path[STN_FILE_PATH_MAX];
    struct stn_buf text = {0};
    json_error_t why;
    enum stn_code code = stn_file_join(path, folder, name, err);
    if (code == STN_OK && optional && !stn_file_exists(path)) {
        return STN_OK;
    }
    code = code != STN_OK ? code : stn_file_read(path, limit, &text, err);
    if (code == STN_OK) {
        *ret = json_loadb((const char *)text.data, text.size, 0, &why);
        if (!json_is_object(*ret)) {
            code = stn_err_set(err, STN_CORRUPT, "%.150s, line %d: %.80s", path, why.line, why.text);
        }
    }
    stn_buf_fini(&text);
    return code;
}

static enum stn_code put_token(struct vocabulary *v, const char *text, const json_t *id, uint8_t type, struct stn_err *err)
{
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
    if (text == NULL || n < 0 || (uint64_t)n >= v->n) {
        return stn_err_set(err, STN_CORRUPT, "%.100s/tokenizer.json: token \"%.40s\" has id %lld, the model has %u rows",
                           v->folder, text == NULL ? "" : text, (long long)n, v->n);
    }
    v->texts[n] = text;
    v->types[n] = type;
    return STN_OK;
}

static bool is_byte(const char *text)
{
    unsigned byte;
    return strlen(text) == 6 && sscanf(text, "<0x%2X>", &byte) == 1;
}

static enum stn_code list_tokens(struct vocabulary *v, struct stn_err *err)
{
    json_t *model = json_object_get(v->file, "model"), *token;
    const char *text, *kind = json_string_value(json_object_get(model, "type"));
    size_t i;
    enum stn_code code = STN_OK;
    if (kind != NULL && strcmp(kind, "BPE") != 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s/tokenizer.json: a model of type %.30s, expected BPE", v->folder, kind);
    }
    v->is_spm = json_is_true(json_object_get(model, "byte_fallback"));
    json_object_foreach(json_object_get(model, "vocab"), text, token)
    {
        if (code == STN_OK) {
            code = put_token(v, text, token, v->is_spm && is_byte(text) ? STN_TOKENIZER_BYTE : STN_TOKENIZER_NORMAL, err);
        }
    }
    json_array_foreach(json_object_get(v->file, "added_tokens"), i, token)
    {
        bool is_special = json_is_true(json_object_get(token, "special"));
        if (code == STN_OK) {
            code = put_token(v, json_string_value(json_object_get(token, "content")), json_object_get(token, "id"),
                             is_special ? STN_TOKENIZER_CONTROL : STN_TOKENIZER_USER, err);
        }
    }
    return code;
}

/* "a b" as older files have it, or ["a", "b"]. False when it is neither. */
static bool read_merge(const json_t *merge, struct stn_buf *text)
{
    stn_buf_clear(text);
    if (json_is_string(merge)) {
        return stn_buf_add_str(text, json_string_value(merge));
    }
    const char *a = json_string_value(json_array_get(merge, 0)), *b = json_string_value(json_array_get(merge, 1));
    return a != NULL && b != NULL && stn_buf_add_str(text, a) && stn_buf_add_u8(text, ' ') && stn_buf_add_str(text, b);
}

static void add_array(struct stn_buf *value, enum stn_gguf_kind kind, uint64_t n)
{
    stn_buf_clear(value);
    (void)stn_buf_add_u32(value, (uint32_t)kind);
    (void)stn_buf_add_u64(value, n);
}

static enum stn_code write_array(struct stn_gguf_write *w, const char *key, const struct stn_buf *value, struct stn_err *err)
{
    if (value->failed) {
        return stn_err_set(err, STN_MEMORY, "no memory for %s", key);
    }
    stn_gguf_write_value(w, &(struct stn_gguf_value){.key = key, .kind = STN_GGUF_ARRAY, .data = value->data, .size = value->size});
    return STN_OK;
}

static void add_text(struct stn_buf *value, const void *text, size_t size)
{
    (void)stn_buf_add_u64(value, size);
    (void)stn_buf_add(value, text, size);
}

/* SentencePiece joins what scores best: a token's score is the rank of the merge that makes it, below 0. */
static enum stn_code score(struct vocabulary *v, const json_t *merges, struct stn_buf *text, struct stn_err *err)
{
    struct stn_map by_text = {0};
    enum stn_code code = STN_OK;
    size_t i;
    json_t *merge;
    for (uint32_t t = 0; t < v->n && code == STN_OK; t++) {
        v->scores[t] = v->types[t] == STN_TOKENIZER_NORMAL ? -1e9f : 0;
        if (v->texts[t] != NULL && !stn_map_set(&by_text, v->texts[t], strlen(v->texts[t]), &v->scores[t])) {
            code = stn_err_set(err, STN_MEMORY, "no memory for a vocabulary");
        }
    }
    json_array_foreach((json_t *)(uintptr_t)merges, i, merge)
    {
        if (code != STN_OK || !read_merge(merge, text)) {
            break;
        }
        uint8_t *blank = memchr(text->data, ' ', text->size);
        if (blank != NULL) {
            memmove(blank, blank + 1, (size_t)(text->data + text->size - blank - 1));
            float *found = stn_map_get(&by_text, text->data, text->size - 1);
            if (found != NULL && *found <= -1e9f) {
                *found = -(float)i - 1;
            }
        }
    }
    stn_map_fini(&by_text);
    return code;
}

static enum stn_code write_merges(struct vocabulary *v, struct stn_gguf_write *w, struct stn_buf *value, struct stn_err *err)
{
    const json_t *merges = json_object_get(json_object_get(v->file, "model"), "merges");
    struct stn_buf text = {0};
    size_t i;
    json_t *merge;
    enum stn_code code = STN_OK;
    if (v->is_spm) {
        code = score(v, merges, &text, err);
        add_array(value, STN_GGUF_F32, v->n);
        (void)stn_buf_add(value, v->scores, v->n * sizeof *v->scores);
        stn_buf_fini(&text);
        return code != STN_OK ? code : write_array(w, KEY "scores", value, err);
    }
    add_array(value, STN_GGUF_STR, json_array_size(merges));
    json_array_foreach((json_t *)(uintptr_t)merges, i, merge)
    {
        if (!read_merge(merge, &text)) {
            code = stn_err_set(err, STN_CORRUPT, "%.150s/tokenizer.json: merge %zu is no pair", v->folder, i);
            break;
        }
        add_text(value, text.data, text.size);
    }
    stn_buf_fini(&text);
    return code != STN_OK ? code : write_array(w, KEY "merges", value, err);
}

/* A pre-tokenizer's steps as one text: their types, a Split's regular expression, a plus where bytes are split by GPT-2's. */
static void add_steps(struct stn_buf *text, const json_t *step)
{
    const char *type = json_string_value(json_object_get(step, "type")), *behavior, *regex;
    const json_t *use = json_object_get(step, "use_regex");
    size_t i;
    json_t *part;
    if (type == NULL || strcmp(type, "Sequence") == 0) {
        json_array_foreach((json_t *)json_object_get(step, "pretokenizers"), i, part)
        {
            add_steps(text, part);
        }
        return;
    }
    behavior = json_string_value(json_object_get(step, "behavior"));
    regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
    (void)stn_buf_add_str(text, type);
    if (strcmp(type, "Split") == 0) {
        bool is_usual = regex != NULL && behavior != NULL && strcmp(behavior, "Isolated") == 0 &&
                        !json_is_true(json_object_get(step, "invert"));
        (void)stn_buf_printf(text, ":%s", is_usual ? regex : "?");
    } else if (strcmp(type, "ByteLevel") == 0 && !json_is_false(use)) {
        (void)stn_buf_add_str(text, "+");
    } else if (strcmp(type, "Digits") == 0 && json_is_true(json_object_get(step, "individual_digits"))) {
        (void)stn_buf_add_str(text, ":1");
    }
    (void)stn_buf_add_str(text, ";");
}

/* Which of our pre-tokenizers a file describes, to the letter. */
static enum stn_code find_split(const struct vocabulary *v, const char **ret, struct stn_err *err)
{
    static const struct {
        const char *steps, *name;
    } known[] = {
        {"Split:(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
         "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+;ByteLevel;",
         "llama-bpe"},
        {"Punctuation;ByteLevel+;Digits;Split:[0-9][0-9][0-9];", "falcon"},
        {"Punctuation;ByteLevel+;Split:[0-9];", "falcon_e"},
        {"Punctuation;ByteLevel+;Digits:1;", "falcon_e"}, /* other digits than these are single tokens there anyway */
        {"ByteLevel+;", "gpt-2"},
    };
    struct stn_buf steps = {0};
    const json_t *normalizer = json_object_get(v->file, "normalizer");
    enum stn_code code = STN_OK;
    add_steps(&steps, json_object_get(v->file, "pre_tokenizer"));
    *ret = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known && *ret == NULL; i++) {
        *ret = steps.size == strlen(known[i].steps) && memcmp(steps.data, known[i].steps, steps.size) == 0 ? known[i].name : NULL;
    }
    if (steps.failed) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a pre-tokenizer");
    } else if (normalizer != NULL && !json_is_null(normalizer)) {
        code = stn_err_set(err, STN_UNSUPPORTED, "%.150s/tokenizer.json: a byte-level vocabulary with a normalizer", v->folder);
    } else if (*ret == NULL) {
        code = stn_err_set(err, STN_UNSUPPORTED, "%.80s/tokenizer.json: its pre-tokenizer is none that this build knows: %.*s",
                           v->folder, steps.size < 120 ? (int)steps.size : 120, steps.size == 0 ? "" : (const char *)steps.data);
    }
    stn_buf_fini(&steps);
    return code;
}

/* Whether SentencePiece puts a blank before a text: by a normalizer of its own, or as a way of splitting. */
static bool adds_blank(const json_t *step)
{
    const char *type = json_string_value(json_object_get(step, "type"));
    const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
    size_t i;
    json_t *part;
    bool found = type != NULL && (strcmp(type, "Prepend") == 0 ||
                                  (strcmp(type, "Metaspace") == 0 &&
                                   (scheme != NULL ? strcmp(scheme, "never") != 0
                                                   : !json_is_false(json_object_get(step, "add_prefix_space")))));
    json_array_foreach((json_t *)json_object_get(step, "normalizers"), i, part)
    {
        found = found || adds_blank(part);
    }
    json_array_foreach((json_t *)json_object_get(step, "pretokenizers"), i, part)
    {
        found = found || adds_blank(part);
    }
    return found;
}

/* Whether a text begins with a special token, as its last step makes it. */
static bool begins_special(const json_t *step)
{
    const json_t *first = json_array_get(json_object_get(step, "single"), 0);
    bool found = json_object_get(first, "SpecialToken") != NULL;
    size_t i;
    json_t *part;
    json_array_foreach((json_t *)json_object_get(step, "processors"), i, part)
    {
        found = found || begins_special(part);
    }
    return found;
}

static enum stn_code write_tokens(struct vocabulary *v, struct stn_gguf_write *w, struct stn_buf *value, struct stn_err *err)
{
    char name[32];
    add_array(value, STN_GGUF_STR, v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        (void)snprintf(name, sizeof name, "[PAD%u]", i);
        const char *text = v->texts[i] == NULL ? name : v->texts[i];
        add_text(value, text, strlen(text));
    }
    enum stn_code code = write_array(w, KEY "tokens", value, err);
    add_array(value, STN_GGUF_I32, v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        (void)stn_buf_add_u32(value, v->texts[i] == NULL ? STN_TOKENIZER_UNUSED : v->types[i]);
    }
    return code != STN_OK ? code : write_array(w, KEY "token_type", value, err);
}

/* A special token by tokenizer_config.json's word (text, or an object with one), else config.json's number. */
static void write_id(const struct vocabulary *v, struct stn_gguf_write *w, const char *word, const char *key)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s_token", word);
    const json_t *token = json_object_get(v->settings, name);
    const char *text = json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
    for (uint32_t i = 0; text != NULL && i < v->n; i++) {
        if (v->texts[i] != NULL && strcmp(v->texts[i], text) == 0) {
            stn_gguf_write_u32(w, key, i);
            return;
        }
    }
    (void)snprintf(name, sizeof name, "%s_token_id", word);
    const json_t *id = json_object_get(v->config, name);
    id = json_is_array(id) ? json_array_get(id, 0) : id;
    if (json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < v->n) {
        stn_gguf_write_u32(w, key, (uint32_t)json_integer_value(id));
    }
}

/* A conversation's template: a text, the default of several, or a file of its own. */
static enum stn_code write_chat(const struct vocabulary *v, struct stn_gguf_write *w, struct stn_err *err)
{
    const json_t *chat = json_object_get(v->settings, "chat_template"), *found = json_is_string(chat) ? chat : NULL;
    char path[STN_FILE_PATH_MAX];
    struct stn_buf text = {0};
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)chat, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        found = name != NULL && strcmp(name, "default") == 0 ? json_object_get(one, "template") : found;
    }
    if (json_is_string(found)) {
        stn_gguf_write_str(w, "tokenizer.chat_template", json_string_value(found));
        return STN_OK;
    }
    enum stn_code code = stn_file_join(path, v->folder, "chat_template.jinja", err);
    if (code != STN_OK || !stn_file_exists(path)) {
        return code;
    }
    code = stn_file_read(path, STN_CONVERT_CONFIG, &text, err);
    if (code == STN_OK && stn_buf_add_u8(&text, 0)) {
        stn_gguf_write_str(w, "tokenizer.chat_template", (const char *)text.data);
    }
    stn_buf_fini(&text);
    return code;
}

static enum stn_code write_settings(const struct vocabulary *v, struct stn_gguf_write *w, struct stn_err *err)
{
    const json_t *adds = json_object_get(v->settings, "add_bos_token");
    write_id(v, w, "bos", KEY "bos_token_id");
    write_id(v, w, "eos", KEY "eos_token_id");
    write_id(v, w, "unk", KEY "unknown_token_id");
    write_id(v, w, "pad", KEY "padding_token_id");
    stn_gguf_write_bool(w, KEY "add_bos_token",
                        json_is_boolean(adds) ? json_is_true(adds) : begins_special(json_object_get(v->file, "post_processor")));
    if (v->is_spm) {
        stn_gguf_write_bool(w, KEY "add_space_prefix", adds_blank(json_object_get(v->file, "normalizer")) ||
                                                           adds_blank(json_object_get(v->file, "pre_tokenizer")));
    }
    return write_chat(v, w, err);
}

static enum stn_code write_all(struct vocabulary *v, struct stn_gguf_write *w, struct stn_err *err)
{
    struct stn_buf value = {0};
    const char *split = NULL;
    v->texts = stn_mem_new(v->n, sizeof *v->texts);
    v->types = stn_mem_new(v->n, sizeof *v->types);
    v->scores = stn_mem_new(v->n, sizeof *v->scores);
    enum stn_code code = v->texts == NULL || v->types == NULL || v->scores == NULL
                             ? stn_err_set(err, STN_MEMORY, "no memory for a vocabulary of %u", v->n)
                             : list_tokens(v, err);
    if (code == STN_OK && !v->is_spm) {
        code = find_split(v, &split, err);
    }
    if (code == STN_OK) {
        stn_gguf_write_str(w, KEY "model", v->is_spm ? "llama" : "gpt2");
        if (!v->is_spm) {
            stn_gguf_write_str(w, KEY "pre", split);
        }
        code = write_tokens(v, w, &value, err);
    }
    code = code != STN_OK ? code : write_merges(v, w, &value, err);
    code = code != STN_OK ? code : write_settings(v, w, err);
    stn_buf_fini(&value);
    stn_mem_free(v->texts);
    stn_mem_free(v->types);
    stn_mem_free(v->scores);
    return code;
}

enum stn_code stn_convert_tokenizer(struct stn_gguf_write *w, const char *folder, uint32_t n_vocab, struct stn_err *err)
{
    struct vocabulary v = {.folder = folder, .n = n_vocab};
    enum stn_code code = load(&v.file, folder, "tokenizer.json", STN_CONVERT_TOKENIZER, false, err);
    code = code != STN_OK ? code : load(&v.settings, folder, "tokenizer_config.json", STN_CONVERT_CONFIG, true, err);
    code = code != STN_OK ? code : load(&v.config, folder, "config.json", STN_CONVERT_CONFIG, false, err);
    code = code != STN_OK ? code : write_all(&v, w, err);
    json_decref(v.file);
    json_decref(v.settings);
    json_decref(v.config);
    return code;
}
