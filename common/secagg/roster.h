/* roster: what members of a round vouch for, as the bytes that are signed and hashed.
 *
 *   advert     cfg || id || E || M || nonce || version || tier || certificate   by the device, "SA1/advert"
 *   roster     cfg || le32 n || R                                       by the coordinator,
 * "SA1/roster" share      cfg || R || commitment || H(sealed shares)               by the device,
 * "SA1/share" upload     cfg || H(y)                                              by the device,
 * "SA1/upload" survivors  cfg || R || R3 || le32 |U3|                              by the
 * coordinator, "SA1/survivors" ack        cfg || R || R3 || le32 |U3| by the device, "SA1/ack"
 *
 * Where ranks are mixed, the round has a tier: ranks above it are in no delta, because too few
 * members have trained them. R is then H("SA1/tier" || root || le32 tier) instead of the root, so
 * that the coordinator's signature and every key depend on it: who is told another tier shares no
 * mask with anybody. A member goes on when it has seen for itself that n_min members, itself and
 * neighbours of the same or a lower number of tier, have the ranks that are left.
 *
 * The roster is the adverts in the order of H(cfg || id || nonce); R is the root over the leaves
 * H(0x00 || cfg || advert). R3 is the root over n leaves in the same order, H(0x00 || le32 index ||
 * survived || H(y) or zeroes): that a neighbour was lost is proved as well. Verifications give
 * STN_DENIED. Thread: any. */
#ifndef STN_SECAGG_ROSTER_H
#define STN_SECAGG_ROSTER_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/ident.h"
#include "proto/msg.h"
#include "secagg/derive.h"

/* Fills in id, certificate and signature; E, M, nonce and version are there. */
void stn_roster_advert_sign(struct stn_advert *advert, const struct stn_digest *cfg,
                            const struct stn_ident *device, const struct stn_ident_cert *cert);
/* Certificates that have verified under one directory's key, by their digests, each at a place of its own: neighbours come
 * again, and a signature that was right is. Zeroed at first. */
struct stn_roster_known {
    struct stn_digest certificates[256];
};

/* The device signed it, and the directory that is pinned enrolled the device. known may be NULL. */
enum stn_code stn_roster_advert_verify(const struct stn_advert *advert,
                                       const struct stn_digest *cfg,
                                       const uint8_t directory[static STN_IDENT_PUBLIC],
                                       struct stn_roster_known *known,
                                       struct stn_err *err) STN_CHECKED;

/* What adverts are sorted by, and their leaf. */
struct stn_digest stn_roster_order(const struct stn_advert *advert, const struct stn_digest *cfg);
struct stn_digest stn_roster_leaf(const struct stn_advert *advert, const struct stn_digest *cfg);

/* R of a round of this tier. */
struct stn_digest stn_roster_fold(const struct stn_digest *root, uint32_t tier);

void stn_roster_sign(uint8_t ret[static STN_IDENT_SIGNATURE], const struct stn_derive_round *round,
                     const struct stn_ident *coordinator);
enum stn_code stn_roster_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                const struct stn_derive_round *round,
                                const uint8_t coordinator[static STN_IDENT_PUBLIC],
                                struct stn_err *err) STN_CHECKED;

void stn_roster_share_sign(uint8_t ret[static STN_IDENT_SIGNATURE],
                           const struct stn_derive_round *round,
                           const struct stn_digest *commitment, const struct stn_sealed *sealed,
                           uint32_t n_sealed, const struct stn_ident *device);
enum stn_code stn_roster_share_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                      const struct stn_derive_round *round,
                                      const struct stn_digest *commitment,
                                      const struct stn_sealed *sealed, uint32_t n_sealed,
                                      const uint8_t device[static STN_IDENT_PUBLIC],
                                      struct stn_err *err) STN_CHECKED;

void stn_roster_upload_sign(uint8_t ret[static STN_IDENT_SIGNATURE], const struct stn_digest *cfg,
                            const struct stn_digest *upload, const struct stn_ident *device);
enum stn_code stn_roster_upload_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                       const struct stn_digest *cfg,
                                       const struct stn_digest *upload,
                                       const uint8_t device[static STN_IDENT_PUBLIC],
                                       struct stn_err *err) STN_CHECKED;

/* upload is NULL for a member that was lost. */
struct stn_digest stn_roster_survivor_leaf(uint32_t index, const struct stn_digest *upload);

/* A statement about who survived: the coordinator's under "SA1/survivors", a device's that
 * acknowledges it under "SA1/ack". */
struct stn_roster_survivors {
    struct stn_digest root; /* R3 */
    uint32_t n;             /* |U3| */
};
enum stn_roster_voice { STN_ROSTER_SURVIVORS, STN_ROSTER_ACK };

void stn_roster_survivors_sign(uint8_t ret[static STN_IDENT_SIGNATURE], enum stn_roster_voice voice,
                               const struct stn_derive_round *round,
                               const struct stn_roster_survivors *survivors,
                               const struct stn_ident *by);
enum stn_code stn_roster_survivors_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                          enum stn_roster_voice voice,
                                          const struct stn_derive_round *round,
                                          const struct stn_roster_survivors *survivors,
                                          const uint8_t by[static STN_IDENT_PUBLIC],
                                          struct stn_err *err) STN_CHECKED;

#endif
