/* Secrets come back from shares, and masks from secrets. */
#include <string.h>

#include "base/mem.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "secagg/share.h"
#include "server/core/secagg_server_state.h"

/* Shares of one member's secret, as many as it takes. */
struct shares {
    uint32_t n;
    uint32_t xs[STN_BOUND_DEGREE];
    struct stn_shamir_share shares[STN_BOUND_DEGREE];
};

static void name_liar(struct stn_secagg_server_turn *turn, struct stn_secagg_server_member *member)
{
    if (!member->is_liar) {
        member->is_liar = true;
        memcpy(&stn_secagg_server_emit(turn, STN_SECAGG_SERVER_LIAR)->device, member->advert.id,
               sizeof member->advert.id);
    }
}

/* A member and its neighbour at a slot. */
static void add_dispute(struct stn_secagg_server_turn *turn, struct stn_secagg_server_member *member, uint32_t slot)
{
    const struct stn_bound *bound = &turn->server->bound;
    if (member->disputes == NULL) {
        member->disputes = stn_secagg_server_need(stn_mem_new(bound->k, 1));
    }
    member->n_disputes += member->disputes[slot] == 0;
    member->disputes[slot] = 1;
    if (member->n_disputes > (bound->most < 1 ? 1 : bound->most)) { /* one of those is honest */
        name_liar(turn, member);
    }
}

/* Opens a box by the key that its holder has shown. */
static void take(struct stn_secagg_server_turn *turn, uint32_t dealer, uint32_t slot, struct shares *shares)
{
    struct stn_secagg_server *server = turn->server;
    struct stn_secagg_server_member *of = server->members[dealer];
    uint32_t at = server->lists[(size_t)dealer * server->bound.k + slot];
    struct stn_secagg_server_member *holder = server->members[at];
    uint32_t back = stn_secagg_server_slot(server, at, dealer);
    if (!holder->has_opened || !holder->opens[back]) {
        return;
    }
    struct stn_shamir_share share;
    enum stn_code code = stn_share_open(&share, of->has_uploaded ? STN_SHARE_OF_SELF : STN_SHARE_OF_MASK,
                                        holder->opened[back].key, &(struct stn_share_place){dealer, at, slot},
                                        &of->sealed[slot]);
    if (code == STN_OK && shares->n < server->bound.t) {
        shares->xs[shares->n] = slot + 1;
        shares->shares[shares->n++] = share;
    } else if (code == STN_DENIED && !holder->is_liar && !of->is_liar) { /* or it is settled whose lie it is */
        struct stn_secagg_server_effect *effect = stn_secagg_server_emit(turn, STN_SECAGG_SERVER_DISPUTE);
        memcpy(&effect->device, holder->advert.id, sizeof effect->device);
        memcpy(&effect->dealer, of->advert.id, sizeof effect->dealer);
        add_dispute(turn, holder, back);
        add_dispute(turn, of, slot);
    } else if (code == STN_CORRUPT) {
        name_liar(turn, of);
    }
    stn_entropy_wipe(&share, sizeof share);
}

/* t shares: of those who have never been in dispute, then of those who have, then of liars. All boxes of the second are
 * looked at, so that it is seen with how many they are. */
static void collect(struct stn_secagg_server_turn *turn, uint32_t dealer, struct shares *ret)
{
    const struct stn_secagg_server *server = turn->server;
    const uint32_t *list = server->lists + (size_t)dealer * server->bound.k;
    int repute[STN_BOUND_DEGREE];
    ret->n = 0;
    for (uint32_t slot = 0; slot < server->bound.k; slot++) {
        const struct stn_secagg_server_member *holder = server->members[list[slot]];
        repute[slot] = holder->is_liar ? 2 : holder->n_disputes > 0 ? 1 : 0;
    }
    for (int of = 0; of <= 2; of++) {
        for (uint32_t slot = 0; slot < server->bound.k; slot++) {
            if (repute[slot] == of && (of == 1 || ret->n < server->bound.t)) {
                take(turn, dealer, slot, ret);
            }
        }
    }
}

/* b against its commitment, or mseed, as skM, against M. */
static bool is_meant(const struct stn_secagg_server *server,
                     const struct stn_secagg_server_member *member, const uint8_t secret[static 32],
                     uint8_t mask_secret[static 32])
{
    if (member->has_uploaded) {
        struct stn_digest commitment = stn_derive_commitment(secret);
        return stn_digest_equal(&commitment, &member->commitment);
    }
    uint8_t pub[32];
    stn_derive_mask_secret(mask_secret, secret, &server->round.cfg);
    stn_dh_public(pub, mask_secret);
    return memcmp(pub, member->advert.mask, sizeof pub) == 0;
}

