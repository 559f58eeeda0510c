#include "io/link.h"

#include <assert.h>

#include "base/mem.h"
#include "io/link_nng.h"
#include "io/loop.h"
#include "io/mailbox.h"

#define REPLY_MS 30000 /* a peer that does not take its reply for so long does not hold a context  \
                        */

/* One context: of a listener it waits for a request, holds it, sends the reply; of a dialled link
 * it sends what is asked and waits for the reply. */
struct slot {
    struct stn_link_nng_slot wire;
    struct stn_link *link;
    struct stn_link_request request;
    bool held; /* by whoever got the request */
    struct stn_list idle;
    uint64_t deadline_ms;
    stn_link_on_reply *on_reply;
    void *user;
};

struct stn_link {
    struct stn_mailbox *mailbox;
    struct stn_link_nng *socket;
    struct stn_list idle; /* slots that may ask */
    size_t n_idle;
    size_t n_held;
    size_t n_out; /* operations under way, and the farewell */
    bool closing;
    struct stn_link_stats stats;
    struct stn_letter farewell; /* so that closing is never told within stn_link_close */
    void (*on_closed)(void *user);
    void *closed_user;
    void (*on_request)(void *user, struct stn_link_request *request);
    void *user;
    size_t n_slots;
    struct slot slots[];
};

static struct slot *slot_of(struct stn_letter *letter)
{
    return STN_LIST_OF(letter, struct slot, wire.letter);
}

static void free_link(struct stn_link *link)
{
    stn_link_nng_close(link->socket);
    for (size_t i = 0; i < link->n_slots; i++) {
        stn_link_nng_slot_fini(&link->slots[i].wire);
    }
    stn_link_nng_free(link->socket);
    stn_mem_free(link);
}

/* An operation came back. True when it was the last of a link that closes, which is then gone. */
static bool came_back(struct stn_link *link)
{
    assert(link->n_out > 0);
    if (--link->n_out > 0 || !link->closing) {
        return false;
    }
    void (*on_closed)(void *user) = link->on_closed;
    void *user = link->closed_user;
    free_link(link);
    if (on_closed != NULL) {
        on_closed(user);
    }
    return true;
}

static enum stn_code open_link(struct stn_link **ret, struct stn_mailbox *mailbox, bool listens,
                               const char *url, const struct stn_link_options *options,
                               void (*deliver)(struct stn_letter *letter), struct stn_err *err)
{
    static const struct stn_link_options defaults;
    options = options == NULL ? &defaults : options;
    size_t n = options->n_contexts != 0 ? options->n_contexts
               : listens                ? STN_LINK_HELD
                                        : STN_LINK_WINDOW;
    assert(n <= STN_LINK_CONTEXTS_MAX);
    struct stn_link *link = stn_mem_new(1, sizeof *link + n * sizeof link->slots[0]);
    if (link == NULL) {
        return stn_err_set(err, STN_MEMORY, "%.160s: no memory for %zu requests", url, n);
    }
    link->mailbox = mailbox;
    stn_list_init(&link->idle);
    enum stn_code code = stn_link_nng_new(&link->socket, listens, url, options, err);
    if (code != STN_OK) {
        stn_mem_free(link);
        return code;
    }
    for (; link->n_slots < n && code == STN_OK; link->n_slots++) {
        struct slot *slot = &link->slots[link->n_slots];
        slot->link = link;
        slot->wire.letter.deliver = deliver;
        code = stn_link_nng_slot_init(&slot->wire, link->socket, mailbox, err);
    }
    if (code == STN_OK) {
        code = stn_link_nng_start(link->socket, err);
    }
    if (code != STN_OK) {
        free_link(link); /* nothing is out yet */
        return code;
    }
    *ret = link;
    return STN_OK;
}

static void say_farewell(struct stn_letter *letter)
{
    (void)came_back(STN_LIST_OF(letter, struct stn_link, farewell));
}

