/* block_text: the loops of block.h. The including file says NAME, the table's name, WORD, its name as text, and TARGET,
 * the functions' attributes. */
#include <string.h>

/* Two levels of butterflies at a time, then the odd one. */
TARGET static void hadamard(double *v, size_t m)
{
    size_t h = 1;
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
    .name = WORD, .hadamard = hadamard, .flip = flip, .round = round_values, .norm2 = norm2};
