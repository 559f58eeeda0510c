/* together: which nodes of a pass a device does in one go, so that what they share is read and written once. The graph stays what
 * it is; a node that goes with another is done at that one's place, which changes nothing but the order of sums.
 *
 *   behind   y (+)= W x, then y += scale B u: an adapter's product (or its gradient) adds to a ternary one before y is written
 *   beside   u1 = A1 x, u2 = A2 x, u3 = A3 x: an adapter's products of one input; and dA1, dA2, dA3, which see one x as well; and
 *            du = dy B with dy's rounding to int8
 *
 * Thread: the graph is read only. */
#ifndef STN_COMPUTE_TOGETHER_H
#define STN_COMPUTE_TOGETHER_H

#include "compute/graph.h"

#define STN_TOGETHER_MOST 2 /* that go with a node */

/* The nodes after N, none of those in DONE (by number), that go with it: their numbers, and how many there are. Only products with
 * f32 weights do; whether the device can is the caller's business. */
size_t stn_together_find(const struct stn_graph *graph, size_t pass, size_t n, const bool *done, size_t ret[STN_TOGETHER_MOST]);

#endif
