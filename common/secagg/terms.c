#include "secagg/terms.h"

#include "base/buf.h"

enum stn_code stn_terms_of(const struct stn_msg_round_config *config, const struct stn_digest *cfg,
                           struct stn_terms *ret, struct stn_err *err)
{
    struct stn_terms terms = {
        .round = config->round,
        .cfg = *cfg,
        .n_bases = config->n_bases,
        .n_halvings = config->n_halvings,
        .n_min = config->n_min,
        .n_max = config->n_max,
        .params = {.gamma = config->gamma,
                   .delta = config->delta,
                   .eta = config->eta,
                   .sigma = config->sigma},
        .join_ms = config->join_ms,
        .share_ms = config->share_ms,
        .upload_ms = config->upload_ms,
        .ack_ms = config->ack_ms,
        .unmask_ms = config->unmask_ms,
    };
    if (!config->secure) {
        return stn_err_set(err, STN_INVALID, "a round without secure aggregation");
    }
    if (terms.n_min < 2 || terms.n_min > terms.n_max || terms.n_max > STN_BOUND_MEMBERS) {
        return stn_err_set(err, STN_INVALID, "a round of %u to %u members", terms.n_min,
                           terms.n_max);
    }
    if (config->n_bases == 0 || config->n_bases > STN_MSG_BASES ||
        config->bases[0].version != config->version) {
        return stn_err_set(err, STN_INVALID, "a round whose deltas may start from no version");
    }
    for (uint32_t i = 0; i < config->n_bases; i++) {
        terms.bases[i] = config->bases[i].version;
    }
    struct stn_bound bound;
    uint32_t n = terms.n_min < STN_BOUND_MEMBERS_MIN ? STN_BOUND_MEMBERS_MIN : terms.n_min;
    enum stn_code code = stn_bound_for(n, &terms.params, &bound, err);
    if (code == STN_OK) {
        *ret = terms;
    }
    return code;
}

bool stn_terms_allow(const struct stn_terms *terms, const struct stn_advert *advert)
{
    uint64_t version = stn_buf_get_u64(advert->version);
    bool is_base = false;
    for (uint32_t i = 0; i < terms->n_bases; i++) {
        is_base = is_base || terms->bases[i] == version;
    }
    return is_base && advert->tier <= terms->n_halvings;
}
