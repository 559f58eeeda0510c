#include "crypto/digest_wide.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/buf.h"

#define BLOCK ((size_t)128)
#define LANES_LEAST 4

static atomic_size_t limit = STN_DIGEST_WIDE_LANES;

#ifdef __x86_64__
/* How many lanes for n chunks: half of the wide ones idle are worse than all of the narrow ones busy. */
static stn_digest_wide_kernel *choose(size_t n, size_t *ret_lanes)
{
    size_t most = atomic_load_explicit(&limit, memory_order_relaxed);
    if (n > LANES_LEAST && most >= 8 && __builtin_cpu_supports("avx512f")) {
        *ret_lanes = 8;
        return stn_digest_wide_avx512;
    }
    *ret_lanes = 4;
    return n > 1 && most >= 4 && __builtin_cpu_supports("avx2") ? stn_digest_wide_avx2 : NULL;
}
#else
static stn_digest_wide_kernel *choose(size_t n, size_t *ret_lanes)
{
    (void)n;
    *ret_lanes = 0;
    return NULL;
}
#endif

/* RFC 7693, 2.6; a hash of 32 bytes without a key. */
static void start(uint64_t *h, size_t lanes)
{
    static const uint64_t iv[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                   0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    for (size_t i = 0; i < 8 * lanes; i++) {
        h[i] = iv[i / lanes] ^ (i / lanes == 0 ? 0x01010000 ^ STN_DIGEST_SIZE : 0);
    }
}

/* A leaf is the hash of a zero and the chunk, so blocks begin one byte before theirs: the first and the last are put
 * together, those between lie in the chunk. */
static void hash(struct stn_digest *ret, const uint8_t *p, size_t n, size_t lanes, stn_digest_wide_kernel *kernel)
{
    const uint8_t *from[STN_DIGEST_WIDE_LANES] = {0};
    uint8_t edge[STN_DIGEST_WIDE_LANES][BLOCK];
    uint64_t h[8 * STN_DIGEST_WIDE_LANES];
    start(h, lanes);
    for (size_t l = 0; l < lanes; l++) { /* lanes past the last chunk repeat the first */
        const uint8_t *chunk = p + (l < n ? l : 0) * STN_DIGEST_CHUNK;
        edge[l][0] = 0;
        memcpy(edge[l] + 1, chunk, BLOCK - 1);
        from[l] = edge[l];
    }
    kernel(h, from, 1, 0, 0);
    for (size_t l = 0; l < lanes; l++) {
        from[l] = p + (l < n ? l : 0) * STN_DIGEST_CHUNK + BLOCK - 1;
    }
    kernel(h, from, STN_DIGEST_CHUNK / BLOCK - 1, BLOCK, 0);
    for (size_t l = 0; l < lanes; l++) {
        memset(edge[l], 0, BLOCK);
        edge[l][0] = from[l][STN_DIGEST_CHUNK - BLOCK];
        from[l] = edge[l];
    }
    kernel(h, from, 1, STN_DIGEST_CHUNK, STN_DIGEST_CHUNK + 1);
    for (size_t i = 0; i < n * (STN_DIGEST_SIZE / 8); i++) {
        size_t l = i / (STN_DIGEST_SIZE / 8), w = i % (STN_DIGEST_SIZE / 8);
        stn_buf_put_u64(ret[l].bytes + 8 * w, h[w * lanes + l]);
    }
}

size_t stn_digest_wide_leaves(struct stn_digest *ret, const uint8_t *p, size_t n)
{
    size_t lanes;
    stn_digest_wide_kernel *kernel = choose(n, &lanes);
    if (kernel == NULL) {
        return 0;
    }
    n = n < lanes ? n : lanes;
    hash(ret, p, n, lanes, kernel);
    return n;
}

void stn_digest_wide_limit(size_t lanes)
{
    assert(lanes <= STN_DIGEST_WIDE_LANES);
    atomic_store_explicit(&limit, lanes, memory_order_relaxed);
}
