/* merge: from the sum of a round's deltas to the next version of the adapter. The same inputs give the same bytes on
 * every machine: a merge that a crash cut short is simply made again, and anybody may recompute a release from the
 * deltas that it counted.
 *
 *   d = decoded mean of the deltas, of the factors that the round trained; where ranks are mixed, a slot's (slice.h) is the
 *       mean over the tiers that trained it: sum(w delta) / sum(w of those tiers), and 0 above the lowest tier that counts
 *   x = one step of the outer optimiser (outer.h) along d; the other factors stay
 *
 * Thread: any. */
#ifndef STN_SERVER_SHELL_MERGE_H
#define STN_SERVER_SHELL_MERGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "compute/model/adapter.h"
#include "server/core/record.h"

struct stn_merge_input {
    const struct stn_task_spec *spec;
    const struct stn_msg_round_config *config;
    const struct stn_adapter *shape;
    const uint32_t *sum; /* of the included members' vectors, stn_encode_length elements */
    uint32_t n_included;
    uint32_t tier; /* slots beyond this tier's rank have too few members to be released */
};

struct stn_merge_output {
    struct stn_totals totals;
    double clip_norm; /* of the next round */
};

/* values (shape->n_values) are the adapter's, before and after; so is state the optimiser's: empty before the first merge, and
 * after all of one that keeps none. On failure they are as they were: STN_CORRUPT when the sum does not count n_included
 * members, or the config or the state is not of such an adapter. */
enum stn_code stn_merge_apply(const struct stn_merge_input *input, float *values, struct stn_buf *state,
                              struct stn_merge_output *ret, struct stn_err *err) STN_CHECKED;

#endif
