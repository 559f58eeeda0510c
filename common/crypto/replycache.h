/* replycache: the sealed replies to a session's last requests, so that a request that comes again
 * gets the same bytes again and is never carried out twice.
 *
 * The order for a record that arrives: find; if there is a reply, send it and be done. Otherwise
 * stn_seal_open, which refuses a counter it has opened; carry the request out; seal the reply; keep
 * it if the request changed something. A repeated request is one with the same counter and the same
 * bytes, and those were verified when they came first. A reply that is not kept (a read's, or a
 * bigger one) is asked for afresh under a new counter.
 *
 * At most STN_SEAL_WINDOW replies of STN_REPLYCACHE_SIZE bytes: 128 KiB a session, and commonly far
 * less. Thread: one at a time. */
#ifndef STN_CRYPTO_REPLYCACHE_H
#define STN_CRYPTO_REPLYCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/digest.h"
#include "crypto/seal.h"

#define STN_REPLYCACHE_SIZE 4096 /* most bytes of a reply that is kept */

/* Zeroed is empty and ready. */
struct stn_replycache {
    uint64_t end; /* one past the highest request counter kept; 0: none yet */
    struct {
        uint64_t counter;
        struct stn_digest request;
        uint8_t *reply; /* NULL: the place is free */
        size_t size;
    } kept[STN_SEAL_WINDOW]; /* request number c in place c mod STN_SEAL_WINDOW */
};

/* Keeps a copy of the sealed reply to a request that was opened: its counter, and the digest of its
 * whole record as it came. Requests that the window has left are forgotten. A reply to one of
 * those, one that is too big or a second one to the same request is not kept, which is no error.
 * STN_MEMORY: not kept, and the reply may go out all the same. */
enum stn_code stn_replycache_keep(struct stn_replycache *cache, uint64_t counter,
                                  const struct stn_digest *request, const void *reply, size_t size,
                                  struct stn_err *err) STN_CHECKED;

/* Whether this very request has been answered; *ret_reply is the cache's, until its next keep. */
bool stn_replycache_find(const struct stn_replycache *cache, uint64_t counter,
                         const struct stn_digest *request, const uint8_t **ret_reply,
                         size_t *ret_size);

void stn_replycache_fini(struct stn_replycache *cache);

#endif
