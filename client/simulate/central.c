#include <string.h>

#include "base/mem.h"
#include "channel/signed.h"
#include "client/simulate/world_state.h"

#define TURN_MS 1 /* a check, at least */
#define MERGE_MS 500
#define PARKED_MS 55000

static void post_event(struct stn_world *world, uint64_t after_ms,
                       const struct stn_server_event *event)
{
    struct stn_world_letter *letter = stn_world_post(world, STN_WORLD_TO_CENTRAL, after_ms);
    letter->epoch = world->central.epoch;
    letter->server = *event;
}

/* ---- life ---- */

static void drop_tickets(struct stn_world *world)
{
    struct stn_map *tickets = &world->central.tickets;
    for (size_t i = 0; i < tickets->n; i++) {
        stn_mem_free(tickets->entries[i].value);
    }
    stn_map_fini(tickets);
    *tickets = (struct stn_map){0};
}

static void crash(struct stn_world *world)
{
    struct stn_world_central *central = &world->central;
    stn_coordinator_free(central->core);
    central->core = NULL;
    drop_tickets(world);
    world->host.lose(world->host.context);
    stn_world_trace(world, STN_WORLD_COORDINATOR, "crash", "", central->epoch, STN_OK);
    (void)stn_world_post(world, STN_WORLD_CENTRAL_UP, stn_faults_down_ms(&world->faults));
}

void stn_central_up(struct stn_world *world)
{
    struct stn_world_central *central = &world->central;
    central->epoch++;
    struct stn_coordinator_config config = {
        .seed = stn_rng_mix(world->config.seed) ^ central->epoch,
        .identity = world->coordinator,
        .cfg = stn_signed_cfg};
    memcpy(config.directory, world->directory.pub, sizeof config.directory);
    enum stn_code code = stn_coordinator_new(&central->core, &config, NULL);
    if (code != STN_OK) {
        (void)stn_world_need(NULL);
    }
    size_t n = central->disk.records.n;
    struct stn_record **records = stn_world_need(stn_mem_new(n + 1, sizeof *records));
    for (size_t i = 0; i < n; i++) {
        records[i] = central->disk.records.entries[i].value;
    }
    stn_rng_shuffle(&world->rng, records, n, sizeof *records); /* a store keeps no order */
    for (size_t i = 0; i < n; i++) {
        struct stn_server_event event = {.type = STN_SERVER_RESTORE, .record = *records[i]};
        stn_coordinator_step(central->core, &event, &central->effects);
    }
    stn_mem_free(records);
    stn_central_step(world, &(struct stn_server_event){.type = STN_SERVER_START});
}

void stn_central_fini(struct stn_world *world)
{
    stn_coordinator_free(world->central.core);
    drop_tickets(world);
    stn_disk_fini(&world->central.disk);
    stn_mem_free(world->central.effects.items);
}

/* ---- replies ---- */

/* cfg, as a shell finds it after it has verified the signature. */
static struct stn_digest config_digest(const struct stn_msg_round_config *config)
{
    struct stn_digest digest;
    if (stn_signed_cfg(config, &digest, NULL) != STN_OK) {
        (void)stn_world_need(NULL);
    }
    return digest;
}

static void reply(struct stn_world *world, stn_ticket ticket, const struct stn_msg *msg)
{
    struct stn_world_ticket *to = stn_map_remove(&world->central.tickets, &ticket, sizeof ticket);
    if (to == NULL) {
        return; /* the device is gone */
    }
    uint64_t delays_ms[STN_WIRE_COPIES];
    uint32_t n =
        stn_wire_draw(&world->config.wire, &world->rng, stn_world_is_faulty(world), delays_ms);
    for (uint32_t i = 0; i < n; i++) {
        struct stn_world_letter *letter = stn_world_post(world, STN_WORLD_TO_DEVICE, delays_ms[i]);
        letter->device = to->device;
        letter->epoch = to->epoch;
        world->traffic.down += stn_world_carry(world, letter, msg);
        letter->number = to->job;
        letter->client =
            (struct stn_client_event){.type = STN_CLIENT_REPLY, .reply = {.ask = to->ask}};
        if (msg->type == STN_MSG_ROUND_CONFIG) {
            letter->client.reply.config = config_digest(&msg->round_config);
        }
    }
    stn_mem_free(to);
}

