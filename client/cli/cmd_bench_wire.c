#include "client/cli/cli.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/mem.h"
#include "channel/channel_client.h"
#include "channel/channel_server.h"
#include "client/cli/bench_model.h"
#include "client/cli/session.h"
#include "crypto/entropy.h"
#include "io/link.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "proto/codec.h"

#define ARENA_BYTES ((size_t)4 << 20)
#define ASK_MS 10000
#define SMALL 64

struct options {
    double seconds;
};

static const struct options defaults = {.seconds = 1};
static const struct stn_option options[] = {
    {"seconds", 0, STN_OPTION_F64, offsetof(struct options, seconds), "S", "for each of the measurements (1)", 0.01, 60},
    {0},
};

/* How often something was done, and what it took. */
struct rate {
    double n, wall_s, cpu_s;
};

/* ---- a device and a coordinator, without a network between them ---- */

struct pair {
    struct stn_ident coordinator, directory, device;
    struct stn_channel_server *server;
    struct stn_channel_client *client;
    struct stn_buf plain, up, down;
    uint64_t now_ms;
};

static bool find_device(void *data, const uint8_t key[static 32], struct stn_id *ret)
{
    const struct pair *pair = data;
    uint8_t mine[32];
    if (stn_ident_dh_public(mine, pair->device.pub, NULL) != STN_OK || memcmp(mine, key, sizeof mine) != 0) {
        return false;
    }
    memcpy(ret->bytes, pair->device.pub, sizeof ret->bytes);
    return true;
}

static enum stn_code pair_init(struct pair *pair, struct stn_err *err)
{
    struct stn_ident_cert certificate = {0};
    stn_ident_new(&pair->coordinator);
    stn_ident_new(&pair->directory);
    stn_ident_new(&pair->device);
    memcpy(certificate.device, pair->device.pub, sizeof certificate.device);
    stn_ident_cert_sign(&certificate, &pair->directory);
    const struct stn_channel_server_config server = {.coordinator = &pair->coordinator, .version_min = STN_MSG_VERSION,
                                                     .version_max = STN_MSG_VERSION, .n_open = 16, .n_half_open = 16,
                                                     .n_enrolments = 16, .find_device = find_device, .data = pair};
    const struct stn_channel_client_config client = {.device = &pair->device, .coordinator = pair->coordinator.pub,
                                                     .directory = pair->directory.pub, .certificate = &certificate,
                                                     .version_min = STN_MSG_VERSION, .version_max = STN_MSG_VERSION};
    enum stn_code code = stn_channel_server_new(&pair->server, &server, err);
    return code == STN_OK ? stn_channel_client_new(&pair->client, &client, err) : code;
}

static void pair_fini(struct pair *pair)
{
    stn_channel_client_free(pair->client);
    stn_channel_server_free(pair->server);
    stn_ident_fini(&pair->coordinator);
    stn_ident_fini(&pair->directory);
    stn_ident_fini(&pair->device);
    stn_buf_fini(&pair->plain);
    stn_buf_fini(&pair->up);
    stn_buf_fini(&pair->down);
}

static enum stn_code shake_hands(struct pair *pair, const struct stn_msg *unused, struct stn_err *err)
{
    struct stn_channel_client_heard heard;
    (void)unused;
    pair->now_ms += stn_channel_client_wait_ms(pair->client, pair->now_ms);
    stn_buf_clear(&pair->up);
    stn_buf_clear(&pair->down);
    enum stn_code code = stn_channel_client_start(pair->client, pair->now_ms, &pair->up, err);
    if (code == STN_OK) {
        (void)stn_channel_server_take(pair->server, pair->up.data, pair->up.size, &pair->down);
        code = stn_channel_client_heard(pair->client, pair->down.data, pair->down.size, &heard, err);
    }
    return code;
}

static enum stn_code encode(struct pair *pair, const struct stn_msg *msg, struct stn_err *err)
{
    stn_buf_clear(&pair->plain);
    return stn_codec_encode(msg, &pair->plain, err);
}

static enum stn_code decode(const void *bytes, size_t size, struct stn_err *err)
{
    struct stn_msg msg;
    struct stn_arena arena = {.limit = ARENA_BYTES};
    enum stn_code code = stn_codec_decode(&msg, &arena, bytes, size, err);
    stn_arena_fini(&arena);
    return code;
}

