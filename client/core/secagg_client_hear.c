/* What the coordinator says, each message checked to the end before anything of it is believed. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "client/core/secagg_client_state.h"
#include "crypto/entropy.h"
#include "secagg/merkle.h"
#include "secagg/roster.h"

static void *need(void *p)
{
    if (p == NULL) {
        abort(); /* a step cannot be undone */
    }
    return p;
}

static uint32_t fewest(const struct stn_secagg_client *client)
{
    uint32_t floor = client->config.n_min_floor;
    return client->terms.n_min > floor ? client->terms.n_min : floor;
}

/* Calls for each of the receiver and its neighbours in the order of the roster: the receiver's slot
 * is STN_HARARY_NOBODY. */
static uint32_t slot_in_order(const struct stn_secagg_client *client, uint32_t i,
                              uint32_t *ret_index)
{
    uint32_t before = 0; /* neighbours with lower indices: slots rise with them */
    while (before < client->bound.k && client->neighbours[before].index < client->index) {
        before++;
    }
    uint32_t slot = i < before ? i : i == before ? STN_HARARY_NOBODY : i - 1;
    *ret_index = slot == STN_HARARY_NOBODY ? client->index : client->neighbours[slot].index;
    return slot;
}

/* The k + 1 leaves, which make says, are in the tree of this root. */
static enum stn_code check_proof(const struct stn_secagg_client *client,
                                 const struct stn_digest *root, const struct stn_digest *leaves,
                                 const struct stn_digest *proof, uint32_t n_proof)
{
    uint32_t n = client->bound.k + 1;
    uint32_t *indices = need(stn_mem_new(n, sizeof *indices));
    for (uint32_t i = 0; i < n; i++) {
        (void)slot_in_order(client, i, &indices[i]);
    }
    enum stn_code code =
        stn_merkle_check(root, client->round.n, indices, leaves, n, proof, n_proof, NULL);
    stn_mem_free(indices);
    return code;
}

/* ---- roster ---- */

/* Whether n_min of the receiver and its neighbours, or of those that have survived, are known to
 * have the round's highest ranks. In the last tier all have. */
static bool has_company(const struct stn_secagg_client *client, bool of_survivors)
{
    uint32_t n = client->advert.tier <= client->tier;
    for (uint32_t slot = 0; slot < client->bound.k; slot++) {
        const struct stn_secagg_client_neighbour *neighbour = &client->neighbours[slot];
        n += neighbour->advert.tier <= client->tier && (neighbour->survived || !of_survivors);
    }
    return client->tier == client->terms.n_halvings || n >= fewest(client);
}

/* The adverts are the neighbours', in the roster where the graph wants them, and each is vouched
 * for by its device and the directory. */
static enum stn_code check_adverts(struct stn_secagg_client *client,
                                   const struct stn_msg_roster *roster)
{
    struct stn_digest root;
    memcpy(root.bytes, roster->root, 32);
    uint32_t n = client->bound.k + 1;
    const struct stn_digest *cfg = &client->terms.cfg;
    struct stn_digest *leaves = need(stn_mem_new(n, sizeof *leaves)), last = {{0}};
    enum stn_code code = STN_OK;
    for (uint32_t i = 0; i < n && code == STN_OK; i++) {
        uint32_t index, slot = slot_in_order(client, i, &index);
        const struct stn_advert *advert =
            slot == STN_HARARY_NOBODY ? &client->advert : &roster->adverts[slot];
        struct stn_digest order = stn_roster_order(advert, cfg);
        leaves[i] = stn_roster_leaf(advert, cfg);
        if ((i > 0 && stn_digest_compare(&last, &order) >= 0) ||
            !stn_terms_allow(&client->terms, advert)) {
            code = STN_INVALID;
        } else if (slot != STN_HARARY_NOBODY) {
            code = stn_roster_advert_verify(advert, cfg, client->config.directory, client->config.known, NULL);
            client->neighbours[slot].advert = *advert;
        }
        last = order;
    }
    if (code == STN_OK) {
        code = check_proof(client, &root, leaves, roster->proof, roster->n_proof);
    }
    for (uint32_t a = 0; a < client->bound.k && code == STN_OK; a++) { /* nobody is there twice */
        const uint8_t *id = client->neighbours[a].advert.id;
        bool twice = memcmp(id, client->advert.id, 32) == 0;
        for (uint32_t b = 0; b < a; b++) {
            twice = twice || memcmp(id, client->neighbours[b].advert.id, 32) == 0;
        }
        code = twice ? STN_INVALID : STN_OK;
    }
    stn_mem_free(leaves);
    return code;
}

