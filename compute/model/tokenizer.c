#include "compute/model/tokenizer.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "compute/model/tokenizer_parts.h"

bool stn_tokenizer_list_add(struct stn_tokenizer_list *list, int32_t id, uint8_t mask)
{
    if (list->n == list->room) {
        size_t room = list->room == 0 ? 64 : list->room * 2;
        int32_t *ids = stn_mem_grow(list->ids, room, sizeof *ids);
        list->ids = ids == NULL ? list->ids : ids;
        uint8_t *masks = ids == NULL ? NULL : stn_mem_grow(list->mask, room, sizeof *masks);
        if (masks == NULL) {
            return false;
        }
        list->mask = masks;
        list->room = room;
    }
    list->ids[list->n] = id;
    list->mask[list->n++] = mask;
    return true;
}

void stn_tokenizer_list_fini(struct stn_tokenizer_list *list)
{
    stn_mem_free(list->ids);
    stn_mem_free(list->mask);
    *list = (struct stn_tokenizer_list){0};
}

enum stn_code stn_tokenizer_new(struct stn_tokenizer **ret, const struct stn_gguf *gguf, struct stn_err *err)
{
    return stn_tokenizer_load(ret, gguf, err);
}

void stn_tokenizer_free(struct stn_tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    stn_mem_free(t->entries);
    stn_mem_free(t->text);
    stn_mem_free(t->slots);
    stn_mem_free(t->merges);
    stn_mem_free(t->specials);
    stn_mem_free(t);
}

bool stn_tokenizer_type_is_special(uint8_t type)
{
    return type == STN_TOKENIZER_CONTROL || type == STN_TOKENIZER_UNKNOWN || type == STN_TOKENIZER_USER;
}

bool stn_tokenizer_is_special(const struct stn_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->n_vocab && stn_tokenizer_type_is_special(t->entries[id].type);
}

size_t stn_tokenizer_slot(const struct stn_tokenizer *t, const uint8_t *p, size_t size)
{
    uint64_t hash = stn_map_hash(p, size);
    size_t slot = (size_t)(hash ^ hash >> 32) & (t->n_slots - 1);
    while (t->slots[slot] != 0) {
        const struct stn_tokenizer_entry *entry = &t->entries[t->slots[slot] - 1];
        if (entry->size == size && memcmp(t->text + entry->at, p, size) == 0) {
            break;
        }
        slot = (slot + 1) & (t->n_slots - 1);
    }
    return slot;
}

int32_t stn_tokenizer_find(const struct stn_tokenizer *t, const uint8_t *p, size_t size)
{
    return (int32_t)t->slots[stn_tokenizer_slot(t, p, size)] - 1;
}

int32_t stn_tokenizer_special_at(const struct stn_tokenizer *t, const char *text, size_t size, unsigned flags)
{
    uint8_t first = (uint8_t)text[0];
    for (uint32_t i = t->starts[first]; i < t->starts[first + 1]; i++) {
        const struct stn_tokenizer_entry *entry = &t->entries[t->specials[i]];
        bool wanted = (flags & STN_TOKENIZER_SPECIAL) != 0 || entry->type == STN_TOKENIZER_USER;
        if (wanted && entry->size <= size && memcmp(t->text + entry->at, text, entry->size) == 0) {
            return t->specials[i];
        }
    }
    return -1;
}

int32_t stn_tokenizer_special(const struct stn_tokenizer *t, const char *name)
{
    size_t size = strlen(name);
    int32_t id = size == 0 ? -1 : stn_tokenizer_special_at(t, name, size, STN_TOKENIZER_SPECIAL);
    return id >= 0 && t->entries[id].size == size ? id : -1;
}

/* Special tokens cut the text; what lies between them is a run for the model. */
static enum stn_code encode_runs(const struct stn_tokenizer *t, struct stn_tokenizer_list *list,
                                 const char *text, size_t size, unsigned flags, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    size_t start = 0;
    for (size_t at = 0; at < size && code == STN_OK;) {
        int32_t id = stn_tokenizer_special_at(t, text + at, size - at, flags);
        if (id < 0) {
            at++;
            continue;
        }
        code = at > start ? t->model->encode(t, list, text + start, at - start, err) : STN_OK;
        if (code == STN_OK && !stn_tokenizer_list_add(list, id, 0)) {
            code = stn_err_set(err, STN_MEMORY, "no memory for the tokens of %zu bytes", size);
        }
        at += t->entries[id].size;
        start = at;
    }
    return code == STN_OK && start < size ? t->model->encode(t, list, text + start, size - start, err) : code;
}

enum stn_code stn_tokenizer_encode(const struct stn_tokenizer *t, struct stn_tokenizer_list *list,
                                   const char *text, size_t size, unsigned flags, struct stn_err *err)
{
    if (size > STN_TOKENIZER_TEXT) {
        return stn_err_set(err, STN_LIMIT, "a text of %zu bytes, at most %zu", size, STN_TOKENIZER_TEXT);
    }
    size_t n_before = list->n;
    enum stn_code code = STN_OK;
    if ((flags & STN_TOKENIZER_BOS) != 0 && t->adds_bos && !stn_tokenizer_list_add(list, t->bos, 0)) {
        code = stn_err_set(err, STN_MEMORY, "no memory for the tokens of %zu bytes", size);
    }
    if (code == STN_OK) {
        code = encode_runs(t, list, text, size, flags, err);
    }
    if (code != STN_OK) {
        list->n = n_before;
    }
    return code;
}

