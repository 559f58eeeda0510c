#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/map.h"

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t stn_rng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

void stn_rng_init(struct stn_rng *rng, uint64_t seed)
{
    for (uint64_t i = 0; i < 4; i++) {
        rng->s[i] = stn_rng_mix(seed + i * 0x9e3779b97f4a7c15u);
    }
}

void stn_rng_fork(struct stn_rng *rng, uint64_t seed, const char *name, uint64_t number)
{
    uint64_t h = stn_map_hash(name, strlen(name));
    stn_rng_init(rng, stn_rng_mix(seed ^ stn_rng_mix(h ^ stn_rng_mix(number))));
}

uint64_t stn_rng_u64(struct stn_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t stn_rng_below(struct stn_rng *rng, uint64_t n)
{
    assert(n > 0);
    /* Lemire's rejection: the low half of the product must not fall into the short last interval */
    for (;;) {
        unsigned __int128 product = (unsigned __int128)stn_rng_u64(rng) * n;
        if ((uint64_t)product >= (0 - n) % n) {
            return (uint64_t)(product >> 64);
        }
    }
}

double stn_rng_unit(struct stn_rng *rng)
{
    return (double)(stn_rng_u64(rng) >> 11) * 0x1p-53;
}

double stn_rng_normal(struct stn_rng *rng)
{
    /* Box and Muller; the second value is thrown away so that there is no state besides the generator's */
    double u = 1.0 - stn_rng_unit(rng), v = stn_rng_unit(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double stn_rng_gamma(struct stn_rng *rng, double shape)
{
    assert(shape > 0);
    if (shape < 1) {
        double u = 1.0 - stn_rng_unit(rng);
        return stn_rng_gamma(rng, shape + 1) * pow(u, 1 / shape);
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = stn_rng_normal(rng), v = 1 + c * x;
        if (v <= 0) {
            continue;
        }
        v = v * v * v;
        double u = 1.0 - stn_rng_unit(rng);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) {
            return d * v;
        }
    }
}

void stn_rng_shuffle(struct stn_rng *rng, void *p, size_t n, size_t size)
{
    unsigned char *bytes = p;
    for (size_t i = n; i > 1; i--) {
        unsigned char *a = bytes + (i - 1) * size;
        unsigned char *b = bytes + stn_rng_below(rng, i) * size;
        for (size_t k = 0; k < size; k++) {
            unsigned char t = a[k];
            a[k] = b[k];
            b[k] = t;
        }
    }
}