/* STN_LIMIT: too few shares; STN_CORRUPT: the dealer's are not of what it committed to. */
static enum stn_code rebuild(struct stn_secagg_server_turn *turn, uint32_t dealer,
                             uint8_t secret[static 32], uint8_t mask_secret[static 32])
{
    struct stn_secagg_server *server = turn->server;
    uint32_t t = server->bound.t;
    uint64_t weights[STN_BOUND_DEGREE];
    struct shares shares;
    collect(turn, dealer, &shares);
    enum stn_code code = shares.n < t ? STN_LIMIT : STN_OK;
    if (code == STN_OK) {
        stn_shamir_weigh(weights, shares.xs, t, 0);
        bool is_there = stn_shamir_join(secret, weights, shares.shares, t, NULL) == STN_OK &&
                        is_meant(server, server->members[dealer], secret, mask_secret);
        code = is_there ? STN_OK : STN_CORRUPT;
    }
    if (code == STN_CORRUPT) {
        name_liar(turn, server->members[dealer]);
    }
    stn_entropy_wipe(&shares, sizeof shares);
    return code;
}

static struct stn_mask *new_mask(struct stn_secagg_server *server, size_t *n)
{
    struct stn_mask *mask = &server->masks[(*n)++];
    *mask = (struct stn_mask){0};
    return mask;
}

/* The masks of a member: its own if it survived; else those it had with its neighbours who did,
 * which are still in their vectors. */
static enum stn_code add_masks(struct stn_secagg_server_turn *turn, uint32_t dealer, size_t *n)
{
    struct stn_secagg_server *server = turn->server;
    const struct stn_secagg_server_member *member = server->members[dealer];
    const uint32_t *list = server->lists + (size_t)dealer * server->bound.k;
    bool is_wanted = member->has_uploaded;
    for (uint32_t slot = 0; slot < server->bound.k && member->has_shared; slot++) {
        is_wanted = is_wanted || server->members[list[slot]]->has_uploaded;
    }
    if (!is_wanted) {
        return STN_OK;
    }
    uint8_t secret[32], mask_secret[32];
    enum stn_code code = rebuild(turn, dealer, secret, mask_secret);
    if (code == STN_OK && member->has_uploaded) {
        struct stn_mask *mask = new_mask(server, n);
        memcpy(mask->seed, secret, sizeof mask->seed);
        mask->is_minus = true;
    }
    for (uint32_t slot = 0; slot < server->bound.k && code == STN_OK && !member->has_uploaded;
         slot++) {
        const struct stn_secagg_server_member *other = server->members[list[slot]];
        if (other->has_uploaded) {
            struct stn_derive_party lost = {dealer, member->advert.mask};
            struct stn_derive_party survivor = {other->index, other->advert.mask};
            struct stn_mask *mask = new_mask(server, n);
            mask->is_minus = other->index < dealer; /* the survivor added it */
            code = stn_derive_pair(mask->seed, &server->round, mask_secret, &lost, &survivor, NULL);
        }
    }
    stn_entropy_wipe(secret, sizeof secret);
    stn_entropy_wipe(mask_secret, sizeof mask_secret);
    return code;
}

void stn_secagg_server_rebuild(struct stn_secagg_server_turn *turn)
{
    struct stn_secagg_server *server = turn->server;
    size_t n = 0;
    bool is_first = server->next == 0;
    if (server->masks == NULL) {
        server->masks = stn_secagg_server_need(
            stn_mem_new(STN_SECAGG_SERVER_BATCH + STN_BOUND_DEGREE, sizeof *server->masks));
    }
    while (server->next < server->n_members && n < STN_SECAGG_SERVER_BATCH) {
        enum stn_code code = add_masks(turn, server->next++, &n);
        if (code != STN_OK) {
            stn_entropy_wipe(server->masks, n * sizeof *server->masks);
            stn_secagg_server_void(turn, code);
            return;
        }
    }
    if (n > 0) {
        struct stn_secagg_server_effect *effect =
            stn_secagg_server_emit(turn, STN_SECAGG_SERVER_MASK);
        effect->masks.items = server->masks;
        effect->masks.n = n;
        effect->masks.is_first = is_first;
    } else {
        server->is_clear = true;
        stn_secagg_server_emit(turn, STN_SECAGG_SERVER_CLEAR)->n = server->n_survivors;
    }
}
