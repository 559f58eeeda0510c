#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/simulate/world_state.h"

#define ASK_MS 70000  /* a poll is parked for 55 s */
#define SEND_MS 30000 /* put_begin to the last chunk */
#define JOB_MS 10     /* encoding, installing */

/* ---- life ---- */

static void drop_masks(struct stn_world_device *device)
{
    stn_mem_free(device->masks);
    device->masks = NULL;
    device->n_masks = 0;
}

static void crash(struct stn_world *world, uint32_t number)
{
    struct stn_world_device *device = &world->devices[number];
    drop_masks(device);
    stn_agent_free(device->core);
    device->core = NULL;
    device->is_busy = false;
    device->doom = STN_FAULTS_SPARED;
    stn_world_trace(world, number, "crash", "", device->epoch, STN_OK);
    stn_world_post(world, STN_WORLD_DEVICE_UP, stn_faults_down_ms(&world->faults))->device = number;
}

static void tell_owner(struct stn_world *world, uint32_t number)
{
    const struct stn_world_device *device = &world->devices[number];
    struct stn_client_event event = {.type = STN_CLIENT_CONSENTS,
                                     .consents = {.n = device->n_consents}};
    for (uint32_t i = 0; i < device->n_consents; i++) {
        event.consents.consents[i].n_examples = world->config.n_examples;
        (void)stn_str_copy(event.consents.consents[i].task, STN_MSG_NAME, world->tasks[i]);
    }
    stn_fleet_step(world, number, &event);
    stn_fleet_step(
        world, number,
        &(struct stn_client_event){.type = STN_CLIENT_CONDITIONS, .may_work = device->may_work});
}

void stn_fleet_up(struct stn_world *world, uint32_t number)
{
    struct stn_world_device *device = &world->devices[number];
    device->epoch++;
    struct stn_agent_config config = world->config.agent;
    config.seed = stn_rng_mix(stn_rng_mix(world->config.seed ^ number) + device->epoch);
    config.secure.identity = device->ident;
    config.secure.certificate = device->certificate;
    memcpy(config.secure.coordinator, world->coordinator.pub, sizeof config.secure.coordinator);
    memcpy(config.secure.directory, world->directory.pub, sizeof config.secure.directory);
    if (stn_agent_new(&device->core, &config, NULL) != STN_OK) {
        (void)stn_world_need(NULL);
    }
    struct stn_client_event event = {.type = STN_CLIENT_START, .record = device->disk};
    stn_fleet_step(world, number, &event);
    tell_owner(world, number);
}

void stn_fleet_fini(struct stn_world *world)
{
    for (uint32_t i = 0; i < world->config.n_devices; i++) {
        stn_agent_free(world->devices[i].core);
        drop_masks(&world->devices[i]);
        stn_mem_free(world->devices[i].effects.items);
    }
}

void stn_fleet_owner(struct stn_world *world, uint32_t number)
{
    struct stn_world_device *device = &world->devices[number];
    bool is_last = !stn_world_is_faulty(world);
    if (is_last) { /* in the end everybody is at home and willing */
        device->may_work = true;
        device->n_consents = world->n_tasks;
    } else if (stn_rng_below(&world->rng, 4) > 0) {
        device->may_work = !device->may_work;
    } else {
        device->n_consents = (uint32_t)stn_rng_below(&world->rng, world->n_tasks + 1ull);
    }
    stn_world_trace(world, number, "owner", "", device->n_consents * 2ull + device->may_work,
                    STN_OK);
    tell_owner(world, number);
    if (!is_last) {
        stn_world_post(world, STN_WORLD_OWNER, stn_faults_owner_ms(&world->faults))->device =
            number;
    }
}

/* ---- asking and hearing ---- */

void stn_fleet_hear(struct stn_world *world, uint32_t number, const struct stn_client_event *reply)
{
    struct stn_secagg_client_entropy entropy;
    struct stn_client_event event = *reply;
    if (reply->reply.msg->type == STN_MSG_ROUND_CONFIG) {
        for (size_t i = 0; i < sizeof entropy; i++) {
            ((uint8_t *)&entropy)[i] = (uint8_t)stn_rng_u64(&world->devices[number].entropy);
        }
        event.reply.entropy = &entropy;
    }
    stn_fleet_step(world, number, &event);
}

