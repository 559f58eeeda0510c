#include "compute/model/network.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/network_build.h"
#include "compute/plan.h"

#define MAX_ROWS ((size_t)1 << 24) /* tokens of a batch or a context, at most */
#define CALL 1024                  /* bytes that a backend keeps of a node, or wants while it prepares it, about */
#define PLANNED 64                 /* the same of a tensor */

static enum stn_code check_config(const struct stn_model *model, const struct stn_adapter *adapter,
                                  const struct stn_network_config *config, struct stn_err *err)
{
    assert(config->max_tokens > 0 && config->max_targets > 0 && config->context > 0 && config->n_threads > 0);
    if (config->max_tokens > MAX_ROWS || config->max_targets > MAX_ROWS || config->context > MAX_ROWS) {
        return stn_err_set(err, STN_LIMIT, "%zu tokens, %zu targets, context %zu: at most %zu each", config->max_tokens,
                           config->max_targets, config->context, MAX_ROWS);
    }
    if (!(config->dropout >= 0 && config->dropout < 1)) {
        return stn_err_set(err, STN_INVALID, "a dropout of %g, expected 0 or more and less than 1", (double)config->dropout);
    }
    if (config->train && (adapter == NULL || adapter->n_values == 0)) {
        return stn_err_set(err, STN_INVALID, "training needs an adapter");
    }
    if (adapter != NULL && adapter->n_values > INT32_MAX) {
        return stn_err_set(err, STN_LIMIT, "an adapter of %zu values, at most %d", adapter->n_values, INT32_MAX);
    }
    return adapter == NULL ? STN_OK : stn_adapter_check(adapter, model->arch, err);
}

/* rope[p][i] = cos(p f_i), rope[p][d/2 + i] = sin of the same, i < d/2: f_i is the model's frequency of pair i */
static void fill_rope(struct stn_network *network)
{
    const struct stn_arch *arch = network->model->arch;
    size_t d = arch->head_dim, half = d / 2;
    for (size_t p = 0; p < network->config.context; p++) {
        for (size_t i = 0; i < half; i++) {
            double angle = (double)p * stn_arch_frequency(arch, i);
            network->rope[p * d + i] = (float)cos(angle);
            network->rope[p * d + half + i] = (float)sin(angle);
        }
    }
}

static bool find_memory(struct stn_network *network)
{
    const struct stn_arch *arch = network->model->arch;
    const struct stn_network_config *config = &network->config;
    size_t n_rows = config->max_tokens > config->max_targets ? config->max_tokens : config->max_targets;
    network->layers = stn_mem_new(arch->n_layers, sizeof *network->layers);
    network->bounds = stn_mem_new(arch->n_layers, sizeof *network->bounds);
    network->rope = stn_mem_aligned(config->context, arch->head_dim * sizeof(float));
    network->losses = stn_mem_new(config->max_targets, sizeof *network->losses);
    network->guesses = stn_mem_new(config->max_targets, sizeof *network->guesses);
    network->logits = stn_mem_new(arch->n_vocab, sizeof *network->logits);
    network->rows = stn_mem_new(n_rows, sizeof *network->rows);
    return network->layers != NULL && network->bounds != NULL && network->rope != NULL && network->losses != NULL && network->guesses != NULL &&
           network->logits != NULL && network->rows != NULL;
}

static void write_spans(struct stn_network *network, const struct stn_adapter *adapter)
{
    for (size_t i = 0; i <= adapter->n_tensors; i++) {
        int32_t at = (int32_t)(i == adapter->n_tensors ? adapter->n_values : adapter->tensors[i].offset);
        network->row->write(network->backend, network->tensors.spans, i * sizeof at, &at, sizeof at);
    }
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        float trains = stn_slice_has(network->config.slice, adapter->tensors[i].is_b) ? 1 : 0;
        network->row->write(network->backend, network->tensors.trains, i * sizeof trains, &trains, sizeof trains);
    }
}

