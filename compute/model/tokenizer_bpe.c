#include <string.h>

#include "base/heap.h"
#include "base/mem.h"
#include "base/str.h"
#include "compute/model/tokenizer_parts.h"

#define NONE UINT32_MAX

/* GPT-2 writes bytes as printable characters: those that print stand for themselves, the others, in rising order,
 * are the characters from 256 on. The byte, or -1. */
static int byte_of(uint32_t point)
{
    if ((point >= 33 && point <= 126) || (point >= 161 && point <= 172) || (point >= 174 && point <= 255)) {
        return (int)point;
    }
    if (point >= 256 && point <= 288) {
        return (int)point - 256;
    }
    if (point >= 290 && point <= 322) {
        return (int)point - 290 + 128;
    }
    return point == 289 ? 127 : point == 323 ? 173 : -1;
}

static size_t unescape(uint8_t *dst, struct stn_gguf_str text)
{
    size_t size = 0;
    for (size_t at = 0; at < text.size;) {
        uint32_t point = 0;
        size_t taken = stn_str_utf8(text.p + at, text.size - at, &point);
        int byte = taken == 0 ? (uint8_t)text.p[at] : byte_of(point);
        taken = taken == 0 ? 1 : taken;
        if (byte >= 0) {
            dst[size++] = (uint8_t)byte;
        } else {
            memmove(dst + size, text.p + at, taken); /* dst may be text itself; it is never ahead of it */
            size += taken;
        }
        at += taken;
    }
    return size;
}

/* The slot of a pair, or the empty one where it would stand. */
static size_t slot_of(const struct stn_tokenizer *t, int32_t left, int32_t right)
{
    uint64_t pair = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
    uint64_t hash = pair * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash ^ hash >> 32) & (t->n_merges - 1);
    while (t->merges[slot].pair != 0 && t->merges[slot].pair != pair) {
        slot = (slot + 1) & (t->n_merges - 1);
    }
    return slot;
}

/* "LEFT RIGHT": neither has a blank, and the left is not empty. A merge whose tokens the vocabulary does not have is
 * never met and left out. scratch has room for the text. */
static void add_merge(struct stn_tokenizer *t, struct stn_gguf_str text, uint32_t rank, uint8_t *scratch)
{
    const char *blank = text.size < 3 ? NULL : memchr(text.p + 1, ' ', text.size - 1);
    if (blank == NULL) {
        return;
    }
    size_t left_size = unescape(scratch, (struct stn_gguf_str){text.p, (size_t)(blank - text.p)});
    size_t size = left_size + unescape(scratch + left_size, (struct stn_gguf_str){
                                                                blank + 1, text.size - (size_t)(blank + 1 - text.p)});
    int32_t left = stn_tokenizer_find(t, scratch, left_size);
    int32_t right = stn_tokenizer_find(t, scratch + left_size, size - left_size);
    int32_t id = stn_tokenizer_find(t, scratch, size);
    if (left < 0 || right < 0 || id < 0) {
        return;
    }
    size_t slot = slot_of(t, left, right);
    if (t->merges[slot].pair == 0) {
        t->merges[slot] = (struct stn_tokenizer_merge){
            ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1, rank, id};
    }
}

static enum stn_code load_merges(struct stn_tokenizer *t, struct stn_gguf_array merges, struct stn_err *err)
{
    struct stn_gguf_str text;
    size_t longest = 0;
    for (struct stn_gguf_array all = merges; stn_gguf_next(&all, &text);) {
        longest = text.size > longest ? text.size : longest;
    }
    t->n_merges = 16;
    while (t->n_merges < merges.n / 3 * 4 + 16) {
        t->n_merges *= 2;
    }
    t->merges = stn_mem_new(t->n_merges, sizeof *t->merges);
    uint8_t *scratch = stn_mem_new(1, longest);
    if (t->merges == NULL || scratch == NULL) {
        stn_mem_free(scratch);
        return stn_err_set(err, STN_MEMORY, "no memory for %zu merges", merges.n);
    }
    for (uint32_t rank = 0; stn_gguf_next(&merges, &text); rank++) {
        add_merge(t, text, rank, scratch);
    }
    stn_mem_free(scratch);
    return STN_OK;
}

static enum stn_code load(struct stn_tokenizer *t, const struct stn_gguf *gguf, struct stn_err *err)
{
    struct stn_gguf_str pre = {"default", 7};
    struct stn_gguf_array merges = {0};
    enum stn_code code = stn_gguf_str(gguf, "tokenizer.ggml.pre", &pre, err);
    if (code != STN_OK && code != STN_NOT_FOUND) {
        return code;
    }
    t->split = stn_tokenizer_split_named(pre);
    if (t->split == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "%.100s: pre-tokenizer %.*s is not supported", gguf->path,
                           pre.size < 40 ? (int)pre.size : 40, pre.p);
    }
    code = stn_gguf_array(gguf, "tokenizer.ggml.merges", STN_GGUF_STR, &merges, err);
    if (code != STN_OK) {
        return code;
    }
    if (merges.n > UINT32_MAX / 4) {
        return stn_err_set(err, STN_LIMIT, "%.100s: %zu merges are too many", gguf->path, merges.n);
    }
    for (int byte = 0; byte < 256; byte++) {
        t->byte_ids[byte] = stn_tokenizer_find(t, &(uint8_t){(uint8_t)byte}, 1);
    }
    return load_merges(t, merges, err);
}

