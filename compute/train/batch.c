#include "compute/train/batch.h"

#include <assert.h>

#include "base/mem.h"
#include "base/rng.h"

struct stn_batch_reader {
    const struct stn_dataset *dataset;
    struct stn_batch_config config;
    struct stn_batch_position position;
    uint64_t ordered_epoch; /* which epoch order holds */
    bool is_ordered;
    size_t *order;          /* (n_examples of the dataset) */
    size_t *step;           /* examples of the drawn step */
    size_t n_step, step_room, n_given; /* n_given: in passes so far */
    size_t rows, targets;
    struct stn_batch_span *spans;
    size_t n_spans;
    int32_t *tokens, *positions, *starts, *target_rows, *target_tokens; /* (pass_rows) each */
    float *target_weights;
};

static size_t rows_of(const struct stn_batch_reader *reader, size_t example)
{
    return reader->dataset->examples[example].n_tokens - 1;
}

static enum stn_code check(const struct stn_dataset *dataset, const struct stn_batch_config *config,
                           struct stn_err *err)
{
    size_t room = config->pass_rows;
    if (config->n_examples == 0 && config->step_rows < room) {
        room = config->step_rows;
    }
    if (dataset->n_examples == 0) {
        return stn_err_set(err, STN_INVALID, "the data has no example");
    }
    for (size_t i = 0; i < dataset->n_examples; i++) {
        const struct stn_dataset_example *example = &dataset->examples[i];
        if (example->n_tokens - 1 > room) {
            return stn_err_set(err, STN_LIMIT, "the example of line %llu takes %u positions, a batch has %zu",
                               (unsigned long long)example->line, example->n_tokens - 1, room);
        }
    }
    return STN_OK;
}

enum stn_code stn_batch_new(struct stn_batch_reader **ret, const struct stn_dataset *dataset,
                            const struct stn_batch_config *config, struct stn_err *err)
{
    enum stn_code code = check(dataset, config, err);
    if (code != STN_OK) {
        return code;
    }
    size_t rows = config->pass_rows;
    /* an example takes at least one row, so this many fit */
    size_t step = config->n_examples > 0 ? config->n_examples : config->step_rows;
    size_t n = dataset->n_examples;
    step = config->n_examples == 0 && step > n ? n : step;
    struct stn_batch_reader *reader = stn_mem_new(1, sizeof *reader);
    if (reader == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for batches");
    }
    *reader = (struct stn_batch_reader){
        .dataset = dataset, .config = *config, .step_room = step,
        .order = stn_mem_new(n, sizeof *reader->order),
        .step = stn_mem_new(step, sizeof *reader->step),
        .spans = stn_mem_new(rows < step ? rows : step, sizeof *reader->spans),
        .tokens = stn_mem_new(rows, sizeof *reader->tokens),
        .positions = stn_mem_new(rows, sizeof *reader->positions),
        .starts = stn_mem_new(rows, sizeof *reader->starts),
        .target_rows = stn_mem_new(rows, sizeof *reader->target_rows),
        .target_tokens = stn_mem_new(rows, sizeof *reader->target_tokens),
        .target_weights = stn_mem_new(rows, sizeof *reader->target_weights),
    };
    if (reader->order == NULL || reader->step == NULL || reader->spans == NULL || reader->tokens == NULL ||
        reader->positions == NULL || reader->starts == NULL || reader->target_rows == NULL ||
        reader->target_tokens == NULL || reader->target_weights == NULL) {
        stn_batch_free(reader);
        return stn_err_set(err, STN_MEMORY, "no memory for batches of %zu positions over %zu examples", rows, n);
    }
    *ret = reader;
    return STN_OK;
}

void stn_batch_free(struct stn_batch_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    stn_mem_free(reader->order);
    stn_mem_free(reader->step);
    stn_mem_free(reader->spans);
    stn_mem_free(reader->tokens);
    stn_mem_free(reader->positions);
    stn_mem_free(reader->starts);
    stn_mem_free(reader->target_rows);
    stn_mem_free(reader->target_tokens);
    stn_mem_free(reader->target_weights);
    stn_mem_free(reader);
}

static void order_epoch(struct stn_batch_reader *reader)
{
    if (reader->is_ordered && (reader->config.in_order || reader->ordered_epoch == reader->position.epoch)) {
        return;
    }
    size_t n = reader->dataset->n_examples;
    for (size_t i = 0; i < n; i++) {
        reader->order[i] = i;
    }
    if (!reader->config.in_order) {
        struct stn_rng rng;
        stn_rng_fork(&rng, reader->config.seed, "epoch", reader->position.epoch);
        stn_rng_shuffle(&rng, reader->order, n, sizeof *reader->order);
    }
    reader->ordered_epoch = reader->position.epoch;
    reader->is_ordered = true;
}

static void take(struct stn_batch_reader *reader)
{
    size_t example = reader->order[reader->position.index++];
    reader->step[reader->n_step++] = example;
    reader->rows += rows_of(reader, example);
    reader->targets += reader->dataset->examples[example].n_targets;
}

