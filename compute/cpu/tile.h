/* tile: the two small products that attention is made of, up to four queries against one tile of keys, in lanes. Each output
 * is one sum in one order, whatever stands beside it. */
#ifndef STN_COMPUTE_CPU_TILE_H
#define STN_COMPUTE_CPU_TILE_H

#include <stddef.h>
#include <string.h>

#include "compute/cpu/lanes.h"

#define STN_TILE_KEYS (2 * STN_LANES) /* keys in a tile */
#define STN_TILE_QUERIES 4            /* rows at a time */

typedef float stn_tile_four __attribute__((vector_size(16), aligned(4), may_alias));

/* t[c][j] = k[j][c]      4 x 4 */
STN_LANES_INLINE void stn_tile_turn_four(const float *restrict k, size_t ld, float *restrict t)
{
    stn_tile_four r[4], low[2], high[2];
    for (size_t j = 0; j < 4; j++) {
        r[j] = *(const stn_tile_four *)(k + j * ld);
    }
    for (size_t j = 0; j < 2; j++) {
        low[j] = __builtin_shufflevector(r[2 * j], r[2 * j + 1], 0, 4, 1, 5);
        high[j] = __builtin_shufflevector(r[2 * j], r[2 * j + 1], 2, 6, 3, 7);
    }
    *(stn_tile_four *)t = __builtin_shufflevector(low[0], low[1], 0, 1, 4, 5);
    *(stn_tile_four *)(t + STN_TILE_KEYS) = __builtin_shufflevector(low[0], low[1], 2, 3, 6, 7);
    *(stn_tile_four *)(t + 2 * STN_TILE_KEYS) = __builtin_shufflevector(high[0], high[1], 0, 1, 4, 5);
    *(stn_tile_four *)(t + 3 * STN_TILE_KEYS) = __builtin_shufflevector(high[0], high[1], 2, 3, 6, 7);
}

/* t[c][j] = k[j][c]      k: (n, d) with row stride ld, n at most STN_TILE_KEYS; columns behind n are zero */
STN_LANES_INLINE void stn_tile_transpose(const float *restrict k, size_t ld, size_t n, size_t d, float *restrict t)
{
    size_t j4 = n / 4 * 4, c4 = d / 4 * 4;
    for (size_t j = 0; j < j4; j += 4) {
        for (size_t c = 0; c < c4; c += 4) {
            stn_tile_turn_four(k + j * ld + c, ld, t + c * STN_TILE_KEYS + j);
        }
    }
    for (size_t c = 0; c < d; c++) {
        float *row = t + c * STN_TILE_KEYS;
        for (size_t j = c < c4 ? j4 : 0; j < n; j++) {
            row[j] = k[j * ld + c];
        }
        for (size_t j = n; j < STN_TILE_KEYS; j++) {
            row[j] = 0.0f;
        }
    }
}

/* s[r][j] = scale sum_c q[r][c] t[c][j] for r < n_rows */
STN_LANES_INLINE void stn_tile_scores(const float *const q[STN_TILE_QUERIES], const float *restrict t, size_t d, float scale,
                                      float s[STN_TILE_QUERIES][STN_TILE_KEYS], const size_t n_rows)
{
    stn_lanes a[STN_TILE_QUERIES][2] = {0};
    for (size_t c = 0; c < d; c++) {
        const float *row = t + c * STN_TILE_KEYS;
        stn_lanes k0 = STN_LANES_IN(row), k1 = STN_LANES_IN(row + STN_LANES);
        for (size_t r = 0; r < n_rows; r++) {
            a[r][0] += q[r][c] * k0;
            a[r][1] += q[r][c] * k1;
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        STN_LANES_AT(s[r]) = a[r][0] * scale;
        STN_LANES_AT(s[r] + STN_LANES) = a[r][1] * scale;
    }
}

/* o[r][c] += sum_j p[r][j] v[j][c] for j < n, r < n_rows, and c in N_VECS vectors */
STN_LANES_INLINE void stn_tile_value_lanes(float p[STN_TILE_QUERIES][STN_TILE_KEYS], const float *restrict v, size_t ld, size_t n,
                                           size_t c, float *const o[STN_TILE_QUERIES], size_t n_used, const size_t n_rows,
                                           const size_t n_vecs)
{
    stn_lanes a[STN_TILE_QUERIES][STN_TILE_QUERIES] = {0};
    for (size_t j = 0; j < n; j++) {
        for (size_t i = 0; i < n_vecs; i++) {
            stn_lanes x = STN_LANES_IN(v + j * ld + c + i * STN_LANES);
            for (size_t r = 0; r < n_rows; r++) {
                a[r][i] += p[r][j] * x;
            }
        }
    }
    for (size_t r = 0; r < n_used; r++) {
        for (size_t i = 0; i < n_vecs; i++) {
            STN_LANES_AT(o[r] + c + i * STN_LANES) += a[r][i];
        }
    }
}

/* o[r][c] += sum_j p[r][j] v[j][c] for j < n, r < n_used, of n_rows      v: (n, d) with row stride ld. Sums are in the order
 * of j, whichever rows and columns stand side by side: one row takes four vectors at once, so that it does not wait for itself. */
STN_LANES_INLINE void stn_tile_values(float p[STN_TILE_QUERIES][STN_TILE_KEYS], const float *restrict v, size_t ld, size_t n,
                                      size_t d, float *const o[STN_TILE_QUERIES], size_t n_used, const size_t n_rows)
{
    size_t c = 0;
    for (; n_rows == 1 && c + 4 * STN_LANES <= d; c += 4 * STN_LANES) {
        stn_tile_value_lanes(p, v, ld, n, c, o, n_used, n_rows, 4);
    }
    for (; c + STN_LANES <= d; c += STN_LANES) {
        stn_tile_value_lanes(p, v, ld, n, c, o, n_used, n_rows, 1);
    }
    for (; c < d; c++) {
        for (size_t r = 0; r < n_used; r++) {
            float a = 0.0f;
            for (size_t j = 0; j < n; j++) {
                a += p[r][j] * v[j * ld + c];
            }
            o[r][c] += a;
        }
    }
}

/* g[j][c] += sum_r p[r][j] x[r][c] for j < n      g: (n, d) with row stride ld */
STN_LANES_INLINE void stn_tile_spread(float p[STN_TILE_QUERIES][STN_TILE_KEYS], const float *const x[STN_TILE_QUERIES],
                                      float *restrict g, size_t ld, size_t n, size_t d)
{
    size_t c = 0;
    for (; c + STN_LANES <= d; c += STN_LANES) {
        stn_lanes x0 = STN_LANES_IN(x[0] + c), x1 = STN_LANES_IN(x[1] + c);
        stn_lanes x2 = STN_LANES_IN(x[2] + c), x3 = STN_LANES_IN(x[3] + c);
        for (size_t j = 0; j < n; j++) {
            stn_lanes a = p[0][j] * x0 + p[1][j] * x1;
            a += p[2][j] * x2;
            a += p[3][j] * x3;
            STN_LANES_AT(g + j * ld + c) += a;
        }
    }
    for (; c < d; c++) {
        for (size_t j = 0; j < n; j++) {
            float a = p[0][j] * x[0][c] + p[1][j] * x[1][c];
            a += p[2][j] * x[2][c];
            a += p[3][j] * x[3][c];
            g[j * ld + c] += a;
        }
    }
}

#endif
