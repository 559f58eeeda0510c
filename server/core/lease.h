/* lease: who trains what until when. A book is the leases of one task. A lease is *live* until it
 * expires, is spent (its delta went into an upload) or its version is too old; one whose device
 * sits in an open round is *held*: it does not expire before the round ends. */
#ifndef STN_SERVER_CORE_LEASE_H
#define STN_SERVER_CORE_LEASE_H

#include "base/list.h"
#include "base/map.h"
#include "server/core/emit.h"

struct stn_lease {
    struct stn_list link;    /* in the book, by number: the order of expiry */
    struct stn_lease *older; /* of the same device */
    struct stn_lease_record record;
    bool held;
};

struct stn_lease_book {
    struct stn_list by_number;
    struct stn_map numbers; /* number -> lease */
    struct stn_map devices; /* device -> its newest lease */
};

void stn_lease_book_init(struct stn_lease_book *book);
void stn_lease_book_fini(struct stn_lease_book *book);

/* Adds a lease whose number is not in the book. Numbers mostly rise; a smaller one finds its place.
 */
struct stn_lease *stn_lease_add(struct stn_lease_book *book, const struct stn_lease_record *record);
struct stn_lease *stn_lease_get(const struct stn_lease_book *book, uint64_t number);
/* The device's unspent, unexpired lease for the version, or NULL. */
struct stn_lease *stn_lease_of(const struct stn_lease_book *book, const struct stn_id *device,
                               uint64_t version, uint64_t now_ms);

/* Takes it out of the book, frees it, and says FORGET. */
void stn_lease_forget(struct stn_lease_book *book, struct stn_lease *lease, struct stn_emit *emit);
/* Forgets those that have expired and are not held; how many of them were unspent and for the
 * version. */
uint32_t stn_lease_expire(struct stn_lease_book *book, uint64_t version, struct stn_emit *emit);
/* Forgets those for versions before oldest, held or not. */
void stn_lease_forget_before(struct stn_lease_book *book, uint64_t oldest, struct stn_emit *emit);

/* Unspent leases for the version. */
uint32_t stn_lease_count(const struct stn_lease_book *book, uint64_t version);
/* When the next one that is not held expires; UINT64_MAX: none. */
uint64_t stn_lease_next_ms(const struct stn_lease_book *book);

#endif
