#include "compute/cpu/gemm.h"

#include "compute/cpu/cpuid.h"
#include "compute/cpu/gemm_kernel.h"

static const struct stn_gemm_kernel *const kernels[STN_CPUID_N_SETS] = {
    [STN_CPUID_C] = &stn_gemm_c_kernel,
#ifdef __x86_64__
    [STN_CPUID_AVX2] = &stn_gemm_avx2_kernel,
    [STN_CPUID_AVX_VNNI] = &stn_gemm_avx2_kernel,
    [STN_CPUID_AVX512_VNNI] = &stn_gemm_avx512_kernel,
#endif
#ifdef STN_CPUID_BUILDS_NEON_DOT
    [STN_CPUID_NEON_DOT] = &stn_gemm_neon_kernel,
    [STN_CPUID_NEON_I8MM] = &stn_gemm_neon_kernel,
#endif
};

static const struct stn_gemm_kernel *kernel(void)
{
    return kernels[stn_cpuid_chosen()];
}

void stn_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    kernel()->dot(&(struct stn_gemm_args){.m = m, .n = n, .k = k, .alpha = alpha, .beta = beta,
                                          .a = a, .a_row = lda, .a_col = 1, .b = b, .ldb = ldb,
                                          .c = c, .ldc = ldc});
}

void stn_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    kernel()->broadcast(&(struct stn_gemm_args){.m = m, .n = n, .k = k, .alpha = alpha,
                                                .beta = beta, .a = a, .a_row = lda, .a_col = 1,
                                                .b = b, .ldb = ldb, .c = c, .ldc = ldc});
}

void stn_gemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                 const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    kernel()->broadcast(&(struct stn_gemm_args){.m = m, .n = n, .k = k, .alpha = alpha,
                                                .beta = beta, .a = a, .a_row = 1, .a_col = lda,
                                                .b = b, .ldb = ldb, .c = c, .ldc = ldc});
}

void stn_gemm_nt_f16(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                     const uint16_t *b, size_t ldb, float beta, float *c, size_t ldc)
{
    kernel()->dot(&(struct stn_gemm_args){.m = m, .n = n, .k = k, .alpha = alpha, .beta = beta,
                                          .a = a, .a_row = lda, .a_col = 1, .b16 = b, .ldb = ldb,
                                          .c = c, .ldc = ldc});
}

void stn_gemm_nn_f16(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                     const uint16_t *b, size_t ldb, float beta, float *c, size_t ldc)
{
    kernel()->broadcast(&(struct stn_gemm_args){.m = m, .n = n, .k = k, .alpha = alpha,
                                                .beta = beta, .a = a, .a_row = lda, .a_col = 1,
                                                .b16 = b, .ldb = ldb, .c = c, .ldc = ldc});
}
