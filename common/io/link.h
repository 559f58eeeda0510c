/* link: requests and replies of bytes between a device and its coordinator. The device dials and
 * asks; the coordinator listens and answers each request once, at once or when there is news. What
 * the bytes mean is the channel's business; nothing here is trusted or kept secret. Many asks may
 * be out at a time, and replies come in any order.
 *
 * URLs: tcp://HOST:PORT, ipc://PATH, inproc://NAME, tls+tcp://HOST:PORT, ws://HOST:PORT/PATH,
 * wss://HOST:PORT/PATH. Never before a fork. Thread: the loop's, for every call and callback. */
#ifndef STN_IO_LINK_H
#define STN_IO_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

/* A sealed record, and with what frames it; more than this from a peer ends its connection. */
#define STN_LINK_RECORD_MAX ((size_t)1 << 20)
#define STN_LINK_MESSAGE_MAX (STN_LINK_RECORD_MAX + 4096 - 64)
#define STN_LINK_CONTEXTS_MAX 65536
#define STN_LINK_HELD 256    /* default n_contexts of stn_link_listen */
#define STN_LINK_WINDOW 8    /* default n_contexts of stn_link_dial */
#define STN_LINK_PEERS 16384 /* default n_peers */

struct stn_mailbox;
struct stn_link;

/* Zeroed is the default. What it points to is borrowed for the call. */
struct stn_link_options {
    size_t n_contexts;        /* listen: requests held at once; dial: asks out at once */
    size_t n_peers;           /* listen: connections at once; one more is closed as it comes */
    const char *tls_cert_key; /* listen on tls+tcp, wss: PEM file of a certificate and its key */
    const char *tls_ca;       /* dial tls+tcp, wss: PEM file of the authorities to believe */
    /* dial: the first pause before it is tried again (default 100), and the longest (10000) */
    uint32_t reconnect_min_ms, reconnect_max_ms;
};

/* ---- who answers ---- */

/* A request until it is answered or dropped. Its bytes may be worked on where they lie. */
struct stn_link_request {
    uint8_t *data;
    size_t size;
    uint64_t peer;        /* the number of its connection */
    struct stn_list list; /* these two are for whoever holds it */
    void *user;
};

/* on_request must answer or drop each request once, in the call or later. While all contexts are
 * held the next requests wait in their connections. STN_EXISTS names the URL when its address is in
 * use. The caller closes *ret. */
enum stn_code stn_link_listen(struct stn_link **ret, struct stn_mailbox *mailbox, const char *url,
                              const struct stn_link_options *options,
                              void (*on_request)(void *user, struct stn_link_request *request),
                              void *user, struct stn_err *err) STN_CHECKED;

/* The request is over with either. size is at most STN_LINK_MESSAGE_MAX; the bytes are copied. A
 * reply that cannot be delivered is lost without a word, as on any network: who asked will ask
 * again. */
void stn_link_reply(struct stn_link_request *request, const void *p, size_t size);
void stn_link_drop(struct stn_link_request *request);

/* Whether its connection is lost, so that a held request need not be held. */
bool stn_link_is_gone(const struct stn_link_request *request);

/* The other end's address for logs and rates, without its port: "192.0.2.1", "2001:db8::1", or
 * "local". */
#define STN_LINK_ADDRESS 64
void stn_link_address(const struct stn_link_request *request, char ret[static STN_LINK_ADDRESS]);

/* Requests that somebody holds, and how many of the contexts are left for new ones. */
size_t stn_link_n_held(const struct stn_link *link);
size_t
stn_link_n_free(const struct stn_link *link); /* of a dialled one: asks that may still go out */

/* The TCP port that it listens on (tcp://127.0.0.1:0 takes a free one); 0 for other transports. */
uint16_t stn_link_port(const struct stn_link *link);

/* ---- who asks ---- */

/* Returns at once; the connection is made, and made again when it is lost, in the background. */
enum stn_code stn_link_dial(struct stn_link **ret, struct stn_mailbox *mailbox, const char *url,
                            const struct stn_link_options *options,
                            struct stn_err *err) STN_CHECKED;

/* STN_OK: the reply is data, for the call, to be worked on where it lies. STN_AGAIN: none came in time. STN_IO: there was no
 * connection in time, or it was lost before the reply; the other end may have seen the request or
 * not. STN_MEMORY. STN_CANCELLED: the link was closed. Nothing is ever sent twice. */
typedef void stn_link_on_reply(void *user, enum stn_code code, uint8_t *data, size_t size);

/* on_reply is called once, later, unless this fails: STN_AGAIN when n_contexts asks are out,
 * STN_MEMORY, or STN_CANCELLED when the link closes. size is at most STN_LINK_MESSAGE_MAX; the
 * bytes are copied. It may be called from within on_reply. */
enum stn_code stn_link_ask(struct stn_link *link, const void *p, size_t size, uint32_t timeout_ms,
                           stn_link_on_reply *on_reply, void *user,
                           struct stn_err *err) STN_CHECKED;

/* ---- both ---- */

/* What went over it so far: requests, and bytes of requests and replies, without what frames them. */
struct stn_link_stats {
    uint64_t n_requests, n_bytes_in, n_bytes_out;
};
struct stn_link_stats stn_link_stats(const struct stn_link *link);

/* Connections that are up now: of a dialled link, one or none. */
size_t stn_link_n_peers(const struct stn_link *link);

/* Held requests are gone with this call: nobody may touch them any more. Asks that are out come
 * back with STN_CANCELLED, then on_closed (which may be NULL) is called and the link is no more.
 * NULL is fine. */
void stn_link_close(struct stn_link *link, void (*on_closed)(void *user), void *user);

/* Links of this process that nng could not let go of: version 1.5.2 may hang on a connection that
 * is closed while a large message is on its way. Closing then takes a second, all is told as ever,
 * but from then on no connection's memory and descriptor are given back: a program that finds one
 * here restarts when it suits it. Best is to close when nothing is under way. */
size_t stn_link_n_stuck(void);

#endif
