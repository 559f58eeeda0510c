/* Secrets come back from shares, and masks from secrets. */
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "crypto/shamir.h"
#include "server/core/secagg_server_state.h"

#define TRIES 256 /* of subsets, the last when more shares are false than can be found */

/* The shares of one member's secret. */
struct shares {
    uint32_t n, n_silent; /* silent: holders that opened others' and show none of this one's */
    bool has_suspects;
    uint32_t xs[STN_BOUND_DEGREE];
    uint32_t holders[STN_BOUND_DEGREE];
    struct stn_shamir_share shares[STN_BOUND_DEGREE];
};

/* Those of good repute first. */
static void collect(const struct stn_secagg_server *server, uint32_t dealer, struct shares *ret)
{
    uint32_t k = server->bound.k;
    ret->n = ret->n_silent = 0;
    ret->has_suspects = false;
    for (int suspects = 0; suspects <= 1; suspects++) {
        for (uint32_t slot = 0; slot < k; slot++) {
            uint32_t holder = server->lists[(size_t)dealer * k + slot];
            const struct stn_secagg_server_member *member = server->members[holder];
            if (!member->has_opened || member->is_suspect != (suspects == 1)) {
                continue;
            }
            uint32_t at = stn_secagg_server_slot(server, holder, dealer);
            ret->n_silent += member->opens[at] == 0;
            if (member->opens[at] &&
                stn_shamir_get(&ret->shares[ret->n], member->opened[at].bytes, NULL) == STN_OK) {
                ret->xs[ret->n] = slot + 1;
                ret->holders[ret->n++] = holder;
                ret->has_suspects = suspects == 1;
            }
        }
    }
}

static void swap(struct shares *shares, uint32_t i, uint32_t j)
{
    uint32_t x = shares->xs[i], holder = shares->holders[i];
    struct stn_shamir_share share = shares->shares[i];
    shares->xs[i] = shares->xs[j];
    shares->holders[i] = shares->holders[j];
    shares->shares[i] = shares->shares[j];
    shares->xs[j] = x;
    shares->holders[j] = holder;
    shares->shares[j] = share;
}

/* Those that are not false first, if few enough are. */
static void true_first(struct shares *shares, uint32_t t)
{
    bool is_false[STN_BOUND_DEGREE];
    uint32_t n_true = 0;
    stn_shamir_doubt(is_false, shares->xs, shares->shares, shares->n, t);
    for (uint32_t i = 0; i < shares->n; i++) {
        if (!is_false[i]) {
            swap(shares, n_true++, i);
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

static void suspect(struct stn_secagg_server_turn *turn, uint32_t dealer, uint32_t holder)
{
    struct stn_secagg_server *server = turn->server;
    struct stn_secagg_server_effect *effect =
        stn_secagg_server_emit(turn, STN_SECAGG_SERVER_SUSPECT);
    memcpy(&effect->device, server->members[holder]->advert.id, sizeof effect->device);
    memcpy(&effect->dealer, server->members[dealer]->advert.id, sizeof effect->dealer);
    server->members[holder]->is_suspect = true;
}

/* The secret stands: whose share is not on its polynomial? Only a polynomial that (n + t) / 2 of
 * the shares are on is the one that was dealt: false shares that happen to make up for each other
 * could otherwise put the blame on true ones. */
static void find_false(struct stn_secagg_server_turn *turn, uint32_t dealer,
                       const struct shares *shares)
{
    uint32_t t = turn->server->bound.t, n_false = 0, holders[STN_BOUND_DEGREE];
    uint64_t weights[STN_BOUND_DEGREE];
    for (uint32_t i = t; i < shares->n; i++) {
        struct stn_shamir_share right;
        stn_shamir_weigh(weights, shares->xs, t, shares->xs[i]);
        stn_shamir_combine(&right, weights, shares->shares, t);
        if (memcmp(&right, &shares->shares[i], sizeof right) != 0) {
            holders[n_false++] = shares->holders[i];
        }
    }
    for (uint32_t i = 0; i < n_false && 2 * (shares->n - n_false) >= shares->n + t; i++) {
        suspect(turn, dealer, holders[i]);
    }
}

/* No secret was found: has the dealer lied, whoever lies of those who hold its shares? */
static bool is_dealers_fault(const struct stn_secagg_server *server, const struct shares *shares)
{
    uint32_t most = (uint32_t)(server->config.terms.params.gamma * server->n_members);
    most = most < 1 ? 1 : most;
    return shares->n_silent > most || /* one of them at least is honest, and could open nothing */
           (shares->n >= server->bound.t && (shares->n - server->bound.t) / 2 >= most);
}

/* STN_LIMIT: too few shares; STN_CORRUPT: no subset that was tried gives what was committed to. */
static enum stn_code rebuild(struct stn_secagg_server_turn *turn, uint32_t dealer,
                             uint8_t secret[static 32], uint8_t mask_secret[static 32])
{
    struct stn_secagg_server *server = turn->server;
    uint32_t t = server->bound.t;
    uint64_t weights[STN_BOUND_DEGREE];
    struct shares shares;
    struct stn_rng rng;
    stn_rng_init(&rng, dealer);
    collect(server, dealer, &shares);
    enum stn_code code = shares.n < t ? STN_LIMIT : STN_CORRUPT;
    for (int i = 0; i < TRIES && code == STN_CORRUPT; i++) {
        if (i == 1) {
            true_first(&shares, t);
        }
        for (uint32_t j = 0; i > 1 && j < t; j++) {
            swap(&shares, j, j + (uint32_t)stn_rng_below(&rng, shares.n - j));
        }
        stn_shamir_weigh(weights, shares.xs, t, 0);
        if (stn_shamir_join(secret, weights, shares.shares, t, NULL) == STN_OK &&
            is_meant(server, server->members[dealer], secret, mask_secret)) {
            code = STN_OK;
            if (i > 0 || shares.has_suspects) {
                find_false(turn, dealer, &shares);
            }
        } else if (shares.n == t) {
            break; /* there is no other subset */
        }
    }
    if (code != STN_OK && is_dealers_fault(server, &shares)) {
        suspect(turn, dealer, dealer);
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
