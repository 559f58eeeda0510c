/* round: the encoding that a round's config asks for. Both sides derive it from the same signed numbers.
 * Thread: any. */
#ifndef STN_UPDATE_ROUND_H
#define STN_UPDATE_ROUND_H

#include "base/err.h"
#include "proto/msg.h"
#include "update/encode.h"

/* STN_INVALID or STN_LIMIT, as stn_encode_config_for, for a config that nobody can encode for. */
enum stn_code stn_round_encoding(const struct stn_msg_round_config *round, struct stn_encode_config *ret,
                                 struct stn_err *err) STN_CHECKED;

/* Bytes of one member's packed vector: elements times bits / 8. */
uint64_t stn_round_upload_size(const struct stn_encode_config *encoding);

#endif
