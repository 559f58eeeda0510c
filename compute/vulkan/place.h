/* place: where a graph's lasting tensors and constants lie on the device. Constants are uploaded when a pass first reads them,
 * ternary weights as 2-bit codes, 16 to a word. Small lasting tensors that go in and out with every step have a mirror that both
 * sides see where memory is not unified: a run copies it in and out as part of its submission. Thread: that of the device. */
#ifndef STN_COMPUTE_VULKAN_PLACE_H
#define STN_COMPUTE_VULKAN_PLACE_H

#include "compute/graph.h"
#include "compute/vulkan/arena.h"
#include "compute/vulkan/record.h"

#define STN_PLACE_SMALL ((size_t)256 << 10) /* bytes of a tensor that has a mirror */

struct stn_place_tensor {
    struct stn_arena_span span;
    struct stn_arena_span scales; /* of a ternary constant: one, or one for each 256 columns of a row */
    struct stn_arena_span mirror;
};

struct stn_place {
    struct stn_arena *arena;
    const struct stn_graph *graph;
    struct stn_place_tensor *tensors; /* by number; views and temporaries have none */
    size_t n;
    size_t lasting_size, constants_size;
};

void stn_place_init(struct stn_place *place, struct stn_arena *arena, const struct stn_graph *graph);
void stn_place_fini(struct stn_place *place);

/* Finds room for lasting tensors that are new, and uploads constants that the pass reads and that are not there yet. */
enum stn_code stn_place_prepare(struct stn_place *place, size_t pass, struct stn_err *err) STN_CHECKED;

/* Where a lasting tensor or constant lies; a view's part of its root. */
struct stn_arena_span stn_place_find(const struct stn_place *place, uint32_t tensor, bool scales);

/* Bytes of a lasting tensor, from outside. */
enum stn_code stn_place_write(struct stn_place *place, uint32_t tensor, size_t offset, const void *p, size_t size,
                              struct stn_err *err) STN_CHECKED;
enum stn_code stn_place_read(const struct stn_place *place, uint32_t tensor, size_t offset, void *p, size_t size,
                             struct stn_err *err) STN_CHECKED;

/* The copies between mirrors and tensors that a pass needs: before it all that it touches, behind it what it writes. The caller
 * frees both lists with stn_mem_free. */
enum stn_code stn_place_copies(const struct stn_place *place, size_t pass, struct stn_record_copy **ret_ins, size_t *ret_n_ins,
                               struct stn_record_copy **ret_outs, size_t *ret_n_outs, struct stn_err *err) STN_CHECKED;

#endif
