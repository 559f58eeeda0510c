/* channel_session: one session of the coordinator's end: its keys, and what its last 32 records
 * were and got. The rules of repetition are channel_server.h's; here is what keeps them. Thread:
 * one at a time. */
#ifndef STN_CHANNEL_CHANNEL_SESSION_H
#define STN_CHANNEL_CHANNEL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "channel/channel_server.h"
#include "crypto/noise.h"
#include "crypto/seal.h"
#include "proto/frame.h"
#include "proto/msg.h"

struct stn_channel_session_window; /* only made by the first verified record */

struct stn_channel_session {
    struct stn_list link; /* of the table that it is in */
    uint64_t id;
    struct stn_id device;
    uint32_t version; /* of the protocol */
    bool is_open;     /* a record has been verified */
    struct stn_seal seal;
    struct stn_channel_session_window *window;
};

/* NULL when there is no memory. */
struct stn_channel_session *stn_channel_session_new(uint64_t id, const struct stn_id *device,
                                                    uint32_t version,
                                                    const struct stn_noise_keys *keys);
void stn_channel_session_free(struct stn_channel_session *session); /* wipes; NULL is fine */

/* A request's frame, which lies at bytes: DROP, ANSWER (appended), REPEATED or REQUEST. */
struct stn_channel_server_verdict stn_channel_session_take(struct stn_channel_session *session,
                                                           const struct stn_frame *frame,
                                                           uint8_t *bytes, struct stn_buf *answer);

/* As stn_channel_server_reply. */
enum stn_code stn_channel_session_reply(struct stn_channel_session *session, uint64_t counter,
                                        bool changes_state, const void *message, size_t size,
                                        struct stn_buf *answer, struct stn_err *err) STN_CHECKED;

#endif
