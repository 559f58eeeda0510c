#include "channel/channel_client.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/noise.h"
#include "crypto/seal.h"
#include "proto/codec.h"
#include "proto/frame.h"

struct stn_channel_client {
    uint8_t pub[32];    /* the device, Ed25519 */
    uint8_t secret[32]; /* its image on curve25519 */
    uint8_t theirs[32]; /* the coordinator's */
    uint8_t directory[32];
    uint8_t token[32];
    bool has_token, has_certificate;
    struct stn_ident_cert certificate;
    uint32_t version_min, version_max;

    struct stn_noise handshake; /* READ_2 while one is in progress */
    uint64_t last_start_ms, next_start_ms, wait_ms;
    enum stn_code refusal;

    bool is_open;
    uint64_t session;
    uint32_t version;
    struct stn_seal seal;
    struct {
        bool waits;
        uint64_t counter;
    } outstanding[STN_SEAL_WINDOW]; /* request number c in place c mod 32 */
};

/* ---- who it is ---- */

static enum stn_code check_certificate(const struct stn_channel_client *client,
                                       const struct stn_ident_cert *certificate,
                                       struct stn_err *err)
{
    if (memcmp(certificate->device, client->pub, sizeof client->pub) != 0) {
        return stn_err_set(err, STN_DENIED, "the certificate is another device's");
    }
    return stn_ident_cert_verify(certificate, client->directory, err);
}

enum stn_code stn_channel_client_new(struct stn_channel_client **ret,
                                     const struct stn_channel_client_config *config,
                                     struct stn_err *err)
{
    assert(config->version_min > 0 && config->version_min <= config->version_max);
    struct stn_channel_client *client = stn_mem_new(1, sizeof *client);
    if (client == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a channel");
    }
    memcpy(client->pub, config->device->pub, sizeof client->pub);
    memcpy(client->directory, config->directory, sizeof client->directory);
    stn_ident_dh_secret(client->secret, config->device);
    client->version_min = config->version_min;
    client->version_max = config->version_max;
    if (config->token != NULL) {
        memcpy(client->token, config->token, sizeof client->token);
        client->has_token = true;
    }
    enum stn_code code = stn_ident_dh_public(client->theirs, config->coordinator, err);
    if (code == STN_OK && config->certificate != NULL) {
        client->certificate = *config->certificate;
        client->has_certificate = true;
        code = check_certificate(client, config->certificate, err);
    }
    if (code != STN_OK) {
        stn_channel_client_free(client);
        return code;
    }
    *ret = client;
    return STN_OK;
}

void stn_channel_client_free(struct stn_channel_client *client)
{
    if (client != NULL) {
        stn_entropy_wipe(client, sizeof *client);
        stn_mem_free(client);
    }
}

/* ---- the handshake ---- */

uint64_t stn_channel_client_wait_ms(const struct stn_channel_client *client, uint64_t now_ms)
{
    return now_ms < client->next_start_ms ? client->next_start_ms - now_ms : 0;
}

static void space_out(struct stn_channel_client *client, uint64_t now_ms)
{
    uint64_t wait_ms = client->wait_ms == 0 ? STN_CHANNEL_CLIENT_WAIT_MIN : 2 * client->wait_ms;
    client->wait_ms = wait_ms < STN_CHANNEL_CLIENT_WAIT_MAX ? wait_ms : STN_CHANNEL_CLIENT_WAIT_MAX;
    client->last_start_ms = now_ms;
    client->next_start_ms = now_ms + client->wait_ms;
}

static struct stn_hello hello_of(const struct stn_channel_client *client, bool enrols)
{
    struct stn_hello hello = {.version_min = client->version_min,
                              .version_max = client->version_max,
                              .has_enrol = enrols};
    if (enrols) {
        struct stn_digest token = stn_digest_of(client->token, sizeof client->token);
        memcpy(hello.enrol.token, token.bytes, sizeof hello.enrol.token);
        memcpy(hello.enrol.device, client->pub, sizeof hello.enrol.device);
    }
    return hello;
}

enum stn_code stn_channel_client_start(struct stn_channel_client *client, uint64_t now_ms,
                                       struct stn_buf *frame, struct stn_err *err)
{
    uint64_t wait_ms = stn_channel_client_wait_ms(client, now_ms);
    if (wait_ms > 0) {
        return stn_err_set(err, STN_AGAIN, "too soon for another handshake: wait %llu ms",
                           (unsigned long long)wait_ms);
    }
    bool enrols = client->has_token && !client->has_certificate;
    struct stn_frame hello_frame = {.kind = enrols ? STN_FRAME_HELLO_IKPSK2 : STN_FRAME_HELLO_IK};
    struct stn_hello hello = hello_of(client, enrols);
    struct stn_buf payload = {0};
    size_t before = frame->size, n = 0;
    uint8_t head[STN_FRAME_HEAD];
    size_t head_size = stn_frame_put_head(&hello_frame, head);

