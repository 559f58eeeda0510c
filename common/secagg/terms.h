/* terms: what both sides of SA1 take from a round's config. Thread: any. */
#ifndef STN_SECAGG_TERMS_H
#define STN_SECAGG_TERMS_H

#include "base/err.h"
#include "proto/msg.h"
#include "secagg/bound.h"

struct stn_terms {
    struct stn_round_id round;
    struct stn_digest cfg; /* H of the signed config */
    uint32_t n_bases;
    uint64_t bases[STN_MSG_BASES]; /* versions that deltas may start from, the newest first */
    uint32_t n_halvings;           /* tiers of rank besides the first */
    uint32_t n_min; /* no sum of fewer is ever opened; the roster has STN_BOUND_MEMBERS_MIN in any
                       case */
    uint32_t n_max; /* members at most */
    struct stn_bound_params params;
    uint64_t join_ms, share_ms, upload_ms, ack_ms, unmask_ms; /* how long a stage lasts, at most */
};

/* Of a config whose signature and digest the caller has checked. STN_INVALID for one that is not
 * secure or that no round can keep to; STN_LIMIT when a round of its fewest members has no graph.
 */
enum stn_code stn_terms_of(const struct stn_msg_round_config *config, const struct stn_digest *cfg,
                           struct stn_terms *ret, struct stn_err *err) STN_CHECKED;

/* An advert names a version and a tier that the round has. */
bool stn_terms_allow(const struct stn_terms *terms, const struct stn_advert *advert);

#endif