void stn_link_close(struct stn_link *link, void (*on_closed)(void *user), void *user)
{
    if (link == NULL) {
        return;
    }
    assert(!link->closing);
    link->closing = true;
    link->on_closed = on_closed;
    link->closed_user = user;
    link->n_held = 0;
    link->n_out++;
    link->farewell.deliver = say_farewell;
    stn_mailbox_lend(link->mailbox);
    stn_mailbox_post(link->mailbox, &link->farewell);
    stn_link_nng_close(link->socket);
}

size_t stn_link_n_stuck(void)
{
    return stn_link_nng_n_stuck();
}

struct stn_link_stats stn_link_stats(const struct stn_link *link)
{
    return link->stats;
}

size_t stn_link_n_peers(const struct stn_link *link)
{
    return stn_link_nng_n_peers(link->socket);
}

uint16_t stn_link_port(const struct stn_link *link)
{
    return stn_link_nng_port(link->socket);
}

size_t stn_link_n_held(const struct stn_link *link)
{
    return link->n_held;
}

size_t stn_link_n_free(const struct stn_link *link)
{
    return link->on_request == NULL ? link->n_idle : link->n_slots - link->n_held;
}

/* ---- who answers ---- */

static void wait_for_request(struct slot *slot)
{
    slot->link->n_out++;
    stn_link_nng_recv(&slot->wire, -1);
}

static void deliver_to_listener(struct stn_letter *letter)
{
    struct slot *slot = slot_of(letter);
    struct stn_link *link = slot->link;
    bool received = !slot->wire.sending;
    enum stn_code code = stn_link_nng_result(&slot->wire);
    if (came_back(link) || link->closing) {
        return; /* what was received is freed with the slot */
    }
    if (!received || code != STN_OK) {
        wait_for_request(slot); /* the reply went out, or into the void */
        return;
    }
    slot->request = (struct stn_link_request){.peer = stn_link_nng_peer(&slot->wire)};
    slot->request.data = stn_link_nng_data(&slot->wire, &slot->request.size);
    stn_list_init(&slot->request.list);
    slot->held = true;
    link->n_held++;
    link->stats.n_requests++;
    link->stats.n_bytes_in += slot->request.size;
    link->on_request(link->user, &slot->request);
}

enum stn_code stn_link_listen(struct stn_link **ret, struct stn_mailbox *mailbox, const char *url,
                              const struct stn_link_options *options,
                              void (*on_request)(void *user, struct stn_link_request *request),
                              void *user, struct stn_err *err)
{
    struct stn_link *link;
    assert(on_request != NULL);
    enum stn_code code = open_link(&link, mailbox, true, url, options, deliver_to_listener, err);
    if (code != STN_OK) {
        return code;
    }
    link->on_request = on_request;
    link->user = user;
    for (size_t i = 0; i < link->n_slots; i++) {
        wait_for_request(&link->slots[i]);
    }
    *ret = link;
    return STN_OK;
}

static struct slot *end_request(struct stn_link_request *request)
{
    struct slot *slot = STN_LIST_OF(request, struct slot, request);
    assert(slot->held && !slot->link->closing); /* answered once, and not after the end */
    slot->held = false;
    slot->link->n_held--;
    return slot;
}

void stn_link_reply(struct stn_link_request *request, const void *p, size_t size)
{
    struct slot *slot = end_request(request);
    enum stn_code code =
        stn_link_nng_send(&slot->wire, p, size, REPLY_MS); /* p may lie in the request */
    stn_link_nng_drop(&slot->wire);
    if (code != STN_OK) {
        wait_for_request(slot);
        return;
    }
    slot->link->n_out++;
    slot->link->stats.n_bytes_out += size;
}

void stn_link_drop(struct stn_link_request *request)
{
    struct slot *slot = end_request(request);
    stn_link_nng_drop(&slot->wire);
    wait_for_request(slot);
}

