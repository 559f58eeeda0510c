/* tokenizer_split: cuts a text into words before BPE joins bytes within each of them: a pre-tokenizer. Each is a list
 * of steps, a step cuts what the one before left whole, and equals a published regular expression. Thread: any. */
#ifndef STN_MODEL_TOKENIZER_SPLIT_H
#define STN_MODEL_TOKENIZER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/model/gguf.h"

/* A character of a text. */
struct stn_tokenizer_split_point {
    uint32_t at;   /* byte in the text */
    uint32_t code; /* its code point; above Unicode for a byte that is not UTF-8 */
    uint8_t kind;  /* its class, of tokenizer_unicode */
};

/* Where the word ends that begins at `from`; words lie in [from, to) and are never empty. */
typedef size_t stn_tokenizer_split_step(const struct stn_tokenizer_split_point *points, size_t from,
                                        size_t to);

#define STN_TOKENIZER_SPLIT_STEPS 4

struct stn_tokenizer_split {
    const char *name; /* tokenizer.ggml.pre */
    bool whole_words; /* a word that is a token is that token, whatever the merges say */
    bool adds_bos;    /* unless the file says otherwise */
    stn_tokenizer_split_step *steps[STN_TOKENIZER_SPLIT_STEPS]; /* up to the first NULL */
};

/* NULL when there is none of this name. */
const struct stn_tokenizer_split *stn_tokenizer_split_named(struct stn_gguf_str name);

/* Reads a text as characters; points has room for one a byte and one more, which gets the end. How many. */
size_t stn_tokenizer_split_points(struct stn_tokenizer_split_point *points, const char *text, size_t size);

#endif
