#include "client/cli/bench_fleet.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "crypto/dh.h"
#include "crypto/entropy.h"
#include "secagg/harary.h"

#define N_MIN 16 /* of a round; half of a small one */
#define STAGE_MS 180000

/* ---- members ---- */

static void draw(struct stn_rng *rng, void *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)p)[i] = (uint8_t)stn_rng_u64(rng);
    }
}

static void draw_ident(struct stn_rng *rng, struct stn_ident *ret)
{
    uint8_t seed[STN_IDENT_SEED];
    draw(rng, seed, sizeof seed);
    stn_ident_from_seed(ret, seed);
}

static void draw_member(struct stn_bench_fleet *fleet, uint32_t i, struct stn_rng *rng)
{
    struct stn_bench_fleet_member *member = &fleet->members[i];
    draw_ident(rng, &member->ident);
    draw(rng, &member->entropy, sizeof member->entropy);
    draw(rng, &member->cert.token, sizeof member->cert.token);
    memcpy(member->cert.device, member->ident.pub, sizeof member->cert.device);
    member->cert.issued_at_s = 1;
    stn_ident_cert_sign(&member->cert, &fleet->directory);
    stn_derive_mask_secret(member->mask_secret, member->entropy.mask_seed, &fleet->terms.cfg);
    stn_dh_public(member->advert.transport, member->entropy.transport);
    stn_dh_public(member->advert.mask, member->mask_secret);
    memcpy(member->advert.nonce, member->entropy.nonce, sizeof member->advert.nonce);
    member->advert.version[0] = (uint8_t)fleet->terms.bases[0];
    stn_roster_advert_sign(&member->advert, &fleet->terms.cfg, &member->ident, &member->cert);
    member->is_whole = i < STN_BENCH_FLEET_WHOLE;
}

static void draw_members(struct stn_bench_fleet *fleet, struct stn_rng *rng)
{
    uint32_t n = fleet->config.n, n_light = n - STN_BENCH_FLEET_WHOLE;
    for (uint32_t i = 0; i < n; i++) {
        fleet->order[i] = i;
        draw_member(fleet, i, rng);
    }
    stn_rng_shuffle(rng, fleet->order + STN_BENCH_FLEET_WHOLE, n_light, sizeof *fleet->order);
    for (uint32_t i = 0; i < fleet->config.n_lost; i++) {
        fleet->members[fleet->order[STN_BENCH_FLEET_WHOLE + i]].is_lost = true;
    }
}

static enum stn_code draw_vectors(struct stn_bench_fleet *fleet, struct stn_rng *rng, struct stn_err *err)
{
    const struct stn_encode_info info = {.n_samples = 1};
    double scale = 0.9 / sqrt((double)fleet->config.n_values);
    for (int v = 0; v < STN_BENCH_FLEET_WHOLE; v++) {
        struct stn_encode_result result;
        fleet->deltas[v] = stn_mem_new(fleet->config.n_values, sizeof *fleet->deltas[v]);
        fleet->vectors[v] = stn_mem_aligned(stn_encode_length(&fleet->encoding), sizeof *fleet->vectors[v]);
        if (fleet->deltas[v] == NULL || fleet->vectors[v] == NULL) {
            return stn_err_set(err, STN_MEMORY, "no memory for vectors of %zu values", fleet->config.n_values);
        }
        for (size_t i = 0; i < fleet->config.n_values; i++) {
            fleet->deltas[v][i] = (float)(scale * stn_rng_normal(rng));
        }
        draw(rng, fleet->roundings[v], sizeof fleet->roundings[v]);
        enum stn_code code = stn_encode_delta(&fleet->encoding, fleet->deltas[v], &info, fleet->roundings[v],
                                              fleet->vectors[v], &result, err);
        if (code != STN_OK) {
            return code;
        }
    }
    return STN_OK;
}

static enum stn_code take_memory(struct stn_bench_fleet *fleet, struct stn_err *err)
{
    size_t n = fleet->config.n, k = fleet->bound.k;
    fleet->members = stn_mem_new(n, sizeof *fleet->members);
    fleet->order = stn_mem_new(n, sizeof *fleet->order);
    fleet->lists = stn_mem_new(n, k * sizeof *fleet->lists);
    fleet->shares = stn_mem_new(n, k * sizeof *fleet->shares);
    fleet->sealed = stn_mem_new(k, sizeof *fleet->sealed);
    fleet->slots = stn_mem_new(k, sizeof *fleet->slots);
    fleet->opened = stn_mem_new(k, sizeof *fleet->opened);
    if (fleet->members == NULL || fleet->order == NULL || fleet->lists == NULL || fleet->shares == NULL ||
        fleet->sealed == NULL || fleet->slots == NULL || fleet->opened == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu devices", n);
    }
    memset(fleet->lists, 0xff, n * k * sizeof *fleet->lists); /* it is here now, and in no later measurement */
    memset(fleet->shares, 0xff, n * k * sizeof *fleet->shares);
    return STN_OK;
}

