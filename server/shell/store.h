/* store: state.db of a coordinator's folder: the core's records, a table for each type; the devices that are enrolled;
 * and the snapshots of the rounds' accumulators. Writes belong to the turn's transaction: none is kept before
 * stn_store_commit has returned STN_OK. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_STORE_H
#define STN_SERVER_SHELL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/ident.h"
#include "server/core/record.h"

struct stn_store;

/* Makes the file when it is missing. The caller closes *ret. */
enum stn_code stn_store_open(struct stn_store **ret, const char *path, struct stn_err *err) STN_CHECKED;
/* What was not committed never was. NULL is fine. */
void stn_store_close(struct stn_store *store);

/* ---- the turn's transaction ---- */

bool stn_store_is_dirty(const struct stn_store *store); /* something waits for the commit */
enum stn_code stn_store_commit(struct stn_store *store, struct stn_err *err) STN_CHECKED;

/* ---- records ---- */

enum stn_code stn_store_save(struct stn_store *store, const struct stn_record *record, struct stn_err *err) STN_CHECKED;
/* Its key alone matters; of secagg its round. One that is not there is fine. */
enum stn_code stn_store_forget(struct stn_store *store, const struct stn_record *record, struct stn_err *err) STN_CHECKED;
/* Every record, for the RESTORE events: a type after the other, in the order of enum stn_record_type. What one borrows
 * is there for the call. */
enum stn_code stn_store_restore(struct stn_store *store, void (*each)(void *user, const struct stn_record *record),
                                void *user, struct stn_err *err) STN_CHECKED;
/* The records of one type, for status pages. */
enum stn_code stn_store_each(struct stn_store *store, enum stn_record_type type,
                             void (*each)(void *user, const struct stn_record *record), void *user,
                             struct stn_err *err) STN_CHECKED;
/* The whole record to the key that is set in *record, which is none of secagg's. STN_NOT_FOUND leaves *record as it
 * was. */
enum stn_code stn_store_get(struct stn_store *store, struct stn_record *record, struct stn_err *err) STN_CHECKED;

/* ---- devices ---- */

struct stn_store_device {
    struct stn_id device;
    uint8_t key[32]; /* the X25519 image of the identity: how a handshake names it */
    uint8_t certificate[STN_IDENT_CERT];
    uint64_t enrolled_ms, seen_ms;
};

/* A device that is there keeps enrolled_ms and seen_ms; its certificate is replaced. STN_EXISTS when another device has
 * the key: the negative of a device's point has the same image. */
enum stn_code stn_store_add_device(struct stn_store *store, const struct stn_store_device *device,
                                   struct stn_err *err) STN_CHECKED;
/* False: no enrolled device has this static key. */
bool stn_store_find_device(struct stn_store *store, const uint8_t key[static 32], struct stn_id *ret);
/* To the minute: a fleet that looks for work and finds none is to cost no commit for each of its devices. */
#define STN_STORE_SEEN_MS 60000
enum stn_code stn_store_saw_device(struct stn_store *store, const struct stn_id *device, uint64_t now_ms,
                                   struct stn_err *err) STN_CHECKED;
enum stn_code stn_store_each_device(struct stn_store *store,
                                    void (*each)(void *user, const struct stn_store_device *device), void *user,
                                    struct stn_err *err) STN_CHECKED;
enum stn_code stn_store_count_devices(struct stn_store *store, uint64_t *ret, struct stn_err *err) STN_CHECKED;

/* ---- snapshots of accumulators (aggregate.h) ---- */

struct stn_store_snapshot {
    struct stn_round_id round;
    uint64_t number; /* of the file */
    struct stn_digest digest;
};

/* Replaces the round's last one; devices (n) are those added since. */
enum stn_code stn_store_save_snapshot(struct stn_store *store, const struct stn_store_snapshot *snapshot,
                                      const struct stn_id *devices, size_t n, struct stn_err *err) STN_CHECKED;
/* STN_NOT_FOUND when the round has none. each gets every device that the snapshot counts. */
enum stn_code stn_store_get_snapshot(struct stn_store *store, const struct stn_round_id *round,
                                     struct stn_store_snapshot *ret,
                                     enum stn_code (*each)(void *user, const struct stn_id *device, struct stn_err *err),
                                     void *user, struct stn_err *err) STN_CHECKED;
enum stn_code stn_store_forget_snapshot(struct stn_store *store, const struct stn_round_id *round,
                                        struct stn_err *err) STN_CHECKED;

#endif
