#include "client/core/secagg_client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "secagg/roster.h"

#define SLACK_MS                                                                                   \
    120000 /* beyond all stages: ways there and back, and a coordinator that restarts */

enum stn_code stn_secagg_client_new(struct stn_secagg_client **ret,
                                    const struct stn_secagg_client_config *config,
                                    struct stn_err *err)
{
    struct stn_secagg_client *client = stn_mem_new(1, sizeof *client);
    if (client == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a secure round");
    }
    client->config = *config;
    *ret = client;
    return STN_OK;
}

static void wipe_masks(struct stn_secagg_client *client)
{
    if (client->masks != NULL) {
        stn_entropy_wipe(client->masks, client->n_masks * sizeof *client->masks);
        stn_mem_free(client->masks);
        client->masks = NULL;
        client->n_masks = 0;
    }
}

static void wipe_seeds(struct stn_secagg_client *client)
{
    stn_entropy_wipe(&client->entropy, sizeof client->entropy);
    stn_entropy_wipe(client->mask_secret, sizeof client->mask_secret);
}

static void wipe_shares(struct stn_secagg_client *client)
{
    for (uint32_t slot = 0; client->neighbours != NULL && slot < client->bound.k; slot++) {
        stn_entropy_wipe(client->neighbours[slot].keys, sizeof client->neighbours[slot].keys);
    }
}

void stn_secagg_client_free(struct stn_secagg_client *client)
{
    if (client == NULL) {
        return;
    }
    wipe_masks(client);
    wipe_shares(client);
    stn_harary_fini(&client->graph);
    stn_mem_free(client->neighbours);
    stn_mem_free(client->sealed);
    stn_mem_free(client->slots);
    if (client->opened != NULL) {
        stn_entropy_wipe(client->opened, client->n_opened * sizeof *client->opened);
    }
    stn_mem_free(client->opened);
    stn_entropy_wipe(client, sizeof *client);
    stn_mem_free(client);
}

uint32_t stn_secagg_client_tier(const struct stn_secagg_client *client)
{
    return client->tier;
}

uint32_t stn_secagg_client_stage(const struct stn_secagg_client *client)
{
    return client->stage;
}

struct stn_secagg_client_effect *stn_secagg_client_emit(struct stn_secagg_client_turn *turn,
                                                        enum stn_secagg_client_effect_type type)
{
    struct stn_secagg_client_effects *effects = turn->effects;
    assert(effects->n < sizeof effects->items / sizeof *effects->items);
    struct stn_secagg_client_effect *effect = &effects->items[effects->n++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void stn_secagg_client_end(struct stn_secagg_client_turn *turn, enum stn_code code)
{
    struct stn_secagg_client *client = turn->client;
    wipe_masks(client);
    wipe_seeds(client);
    wipe_shares(client);
    client->stage = STN_STAGE_DONE;
    stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_WAKE)->at_ms = UINT64_MAX;
    stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_OVER)->code = code;
}

void stn_secagg_client_speak(struct stn_secagg_client_turn *turn, enum stn_stage stage,
                             const struct stn_digest *spoken)
{
    struct stn_secagg_client *client = turn->client;
    client->stage = stage;
    client->record = (struct stn_secagg_client_record){
        .cfg = client->terms.cfg, .root = client->round.root, .stage = stage, .spoken = *spoken};
    stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_SAVE)->record = client->record;
    if (stage == STN_STAGE_UNMASK) {
        wipe_shares(client); /* what is said may be said again; there is nothing else to say */
        wipe_seeds(client);
    }
    if (client->sent.type != STN_MSG_NONE) {
        stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_SEND)->msg = client->sent;
    }
}

