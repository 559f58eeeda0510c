#include "compute/cpu/kernel.h"

#include <assert.h>

#include "compute/cpu/lanes.h"

/* Turns pairs (a, b) of one head by the angle of the row's position (RoFormer, Su et al. 2021):
 *   a' = a cos - b sin,  b' = a sin + b cos      inverse: the angle's negative
 * in double, rounded once: scores sum many of them.
 * pairs: (i, i + n/2) for neox, (2i, 2i + 1) else, i < n/2; what is behind the first n columns of a head stays. */
STN_LANES_CLONES
static void turn_neox(float *restrict x, const float *restrict cosine, const float *restrict sine, float sign, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        double a = (double)x[i], b = (double)x[i + half], c = (double)cosine[i], s = (double)(sign * sine[i]);
        x[i] = (float)(a * c - b * s);
        x[i + half] = (float)(a * s + b * c);
    }
}

STN_LANES_CLONES
static void turn_pairs(float *restrict x, const float *restrict cosine, const float *restrict sine, float sign, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        double a = (double)x[2 * i], b = (double)x[2 * i + 1], c = (double)cosine[i], s = (double)(sign * sine[i]);
        x[2 * i] = (float)(a * c - b * s);
        x[2 * i + 1] = (float)(a * s + b * c);
    }
}

/* in: positions (T), table (context, n): n/2 cosines and n/2 sines for each position */
void stn_rope_run(const struct stn_kernel_call *call, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    const struct stn_node *node = call->node;
    size_t n = call->in[1].cols;
    for (size_t t = first; t < first + count; t++) {
        size_t position = (size_t)call->in[0].i[t];
        assert(position < call->in[1].rows);
        const float *cosine = call->in[1].f + position * n, *sine = cosine + n / 2;
        for (size_t h = 0; h < node->heads; h++) {
            float *x = call->out[0].f + (t * node->heads + h) * node->head_size;
            (node->neox ? turn_neox : turn_pairs)(x, cosine, sine, node->inverse ? -1.0f : 1.0f, n / 2);
        }
    }
}
