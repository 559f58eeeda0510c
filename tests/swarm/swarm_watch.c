#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "tests/swarm/swarm_state.h"

static void look_at_share(struct stn_swarm *swarm, const struct stn_swarm_key *key,
                          const struct stn_secagg_client *client)
{
    struct stn_digest digest = stn_digest_of(client->entropy.self_seed, 32);
    const struct stn_swarm_key *before = stn_map_get(&swarm->seeds, &digest, sizeof digest);
    if (before == NULL) {
        stn_swarm_set(&swarm->seeds, &digest, sizeof digest, stn_mem_copy(key, sizeof *key));
    } else if (memcmp(before, key, sizeof *key) != 0) {
        stn_swarm_break(swarm, "a seed is used twice");
    }
}

static void look_at_ack(struct stn_swarm *swarm, const struct stn_msg_ack *ack)
{
    const struct stn_digest *root =
        stn_map_get(&swarm->survivors, &ack->round, sizeof ack->round);
    if (root == NULL) {
        stn_swarm_set(&swarm->survivors, &ack->round, sizeof ack->round,
            stn_mem_copy(&ack->survivors, sizeof ack->survivors));
    } else if (!stn_digest_equal(root, &ack->survivors)) {
        stn_swarm_break(swarm, "two sets of survivors are acknowledged");
    }
}

static void look_at_unmask(struct stn_swarm *swarm, const struct stn_msg_unmask *unmask,
                           const struct stn_secagg_client *client)
{
    static uint8_t bits[4] = {0, 1, 2, 3}; /* values of the map */
    for (uint32_t i = 0; i < unmask->n_slots; i++) {
        const struct stn_secagg_client_neighbour *of = &client->neighbours[unmask->slots[i]];
        struct stn_swarm_key key = {.round = unmask->round};
        memcpy(&key.device, of->advert.id, sizeof key.device);
        const uint8_t *before = stn_map_get(&swarm->opened, &key, sizeof key);
        swarm->outcome.n_self += of->survived;
        swarm->outcome.n_mask += !of->survived;
        unsigned now = (before == NULL ? 0u : *before) | (of->survived ? 1u : 2u);
        if (now == 3) {
            stn_swarm_break(swarm, "both secrets of a device are opened");
        }
        stn_swarm_set(&swarm->opened, &key, sizeof key, &bits[now]);
    }
}

void stn_swarm_watch(struct stn_swarm *swarm, uint32_t device, const struct stn_msg *msg)
{
    swarm->outcome.said[msg->type]++;
    if (msg->type == STN_MSG_SHARE) {
        struct stn_swarm_key key = stn_swarm_key_of(swarm, &msg->share.round, device);
        look_at_share(swarm, &key, stn_world_agent(swarm->world, device)->secure);
    } else if (msg->type == STN_MSG_ACK) {
        look_at_ack(swarm, &msg->ack);
    } else if (msg->type == STN_MSG_UNMASK) {
        look_at_unmask(swarm, &msg->unmask, stn_world_agent(swarm->world, device)->secure);
    }
}
