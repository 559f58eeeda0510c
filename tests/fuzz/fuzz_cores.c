/* Both cores, driven by bytes: each few bytes are an event. What comes from outside (requests,
 * replies, what jobs came to) may be anything that a decoder lets through and anything at any time;
 * what comes from the shell keeps to its contract. Effects are counted and checked: a ticket is
 * answered once, nothing is saved without its key, at most one job is under way, and a restart from
 * what was saved is as good as the process that saved it. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "channel/signed.h"
#include "client/core/agent.h"
#include "client/simulate/disk.h"
#include "crypto/entropy.h"
#include "secagg/roster.h"
#include "server/core/coordinator.h"
#include "tests/fuzz/jobs.h"

#define EVENTS_MOST 4096

struct run {
    struct stn_cursor in;
    uint64_t now_ms;
    struct stn_coordinator *coordinator;
    struct stn_server_effects server;
    struct stn_disk disk;
    struct stn_map tickets; /* asked and not answered */
    uint64_t n_tickets;
    struct stn_round_id round; /* the last one that was heard of */
    struct stn_ident key; /* the coordinator's, as the agent has pinned it */
    struct stn_agent *agent;
    struct stn_client_effects client;
    struct stn_agent_record record;
    struct stn_client_effect job; /* under way, or of a type that is no job */
    uint64_t ask;
    struct stn_msg_lease lease;
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

/* Small numbers mostly, and now and then the largest. */
static uint64_t number(struct run *run)
{
    uint8_t v = u8(run);
    return v < 0xf0 ? v % 8 : v < 0xf8 ? v * 1000ull : UINT64_MAX - (v - 0xf8);
}

/* ---- the coordinator ---- */

static void apply_server(struct run *run)
{
    for (size_t i = 0; i < run->server.n; i++) {
        const struct stn_server_effect *effect = &run->server.items[i];
        if (effect->type == STN_SERVER_SAVE) {
            must(stn_disk_save(&run->disk, &effect->record));
        } else if (effect->type == STN_SERVER_FORGET) {
            stn_disk_forget(&run->disk, &effect->record);
        } else if (effect->type == STN_SERVER_REPLY || effect->type == STN_SERVER_TELL ||
                   effect->type == STN_SERVER_SPOOL) {
            must(stn_map_remove(&run->tickets, &effect->ticket, sizeof effect->ticket) != NULL);
        } else if (effect->type == STN_SERVER_MERGE) {
            must(effect->merge.n_included >= effect->merge.config.n_min);
        }
        if (effect->type == STN_SERVER_REPLY && effect->msg.type == STN_MSG_ROUND_CONFIG) {
            run->round = effect->msg.round_config.round;
        }
    }
}

static void tell_server(struct run *run, struct stn_server_event event)
{
    event.now_ms = run->now_ms;
    run->server.n = 0;
    stn_coordinator_step(run->coordinator, &event, &run->server);
    apply_server(run);
}

static void start_server(struct run *run)
{
    stn_coordinator_free(run->coordinator);
    stn_map_fini(&run->tickets);
    run->tickets = (struct stn_map){0};
    const struct stn_coordinator_config config = {.seed = 1, .cfg = stn_signed_cfg};
    must(stn_coordinator_new(&run->coordinator, &config, NULL) == STN_OK);
    for (size_t i = 0; i < run->disk.records.n; i++) {
        const struct stn_record *record = run->disk.records.entries[i].value;
        struct stn_server_event event = {.type = STN_SERVER_RESTORE, .record = *record};
        stn_coordinator_step(run->coordinator, &event, &run->server);
    }
    tell_server(run, (struct stn_server_event){.type = STN_SERVER_START});
}

static struct stn_task_spec spec(struct run *run)
{
    uint8_t v = u8(run);
    struct stn_task_spec spec = {.name = "t",
                                 .digest = {.bytes = {v % 2u}},
                                 .base = {.digest = {.bytes = {'b'}}, .size = 1000},
                                 .train = {.rank = 8,
                                           .alpha = 16,
                                           .targets = 1,
                                           .local_steps = 5,
                                           .batch_tokens = 256,
                                           .ctx = 64,
                                           .lr = 1e-3},
                                 .n_values = 100,
                                 .target = 1 + v % 3u,
                                 .n_min = 1 + v / 3u % 3u,
                                 .over_select = 1 + v % 5,
                                 .join_window_ms = 1000,
                                 .report_deadline_ms = 5000,
                                 .upload_ms = 2000,
                                 .staleness = v / 9u % 3u,
                                 .outer = {.rate = 1},
                                 .clip_norm = 1,
                                 .weight_max = 8,
                                 .bits = 24,
                                 .n_rounds = v % 7};
    spec.name[0] = (char)('t' + v % 2);
    return spec;
}

