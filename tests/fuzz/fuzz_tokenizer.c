/* The door of texts, with the demo model's vocabulary: the first byte chooses the flags. Tokens are in the vocabulary,
 * their bytes are the text's, and what UTF-8 goes in comes out. */
#include "tests/lib/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "compute/model/tokenizer.h"

static struct stn_tokenizer *tokenizer;

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void start(void)
{
    const char *source = getenv("STERNA_SOURCE");
    char path[1024];
    struct stn_gguf *gguf = NULL;
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", source == NULL ? "." : source);
    require(stn_gguf_open(&gguf, path, NULL) == STN_OK);
    require(stn_tokenizer_new(&tokenizer, gguf, NULL) == STN_OK);
    stn_gguf_close(gguf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (tokenizer == NULL) {
        start();
    }
    if (size == 0) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t text_size = size - 1;
    struct stn_tokenizer_list list = {0};
    struct stn_tokenizer_decoder decoder = {.show_special = true};
    struct stn_buf raw = {0}, said = {0};
    unsigned flags = data[0] & (STN_TOKENIZER_SPECIAL);
    require(stn_tokenizer_encode(tokenizer, &list, text, text_size, flags, NULL) == STN_OK);
    for (size_t i = 0; i < list.n; i++) {
        struct stn_gguf_str piece = stn_tokenizer_piece(tokenizer, list.ids[i]);
        require(stn_buf_add(&raw, piece.p, piece.size));
        require(stn_tokenizer_decode(tokenizer, &decoder, list.ids[i], &said, NULL) == STN_OK);
    }
    require(stn_tokenizer_decode_end(&decoder, &said));
    require(raw.size == text_size && (text_size == 0 || memcmp(raw.data, text, text_size) == 0));
    require(text_size == 0 || stn_str_is_utf8((const char *)said.data, said.size));
    if (text_size > 0 && stn_str_is_utf8(text, text_size)) {
        require(said.size == text_size && memcmp(said.data, text, text_size) == 0);
    }
    stn_buf_fini(&raw);
    stn_buf_fini(&said);
    stn_tokenizer_list_fini(&list);
    return 0;
}
