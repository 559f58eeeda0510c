#include "update/block.h"

#ifdef __x86_64__
#define NAME stn_block_avx512
#define WORD "avx512"
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl")))
#include "update/block_text.h"
#endif
