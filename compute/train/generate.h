/* generate: text, a token at a time, from a network with its KV cache. The same seed, prompt and settings give the
 * same tokens. Thread: the network's. */
#ifndef STN_COMPUTE_TRAIN_GENERATE_H
#define STN_COMPUTE_TRAIN_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "compute/model/network.h"

/* ---- one token from logits ---- */

struct stn_generate_sampler {
    double temperature; /* 0: always the most likely token, the first of equals */
    double top_p;       /* the fewest tokens whose probabilities reach this are drawn from (Holtzman et al., 2020) */
    struct stn_rng rng;
    struct stn_generate_choice *choices; /* (n_vocab) */
    size_t n_vocab;
};

/* temperature >= 0, top_p in (0, 1]. The caller ends it with fini; zeroed is fine there. */
enum stn_code stn_generate_sampler_init(struct stn_generate_sampler *ret, size_t n_vocab, double temperature,
                                        double top_p, uint64_t seed, struct stn_err *err) STN_CHECKED;
void stn_generate_sampler_fini(struct stn_generate_sampler *sampler);

/* STN_CORRUPT when no logit is finite. */
enum stn_code stn_generate_sample(struct stn_generate_sampler *sampler, const float *logits, int32_t *ret,
                                  struct stn_err *err) STN_CHECKED;

/* ---- a whole answer ---- */

enum stn_generate_end {
    STN_GENERATE_STOP,    /* a stop token came; it is not handed out */
    STN_GENERATE_LENGTH,  /* n tokens are made */
    STN_GENERATE_CONTEXT, /* the context is full */
    STN_GENERATE_CALLER   /* the caller wanted no more */
};

struct stn_generate_job {
    const int32_t *prompt; /* fed behind what the cache holds */
    size_t n_prompt;       /* at least 1 */
    size_t n;              /* most tokens to make */
    const int32_t *stops;  /* end of sequence, end of turn */
    size_t n_stops;
    /* Each token as it comes; false ends it. */
    bool (*token)(void *context, int32_t token);
    void *context;
};

struct stn_generate_result {
    size_t n;     /* tokens handed out */
    size_t n_fed; /* of them, from the first, that the cache holds behind the prompt */
    enum stn_generate_end end;
    double prompt_s, token_s; /* wall time of feeding the prompt, and of all tokens behind it */
};

/* STN_LIMIT when the prompt does not fit. */
enum stn_code stn_generate_run(struct stn_network *network, struct stn_generate_sampler *sampler,
                               const struct stn_generate_job *job, struct stn_generate_result *ret,
                               struct stn_err *err) STN_CHECKED;

#endif
