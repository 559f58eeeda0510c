#include "crypto/digest_wide.h"

#ifdef __x86_64__
#include <immintrin.h>

#define KERNEL stn_digest_wide_avx512
#define TARGET __attribute__((target("avx512f")))
#define VEC __m512i
#define LANES 8
#define SPREAD(x) _mm512_set1_epi64((long long)(x))
#define ADD(a, b) _mm512_add_epi64(a, b)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define ROR32(a) _mm512_ror_epi64(a, 32)
#define ROR24(a) _mm512_ror_epi64(a, 24)
#define ROR16(a) _mm512_ror_epi64(a, 16)
#define ROR63(a) _mm512_ror_epi64(a, 63)
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, a) _mm512_storeu_si512(p, a)

/* Eight rows of eight words become eight columns: neighbours, then pairs, then fours change places. */
TARGET static inline void turn(VEC m[8], const uint8_t *const *from, size_t at)
{
    VEC a[8], b[8];
    for (int l = 0; l < 8; l++) {
        a[l] = LOAD(from[l] + at);
    }
    for (int l = 0; l < 8; l += 2) {
        b[l] = _mm512_unpacklo_epi64(a[l], a[l + 1]);
        b[l + 1] = _mm512_unpackhi_epi64(a[l], a[l + 1]);
    }
    for (int i = 0; i < 2; i++) { /* word 2 j + i of lanes 0-3 is in x[j], of lanes 4-7 in y[j] */
        VEC x02 = _mm512_shuffle_i64x2(b[i], b[2 + i], 0x88), x13 = _mm512_shuffle_i64x2(b[i], b[2 + i], 0xdd);
        VEC y02 = _mm512_shuffle_i64x2(b[4 + i], b[6 + i], 0x88), y13 = _mm512_shuffle_i64x2(b[4 + i], b[6 + i], 0xdd);
        m[i] = _mm512_shuffle_i64x2(x02, y02, 0x88);
        m[4 + i] = _mm512_shuffle_i64x2(x02, y02, 0xdd);
        m[2 + i] = _mm512_shuffle_i64x2(x13, y13, 0x88);
        m[6 + i] = _mm512_shuffle_i64x2(x13, y13, 0xdd);
    }
}

TARGET static inline void words(VEC m[16], const uint8_t *const *from, size_t at)
{
    turn(m, from, at);
    turn(m + 8, from, at + 64);
}

#include "crypto/digest_simd.h"
#endif
