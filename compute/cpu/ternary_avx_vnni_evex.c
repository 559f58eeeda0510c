#include "compute/cpu/cpuid.h"
#include "compute/cpu/ternary_kernel.h"

#ifdef __x86_64__

#define TARGET __attribute__((target("avx2,fma,avx512f,avx512vl,avx512vnni")))
#define DOT "%{evex%} vpdpbusd"
#include "compute/cpu/ternary_vnni256.h"

void stn_ternary_avx_vnni_evex_product(const struct stn_ternary_product *p)
{
    run_tiles(p);
}

#else
typedef int stn_ternary_avx_vnni_evex_is_for_x86; /* ISO C wants a declaration */
#endif
