#include "client/shell/dialog.h"

#include <assert.h>

#include "base/arena.h"
#include "base/mem.h"
#include "channel/channel_client.h"
#include "io/link.h"
#include "io/loop.h"
#include "proto/codec.h"

#define HELLO_MS 10000
#define TRIES 4             /* sessions that one ask may outlive */
#define ARENA_MAX ((size_t)4 << 20)
#define RECONNECT_MOST_MS 5000
#define GRACE_MS 5000       /* the link gives up later than the ask */

struct stn_dialog_flight { /* a frame that is out */
    struct stn_dialog *dialog;
    struct stn_dialog_ask *ask; /* NULL: a hello, or nobody waits any more */
    bool is_hello;
    uint64_t counter;
};

struct stn_dialog {
    struct stn_loop *loop;
    struct stn_channel_client *channel;
    struct stn_link *link;
    struct stn_list waiting; /* asks that have not gone out */
    struct stn_list out;     /* asks that have */
    struct stn_timer retry;  /* of a handshake that came too soon */
    bool is_greeting, must_greet, is_closing;
    struct stn_buf frame; /* what is sent */
    void (*greeted)(void *user, enum stn_code code, const struct stn_ident_cert *enrolled);
    void *user;
    void (*on_closed)(void *user);
    void *closed_user;
};

static void pump(struct stn_dialog *dialog);

/* ---- asks ---- */

static void settle(struct stn_dialog_ask *ask) /* it is the owner's again */
{
    if (ask->flight != NULL) {
        ask->flight->ask = NULL;
        ask->flight = NULL;
    }
    stn_loop_disarm(ask->dialog->loop, &ask->timer);
    stn_list_remove(&ask->link);
    stn_buf_fini(&ask->message);
    ask->message = (struct stn_buf){0};
    ask->is_asked = false;
}

static void finish(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply)
{
    settle(ask);
    ask->told(ask, code, reply);
}

static void on_time(struct stn_timer *timer)
{
    struct stn_dialog_ask *ask = STN_LIST_OF(timer, struct stn_dialog_ask, timer);
    struct stn_dialog *dialog = ask->dialog;
    if (ask->flight != NULL) { /* silence: the session may be gone */
        stn_channel_client_forget(dialog->channel, ask->flight->counter);
        dialog->must_greet = true;
    }
    finish(ask, ask->code, NULL);
}

void stn_dialog_ask(struct stn_dialog *dialog, struct stn_dialog_ask *ask, const struct stn_msg *msg, uint32_t timeout_ms)
{
    assert(!ask->is_asked);
    ask->is_asked = true;
    ask->dialog = dialog;
    ask->flight = NULL;
    ask->n_tries = 0;
    ask->timer = (struct stn_timer){.fire = on_time};
    enum stn_code code = stn_codec_encode(msg, &ask->message, NULL);
    if (code != STN_OK || dialog->is_closing) {
        ask->code = code != STN_OK ? code : STN_CANCELLED;
        stn_list_init(&ask->link);
        stn_loop_arm(dialog->loop, &ask->timer, 0);
        return;
    }
    ask->code = STN_AGAIN;
    stn_loop_arm(dialog->loop, &ask->timer, timeout_ms);
    stn_list_add(&dialog->waiting, &ask->link);
    pump(dialog);
}

void stn_dialog_drop(struct stn_dialog_ask *ask)
{
    if (ask->is_asked) {
        if (ask->flight != NULL) {
            stn_channel_client_forget(ask->dialog->channel, ask->flight->counter);
        }
        settle(ask);
    }
}

/* Everything that waits for a session: each is told once, though what it asks then waits again. */
static void fail_waiting(struct stn_dialog *dialog, enum stn_code code)
{
    struct stn_list failed;
    struct stn_list *link;
    stn_list_init(&failed);
    while ((link = stn_list_pop(&dialog->waiting)) != NULL) {
        stn_list_add(&failed, link);
    }
    while ((link = failed.next) != &failed) {
        finish(STN_LIST_OF(link, struct stn_dialog_ask, link), code, NULL);
    }
}

/* ---- what comes back ---- */

static void hear_hello(struct stn_dialog *dialog, enum stn_code code, const struct stn_channel_client_heard *heard)
{
    if (code == STN_OK) {
        dialog->must_greet = false;
        if (dialog->greeted != NULL) {
            dialog->greeted(dialog->user, STN_OK,
                            heard->is_enrolled ? stn_channel_client_certificate(dialog->channel) : NULL);
        }
        return;
    }
    if (code == STN_AGAIN) { /* a refusal, which anybody could have forged */
        enum stn_code refusal = stn_channel_client_refusal(dialog->channel);
        code = refusal == STN_OK ? STN_AGAIN : refusal;
    }
    if (dialog->greeted != NULL) {
        dialog->greeted(dialog->user, code, NULL);
    }
    if (!dialog->is_closing) {
        fail_waiting(dialog, code);
    }
}