/* Room for two pieces of a vector: of the gradients, and of what is added. */
static enum stn_code find_pieces(struct stn_network *network, struct stn_err *err)
{
    size_t n = network->row->piece / sizeof *network->pieces;
    network->n_piece = network->n_values < n ? network->n_values : n;
    network->pieces = stn_mem_new(network->n_piece, 2 * sizeof *network->pieces);
    return network->pieces != NULL ? STN_OK : stn_err_set(err, STN_MEMORY, "no memory for %zu gradients at once", network->n_piece);
}

static enum stn_code begin(struct stn_network *network, const struct stn_adapter *adapter, struct stn_err *err)
{
    fill_rope(network);
    stn_graph_init(&network->graph, network->config.max_tokens, network->config.max_targets);
    stn_network_build_tensors(network, adapter);
    network->row = stn_backend_find(network->config.backend);
    if (network->row == NULL) {
        return stn_err_set(err, STN_UNSUPPORTED, "this build has no backend called %.40s", network->config.backend);
    }
    enum stn_code code = network->row->new_for(&network->backend, &network->graph, network->config.n_threads, err);
    if (code == STN_OK) {
        code = stn_network_build_pass(network, network->config.train ? STN_NETWORK_TRAIN : STN_NETWORK_EVAL, err);
    }
    if (code == STN_OK && network->config.train) {
        code = stn_network_build_pass(network, STN_NETWORK_UPDATE, err);
    }
    if (code == STN_OK && network->config.evaluates) {
        code = stn_network_build_pass(network, STN_NETWORK_EVAL, err);
    }
    if (code == STN_OK && adapter != NULL) {
        network->n_values = adapter->n_values;
        network->n_spans = adapter->n_tensors;
        stn_network_set_values(network, adapter->values);
        if (network->config.train) {
            write_spans(network, adapter);
            code = find_pieces(network, err);
        }
    }
    return code;
}

enum stn_code stn_network_new(struct stn_network **ret, const struct stn_model *model, const struct stn_adapter *adapter,
                              const struct stn_network_config *config, struct stn_err *err)
{
    enum stn_code code = check_config(model, adapter, config, err);
    if (code != STN_OK) {
        return code;
    }
    struct stn_network *network = stn_mem_new(1, sizeof *network);
    if (network == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a network");
    }
    network->model = model;
    network->config = *config;
    code = find_memory(network) ? begin(network, adapter, err)
                                : stn_err_set(err, STN_MEMORY, "no memory for a network of %zu tokens and context %zu",
                                              config->max_tokens, config->context);
    if (code != STN_OK) {
        stn_network_free(network);
        return code;
    }
    *ret = network;
    return STN_OK;
}

void stn_network_free(struct stn_network *network)
{
    if (network == NULL) {
        return;
    }
    if (network->backend != NULL) {
        network->row->free(network->backend);
    }
    stn_graph_fini(&network->graph);
    stn_mem_free(network->layers);
    stn_mem_free(network->bounds);
    stn_mem_free(network->rope);
    stn_mem_free(network->losses);
    stn_mem_free(network->guesses);
    stn_mem_free(network->logits);
    stn_mem_free(network->rows);
    stn_mem_free(network->pieces);
    stn_mem_free(network);
}

static void put(struct stn_network *network, uint32_t tensor, const void *p, size_t n)
{
    network->row->write(network->backend, tensor, 0, p, n * 4); /* floats and whole numbers are of one size */
}

static void get(const struct stn_network *network, uint32_t tensor, void *p, size_t n)
{
    network->row->read(network->backend, tensor, 0, p, n * 4);
}

enum stn_code stn_network_check(const struct stn_network *network, struct stn_err *err)
{
    return stn_backend_check(network->backend, err);
}

void stn_network_set_values(struct stn_network *network, const float *values)
{
    network->n_past = 0;
    if (network->n_values > 0) {
        put(network, network->tensors.values, values, network->n_values);
    }
}

void stn_network_get_values(const struct stn_network *network, float *values)
{
    if (network->n_values > 0) {
        get(network, network->tensors.values, values, network->n_values);
    }
}

