/* An agent in a secure round, number 0 of six, and a coordinator that has all its own keys: a byte is an event. The others
 * keep to SA1, and so does the coordinator until a byte says otherwise: it changes a bit of what it says and signs that
 * again, says old things once more, refuses, is silent, lets time pass; the owner comes and goes, jobs fail, the agent's
 * process ends and another goes on from its record. Whatever happens: what is said at a stage is on disk first and is said
 * in the same bytes again; a delta is encoded once; no share is opened but by what is proved about its owner; a cohort is
 * not entered again after a restart; evidence holds. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "client/shell/evidence.h"
#include "crypto/entropy.h"
#include "proto/codec.h"
#include "secagg/roster.h"
#include "server/core/secagg_server.h"
#include "tests/fuzz/jobs.h"

enum { N = 6, N_MIN = 5, VALUES = 8, EVENTS_MOST = 400, REPLAYS = 8 };

struct device { /* 0 is the agent, which has no client of its own here */
    struct stn_ident ident;
    struct stn_id id;
    struct stn_ident_cert certificate;
    struct stn_secagg_client *client;
    struct stn_msg says; /* NONE: it waits for the end of its stage */
    bool is_over, counts;
};

struct run {
    struct stn_cursor in;
    uint64_t now_ms;
    struct stn_ident coordinator, directory;
    struct stn_msg config; /* of the one round that there is */
    struct stn_digest cfg;
    struct stn_terms terms;
    struct stn_secagg_server *server;
    struct stn_secagg_server_effects effects;
    struct device devices[N];
    struct stn_buf heard[REPLAYS]; /* what the agent was told, encoded */
    size_t n_heard;

    struct stn_agent *agent;
    struct stn_client_effects client;
    struct stn_agent_record record; /* on disk */
    struct stn_client_effect job;   /* under way, or of a type that is no job */
    uint64_t ask;
    struct stn_msg asked; /* points into the agent; NONE: answered */
    bool may_work, has_left; /* has_left: a process that was past the advert has ended */
    uint8_t n_entropy;
    uint64_t n_leases, encoded; /* encoded: the last lease whose delta was */
    struct stn_digest said[64]; /* by type, of this process */
    bool has_said[64];
};

static void must(bool is_so)
{
    if (!is_so) {
        abort();
    }
}

static uint8_t u8(struct run *run)
{
    return stn_buf_take_u8(&run->in);
}

/* ---- the coordinator and the others ---- */

static enum stn_code tell_server(struct run *run, struct stn_secagg_server_event event)
{
    enum stn_code answer = STN_OK;
    bool again = true;
    event.now_ms = run->now_ms;
    while (again) {
        again = false;
        stn_secagg_server_step(run->server, &event, &run->effects);
        for (size_t i = 0; i < run->effects.n; i++) {
            const struct stn_secagg_server_effect *effect = &run->effects.items[i];
            if (effect->type == STN_SECAGG_SERVER_ANSWER) {
                answer = effect->code;
            } else if (effect->type == STN_SECAGG_SERVER_MASK) {
                event.type = STN_SECAGG_SERVER_MASKED;
                again = true;
            }
            for (int k = 0; k < N && effect->type == STN_SECAGG_SERVER_COUNT; k++) {
                bool is_it = memcmp(&effect->device, &run->devices[k].id, sizeof effect->device) == 0;
                run->devices[k].counts = run->devices[k].counts || is_it;
            }
        }
    }
    return answer;
}

static enum stn_code reaches_server(struct run *run, const struct stn_id *device, const struct stn_msg *msg)
{
    struct stn_secagg_server_event event = {.type = STN_SECAGG_SERVER_REQUEST, .device = *device, .msg = msg};
    if (msg->type == STN_MSG_PUT_END) {
        event.type = STN_SECAGG_SERVER_UPLOAD;
        event.upload = &msg->put_end;
    }
    return tell_server(run, event);
}

