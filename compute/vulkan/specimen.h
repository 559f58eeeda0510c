/* specimen: a small graph that has every op, in every way that the graphs of a model use it (adding, turning back, with a table of
 * halves, of few rows), at odd sizes, so that each row of the pipeline table can be shown to do what the processor does. One pass;
 * every input is drawn by chance from a fixed seed, every output lasts. Thread: any. */
#ifndef STN_COMPUTE_VULKAN_SPECIMEN_H
#define STN_COMPUTE_VULKAN_SPECIMEN_H

#include "compute/backend.h"
#include "compute/graph.h"

#define STN_SPECIMEN_TENSORS 256

struct stn_specimen_tensor {
    uint32_t tensor;
    size_t size;
    void *data; /* what it holds at first; NULL: zeroes */
};

struct stn_specimen_matrix;

struct stn_specimen {
    struct stn_graph graph;
    struct stn_specimen_tensor tensors[STN_SPECIMEN_TENSORS]; /* that are written */
    uint16_t *halves; /* a table of them */
    size_t n_tensors;
    struct stn_specimen_matrix *matrices; /* ternary constants, the last first */
    bool failed;                          /* there was no memory */
};

/* wide: with ternary products so large that tiles of 128 are taken. The caller finis it. */
enum stn_code stn_specimen_init(struct stn_specimen *specimen, bool wide, struct stn_err *err) STN_CHECKED;
void stn_specimen_fini(struct stn_specimen *specimen);

/* Runs it on a backend that is new, and reads all outputs of all nodes, one behind the other, into ret: size bytes. */
size_t stn_specimen_size(const struct stn_specimen *specimen);
enum stn_code stn_specimen_run(const struct stn_specimen *specimen, struct stn_backend *backend, char *ret,
                               struct stn_err *err) STN_CHECKED;

/* Whether an output is what it should be: whole numbers the same, int8 but for a few that fell to the other side of a middle,
 * floats within a thousandth of the greatest. */
bool stn_specimen_agrees(const struct stn_specimen *specimen, uint32_t tensor, const char *p, const char *wanted);

#endif