void stn_network_read_values(const struct stn_network *network, size_t offset, float *values, size_t n)
{
    assert(offset <= network->n_values && n <= network->n_values - offset);
    network->row->read(network->backend, network->tensors.values, offset * sizeof *values, values, n * sizeof *values);
}

void stn_network_set_moments(struct stn_network *network, const struct stn_network_moments *from)
{
    assert(network->config.train);
    network->n_steps = from->n_steps;
    network->n_batches = 0;
    put(network, network->tensors.m, from->m, network->n_values);
    put(network, network->tensors.v, from->v, network->n_values);
}

void stn_network_get_moments(const struct stn_network *network, struct stn_network_moments *to)
{
    assert(network->config.train);
    to->n_steps = network->n_steps;
    get(network, network->tensors.m, to->m, network->n_values);
    get(network, network->tensors.v, to->v, network->n_values);
}

void stn_network_get_gradients(const struct stn_network *network, float *gradients)
{
    assert(network->config.train);
    get(network, network->tensors.gradients, gradients, network->n_values);
}

/* ---- vectors that are changed from outside: a piece of them at a time, in the network's scratch ---- */

/* How many numbers from at on are a piece. */
static size_t piece_at(const struct stn_network *network, size_t at)
{
    size_t n = network->n_values - at;
    return n < network->n_piece ? n : network->n_piece;
}

static const float *read_piece(const struct stn_network *network, uint32_t tensor, size_t at, float *p)
{
    network->row->read(network->backend, tensor, at * sizeof *p, p, piece_at(network, at) * sizeof *p);
    return p;
}

static void write_piece(struct stn_network *network, uint32_t tensor, size_t at, const float *p)
{
    network->row->write(network->backend, tensor, at * sizeof *p, p, piece_at(network, at) * sizeof *p);
}

void stn_network_reset_moments(struct stn_network *network)
{
    assert(network->config.train);
    network->n_steps = network->n_batches = 0;
    network->row->clear(network->backend, network->tensors.m);
    network->row->clear(network->backend, network->tensors.v);
}

void stn_network_drop_gradients(struct stn_network *network)
{
    assert(network->config.train);
    network->n_batches = 0;
    network->row->clear(network->backend, network->tensors.gradients);
}

void stn_network_add_gradients(struct stn_network *network, const float *gradients)
{
    assert(network->config.train);
    float *sum = network->pieces;
    for (size_t at = 0; at < network->n_values; at += network->n_piece) {
        (void)read_piece(network, network->tensors.gradients, at, sum);
        for (size_t i = 0; i < piece_at(network, at); i++) {
            sum[i] += gradients[at + i];
        }
        write_piece(network, network->tensors.gradients, at, sum);
    }
}

void stn_network_pull(struct stn_network *network, double strength, const float *anchor)
{
    assert(network->config.train);
    float *sum = network->pieces;
    for (size_t at = 0; at < network->n_values; at += network->n_piece) {
        const float *values = read_piece(network, network->tensors.values, at, sum + network->n_piece);
        (void)read_piece(network, network->tensors.gradients, at, sum);
        for (size_t i = 0; i < piece_at(network, at); i++) {
            sum[i] += (float)(strength * ((double)values[i] - (double)anchor[at + i]));
        }
        write_piece(network, network->tensors.gradients, at, sum);
    }
}

bool stn_network_can_update(const struct stn_network *network)
{
    assert(network->config.train);
    double squares = 0;
    for (size_t at = 0; at < network->n_values; at += network->n_piece) {
        const float *g = read_piece(network, network->tensors.gradients, at, network->pieces);
        for (size_t i = 0; i < piece_at(network, at); i++) {
            squares += (double)g[i] * (double)g[i];
        }
    }
    return squares <= (double)FLT_MAX;
}

static enum stn_code check_tokens(const struct stn_network *network, const int32_t *tokens, size_t n, const char *what,
                                  struct stn_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= network->model->arch->n_vocab) {
            return stn_err_set(err, STN_INVALID, "%s %zu is %d, outside a vocabulary of %u", what, i, tokens[i],
                               network->model->arch->n_vocab);
        }
    }
    return STN_OK;
}

