/* tensors: where a graph's lasting tensors and constants lie on the device. Constants are uploaded when a pass first reads them,
 * ternary weights as 2-bit codes, 16 to a word. Small lasting tensors that go in and out with every step have a mirror that both
 * sides see where memory is not unified: a run copies it in and out as part of its submission. Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_TENSORS_H
#define STN_COMPUTE_VULKAN_TENSORS_H

#include "compute/graph.h"
#include "compute/vulkan/vram.h"
#include "compute/vulkan/tape.h"

#define STN_TENSORS_SMALL ((size_t)256 << 10) /* bytes of a tensor that has a mirror */

struct stn_tensors_tensor {
    struct stn_vram_span span;
    struct stn_vram_span scales; /* of a ternary constant: one, or one for each 256 columns of a row */
    struct stn_vram_span mirror;
};

struct stn_tensors {
    struct stn_vram *vram;
    const struct stn_graph *graph;
    struct stn_tensors_tensor *list; /* by number; views and temporaries have none */
    size_t n;
    size_t lasting_size, constants_size;
};

void stn_tensors_init(struct stn_tensors *tensors, struct stn_vram *vram, const struct stn_graph *graph);
void stn_tensors_fini(struct stn_tensors *tensors);

/* Finds room for lasting tensors that are new, and uploads constants that the pass reads and that are not there yet. */
enum stn_code stn_tensors_prepare(struct stn_tensors *tensors, size_t pass, struct stn_err *err) STN_CHECKED;

/* Where a lasting tensor or constant lies; a view's part of its root. */
struct stn_vram_span stn_tensors_find(const struct stn_tensors *tensors, uint32_t tensor, bool scales);

/* Bytes of a lasting tensor, from outside. */
enum stn_code stn_tensors_write(struct stn_tensors *tensors, uint32_t tensor, size_t offset, const void *p, size_t size,
                              struct stn_err *err) STN_CHECKED;
enum stn_code stn_tensors_clear(struct stn_tensors *tensors, uint32_t tensor, struct stn_err *err) STN_CHECKED; /* zeroes */
enum stn_code stn_tensors_read(const struct stn_tensors *tensors, uint32_t tensor, size_t offset, void *p, size_t size,
                             struct stn_err *err) STN_CHECKED;

/* The copies between mirrors and tensors that a pass needs: before it all that it touches, behind it what it writes. The caller
 * frees both lists with stn_mem_free. */
enum stn_code stn_tensors_copies(const struct stn_tensors *tensors, size_t pass, struct stn_tape_copy **ret_ins, size_t *ret_n_ins,
                               struct stn_tape_copy **ret_outs, size_t *ret_n_outs, struct stn_err *err) STN_CHECKED;

#endif