static struct stn_msg request(struct run *run)
{
    static const enum stn_msg_type types[] = {
        STN_MSG_CHECK_IN,  STN_MSG_JOIN,    STN_MSG_ADVERTISE, STN_MSG_POLL,
        STN_MSG_PUT_BEGIN, STN_MSG_PUT_END, STN_MSG_LEAVE,     STN_MSG_GET_CHUNK};
    struct stn_msg msg = {.type = types[u8(run) % 8]};
    switch (msg.type) {
    case STN_MSG_CHECK_IN:
        msg.check_in = (struct stn_msg_check_in){.n_min_floor = (uint32_t)number(run),
                                                 .n_consents = u8(run) % 3};
        for (uint32_t i = 0; i < msg.check_in.n_consents; i++) {
            msg.check_in.consents[i] =
                (struct stn_consent){.n_examples = number(run), .version = number(run)};
            msg.check_in.consents[i].task[0] = (char)('t' + i);
        }
        break;
    case STN_MSG_JOIN:
        msg.join = (struct stn_msg_join){
            .lease = number(run), .version = number(run), .n_samples = number(run)};
        msg.join.task[0] = (char)('t' + u8(run) % 2);
        break;
    case STN_MSG_PUT_BEGIN:
        msg.put_begin = (struct stn_msg_put_begin){.round = run->round, .size = 300 + number(run)};
        break;
    case STN_MSG_PUT_END:
        msg.put_end =
            (struct stn_msg_put_end){.round = run->round, .digest = {.bytes = {u8(run) % 4}}};
        break;
    case STN_MSG_POLL:
        msg.poll = (struct stn_msg_poll){.round = run->round, .stage = (uint32_t)number(run)};
        break;
    default: /* advertise and leave begin with their round */
        msg.leave.round = run->round;
    }
    return msg;
}

static void server_event(struct run *run)
{
    struct stn_msg msg = {.type = STN_MSG_NONE};
    struct stn_id device = {.bytes = {u8(run) % 5}};
    uint8_t v = u8(run);
    struct stn_server_event event = {.type = STN_SERVER_TIME};
    if (v < 180) {
        msg = request(run);
        event = (struct stn_server_event){.type = STN_SERVER_REQUEST,
                                          .ticket = ++run->n_tickets,
                                          .request = {.device = device, .msg = &msg}};
        must(stn_map_set(&run->tickets, &run->n_tickets, sizeof run->n_tickets, run));
    } else if (v < 210) {
        event.type = STN_SERVER_UPLOAD_CHECKED;
        event.checked.round = run->round;
        event.checked.device = device;
        event.checked.code = v % 4 == 0 ? STN_CORRUPT : STN_OK;
    } else if (v < 225) {
        event.type = STN_SERVER_MERGED;
        event.merged.round = run->round;
        event.merged.code = v % 4 == 0 ? STN_IO : STN_OK;
        event.merged.adapter = (struct stn_blob_ref){.digest = {.bytes = {v}}, .size = 1};
    } else if (v < 230) {
        event.type = STN_SERVER_TASK_CREATE;
        event.create.spec = spec(run);
        event.create.adapter = (struct stn_blob_ref){.digest = {.bytes = {'a'}}, .size = 1};
    } else if (v < 236) {
        event.type = v % 2 == 0 ? STN_SERVER_TASK_PAUSE : STN_SERVER_TASK_RESUME;
        event.task = "t";
    } else if (v < 242) {
        event.type = STN_SERVER_TICKET_LOST;
        event.ticket = run->n_tickets - v % 4u;
        (void)stn_map_remove(&run->tickets, &event.ticket, sizeof event.ticket);
    } else if (v < 246) {
        start_server(run);
        return;
    }
    tell_server(run, event);
}

/* ---- the agent ---- */

static bool is_job(enum stn_client_effect_type type)
{
    return type == STN_CLIENT_FETCH || type == STN_CLIENT_TRAIN || type == STN_CLIENT_ENCODE ||
           type == STN_CLIENT_SEND || type == STN_CLIENT_INSTALL;
}

