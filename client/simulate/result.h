/* result: what a simulation found, for the table, the JSON and the report. */
#ifndef STN_CLIENT_SIMULATE_RESULT_H
#define STN_CLIENT_SIMULATE_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/simulate/lab.h"

struct stn_result_round {
    uint64_t round; /* the version that came out, from 1 */
    double train_loss, eval_loss, eval_accuracy;
    uint32_t n_clients; /* in the merge */
    uint32_t n_lost;    /* had a lease for this version and are not in it */
    uint64_t bytes_up, bytes_down; /* of all devices since the round before, framing and base model included */
    uint64_t virtual_ms; /* when it was merged */
};

/* The caller frees rounds with stn_mem_free. */
struct stn_result {
    const char *model;   /* as it was asked for */
    size_t n_clients;
    size_t n_rounds;
    struct stn_result_round *rounds;
    struct stn_lab_score base, federated;
    bool has_compare;
    struct stn_lab_score local, central;
    struct stn_digest adapter; /* of the last version */
    uint64_t seed;
    double wall_s;
    const char *backend, *kernel;
    uint64_t n_values, n_examples, n_test;
    bool secure;
    uint32_t n_min; /* no version is made of fewer */
    bool stopped; /* by Ctrl-C: fewer rounds than asked for */
};

#endif