static void again(struct stn_dialog *dialog, struct stn_dialog_ask *ask)
{
    if (++ask->n_tries >= TRIES) {
        finish(ask, STN_AGAIN, NULL);
        return;
    }
    ask->flight = NULL;
    stn_list_remove(&ask->link);
    stn_list_add(&dialog->waiting, &ask->link);
}

static void hear_reply(struct stn_dialog_ask *ask, const struct stn_channel_client_heard *heard)
{
    struct stn_msg reply;
    struct stn_arena arena = {.limit = ARENA_MAX};
    enum stn_code code = stn_codec_decode(&reply, &arena, heard->data, heard->size, NULL);
    finish(ask, code == STN_OK ? STN_OK : STN_IO, code == STN_OK ? &reply : NULL);
    stn_arena_fini(&arena);
}

static void hear(struct stn_dialog *dialog, const struct stn_dialog_flight *flight, uint8_t *data, size_t size)
{
    struct stn_channel_client_heard heard = {0};
    enum stn_code code = stn_channel_client_heard(dialog->channel, data, size, &heard, NULL);
    if (flight->is_hello) {
        bool is_open = code == STN_OK && heard.kind == STN_CHANNEL_CLIENT_OPEN;
        hear_hello(dialog, is_open ? STN_OK : code == STN_OK ? STN_CORRUPT : code, &heard);
        return;
    }
    struct stn_dialog_ask *ask = flight->ask;
    if (ask == NULL) {
        return;
    }
    ask->flight = NULL;
    if (code == STN_OK && heard.kind == STN_CHANNEL_CLIENT_REPLY && heard.counter == flight->counter) {
        hear_reply(ask, &heard);
    } else if (code == STN_AGAIN || code == STN_LATE) { /* the session is not known any more, or has been replaced */
        dialog->must_greet |= code == STN_AGAIN;
        stn_channel_client_forget(dialog->channel, flight->counter);
        again(dialog, ask);
    } else {
        stn_channel_client_forget(dialog->channel, flight->counter);
        finish(ask, STN_IO, NULL);
    }
}

static void on_reply(void *user, enum stn_code code, uint8_t *data, size_t size)
{
    struct stn_dialog_flight *flight = user;
    struct stn_dialog *dialog = flight->dialog;
    if (flight->is_hello) {
        dialog->is_greeting = false;
    }
    if (dialog->is_closing) {
        if (flight->ask != NULL) {
            settle(flight->ask);
        }
    } else if (code == STN_OK) {
        hear(dialog, flight, data, size);
    } else if (flight->is_hello) {
        hear_hello(dialog, code == STN_AGAIN ? STN_IO : code, NULL);
    } else if (flight->ask != NULL) {
        stn_channel_client_forget(dialog->channel, flight->counter);
        flight->ask->flight = NULL;
        finish(flight->ask, code, NULL);
    }
    stn_mem_free(flight);
    pump(dialog);
}

/* ---- what goes out ---- */

static enum stn_code fly(struct stn_dialog *dialog, struct stn_dialog_ask *ask, uint64_t counter, uint32_t timeout_ms)
{
    struct stn_dialog_flight *flight = stn_mem_new(1, sizeof *flight);
    if (flight == NULL) {
        return STN_MEMORY;
    }
    *flight = (struct stn_dialog_flight){.dialog = dialog, .ask = ask, .is_hello = ask == NULL, .counter = counter};
    enum stn_code code = stn_link_ask(dialog->link, dialog->frame.data, dialog->frame.size, timeout_ms, on_reply, flight,
                                      NULL);
    if (code != STN_OK) {
        stn_mem_free(flight);
    } else if (ask != NULL) {
        ask->flight = flight;
    }
    return code;
}

static void greet(struct stn_dialog *dialog)
{
    uint64_t now_ms = stn_loop_now_ms(dialog->loop);
    uint64_t wait_ms = stn_channel_client_wait_ms(dialog->channel, now_ms);
    if (wait_ms > 0) {
        stn_loop_arm(dialog->loop, &dialog->retry, wait_ms);
        return;
    }
    stn_buf_clear(&dialog->frame);
    enum stn_code code = stn_channel_client_start(dialog->channel, now_ms, &dialog->frame, NULL);
    code = code == STN_OK ? fly(dialog, NULL, 0, HELLO_MS) : code;
    if (code == STN_OK) {
        dialog->is_greeting = true;
    } else {
        stn_loop_arm(dialog->loop, &dialog->retry, STN_CHANNEL_CLIENT_WAIT_MIN);
    }
}

