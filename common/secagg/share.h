/* share: what a dealer seals for a neighbour: a share of its self seed and one of its mask seed, each
 * in a box of its own.
 *
 *   key = KDF(transport, "SA1/box", le32 of)    transport: derive.h, of the pair in this direction
 *   box = XChaCha20-Poly1305(key, nonce 0, le32 dealer || le32 holder || le32 slot, the share)
 *
 * The holder opens a share by showing the key of its box, not the share. What is found in the box is
 * then what the dealer has put there and signed (roster.h): a false share is the dealer's lie and
 * nobody else's. A key that fits the box not at all is the lie of one of the two: the tag of a box
 * that is there already fits no other key but once in 2^128. From one box's key the other's does not
 * follow. Thread: any. */
#ifndef STN_SECAGG_SHARE_H
#define STN_SECAGG_SHARE_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/shamir.h"
#include "proto/msg.h"

enum stn_share_of { STN_SHARE_OF_SELF = 0, STN_SHARE_OF_MASK = 1 };

struct stn_share_place {
    uint32_t dealer, holder; /* in the roster */
    uint32_t slot;           /* of the holder among the dealer's neighbours */
};

/* Secret until the holder shows it. */
void stn_share_key(uint8_t ret[static 32], const uint8_t transport[static 32],
                   enum stn_share_of of);

void stn_share_seal(struct stn_sealed *ret, enum stn_share_of of, const uint8_t key[static 32],
                    const struct stn_share_place *place, const struct stn_shamir_share *share);

/* STN_DENIED when the box was not sealed under this key; STN_CORRUPT when it was, and there is no
 * share in it. */
enum stn_code stn_share_open(struct stn_shamir_share *ret, enum stn_share_of of,
                             const uint8_t key[static 32], const struct stn_share_place *place,
                             const struct stn_sealed *from) STN_CHECKED;

#endif
