/* bench_fleet: the devices of `bench secagg`, so many on one machine.
 *
 * The first STN_BENCH_FLEET_WHOLE members are whole devices (bench_device.h): the state machine of a device with all its
 * masks. The others say what such a device would, message for message and signature for signature, from the same keys
 * and shares, but are cheaper to play: what nobody opens is not sealed, what is sealed among them is under keys that
 * cost no X25519, what they hear is not verified, and those pair masks whose other half is in another upload are left out of both, which changes no bit of the sum (is_full puts them
 * in). So everything that a coordinator must verify, add, rebuild and remove is there. Members share the whole devices'
 * clear vectors, in turns.
 *
 * Memory is taken by new: what the process takes after that is not the fleet's. Thread: the caller's, but deal and add,
 * which only touch the members or elements that they are given. */
#ifndef STN_CLIENT_CLI_BENCH_FLEET_H
#define STN_CLIENT_CLI_BENCH_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "client/core/secagg_client.h"
#include "secagg/derive.h"
#include "secagg/roster.h"
#include "secagg/share.h"
#include "update/encode.h"

#define STN_BENCH_FLEET_WHOLE 3 /* below STN_BOUND_MEMBERS_MIN */

struct stn_bench_fleet_config {
    uint32_t n, n_lost; /* members; of them lost between their shares and their upload */
    size_t n_values;
    uint64_t seed;
    bool is_full;
};

struct stn_bench_fleet_member {
    struct stn_ident ident;
    struct stn_ident_cert cert;
    struct stn_secagg_client_entropy entropy;
    uint8_t mask_secret[32];
    struct stn_advert advert;
    uint32_t index; /* in the roster */
    bool is_lost, is_whole;
};

struct stn_bench_fleet {
    struct stn_bench_fleet_config config;
    struct stn_terms terms;
    struct stn_encode_config encoding;
    struct stn_ident directory, coordinator;
    struct stn_bound bound;
    struct stn_derive_round round;
    struct stn_bench_fleet_member *members;
    uint32_t *order;                                    /* member by place in the roster */
    uint32_t *lists;                                    /* k neighbours by place */
    struct stn_shamir_share *shares;                    /* k by place of the dealer: what each neighbour opens */
    float *deltas[STN_BENCH_FLEET_WHOLE];               /* n_values */
    uint8_t roundings[STN_BENCH_FLEET_WHOLE][STN_ENCODE_SEED];
    uint32_t *vectors[STN_BENCH_FLEET_WHOLE];           /* their encodings */
    struct stn_sealed *sealed;                          /* k, of the message of share */
    uint32_t *slots;
    struct stn_opened *opened;
};

/* Takes what is inside of *fleet too when it fails: the caller ends it with fini in any case. STN_LIMIT for a number of
 * members that has no graph. */
enum stn_code stn_bench_fleet_init(struct stn_bench_fleet *fleet, const struct stn_bench_fleet_config *config,
                                   struct stn_err *err) STN_CHECKED;
void stn_bench_fleet_fini(struct stn_bench_fleet *fleet);

/* The members have their places: the graph of the roster with this root. */
enum stn_code stn_bench_fleet_seat(struct stn_bench_fleet *fleet, const uint8_t root[static 32],
                                   struct stn_err *err) STN_CHECKED;

/* What member i says; what it points to lasts until the next call. */
void stn_bench_fleet_advertise(const struct stn_bench_fleet *fleet, uint32_t i, struct stn_msg *ret);
enum stn_code stn_bench_fleet_share(struct stn_bench_fleet *fleet, uint32_t i, struct stn_msg *ret,
                                    struct stn_err *err) STN_CHECKED;
void stn_bench_fleet_put_end(const struct stn_bench_fleet *fleet, uint32_t i, const struct stn_digest *upload,
                             struct stn_msg *ret);
void stn_bench_fleet_ack(const struct stn_bench_fleet *fleet, uint32_t i, const struct stn_roster_survivors *survivors,
                         struct stn_msg *ret);
enum stn_code stn_bench_fleet_unmask(struct stn_bench_fleet *fleet, uint32_t i, const struct stn_digest *survivors,
                                     struct stn_msg *ret, struct stn_err *err) STN_CHECKED;

/* The shares that neighbours will open of the secrets of member i, which is seated and will share: of the self seed, or of
 * the mask seed when it is going to be lost. */
enum stn_code stn_bench_fleet_deal(struct stn_bench_fleet *fleet, uint32_t i, struct stn_err *err) STN_CHECKED;

/* The masks in the upload of member i; ret has room for k + 1. */
enum stn_code stn_bench_fleet_masks(const struct stn_bench_fleet *fleet, uint32_t i, struct stn_mask *ret, size_t *ret_n,
                                    struct stn_err *err) STN_CHECKED;
const uint32_t *stn_bench_fleet_vector(const struct stn_bench_fleet *fleet, uint32_t i);

/* How many survivors have vector v: what their plain sum is made of. */
uint32_t stn_bench_fleet_times(const struct stn_bench_fleet *fleet, uint32_t v);

/* How far a sum of all survivors' vectors, modulo 2^b, is from the plain one: the largest of the elements' differences. */
uint64_t stn_bench_fleet_error(const struct stn_bench_fleet *fleet, const uint32_t *sum);

#endif
