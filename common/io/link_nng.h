/* link_nng: the sockets under link: nng's req0 and rep0, with one context and one aio a slot. nng's
 * threads post the slot's letter and do nothing else. Used by link.c alone. Thread: the loop's. */
#ifndef STN_IO_LINK_NNG_H
#define STN_IO_LINK_NNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/link.h"
#include "io/queue.h"

struct nng_aio;
struct nng_msg;
struct stn_link_nng;

/* An operation of it is out from stn_link_nng_send or _recv until its letter is delivered. */
struct stn_link_nng_slot {
    struct stn_letter letter; /* its owner sets deliver */
    struct stn_mailbox *mailbox;
    struct nng_aio *aio;
    struct nng_msg *msg;        /* what was received, until it is dropped */
    const struct nng_msg *sent; /* nng's, once it is sent */
    uint32_t context;
    bool sending;
};

/* A socket that is set up and not yet on the network. The caller frees *ret. */
enum stn_code stn_link_nng_new(struct stn_link_nng **ret, bool listens, const char *url,
                               const struct stn_link_options *options,
                               struct stn_err *err) STN_CHECKED;
/* On the network. */
enum stn_code stn_link_nng_start(struct stn_link_nng *socket, struct stn_err *err) STN_CHECKED;
/* Off it. Every operation that is out comes back, failed. Takes milliseconds, or a second when nng
 * is stuck. */
void stn_link_nng_close(struct stn_link_nng *socket);
/* How many sockets of this process nng was stuck with. */
size_t stn_link_nng_n_stuck(void);
/* Closes it; no operation may be out. NULL is fine. */
void stn_link_nng_free(struct stn_link_nng *socket);

uint16_t stn_link_nng_port(const struct stn_link_nng *socket);
size_t stn_link_nng_n_peers(const struct stn_link_nng *socket);

enum stn_code stn_link_nng_slot_init(struct stn_link_nng_slot *slot, struct stn_link_nng *socket,
                                     struct stn_mailbox *mailbox, struct stn_err *err) STN_CHECKED;
/* No operation may be out. Zeroed is fine. */
void stn_link_nng_slot_fini(struct stn_link_nng_slot *slot);

void stn_link_nng_recv(struct stn_link_nng_slot *slot, int32_t timeout_ms); /* -1: no end */
/* STN_MEMORY: nothing is out. */
enum stn_code stn_link_nng_send(struct stn_link_nng_slot *slot, const void *p, size_t size,
                                int32_t timeout_ms) STN_CHECKED;
/* How the operation went that just came back. STN_OK of a recv leaves the message in the slot. */
enum stn_code stn_link_nng_result(struct stn_link_nng_slot *slot) STN_CHECKED;

uint8_t *stn_link_nng_data(const struct stn_link_nng_slot *slot, size_t *ret_size);
void stn_link_nng_drop(struct stn_link_nng_slot *slot);
/* Of the message in the slot. */
uint32_t stn_link_nng_peer(const struct stn_link_nng_slot *slot);
bool stn_link_nng_is_gone(const struct stn_link_nng_slot *slot);
void stn_link_nng_address(const struct stn_link_nng_slot *slot, char ret[static STN_LINK_ADDRESS]);

#endif
