/* AVX-VNNI: the integer dot product of 256 bits on processors without AVX-512. Those that have AVX-512 VNNI and not this one
 * run the same code in their own encoding (ternary_avx_vnni_evex.c), so that it is tested there too. */
#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_kernel.h"

#ifdef __x86_64__

#define TARGET __attribute__((target("avx2,fma,avxvnni")))
#define DOT "%{vex%} vpdpbusd"
#include "compute/cpu/ternary_vnni256.h"

static void product(const struct stn_ternary_product *p)
{
    if (stn_cpuid_has_vex_dot()) {
        run_tiles(p);
    } else {
        stn_ternary_avx_vnni_evex_product(p);
    }
}

/* The rest has no dot product in it that counts: it is AVX2's. */

static void sums(const int8_t *q, size_t n, size_t n_inputs, size_t block, int32_t *to)
{
    stn_ternary_avx2_kernel.sums(q, n, n_inputs, block, to);
}

static void transpose(const uint8_t *from, uint8_t *to)
{
    stn_ternary_avx2_kernel.transpose(from, to);
}

static void expand(const uint8_t *units, size_t n_units, float *w)
{
    stn_ternary_avx2_kernel.expand(units, n_units, w);
}

static float quantise(const float *x, size_t n, int8_t *q)
{
    return stn_ternary_avx2_kernel.quantise(x, n, q);
}

static float quantise_random(const float *x, size_t n, uint64_t key, int8_t *q)
{
    return stn_ternary_avx2_kernel.quantise_random(x, n, key, q);
}

const struct stn_ternary_kernel stn_ternary_avx_vnni_kernel = {
    .product = product,
    .sums = sums,
    .transpose = transpose,
    .expand = expand,
    .quantise = quantise,
    .quantise_random = quantise_random,
};

#else
typedef int stn_ternary_avx_vnni_is_for_x86; /* ISO C wants a declaration */
#endif
