/* The doors of a published checkpoint's JSON: config.json, tokenizer.json and tokenizer_config.json, a zero between them. The
 * folder has no tensors, so that a model never comes of it; the vocabulary is made on its own, too. */
#include "tests/lib/fuzz.h"

#include <string.h>

#include "compute/model/convert.h"
#include "io/file.h"
#include "tests/lib/scratch.h"

#define N_VOCAB 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json"};
    struct stn_gguf_write *w = NULL;
    struct stn_buf buf = {0};
    struct stn_err err;
    for (size_t i = 0; i < 3; i++) {
        const uint8_t *end = size > 0 && i < 2 ? memchr(data, 0, size) : NULL;
        size_t n = end == NULL ? size : (size_t)(end - data);
        stn_scratch_put(names[i], data, n);
        data += n + (end != NULL);
        size -= n + (end != NULL);
    }
    stn_scratch_require(stn_convert_folder(stn_scratch_folder(), stn_scratch_path("out.gguf"), STN_QUANT_TQ2_0, false, NULL, NULL,
                                           &err) != STN_OK);
    stn_scratch_require(!stn_file_exists(stn_scratch_path("out.gguf")));
    if (stn_gguf_write_new(&w, &err) == STN_OK && stn_convert_tokenizer(w, stn_scratch_folder(), N_VOCAB, &err) == STN_OK) {
        stn_scratch_require(stn_gguf_write_begin_buf(w, &buf, &err) == STN_OK && stn_gguf_write_end(w, &err) == STN_OK);
    }
    stn_gguf_write_free(w);
    stn_buf_fini(&buf);
    return 0;
}