enum stn_code stn_bench_fleet_init(struct stn_bench_fleet *fleet, const struct stn_bench_fleet_config *config,
                                   struct stn_err *err)
{
    struct stn_rng rng;
    *fleet = (struct stn_bench_fleet){.config = *config};
    fleet->terms = (struct stn_terms){.n_bases = 1, .bases = {1}, .n_max = config->n, .params = STN_BOUND_DEFAULTS,
                                      .join_ms = STAGE_MS, .share_ms = STAGE_MS, .upload_ms = STAGE_MS,
                                      .ack_ms = STAGE_MS, .unmask_ms = STAGE_MS};
    fleet->terms.n_min = config->n / 2 < N_MIN ? (config->n + 1) / 2 : N_MIN;
    fleet->encoding = (struct stn_encode_config){.n_values = config->n_values, .n_members = config->n, .n_tiers = 1,
                                                 .clip = 1};
    stn_rng_init(&rng, config->seed);
    draw(&rng, &fleet->terms.round, sizeof fleet->terms.round);
    draw(&rng, &fleet->terms.cfg, sizeof fleet->terms.cfg);
    draw(&rng, fleet->encoding.seed, sizeof fleet->encoding.seed);
    draw_ident(&rng, &fleet->directory);
    draw_ident(&rng, &fleet->coordinator);
    enum stn_code code = stn_bound_for(config->n, &fleet->terms.params, &fleet->bound, err);
    code = code != STN_OK ? code : stn_encode_config_for(&fleet->encoding, err);
    code = code != STN_OK ? code : take_memory(fleet, err);
    if (code == STN_OK) {
        draw_members(fleet, &rng);
        code = draw_vectors(fleet, &rng, err);
    }
    return code;
}

void stn_bench_fleet_fini(struct stn_bench_fleet *fleet)
{
    for (int v = 0; v < STN_BENCH_FLEET_WHOLE; v++) {
        stn_mem_free(fleet->deltas[v]);
        stn_mem_free(fleet->vectors[v]);
    }
    stn_mem_free(fleet->members);
    stn_mem_free(fleet->order);
    stn_mem_free(fleet->lists);
    stn_mem_free(fleet->shares);
    stn_mem_free(fleet->sealed);
    stn_mem_free(fleet->slots);
    stn_mem_free(fleet->opened);
    *fleet = (struct stn_bench_fleet){0};
}

/* ---- the graph ---- */

enum stn_code stn_bench_fleet_seat(struct stn_bench_fleet *fleet, const uint8_t root[static 32], struct stn_err *err)
{
    uint8_t seed[32];
    struct stn_harary graph;
    uint32_t n = fleet->config.n, k = fleet->bound.k;
    fleet->round.cfg = fleet->terms.cfg;
    fleet->round.n = n;
    memcpy(fleet->round.root.bytes, root, sizeof fleet->round.root.bytes);
    stn_derive_graph_seed(seed, &fleet->round);
    enum stn_code code = stn_harary_init(&graph, n, k, seed, err);
    if (code != STN_OK) {
        return code;
    }
    for (uint32_t i = 0; i < n; i++) {
        fleet->order[fleet->members[i].index] = i;
        stn_harary_neighbours(&graph, i, fleet->lists + (size_t)i * k);
    }
    stn_harary_fini(&graph);
    return STN_OK;
}

/* The member at a slot of a place. */
static const struct stn_bench_fleet_member *neighbour(const struct stn_bench_fleet *fleet, uint32_t place, uint32_t slot)
{
    return &fleet->members[fleet->order[fleet->lists[(size_t)place * fleet->bound.k + slot]]];
}

/* ---- what they say ---- */

void stn_bench_fleet_advertise(const struct stn_bench_fleet *fleet, uint32_t i, struct stn_msg *ret)
{
    const struct stn_bench_fleet_member *member = &fleet->members[i];
    *ret = (struct stn_msg){.type = STN_MSG_ADVERTISE,
                            .advertise = {.round = fleet->terms.round, .config = fleet->terms.cfg, .has_advert = true,
                                          .advert = member->advert}};
    stn_ident_sign(ret->advertise.signature, &member->ident, "SA1/advertise", fleet->terms.cfg.bytes,
                   sizeof fleet->terms.cfg.bytes);
}

