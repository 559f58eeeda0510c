/* bench_model: the model that is measured: one that is given, or a random one of a known shape, which is written to a
 * temporary file that has lost its name before anything is measured. And what one pass over it costs by count.
 * Thread: the main one. */
#ifndef STN_CLIENT_CLI_BENCH_MODEL_H
#define STN_CLIENT_CLI_BENCH_MODEL_H

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "client/cli/session.h"
#include "compute/cpu/peak.h"
#include "compute/model/network.h"

/* What both commands ask for. */
struct stn_bench_model_options {
    const char *model, *vocab;
    struct stn_session_reading reading;
    int shape, type, backend; /* of the words; backend of stn_session_backends */
    uint64_t seed, threads;
};

struct stn_bench_model {
    struct stn_model *model;
    char name[64]; /* the file's last name, or the shape and the type */
    unsigned n_threads;
};

/* The words of --shape and --type, each ended by NULL. */
extern const char *const stn_bench_model_shapes[], *const stn_bench_model_types[];

/* The caller closes *ret; zeroed is fine there. */
enum stn_code stn_bench_model_open(struct stn_bench_model *ret, const struct stn_bench_model_options *options,
                                   struct stn_err *err) STN_CHECKED;
void stn_bench_model_close(struct stn_bench_model *bench);

/* MACs with ternary weights of one token: forward, and for the gradients of an adapter on targets (a mask). Nothing below
 * the first adapted product has a gradient. */
double stn_bench_model_forward_macs(const struct stn_bench_model *bench);
double stn_bench_model_backward_macs(const struct stn_bench_model *bench, uint32_t targets);

/* The machine's best for this model's widest product over n_tokens, and what was measured of it as "machine" into object.
 * Takes much memory for a moment: ask for the process's peak before. */
enum stn_code stn_bench_model_peak(const struct stn_bench_model *bench, size_t n_tokens, struct stn_peak *ret, json_t *object,
                                   struct stn_err *err) STN_CHECKED;

#endif
