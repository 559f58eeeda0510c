/* gemm_kernel: what a set of instructions provides to gemm.c. Two loops carry all dense products:
 *   broadcast  c[i][j] = beta c[i][j] + alpha sum_k a(i, k) b[k][j]      one a value times a vector of b's row
 *   dot        c[i][j] = beta c[i][j] + alpha sum_k a(i, k) b[j][k]      vectors along k (a_col is 1 here)
 * with a(i, k) = a[i * a_row + k * a_col]. How one element is summed depends on k alone, so that tiles, ranges of
 * rows and threads never show in a result. */
#ifndef STN_COMPUTE_CPU_GEMM_KERNEL_H
#define STN_COMPUTE_CPU_GEMM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

struct stn_gemm_args {
    size_t m, n, k;
    float alpha, beta; /* beta 0: c is not read */
    const float *a;
    size_t a_row, a_col;
    const float *b;      /* or NULL, and b16 is there */
    const uint16_t *b16; /* IEEE half */
    size_t ldb;
    float *c;
    size_t ldc;
};

struct stn_gemm_kernel {
    void (*broadcast)(const struct stn_gemm_args *args);
    void (*dot)(const struct stn_gemm_args *args);
};

extern const struct stn_gemm_kernel stn_gemm_c_kernel;
extern const struct stn_gemm_kernel stn_gemm_avx2_kernel;
extern const struct stn_gemm_kernel stn_gemm_avx512_kernel;
extern const struct stn_gemm_kernel stn_gemm_neon_kernel;

float stn_gemm_c_half(uint16_t half); /* IEEE half to float, exact */

#endif
