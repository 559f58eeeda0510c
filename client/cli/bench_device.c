#include "client/cli/bench_device.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "client/cli/session.h"
#include "proto/codec.h"
#include "proto/frame.h"
#include "update/pack.h"
#include "update/round.h"
#include "update/unmask.h"

const char *const stn_bench_device_parts[STN_BENCH_DEVICE_PARTS] = {
    [STN_BENCH_DEVICE_KEYS] = "keys_s",     [STN_BENCH_DEVICE_SHARE] = "share_s", [STN_BENCH_DEVICE_OPEN] = "open_s",
    [STN_BENCH_DEVICE_ENCODE] = "encode_s", [STN_BENCH_DEVICE_MASK] = "mask_s",   [STN_BENCH_DEVICE_PACK] = "pack_s",
    [STN_BENCH_DEVICE_ACK] = "ack_s",       [STN_BENCH_DEVICE_UNMASK] = "unmask_s"};

enum stn_code stn_bench_device_init(struct stn_bench_device *ret, const struct stn_bench_fleet *fleet, uint32_t number,
                                    struct stn_team *team, uint32_t *vector, struct stn_err *err)
{
    const struct stn_bench_fleet_member *member = &fleet->members[number];
    struct stn_secagg_client_config config = {.identity = member->ident,
                                              .certificate = member->cert,
                                              .n_min_floor = fleet->terms.n_min,
                                              .gamma_floor = fleet->terms.params.gamma,
                                              .sigma_floor = fleet->terms.params.sigma};
    struct stn_bench_device device = {.fleet = fleet, .number = number, .team = team, .vector = vector};
    size_t size = stn_round_upload_size(&fleet->encoding);
    memcpy(config.coordinator, fleet->coordinator.pub, sizeof config.coordinator);
    memcpy(config.directory, fleet->directory.pub, sizeof config.directory);
    device.packed = stn_mem_new(size, 1);
    if (device.packed == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for an upload of %zu bytes", size);
    }
    memset(device.packed, 0xff, size); /* it is here now, and in no later measurement */
    enum stn_code code = stn_secagg_client_new(&device.client, &config, err);
    if (code != STN_OK) {
        stn_mem_free(device.packed);
        return code;
    }
    *ret = device;
    return STN_OK;
}

void stn_bench_device_fini(struct stn_bench_device *device)
{
    stn_secagg_client_free(device->client);
    stn_mem_free(device->packed);
    *device = (struct stn_bench_device){0};
}

double stn_bench_device_total_s(const struct stn_bench_device *device)
{
    double sum = 0;
    for (int i = 0; i < STN_BENCH_DEVICE_PARTS; i++) {
        sum += device->took_s[i];
    }
    return sum;
}

/* ---- bytes ---- */

static enum stn_code count(struct stn_bench_device *device, const struct stn_msg *msg, struct stn_err *err)
{
    struct stn_buf buf = {0};
    enum stn_code code = stn_codec_encode(msg, &buf, err);
    device->wire_bytes += STN_FRAME_HEAD + buf.size + STN_FRAME_TAG;
    stn_buf_fini(&buf);
    return code;
}

/* A request and its reply. */
static enum stn_code count_pair(struct stn_bench_device *device, const struct stn_msg *request, const struct stn_msg *reply,
                                struct stn_err *err)
{
    enum stn_code code = count(device, request, err);
    return code != STN_OK ? code : count(device, reply, err);
}

static const struct stn_msg ok = {.type = STN_MSG_OK};

/* put_begin and the chunks; put_end is counted as it is said. */
static enum stn_code count_upload(struct stn_bench_device *device, struct stn_err *err)
{
    const struct stn_round_id *round = &device->fleet->terms.round;
    uint64_t size = stn_round_upload_size(&device->fleet->encoding);
    uint32_t n = (uint32_t)stn_digest_n_chunks(size);
    uint32_t *missing = stn_mem_new(n, sizeof *missing);
    if (missing == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for the numbers of %u chunks", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        missing[i] = i;
    }
    const struct stn_msg begin = {.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = *round, .size = size}};
    const struct stn_msg lacks = {
        .type = STN_MSG_MISSING, .missing = {.round = *round, .n_chunks = n, .n_missing = n, .missing = missing}};
    enum stn_code code = count_pair(device, &begin, &lacks, err);
    for (uint32_t i = 0; i < n && code == STN_OK; i += STN_MSG_CHUNKS) {
        const struct stn_msg chunk = {.type = STN_MSG_PUT_CHUNK,
                                      .put_chunk = {.round = *round, .index = i,
                                                    .size = (uint32_t)stn_digest_run_size(size, i, STN_MSG_CHUNKS),
                                                    .data = device->packed + i * STN_DIGEST_CHUNK}};
        code = count_pair(device, &chunk, &ok, err);
    }
    stn_mem_free(missing);
    return code;
}

/* ---- the vector ---- */

struct job {
    struct stn_bench_device *device;
    const struct stn_mask *masks;
    size_t n_masks, length;
};

