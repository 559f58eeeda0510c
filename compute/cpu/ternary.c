#include "compute/cpu/ternary.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "compute/cpu/cpuid.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/ternary_kernel.h"
#include "compute/cpu/ternary_pack.h"

enum {
    LANES = STN_TERNARY_LANES,
    UNIT = STN_TERNARY_UNIT,
    SQUARE = STN_TERNARY_SQUARE,
    BLOCK = STN_TERNARY_BLOCK,
    EXPANDED = 128, /* inputs that the exact products expand to f32 at once: 32 KiB */
    CHUNK = 16, /* tokens that are taken back from int8 at once where every block has its scale */
};
_Static_assert(STN_TERNARY_RANGE == LANES, "a range is made of whole panels");

static const struct stn_ternary_kernel *const kernels[STN_CPUID_N_SETS] = {
    [STN_CPUID_C] = &stn_ternary_c_kernel,
#ifdef __x86_64__
    [STN_CPUID_AVX2] = &stn_ternary_avx2_kernel,
    [STN_CPUID_AVX_VNNI] = &stn_ternary_avx_vnni_kernel,
    [STN_CPUID_AVX512_VNNI] = &stn_ternary_avx512_kernel,
#endif
#ifdef STN_CPUID_BUILDS_NEON_DOT
    [STN_CPUID_NEON_DOT] = &stn_ternary_neon_kernel,
    [STN_CPUID_NEON_I8MM] = &stn_ternary_neon_i8mm_kernel,
#endif
};

static const struct stn_ternary_kernel *kernel(void)
{
    return kernels[stn_cpuid_chosen()];
}

/* ---- matrices ---- */

bool stn_ternary_unites(const float *block_scales, size_t n, float *ret)
{
    float one = 0;
    for (size_t i = 0; i < n; i++) {
        float scale = block_scales[i];
        if (scale != 0 && one != 0 && scale != one) {
            return false;
        }
        one = scale != 0 ? scale : one;
    }
    *ret = one;
    return true;
}

enum stn_code stn_ternary_new(struct stn_ternary **ret, const struct stn_ternary_source *source,
                              struct stn_err *err)
{
    size_t rows = source->rows, cols = source->cols;
    if (rows == 0 || cols == 0) {
        return stn_err_set(err, STN_INVALID, "a ternary matrix of %zu x %zu is empty", rows, cols);
    }
    if (rows > STN_TERNARY_MAX || cols > STN_TERNARY_MAX) {
        return stn_err_set(err, STN_LIMIT, "a ternary matrix of %zu x %zu, at most %d each way",
                           rows, cols, STN_TERNARY_MAX);
    }
    struct stn_ternary *w = stn_mem_new(1, sizeof *w);
    if (w == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a ternary matrix");
    }
    w->rows = rows;
    w->cols = cols;
    w->n_panels = stn_ternary_pad(rows) / LANES;
    w->n_blocks = (cols + BLOCK - 1) / BLOCK;
    w->size = w->n_panels * stn_ternary_panel_size(w);
    w->panels = stn_mem_aligned(w->size, 1);
    w->block_scales = stn_mem_aligned(w->n_panels * w->n_blocks, LANES * sizeof *w->block_scales);
    enum stn_code code;
    if (w->panels == NULL || w->block_scales == NULL) {
        code =
            stn_err_set(err, STN_MEMORY, "no memory for a ternary matrix of %zu x %zu", rows, cols);
    } else {
        code = stn_ternary_pack(w, source, err);
    }
    if (code != STN_OK) {
        stn_ternary_free(w);
        return code;
    }
    *ret = w;
    return STN_OK;
}

void stn_ternary_free(struct stn_ternary *w)
{
    if (w == NULL) {
        return;
    }
    if (!w->is_borrowed) {
        stn_mem_free(w->panels);
        stn_mem_free(w->block_scales);
    }
    stn_mem_free(w);
}

void stn_ternary_measure(size_t rows, size_t cols, struct stn_ternary_parts *ret)
{
    size_t n_panels = stn_ternary_pad(rows) / LANES, n_blocks = (cols + BLOCK - 1) / BLOCK;
    ret->panels_size = n_panels * (stn_ternary_pad(cols) / 4 * UNIT);
    ret->scales_size = n_panels * n_blocks * LANES * sizeof(float);
}

void stn_ternary_apart(const struct stn_ternary *w, struct stn_ternary_parts *ret)
{
    *ret = (struct stn_ternary_parts){.panels = w->panels, .block_scales = w->block_scales, .scale = w->scale};
    stn_ternary_measure(w->rows, w->cols, ret);
    ret->scales_size = w->block_scales == NULL ? 0 : ret->scales_size;
}

