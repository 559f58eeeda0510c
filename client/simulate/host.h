/* host: the real bytes of a simulated world: every device trains on its own examples with the lab's threads, its delta
 * is encoded and packed as a live one's, the coordinator adds the packed vectors into one accumulator and merges, and
 * each version that comes out is evaluated beside the next round's training.
 *
 * Trainings run while virtual time stands still and enter when it comes to them; how long they take in virtual time is
 * their tokens over the device's drawn speed, known before they are done. */
#ifndef STN_CLIENT_SIMULATE_HOST_H
#define STN_CLIENT_SIMULATE_HOST_H

#include "base/buf.h"
#include "client/simulate/lab.h"
#include "client/simulate/result.h"
#include "client/simulate/world.h"
#include "server/core/record.h"

struct stn_host_config {
    struct stn_task_spec spec; /* base, n_values and n_values_b are filled in */
    double dropout;            /* chance that a device vanishes in a round, at a drawn stage, and comes back later */
    uint64_t latency_ms;       /* of a message, one way, on average */
    const char *adapter_out;   /* where the last version is written; NULL: nowhere */
    /* Told each round as soon as it is evaluated. */
    void (*on_round)(void *context, const struct stn_result_round *round);
    void *context;
};

/* Runs a world until its task has all its versions, Ctrl-C, or nothing more can come of it. Fills rounds, base,
 * federated and adapter of *result (its rounds are the caller's to free, also on failure). STN_LIMIT when so many
 * devices are lost that no round completes. Thread: the lab's. */
enum stn_code stn_host_run(const struct stn_host_config *config, struct stn_lab *lab, struct stn_result *result,
                           struct stn_err *err) STN_CHECKED;

/* ---- inside: host.c is the devices' side, host_merge.c the coordinator's ---- */

struct stn_host_device {
    struct stn_lab_training training;
    bool is_training;
    float *from, *delta; /* (n_values) from is a copy: the coordinator may have moved on before the training ends */
    struct stn_buf packed;
    double tokens_per_ms;
    uint32_t tier;      /* of the ranks that its owner allows: drawn */
    struct stn_rng rng; /* of its rounding */
};

struct stn_host_version {
    struct stn_digest adapter;
    float *values;
    uint32_t n_training; /* devices that began to train from it */
};

struct stn_host {
    struct stn_host_config config;
    struct stn_lab *lab;
    struct stn_result *result;
    struct stn_world *world;
    struct stn_err err; /* the first thing that went wrong; the run ends with it */
    struct stn_host_device *devices;
    uint64_t n_versions; /* merged ones: the newest's number */
    uint64_t last_ms;    /* when it was merged */
    struct stn_host_version *kept; /* a ring: version v is at v modulo n_kept */
    size_t n_kept;
    uint32_t *sum;       /* of the round that is being added up, or NULL */
    size_t n_sum;        /* its elements */
    struct stn_round_id adding;
    struct stn_buf state; /* of the outer optimiser, after the newest version */
    struct stn_world_traffic seen;
    bool is_evaluating;
    struct stn_lab_evaluation evaluation; /* of the newest version */
};

/* Ends the run with an error. */
void stn_host_fail(struct stn_host *host, const struct stn_err *err);

enum stn_code stn_host_merge_open(struct stn_host *host, struct stn_blob_ref *ret_adapter, struct stn_err *err) STN_CHECKED;
void stn_host_merge_add(void *context, const struct stn_server_upload *upload);
void stn_host_merge_unmask(void *context, const struct stn_server_effect *effect);
void stn_host_merge_merge(void *context, const struct stn_server_effect *effect, struct stn_server_event *event);
void stn_host_merge_close(void *context, const struct stn_round_id *round);
void stn_host_merge_lose(void *context);
/* Ends the evaluation under way and fills the result's end. */
enum stn_code stn_host_merge_finish(struct stn_host *host, struct stn_err *err) STN_CHECKED;
void stn_host_merge_fini(struct stn_host *host);
/* A version by its adapter's digest; NULL when it is so old that it is not kept. */
struct stn_host_version *stn_host_merge_find(const struct stn_host *host, const struct stn_digest *adapter);

#endif
