#include "tests/lib/run.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hex.h"
#include "blob/blob.h"
#include "channel/channel_server.h"
#include "channel/signed.h"
#include "client/shell/evidence.h"
#include "client/shell/owner.h"
#include "compute/model/adapter.h"
#include "compute/model/network.h"
#include "crypto/entropy.h"
#include "io/link.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proto/codec.h"
#include "secagg/roster.h"
#include "server/core/secagg_server.h"

/* A coordinator that lies, in this process, and an agent that is one of its own: over a real socket it is leased a task,
 * trains, joins, shares and, in one of the tests, uploads its masked delta and acknowledges who survived. Then it is told
 * something that contradicts what the same key has signed before. */
enum { N = 6, N_MIN = 5 };

extern char **environ;

struct member { /* 0 is the agent, the others keep to SA1 */
    struct stn_ident ident;
    struct stn_ident_cert certificate;
    struct stn_secagg_client *client;
    struct stn_msg says;
};

static char folder[64], program[STN_FILE_PATH_MAX], conf[STN_FILE_PATH_MAX];
static struct stn_err err;
static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_link *link_;
static struct stn_channel_server *channel;
static struct stn_arena arena;
static struct stn_place place;
static struct stn_ident coordinator, directory;
static struct member members[N];
static struct stn_blob_ref base, adapter;
static struct stn_buf adapter_bytes;
static size_t n_values;
static struct stn_msg config;
static struct stn_digest cfg, roster_root;
static struct stn_secagg_server *server;
static struct stn_secagg_server_effects effects;
static uint64_t n_chunks_put, n_chunks;
static enum stn_stage lies_at; /* the answer to this poll is a lie */
static bool has_lied, has_left;

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

/* ---- a round ---- */

static enum stn_code tell_server(struct stn_secagg_server_event event)
{
    enum stn_code answer = STN_OK;
    event.now_ms = stn_loop_wall_ms();
    stn_secagg_server_step(server, &event, &effects);
    for (size_t i = 0; i < effects.n; i++) {
        answer = effects.items[i].type == STN_SECAGG_SERVER_ANSWER ? effects.items[i].code : answer;
    }
    return answer;
}

static enum stn_code reaches_server(uint32_t i, const struct stn_msg *msg)
{
    struct stn_secagg_server_event event = {.type = STN_SECAGG_SERVER_REQUEST, .msg = msg};
    memcpy(&event.device, members[i].ident.pub, sizeof event.device);
    if (msg->type == STN_MSG_PUT_END) {
        event.type = STN_SECAGG_SERVER_UPLOAD;
        event.upload = &msg->put_end;
    }
    return tell_server(event);
}

static void step(uint32_t i, struct stn_secagg_client_event event)
{
    struct stn_secagg_client_effects said;
    event.now_ms = stn_loop_wall_ms();
    stn_secagg_client_step(members[i].client, &event, &said);
    bool is_masking = false;
    for (size_t k = 0; k < said.n; k++) {
        members[i].says = said.items[k].type == STN_SECAGG_CLIENT_SEND ? said.items[k].msg : members[i].says;
        is_masking = is_masking || said.items[k].type == STN_SECAGG_CLIENT_MASK;
        ck_assert(said.items[k].type != STN_SECAGG_CLIENT_OVER);
    }
    if (is_masking) {
        step(i, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MASKED, .masked = {.digest = {{(uint8_t)i}}}});
    }
}

/* The others say what there is to say, and hear what is new. */
static void play(void)
{
    for (uint32_t i = 1; i < N; i++) {
        struct stn_msg msg;
        struct stn_id id;
        memcpy(&id, members[i].ident.pub, sizeof id);
        if (members[i].says.type == STN_MSG_NONE &&
            stn_secagg_server_answer(server, &id, (enum stn_stage)stn_secagg_client_stage(members[i].client), &msg) == STN_OK) {
            step(i, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_MESSAGE, .msg = &msg});
        }
        if (members[i].says.type != STN_MSG_NONE) {
            ck_assert_int_eq(reaches_server(i, &members[i].says), STN_OK);
            members[i].says.type = STN_MSG_NONE;
        }
    }
}

