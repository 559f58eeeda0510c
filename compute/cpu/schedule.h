/* schedule: which calls of a pass the team does in one turn. Neighbours that touch nothing of each other's are one step: the
 * three products of one input wait for each other once and not three times. In a step, a dense product that adds to what the
 * ternary product before it writes (an adapter's B (A x)) goes over each range of columns right behind it, while that range is
 * in the cache. Neither changes a bit: units are the kernels' own. Thread: one at a time. */
#ifndef STN_COMPUTE_CPU_SCHEDULE_H
#define STN_COMPUTE_CPU_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

#include "compute/cpu/kernel.h"

#define STN_SCHEDULE_MOST 8 /* items of a step */

/* What a call touches, in bytes; constants are left out. */
struct stn_schedule_use {
    struct stn_schedule_range {
        const char *from, *to;
    } in[STN_OP_INPUTS], out[STN_OP_OUTPUTS];
    bool alone; /* nothing else is in its step, but what goes right behind it */
};

struct stn_schedule_item {
    const struct stn_kernel_call *call, *behind; /* behind: NULL, or the product that is added range by range */
    size_t n_units;
};

struct stn_schedule_step {
    struct stn_schedule_item items[STN_SCHEDULE_MOST];
    size_t n_items, n_units;
};

/* How many of the n calls that follow make the next step, at least one; uses is by call. */
size_t stn_schedule_length(const struct stn_kernel_call *calls, const struct stn_schedule_use *uses, size_t n);

/* Fills a step with n calls, whose rows are those of this run. */
void stn_schedule_fill(struct stn_schedule_step *step, const struct stn_kernel_call *calls, size_t n);

/* About how many nanoseconds of one core. */
size_t stn_schedule_work(const struct stn_schedule_step *step);

/* Units [first, first + count) of the step, counted through its items. */
void stn_schedule_run(const struct stn_schedule_step *step, size_t first, size_t count, void *scratch);

#endif
