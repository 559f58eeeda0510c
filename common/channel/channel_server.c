#include "channel/channel_server.h"

#include <assert.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "channel/channel_session.h"
#include "crypto/entropy.h"
#include "crypto/noise.h"
#include "proto/codec.h"
#include "proto/frame.h"

/* A first message that waits for the directory. */
struct enrolment {
    struct stn_list link;
    uint64_t id;
    struct stn_noise noise;
    struct stn_id device;
    uint32_t version;
};

struct stn_channel_server {
    uint8_t secret[32]; /* the coordinator's, on curve25519 */
    uint32_t version_min, version_max;
    bool (*find_device)(void *data, const uint8_t key[static 32], struct stn_id *ret);
    void *data;
    struct stn_channel_server_stats most; /* the limits */
    struct stn_channel_server_stats now;
    struct stn_map sessions; /* by id, of both kinds */
    struct stn_map devices;  /* open sessions by device */
    /* what was used longest ago is first */
    struct stn_list open, half_open, enrolments;
};

enum stn_code stn_channel_server_new(struct stn_channel_server **ret,
                                     const struct stn_channel_server_config *config,
                                     struct stn_err *err)
{
    assert(config->n_open > 0 && config->n_half_open > 0 && config->n_enrolments > 0);
    assert(config->version_min > 0 && config->version_min <= config->version_max);
    struct stn_channel_server *server = stn_mem_new(1, sizeof *server);
    if (server == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for the channel");
    }
    stn_ident_dh_secret(server->secret, config->coordinator);
    server->version_min = config->version_min;
    server->version_max = config->version_max;
    server->find_device = config->find_device;
    server->data = config->data;
    server->most = (struct stn_channel_server_stats){.n_open = config->n_open,
                                                     .n_half_open = config->n_half_open,
                                                     .n_enrolments = config->n_enrolments};
    stn_list_init(&server->open);
    stn_list_init(&server->half_open);
    stn_list_init(&server->enrolments);
    *ret = server;
    return STN_OK;
}

static struct stn_channel_session *session_at(struct stn_list *link)
{
    return STN_LIST_OF(link, struct stn_channel_session, link);
}

static void close_session(struct stn_channel_server *server, struct stn_channel_session *session)
{
    stn_list_remove(&session->link);
    (void)stn_map_remove(&server->sessions, &session->id, sizeof session->id);
    if (session->is_open) {
        (void)stn_map_remove(&server->devices, &session->device, sizeof session->device);
        server->now.n_open--;
    } else {
        server->now.n_half_open--;
    }
    stn_channel_session_free(session);
}

static void end_enrolment(struct stn_channel_server *server, struct enrolment *enrolment)
{
    stn_list_remove(&enrolment->link);
    server->now.n_enrolments--;
    stn_noise_fini(&enrolment->noise);
    stn_mem_free(enrolment);
}

void stn_channel_server_free(struct stn_channel_server *server)
{
    if (server == NULL) {
        return;
    }
    while (!stn_list_is_empty(&server->open)) {
        close_session(server, session_at(server->open.next));
    }
    while (!stn_list_is_empty(&server->half_open)) {
        close_session(server, session_at(server->half_open.next));
    }
    while (!stn_list_is_empty(&server->enrolments)) {
        end_enrolment(server, STN_LIST_OF(server->enrolments.next, struct enrolment, link));
    }
    stn_map_fini(&server->sessions);
    stn_map_fini(&server->devices);
    stn_entropy_wipe(server, sizeof *server);
    stn_mem_free(server);
}

struct stn_channel_server_stats stn_channel_server_stats(const struct stn_channel_server *server)
{
    return server->now;
}

void stn_channel_server_forget(struct stn_channel_server *server, const struct stn_id *device)
{
    struct stn_channel_session *session = stn_map_get(&server->devices, device, sizeof *device);
    if (session != NULL) {
        close_session(server, session);
    }
    for (struct stn_list *link = server->half_open.next; link != &server->half_open;) {
        session = session_at(link);
        link = link->next;
        if (memcmp(&session->device, device, sizeof *device) == 0) {
            close_session(server, session);
        }
    }
}

/* ---- answers ---- */

