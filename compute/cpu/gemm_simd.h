/* gemm_simd: the two loops of gemm_kernel.h over vectors. The file that includes it has named its vectors before:
 *   vec, VEC, lanes        a vector, its floats, and which of them take part (lanes_of(n): the first n)
 *   TARGET                 the attribute that allows the instructions
 *   load, load_half        floats, or IEEE halves, those that take part; the rest are 0
 *   store, set, fused (a b + c), mul, add, zero
 *   SUMS, put_sums         c[0..n) = beta c + alpha (the sum of each of n <= SUMS vectors), one tree for any n
 *   turn_four(b, ldb, to, ldto)   to[k][j] = b[j][k], four by four
 *   WIDE                   vectors side by side in the widest tile of the broadcast loop
 *   BROADCAST_TILES(X)     X(rows, vectors) of its tiles, DOT_TILES(X): X(rows of a, rows of b): the most rows first
 * A tile's accumulators stay in registers; which tile an element falls into does not change its sum. */
#ifndef STN_COMPUTE_CPU_GEMM_SIMD_H
#define STN_COMPUTE_CPU_GEMM_SIMD_H

#include <stdbool.h>

#include "compute/cpu/cpuid.h"
#include "compute/cpu/gemm_kernel.h"

#define INLINE TARGET static inline __attribute__((always_inline))
enum {
    MOST_ROWS = 12,     /* of a tile */
    BROADCAST_K = 256,  /* terms that the broadcast loop sums in registers before they go to c */
    TRANSPOSED_K = 64,  /* below it, dot turns b round and takes the broadcast loop: little would be left to sum up */
    FAR = 1 << 20,      /* so many elements of b do not stay in a cache that is near */
    PANEL = WIDE * VEC, /* columns of c at once */
};

/* Part of a product: some rows, at most PANEL (or SUMS) columns, some terms. */
struct piece {
    const float *a;
    size_t a_row, a_col;
    const float *b;
    const uint16_t *b16;
    size_t ldb, n_k;
    float alpha, beta;
    float *c;
    size_t ldc, width;
};

INLINE void put(float *c, lanes part, bool full, float alpha, float beta, vec sum)
{
    sum = mul(set(alpha), sum);
    if (beta != 0) {
        sum = add(mul(set(beta), load(c, part, full)), sum);
    }
    store(c, part, full, sum);
}

/* Row r of a matrix, four rows to a pointer: their distances are one register, twice it and a second. */
#define ROW(base, r, row, row3) ((base)[(r) / 4] + ((r) % 4 == 3 ? (row3) : (size_t)((r) % 4) * (row)))

INLINE void broadcast_tile(const struct piece *p, const int n_rows, const int n_vecs, const bool half, const bool full)
{
    vec acc[MOST_ROWS][WIDE];
    lanes parts[WIDE];
    STN_CPUID_UNROLL
    for (int v = 0; v < n_vecs; v++) {
        size_t before = (size_t)v * VEC;
        parts[v] = lanes_of(p->width > before ? p->width - before : 0);
    }
    STN_CPUID_UNROLL
    for (int t = 0; t < n_rows; t++) {
        STN_CPUID_UNROLL
        for (int v = 0; v < n_vecs; v++) {
            acc[t][v] = zero();
        }
    }
    const size_t row = p->a_row, row3 = 3 * row, col = p->a_col;
    const float *a[3] = {p->a, p->a + 4 * row, p->a + 8 * row};
    for (size_t k = 0; k < p->n_k; k++) {
        vec b[WIDE];
        STN_CPUID_UNROLL
        for (int v = 0; v < n_vecs; v++) {
            size_t at = k * p->ldb + (size_t)v * VEC;
            b[v] = half ? load_half(p->b16 + at, parts[v], full) : load(p->b + at, parts[v], full);
        }
        STN_CPUID_UNROLL
        for (int t = 0; t < n_rows; t++) {
            vec x = set(*ROW(a, t, row, row3));
            STN_CPUID_UNROLL
            for (int v = 0; v < n_vecs; v++) {
                acc[t][v] = fused(x, b[v], acc[t][v]);
            }
        }
        a[0] += col, a[1] += col, a[2] += col;
    }
    STN_CPUID_UNROLL
    for (int t = 0; t < n_rows; t++) {
        STN_CPUID_UNROLL
        for (int v = 0; v < n_vecs; v++) {
            if (full || p->width > (size_t)v * VEC) {
                put(p->c + (size_t)t * p->ldc + (size_t)v * VEC, parts[v], full, p->alpha, p->beta, acc[t][v]);
            }
        }
    }
}

