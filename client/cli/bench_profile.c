#include "client/cli/bench_profile.h"

#include <stdio.h>

static bool is_there(const struct stn_bench_profile *profile, int op)
{
    return profile->counts[op].n_nodes > 0 || profile->ms[op] > 0;
}

double stn_bench_profile_fraction(const struct stn_bench_profile *profile, enum stn_op op)
{
    const struct stn_count *count = &profile->counts[op];
    if (profile->ms[op] <= 0 || profile->int8 <= 0 || profile->f32 <= 0) {
        return 0;
    }
    return (count->macs_int8 / profile->int8 + count->macs_f32 / profile->f32) / (profile->ms[op] * 1e-3);
}

/* A second, in units of so many. */
static double rate(double n, double unit, double ms)
{
    return ms > 0 ? n / unit / (ms * 1e-3) : 0;
}

json_t *stn_bench_profile_json(const struct stn_bench_profile *profile)
{
    json_t *ops = json_object();
    for (int op = 0; op < STN_N_OPS && ops != NULL; op++) {
        const struct stn_count *count = &profile->counts[op];
        double ms = profile->ms[op];
        if (is_there(profile, op)) {
            (void)json_object_set_new(
                ops, stn_op_row((enum stn_op)op)->name,
                json_pack("{sf sf sf sf sf sf sf}", "ms", ms, "int8_gmac", count->macs_int8 * 1e-9, "f32_gmac", count->macs_f32 * 1e-9,
                          "mb", count->bytes * 1e-6, "gmac_per_s", rate(count->macs_int8 + count->macs_f32, 1e9, ms), "gb_per_s",
                          rate(count->bytes, 1e9, ms), "peak_fraction", stn_bench_profile_fraction(profile, (enum stn_op)op)));
        }
    }
    return ops;
}

void stn_bench_profile_print(const struct stn_bench_profile *profile)
{
    (void)printf("%-16s %10s %10s %10s %10s %10s %10s %8s\n", "op", "ms", "int8 GMAC", "f32 GMAC", "MB", "GMAC/s", "GB/s", "of peak");
    for (int op = 0; op < STN_N_OPS; op++) {
        const struct stn_count *count = &profile->counts[op];
        double ms = profile->ms[op];
        if (is_there(profile, op)) {
            (void)printf("%-16s %10.3f %10.3f %10.3f %10.2f %10.4g %10.4g %7.2f%%\n", stn_op_row((enum stn_op)op)->name, ms,
                         count->macs_int8 * 1e-9, count->macs_f32 * 1e-9, count->bytes * 1e-6,
                         rate(count->macs_int8 + count->macs_f32, 1e9, ms), rate(count->bytes, 1e9, ms),
                         100 * stn_bench_profile_fraction(profile, (enum stn_op)op));
        }
    }
}
