#include "tests/lib/raw.h"
#include "tests/lib/run.h"

#include <jansson.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "blob/blob.h"
#include "channel/channel_client.h"
#include "channel/signed.h"
#include "channel/url.h"
#include "crypto/entropy.h"
#include "io/file.h"
#include "io/link.h"
#include "io/local.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proto/codec.h"
#include "server/shell/kept.h"
#include "update/pack.h"
#include "update/round.h"

/* Devices of this process, without training, against a coordinator and a directory that are processes of their own:
 * every message of a round over a real socket, with the coordinator killed at chosen places, or again and again. */
enum { N = 3, ROUNDS = 2 };

extern char **environ;

#define OPERATOR "operator.sock"
#define INVITES "directory/invite.sock"

static char folder[64], url[64];
static struct stn_err err;
static pid_t coordinator, directory;
static struct stn_loop *loop;
static struct stn_mailbox *mailbox;
static struct stn_arena arena;

struct device {
    struct stn_ident ident;
    struct stn_url url;
    struct stn_link *link;
    struct stn_channel_client *client;
    uint64_t version; /* in place */
    struct stn_msg_lease lease;
    struct stn_msg_round_config config;
    struct stn_digest cfg;
    uint8_t *packed;
    size_t size;
};
static struct device devices[N];

static void ok(enum stn_code code)
{
    ck_assert_msg(code == STN_OK, "%s", err.text);
}

/* ---- processes ---- */

/* Kills the coordinator after each of these times, then lets it live. */
static const char restless[] = "for t in 0.3 0.7 0.2 0.5 0.25 0.9 0.35 0.6 0.4 1.1 0.3 0.8; do"
                               "  setpriv --pdeathsig KILL \"$0\" \"$@\" & p=$!; sleep $t; kill -9 $p; wait $p; done;"
                               "exec setpriv --pdeathsig KILL \"$0\" \"$@\"";

/* In a group of its own, so that whatever it started ends with it; and it ends with the test, however that ends: what a test
 * leaves behind would keep its pipes, and whoever reads them, waiting. */
static pid_t spawn(const char *command, const char *config, bool is_restless)
{
    char program[STN_FILE_PATH_MAX], path[STN_FILE_PATH_MAX];
    ok(stn_file_join(program, STN_RUN_BUILD, "server/sternad", &err));
    ok(stn_file_join(path, folder, config, &err));
    char sh[] = "/bin/sh", c[] = "-c", script[sizeof restless], option[] = "--config";
    memcpy(script, restless, sizeof restless);
    char *all[] = {sh, c, script, program, (char *)(uintptr_t)command, option, path, NULL};
    char **argv = is_restless ? all : all + 3;
    const pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execv(argv[0], argv);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0);
    (void)setpgid(pid, pid); /* whichever of both is first */
    return pid;
}

