/* schedule: the learning rate over a run, as a factor in [0, 1] of the rate that was asked for. Thread: any. */
#ifndef STN_COMPUTE_TRAIN_SCHEDULE_H
#define STN_COMPUTE_TRAIN_SCHEDULE_H

#include <stdint.h>

enum stn_schedule_shape {
    STN_SCHEDULE_COSINE,  /* half a cosine from 1 to 0 (Loshchilov and Hutter, 2017, without restarts) */
    STN_SCHEDULE_LINEAR,  /* a straight line from 1 to 0 */
    STN_SCHEDULE_CONSTANT
};

/* The words of --schedule, by shape, ended by NULL. */
extern const char *const stn_schedule_names[];

struct stn_schedule {
    enum stn_schedule_shape shape;
    uint64_t n_steps; /* of the whole run */
    double warmup;    /* the share of n_steps, in [0, 1], over which the factor rises in a straight line */
};

/* The factor of step number step, counted from 0. With w = ceil(warmup * n_steps) warm-up steps:
 *   step < w:  (step + 1) / (w + 1)
 *   after it:  the shape at (step - w) / (n_steps - w)
 * so that no step has rate 0. A step at or past n_steps has the factor of the last one. */
double stn_schedule_factor(const struct stn_schedule *schedule, uint64_t step);

#endif