static enum stn_code check_batch(const struct stn_network *network, const struct stn_batch *batch, struct stn_err *err)
{
    const struct stn_network_config *config = &network->config;
    if (batch->n_tokens > config->max_tokens || batch->n_targets > config->max_targets) {
        return stn_err_set(err, STN_INVALID, "a batch of %zu tokens and %zu targets, at most %zu and %zu", batch->n_tokens,
                           batch->n_targets, config->max_tokens, config->max_targets);
    }
    for (size_t i = 0; i < batch->n_tokens; i++) {
        int32_t start = batch->starts[i], position = batch->positions[i];
        if (start < 0 || position < 0 || (size_t)start + (size_t)position != i || (size_t)position >= config->context ||
            (i > 0 && (size_t)start != i && start != batch->starts[i - 1])) {
            return stn_err_set(err, STN_INVALID, "row %zu at position %d of an example that starts at row %d, context %zu",
                               i, position, start, config->context);
        }
    }
    for (size_t i = 0; i < batch->n_targets; i++) {
        int32_t row = batch->target_rows[i];
        if (row < 0 || (size_t)row >= batch->n_tokens || (i > 0 && row <= batch->target_rows[i - 1])) {
            return stn_err_set(err, STN_INVALID, "target %zu in row %d of %zu: rows must rise", i, row, batch->n_tokens);
        }
    }
    enum stn_code code = check_tokens(network, batch->tokens, batch->n_tokens, "token", err);
    return code != STN_OK ? code : check_tokens(network, batch->target_tokens, batch->n_targets, "target", err);
}

static enum stn_code run_batch(struct stn_network *network, enum stn_network_pass pass, const struct stn_batch *batch,
                               struct stn_network_result *ret, struct stn_err *err)
{
    const struct stn_network_tensors *t = &network->tensors;
    enum stn_code code = check_batch(network, batch, err);
    if (code == STN_OK) {
        code = stn_network_build_pass(network, pass, err);
    }
    if (code != STN_OK) {
        return code;
    }
    *ret = (struct stn_network_result){.losses = network->losses, .guesses = network->guesses};
    if (batch->n_targets == 0) {
        return STN_OK;
    }
    put(network, t->tokens, batch->tokens, batch->n_tokens);
    put(network, t->positions, batch->positions, batch->n_tokens);
    put(network, t->starts, batch->starts, batch->n_tokens);
    put(network, t->target_rows, batch->target_rows, batch->n_targets);
    put(network, t->labels, batch->target_tokens, batch->n_targets);
    put(network, t->weights, batch->target_weights, batch->n_targets);
    code = network->row->run(network->backend, pass, batch->n_tokens, batch->n_targets, err);
    if (code != STN_OK) {
        return code;
    }
    get(network, t->losses, network->losses, batch->n_targets);
    get(network, t->guesses, network->guesses, batch->n_targets);
    for (size_t i = 0; i < batch->n_targets; i++) {
        ret->loss += (double)batch->target_weights[i] * (double)network->losses[i];
    }
    return stn_network_check(network, err);
}

enum stn_code stn_network_eval(struct stn_network *network, const struct stn_batch *batch, struct stn_network_result *ret,
                               struct stn_err *err)
{
    return run_batch(network, STN_NETWORK_EVAL, batch, ret, err);
}

enum stn_code stn_network_accumulate(struct stn_network *network, const struct stn_batch *batch,
                                     struct stn_network_result *ret, struct stn_err *err)
{
    assert(network->config.train);
    /* by step and batch alone, so that a run that is resumed at a step rounds as if it had never stopped */
    uint64_t seed = stn_rng_mix(stn_rng_mix(network->config.seed + network->n_steps) + network->n_batches);
    put(network, network->tensors.seed, &seed, 2);
    enum stn_code code = run_batch(network, STN_NETWORK_TRAIN, batch, ret, err);
    network->n_batches += code == STN_OK;
    return code;
}

