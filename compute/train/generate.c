#include "compute/train/generate.h"

#include <assert.h>
#include <math.h>
#include <time.h>

#include "base/mem.h"

struct stn_generate_choice {
    double p; /* not normalised */
    int32_t token;
};

enum stn_code stn_generate_sampler_init(struct stn_generate_sampler *ret, size_t n_vocab, double temperature,
                                        double top_p, uint64_t seed, struct stn_err *err)
{
    assert(n_vocab > 0 && temperature >= 0 && top_p > 0 && top_p <= 1);
    struct stn_generate_choice *choices = stn_mem_new(n_vocab, sizeof *choices);
    if (choices == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu choices", n_vocab);
    }
    *ret = (struct stn_generate_sampler){.temperature = temperature, .top_p = top_p, .choices = choices,
                                         .n_vocab = n_vocab};
    stn_rng_fork(&ret->rng, seed, "sample", 0);
    return STN_OK;
}

void stn_generate_sampler_fini(struct stn_generate_sampler *sampler)
{
    stn_mem_free(sampler->choices);
    sampler->choices = NULL;
}

/* The most likely first; of equals, the lower token. */
static int compare(const void *a, const void *b)
{
    const struct stn_generate_choice *x = a, *y = b;
    if (x->p != y->p) {
        return x->p > y->p ? -1 : 1;
    }
    return x->token < y->token ? -1 : x->token > y->token;
}

static int32_t best_of(const float *logits, size_t n)
{
    int32_t best = -1;
    for (size_t i = 0; i < n; i++) {
        if (isfinite(logits[i]) && (best < 0 || logits[i] > logits[best])) {
            best = (int32_t)i;
        }
    }
    return best;
}

/* p_i = exp((logit_i - max) / temperature); tokens below (1 - top_p) / n_vocab of the sum can never be needed to reach
 * top_p: all of them together weigh less than what may be left out. So only the others are sorted. */
static size_t nucleus(struct stn_generate_sampler *sampler, const float *logits, double max, double *ret_sum)
{
    struct stn_generate_choice *choices = sampler->choices;
    size_t n = sampler->n_vocab, n_kept = 0, n_drawn = 0;
    double sum = 0, reached = 0;
    for (size_t i = 0; i < n; i++) {
        choices[i].token = (int32_t)i;
        choices[i].p = isfinite(logits[i]) ? exp(((double)logits[i] - max) / sampler->temperature) : 0;
        sum += choices[i].p;
    }
    if (sampler->top_p >= 1) {
        *ret_sum = sum;
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        if (choices[i].p >= (1 - sampler->top_p) / (double)n * sum) {
            choices[n_kept++] = choices[i];
        }
    }
    qsort(choices, n_kept, sizeof *choices, compare);
    while (n_drawn < n_kept && reached < sampler->top_p * sum) {
        reached += choices[n_drawn++].p;
    }
    *ret_sum = reached;
    return n_drawn;
}

enum stn_code stn_generate_sample(struct stn_generate_sampler *sampler, const float *logits, int32_t *ret,
                                  struct stn_err *err)
{
    int32_t best = best_of(logits, sampler->n_vocab);
    if (best < 0) {
        return stn_err_set(err, STN_CORRUPT, "none of %zu logits is a finite number", sampler->n_vocab);
    }
    *ret = best;
    if (sampler->temperature == 0) {
        return STN_OK;
    }
    double sum, at = 0;
    size_t n = nucleus(sampler, logits, (double)logits[best], &sum);
    double point = stn_rng_unit(&sampler->rng) * sum;
    for (size_t i = 0; i < n; i++) {
        at += sampler->choices[i].p;
        if (point < at) {
            *ret = sampler->choices[i].token;
            return STN_OK;
        }
    }
    return STN_OK; /* rounding left the point at the sum itself: the best will do */
}

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool is_stop(const struct stn_generate_job *job, int32_t token)
{
    for (size_t i = 0; i < job->n_stops; i++) {
        if (job->stops[i] == token) {
            return true;
        }
    }
    return false;
}

enum stn_code stn_generate_run(struct stn_network *network, struct stn_generate_sampler *sampler,
                               const struct stn_generate_job *job, struct stn_generate_result *ret,
                               struct stn_err *err)
{
    assert(job->n_prompt > 0);
    struct stn_generate_result result = {.end = STN_GENERATE_LENGTH};
    const float *logits = NULL;
    double start = now_s();
    enum stn_code code = stn_network_feed(network, job->prompt, job->n_prompt, &logits, err);
    result.prompt_s = now_s() - start;
    start += result.prompt_s;
    while (code == STN_OK && result.n < job->n) {
        int32_t token;
        code = stn_generate_sample(sampler, logits, &token, err);
        if (code != STN_OK) {
            break;
        }
        if (is_stop(job, token)) {
            result.end = STN_GENERATE_STOP;
            break;
        }
        result.n++;
        if (!job->token(job->context, token)) {
            result.end = STN_GENERATE_CALLER;
            break;
        }
        if (result.n < job->n) {
            code = stn_network_feed(network, &token, 1, &logits, err);
            if (code == STN_LIMIT) {
                result.end = STN_GENERATE_CONTEXT;
                code = STN_OK;
                break;
            }
            result.n_fed += code == STN_OK;
        }
    }
    result.token_s = now_s() - start;
    if (code == STN_OK) {
        *ret = result;
    }
    return code;
}
