/* lab: what is real in a simulation: the base model, every client's examples, the shared test set, and the threads
 * that train and evaluate on them. Trainings are tasks of the pool; each writes only what it owns, and the same inputs
 * give the same bits on any number of threads. */
#ifndef STN_CLIENT_SIMULATE_LAB_H
#define STN_CLIENT_SIMULATE_LAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "client/shell/job.h"
#include "client/simulate/partition.h"
#include "client/simulate/pool.h"
#include "compute/model/adapter.h"
#include "compute/model/network.h"
#include "compute/train/dataset.h"
#include "compute/train/evaluate.h"
#include "compute/train/trainer.h"

#define STN_LAB_SLICES 3 /* of enum stn_slice */

struct stn_tokenizer;

struct stn_lab_config {
    const char *model;   /* path */
    struct stn_model_reading reading;
    const char *data;    /* JSONL; NULL: the built-in homes */
    const char *eval;    /* JSONL; NULL: held out of data, or the built-in test set */
    struct stn_partition partition;
    bool has_partition;  /* else: by home for the built-in data, iid for others */
    size_t n_clients;
    uint64_t seed;
    struct stn_train_spec train; /* factor: of models that somebody trains alone */
    uint32_t slices;             /* bit i: enum stn_slice i will be asked for; not 0 */
    unsigned n_threads;
    const char *backend; /* as in stn_network_config */
    enum stn_backward backward;
};

struct stn_lab {
    struct stn_model *model;
    struct stn_tokenizer *tokenizer;
    struct stn_digest model_digest;
    uint64_t model_size;
    struct stn_adapter *first; /* the adapter of version 0: seeded A, zero B */
    size_t n_tiers;
    struct stn_adapter *shapes[STN_MSG_HALVINGS + 1]; /* (n_tiers) of what a device of that tier trains; [0] is first */
    float **scratch; /* (n_threads) two adapters each, for those that train fewer ranks */
    size_t n_values;
    struct stn_train_spec train;
    struct stn_pool *pool;
    size_t n_threads;
    size_t pass_rows; /* that a trainer's network holds */
    struct stn_trainer **trainers; /* (n_threads, STN_LAB_SLICES, n_tiers) NULL where a slice is not asked for */
    size_t n_clients;
    struct stn_dataset **clients;  /* (n_clients) */
    struct stn_dataset *pooled;    /* all clients' examples */
    struct stn_dataset *test;
    uint64_t seed;
};

/* Opens the model, reads and splits the data. The caller closes it, also on failure. */
enum stn_code stn_lab_open(struct stn_lab *lab, const struct stn_lab_config *config, struct stn_err *err) STN_CHECKED;
/* Zeroed is fine. */
void stn_lab_close(struct stn_lab *lab);

/* A trainer's network of the thread: any adapter of the lab's shape can be evaluated with it. */
struct stn_network *stn_lab_network(const struct stn_lab *lab, size_t thread);

/* Training as a task: set all but the last three, submit task to lab->pool, wait, read them. */
struct stn_lab_training {
    struct stn_pool_task task; /* run: stn_lab_train */
    struct stn_lab *lab;
    const struct stn_dataset *dataset;
    struct stn_train_spec spec;
    uint32_t tier;
    const float *from; /* (n_values) */
    uint64_t seed;
    float *delta;      /* (n_values) the caller's: the slice's come first, the rest is scratch */
    struct stn_job_result result;
    enum stn_code code;
    struct stn_err err;
};
void stn_lab_train(struct stn_pool_task *task, size_t thread);

struct stn_lab_score {
    double loss;     /* nats a target */
    double accuracy; /* exact match of the greedy completion where examples have one, else token accuracy */
};

/* Evaluation on the test set as a task, likewise. */
struct stn_lab_evaluation {
    struct stn_pool_task task; /* run: stn_lab_evaluate */
    struct stn_lab *lab;
    const float *values; /* (n_values) */
    struct stn_lab_score score;
    enum stn_code code;
    struct stn_err err;
};
void stn_lab_evaluate(struct stn_pool_task *task, size_t thread);

/* Submits, waits, and gives the score. */
enum stn_code stn_lab_score(struct stn_lab *lab, const float *values, struct stn_lab_score *ret, struct stn_err *err) STN_CHECKED;

/* For --compare: models that start from the first adapter too. local is the mean over clients of a model that each
 * trains alone for n_local steps, central a model that trains n_central steps on everybody's data. done, which may be
 * NULL, is told how many clients are over. */
struct stn_lab_comparison {
    uint64_t n_local, n_central;
    void (*done)(void *context, size_t n);
    void *context;
    struct stn_lab_score local, central;
};
enum stn_code stn_lab_compare(struct stn_lab *lab, struct stn_lab_comparison *comparison, struct stn_err *err) STN_CHECKED;

#endif