static void start(struct stn_secagg_client_turn *turn, const struct stn_secagg_client_event *event)
{
    struct stn_secagg_client *client = turn->client;
    const struct stn_secagg_client_config *config = &client->config;
    const struct stn_terms *terms = event->start.terms;
    assert(client->stage == 0);
    client->terms = *terms;
    if (event->start.record->stage != 0 &&
        stn_digest_equal(&event->start.record->cfg, &terms->cfg)) {
        stn_secagg_client_end(turn, STN_LATE); /* the secrets of that time are gone */
        return;
    }
    if (terms->n_min < config->n_min_floor || terms->params.gamma < config->gamma_floor ||
        terms->params.sigma < config->sigma_floor) {
        stn_secagg_client_end(turn, STN_LIMIT);
        return;
    }
    client->entropy = *event->start.entropy;
    client->round.cfg = terms->cfg;
    stn_derive_mask_secret(client->mask_secret, client->entropy.mask_seed, &terms->cfg);
    stn_dh_public(client->advert.transport, client->entropy.transport);
    stn_dh_public(client->advert.mask, client->mask_secret);
    memcpy(client->advert.nonce, client->entropy.nonce, sizeof client->advert.nonce);
    for (int i = 0; i < 8; i++) {
        client->advert.version[i] = (uint8_t)(event->start.version >> 8 * i);
    }
    client->advert.tier = (uint8_t)event->start.tier;
    if (!stn_terms_allow(terms, &client->advert)) {
        stn_secagg_client_end(turn, STN_INVALID);
        return;
    }
    stn_roster_advert_sign(&client->advert, &terms->cfg, &config->identity, &config->certificate);
    client->sent = (struct stn_msg){.type = STN_MSG_ADVERTISE,
                                    .advertise = {.round = terms->round,
                                                  .config = terms->cfg,
                                                  .has_advert = true,
                                                  .advert = client->advert}};
    stn_ident_sign(client->sent.advertise.signature, &config->identity, "SA1/advertise",
                   terms->cfg.bytes, sizeof terms->cfg.bytes);
    struct stn_digest spoken = stn_digest_of(&client->advert, sizeof client->advert);
    stn_secagg_client_speak(turn, STN_STAGE_ADVERTISE, &spoken);
    stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_WAKE)->at_ms =
        turn->now_ms + terms->join_ms + terms->share_ms + terms->upload_ms + terms->ack_ms +
        terms->unmask_ms + SLACK_MS;
}

/* The vector is masked: its digest is said, once, and the seeds have done their work. */
static void masked(struct stn_secagg_client_turn *turn, const struct stn_secagg_client_event *event)
{
    struct stn_secagg_client *client = turn->client;
    if (client->stage != STN_STAGE_UPLOAD) {
        return;
    }
    const struct stn_digest *digest = &event->masked.digest;
    if (event->masked.code != STN_OK) {
        stn_secagg_client_end(turn, event->masked.code);
        return;
    }
    if (client->has_uploaded) {
        if (!stn_digest_equal(&client->upload, digest)) {
            stn_secagg_client_end(turn,
                                  STN_EXISTS); /* the two would differ by a difference of deltas */
        }
        return;
    }
    wipe_masks(client);
    client->has_uploaded = true;
    client->upload = *digest;
    client->sent = (struct stn_msg){.type = STN_MSG_PUT_END,
                                    .put_end = {.round = client->terms.round, .digest = *digest}};
    stn_roster_upload_sign(client->sent.put_end.signature, &client->terms.cfg, digest,
                           &client->config.identity);
    stn_secagg_client_speak(turn, STN_STAGE_UPLOAD, digest);
}

void stn_secagg_client_step(struct stn_secagg_client *client,
                            const struct stn_secagg_client_event *event,
                            struct stn_secagg_client_effects *ret)
{
    struct stn_secagg_client_turn turn = {client, event->now_ms, ret};
    ret->n = 0;
    if (client->stage == STN_STAGE_DONE) {
        return;
    }
    switch (event->type) {
    case STN_SECAGG_CLIENT_START:
        start(&turn, event);
        return;
    case STN_SECAGG_CLIENT_MESSAGE:
        stn_secagg_client_hear(&turn, event->msg);
        return;
    case STN_SECAGG_CLIENT_MASKED:
        masked(&turn, event);
        return;
    case STN_SECAGG_CLIENT_AGAIN:
        if (client->sent.type != STN_MSG_NONE) {
            stn_secagg_client_emit(&turn, STN_SECAGG_CLIENT_SEND)->msg = client->sent;
        }
        return;
    case STN_SECAGG_CLIENT_TIME:
    case STN_SECAGG_CLIENT_LEAVE:
        stn_secagg_client_end(&turn,
                              event->type == STN_SECAGG_CLIENT_TIME ? STN_LATE : STN_CANCELLED);
        return;
    }
}
