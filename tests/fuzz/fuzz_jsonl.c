/* A line of a dataset, from anywhere: parsed, tokenised, kept. */
#include "tests/lib/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "compute/model/tokenizer.h"
#include "compute/train/dataset.h"

static struct stn_tokenizer *tokenizer;

/* Once for all inputs; it is never freed before the end. */
static void open_tokenizer(void)
{
    if (tokenizer == NULL) {
        const char *top = getenv("STERNA_SOURCE");
        char path[1024];
        struct stn_gguf *gguf = NULL;
        (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", top == NULL ? "." : top);
        if (stn_gguf_open(&gguf, path, NULL) != STN_OK || stn_tokenizer_new(&tokenizer, gguf, NULL) != STN_OK) {
            (void)fprintf(stderr, "error: %s does not open\n", path);
            abort();
        }
        stn_gguf_close(gguf);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct stn_dataset_config config = {.context = 64, .skip_bad = true};
    struct stn_dataset *dataset = NULL;
    open_tokenizer();
    if (stn_dataset_new(&dataset, &config, NULL) != STN_OK) {
        return 0;
    }
    struct stn_err err = {0};
    enum stn_code code = stn_dataset_add_line(dataset, tokenizer, (const char *)data, size, 1, &err);
    if (code == STN_OK && dataset->counts.n_lines != 1) {
        abort(); /* a line is an example, or counted as something else */
    }
    if (code == STN_OK && dataset->n_examples + dataset->counts.n_empty + dataset->counts.n_skipped != 1) {
        abort();
    }
    for (size_t i = 0; i < dataset->n_examples; i++) {
        const struct stn_dataset_example *example = &dataset->examples[i];
        if (example->n_tokens < 2 || example->n_tokens > 64 || example->n_targets >= example->n_tokens) {
            abort();
        }
        (void)stn_dataset_field(dataset, i, "home");
    }
    stn_dataset_free(dataset);
    return 0;
}