enum stn_code stn_ternary_borrow(struct stn_ternary **ret, size_t rows, size_t cols, const struct stn_ternary_parts *parts,
                                 struct stn_err *err)
{
    assert(rows > 0 && cols > 0 && rows <= STN_TERNARY_MAX && cols <= STN_TERNARY_MAX);
    struct stn_ternary *w = stn_mem_new(1, sizeof *w);
    if (w == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a ternary matrix");
    }
    stn_ternary_lend(w, rows, cols, parts);
    *ret = w;
    return STN_OK;
}

void stn_ternary_lend(struct stn_ternary *w, size_t rows, size_t cols, const struct stn_ternary_parts *parts)
{
    *w = (struct stn_ternary){.rows = rows, .cols = cols, .n_panels = stn_ternary_pad(rows) / LANES,
                              .n_blocks = (cols + BLOCK - 1) / BLOCK, .size = parts->panels_size + parts->scales_size,
                              .scale = parts->scale, .panels = (uint8_t *)(uintptr_t)parts->panels,
                              .block_scales = (float *)(uintptr_t)parts->block_scales, .is_borrowed = true};
}

enum stn_code stn_ternary_hollow(struct stn_ternary **ret, size_t rows, size_t cols, struct stn_err *err)
{
    return stn_ternary_borrow(ret, rows, cols, &(struct stn_ternary_parts){0}, err);
}

bool stn_ternary_is_hollow(const struct stn_ternary *w)
{
    return w->panels == NULL;
}

/* For whole pages inside the panels. A hint that is refused changes nothing. */
static void advise(const struct stn_ternary *w, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)w->panels;
    uintptr_t end = (from + w->n_panels * stn_ternary_panel_size(w)) / page * page;
    from = (from + page - 1) / page * page;
    if (w->is_borrowed && w->panels != NULL && from < end) {
        (void)madvise((void *)from, end - from, advice);
    }
}

void stn_ternary_drop(const struct stn_ternary *w)
{
    advise(w, MADV_DONTNEED);
}

void stn_ternary_page(const struct stn_ternary *w, const struct stn_ternary_source *source, bool soon)
{
    if (!stn_ternary_is_hollow(w)) {
        advise(w, soon ? MADV_WILLNEED : MADV_DONTNEED);
    } else if (source->page != NULL) {
        source->page(source->user, soon);
    }
}

size_t stn_ternary_rows(const struct stn_ternary *w)
{
    return w->rows;
}

size_t stn_ternary_cols(const struct stn_ternary *w)
{
    return w->cols;
}

size_t stn_ternary_size(const struct stn_ternary *w)
{
    return w->size + sizeof *w;
}

/* ---- quantisation ---- */

size_t stn_ternary_stride(size_t cols)
{
    return stn_ternary_pad(cols);
}

void stn_ternary_quantise(const float *x, size_t n, size_t cols, int8_t *q, float *scale)
{
    size_t stride = stn_ternary_pad(cols);
    for (size_t t = 0; t < n; t++) {
        scale[t] = kernel()->quantise(x + t * cols, cols, q + t * stride);
        memset(q + t * stride + cols, 0, stride - cols);
    }
}

void stn_ternary_quantise_random(const float *dy, size_t n, size_t rows, uint64_t seed,
                                 uint64_t first_row, int8_t *q, float *scale)
{
    size_t stride = stn_ternary_pad(rows);
    for (size_t t = 0; t < n; t++) {
        uint64_t key = stn_rng_mix(stn_rng_mix(seed) + first_row + t);
        scale[t] = kernel()->quantise_random(dy + t * rows, rows, key, q + t * stride);
        memset(q + t * stride + rows, 0, stride - rows);
    }
}

/* ---- products ---- */

/* The caller's scratch, cut up: a transposed panel, sums of q, expanded weights, a chunk of inputs
 * in f32. */
struct scratch {
    uint8_t *panel;
    int32_t *sums;
    float *expanded;
    float *chunk;
};

static size_t cut(const struct stn_ternary *w, size_t n, void *memory, struct scratch *scratch)
{
    char *at = memory;
    size_t n_sums = n * (w->block_scales == NULL && w->panels != NULL ? 1 : w->n_blocks);
    size_t sizes[] = {w->n_panels * SQUARE, n_sums * sizeof(int32_t),
                      (size_t)EXPANDED * LANES * sizeof(float),
                      (size_t)CHUNK * EXPANDED * sizeof(float)};
    size_t offsets[5] = {0};
    for (size_t i = 0; i < 4; i++) {
        offsets[i + 1] = offsets[i] + (sizes[i] + 63) / 64 * 64;
    }
    if (scratch != NULL) {
        *scratch = (struct scratch){.panel = (uint8_t *)(at + offsets[0]),
                                    .sums = (int32_t *)(void *)(at + offsets[1]),
                                    .expanded = (float *)(void *)(at + offsets[2]),
                                    .chunk = (float *)(void *)(at + offsets[3])};
    }
    return offsets[4];
}

