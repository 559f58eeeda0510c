/* signed: what is signed in a round, byte by byte: cfg names the round's config, and every other signature is bound to
 * it. Both ends build the same bytes here, little endian:
 *   config     cfg                                    by the coordinator, label "SA1/config"
 *   advertise  cfg                                    by the device, "SA1/advertise"
 *   roster     cfg, le32 members, R                   by the coordinator, "SA1/roster" (secagg/roster.h: R is the root,
 *                                                     with the tier folded in where there is one)
 *   put_end    cfg, the upload's digest               by the device, "SA1/upload"
 *   result     cfg, the adapter's digest, le32 count  by the coordinator, "SA1/result"
 * The verifications give STN_DENIED when the signature is another's or of something else. Thread: any. */
#ifndef STN_CHANNEL_SIGNED_H
#define STN_CHANNEL_SIGNED_H

#include <stdint.h>

#include "base/err.h"
#include "crypto/ident.h"
#include "proto/msg.h"

/* cfg: H of the config's bytes without its signature. */
enum stn_code stn_signed_cfg(const struct stn_msg_round_config *config, struct stn_digest *ret,
                             struct stn_err *err) STN_CHECKED;

/* Each fills in the message's signature. */
void stn_signed_config(struct stn_msg_round_config *config, const struct stn_digest *cfg, const struct stn_ident *by);
void stn_signed_roster(struct stn_msg_roster *roster, const struct stn_digest *cfg, const struct stn_ident *by);
void stn_signed_result(struct stn_msg_result *result, const struct stn_digest *cfg, const struct stn_ident *by);
/* message.config is filled in as well. */
void stn_signed_advertise(struct stn_msg_advertise *advertise, const struct stn_digest *cfg, const struct stn_ident *by);
void stn_signed_put_end(struct stn_msg_put_end *put_end, const struct stn_digest *cfg, const struct stn_ident *by);

enum stn_code stn_signed_config_verify(const struct stn_msg_round_config *config, const struct stn_digest *cfg,
                                       const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err) STN_CHECKED;
enum stn_code stn_signed_roster_verify(const struct stn_msg_roster *roster, const struct stn_digest *cfg,
                                       const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err) STN_CHECKED;
enum stn_code stn_signed_result_verify(const struct stn_msg_result *result, const struct stn_digest *cfg,
                                       const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err) STN_CHECKED;
/* Also that it is this config that was signed. */
enum stn_code stn_signed_advertise_verify(const struct stn_msg_advertise *advertise, const struct stn_digest *cfg,
                                          const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err) STN_CHECKED;
enum stn_code stn_signed_put_end_verify(const struct stn_msg_put_end *put_end, const struct stn_digest *cfg,
                                        const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err) STN_CHECKED;

#endif
