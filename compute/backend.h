/* backend: what runs graphs. A row of functions for each; a backend holds the memory of one graph's lasting tensors
 * and temporaries and runs its passes. Constants are borrowed or uploaded when a pass is prepared.
 * Thread: one at a time for each; two never disturb each other. */
#ifndef STN_COMPUTE_BACKEND_H
#define STN_COMPUTE_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "compute/graph.h"

struct stn_backend {
    const struct stn_backend_row *row; /* the rest is the row's own */
};

struct stn_backend_memory {
    size_t arena, lasting, constants, scratch; /* bytes of its own; constants only where it copied them */
    size_t device;                             /* of all these, bytes in a device's memory */
};

/* What a backend can run on here. */
struct stn_backend_device {
    const char *name, *type; /* "discrete", "integrated", "virtual", "cpu", "other" */
    unsigned number;         /* among its backend's */
    uint64_t memory;         /* bytes; 0 where nobody says */
    const char *caps;        /* what kernels ask of it, and its driver, in words; "" */
    bool is_gpu;             /* and not a processor that plays one */
};

struct stn_backend_row {
    const char *name;
    /* The graph is borrowed until free and may gain tensors and passes. */
    enum stn_code (*new_for)(struct stn_backend **ret, const struct stn_graph *graph, unsigned n_threads, struct stn_err *err);
    void (*free)(struct stn_backend *backend);
    /* Plans a finished pass, and finds memory for it and for lasting tensors that are new. */
    enum stn_code (*prepare)(struct stn_backend *backend, size_t pass, struct stn_err *err);
    /* Runs a prepared pass, and has finished when it returns. Allocates nothing. */
    enum stn_code (*run)(struct stn_backend *backend, size_t pass, size_t n_tokens, size_t n_targets, struct stn_err *err);
    /* Bytes of a lasting tensor, from offset. */
    void (*write)(struct stn_backend *backend, uint32_t tensor, size_t offset, const void *p, size_t size);
    void (*read)(const struct stn_backend *backend, uint32_t tensor, size_t offset, void *p, size_t size);
    struct stn_backend_memory (*memory)(const struct stn_backend *backend);
    /* The scratch of a finished pass with so many threads, asked without a backend; NULL: none. */
    size_t (*scratch)(const struct stn_graph *graph, size_t pass, unsigned n_threads);
    /* What does the work: the kernel's name, or the device's. */
    const char *(*kernel)(const struct stn_backend *backend);
    /* Nanoseconds that an op has taken in all runs; NULL where nobody measures. */
    uint64_t (*time_ns)(const struct stn_backend *backend, enum stn_op op);
    /* Calls SEE for each device, in the order of their numbers; what it sees is valid for the call. */
    enum stn_code (*devices)(void (*see)(void *user, const struct stn_backend_device *device), void *user, struct stn_err *err);
};

/* The row of that name ("cpu", "vulkan" where it is built in), or of the default for NULL; NULL when there is none. */
const struct stn_backend_row *stn_backend_find(const char *name);

/* The rows by number, NULL behind the last. */
const struct stn_backend_row *stn_backend_row(size_t number);

#endif
