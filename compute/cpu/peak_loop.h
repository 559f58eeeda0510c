/* peak_loop: raw loops of one instruction, for peak.c. Twelve chains hide the latency of what every processor has so far;
 * operands are opaque to the compiler, so that it neither hoists nor folds anything. Thread: any. */
#ifndef STN_COMPUTE_CPU_PEAK_LOOP_H
#define STN_COMPUTE_CPU_PEAK_LOOP_H

#include <stddef.h>

#define STN_PEAK_LOOP_CHAINS 12

/* run does rounds of twelve instructions each; what they compute goes to *sink. */
struct stn_peak_loop {
    void (*run)(size_t rounds, volatile float *sink);
    size_t macs; /* of one instruction */
};

struct stn_peak_loops {
    struct stn_peak_loop integer, floats;
};

/* Of the best set that the processor runs, whichever is in use. */
const struct stn_peak_loops *stn_peak_loop_best(void);

#endif
