/* ternary_pack: the inside of a packed matrix, and how weights come into it. For ternary.c. Thread: that of the matrix's maker. */
#ifndef STN_COMPUTE_CPU_TERNARY_PACK_H
#define STN_COMPUTE_CPU_TERNARY_PACK_H

#include "compute/cpu/ternary.h"
#include "compute/cpu/ternary_kernel.h"

struct stn_ternary {
    size_t rows, cols;
    size_t n_panels;     /* of 64 rows */
    size_t n_blocks;     /* of 256 columns */
    size_t size;         /* of panels and block_scales */
    float scale;         /* of the tensor, where block_scales is NULL */
    float *block_scales; /* (n_panels, n_blocks, 64) */
    uint8_t *panels;     /* (n_panels, stride / 4, 64) */
    bool is_borrowed;    /* both lie elsewhere, and are never written */
};

/* n, in whole lanes. */
static inline size_t stn_ternary_pad(size_t n)
{
    return (n + STN_TERNARY_LANES - 1) / STN_TERNARY_LANES * STN_TERNARY_LANES;
}

/* Bytes of one panel. */
static inline size_t stn_ternary_panel_size(const struct stn_ternary *w)
{
    return stn_ternary_pad(w->cols) / 4 * STN_TERNARY_UNIT;
}

/* All of a source's rows, into panels and scales that have room for them; equal scales become one. STN_INVALID for a weight that is
 * none. */
enum stn_code stn_ternary_pack(struct stn_ternary *w, const struct stn_ternary_source *source, struct stn_err *err) STN_CHECKED;

#endif
