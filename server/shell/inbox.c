#include "server/shell/inbox.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "channel/signed.h"
#include "proto/codec.h"
#include "server/shell/apply.h"
#include "server/shell/enrol.h"

#define ARENA_BYTES ((size_t)4 << 20)
#define RETRY_MS 60000 /* a device whose chunk found the disk full, or no descriptor */

#define FREE_SHARE 16  /* one in so many of the link's requests is kept free of those that wait */

struct ticket {
    struct stn_list link; /* of service->parked, of service->pace, or of nothing */
    stn_ticket number;
    struct stn_service *service;
    uint64_t session, counter;
    struct stn_link_request *request;
    struct stn_id device;
    enum stn_msg_type type;
    struct stn_timer timer;
    bool is_told; /* by the pace, and not by the time that it has waited */
    struct stn_server_tell tell;
};

struct key { /* of service->requests */
    uint64_t session, counter;
};

/* ---- bytes out ---- */

struct sending {
    struct stn_after after;
    struct stn_service *service;
    struct stn_link_request *request;
    struct stn_buf bytes;
};

/* A reply's room is a later one's: memory that is given back is zeroed by the system before it comes again. */
static void keep_room(struct stn_service *service, struct stn_buf *bytes)
{
    if (service->n_spare < STN_SERVICE_SPARE && !bytes->failed) {
        stn_buf_clear(bytes);
        service->spare[service->n_spare++] = *bytes;
    } else {
        stn_buf_fini(bytes);
    }
}

static void send_now(struct stn_after *after)
{
    struct sending *sending = STN_LIST_OF(after, struct sending, after);
    if (sending->service->is_stopping) {
        /* the link is closed, and the request gone with it */
    } else if (sending->bytes.size == 0) {
        stn_link_drop(sending->request);
    } else {
        stn_link_reply(sending->request, sending->bytes.data, sending->bytes.size);
    }
    keep_room(sending->service, &sending->bytes);
    stn_mem_free(sending);
}

void stn_inbox_send(struct stn_service *service, struct stn_link_request *request, struct stn_buf *bytes)
{
    struct sending *sending = stn_mem_new(1, sizeof *sending);
    if (sending == NULL) { /* who asked will ask again */
        stn_link_drop(request);
        stn_buf_fini(bytes);
        return;
    }
    *sending = (struct sending){.service = service, .request = request, .bytes = *bytes};
    *bytes = (struct stn_buf){0};
    sending->after.run = send_now;
    stn_turn_after(&service->turn, &sending->after);
}

/* ---- tickets ---- */

static void on_wait_over(struct stn_timer *timer);

static struct ticket *new_ticket(struct stn_service *service, const struct stn_channel_server_verdict *verdict,
                                 struct stn_link_request *request)
{
    struct ticket *ticket = stn_mem_new(1, sizeof *ticket);
    if (ticket == NULL) {
        return NULL;
    }
    stn_list_init(&ticket->link);
    ticket->number = ++service->last_ticket;
    ticket->service = service;
    ticket->session = verdict->session;
    ticket->counter = verdict->counter;
    ticket->request = request;
    ticket->device = verdict->device;
    ticket->timer.fire = on_wait_over;
    const struct key key = {ticket->session, ticket->counter};
    if (!stn_map_set(&service->tickets, &ticket->number, sizeof ticket->number, ticket)) {
        stn_mem_free(ticket);
        return NULL;
    }
    if (!stn_map_set(&service->requests, &key, sizeof key, ticket)) {
        (void)stn_map_remove(&service->tickets, &ticket->number, sizeof ticket->number);
        stn_mem_free(ticket);
        return NULL;
    }
    return ticket;
}

static void free_ticket(struct ticket *ticket)
{
    struct stn_service *service = ticket->service;
    const struct key key = {ticket->session, ticket->counter};
    stn_loop_disarm(service->loop, &ticket->timer);
    stn_list_remove(&ticket->link);
    (void)stn_map_remove(&service->tickets, &ticket->number, sizeof ticket->number);
    if (stn_map_get(&service->requests, &key, sizeof key) == ticket) {
        (void)stn_map_remove(&service->requests, &key, sizeof key);
    }
    stn_mem_free(ticket);
}

