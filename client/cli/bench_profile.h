/* bench_profile: what each op of a training step took, beside what it does by count (compute/model/count.h) and what the device
 * does at best. Ops that a backend runs as one have their time at the first of them. Thread: any. */
#ifndef STN_CLIENT_CLI_BENCH_PROFILE_H
#define STN_CLIENT_CLI_BENCH_PROFILE_H

#include <jansson.h>

#include "compute/model/count.h"

struct stn_bench_profile {
    struct stn_count counts[STN_N_OPS]; /* of a step, by op, as the next */
    double ms[STN_N_OPS];
    double int8, f32; /* MACs a second at best; 0: unknown */
};

/* The share of its time that an op would take at these speeds; 0 where one is unknown or no time was measured. */
double stn_bench_profile_fraction(const struct stn_bench_profile *profile, enum stn_op op);

/* {name: {"ms", "int8_gmac", "f32_gmac", "mb", "gmac_per_s", "gb_per_s", "peak_fraction"}}; NULL without memory. */
json_t *stn_bench_profile_json(const struct stn_bench_profile *profile);
void stn_bench_profile_print(const struct stn_bench_profile *profile); /* a table for people */

#endif
