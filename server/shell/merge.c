#include "server/shell/merge.h"

#include <string.h>

#include "base/mem.h"
#include "server/shell/outer.h"
#include "update/encode.h"
#include "update/round.h"

struct work {
    enum stn_slice slice;
    size_t n;
    float *mean; /* (n) */
};

/* The mean is over all weights; a slot that some tiers alone have trained is over theirs. */
static enum stn_code weigh_slots(const struct stn_merge_input *input, const struct stn_encode_totals *totals,
                                 struct work *work, struct stn_err *err)
{
    const uint32_t rank = input->shape->rank;
    if (input->config->n_halvings == 0) {
        return STN_OK;
    }
    double *by_slot = stn_mem_new(rank, sizeof *by_slot);
    if (by_slot == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %u slots", rank);
    }
    for (uint32_t slot = 0; slot < rank >> input->tier; slot++) {
        double weight = 0;
        for (uint32_t tier = 0; tier <= input->config->n_halvings && slot < rank >> tier; tier++) {
            weight += totals->tier_weight[tier];
        }
        by_slot[slot] = weight > 0 ? totals->weight / weight : 0;
    }
    stn_slice_scale(input->shape, work->slice, by_slot, work->mean);
    stn_mem_free(by_slot);
    return STN_OK;
}

/* The slice's values are moved where they lie in the adapter. */
static void move(const struct stn_merge_input *input, const struct stn_outer_moments *moments, const struct work *work, float *values)
{
    size_t first = 0;
    for (size_t i = 0; i < input->shape->n_tensors; i++) {
        const struct stn_adapter_tensor *tensor = &input->shape->tensors[i];
        const size_t n = (size_t)tensor->rows * tensor->cols;
        if (stn_slice_has(work->slice, tensor->is_b)) {
            stn_outer_step(moments, &input->spec->outer, first, n, work->mean + first, values + tensor->offset);
            first += n;
        }
    }
}

static enum stn_code step(const struct stn_merge_input *input, const struct stn_encode_config *encoding, struct work *work,
                          float *values, struct stn_buf *state, struct stn_merge_output *ret, struct stn_err *err)
{
    struct stn_outer_moments moments;
    struct stn_encode_totals totals;
    enum stn_code code = stn_encode_decode(encoding, input->sum, input->n_included, work->mean, &totals, err);
    code = code == STN_OK ? weigh_slots(input, &totals, work, err) : code;
    code = code == STN_OK ? stn_outer_find(&moments, &input->spec->outer, work->slice, work->n, state, err) : code;
    if (code != STN_OK) {
        return code;
    }
    move(input, &moments, work, values);
    double clip = input->config->clip_norm, share_clipped = (double)totals.n_clipped / totals.n_members;
    if (input->spec->clip_quantile > 0) {
        clip = stn_encode_adapt(clip, 1 - share_clipped, input->spec->clip_quantile);
    }
    *ret = (struct stn_merge_output){
        .totals = {.n_included = totals.n_members,
                   .weight = totals.weight,
                   .loss = totals.n_tokens > 0 ? totals.loss_sum / (double)totals.n_tokens : 0,
                   .tokens = (double)totals.n_tokens,
                   .share_clipped = share_clipped},
        .clip_norm = clip};
    return STN_OK;
}

enum stn_code stn_merge_apply(const struct stn_merge_input *input, float *values, struct stn_buf *state,
                              struct stn_merge_output *ret, struct stn_err *err)
{
    struct stn_encode_config encoding;
    enum stn_code code = stn_round_encoding(input->config, &encoding, err);
    if (code != STN_OK) {
        return code;
    }
    struct work work = {.slice = (enum stn_slice)input->config->factor, .n = encoding.n_values};
    if (work.n != stn_slice_size(input->shape, work.slice)) {
        return stn_err_set(err, STN_CORRUPT, "the round has %zu values, its part of the adapter %zu", work.n,
                           stn_slice_size(input->shape, work.slice));
    }
    work.mean = stn_mem_grow(NULL, work.n, sizeof *work.mean);
    code = work.mean == NULL ? stn_err_set(err, STN_MEMORY, "no memory to merge %zu values", work.n)
                             : step(input, &encoding, &work, values, state, ret, err);
    stn_mem_free(work.mean);
    return code;
}
