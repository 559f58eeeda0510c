#include "secagg/roster.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/buf.h"

static_assert(sizeof(struct stn_advert) == 289, "an advert has no gaps");

enum { SIGNED_PART = offsetof(struct stn_advert, signature) };

/* cfg, and the advert up to its signature or with it. */
static void advert_text(uint8_t text[static 32 + sizeof(struct stn_advert)],
                        const struct stn_advert *advert, const struct stn_digest *cfg)
{
    memcpy(text, cfg->bytes, 32);
    memcpy(text + 32, advert, sizeof *advert);
}

void stn_roster_advert_sign(struct stn_advert *advert, const struct stn_digest *cfg,
                            const struct stn_ident *device, const struct stn_ident_cert *cert)
{
    uint8_t text[32 + sizeof *advert];
    memcpy(advert->id, device->pub, sizeof advert->id);
    memcpy(advert->token, cert->token.bytes, sizeof advert->token);
    stn_buf_put_u64(advert->issued_at_s, cert->issued_at_s);
    memcpy(advert->certificate, cert->signature, sizeof advert->certificate);
    advert_text(text, advert, cfg);
    stn_ident_sign(advert->signature, device, "SA1/advert", text, 32 + SIGNED_PART);
}

static enum stn_code verify_certificate(const struct stn_advert *advert, const uint8_t directory[static STN_IDENT_PUBLIC],
                                        struct stn_roster_known *known, struct stn_err *err)
{
    struct {
        uint8_t directory[STN_IDENT_PUBLIC];
        struct stn_ident_cert cert;
    } text; /* without gaps */
    static_assert(sizeof text == STN_IDENT_PUBLIC + STN_IDENT_CERT, "a certificate has no gaps");
    text.cert.issued_at_s = stn_buf_get_u64(advert->issued_at_s);
    memcpy(text.directory, directory, sizeof text.directory);
    memcpy(text.cert.device, advert->id, sizeof text.cert.device);
    memcpy(text.cert.token.bytes, advert->token, sizeof text.cert.token.bytes);
    memcpy(text.cert.signature, advert->certificate, sizeof text.cert.signature);
    if (known == NULL) {
        return stn_ident_cert_verify(&text.cert, directory, err);
    }
    struct stn_digest digest = stn_digest_of(&text, sizeof text);
    struct stn_digest *place = &known->certificates[digest.bytes[0]];
    if (stn_digest_equal(place, &digest)) {
        return STN_OK;
    }
    enum stn_code code = stn_ident_cert_verify(&text.cert, directory, err);
    if (code == STN_OK) {
        *place = digest;
    }
    return code;
}

enum stn_code stn_roster_advert_verify(const struct stn_advert *advert,
                                       const struct stn_digest *cfg,
                                       const uint8_t directory[static STN_IDENT_PUBLIC],
                                       struct stn_roster_known *known, struct stn_err *err)
{
    uint8_t text[32 + sizeof *advert];
    enum stn_code code = verify_certificate(advert, directory, known, err);
    if (code != STN_OK) {
        return code;
    }
    advert_text(text, advert, cfg);
    return stn_ident_verify(advert->signature, advert->id, "SA1/advert", text, 32 + SIGNED_PART,
                            err);
}

struct stn_digest stn_roster_order(const struct stn_advert *advert, const struct stn_digest *cfg)
{
    uint8_t text[32 + 32 + sizeof advert->nonce];
    memcpy(text, cfg->bytes, 32);
    memcpy(text + 32, advert->id, 32);
    memcpy(text + 64, advert->nonce, sizeof advert->nonce);
    return stn_digest_of(text, sizeof text);
}

struct stn_digest stn_roster_leaf(const struct stn_advert *advert, const struct stn_digest *cfg)
{
    uint8_t text[32 + sizeof *advert];
    advert_text(text, advert, cfg);
    return stn_digest_leaf(text, sizeof text);
}

struct stn_digest stn_roster_fold(const struct stn_digest *root, uint32_t tier)
{
    static const char label[] = "SA1/tier";
    uint8_t text[8 + 32 + 4];
    if (tier == 0) {
        return *root;
    }
    memcpy(text, label, 8);
    memcpy(text + 8, root->bytes, 32);
    stn_buf_put_u32(text + 40, tier);
    return stn_digest_of(text, sizeof text);
}

static void roster_text(uint8_t text[static 68], const struct stn_derive_round *round)
{
    memcpy(text, round->cfg.bytes, 32);
    stn_buf_put_u32(text + 32, round->n);
    memcpy(text + 36, round->root.bytes, 32);
}

void stn_roster_sign(uint8_t ret[static STN_IDENT_SIGNATURE], const struct stn_derive_round *round,
                     const struct stn_ident *coordinator)
{
    uint8_t text[68];
    roster_text(text, round);
    stn_ident_sign(ret, coordinator, "SA1/roster", text, sizeof text);
}