static void end(pid_t *pid, int number)
{
    int status;
    if (*pid > 0) {
        ck_assert_int_eq(kill(-*pid, number), 0);
        ck_assert_int_eq(waitpid(*pid, &status, 0), *pid);
        ck_assert(number == SIGKILL || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }
    *pid = 0;
}

/* An operator's question, to one of the sockets; asked again until somebody listens. */
static json_t *ask_operator(const char *name, json_t *request)
{
    char path[STN_FILE_PATH_MAX], *text = json_dumps(request, JSON_COMPACT);
    struct stn_buf reply = {0};
    enum stn_code code = STN_NOT_FOUND;
    ok(stn_file_join(path, folder, name, &err));
    for (int i = 0; i < 200 && code != STN_OK; i++) {
        code = stn_local_ask(path, text, strlen(text), 20000, &reply, &err);
        if (code != STN_OK) {
            (void)usleep(50000);
        }
    }
    ok(code);
    json_t *root = json_loadb((const char *)reply.data, reply.size, 0, NULL);
    ck_assert_msg(json_is_true(json_object_get(root, "ok")), "%s", (const char *)reply.data);
    stn_buf_fini(&reply);
    free(text);
    json_decref(request);
    return root;
}

static void make_folder(void)
{
    char program[STN_FILE_PATH_MAX], path[STN_FILE_PATH_MAX], listen[64], *address = url + strlen("tcp://");
    struct stn_buf conf = {0};
    pid_t pid;
    int status;
    (void)snprintf(folder, sizeof folder, "/tmp/sterna-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%u", stn_raw_free_port());
    (void)snprintf(listen, sizeof listen, "%s", url);
    ok(stn_file_join(program, STN_RUN_BUILD, "server/sternad", &err));
    char a[] = "init", b[] = "--listen", c[] = "--address", d[] = "--json";
    char *argv[] = {program, a, folder, b, listen, c, address, d, NULL};
    ck_assert_int_eq(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ok(stn_file_join(path, folder, "sternad.conf", &err));
    ok(stn_file_read(path, 65536, &conf, &err));
    ck_assert(stn_buf_add_u8(&conf, 0));
    char *at = strstr((char *)conf.data, "keep_updates = no"), *snapshot = strstr((char *)conf.data, "# snapshot = 32");
    ck_assert(at != NULL && snapshot != NULL);
    memcpy(at, "keep_updates = on", strlen("keep_updates = on"));
    memcpy(snapshot, "snapshot   = 2 ", strlen("snapshot   = 2 ")); /* in every round */
    ok(stn_file_replace(path, conf.data, conf.size - 1, 0644, &err));
    stn_buf_fini(&conf);
}

/* ---- a device's talk ---- */

struct waiting {
    struct stn_buf bytes;
    enum stn_code code;
};

static void on_reply(void *user, enum stn_code code, uint8_t *data, size_t size)
{
    struct waiting *waiting = user;
    waiting->code = code;
    if (code == STN_OK) {
        ck_assert(stn_buf_add(&waiting->bytes, data, size));
    }
    stn_loop_stop(loop);
}

static enum stn_code exchange(struct device *device, const struct stn_buf *frame, struct stn_buf *ret)
{
    struct waiting waiting = {0};
    ok(stn_link_ask(device->link, frame->data, frame->size, 10000, on_reply, &waiting, &err));
    stn_loop_run(loop);
    *ret = waiting.bytes;
    return waiting.code;
}

/* Whether there is a session now. */
static bool connect_device(struct device *device)
{
    struct stn_buf frame = {0}, reply = {0};
    struct stn_channel_client_heard heard;
    uint64_t wait_ms = stn_channel_client_wait_ms(device->client, stn_loop_clock_ms());
    (void)usleep((useconds_t)(wait_ms * 1000));
    ok(stn_channel_client_start(device->client, stn_loop_clock_ms(), &frame, &err));
    bool is_open = exchange(device, &frame, &reply) == STN_OK &&
                   stn_channel_client_heard(device->client, reply.data, reply.size, &heard, &err) == STN_OK;
    ck_assert(!is_open || heard.kind == STN_CHANNEL_CLIENT_OPEN);
    stn_buf_fini(&frame);
    stn_buf_fini(&reply);
    return is_open;
}

/* The reply lies in the arena until the test ends. A session that a new process does not know is made again. */
static struct stn_msg ask(struct device *device, const struct stn_msg *msg)
{
    struct stn_msg ret = {0};
    for (int attempt = 0; attempt < 200; attempt++) {
        struct stn_buf plain = {0}, frame = {0}, reply = {0};
        struct stn_channel_client_heard heard;
        uint64_t counter;
        ok(stn_codec_encode(msg, &plain, &err));
        ok(stn_channel_client_request(device->client, plain.data, plain.size, &frame, &counter, &err));
        enum stn_code code = exchange(device, &frame, &reply);
        if (code == STN_OK) {
            code = stn_channel_client_heard(device->client, reply.data, reply.size, &heard, &err);
        }
        if (code == STN_OK) {
            ck_assert_int_eq(heard.kind, STN_CHANNEL_CLIENT_REPLY);
            ck_assert_uint_eq(heard.counter, counter);
            ok(stn_codec_decode(&ret, &arena, heard.data, heard.size, &err));
        }
        stn_buf_fini(&plain);
        stn_buf_fini(&frame);
        stn_buf_fini(&reply);
        if (code == STN_OK) {
            return ret;
        }
        stn_channel_client_forget(device->client, counter);
        if (code == STN_AGAIN) { /* refused: the session is gone */
            (void)connect_device(device);
        }
        (void)usleep(50000);
    }
    ck_abort_msg("no reply");
}

static struct stn_msg expect(struct device *device, const struct stn_msg *msg, enum stn_msg_type type)
{
    struct stn_msg reply = ask(device, msg);
    for (int i = 0; i < 100 && reply.type == STN_MSG_WAIT; i++) {
        reply = ask(device, msg);
    }
    ck_assert_msg(reply.type == type, "%s was answered %s (%u)", stn_msg_name(msg->type), stn_msg_name(reply.type),
                  reply.type == STN_MSG_REFUSED ? reply.refused.code : 0);
    return reply;
}

/* ---- a round ---- */

static void check_in(struct device *device)
{
    struct stn_msg msg = {.type = STN_MSG_CHECK_IN, .check_in = {.n_min_floor = 2, .n_consents = 1}};
    (void)snprintf(msg.check_in.consents[0].task, STN_MSG_NAME, "home");
    msg.check_in.consents[0].n_examples = 60;
    msg.check_in.consents[0].version = device->version;
    device->lease = expect(device, &msg, STN_MSG_LEASE).lease;
}

/* The blob's bytes are its digest's. */
static void fetch(struct device *device, const struct stn_blob_ref *blob)
{
    struct stn_msg get = {.type = STN_MSG_GET_LEAVES, .get_leaves = {.digest = blob->digest}};
    struct stn_msg leaves = expect(device, &get, STN_MSG_LEAVES_ARE);
    struct stn_buf bytes = {0};
    ck_assert_uint_eq(leaves.leaves.size, blob->size);
    for (uint32_t i = 0; i < leaves.leaves.n_leaves; i++) {
        get = (struct stn_msg){.type = STN_MSG_GET_CHUNK, .get_chunk = {.digest = blob->digest, .index = i, .n = 1}};
        struct stn_msg chunk = expect(device, &get, STN_MSG_CHUNK_IS);
        ck_assert(stn_buf_add(&bytes, chunk.chunk.data, chunk.chunk.size));
    }
    struct stn_digest digest = stn_digest_blob(bytes.data, bytes.size);
    ck_assert(stn_digest_equal(&digest, &blob->digest));
    stn_buf_fini(&bytes);
}

static void join(struct device *device)
{
    struct stn_msg msg = {.type = STN_MSG_JOIN, .join = {.lease = device->lease.lease, .version = device->lease.version,
                                                         .n_samples = 60}};
    memcpy(msg.join.task, device->lease.task, sizeof msg.join.task);
    device->config = expect(device, &msg, STN_MSG_ROUND_CONFIG).round_config;
    ok(stn_signed_cfg(&device->config, &device->cfg, &err));
    ok(stn_signed_config_verify(&device->config, &device->cfg, device->url.key, &err));
    struct stn_msg advertise = {.type = STN_MSG_ADVERTISE, .advertise = {.round = device->config.round}};
    stn_signed_advertise(&advertise.advertise, &device->cfg, &device->ident);
    advertise.advertise.signature[5] ^= 1;
    ck_assert_uint_eq(expect(device, &advertise, STN_MSG_REFUSED).refused.code, STN_DENIED);
    advertise.advertise.signature[5] ^= 1;
    (void)expect(device, &advertise, STN_MSG_OK);
}

static void encode(struct device *device, uint64_t seed)
{
    struct stn_encode_config encoding;
    struct stn_encode_result result;
    struct stn_rng rng;
    const struct stn_encode_info info = {.n_samples = 60, .loss_sum = 30, .n_tokens = 20};
    uint8_t private_seed[STN_ENCODE_SEED];
    ok(stn_round_encoding(&device->config, &encoding, &err));
    float *delta = stn_mem_new(encoding.n_values, sizeof *delta);
    uint32_t *out = stn_mem_new(stn_encode_length(&encoding), sizeof *out);
    stn_rng_init(&rng, seed);
    for (size_t i = 0; i < encoding.n_values; i++) {
        delta[i] = (float)(0.01 * stn_rng_normal(&rng));
    }
    stn_entropy_fill(private_seed, sizeof private_seed);
    ok(stn_encode_delta(&encoding, delta, &info, private_seed, out, &result, &err));
    device->size = (size_t)stn_round_upload_size(&encoding);
    device->packed = stn_mem_new(device->size, 1);
    stn_pack_put(device->packed, out, stn_encode_length(&encoding), encoding.bits);
    stn_mem_free(delta);
    stn_mem_free(out);
}

static void kill_and_restart(void)
{
    end(&coordinator, SIGKILL);
    coordinator = spawn("run", "sternad.conf", false);
    json_decref(ask_operator(OPERATOR, json_pack("{ss}", "command", "status")));
}

/* With crash, the coordinator is killed behind the first chunk, and again before the end is told. */
static void upload(struct device *device, bool crash)
{
    struct stn_msg poll = {.type = STN_MSG_POLL, .poll = {.round = device->config.round, .stage = STN_STAGE_ADVERTISE}};
    struct stn_msg_roster roster = expect(device, &poll, STN_MSG_ROSTER).roster;
    ck_assert_uint_eq(roster.n_members, N);
    ok(stn_signed_roster_verify(&roster, &device->cfg, device->url.key, &err));
    struct stn_msg begin = {.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = device->config.round, .size = device->size + 3}};
    ck_assert_uint_eq(expect(device, &begin, STN_MSG_REFUSED).refused.code, STN_INVALID);
    begin.put_begin.size = device->size;
    struct stn_msg_missing missing = expect(device, &begin, STN_MSG_MISSING).missing;
    ck_assert_uint_eq(missing.n_missing, missing.n_chunks);
    ck_assert_uint_ge(missing.n_chunks, 2);
    for (uint32_t i = 0; i < missing.n_chunks; i++) {
        size_t at = i * STN_DIGEST_CHUNK, left = device->size - at;
        struct stn_msg put = {.type = STN_MSG_PUT_CHUNK,
                              .put_chunk = {.round = device->config.round, .index = i, .data = device->packed + at,
                                            .size = (uint32_t)(left < STN_DIGEST_CHUNK ? left : STN_DIGEST_CHUNK)}};
        (void)expect(device, &put, STN_MSG_OK);
        if (crash && i == 0) {
            kill_and_restart();
            missing = expect(device, &begin, STN_MSG_MISSING).missing;
            ck_assert_uint_eq(missing.n_missing, missing.n_chunks - 1);
        }
    }
    if (crash) {
        kill_and_restart();
    }
    struct stn_msg put_end = {.type = STN_MSG_PUT_END, .put_end = {.round = device->config.round,
                                                                   .digest = stn_digest_blob(device->packed, device->size)}};
    stn_signed_put_end(&put_end.put_end, &device->cfg, &device->ident);
    (void)expect(device, &put_end, STN_MSG_OK);
    (void)expect(device, &put_end, STN_MSG_OK); /* a repetition */
}

static void take_result(struct device *device, uint64_t version)
{
    struct stn_msg poll = {.type = STN_MSG_POLL, .poll = {.round = device->config.round, .stage = STN_STAGE_UPLOAD}};
    struct stn_msg_result result = expect(device, &poll, STN_MSG_RESULT).result;
    ck_assert_uint_eq(result.version, version);
    ck_assert_uint_eq(result.n_included, N);
    ck_assert(result.included);
    ok(stn_signed_result_verify(&result, &device->cfg, device->url.key, &err));
    fetch(device, &result.adapter);
    device->version = version;
    stn_mem_free(device->packed);
}

static void enrol_all(void)
{
    json_t *reply = ask_operator(INVITES, json_pack("{ss si}", "command", "invite", "count", N));
    for (int i = 0; i < N; i++) {
        struct device *device = &devices[i];
        ok(stn_url_get(&device->url, json_string_value(json_array_get(json_object_get(reply, "urls"), (size_t)i)), &err));
        stn_ident_new(&device->ident);
        const struct stn_channel_client_config config = {
            .device = &device->ident, .coordinator = device->url.key, .directory = device->url.directory,
            .token = device->url.token, .version_min = STN_MSG_VERSION, .version_max = STN_MSG_VERSION};
        ok(stn_channel_client_new(&device->client, &config, &err));
        ok(stn_link_dial(&device->link, mailbox, url, NULL, &err));
        for (int attempt = 0; attempt < 10 && !connect_device(device); attempt++) {
            (void)usleep(50000);
        }
        ck_assert_ptr_nonnull(stn_channel_client_certificate(device->client));
    }
    json_decref(reply);
}

/* Who says hello as ident with the token of url is refused. */
static void is_refused(const struct stn_ident *ident, const struct stn_url *of)
{
    struct device thief = {.url = *of, .link = devices[0].link, .ident = *ident};
    struct stn_buf frame = {0}, reply = {0};
    struct stn_channel_client_heard heard;
    const struct stn_channel_client_config config = {
        .device = &thief.ident, .coordinator = thief.url.key, .directory = thief.url.directory,
        .token = thief.url.token, .version_min = STN_MSG_VERSION, .version_max = STN_MSG_VERSION};
    ok(stn_channel_client_new(&thief.client, &config, &err));
    ok(stn_channel_client_start(thief.client, stn_loop_clock_ms(), &frame, &err));
    ok(exchange(&thief, &frame, &reply));
    ck_assert_int_eq(stn_channel_client_heard(thief.client, reply.data, reply.size, &heard, &err), STN_AGAIN);
    ck_assert_int_eq(stn_channel_client_refusal(thief.client), STN_DENIED);
    stn_channel_client_free(thief.client);
    stn_buf_fini(&frame);
    stn_buf_fini(&reply);
}

/* A spent token is nobody else's, and no device is enrolled a second time as the negative of itself. */
static void refuse_thieves(void)
{
    struct stn_ident stranger, mirror = devices[0].ident;
    struct stn_url fresh;
    stn_ident_new(&stranger);
    is_refused(&stranger, &devices[0].url);
    json_t *reply = ask_operator(INVITES, json_pack("{ss}", "command", "invite"));
    ok(stn_url_get(&fresh, json_string_value(json_array_get(json_object_get(reply, "urls"), 0)), &err));
    mirror.pub[31] ^= 0x80;
    is_refused(&mirror, &fresh);
    json_decref(reply);
}

static void create_task(void)
{
    static const char ini[] = "[task]\nname = home\nrounds = 2\n[model]\nbase = deploy/models/home-base.gguf\n"
                              "[cohort]\ntarget = 3\nn_min = 3\nsecure = off\n"
                              "[merge]\nlora = both\n"; /* an upload of more than one chunk */
    char source[STN_FILE_PATH_MAX];
    ck_assert_ptr_nonnull(realpath(STN_RUN_SOURCE, source));
    json_decref(ask_operator(OPERATOR, json_pack("{ss ss ss}", "command", "task.create", "text", ini, "folder", source)));
}

static enum stn_code recompute(void *user, const char *name, struct stn_err *e)
{
    char path[STN_FILE_PATH_MAX], blobs_path[STN_FILE_PATH_MAX];
    struct stn_blob_store blobs;
    struct stn_release_output output;
    struct stn_digest released;
    ok(stn_file_join(blobs_path, folder, "blobs", e));
    ok(stn_blob_open(&blobs, blobs_path, e));
    ok(stn_file_join(path, folder, "kept", e));
    ok(stn_file_join(path, path, name, e));
    enum stn_code code = stn_kept_recompute(path, &blobs, &output, &released, e);
    ck_assert_msg(code == STN_OK, "%s", e->text);
    ck_assert(stn_digest_equal(&output.adapter.digest, &released));
    ck_assert_uint_eq(output.totals.n_included, N);
    (*(int *)user)++;
    return STN_OK;
}

static void make_versions(bool crash)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++) {
            check_in(&devices[i]);
            fetch(&devices[i], &devices[i].lease.adapter);
            join(&devices[i]);
            encode(&devices[i], round * N + (uint64_t)i);
        }
        for (int i = 0; i < N; i++) {
            upload(&devices[i], crash && i == 1);
        }
        if (crash) {
            kill_and_restart(); /* in the middle of the merge, or just behind it */
        }
        for (int i = 0; i < N; i++) {
            take_result(&devices[i], round + 1);
        }
    }
}

