/* bench_round: one secure round of `bench secagg`: the coordinator's state machine and the work around it, timed, against
 * a fleet. Every request that it verifies, every answer with its proofs, every upload that it hashes and adds, every
 * secret that it rebuilds and every mask that it takes away is real; uploads come from memory, one at a time, instead of
 * spool files, and nothing goes over a network. Thread: the main one. */
#ifndef STN_CLIENT_CLI_BENCH_ROUND_H
#define STN_CLIENT_CLI_BENCH_ROUND_H

#include "client/cli/bench_device.h"
#include "server/core/secagg_server.h"

struct stn_bench_round_result {
    /* the coordinator's time */
    double requests_s; /* verified and taken down */
    double answers_s;
    double verify_s, add_s; /* uploads */
    double rebuild_s;       /* secrets from shares */
    double masks_s;         /* off the sum */
    double decode_s;
    double unmask_cpu_s; /* of rebuild_s and masks_s, by all threads: without what others kept them from running */
    uint64_t n_masks;          /* that came off */
    double mask_bytes_per_s;   /* of the same threads over what stays in the first cache, before and after */
    uint64_t server_rss_bytes; /* at its highest, beyond what was there before the round */
    uint64_t sum_error;
    uint32_t n_survivors;
    double mean_error; /* root mean square, of the mean against the plain deltas' */
};

struct stn_bench_round {
    struct stn_bench_fleet fleet;
    struct stn_bench_device devices[STN_BENCH_FLEET_WHOLE];
    struct stn_team *team;
    uint32_t *vector, *sum; /* the whole devices', the coordinator's */
    uint8_t *packed;        /* an upload */
    struct stn_digest *leaves;
    struct stn_mask *masks; /* of an upload */
    struct stn_secagg_server *server;
    struct stn_secagg_server_effects *effects;
    const uint8_t *upload; /* what COUNT adds */
    struct stn_roster_survivors survivors;
    uint64_t now_ms, wake_ms;
    bool is_clear;
    double rate_bytes, rate_s;
    struct stn_bench_round_result result;
};

/* The caller ends it with fini in any case. */
enum stn_code stn_bench_round_init(struct stn_bench_round *round, const struct stn_bench_fleet_config *config,
                                   unsigned n_threads, struct stn_err *err) STN_CHECKED;
enum stn_code stn_bench_round_run(struct stn_bench_round *round, struct stn_err *err) STN_CHECKED;
void stn_bench_round_fini(struct stn_bench_round *round);

#endif
