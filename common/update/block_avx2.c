#include "update/block.h"

#ifdef __x86_64__
#define NAME stn_block_avx2
#define WORD "avx2"
#define TARGET __attribute__((target("avx2")))
#include "update/block_text.h"
#endif