/* Both seeds in shares, sealed for each neighbour; and the keys of what the neighbours seal for this device. Whether those
 * fit is for whoever they are shown to: the boxes are the coordinator's, with the neighbour's signature. */
static enum stn_code deal(struct stn_secagg_client *client)
{
    uint32_t k = client->bound.k;
    size_t n = client->bound.t - 1;
    stn_shamir_coefficients *coefficients = need(stn_mem_new(2 * n + 1, sizeof *coefficients));
    struct stn_stream stream;
    stn_stream_init(&stream, client->entropy.deal, 0);
    stn_shamir_draw(coefficients, 2 * n, &stream);
    stn_stream_fini(&stream);
    client->sealed = need(stn_mem_new(k, sizeof *client->sealed));
    enum stn_code code = STN_OK;
    for (uint32_t slot = 0; slot < k && code == STN_OK; slot++) {
        struct stn_secagg_client_neighbour *to = &client->neighbours[slot];
        const struct stn_share_place place = {client->index, to->index, slot};
        struct stn_shamir_share share;
        uint8_t out[32], in[32], key[32];
        code = stn_derive_transport(out, in, &client->round, client->entropy.transport,
                                    to->advert.transport, client->advert.id, to->advert.id, NULL);
        for (int of = STN_SHARE_OF_SELF; of <= STN_SHARE_OF_MASK && code == STN_OK; of++) {
            stn_shamir_deal(&share, of == STN_SHARE_OF_SELF ? client->entropy.self_seed : client->entropy.mask_seed,
                            (const stn_shamir_coefficients *)(coefficients + (size_t)of * n), n, slot + 1);
            stn_share_key(to->keys[of], in, (enum stn_share_of)of);
            stn_share_key(key, out, (enum stn_share_of)of);
            stn_share_seal(&client->sealed[slot], (enum stn_share_of)of, key, &place, &share);
        }
        stn_entropy_wipe(&share, sizeof share);
        stn_entropy_wipe(out, sizeof out);
        stn_entropy_wipe(in, sizeof in);
        stn_entropy_wipe(key, sizeof key);
    }
    stn_entropy_wipe(coefficients, (2 * n + 1) * sizeof *coefficients);
    stn_mem_free(coefficients);
    stn_entropy_wipe(client->entropy.deal, sizeof client->entropy.deal);
    return code;
}

/* What a roster makes of the round: who is in it, and its tier. */
static struct stn_derive_round round_of_roster(const struct stn_secagg_client *client,
                                               const struct stn_msg_roster *roster)
{
    struct stn_digest root;
    memcpy(root.bytes, roster->root, 32);
    return (struct stn_derive_round){.cfg = client->terms.cfg,
                                     .root = stn_roster_fold(&root, roster->tier),
                                     .n = roster->n_members};
}

/* The roster is the coordinator's, of a size that will do, and has this device in its place. */
static enum stn_code take_roster(struct stn_secagg_client *client,
                                 const struct stn_msg_roster *roster)
{
    uint32_t n = roster->n_members;
    struct stn_derive_round folded = round_of_roster(client, roster), plain = folded;
    memcpy(plain.root.bytes, roster->root, 32);
    client->round = folded;
    client->tier = roster->tier;
    memcpy(client->roster_signature, roster->signature, 64);
    enum stn_code code =
        stn_roster_verify(roster->signature, &folded, client->config.coordinator, NULL);
    if (code != STN_OK) {
        return code;
    }
    if (roster->tier > client->terms.n_halvings) {
        return STN_INVALID;
    }
    if (n < fewest(client) || n > client->terms.n_max ||
        stn_bound_for(n, &client->terms.params, &client->bound, NULL) != STN_OK) {
        return STN_INVALID; /* its own config says otherwise */
    }
    uint32_t k = client->bound.k;
    if (roster->index >= n || roster->n_adverts != k) {
        client->bound.k = 0;
        return STN_INVALID;
    }
    uint8_t seed[32];
    stn_derive_graph_seed(seed, &plain);
    code = stn_harary_init(&client->graph, n, k, seed, NULL);
    need(code == STN_OK ? client : NULL);
    client->index = roster->index;
    client->neighbours = need(stn_mem_new(k, sizeof *client->neighbours));
    client->slots = need(stn_mem_new(k, sizeof *client->slots));
    client->opened = need(stn_mem_new(k, sizeof *client->opened));
    stn_harary_neighbours(&client->graph, client->index, client->slots);
    for (uint32_t slot = 0; slot < k; slot++) {
        client->neighbours[slot].index = client->slots[slot];
    }
    code = check_adverts(client, roster);
    return code == STN_OK && !has_company(client, false) ? STN_INVALID : code;
}

