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

/* m and v of each slice that has moved (n 0: it has not), the kind's alone: NULL where it has none. */
struct stn_outer_state {
    struct stn_outer_moments {
        size_t n;
        float *m, *v;
    } of[STN_OUTER_SLICES];
};

/* From the bytes that the last merge left; size 0: as at first. STN_CORRUPT when they are not of this kind or not of n
 * values in this slice. The caller finishes *ret; zeroed is fine there. */
enum stn_code stn_outer_read(struct stn_outer_state *ret, const struct stn_outer_spec *spec, enum stn_slice slice, size_t n,
                             const uint8_t *p, size_t size, struct stn_err *err) STN_CHECKED;
/* Appends nothing where the kind keeps nothing. */
enum stn_code stn_outer_write(const struct stn_outer_state *state, const struct stn_outer_spec *spec, struct stn_buf *ret,
                              struct stn_err *err) STN_CHECKED;
void stn_outer_fini(struct stn_outer_state *state);

/* One step of all values of the slice that the state was read for: mean and x are (n). */
void stn_outer_step(struct stn_outer_state *state, const struct stn_outer_spec *spec, enum stn_slice slice, const float *mean,
                    float *x, size_t n);

#endif