/* The coefficients of both secrets of a member, of the self seed first, as a device draws them. */
static stn_shamir_coefficients *draw_coefficients(const struct stn_bench_fleet *fleet,
                                                  const struct stn_bench_fleet_member *member, struct stn_err *err)
{
    size_t n = 2 * ((size_t)fleet->bound.t - 1);
    struct stn_stream stream;
    stn_shamir_coefficients *ret = stn_mem_new(n + 1, sizeof *ret);
    if (ret == NULL) {
        (void)stn_err_set(err, STN_MEMORY, "no memory for a polynomial");
        return NULL;
    }
    stn_stream_init(&stream, member->entropy.deal, 0);
    stn_shamir_draw(ret, n, &stream);
    stn_stream_fini(&stream);
    return ret;
}

/* The key of the box that the holder will open. Among light members it is made of what both have, without X25519. */
static enum stn_code key_of(const struct stn_bench_fleet *fleet, const struct stn_bench_fleet_member *dealer,
                            const struct stn_bench_fleet_member *holder, bool of_dealer, uint8_t ret[static 32],
                            struct stn_err *err)
{
    const struct stn_bench_fleet_member *mine = of_dealer ? dealer : holder, *theirs = of_dealer ? holder : dealer;
    uint8_t transport[32], other[32];
    enum stn_code code = STN_OK;
    if (dealer->is_whole || holder->is_whole) {
        code = stn_derive_transport(of_dealer ? transport : other, of_dealer ? other : transport, &fleet->round,
                                    mine->entropy.transport, theirs->advert.transport, mine->advert.id, theirs->advert.id, err);
    } else {
        stn_digest_kdf(transport, dealer->entropy.transport, "bench", holder->advert.id, sizeof holder->advert.id);
    }
    if (code == STN_OK) {
        stn_share_key(ret, transport, dealer->is_lost ? STN_SHARE_OF_MASK : STN_SHARE_OF_SELF);
    }
    return code;
}

enum stn_code stn_bench_fleet_share(struct stn_bench_fleet *fleet, uint32_t i, struct stn_msg *ret, struct stn_err *err)
{
    const struct stn_bench_fleet_member *member = &fleet->members[i];
    enum stn_code code = STN_OK;
    for (uint32_t slot = 0; slot < fleet->bound.k && code == STN_OK; slot++) {
        const struct stn_bench_fleet_member *to = neighbour(fleet, member->index, slot);
        const struct stn_share_place place = {member->index, to->index, slot};
        uint8_t key[32];
        code = key_of(fleet, member, to, true, key, err);
        if (code == STN_OK) {
            stn_share_seal(&fleet->sealed[slot], member->is_lost ? STN_SHARE_OF_MASK : STN_SHARE_OF_SELF, key, &place,
                           &fleet->shares[(size_t)member->index * fleet->bound.k + slot]);
        }
    }
    *ret = (struct stn_msg){.type = STN_MSG_SHARE,
                            .share = {.round = fleet->terms.round,
                                      .commitment = stn_derive_commitment(member->entropy.self_seed),
                                      .n_sealed = fleet->bound.k, .sealed = fleet->sealed}};
    stn_roster_share_sign(ret->share.signature, &fleet->round, &ret->share.commitment, fleet->sealed, fleet->bound.k,
                          &member->ident);
    return code;
}

void stn_bench_fleet_put_end(const struct stn_bench_fleet *fleet, uint32_t i, const struct stn_digest *upload,
                             struct stn_msg *ret)
{
    *ret = (struct stn_msg){.type = STN_MSG_PUT_END, .put_end = {.round = fleet->terms.round, .digest = *upload}};
    stn_roster_upload_sign(ret->put_end.signature, &fleet->terms.cfg, upload, &fleet->members[i].ident);
}

void stn_bench_fleet_ack(const struct stn_bench_fleet *fleet, uint32_t i, const struct stn_roster_survivors *survivors,
                         struct stn_msg *ret)
{
    *ret = (struct stn_msg){.type = STN_MSG_ACK, .ack = {.round = fleet->terms.round, .survivors = survivors->root}};
    stn_roster_survivors_sign(ret->ack.signature, STN_ROSTER_ACK, &fleet->round, survivors, &fleet->members[i].ident);
}