static void request(struct stn_world *world, uint32_t number, uint64_t ask,
                    const struct stn_msg *msg)
{
    const struct stn_world_device *device = &world->devices[number];
    uint64_t delays_ms[STN_WIRE_COPIES];
    uint32_t n =
        stn_wire_draw(&world->config.wire, &world->rng, stn_world_is_faulty(world), delays_ms);
    for (uint32_t i = 0; i < n; i++) {
        struct stn_world_letter *letter = stn_world_post(world, STN_WORLD_REQUEST, delays_ms[i]);
        letter->from = (struct stn_world_ticket){
            .device = number, .epoch = device->epoch, .ask = ask, .job = device->n_jobs};
        world->traffic.up += stn_world_carry(world, letter, msg);
    }
}

static void ask(struct stn_world *world, uint32_t number, const struct stn_client_effect *effect)
{
    world->host.said(world->host.context, number, &effect->ask.msg);
    request(world, number, effect->ask.ask, &effect->ask.msg);
    struct stn_world_letter *letter = stn_world_post(world, STN_WORLD_ASK_OVER, ASK_MS);
    letter->device = number;
    letter->epoch = world->devices[number].epoch;
    letter->number = effect->ask.ask;
}

/* ---- jobs ---- */

static void job_after(struct stn_world *world, uint32_t number, enum stn_world_letter_type type,
                      uint64_t after_ms)
{
    struct stn_world_letter *letter = stn_world_post(world, type, after_ms);
    letter->device = number;
    letter->epoch = world->devices[number].epoch;
    letter->number = world->devices[number].n_jobs;
}

/* What it takes to have the blob: nothing, when it is here. */
static uint64_t fetch_ms(struct stn_world *world, uint32_t number, const struct stn_blob_ref *blob)
{
    struct stn_world_device *device = &world->devices[number];
    for (size_t i = 0; i < STN_WORLD_CACHE; i++) {
        if (device->n_cached > i && stn_digest_equal(&device->cache[i], &blob->digest)) {
            return 0;
        }
    }
    size_t place = device->n_cached == 0 ? 0 : (size_t)(1 + (device->n_cached - 1) % (STN_WORLD_CACHE - 1));
    device->cache[place] = blob->digest;
    device->n_cached++;
    uint64_t bytes = stn_world_blob_bytes(blob->size);
    world->traffic.down += bytes;
    return world->config.wire.most_ms + bytes / world->config.n_per_ms;
}

static void begin(struct stn_world *world, uint32_t number, const struct stn_client_effect *effect)
{
    struct stn_world_device *device = &world->devices[number];
    device->job = *effect;
    device->is_busy = true;
    drop_masks(device);
    if (effect->type == STN_CLIENT_ENCODE && effect->round.n_masks > 0) {
        device->n_masks = effect->round.n_masks;
        device->masks = stn_world_need(
            stn_mem_copy(effect->round.masks, device->n_masks * sizeof *device->masks));
        device->job.round.masks = device->masks;
    }
    device->n_jobs++;
    uint64_t ms = JOB_MS;
    if (effect->type == STN_CLIENT_FETCH) {
        ms = fetch_ms(world, number, &effect->blob);
    } else if (effect->type == STN_CLIENT_TRAIN) {
        ms = world->host.train(world->host.context, number, &effect->lease);
    } else if (effect->type == STN_CLIENT_SEND) {
        ms = SEND_MS + effect->round.upload_size / world->config.n_per_ms; /* when nothing else ends it */
        struct stn_msg msg = {.type = STN_MSG_PUT_BEGIN,
                              .put_begin = {.round = effect->round.config.round, .size = effect->round.upload_size}};
        request(world, number, 0, &msg);
    }
    job_after(world, number, STN_WORLD_JOB_DONE, ms);
}

static void end(struct stn_world *world, uint32_t number, const struct stn_client_event *event)
{
    world->devices[number].is_busy = false;
    stn_fleet_step(world, number, event);
}

static void end_send(struct stn_world *world, uint32_t number, enum stn_code code)
{
    const struct stn_client_effect *job = &world->devices[number].job;
    struct stn_client_event event = {.type = STN_CLIENT_SENT,
                                     .sent = {.round = job->round.config.round, .code = code}};
    end(world, number, &event);
}

static enum stn_code draw_failure(struct stn_world *world)
{
    bool is_hit = stn_faults_hit(&world->faults, stn_world_elapsed_ms(world),
                                 world->config.faults.job_failure);
    return is_hit ? STN_IO : STN_OK;
}

static enum stn_code fetch(struct stn_world *world, const struct stn_blob_ref *blob)
{
    if (world->central.core == NULL) {
        return STN_IO;
    }
    return stn_coordinator_may_get(world->central.core, &blob->digest) ? STN_OK : STN_NOT_FOUND;
}

