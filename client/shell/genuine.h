/* genuine: whether what a coordinator says in a round is signed by the key that was pinned when the device joined. The
 * channel says who sends; a signature says it to everybody, and binds it to one config. Thread: any. */
#ifndef STN_CLIENT_SHELL_GENUINE_H
#define STN_CLIENT_SHELL_GENUINE_H

#include "base/err.h"
#include "crypto/ident.h"
#include "proto/msg.h"

/* cfg: of the round that the device is in. A round_config gives *ret_config, H of its bytes, or zero when it is not
 * genuine: the core declines it. A roster or result that is not genuine is STN_DENIED, and never reaches the core. Other
 * messages carry no signature and are STN_OK. *err says why in both cases. */
enum stn_code stn_genuine_reply(const struct stn_msg *reply, const struct stn_digest *cfg,
                                const uint8_t key[static STN_IDENT_PUBLIC], struct stn_digest *ret_config,
                                struct stn_err *err) STN_CHECKED;

#endif
