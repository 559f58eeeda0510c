#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "tests/swarm/swarm_state.h"

static void look_at_share(struct stn_swarm *swarm, const struct stn_swarm_key *key,
                          const struct stn_msg_share *share, const struct stn_secagg_client *client)
{
    struct stn_digest digest = stn_digest_of(client->entropy.self_seed, 32);
    const struct stn_swarm_key *before = stn_map_get(&swarm->seeds, &digest, sizeof digest);
    if (before == NULL) {
        stn_swarm_set(&swarm->seeds, &digest, sizeof digest, stn_mem_copy(key, sizeof *key));
    } else if (memcmp(before, key, sizeof *key) != 0) {
        stn_swarm_break(swarm, "a seed is used twice");
    }
    if (stn_map_get(&swarm->dealt, key, sizeof *key) == NULL) { /* else it is said again */
        stn_swarm_set(&swarm->dealt, key, sizeof *key, stn_mem_copy(share->sealed, share->n_sealed * sizeof *share->sealed));
    }
}

static void look_at_ack(struct stn_swarm *swarm, const struct stn_swarm_key *key, const struct stn_msg_ack *ack)
{
    const struct stn_digest *own = stn_map_get(&swarm->acked, key, sizeof *key);
    if (own == NULL) {
        stn_swarm_set(&swarm->acked, key, sizeof *key, stn_mem_copy(&ack->survivors, sizeof ack->survivors));
    } else if (!stn_digest_equal(own, &ack->survivors)) {
        stn_swarm_break(swarm, "a device acknowledges two sets of survivors");
    }
    const struct stn_digest *root =
        stn_map_get(&swarm->survivors, &ack->round, sizeof ack->round);
    if (root == NULL) {
        stn_swarm_set(&swarm->survivors, &ack->round, sizeof ack->round,
            stn_mem_copy(&ack->survivors, sizeof ack->survivors));
    } else if (!stn_digest_equal(root, &ack->survivors) && !swarm->lies.by_coordinator) {
        stn_swarm_break(swarm, "two sets of survivors are acknowledged");
    }
}

/* Whose share it is says the roster, and of which secret the box that the key opens: not the device. */
static void look_at_unmask(struct stn_swarm *swarm, const struct stn_msg_unmask *unmask,
                           const struct stn_secagg_client *client)
{
    static uint8_t bits[4] = {0, 1, 2, 3}; /* values of the map */
    for (uint32_t i = 0; i < unmask->n_slots; i++) {
        const struct stn_secagg_client_neighbour *of = &client->neighbours[unmask->slots[i]];
        const struct stn_share_place place = {of->index, client->index,
                                              stn_harary_slot(&client->graph, of->index, client->index)};
        struct stn_swarm_key key = {.round = unmask->round};
        struct stn_shamir_share share;
        memcpy(&key.device, of->advert.id, sizeof key.device);
        const struct stn_sealed *dealt = stn_map_get(&swarm->dealt, &key, sizeof key);
        unsigned now = 0;
        for (unsigned what = STN_SHARE_OF_SELF; dealt != NULL && what <= STN_SHARE_OF_MASK; what++) {
            now |= stn_share_open(&share, (enum stn_share_of)what, unmask->opened[i].key, &place, &dealt[place.slot]) ==
                           STN_OK
                       ? 1u << what
                       : 0u;
        }
        if (now == 0) {
            stn_swarm_break(swarm, "a key is shown that opens nothing");
        }
        swarm->outcome.n_self += now == 1;
        swarm->outcome.n_mask += now == 2;
        const uint8_t *before = stn_map_get(&swarm->opened, &key, sizeof key);
        now |= before == NULL ? 0u : *before;
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
        look_at_share(swarm, &key, &msg->share, stn_world_agent(swarm->world, device)->secure);
    } else if (msg->type == STN_MSG_ACK) {
        struct stn_swarm_key key = stn_swarm_key_of(swarm, &msg->ack.round, device);
        look_at_ack(swarm, &key, &msg->ack);
    } else if (msg->type == STN_MSG_UNMASK) {
        look_at_unmask(swarm, &msg->unmask, stn_world_agent(swarm->world, device)->secure);
    }
}
