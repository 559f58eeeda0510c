#include "server/shell/merge.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "update/encode.h"
#include "update/round.h"

/* A state is the magic, the optimiser, the number of values, and the values, all little endian. */
#define STATE_MAGIC 0x314d5453u /* "STM1" */
#define STATE_HEAD (4 + 4 + 8)

/* m (n), from the bytes that the last merge left, or zeroes. */
static enum stn_code read_state(const struct stn_merge_input *input, float *m, size_t n, struct stn_err *err)
{
    if (input->state_size == 0) {
        memset(m, 0, n * sizeof *m);
        return STN_OK;
    }
    struct stn_cursor cursor = stn_buf_cursor(input->state, input->state_size);
    uint32_t magic = stn_buf_take_u32(&cursor), outer = stn_buf_take_u32(&cursor);
    uint64_t n_there = stn_buf_take_u64(&cursor);
    if (cursor.failed || magic != STATE_MAGIC || outer != input->spec->outer || n_there != n ||
        input->state_size != STATE_HEAD + n * sizeof *m) {
        return stn_err_set(err, STN_CORRUPT, "the optimiser's state of %zu bytes is not one of %s for %zu values",
                           input->state_size, input->spec->name, n);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = stn_buf_take_u32(&cursor);
        memcpy(&m[i], &bits, sizeof bits);
        if (!isfinite(m[i])) {
            return stn_err_set(err, STN_CORRUPT, "value %zu of the optimiser's state is not finite", i);
        }
    }
    return STN_OK;
}

static enum stn_code write_state(uint32_t outer, const float *m, size_t n, struct stn_buf *ret, struct stn_err *err)
{
    (void)stn_buf_add_u32(ret, STATE_MAGIC);
    (void)stn_buf_add_u32(ret, outer);
    (void)stn_buf_add_u64(ret, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &m[i], sizeof bits);
        (void)stn_buf_add_u32(ret, bits);
    }
    return ret->failed ? stn_err_set(err, STN_MEMORY, "no memory for the optimiser's state of %zu values", n) : STN_OK;
}

/* One step of the outer optimiser. */
static void step(const struct stn_task_spec *spec, const float *mean, size_t n, float *x, float *m)
{
    const float rate = (float)spec->outer_rate, momentum = (float)spec->outer_momentum;
    if (spec->outer == STN_OUTER_AVG) {
        for (size_t i = 0; i < n; i++) {
            x[i] += rate * mean[i];
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        m[i] = momentum * m[i] + mean[i];
        x[i] += rate * (mean[i] + momentum * m[i]);
    }
}

static enum stn_code apply(const struct stn_merge_input *input, const struct stn_encode_config *encoding, float *mean,
                           float *m, float *values, struct stn_merge_output *ret, struct stn_err *err)
{
    const size_t n = encoding->n_values;
    struct stn_encode_totals totals;
    enum stn_code code = stn_encode_decode(encoding, input->sum, input->n_included, mean, &totals, err);
    if (code == STN_OK) {
        code = read_state(input, m, n, err);
    }
    if (code != STN_OK) {
        return code;
    }
    struct stn_buf state = {0};
    struct stn_totals said = {.n_included = totals.n_members,
                              .weight = totals.weight,
                              .loss = totals.n_tokens > 0 ? totals.loss_sum / (double)totals.n_tokens : 0,
                              .tokens = (double)totals.n_tokens,
                              .share_clipped = (double)totals.n_clipped / totals.n_members};
    step(input->spec, mean, n, values, m);
    if (input->spec->outer != STN_OUTER_AVG) {
        code = write_state(input->spec->outer, m, n, &state, err);
    }
    if (code != STN_OK) {
        stn_buf_fini(&state);
        return code;
    }
    double clip = input->config->clip_norm;
    if (input->spec->clip_quantile > 0) {
        clip = stn_encode_adapt(clip, 1 - said.share_clipped, input->spec->clip_quantile);
    }
    *ret = (struct stn_merge_output){.state = state, .totals = said, .clip_norm = clip};
    return STN_OK;
}

enum stn_code stn_merge_apply(const struct stn_merge_input *input, float *values, struct stn_merge_output *ret,
                              struct stn_err *err)
{
    struct stn_encode_config encoding;
    enum stn_code code = stn_round_encoding(input->config, &encoding, err);
    if (code != STN_OK) {
        return code;
    }
    const size_t n = encoding.n_values;
    float *mean = stn_mem_new(n, sizeof *mean), *m = stn_mem_new(n, sizeof *m), *x = stn_mem_copy(values, n * sizeof *x);
    if (mean == NULL || m == NULL || x == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory to merge %zu values", n);
    } else {
        code = apply(input, &encoding, mean, m, x, ret, err);
    }
    if (code == STN_OK) {
        memcpy(values, x, n * sizeof *x);
    }
    stn_mem_free(mean);
    stn_mem_free(m);
    stn_mem_free(x);
    return code;
}
