/* recompute: computes activations twice instead of keeping them (Chen et al. 2016, "Training deep nets with sublinear
 * memory cost"). What nodes [first, end) of a pass wrote is wanted again by nodes from `at` on: those read copies, which
 * copies of just the nodes that are needed for them write, put in at `at`. The originals then live no longer than
 * forward. Results are the same bits. */
#ifndef STN_COMPUTE_RECOMPUTE_H
#define STN_COMPUTE_RECOMPUTE_H

#include <stddef.h>

#include "compute/graph.h"

/* graph->failed when there is no memory. */
void stn_recompute_insert(struct stn_graph *graph, size_t pass, size_t first, size_t end, size_t at);

#endif
