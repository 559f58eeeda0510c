/* derive: every key and seed of SA1, from what, under which label ("Keys and names" of the design).
 * All of them depend on cfg, which is H of the round's config, and all but the mask key on R, the
 * root of the roster: who was shown another config or another roster shares no key with anybody.
 * Numbers in what is hashed are little endian, 32 bits. Everything here but the graph's seed and
 * the commitment is secret, and the caller's to wipe. Thread: any. */
#ifndef STN_SECAGG_DERIVE_H
#define STN_SECAGG_DERIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/digest.h"

struct stn_derive_round {
    struct stn_digest cfg;
    struct stn_digest root; /* R */
    uint32_t n;             /* members */
};

/* skM = clamp(KDF(mseed, "SA1/skM", cfg)): what t shares of mseed give back. */
void stn_derive_mask_secret(uint8_t ret[static 32], const uint8_t mseed[static 32],
                            const struct stn_digest *cfg);

/* g = KDF(R, "SA1/graph", cfg || n) */
void stn_derive_graph_seed(uint8_t ret[static 32], const struct stn_derive_round *round);

/* Of what from seals for to: KDF(X25519(secret, theirs), "SA1/enc", cfg || R || from || to). Both
 * have it: the one from its own secret and the other's E, the other likewise. ret_out is of what I
 * seal for them, ret_in of what they seal for me. STN_DENIED for a public key of low order. */
enum stn_code stn_derive_transport(uint8_t ret_out[static 32], uint8_t ret_in[static 32],
                                   const struct stn_derive_round *round,
                                   const uint8_t secret[static 32], const uint8_t theirs[static 32],
                                   const uint8_t me[static 32], const uint8_t them[static 32],
                                   struct stn_err *err) STN_CHECKED;

/* A member of a pair: its index in the roster and its M. */
struct stn_derive_party {
    uint32_t index;
    const uint8_t *mask_key;
};

/* s_uv = KDF(X25519(skM_u, M_v), "SA1/mask", cfg || R || lo || hi || M_lo || M_hi), the same from
 * either side. secret is skM of mine. STN_DENIED as above. */
enum stn_code stn_derive_pair(uint8_t ret[static 32], const struct stn_derive_round *round,
                              const uint8_t secret[static 32], const struct stn_derive_party *mine,
                              const struct stn_derive_party *theirs,
                              struct stn_err *err) STN_CHECKED;

/* H("SA1/b" || b): what a self seed that t shares gave back is held against. */
struct stn_digest stn_derive_commitment(const uint8_t self_seed[static 32]);

#endif
