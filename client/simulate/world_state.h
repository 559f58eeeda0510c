/* world_state: the inside of a world: its clock, its letters, the coordinator's machine and the
 * devices'. world.c turns the clock, central.c is the coordinator's shell, fleet.c the devices'. */
#ifndef STN_CLIENT_SIMULATE_WORLD_STATE_H
#define STN_CLIENT_SIMULATE_WORLD_STATE_H

#include "base/arena.h"
#include "base/heap.h"
#include "base/map.h"
#include "client/simulate/disk.h"
#include "client/simulate/world.h"

enum stn_world_letter_type {
    STN_WORLD_REQUEST,      /* from says of whom, msg what */
    STN_WORLD_TO_CENTRAL,   /* server: an event */
    STN_WORLD_TO_DEVICE,    /* client: an event */
    STN_WORLD_JOB_DONE,     /* of a device's job number */
    STN_WORLD_CHUNKS,       /* a device's upload arrives: number is the job's */
    STN_WORLD_ASK_OVER,     /* a device waits no longer for the ask number */
    STN_WORLD_TICKET_OVER,  /* a parked request is answered with wait */
    STN_WORLD_CENTRAL_WAKE, /* number: which WAKE */
    STN_WORLD_DEVICE_WAKE,
    STN_WORLD_CENTRAL_UP,
    STN_WORLD_DEVICE_UP,
    STN_WORLD_OWNER, /* a device's owner changes something */
    STN_WORLD_JUMP
};

struct stn_world_ticket { /* who waits for the coordinator */
    uint32_t device;
    uint64_t epoch; /* of the device */
    uint64_t ask;   /* 0: not the core asked, but the sending of an upload, whose job is job */
    uint64_t job;
};

struct stn_world_letter {
    enum stn_world_letter_type type;
    uint32_t device;
    uint64_t epoch; /* of the process it is for; another one never reads it */
    uint64_t number;
    union {
        struct stn_world_ticket from;
        struct stn_server_event server;
        struct stn_client_event client;
    };
    struct stn_msg msg;            /* what the event's msg points to */
    struct stn_arena arena;        /* with what msg points to */
    struct stn_world_letter *next; /* of the free ones */
};

struct stn_world_central {
    struct stn_coordinator *core; /* NULL: down */
    uint64_t epoch, n_tickets, n_wakes, skew_ms;
    struct stn_map tickets; /* ticket -> struct stn_world_ticket */
    struct stn_disk disk;
    struct stn_server_effects effects;
};

#define STN_WORLD_CACHE 8 /* blobs that a device keeps: the first, its base model, for good */

struct stn_world_device {
    struct stn_agent *core; /* NULL: down */
    uint64_t epoch, n_wakes;
    struct stn_agent_record disk;
    struct stn_ident ident;
    struct stn_ident_cert certificate;
    struct stn_rng entropy; /* of its secrets */
    bool may_work;
    uint32_t n_consents; /* the owner allows the first so many tasks */
    uint64_t n_jobs;     /* the last job's number; is_busy: it is under way */
    bool is_busy;
    struct stn_client_effect job;
    struct stn_mask *masks; /* of the job, when it is an encoding */
    size_t n_masks;
    struct stn_client_effects effects;
    enum stn_faults_doom doom; /* what becomes of it in the round under way */
    struct stn_digest cache[STN_WORLD_CACHE];
    uint64_t n_cached;
};

struct stn_world {
    struct stn_world_config config;
    struct stn_world_host host;
    struct stn_rng rng;
    struct stn_faults faults;
    struct stn_ident coordinator, directory; /* the same after every crash */
    struct stn_map ids;                      /* a device's public key -> the device */
    struct stn_heap letters;
    struct stn_world_letter *free;
    uint64_t now_ms, transcript;
    struct stn_world_traffic traffic;
    uint32_t n_tasks;
    const char *tasks[STN_MSG_TASKS];
    struct stn_world_central central;
    struct stn_world_device *devices;
    enum stn_code answered; /* the last ANSWER */
};

/* No memory ends a simulation: it cannot go on. */
void *stn_world_need(void *p);

/* A letter that arrives after a while; zeroed but for its type. */
struct stn_world_letter *stn_world_post(struct stn_world *world, enum stn_world_letter_type type,
                                        uint64_t after_ms);
uint64_t stn_world_elapsed_ms(const struct stn_world *world);
bool stn_world_is_faulty(const struct stn_world *world);
/* Puts the message into a letter, as the other side reads it; how many bytes it took (0: it was not
 * encoded). */
size_t stn_world_carry(const struct stn_world *world, struct stn_world_letter *to,
                       const struct stn_msg *from);
void stn_world_trace(struct stn_world *world, uint32_t who, const char *event, const char *task, uint64_t number,
                     enum stn_code code);

/* Bytes of a blob or an upload on the wire: chunks, their requests, and their hashes. */
uint64_t stn_world_blob_bytes(uint64_t size);

/* The coordinator's machine. */
void stn_central_up(struct stn_world *world);
void stn_central_step(struct stn_world *world, const struct stn_server_event *event);
/* A request of a device arrives: ticket says who waits. */
void stn_central_request(struct stn_world *world, const struct stn_world_ticket *from,
                         const struct stn_msg *msg);
void stn_central_ticket_over(struct stn_world *world, stn_ticket ticket);
void stn_central_jump(struct stn_world *world);
void stn_central_fini(struct stn_world *world);

/* The devices' machines. */
void stn_fleet_up(struct stn_world *world, uint32_t device);
void stn_fleet_step(struct stn_world *world, uint32_t device, const struct stn_client_event *event);
/* A reply to an ask of the core. */
void stn_fleet_hear(struct stn_world *world, uint32_t device, const struct stn_client_event *reply);
void stn_fleet_job_done(struct stn_world *world, uint32_t device);
void stn_fleet_chunks(struct stn_world *world, uint32_t device);
/* The answer to the sending of an upload. */
void stn_fleet_hear_send(struct stn_world *world, uint32_t device, const struct stn_msg *msg);
void stn_fleet_owner(struct stn_world *world, uint32_t device);
void stn_fleet_fini(struct stn_world *world);

#endif