enum stn_code stn_roster_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                const struct stn_derive_round *round,
                                const uint8_t coordinator[static STN_IDENT_PUBLIC],
                                struct stn_err *err)
{
    uint8_t text[68];
    roster_text(text, round);
    return stn_ident_verify(signature, coordinator, "SA1/roster", text, sizeof text, err);
}

static void share_text(uint8_t text[static 128], const struct stn_derive_round *round,
                       const struct stn_digest *commitment, const struct stn_sealed *sealed,
                       uint32_t n_sealed)
{
    struct stn_digest all = stn_digest_of(sealed, n_sealed * sizeof *sealed);
    memcpy(text, round->cfg.bytes, 32);
    memcpy(text + 32, round->root.bytes, 32);
    memcpy(text + 64, commitment->bytes, 32);
    memcpy(text + 96, all.bytes, 32);
}

void stn_roster_share_sign(uint8_t ret[static STN_IDENT_SIGNATURE],
                           const struct stn_derive_round *round,
                           const struct stn_digest *commitment, const struct stn_sealed *sealed,
                           uint32_t n_sealed, const struct stn_ident *device)
{
    uint8_t text[128];
    share_text(text, round, commitment, sealed, n_sealed);
    stn_ident_sign(ret, device, "SA1/share", text, sizeof text);
}

enum stn_code stn_roster_share_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                      const struct stn_derive_round *round,
                                      const struct stn_digest *commitment,
                                      const struct stn_sealed *sealed, uint32_t n_sealed,
                                      const uint8_t device[static STN_IDENT_PUBLIC],
                                      struct stn_err *err)
{
    uint8_t text[128];
    share_text(text, round, commitment, sealed, n_sealed);
    return stn_ident_verify(signature, device, "SA1/share", text, sizeof text, err);
}

static void upload_text(uint8_t text[static 64], const struct stn_digest *cfg,
                        const struct stn_digest *upload)
{
    memcpy(text, cfg->bytes, 32);
    memcpy(text + 32, upload->bytes, 32);
}

void stn_roster_upload_sign(uint8_t ret[static STN_IDENT_SIGNATURE], const struct stn_digest *cfg,
                            const struct stn_digest *upload, const struct stn_ident *device)
{
    uint8_t text[64];
    upload_text(text, cfg, upload);
    stn_ident_sign(ret, device, "SA1/upload", text, sizeof text);
}

enum stn_code stn_roster_upload_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                       const struct stn_digest *cfg,
                                       const struct stn_digest *upload,
                                       const uint8_t device[static STN_IDENT_PUBLIC],
                                       struct stn_err *err)
{
    uint8_t text[64];
    upload_text(text, cfg, upload);
    return stn_ident_verify(signature, device, "SA1/upload", text, sizeof text, err);
}

struct stn_digest stn_roster_survivor_leaf(uint32_t index, const struct stn_digest *upload)
{
    uint8_t text[4 + 1 + 32] = {0};
    stn_buf_put_u32(text, index);
    if (upload != NULL) {
        text[4] = 1;
        memcpy(text + 5, upload->bytes, 32);
    }
    return stn_digest_leaf(text, sizeof text);
}

static const char *const labels[] = {
    [STN_ROSTER_SURVIVORS] = "SA1/survivors",
    [STN_ROSTER_ACK] = "SA1/ack",
};

static void survivors_text(uint8_t text[static 100], const struct stn_derive_round *round,
                           const struct stn_roster_survivors *survivors)
{
    memcpy(text, round->cfg.bytes, 32);
    memcpy(text + 32, round->root.bytes, 32);
    memcpy(text + 64, survivors->root.bytes, 32);
    stn_buf_put_u32(text + 96, survivors->n);
}

void stn_roster_survivors_sign(uint8_t ret[static STN_IDENT_SIGNATURE], enum stn_roster_voice voice,
                               const struct stn_derive_round *round,
                               const struct stn_roster_survivors *survivors,
                               const struct stn_ident *by)
{
    uint8_t text[100];
    survivors_text(text, round, survivors);
    stn_ident_sign(ret, by, labels[voice], text, sizeof text);
}

enum stn_code stn_roster_survivors_verify(const uint8_t signature[static STN_IDENT_SIGNATURE],
                                          enum stn_roster_voice voice,
                                          const struct stn_derive_round *round,
                                          const struct stn_roster_survivors *survivors,
                                          const uint8_t by[static STN_IDENT_PUBLIC],
                                          struct stn_err *err)
{
    uint8_t text[100];
    survivors_text(text, round, survivors);
    return stn_ident_verify(signature, by, labels[voice], text, sizeof text, err);
}
