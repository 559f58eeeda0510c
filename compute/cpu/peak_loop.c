#include "compute/cpu/peak_loop.h"

#include <stdint.h>
#include <string.h>

#include "compute/cpu/cpuid.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif
#ifdef STN_CPUID_BUILDS_NEON_DOT
#include <arm_neon.h>
#endif

/* s = STEP(s, x, y) for twelve chains, ROUNDS times. KIND: the constraint of a register that holds a VECTOR. Chains have
 * names, because an array of them would be kept in memory. */
#define LOOP(NAME, TARGET, VECTOR, KIND, STEP)                                                                         \
    TARGET static void NAME(size_t rounds, volatile float *sink)                                                       \
    {                                                                                                                  \
        VECTOR s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, s4 = {0}, s5 = {0}, s6 = {0}, s7 = {0}, s8 = {0}, s9 = {0};     \
        VECTOR s10 = {0}, s11 = {0}, x = {0}, y = {0};                                                                 \
        for (size_t round = 0; round < rounds; round++) {                                                              \
            __asm__ volatile("" : "+" KIND(x), "+" KIND(y));                                                           \
            s0 = STEP(s0, x, y), s1 = STEP(s1, x, y), s2 = STEP(s2, x, y), s3 = STEP(s3, x, y);                        \
            s4 = STEP(s4, x, y), s5 = STEP(s5, x, y), s6 = STEP(s6, x, y), s7 = STEP(s7, x, y);                        \
            s8 = STEP(s8, x, y), s9 = STEP(s9, x, y), s10 = STEP(s10, x, y), s11 = STEP(s11, x, y);                    \
            __asm__ volatile("" : "+" KIND(s0), "+" KIND(s1), "+" KIND(s2), "+" KIND(s3), "+" KIND(s4), "+" KIND(s5)); \
            __asm__ volatile("" : "+" KIND(s6), "+" KIND(s7), "+" KIND(s8), "+" KIND(s9), "+" KIND(s10), "+" KIND(s11));\
        }                                                                                                              \
        const VECTOR sums[STN_PEAK_LOOP_CHAINS] = {s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11};                  \
        for (size_t i = 0; i < STN_PEAK_LOOP_CHAINS; i++) {                                                            \
            float first;                                                                                               \
            memcpy(&first, &sums[i], sizeof first);                                                                    \
            *sink = first;                                                                                             \
        }                                                                                                              \
    }

typedef int32_t four_integers __attribute__((vector_size(16)));
typedef float four_floats __attribute__((vector_size(16)));

#ifdef __x86_64__
#define KIND "x"
#elif defined __aarch64__
#define KIND "w"
#else
#define KIND "m"
#endif
#define MULTIPLY(sum, x, y) ((sum) + (x) * (y))
LOOP(c_integer, , four_integers, KIND, MULTIPLY)
LOOP(c_floats, , four_floats, KIND, MULTIPLY)

#ifdef __x86_64__
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")))
#define PAIRS(sum, x, y) _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, y)) /* 16 bits hold such sums for a while */
#define AVX_VNNI __attribute__((target("avx2,fma,avxvnni")))
#define FUSED_AVX2(sum, x, y) _mm256_fmadd_ps(x, y, sum)
#define FUSED_AVX512(sum, x, y) _mm512_fmadd_ps(x, y, sum)
LOOP(avx2_integer, AVX2, __m256i, "x", PAIRS)
LOOP(avx2_floats, AVX2, __m256, "x", FUSED_AVX2)
LOOP(avx_vnni_integer, AVX_VNNI, __m256i, "x", _mm256_dpbusd_avx_epi32)
LOOP(avx512_integer, AVX512, __m512i, "v", _mm512_dpbusd_epi32)
LOOP(avx512_floats, AVX512, __m512, "v", FUSED_AVX512)
#endif

#ifdef STN_CPUID_BUILDS_NEON_DOT
#ifdef __clang__
#define NEON __attribute__((target("dotprod")))
#define I8MM __attribute__((target("dotprod,i8mm")))
#else
#define NEON __attribute__((target("arch=armv8.2-a+dotprod")))
#define I8MM __attribute__((target("arch=armv8.2-a+dotprod+i8mm")))
#endif
#define DOT(sum, x, y) vreinterpretq_s8_s32(vdotq_s32(vreinterpretq_s32_s8(sum), x, y))
#define MATRIX(sum, x, y) vreinterpretq_s8_s32(vmmlaq_s32(vreinterpretq_s32_s8(sum), x, y))
LOOP(neon_integer, NEON, int8x16_t, "w", DOT)
LOOP(neon_matrix, I8MM, int8x16_t, "w", MATRIX)
LOOP(neon_floats, NEON, float32x4_t, "w", vfmaq_f32)
#endif

static const struct stn_peak_loops loops[STN_CPUID_N_SETS] = {
    [STN_CPUID_C] = {{c_integer, 4}, {c_floats, 4}},
#ifdef __x86_64__
    [STN_CPUID_AVX2] = {{avx2_integer, 32}, {avx2_floats, 8}},
    [STN_CPUID_AVX_VNNI] = {{avx_vnni_integer, 32}, {avx2_floats, 8}},
    [STN_CPUID_AVX512_VNNI] = {{avx512_integer, 64}, {avx512_floats, 16}},
#endif
#ifdef STN_CPUID_BUILDS_NEON_DOT
    [STN_CPUID_NEON_DOT] = {{neon_integer, 16}, {neon_floats, 4}},
    [STN_CPUID_NEON_I8MM] = {{neon_matrix, 32}, {neon_floats, 4}},
#endif
};

const struct stn_peak_loops *stn_peak_loop_best(void)
{
    int best = STN_CPUID_C;
    for (int set = 0; set < STN_CPUID_N_SETS; set++) {
        best = stn_cpuid_runs((enum stn_cpuid_set)set) && loops[set].integer.run != NULL ? set : best;
    }
    return &loops[best];
}
