/* bench_load: many devices in this process, each with its folder, identity and connection. They are what agents are made
 * of and do all that agents do, but that a delta is drawn and not trained, and that an adapter is not judged and put in
 * place. Some of them share a loop, its thread, and one for the work. Thread: the main one. */
#ifndef STN_CLIENT_CLI_BENCH_LOAD_H
#define STN_CLIENT_CLI_BENCH_LOAD_H

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

/* Seconds since 1970, as the coordinator's clock: what the devices saw of a version's round. 0: it never came to that. */
struct stn_bench_load_round {
    double leased_s, joined_s, uploaded_s; /* the last device has its lease; is in the round; has sent what it had to */
};

struct stn_bench_load_config { /* borrowed */
    const char *folder;        /* of the devices' folders; made */
    const char *task;
    uint32_t n;
    uint32_t n_min;            /* their floor */
    unsigned n_threads;        /* loops, and as many threads for the work */
    uint64_t last_version;     /* it ends when all have put this one in place */
    /* Asked some times a second, with the newest version that a device has in place; other than STN_OK ends it. */
    enum stn_code (*going_on)(void *user, uint64_t version, struct stn_err *err);
    /* The last device has put version 1 in place, on its thread: what is measured begins, and ends as it began. */
    enum stn_code (*begun)(void *user, struct stn_err *err);
    void *user;
};

struct stn_bench_load;

/* Makes the devices' folders and enrols each, urls being an array of join URLs. The caller frees *ret. */
enum stn_code stn_bench_load_new(struct stn_bench_load **ret, const struct stn_bench_load_config *config,
                                 const json_t *urls, struct stn_err *err) STN_CHECKED;

/* All the rounds. round i of *ret_rounds began at version i; it is last_version long, and the load's. */
enum stn_code stn_bench_load_run(struct stn_bench_load *load, const struct stn_bench_load_round **ret_rounds,
                                 struct stn_err *err) STN_CHECKED;

void stn_bench_load_free(struct stn_bench_load *load); /* NULL is fine */

#endif
