/* channel_client: the device's end of the encrypted channel, from bytes to bytes. The shell carries
 * them, keeps the time and decides when to ask again; nothing here waits.
 *
 *   start -> a hello to send            (IKpsk2 while there is a token and no certificate, else IK)
 *   heard <- the coordinator's answer   STN_CHANNEL_CLIENT_OPEN: the session is there
 *   request -> a record to send         up to 32 at once; each has a counter, which its reply names
 *   heard <- its reply                  STN_CHANNEL_CLIENT_REPLY
 *
 * Whatever is lost: the very same bytes of a record may be sent again as often as one likes. The
 * coordinator carries out no change twice, and answers for as long as it can (see
 * channel_server.h); when it cannot, there is silence, and the shell forgets the counter and asks
 * afresh: requests are idempotent. A request takes one reply, and its counter is never used again:
 * that is why no reply can be replayed, and why one that is repeated late is still taken. A second
 * session may be started at any time: the first one works on until the second is open, and what it
 * still had outstanding is then forgotten.
 *
 * Whoever is on the path can forge a refusal, because it is in clear. It is therefore only ever a
 * reason to start again, and starts are spaced out: the first is free, each further one without a
 * verified reply in between doubles the distance, from STN_CHANNEL_CLIENT_WAIT_MIN to _MAX. Bytes
 * that do not verify change nothing.
 *
 * Thread: one at a time. */
#ifndef STN_CHANNEL_CHANNEL_CLIENT_H
#define STN_CHANNEL_CHANNEL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/ident.h"

#define STN_CHANNEL_CLIENT_WAIT_MIN 1000u /* ms between two starts */
#define STN_CHANNEL_CLIENT_WAIT_MAX 60000u

struct stn_channel_client;

struct stn_channel_client_config {
    const struct stn_ident *device;           /* all of these are copied */
    const uint8_t *coordinator;               /* 32 bytes, Ed25519: key= of the join URL */
    const uint8_t *directory;                 /* 32 bytes, Ed25519: dir= */
    const uint8_t *token;                     /* 32 bytes: token=; NULL when there is none */
    const struct stn_ident_cert *certificate; /* of an earlier enrolment; NULL when there is none */
    uint32_t version_min, version_max;        /* of the protocol */
};

/* STN_INVALID when the coordinator's key is none; STN_DENIED when the certificate is not this
 * device's or not by this directory. */
enum stn_code stn_channel_client_new(struct stn_channel_client **ret,
                                     const struct stn_channel_client_config *config,
                                     struct stn_err *err) STN_CHECKED;
void stn_channel_client_free(struct stn_channel_client *client); /* wipes; NULL is fine */

/* How many milliseconds until start would do something; 0: now. */
uint64_t stn_channel_client_wait_ms(const struct stn_channel_client *client, uint64_t now_ms);

/* Appends a hello to frame. A handshake in progress is given up. STN_AGAIN: too soon. */
enum stn_code stn_channel_client_start(struct stn_channel_client *client, uint64_t now_ms,
                                       struct stn_buf *frame, struct stn_err *err) STN_CHECKED;

bool stn_channel_client_is_open(const struct stn_channel_client *client);
uint32_t stn_channel_client_version(const struct stn_channel_client *client); /* 0: not open */
/* The device's certificate, verified; NULL while it has none. The client's. */
const struct stn_ident_cert *
stn_channel_client_certificate(const struct stn_channel_client *client);

/* Seals a message into frame. STN_AGAIN when there is no session, or when the request of 32
 * counters ago is still outstanding; STN_LIMIT when the message is longer than a record. */
enum stn_code stn_channel_client_request(struct stn_channel_client *client, const void *message,
                                         size_t size, struct stn_buf *frame, uint64_t *ret_counter,
                                         struct stn_err *err) STN_CHECKED;

/* No reply to this request is wanted any more; fine when there is none outstanding. */
void stn_channel_client_forget(struct stn_channel_client *client, uint64_t counter);

/* With what code the last start, or the session since, has been refused: hearsay, for people.
 * STN_OK: not at all. */
enum stn_code stn_channel_client_refusal(const struct stn_channel_client *client);

enum stn_channel_client_kind { STN_CHANNEL_CLIENT_OPEN, STN_CHANNEL_CLIENT_REPLY };

struct stn_channel_client_heard {
    enum stn_channel_client_kind kind;
    bool is_enrolled;    /* OPEN: there is a certificate that was not there before: keep it */
    uint64_t counter;    /* REPLY: of the request; it is not outstanding any more */
    const uint8_t *data; /* REPLY: the message, in the place of the frame */
    size_t size;
};

/* Takes a frame, which is decrypted in its place. STN_AGAIN: a refusal that may concern us: start
 * again when wait_ms allows; everything else is garbage, a replay or too late, and nothing has
 * changed: STN_CORRUPT, STN_DENIED, STN_LATE, STN_UNSUPPORTED. */
enum stn_code stn_channel_client_heard(struct stn_channel_client *client, uint8_t *frame,
                                       size_t size, struct stn_channel_client_heard *ret,
                                       struct stn_err *err) STN_CHECKED;

#endif