void stn_batch_draw(struct stn_batch_reader *reader)
{
    size_t n = reader->dataset->n_examples, wanted = reader->config.n_examples;
    reader->n_step = reader->n_given = reader->rows = reader->targets = reader->n_spans = 0;
    for (;;) {
        if (reader->position.index == n) {
            if (wanted == 0 && reader->n_step > 0) {
                return; /* the epoch's last step may be a small one; the position says so until the next draw */
            }
            reader->position = (struct stn_batch_position){.epoch = reader->position.epoch + 1};
        }
        order_epoch(reader);
        size_t next = reader->order[reader->position.index];
        if (wanted == 0 && reader->rows + rows_of(reader, next) > reader->config.step_rows) {
            return;
        }
        take(reader);
        if (reader->n_step == wanted) {
            return;
        }
    }
}

size_t stn_batch_rows(const struct stn_batch_reader *reader)
{
    return reader->rows;
}

size_t stn_batch_targets(const struct stn_batch_reader *reader)
{
    return reader->targets;
}

size_t stn_batch_examples(const struct stn_batch_reader *reader)
{
    return reader->n_step;
}

static void pack(struct stn_batch_reader *reader, size_t number, struct stn_batch *pass)
{
    const struct stn_dataset_example *example = &reader->dataset->examples[number];
    const int32_t *tokens = reader->dataset->tokens + example->first_token;
    const uint8_t *marks = reader->dataset->marks + example->first_token;
    size_t start = pass->n_tokens, first = pass->n_targets, n = example->n_tokens - 1;
    for (size_t i = 0; i < n; i++) {
        size_t row = start + i;
        reader->tokens[row] = tokens[i];
        reader->positions[row] = (int32_t)i;
        reader->starts[row] = (int32_t)start;
        if ((marks[i + 1] & STN_DATASET_TARGET) != 0) {
            size_t target = pass->n_targets++;
            reader->target_rows[target] = (int32_t)row;
            reader->target_tokens[target] = tokens[i + 1];
            reader->target_weights[target] = (float)(1.0 / (double)reader->targets);
        }
    }
    pass->n_tokens += n;
    reader->spans[reader->n_spans++] = (struct stn_batch_span){.example = number, .first_row = start, .n_rows = n,
                                                               .first_target = first,
                                                               .n_targets = pass->n_targets - first};
}

bool stn_batch_next(struct stn_batch_reader *reader, struct stn_batch *ret)
{
    struct stn_batch pass = {
        .tokens = reader->tokens, .positions = reader->positions, .starts = reader->starts,
        .target_rows = reader->target_rows, .target_tokens = reader->target_tokens,
        .target_weights = reader->target_weights,
    };
    reader->n_spans = 0;
    while (reader->n_given < reader->n_step &&
           pass.n_tokens + rows_of(reader, reader->step[reader->n_given]) <= reader->config.pass_rows) {
        pack(reader, reader->step[reader->n_given++], &pass);
    }
    *ret = pass;
    return pass.n_tokens > 0;
}

const struct stn_batch_span *stn_batch_spans(const struct stn_batch_reader *reader, size_t *ret_n)
{
    *ret_n = reader->n_spans;
    return reader->spans;
}

struct stn_batch_position stn_batch_position(const struct stn_batch_reader *reader)
{
    return reader->position;
}

bool stn_batch_seek(struct stn_batch_reader *reader, struct stn_batch_position position)
{
    if (position.index > reader->dataset->n_examples) {
        return false;
    }
    reader->position = position;
    reader->n_step = reader->n_given = reader->rows = reader->targets = reader->n_spans = 0;
    return true;
}

void stn_batch_restart(struct stn_batch_reader *reader, uint64_t seed)
{
    reader->config.seed = seed;
    reader->is_ordered = false;
    bool is_sought = stn_batch_seek(reader, (struct stn_batch_position){0});
    assert(is_sought);
    (void)is_sought;
}

uint64_t stn_batch_steps(struct stn_batch_reader *reader, uint64_t n_epochs)
{
    uint64_t n = reader->dataset->n_examples, k = reader->config.n_examples, n_steps = 0;
    if (k > 0) {
        return n_epochs > UINT64_MAX / n ? UINT64_MAX / k : (n_epochs * n + k - 1) / k;
    }
    struct stn_batch_position was = reader->position;
    for (uint64_t epoch = 0; epoch < n_epochs; epoch++) {
        (void)stn_batch_seek(reader, (struct stn_batch_position){.epoch = epoch});
        while (reader->position.index < n) {
            stn_batch_draw(reader);
            n_steps++;
        }
    }
    (void)stn_batch_seek(reader, was);
    return n_steps;
}

uint64_t stn_batch_steps_for_rows(struct stn_batch_reader *reader, uint64_t n_steps, uint64_t n_rows)
{
    struct stn_batch_position was = reader->position;
    uint64_t n = 0, rows = 0;
    (void)stn_batch_seek(reader, (struct stn_batch_position){0});
    while (n < n_steps && (n == 0 || rows < n_rows)) {
        stn_batch_draw(reader);
        rows += reader->rows;
        n++;
    }
    (void)stn_batch_seek(reader, was);
    return n;
}