static struct stn_channel_server_verdict drop(struct stn_channel_server *server)
{
    server->now.n_dropped++;
    return (struct stn_channel_server_verdict){.kind = STN_CHANNEL_SERVER_DROP};
}

static struct stn_channel_server_verdict refuse(struct stn_channel_server *server, uint64_t session,
                                                enum stn_code code, struct stn_buf *answer)
{
    struct stn_frame frame = {.kind = STN_FRAME_REFUSED, .session = session, .code = code};
    uint8_t head[STN_FRAME_HEAD];
    size_t size = stn_frame_put_head(&frame, head);
    if (!stn_buf_add(answer, head, size)) {
        return drop(server);
    }
    server->now.n_refused++;
    return (struct stn_channel_server_verdict){.kind = STN_CHANNEL_SERVER_ANSWER};
}

static uint64_t random_number(void)
{
    uint64_t number = 0;
    while (number == 0) { /* 0 is none */
        stn_entropy_fill(&number, sizeof number);
    }
    return number;
}

/* ---- hellos ---- */

/* Room for one more half-open session of this device: its own oldest goes first. */
static void make_room(struct stn_channel_server *server, const struct stn_id *device)
{
    struct stn_channel_session *oldest = NULL;
    size_t n = 0;
    for (struct stn_list *link = server->half_open.next; link != &server->half_open;
         link = link->next) {
        struct stn_channel_session *session = session_at(link);
        if (memcmp(&session->device, device, sizeof *device) == 0) {
            oldest = oldest == NULL ? session : oldest;
            n++;
        }
    }
    if (n >= STN_CHANNEL_SERVER_HELLOS) {
        close_session(server, oldest);
    }
    if (server->now.n_half_open >= server->most.n_half_open) {
        close_session(server, session_at(server->half_open.next));
    }
}

static enum stn_code keep_half_open(struct stn_channel_server *server, struct stn_noise *noise,
                                    uint64_t id, const struct stn_id *device, uint32_t version,
                                    struct stn_err *err)
{
    struct stn_noise_keys keys;
    stn_noise_split(noise, &keys);
    struct stn_channel_session *session = stn_channel_session_new(id, device, version, &keys);
    stn_noise_keys_fini(&keys);
    if (session == NULL || !stn_map_set(&server->sessions, &id, sizeof id, session)) {
        stn_channel_session_free(session);
        return stn_err_set(err, STN_MEMORY, "no memory for a session");
    }
    make_room(server, device);
    stn_list_add(&server->half_open, &session->link);
    server->now.n_half_open++;
    return STN_OK;
}

/* Message 2, and the half-open session that it makes. */
static enum stn_code answer_hello(struct stn_channel_server *server, struct stn_noise *noise,
                                  const struct stn_id *device, uint32_t version,
                                  const struct stn_ident_cert *certificate, struct stn_buf *answer,
                                  struct stn_err *err)
{
    struct stn_hello_reply reply = {.version = version, .session = random_number()};
    struct stn_frame frame = {.kind = STN_FRAME_HELLO_REPLY};
    struct stn_buf payload = {0};
    size_t before = answer->size, n = 0;
    if (certificate != NULL) {
        reply.has_certificate = true;
        stn_ident_cert_put(certificate, reply.certificate);
    }
    enum stn_code code = stn_codec_hello_reply(&reply, &payload, err);
    uint8_t *to = NULL;
    if (code == STN_OK) {
        to = stn_buf_extend(answer, STN_FRAME_FIRST + STN_NOISE_OVERHEAD_2 + payload.size);
        code = to == NULL ? stn_err_set(err, STN_MEMORY, "no memory for a hello") : STN_OK;
    }
    if (code == STN_OK) {
        uint8_t head[STN_FRAME_HEAD];
        memcpy(to, head, stn_frame_put_head(&frame, head));
        code = stn_noise_write(noise, payload.data, payload.size, to + STN_FRAME_FIRST, &n, err);
    }
    if (code == STN_OK) {
        code = keep_half_open(server, noise, reply.session, device, version, err);
    }
    if (code != STN_OK) {
        answer->size = before;
    }
    stn_buf_fini(&payload);
    return code;
}