enum stn_code stn_bench_fleet_unmask(struct stn_bench_fleet *fleet, uint32_t i, const struct stn_digest *survivors,
                                     struct stn_msg *ret, struct stn_err *err)
{
    const struct stn_bench_fleet_member *member = &fleet->members[i];
    uint32_t k = fleet->bound.k;
    enum stn_code code = STN_OK;
    for (uint32_t slot = 0; slot < k && code == STN_OK; slot++) {
        fleet->slots[slot] = slot;
        code = key_of(fleet, neighbour(fleet, member->index, slot), member, false, fleet->opened[slot].key, err);
    }
    *ret = (struct stn_msg){.type = STN_MSG_UNMASK,
                            .unmask = {.round = fleet->terms.round, .survivors = *survivors, .n_slots = k,
                                       .slots = fleet->slots, .n_opened = k, .opened = fleet->opened}};
    return code;
}

enum stn_code stn_bench_fleet_deal(struct stn_bench_fleet *fleet, uint32_t i, struct stn_err *err)
{
    const struct stn_bench_fleet_member *member = &fleet->members[i];
    size_t k = fleet->bound.k, n = fleet->bound.t - 1;
    stn_shamir_coefficients *coefficients = draw_coefficients(fleet, member, err);
    if (coefficients == NULL) {
        return STN_MEMORY;
    }
    const stn_shamir_coefficients *of = (const stn_shamir_coefficients *)coefficients + (member->is_lost ? n : 0);
    for (uint32_t slot = 0; slot < fleet->bound.k; slot++) {
        stn_shamir_deal(&fleet->shares[member->index * k + slot],
                        member->is_lost ? member->entropy.mask_seed : member->entropy.self_seed, of, n, slot + 1);
    }
    stn_mem_free(coefficients);
    return STN_OK;
}

/* ---- vectors ---- */

enum stn_code stn_bench_fleet_masks(const struct stn_bench_fleet *fleet, uint32_t i, struct stn_mask *ret, size_t *ret_n,
                                    struct stn_err *err)
{
    const struct stn_bench_fleet_member *member = &fleet->members[i];
    const struct stn_derive_party mine = {member->index, member->advert.mask};
    size_t n = 1;
    ret[0] = (struct stn_mask){0};
    memcpy(ret[0].seed, member->entropy.self_seed, sizeof ret[0].seed);
    for (uint32_t slot = 0; slot < fleet->bound.k; slot++) {
        const struct stn_bench_fleet_member *with = neighbour(fleet, member->index, slot);
        if (!with->is_lost && !with->is_whole && !fleet->config.is_full) {
            continue; /* it would add what this one takes away */
        }
        const struct stn_derive_party theirs = {with->index, with->advert.mask};
        ret[n] = (struct stn_mask){.is_minus = with->index < member->index};
        enum stn_code code = stn_derive_pair(ret[n++].seed, &fleet->round, member->mask_secret, &mine, &theirs, err);
        if (code != STN_OK) {
            return code;
        }
    }
    *ret_n = n;
    return STN_OK;
}

const uint32_t *stn_bench_fleet_vector(const struct stn_bench_fleet *fleet, uint32_t i)
{
    return fleet->vectors[i % STN_BENCH_FLEET_WHOLE];
}

uint32_t stn_bench_fleet_times(const struct stn_bench_fleet *fleet, uint32_t v)
{
    uint32_t n = 0;
    for (uint32_t i = v; i < fleet->config.n; i += STN_BENCH_FLEET_WHOLE) {
        n += !fleet->members[i].is_lost;
    }
    return n;
}

uint64_t stn_bench_fleet_error(const struct stn_bench_fleet *fleet, const uint32_t *sum)
{
    uint32_t times[STN_BENCH_FLEET_WHOLE];
    unsigned unused = 32 - fleet->encoding.bits;
    uint64_t worst = 0;
    for (uint32_t v = 0; v < STN_BENCH_FLEET_WHOLE; v++) {
        times[v] = stn_bench_fleet_times(fleet, v);
    }
    for (size_t e = 0; e < stn_encode_length(&fleet->encoding); e++) {
        uint32_t difference = sum[e];
        for (int v = 0; v < STN_BENCH_FLEET_WHOLE; v++) {
            difference -= times[v] * fleet->vectors[v][e];
        }
        difference <<= unused; /* modulo 2^b: either way round, the shorter */
        difference = (difference > UINT32_MAX / 2 ? 0 - difference : difference) >> unused;
        worst = difference > worst ? difference : worst;
    }
    return worst;
}
