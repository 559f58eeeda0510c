/* mask_kernel: one variant of mask's inner loop for each set of instructions, as rows of a table in
 * mask.c. */
#ifndef STN_CRYPTO_MASK_KERNEL_H
#define STN_CRYPTO_MASK_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* state is ChaCha20's initial state, its word 12 the counter of the first block. Adds (or takes
 * away) n superblocks of the stream: v has 256 n elements. */
typedef void stn_mask_kernel(uint32_t *v, size_t n, const uint32_t state[static 16], bool is_minus);

#ifdef __x86_64__
stn_mask_kernel stn_mask_avx2, stn_mask_avx512;
#endif
#ifdef __aarch64__
stn_mask_kernel stn_mask_neon;
#endif

#endif
