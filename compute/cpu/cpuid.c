#include "compute/cpu/cpuid.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif
#ifdef STN_CPUID_BUILDS_NEON_DOT
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const char *const names[STN_CPUID_N_SETS] = {
    [STN_CPUID_C] = "c",
    [STN_CPUID_AVX2] = "avx2",
    [STN_CPUID_AVX_VNNI] = "avx-vnni",
    [STN_CPUID_AVX512_VNNI] = "avx512-vnni",
    [STN_CPUID_NEON_DOT] = "neon-dot",
    [STN_CPUID_NEON_I8MM] = "neon-i8mm",
};

static _Atomic int chosen = -1; /* -1: nobody has asked yet */

const char *stn_cpuid_name(enum stn_cpuid_set set)
{
    return names[set];
}

#ifdef __x86_64__
static bool has_f16c(void) /* clang's library does not know the name */
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

bool stn_cpuid_has_vex_dot(void)
{
#ifdef __x86_64__
    static _Atomic int known; /* 0: not asked yet; 1: no; 2: yes */
    int has = atomic_load_explicit(&known, memory_order_relaxed);
    if (has == 0) {
        unsigned a = 0, b, c, d;
        has = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1u << 4) != 0 ? 2 : 1;
        atomic_store_explicit(&known, has, memory_order_relaxed);
    }
    return has == 2;
#else
    return false;
#endif
}

/* The compiler's library asks both the processor and the operating system (XCR0). */
bool stn_cpuid_runs(enum stn_cpuid_set set)
{
#ifdef __x86_64__
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vnni");
    return set == STN_CPUID_C || (set == STN_CPUID_AVX2 && avx2) || (set == STN_CPUID_AVX512_VNNI && avx512) ||
           (set == STN_CPUID_AVX_VNNI && avx2 && (avx512 || stn_cpuid_has_vex_dot()));
#elif defined STN_CPUID_BUILDS_NEON_DOT
    bool dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0, i8mm = dot && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    return set == STN_CPUID_C || (set == STN_CPUID_NEON_DOT && dot) || (set == STN_CPUID_NEON_I8MM && i8mm);
#else
    return set == STN_CPUID_C;
#endif
}

static int best(void)
{
    const char *wanted = getenv("STERNA_CPU_KERNEL");
    int found = STN_CPUID_C;
    for (int set = 0; set < STN_CPUID_N_SETS; set++) {
        if (!stn_cpuid_runs((enum stn_cpuid_set)set)) {
            continue;
        }
        found = set;
        if (wanted != NULL && strcmp(wanted, names[set]) == 0) {
            break;
        }
    }
    return found;
}

enum stn_cpuid_set stn_cpuid_chosen(void)
{
    int set = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (set < 0) {
        set = best(); /* two threads that get here together find the same */
        atomic_store_explicit(&chosen, set, memory_order_relaxed);
    }
    return (enum stn_cpuid_set)set;
}

void stn_cpuid_choose(enum stn_cpuid_set set)
{
    assert(stn_cpuid_runs(set));
    atomic_store_explicit(&chosen, (int)set, memory_order_relaxed);
}
