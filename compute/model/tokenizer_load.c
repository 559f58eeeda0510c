#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/model/arch.h"
#include "compute/model/tokenizer_parts.h"

#define KEY "tokenizer.ggml."

static const struct stn_tokenizer_model *const models[] = {&stn_tokenizer_bpe, &stn_tokenizer_spm};

static enum stn_code no_memory(struct stn_err *err)
{
    return stn_err_set(err, STN_MEMORY, "no memory for a vocabulary");
}

static enum stn_code read_tokens(struct stn_tokenizer *t, const struct stn_gguf *gguf,
                                 struct stn_gguf_array tokens, struct stn_err *err)
{
    size_t room = tokens.size;
    if (tokens.n == 0 || tokens.n > STN_ARCH_N_VOCAB || room > UINT32_MAX / 2) {
        return stn_err_set(err, STN_LIMIT, "%.100s: a vocabulary of %zu tokens in %zu bytes, at most %d",
                           gguf->path, tokens.n, room, STN_ARCH_N_VOCAB);
    }
    t->n_vocab = (uint32_t)tokens.n;
    t->entries = stn_mem_new(t->n_vocab, sizeof *t->entries);
    t->text = stn_mem_new(1, room);
    if (t->entries == NULL || t->text == NULL) {
        return no_memory(err);
    }
    struct stn_gguf_str str;
    uint32_t at = 0;
    for (uint32_t i = 0; stn_gguf_next(&tokens, &str); i++) {
        t->entries[i] = (struct stn_tokenizer_entry){at, (uint32_t)str.size, 0, STN_TOKENIZER_NORMAL};
        memcpy(t->text + at, str.p, str.size);
        at += (uint32_t)str.size;
    }
    return STN_OK;
}

/* Types and scores are arrays beside the tokens; the file may leave them out. */
static enum stn_code read_sides(struct stn_tokenizer *t, const struct stn_gguf *gguf, struct stn_err *err)
{
    struct stn_gguf_array types = {0}, scores = {0};
    enum stn_code code = stn_gguf_array(gguf, KEY "token_type", STN_GGUF_I32, &types, err);
    if (code == STN_OK || code == STN_NOT_FOUND) {
        code = stn_gguf_array(gguf, KEY "scores", STN_GGUF_F32, &scores, err);
    }
    if (code != STN_OK && code != STN_NOT_FOUND) {
        return code;
    }
    if ((types.data != NULL && types.n != t->n_vocab) || (scores.data != NULL && scores.n != t->n_vocab)) {
        return stn_err_set(err, STN_CORRUPT, "%.100s: %u tokens with %zu types and %zu scores", gguf->path,
                           t->n_vocab, types.n, scores.n);
    }
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        if (types.data != NULL) {
            uint32_t type = stn_buf_get_u32(types.data + (size_t)i * 4);
            t->entries[i].type = type <= STN_TOKENIZER_BYTE ? (uint8_t)type : STN_TOKENIZER_UNUSED;
        }
        if (scores.data != NULL) {
            memcpy(&t->entries[i].score, scores.data + (size_t)i * 4, sizeof(float));
        }
    }
    return STN_OK;
}

/* "<0x0A>" is the token of that byte. */
static int byte_of(const uint8_t *p, size_t size)
{
    unsigned v = 0;
    if (size != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>') {
        return -1;
    }
    for (size_t i = 3; i < 5; i++) {
        const char *digits = "0123456789ABCDEF", *at = strchr(digits, p[i]);
        if (p[i] == 0 || at == NULL) {
            return -1;
        }
        v = v * 16 + (unsigned)(at - digits);
    }
    return (int)v;
}

/* Gives every token its bytes in place of its text in the file. */
static void unescape_all(struct stn_tokenizer *t)
{
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        struct stn_tokenizer_entry *entry = &t->entries[i];
        uint8_t *p = t->text + entry->at;
        if (entry->type == STN_TOKENIZER_BYTE) {
            int byte = byte_of(p, entry->size);
            entry->type = byte < 0 ? STN_TOKENIZER_UNUSED : STN_TOKENIZER_BYTE;
            if (byte >= 0) {
                p[0] = (uint8_t)byte;
                entry->size = 1;
                t->byte_ids[byte] = (int32_t)i;
            }
        } else if (!stn_tokenizer_type_is_special(entry->type)) {
            size_t size = t->model->unescape(p, (struct stn_gguf_str){(const char *)p, entry->size});
            assert(size <= entry->size);
            entry->size = (uint32_t)size;
        }
    }
}

static bool index_normal(struct stn_tokenizer *t)
{
    t->n_slots = 16;
    while (t->n_slots < (size_t)t->n_vocab * 2) {
        t->n_slots *= 2;
    }
    t->slots = stn_mem_new(t->n_slots, sizeof *t->slots);
    if (t->slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        const struct stn_tokenizer_entry *entry = &t->entries[i];
        if (entry->type == STN_TOKENIZER_NORMAL && entry->size > 0) {
            size_t slot = stn_tokenizer_slot(t, t->text + entry->at, entry->size);
            t->slots[slot] = t->slots[slot] == 0 ? i + 1 : t->slots[slot]; /* the first of twins */
        }
    }
    return true;
}

