#include "update/block.h"

#include <stdbool.h>

#define NAME stn_block_portable
#define WORD "portable"
#define TARGET
#include "update/block_text.h"

static bool runs_always(void)
{
    return true;
}

#ifdef __x86_64__
static bool runs_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static bool runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

static const struct variant { /* the best last */
    const struct stn_block_kernel *kernel;
    bool (*runs)(void);
} variants[] = {
    {&stn_block_portable, runs_always},
#ifdef __x86_64__
    {&stn_block_avx2, runs_avx2},
    {&stn_block_avx512, runs_avx512},
#endif
};

#define N_VARIANTS (sizeof variants / sizeof *variants)

const struct stn_block_kernel *stn_block_kernel(void)
{
    size_t i = N_VARIANTS - 1;
    while (!variants[i].runs()) {
        i--;
    }
    return variants[i].kernel;
}

const struct stn_block_kernel *stn_block_variant(size_t i)
{
    for (size_t row = 0; row < N_VARIANTS; row++) {
        if (variants[row].runs() && i-- == 0) {
            return variants[row].kernel;
        }
    }
    return NULL;
}