void stn_central_request(struct stn_world *world, const struct stn_world_ticket *from,
                         const struct stn_msg *msg)
{
    struct stn_world_central *central = &world->central;
    if (central->core == NULL) {
        return; /* nobody listens; the device will notice */
    }
    stn_ticket ticket = ++central->n_tickets;
    void *copy = stn_world_need(stn_mem_copy(from, sizeof *from));
    if (!stn_map_set(&central->tickets, &ticket, sizeof ticket, copy)) {
        (void)stn_world_need(NULL);
    }
    struct stn_world_letter *letter = stn_world_post(world, STN_WORLD_TICKET_OVER, PARKED_MS);
    letter->epoch = central->epoch;
    letter->number = ticket;
    stn_central_step(world, &(struct stn_server_event){
                                .type = STN_SERVER_REQUEST,
                                .ticket = ticket,
                                .request = {.device = stn_world_id(world, from->device), .msg = msg}});
}

void stn_central_ticket_over(struct stn_world *world, stn_ticket ticket)
{
    if (stn_map_get(&world->central.tickets, &ticket, sizeof ticket) != NULL) {
        reply(world, ticket, &(struct stn_msg){.type = STN_MSG_WAIT});
        stn_central_step(
            world, &(struct stn_server_event){.type = STN_SERVER_TICKET_LOST, .ticket = ticket});
    }
}

/* ---- effects ---- */

static void spool(struct stn_world *world, const struct stn_server_effect *effect)
{
    const struct stn_server_upload *upload = &effect->upload;
    (void)stn_world_need(stn_disk_spool(&world->central.disk, &upload->round, &upload->device));
    static const uint32_t all[] = {0}; /* how many is what matters here */
    struct stn_msg msg = {
        .type = STN_MSG_MISSING,
        .missing = {.round = upload->round, .n_chunks = 1, .n_missing = 1, .missing = all}};
    bool is_encoded = world->config.is_encoded;
    world->config.is_encoded = false; /* chunks are the host's: their list does not travel */
    reply(world, effect->ticket, &msg);
    world->config.is_encoded = is_encoded;
}

static void check(struct stn_world *world, const struct stn_server_upload *upload)
{
    const struct stn_digest *bytes =
        stn_disk_find(&world->central.disk, &upload->round, &upload->device);
    bool is_whole = bytes != NULL && memcmp(bytes, &upload->digest, sizeof *bytes) == 0;
    struct stn_server_event event = {.type = STN_SERVER_UPLOAD_CHECKED,
                                     .checked = {.round = upload->round,
                                                 .device = upload->device,
                                                 .code = is_whole ? STN_OK : STN_CORRUPT}};
    post_event(world, TURN_MS, &event);
}

static void merge(struct stn_world *world, const struct stn_server_effect *effect)
{
    struct stn_server_event event = {.type = STN_SERVER_MERGED,
                                     .merged = {.round = effect->merge.round}};
    world->host.merge(world->host.context, effect, &event);
    post_event(world, MERGE_MS, &event);
}

static void tell(struct stn_world *world, const struct stn_server_effect *effect)
{
    struct stn_msg msg;
    stn_coordinator_tell(world->central.core, &effect->tell, &msg);
    reply(world, effect->ticket, &msg);
}

static void unmask(struct stn_world *world, const struct stn_server_effect *effect)
{
    struct stn_server_event event = {.type = STN_SERVER_UNMASKED, .unmasked = effect->unmask.round};
    world->host.unmask(world->host.context, effect);
    post_event(world, TURN_MS, &event);
}