/* One vector of terms of each sum. b_row is in bytes, for b's elements are of two kinds. */
INLINE void dot_step(const float *const a[3], size_t a_row, const char *const b[2], size_t b_row, lanes part,
                     const bool full, const int n_rows, const int n_cols, const bool half, vec acc[MOST_ROWS][SUMS])
{
    vec x[MOST_ROWS];
    STN_CPUID_UNROLL
    for (int i = 0; i < n_rows; i++) {
        x[i] = load(ROW(a, i, a_row, 3 * a_row), part, full);
    }
    STN_CPUID_UNROLL
    for (int j = 0; j < n_cols; j++) {
        const void *at = ROW(b, j, b_row, 3 * b_row);
        vec y = half ? load_half(at, part, full) : load(at, part, full);
        STN_CPUID_UNROLL
        for (int i = 0; i < n_rows; i++) {
            acc[i][j] = fused(x[i], y, acc[i][j]);
        }
    }
}

INLINE void dot_tile(const struct piece *p, const int n_rows, const int n_cols, const bool half)
{
    vec acc[MOST_ROWS][SUMS];
    STN_CPUID_UNROLL
    for (int i = 0; i < n_rows; i++) {
        STN_CPUID_UNROLL
        for (int j = 0; j < SUMS; j++) {
            acc[i][j] = zero();
        }
    }
    const size_t size = half ? sizeof(uint16_t) : sizeof(float), b_row = p->ldb * size;
    const char *first = half ? (const void *)p->b16 : (const void *)p->b;
    const float *a[3] = {p->a, p->a + 4 * p->a_row, p->a + 8 * p->a_row};
    const char *b[2] = {first, first + 4 * b_row};
    size_t k = 0;
    for (; k + VEC <= p->n_k; k += VEC) {
        dot_step(a, p->a_row, b, b_row, lanes_of(VEC), true, n_rows, n_cols, half, acc);
        a[0] += VEC, a[1] += VEC, a[2] += VEC;
        b[0] += VEC * size, b[1] += VEC * size;
    }
    if (k < p->n_k) {
        dot_step(a, p->a_row, b, b_row, lanes_of(p->n_k - k), false, n_rows, n_cols, half, acc);
    }
    STN_CPUID_UNROLL
    for (int i = 0; i < n_rows; i++) {
        put_sums(p->c + (size_t)i * p->ldc, p->width, p->alpha, p->beta, acc[i]);
    }
}

#define DEFINE_BROADCAST(rows, vecs)                                                               \
    TARGET static void broadcast_##rows##_##vecs(const struct piece *p)                            \
    {                                                                                              \
        bool full = p->width == (vecs) * VEC;                                                      \
        if (p->b == NULL) {                                                                        \
            broadcast_tile(p, rows, vecs, true, false);                                            \
        } else if (full) {                                                                         \
            broadcast_tile(p, rows, vecs, false, true);                                            \
        } else {                                                                                   \
            broadcast_tile(p, rows, vecs, false, false);                                           \
        }                                                                                          \
    }
#define DEFINE_DOT(rows, cols)                                                                     \
    TARGET static void dot_##rows##_##cols(const struct piece *p)                                  \
    {                                                                                              \
        if (p->b == NULL) {                                                                        \
            dot_tile(p, rows, cols, true);                                                         \
        } else {                                                                                   \
            dot_tile(p, rows, cols, false);                                                        \
        }                                                                                          \
    }
BROADCAST_TILES(DEFINE_BROADCAST)
DOT_TILES(DEFINE_DOT)

struct tile {
    size_t n_rows, n_cols; /* columns of the broadcast loop are vectors */
    void (*run)(const struct piece *p);
};
#define BROADCAST_ROW(rows, vecs) {rows, vecs, broadcast_##rows##_##vecs},
#define DOT_ROW(rows, cols) {rows, cols, dot_##rows##_##cols},
static const struct tile broadcast_tiles[] = {BROADCAST_TILES(BROADCAST_ROW)};
static const struct tile dot_tiles[] = {DOT_TILES(DOT_ROW)};

/* Bytes that a later piece reads, and how many of them come closer with each row of this one. */
struct later {
    const char *from, *to;
    size_t per_row;
};

INLINE void fetch(struct later *later, size_t n_rows)
{
    const char *stop = later->from + n_rows * later->per_row;
    for (; later->from < stop && later->from < later->to; later->from += 64) {
        __builtin_prefetch(later->from, 0, 2);
    }
}

/* Runs a piece of any number of rows with the tiles of so many columns. */
TARGET static void run_tiles(const struct tile *tiles, size_t n_cols, struct piece p, size_t m, struct later later)
{
    while (m > 0) {
        while (tiles->n_cols != n_cols || tiles->n_rows > m) {
            tiles++; /* every width has a tile of one row */
        }
        fetch(&later, tiles->n_rows);
        tiles->run(&p);
        p.a += tiles->n_rows * p.a_row;
        p.c += tiles->n_rows * p.ldc;
        m -= tiles->n_rows;
    }
}

