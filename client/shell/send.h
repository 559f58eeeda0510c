/* send: the packed vector, which lies in memory, to the coordinator: put_begin says what is missing, and that leaves, several
 * chunks at a time, in runs. Each run is acknowledged once it is kept. One chunk is a run when the owner says how fast.
 * Thread: the loop's. */
#ifndef STN_CLIENT_SHELL_SEND_H
#define STN_CLIENT_SHELL_SEND_H

#include "client/shell/dialog.h"

#define STN_SEND_WINDOW 2 /* messages, of STN_MSG_CHUNKS each */
#define STN_SEND_MS 30000 /* for one chunk */

struct stn_send;
struct stn_send_slot {
    struct stn_dialog_ask ask;
    struct stn_send *send;
};

/* Zeroed with the first five set is ready. */
struct stn_send {
    struct stn_loop *loop;
    struct stn_dialog *dialog;
    uint64_t kbps; /* 0: not paced */
    void (*told)(void *user, enum stn_code code); /* as struct stn_fetch */
    void *user;

    bool is_busy;
    struct stn_round_id round;
    uint64_t size;
    const uint8_t *data; /* (size) */
    uint32_t *missing;
    size_t n_missing, next;
    uint32_t n_out;
    uint64_t next_ms; /* the pace's */
    struct stn_timer timer;
    struct stn_dialog_ask begin;
    struct stn_send_slot slots[STN_SEND_WINDOW];
};

/* data stays where it is until it tells, or is stopped. */
void stn_send_begin(struct stn_send *send, const struct stn_round_id *round, const uint8_t *data, uint64_t size);
/* Tells nothing. One that is not busy is fine. */
void stn_send_stop(struct stn_send *send);

#endif