static struct stn_channel_server_verdict wait_for_token(struct stn_channel_server *server,
                                                        const struct stn_noise *noise,
                                                        const struct stn_hello *hello,
                                                        uint32_t version, struct stn_buf *answer)
{
    uint8_t image[32];
    if (!hello->has_enrol || stn_ident_dh_public(image, hello->enrol.device, NULL) != STN_OK ||
        memcmp(image, noise->theirs, sizeof image) != 0) {
        return refuse(server, 0, STN_DENIED, answer);
    }
    struct enrolment *enrolment = stn_mem_new(1, sizeof *enrolment);
    if (enrolment == NULL) {
        return drop(server);
    }
    if (server->now.n_enrolments == server->most.n_enrolments) {
        end_enrolment(server, STN_LIST_OF(server->enrolments.next, struct enrolment, link));
    }
    enrolment->id = random_number();
    enrolment->noise = *noise;
    enrolment->version = version;
    memcpy(&enrolment->device, hello->enrol.device, sizeof enrolment->device);
    stn_list_add(&server->enrolments, &enrolment->link);
    server->now.n_enrolments++;
    struct stn_channel_server_verdict verdict = {.kind = STN_CHANNEL_SERVER_NEED_TOKEN,
                                                 .device = enrolment->device,
                                                 .enrolment = enrolment->id};
    memcpy(&verdict.token, hello->enrol.token, sizeof verdict.token);
    return verdict;
}

/* The newest version that both speak; 0: none. */
static uint32_t choose_version(const struct stn_channel_server *server,
                               const struct stn_hello *hello)
{
    uint32_t version =
        hello->version_max < server->version_max ? hello->version_max : server->version_max;
    return version >= hello->version_min && version >= server->version_min ? version : 0;
}

static struct stn_channel_server_verdict take_hello(struct stn_channel_server *server,
                                                    const struct stn_frame *frame,
                                                    const uint8_t *bytes, struct stn_buf *answer)
{
    bool enrols = frame->kind == STN_FRAME_HELLO_IKPSK2;
    uint8_t payload[STN_NOISE_OVERHEAD_1 + STN_HELLO_BYTES];
    struct stn_noise noise;
    struct stn_hello hello;
    struct stn_id device;
    struct stn_channel_server_verdict verdict;
    size_t n = 0;
    server->now.n_hellos++;
    stn_noise_respond(&noise, enrols ? STN_NOISE_IKPSK2 : STN_NOISE_IK, server->secret, bytes,
                      frame->head_size);
    if (stn_noise_read(&noise, frame->body, frame->body_size, payload, &n, NULL) != STN_OK ||
        stn_codec_hello_decode(&hello, payload, n, NULL) != STN_OK) {
        verdict = refuse(server, 0, STN_DENIED, answer);
        goto out;
    }
    uint32_t version = choose_version(server, &hello);
    if (version == 0) {
        verdict = refuse(server, 0, STN_UNSUPPORTED, answer);
    } else if (enrols) {
        verdict = wait_for_token(server, &noise, &hello, version, answer);
    } else if (!server->find_device(server->data, noise.theirs, &device)) {
        verdict = refuse(server, 0, STN_DENIED, answer);
    } else if (answer_hello(server, &noise, &device, version, NULL, answer, NULL) != STN_OK) {
        verdict = drop(server);
    } else {
        verdict = (struct stn_channel_server_verdict){.kind = STN_CHANNEL_SERVER_ANSWER};
    }
out:
    stn_noise_fini(&noise);
    return verdict;
}

/* ---- enrolments ---- */

static struct enrolment *find_enrolment(struct stn_channel_server *server, uint64_t id)
{
    for (struct stn_list *link = server->enrolments.next; link != &server->enrolments;
         link = link->next) {
        struct enrolment *enrolment = STN_LIST_OF(link, struct enrolment, link);
        if (enrolment->id == id) {
            return enrolment;
        }
    }
    return NULL;
}

enum stn_code stn_channel_server_enrol(struct stn_channel_server *server, uint64_t id,
                                       const uint8_t token[static 32],
                                       const struct stn_ident_cert *certificate,
                                       struct stn_buf *answer, struct stn_err *err)
{
    struct enrolment *enrolment = find_enrolment(server, id);
    if (enrolment == NULL) {
        return stn_err_set(err, STN_LATE, "the enrolment was pushed out by others");
    }
    stn_noise_set_psk(&enrolment->noise, token);
    enum stn_code code = answer_hello(server, &enrolment->noise, &enrolment->device,
                                      enrolment->version, certificate, answer, err);
    end_enrolment(server, enrolment);
    return code;
}

