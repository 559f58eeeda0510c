#include "client/simulate/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/simulate/world_state.h"
#include "proto/codec.h"

#define RECORD_BYTES 64 /* what a record adds to a message: frame, tag, and the transport's length */

void *stn_world_need(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

struct stn_id stn_world_id(const struct stn_world *world, uint32_t device)
{
    struct stn_id id;
    memcpy(id.bytes, world->devices[device].ident.pub, sizeof id.bytes);
    return id;
}

uint32_t stn_world_device_of(const struct stn_world *world, const struct stn_id *id)
{
    const struct stn_world_device *device = stn_map_get(&world->ids, id, sizeof *id);
    assert(device != NULL);
    return (uint32_t)(device - world->devices);
}

const struct stn_agent *stn_world_agent(const struct stn_world *world, uint32_t device)
{
    return world->devices[device].core;
}

static void draw_ident(uint64_t seed, const char *name, uint64_t number, struct stn_ident *ret)
{
    struct stn_rng rng;
    uint8_t bytes[STN_IDENT_SEED];
    stn_rng_fork(&rng, seed, name, number);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)stn_rng_u64(&rng);
    }
    stn_ident_from_seed(ret, bytes);
}

/* Everybody's keys, and the directory's word for each device. */
static void draw_idents(struct stn_world *world)
{
    uint64_t seed = world->config.seed;
    draw_ident(seed, "coordinator", 0, &world->coordinator);
    draw_ident(seed, "directory", 0, &world->directory);
    for (uint32_t i = 0; i < world->config.n_devices; i++) {
        struct stn_world_device *device = &world->devices[i];
        draw_ident(seed, "identity", i, &device->ident);
        stn_rng_fork(&device->entropy, seed, "entropy", i);
        memcpy(device->certificate.device, device->ident.pub, sizeof device->certificate.device);
        device->certificate.issued_at_s = STN_WORLD_START_MS / 1000;
        stn_ident_cert_sign(&device->certificate, &world->directory);
        if (!stn_map_set(&world->ids, device->ident.pub, sizeof(struct stn_id), device)) {
            (void)stn_world_need(NULL);
        }
    }
}

/* ---- letters ---- */

struct stn_world_letter *stn_world_post(struct stn_world *world, enum stn_world_letter_type type,
                                        uint64_t after_ms)
{
    struct stn_world_letter *letter = world->free;
    if (letter != NULL) {
        world->free = letter->next;
        memset(letter, 0, sizeof *letter);
    } else {
        letter = stn_world_need(stn_mem_new(1, sizeof *letter));
    }
    letter->type = type;
    if (!stn_heap_push(&world->letters, world->now_ms + after_ms, letter)) {
        abort();
    }
    return letter;
}

static void put_back(struct stn_world *world, struct stn_world_letter *letter)
{
    stn_arena_fini(&letter->arena);
    letter->next = world->free;
    world->free = letter;
}

uint64_t stn_world_elapsed_ms(const struct stn_world *world)
{
    return world->now_ms - STN_WORLD_START_MS;
}

bool stn_world_is_faulty(const struct stn_world *world)
{
    return stn_faults_last(&world->faults, stn_world_elapsed_ms(world));
}

/* It points to what may not be there when the letter is opened. */
static bool has_pointers(const struct stn_msg *msg)
{
    switch (msg->type) {
    case STN_MSG_SHARE:
    case STN_MSG_UNMASK:
    case STN_MSG_ROSTER:
    case STN_MSG_DELIVER:
    case STN_MSG_SURVIVORS:
    case STN_MSG_ACKS:
        return true;
    default:
        return false;
    }
}

static size_t copy_msg(const struct stn_world *world, struct stn_world_letter *to, const struct stn_msg *from)
{
    if (!world->config.is_encoded && !has_pointers(from)) {
        to->msg = *from;
        return 0;
    }
    struct stn_buf buf = {0};
    enum stn_code code = stn_codec_encode(from, &buf, NULL);
    if (code == STN_OK) {
        code = stn_codec_decode(&to->msg, &to->arena, buf.data, buf.size, NULL);
    }
    assert(code == STN_OK); /* the cores say nothing that the codec does not know */
    size_t size = buf.size + RECORD_BYTES;
    stn_buf_fini(&buf);
    return size;
}

