/* dataset: examples as tokens, with a mark on each token that carries loss. Made from a JSONL file or in memory, then
 * read-only: cut into parts, shuffled by who reads it, never changed.
 *
 * What becomes of a line (jsonl.h), in tokens:
 *   pair      [bos] prompt completion eos       loss on completion and eos
 *   messages  the model's chat template         loss on the assistant's turns and the token that ends each
 *   text      [bos] text eos                    loss on all but the first token
 * bos stands where the model's vocabulary asks for it. Nothing after the last token that carries loss is kept: it
 * could not change a thing. Nothing else is ever left out without being counted. Thread: building, one at a time;
 * a finished one may be read by any. */
#ifndef STN_COMPUTE_TRAIN_DATASET_H
#define STN_COMPUTE_TRAIN_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "compute/train/jsonl.h"
#include "crypto/digest.h"

struct stn_tokenizer;

#define STN_DATASET_EXAMPLES_LIMIT ((size_t)1 << 24)
#define STN_DATASET_TOKENS_LIMIT ((size_t)1 << 31)
#define STN_DATASET_FIELDS_LIMIT ((size_t)1 << 30) /* bytes of all fields */

enum stn_dataset_loss {
    STN_DATASET_COMPLETION, /* as above */
    STN_DATASET_ALL         /* every token but an example's first */
};

struct stn_dataset_config {
    size_t context; /* tokens of an example, at most; longer ones lose their end and are counted. At least 2 */
    enum stn_dataset_loss loss;
    bool skip_bad;  /* count a broken line instead of failing */
};

/* Of each token. */
#define STN_DATASET_TARGET 1u /* to be predicted from what stands before it */
#define STN_DATASET_ANSWER 2u /* part of a completion or of an assistant's turn, its end included */

struct stn_dataset_example {
    uint64_t line;       /* of the file, or the number of the addition, from 1 */
    size_t first_token;  /* in tokens and marks */
    uint32_t n_tokens;   /* at least 2 */
    uint32_t n_targets;  /* at least 1 */
    size_t first_field;  /* byte in fields: name, zero, value, zero, ... */
    uint32_t fields_size;
    bool is_truncated;
    bool has_answer; /* and the whole of it: exact match can be judged */
};

struct stn_dataset_counts {
    uint64_t n_lines;     /* lines that are not blank, or additions */
    uint64_t n_truncated; /* examples that lost their end to the context */
    uint64_t n_cut;       /* tokens they lost */
    uint64_t n_empty;     /* lines with nothing to learn from, or nothing left of it */
    uint64_t n_skipped;   /* broken lines */
    uint64_t n_fields_left_out;
    uint64_t n_tokens, n_targets; /* of the examples */
    struct stn_err first_bad;     /* why the first broken line is broken, with its number; code STN_OK: none is */
};

/* Read these; only dataset.c writes them. */
struct stn_dataset {
    const struct stn_dataset_example *examples;
    size_t n_examples;
    const int32_t *tokens; /* of all examples, one behind the other */
    const uint8_t *marks;  /* of each token */
    struct stn_buf held[4]; /* what the pointers above point into, and the fields */
    struct stn_dataset_config config;
    struct stn_dataset_counts counts;
};

/* Empty, to be added to. The caller frees *ret. */
enum stn_code stn_dataset_new(struct stn_dataset **ret, const struct stn_dataset_config *config,
                              struct stn_err *err) STN_CHECKED;
void stn_dataset_free(struct stn_dataset *dataset);

/* One example more, or a count if there is nothing to learn from it. STN_LIMIT beyond the limits above. */
enum stn_code stn_dataset_add(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                              const struct stn_jsonl_record *record, struct stn_err *err) STN_CHECKED;
enum stn_code stn_dataset_add_pair(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                                   const char *prompt, const char *completion, struct stn_err *err) STN_CHECKED;
/* One line of JSONL: parsed and added. A broken one is STN_INVALID, or a count with skip_bad. */
enum stn_code stn_dataset_add_line(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                                   const char *line, size_t size, uint64_t number,
                                   struct stn_err *err) STN_CHECKED;
/* The lowest door: tokens as they are, a mark on each. */
enum stn_code stn_dataset_add_tokens(struct stn_dataset *dataset, const int32_t *tokens, const uint8_t *marks,
                                     size_t n, struct stn_err *err) STN_CHECKED;

/* The whole file. STN_INVALID for a broken line, "FILE: line 12: ... expected ...", and for a file without examples. */
enum stn_code stn_dataset_open(struct stn_dataset **ret, const char *path, const struct stn_tokenizer *tokenizer,
                               const struct stn_dataset_config *config, struct stn_err *err) STN_CHECKED;

/* The value of a field, or NULL. */
const char *stn_dataset_field(const struct stn_dataset *dataset, size_t example, const char *name);

/* A dataset of its own with copies of n examples, in the order of indices. Its counts are of its own examples. */
enum stn_code stn_dataset_subset(struct stn_dataset **ret, const struct stn_dataset *dataset,
                                 const size_t *indices, size_t n, struct stn_err *err) STN_CHECKED;

/* Seeded: *ret_held gets max(1, round(share * n)) examples and *ret_kept the rest, both in file order. STN_INVALID
 * when there are fewer than two examples. share in (0, 1). */
enum stn_code stn_dataset_split(struct stn_dataset **ret_kept, struct stn_dataset **ret_held,
                                const struct stn_dataset *dataset, double share, uint64_t seed,
                                struct stn_err *err) STN_CHECKED;

/* Names what is learned: tokens and marks of every example, in order. */
struct stn_digest stn_dataset_digest(const struct stn_dataset *dataset);

#endif