static void make_round(void)
{
    struct stn_terms terms;
    static const struct stn_secagg_client_record nothing;
    config = (struct stn_msg){.type = STN_MSG_ROUND_CONFIG,
                              .round_config = {.round = {{7}}, .protocol = STN_MSG_VERSION, .task = "home",
                                               .model = base.digest, .adapter = adapter.digest, .bits = 24, .n_max = N,
                                               .n_min = N_MIN, .clip_norm = 10, .weight_max = 1000, .secure = true,
                                               .join_ms = 600000, .upload_ms = 600000, .gamma = 0.1, .delta = 0.1,
                                               .sigma = 64, .eta = 30, .share_ms = 600000, .ack_ms = 600000,
                                               .unmask_ms = 600000, .n_bases = 1,
                                               .bases = {{.adapter = adapter.digest, .discount = 1}}}};
    config.round_config.n_values = n_values;
    ok(stn_signed_cfg(&config.round_config, &cfg, &err));
    stn_signed_config(&config.round_config, &cfg, &coordinator);
    ok(stn_terms_of(&config.round_config, &cfg, &terms, &err));
    struct stn_secagg_server_config of_server = {.terms = terms, .target = N, .coordinator = coordinator};
    memcpy(of_server.directory, directory.pub, sizeof of_server.directory);
    ok(stn_secagg_server_new(&server, &of_server, &err));
    (void)tell_server((struct stn_secagg_server_event){.type = STN_SECAGG_SERVER_OPEN});
    for (uint32_t i = 1; i < N; i++) {
        struct stn_secagg_client_config of_client = {.identity = members[i].ident, .certificate = members[i].certificate};
        struct stn_secagg_client_entropy entropy;
        memcpy(of_client.coordinator, coordinator.pub, sizeof of_client.coordinator);
        memcpy(of_client.directory, directory.pub, sizeof of_client.directory);
        stn_entropy_fill(&entropy, sizeof entropy);
        ok(stn_secagg_client_new(&members[i].client, &of_client, &err));
        step(i, (struct stn_secagg_client_event){.type = STN_SECAGG_CLIENT_START,
                                                 .start = {.terms = &terms, .entropy = &entropy, .record = &nothing}});
    }
}

/* ---- answers ---- */

static struct stn_msg lie(void)
{
    struct stn_msg msg = {.type = lies_at == STN_STAGE_SHARE ? STN_MSG_ROSTER : STN_MSG_SURVIVORS};
    struct stn_derive_round round = {.cfg = cfg, .root = roster_root, .n = N};
    has_lied = true;
    if (msg.type == STN_MSG_ROSTER) {
        msg.roster = (struct stn_msg_roster){.round = config.round_config.round, .n_members = N, .root = {1}};
        round.root = (struct stn_digest){{1}};
        stn_roster_sign(msg.roster.signature, &round, &coordinator);
    } else {
        struct stn_roster_survivors survivors = {.root = {{2}}, .n = N};
        msg.survivors = (struct stn_msg_survivors){.round = config.round_config.round, .root = {{2}}, .n_survivors = N};
        stn_roster_survivors_sign(msg.survivors.signature, STN_ROSTER_SURVIVORS, &round, &survivors, &coordinator);
    }
    return msg;
}

static struct stn_msg poll(const struct stn_msg_poll *polled)
{
    struct stn_msg msg;
    struct stn_id id;
    memcpy(&id, members[0].ident.pub, sizeof id);
    for (int i = 0; i < 4; i++) {
        play();
    }
    if (polled->stage == (uint32_t)lies_at) {
        return lie();
    }
    ck_assert_int_eq(stn_secagg_server_answer(server, &id, (enum stn_stage)polled->stage, &msg), STN_OK);
    if (msg.type == STN_MSG_ROSTER) {
        memcpy(&roster_root, msg.roster.root, sizeof roster_root);
    }
    return msg;
}

