/* bench_rounds: rounds of a real coordinator in a process of its own, over loopback, with many devices in this one: what
 * they took by the clock, and what the coordinator took of its machine. Thread: the main one. */
#ifndef STN_CLIENT_CLI_BENCH_ROUNDS_H
#define STN_CLIENT_CLI_BENCH_ROUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define STN_BENCH_ROUNDS_MOST 1000

struct stn_bench_rounds_config {
    const char *program; /* sternad; NULL: the one beside this program */
    const char *folder;  /* where the coordinator's folder is made */
    uint32_t n_clients, n_rounds;
    uint64_t n_params;   /* wanted: an adapter has a multiple of 512 */
    bool secure;
    uint64_t seed;
    unsigned n_threads;  /* of the devices' work */
};

struct stn_bench_rounds {
    uint64_t n_params; /* what the adapter has */
    bool is_memory;    /* the coordinator's folder is on tmpfs */
    /* A round is from one release to the next. One before the first is not counted: it fetches the model, and connects. */
    uint32_t n;
    double round_s[STN_BENCH_ROUNDS_MOST];
    /* Of each: until all devices have a lease; then have fetched, and joined; then have sent; then until the release. */
    double lease_s[STN_BENCH_ROUNDS_MOST], join_s[STN_BENCH_ROUNDS_MOST], upload_s[STN_BENCH_ROUNDS_MOST],
        merge_s[STN_BENCH_ROUNDS_MOST];
    uint64_t n_updates; /* in the releases of these rounds */
    /* Of the coordinator in these rounds together. */
    double cpu_s, sync_s, commit_s;
    double device_cpu_s; /* of this process: all devices together */
    uint64_t peak_rss, n_syncs, n_commits, n_requests, n_bytes_in, n_bytes_out;
};

enum stn_code stn_bench_rounds_run(const struct stn_bench_rounds_config *config, struct stn_bench_rounds *ret,
                                   struct stn_err *err) STN_CHECKED;

#endif