/* The reply's frame goes behind what is in sealed; nothing does when there is none to give. */
static void seal(struct ticket *ticket, const struct stn_msg *msg, struct stn_buf *sealed)
{
    struct stn_err err;
    struct stn_service *service = ticket->service;
    stn_buf_clear(&service->plain);
    enum stn_code code = stn_codec_encode(msg, &service->plain, &err);
    if (code == STN_OK) {
        code = stn_channel_server_reply(service->channel, ticket->session, ticket->counter,
                                        stn_msg_changes_state(ticket->type), service->plain.data, service->plain.size,
                                        sealed, &err);
    }
    if (code != STN_OK && code != STN_LATE) {
        stn_log_err(STN_LOG_ERROR, "reply_failed", &err);
    }
    if (code != STN_OK) {
        sealed->size = 0;
    }
}

/* The one reply, and the end of the ticket; how many bytes leave. */
static size_t reply(struct ticket *ticket, const struct stn_msg *msg)
{
    struct stn_service *service = ticket->service;
    struct stn_buf sealed = {0};
    if (service->n_spare > 0) {
        sealed = service->spare[--service->n_spare];
    }
    seal(ticket, msg, &sealed);
    size_t size = sealed.size;
    stn_inbox_send(service, ticket->request, &sealed);
    free_ticket(ticket);
    return size;
}

/* For a reply that promises nothing, so that no commit has to come before it: it does not wait with others for the turn's
 * end, and all of them take the room of one. */
static void reply_at_once(struct ticket *ticket, const struct stn_msg *msg)
{
    struct stn_service *service = ticket->service;
    stn_buf_clear(&service->chunk);
    seal(ticket, msg, &service->chunk);
    if (service->chunk.size == 0) {
        stn_link_drop(ticket->request);
    } else {
        stn_link_reply(ticket->request, service->chunk.data, service->chunk.size);
    }
    free_ticket(ticket);
}

void stn_inbox_reply(struct stn_service *service, stn_ticket number, const struct stn_msg *msg)
{
    struct ticket *ticket = stn_map_get(&service->tickets, &number, sizeof number);
    if (ticket != NULL) {
        (void)reply(ticket, msg);
    }
}

void stn_inbox_tell(struct stn_service *service, stn_ticket number, const struct stn_server_tell *tell)
{
    struct ticket *ticket = stn_map_get(&service->tickets, &number, sizeof number);
    if (ticket != NULL) {
        stn_loop_disarm(service->loop, &ticket->timer);
        stn_list_remove(&ticket->link);
        ticket->is_told = true;
        ticket->tell = *tell;
        stn_pace_add(&service->pace, &ticket->link);
    }
}

size_t stn_inbox_told(struct stn_list *answer)
{
    struct ticket *ticket = STN_LIST_OF(answer, struct ticket, link);
    struct stn_msg msg;
    stn_coordinator_tell(ticket->service->coordinator, &ticket->tell, &msg);
    return reply(ticket, &msg);
}

/* Nobody waits for it any more. */
static void lose(struct ticket *ticket, bool drop)
{
    struct stn_service *service = ticket->service;
    struct stn_server_event event = {.type = STN_SERVER_TICKET_LOST, .ticket = ticket->number};
    if (drop) {
        stn_link_drop(ticket->request);
    }
    free_ticket(ticket);
    stn_apply_event(service, &event);
}

static void end_wait(struct ticket *ticket)
{
    struct stn_service *service = ticket->service;
    struct stn_server_event event = {.type = STN_SERVER_TICKET_LOST, .ticket = ticket->number};
    struct stn_msg wait = {.type = STN_MSG_WAIT};
    stn_inbox_reply(service, ticket->number, &wait);
    stn_apply_event(service, &event);
}

static void on_wait_over(struct stn_timer *timer)
{
    end_wait(STN_LIST_OF(timer, struct ticket, timer));
}

/* It waits for news: unless the link has no room left for that, in which case the one that waited longest asks again. */
static void park(struct ticket *ticket)
{
    struct stn_service *service = ticket->service;
    stn_loop_arm(service->loop, &ticket->timer, STN_INBOX_WAIT_MS);
    stn_list_add(&service->parked, &ticket->link);
    if (stn_link_n_free(service->link) < service->settings.requests / FREE_SHARE) {
        end_wait(STN_LIST_OF(service->parked.next, struct ticket, link));
    }
}

