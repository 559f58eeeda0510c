/* queue: letters in the order they were put, behind the one lock of the house. Mailboxes and
 * workers stand on it; nobody else should want it. Thread: any, for every call but init and fini.
 */
#ifndef STN_IO_QUEUE_H
#define STN_IO_QUEUE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

/* Embedded in what it is about; between put and take it is the queue's. */
struct stn_letter {
    struct stn_letter *next;
    void (*deliver)(struct stn_letter *letter); /* called on the loop thread */
};

struct stn_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct stn_letter *first, *last;
    bool ended;
    void (*wake)(void *user); /* may be NULL; called under the lock, so that who takes cannot be
                                 ahead of it */
    void *user;
};

enum stn_code stn_queue_init(struct stn_queue *queue, void (*wake)(void *user), void *user,
                             struct stn_err *err) STN_CHECKED;
/* It must be empty, and no call under way. */
void stn_queue_fini(struct stn_queue *queue);

void stn_queue_put(struct stn_queue *queue, struct stn_letter *letter);
/* All letters, linked by next in their order, or NULL. Does not wait. */
struct stn_letter *stn_queue_take_all(struct stn_queue *queue);
/* Waits for a letter. NULL when the queue has ended. */
struct stn_letter *stn_queue_take(struct stn_queue *queue);
/* False when it is not in the queue. */
bool stn_queue_remove(struct stn_queue *queue, struct stn_letter *letter);
/* Every stn_queue_take, now and later, gives NULL. */
void stn_queue_end(struct stn_queue *queue);

#endif
