#include "compute/train/dataset.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/tokenizer.h"

enum { EXAMPLES, TOKENS, MARKS, FIELDS }; /* of held */

enum stn_code stn_dataset_new(struct stn_dataset **ret, const struct stn_dataset_config *config,
                              struct stn_err *err)
{
    assert(config->context >= 2 && config->context <= INT32_MAX);
    struct stn_dataset *dataset = stn_mem_new(1, sizeof *dataset);
    if (dataset == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a dataset");
    }
    dataset->config = *config;
    *ret = dataset;
    return STN_OK;
}

void stn_dataset_free(struct stn_dataset *dataset)
{
    for (size_t i = 0; dataset != NULL && i < sizeof dataset->held / sizeof *dataset->held; i++) {
        stn_buf_fini(&dataset->held[i]);
    }
    stn_mem_free(dataset);
}

/* An example with its tokens, marks and fields as they lie in another dataset or in a scratch. All or nothing. */
struct piece {
    struct stn_dataset_example example;
    const int32_t *tokens;
    const uint8_t *marks;
    const void *fields;
};

static enum stn_code keep(struct stn_dataset *dataset, const struct piece *piece, struct stn_err *err)
{
    struct stn_buf *held = dataset->held;
    struct stn_dataset_example example = piece->example;
    size_t n = example.n_tokens, n_before = (size_t)dataset->counts.n_tokens;
    if (dataset->n_examples == STN_DATASET_EXAMPLES_LIMIT || n > STN_DATASET_TOKENS_LIMIT - n_before ||
        example.fields_size > STN_DATASET_FIELDS_LIMIT - held[FIELDS].size) {
        return stn_err_set(err, STN_LIMIT, "more than %zu examples, %zu tokens or %zu bytes of fields",
                           STN_DATASET_EXAMPLES_LIMIT, STN_DATASET_TOKENS_LIMIT, STN_DATASET_FIELDS_LIMIT);
    }
    const size_t sizes[] = {held[0].size, held[1].size, held[2].size, held[3].size};
    example.first_token = n_before;
    example.first_field = held[FIELDS].size;
    bool ok = stn_buf_add(&held[EXAMPLES], &example, sizeof example) &&
              stn_buf_add(&held[TOKENS], piece->tokens, n * sizeof *piece->tokens) &&
              stn_buf_add(&held[MARKS], piece->marks, n) &&
              (example.fields_size == 0 || stn_buf_add(&held[FIELDS], piece->fields, example.fields_size));
    for (size_t i = 0; i < 4; i++) {
        held[i].size = ok ? held[i].size : sizes[i];
        held[i].failed = false;
    }
    dataset->examples = (const void *)held[EXAMPLES].data;
    dataset->tokens = (const void *)held[TOKENS].data;
    dataset->marks = held[MARKS].data;
    if (!ok) {
        return stn_err_set(err, STN_MEMORY, "no memory for example %zu", dataset->n_examples + 1);
    }
    dataset->n_examples++;
    dataset->counts.n_tokens += n;
    dataset->counts.n_targets += example.n_targets;
    return STN_OK;
}

/* Up to and with the last token that carries loss. */
static size_t end_of_targets(const uint8_t *marks, size_t n)
{
    while (n > 1 && (marks[n - 1] & STN_DATASET_TARGET) == 0) {
        n--;
    }
    return n;
}

static enum stn_code add_example(struct stn_dataset *dataset, struct piece *piece, size_t n, struct stn_err *err)
{
    const uint8_t *marks = piece->marks;
    struct stn_dataset_example *example = &piece->example;
    size_t whole = end_of_targets(marks, n), context = dataset->config.context;
    example->is_truncated = whole > context;
    example->n_tokens = (uint32_t)(whole > context ? end_of_targets(marks, context) : whole);
    for (size_t i = 1; i < example->n_tokens; i++) {
        example->n_targets += (marks[i] & STN_DATASET_TARGET) != 0;
        example->has_answer |= (marks[i] & STN_DATASET_ANSWER) != 0;
    }
    example->has_answer &= !example->is_truncated;
    enum stn_code code = example->n_targets == 0 ? STN_OK : keep(dataset, piece, err);
    if (code == STN_OK) {
        dataset->counts.n_lines++;
        dataset->counts.n_empty += example->n_targets == 0;
        dataset->counts.n_truncated += example->is_truncated;
        dataset->counts.n_cut += example->is_truncated ? whole - context : 0;
    }
    return code;
}

