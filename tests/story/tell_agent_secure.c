#include "tests/story/tell_agent_secure.h"

#include <check.h>
#include <string.h>

const bool others[N] = {false, true, true, true, true, true, true, true};

void begin(void)
{
    stn_world_begin(N, N_MIN, 7);
    agent_config = (struct stn_agent_config){.seed = 1,
                                             .n_min_floor = N_MIN,
                                             .retry_first_ms = 100,
                                             .retry_most_ms = 10000,
                                             .secure = SELF->config};
    disk = (struct stn_agent_record){0};
    setup();
}

void end(void)
{
    teardown();
    effects = (struct stn_client_effects){0};
    text = (struct stn_buf){0};
    stn_world_end();
}

struct stn_msg secure_lease(void)
{
    struct stn_msg msg = lease(1, 0);
    msg.lease.secure = true;
    msg.lease.n_min = N_MIN;
    msg.lease.expires_after_ms = 1000000;
    return msg;
}

/* The config that the world's terms are of. */
struct stn_msg secure_config(void)
{
    const struct stn_terms *terms = &stn_world.terms;
    struct stn_msg msg = config();
    struct stn_msg_round_config *c = &msg.round_config;
    c->round = terms->round;
    c->version = terms->bases[0];
    c->n_bases = terms->n_bases;
    for (uint32_t i = 0; i < c->n_bases; i++) { /* the lease's is the last */
        c->bases[i] = (struct stn_base){.adapter = c->adapter, .version = terms->bases[i], .discount = 1.0 / (1 + i)};
    }
    c->secure = true;
    c->n_min = terms->n_min;
    c->n_max = terms->n_max;
    c->gamma = terms->params.gamma;
    c->delta = terms->params.delta;
    c->sigma = terms->params.sigma;
    c->eta = terms->params.eta;
    c->join_ms = terms->join_ms;
    c->share_ms = terms->share_ms;
    c->upload_ms = terms->upload_ms;
    c->ack_ms = terms->ack_ms;
    c->unmask_ms = terms->unmask_ms;
    return msg;
}

void until_config(void)
{
    start(0);
    consents(0, 1);
    conditions(0, true);
    hears(10, secure_lease());
    fetched(20, 'b', STN_OK);
    fetched(30, 'a', STN_OK);
    trained(100, 1, STN_OK);
}

/* What the agent has asked reaches the coordinator, which is content; then everybody else speaks. */
void says(uint64_t now_ms, enum stn_stage stage)
{
    static const enum stn_msg_type types[] = {[STN_STAGE_ADVERTISE] = STN_MSG_ADVERTISE,
                                              [STN_STAGE_SHARE] = STN_MSG_SHARE,
                                              [STN_STAGE_UPLOAD] = STN_MSG_PUT_END,
                                              [STN_STAGE_ACK] = STN_MSG_ACK,
                                              [STN_STAGE_UNMASK] = STN_MSG_UNMASK};
    ck_assert_int_eq(last_asked.type, types[stage]);
    SELF->sent = last_asked;
    if (stage == STN_STAGE_SHARE) {
        memcpy(SELF->dealt, last_asked.share.sealed, last_asked.share.n_sealed * sizeof *SELF->dealt);
    }
    ck_assert_int_eq(stn_world_deliver(0), STN_OK);
    hears(now_ms, ok);
    stn_world_stage(stage, others);
}

struct stn_msg answer(enum stn_stage stage)
{
    struct stn_msg msg;
    ck_assert_int_eq(stn_secagg_server_answer(stn_world.server, &SELF->id, stage, &msg), STN_OK);
    return msg;
}

/* The vector as the masks of the last ENCODE make it; its digest. */
struct stn_digest mask(void)
{
    memcpy(SELF->y, SELF->x, sizeof SELF->y);
    for (size_t i = 0; i < effects.n; i++) {
        const struct stn_client_effect *effect = &effects.items[i];
        if (effect->type == STN_CLIENT_ENCODE) {
            ck_assert_uint_eq(effect->round.n_masks, N);
            stn_mask_apply(SELF->y, STN_WORLD_VALUES, 0, effect->round.masks,
                           effect->round.n_masks);
        }
    }
    return stn_digest_of(SELF->y, sizeof SELF->y);
}

void encoded_as(uint64_t now_ms, const struct stn_digest *digest)
{
    happens(now_ms, "encoded",
            (struct stn_client_event){
                .type = STN_CLIENT_ENCODED,
                .encoded = {.round = stn_world.terms.round, .digest = *digest, .size = 300}});
}

void sent_all(uint64_t now_ms)
{
    happens(now_ms, "sent",
            (struct stn_client_event){.type = STN_CLIENT_SENT,
                                      .sent = {.round = stn_world.terms.round}});
}

/* The agent has spoken in this stage, and knows that it was heard. */
void until(enum stn_stage stage)
{
    until_config();
    hears_config(110, secure_config(), &stn_world.terms.cfg);
    says(120, STN_STAGE_ADVERTISE);
    if (stage >= STN_STAGE_SHARE) {
        hears(130, answer(STN_STAGE_ADVERTISE));
        says(140, STN_STAGE_SHARE);
    }
    if (stage >= STN_STAGE_UPLOAD) {
        hears(150, answer(STN_STAGE_SHARE));
        struct stn_digest digest = mask();
        encoded_as(160, &digest);
        sent_all(170);
        says(180, STN_STAGE_UPLOAD);
    }
    if (stage >= STN_STAGE_ACK) {
        hears(190, answer(STN_STAGE_UPLOAD));
        says(200, STN_STAGE_ACK);
    }
    if (stage >= STN_STAGE_UNMASK) {
        hears(210, answer(STN_STAGE_ACK));
        says(220, STN_STAGE_UNMASK);
    }
}

struct stn_msg secure_result(void)
{
    struct stn_msg msg = result(4);
    msg.result.round = stn_world.terms.round;
    return msg;
}

struct stn_msg secure_voided(enum stn_code code)
{
    struct stn_msg msg = voided(code);
    msg.voided.round = stn_world.terms.round;
    return msg;
}

bool was_said(const char *what)
{
    (void)stn_buf_add_u8(&text, 0);
    bool found = strstr((const char *)text.data, what) != NULL;
    text.size--;
    return found;
}

