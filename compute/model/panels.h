/* panels: a model's packed weights in a file of their own, made once and mapped by every process that runs the model: no
 * private copy, and pages that may go whenever memory is wanted. The file is named by what the model's file is (place,
 * size, time and first megabyte) and by the layout; it appears whole or not at all. Where there is no room for it or it
 * cannot be written, nothing is lost but that. Thread: any number may read. */
#ifndef STN_MODEL_PANELS_H
#define STN_MODEL_PANELS_H

#include <stddef.h>

#include "base/err.h"
#include "compute/cpu/ternary.h"
#include "compute/model/gguf.h"

#define STN_PANELS_LEAST ((size_t)16 << 20)  /* bytes of weights below which a file of them is not worth it */
#define STN_PANELS_MARGIN ((uint64_t)64 << 20) /* bytes that stay free on the disk */
#define STN_PANELS_KEPT 4                    /* files in the folder; the ones that were longest unused go */

struct stn_panels;

/* Whose weights, and where they are kept. */
struct stn_panels_place {
    const char *folder;
    const struct stn_gguf *gguf;
    unsigned variant; /* of what can be made from one file: another number is another file */
};

/* One matrix, in the model's order. */
struct stn_panels_matrix {
    size_t rows, cols;
};

/* The mapped file of a place. STN_NOT_FOUND when there is none that fits. The caller closes *ret, after
 * every matrix that was taken from it. */
enum stn_code stn_panels_open(struct stn_panels **ret, const struct stn_panels_place *place,
                              const struct stn_panels_matrix *matrices, size_t n_matrices, struct stn_err *err) STN_CHECKED;
void stn_panels_close(struct stn_panels *panels);

/* The i-th matrix, its parts in the file. The caller frees *ret. */
enum stn_code stn_panels_take(const struct stn_panels *panels, size_t i, struct stn_ternary **ret,
                              struct stn_err *err) STN_CHECKED;

/* Makes the file; pack gives each matrix in turn, which is freed when it is written. Old files go first. STN_FULL when
 * there is no room; what pack says ends it. */
enum stn_code stn_panels_make(const struct stn_panels_place *place, const struct stn_panels_matrix *matrices,
                              size_t n_matrices,
                              enum stn_code (*pack)(void *context, size_t i, struct stn_ternary **ret, struct stn_err *err),
                              void *context, struct stn_err *err) STN_CHECKED;

#endif