enum stn_code stn_dataset_add_tokens(struct stn_dataset *dataset, const int32_t *tokens, const uint8_t *marks,
                                     size_t n, struct stn_err *err)
{
    struct piece piece = {.example = {.line = dataset->counts.n_lines + 1}, .tokens = tokens, .marks = marks};
    return add_example(dataset, &piece, n, err);
}

/* ---- from text to tokens ---- */

/* Whether a text's first token begins with a blank that the text does not have (SentencePiece). */
static enum stn_code find_lead(const struct stn_tokenizer *tokenizer, bool *ret, struct stn_err *err)
{
    struct stn_tokenizer_list list = {0};
    enum stn_code code = stn_tokenizer_encode(tokenizer, &list, "a", 1, 0, err);
    if (code == STN_OK) {
        struct stn_gguf_str piece = {0};
        if (list.n > 0) {
            piece = stn_tokenizer_piece(tokenizer, list.ids[0]);
        }
        *ret = piece.size > 0 && piece.p[0] == ' ';
    }
    stn_tokenizer_list_fini(&list);
    return code;
}

/* The tokens of a text that stands behind a line's end, without those of the line's end. */
static enum stn_code encode_behind_line(struct stn_tokenizer_list *list, const struct stn_tokenizer *tokenizer,
                                        const char *text, struct stn_err *err)
{
    struct stn_tokenizer_list end = {0}, both = {0};
    struct stn_buf joined = {0};
    size_t size = strlen(text);
    bool ok = stn_buf_add_u8(&joined, '\n') && stn_buf_add(&joined, text, size);
    enum stn_code code = ok ? stn_tokenizer_encode(tokenizer, &end, "\n", 1, 0, err)
                            : stn_err_set(err, STN_MEMORY, "no memory for an example");
    if (code == STN_OK) {
        code = stn_tokenizer_encode(tokenizer, &both, (const char *)joined.data, joined.size, 0, err);
    }
    size_t skip = end.n;
    if (code == STN_OK && (both.n < skip || memcmp(both.ids, end.ids, skip * sizeof *end.ids) != 0)) {
        both.n = skip = 0; /* the line's end has joined the text: as any text, then */
        code = stn_tokenizer_encode(tokenizer, &both, text, size, 0, err);
    }
    for (size_t i = skip; code == STN_OK && i < both.n; i++) {
        if (!stn_tokenizer_list_add(list, both.ids[i], 0)) {
            code = stn_err_set(err, STN_MEMORY, "no memory for an example");
        }
    }
    stn_buf_fini(&joined);
    stn_tokenizer_list_fini(&end);
    stn_tokenizer_list_fini(&both);
    return code;
}

/* The tokens of a text that goes on where another ended: no blank comes between that is in neither. */
static enum stn_code encode_rest(struct stn_tokenizer_list *list, const struct stn_tokenizer *tokenizer,
                                 const char *text, struct stn_err *err)
{
    bool leads = false;
    enum stn_code code = find_lead(tokenizer, &leads, err);
    if (code != STN_OK) {
        return code;
    }
    if (leads && text[0] != ' ') {
        return encode_behind_line(list, tokenizer, text, err);
    }
    text += leads; /* the blank that the tokenizer puts is the text's own */
    return stn_tokenizer_encode(tokenizer, list, text, strlen(text), 0, err);
}