static void write_settings(struct stn_network *network, const struct stn_network_update *update)
{
    double steps = (double)(network->n_steps + 1);
    float settings[STN_OP_N_SETTINGS] = {
        [STN_OP_SETTING_LR] = (float)update->lr,
        [STN_OP_SETTING_BETA1] = (float)update->beta1,
        [STN_OP_SETTING_BETA2] = (float)update->beta2,
        [STN_OP_SETTING_EPS] = (float)update->eps,
        [STN_OP_SETTING_WEIGHT_DECAY] = (float)update->weight_decay,
        [STN_OP_SETTING_CLIP] = (float)update->clip,
        [STN_OP_SETTING_CORRECTION1] = (float)(1 - pow(update->beta1, steps)),
        [STN_OP_SETTING_CORRECTION2] = (float)(1 - pow(update->beta2, steps)),
    };
    put(network, network->tensors.settings, settings, STN_OP_N_SETTINGS);
}

enum stn_code stn_network_update(struct stn_network *network, const struct stn_network_update *update, double *ret_norm,
                                 struct stn_err *err)
{
    assert(network->config.train);
    write_settings(network, update);
    enum stn_code code = network->row->run(network->backend, STN_NETWORK_UPDATE, 0, 0, err);
    if (code != STN_OK) {
        return code;
    }
    double squares = 0;
    for (size_t i = 0; i < network->n_spans; i++) {
        float s;
        network->row->read(network->backend, network->tensors.squares, i * sizeof s, &s, sizeof s);
        squares += (double)s;
    }
    if ((code = stn_network_check(network, err)) != STN_OK) {
        return code;
    }
    network->n_batches = 0;
    *ret_norm = sqrt(squares);
    if (!isfinite(*ret_norm)) {
        return stn_err_set(err, STN_CORRUPT, "the gradient's norm is %g: lower the rate", *ret_norm);
    }
    network->n_steps++;
    network->n_past = 0;
    return STN_OK;
}

/* One chunk of at most max_tokens behind the cache. */
static enum stn_code feed_chunk(struct stn_network *network, const int32_t *tokens, size_t n, struct stn_err *err)
{
    const struct stn_network_tensors *t = &network->tensors;
    int32_t last = (int32_t)n - 1;
    put(network, t->tokens, tokens, n);
    put(network, t->last_row, &last, 1);
    memset(network->rows, 0, n * sizeof *network->rows);
    put(network, t->starts, network->rows, n);
    for (size_t i = 0; i < n; i++) {
        network->rows[i] = (int32_t)(network->n_past + i);
    }
    put(network, t->positions, network->rows, n);
    enum stn_code code = network->row->run(network->backend, STN_NETWORK_FEED, n, 0, err);
    network->n_past += code == STN_OK ? n : 0;
    return code;
}

enum stn_code stn_network_feed(struct stn_network *network, const int32_t *tokens, size_t n, const float **ret_logits,
                               struct stn_err *err)
{
    assert(n > 0);
    if (n > network->config.context - network->n_past) {
        return stn_err_set(err, STN_LIMIT, "%zu tokens behind %zu, a context of %zu", n, network->n_past,
                           network->config.context);
    }
    enum stn_code code = check_tokens(network, tokens, n, "token", err);
    if (code == STN_OK) {
        code = stn_network_build_pass(network, STN_NETWORK_FEED, err);
    }
    for (size_t at = 0; at < n && code == STN_OK;) {
        size_t chunk = n - at < network->config.max_tokens ? n - at : network->config.max_tokens;
        code = feed_chunk(network, tokens + at, chunk, err);
        at += chunk;
    }
    if (code == STN_OK) {
        get(network, network->tensors.fed, network->logits, network->model->arch->n_vocab);
        *ret_logits = network->logits;
        code = stn_network_check(network, err);
    }
    return code;
}

void stn_network_reset(struct stn_network *network)
{
    network->n_past = 0;
}