/* Special tokens as (first byte, shortness, id), which sorts them. */
static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static bool index_specials(struct stn_tokenizer *t)
{
    uint64_t *keys = stn_mem_new(t->n_vocab, sizeof *keys);
    t->specials = stn_mem_new(t->n_vocab, sizeof *t->specials);
    if (keys == NULL || t->specials == NULL) {
        stn_mem_free(keys);
        return false;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        const struct stn_tokenizer_entry *entry = &t->entries[i];
        if (stn_tokenizer_type_is_special(entry->type) && entry->size > 0) {
            uint64_t shortness = entry->size < 0xffffff ? 0xffffff - entry->size : 0;
            keys[n++] = (uint64_t)t->text[entry->at] << 56 | shortness << 32 | i;
        }
    }
    qsort(keys, n, sizeof *keys, by_number);
    for (uint32_t i = 0, byte = 0; byte <= 256; byte++) {
        while (i < n && keys[i] >> 56 < byte) {
            i++;
        }
        t->starts[byte] = i;
    }
    for (uint32_t i = 0; i < n; i++) {
        t->specials[i] = (int32_t)(uint32_t)keys[i];
    }
    stn_mem_free(keys);
    return true;
}

/* A token that the file names by its id; -1 when it names none. */
static enum stn_code read_id(const struct stn_tokenizer *t, const struct stn_gguf *gguf, const char *key,
                             int32_t *ret, struct stn_err *err)
{
    uint32_t id = 0;
    enum stn_code code = stn_gguf_u32(gguf, key, &id, err);
    *ret = -1;
    if (code == STN_NOT_FOUND) {
        return STN_OK;
    }
    if (code == STN_OK && id >= t->n_vocab) {
        code = stn_err_set(err, STN_CORRUPT, "%.100s: %s is %u in a vocabulary of %u", gguf->path, key, id, t->n_vocab);
    }
    if (code == STN_OK) {
        *ret = (int32_t)id;
    }
    return code;
}

static enum stn_code read_ids(struct stn_tokenizer *t, const struct stn_gguf *gguf, struct stn_err *err)
{
    const struct {
        const char *key;
        int32_t *to;
    } ids[] = {
        {KEY "bos_token_id", &t->bos},         {KEY "eos_token_id", &t->eos}, {KEY "eot_token_id", &t->eot},
        {KEY "unknown_token_id", &t->unknown}, {KEY "padding_token_id", &t->pad},
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        enum stn_code code = read_id(t, gguf, ids[i].key, ids[i].to, err);
        if (code != STN_OK) {
            return code;
        }
    }
    static const char *const ends[] = {"<|eot_id|>", "<|im_end|>"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends && t->eot < 0; i++) {
        t->eot = stn_tokenizer_special(t, ends[i]);
    }
    if (t->eot < 0) {
        t->eot = t->eos;
    }
    t->adds_bos = t->model->adds_bos || (t->split != NULL && t->split->adds_bos);
    t->adds_space = true;
    enum stn_code code = stn_gguf_bool(gguf, KEY "add_bos_token", &t->adds_bos, err);
    if (code == STN_OK || code == STN_NOT_FOUND) {
        code = stn_gguf_bool(gguf, KEY "add_space_prefix", &t->adds_space, err);
    }
    t->adds_bos = t->adds_bos && t->bos >= 0;
    return code == STN_NOT_FOUND ? STN_OK : code;
}

static enum stn_code load(struct stn_tokenizer *t, const struct stn_gguf *gguf, struct stn_err *err)
{
    struct stn_gguf_str name;
    struct stn_gguf_array tokens;
    enum stn_code code = stn_gguf_str(gguf, KEY "model", &name, err);
    if (code == STN_OK) {
        code = stn_gguf_array(gguf, KEY "tokens", STN_GGUF_STR, &tokens, err);
    }
    if (code != STN_OK) {
        return code;
    }
    for (size_t i = 0; i < sizeof models / sizeof *models && t->model == NULL; i++) {
        t->model = stn_gguf_is(name, models[i]->file_name) ? models[i] : NULL;
    }
    if (t->model == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: a vocabulary of kind %.*s, only gpt2 and llama are supported",
                           gguf->path, name.size < 40 ? (int)name.size : 40, name.p);
    }
    memset(t->byte_ids, 0xff, sizeof t->byte_ids);
    code = read_tokens(t, gguf, tokens, err);
    if (code == STN_OK) {
        code = read_sides(t, gguf, err);
    }
    if (code != STN_OK) {
        return code;
    }
    unescape_all(t);
    if (!index_normal(t) || !index_specials(t)) {
        return no_memory(err);
    }
    code = t->model->load(t, gguf, err);
    if (code == STN_OK) {
        code = read_ids(t, gguf, err);
    }
    if (code == STN_OK) {
        stn_tokenizer_chat_detect(t, gguf);
    }
    return code;
}

enum stn_code stn_tokenizer_load(struct stn_tokenizer **ret, const struct stn_gguf *gguf,
                                 struct stn_err *err)
{
    struct stn_tokenizer *t = stn_mem_new(1, sizeof *t);
    if (t == NULL) {
        return no_memory(err);
    }
    enum stn_code code = load(t, gguf, err);
    if (code != STN_OK) {
        stn_tokenizer_free(t);
        return code;
    }
    *ret = t;
    return STN_OK;
}