static void tell_agent(struct run *run, struct stn_client_event event)
{
    event.now_ms = run->now_ms;
    run->client.n = 0;
    stn_agent_step(run->agent, &event, &run->client);
    for (size_t i = 0; i < run->client.n; i++) {
        const struct stn_client_effect *effect = &run->client.items[i];
        if (is_job(effect->type)) {
            must(!is_job(run->job.type)); /* one at a time */
            run->job = *effect;
        } else if (effect->type == STN_CLIENT_SAVE) {
            run->record = effect->record;
        } else if (effect->type == STN_CLIENT_ASK) {
            run->ask = effect->ask.ask;
            bool is_in_round = effect->ask.msg.type == STN_MSG_ADVERTISE ||
                               effect->ask.msg.type == STN_MSG_PUT_END;
            must(!is_in_round || run->record.config.n_min >= 2); /* its floor */
            must(effect->ask.msg.type != STN_MSG_SHARE); /* no roster here is a true one */
            must(memcmp(&run->record, stn_agent_record(run->agent), sizeof run->record) == 0);
        }
    }
}

static void start_agent(struct run *run)
{
    struct stn_agent_config config = {.seed = 1,
                                      .n_min_floor = 2,
                                      .allows_plain = true,
                                      .retry_first_ms = 100,
                                      .retry_most_ms = 10000,
                                      .secure = {.gamma_floor = 0.1, .sigma_floor = 64}};
    memcpy(config.secure.coordinator, run->key.pub, sizeof run->key.pub);
    stn_agent_free(run->agent);
    must(stn_agent_new(&run->agent, &config, NULL) == STN_OK);
    run->job = (struct stn_client_effect){.type = STN_CLIENT_TRACE};
    run->ask = 0;
    tell_agent(run, (struct stn_client_event){.type = STN_CLIENT_START, .record = run->record});
}

static struct stn_msg lease(struct run *run)
{
    struct stn_msg msg = {.type = STN_MSG_LEASE,
                          .lease = {.lease = number(run),
                                    .task = "t",
                                    .version = number(run),
                                    .base = {.digest = {.bytes = {'b'}}, .size = number(run)},
                                    .adapter = {.digest = {.bytes = {'a'}}, .size = 1},
                                    .train = {.rank = 8,
                                              .alpha = 16,
                                              .targets = 1,
                                              .local_steps = 5,
                                              .batch_tokens = 256,
                                              .ctx = 64,
                                              .lr = 1e-3},
                                    .n_min = 2 + (uint32_t)number(run) % 2,
                                    .secure = u8(run) % 2 == 0,
                                    .expires_after_ms = number(run) * 1000}};
    run->lease = msg.lease;
    return msg;
}

static struct stn_msg config(struct run *run)
{
    return (struct stn_msg){.type = STN_MSG_ROUND_CONFIG,
                            .round_config = {.round = {.bytes = {1 + u8(run) % 3}},
                                             .protocol = STN_MSG_VERSION,
                                             .task = "t",
                                             .model = run->lease.base.digest,
                                             .adapter = run->lease.adapter.digest,
                                             .version = run->lease.version,
                                             .n_values = 1 + number(run),
                                             .bits = 24,
                                             .n_max = 8,
                                             .n_min = 1 + (uint32_t)number(run),
                                             .clip_norm = 1,
                                             .weight_max = 8,
                                             .secure = run->lease.secure,
                                             .gamma = 0.1,
                                             .delta = 0.1,
                                             .sigma = 64,
                                             .eta = 30,
                                             .join_ms = 1000,
                                             .upload_ms = 1000}};
}

