/* peak: what this machine gives at best, as a measure for the rest: loops that do nothing else, on all threads at once.
 * Each is the best of several short rounds, taken in turns, so that what else runs here hits all of them alike.
 * Thread: one at a time; nobody else should be computing. */
#ifndef STN_COMPUTE_CPU_PEAK_H
#define STN_COMPUTE_CPU_PEAK_H

#include <stddef.h>

#include "base/err.h"

/* A second's worth of each, all threads together; one MAC is one multiplication and one addition. */
struct stn_peak {
    double integer;  /* MACs of int8 by 8-bit weights, accumulators in registers, no memory: the best set of instructions */
    double floats;   /* the same of f32 */
    double bytes;    /* read from memory, front to back, far beyond the caches */
    double forward;  /* MACs of the ternary product with the kernel in use */
    double backward; /* and of its int8 gradient */
};

/* The products are of a random (rows, cols) matrix and n_tokens rows. STN_MEMORY; STN_INVALID for no thread. */
enum stn_code stn_peak_measure(struct stn_peak *ret, size_t rows, size_t cols, size_t n_tokens, unsigned n_threads,
                               struct stn_err *err) STN_CHECKED;

#endif