static void lose_session(struct stn_service *service, uint64_t session)
{
    for (size_t i = service->tickets.n; session != 0 && i-- > 0;) {
        struct ticket *ticket = i < service->tickets.n ? service->tickets.entries[i].value : NULL;
        if (ticket != NULL && ticket->session == session) {
            lose(ticket, true);
        }
    }
}

void stn_inbox_clear(struct stn_service *service)
{
    while (service->tickets.n > 0) {
        free_ticket(service->tickets.entries[0].value);
    }
}

/* ---- what the shell answers itself ---- */

static void refuse(struct stn_service *service, stn_ticket ticket, enum stn_code code)
{
    bool is_full = code == STN_FULL || code == STN_IO || code == STN_MEMORY || code == STN_AGAIN; /* of descriptors */
    struct stn_msg msg = {.type = STN_MSG_REFUSED,
                          .refused = {.code = (uint32_t)code, .retry_after_ms = is_full ? RETRY_MS : 0}};
    stn_inbox_reply(service, ticket, &msg);
}

static void get_leaves(struct stn_service *service, struct ticket *ticket, const struct stn_msg *msg)
{
    struct stn_err err;
    struct stn_digest *leaves = NULL;
    size_t n = 0;
    uint64_t size = 0;
    const struct stn_digest *digest = &msg->get_leaves.digest;
    enum stn_code code = STN_DENIED;
    if (stn_coordinator_may_get(service->coordinator, digest)) {
        code = stn_blob_leaves(&service->blobs, digest, &leaves, &n, &size, &err);
        if (code != STN_OK) {
            stn_log_err(STN_LOG_ERROR, "blob_lost", &err);
        }
    }
    if (code == STN_OK) {
        struct stn_msg reply = {.type = STN_MSG_LEAVES_ARE,
                                .leaves = {.digest = *digest, .size = size, .n_leaves = (uint32_t)n, .leaves = leaves}};
        stn_inbox_reply(service, ticket->number, &reply);
    } else {
        refuse(service, ticket->number, code);
    }
    stn_mem_free(leaves);
}

static void get_chunk(struct stn_service *service, struct ticket *ticket, const struct stn_msg *msg)
{
    struct stn_err err;
    size_t size = 0;
    const struct stn_msg_get_chunk *get = &msg->get_chunk;
    enum stn_code code = STN_DENIED;
    stn_buf_clear(&service->read);
    uint8_t *data = stn_buf_extend(&service->read, STN_MSG_CHUNKS * STN_DIGEST_CHUNK);
    if (data == NULL) {
        code = STN_MEMORY;
    } else if (stn_coordinator_may_get(service->coordinator, &get->digest)) {
        code = stn_blob_chunks(&service->blobs, &get->digest, get->index, get->n, data, &size, &err);
        if (code != STN_OK && code != STN_INVALID) {
            stn_log_err(STN_LOG_ERROR, "blob_lost", &err);
        }
    }
    if (code == STN_OK) {
        reply_at_once(ticket, &(struct stn_msg){.type = STN_MSG_CHUNK_IS,
                                                .chunk = {.digest = get->digest, .index = get->index,
                                                          .size = (uint32_t)size, .data = data}});
    } else {
        refuse(service, ticket->number, code);
    }
}

static void put_chunk(struct stn_service *service, struct ticket *ticket, const struct stn_msg *msg)
{
    struct stn_err err;
    enum stn_code code = STN_LATE;
    if (stn_coordinator_may_put(service->coordinator, &msg->put_chunk.round, &ticket->device)) {
        code = stn_spool_put(&service->spool, &ticket->device, &msg->put_chunk, &err);
        if (code != STN_OK && code != STN_INVALID) { /* nothing was promised: the chunk may come again */
            stn_log_err(STN_LOG_ERROR, "spool_failed", &err);
        }
    }
    if (code == STN_OK) {
        struct stn_msg ok = {.type = STN_MSG_OK};
        stn_inbox_reply(service, ticket->number, &ok);
    } else {
        refuse(service, ticket->number, code);
    }
}

/* ---- what the core answers ---- */