static enum stn_code encode_pair(struct stn_tokenizer_list *list, const struct stn_tokenizer *tokenizer,
                                 const struct stn_jsonl_record *record, struct stn_err *err)
{
    enum stn_code code = stn_tokenizer_encode(tokenizer, list, record->prompt, strlen(record->prompt),
                                              STN_TOKENIZER_BOS, err);
    size_t n_prompt = list->n;
    if (code == STN_OK) {
        code = encode_rest(list, tokenizer, record->completion, err);
    }
    for (size_t i = n_prompt; i < list->n; i++) {
        list->mask[i] = 1;
    }
    return code;
}

static enum stn_code encode_messages(struct stn_tokenizer_list *list, const struct stn_tokenizer *tokenizer,
                                     const struct stn_jsonl_record *record, struct stn_err *err)
{
    struct stn_tokenizer_message *messages = stn_mem_new(record->n_messages, sizeof *messages);
    if (messages == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu messages", record->n_messages);
    }
    for (size_t i = 0; i < record->n_messages; i++) {
        messages[i].role = record->messages[i].role;
        messages[i].content = record->messages[i].content;
    }
    enum stn_code code = stn_tokenizer_chat(tokenizer, list, NULL, messages, record->n_messages, false, err);
    stn_mem_free(messages);
    return code;
}

/* The tokens of a record; mask 1 is the answer. */
static enum stn_code encode(struct stn_tokenizer_list *list, const struct stn_tokenizer *tokenizer,
                            const struct stn_jsonl_record *record, struct stn_err *err)
{
    enum stn_code code;
    if (record->kind == STN_JSONL_MESSAGES) {
        return encode_messages(list, tokenizer, record, err);
    }
    bool is_pair = record->kind == STN_JSONL_PAIR;
    const char *text = is_pair ? record->completion : record->text;
    if (text[0] == '\0') {
        return STN_OK; /* an end alone would teach to say nothing */
    }
    code = is_pair ? encode_pair(list, tokenizer, record, err)
                   : stn_tokenizer_encode(tokenizer, list, text, strlen(text), STN_TOKENIZER_BOS, err);
    int32_t eos = stn_tokenizer_eos(tokenizer);
    if (code == STN_OK && eos >= 0 && !stn_tokenizer_list_add(list, eos, is_pair)) {
        code = stn_err_set(err, STN_MEMORY, "no memory for an example");
    }
    return code;
}

static bool put_fields(struct stn_buf *buf, const struct stn_jsonl_record *record)
{
    bool ok = true;
    for (size_t i = 0; ok && i < record->n_fields; i++) {
        const struct stn_jsonl_field *field = &record->fields[i];
        ok = stn_buf_add(buf, field->name, strlen(field->name) + 1) &&
             stn_buf_add(buf, field->value, strlen(field->value) + 1);
    }
    return ok;
}

static enum stn_code add_record(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                                const struct stn_jsonl_record *record, uint64_t line, struct stn_err *err)
{
    struct stn_tokenizer_list list = {0};
    struct stn_buf fields = {0};
    enum stn_code code = encode(&list, tokenizer, record, err);
    bool all = dataset->config.loss == STN_DATASET_ALL || record->kind == STN_JSONL_TEXT;
    for (size_t i = 0; code == STN_OK && i < list.n; i++) {
        list.mask[i] = (uint8_t)((list.mask[i] != 0 ? STN_DATASET_ANSWER | STN_DATASET_TARGET : 0u) |
                                 (all ? STN_DATASET_TARGET : 0u));
    }
    if (code == STN_OK && !put_fields(&fields, record)) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a line's fields");
    }
    if (code == STN_OK) {
        struct piece piece = {.example = {.line = line, .fields_size = (uint32_t)fields.size},
                              .tokens = list.ids, .marks = list.mask, .fields = fields.data};
        code = add_example(dataset, &piece, list.n, err);
        dataset->counts.n_fields_left_out += record->n_fields_left_out;
    }
    stn_buf_fini(&fields);
    stn_tokenizer_list_fini(&list);
    return code;
}

