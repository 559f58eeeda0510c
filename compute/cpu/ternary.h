/* ternary: matrix products with a frozen ternary weight matrix, the work that everything else waits for.
 *
 * W is (rows, cols) = (out, in), entries in {-1, 0, 1} times a scale: one for the tensor (the usual case) or one
 * for each block of 256 along a row. Weights are packed once, 2 bits each, into panels (ternary_kernel.h) that every
 * kernel eats as they lie; the backward product transposes a panel in scratch. Kernels are rows of a table, the best
 * that the processor runs is chosen once at start (cpuid.h; environment STERNA_CPU_KERNEL names another); plain C is
 * always there and is the definition. The int8 products and both quantisers give the same bits on every kernel.
 *
 * Row ranges let a thread team share one product: no two ranges write one element, so results do not depend on
 * the number of threads. Thread: packed matrices are immutable and shared; the rest is the caller's. */
#ifndef STN_COMPUTE_CPU_TERNARY_H
#define STN_COMPUTE_CPU_TERNARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct stn_ternary; /* one packed matrix */

struct stn_ternary_source {
    size_t rows, cols; /* any sizes; cols need not be a multiple of 256 */
    /* Unpacks one row: cols values in {-1, 0, 1}, and one scale for each 256 of them (the last block may be short). */
    void (*row)(const void *user, size_t row, int8_t *values, float *scales);
    const void *user;
    /* A hint to the pager: its rows will be read soon, or no more for now. May be NULL. */
    void (*page)(const void *user, bool soon);
};

/* The caller frees *ret. STN_MEMORY; STN_INVALID for an empty matrix or a value that is not ternary; STN_LIMIT for a
 * side above STN_TERNARY_MAX, up to which no sum leaves 32 bits. */
#define STN_TERNARY_MAX 262144
enum stn_code stn_ternary_new(struct stn_ternary **ret, const struct stn_ternary_source *source,
                              struct stn_err *err) STN_CHECKED;
void stn_ternary_free(struct stn_ternary *w);

/* A packed matrix apart: what a file must keep of it so that it can be used where it lies. The layout is the same for all
 * kernels; STN_TERNARY_LAYOUT changes with it. */
#define STN_TERNARY_LAYOUT 1
struct stn_ternary_parts {
    const uint8_t *panels;     /* panels_size bytes, aligned to 64 */
    const float *block_scales; /* scales_size bytes, or NULL and one scale for all */
    float scale;
    size_t panels_size, scales_size;
};
void stn_ternary_apart(const struct stn_ternary *w, struct stn_ternary_parts *ret);
/* How large the parts of a matrix are: fills the sizes, scales_size as if every block had its scale. */
void stn_ternary_measure(size_t rows, size_t cols, struct stn_ternary_parts *ret);
/* A matrix whose parts are borrowed, read only, until it is freed. Their sizes must be measure's. */
enum stn_code stn_ternary_borrow(struct stn_ternary **ret, size_t rows, size_t cols, const struct stn_ternary_parts *parts,
                                 struct stn_err *err) STN_CHECKED;
/* The same into a borrowed one that is there, instead of what it had. */
void stn_ternary_lend(struct stn_ternary *w, size_t rows, size_t cols, const struct stn_ternary_parts *parts);
/* A matrix of that size without weights, for where they are packed anew for each use: its sizes may be asked for, and no more. */
enum stn_code stn_ternary_hollow(struct stn_ternary **ret, size_t rows, size_t cols, struct stn_err *err) STN_CHECKED;
bool stn_ternary_is_hollow(const struct stn_ternary *w);
/* Packs panels [first, first + count), 64 rows each, into parts that measure has sized; values (cols) and scales are scratch. A
 * value that is not ternary becomes 0. */
void stn_ternary_pack_panels(const struct stn_ternary_source *source, uint8_t *panels, float *block_scales, size_t first,
                             size_t count, int8_t *values, float *scales);
/* Whether all scales that are not 0 are one, which then is the matrix's. */
bool stn_ternary_unites(const float *block_scales, size_t n, float *ret);
/* Hints to the pager for a borrowed matrix that lies in a mapped file, or for what a hollow one is packed from: soon, or no more
 * for now. */
void stn_ternary_page(const struct stn_ternary *w, const struct stn_ternary_source *source, bool soon);
void stn_ternary_drop(const struct stn_ternary *w); /* no more for now, of a borrowed one alone */
size_t stn_ternary_rows(const struct stn_ternary *w);
size_t stn_ternary_cols(const struct stn_ternary *w);
size_t stn_ternary_size(const struct stn_ternary *w); /* bytes in memory */

/* An activation matrix quantised per row for forward: row stride is stn_ternary_stride(cols) bytes, tail zeroed.
 *   max = max(absmax_c |x[t][c]|, 1e-5);  scale[t] = max / 127;  q[t][c] = round half to even(x[t][c] * (127 / max))
 * with the product in double, so that near a tie the two floats decide and no rounding of ours.
 * x: (n, cols)   (BitNet b1.58, Ma et al. 2024). Always |q| <= 127, whatever x holds. */
size_t stn_ternary_stride(size_t cols);
void stn_ternary_quantise(const float *x, size_t n, size_t cols, int8_t *q, float *scale);

/* As above with stochastic rounding for gradients: q = floor(dy * (127 / max) + u), u in [0, 1) from a counter-based
 * generator keyed by (seed, first_row + t, c), so that threads and batches do not change it. */
void stn_ternary_quantise_random(const float *dy, size_t n, size_t rows, uint64_t seed, uint64_t first_row,
                                 int8_t *q, float *scale);

/* y[t][r] = sum_c W[r][c] q[t][c] * scale[t]     for r in [first, first + count)      y: (n, rows), row stride ldy floats
 * scratch: stn_ternary_scratch(w, n) bytes of the caller, one for each thread. first is a multiple of STN_TERNARY_RANGE. */
#define STN_TERNARY_RANGE 64
size_t stn_ternary_scratch(const struct stn_ternary *w, size_t n);
void stn_ternary_forward(const struct stn_ternary *w, const int8_t *q, const float *scale, size_t n, float *y,
                         size_t ldy, size_t first, size_t count, void *scratch);

/* dx[t][c] += sum_r W[r][c] dy[t][r]     for c in [first, first + count), exact in f32.   dy: (n, rows), dx: (n, cols) */
void stn_ternary_backward(const struct stn_ternary *w, const float *dy, size_t n, float *dx, size_t lddx,
                          size_t first, size_t count, void *scratch);

/* The same from dy quantised by stn_ternary_quantise_random (row stride stn_ternary_stride(rows)). */
void stn_ternary_backward_int8(const struct stn_ternary *w, const int8_t *q, const float *scale, size_t n,
                               float *dx, size_t lddx, size_t first, size_t count, void *scratch);

/* Without quantisation: y[t][r] = sum_c W[r][c] x[t][c] in f32, to check gradients. */
void stn_ternary_forward_exact(const struct stn_ternary *w, const float *x, size_t n, float *y, size_t ldy,
                               size_t first, size_t count, void *scratch);

/* "avx512-vnni", "avx-vnni", "avx2", "neon-i8mm", "neon-dot", "c": the kernel in use; and how many the processor runs, with their names, the best first. */
const char *stn_ternary_kernel(void);
/* STN_UNSUPPORTED when there is none of this name that the processor runs. Packed matrices stay valid. The dense
 * products (gemm.h) change too. For tests and the bench: nobody may be computing. */
enum stn_code stn_ternary_use(const char *name, struct stn_err *err) STN_CHECKED;
size_t stn_ternary_kernels(const char *names[static 8]);

#endif
