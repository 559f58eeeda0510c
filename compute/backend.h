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
    bool is_wanted;          /* it is what the environment names, or nothing is named */
};

/* What a device has done so far, for those who measure it. */
struct stn_backend_tally {
    uint64_t n_submissions;         /* of passes */
    uint64_t n_transfers;           /* submissions that moved bytes in or out, outside of passes */
    uint64_t planned;               /* bytes that tensors have, of those taken from the device */
    const char *forward, *backward; /* kernels of the ternary product; NULL: none yet */
};

/* MACs a second at best, in loops that do nothing else, and bytes read from memory; 0: the device has no such instructions, or was
 * too full to be measured. */
struct stn_backend_peak {
    double f32, dot8, matrix_i8, matrix_f16, bytes;
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
    /* Bytes of a lasting tensor, from offset. What a device could not read is zeroes, and check and the next run say it. */
    void (*write)(struct stn_backend *backend, uint32_t tensor, size_t offset, const void *p, size_t size);
    void (*read)(const struct stn_backend *backend, uint32_t tensor, size_t offset, void *p, size_t size);
    void (*clear)(struct stn_backend *backend, uint32_t tensor); /* all of its bytes zero */
    size_t piece; /* bytes that are best moved at once, where a loop reads, changes and writes a long tensor */
    /* Whether all that was written and read has been, or why not; NULL where nothing can be in the way. */
    enum stn_code (*check)(const struct stn_backend *backend, struct stn_err *err);
    struct stn_backend_memory (*memory)(const struct stn_backend *backend);
    /* The scratch of a finished pass with so many threads, asked without a backend; NULL: none. */
    size_t (*scratch)(const struct stn_graph *graph, size_t pass, unsigned n_threads);
    /* What does the work: the kernel's name, or the device's. */
    const char *(*kernel)(const struct stn_backend *backend);
    /* Nanoseconds that an op has taken in all runs; NULL where nobody measures. */
    uint64_t (*time_ns)(const struct stn_backend *backend, enum stn_op op);
    /* NULL where there is no device that is not the processor. peak measures, for some tenths of a second. */
    void (*tally)(const struct stn_backend *backend, struct stn_backend_tally *ret);
    enum stn_code (*peak)(struct stn_backend_peak *ret, struct stn_err *err);
    /* Calls SEE for each device, in the order of their numbers; what it sees is valid for the call. */
    enum stn_code (*devices)(void (*see)(void *user, const struct stn_backend_device *device), void *user, struct stn_err *err);
};

/* The row of that name ("cpu", "vulkan" where it is built in), or of the default for NULL; NULL when there is none. */
const struct stn_backend_row *stn_backend_find(const char *name);

/* What its row's check says, or STN_OK. */
enum stn_code stn_backend_check(const struct stn_backend *backend, struct stn_err *err) STN_CHECKED;

/* The rows by number, NULL behind the last. */
const struct stn_backend_row *stn_backend_row(size_t number);

#endif