size_t stn_world_carry(const struct stn_world *world, struct stn_world_letter *to,
                       const struct stn_msg *from)
{
    size_t size = copy_msg(world, to, from);
    if (world->host.carried != NULL) {
        bool is_up = to->type == STN_WORLD_REQUEST;
        world->host.carried(world->host.context, is_up ? to->from.device : to->device, is_up, &to->msg, &to->arena);
    }
    return size;
}

uint64_t stn_world_blob_bytes(uint64_t size)
{
    return size + stn_digest_n_chunks(size) * (2 * RECORD_BYTES + 2 * STN_DIGEST_SIZE);
}

struct stn_world_traffic stn_world_traffic(const struct stn_world *world)
{
    return world->traffic;
}

static void mix(struct stn_world *world, uint64_t x)
{
    world->transcript = stn_rng_mix(world->transcript ^ x);
}

void stn_world_trace(struct stn_world *world, uint32_t who, const char *event, const char *task,
                     uint64_t number, enum stn_code code)
{
    mix(world, world->now_ms);
    mix(world, who);
    mix(world, stn_map_hash(event, strlen(event)));
    mix(world, number);
    mix(world, code);
    world->host.trace(world->host.context, world->now_ms, who, event, task, number, code);
}

uint64_t stn_world_transcript(const struct stn_world *world)
{
    return world->transcript;
}

uint64_t stn_world_now_ms(const struct stn_world *world)
{
    return world->now_ms;
}

uint64_t stn_world_coordinator_ms(const struct stn_world *world)
{
    return world->now_ms + world->central.skew_ms;
}

const struct stn_coordinator *stn_world_coordinator(const struct stn_world *world)
{
    return world->central.core;
}

const struct stn_agent_record *stn_world_device(const struct stn_world *world, uint32_t device)
{
    const struct stn_world_device *d = &world->devices[device];
    return d->core == NULL ? &d->disk : stn_agent_record(d->core);
}

/* ---- life ---- */

enum stn_code stn_world_new(struct stn_world **ret, const struct stn_world_config *config,
                            const struct stn_world_host *host, const char *const *tasks,
                            uint32_t n_tasks, struct stn_err *err)
{
    assert(n_tasks <= STN_MSG_TASKS && config->n_per_ms > 0 &&
           config->wire.most_ms >= config->wire.least_ms);
    struct stn_world *world = stn_mem_new(1, sizeof *world);
    struct stn_world_device *devices = stn_mem_new(config->n_devices + 1ull, sizeof *devices);
    if (world == NULL || devices == NULL) {
        stn_mem_free(world);
        stn_mem_free(devices);
        return stn_err_set(err, STN_MEMORY, "no memory for %u devices",
                           (unsigned)config->n_devices);
    }
    world->config = *config;
    world->host = *host;
    world->devices = devices;
    world->now_ms = STN_WORLD_START_MS;
    stn_rng_fork(&world->rng, config->seed, "world", 0);
    stn_faults_init(&world->faults, &config->faults, config->seed);
    world->n_tasks = n_tasks;
    for (uint32_t i = 0; i < n_tasks; i++) {
        world->tasks[i] = tasks[i];
    }
    draw_idents(world);
    stn_central_up(world);
    for (uint32_t i = 0; i < config->n_devices; i++) {
        devices[i].may_work = true;
        devices[i].n_consents = n_tasks;
        stn_fleet_up(world, i);
        if (config->faults.owner_ms > 0) {
            stn_world_post(world, STN_WORLD_OWNER, stn_faults_owner_ms(&world->faults))->device = i;
        }
    }
    if (config->faults.jump_ms > 0) {
        (void)stn_world_post(world, STN_WORLD_JUMP,
                             stn_rng_below(&world->rng, config->faults.until_ms + 1));
    }
    *ret = world;
    return STN_OK;
}

void stn_world_free(struct stn_world *world)
{
    if (world == NULL) {
        return;
    }
    stn_central_fini(world);
    stn_fleet_fini(world);
    for (struct stn_heap_entry entry; stn_heap_pop(&world->letters, &entry);) {
        put_back(world, entry.value);
    }
    stn_heap_fini(&world->letters);
    for (struct stn_world_letter *letter = world->free, *next; letter != NULL; letter = next) {
        next = letter->next;
        stn_mem_free(letter);
    }
    stn_map_fini(&world->ids);
    stn_mem_free(world->devices);
    stn_mem_free(world);
}

