#include <string.h>

#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "client/simulate/world_state.h"
#include "server/core/coordinator_state.h"
#include "server/core/task.h"
#include "tests/swarm/swarm_state.h"

/* The cores are opened here, as no shell may. */
static struct stn_agent *agent_of(const struct stn_swarm *swarm, uint32_t device)
{
    return (struct stn_agent *)stn_world_agent(swarm->world, device);
}

static void forget_what_is_spent(const struct stn_swarm *swarm)
{
    const struct stn_coordinator *core = stn_world_coordinator(swarm->world);
    for (size_t i = 0; core != NULL && i < core->tasks.n; i++) {
        struct stn_task *task = core->tasks.entries[i].value;
        for (struct stn_list *link = task->leases.by_number.next; link != &task->leases.by_number; link = link->next) {
            struct stn_lease *lease = STN_LIST_OF(link, struct stn_lease, link);
            task->n_live += lease->record.spent && lease->record.version == task->record.version;
            lease->record.spent = false;
        }
    }
}

static void plant_in_device(const struct stn_swarm *swarm, uint32_t device)
{
    struct stn_agent *agent = agent_of(swarm, device);
    if (swarm->plants.repeats_secrets) {
        stn_rng_fork(&swarm->world->devices[device].entropy, device, "again", 0);
    }
    if (agent != NULL && (swarm->plants.forgets_journal || swarm->plants.spends_nothing)) {
        memset(&agent->spent, 0, sizeof agent->spent);
    }
    bool acks = swarm->plants.acks_again && stn_world_is_faulty(swarm->world);
    if (agent != NULL && acks && agent->secure != NULL && agent->secure->stage == STN_STAGE_ACK) {
        agent->secure->stage = STN_STAGE_UPLOAD;
    }
    if (agent != NULL && swarm->plants.opens_both && agent->secure != NULL && agent->secure->stage == STN_STAGE_ACK) {
        struct stn_secagg_client_neighbour *of = &agent->secure->neighbours[0];
        memcpy(of->keys[STN_SHARE_OF_SELF], of->keys[STN_SHARE_OF_MASK], sizeof of->keys[0]);
    }
}

void stn_swarm_plant(struct stn_swarm *swarm, uint32_t n_devices)
{
    for (uint32_t i = 0; i < n_devices; i++) {
        plant_in_device(swarm, i);
    }
    if (swarm->plants.spends_nothing) {
        forget_what_is_spent(swarm);
    }
    if (swarm->plants.sleeps) {
        swarm->world->central.n_wakes++; /* what is on its way is not for it */
    }
}