/* A word on its way: a chain of tokens, each pair that can join in a queue by rank, then by place. */
struct word {
    struct link {
        int32_t id;
        uint32_t prev, next; /* NONE at the ends */
    } *links;
    struct stn_heap queue;
    int missing; /* a byte that the vocabulary (Falcon's, of some control characters) has no token for, or -1 */
};

/* When a pair may join: the time in the queue. False when it never does. */
static bool time_of(const struct stn_tokenizer *t, const struct word *word, uint32_t left,
                    const struct stn_tokenizer_merge **ret, uint64_t *ret_time)
{
    const struct link *a = &word->links[left];
    if (a->id < 0 || a->next == NONE) {
        return false;
    }
    *ret = &t->merges[slot_of(t, a->id, word->links[a->next].id)];
    *ret_time = (uint64_t)(*ret)->rank << 32 | left;
    return (*ret)->pair != 0;
}

static bool offer(const struct stn_tokenizer *t, struct word *word, uint32_t left)
{
    const struct stn_tokenizer_merge *merge;
    uint64_t time;
    return left == NONE || !time_of(t, word, left, &merge, &time) || stn_heap_push(&word->queue, time, NULL);
}

/* Joins until no pair can; an entry of the queue counts only if its pair still stands there with that rank. */
static bool join(const struct stn_tokenizer *t, struct word *word)
{
    struct stn_heap_entry entry;
    while (stn_heap_pop(&word->queue, &entry)) {
        const struct stn_tokenizer_merge *merge;
        uint64_t time;
        uint32_t left = (uint32_t)entry.time;
        if (!time_of(t, word, left, &merge, &time) || time != entry.time) {
            continue;
        }
        struct link *a = &word->links[left], *b = &word->links[a->next];
        a->id = merge->id;
        b->id = -1;
        a->next = b->next;
        if (a->next != NONE) {
            word->links[a->next].prev = left;
        }
        if (!offer(t, word, a->prev) || !offer(t, word, left)) {
            return false;
        }
    }
    return true;
}

static bool encode_word(const struct stn_tokenizer *t, struct stn_tokenizer_list *list, struct word *word,
                        const uint8_t *p, uint32_t size)
{
    int32_t whole = t->split->whole_words || size == 1 ? stn_tokenizer_find(t, p, size) : -1;
    if (whole >= 0) {
        return stn_tokenizer_list_add(list, whole, 0);
    }
    for (uint32_t i = 0; i < size; i++) {
        word->links[i] =
            (struct link){t->byte_ids[p[i]], i == 0 ? NONE : i - 1, i + 1 == size ? NONE : i + 1};
    }
    for (uint32_t i = 0; i + 1 < size; i++) {
        if (!offer(t, word, i)) {
            return false;
        }
    }
    if (!join(t, word)) {
        return false;
    }
    for (uint32_t i = 0; i != NONE; i = word->links[i].next) {
        if (word->links[i].id < 0) {
            word->missing = p[i];
            return false;
        }
        if (!stn_tokenizer_list_add(list, word->links[i].id, 0)) {
            return false;
        }
    }
    return true;
}

struct cut {
    const struct stn_tokenizer *t;
    struct stn_tokenizer_list *list;
    const uint8_t *text;
    const struct stn_tokenizer_split_point *points;
    struct word word;
};

/* Words of the first step are cut by the next, and so on; depth is bounded by the number of steps. */
static bool encode_cuts(struct cut *cut, size_t step, size_t from, size_t to)
{
    stn_tokenizer_split_step *const *steps = cut->t->split->steps;
    if (step == STN_TOKENIZER_SPLIT_STEPS || steps[step] == NULL) {
        uint32_t at = cut->points[from].at, size = cut->points[to].at - at;
        return encode_word(cut->t, cut->list, &cut->word, cut->text + at, size);
    }
    while (from < to) {
        size_t end = steps[step](cut->points, from, to);
        if (!encode_cuts(cut, step + 1, from, end)) {
            return false;
        }
        from = end;
    }
    return true;
}

static enum stn_code encode(const struct stn_tokenizer *t, struct stn_tokenizer_list *list, const char *text,
                            size_t size, struct stn_err *err)
{
    struct stn_tokenizer_split_point *points = stn_mem_new(size + 1, sizeof *points);
    struct cut cut = {.t = t, .list = list, .text = (const uint8_t *)text, .points = points, .word.missing = -1};
    cut.word.links = stn_mem_new(size, sizeof *cut.word.links);
    bool done = points != NULL && cut.word.links != NULL;
    if (done) {
        done = encode_cuts(&cut, 0, 0, stn_tokenizer_split_points(points, text, size));
    }
    stn_mem_free(points);
    stn_mem_free(cut.word.links);
    stn_heap_fini(&cut.word.queue);
    if (cut.word.missing >= 0) {
        return stn_err_set(err, STN_UNSUPPORTED, "the model's vocabulary has no token for byte %d",
                           cut.word.missing);
    }
    return done ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for the tokens of %zu bytes", size);
}

const struct stn_tokenizer_model stn_tokenizer_bpe = {"gpt2", "bpe", false, unescape, load, encode};
