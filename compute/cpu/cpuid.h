/* cpuid: which set of processor instructions the kernels use. A set is a row of every kernel table (ternary, gemm);
 * the best that the processor and the operating system support is chosen at the first question, and the environment
 * variable STERNA_CPU_KERNEL names another (a name that does not run here is passed over). Thread: any. */
#ifndef STN_COMPUTE_CPU_CPUID_H
#define STN_COMPUTE_CPU_CPUID_H

#include <stdbool.h>

/* clang declares the dot products and matrix products for a function of its own target from release 16 on */
#if defined __aarch64__ && (!defined __clang__ || __clang_major__ >= 16)
#define STN_CPUID_BUILDS_NEON_DOT
#endif

/* Before a loop of a few rounds whose accumulators must become registers: it is written out in full. */
#ifdef __clang__
#define STN_CPUID_UNROLL _Pragma("clang loop unroll(full)")
#else
#define STN_CPUID_UNROLL _Pragma("GCC unroll 12")
#endif

enum stn_cpuid_set {
    STN_CPUID_C = 0,       /* plain C: runs everywhere, and is the definition */
    STN_CPUID_AVX2,        /* AVX2, FMA, F16C */
    STN_CPUID_AVX_VNNI,    /* the integer dot product of 256 bits, in AVX-VNNI's encoding or AVX-512's; the rest as AVX2 */
    STN_CPUID_AVX512_VNNI, /* AVX-512 F, BW, VL, DQ and VNNI, and all of the row before */
    STN_CPUID_NEON_DOT,    /* NEON with the integer dot products of Armv8.2 */
    STN_CPUID_NEON_I8MM,   /* and with Armv8.6's products of 2 x 8 by 8 x 2 bytes */
    STN_CPUID_N_SETS
};

bool stn_cpuid_runs(enum stn_cpuid_set set);
const char *stn_cpuid_name(enum stn_cpuid_set set); /* "c", "avx2", "avx-vnni", "avx512-vnni", "neon-dot", "neon-i8mm" */

bool stn_cpuid_has_vex_dot(void); /* AVX-VNNI itself, not only AVX-512's form of its instruction */

/* The set in use; and another from now on, which must run here. For tests and the bench: nobody may be computing. */
enum stn_cpuid_set stn_cpuid_chosen(void);
void stn_cpuid_choose(enum stn_cpuid_set set);

#endif
