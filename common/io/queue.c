#include "io/queue.h"

#include <assert.h>
#include <stddef.h>

enum stn_code stn_queue_init(struct stn_queue *queue, void (*wake)(void *user), void *user,
                             struct stn_err *err)
{
    *queue = (struct stn_queue){.wake = wake, .user = user};
    int rc = pthread_mutex_init(&queue->lock, NULL);
    if (rc != 0) {
        return stn_err_errno(err, rc, "mutex");
    }
    rc = pthread_cond_init(&queue->filled, NULL);
    if (rc != 0) {
        (void)pthread_mutex_destroy(&queue->lock);
        return stn_err_errno(err, rc, "condition variable");
    }
    return STN_OK;
}

void stn_queue_fini(struct stn_queue *queue)
{
    assert(queue->first == NULL);
    (void)pthread_cond_destroy(&queue->filled);
    (void)pthread_mutex_destroy(&queue->lock);
}

static void lock(struct stn_queue *queue)
{
    int rc = pthread_mutex_lock(&queue->lock);
    assert(rc == 0); /* fails only for a mutex that is none */
    (void)rc;
}

static void unlock(struct stn_queue *queue)
{
    (void)pthread_mutex_unlock(&queue->lock);
}

void stn_queue_put(struct stn_queue *queue, struct stn_letter *letter)
{
    letter->next = NULL;
    lock(queue);
    if (queue->first == NULL) {
        queue->first = letter;
    } else {
        queue->last->next = letter;
    }
    queue->last = letter;
    if (queue->wake != NULL) {
        queue->wake(queue->user);
    } else {
        (void)pthread_cond_signal(&queue->filled);
    }
    unlock(queue);
    /* the letter is no longer ours to read, and the queue may be gone */
}

struct stn_letter *stn_queue_take_all(struct stn_queue *queue)
{
    lock(queue);
    struct stn_letter *first = queue->first;
    queue->first = queue->last = NULL;
    unlock(queue);
    return first;
}

struct stn_letter *stn_queue_take(struct stn_queue *queue)
{
    lock(queue);
    while (queue->first == NULL && !queue->ended) {
        (void)pthread_cond_wait(&queue->filled, &queue->lock);
    }
    struct stn_letter *letter = queue->ended ? NULL : queue->first;
    if (letter != NULL) {
        queue->first = letter->next;
    }
    unlock(queue);
    return letter;
}

bool stn_queue_remove(struct stn_queue *queue, struct stn_letter *letter)
{
    bool found = false;
    lock(queue);
    for (struct stn_letter *at = queue->first, *before = NULL; at != NULL && !found;
         at = at->next) {
        if (at == letter) {
            *(before == NULL ? &queue->first : &before->next) = at->next;
            queue->last = queue->last == at ? before : queue->last;
            found = true;
        }
        before = at;
    }
    unlock(queue);
    return found;
}

void stn_queue_end(struct stn_queue *queue)
{
    lock(queue);
    queue->ended = true;
    (void)pthread_cond_broadcast(&queue->filled);
    unlock(queue);
}
