/* tokenizer_parts: what the files of the tokenizer share and nobody else sees. */
#ifndef STN_MODEL_TOKENIZER_PARTS_H
#define STN_MODEL_TOKENIZER_PARTS_H

#include "compute/model/tokenizer.h"
#include "compute/model/tokenizer_split.h"

/* Kinds of tokens; the numbers stand in files. */
enum stn_tokenizer_type {
    STN_TOKENIZER_NORMAL = 1,
    STN_TOKENIZER_UNKNOWN = 2,
    STN_TOKENIZER_CONTROL = 3,
    STN_TOKENIZER_USER = 4, /* found in any text, special parsing or not */
    STN_TOKENIZER_UNUSED = 5,
    STN_TOKENIZER_BYTE = 6
};

struct stn_tokenizer_entry {
    uint32_t at, size; /* its bytes in text */
    float score;       /* SentencePiece: the higher is merged first */
    uint8_t type;
};

/* Two tokens that join to a third. */
struct stn_tokenizer_merge {
    uint64_t pair; /* (left << 32 | right) + 1; 0: an empty slot */
    uint32_t rank; /* the lower is merged first */
    int32_t id;
};

struct stn_tokenizer;

/* What differs between kinds of vocabularies. */
struct stn_tokenizer_model {
    const char *file_name; /* tokenizer.ggml.model */
    const char *name;
    bool adds_bos; /* unless the file says otherwise */
    /* Turns a normal token's text in the file into the bytes that it stands for; never longer. */
    size_t (*unescape)(uint8_t *dst, struct stn_gguf_str text);
    /* After the vocabulary is loaded. */
    enum stn_code (*load)(struct stn_tokenizer *t, const struct stn_gguf *gguf, struct stn_err *err);
    /* Appends the tokens of a run of text without special tokens in it. */
    enum stn_code (*encode)(const struct stn_tokenizer *t, struct stn_tokenizer_list *list,
                            const char *text, size_t size, struct stn_err *err);
};

extern const struct stn_tokenizer_model stn_tokenizer_bpe, stn_tokenizer_spm;

struct stn_tokenizer {
    const struct stn_tokenizer_model *model;
    const struct stn_tokenizer_split *split; /* BPE */
    uint32_t n_vocab;
    struct stn_tokenizer_entry *entries;
    uint8_t *text;
    uint32_t *slots; /* by the bytes of normal tokens: id + 1, or 0; n_slots is a power of two */
    size_t n_slots;
    struct stn_tokenizer_merge *merges; /* BPE: n_merges slots, a power of two */
    size_t n_merges;
    int32_t byte_ids[256]; /* the token of a single byte, or -1 */
    int32_t *specials;     /* by first byte, the longest first; those of byte b from starts[b] to starts[b + 1] */
    uint32_t starts[257];
    int32_t bos, eos, eot, unknown, pad;
    bool adds_bos;
    bool adds_space; /* SentencePiece: a text begins with a blank that is not there */
    bool cuts_words; /* SentencePiece: no token goes from one word into the next */
    const char *chat; /* the name of its chat template */
};

bool stn_tokenizer_type_is_special(uint8_t type);
/* Where the normal token of these bytes stands in slots, or the empty slot where it would. */
size_t stn_tokenizer_slot(const struct stn_tokenizer *t, const uint8_t *p, size_t size);
/* The normal token of these bytes, or -1. */
int32_t stn_tokenizer_find(const struct stn_tokenizer *t, const uint8_t *p, size_t size);
/* The special token that the text begins with, the longest; -1 when there is none. flags as for encode. */
int32_t stn_tokenizer_special_at(const struct stn_tokenizer *t, const char *text, size_t size, unsigned flags);

/* stn_tokenizer_new, in tokenizer_load.c. */
enum stn_code stn_tokenizer_load(struct stn_tokenizer **ret, const struct stn_gguf *gguf,
                                 struct stn_err *err) STN_CHECKED;

/* Settles t->chat. */
void stn_tokenizer_chat_detect(struct stn_tokenizer *t, const struct stn_gguf *gguf);

#endif