static void event_of(struct stn_world *world, uint32_t number, enum stn_code code,
                     struct stn_client_event *event)
{
    struct stn_client_effect *job = &world->devices[number].job;
    void *context = world->host.context;
    switch (job->type) {
    case STN_CLIENT_FETCH:
        event->type = STN_CLIENT_FETCHED;
        event->fetched.digest = job->blob.digest;
        event->fetched.code = code == STN_OK ? fetch(world, &job->blob) : code;
        break;
    case STN_CLIENT_TRAIN:
        event->type = STN_CLIENT_TRAINED;
        event->trained.lease = job->lease.lease;
        event->trained.code = code == STN_OK ? world->host.trained(context, number, &job->lease,
                                                                   &event->trained.n_samples,
                                                                   &event->trained.tier)
                                             : code;
        break;
    case STN_CLIENT_ENCODE:
        event->type = STN_CLIENT_ENCODED;
        event->encoded.round = job->round.config.round;
        event->encoded.code = code == STN_OK
                                  ? world->host.encode(context, number, job, &event->encoded.digest,
                                                       &event->encoded.size)
                                  : code;
        break;
    case STN_CLIENT_SEND:
        event->type = STN_CLIENT_SENT;
        event->sent.round = job->round.config.round;
        event->sent.code = code == STN_OK ? STN_IO : code; /* its time is over */
        break;
    default:
        event->type = STN_CLIENT_INSTALLED;
        event->installed.code = code;
        (void)stn_str_copy(event->installed.task, STN_MSG_NAME, job->install.task);
        if (code == STN_OK) {
            world->host.install(context, number, job, event);
        }
    }
}

void stn_fleet_job_done(struct stn_world *world, uint32_t number)
{
    bool may_fail = world->devices[number].job.type != STN_CLIENT_ENCODE;
    struct stn_client_event event = {.type = STN_CLIENT_TIME};
    event_of(world, number, may_fail ? draw_failure(world) : STN_OK, &event);
    end(world, number, &event);
}

static void cancel(struct stn_world *world, uint32_t number)
{
    struct stn_world_device *device = &world->devices[number];
    if (!device->is_busy || (stn_world_is_faulty(world) && stn_rng_below(&world->rng, 4) == 0)) {
        return; /* too late to be stopped: it ends as it would have */
    }
    device->n_jobs++;
    struct stn_client_event event = {.type = STN_CLIENT_TIME};
    event_of(world, number, STN_CANCELLED, &event);
    device->is_busy = false;
    struct stn_world_letter *letter = stn_world_post(world, STN_WORLD_TO_DEVICE, 1);
    letter->device = number;
    letter->epoch = device->epoch;
    letter->client = event;
}

/* ---- sending ---- */

void stn_fleet_hear_send(struct stn_world *world, uint32_t number, const struct stn_msg *msg)
{
    const struct stn_client_effect *job = &world->devices[number].job;
    if (job->type != STN_CLIENT_SEND) {
        return;
    }
    if (msg->type == STN_MSG_MISSING && msg->missing.n_missing == 0) {
        end_send(world, number, STN_OK);
    } else if (msg->type == STN_MSG_MISSING) {
        uint64_t bytes = stn_world_blob_bytes(job->round.upload_size);
        world->traffic.up += bytes;
        job_after(world, number, STN_WORLD_CHUNKS, world->config.wire.most_ms + bytes / world->config.n_per_ms);
    } else if (msg->type == STN_MSG_REFUSED) {
        end_send(world, number, (enum stn_code)msg->refused.code);
    } else if (msg->type == STN_MSG_VOIDED) {
        end_send(world, number, STN_LATE);
    }
}

void stn_fleet_chunks(struct stn_world *world, uint32_t number)
{
    struct stn_id id = stn_world_id(world, number);
    const struct stn_client_effect *job = &world->devices[number].job;
    const struct stn_round_id *round = &job->round.config.round;
    if (world->central.core == NULL) {
        end_send(world, number, STN_IO);
        return;
    }
    struct stn_digest *spool = stn_disk_find(&world->central.disk, round, &id);
    if (spool == NULL || !stn_coordinator_may_put(world->central.core, round, &id)) {
        end_send(world, number, STN_LATE);
        return;
    }
    *spool = job->round.upload;
    if (stn_faults_hit(&world->faults, stn_world_elapsed_ms(world),
                       world->config.faults.corruption)) {
        spool->bytes[0] ^= 1;
    }
    end_send(world, number, STN_OK);
}

