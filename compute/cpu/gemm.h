/* gemm: dense f32 products for what is not ternary: LoRA factors, the head, norms of gradients. All matrices are
 * row-major with strides in floats. A fast path is chosen once at start; the plain loops are the definition. Results
 * do not depend on how rows are shared among threads (each output element is one sum in one order). Thread: any. */
#ifndef STN_COMPUTE_CPU_GEMM_H
#define STN_COMPUTE_CPU_GEMM_H

#include <stddef.h>
#include <stdint.h>

/* c[i][j] = beta * c[i][j] + alpha * sum_k a[i][k] b[j][k]      a: (m, k), b: (n, k), c: (m, n); beta 0 never reads c */
void stn_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                 float beta, float *c, size_t ldc);

/* c[i][j] = beta * c[i][j] + alpha * sum_k a[i][k] b[k][j]      a: (m, k), b: (k, n) */
void stn_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                 float beta, float *c, size_t ldc);

/* c[i][j] = beta * c[i][j] + alpha * sum_k a[k][i] b[k][j]      a: (k, m), b: (k, n): gradients of weights */
void stn_gemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                 float beta, float *c, size_t ldc);

/* As nt and nn with b in f16 (IEEE half), expanded in registers: the head's table. */
void stn_gemm_nt_f16(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const uint16_t *b, size_t ldb,
                     float beta, float *c, size_t ldc);
void stn_gemm_nn_f16(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const uint16_t *b, size_t ldb,
                     float beta, float *c, size_t ldc);

#endif