void stn_channel_server_refuse(struct stn_channel_server *server, uint64_t id, enum stn_code code,
                               struct stn_buf *answer)
{
    struct enrolment *enrolment = find_enrolment(server, id);
    if (enrolment != NULL) {
        end_enrolment(server, enrolment);
    }
    (void)refuse(server, 0, code, answer);
}

/* ---- records ---- */

/* What the device began before this session and did not use must not come back and replace it. */
static void close_older(struct stn_channel_server *server,
                        const struct stn_channel_session *session)
{
    for (struct stn_list *link = server->half_open.next; link != &session->link;) {
        struct stn_channel_session *older = session_at(link);
        link = link->next;
        if (memcmp(&older->device, &session->device, sizeof older->device) == 0) {
            close_session(server, older);
        }
    }
}

/* The session's first record was verified: it takes the place of the device's old one. False, and
 * the session is closed, when there is no memory. */
static bool open_session(struct stn_channel_server *server, struct stn_channel_session *session,
                         uint64_t *ret_closed)
{
    struct stn_channel_session *old =
        stn_map_get(&server->devices, &session->device, sizeof session->device);
    close_older(server, session);
    if (old != NULL) {
        *ret_closed = old->id;
        close_session(server, old);
    }
    if (!stn_map_set(&server->devices, &session->device, sizeof session->device, session)) {
        close_session(server, session);
        return false;
    }
    if (server->now.n_open == server->most.n_open) {
        close_session(server, session_at(server->open.next));
    }
    session->is_open = true;
    server->now.n_half_open--;
    server->now.n_open++;
    return true;
}

static struct stn_channel_server_verdict take_record(struct stn_channel_server *server,
                                                     const struct stn_frame *frame, uint8_t *bytes,
                                                     struct stn_buf *answer)
{
    struct stn_channel_session *session =
        stn_map_get(&server->sessions, &frame->session, sizeof frame->session);
    if (session == NULL) {
        return refuse(server, frame->session, STN_NOT_FOUND, answer);
    }
    struct stn_channel_server_verdict verdict =
        stn_channel_session_take(session, frame, bytes, answer);
    if (verdict.kind == STN_CHANNEL_SERVER_DROP) {
        return drop(server);
    }
    server->now.n_repeated += verdict.kind != STN_CHANNEL_SERVER_REQUEST;
    if (!session->is_open && !open_session(server, session, &verdict.closed)) {
        return drop(server);
    }
    stn_list_remove(&session->link);
    stn_list_add(&server->open, &session->link);
    return verdict;
}

struct stn_channel_server_verdict stn_channel_server_take(struct stn_channel_server *server,
                                                          uint8_t *frame, size_t size,
                                                          struct stn_buf *answer)
{
    struct stn_frame parsed;
    enum stn_code code = stn_frame_get(&parsed, frame, size, NULL);
    if (code == STN_UNSUPPORTED) {
        return refuse(server, 0, code, answer);
    }
    if (code != STN_OK) {
        return drop(server);
    }
    switch (parsed.kind) {
    case STN_FRAME_HELLO_IK:
    case STN_FRAME_HELLO_IKPSK2:
        return take_hello(server, &parsed, frame, answer);
    case STN_FRAME_REQUEST:
        return take_record(server, &parsed, frame, answer);
    case STN_FRAME_HELLO_REPLY:
    case STN_FRAME_REPLY:
    case STN_FRAME_REFUSED:
        break;
    }
    return drop(server);
}

enum stn_code stn_channel_server_reply(struct stn_channel_server *server, uint64_t session,
                                       uint64_t counter, bool changes_state, const void *message,
                                       size_t size, struct stn_buf *answer, struct stn_err *err)
{
    struct stn_channel_session *to = stn_map_get(&server->sessions, &session, sizeof session);
    if (to == NULL) {
        return stn_err_set(err, STN_LATE, "the session of request %llu is gone",
                           (unsigned long long)counter);
    }
    return stn_channel_session_reply(to, counter, changes_state, message, size, answer, err);
}