/* All that happens to a request and its reply, on both sides, but for the network and what it is about. */
static enum stn_code exchange(struct pair *pair, const struct stn_msg *request, struct stn_err *err)
{
    static const struct stn_msg ok = {.type = STN_MSG_OK};
    struct stn_channel_server_verdict verdict = {0};
    struct stn_channel_client_heard heard;
    uint64_t counter;
    stn_buf_clear(&pair->up);
    stn_buf_clear(&pair->down);
    enum stn_code code = encode(pair, request, err);
    code = code == STN_OK ? stn_channel_client_request(pair->client, pair->plain.data, pair->plain.size, &pair->up, &counter, err)
                          : code;
    if (code == STN_OK) {
        verdict = stn_channel_server_take(pair->server, pair->up.data, pair->up.size, &pair->down);
        code = verdict.kind == STN_CHANNEL_SERVER_REQUEST ? decode(verdict.message, verdict.size, err)
                                                          : stn_err_set(err, STN_CORRUPT, "the coordinator took no request");
    }
    code = code == STN_OK ? encode(pair, &ok, err) : code;
    code = code == STN_OK ? stn_channel_server_reply(pair->server, verdict.session, verdict.counter,
                                                     stn_msg_changes_state(request->type), pair->plain.data,
                                                     pair->plain.size, &pair->down, err)
                          : code;
    code = code == STN_OK ? stn_channel_client_heard(pair->client, pair->down.data, pair->down.size, &heard, err) : code;
    return code == STN_OK ? decode(heard.data, heard.size, err) : code;
}

static enum stn_code measure(struct pair *pair, double seconds,
                             enum stn_code (*once)(struct pair *pair, const struct stn_msg *msg, struct stn_err *err),
                             const struct stn_msg *msg, struct rate *ret, struct stn_err *err)
{
    double start_s = stn_session_now_s(), cpu_s = stn_session_cpu_s();
    enum stn_code code = STN_OK;
    *ret = (struct rate){0};
    while (code == STN_OK && ret->wall_s < seconds) {
        code = stn_command_stopping() ? stn_err_set(err, STN_CANCELLED, "stopped") : once(pair, msg, err);
        ret->n++;
        ret->wall_s = stn_session_now_s() - start_s;
    }
    ret->cpu_s = stn_session_cpu_s() - cpu_s;
    return code;
}

/* ---- loopback: a link that listens and one that dials, on one loop ---- */

struct loopback {
    struct stn_loop *loop;
    struct stn_mailbox *mailbox;
    struct stn_link *listener, *dialer;
    struct stn_timer end;
    uint8_t *bytes;
    size_t size; /* of a request; a reply is small */
    unsigned n_links;
    bool is_over;
    double start_s, cpu_s;
    struct rate rate;
    enum stn_code code;
};

static void on_request(void *user, struct stn_link_request *request)
{
    const struct loopback *loopback = user;
    stn_link_reply(request, loopback->bytes, SMALL);
}

static void close_loopback(struct loopback *loopback);

static void on_reply(void *user, enum stn_code code, uint8_t *data, size_t size);

static void ask(struct loopback *loopback)
{
    loopback->code = stn_link_ask(loopback->dialer, loopback->bytes, loopback->size, ASK_MS, on_reply, loopback, NULL);
    if (loopback->code != STN_OK) {
        close_loopback(loopback);
    }
}

static void on_reply(void *user, enum stn_code code, uint8_t *data, size_t size)
{
    struct loopback *loopback = user;
    (void)data;
    (void)size;
    if (loopback->is_over) {
        return;
    }
    if (code != STN_OK) {
        loopback->code = code;
        close_loopback(loopback);
        return;
    }
    if (loopback->start_s == 0) { /* the first has made the connection */
        loopback->start_s = stn_session_now_s();
        loopback->cpu_s = stn_session_cpu_s();
    } else {
        loopback->rate.n++;
    }
    ask(loopback);
}

static void on_closed(void *user)
{
    struct loopback *loopback = user;
    if (--loopback->n_links == 0) {
        stn_mailbox_close(loopback->mailbox, NULL, NULL);
        loopback->mailbox = NULL;
    }
}

static void close_loopback(struct loopback *loopback)
{
    if (loopback->is_over) {
        return;
    }
    loopback->is_over = true;
    if (loopback->start_s == 0 && loopback->code == STN_OK) {
        loopback->code = STN_AGAIN; /* nobody has answered */
    }
    loopback->rate.wall_s = stn_session_now_s() - loopback->start_s;
    loopback->rate.cpu_s = stn_session_cpu_s() - loopback->cpu_s;
    stn_loop_disarm(loopback->loop, &loopback->end);
    stn_link_close(loopback->dialer, on_closed, loopback);
    stn_link_close(loopback->listener, on_closed, loopback);
}

static void on_end(struct stn_timer *timer)
{
    close_loopback(STN_LIST_OF(timer, struct loopback, end));
}

static enum stn_code open_loopback(struct loopback *loopback, struct stn_err *err)
{
    char url[64];
    enum stn_code code = stn_loop_open(&loopback->loop, err);
    code = code == STN_OK ? stn_mailbox_open(&loopback->mailbox, loopback->loop, err) : code;
    code = code == STN_OK ? stn_link_listen(&loopback->listener, loopback->mailbox, "tcp://127.0.0.1:0", NULL, on_request,
                                            loopback, err)
                          : code;
    loopback->n_links += code == STN_OK;
    if (code == STN_OK) {
        (void)snprintf(url, sizeof url, "tcp://127.0.0.1:%u", stn_link_port(loopback->listener));
        code = stn_link_dial(&loopback->dialer, loopback->mailbox, url, NULL, err);
        loopback->n_links += code == STN_OK;
    }
    return code;
}

