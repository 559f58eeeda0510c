#include "channel/signed.h"

#include <string.h>

#include "base/buf.h"
#include "proto/codec.h"
#include "secagg/roster.h"

#define LABEL_CONFIG "SA1/config"
#define LABEL_ADVERTISE "SA1/advertise"
#define LABEL_UPLOAD "SA1/upload"
#define LABEL_RESULT "SA1/result"

struct result_bytes {
    uint8_t p[STN_DIGEST_SIZE + STN_DIGEST_SIZE + 4];
};
struct upload_bytes {
    uint8_t p[STN_DIGEST_SIZE + STN_DIGEST_SIZE];
};

static struct stn_derive_round of_roster(const struct stn_msg_roster *roster, const struct stn_digest *cfg)
{
    struct stn_digest root;
    memcpy(root.bytes, roster->root, sizeof root.bytes);
    return (struct stn_derive_round){.cfg = *cfg, .root = stn_roster_fold(&root, roster->tier), .n = roster->n_members};
}

static struct result_bytes of_result(const struct stn_msg_result *result, const struct stn_digest *cfg)
{
    struct result_bytes bytes;
    memcpy(bytes.p, cfg->bytes, STN_DIGEST_SIZE);
    memcpy(bytes.p + STN_DIGEST_SIZE, result->adapter.digest.bytes, STN_DIGEST_SIZE);
    stn_buf_put_u32(bytes.p + 2 * STN_DIGEST_SIZE, result->n_included);
    return bytes;
}

static struct upload_bytes of_upload(const struct stn_msg_put_end *put_end, const struct stn_digest *cfg)
{
    struct upload_bytes bytes;
    memcpy(bytes.p, cfg->bytes, STN_DIGEST_SIZE);
    memcpy(bytes.p + STN_DIGEST_SIZE, put_end->digest.bytes, STN_DIGEST_SIZE);
    return bytes;
}

enum stn_code stn_signed_cfg(const struct stn_msg_round_config *config, struct stn_digest *ret, struct stn_err *err)
{
    struct stn_buf buf = {0};
    enum stn_code code = stn_codec_round_config_bytes(config, &buf, err);
    if (code == STN_OK) {
        *ret = stn_digest_of(buf.data, buf.size);
    }
    stn_buf_fini(&buf);
    return code;
}

void stn_signed_config(struct stn_msg_round_config *config, const struct stn_digest *cfg, const struct stn_ident *by)
{
    stn_ident_sign(config->signature, by, LABEL_CONFIG, cfg->bytes, sizeof cfg->bytes);
}

void stn_signed_roster(struct stn_msg_roster *roster, const struct stn_digest *cfg, const struct stn_ident *by)
{
    struct stn_derive_round round = of_roster(roster, cfg);
    stn_roster_sign(roster->signature, &round, by);
}

void stn_signed_result(struct stn_msg_result *result, const struct stn_digest *cfg, const struct stn_ident *by)
{
    struct result_bytes bytes = of_result(result, cfg);
    stn_ident_sign(result->signature, by, LABEL_RESULT, bytes.p, sizeof bytes.p);
}

void stn_signed_advertise(struct stn_msg_advertise *advertise, const struct stn_digest *cfg, const struct stn_ident *by)
{
    advertise->config = *cfg;
    stn_ident_sign(advertise->signature, by, LABEL_ADVERTISE, cfg->bytes, sizeof cfg->bytes);
}

void stn_signed_put_end(struct stn_msg_put_end *put_end, const struct stn_digest *cfg, const struct stn_ident *by)
{
    struct upload_bytes bytes = of_upload(put_end, cfg);
    stn_ident_sign(put_end->signature, by, LABEL_UPLOAD, bytes.p, sizeof bytes.p);
}

enum stn_code stn_signed_config_verify(const struct stn_msg_round_config *config, const struct stn_digest *cfg,
                                       const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    return stn_ident_verify(config->signature, by, LABEL_CONFIG, cfg->bytes, sizeof cfg->bytes, err);
}

enum stn_code stn_signed_roster_verify(const struct stn_msg_roster *roster, const struct stn_digest *cfg,
                                       const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    struct stn_derive_round round = of_roster(roster, cfg);
    return stn_roster_verify(roster->signature, &round, by, err);
}

enum stn_code stn_signed_result_verify(const struct stn_msg_result *result, const struct stn_digest *cfg,
                                       const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    struct result_bytes bytes = of_result(result, cfg);
    return stn_ident_verify(result->signature, by, LABEL_RESULT, bytes.p, sizeof bytes.p, err);
}

enum stn_code stn_signed_advertise_verify(const struct stn_msg_advertise *advertise, const struct stn_digest *cfg,
                                          const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    if (!stn_digest_equal(&advertise->config, cfg)) {
        return stn_err_set(err, STN_DENIED, "the device has signed another config than this round's");
    }
    return stn_ident_verify(advertise->signature, by, LABEL_ADVERTISE, cfg->bytes, sizeof cfg->bytes, err);
}

enum stn_code stn_signed_put_end_verify(const struct stn_msg_put_end *put_end, const struct stn_digest *cfg,
                                        const uint8_t by[static STN_IDENT_PUBLIC], struct stn_err *err)
{
    struct upload_bytes bytes = of_upload(put_end, cfg);
    return stn_ident_verify(put_end->signature, by, LABEL_UPLOAD, bytes.p, sizeof bytes.p, err);
}
