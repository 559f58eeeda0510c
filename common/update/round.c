#include "update/round.h"

#include <string.h>

enum stn_code stn_round_encoding(const struct stn_msg_round_config *round, struct stn_encode_config *ret,
                                 struct stn_err *err)
{
    struct stn_encode_config config = {.n_values = (size_t)round->n_values,
                                       .n_members = round->n_max,
                                       .n_tiers = round->n_halvings + 1,
                                       .w_max = round->weight_max,
                                       .bits = round->bits,
                                       .clip = round->clip_norm};
    memcpy(config.seed, round->seed, sizeof config.seed);
    enum stn_code code = stn_encode_config_for(&config, err);
    if (code == STN_OK) {
        *ret = config;
    }
    return code;
}

uint64_t stn_round_upload_size(const struct stn_encode_config *encoding)
{
    return (uint64_t)stn_encode_length(encoding) * (encoding->bits / 8);
}