static void step_other(struct run *run, struct device *device, struct stn_secagg_client_event event)
{
    struct stn_secagg_client_effects effects;
    bool is_masking = false;
    event.now_ms = run->now_ms;
    stn_secagg_client_step(device->client, &event, &effects);
    for (size_t i = 0; i < effects.n; i++) {
        if (effects.items[i].type == STN_SECAGG_CLIENT_SEND) {
            device->says = effects.items[i].msg;
        }
        is_masking = is_masking || effects.items[i].type == STN_SECAGG_CLIENT_MASK;
        device->is_over = device->is_over || effects.items[i].type == STN_SECAGG_CLIENT_OVER;
    }
    if (is_masking) { /* what is in their vectors nobody looks at here */
        step_other(run, device, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MASKED,
                                                                 .masked = {.digest = {{(uint8_t)(device - run->devices)}}}});
    }
}

/* One of the others does what it would do next. */
static void play(struct run *run, struct device *device)
{
    struct stn_msg msg;
    if (device->is_over) {
        return;
    }
    if (device->says.type != STN_MSG_NONE) {
        (void)reaches_server(run, &device->id, &device->says);
        device->says.type = STN_MSG_NONE;
    } else if (stn_secagg_server_answer(run->server, &device->id,
                                        (enum stn_stage)stn_secagg_client_stage(device->client), &msg) == STN_OK) {
        step_other(run, device, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MESSAGE, .msg = &msg});
    }
}

/* ---- the agent ---- */

static bool is_job(enum stn_client_effect_type type)
{
    return type == STN_CLIENT_FETCH || type == STN_CLIENT_TRAIN || type == STN_CLIENT_ENCODE || type == STN_CLIENT_SEND ||
           type == STN_CLIENT_INSTALL;
}

static uint32_t stage_of(enum stn_msg_type type)
{
    switch (type) {
    case STN_MSG_ADVERTISE:
        return STN_STAGE_ADVERTISE;
    case STN_MSG_SHARE:
        return STN_STAGE_SHARE;
    case STN_MSG_PUT_END:
        return STN_STAGE_UPLOAD;
    case STN_MSG_ACK:
        return STN_STAGE_ACK;
    case STN_MSG_UNMASK:
        return STN_STAGE_UNMASK;
    default:
        return 0;
    }
}

/* Of each neighbour the one share that its fate asks for, and of enough that have survived. */
static void check_unmask(const struct run *run, const struct stn_msg_unmask *unmask)
{
    const struct stn_secagg_client *client = run->agent->secure;
    uint32_t n_survived = 0;
    for (uint32_t slot = 0; slot < client->bound.k; slot++) {
        n_survived += client->neighbours[slot].survived;
    }
    must(n_survived >= client->bound.t);
    for (uint32_t i = 0; i < unmask->n_slots; i++) {
        const struct stn_secagg_client_neighbour *of = &client->neighbours[unmask->slots[i]];
        for (int k = 0; k < N; k++) {
            bool is_it = memcmp(of->advert.id, &run->devices[k].id, sizeof run->devices[k].id) == 0;
            must(!is_it || of->survived == run->devices[k].counts);
        }
    }
}

static void check_ask(struct run *run, const struct stn_msg *msg)
{
    struct stn_buf bytes = {0};
    uint32_t stage = stage_of(msg->type);
    if (stage == 0) {
        return;
    }
    must(run->record.secure.stage == stage && run->record.phase >= STN_AGENT_JOINED);
    must(stage < STN_STAGE_UPLOAD || run->record.phase >= STN_AGENT_UPLOADING);
    bool is_the_round = stn_digest_equal(&run->record.secure.cfg, &run->cfg);
    must(!run->has_left || !is_the_round);
    must(stn_codec_encode(msg, &bytes, NULL) == STN_OK);
    struct stn_digest digest = stn_digest_of(bytes.data, bytes.size);
    stn_buf_fini(&bytes);
    must(!is_the_round || !run->has_said[msg->type] || stn_digest_equal(&digest, &run->said[msg->type]));
    if (is_the_round) {
        run->said[msg->type] = digest;
        run->has_said[msg->type] = true;
    }
    if (msg->type == STN_MSG_UNMASK) {
        check_unmask(run, &msg->unmask);
    }
}

