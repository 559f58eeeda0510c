/* The handshake's two doors and the record's: any bytes, and true messages with any bytes laid over
 * them. Only what was truly written may verify, and a handshake that failed has forgotten
 * everything. */
#include "tests/lib/fuzz.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "crypto/noise.h"
#include "crypto/seal.h"

#define PAYLOAD 24

static const uint8_t device_secret[32] = {1}, server_secret[32] = {2}, device_once[32] = {3},
                     server_once[32] = {4}, token[32] = {5};

struct pair {
    struct stn_noise device, server;
    uint8_t message[PAYLOAD + STN_NOISE_OVERHEAD_1]; /* the last that was truly written */
    size_t size;
};

static void begin(struct pair *pair, enum stn_noise_pattern pattern)
{
    uint8_t server_pub[32], payload[PAYLOAD] = {7};
    stn_dh_public(server_pub, server_secret);
    stn_noise_initiate(&pair->device, pattern, device_secret, server_pub, NULL, 0);
    stn_noise_respond(&pair->server, pattern, server_secret, NULL, 0);
    stn_noise_set_ephemeral(&pair->device, device_once);
    stn_noise_set_ephemeral(&pair->server, server_once);
    if (pattern == STN_NOISE_IKPSK2) {
        stn_noise_set_psk(&pair->device, token);
        stn_noise_set_psk(&pair->server, token);
    }
    enum stn_code code =
        stn_noise_write(&pair->device, payload, sizeof payload, pair->message, &pair->size, NULL);
    assert(code == STN_OK);
}

/* The server has read message 1 and written message 2. */
static void answer(struct pair *pair)
{
    uint8_t payload[sizeof pair->message];
    size_t n;
    enum stn_code code =
        stn_noise_read(&pair->server, pair->message, pair->size, payload, &n, NULL);
    assert(code == STN_OK && n == PAYLOAD && payload[0] == 7);
    code = stn_noise_write(&pair->server, payload, n, pair->message, &pair->size, NULL);
    assert(code == STN_OK);
}

static void hear(struct stn_noise *noise, const struct pair *pair, const uint8_t *p, size_t size)
{
    uint8_t *payload = stn_mem_new(size, 1);
    size_t n = 0;
    if (payload == NULL) {
        return;
    }
    bool is_true = size == pair->size && memcmp(p, pair->message, size) == 0;
    enum stn_code code = stn_noise_read(noise, p, size, payload, &n, NULL);
    assert((code == STN_OK) == is_true);
    static const struct stn_noise nothing;
    assert(code == STN_OK || memcmp(noise, &nothing, sizeof nothing) == 0);
    stn_mem_free(payload);
}

static void hear_record(const uint8_t *p, size_t size)
{
    struct stn_noise_keys keys = {.send = {1}, .receive = {1}};
    struct stn_seal seal;
    stn_seal_init(&seal, &keys);
    struct stn_cursor cursor = stn_buf_cursor(p, size);
    uint64_t counter = stn_buf_take_u64(&cursor);
    uint8_t *text = stn_mem_new(size, 1);
    if (text == NULL) {
        return;
    }
    size_t left = size - cursor.at;
    struct stn_seal before = seal;
    enum stn_code code =
        stn_seal_open(&seal, counter, p, cursor.at, p + cursor.at, left, text, NULL);
    assert(code != STN_OK && memcmp(&before, &seal, sizeof seal) == 0);
    stn_mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pair started[2], answered[2];
    if (started[0].size == 0) {
        enum stn_code code = stn_entropy_start(NULL);
        assert(code == STN_OK);
        for (int p = 0; p < 2; p++) {
            begin(&started[p], (enum stn_noise_pattern)p);
            answered[p] = started[p];
            answer(&answered[p]);
        }
    }
    for (int p = 0; p < 2; p++) {
        struct stn_noise server = started[p].server, device = answered[p].device;
        hear(&server, &started[p], data, size);
        hear(&device, &answered[p], data, size);
        for (int second = 0; second < 2; second++) {
            struct pair laid = second ? answered[p] : started[p];
            uint8_t message[sizeof laid.message];
            memcpy(message, laid.message, laid.size);
            for (size_t i = 0; i < size && i < laid.size; i++) {
                message[i] ^= data[i];
            }
            struct stn_noise noise = second ? laid.device : laid.server;
            hear(&noise, &laid, message, laid.size);
        }
    }
    hear_record(data, size);
    return 0;
}
