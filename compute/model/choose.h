/* choose: what trains fastest here when nobody says, the processor or a GPU. Both are timed once on a few layers of the model, and
 * the answer is kept in a file for the device, its driver, the processor's kernel and threads, and the model's shape. A GPU that a
 * processor only plays is not tried, and one that the model does not fit is not chosen. Where the
 * environment names a device no other is asked. A trial that fails is not an answer: it is made again the next time. Thread: any;
 * nobody else should be computing. */
#ifndef STN_COMPUTE_MODEL_CHOOSE_H
#define STN_COMPUTE_MODEL_CHOOSE_H

#include "base/err.h"
#include "compute/model/network.h"

/* What was found. Seconds are of a training step of STN_CHOOSE_TOKENS tokens, by the trial; 0 where there was none. */
#define STN_CHOOSE_TOKENS 64
struct stn_choose_result {
    const char *backend; /* for a network's config: NULL is the processor */
    double cpu_s, gpu_s;
    bool was_known;
};

/* folder: where answers are kept; NULL: nowhere. Whatever goes wrong with a GPU, the processor is the answer. */
void stn_choose_backend(struct stn_choose_result *ret, const struct stn_model *model, unsigned n_threads, const char *folder);

#endif
