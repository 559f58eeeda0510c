#include "crypto/mask_kernel.h"

#ifdef __x86_64__
#include <immintrin.h>

#define KERNEL stn_mask_avx512
#define TARGET __attribute__((target("avx512f")))
#define VEC __m512i
#define LANES 16
#define SPREAD(x) _mm512_set1_epi32((int)(x))
#define COUNT(x)                                                                                   \
    _mm512_add_epi32(_mm512_set1_epi32((int)(x)),                                                  \
                     _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define ADD(a, b) _mm512_add_epi32(a, b)
#define SUB(a, b) _mm512_sub_epi32(a, b)
#define XOR(a, b) _mm512_xor_si512(a, b)
#define ROL16(a) _mm512_rol_epi32(a, 16)
#define ROL12(a) _mm512_rol_epi32(a, 12)
#define ROL8(a) _mm512_rol_epi32(a, 8)
#define ROL7(a) _mm512_rol_epi32(a, 7)
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, a) _mm512_storeu_si512(p, a)
#include "crypto/mask_simd.h"
#endif