    enum stn_code code = stn_codec_hello(&hello, &payload, err);
    uint8_t *to = code == STN_OK
                      ? stn_buf_extend(frame, head_size + STN_NOISE_OVERHEAD_1 + payload.size)
                      : NULL;
    if (code == STN_OK && to == NULL) {
        code = stn_err_set(err, STN_MEMORY, "no memory for a hello");
    }
    if (code != STN_OK) {
        goto out;
    }
    memcpy(to, head, head_size);
    stn_noise_fini(&client->handshake);
    stn_noise_initiate(&client->handshake, enrols ? STN_NOISE_IKPSK2 : STN_NOISE_IK, client->secret,
                       client->theirs, head, head_size);
    if (enrols) {
        stn_noise_set_psk(&client->handshake, client->token);
    }
    code = stn_noise_write(&client->handshake, payload.data, payload.size, to + head_size, &n, err);
    if (code != STN_OK) {
        frame->size = before;
        goto out;
    }
    client->refusal = STN_OK;
    space_out(client, now_ms);
out:
    stn_buf_fini(&payload);
    return code;
}

/* The certificate that an enrolment must bring. */
static enum stn_code adopt_certificate(struct stn_channel_client *client,
                                       const struct stn_hello_reply *reply, struct stn_err *err)
{
    struct stn_ident_cert certificate;
    struct stn_digest token = stn_digest_of(client->token, sizeof client->token);
    if (!reply->has_certificate) {
        return stn_err_set(err, STN_DENIED, "the coordinator enrols without a certificate");
    }
    stn_ident_cert_get(&certificate, reply->certificate);
    enum stn_code code = check_certificate(client, &certificate, err);
    if (code == STN_OK && !stn_digest_equal(&certificate.token, &token)) {
        code = stn_err_set(err, STN_DENIED, "the certificate is for another token");
    }
    if (code == STN_OK) {
        client->certificate = certificate;
        client->has_certificate = true;
    }
    return code;
}

static void open_session(struct stn_channel_client *client, struct stn_noise *handshake,
                         const struct stn_hello_reply *reply)
{
    struct stn_noise_keys keys;
    stn_noise_split(handshake, &keys);
    stn_seal_fini(&client->seal);
    stn_seal_init(&client->seal, &keys);
    stn_noise_keys_fini(&keys);
    stn_noise_fini(&client->handshake);
    memset(client->outstanding, 0, sizeof client->outstanding);
    client->is_open = true;
    client->session = reply->session;
    client->version = reply->version;
}

static enum stn_code hear_hello(struct stn_channel_client *client, const struct stn_frame *frame,
                                struct stn_channel_client_heard *ret, struct stn_err *err)
{
    uint8_t payload[STN_NOISE_OVERHEAD_2 + STN_HELLO_BYTES];
    size_t n = 0;
    struct stn_hello_reply reply;
    if (client->handshake.stage != STN_NOISE_READ_2) {
        return stn_err_set(err, STN_LATE, "no handshake is in progress");
    }
    /* on a copy: a forged answer must not end the handshake */
    struct stn_noise handshake = client->handshake;
    bool enrols = handshake.pattern == STN_NOISE_IKPSK2;
    enum stn_code code =
        stn_noise_read(&handshake, frame->body, frame->body_size, payload, &n, err);
    if (code != STN_OK) {
        goto out;
    }
    code = stn_codec_hello_reply_decode(&reply, payload, n, err);
    if (code == STN_OK &&
        (reply.version < client->version_min || reply.version > client->version_max)) {
        code = stn_err_set(err, STN_UNSUPPORTED, "the coordinator chose version %u of %u to %u",
                           reply.version, client->version_min, client->version_max);
    }
    if (code == STN_OK && enrols) {
        code = adopt_certificate(client, &reply, err);
    }
    if (code != STN_OK) {
        stn_noise_fini(&client->handshake); /* it was the coordinator, and it was wrong */
        goto out;
    }
    open_session(client, &handshake, &reply);
    *ret =
        (struct stn_channel_client_heard){.kind = STN_CHANNEL_CLIENT_OPEN, .is_enrolled = enrols};
out:
    stn_noise_fini(&handshake);
    return code;
}

/* ---- the session ---- */

bool stn_channel_client_is_open(const struct stn_channel_client *client)
{
    return client->is_open;
}

uint32_t stn_channel_client_version(const struct stn_channel_client *client)
{
    return client->is_open ? client->version : 0;
}

const struct stn_ident_cert *stn_channel_client_certificate(const struct stn_channel_client *client)
{
    return client->has_certificate ? &client->certificate : NULL;
}

enum stn_code stn_channel_client_refusal(const struct stn_channel_client *client)
{
    return client->refusal;
}

