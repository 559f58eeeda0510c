#include "compute/train/schedule.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

const char *const stn_schedule_names[] = {"cosine", "linear", "constant", NULL};

double stn_schedule_factor(const struct stn_schedule *schedule, uint64_t step)
{
    assert(schedule->warmup >= 0 && schedule->warmup <= 1);
    uint64_t n = schedule->n_steps == 0 ? 1 : schedule->n_steps;
    uint64_t i = step < n ? step : n - 1;
    uint64_t w = (uint64_t)ceil(schedule->warmup * (double)n);
    if (i < w) {
        return (double)(i + 1) / (double)(w + 1);
    }
    double at = (double)(i - w) / (double)(n - w);
    switch (schedule->shape) {
    case STN_SCHEDULE_COSINE:
        return 0.5 * (1 + cos(3.14159265358979323846 * at));
    case STN_SCHEDULE_LINEAR:
        return 1 - at;
    case STN_SCHEDULE_CONSTANT:
        break;
    }
    return 1;
}
