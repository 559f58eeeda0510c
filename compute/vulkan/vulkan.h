/* vulkan: the backend that runs graphs on a GPU. A backend opens a device of its own. What a user may choose comes from the
 * environment, STERNA_VULKAN, words with commas between them:
 *   device=NAME   a part of the device's name, or its number      floor      caps as the weakest phone's
 *   memory=MIB    the device has no more                          staged     copies even where memory is unified
 *   range=BYTES   a binding spans no more, at least 1024
 *   piece=KIB     activations lie in pieces of memory of so much
 *   split=N       multiplications (millions) to a submission      validate   with the validation layer
 *   times         takes the time of each op                        emulated   fast variants even where a processor plays them
 *   spoil=NAME    this kernel does nothing, to see that it is found out
 *   lost=K        the device is lost at the K-th submission, to see that this is survived: of each device that is opened
 *   broken=K      the K-th submission is taken, and the device lost before it is done
 *   late=K        the K-th submission is given up while the device computes
 *   oom=K         the device has no memory for the K-th piece
 *   without=NAME  this kernel is not taken: the next of its op is */
#ifndef STN_COMPUTE_VULKAN_VULKAN_H
#define STN_COMPUTE_VULKAN_VULKAN_H

#include "compute/backend.h"
#include "compute/vulkan/gpu.h"

extern const struct stn_backend_row stn_vulkan_backend;

/* The row's list of devices, in vulkan_devices.c. */
enum stn_code stn_vulkan_devices(void (*see)(void *user, const struct stn_backend_device *device), void *user,
                                 struct stn_err *err) STN_CHECKED;

/* What has happened so far. */
struct stn_vulkan_stats {
    uint64_t n_submissions;      /* of passes */
    size_t n_dispatches;         /* that the passes prepared so far are made of */
    uint64_t n_copies;           /* submissions that moved bytes in or out, outside of passes */
    uint64_t device_size;        /* bytes taken from the device */
    uint64_t planned_size;       /* bytes that tensors have */
    uint64_t n_pieces;           /* of memory that activations lie in */
    uint64_t barred;             /* rows of the pipeline table that are not taken: wrong here, or not wanted */
    unsigned n_complaints;       /* of the validation layer */
    bool validates;              /* it is listening */
    const struct stn_gpu_caps *caps;
};
void stn_vulkan_stats(const struct stn_backend *backend, struct stn_vulkan_stats *ret);

/* A backend that has not been shown to be right (proof.h), with rows of the pipeline table BARRED, for who shows it. Of env it
 * takes the device, its caps and what is spoilt. */
struct stn_vulkan_env;
enum stn_code stn_vulkan_new_bare(struct stn_backend **ret, const struct stn_graph *graph, const struct stn_vulkan_env *env,
                                  uint64_t barred, struct stn_err *err) STN_CHECKED;
/* The rows that a node of a pass takes, a bit each. */
uint64_t stn_vulkan_rows(const struct stn_backend *backend, size_t pass, size_t node);

/* The row of the pipeline table that does an op in the passes that are prepared, the first of several; NULL: none does. */
struct stn_pipeline_row;
const struct stn_pipeline_row *stn_vulkan_row(const struct stn_backend *backend, enum stn_op op);

#endif