enum stn_code stn_channel_client_request(struct stn_channel_client *client, const void *message,
                                         size_t size, struct stn_buf *frame, uint64_t *ret_counter,
                                         struct stn_err *err)
{
    if (!client->is_open) {
        return stn_err_set(err, STN_AGAIN, "there is no session yet");
    }
    if (size > STN_SEAL_RECORD) {
        return stn_err_set(err, STN_LIMIT, "a request of %zu bytes, at most %zu", size,
                           STN_SEAL_RECORD);
    }
    uint64_t counter = stn_seal_next(&client->seal);
    size_t place = (size_t)(counter % STN_SEAL_WINDOW);
    if (client->outstanding[place].waits) {
        return stn_err_set(err, STN_AGAIN, "request %llu is still outstanding: %d at once",
                           (unsigned long long)client->outstanding[place].counter, STN_SEAL_WINDOW);
    }
    struct stn_frame request = {
        .kind = STN_FRAME_REQUEST, .session = client->session, .counter = counter};
    uint8_t head[STN_FRAME_HEAD];
    size_t before = frame->size, head_size = stn_frame_put_head(&request, head);
    uint8_t *to = stn_buf_extend(frame, head_size + size + STN_SEAL_TAG);
    if (to == NULL) {
        return stn_err_set(err, STN_MEMORY, "no room for a request of %zu bytes", size);
    }
    memcpy(to, head, head_size);
    enum stn_code code =
        stn_seal_put(&client->seal, head, head_size, message, size, to + head_size, &counter, err);
    if (code != STN_OK) {
        frame->size = before;
        return code;
    }
    client->outstanding[place].waits = true;
    client->outstanding[place].counter = counter;
    *ret_counter = counter;
    return STN_OK;
}

static bool waits_for(const struct stn_channel_client *client, uint64_t counter)
{
    size_t place = (size_t)(counter % STN_SEAL_WINDOW);
    return client->outstanding[place].waits && client->outstanding[place].counter == counter;
}

void stn_channel_client_forget(struct stn_channel_client *client, uint64_t counter)
{
    if (waits_for(client, counter)) {
        client->outstanding[counter % STN_SEAL_WINDOW].waits = false;
    }
}

static enum stn_code hear_reply(struct stn_channel_client *client, const struct stn_frame *frame,
                                uint8_t *bytes, struct stn_channel_client_heard *ret,
                                struct stn_err *err)
{
    if (!client->is_open || frame->session != client->session ||
        !waits_for(client, frame->request)) {
        return stn_err_set(err, STN_LATE, "no request waits for this reply");
    }
    /* A request takes one reply and its counter is never used again: nothing can be replayed. A
     * window would only refuse a kept reply for being repeated late. */
    uint8_t *message = bytes + frame->head_size;
    enum stn_code code =
        stn_seal_open_awaited(&client->seal, frame->counter, bytes, frame->head_size, message,
                              frame->body_size, message, err);
    if (code != STN_OK) {
        return code;
    }
    stn_channel_client_forget(client, frame->request);
    uint64_t soon_ms = client->last_start_ms + STN_CHANNEL_CLIENT_WAIT_MIN;
    client->wait_ms = 0;
    client->next_start_ms = client->next_start_ms < soon_ms ? client->next_start_ms : soon_ms;
    *ret = (struct stn_channel_client_heard){.kind = STN_CHANNEL_CLIENT_REPLY,
                                             .counter = frame->request,
                                             .data = message,
                                             .size = frame->body_size - STN_SEAL_TAG};
    return STN_OK;
}

static enum stn_code hear_refusal(struct stn_channel_client *client, const struct stn_frame *frame,
                                  struct stn_err *err)
{
    bool concerns_us = frame->session == 0 ? client->handshake.stage == STN_NOISE_READ_2
                                           : client->is_open && frame->session == client->session;
    if (!concerns_us) {
        return stn_err_set(err, STN_LATE, "a refusal of something else");
    }
    client->refusal = frame->code;
    return stn_err_set(err, STN_AGAIN, "the coordinator refuses: %s", stn_err_name(frame->code));
}

enum stn_code stn_channel_client_heard(struct stn_channel_client *client, uint8_t *frame,
                                       size_t size, struct stn_channel_client_heard *ret,
                                       struct stn_err *err)
{
    struct stn_frame parsed;
    enum stn_code code = stn_frame_get(&parsed, frame, size, err);
    if (code != STN_OK) {
        return code;
    }
    switch (parsed.kind) {
    case STN_FRAME_HELLO_REPLY:
        return hear_hello(client, &parsed, ret, err);
    case STN_FRAME_REPLY:
        return hear_reply(client, &parsed, frame, ret, err);
    case STN_FRAME_REFUSED:
        return hear_refusal(client, &parsed, err);
    case STN_FRAME_HELLO_IK:
    case STN_FRAME_HELLO_IKPSK2:
    case STN_FRAME_REQUEST:
        break;
    }
    return stn_err_set(err, STN_CORRUPT, "a frame that only a device sends");
}
