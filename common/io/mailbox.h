/* mailbox: how another thread tells the loop something: it posts a letter, and nothing else. The
 * letter is embedded in what it is about, so that the hand-over never allocates and never fails.
 * Who gives a letter away says so first (stn_mailbox_lend): the mailbox counts those that are out,
 * and closes when the last came back. */
#ifndef STN_IO_MAILBOX_H
#define STN_IO_MAILBOX_H

#include <stddef.h>

#include "base/err.h"
#include "io/queue.h"

struct stn_loop;
struct stn_mailbox;

/* The caller closes *ret. Thread: the loop's. */
enum stn_code stn_mailbox_open(struct stn_mailbox **ret, struct stn_loop *loop,
                               struct stn_err *err) STN_CHECKED;

/* on_closed (which may be NULL) is called on the loop when the last letter came back and was
 * delivered; the mailbox is freed by then. Letters may still be lent until that. NULL is fine.
 * Thread: the loop's. */
void stn_mailbox_close(struct stn_mailbox *mailbox, void (*on_closed)(void *user), void *user);

/* The letter goes out: another thread will post it, once. While one is out it keeps the loop
 * running. Thread: the loop's. */
void stn_mailbox_lend(struct stn_mailbox *mailbox);

/* letter->deliver(letter) will be called on the loop, in the order of posting; the letter is then
 * no longer out, and may be lent again or freed. The caller must not touch it after this. Thread:
 * any. */
void stn_mailbox_post(struct stn_mailbox *mailbox, struct stn_letter *letter);

/* How many are out. Thread: the loop's. */
size_t stn_mailbox_n_out(const struct stn_mailbox *mailbox);

#endif
