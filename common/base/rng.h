/* rng: seeded pseudo-random numbers for simulations, initial weights and shuffles: the same on every machine.
 * Never for secrets; those come from crypto/entropy. Source: xoshiro256**, seeded by splitmix64 (Blackman and
 * Vigna, 2018). Thread: one at a time for each generator. */
#ifndef STN_BASE_RNG_H
#define STN_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct stn_rng {
    uint64_t s[4];
};

void stn_rng_init(struct stn_rng *rng, uint64_t seed);
/* A generator of its own for a named purpose: streams of different names or numbers do not disturb each other. */
void stn_rng_fork(struct stn_rng *rng, uint64_t seed, const char *name, uint64_t number);

uint64_t stn_rng_u64(struct stn_rng *rng);
uint64_t stn_rng_below(struct stn_rng *rng, uint64_t n); /* uniform in [0, n), n > 0, without bias */
double stn_rng_unit(struct stn_rng *rng);                /* uniform in [0, 1), 53 bits */
double stn_rng_normal(struct stn_rng *rng);              /* mean 0, variance 1 */
double stn_rng_gamma(struct stn_rng *rng, double shape); /* shape > 0, scale 1 (Marsaglia and Tsang, 2000) */
/* Fisher-Yates over n elements of size bytes. */
void stn_rng_shuffle(struct stn_rng *rng, void *p, size_t n, size_t size);

/* One step of splitmix64 at a position: a hash of a number. */
uint64_t stn_rng_mix(uint64_t x);

#endif