static void show_evidence(struct stn_secagg_client_turn *turn, bool of_rosters,
                          const struct stn_digest *first_root, uint32_t first_n,
                          const uint8_t *first_signature, const struct stn_digest *second_root,
                          uint32_t second_n, const uint8_t *second_signature)
{
    struct stn_secagg_client_evidence evidence = {
        .cfg = turn->client->terms.cfg,
        .of_rosters = of_rosters,
        .root = turn->client->round.root,
        .statements = {{.root = *first_root, .n = first_n}, {.root = *second_root, .n = second_n}}};
    memcpy(evidence.statements[0].signature, first_signature, 64);
    memcpy(evidence.statements[1].signature, second_signature, 64);
    stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_EVIDENCE)->evidence = evidence;
    stn_secagg_client_end(turn, STN_DENIED);
}

static void hear_roster(struct stn_secagg_client_turn *turn, const struct stn_msg_roster *roster)
{
    struct stn_secagg_client *client = turn->client;
    if (client->stage != STN_STAGE_ADVERTISE) {
        struct stn_derive_round other = round_of_roster(client, roster);
        if ((other.n != client->round.n || !stn_digest_equal(&other.root, &client->round.root)) &&
            stn_roster_verify(roster->signature, &other, client->config.coordinator, NULL) ==
                STN_OK) {
            show_evidence(turn, true, &client->round.root, client->round.n,
                          client->roster_signature, &other.root, other.n, roster->signature);
        }
        return;
    }
    enum stn_code code = take_roster(client, roster);
    if (code == STN_OK) {
        code = deal(client);
    }
    if (code != STN_OK) {
        stn_secagg_client_end(turn, code);
        return;
    }
    struct stn_msg_share share = {.round = client->terms.round,
                                  .commitment = stn_derive_commitment(client->entropy.self_seed),
                                  .n_sealed = client->bound.k,
                                  .sealed = client->sealed};
    stn_roster_share_sign(share.signature, &client->round, &share.commitment, share.sealed,
                          share.n_sealed, &client->config.identity);
    client->sent = (struct stn_msg){.type = STN_MSG_SHARE, .share = share};
    struct stn_digest spoken = stn_digest_of(share.signature, sizeof share.signature);
    stn_secagg_client_speak(turn, STN_STAGE_SHARE, &spoken);
}

/* ---- deliver ---- */

static enum stn_code make_masks(struct stn_secagg_client *client, uint32_t n_shared)
{
    client->masks = need(stn_mem_new(n_shared + 1, sizeof *client->masks));
    client->n_masks = n_shared + 1;
    memcpy(client->masks[0].seed, client->entropy.self_seed, 32);
    size_t n = 1;
    struct stn_derive_party mine = {client->index, client->advert.mask};
    for (uint32_t slot = 0; slot < client->bound.k; slot++) {
        const struct stn_secagg_client_neighbour *with = &client->neighbours[slot];
        if (with->has_shared) {
            struct stn_derive_party theirs = {with->index, with->advert.mask};
            struct stn_mask *mask = &client->masks[n++];
            mask->is_minus = with->index < client->index;
            enum stn_code code = stn_derive_pair(mask->seed, &client->round, client->mask_secret,
                                                 &mine, &theirs, NULL);
            if (code != STN_OK) {
                return code;
            }
        }
    }
    return STN_OK;
}

