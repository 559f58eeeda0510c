#include "server/shell/merge.h"

#include <string.h>

#include "base/mem.h"
#include "server/shell/outer.h"
#include "update/encode.h"
#include "update/round.h"

/* What a merge works in; n values each. */
struct work {
    enum stn_slice slice;
    size_t n;
    float *mean, *x;
    struct stn_outer_state state;
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

static enum stn_code step(const struct stn_merge_input *input, const struct stn_encode_config *encoding, struct work *work,
                          struct stn_merge_output *ret, struct stn_err *err)
{
    const struct stn_outer_spec *outer = &input->spec->outer;
    struct stn_encode_totals totals;
    struct stn_buf state = {0};
    enum stn_code code = stn_encode_decode(encoding, input->sum, input->n_included, work->mean, &totals, err);
    code = code == STN_OK ? weigh_slots(input, &totals, work, err) : code;
    if (code == STN_OK) {
        code = stn_outer_read(&work->state, outer, work->slice, work->n, input->state, input->state_size, err);
    }
    if (code == STN_OK) {
        stn_outer_step(&work->state, outer, work->slice, work->mean, work->x, work->n);
        code = stn_outer_write(&work->state, outer, &state, err);
    }
    if (code != STN_OK) {
        stn_buf_fini(&state);
        return code;
    }
    double clip = input->config->clip_norm, share_clipped = (double)totals.n_clipped / totals.n_members;
    if (input->spec->clip_quantile > 0) {
        clip = stn_encode_adapt(clip, 1 - share_clipped, input->spec->clip_quantile);
    }
    *ret = (struct stn_merge_output){
        .state = state,
        .totals = {.n_included = totals.n_members,
                   .weight = totals.weight,
                   .loss = totals.n_tokens > 0 ? totals.loss_sum / (double)totals.n_tokens : 0,
                   .tokens = (double)totals.n_tokens,
                   .share_clipped = share_clipped},
        .clip_norm = clip};
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
    struct work work = {.slice = (enum stn_slice)input->config->factor, .n = encoding.n_values};
    if (work.n != stn_slice_size(input->shape, work.slice)) {
        return stn_err_set(err, STN_CORRUPT, "the round has %zu values, its part of the adapter %zu", work.n,
                           stn_slice_size(input->shape, work.slice));
    }
    work.mean = stn_mem_new(work.n, sizeof *work.mean);
    work.x = stn_mem_new(work.n, sizeof *work.x);
    if (work.mean == NULL || work.x == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory to merge %zu values", work.n);
    } else {
        stn_slice_take(input->shape, work.slice, values, work.x);
        code = step(input, &encoding, &work, ret, err);
    }
    if (code == STN_OK) {
        stn_slice_put(input->shape, work.slice, work.x, values);
    }
    stn_outer_fini(&work.state);
    stn_mem_free(work.mean);
    stn_mem_free(work.x);
    return code;
}