/* False when it has to wait for one of those that are out. */
static bool send(struct stn_dialog *dialog, struct stn_dialog_ask *ask)
{
    uint64_t counter = 0, now_ms = stn_loop_now_ms(dialog->loop);
    uint64_t left_ms = ask->timer.due_ms > now_ms ? ask->timer.due_ms - now_ms : 0;
    stn_buf_clear(&dialog->frame);
    enum stn_code code = stn_channel_client_request(dialog->channel, ask->message.data, ask->message.size,
                                                    &dialog->frame, &counter, NULL);
    if (code == STN_OK) {
        code = fly(dialog, ask, counter, (uint32_t)(left_ms + GRACE_MS));
        if (code != STN_OK) {
            stn_channel_client_forget(dialog->channel, counter);
        }
    }
    dialog->frame.failed = false;
    if (code == STN_AGAIN || code == STN_MEMORY) {
        return false;
    }
    stn_list_remove(&ask->link);
    stn_list_add(&dialog->out, &ask->link);
    if (code != STN_OK) { /* not from within the ask */
        ask->code = code;
        stn_loop_arm(dialog->loop, &ask->timer, 0);
    }
    return true;
}

static void pump(struct stn_dialog *dialog)
{
    if (dialog->is_closing) {
        return;
    }
    bool is_open = stn_channel_client_is_open(dialog->channel) && !dialog->must_greet;
    bool is_wanted = dialog->must_greet || !stn_list_is_empty(&dialog->waiting);
    if (!is_open && is_wanted && !dialog->is_greeting) {
        greet(dialog);
    }
    while (is_open && !stn_list_is_empty(&dialog->waiting) && stn_link_n_free(dialog->link) > 0) {
        if (!send(dialog, STN_LIST_OF(dialog->waiting.next, struct stn_dialog_ask, link))) {
            break;
        }
    }
}

static void on_retry(struct stn_timer *timer)
{
    pump(STN_LIST_OF(timer, struct stn_dialog, retry));
}

void stn_dialog_greet(struct stn_dialog *dialog)
{
    dialog->must_greet = true;
    pump(dialog);
}

bool stn_dialog_is_open(const struct stn_dialog *dialog)
{
    return stn_channel_client_is_open(dialog->channel);
}

/* ---- life ---- */

enum stn_code stn_dialog_open(struct stn_dialog **ret, const struct stn_dialog_config *config, struct stn_err *err)
{
    struct stn_dialog *dialog = stn_mem_new(1, sizeof *dialog);
    if (dialog == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a connection");
    }
    *dialog = (struct stn_dialog){.loop = config->loop, .greeted = config->greeted, .user = config->user};
    dialog->retry.fire = on_retry;
    dialog->frame.limit = STN_LINK_MESSAGE_MAX;
    stn_list_init(&dialog->waiting);
    stn_list_init(&dialog->out);
    const struct stn_channel_client_config channel = {.device = config->device, .coordinator = config->key,
                                                      .directory = config->directory, .token = config->token,
                                                      .certificate = config->certificate,
                                                      .version_min = STN_MSG_VERSION, .version_max = STN_MSG_VERSION};
    const struct stn_link_options options = {.n_contexts = STN_DIALOG_WINDOW,
                                             .tls_ca = config->tls_ca[0] == '\0' ? NULL : config->tls_ca,
                                             .reconnect_max_ms = RECONNECT_MOST_MS};
    enum stn_code code = stn_channel_client_new(&dialog->channel, &channel, err);
    code = code == STN_OK ? stn_link_dial(&dialog->link, config->mailbox, config->url, &options, err) : code;
    if (code != STN_OK) {
        stn_channel_client_free(dialog->channel);
        stn_mem_free(dialog);
        return code;
    }
    *ret = dialog;
    return STN_OK;
}

static void on_link_closed(void *user)
{
    struct stn_dialog *dialog = user;
    void (*on_closed)(void *) = dialog->on_closed;
    void *closed_user = dialog->closed_user;
    stn_channel_client_free(dialog->channel);
    stn_buf_fini(&dialog->frame);
    stn_mem_free(dialog);
    if (on_closed != NULL) {
        on_closed(closed_user);
    }
}

void stn_dialog_close(struct stn_dialog *dialog, void (*on_closed)(void *user), void *user)
{
    struct stn_list *link;
    if (dialog == NULL) {
        return;
    }
    dialog->is_closing = true;
    dialog->on_closed = on_closed;
    dialog->closed_user = user;
    stn_loop_disarm(dialog->loop, &dialog->retry);
    while ((link = dialog->waiting.next) != &dialog->waiting) {
        settle(STN_LIST_OF(link, struct stn_dialog_ask, link));
    }
    while ((link = dialog->out.next) != &dialog->out) {
        settle(STN_LIST_OF(link, struct stn_dialog_ask, link));
    }
    stn_link_close(dialog->link, on_link_closed, dialog);
}
