/* outer: the coordinator's optimisers: from the mean of a round's deltas to the adapter's next values.
 *
 *   x = a value, d = its mean delta, r = rate, u = momentum; m and v last from round to round: 0 and eps^2 at first
 *
 *   avg        x += r d                                        FedAvg with a server rate (Reddi et al. 2021)
 *   momentum   m = u m + d                      x += r m                        FedAvgM (Hsu et al. 2019)
 *   nesterov   m = u m + d                      x += r (d + u m)                DiLoCo (Douillard et al. 2023)
 *   adam       m = beta1 m + (1 - beta1) d      x += r m / (sqrt(v) + eps)      FedAdam (Reddi et al. 2021, algorithm 2)
 *              v = beta2 v + (1 - beta2) d^2
 *   yogi       m as adam's                      x as adam's                     FedYogi (the same)
 *              v -= (1 - beta2) d^2 sign(v - d^2)
 *
 * Computed in double, kept as float. Each slice of an adapter has its own m and v: where the factors take turns, what one
 * has learned waits for it while the other moves. Thread: any. */
#ifndef STN_SERVER_SHELL_OUTER_H
#define STN_SERVER_SHELL_OUTER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "compute/model/slice.h"
#include "server/core/record.h"

#define STN_OUTER_SLICES 3 /* of enum stn_slice */

extern const char *const stn_outer_names[STN_OUTER_KINDS + 1]; /* by enum stn_outer, then NULL */

/* What a kind is used with where nobody says otherwise. */
struct stn_outer_spec stn_outer_defaults(enum stn_outer kind);

/* Of one slice, in the bytes of the state: the kind's alone, NULL where it has none. */
struct stn_outer_moments {
    size_t n;
    float *m, *v; /* (n) */
};

/* state: the bytes that merges hand on to each other, empty at first and where the kind keeps nothing; a slice that moves
 * for the first time is added. *ret lies in it, until it changes. STN_CORRUPT when it is not of this kind or not of n values
 * in this slice; then, and when there is no memory, it is as it was. */
enum stn_code stn_outer_find(struct stn_outer_moments *ret, const struct stn_outer_spec *spec, enum stn_slice slice, size_t n,
                             struct stn_buf *state, struct stn_err *err) STN_CHECKED;

/* One step of n values of the slice, from its first-th on: mean and x are those (n). */
void stn_outer_step(const struct stn_outer_moments *moments, const struct stn_outer_spec *spec, size_t first, size_t n,
                    const float *mean, float *x);

#endif
