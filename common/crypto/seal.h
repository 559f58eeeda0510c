/* seal: records over the two keys of a handshake. Each carries an explicit 64-bit counter, so that
 * records may be lost, come twice or out of order, and none is ever opened twice.
 *
 * A record is ChaCha20-Poly1305 (RFC 8439) with the nonce 0000 || le64 counter, as Noise's
 * transport messages are (revision 34, section 12); its counter goes beside it in clear. The caller
 * gives the clear frame around it as associated data: what is in it cannot be changed either. No
 * counter seals twice. Nothing allocates.
 * Thread: one at a time. */
#ifndef STN_CRYPTO_SEAL_H
#define STN_CRYPTO_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/noise.h"

#define STN_SEAL_TAG 16
#define STN_SEAL_WINDOW 32 /* counters below the highest that may still arrive, itself included */
#define STN_SEAL_RECORD ((size_t)1 << 20) /* most bytes of what is sealed */
#define STN_SEAL_COUNTERS ((uint64_t)1 << 60) /* counters are below this; then a new handshake */

struct stn_seal {
    uint8_t send[STN_NOISE_KEY], receive[STN_NOISE_KEY];
    uint64_t next;   /* counter of the next put */
    uint64_t end;    /* one past the highest counter opened; 0: none yet */
    uint32_t opened; /* bit i: counter end - 1 - i was opened */
};

/* Counters start at 0 in both directions. The keys are copied. */
void stn_seal_init(struct stn_seal *ret, const struct stn_noise_keys *keys);
void stn_seal_fini(struct stn_seal *seal); /* wipes; NULL and zeroed are fine */

/* The counter that the next put will take, for the frame that is its associated data. */
uint64_t stn_seal_next(const struct stn_seal *seal);

/* Seals size bytes of p into dst, which has room for size + STN_SEAL_TAG; p may be dst.
 * *ret_counter is the record's. STN_LIMIT, and no counter spent, when size or the counters pass
 * their limit. */
enum stn_code stn_seal_put(struct stn_seal *seal, const void *ad, size_t ad_size, const void *p,
                           size_t size, uint8_t *dst, uint64_t *ret_counter,
                           struct stn_err *err) STN_CHECKED;

/* Opens a record of size bytes (what was sealed, and the tag) into dst, of size - STN_SEAL_TAG
 * bytes; p may be dst. STN_CORRUPT for a size that no record has; STN_DENIED for a counter that was
 * opened already, has left the window or is past the limit, and for a record, counter or associated
 * data that is not what was sealed. Then dst is undefined but holds no unverified plain text, and
 * the window is as it was: only a verified record moves it. */
enum stn_code stn_seal_open(struct stn_seal *seal, uint64_t counter, const void *ad, size_t ad_size,
                            const void *p, size_t size, uint8_t *dst,
                            struct stn_err *err) STN_CHECKED;

/* The same without the window, for a caller who knows in another way that each record is taken once:
 * a reply names its request in the associated data, and a request takes one reply. The window stays
 * as it is. */
enum stn_code stn_seal_open_awaited(const struct stn_seal *seal, uint64_t counter, const void *ad,
                                    size_t ad_size, const void *p, size_t size, uint8_t *dst,
                                    struct stn_err *err) STN_CHECKED;

#endif