static void tell_agent(struct run *run, struct stn_client_event event)
{
    event.now_ms = run->now_ms;
    run->client.n = 0;
    stn_agent_step(run->agent, &event, &run->client);
    for (size_t i = 0; i < run->client.n; i++) {
        const struct stn_client_effect *effect = &run->client.items[i];
        if (effect->type == STN_CLIENT_SAVE) {
            run->record = effect->record;
        } else if (effect->type == STN_CLIENT_ASK) {
            run->ask = effect->ask.ask;
            run->asked = effect->ask.msg;
            check_ask(run, &effect->ask.msg);
        } else if (effect->type == STN_CLIENT_EVIDENCE) {
            must(stn_evidence_verify(&effect->evidence, run->coordinator.pub, NULL) == STN_OK);
        } else if (is_job(effect->type)) {
            must(!is_job(run->job.type));
            run->job = *effect;
        }
        if (effect->type == STN_CLIENT_ENCODE) {
            must(run->record.phase == STN_AGENT_UPLOADING && run->encoded != effect->round.lease.lease);
            must(effect->round.n_masks >= 1 + run->agent->secure->bound.t && effect->round.n_masks <= N);
            run->encoded = effect->round.lease.lease;
        }
    }
}

static void hear(struct run *run, const struct stn_msg *msg, const struct stn_digest *config)
{
    struct stn_secagg_client_entropy entropy;
    memset(&entropy, ++run->n_entropy, sizeof entropy);
    run->asked.type = STN_MSG_NONE;
    tell_agent(run, (struct stn_client_event){
                        .type = STN_CLIENT_REPLY,
                        .reply = {.ask = run->ask, .msg = msg, .config = *config, .entropy = &entropy}});
}

static void hear_plain(struct run *run, struct stn_msg msg)
{
    hear(run, &msg, &(struct stn_digest){{0}});
}

static void start_agent(struct run *run)
{
    struct stn_agent_config config = {.seed = 1, .n_min_floor = N_MIN, .retry_first_ms = 100, .retry_most_ms = 10000};
    config.secure = (struct stn_secagg_client_config){.identity = run->devices[0].ident,
                                                      .certificate = run->devices[0].certificate,
                                                      .gamma_floor = 0.1,
                                                      .sigma_floor = 64};
    memcpy(config.secure.coordinator, run->coordinator.pub, 32);
    memcpy(config.secure.directory, run->directory.pub, 32);
    stn_agent_free(run->agent);
    must(stn_agent_new(&run->agent, &config, NULL) == STN_OK);
    run->has_left = run->has_left || stn_digest_equal(&run->record.secure.cfg, &run->cfg);
    run->job = (struct stn_client_effect){.type = STN_CLIENT_TRACE};
    run->asked.type = STN_MSG_NONE;
    memset(run->has_said, 0, sizeof run->has_said);
    tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_START, .record = run->record});
    tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_CONSENTS,
                                              .consents = {.n = 1, .consents = {{.task = "t", .n_examples = 5}}}});
    run->may_work = true;
    tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_CONDITIONS, .may_work = true});
}

static void end_job(struct run *run, enum stn_code code)
{
    const struct stn_client_effect job = run->job;
    run->job = (struct stn_client_effect){.type = STN_CLIENT_TRACE};
    tell_agent(run, job_has_ended(&job, code, 5));
}

/* ---- answers ---- */

static struct stn_msg a_lease(struct run *run)
{
    return (struct stn_msg){.type = STN_MSG_LEASE,
                            .lease = {.lease = ++run->n_leases,
                                      .task = "t",
                                      .base = {.digest = {{'b'}}, .size = 1000},
                                      .adapter = {.digest = {{'a'}}, .size = 10},
                                      .train = {.rank = 8, .alpha = 16, .targets = 1, .local_steps = 5, .batch_tokens = 256,
                                                .ctx = 64, .lr = 1e-3},
                                      .n_min = N_MIN,
                                      .secure = true,
                                      .expires_after_ms = 10000000}};
}

