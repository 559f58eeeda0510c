/* plan: where temporaries lie. From the first to the last node that touches a tensor nobody else may use its bytes;
 * apart from that, bytes are shared. Offsets are found by best fit, biggest tensors first (Pisarchyk and Lee, 2020,
 * "Efficient memory management for deep neural net inference", section 5.2). */
#ifndef STN_COMPUTE_PLAN_H
#define STN_COMPUTE_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/graph.h"

#define STN_PLAN_ALIGN 64

struct stn_plan_span {
    uint32_t tensor;
    size_t offset, size; /* bytes in the arena, at capacity */
    size_t first, last;  /* nodes of the pass, both included */
};

struct stn_plan {
    struct stn_plan_span *spans; /* by tensor number */
    size_t n_spans;
    size_t size; /* of the arena */
};

/* The arena may have to be made of pieces of memory: no span crosses a multiple of piece (bytes, a multiple of STN_PLAN_ALIGN;
 * 0: it is one piece). Zeroed is empty. The caller finis it. STN_LIMIT: a tensor is larger than a piece. */
enum stn_code stn_plan_init(struct stn_plan *plan, const struct stn_graph *graph, size_t pass, size_t piece,
                            struct stn_err *err) STN_CHECKED;
void stn_plan_fini(struct stn_plan *plan);

/* The span of a temporary of this pass; NULL for any other tensor. */
const struct stn_plan_span *stn_plan_find(const struct stn_plan *plan, uint32_t tensor);

#endif
