#include "server/shell/enrol.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/entropy.h"
#include "server/shell/inbox.h"

struct enrolment {
    struct stn_job job;
    struct stn_service *service;
    struct stn_link_request *request;
    uint64_t number;
    struct stn_id device;
    char question[256];
    struct stn_buf reply;
    enum stn_code code;
    struct stn_err err;
};

static void ask(struct stn_job *job)
{
    struct enrolment *enrolment = STN_LIST_OF(job, struct enrolment, job);
    enrolment->code = stn_local_ask(enrolment->service->settings.directory, enrolment->question, strlen(enrolment->question),
                                    STN_SERVICE_ASK_MS, &enrolment->reply, &enrolment->err);
}

/* The directory's word is believed only with its signature under it. */
static enum stn_code read_reply(const struct enrolment *enrolment, uint8_t psk[static 32], struct stn_ident_cert *cert,
                                struct stn_err *err)
{
    uint8_t bytes[STN_IDENT_CERT];
    const char *psk_text = NULL, *cert_text = NULL, *code = NULL, *why = NULL;
    json_t *root = json_loadb((const char *)enrolment->reply.data, enrolment->reply.size, 0, NULL);
    enum stn_code ret = STN_OK;
    if (json_unpack(root, "{s{ss ss}}", "error", "code", &code, "text", &why) == 0) {
        ret = stn_err_set(err, stn_err_code(code, STN_AGAIN), "the directory: %.200s", why);
    } else if (json_unpack(root, "{ss ss}", "psk", &psk_text, "certificate", &cert_text) != 0 ||
               !stn_hex_get(psk, 32, psk_text) || !stn_hex_get(bytes, sizeof bytes, cert_text)) {
        ret = stn_err_set(err, STN_AGAIN, "the directory answered what is no certificate");
    } else {
        stn_ident_cert_get(cert, bytes);
        ret = stn_ident_cert_verify(cert, enrolment->service->directory_key, err);
    }
    if (ret == STN_OK && memcmp(cert->device, enrolment->device.bytes, sizeof cert->device) != 0) {
        ret = stn_err_set(err, STN_DENIED, "the directory signed another device");
    }
    json_decref(root);
    return ret;
}

/* The device is ours from the commit on; its answer leaves after that. */
static enum stn_code add_device(struct stn_service *service, const struct stn_ident_cert *cert, struct stn_err *err)
{
    struct stn_store_device device = {.enrolled_ms = stn_loop_wall_ms()};
    memcpy(device.device.bytes, cert->device, sizeof device.device.bytes);
    stn_ident_cert_put(cert, device.certificate);
    enum stn_code code = stn_ident_dh_public(device.key, cert->device, err);
    if (code != STN_OK) {
        return code;
    }
    code = stn_store_add_device(service->store, &device, err);
    if (code == STN_EXISTS) { /* a point and its negative have one image */
        return stn_err_set(err, STN_DENIED, "another device has the same handshake key");
    }
    if (code != STN_OK) {
        stn_turn_die("save_failed", err);
    }
    char name[17];
    stn_hex_put(name, cert->device, 8);
    stn_log(STN_LOG_INFO, "enrolled", "device=%s", name);
    return STN_OK;
}

static void answer(struct enrolment *enrolment)
{
    struct stn_service *service = enrolment->service;
    uint8_t psk[32] = {0};
    struct stn_ident_cert cert;
    struct stn_err err = enrolment->err;
    struct stn_buf answer = {0};
    enum stn_code code = enrolment->code == STN_OK ? read_reply(enrolment, psk, &cert, &err) : STN_AGAIN;
    if (code == STN_OK) {
        code = add_device(service, &cert, &err);
    }
    if (code == STN_OK) {
        code = stn_channel_server_enrol(service->channel, enrolment->number, psk, &cert, &answer, &err);
    } else {
        stn_channel_server_refuse(service->channel, enrolment->number, code, &answer);
    }
    if (code != STN_OK) {
        stn_log_err(STN_LOG_WARN, "enrolment_refused", &err);
    }
    stn_entropy_wipe(psk, sizeof psk);
    stn_inbox_send(service, enrolment->request, &answer);
    stn_buf_fini(&answer);
}

static void asked(struct stn_job *job)
{
    struct enrolment *enrolment = STN_LIST_OF(job, struct enrolment, job);
    if (job->ran && !enrolment->service->is_stopping) {
        answer(enrolment);
    }
    if (enrolment->reply.data != NULL) {
        stn_entropy_wipe(enrolment->reply.data, enrolment->reply.size);
    }
    stn_buf_fini(&enrolment->reply);
    stn_mem_free(enrolment);
}

/* Anybody may say hello with a token; whoever waits here holds a request, and the directory may be slow. */
void stn_enrol_start(struct stn_service *service, struct stn_link_request *request, uint64_t number,
                     const struct stn_id *device, const struct stn_digest *token)
{
    char token_text[STN_DIGEST_TEXT], device_text[2 * sizeof device->bytes + 1];
    bool is_room = stn_worker_n_jobs(service->asker) < STN_ENROL_JOBS;
    struct enrolment *enrolment = is_room ? stn_mem_new(1, sizeof *enrolment) : NULL;
    if (enrolment == NULL) {
        struct stn_buf answer = {0};
        stn_log(STN_LOG_DEBUG, "enrolment_later", "waiting=%zu", stn_worker_n_jobs(service->asker));
        stn_channel_server_refuse(service->channel, number, STN_AGAIN, &answer);
        stn_inbox_send(service, request, &answer);
        stn_buf_fini(&answer);
        return;
    }
    *enrolment = (struct enrolment){.job = {.run = ask, .done = asked}, .service = service, .request = request,
                                    .number = number, .device = *device};
    stn_digest_put_text(token, token_text);
    stn_hex_put(device_text, device->bytes, sizeof device->bytes);
    (void)snprintf(enrolment->question, sizeof enrolment->question,
                   "{\"command\":\"enrol\",\"token\":\"%s\",\"device\":\"%s\"}", token_text, device_text);
    stn_worker_submit(service->asker, &enrolment->job);
}
