#include "tests/lib/wire.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/entropy.h"

const uint8_t stn_wire_token[32] = {'o', 'n', 'c', 'e'};

static uint8_t taken[(1 << 20) + 4096]; /* where the last frame was decrypted */

static bool find_device(void *data, const uint8_t key[static 32], struct stn_id *ret)
{
    const struct stn_wire *wire = data;
    for (size_t i = 0; i < wire->n_enrolled; i++) {
        if (memcmp(wire->keys[i], key, 32) == 0) {
            *ret = wire->devices[i];
            return true;
        }
    }
    return false;
}

void stn_wire_init(struct stn_wire *wire)
{
    enum stn_code code = stn_entropy_start(NULL);
    *wire = (struct stn_wire){0};
    stn_wire_ident(&wire->coordinator, 1000001);
    stn_wire_ident(&wire->directory, 1000002);
    struct stn_channel_server_config config = {.coordinator = &wire->coordinator,
                                               .version_min = 1,
                                               .version_max = 2,
                                               .n_open = STN_WIRE_OPEN,
                                               .n_half_open = STN_WIRE_HALF_OPEN,
                                               .n_enrolments = STN_WIRE_ENROLMENTS,
                                               .find_device = find_device,
                                               .data = wire};
    code = code == STN_OK ? stn_channel_server_new(&wire->server, &config, NULL) : code;
    assert(code == STN_OK);
}

void stn_wire_fini(struct stn_wire *wire)
{
    stn_channel_server_free(wire->server);
}

void stn_wire_ident(struct stn_ident *ret, size_t i)
{
    uint8_t seed[STN_IDENT_SEED] = {7};
    stn_buf_put_u64(seed + 8, i);
    stn_ident_from_seed(ret, seed);
}

static void know(struct stn_wire *wire, const struct stn_id *device)
{
    uint8_t key[32];
    enum stn_code code = stn_ident_dh_public(key, device->bytes, NULL);
    struct stn_id known;
    assert(code == STN_OK);
    if (!find_device(wire, key, &known)) {
        assert(wire->n_enrolled < STN_WIRE_DEVICES);
        wire->devices[wire->n_enrolled] = *device;
        memcpy(wire->keys[wire->n_enrolled++], key, sizeof key);
    }
}

void stn_wire_enrol(struct stn_wire *wire, size_t i)
{
    struct stn_ident ident;
    struct stn_id device;
    stn_wire_ident(&ident, i);
    memcpy(&device, ident.pub, sizeof device);
    know(wire, &device);
}

struct stn_channel_client *stn_wire_client(struct stn_wire *wire, size_t i, bool has_token)
{
    struct stn_ident ident;
    struct stn_channel_client *client = NULL;
    stn_wire_ident(&ident, i);
    struct stn_channel_client_config config = {.device = &ident,
                                               .coordinator = wire->coordinator.pub,
                                               .directory = wire->directory.pub,
                                               .token = has_token ? stn_wire_token : NULL,
                                               .version_min = 1,
                                               .version_max = 1};
    enum stn_code code = stn_channel_client_new(&client, &config, NULL);
    assert(code == STN_OK);
    return client;
}

struct stn_channel_server_verdict stn_wire_take(struct stn_wire *wire, const struct stn_buf *frame,
                                                struct stn_buf *answer)
{
    assert(frame->size <= sizeof taken);
    if (frame->size > 0) {
        memcpy(taken, frame->data, frame->size);
    }
    return stn_channel_server_take(wire->server, taken, frame->size, answer);
}

void stn_wire_ask_directory(struct stn_wire *wire, const struct stn_channel_server_verdict *verdict,
                            struct stn_buf *answer)
{
    struct stn_digest token = stn_digest_of(stn_wire_token, sizeof stn_wire_token);
    struct stn_ident_cert cert = {.token = token, .issued_at_s = 1};
    memcpy(cert.device, verdict->device.bytes, sizeof cert.device);
    bool is_spent = !stn_digest_is_zero(&wire->spent.token);
    if (!stn_digest_equal(&verdict->token, &token) ||
        (is_spent && memcmp(wire->spent.device, cert.device, sizeof cert.device) != 0)) {
        stn_channel_server_refuse(wire->server, verdict->enrolment, STN_DENIED, answer);
        return;
    }
    stn_ident_cert_sign(&cert, &wire->directory);
    wire->spent = cert;
    know(wire, &verdict->device);
    (void)!stn_channel_server_enrol(wire->server, verdict->enrolment, stn_wire_token, &cert, answer,
                                    NULL);
}