bool stn_link_is_gone(const struct stn_link_request *request)
{
    return stn_link_nng_is_gone(&STN_LIST_OF(request, struct slot, request)->wire);
}

void stn_link_address(const struct stn_link_request *request, char ret[static STN_LINK_ADDRESS])
{
    stn_link_nng_address(&STN_LIST_OF(request, struct slot, request)->wire, ret);
}

/* ---- who asks ---- */

/* The slot is idle before on_reply is called, which may ask at once; the message is then no longer
 * the slot's. */
static void tell(struct slot *slot, enum stn_code code)
{
    struct stn_link *link = slot->link;
    struct stn_link_nng_slot got = {.msg = slot->wire.msg};
    stn_link_on_reply *on_reply = slot->on_reply;
    size_t size = 0;
    uint8_t *data = code == STN_OK ? stn_link_nng_data(&got, &size) : NULL;
    slot->wire.msg = NULL;
    link->stats.n_bytes_in += size;
    stn_list_add(&link->idle, &slot->idle);
    link->n_idle++;
    on_reply(slot->user, link->closing && code != STN_OK ? STN_CANCELLED : code, data, size);
    stn_link_nng_drop(&got);
}

static void deliver_to_dialler(struct stn_letter *letter)
{
    struct slot *slot = slot_of(letter);
    struct stn_link *link = slot->link;
    bool sent = slot->wire.sending;
    enum stn_code code = stn_link_nng_result(&slot->wire);
    uint64_t now_ms = stn_loop_clock_ms();
    if (sent && code == STN_OK && !link->closing) {
        uint64_t left_ms = slot->deadline_ms > now_ms ? slot->deadline_ms - now_ms : 0;
        stn_link_nng_recv(&slot->wire, (int32_t)left_ms);
        return; /* still out */
    }
    /* what never left had no connection; what was lost on the way had one */
    if (code != STN_MEMORY && (sent || (code != STN_OK && code != STN_AGAIN))) {
        code = STN_IO;
    }
    tell(slot, code);
    (void)came_back(link);
}

enum stn_code stn_link_dial(struct stn_link **ret, struct stn_mailbox *mailbox, const char *url,
                            const struct stn_link_options *options, struct stn_err *err)
{
    struct stn_link *link;
    enum stn_code code = open_link(&link, mailbox, false, url, options, deliver_to_dialler, err);
    if (code != STN_OK) {
        return code;
    }
    for (size_t i = 0; i < link->n_slots; i++) {
        stn_list_add(&link->idle, &link->slots[i].idle);
    }
    link->n_idle = link->n_slots;
    *ret = link;
    return STN_OK;
}

enum stn_code stn_link_ask(struct stn_link *link, const void *p, size_t size, uint32_t timeout_ms,
                           stn_link_on_reply *on_reply, void *user, struct stn_err *err)
{
    assert(link->on_request == NULL && on_reply != NULL && timeout_ms <= INT32_MAX);
    if (link->closing) {
        return stn_err_set(err, STN_CANCELLED, "the link is closing");
    }
    if (link->n_idle == 0) {
        return stn_err_set(err, STN_AGAIN, "%zu requests are under way already", link->n_slots);
    }
    struct slot *slot = STN_LIST_OF(stn_list_pop(&link->idle), struct slot, idle);
    slot->deadline_ms = stn_loop_clock_ms() + timeout_ms;
    slot->on_reply = on_reply;
    slot->user = user;
    if (stn_link_nng_send(&slot->wire, p, size, (int32_t)timeout_ms) != STN_OK) {
        stn_list_add(&link->idle, &slot->idle);
        return stn_err_set(err, STN_MEMORY, "no memory for a request of %zu bytes", size);
    }
    link->n_idle--;
    link->n_out++;
    link->stats.n_requests++;
    link->stats.n_bytes_out += size;
    return STN_OK;
}
