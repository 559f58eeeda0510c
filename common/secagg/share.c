#include "secagg/share.h"

#include "base/buf.h"
#include "crypto/box.h"
#include "crypto/digest.h"
#include "crypto/entropy.h"

void stn_share_key(uint8_t ret[static 32], const uint8_t transport[static 32], enum stn_share_of of)
{
    uint8_t ctx[4];
    stn_buf_put_u32(ctx, of);
    stn_digest_kdf(ret, transport, "SA1/box", ctx, sizeof ctx);
}

static void ad_of(uint8_t ad[static 12], const struct stn_share_place *place)
{
    stn_buf_put_u32(ad, place->dealer);
    stn_buf_put_u32(ad + 4, place->holder);
    stn_buf_put_u32(ad + 8, place->slot);
}

void stn_share_seal(struct stn_sealed *ret, enum stn_share_of of, const uint8_t key[static 32],
                    const struct stn_share_place *place, const struct stn_shamir_share *share)
{
    uint8_t ad[12], text[STN_SHAMIR_BYTES];
    ad_of(ad, place);
    stn_shamir_put(share, text);
    stn_box_seal(ret->boxes[of], key, ad, sizeof ad, text, sizeof text);
    stn_entropy_wipe(text, sizeof text);
}

enum stn_code stn_share_open(struct stn_shamir_share *ret, enum stn_share_of of,
                             const uint8_t key[static 32], const struct stn_share_place *place,
                             const struct stn_sealed *from)
{
    uint8_t ad[12], text[STN_SHAMIR_BYTES];
    ad_of(ad, place);
    if (stn_box_open(text, key, ad, sizeof ad, from->boxes[of], sizeof from->boxes[of], NULL) !=
        STN_OK) {
        return STN_DENIED;
    }
    enum stn_code code = stn_shamir_get(ret, text, NULL);
    stn_entropy_wipe(text, sizeof text);
    return code;
}
