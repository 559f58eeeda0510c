/* count: what a training step takes by count, op by op, from its graph alone: multiplications and bytes. Nothing is computed and no
 * memory is found for it. With a device's figures it says how fast a step can be at best, and what bounds it. Thread: any. */
#ifndef STN_COMPUTE_MODEL_COUNT_H
#define STN_COMPUTE_MODEL_COUNT_H

#include "base/err.h"
#include "compute/model/network.h"
#include "compute/op.h"

/* Of all nodes of one op in a step at capacity. A MAC is a multiplication and an addition. Bytes: every input and output once, as
 * kernels with perfect caches would move them, and what nodes share that go together once; of a gradient that adds, what was there
 * as well. */
struct stn_count {
    size_t n_nodes;
    size_t n_together; /* of them, that a GPU does with another one: see together.h */
    double macs_int8; /* int8 by a ternary weight */
    double macs_f32;
    double bytes;
};

/* Gradients and AdamW of a batch of config->max_tokens tokens, in examples of config->context, each token but an example's first a
 * target. ret by op. */
enum stn_code stn_count_step(struct stn_count ret[static STN_N_OPS], const struct stn_model *model,
                             const struct stn_adapter *adapter, const struct stn_network_config *config,
                             struct stn_err *err) STN_CHECKED;

#endif