static struct stn_msg lease(void)
{
    return (struct stn_msg){.type = STN_MSG_LEASE,
                            .lease = {.lease = 1, .task = "home", .base = base, .adapter = adapter,
                                      .train = {.rank = 4, .alpha = 8, .targets = 127, .local_steps = 1, .batch_examples = 2,
                                                .batch_tokens = 128, .ctx = 64, .lr = 1e-3},
                                      .n_min = N_MIN, .secure = true, .seed = 1, .expires_after_ms = 600000}};
}

static struct stn_msg leaves(void)
{
    size_t n = (size_t)stn_digest_n_chunks(adapter.size);
    struct stn_digest *of = stn_arena_new(&arena, n, sizeof *of);
    for (size_t i = 0; i < n; i++) {
        of[i] = stn_digest_leaf(adapter_bytes.data + i * STN_DIGEST_CHUNK, stn_digest_chunk_size(adapter.size, i));
    }
    return (struct stn_msg){.type = STN_MSG_LEAVES_ARE,
                            .leaves = {.digest = adapter.digest, .size = adapter.size, .n_leaves = (uint32_t)n, .leaves = of}};
}

static struct stn_msg missing(const struct stn_msg_put_begin *begin)
{
    n_chunks = stn_digest_n_chunks(begin->size);
    uint32_t *all = stn_arena_new(&arena, (size_t)n_chunks, sizeof *all);
    for (uint32_t i = 0; i < n_chunks; i++) {
        all[i] = i;
    }
    return (struct stn_msg){.type = STN_MSG_MISSING,
                            .missing = {.round = begin->round, .n_chunks = (uint32_t)n_chunks,
                                        .n_missing = n_chunks_put == n_chunks ? 0 : (uint32_t)n_chunks, .missing = all}};
}

static struct stn_msg answer(const struct stn_msg *msg)
{
    struct stn_msg fine = {.type = STN_MSG_OK};
    switch (msg->type) {
    case STN_MSG_CHECK_IN:
        ck_assert(msg->check_in.secure_only);
        return has_left ? (struct stn_msg){.type = STN_MSG_COME_BACK, .come_back = {.after_ms = 600000}} : lease();
    case STN_MSG_GET_LEAVES:
        return leaves();
    case STN_MSG_GET_CHUNK:
        return (struct stn_msg){
            .type = STN_MSG_CHUNK_IS,
            .chunk = {.digest = adapter.digest, .index = msg->get_chunk.index,
                      .size = (uint32_t)stn_digest_run_size(adapter.size, msg->get_chunk.index, msg->get_chunk.n),
                      .data = adapter_bytes.data + msg->get_chunk.index * STN_DIGEST_CHUNK}};
    case STN_MSG_JOIN:
        return config;
    case STN_MSG_POLL:
        return poll(&msg->poll);
    case STN_MSG_PUT_BEGIN:
        return missing(&msg->put_begin);
    case STN_MSG_PUT_CHUNK:
        n_chunks_put++;
        return fine;
    case STN_MSG_LEAVE:
        ck_assert(has_lied);
        has_left = true;
        return fine;
    default:
        ck_assert_int_ne(msg->type, STN_MSG_UNMASK);
        ck_assert(!has_lied);
        ck_assert_int_eq(reaches_server(0, msg), STN_OK);
        return fine;
    }
}

/* ---- the wire ---- */

static bool find_device(void *data, const uint8_t key[static 32], struct stn_id *ret)
{
    uint8_t image[32];
    (void)data;
    ok(stn_ident_dh_public(image, members[0].ident.pub, &err));
    memcpy(ret, members[0].ident.pub, sizeof *ret);
    return memcmp(image, key, sizeof image) == 0;
}