size_t stn_ternary_scratch(const struct stn_ternary *w, size_t n)
{
    return cut(w, n, NULL, NULL);
}

static size_t lanes_from(size_t at, size_t end)
{
    return end - at < LANES ? end - at : LANES;
}

/* scratch->panel = the 64 columns from col on of all rows, as a panel of its own */
static void transpose(const struct stn_ternary *w, size_t col, struct scratch *scratch)
{
    const uint8_t *from = w->panels + col / 4 * UNIT;
    for (size_t p = 0; p < w->n_panels; p++) {
        kernel()->transpose(from + p * stn_ternary_panel_size(w), scratch->panel + p * SQUARE);
    }
}

void stn_ternary_forward(const struct stn_ternary *w, const int8_t *q, const float *scale, size_t n,
                         float *y, size_t ldy, size_t first, size_t count, void *memory)
{
    assert(first % STN_TERNARY_RANGE == 0 && first + count <= w->rows);
    struct scratch scratch;
    (void)cut(w, n, memory, &scratch);
    size_t n_inputs = stn_ternary_pad(w->cols);
    bool one = w->block_scales == NULL;
    kernel()->sums(q, n, n_inputs, one ? n_inputs : BLOCK, scratch.sums);
    for (size_t row = first; row < first + count; row += LANES) {
        size_t p = row / LANES;
        kernel()->product(&(struct stn_ternary_product){
            .panel = w->panels + p * stn_ternary_panel_size(w),
            .n_inputs = n_inputs,
            .q = q,
            .scale = scale,
            .sums = scratch.sums,
            .n = n,
            .w_scale = w->scale,
            .block_scales = one ? NULL : w->block_scales + p * w->n_blocks * LANES,
            .y = y + row,
            .ldy = ldy,
            .count = lanes_from(row, first + count)});
    }
}

/* What an exact product reads: f32 rows, or int8 rows that are taken back to f32 in chunks. */
struct inputs {
    const float *x;
    const int8_t *q;
    const float *scale;
    size_t stride;
};

/* y[t][o] (+)= sum_k expanded[k][o] inputs[t][i + k]      k < n_k; (+)= from the second piece of a
 * sum on */
static void exact_piece(const struct inputs *in, size_t i, size_t n_k,
                        const struct scratch *scratch, size_t n, float *y, size_t ldy, size_t count,
                        bool add)
{
    if (in->x != NULL) {
        stn_gemm_nn(n, count, n_k, 1, in->x + i, in->stride, scratch->expanded, LANES, add ? 1 : 0,
                    y, ldy);
        return;
    }
    for (size_t t0 = 0; t0 < n; t0 += CHUNK) {
        size_t n_t = n - t0 < CHUNK ? n - t0 : CHUNK;
        for (size_t t = 0; t < n_t; t++) {
            const int8_t *q = in->q + (t0 + t) * in->stride + i;
            for (size_t k = 0; k < n_k; k++) {
                scratch->chunk[t * EXPANDED + k] = (float)q[k] * in->scale[t0 + t];
            }
        }
        stn_gemm_nn(n_t, count, n_k, 1, scratch->chunk, EXPANDED, scratch->expanded, LANES,
                    add ? 1 : 0, y + t0 * ldy, ldy);
    }
}

/* expanded[k][o] *= the scale of row r and the block of column c, (r, c) = (row + o, col) or,
 * transposed, (row + k, col) */
static void scale_expanded(const struct stn_ternary *w, size_t row, size_t col, size_t n_k,
                           bool transposed, float *expanded)
{
    for (size_t k = 0; k < n_k; k++) {
        for (size_t o = 0; o < LANES; o++) {
            float scale = w->scale;
            if (w->block_scales != NULL) {
                size_t r = transposed ? row + k : row + o;
                scale =
                    w->block_scales[(r / LANES * w->n_blocks + col / BLOCK) * LANES + r % LANES];
            }
            expanded[k * LANES + o] *= scale;
        }
    }
}

