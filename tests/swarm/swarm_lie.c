#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "client/core/state.h"
#include "client/simulate/world_state.h"
#include "secagg/merkle.h"
#include "secagg/roster.h"
#include "tests/swarm/swarm_state.h"

/* One other member is lost, and all of it is signed as it should be. The graph is complete: everybody is told of all. */
static bool lie_about_survivors(struct stn_swarm *swarm, const struct stn_secagg_client *client,
                                struct stn_msg_survivors *msg)
{
    struct stn_digest leaves[STN_SWARM_DEVICES];
    uint32_t indices[STN_SWARM_DEVICES], n = msg->n_members, lost = n;
    for (uint32_t i = 0; i < n; i++) {
        lost = msg->members[i].survived == 1 && i != client->index && lost == n ? i : lost;
    }
    if (client->stage < STN_STAGE_UPLOAD || n != client->round.n || lost == n) {
        return false;
    }
    struct stn_survivor *members = stn_mem_copy(msg->members, n * sizeof *members);
    ck_assert_ptr_nonnull(members);
    members[lost] = (struct stn_survivor){.survived = 0};
    for (uint32_t i = 0; i < n; i++) {
        struct stn_digest upload;
        memcpy(upload.bytes, members[i].upload, sizeof upload.bytes);
        leaves[i] = stn_roster_survivor_leaf(i, members[i].survived == 1 ? &upload : NULL);
        indices[i] = i;
    }
    struct stn_merkle tree;
    struct stn_digest none[1];
    ck_assert_int_eq(stn_merkle_init(&tree, leaves, n, NULL), STN_OK);
    ck_assert_uint_eq(stn_merkle_prove(&tree, indices, n, none), 0); /* all leaves are there */
    struct stn_roster_survivors said = {*stn_merkle_root(&tree), msg->n_survivors - 1};
    msg->root = said.root;
    msg->n_survivors = said.n;
    memcpy((void *)msg->members, members, n * sizeof *members);
    stn_roster_survivors_sign(msg->signature, STN_ROSTER_SURVIVORS, &client->round, &said, &swarm->world->coordinator);
    stn_merkle_fini(&tree);
    stn_mem_free(members);
    return true;
}

void stn_swarm_lie(struct stn_swarm *swarm, uint32_t device, struct stn_msg *msg)
{
    const struct stn_agent *agent = stn_world_agent(swarm->world, device);
    if (agent != NULL && agent->secure != NULL && swarm->plants.equivocates && msg->type == STN_MSG_SURVIVORS &&
        stn_rng_below(&swarm->rng, 8) == 0) {
        (void)lie_about_survivors(swarm, agent->secure, &msg->survivors);
    }
}
