#include "crypto/mask.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/mask_kernel.h"

#define SUPERBLOCK_BYTES (4 * STN_MASK_SUPERBLOCK)
#define AHEAD 4 /* superblocks that the library makes at once */

/* One load, where that is what it is. */
static inline uint32_t word_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The library's blocks, and the order of their words: the definition that runs everywhere. */
static void portable(uint32_t *v, size_t n, const uint32_t state[static 16], bool is_minus)
{
    uint8_t key[32], nonce[12], blocks[AHEAD * SUPERBLOCK_BYTES];
    uint32_t sign = 0 - (uint32_t)is_minus; /* (x ^ sign) - sign is x or -x */
    for (int i = 0; i < 8; i++) {
        stn_buf_put_u32(key + 4 * i, state[4 + i]);
    }
    for (int i = 0; i < 3; i++) {
        stn_buf_put_u32(nonce + 4 * i, state[13 + i]);
    }
    for (size_t s = 0; s < n; s++) {
        const uint8_t *block = blocks + s % AHEAD * SUPERBLOCK_BYTES;
        if (s % AHEAD == 0) {
            size_t size =
                (n - s < AHEAD ? n - s : AHEAD) * SUPERBLOCK_BYTES; /* none past the end */
            memset(blocks, 0, size);
            (void)crypto_stream_chacha20_ietf_xor_ic(blocks, blocks, size, nonce,
                                                     state[12] + (uint32_t)(16 * s), key);
        }
        for (size_t w = 0; w < 16; w++) {
            uint32_t *to = v + 256 * s + 16 * w;
            for (size_t l = 0; l < 16; l++) {
                uint32_t word = word_at(block + 64 * l + 4 * w);
                to[l] += (word ^ sign) - sign;
            }
        }
    }
    sodium_memzero(key, sizeof key);
    sodium_memzero(blocks, sizeof blocks);
}

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
    return __builtin_cpu_supports("avx512f");
}
#endif

static const struct variant {
    const char *name;
    bool (*runs)(void);
    stn_mask_kernel *kernel;
} variants[] = {
    {"portable", runs_always, portable},
#ifdef __x86_64__
    {"avx2", runs_avx2, stn_mask_avx2},
    {"avx512", runs_avx512, stn_mask_avx512},
#endif
#ifdef __aarch64__
    {"neon", runs_always, stn_mask_neon},
#endif
};

#define N_VARIANTS (sizeof variants / sizeof *variants)

static const struct variant *_Atomic chosen;

/* The last that runs: two threads that get here together find the same. */
static const struct variant *choice(void)
{
    const struct variant *found = atomic_load_explicit(&chosen, memory_order_relaxed);
    for (size_t i = N_VARIANTS; found == NULL && i > 0; i--) {
        if (variants[i - 1].runs()) {
            found = &variants[i - 1];
            atomic_store_explicit(&chosen, found, memory_order_relaxed);
        }
    }
    return found;
}

const char *stn_mask_variant(size_t i)
{
    for (size_t row = 0; row < N_VARIANTS; row++) {
        if (variants[row].runs() && i-- == 0) {
            return variants[row].name;
        }
    }
    return NULL;
}

const char *stn_mask_chosen(void)
{
    return choice()->name;
}

bool stn_mask_choose(const char *name)
{
    for (size_t row = 0; row < N_VARIANTS; row++) {
        if (strcmp(variants[row].name, name) == 0 && variants[row].runs()) {
            atomic_store_explicit(&chosen, &variants[row], memory_order_relaxed);
            return true;
        }
    }
    return false;
}

/* RFC 8439, 2.3. */
static void start(uint32_t state[static 16], const struct stn_mask *mask, uint64_t superblock)
{
    static const uint32_t words[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(state, words, sizeof words);
    for (int i = 0; i < 8; i++) {
        state[4 + i] = stn_buf_get_u32(mask->seed + 4 * i);
    }
    state[12] = (uint32_t)(16 * superblock);
    for (int i = 0; i < 3; i++) {
        state[13 + i] = stn_buf_get_u32(mask->nonce + 4 * i);
    }
}

/* n elements of one tile. */
static void mask_tile(uint32_t *v, size_t n, uint64_t first, const struct stn_mask *mask)
{
    uint32_t state[16], rest[STN_MASK_SUPERBLOCK];
    size_t whole = n / STN_MASK_SUPERBLOCK, n_rest = n % STN_MASK_SUPERBLOCK;
    start(state, mask, first);
    choice()->kernel(v, whole, state, mask->is_minus);
    if (n_rest > 0) {
        uint32_t *to = v + whole * STN_MASK_SUPERBLOCK;
        memset(rest, 0, sizeof rest);
        memcpy(rest, to, n_rest * sizeof *rest);
        state[12] += (uint32_t)(16 * whole);
        choice()->kernel(rest, 1, state, mask->is_minus);
        memcpy(to, rest, n_rest * sizeof *rest);
    }
    sodium_memzero(state, sizeof state);
}

void stn_mask_apply(uint32_t *v, size_t n, uint64_t first, const struct stn_mask *masks,
                    size_t n_masks)
{
    assert(first <= STN_MASK_ELEMENTS / STN_MASK_SUPERBLOCK);
    assert(n <= STN_MASK_ELEMENTS - first * STN_MASK_SUPERBLOCK);
    for (size_t at = 0; at < n; at += STN_MASK_TILE) {
        size_t n_tile = n - at < STN_MASK_TILE ? n - at : STN_MASK_TILE;
        for (size_t i = 0; i < n_masks; i++) {
            mask_tile(v + at, n_tile, first + at / STN_MASK_SUPERBLOCK, &masks[i]);
        }
    }
}