void stn_ternary_forward_exact(const struct stn_ternary *w, const float *x, size_t n, float *y,
                               size_t ldy, size_t first, size_t count, void *memory)
{
    assert(first % STN_TERNARY_RANGE == 0 && first + count <= w->rows);
    struct scratch scratch;
    (void)cut(w, n, memory, &scratch);
    struct inputs in = {.x = x, .stride = w->cols};
    for (size_t row = first; row < first + count; row += LANES) {
        const uint8_t *panel = w->panels + row / LANES * stn_ternary_panel_size(w);
        for (size_t i = 0; i < w->cols; i += EXPANDED) {
            size_t n_k = w->cols - i < EXPANDED ? w->cols - i : EXPANDED;
            kernel()->expand(panel + i / 4 * UNIT, (n_k + 3) / 4, scratch.expanded);
            scale_expanded(w, row, i, n_k, false, scratch.expanded);
            exact_piece(&in, i, n_k, &scratch, n, y + row, ldy, lanes_from(row, first + count),
                        i > 0);
        }
    }
}

static void backward_f32(const struct stn_ternary *w, const struct inputs *in, size_t n, float *dx,
                         size_t lddx, size_t first, size_t count, struct scratch *scratch)
{
    for (size_t col = first; col < first + count; col += LANES) {
        transpose(w, col, scratch);
        for (size_t i = 0; i < w->rows; i += EXPANDED) {
            size_t n_k = w->rows - i < EXPANDED ? w->rows - i : EXPANDED;
            kernel()->expand(scratch->panel + i / 4 * UNIT, (n_k + 3) / 4, scratch->expanded);
            scale_expanded(w, i, col, n_k, true, scratch->expanded);
            exact_piece(in, i, n_k, scratch, n, dx + col, lddx, lanes_from(col, first + count),
                        true);
        }
    }
}

void stn_ternary_backward(const struct stn_ternary *w, const float *dy, size_t n, float *dx,
                          size_t lddx, size_t first, size_t count, void *memory)
{
    assert(first % STN_TERNARY_RANGE == 0 && first + count <= w->cols);
    struct scratch scratch;
    (void)cut(w, n, memory, &scratch);
    struct inputs in = {.x = dy, .stride = w->rows};
    backward_f32(w, &in, n, dx, lddx, first, count, &scratch);
}

void stn_ternary_backward_int8(const struct stn_ternary *w, const int8_t *q, const float *scale,
                               size_t n, float *dx, size_t lddx, size_t first, size_t count,
                               void *memory)
{
    assert(first % STN_TERNARY_RANGE == 0 && first + count <= w->cols);
    struct scratch scratch;
    (void)cut(w, n, memory, &scratch);
    size_t n_inputs = stn_ternary_pad(w->rows);
    if (w->block_scales != NULL) { /* the scales vary along the sum: no integer can hold it */
        struct inputs in = {.q = q, .scale = scale, .stride = n_inputs};
        backward_f32(w, &in, n, dx, lddx, first, count, &scratch);
        return;
    }
    kernel()->sums(q, n, n_inputs, n_inputs, scratch.sums);
    for (size_t col = first; col < first + count; col += LANES) {
        transpose(w, col, &scratch);
        kernel()->product(&(struct stn_ternary_product){.panel = scratch.panel,
                                                        .n_inputs = n_inputs,
                                                        .q = q,
                                                        .scale = scale,
                                                        .sums = scratch.sums,
                                                        .n = n,
                                                        .w_scale = w->scale,
                                                        .y = dx + col,
                                                        .ldy = lddx,
                                                        .count = lanes_from(col, first + count),
                                                        .add = true});
    }
}

/* ---- the kernel in use ---- */

const char *stn_ternary_kernel(void)
{
    return stn_cpuid_name(stn_cpuid_chosen());
}

enum stn_code stn_ternary_use(const char *name, struct stn_err *err)
{
    for (int set = 0; set < STN_CPUID_N_SETS; set++) {
        if (strcmp(name, stn_cpuid_name((enum stn_cpuid_set)set)) == 0 &&
            stn_cpuid_runs((enum stn_cpuid_set)set)) {
            stn_cpuid_choose((enum stn_cpuid_set)set);
            return STN_OK;
        }
    }
    return stn_err_set(err, STN_UNSUPPORTED, "this processor runs no kernels called %.40s", name);
}

size_t stn_ternary_kernels(const char *names[static 8])
{
    size_t n = 0;
    for (int set = STN_CPUID_N_SETS - 1; set >= 0; set--) {
        if (stn_cpuid_runs((enum stn_cpuid_set)set)) {
            names[n++] = stn_cpuid_name((enum stn_cpuid_set)set);
        }
    }
    return n;
}
