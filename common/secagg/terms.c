#include "secagg/terms.h"

enum stn_code stn_terms_of(const struct stn_msg_round_config *config, const struct stn_digest *cfg,
                           struct stn_terms *ret, struct stn_err *err)
{
    struct stn_terms terms = {
        .round = config->round,
        .cfg = *cfg,
        .version = config->version,
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
    struct stn_bound bound;
    uint32_t n = terms.n_min < STN_BOUND_MEMBERS_MIN ? STN_BOUND_MEMBERS_MIN : terms.n_min;
    enum stn_code code = stn_bound_for(n, &terms.params, &bound, err);
    if (code == STN_OK) {
        *ret = terms;
    }
    return code;
}
