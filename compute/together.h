/* together: which nodes of a pass a device does in one go, so that what they share is read and written once. The graph stays what
 * it is; a node that goes with another is done at that one's place, which changes nothing but the order of sums.
 *
 *   behind   y (+)= W x, then y += scale B u: an adapter's product (or its gradient) adds to a ternary one before y is written
 *   rounded  u = A x, then x's rounding to int8; du = dy B, then dy's: the product reads what is rounded
 *   beside   u1 = A1 x, u2 = A2 x, u3 = A3 x: an adapter's products of one input; and dA1, dA2, dA3, which see one x as well
 *
 * Thread: the graph is read only. */
#ifndef STN_COMPUTE_TOGETHER_H
#define STN_COMPUTE_TOGETHER_H

#include "compute/graph.h"

#define STN_TOGETHER_MOST 3 /* that go with a node: [0] behind it or rounded by it, [1] and [2] beside it */
#define STN_TOGETHER_NONE SIZE_MAX

/* The nodes after N, none of those in DONE (by number), that go with it: their numbers, STN_TOGETHER_NONE where there is none. Only
 * products with f32 weights and roundings do; whether the device can is the caller's business. */
void stn_together_find(const struct stn_graph *graph, size_t pass, size_t n, const bool *done, size_t ret[STN_TOGETHER_MOST]);

#endif