/* What the coordinator says to a poll; kept, to be said again. */
static void answer_poll(struct run *run, const struct stn_msg *msg)
{
    struct stn_buf *kept = &run->heard[run->n_heard++ % REPLAYS];
    stn_buf_clear(kept);
    must(stn_codec_encode(msg, kept, NULL) == STN_OK);
    hear(run, msg, &(struct stn_digest){{0}});
}

static bool true_answer(struct run *run, struct stn_msg *ret)
{
    return run->asked.type == STN_MSG_POLL && stn_digest_equal(&run->record.config_digest, &run->cfg) &&
           stn_secagg_server_answer(run->server, &run->devices[0].id, (enum stn_stage)run->asked.poll.stage, ret) == STN_OK;
}

/* An honest coordinator's. */
static void answer(struct run *run)
{
    struct stn_msg msg = {.type = STN_MSG_WAIT};
    switch (run->asked.type) {
    case STN_MSG_NONE:
        return;
    case STN_MSG_CHECK_IN:
        hear_plain(run, a_lease(run));
        return;
    case STN_MSG_JOIN:
        hear(run, &run->config, &run->cfg);
        return;
    case STN_MSG_POLL:
        if (true_answer(run, &msg)) {
            answer_poll(run, &msg);
        } else {
            hear_plain(run, msg);
        }
        return;
    default:
        break;
    }
    enum stn_code code = stage_of(run->asked.type) == 0 ? STN_OK : reaches_server(run, &run->devices[0].id, &run->asked);
    msg = (struct stn_msg){.type = code == STN_OK ? STN_MSG_OK : STN_MSG_REFUSED};
    if (code != STN_OK) {
        msg.refused.code = code;
    }
    hear_plain(run, msg);
}

struct part {
    void *p;
    size_t size;
};

/* The parts of a message that a liar may change. */
static size_t parts_of(struct stn_msg *msg, struct part ret[static 6])
{
    switch (msg->type) {
    case STN_MSG_ROSTER:
        ret[0] = (struct part){(void *)msg->roster.adverts, msg->roster.n_adverts * sizeof *msg->roster.adverts};
        ret[1] = (struct part){(void *)msg->roster.proof, msg->roster.n_proof * sizeof *msg->roster.proof};
        ret[2] = (struct part){msg->roster.root, sizeof msg->roster.root};
        ret[3] = (struct part){&msg->roster.n_members, 1};
        ret[4] = (struct part){&msg->roster.index, 1};
        ret[5] = (struct part){msg->roster.signature, sizeof msg->roster.signature};
        return 6;
    case STN_MSG_DELIVER:
        ret[0] = (struct part){(void *)msg->deliver.slots, msg->deliver.n_slots * sizeof *msg->deliver.slots};
        return 1;
    case STN_MSG_SURVIVORS:
        ret[0] = (struct part){(void *)msg->survivors.members, msg->survivors.n_members * sizeof *msg->survivors.members};
        ret[1] = (struct part){(void *)msg->survivors.proof, msg->survivors.n_proof * sizeof *msg->survivors.proof};
        ret[2] = (struct part){&msg->survivors.root, sizeof msg->survivors.root};
        ret[3] = (struct part){&msg->survivors.n_survivors, 1};
        ret[4] = (struct part){msg->survivors.signature, sizeof msg->survivors.signature};
        return 5;
    case STN_MSG_ACKS:
        ret[0] = (struct part){(void *)msg->acks.signatures, msg->acks.n_signatures * sizeof *msg->acks.signatures};
        ret[1] = (struct part){(void *)msg->acks.slots, msg->acks.n_slots * sizeof *msg->acks.slots};
        return 2;
    default:
        return 0;
    }
}

static void sign_again(struct run *run, struct stn_msg *msg)
{
    struct stn_derive_round round = {.cfg = run->cfg, .root = run->record.secure.root, .n = msg->roster.n_members};
    if (msg->type == STN_MSG_ROSTER) {
        memcpy(round.root.bytes, msg->roster.root, sizeof round.root.bytes);
        stn_roster_sign(msg->roster.signature, &round, &run->coordinator);
    } else if (msg->type == STN_MSG_SURVIVORS) {
        struct stn_roster_survivors survivors = {msg->survivors.root, msg->survivors.n_survivors};
        stn_roster_survivors_sign(msg->survivors.signature, STN_ROSTER_SURVIVORS, &round, &survivors, &run->coordinator);
    }
}