enum stn_code stn_world_create_task(struct stn_world *world, const struct stn_task_spec *spec,
                                    const struct stn_blob_ref *adapter)
{
    if (world->central.core == NULL) {
        return STN_AGAIN;
    }
    struct stn_server_event event = {.type = STN_SERVER_TASK_CREATE,
                                     .create = {.spec = *spec, .adapter = *adapter}};
    world->answered = STN_AGAIN; /* when it crashes instead */
    stn_central_step(world, &event);
    return world->answered;
}

/* ---- the clock ---- */

static bool is_for_living(const struct stn_world *world, const struct stn_world_letter *letter)
{
    switch (letter->type) {
    case STN_WORLD_TO_CENTRAL:
    case STN_WORLD_TICKET_OVER:
    case STN_WORLD_CENTRAL_WAKE:
        return world->central.core != NULL && world->central.epoch == letter->epoch;
    case STN_WORLD_TO_DEVICE:
    case STN_WORLD_JOB_DONE:
    case STN_WORLD_CHUNKS:
    case STN_WORLD_ASK_OVER:
    case STN_WORLD_DEVICE_WAKE:
        return world->devices[letter->device].core != NULL &&
               world->devices[letter->device].epoch == letter->epoch;
    default:
        return true;
    }
}

static void hear(struct stn_world *world, struct stn_world_letter *letter)
{
    const struct stn_world_device *device = &world->devices[letter->device];
    if (letter->client.type != STN_CLIENT_REPLY) {
        stn_fleet_step(world, letter->device, &letter->client);
    } else if (letter->client.reply.ask != 0) {
        letter->client.reply.msg = &letter->msg;
        stn_fleet_hear(world, letter->device, &letter->client);
    } else if (device->is_busy && letter->number == device->n_jobs) {
        stn_fleet_hear_send(world, letter->device, &letter->msg);
    }
}

static void open_letter(struct stn_world *world, struct stn_world_letter *letter)
{
    struct stn_world_device *device = &world->devices[letter->device];
    switch (letter->type) {
    case STN_WORLD_TO_CENTRAL:
        stn_central_step(world, &letter->server);
        break;
    case STN_WORLD_TO_DEVICE:
        hear(world, letter);
        break;
    case STN_WORLD_JOB_DONE:
        if (device->is_busy && letter->number == device->n_jobs) {
            stn_fleet_job_done(world, letter->device);
        }
        break;
    case STN_WORLD_CHUNKS:
        if (device->is_busy && letter->number == device->n_jobs) {
            stn_fleet_chunks(world, letter->device);
        }
        break;
    case STN_WORLD_ASK_OVER:
        stn_fleet_step(
            world, letter->device,
            &(struct stn_client_event){.type = STN_CLIENT_FAILED,
                                       .failed = {.ask = letter->number, .code = STN_IO}});
        break;
    case STN_WORLD_TICKET_OVER:
        stn_central_ticket_over(world, letter->number);
        break;
    case STN_WORLD_CENTRAL_WAKE:
        if (letter->number == world->central.n_wakes) {
            stn_central_step(world, &(struct stn_server_event){.type = STN_SERVER_TIME});
        }
        break;
    case STN_WORLD_DEVICE_WAKE:
        if (letter->number == device->n_wakes) {
            stn_fleet_step(world, letter->device,
                           &(struct stn_client_event){.type = STN_CLIENT_TIME});
        }
        break;
    case STN_WORLD_CENTRAL_UP:
        stn_central_up(world);
        break;
    case STN_WORLD_DEVICE_UP:
        stn_fleet_up(world, letter->device);
        break;
    case STN_WORLD_OWNER:
        stn_fleet_owner(world, letter->device);
        break;
    case STN_WORLD_JUMP:
        stn_central_jump(world);
        break;
    case STN_WORLD_REQUEST:
        stn_central_request(world, &letter->from, &letter->msg);
        break;
    }
}

bool stn_world_step(struct stn_world *world)
{
    struct stn_heap_entry entry;
    if (!stn_heap_pop(&world->letters, &entry)) {
        return false;
    }
    struct stn_world_letter *letter = entry.value;
    world->now_ms = entry.time;
    if (is_for_living(world, letter)) {
        open_letter(world, letter);
    }
    put_back(world, letter);
    return true;
}
