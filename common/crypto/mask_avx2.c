#include "crypto/mask_kernel.h"

#ifdef __x86_64__
#include <immintrin.h>

#define KERNEL stn_mask_avx2
#define TARGET __attribute__((target("avx2")))
#define VEC __m256i
#define LANES 8
#define SPREAD(x) _mm256_set1_epi32((int)(x))
#define COUNT(x)                                                                                   \
    _mm256_add_epi32(_mm256_set1_epi32((int)(x)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define ADD(a, b) _mm256_add_epi32(a, b)
#define SUB(a, b) _mm256_sub_epi32(a, b)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define SHIFTED(a, n) _mm256_or_si256(_mm256_slli_epi32(a, n), _mm256_srli_epi32(a, 32 - (n)))
#define BYTES16                                                                                    \
    _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, \
                     10, 11, 8, 9, 14, 15, 12, 13)
#define BYTES8                                                                                     \
    _mm256_setr_epi8(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, \
                     11, 8, 9, 10, 15, 12, 13, 14)
#define ROL16(a) _mm256_shuffle_epi8(a, BYTES16)
#define ROL12(a) SHIFTED(a, 12)
#define ROL8(a) _mm256_shuffle_epi8(a, BYTES8)
#define ROL7(a) SHIFTED(a, 7)
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, a) _mm256_storeu_si256((__m256i *)(void *)(p), a)
#include "crypto/mask_simd.h"
#endif