/* n_out requests of size bytes are out at a time. */
static enum stn_code measure_loopback(double seconds, size_t size, unsigned n_out, struct rate *ret, struct stn_err *err)
{
    struct loopback loopback = {.size = size, .end.fire = on_end};
    loopback.bytes = stn_mem_new(size, 1);
    enum stn_code code = loopback.bytes == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a request")
                                                : open_loopback(&loopback, err);
    if (code == STN_OK) {
        stn_loop_arm(loopback.loop, &loopback.end, (uint64_t)(seconds * 1000));
        for (unsigned i = 0; i < n_out && !loopback.is_over; i++) {
            ask(&loopback);
        }
        stn_loop_run(loopback.loop);
        code = loopback.code == STN_OK ? STN_OK : stn_err_set(err, loopback.code, "loopback: %s", stn_err_name(loopback.code));
        *ret = loopback.rate;
    } else if (loopback.loop != NULL) { /* what was opened is closed */
        stn_link_close(loopback.listener, on_closed, &loopback);
        if (loopback.n_links == 0) {
            stn_mailbox_close(loopback.mailbox, NULL, NULL);
        }
        stn_loop_run(loopback.loop);
    }
    stn_loop_close(loopback.loop);
    stn_mem_free(loopback.bytes);
    return code;
}

/* ---- the command ---- */

static enum stn_code measure_all(double seconds, json_t *object, struct stn_err *err)
{
    static uint8_t bytes[STN_DIGEST_CHUNK];
    static struct pair pair;
    const struct stn_msg poll = {.type = STN_MSG_POLL, .poll.stage = STN_STAGE_UPLOAD};
    const struct stn_msg put = {.type = STN_MSG_PUT_CHUNK, .put_chunk = {.size = sizeof bytes, .data = bytes}};
    struct rate hello = {0}, small = {0}, chunk = {0}, turn = {0}, stream = {0};
    stn_entropy_fill(bytes, sizeof bytes);
    enum stn_code code = pair_init(&pair, err);
    code = code == STN_OK ? measure(&pair, seconds, shake_hands, NULL, &hello, err) : code;
    code = code == STN_OK ? measure(&pair, seconds, exchange, &poll, &small, err) : code;
    code = code == STN_OK ? measure(&pair, seconds, exchange, &put, &chunk, err) : code;
    pair_fini(&pair);
    code = code == STN_OK ? measure_loopback(seconds, SMALL, 1, &turn, err) : code;
    code = code == STN_OK ? measure_loopback(seconds, sizeof bytes, STN_LINK_WINDOW, &stream, err) : code;
    if (code != STN_OK) {
        return code;
    }
    const double chunk_bytes = chunk.n * sizeof bytes, stream_bytes = stream.n * sizeof bytes;
    json_t *all = json_pack(
        "{sf sf sf sf sf sf sf sf sf sf}", "handshakes_per_s", hello.n / hello.wall_s, "requests_per_s", small.n / small.wall_s,
        "bytes_per_s", chunk_bytes / chunk.wall_s, "loopback_round_trip_s", turn.n > 0 ? turn.wall_s / turn.n : 0.0,
        "loopback_bytes_per_s", stream_bytes / stream.wall_s, "handshake_cpu_s", hello.cpu_s / hello.n, "request_cpu_s",
        small.cpu_s / small.n, "bytes_per_cpu_s", chunk_bytes / chunk.cpu_s, "loopback_round_trip_cpu_s",
        turn.n > 0 ? turn.cpu_s / turn.n : 0.0, "loopback_bytes_per_cpu_s", stream_bytes / stream.cpu_s);
    (void)json_object_update(object, all);
    json_decref(all);
    return STN_OK;
}

static enum stn_code wire(const void *parsed, const struct stn_command_line *line, struct stn_err *err)
{
    const struct options *o = parsed;
    json_t *object = json_object();
    enum stn_code code = object == NULL ? stn_err_set(err, STN_MEMORY, "no memory for the result")
                                        : measure_all(o->seconds, object, err);
    if (code != STN_OK) {
        json_decref(object);
        return code;
    }
    return stn_session_take_result(object, line->json, err);
}

const struct stn_command stn_cmd_bench_wire = {
    .name = "bench wire", .args = "",
    .summary = "the encrypted channel in memory, both sides of it, and nng over loopback without it",
    .example = "sterna bench wire --json", .options = options, .defaults = &defaults, .size = sizeof(struct options),
    .run = wire,
};