/* All is as it should be in the end: the task is finished, and what it released follows from what was accepted. */
static void look_back(void)
{
    char kept[STN_FILE_PATH_MAX];
    int n_kept = 0;
    json_t *reply = ask_operator(OPERATOR, json_pack("{ss ss}", "command", "task.show", "task", "home"));
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(reply, "task"), "state")), "finished");
    json_decref(reply);
    ok(stn_file_join(kept, folder, "kept", &err));
    ok(stn_file_list(kept, recompute, &n_kept, &err));
    ck_assert_int_eq(n_kept, ROUNDS);
}

START_TEST(a_fleet_makes_two_versions_through_crashes_and_both_can_be_recomputed)
{
    create_task();
    enrol_all();
    refuse_thieves();
    make_versions(true);
    look_back();
    end(&coordinator, SIGTERM);
    end(&directory, SIGTERM);
}
END_TEST

START_TEST(a_coordinator_that_is_killed_again_and_again_loses_nothing)
{
    create_task();
    enrol_all();
    end(&coordinator, SIGTERM);
    coordinator = spawn("run", "sternad.conf", true);
    make_versions(false);
    end(&coordinator, SIGKILL);
    coordinator = spawn("run", "sternad.conf", false);
    look_back();
}
END_TEST

START_TEST(a_version_is_made_while_a_crowd_has_every_descriptor)
{
    enum { FREE = 60, CROWD = 400 };
    int crowd[CROWD];
    create_task();
    enrol_all();
    for (int i = 0; i < N; i++) {
        check_in(&devices[i]);
        fetch(&devices[i], &devices[i].lease.adapter);
        join(&devices[i]);
        encode(&devices[i], (uint64_t)i);
    }
    stn_raw_crowd(coordinator, (unsigned)atoi(strrchr(url, ':') + 1), FREE, crowd, CROWD);
    for (int i = 0; i < N; i++) {
        upload(&devices[i], false);
    }
    for (int i = 0; i < N; i++) {
        take_result(&devices[i], 1);
    }
    for (int i = 0; i < CROWD; i++) {
        (void)close(crowd[i]);
    }
    end(&coordinator, SIGTERM);
}
END_TEST

