/* The door of an agent's local socket: an agent that has joined and begun is asked each input as a line. Whatever it is, an object
 * answers: what was asked for, or an error. */
#include "tests/lib/fuzz.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "client/shell/control.h"
#include "client/shell/owner.h"
#include "crypto/entropy.h"
#include "tests/lib/scratch.h"

static struct stn_device *device;

static void end(void)
{
    stn_device_stop(device);
    stn_loop_run(device->loop);
    stn_device_close(device);
}

/* A device's folder after it has joined a fleet that nobody can reach. */
static void begin(void)
{
    struct stn_ident directory, identity;
    struct stn_ident_cert certificate = {.issued_at_s = 1800000000};
    struct stn_place place;
    struct stn_buf conf = {0};
    stn_log_level(STN_LOG_ERROR);
    stn_scratch_require(stn_entropy_start(NULL) == STN_OK);
    stn_ident_new(&directory);
    stn_scratch_require(stn_place_open(&place, stn_scratch_folder(), NULL) == STN_OK);
    stn_scratch_require(stn_place_identity(&place, true, &identity, NULL) == STN_OK);
    memcpy(certificate.device, identity.pub, sizeof certificate.device);
    stn_ident_cert_sign(&certificate, &directory);
    stn_scratch_require(stn_place_keep_certificate(&place, &certificate, NULL) == STN_OK);
    stn_scratch_require(stn_owner_write(&conf, "inproc://nobody", "", directory.pub, directory.pub, stn_scratch_folder(), NULL) == STN_OK);
    stn_scratch_put("agent.conf", conf.data, conf.size);
    stn_scratch_require(stn_device_open(&device, stn_scratch_path("agent.conf"), NULL) == STN_OK);
    stn_device_start(device);
    stn_scratch_require(atexit(end) == 0);
    stn_buf_fini(&conf);
    stn_ident_fini(&identity);
    stn_ident_fini(&directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stn_buf reply = {0};
    bool stops = false;
    if (device == NULL) {
        begin();
    }
    stn_control_answer(device, (const char *)data, size, &reply, &stops);
    json_t *answer = json_loadb((const char *)reply.data, reply.size, JSON_REJECT_DUPLICATES, NULL);
    stn_scratch_require(memchr(reply.data, '\n', reply.size) == NULL);
    stn_scratch_require(json_is_true(json_object_get(answer, "ok")) != json_is_object(json_object_get(answer, "error")));
    stn_scratch_require(!stops || json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    stn_buf_fini(&reply);
    return 0;
}
