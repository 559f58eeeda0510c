/* mapping: a tiny mapping on home-base, and a trainer that learns it, for the tests of training: a token in, always the same
 * two out. Tokens as they are: no text is needed. */
#ifndef STN_TESTS_COMPUTE_MAPPING_H
#define STN_TESTS_COMPUTE_MAPPING_H

#include "tests/lib/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/train/checkpoint.h"
#include "compute/train/evaluate.h"
#include "compute/train/trainer.h"
#include "io/file.h"

#define N_PAIRS 12
#define N_TOKENS 7

static struct stn_model *model;
static struct stn_adapter *adapter;
static struct stn_dataset *dataset;
static struct stn_trainer *trainer;
static struct stn_err err;

static inline void open_all(void)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/deploy/models/home-base.gguf", STN_RUN_SOURCE);
    ck_assert_msg(stn_model_open(&model, path, &err) == STN_OK, "%s", err.text);
    ck_assert_int_eq(stn_adapter_new(&adapter, stn_model_arch(model), 4, 8, STN_ARCH_ALL, &err), STN_OK);
    stn_adapter_init(adapter, 1);
    const struct stn_dataset_config config = {.context = 32};
    ck_assert_int_eq(stn_dataset_new(&dataset, &config, &err), STN_OK);
    for (int i = 0; i < N_PAIRS; i++) {
        /* of different lengths, so that passes are not all alike */
        int n = N_TOKENS - i % 3;
        int32_t tokens[N_TOKENS] = {300 + i, 301, 302, 303};
        uint8_t marks[N_TOKENS] = {0};
        for (int k = n - 3; k < n; k++) {
            tokens[k] = k == n - 1 ? 5 : 400 + (i * 37 + k) % 50;
            marks[k] = STN_DATASET_TARGET | STN_DATASET_ANSWER;
        }
        ck_assert_int_eq(stn_dataset_add_tokens(dataset, tokens, marks, (size_t)n, &err), STN_OK);
    }
}

static inline void close_all(void)
{
    stn_trainer_free(trainer);
    stn_dataset_free(dataset);
    stn_adapter_free(adapter);
    stn_model_close(model);
    trainer = NULL;
}

static inline struct stn_trainer_config small(void)
{
    struct stn_trainer_config config = stn_trainer_defaults();
    config.context = 32;
    config.batch_tokens = 40;
    config.pass_tokens = 32;
    config.lr = 3e-3;
    return config;
}

static inline void make(const struct stn_trainer_config *config)
{
    stn_trainer_free(trainer);
    trainer = NULL;
    ck_assert_msg(stn_trainer_new(&trainer, model, adapter, config, &err) == STN_OK, "%s", err.text);
}

static inline void start(const struct stn_trainer_run *run)
{
    stn_trainer_set_values(trainer, adapter->values);
    ck_assert_msg(stn_trainer_start(trainer, run, &err) == STN_OK, "%s", err.text);
}

static inline struct stn_trainer_step step(void)
{
    struct stn_trainer_step ret;
    ck_assert_msg(stn_trainer_step(trainer, &ret, &err) == STN_OK, "%s", err.text);
    return ret;
}

static inline void finish(void)
{
    while (!stn_trainer_is_done(trainer)) {
        (void)step();
    }
}

static inline float *values(void)
{
    float *ret = stn_mem_new(stn_trainer_n_values(trainer), sizeof *ret);
    stn_trainer_get_values(trainer, ret);
    return ret;
}

#endif