/* Signatures that the core takes as given. A round that is forgotten is for the core to refuse. */
static enum stn_code verify(struct stn_service *service, const struct ticket *ticket, const struct stn_msg *msg)
{
    struct stn_service_round round;
    if (msg->type == STN_MSG_ADVERTISE) {
        return stn_apply_round(service, &msg->advertise.round, &round, NULL) != STN_OK
                   ? STN_OK
                   : stn_signed_advertise_verify(&msg->advertise, &round.cfg, ticket->device.bytes, NULL);
    }
    if (msg->type == STN_MSG_PUT_END) {
        return stn_apply_round(service, &msg->put_end.round, &round, NULL) != STN_OK
                   ? STN_OK
                   : stn_signed_put_end_verify(&msg->put_end, &round.cfg, ticket->device.bytes, NULL);
    }
    return STN_OK;
}

static void ask_core(struct stn_service *service, struct ticket *ticket, const struct stn_msg *msg)
{
    enum stn_code code = verify(service, ticket, msg);
    if (code != STN_OK) {
        refuse(service, ticket->number, code);
        return;
    }
    if (msg->type == STN_MSG_CHECK_IN) {
        struct stn_err err;
        if (stn_store_saw_device(service->store, &ticket->device, stn_loop_wall_ms(), &err) != STN_OK) {
            stn_turn_die("save_failed", &err);
        }
    }
    stn_ticket number = ticket->number;
    struct stn_server_event event = {.type = STN_SERVER_REQUEST, .ticket = number};
    event.request.device = ticket->device;
    event.request.msg = msg;
    stn_apply_event(service, &event);
    ticket = stn_map_get(&service->tickets, &number, sizeof number);
    if (ticket != NULL && !ticket->is_told) {
        park(ticket);
    }
}

static void dispatch(struct stn_service *service, struct ticket *ticket, const void *bytes, size_t size)
{
    struct stn_err err;
    struct stn_msg msg = {0};
    struct stn_arena arena = {.limit = ARENA_BYTES};
    enum stn_code code = stn_codec_decode(&msg, &arena, bytes, size, &err);
    ticket->type = code == STN_OK ? msg.type : STN_MSG_NONE;
    if (code != STN_OK) {
        refuse(service, ticket->number, code);
    } else if (!stn_msg_is_request(msg.type)) {
        refuse(service, ticket->number, STN_INVALID);
    } else if (msg.type == STN_MSG_GET_LEAVES) {
        get_leaves(service, ticket, &msg);
    } else if (msg.type == STN_MSG_GET_CHUNK) {
        get_chunk(service, ticket, &msg);
    } else if (msg.type == STN_MSG_PUT_CHUNK) {
        put_chunk(service, ticket, &msg);
    } else {
        ask_core(service, ticket, &msg);
    }
    stn_arena_fini(&arena);
}

/* ---- bytes in ---- */

/* The record is still being carried out: whoever asked last gets its reply. */
static void repeat(struct stn_service *service, const struct stn_channel_server_verdict *verdict,
                   struct stn_link_request *request)
{
    const struct key key = {verdict->session, verdict->counter};
    struct ticket *ticket = stn_map_get(&service->requests, &key, sizeof key);
    if (ticket == NULL) {
        stn_link_drop(request);
        return;
    }
    stn_link_drop(ticket->request);
    ticket->request = request;
}

static void carry_out(struct stn_service *service, const struct stn_channel_server_verdict *verdict,
                      struct stn_link_request *request)
{
    lose_session(service, verdict->closed);
    struct ticket *ticket = new_ticket(service, verdict, request);
    if (ticket == NULL) {
        stn_link_drop(request);
        return;
    }
    dispatch(service, ticket, verdict->message, verdict->size);
}

void stn_inbox_take(void *user, struct stn_link_request *request)
{
    struct stn_service *service = user;
    struct stn_buf answer = {0};
    struct stn_channel_server_verdict verdict =
        stn_channel_server_take(service->channel, request->data, request->size, &answer);
    switch (verdict.kind) {
    case STN_CHANNEL_SERVER_DROP:
        stn_link_drop(request);
        break;
    case STN_CHANNEL_SERVER_ANSWER:
        stn_inbox_send(service, request, &answer);
        break;
    case STN_CHANNEL_SERVER_REQUEST:
        carry_out(service, &verdict, request);
        break;
    case STN_CHANNEL_SERVER_REPEATED:
        repeat(service, &verdict, request);
        break;
    case STN_CHANNEL_SERVER_NEED_TOKEN:
        stn_enrol_start(service, request, verdict.enrolment, &verdict.device, &verdict.token);
        break;
    }
    stn_buf_fini(&answer);
}
