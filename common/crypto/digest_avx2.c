#include "crypto/digest_wide.h"

#ifdef __x86_64__
#include <immintrin.h>

#define KERNEL stn_digest_wide_avx2
#define TARGET __attribute__((target("avx2")))
#define VEC __m256i
#define LANES 4
#define BYTES_24                                                                                                      \
    _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14,    \
                     15, 8, 9, 10)
#define BYTES_16                                                                                                      \
    _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13,    \
                     14, 15, 8, 9)
#define SPREAD(x) _mm256_set1_epi64x((long long)(x))
#define ADD(a, b) _mm256_add_epi64(a, b)
#define XOR(a, b) _mm256_xor_si256(a, b)
#define ROR32(a) _mm256_shuffle_epi32(a, 0xb1)
#define ROR24(a) _mm256_shuffle_epi8(a, BYTES_24)
#define ROR16(a) _mm256_shuffle_epi8(a, BYTES_16)
#define ROR63(a) turn_63(a)
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, a) _mm256_storeu_si256((__m256i *)(void *)(p), a)

TARGET static inline VEC turn_63(VEC a)
{
    return XOR(_mm256_srli_epi64(a, 63), ADD(a, a));
}

/* Four rows of four words become four columns. */
TARGET static inline void turn(VEC m[4], const uint8_t *const *from, size_t at)
{
    VEC a = LOAD(from[0] + at), b = LOAD(from[1] + at), c = LOAD(from[2] + at), d = LOAD(from[3] + at);
    VEC ab02 = _mm256_unpacklo_epi64(a, b), ab13 = _mm256_unpackhi_epi64(a, b);
    VEC cd02 = _mm256_unpacklo_epi64(c, d), cd13 = _mm256_unpackhi_epi64(c, d);
    m[0] = _mm256_permute2x128_si256(ab02, cd02, 0x20);
    m[1] = _mm256_permute2x128_si256(ab13, cd13, 0x20);
    m[2] = _mm256_permute2x128_si256(ab02, cd02, 0x31);
    m[3] = _mm256_permute2x128_si256(ab13, cd13, 0x31);
}

TARGET static inline void words(VEC m[16], const uint8_t *const *from, size_t at)
{
    for (size_t i = 0; i < 4; i++) {
        turn(m + 4 * i, from, at + 32 * i);
    }
}

#include "crypto/digest_simd.h"
#endif
