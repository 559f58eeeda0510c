/* fetch: brings a blob into the store, several chunks at a time, in runs, from where an earlier try stopped. Every chunk is
 * checked against its leaf before it is written. Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_FETCH_H
#define STN_CLIENT_SHELL_FETCH_H

#include "blob/blob.h"
#include "client/shell/dialog.h"

#define STN_FETCH_WINDOW 2 /* messages, of STN_MSG_CHUNKS each */
#define STN_FETCH_MS 30000 /* for one chunk */

struct stn_fetch;
struct stn_fetch_slot {
    struct stn_dialog_ask ask;
    struct stn_fetch *fetch;
    uint32_t index, n; /* chunks that it asks for */
};

/* Zeroed with the first four set is ready. */
struct stn_fetch {
    struct stn_dialog *dialog;
    const struct stn_blob_store *store;
    /* Once for each begin, unless it is stopped; it may begin again. err says what is wrong unless code is STN_OK. */
    void (*told)(void *user, enum stn_code code, const struct stn_err *err);
    void *user;

    bool is_busy;
    struct stn_blob_ref blob;
    struct stn_blob_incoming incoming;
    size_t next; /* the first chunk that was not asked for */
    uint32_t n_out;
    struct stn_fetch_slot slots[STN_FETCH_WINDOW];
};

/* A blob that is in the store is told at once: from within this call. */
void stn_fetch_begin(struct stn_fetch *fetch, const struct stn_blob_ref *blob);
/* Keeps what has come, and tells nothing. One that is not busy is fine. */
void stn_fetch_stop(struct stn_fetch *fetch);

#endif