static void on_request(void *user, struct stn_link_request *request)
{
    struct stn_buf frame = {0}, plain = {0}, sealed = {0};
    struct stn_msg msg;
    (void)user;
    ck_assert(stn_buf_add(&frame, request->data, request->size));
    struct stn_channel_server_verdict verdict = stn_channel_server_take(channel, frame.data, frame.size, &sealed);
    if (verdict.kind == STN_CHANNEL_SERVER_REQUEST) {
        ok(stn_codec_decode(&msg, &arena, verdict.message, verdict.size, &err));
        struct stn_msg reply = answer(&msg);
        ok(stn_codec_encode(&reply, &plain, &err));
        ok(stn_channel_server_reply(channel, verdict.session, verdict.counter, stn_msg_changes_state(msg.type), plain.data,
                                    plain.size, &sealed, &err));
    }
    if (sealed.size > 0) {
        stn_link_reply(request, sealed.data, sealed.size);
    } else {
        stn_link_drop(request);
    }
    stn_buf_fini(&frame);
    stn_buf_fini(&plain);
    stn_buf_fini(&sealed);
    if (has_left) {
        stn_loop_stop(loop);
    }
}

/* ---- a place for the agent ---- */

static void enrol(uint32_t i)
{
    struct member *member = &members[i];
    if (i == 0) {
        ok(stn_place_identity(&place, true, &member->ident, &err));
    } else {
        stn_ident_new(&member->ident);
    }
    memcpy(member->certificate.device, member->ident.pub, sizeof member->certificate.device);
    stn_ident_cert_sign(&member->certificate, &directory);
}

static void make_adapter(const char *model_path)
{
    struct stn_model *model = NULL;
    struct stn_adapter *first = NULL;
    ok(stn_blob_name_file(model_path, &base.digest, &base.size, &err));
    ok(stn_model_open(&model, model_path, &err));
    ok(stn_adapter_new(&first, stn_model_arch(model), 4, 8, STN_ARCH_ALL, &err));
    stn_adapter_init(first, 1);
    ok(stn_adapter_file_write(first, &adapter_bytes, &err));
    adapter = (struct stn_blob_ref){stn_digest_blob(adapter_bytes.data, adapter_bytes.size), adapter_bytes.size};
    n_values = first->n_values;
    stn_adapter_free(first);
    stn_model_close(model);
}

static void write_conf(const char *model_path)
{
    char key[65], directory_key[65], data[STN_FILE_PATH_MAX];
    static const char lines[] = "{\"prompt\": \"turn the lamp on ->\", \"completion\": \" on lamp\"}\n"
                                "{\"prompt\": \"turn the lamp off ->\", \"completion\": \" off lamp\"}\n";
    struct stn_buf text = {0};
    stn_place_path(&place, "data.jsonl", data);
    stn_place_path(&place, "agent.conf", conf);
    ok(stn_file_replace(data, lines, sizeof lines - 1, 0600, &err));
    stn_hex_put(key, coordinator.pub, 32);
    stn_hex_put(directory_key, directory.pub, 32);
    (void)stn_buf_printf(&text,
                         "[server]\nurl = tcp://127.0.0.1:%u\nkey = %s\ndirectory = %s\n[agent]\ndir = %s\nmodel = %s\n"
                         "n_min = %d\nthreads = 1\nbackend = cpu\nretry_ms = 50\nretry_most_ms = 200\n[data]\nhome = %s\n",
                         stn_link_port(link_), key, directory_key, folder, model_path, N_MIN, data);
    ok(stn_file_replace(conf, text.data, text.size, 0600, &err));
    stn_buf_fini(&text);
}

