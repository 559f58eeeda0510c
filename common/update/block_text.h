/* block_text: the loops of block.h. The including file says NAME, the table's name, WORD, its name as text, and TARGET,
 * the functions' attributes. */
#include <string.h>

typedef double wide __attribute__((vector_size(64)));
typedef float wide_float __attribute__((vector_size(32)));

#define WIDE 8 /* values of a wide */
#define SEGMENT ((size_t)2048) /* values that stay in the first cache while levels pass over them */

TARGET static inline void load(wide *ret, const double *from)
{
    memcpy(ret, from, sizeof *ret);
}

TARGET static inline void store(double *to, const wide *from)
{
    memcpy(to, from, sizeof *from);
}

/* The levels of 1, 2 and 4: partners lie in one register. */
TARGET static void levels_within(double *v, size_t m)
{
    const wide s1 = {1, -1, 1, -1, 1, -1, 1, -1}, s2 = {1, 1, -1, -1, 1, 1, -1, -1}, s4 = {1, 1, 1, 1, -1, -1, -1, -1};
    for (size_t i = 0; i < m; i += WIDE) {
        wide x;
        load(&x, v + i);
        x = __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6) + x * s1;
        x = __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5) + x * s2;
        x = __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3) + x * s4;
        store(v + i, &x);
    }
}

/* The levels from h on: two at a time, then the odd one. */
TARGET static void levels_from(double *v, size_t m, size_t h)
{
    for (; 4 * h <= m; h *= 4) {
        for (size_t i = 0; i < m; i += 4 * h) {
            double *a = v + i, *b = a + h, *c = b + h, *d = c + h;
            for (size_t j = 0; j < h; j++) {
                double ab = a[j] + b[j], a_b = a[j] - b[j], cd = c[j] + d[j], c_d = c[j] - d[j];
                a[j] = ab + cd;
                b[j] = a_b + c_d;
                c[j] = ab - cd;
                d[j] = a_b - c_d;
            }
        }
    }
    for (size_t j = 0; 2 * h == m && j < h; j++) {
        double a = v[j], b = v[h + j];
        v[j] = a + b;
        v[h + j] = a - b;
    }
}

TARGET static void hadamard(double *v, size_t m)
{
    if (m < WIDE) {
        levels_from(v, m, 1);
        return;
    }
    size_t segment = m < SEGMENT ? m : SEGMENT;
    for (size_t at = 0; at < m; at += segment) {
        levels_within(v + at, segment);
        levels_from(v + at, segment, WIDE);
    }
    levels_from(v, m, segment);
}

/* Neighbours change places, then pairs, then fours. */
TARGET static void turn(double *to, size_t pitch, const float *from, size_t stride, double factor)
{
    wide a[WIDE], b[WIDE];
    for (size_t i = 0; i < WIDE; i++) {
        wide_float row;
        memcpy(&row, from + i * stride, sizeof row);
        a[i] = __builtin_convertvector(row, wide) * factor;
    }
    for (size_t i = 0; i < WIDE; i += 2) {
        b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (size_t i = 0; i < WIDE; i += (i & 1) != 0 ? 3 : 1) {
        a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 2] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (size_t i = 0; i < WIDE / 2; i++) {
        b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        b[i + 4] = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (size_t i = 0; i < WIDE; i++) {
        store(to + i * pitch, &b[i]);
    }
}

/* The sign, without a branch to miss. */
TARGET static inline void flip_one(double *v, uint64_t bit)
{
    uint64_t word;
    memcpy(&word, v, sizeof word);
    word ^= bit << 63;
    memcpy(v, &word, sizeof word);
}

TARGET static void flip(double *v, size_t n, const uint8_t *signs)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t byte = signs[i / 8];
        for (size_t k = 0; k < 8; k++) {
            flip_one(v + i + k, byte >> k);
        }
    }
    for (; i < n; i++) {
        flip_one(v + i, (uint64_t)signs[i / 8] >> i % 8);
    }
}

/* u 2^-32, exactly: the bits of 1 + u 2^-32, less 1. */
TARGET static inline double unit_of(uint64_t u)
{
    double x;
    uint64_t word = (uint64_t)0x3ff << 52 | u << 20;
    memcpy(&x, &word, sizeof x);
    return x - 1;
}

TARGET static size_t round_values(uint32_t *out, const double *v, size_t n, double scale, uint32_t bound,
                                  const uint32_t *coins)
{
    uint64_t n_clamped = 0;
    const double most = bound, least = -most;
    for (size_t i = 0; i < n; i++) {
        double t = v[i] * scale + unit_of(coins[i]);
        uint64_t is_low = t < least, is_high = t >= most + 1;
        n_clamped += is_low | is_high;
        t = t < least ? least : t;
        t = t >= most + 1 ? most : t;
        int32_t q = (int32_t)t;
        q -= (double)q > t;
        out[i] = (uint32_t)q;
    }
    return (size_t)n_clamped;
}

TARGET static double norm2(const float *v, size_t n)
{
    double sums[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t k = 0; k < 8; k++) {
            sums[k] += (double)v[i + k] * (double)v[i + k];
        }
    }
    for (; i < n; i++) {
        sums[i % 8] += (double)v[i] * (double)v[i];
    }
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

const struct stn_block_kernel NAME = {
    .name = WORD, .hadamard = hadamard, .turn = turn, .flip = flip, .round = round_values, .norm2 = norm2};
