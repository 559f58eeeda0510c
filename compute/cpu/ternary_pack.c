#include "compute/cpu/ternary_pack.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { LANES = STN_TERNARY_LANES, UNIT = STN_TERNARY_UNIT, BLOCK = STN_TERNARY_BLOCK };

/* Puts one row into its panel, four weights at a time. A block without weights or with scale 0 has
 * neither. False when a value is not ternary. */
static bool pack_row(struct stn_ternary *w, size_t row, const int8_t *values, const float *scales)
{
    uint8_t *at = w->panels + row / LANES * stn_ternary_panel_size(w) + row % 16 * 4;
    float *row_scales = w->block_scales + row / LANES * w->n_blocks * LANES + row % LANES;
    unsigned shift = 2 * (unsigned)(row % LANES / 16);
    for (size_t b = 0; b < w->n_blocks; b++) {
        size_t end = (b + 1) * BLOCK < w->cols ? (b + 1) * BLOCK : w->cols;
        uint32_t any = 0, bad = 0;
        for (size_t c = b * BLOCK; c < end; c += 4, at += UNIT) {
            uint32_t four = 0, stored;
            memcpy(&four, values + c, end - c < 4 ? end - c : 4);
            uint32_t codes =
                ((four & 0x7f7f7f7f) + 0x01010101) ^ (four & 0x80808080); /* each byte + 1 */
            uint32_t change = codes ^ 0x01010101;
            bad |= (codes & 0xfcfcfcfc) | (codes & codes >> 1 & 0x01010101);
            any |= change;
            memcpy(&stored, at, sizeof stored);
            stored ^= scales[b] != 0 ? change << shift : 0; /* all were weight 0 */
            memcpy(at, &stored, sizeof stored);
        }
        if (bad != 0) {
            return false;
        }
        row_scales[b * LANES] = any != 0 ? scales[b] : 0;
    }
    return true;
}

/* Equal non-zero scales become the tensor's one scale. */
static void unite_scales(struct stn_ternary *w)
{
    size_t n = w->n_panels * w->n_blocks * LANES;
    if (!stn_ternary_unites(w->block_scales, n, &w->scale)) {
        w->size += n * sizeof *w->block_scales;
        return;
    }
    stn_mem_free(w->block_scales);
    w->block_scales = NULL;
}

enum stn_code stn_ternary_pack(struct stn_ternary *w, const struct stn_ternary_source *source, struct stn_err *err)
{
    enum stn_code code = STN_OK;
    int8_t *values = stn_mem_new(w->cols, sizeof *values);
    float *scales = stn_mem_new(w->n_blocks, sizeof *scales);
    if (values == NULL || scales == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a row of %zu weights", w->cols);
        goto out;
    }
    memset(w->panels, 0x55, w->size); /* weight 0 everywhere, padding too */
    for (size_t row = 0; row < w->rows; row++) {
        source->row(source->user, row, values, scales);
        if (!pack_row(w, row, values, scales)) {
            code =
                stn_err_set(err, STN_INVALID,
                            "row %zu of %zu holds a weight other than -1, 0 and 1", row, w->rows);
            goto out;
        }
    }
    unite_scales(w);
out:
    stn_mem_free(values);
    stn_mem_free(scales);
    return code;
}

void stn_ternary_pack_panels(const struct stn_ternary_source *source, uint8_t *panels, float *block_scales, size_t first,
                             size_t count, int8_t *values, float *scales)
{
    struct stn_ternary w = {.rows = source->rows, .cols = source->cols, .n_blocks = (source->cols + BLOCK - 1) / BLOCK,
                            .block_scales = block_scales, .panels = panels};
    size_t size = stn_ternary_panel_size(&w), n_scales = w.n_blocks * LANES, end = (first + count) * LANES;
    memset(panels + first * size, 0x55, count * size); /* weight 0 */
    memset(block_scales + first * n_scales, 0, count * n_scales * sizeof *block_scales);
    for (size_t row = first * LANES; row < end && row < source->rows; row++) {
        source->row(source->user, row, values, scales);
        for (size_t c = 0; c < source->cols; c++) {
            values[c] = values[c] < -1 || values[c] > 1 ? 0 : values[c];
        }
        bool is_ternary = pack_row(&w, row, values, scales);
        assert(is_ternary);
        (void)is_ternary;
    }
}