enum stn_code stn_dataset_add(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                              const struct stn_jsonl_record *record, struct stn_err *err)
{
    return add_record(dataset, tokenizer, record, dataset->counts.n_lines + 1, err);
}

enum stn_code stn_dataset_add_pair(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                                   const char *prompt, const char *completion, struct stn_err *err)
{
    const struct stn_jsonl_record record = {.kind = STN_JSONL_PAIR, .prompt = prompt, .completion = completion};
    return stn_dataset_add(dataset, tokenizer, &record, err);
}

/* A line that is broken: counted, or the end. */
static enum stn_code refuse(struct stn_dataset *dataset, uint64_t number, struct stn_err *why, struct stn_err *err)
{
    bool is_bad = why->code == STN_INVALID || why->code == STN_LIMIT;
    if (is_bad) {
        (void)stn_err_prefix(why, "line %llu", (unsigned long long)number);
    }
    if (!is_bad || !dataset->config.skip_bad) {
        return stn_err_set(err, why->code, "%s", why->text);
    }
    if (dataset->counts.n_skipped == 0) {
        dataset->counts.first_bad = *why;
    }
    dataset->counts.n_lines++;
    dataset->counts.n_skipped++;
    return STN_OK;
}

enum stn_code stn_dataset_add_line(struct stn_dataset *dataset, const struct stn_tokenizer *tokenizer,
                                   const char *line, size_t size, uint64_t number, struct stn_err *err)
{
    struct stn_arena arena = {0};
    struct stn_jsonl_record record;
    struct stn_err why = {0};
    enum stn_code code = stn_jsonl_parse(&record, &arena, line, size, &why);
    if (code != STN_OK) {
        code = refuse(dataset, number, &why, err);
    } else {
        code = add_record(dataset, tokenizer, &record, number, err);
        code = code == STN_OK ? code : stn_err_prefix(err, "line %llu", (unsigned long long)number);
    }
    stn_arena_fini(&arena);
    return code;
}

/* Every line of the file. */
static enum stn_code add_file(struct stn_dataset *dataset, struct stn_jsonl_file *file,
                              const struct stn_tokenizer *tokenizer, struct stn_err *err)
{
    for (;;) {
        const char *line;
        size_t size;
        uint64_t number = 0;
        struct stn_err why = {0};
        enum stn_code code = stn_jsonl_next(file, &line, &size, &number, &why);
        if (code != STN_OK) {
            code = refuse(dataset, number, &why, err);
        } else if (line == NULL) {
            return STN_OK;
        } else {
            code = stn_dataset_add_line(dataset, tokenizer, line, size, number, err);
        }
        if (code != STN_OK) {
            return code;
        }
    }
}

enum stn_code stn_dataset_open(struct stn_dataset **ret, const char *path, const struct stn_tokenizer *tokenizer,
                               const struct stn_dataset_config *config, struct stn_err *err)
{
    struct stn_dataset *dataset = NULL;
    struct stn_jsonl_file *file = NULL;
    enum stn_code code = stn_jsonl_open(&file, path, err);
    if (code != STN_OK) {
        return code;
    }
    code = stn_dataset_new(&dataset, config, err);
    if (code == STN_OK) {
        code = add_file(dataset, file, tokenizer, err);
        code = code == STN_OK ? code : stn_err_prefix(err, "%s", path);
    }
    if (code == STN_OK && dataset->n_examples == 0) {
        const struct stn_dataset_counts *c = &dataset->counts;
        code = stn_err_set(err, STN_INVALID, "%s: no example to learn from in %llu lines (%llu empty, %llu broken%s%s)",
                           path, (unsigned long long)c->n_lines, (unsigned long long)c->n_empty,
                           (unsigned long long)c->n_skipped, c->n_skipped > 0 ? ": " : "", c->first_bad.text);
    }
    stn_jsonl_close(file);
    if (code != STN_OK) {
        stn_dataset_free(dataset);
        return code;
    }
    *ret = dataset;
    return STN_OK;
}

