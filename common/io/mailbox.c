#include "io/mailbox.h"

#include <assert.h>
#include <stdbool.h>
#include <uv.h>

#include "base/mem.h"
#include "io/loop.h"

struct stn_mailbox {
    uv_async_t async;
    struct stn_queue queue;
    size_t n_out;
    bool closing;
    bool delivering;
    void (*on_closed)(void *user);
    void *user;
};

/* Under the queue's lock: the loop cannot take the letter, and close the handle, before this has
 * returned. */
static void wake(void *user)
{
    struct stn_mailbox *mailbox = user;
    (void)uv_async_send(&mailbox->async);
}

static void after_close(uv_handle_t *handle)
{
    struct stn_mailbox *mailbox = handle->data;
    void (*on_closed)(void *user) = mailbox->on_closed;
    void *user = mailbox->user;
    stn_queue_fini(&mailbox->queue);
    stn_mem_free(mailbox);
    if (on_closed != NULL) {
        on_closed(user);
    }
}

static void settle(struct stn_mailbox *mailbox)
{
    uv_handle_t *handle = (uv_handle_t *)&mailbox->async;
    if (mailbox->n_out > 0) {
        uv_ref(handle);
    } else {
        uv_unref(handle);
    }
    if (mailbox->closing && mailbox->n_out == 0 && !mailbox->delivering && !uv_is_closing(handle)) {
        uv_close(handle, after_close);
    }
}

static void on_async(uv_async_t *async)
{
    struct stn_mailbox *mailbox = async->data;
    struct stn_letter *letter = stn_queue_take_all(&mailbox->queue);
    mailbox->delivering = true;
    while (letter != NULL) {
        struct stn_letter *next = letter->next;
        assert(mailbox->n_out > 0); /* a letter that nobody lent */
        mailbox->n_out--;
        letter->deliver(letter); /* the letter may be gone now */
        letter = next;
    }
    mailbox->delivering = false;
    settle(mailbox);
}

enum stn_code stn_mailbox_open(struct stn_mailbox **ret, struct stn_loop *loop, struct stn_err *err)
{
    struct stn_mailbox *mailbox = stn_mem_new(1, sizeof *mailbox);
    if (mailbox == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for a mailbox");
    }
    enum stn_code code = stn_queue_init(&mailbox->queue, wake, mailbox, err);
    if (code != STN_OK) {
        stn_mem_free(mailbox);
        return code;
    }
    int rc = uv_async_init(stn_loop_uv(loop), &mailbox->async, on_async);
    if (rc != 0) {
        stn_queue_fini(&mailbox->queue);
        stn_mem_free(mailbox);
        return stn_loop_uv_err(err, rc, "mailbox");
    }
    mailbox->async.data = mailbox;
    settle(mailbox);
    *ret = mailbox;
    return STN_OK;
}

void stn_mailbox_close(struct stn_mailbox *mailbox, void (*on_closed)(void *user), void *user)
{
    if (mailbox == NULL) {
        return;
    }
    assert(!mailbox->closing);
    mailbox->closing = true;
    mailbox->on_closed = on_closed;
    mailbox->user = user;
    settle(mailbox);
}

void stn_mailbox_lend(struct stn_mailbox *mailbox)
{
    assert(!uv_is_closing((uv_handle_t *)&mailbox->async));
    mailbox->n_out++;
    settle(mailbox);
}

void stn_mailbox_post(struct stn_mailbox *mailbox, struct stn_letter *letter)
{
    assert(letter->deliver != NULL);
    stn_queue_put(&mailbox->queue, letter);
}

size_t stn_mailbox_n_out(const struct stn_mailbox *mailbox)
{
    return mailbox->n_out;
}