/* One of the last messages, or the one that is due, with a bit changed or as it was. */
static void lie(struct run *run, uint8_t how)
{
    struct stn_arena arena = {0};
    struct stn_buf bytes = {0};
    struct stn_msg msg, due;
    if (run->asked.type != STN_MSG_POLL) {
        return;
    }
    if (how % 4 == 0 || !true_answer(run, &due)) {
        const struct stn_buf *old = &run->heard[how / 4 % REPLAYS];
        must(old->size == 0 || stn_buf_add(&bytes, old->data, old->size));
    } else {
        must(stn_codec_encode(&due, &bytes, NULL) == STN_OK);
    }
    if (bytes.size > 0) {
        struct part parts[6] = {{NULL, 0}};
        must(stn_codec_decode(&msg, &arena, bytes.data, bytes.size, NULL) == STN_OK);
        size_t n = parts_of(&msg, parts);
        struct part *part = n == 0 ? NULL : &parts[u8(run) % n];
        size_t at = u8(run) | (size_t)u8(run) << 8;
        if (part != NULL && part->size > 0 && how % 8 < 7) {
            ((uint8_t *)part->p)[at % part->size] ^= (uint8_t)(1u << at % 8);
        }
        if (how & 64) {
            sign_again(run, &msg);
        }
        hear(run, &msg, &(struct stn_digest){{0}});
    }
    stn_buf_fini(&bytes);
    stn_arena_fini(&arena);
}

/* Another round, of which nothing but its config will be true. */
static void offer_another(struct run *run, uint8_t how)
{
    struct stn_msg other = run->config;
    struct stn_digest cfg = run->cfg;
    other.round_config.round.bytes[0] ^= (uint8_t)(1 + how % 3);
    cfg.bytes[0] ^= (uint8_t)(1 + how % 3);
    if (run->asked.type == STN_MSG_JOIN) {
        hear(run, &other, &cfg);
    }
}

static void answer_badly(struct run *run, uint8_t how)
{
    struct stn_msg msg = {.type = STN_MSG_REFUSED, .refused = {.code = 1 + how % (STN_N_CODES - 1u)}};
    if (how % 3 == 1) {
        msg = (struct stn_msg){.type = STN_MSG_VOIDED, .voided = {.round = run->record.round, .code = STN_LIMIT}};
    } else if (how % 3 == 2) {
        msg = (struct stn_msg){.type = STN_MSG_RESULT,
                               .result = {.round = run->record.round,
                                          .task = "t",
                                          .version = 1 + run->config.round_config.version,
                                          .adapter = {.digest = {{'n'}}, .size = 10}}};
    }
    if (run->asked.type != STN_MSG_NONE) {
        hear_plain(run, msg);
    }
}

static void pass_time(struct run *run, uint8_t how)
{
    run->now_ms += how * 300ull;
    (void)tell_server(run, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_TIME});
    tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_TIME});
}

static void happen(struct run *run)
{
    uint8_t v = u8(run);
    run->now_ms += 50;
    if (v < 96) {
        if (is_job(run->job.type)) {
            end_job(run, STN_OK);
        } else {
            tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_TIME});
            answer(run);
        }
    } else if (v < 160) {
        for (int i = 1; i < N; i++) {
            play(run, &run->devices[i]);
        }
    } else if (v < 170) {
        play(run, &run->devices[1 + v % (N - 1)]);
    } else if (v < 200) {
        lie(run, u8(run));
    } else if (v < 205) {
        offer_another(run, v);
    } else if (v < 212) {
        answer_badly(run, u8(run));
    } else if (v < 220 && run->asked.type != STN_MSG_NONE) {
        run->asked.type = STN_MSG_NONE;
        tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_FAILED, .failed = {.ask = run->ask, .code = STN_IO}});
    } else if (v < 230) {
        pass_time(run, u8(run));
    } else if (v < 236) {
        run->may_work = !run->may_work;
        tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_CONDITIONS, .may_work = run->may_work});
    } else if (v < 244) {
        start_agent(run);
    } else if (is_job(run->job.type)) {
        end_job(run, (enum stn_code)(v % STN_N_CODES));
    }
}