/* ---- parts of a dataset ---- */

const char *stn_dataset_field(const struct stn_dataset *dataset, size_t example, const char *name)
{
    assert(example < dataset->n_examples);
    const struct stn_dataset_example *e = &dataset->examples[example];
    const char *at = (const char *)dataset->held[FIELDS].data + e->first_field;
    for (const char *end = at + e->fields_size; e->fields_size > 0 && at < end;) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0) {
            return value;
        }
        at = value + strlen(value) + 1;
    }
    return NULL;
}

enum stn_code stn_dataset_subset(struct stn_dataset **ret, const struct stn_dataset *dataset,
                                 const size_t *indices, size_t n, struct stn_err *err)
{
    struct stn_dataset *part = NULL;
    enum stn_code code = stn_dataset_new(&part, &dataset->config, err);
    for (size_t i = 0; code == STN_OK && i < n; i++) {
        assert(indices[i] < dataset->n_examples);
        const struct stn_dataset_example *example = &dataset->examples[indices[i]];
        const uint8_t *fields = dataset->held[FIELDS].data;
        const struct piece piece = {
            .example = *example, .tokens = dataset->tokens + example->first_token,
            .marks = dataset->marks + example->first_token,
            .fields = fields == NULL ? NULL : fields + example->first_field,
        };
        code = keep(part, &piece, err);
        if (code == STN_OK) {
            part->counts.n_lines++;
            part->counts.n_truncated += example->is_truncated;
        }
    }
    if (code != STN_OK) {
        stn_dataset_free(part);
        return code;
    }
    *ret = part;
    return STN_OK;
}

static int compare_indices(const void *a, const void *b)
{
    const size_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

enum stn_code stn_dataset_split(struct stn_dataset **ret_kept, struct stn_dataset **ret_held,
                                const struct stn_dataset *dataset, double share, uint64_t seed,
                                struct stn_err *err)
{
    assert(share > 0 && share < 1);
    size_t n = dataset->n_examples;
    if (n < 2) {
        return stn_err_set(err, STN_INVALID, "%zu examples: a part cannot be held out of fewer than 2", n);
    }
    size_t *order = stn_mem_new(n, sizeof *order);
    if (order == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory to split %zu examples", n);
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    struct stn_rng rng;
    stn_rng_fork(&rng, seed, "split", n);
    stn_rng_shuffle(&rng, order, n, sizeof *order);
    size_t n_held = (size_t)llround(share * (double)n);
    n_held = n_held < 1 ? 1 : n_held == n ? n - 1 : n_held;
    qsort(order, n_held, sizeof *order, compare_indices);
    qsort(order + n_held, n - n_held, sizeof *order, compare_indices);
    struct stn_dataset *held = NULL, *kept = NULL;
    enum stn_code code = stn_dataset_subset(&held, dataset, order, n_held, err);
    if (code == STN_OK) {
        code = stn_dataset_subset(&kept, dataset, order + n_held, n - n_held, err);
    }
    stn_mem_free(order);
    if (code != STN_OK) {
        stn_dataset_free(held);
        return code;
    }
    *ret_held = held;
    *ret_kept = kept;
    return STN_OK;
}

struct stn_digest stn_dataset_digest(const struct stn_dataset *dataset)
{
    struct stn_digest_state state;
    stn_digest_init(&state);
    for (size_t i = 0; i < dataset->n_examples; i++) {
        const struct stn_dataset_example *example = &dataset->examples[i];
        uint8_t size[4];
        stn_buf_put_u32(size, example->n_tokens);
        stn_digest_add(&state, size, sizeof size);
        stn_digest_add(&state, dataset->tokens + example->first_token, example->n_tokens * sizeof *dataset->tokens);
        stn_digest_add(&state, dataset->marks + example->first_token, example->n_tokens);
    }
    return stn_digest_end(&state);
}