/* What a coordinator says in a secure round, of nothing that there is. */
static struct stn_msg secure_reply(struct run *run)
{
    static const struct stn_advert adverts[8];
    static const struct stn_signature signatures[8];
    static const struct stn_survivor survivors[8];
    static const struct stn_digest proof[8];
    static const uint32_t slots[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct stn_round_id round = run->record.round;
    struct stn_derive_round of = {.cfg = run->record.config_digest, .n = 1 + u8(run) % 9u};
    struct stn_msg msg = {.type = (enum stn_msg_type)(STN_MSG_DELIVER + u8(run) % 4)};
    uint32_t n = u8(run) % 9;
    switch (msg.type) {
    case STN_MSG_DELIVER:
        msg.deliver = (struct stn_msg_deliver){round, n, slots};
        break;
    case STN_MSG_SURVIVORS:
        msg.survivors = (struct stn_msg_survivors){.round = round, .n_survivors = n, .n_members = n,
                                                   .members = survivors, .n_proof = n, .proof = proof};
        break;
    case STN_MSG_ACKS:
        msg.acks = (struct stn_msg_acks){round, n, slots, n, signatures};
        break;
    default:
        msg = (struct stn_msg){.type = STN_MSG_ROSTER,
                               .roster = {.round = round, .n_members = of.n, .index = u8(run) % 9u,
                                          .n_adverts = n, .adverts = adverts, .n_proof = n, .proof = proof}};
        stn_roster_sign(msg.roster.signature, &of, &run->key);
    }
    return msg;
}

static struct stn_msg reply(struct run *run)
{
    uint8_t v = u8(run) % 12;
    struct stn_round_id round = run->record.round;
    switch (v) {
    case 0:
        return lease(run);
    case 1:
        return config(run);
    case 2:
        return (struct stn_msg){
            .type = STN_MSG_REFUSED,
            .refused = {.code = u8(run) % STN_N_CODES, .retry_after_ms = number(run)}};
    case 3:
        return (struct stn_msg){.type = STN_MSG_ROSTER,
                                .roster = {.round = round, .n_members = (uint32_t)number(run)}};
    case 4:
        return (struct stn_msg){.type = STN_MSG_VOIDED,
                                .voided = {.round = round, .code = STN_AGAIN}};
    case 5:
        return (struct stn_msg){
            .type = STN_MSG_RESULT,
            .result = {.round = round,
                       .task = "t",
                       .version = number(run),
                       .adapter = {.digest = {.bytes = {'n'}}, .size = number(run)}}};
    case 6:
        return (struct stn_msg){
            .type = STN_MSG_COME_BACK,
            .come_back = {.after_ms = number(run),
                          .has_release = true,
                          .release = {.task = "t",
                                      .version = number(run),
                                      .adapter = {.digest = {.bytes = {'n'}}, .size = 1}}}};
    case 10:
    case 11:
        return secure_reply(run);
    default:
        return (struct stn_msg){.type = v == 7 ? STN_MSG_WAIT : STN_MSG_OK};
    }
}

/* What the job under way came to; the wrong round, lease or blob now and then. */
static void end_job(struct run *run)
{
    uint8_t v = u8(run);
    enum stn_code code = v % 4 == 0 ? (enum stn_code)(v / 4 % STN_N_CODES) : STN_OK;
    struct stn_client_effect job = run->job;
    run->job = (struct stn_client_effect){.type = STN_CLIENT_TRACE};
    tell_agent(run, job_has_ended(&job, code, job.type == STN_CLIENT_TRAIN ? number(run) : 0));
}

static void agent_event(struct run *run)
{
    uint8_t v = u8(run);
    struct stn_client_event event = {.type = STN_CLIENT_TIME};
    if (v < 120) {
        struct stn_msg msg = reply(run);
        event.type = STN_CLIENT_REPLY;
        event.reply.ask = run->ask - (v % 16 == 0);
        event.reply.msg = &msg;
        event.reply.config.bytes[0] = v % 8 != 0;
        struct stn_secagg_client_entropy entropy = {.transport = {1, v}, .mask_seed = {2, v}, .nonce = {v}};
        event.reply.entropy = &entropy;
        tell_agent(run, event);
        return;
    }
    if (v < 190) {
        end_job(run);
        return;
    }
    if (v < 200) {
        event.type = STN_CLIENT_FAILED;
        event.failed.ask = run->ask;
        event.failed.code = STN_IO;
    } else if (v < 220) {
        event.type = STN_CLIENT_CONDITIONS;
        event.may_work = v % 4 != 0;
    } else if (v < 235) {
        event.type = STN_CLIENT_CONSENTS;
        event.consents.n = v % 4 != 0;
        event.consents.consents[0] = (struct stn_consent){.task = "t", .n_examples = 5};
    } else if (v < 238) {
        event.type = STN_CLIENT_FLOORS;
        event.floors.n_min = v % 4;
        event.floors.allows_plain = v % 2 == 0;
    } else if (v < 243) {
        start_agent(run);
        return;
    }
    tell_agent(run, event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *run = stn_mem_new(1, sizeof *run);
    must(run != NULL);
    run->in = stn_buf_cursor(data, size);
    run->now_ms = 1000000;
    must(stn_entropy_start(NULL) == STN_OK);
    stn_ident_from_seed(&run->key, (const uint8_t[STN_IDENT_SEED]){7});
    start_server(run);
    start_agent(run);
    for (int i = 0; i < EVENTS_MOST && run->in.at < run->in.size; i++) {
        uint8_t v = u8(run);
        run->now_ms += v % 16 == 0 ? 1000 : v % 16;
        if (v < 128) {
            server_event(run);
        } else {
            agent_event(run);
        }
    }
    stn_coordinator_free(run->coordinator);
    stn_agent_free(run->agent);
    stn_map_fini(&run->tickets);
    stn_disk_fini(&run->disk);
    stn_mem_free(run->server.items);
    stn_mem_free(run->client.items);
    stn_mem_free(run);
    return 0;
}
