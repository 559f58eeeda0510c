/* encode: a device's delta as the integers that secure aggregation adds up, and their sum as a mean
 * (SA1, "Encoding"). The plain coordinator and the simulator use the same integers, so that a sum
 * is the same with and without masks.
 *
 *   v    = w delta
 *          with w = discount min(samples, w_max) / w_max in steps of 2^-12, the share 1 for everybody when w_max is 0
 *   v   *= min(1, C / ||v||)
 *   y    = H D v / sqrt(m), block by block
 *          element i of v is element i div n_blocks of block i mod n_blocks; a block has m values,
 *          zero-padded; H is the Walsh-Hadamard matrix, D the signs of ChaCha20(seed): bit i mod 8
 *          of byte i div 8 is for position i of the blocks laid end to end, 1 is minus
 *   q    = clamp(floor(y / s + U), -L, L)
 *          with s = z C / (sqrt(d) L), z = 6, and U uniform in [0, 1) from the device's own seed
 *   out  = q modulo 2^32, of which the low b bits travel; then the extras below
 *
 * L is the largest with n L <= 2^(b-1) - 1: n members can never wrap the sum. The mean is sum(v) /
 * sum(w).
 *
 * How exact: each member's s q is less than s from its y where it was not clamped, and is y in
 * expectation, with variance at most s^2 / 4. H D / sqrt(m) keeps lengths, so over all P = m
 * n_blocks values
 *
 *   ||sum(w) mean - sum(v)|| < n s sqrt(P)        always,
 *   rms(sum(w) mean - sum(v)) <= s sqrt(n) / 2    in expectation,
 *
 * to which comes the rounding of a mean to float. A clamped value falls short by what lies beyond s
 * L; with six standard deviations of room there are none but in deltas with all their length in a
 * few values, and they are counted.
 *
 * Everything is computed in double in one order: equal inputs give equal bits on every machine.
 * Thread: any. */
#ifndef STN_UPDATE_ENCODE_H
#define STN_UPDATE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STN_ENCODE_SEED 32
#define STN_ENCODE_BLOCK ((size_t)1 << 13)
#define STN_ENCODE_VALUES ((size_t)1 << 30)
#define STN_ENCODE_MEMBERS ((uint32_t)1 << 20)
#define STN_ENCODE_TIERS 16
#define STN_ENCODE_WEIGHT 4096 /* a weight of 1 */
#define STN_ENCODE_CLIP_MIN 1e-12
#define STN_ENCODE_CLIP_MAX 1e12

struct stn_encode_config {
    /* given: the same for every member of a round */
    size_t n_values;    /* d, 1 to STN_ENCODE_VALUES */
    uint32_t n_members; /* n, most members that the sum may have, 1 to STN_ENCODE_MEMBERS */
    uint32_t n_tiers;   /* of adapter rank, 1 to STN_ENCODE_TIERS */
    uint32_t w_max;     /* samples that count; 0: every member weighs 1 */
    unsigned
        bits;    /* b; 0 chooses: 24 to 10^4 members, 32 above. 16 only to 1000, 24 only to 10^4 */
    double clip; /* C, STN_ENCODE_CLIP_MIN to _MAX */
    uint8_t seed[STN_ENCODE_SEED]; /* public: of the signs */
    /* derived by stn_encode_config_for */
    uint32_t bound;     /* L */
    double step;        /* s */
    unsigned limb_bits; /* of the extras */
    size_t block;       /* m: a power of two */
    size_t n_blocks;
};

/* Fills in bits if it is 0, and what is derived. STN_INVALID for a number that makes no sense,
 * STN_LIMIT for one that is too large; then *config is as it was. */
enum stn_code stn_encode_config_for(struct stn_encode_config *config,
                                    struct stn_err *err) STN_CHECKED;

/* Elements of a vector: the padded blocks and the extras. */
size_t stn_encode_length(const struct stn_encode_config *config);

/* What a member adds to the sum beside its delta. */
struct stn_encode_info {
    uint64_t n_samples; /* examples trained on, at least 1 */
    uint32_t tier;      /* below n_tiers */
    double discount;    /* in (0, 1]: what the delta's age leaves of its weight; 0 stands for 1 */
    double loss_sum;    /* over its tokens, in nats, 0 to 2^35 - 1; travels in steps of 2^-8 */
    uint64_t n_tokens;  /* that carried loss, below 2^32 */
};

struct stn_encode_result {
    double norm;     /* of w delta, before the clip */
    uint32_t weight; /* w, in 1 / STN_ENCODE_WEIGHT */
    bool clipped;
    size_t n_clamped; /* values beyond +-s L */
};

/* out has stn_encode_length elements. private_seed is secret, fresh for each delta, and all the
 * randomness there is. STN_INVALID for a delta that is not finite or info that makes no sense,
 * STN_LIMIT for info that is too large, STN_MEMORY; then *out is undefined and *ret as it was. */
enum stn_code stn_encode_delta(const struct stn_encode_config *config, const float *delta,
                               const struct stn_encode_info *info,
                               const uint8_t private_seed[static STN_ENCODE_SEED], uint32_t *out,
                               struct stn_encode_result *ret, struct stn_err *err) STN_CHECKED;

struct stn_encode_totals {
    uint32_t n_members;
    uint32_t n_clipped;
    double weight; /* sum(w) */
    double tier_weight[STN_ENCODE_TIERS];
    double loss_sum;
    uint64_t n_tokens;
};

/* sum is the sum, modulo 2^b or 2^32, of n_expected members' vectors; mean has n_values elements.
 * STN_CORRUPT, when the extras say that it is another's: another count, or numbers that no such
 * members add up to. STN_MEMORY. Nothing is written then. */
enum stn_code stn_encode_decode(const struct stn_encode_config *config, const uint32_t *sum,
                                uint32_t n_expected, float *mean, struct stn_encode_totals *ret,
                                struct stn_err *err) STN_CHECKED;

/* The next round's clip norm: C exp(-0.2 (share_unclipped - quantile)), kept within its limits
 * (Andrew et al., 2021, "Differentially private learning with adaptive clipping"). Both shares are
 * in [0, 1]. */
double stn_encode_adapt(double clip, double share_unclipped, double quantile);

#endif