/* Logits of the example whose last hidden rows are there, some rows at a time. */
static enum stn_code read_logits(struct stn_network *network, size_t n, float *logits, struct stn_err *err)
{
    size_t n_vocab = network->model->arch->n_vocab;
    for (size_t at = 0; at < n; at += STN_NETWORK_HEAD_ROWS) {
        size_t count = n - at < STN_NETWORK_HEAD_ROWS ? n - at : STN_NETWORK_HEAD_ROWS;
        int32_t rows[STN_NETWORK_HEAD_ROWS];
        for (size_t i = 0; i < STN_NETWORK_HEAD_ROWS; i++) {
            rows[i] = (int32_t)(at + (i < count ? i : 0));
        }
        put(network, network->tensors.head_rows, rows, STN_NETWORK_HEAD_ROWS);
        enum stn_code code = network->row->run(network->backend, STN_NETWORK_HEAD, n, 0, err);
        if (code != STN_OK) {
            return code;
        }
        get(network, network->tensors.logits, logits + at * n_vocab, count * n_vocab);
    }
    return stn_network_check(network, err);
}

enum stn_code stn_network_logits(struct stn_network *network, const int32_t *tokens, size_t n, float *logits,
                                 struct stn_err *err)
{
    const struct stn_network_tensors *t = &network->tensors;
    if (n == 0 || n > network->config.max_tokens || n > network->config.context) {
        return stn_err_set(err, STN_INVALID, "%zu tokens, at least 1, at most %zu in a context of %zu", n,
                           network->config.max_tokens, network->config.context);
    }
    enum stn_code code = check_tokens(network, tokens, n, "token", err);
    if (code == STN_OK) {
        code = stn_network_build_pass(network, STN_NETWORK_TRUNK, err);
    }
    if (code == STN_OK) {
        code = stn_network_build_pass(network, STN_NETWORK_HEAD, err);
    }
    if (code != STN_OK) {
        return code;
    }
    put(network, t->tokens, tokens, n);
    memset(network->rows, 0, n * sizeof *network->rows);
    put(network, t->starts, network->rows, n);
    for (size_t i = 0; i < n; i++) {
        network->rows[i] = (int32_t)i;
    }
    put(network, t->positions, network->rows, n);
    code = network->row->run(network->backend, STN_NETWORK_TRUNK, n, 0, err);
    return code != STN_OK ? code : read_logits(network, n, logits, err);
}

/* Bytes of the graph itself, of what a backend keeps of it, and of the network's own tables. */
static size_t books_of(const struct stn_network *network)
{
    const struct stn_arch *arch = network->model->arch;
    size_t sum = network->graph.n_tensors * sizeof(struct stn_tensor);
    for (size_t i = 0; i < STN_NETWORK_N_PASSES; i++) {
        size_t n_nodes = network->graph.passes[i].n_nodes;
        sum += n_nodes * sizeof(struct stn_node);
        sum += network->is_prepared[i] ? n_nodes * CALL + network->graph.n_tensors * (sizeof(struct stn_plan_span) + PLANNED) : 0;
    }
    return sum + network->config.context * arch->head_dim * sizeof(float) + arch->n_vocab * sizeof(float);
}

struct stn_network_memory stn_network_sum(const struct stn_network *network, const struct stn_backend_memory *own)
{
    size_t adapter = network->n_values * sizeof(float) * (network->config.train ? 4 : 1);
    return (struct stn_network_memory){.weights = network->model->size + own->constants,
                                       .activations = own->arena + own->lasting - adapter,
                                       .adapter = adapter,
                                       .scratch = own->scratch + books_of(network)};
}

struct stn_network_memory stn_network_memory(const struct stn_network *network)
{
    const struct stn_backend_memory own = network->row->memory(network->backend);
    return stn_network_sum(network, &own);
}

const char *stn_network_backend(const struct stn_network *network)
{
    return network->row->name;
}

const struct stn_backend *stn_network_measured(const struct stn_network *network)
{
    return network->backend;
}

const char *stn_network_kernel(const struct stn_network *network)
{
    return network->row->kernel(network->backend);
}
