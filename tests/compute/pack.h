/* pack: home-base, an adapter, a network and batches, for the tests that train and run them. */
#ifndef STN_TESTS_COMPUTE_PACK_H
#define STN_TESTS_COMPUTE_PACK_H

#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/model/network.h"

#define MODEL "deploy/models/home-base.gguf"
enum { ROOM = 128, WORDS = 1024 };

static struct stn_err err;
static struct stn_model *model;

static inline void open_model(void)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", STN_RUN_SOURCE, MODEL);
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
}

static inline void close_model(void)
{
    stn_model_close(model);
}

/* Examples packed side by side; every token but an example's first is a target. */
struct pack {
    int32_t tokens[ROOM], positions[ROOM], starts[ROOM], rows[ROOM], labels[ROOM];
    float weights[ROOM];
    struct stn_batch batch;
};

static inline void pack_init(struct pack *p)
{
    p->batch = (struct stn_batch){.tokens = p->tokens, .positions = p->positions, .starts = p->starts};
    p->batch.target_rows = p->rows;
    p->batch.target_tokens = p->labels;
    p->batch.target_weights = p->weights;
}

static inline void pack_add(struct pack *p, const int32_t *tokens, size_t n, const int32_t *mask, float weight)
{
    size_t start = p->batch.n_tokens;
    for (size_t i = 0; i < n; i++) {
        p->tokens[start + i] = tokens[i];
        p->positions[start + i] = (int32_t)i;
        p->starts[start + i] = (int32_t)start;
        if (i > 0 && (mask == NULL || mask[i] != 0)) {
            size_t k = p->batch.n_targets++;
            p->rows[k] = (int32_t)(start + i - 1);
            p->labels[k] = tokens[i];
            p->weights[k] = weight;
        }
    }
    p->batch.n_tokens = start + n;
}

static inline void fill(int32_t *tokens, size_t n, uint64_t seed)
{
    struct stn_rng rng;
    stn_rng_init(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        tokens[i] = (int32_t)(3 + stn_rng_below(&rng, WORDS - 3));
    }
}

static inline struct stn_network_config config(void)
{
    return (struct stn_network_config){.max_tokens = ROOM,
                                       .max_targets = ROOM,
                                       .context = ROOM,
                                       .train = true,
                                       .backward = STN_BACKWARD_EXACT,
                                       .act_int8 = true,
                                       .n_threads = 1,
                                       .seed = 5};
}

static inline struct stn_adapter *new_adapter(uint32_t rank, float alpha, uint64_t seed, uint32_t targets)
{
    struct stn_adapter *adapter;
    ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(model), rank, alpha, targets, &err), STN_OK);
    stn_adapter_init_hash(adapter, seed);
    return adapter;
}

static inline struct stn_network *new_network(const struct stn_adapter *adapter, const struct stn_network_config *c)
{
    struct stn_network *network;
    ck_assert_msg(stn_network_new(&network, model, adapter, c, &err) == STN_OK, "%s", err.text);
    return network;
}

static inline double accumulate(struct stn_network *network, const struct pack *p)
{
    struct stn_network_result result;
    ck_assert_msg(stn_network_accumulate(network, &p->batch, &result, &err) == STN_OK, "%s", err.text);
    return result.loss;
}

static inline void pack_some(struct pack *p)
{
    int32_t tokens[40];
    pack_init(p);
    for (size_t i = 0; i < 3; i++) {
        fill(tokens, 40, i + 20);
        pack_add(p, tokens, 25 + 7 * i, NULL, 0.01f);
    }
}

#endif
