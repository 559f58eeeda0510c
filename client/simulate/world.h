/* world: many agents and one coordinator on one machine: the shipping cores over a simulated clock,
 * wire and disk. It is the third shell of both cores. What bytes are (training, encoding, adding,
 * merging) is the host's: the simulator trains real adapters, the swarm keeps symbols.
 *
 * One seed, one history: everything is drawn from it, events of equal time have an order, and
 * nothing of the wall clock leaks in. A step of a core is a turn of its shell: what it saves is
 * committed first, then the rest is done; a crash may come before the commit, after it, or after
 * all. The wire may lose, delay, repeat and reorder. */
#ifndef STN_CLIENT_SIMULATE_WORLD_H
#define STN_CLIENT_SIMULATE_WORLD_H

#include "base/arena.h"
#include "client/core/agent.h"
#include "client/simulate/faults.h"
#include "client/simulate/wire.h"
#include "server/core/coordinator.h"

#define STN_WORLD_START_MS 1767225600000ull /* where the virtual clock begins */
#define STN_WORLD_COORDINATOR UINT32_MAX    /* who speaks, in traces */

/* Bytes, and what is made of them. Every member but carried is set; device counts from 0. */
struct stn_world_host {
    void *context;
    /* Begin to train; how long it takes in virtual time. After that trained is asked for what came
     * of it; a training that was stopped on the way is begun anew. */
    uint64_t (*train)(void *context, uint32_t device, const struct stn_msg_lease *lease);
    enum stn_code (*trained)(void *context, uint32_t device, const struct stn_msg_lease *lease,
                             uint64_t *ret_n_samples, uint32_t *ret_tier);
    /* Packs the delta, under the masks that encode names: the same for the same config and lease. */
    enum stn_code (*encode)(void *context, uint32_t device, const struct stn_client_effect *encode,
                            struct stn_digest *ret_digest, uint64_t *ret_size);
    void (*discard)(void *context, uint32_t device, const struct stn_msg_lease *lease);
    /* event is an INSTALLED with its task set. */
    void (*install)(void *context, uint32_t device, const struct stn_client_effect *install,
                    struct stn_client_event *event);
    /* The coordinator's. What add and merge keep in memory is lost at lose: ADD comes again. */
    void (*add)(void *context, const struct stn_server_upload *upload);
    /* The masks come off what add has added up. */
    void (*unmask)(void *context, const struct stn_server_effect *unmask);
    /* Fills merged.code and what belongs to it. */
    void (*merge)(void *context, const struct stn_server_effect *merge,
                  struct stn_server_event *event);
    void (*close)(void *context, const struct stn_round_id *round);
    void (*lose)(void *context);
    /* A record is committed: for promises, reports and traces. */
    void (*committed)(void *context, const struct stn_record *record);
    /* A device says something, for the first time or again. */
    void (*said)(void *context, uint32_t device, const struct stn_msg *msg);
    /* May be NULL. A message is on its way, from the device (is_up) or to it, and may be changed, as one would who holds
     * the sender's keys. What it points to lies in the arena, and may be written to. */
    void (*carried)(void *context, uint32_t device, bool is_up, struct stn_msg *msg, struct stn_arena *arena);
    /* A device has heard that its upload counts. */
    void (*acknowledged)(void *context, uint32_t device, const struct stn_round_id *round,
                         const struct stn_digest *upload);
    /* who: a device, or STN_WORLD_COORDINATOR. Evidence against the coordinator is an event. */
    void (*trace)(void *context, uint64_t now_ms, uint32_t who, const char *event, const char *task,
                  uint64_t number, enum stn_code code);
};

struct stn_world_config {
    uint64_t seed;
    uint32_t n_devices;
    uint32_t n_examples; /* that every device says it has */
    uint64_t n_per_ms;   /* bytes of a blob or an upload that a device moves a millisecond; not 0 */
    bool is_encoded;     /* every message goes through its bytes */
    struct stn_wire_config wire;
    struct stn_faults_config faults;
    struct stn_agent_config agent; /* its seed and who it is in secure rounds are drawn for each */
};

struct stn_world;

/* host is borrowed for the world's life. Devices are up, idle, and consent to every task in tasks
 * (n_tasks of them). */
enum stn_code stn_world_new(struct stn_world **ret, const struct stn_world_config *config,
                            const struct stn_world_host *host, const char *const *tasks,
                            uint32_t n_tasks, struct stn_err *err) STN_CHECKED;
void stn_world_free(struct stn_world *world);

/* STN_OK when the coordinator took the task. */
enum stn_code stn_world_create_task(struct stn_world *world, const struct stn_task_spec *spec,
                                    const struct stn_blob_ref *adapter) STN_CHECKED;

/* The next thing happens. False: nothing is left to happen. */
bool stn_world_step(struct stn_world *world);
uint64_t stn_world_now_ms(const struct stn_world *world);

/* As the coordinator's clock has it, which may have jumped. */
uint64_t stn_world_coordinator_ms(const struct stn_world *world);
/* NULL while it is down. */
const struct stn_coordinator *stn_world_coordinator(const struct stn_world *world);
const struct stn_agent_record *stn_world_device(const struct stn_world *world, uint32_t device);
/* Bytes that have crossed the wire since the world began: messages (when they are encoded), blobs and uploads, with
 * what the channel adds to each record. */
struct stn_world_traffic {
    uint64_t up, down;
};
struct stn_world_traffic stn_world_traffic(const struct stn_world *world);
/* NULL while it is down. */
const struct stn_agent *stn_world_agent(const struct stn_world *world, uint32_t device);
/* Its identity's public key; who has it. */
struct stn_id stn_world_id(const struct stn_world *world, uint32_t device);
uint32_t stn_world_device_of(const struct stn_world *world, const struct stn_id *id);

/* A hash of everything that has happened so far. */
uint64_t stn_world_transcript(const struct stn_world *world);

#endif