static void mask(void *user, unsigned member, size_t first, size_t n)
{
    const struct job *job = user;
    size_t from = first * STN_UNMASK_STRIDE, to = (first + n) * STN_UNMASK_STRIDE;
    (void)member;
    to = to < job->length ? to : job->length;
    stn_mask_apply(job->device->vector + from, to - from, from / STN_MASK_SUPERBLOCK, job->masks, job->n_masks);
}

static void lap(struct stn_bench_device *device, enum stn_bench_device_part part, double *from_s)
{
    double now_s = stn_session_now_s();
    device->took_s[part] += now_s - *from_s;
    *from_s = now_s;
}

/* Encodes the delta, masks it and names the upload. */
static enum stn_code put(struct stn_bench_device *device, const struct stn_secagg_client_effect *effect,
                         struct stn_digest *ret, struct stn_err *err)
{
    const struct stn_bench_fleet *fleet = device->fleet;
    const struct stn_encode_config *encoding = &fleet->encoding;
    const struct stn_encode_info info = {.n_samples = 1};
    struct job job = {device, effect->masks.items, effect->masks.n, stn_encode_length(encoding)};
    struct stn_encode_result result;
    uint32_t number = device->number;
    double from_s = stn_session_now_s();
    enum stn_code code = stn_encode_delta(encoding, fleet->deltas[number], &info, fleet->roundings[number],
                                          device->vector, &result, err);
    lap(device, STN_BENCH_DEVICE_ENCODE, &from_s);
    if (code != STN_OK) {
        return code;
    }
    stn_team_run(device->team, mask, &job, (job.length + STN_UNMASK_STRIDE - 1) / STN_UNMASK_STRIDE);
    lap(device, STN_BENCH_DEVICE_MASK, &from_s);
    stn_pack_put(device->packed, device->vector, job.length, encoding->bits);
    *ret = stn_digest_blob(device->packed, stn_round_upload_size(encoding));
    lap(device, STN_BENCH_DEVICE_PACK, &from_s);
    return STN_OK;
}

/* ---- the state machine ---- */

static enum stn_code step(struct stn_bench_device *device, const struct stn_secagg_client_event *event,
                          enum stn_bench_device_part part, struct stn_err *err)
{
    struct stn_secagg_client_effects effects;
    enum stn_code code = STN_OK;
    double from_s = stn_session_now_s();
    stn_secagg_client_step(device->client, event, &effects);
    lap(device, part, &from_s);
    for (size_t i = 0; i < effects.n && code == STN_OK; i++) {
        const struct stn_secagg_client_effect *effect = &effects.items[i];
        if (effect->type == STN_SECAGG_CLIENT_SEND) {
            device->says = effect->msg;
            code = count_pair(device, &effect->msg, &ok, err);
        } else if (effect->type == STN_SECAGG_CLIENT_MASK) {
            struct stn_secagg_client_event masked = {.type = STN_SECAGG_CLIENT_MASKED};
            code = put(device, effect, &masked.masked.digest, err);
            code = code != STN_OK ? code : count_upload(device, err);
            return code != STN_OK ? code : step(device, &masked, STN_BENCH_DEVICE_PACK, err);
        } else if (effect->type == STN_SECAGG_CLIENT_OVER) {
            code = stn_err_set(err, effect->code, "a device leaves the round, in which %u of %u are lost: %s",
                               device->fleet->config.n_lost, device->fleet->config.n, stn_err_name(effect->code));
        }
    }
    return code;
}

enum stn_code stn_bench_device_start(struct stn_bench_device *device, struct stn_err *err)
{
    const struct stn_secagg_client_record none = {0};
    const struct stn_secagg_client_event event = {
        .type = STN_SECAGG_CLIENT_START,
        .start = {.terms = &device->fleet->terms, .version = device->fleet->terms.bases[0],
                  .entropy = &device->fleet->members[device->number].entropy, .record = &none}};
    return step(device, &event, STN_BENCH_DEVICE_KEYS, err);
}

enum stn_code stn_bench_device_hear(struct stn_bench_device *device, enum stn_stage stage, const struct stn_msg *msg,
                                    struct stn_err *err)
{
    static const enum stn_bench_device_part parts[] = {[STN_STAGE_ADVERTISE] = STN_BENCH_DEVICE_SHARE,
                                                       [STN_STAGE_SHARE] = STN_BENCH_DEVICE_OPEN,
                                                       [STN_STAGE_UPLOAD] = STN_BENCH_DEVICE_ACK,
                                                       [STN_STAGE_ACK] = STN_BENCH_DEVICE_UNMASK};
    const struct stn_msg poll = {.type = STN_MSG_POLL, .poll = {.round = device->fleet->terms.round, .stage = stage}};
    const struct stn_secagg_client_event event = {.type = STN_SECAGG_CLIENT_MESSAGE, .msg = msg};
    device->says = (struct stn_msg){.type = STN_MSG_NONE};
    enum stn_code code = count_pair(device, &poll, msg, err);
    code = code != STN_OK ? code : step(device, &event, parts[stage], err);
    if (code == STN_OK && device->says.type == STN_MSG_NONE) {
        code = stn_err_set(err, STN_CORRUPT, "a device has nothing to say to what it hears");
    }
    return code;
}