/* ---- effects ---- */

static void wake(struct stn_world *world, uint32_t number, uint64_t at_ms)
{
    struct stn_world_device *device = &world->devices[number];
    device->n_wakes++;
    if (at_ms == UINT64_MAX) {
        return;
    }
    struct stn_world_letter *letter = stn_world_post(
        world, STN_WORLD_DEVICE_WAKE, at_ms > world->now_ms ? at_ms - world->now_ms : 0);
    letter->device = number;
    letter->epoch = device->epoch;
    letter->number = device->n_wakes;
}

static void apply(struct stn_world *world, uint32_t number, const struct stn_client_effect *effect)
{
    switch (effect->type) {
    case STN_CLIENT_SAVE:
        world->devices[number].disk = effect->record;
        break;
    case STN_CLIENT_ASK:
        ask(world, number, effect);
        break;
    case STN_CLIENT_WAKE:
        wake(world, number, effect->at_ms);
        break;
    case STN_CLIENT_CANCEL:
        cancel(world, number);
        break;
    case STN_CLIENT_DISCARD:
        world->host.discard(world->host.context, number, &effect->lease);
        break;
    case STN_CLIENT_EVIDENCE:
        stn_world_trace(world, number, "evidence", "", effect->evidence.of_rosters, STN_DENIED);
        break;
    case STN_CLIENT_TRACE:
        stn_world_trace(world, number, effect->trace.event, effect->trace.task,
                        effect->trace.number, effect->trace.code);
        break;
    default:
        begin(world, number, effect);
    }
}

static uint32_t n_until_cut(struct stn_world *world, const struct stn_world_device *device,
                            enum stn_faults_cut cut)
{
    uint32_t n = (uint32_t)device->effects.n;
    if (cut == STN_FAULTS_BEFORE_COMMIT) {
        return 0;
    }
    return cut == STN_FAULTS_AFTER_COMMIT ? (uint32_t)stn_rng_below(&world->rng, n + 1ull) : n;
}

/* Whether it vanishes instead of doing this. Its doom in a round is drawn when it begins to train. */
static bool meets_doom(struct stn_world *world, struct stn_world_device *device, const struct stn_client_effect *effect)
{
    static const struct {
        enum stn_msg_type says;
        enum stn_faults_doom doom;
    } rows[] = {{STN_MSG_ADVERTISE, STN_FAULTS_IN_JOINING},
                {STN_MSG_SHARE, STN_FAULTS_IN_SHARING},
                {STN_MSG_ACK, STN_FAULTS_IN_ACKNOWLEDGING},
                {STN_MSG_UNMASK, STN_FAULTS_IN_UNMASKING}};
    if (effect->type == STN_CLIENT_TRAIN) {
        device->doom = stn_faults_doom(&world->faults, effect->lease.secure);
        return device->doom == STN_FAULTS_IN_TRAINING;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (effect->type == STN_CLIENT_ASK && effect->ask.msg.type == rows[i].says) {
            return device->doom == rows[i].doom;
        }
    }
    return effect->type == STN_CLIENT_SEND && device->doom == STN_FAULTS_IN_SENDING;
}

void stn_fleet_step(struct stn_world *world, uint32_t number, const struct stn_client_event *event)
{
    struct stn_world_device *device = &world->devices[number];
    if (device->core == NULL) {
        return;
    }
    bool was_uploading = stn_agent_record(device->core)->phase == STN_AGENT_UPLOADING;
    struct stn_client_event now = *event;
    now.now_ms = world->now_ms;
    device->effects.n = 0;
    stn_agent_step(device->core, &now, &device->effects);
    const struct stn_agent_record *record = stn_agent_record(device->core);
    if (was_uploading && record->phase == STN_AGENT_UPLOADED) {
        world->host.acknowledged(world->host.context, number, &record->round, &record->upload);
    }
    enum stn_faults_cut cut = stn_faults_cut(&world->faults, stn_world_elapsed_ms(world),
                                             world->config.faults.device_crash);
    uint32_t n = n_until_cut(world, device, cut);
    bool is_gone = false;
    for (uint32_t i = 0; i < n && !is_gone; i++) {
        is_gone = meets_doom(world, device, &device->effects.items[i]);
        if (!is_gone) {
            apply(world, number, &device->effects.items[i]);
        }
    }
    if (cut != STN_FAULTS_NONE || is_gone) {
        crash(world, number);
    }
}