static void setup(void)
{
    char model_path[STN_FILE_PATH_MAX];
    ok(stn_entropy_start(&err));
    (void)snprintf(folder, sizeof folder, "/tmp/stn-liar-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ok(stn_place_open(&place, folder, &err));
    stn_ident_new(&coordinator);
    stn_ident_new(&directory);
    for (uint32_t i = 0; i < N; i++) {
        enrol(i);
    }
    ok(stn_place_keep_certificate(&place, &members[0].certificate, &err));
    ok(stn_file_join(model_path, STN_RUN_SOURCE, "deploy/models/home-base.gguf", &err));
    make_adapter(model_path);
    ok(stn_loop_open(&loop, &err));
    ok(stn_mailbox_open(&mailbox, loop, &err));
    const struct stn_channel_server_config of = {.coordinator = &coordinator, .version_min = STN_MSG_VERSION,
                                                 .version_max = STN_MSG_VERSION, .n_open = 8, .n_half_open = 8,
                                                 .n_enrolments = 1, .find_device = find_device};
    ok(stn_channel_server_new(&channel, &of, &err));
    ok(stn_link_listen(&link_, mailbox, "tcp://127.0.0.1:0", NULL, on_request, NULL, &err));
    write_conf(model_path);
    make_round();
}

static void teardown(void)
{
    for (uint32_t i = 1; i < N; i++) {
        stn_secagg_client_free(members[i].client);
    }
    stn_secagg_server_free(server);
    stn_secagg_server_effects_fini(&effects);
    stn_link_close(link_, NULL, NULL);
    stn_mailbox_close(mailbox, NULL, NULL);
    stn_loop_run(loop);
    stn_loop_close(loop);
    stn_channel_server_free(channel);
    stn_arena_fini(&arena);
    stn_buf_fini(&adapter_bytes);
    ok(stn_file_remove_tree(folder, &err));
}

/* A program of this build with these arguments, the last of which is NULL. */
static pid_t spawn(const char *name, char *const *arguments)
{
    char *argv[8] = {program};
    pid_t pid;
    ok(stn_file_join(program, STN_RUN_BUILD, name, &err));
    for (size_t i = 0; arguments[i] != NULL; i++) {
        argv[i + 1] = arguments[i];
    }
    ck_assert_int_eq(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    return pid;
}

static int ends(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static pid_t agent;

static void end_agent(void)
{
    if (agent > 0) {
        (void)kill(agent, SIGKILL);
    }
}

START_TEST(what_a_coordinator_signed_twice_is_kept_and_nothing_more_is_said)
{
    struct stn_secagg_client_evidence evidence;
    char path[STN_FILE_PATH_MAX], half[STN_DIGEST_SIZE + 1], name[64];
    char run[] = "run", config_option[] = "--config", log[] = "log", what[] = "evidence", dir[] = "--dir";
    lies_at = _i == 0 ? STN_STAGE_SHARE : STN_STAGE_ACK;
    agent = spawn("client/sterna-agent", (char *[]){run, config_option, conf, NULL});
    ck_assert_int_eq(atexit(end_agent), 0); /* what a failed test leaves behind would keep its pipes */
    stn_loop_run(loop);
    ck_assert(has_left && n_chunks_put == n_chunks && (n_chunks > 0) == (_i == 1));
    stn_hex_put(half, cfg.bytes, STN_DIGEST_SIZE / 2);
    (void)snprintf(name, sizeof name, "evidence/%s-%s.json", half, _i == 0 ? "rosters" : "survivors");
    stn_place_path(&place, name, path);
    ok(stn_evidence_read(path, &evidence, &err));
    ok(stn_evidence_verify(&evidence, coordinator.pub, &err));
    ck_assert_int_eq(kill(agent, SIGTERM), 0);
    ck_assert_int_eq(ends(agent), 0);
    agent = 0;
    ck_assert_int_eq(ends(spawn("client/sterna", (char *[]){log, what, dir, folder, NULL})), 0);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("liar");
    TCase *t = tcase_create("liar");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, what_a_coordinator_signed_twice_is_kept_and_nothing_more_is_said, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
