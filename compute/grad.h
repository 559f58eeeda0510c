/* grad: appends to a pass what computes gradients, by the backward rules of its ops, last node first. A tensor has a
 * gradient only if a parameter lies upstream of it: frozen weights get none, and nothing below the first adapted
 * tensor is computed. Gradients of parameters are added to their lasting tensors; the rest are temporaries. */
#ifndef STN_COMPUTE_GRAD_H
#define STN_COMPUTE_GRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compute/graph.h"

struct stn_grad;

/* The pass must end in a STN_OP_LOSS that gives dy. seed: the lasting tensor that seeds stochastic rounding, (1, 2) of i32.
 * bounds, n_bounds: what nodes [bounds[i], bounds[i + 1]) wrote is computed again when their gradients need it, instead of
 * being kept; 0: all is kept. graph->failed when there is no memory. */
void stn_grad_append(struct stn_graph *graph, size_t pass, uint32_t seed, const size_t *bounds, size_t n_bounds);

/* For backward rules. */
struct stn_graph *stn_grad_graph(struct stn_grad *grad);
void stn_grad_add(struct stn_grad *grad, const struct stn_node *node); /* appends */
bool stn_grad_wanted(const struct stn_grad *grad, uint32_t tensor);
/* The gradient that has come together for a tensor, or STN_OP_NONE when nothing downstream uses it. */
uint32_t stn_grad_of(const struct stn_grad *grad, uint32_t tensor);
/* Where a rule writes the tensor's gradient, and whether it must add to what is there. */
uint32_t stn_grad_into(struct stn_grad *grad, uint32_t tensor, bool *ret_add);
/* The tensor's gradient is (plus) GRADIENT, unchanged: shares it where that is safe, else adds. */
void stn_grad_pass_on(struct stn_grad *grad, uint32_t tensor, uint32_t gradient);
/* The tensor's gradient, to be changed in place. */
uint32_t stn_grad_own(struct stn_grad *grad, uint32_t tensor);
uint32_t stn_grad_seed(const struct stn_grad *grad);

#endif