static void hear_deliver(struct stn_secagg_client_turn *turn, const struct stn_msg_deliver *deliver)
{
    struct stn_secagg_client *client = turn->client;
    if (client->stage != STN_STAGE_SHARE) {
        return;
    }
    if (deliver->n_slots < client->bound.t) {
        stn_secagg_client_end(turn, STN_LIMIT);
        return;
    }
    enum stn_code code = STN_OK;
    for (uint32_t i = 0; i < deliver->n_slots && code == STN_OK; i++) {
        uint32_t slot = deliver->slots[i];
        if (slot >= client->bound.k || client->neighbours[slot].has_shared) {
            code = STN_INVALID;
        } else {
            client->neighbours[slot].has_shared = true;
        }
    }
    code = code == STN_OK ? make_masks(client, deliver->n_slots) : code;
    if (code != STN_OK) {
        stn_secagg_client_end(turn, code);
        return;
    }
    stn_entropy_wipe(&client->entropy, sizeof client->entropy);
    stn_entropy_wipe(client->mask_secret, sizeof client->mask_secret);
    client->sent = (struct stn_msg){.type = STN_MSG_NONE}; /* it has nothing to say before MASKED */
    stn_secagg_client_speak(turn, STN_STAGE_UPLOAD, &(struct stn_digest){{0}});
    struct stn_secagg_client_effect *effect = stn_secagg_client_emit(turn, STN_SECAGG_CLIENT_MASK);
    effect->masks.items = client->masks;
    effect->masks.n = client->n_masks;
}

/* ---- survivors ---- */

static enum stn_code take_survivors(struct stn_secagg_client *client,
                                    const struct stn_msg_survivors *msg)
{
    uint32_t k = client->bound.k, n_survived = 0;
    if (msg->n_survivors < fewest(client) || msg->n_survivors > client->round.n ||
        msg->n_members != k + 1) {
        return STN_INVALID;
    }
    struct stn_digest *leaves = need(stn_mem_new(k + 1, sizeof *leaves));
    bool fits = true;
    for (uint32_t i = 0; i <= k; i++) {
        uint32_t index, slot = slot_in_order(client, i, &index);
        const struct stn_survivor *member = &msg->members[i];
        struct stn_digest upload;
        memcpy(upload.bytes, member->upload, 32);
        bool survived = member->survived == 1;
        leaves[i] = stn_roster_survivor_leaf(index, survived ? &upload : NULL);
        if (slot == STN_HARARY_NOBODY) {
            fits = fits && survived && stn_digest_equal(&upload, &client->upload);
        } else {
            struct stn_secagg_client_neighbour *neighbour = &client->neighbours[slot];
            neighbour->survived = survived;
            fits = fits && (neighbour->has_shared || !survived);
            n_survived += survived;
        }
    }
    uint32_t n_seen = n_survived + 1, n_unseen = client->round.n - (k + 1);
    fits = fits && msg->n_survivors >= n_seen && msg->n_survivors - n_seen <= n_unseen;
    enum stn_code code =
        fits ? check_proof(client, &msg->root, leaves, msg->proof, msg->n_proof) : STN_INVALID;
    stn_mem_free(leaves);
    if (code == STN_OK && (n_survived < client->bound.t /* so at most k - t are lost, too */ ||
                           !has_company(client, true))) {
        code = STN_LIMIT;
    }
    return code;
}

static void hear_survivors(struct stn_secagg_client_turn *turn, const struct stn_msg_survivors *msg)
{
    struct stn_secagg_client *client = turn->client;
    if (client->stage < STN_STAGE_UPLOAD || !client->has_uploaded) {
        return;
    }
    struct stn_roster_survivors survivors = {.root = msg->root, .n = msg->n_survivors};
    enum stn_code code =
        stn_roster_survivors_verify(msg->signature, STN_ROSTER_SURVIVORS, &client->round,
                                    &survivors, client->config.coordinator, NULL);
    if (client->stage > STN_STAGE_UPLOAD) {
        bool same = stn_digest_equal(&msg->root, &client->survivors.root) &&
                    msg->n_survivors == client->survivors.n;
        if (code == STN_OK && !same) {
            show_evidence(turn, false, &client->survivors.root, client->survivors.n,
                          client->survivors.signature, &msg->root, msg->n_survivors,
                          msg->signature);
        }
        return;
    }
    if (code == STN_OK) {
        code = take_survivors(client, msg);
    }
    if (code != STN_OK) {
        stn_secagg_client_end(turn, code);
        return;
    }
    client->survivors.root = msg->root;
    client->survivors.n = msg->n_survivors;
    memcpy(client->survivors.signature, msg->signature, 64);
    client->sent = (struct stn_msg){
        .type = STN_MSG_ACK,
        .ack = {.round = client->terms.round, .survivors = client->survivors.root}};
    stn_roster_survivors_sign(client->sent.ack.signature, STN_ROSTER_ACK, &client->round,
                              &survivors, &client->config.identity);
    stn_secagg_client_speak(turn, STN_STAGE_ACK, &client->survivors.root);
}

