#include "secagg/derive.h"

#include <string.h>

#include "base/buf.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"

void stn_derive_mask_secret(uint8_t ret[static 32], const uint8_t mseed[static 32],
                            const struct stn_digest *cfg)
{
    stn_digest_kdf(ret, mseed, "SA1/skM", cfg->bytes, sizeof cfg->bytes);
    ret[0] &= 0xf8; /* RFC 7748, 5: the clamp */
    ret[31] = (ret[31] & 0x7f) | 0x40;
}

void stn_derive_graph_seed(uint8_t ret[static 32], const struct stn_derive_round *round)
{
    uint8_t ctx[32 + 4];
    memcpy(ctx, round->cfg.bytes, 32);
    stn_buf_put_u32(ctx + 32, round->n);
    stn_digest_kdf(ret, round->root.bytes, "SA1/graph", ctx, sizeof ctx);
}

static void transport(uint8_t ret[static 32], const struct stn_derive_round *round, const uint8_t shared[static 32],
                      const uint8_t from[static 32], const uint8_t to[static 32])
{
    uint8_t ctx[4 * 32];
    memcpy(ctx, round->cfg.bytes, 32);
    memcpy(ctx + 32, round->root.bytes, 32);
    memcpy(ctx + 64, from, 32);
    memcpy(ctx + 96, to, 32);
    stn_digest_kdf(ret, shared, "SA1/enc", ctx, sizeof ctx);
}

enum stn_code stn_derive_transport(uint8_t ret_out[static 32], uint8_t ret_in[static 32],
                                   const struct stn_derive_round *round,
                                   const uint8_t secret[static 32], const uint8_t theirs[static 32],
                                   const uint8_t me[static 32], const uint8_t them[static 32],
                                   struct stn_err *err)
{
    uint8_t shared[32];
    enum stn_code code = stn_dh_shared(shared, secret, theirs, err);
    if (code != STN_OK) {
        return code;
    }
    transport(ret_out, round, shared, me, them);
    transport(ret_in, round, shared, them, me);
    stn_entropy_wipe(shared, sizeof shared);
    return STN_OK;
}

enum stn_code stn_derive_pair(uint8_t ret[static 32], const struct stn_derive_round *round,
                              const uint8_t secret[static 32], const struct stn_derive_party *mine,
                              const struct stn_derive_party *theirs, struct stn_err *err)
{
    uint8_t shared[32], ctx[4 * 32 + 8];
    enum stn_code code = stn_dh_shared(shared, secret, theirs->mask_key, err);
    if (code != STN_OK) {
        return code;
    }
    bool first = mine->index < theirs->index;
    const struct stn_derive_party *lo = first ? mine : theirs, *hi = first ? theirs : mine;
    memcpy(ctx, round->cfg.bytes, 32);
    memcpy(ctx + 32, round->root.bytes, 32);
    stn_buf_put_u32(ctx + 64, lo->index);
    stn_buf_put_u32(ctx + 68, hi->index);
    memcpy(ctx + 72, lo->mask_key, 32);
    memcpy(ctx + 104, hi->mask_key, 32);
    stn_digest_kdf(ret, shared, "SA1/mask", ctx, sizeof ctx);
    stn_entropy_wipe(shared, sizeof shared);
    return STN_OK;
}

struct stn_digest stn_derive_commitment(const uint8_t self_seed[static 32])
{
    uint8_t text[5 + 32] = "SA1/b";
    memcpy(text + 5, self_seed, 32);
    struct stn_digest ret = stn_digest_of(text, sizeof text);
    stn_entropy_wipe(text, sizeof text);
    return ret;
}
