/* channel_server: the coordinator's end of the encrypted channel: all its sessions, from bytes to
 * verdicts. The shell carries the bytes, asks the directory and carries requests out.
 *
 *   take(bytes) -> DROP        garbage, or what can no longer be answered: no answer
 *                  ANSWER      send what was appended: a hello's reply, a kept reply, a refusal
 *                  REQUEST     a message of a device, verified; when it is carried out: reply
 *                  REPEATED    a record still being carried out came again: send the one reply
 *                              that there will be to whoever asked last
 *                  NEED_TOKEN  a device wants to enrol: ask the directory, then enrol or refuse
 *
 * What is repeated. A record is named by its session, its counter and its tag. The last 32 counters
 * of a session are remembered (the device never goes further ahead of what it waits for). A record
 * of those that comes again
 *   - is not opened again, whatever it says: what it brings about is what the first one did;
 *   - gets the same bytes again if it changed state and its reply, sealed and in its frame, was at
 *     most STN_REPLYCACHE_SIZE;
 *   - is carried out again, under a new reply counter, if it only read and was at most
 *     STN_CHANNEL_SERVER_SMALL bytes (all our reads are): at most STN_CHANNEL_SERVER_REPEATS times,
 *     so that a replay costs little;
 *   - is dropped otherwise. A record older than those is dropped as well: the device asks afresh.
 * A replay by somebody else thus costs a repeated answer that only the device can open, and that it
 * does not take, because it waits for no such reply any more.
 *
 * What a stranger can do. A hello is answered without keeping anything unless its static key is an
 * enrolled device's, and message 1 may be a replay: its session is half open and changes nothing.
 * The limits on half-open sessions (in all, and STN_CHANNEL_SERVER_HELLOS for one device) and on
 * enrolments under way push the oldest out. The first verified record opens a session, and only
 * then are the device's older ones closed, open or not: a record held back cannot bring them back.
 * Open sessions are as many as there may be; the one used longest ago makes room (its device starts
 * again).
 *
 * Thread: one at a time. */
#ifndef STN_CHANNEL_CHANNEL_SERVER_H
#define STN_CHANNEL_CHANNEL_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/ident.h"
#include "proto/msg.h"

#define STN_CHANNEL_SERVER_SMALL 96   /* bytes of a request that is kept, to carry it out again */
#define STN_CHANNEL_SERVER_REPEATS 16 /* of one read */
#define STN_CHANNEL_SERVER_HELLOS 4   /* half-open sessions of one device */

struct stn_channel_server;

struct stn_channel_server_config {
    const struct stn_ident *coordinator;      /* copied */
    uint32_t version_min, version_max;        /* of the protocol */
    size_t n_open, n_half_open, n_enrolments; /* at most; none is 0 */
    /* Whether an enrolled device has this static key (the image of its identity), and which it is.
     */
    bool (*find_device)(void *data, const uint8_t key[static 32], struct stn_id *ret);
    void *data;
};

enum stn_code stn_channel_server_new(struct stn_channel_server **ret,
                                     const struct stn_channel_server_config *config,
                                     struct stn_err *err) STN_CHECKED;
void stn_channel_server_free(struct stn_channel_server *server); /* wipes; NULL is fine */

enum stn_channel_server_kind {
    STN_CHANNEL_SERVER_DROP,
    STN_CHANNEL_SERVER_ANSWER,
    STN_CHANNEL_SERVER_REQUEST,
    STN_CHANNEL_SERVER_REPEATED,
    STN_CHANNEL_SERVER_NEED_TOKEN
};

struct stn_channel_server_verdict {
    enum stn_channel_server_kind kind;
    uint64_t session; /* REQUEST, REPEATED */
    uint64_t counter; /* REQUEST, REPEATED: of the record */
    uint64_t closed;  /* REQUEST: the device's old session, which this one has replaced; 0: none */
    uint32_t version; /* REQUEST: of the protocol */
    /* REQUEST, REPEATED: who it is; NEED_TOKEN: who it wants to be, and has the key of */
    struct stn_id device;
    /* REQUEST: in the place of the frame, or the session's until the next take */
    const uint8_t *message;
    size_t size;
    uint64_t enrolment;      /* NEED_TOKEN: for enrol or refuse */
    struct stn_digest token; /* NEED_TOKEN: H of it */
};

/* Takes a frame, which is decrypted in its place; what is to be sent is appended to answer. No
 * memory is a DROP. */
struct stn_channel_server_verdict stn_channel_server_take(struct stn_channel_server *server,
                                                          uint8_t *frame, size_t size,
                                                          struct stn_buf *answer);

/* Appends the sealed reply to a request. changes_state: as stn_msg_changes_state says of the
 * request. STN_LATE when nobody waits for it: the session is gone, the counter has left the window
 * or was replied to. */
enum stn_code stn_channel_server_reply(struct stn_channel_server *server, uint64_t session,
                                       uint64_t counter, bool changes_state, const void *message,
                                       size_t size, struct stn_buf *answer,
                                       struct stn_err *err) STN_CHECKED;

/* The directory has bound the token to the device: appends the answer to its hello, with the
 * certificate. STN_LATE when the enrolment was pushed out: the device asks again. */
enum stn_code stn_channel_server_enrol(struct stn_channel_server *server, uint64_t enrolment,
                                       const uint8_t token[static 32],
                                       const struct stn_ident_cert *certificate,
                                       struct stn_buf *answer, struct stn_err *err) STN_CHECKED;

/* The directory will not have it, or cannot say: appends a refusal in clear. */
void stn_channel_server_refuse(struct stn_channel_server *server, uint64_t enrolment,
                               enum stn_code code, struct stn_buf *answer);

/* The device is no longer one of ours: its sessions are closed. */
void stn_channel_server_forget(struct stn_channel_server *server, const struct stn_id *device);

struct stn_channel_server_stats {
    size_t n_open, n_half_open, n_enrolments;
    uint64_t n_hellos, n_refused, n_dropped, n_repeated; /* since the start */
};
struct stn_channel_server_stats stn_channel_server_stats(const struct stn_channel_server *server);

#endif
