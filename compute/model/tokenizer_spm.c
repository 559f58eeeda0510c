#include <string.h>

#include "base/heap.h"
#include "base/mem.h"
#include "base/str.h"
#include "compute/model/tokenizer_parts.h"

#define NONE UINT32_MAX
#define BLANK "\xe2\x96\x81" /* U+2581 stands for a blank in the file */

/* Blanks are blanks from here on: so a U+2581 in a text is a character like others, and comes back. */
static size_t unescape(uint8_t *dst, struct stn_gguf_str text)
{
    size_t size = 0;
    for (size_t at = 0; at < text.size;) {
        if (text.size - at >= 3 && memcmp(text.p + at, BLANK, 3) == 0) {
            dst[size++] = ' ';
            at += 3;
        } else {
            dst[size++] = (uint8_t)text.p[at++];
        }
    }
    return size;
}

/* Where a word begins: no blank stands before its first. */
static bool begins_word(const uint8_t *p, size_t at)
{
    return at > 0 && p[at] == ' ' && p[at - 1] != ' ';
}

/* Whether no token goes from one word into the next: then words can be joined each for itself, which is the same and
 * takes a short queue instead of one of the whole text. */
static bool keeps_words_apart(const struct stn_tokenizer *t)
{
    for (uint32_t i = 0; i < t->n_vocab; i++) {
        const struct stn_tokenizer_entry *entry = &t->entries[i];
        for (size_t at = 1; at < entry->size && entry->type == STN_TOKENIZER_NORMAL; at++) {
            if (begins_word(t->text + entry->at, at)) {
                return false;
            }
        }
    }
    return true;
}

static enum stn_code load(struct stn_tokenizer *t, const struct stn_gguf *gguf, struct stn_err *err)
{
    t->cuts_words = keeps_words_apart(t);
    for (int byte = 0; byte < 256; byte++) {
        if (t->byte_ids[byte] < 0) {
            return stn_err_set(err, STN_UNSUPPORTED, "%.100s: the vocabulary has no token for byte %d",
                               gguf->path, byte);
        }
    }
    return STN_OK;
}

/* A run on its way: a chain of pieces, each pair that is a token in a queue by its score, then by place. */
struct run {
    const struct stn_tokenizer *t;
    const uint8_t *text;
    struct link {
        uint32_t at, size; /* size 0: joined to the one before */
        uint32_t prev, next; /* NONE at the ends */
    } *links;
    uint32_t n;
    struct stn_heap queue;
};

/* A number that is the smaller, the higher the score. */
static uint32_t order_of(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 != 0 ? bits : ~bits & 0x7fffffff;
}

/* When a pair may join: the time in the queue. False when it is no token. */
static bool time_of(const struct run *run, uint32_t left, uint64_t *ret_time)
{
    const struct link *a = &run->links[left];
    if (a->size == 0 || a->next == NONE) {
        return false;
    }
    int32_t id = stn_tokenizer_find(run->t, run->text + a->at, a->size + run->links[a->next].size);
    if (id < 0) {
        return false;
    }
    *ret_time = (uint64_t)order_of(run->t->entries[id].score) << 32 | left;
    return true;
}

static bool offer(struct run *run, uint32_t left)
{
    uint64_t time;
    return left == NONE || !time_of(run, left, &time) || stn_heap_push(&run->queue, time, NULL);
}

/* Joins until no pair is a token; an entry of the queue counts only if such a pair still stands there. */
static bool join(struct run *run)
{
    struct stn_heap_entry entry;
    while (stn_heap_pop(&run->queue, &entry)) {
        uint32_t left = (uint32_t)entry.time;
        uint64_t time;
        if (!time_of(run, left, &time) || time != entry.time) {
            continue;
        }
        struct link *a = &run->links[left], *b = &run->links[a->next];
        a->size += b->size;
        b->size = 0;
        a->next = b->next;
        if (a->next != NONE) {
            run->links[a->next].prev = left;
        }
        if (!offer(run, a->prev) || !offer(run, left)) {
            return false;
        }
    }
    return true;
}

static void cut_characters(struct run *run, size_t size)
{
    for (size_t at = 0; at < size; run->n++) {
        uint32_t point;
        size_t taken = stn_str_utf8((const char *)run->text + at, size - at, &point);
        taken = taken == 0 ? 1 : taken;
        run->links[run->n] = (struct link){(uint32_t)at, (uint32_t)taken, run->n - 1, run->n + 1};
        at += taken;
    }
    run->links[run->n - 1].next = NONE; /* the first one's prev is 0 - 1, which is NONE */
}

/* A piece that is no token is spelled in bytes. */
static bool list_pieces(const struct run *run, struct stn_tokenizer_list *list)
{
    for (uint32_t i = 0; i != NONE; i = run->links[i].next) {
        const uint8_t *p = run->text + run->links[i].at;
        int32_t id = stn_tokenizer_find(run->t, p, run->links[i].size);
        for (uint32_t k = 0; id < 0 && k < run->links[i].size; k++) {
            if (!stn_tokenizer_list_add(list, run->t->byte_ids[p[k]], 0)) {
                return false;
            }
        }
        if (id >= 0 && !stn_tokenizer_list_add(list, id, 0)) {
            return false;
        }
    }
    return true;
}

/* Words, or the whole text where words may join. */
static bool encode_run(struct run *run, struct stn_tokenizer_list *list, const uint8_t *text, size_t size)
{
    for (size_t from = 0, to; from < size; from = to) {
        to = run->t->cuts_words ? from + 1 : size;
        while (to < size && !begins_word(text, to)) {
            to++;
        }
        run->text = text + from;
        run->n = 0;
        cut_characters(run, to - from);
        for (uint32_t i = 0; i < run->n; i++) {
            if (!offer(run, i)) {
                return false;
            }
        }
        if (!join(run) || !list_pieces(run, list)) {
            return false;
        }
    }
    return true;
}

/* Every run begins with a blank that the text does not have, if the model was trained so. */
static enum stn_code encode(const struct stn_tokenizer *t, struct stn_tokenizer_list *list, const char *text,
                            size_t size, struct stn_err *err)
{
    size_t lead = t->adds_space;
    uint8_t *copy = stn_mem_new(1, size + lead);
    struct run run = {.t = t, .links = stn_mem_new(size + lead, sizeof *run.links)};
    bool done = copy != NULL && run.links != NULL;
    if (done) {
        copy[0] = ' ';
        memcpy(copy + lead, text, size);
        done = encode_run(&run, list, copy, size + lead);
    }
    stn_mem_free(copy);
    stn_mem_free(run.links);
    stn_heap_fini(&run.queue);
    return done ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for the tokens of %zu bytes", size);
}

const struct stn_tokenizer_model stn_tokenizer_spm = {"llama", "spm", true, unescape, load, encode};
