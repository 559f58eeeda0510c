/* tokenizer: between text and the token ids of a model, with the vocabulary that the model's file carries: byte-level
 * BPE (GPT-2, Llama-3, Falcon: the file names its pre-tokenizer) or SentencePiece with byte fallback (Llama).
 * Any bytes encode; UTF-8 text that is encoded without special parsing decodes to itself.
 * Sources: Sennrich et al. (2016) for BPE; Kudo and Richardson (2018) for SentencePiece; the regular expressions of the
 * models' published tokenizers, for which tokenizer_split has scanners by hand. Thread: any, it never changes. */
#ifndef STN_MODEL_TOKENIZER_H
#define STN_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "compute/model/gguf.h"

#define STN_TOKENIZER_TEXT ((size_t)1 << 24) /* most bytes of one text */

struct stn_tokenizer;

/* Token ids, and for each whether it is what the assistant says (mask 1: it may carry loss). Zeroed is empty. */
struct stn_tokenizer_list {
    int32_t *ids;
    uint8_t *mask;
    size_t n;
    size_t room;
};

/* False without memory. */
bool stn_tokenizer_list_add(struct stn_tokenizer_list *list, int32_t id, uint8_t mask);
void stn_tokenizer_list_fini(struct stn_tokenizer_list *list);

/* The caller frees *ret. It keeps nothing of gguf. STN_UNSUPPORTED for another kind of vocabulary. */
enum stn_code stn_tokenizer_new(struct stn_tokenizer **ret, const struct stn_gguf *gguf,
                                struct stn_err *err) STN_CHECKED;
void stn_tokenizer_free(struct stn_tokenizer *tokenizer);

enum {
    STN_TOKENIZER_BOS = 1,    /* the first token, where the model wants one */
    STN_TOKENIZER_SPECIAL = 2 /* the text of a special token becomes that token */
};

/* Appends the tokens of text, mask 0. */
enum stn_code stn_tokenizer_encode(const struct stn_tokenizer *tokenizer, struct stn_tokenizer_list *list,
                                   const char *text, size_t size, unsigned flags,
                                   struct stn_err *err) STN_CHECKED;

/* Decodes a stream of tokens to UTF-8: a character whose bytes have not all come is held back, what can be none
 * becomes U+FFFD. Zeroed is the start of a text. */
struct stn_tokenizer_decoder {
    uint8_t held[4];
    uint8_t n_held;
    bool started;      /* the blank that SentencePiece puts first has been taken off */
    bool show_special; /* set it to have special tokens appear as their names */
};
/* Appends what can be said by now. STN_INVALID for an id outside of the vocabulary. */
enum stn_code stn_tokenizer_decode(const struct stn_tokenizer *tokenizer,
                                   struct stn_tokenizer_decoder *decoder, int32_t id, struct stn_buf *buf,
                                   struct stn_err *err) STN_CHECKED;
/* The end of the text: what is still held back can be no character any more. False without memory. */
bool stn_tokenizer_decode_end(struct stn_tokenizer_decoder *decoder, struct stn_buf *buf);

uint32_t stn_tokenizer_n_vocab(const struct stn_tokenizer *tokenizer);
/* The bytes a token stands for, or its name when it is special; views. id must be in the vocabulary. */
struct stn_gguf_str stn_tokenizer_piece(const struct stn_tokenizer *tokenizer, int32_t id);
bool stn_tokenizer_is_special(const struct stn_tokenizer *tokenizer, int32_t id);
/* The special token of this name, or -1. */
int32_t stn_tokenizer_special(const struct stn_tokenizer *tokenizer, const char *name);

/* -1 where the model has none. eot ends a turn of a conversation; it is eos where the model has no other. */
int32_t stn_tokenizer_bos(const struct stn_tokenizer *tokenizer);
int32_t stn_tokenizer_eos(const struct stn_tokenizer *tokenizer);
int32_t stn_tokenizer_eot(const struct stn_tokenizer *tokenizer);
int32_t stn_tokenizer_pad(const struct stn_tokenizer *tokenizer);
bool stn_tokenizer_adds_bos(const struct stn_tokenizer *tokenizer);
/* Generation stops at it: eos or eot. */
bool stn_tokenizer_is_end(const struct stn_tokenizer *tokenizer, int32_t id);
/* "bpe" or "spm", and the pre-tokenizer's name ("" for spm). */
const char *stn_tokenizer_kind(const struct stn_tokenizer *tokenizer);
const char *stn_tokenizer_pre(const struct stn_tokenizer *tokenizer);

/* Conversations, in tokenizer_chat.c. */
struct stn_tokenizer_message {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
};
/* The name of the template that the model's file or its special tokens point to. */
const char *stn_tokenizer_chat_template(const struct stn_tokenizer *tokenizer);
/* Another one from now on: before anyone shares the tokenizer. STN_NOT_FOUND, and nothing changed, for a name that is none. */
enum stn_code stn_tokenizer_chat_use_template(struct stn_tokenizer *tokenizer, const char *name, struct stn_err *err) STN_CHECKED;
/* Appends a conversation by the template of that name (chatml, llama-2, llama-3, bitnet, falcon; NULL: the model's).
 * Mask 1: what the assistant says and the token that ends it. prompt: ends with the opening of an assistant's turn.
 * Contents never become special tokens. STN_INVALID for another role, STN_NOT_FOUND for another template. */
enum stn_code stn_tokenizer_chat(const struct stn_tokenizer *tokenizer, struct stn_tokenizer_list *list,
                                 const char *name, const struct stn_tokenizer_message *messages, size_t n,
                                 bool prompt, struct stn_err *err) STN_CHECKED;

#endif