static struct piece piece_at(const struct stn_gemm_args *g, size_t j, size_t k)
{
    return (struct piece){.a = g->a + k * g->a_col, .a_row = g->a_row, .a_col = g->a_col, .ldb = g->ldb,
                          .alpha = g->alpha, .beta = k == 0 ? g->beta : 1, .c = g->c + j, .ldc = g->ldc};
}

static void run_broadcast(struct piece p, size_t m)
{
    size_t n_vecs = p.width <= VEC ? 1 : p.width <= 2 * VEC ? 2 : WIDE;
    run_tiles(broadcast_tiles, n_vecs, p, m, (struct later){.from = NULL});
}

static void broadcast(const struct stn_gemm_args *g)
{
    for (size_t k = 0; k == 0 || k < g->k; k += BROADCAST_K) {
        for (size_t j = 0; j < g->n; j += PANEL) {
            struct piece p = piece_at(g, j, k);
            p.b = g->b == NULL ? NULL : g->b + k * g->ldb + j;
            p.b16 = g->b != NULL ? NULL : g->b16 + k * g->ldb + j;
            p.n_k = g->k - k < BROADCAST_K ? g->k - k : BROADCAST_K;
            p.width = g->n - j < PANEL ? g->n - j : PANEL;
            run_broadcast(p, g->m);
        }
    }
}

/* panel[k][j] = b[j][k] for the width rows of b from j0 on */
TARGET static void turn_round(const struct stn_gemm_args *g, size_t j0, size_t width, float *panel)
{
    size_t n4 = g->b == NULL ? 0 : width / 4 * 4, k4 = g->k / 4 * 4;
    for (size_t j = 0; j < width; j++) {
        for (size_t k = j < n4 ? k4 : 0; k < g->k; k++) {
            size_t at = (j0 + j) * g->ldb + k;
            panel[k * PANEL + j] = g->b == NULL ? stn_gemm_c_half(g->b16[at]) : g->b[at];
        }
    }
    for (size_t j = 0; j < n4; j += 4) {
        const float *b = g->b + (j0 + j) * g->ldb;
        for (size_t k = 0; k < k4; k += 4) {
            turn_four(b + k, g->ldb, panel + k * PANEL + j, PANEL);
        }
    }
}

static void dot_few_terms(const struct stn_gemm_args *g)
{
    float panel[TRANSPOSED_K * PANEL];
    for (size_t j = 0; j < g->n; j += PANEL) {
        struct piece p = piece_at(g, j, 0);
        p.width = g->n - j < PANEL ? g->n - j : PANEL;
        turn_round(g, j, p.width, panel);
        p.b = panel;
        p.ldb = PANEL;
        p.n_k = g->k;
        run_broadcast(p, g->m);
    }
}

/* The next columns' halves, which are the head's and come from memory: each row of a brings its share of them, so that they
 * are there when the first needs them. */
static struct later later_of(const struct stn_gemm_args *g, size_t j, size_t width)
{
    if (g->b != NULL || g->ldb != g->k || g->m <= 4 || j >= g->n) {
        return (struct later){.from = NULL};
    }
    const char *from = (const void *)(g->b16 + j * g->ldb);
    size_t size = (g->n - j < width ? g->n - j : width) * g->ldb * sizeof(uint16_t);
    return (struct later){from, from + size, size / g->m + 1};
}

static void dot(const struct stn_gemm_args *g)
{
    if (g->k < TRANSPOSED_K) {
        dot_few_terms(g);
        return;
    }
    size_t widest = SUMS;
    if (g->m <= 4 && (g->b == NULL || g->n * g->k > FAR)) {
        widest = 1; /* bound by memory, as the head always is, however its words are shared out: it likes one stream best */
    } else if (g->b == NULL && SUMS > 4 && g->m > 3) {
        widest = 4; /* halves are expanded once for each tile: more rows of a and fewer of b */
    }
    for (size_t j = 0; j < g->n;) {
        size_t width = g->n - j >= widest ? widest : g->n - j >= 4 ? 4 : 1;
        struct piece p = piece_at(g, j, 0);
        p.b = g->b == NULL ? NULL : g->b + j * g->ldb;
        p.b16 = g->b != NULL ? NULL : g->b16 + j * g->ldb;
        p.n_k = g->k;
        p.width = width;
        run_tiles(dot_tiles, width, p, g->m, later_of(g, j + width, width));
        j += width;
    }
}

#endif