START_TEST(a_device_for_whose_file_there_is_no_descriptor_is_told_when_to_come_again)
{
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = 1024};
    create_task();
    enrol_all();
    check_in(&devices[0]);
    struct stn_msg get = {.type = STN_MSG_GET_CHUNK, .get_chunk = {.digest = devices[0].lease.adapter.digest, .n = 1}};
    ck_assert_int_eq(prlimit(coordinator, RLIMIT_NOFILE, &none, NULL), 0);
    struct stn_msg refused = expect(&devices[0], &get, STN_MSG_REFUSED);
    ck_assert_uint_eq(refused.refused.code, STN_AGAIN);
    ck_assert_uint_gt(refused.refused.retry_after_ms, 0);
    ck_assert_int_eq(prlimit(coordinator, RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 1024, .rlim_max = 1024}, NULL), 0);
    fetch(&devices[0], &devices[0].lease.adapter);
    end(&coordinator, SIGTERM);
}
END_TEST

static void set_up(void)
{
    ok(stn_entropy_start(&err));
    make_folder();
    char listens[STN_FILE_PATH_MAX];
    ok(stn_file_join(listens, folder, "directory/directory.sock", &err));
    directory = spawn("directory", "directory/directory.conf", false);
    for (int i = 0; i < 1200 && !stn_file_exists(listens); i++) {
        (void)usleep(50000); /* the coordinator enrols nobody without it */
    }
    ck_assert(stn_file_exists(listens));
    coordinator = spawn("run", "sternad.conf", false);
    ok(stn_loop_open(&loop, &err));
    ok(stn_mailbox_open(&mailbox, loop, &err));
}

static void tear_down(void)
{
    end(&coordinator, SIGKILL);
    end(&directory, SIGKILL);
    for (int i = 0; i < N; i++) {
        stn_channel_client_free(devices[i].client);
        stn_link_close(devices[i].link, NULL, NULL);
    }
    stn_mailbox_close(mailbox, NULL, NULL);
    stn_loop_run(loop);
    stn_loop_close(loop);
    stn_arena_fini(&arena);
    ok(stn_file_remove_tree(folder, &err));
}

Suite *suite(void)
{
    Suite *s = suite_create("round");
    TCase *t = tcase_create("round");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_coordinator_that_is_killed_again_and_again_loses_nothing);
    tcase_add_test(t, a_fleet_makes_two_versions_through_crashes_and_both_can_be_recomputed);
    tcase_add_test(t, a_version_is_made_while_a_crowd_has_every_descriptor);
    tcase_add_test(t, a_device_for_whose_file_there_is_no_descriptor_is_told_when_to_come_again);
    suite_add_tcase(s, t);
    return s;
}
