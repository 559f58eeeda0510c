/* bound: how many neighbours a device of SA1 has, and how many of them must stand together to
 * open one of its secrets. Source: Bell, Bonawitz, Gascon, Lepoint, Raykova, "Secure single-server
 * aggregation with (poly)logarithmic overhead", CCS 2020, sections 3 and 4.
 *
 * Of n devices A = floor(gamma n) are the adversary's and D = floor(delta n) are lost, B = A + D,
 * S = ceil((1 - delta) n). The degree k is the smallest even number, and the threshold t, such that
 *
 *   ln[n (n-k-1) / 2] + ln[B! (n-k)! / (n! (B-k)!)] < -(sigma+1) ln 2     the honest stay connected
 *   t1 = min{x : Pr[Hyp(n, A, k) > x] <= 2^-(sigma+1) / n}                so many may be adverse
 *   t2 = max{x : Pr[Hyp(n, S, k) < x] < 2^-eta / n}                       so many remain
 *   t  = max(t1 + 1, 2) <= t2                        against a server that follows the protocol
 *   t  = ceil((t1 + k - 1.25) / 2) + 1 <= t2         against one that lies: 2 t > k + t1, so that
 *                                                    no two disjoint quorums exist
 *
 *   most = min{x : Pr[Hyp(n, A, k) > x] <= 2^-eta / n}    t1 of completion: what names a liar
 *
 * Below n = 64 the graph is complete: k = n - 1, t = floor((n + A) / 2) + 1, most = A.
 *
 * Logarithms are made here, of products and sums alone in one order, so that every machine finds
 * the same k and t. Thread: any. */
#ifndef STN_SECAGG_BOUND_H
#define STN_SECAGG_BOUND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define STN_BOUND_MEMBERS_MIN 5
#define STN_BOUND_MEMBERS ((uint32_t)1 << 20)
#define STN_BOUND_COMPLETE                                                                         \
    64 /* from so many members on, not everybody is everybody's neighbour                          \
        */
#define STN_BOUND_DEGREE 1024
/* Agents refuse rounds that withstand fewer adversaries, or to fewer bits: no owner can lower these, and no task may. */
#define STN_BOUND_GAMMA_LEAST 0.10
#define STN_BOUND_SIGMA_LEAST 64

struct stn_bound_params {
    double gamma;   /* share of the roster that may be the adversary's, 0 to 0.5 */
    double delta;   /* share that may be lost after sharing, 0 to 0.5 */
    uint32_t eta;   /* a round fails by chance once in 2^eta, 1 to 256 */
    uint32_t sigma; /* a device is betrayed by chance once in 2^sigma, 1 to 256 */
};

#define STN_BOUND_DEFAULTS                                                                         \
    (struct stn_bound_params)                                                                      \
    {                                                                                              \
        .gamma = 0.10, .delta = 0.10, .eta = 30, .sigma = 64                                       \
    }

struct stn_bound {
    uint32_t k; /* neighbours of a device */
    uint32_t t; /* shares that give a secret back, acknowledgements that make a quorum */
    uint32_t most; /* of the k so many may be the adversary's: in any neighbourhood of the round
                      there are more once in 2^eta */
};

/* STN_INVALID for parameters that make no sense, STN_LIMIT for too few or too many members, and
 * when no degree up to STN_BOUND_DEGREE will do. */
enum stn_code stn_bound_for(uint32_t n, const struct stn_bound_params *params,
                            struct stn_bound *ret, struct stn_err *err) STN_CHECKED;

/* The graph of n members for n at least STN_BOUND_COMPLETE, or fewer; lies says which server. For
 * the known answers. */
enum stn_code stn_bound_find(uint32_t n, const struct stn_bound_params *params, bool lies,
                             struct stn_bound *ret, struct stn_err *err) STN_CHECKED;

#endif
