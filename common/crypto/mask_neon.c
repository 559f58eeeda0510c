#include "crypto/mask_kernel.h"

#ifdef __aarch64__
#include <arm_neon.h>

static const uint32_t lanes[4] = {0, 1, 2, 3};

#define KERNEL stn_mask_neon
#define TARGET
#define VEC uint32x4_t
#define LANES 4
#define SPREAD(x) vdupq_n_u32(x)
#define COUNT(x) vaddq_u32(vdupq_n_u32(x), vld1q_u32(lanes))
#define ADD(a, b) vaddq_u32(a, b)
#define SUB(a, b) vsubq_u32(a, b)
#define XOR(a, b) veorq_u32(a, b)
#define SHIFTED(a, n) vsriq_n_u32(vshlq_n_u32(a, n), a, 32 - (n))
#define ROL16(a) vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(a)))
#define ROL12(a) SHIFTED(a, 12)
#define ROL8(a) SHIFTED(a, 8)
#define ROL7(a) SHIFTED(a, 7)
#define LOAD(p) vld1q_u32(p)
#define STORE(p, a) vst1q_u32(p, a)
#include "crypto/mask_simd.h"
#endif
