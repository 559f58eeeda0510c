#include "client/shell/genuine.h"

#include "channel/signed.h"

static void name_config(const struct stn_msg_round_config *config, const uint8_t key[static STN_IDENT_PUBLIC],
                        struct stn_digest *ret, struct stn_err *err)
{
    struct stn_digest digest;
    enum stn_code code = stn_signed_cfg(config, &digest, err);
    code = code == STN_OK ? stn_signed_config_verify(config, &digest, key, err) : code;
    *ret = code == STN_OK ? digest : (struct stn_digest){0};
}

enum stn_code stn_genuine_reply(const struct stn_msg *reply, const struct stn_digest *cfg,
                                const uint8_t key[static STN_IDENT_PUBLIC], struct stn_digest *ret_config,
                                struct stn_err *err)
{
    *ret_config = (struct stn_digest){0};
    switch (reply->type) {
    case STN_MSG_ROUND_CONFIG:
        name_config(&reply->round_config, key, ret_config, err);
        return STN_OK;
    case STN_MSG_ROSTER:
        return stn_signed_roster_verify(&reply->roster, cfg, key, err);
    case STN_MSG_RESULT:
        return stn_signed_result_verify(&reply->result, cfg, key, err);
    default:
        return STN_OK;
    }
}