/* ---- a world ---- */

static void make_device(struct run *run, int i)
{
    struct device *device = &run->devices[i];
    stn_ident_from_seed(&device->ident, (const uint8_t[STN_IDENT_SEED]){9, (uint8_t)i});
    memcpy(&device->id, device->ident.pub, sizeof device->id);
    memcpy(device->certificate.device, device->ident.pub, sizeof device->certificate.device);
    stn_ident_cert_sign(&device->certificate, &run->directory);
    if (i > 0) {
        struct stn_secagg_client_config config = {.identity = device->ident, .certificate = device->certificate};
        struct stn_secagg_client_entropy entropy;
        static const struct stn_secagg_client_record nothing;
        memcpy(config.coordinator, run->coordinator.pub, 32);
        memcpy(config.directory, run->directory.pub, 32);
        memset(&entropy, 0x80 + i, sizeof entropy);
        must(stn_secagg_client_new(&device->client, &config, NULL) == STN_OK);
        step_other(run, device, (struct stn_secagg_client_event){
                                    .type = STN_SECAGG_CLIENT_START,
                                    .start = {.terms = &run->terms, .entropy = &entropy, .record = &nothing}});
    }
}

static void make_round(struct run *run)
{
    run->config = (struct stn_msg){.type = STN_MSG_ROUND_CONFIG,
                                   .round_config = {.round = {{7}}, .protocol = STN_MSG_VERSION, .task = "t",
                                                    .model = {{'b'}}, .adapter = {{'a'}}, .n_values = 100, .bits = 24,
                                                    .n_max = N, .n_min = N_MIN, .clip_norm = 1, .weight_max = 8,
                                                    .secure = true, .join_ms = 60000, .upload_ms = 60000, .gamma = 0.1,
                                                    .delta = 0.1, .sigma = 64, .eta = 30, .share_ms = 20000,
                                                    .ack_ms = 20000, .unmask_ms = 20000, .n_bases = 1,
                                                    .bases = {{.adapter = {{'a'}}, .discount = 1}}}};
    run->cfg = (struct stn_digest){{5}};
    must(stn_terms_of(&run->config.round_config, &run->cfg, &run->terms, NULL) == STN_OK);
    struct stn_secagg_server_config config = {.terms = run->terms, .target = N, .coordinator = run->coordinator};
    memcpy(config.directory, run->directory.pub, sizeof config.directory);
    must(stn_secagg_server_new(&run->server, &config, NULL) == STN_OK);
    (void)tell_server(run, (struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_OPEN});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run = stn_mem_new(1, sizeof *run);
    must(run != NULL && stn_entropy_start(NULL) == STN_OK);
    run->in = stn_buf_cursor(data, size);
    run->now_ms = 1000000;
    stn_ident_from_seed(&run->coordinator, (const uint8_t[STN_IDENT_SEED]){7});
    stn_ident_from_seed(&run->directory, (const uint8_t[STN_IDENT_SEED]){8});
    make_round(run);
    for (int i = 0; i < N; i++) {
        make_device(run, i);
    }
    start_agent(run);
    for (int i = 0; i < EVENTS_MOST && run->in.at < run->in.size; i++) {
        happen(run);
    }
    for (int i = 0; i < N; i++) {
        stn_secagg_client_free(run->devices[i].client);
    }
    for (int i = 0; i < REPLAYS; i++) {
        stn_buf_fini(&run->heard[i]);
    }
    stn_agent_free(run->agent);
    stn_secagg_server_free(run->server);
    stn_secagg_server_effects_fini(&run->effects);
    stn_mem_free(run->client.items);
    stn_mem_free(run);
    return 0;
}