/* ---- acks ---- */

static void hear_acks(struct stn_secagg_client_turn *turn, const struct stn_msg_acks *acks)
{
    struct stn_secagg_client *client = turn->client;
    if (client->stage != STN_STAGE_ACK) {
        return;
    }
    struct stn_roster_survivors survivors = {client->survivors.root, client->survivors.n};
    uint32_t n_agree = 0, next = 0;
    for (uint32_t i = 0; i < acks->n_slots && i < acks->n_signatures && n_agree < client->bound.t; i++) {
        uint32_t slot = acks->slots[i];
        if (slot < next || slot >= client->bound.k) {
            break; /* slots rise: nobody counts twice */
        }
        next = slot + 1;
        n_agree += client->neighbours[slot].survived &&
                   stn_roster_survivors_verify(acks->signatures[i].bytes, STN_ROSTER_ACK,
                                               &client->round, &survivors,
                                               client->neighbours[slot].advert.id, NULL) == STN_OK;
    }
    if (n_agree < client->bound.t) { /* those who are lost say nothing; those who are there say it right */
        stn_secagg_client_end(turn, n_agree == acks->n_slots ? STN_LIMIT : STN_DENIED);
        return;
    }
    client->n_opened = 0;
    for (uint32_t slot = 0; slot < client->bound.k; slot++) {
        const struct stn_secagg_client_neighbour *of = &client->neighbours[slot];
        if (of->has_shared) {
            client->slots[client->n_opened] = slot;
            memcpy(client->opened[client->n_opened++].key,
                   of->keys[of->survived ? STN_SHARE_OF_SELF : STN_SHARE_OF_MASK], sizeof of->keys[0]);
        }
    }
    client->sent = (struct stn_msg){.type = STN_MSG_UNMASK,
                                    .unmask = {.round = client->terms.round,
                                               .survivors = client->survivors.root,
                                               .n_slots = client->n_opened,
                                               .slots = client->slots,
                                               .n_opened = client->n_opened,
                                               .opened = client->opened}};
    struct stn_digest spoken =
        stn_digest_of(client->opened, client->n_opened * sizeof *client->opened);
    stn_secagg_client_speak(turn, STN_STAGE_UNMASK, &spoken);
}

static const struct stn_round_id *round_of(const struct stn_msg *msg)
{
    switch (msg->type) {
    case STN_MSG_ROSTER:
        return &msg->roster.round;
    case STN_MSG_DELIVER:
        return &msg->deliver.round;
    case STN_MSG_SURVIVORS:
        return &msg->survivors.round;
    case STN_MSG_ACKS:
        return &msg->acks.round;
    case STN_MSG_RESULT:
        return &msg->result.round;
    case STN_MSG_VOIDED:
        return &msg->voided.round;
    default:
        return NULL;
    }
}

void stn_secagg_client_hear(struct stn_secagg_client_turn *turn, const struct stn_msg *msg)
{
    const struct stn_round_id *round = round_of(msg);
    if (turn->client->stage == 0 || round == NULL ||
        memcmp(round, &turn->client->terms.round, sizeof *round) != 0) {
        return; /* not of this round */
    }
    switch (msg->type) {
    case STN_MSG_ROSTER:
        hear_roster(turn, &msg->roster);
        return;
    case STN_MSG_DELIVER:
        hear_deliver(turn, &msg->deliver);
        return;
    case STN_MSG_SURVIVORS:
        hear_survivors(turn, &msg->survivors);
        return;
    case STN_MSG_ACKS:
        hear_acks(turn, &msg->acks);
        return;
    case STN_MSG_RESULT:
        stn_secagg_client_end(turn, STN_OK);
        return;
    default: /* voided */
        stn_secagg_client_end(turn, msg->voided.code < STN_N_CODES && msg->voided.code != STN_OK
                                        ? (enum stn_code)msg->voided.code
                                        : STN_INVALID);
        return;
    }
}