static void wake(struct stn_world *world, uint64_t at_ms)
{
    struct stn_world_central *central = &world->central;
    central->n_wakes++;
    if (at_ms == UINT64_MAX) {
        return;
    }
    uint64_t now_ms = world->now_ms + central->skew_ms;
    struct stn_world_letter *letter =
        stn_world_post(world, STN_WORLD_CENTRAL_WAKE, at_ms > now_ms ? at_ms - now_ms : 0);
    letter->epoch = central->epoch;
    letter->number = central->n_wakes;
}

static void apply(struct stn_world *world, const struct stn_server_effect *effect)
{
    struct stn_world_central *central = &world->central;
    switch (effect->type) {
    case STN_SERVER_SAVE:
    case STN_SERVER_FORGET:
        break; /* committed already */
    case STN_SERVER_REPLY:
        reply(world, effect->ticket, &effect->msg);
        break;
    case STN_SERVER_TELL:
        tell(world, effect);
        break;
    case STN_SERVER_ANSWER:
        world->answered = effect->code;
        break;
    case STN_SERVER_WAKE:
        wake(world, effect->at_ms);
        break;
    case STN_SERVER_SPOOL:
        spool(world, effect);
        break;
    case STN_SERVER_CHECK:
        check(world, &effect->upload);
        break;
    case STN_SERVER_ADD:
        world->host.add(world->host.context, &effect->upload);
        break;
    case STN_SERVER_DROP:
        stn_disk_drop(&central->disk, &effect->upload.round, &effect->upload.device);
        break;
    case STN_SERVER_UNMASK:
        unmask(world, effect);
        break;
    case STN_SERVER_MERGE:
        merge(world, effect);
        break;
    case STN_SERVER_CLOSE:
        stn_disk_close(&central->disk, &effect->merge.round);
        world->host.close(world->host.context, &effect->merge.round);
        break;
    case STN_SERVER_TRACE:
        stn_world_trace(world, STN_WORLD_COORDINATOR, effect->trace.event, effect->trace.task,
                        effect->trace.number, effect->trace.code);
        break;
    }
}

static void commit(struct stn_world *world)
{
    struct stn_world_central *central = &world->central;
    for (size_t i = 0; i < central->effects.n; i++) {
        const struct stn_server_effect *effect = &central->effects.items[i];
        if (effect->type == STN_SERVER_SAVE) {
            if (!stn_disk_save(&central->disk, &effect->record)) {
                (void)stn_world_need(NULL);
            }
            world->host.committed(world->host.context, &effect->record);
        } else if (effect->type == STN_SERVER_FORGET) {
            stn_disk_forget(&central->disk, &effect->record);
        }
    }
}

void stn_central_step(struct stn_world *world, const struct stn_server_event *event)
{
    struct stn_world_central *central = &world->central;
    struct stn_server_event now = *event;
    now.now_ms = world->now_ms + central->skew_ms;
    central->effects.n = 0;
    stn_coordinator_step(central->core, &now, &central->effects);
    enum stn_faults_cut cut = stn_faults_cut(&world->faults, stn_world_elapsed_ms(world),
                                             world->config.faults.coordinator_crash);
    if (cut != STN_FAULTS_BEFORE_COMMIT) {
        commit(world);
    }
    if (cut == STN_FAULTS_NONE || cut == STN_FAULTS_AFTER_ALL) {
        for (size_t i = 0; i < central->effects.n; i++) {
            apply(world, &central->effects.items[i]);
        }
    }
    if (cut != STN_FAULTS_NONE) {
        crash(world);
    }
}

void stn_central_jump(struct stn_world *world)
{
    struct stn_world_central *central = &world->central;
    if (!stn_world_is_faulty(world)) {
        return;
    }
    central->skew_ms += stn_rng_below(&world->rng, world->config.faults.jump_ms + 1);
    stn_world_trace(world, STN_WORLD_COORDINATOR, "jump", "", central->skew_ms, STN_OK);
    if (central->core != NULL) { /* a shell's timer looks at the wall clock: what is past is due */
        stn_central_step(world, &(struct stn_server_event){.type = STN_SERVER_TIME});
    }
    (void)stn_world_post(world, STN_WORLD_JUMP,
                         1 + stn_rng_below(&world->rng, world->config.faults.until_ms + 1));
}
