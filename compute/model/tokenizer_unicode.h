/* tokenizer_unicode: what kind of character a code point is, as far as tokenizers care. Thread: any. */
#ifndef STN_MODEL_TOKENIZER_UNICODE_H
#define STN_MODEL_TOKENIZER_UNICODE_H

#include <stdint.h>

/* At most one of these holds of a code point: \p{L}, \p{N}, White_Space, \p{P}; none of symbols, marks and the rest. */
enum {
    STN_TOKENIZER_UNICODE_LETTER = 1,
    STN_TOKENIZER_UNICODE_NUMBER = 2,
    STN_TOKENIZER_UNICODE_SPACE = 4,
    STN_TOKENIZER_UNICODE_PUNCT = 8
};

/* 0 too for what is no code point. */
uint8_t stn_tokenizer_unicode_class(uint32_t point);

#endif