/* How many of the held bytes begin a character that more bytes may end: all of them, or none. */
static bool may_go_on(const uint8_t *p, size_t n)
{
    static const uint8_t fillers[2] = {0x80, 0xbf};
    uint32_t point;
    for (size_t f = 0; f < 2 && n < 4; f++) {
        uint8_t bytes[4];
        memcpy(bytes, p, n);
        for (size_t size = n + 1; size <= 4; size++) {
            bytes[size - 1] = fillers[f];
            if (stn_str_utf8((const char *)bytes, size, &point) == size) {
                return true;
            }
        }
    }
    return false;
}

/* Says as many of the held bytes as can be said. */
static bool say_held(struct stn_tokenizer_decoder *decoder, struct stn_buf *buf)
{
    while (decoder->n_held > 0) {
        uint32_t point;
        size_t size = stn_str_utf8((const char *)decoder->held, decoder->n_held, &point);
        if (size == 0 && may_go_on(decoder->held, decoder->n_held)) {
            return true;
        }
        if (!(size > 0 ? stn_buf_add(buf, decoder->held, size) : stn_buf_add_str(buf, "\xef\xbf\xbd"))) {
            return false;
        }
        size = size > 0 ? size : 1;
        decoder->n_held = (uint8_t)(decoder->n_held - size);
        memmove(decoder->held, decoder->held + size, decoder->n_held);
    }
    return true;
}

static bool say(struct stn_tokenizer_decoder *decoder, const uint8_t *p, size_t size, struct stn_buf *buf)
{
    for (size_t i = 0; i < size; i++) {
        if (decoder->n_held == 0 && p[i] < 0x80) {
            if (!stn_buf_add_u8(buf, p[i])) {
                return false;
            }
            continue;
        }
        decoder->held[decoder->n_held++] = p[i];
        if (!say_held(decoder, buf)) {
            return false;
        }
    }
    return true;
}

enum stn_code stn_tokenizer_decode(const struct stn_tokenizer *t, struct stn_tokenizer_decoder *decoder,
                                   int32_t id, struct stn_buf *buf, struct stn_err *err)
{
    if (id < 0 || (uint32_t)id >= t->n_vocab) {
        return stn_err_set(err, STN_INVALID, "token %d is not in the vocabulary of %u", id, t->n_vocab);
    }
    struct stn_gguf_str piece = stn_tokenizer_piece(t, id);
    uint8_t type = t->entries[id].type;
    bool said = true;
    if (type == STN_TOKENIZER_CONTROL || type == STN_TOKENIZER_UNKNOWN) {
        said = !decoder->show_special || say(decoder, (const uint8_t *)piece.p, piece.size, buf);
        decoder->started = false;
    } else {
        size_t skip = t->model == &stn_tokenizer_spm && t->adds_space && !decoder->started && piece.size > 0 &&
                      type != STN_TOKENIZER_USER && piece.p[0] == ' ';
        said = say(decoder, (const uint8_t *)piece.p + skip, piece.size - skip, buf);
        decoder->started = type != STN_TOKENIZER_USER; /* as the next run's blank is put after either kind */
    }
    return said ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for text");
}

bool stn_tokenizer_decode_end(struct stn_tokenizer_decoder *decoder, struct stn_buf *buf)
{
    bool said = true;
    for (uint8_t i = 0; i < decoder->n_held && said; i++) {
        said = stn_buf_add_str(buf, "\xef\xbf\xbd");
    }
    *decoder = (struct stn_tokenizer_decoder){.show_special = decoder->show_special};
    return said;
}

struct stn_gguf_str stn_tokenizer_piece(const struct stn_tokenizer *t, int32_t id)
{
    assert(id >= 0 && (uint32_t)id < t->n_vocab);
    return (struct stn_gguf_str){(const char *)t->text + t->entries[id].at, t->entries[id].size};
}

uint32_t stn_tokenizer_n_vocab(const struct stn_tokenizer *t)
{
    return t->n_vocab;
}

int32_t stn_tokenizer_bos(const struct stn_tokenizer *t)
{
    return t->bos;
}

int32_t stn_tokenizer_eos(const struct stn_tokenizer *t)
{
    return t->eos;
}

int32_t stn_tokenizer_eot(const struct stn_tokenizer *t)
{
    return t->eot;
}

int32_t stn_tokenizer_pad(const struct stn_tokenizer *t)
{
    return t->pad;
}

bool stn_tokenizer_adds_bos(const struct stn_tokenizer *t)
{
    return t->adds_bos;
}

bool stn_tokenizer_is_end(const struct stn_tokenizer *t, int32_t id)
{
    return id >= 0 && (id == t->eos || id == t->eot);
}

const char *stn_tokenizer_kind(const struct stn_tokenizer *t)
{
    return t->model->name;
}

const char *stn_tokenizer_pre(const struct stn_tokenizer *t)
{
    return t->split == NULL ? "" : t->split->name;
}
