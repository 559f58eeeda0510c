/* pool: threads that do the simulated devices' real work while virtual time stands still. A task is handed in, and
 * waited for when virtual time comes to its result; which thread did it, and when, leaves no trace. With one thread
 * there is none: a task runs when it is waited for. */
#ifndef STN_CLIENT_SIMULATE_POOL_H
#define STN_CLIENT_SIMULATE_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"

#define STN_POOL_THREADS_MAX 256

struct stn_pool;

/* Embedded in its owner. From submission until it was waited for it must stay where it is. */
struct stn_pool_task {
    void (*run)(struct stn_pool_task *task, size_t thread); /* thread: below n_threads; no two tasks have one at once */
    struct stn_list link;
    int state; /* the pool's */
};

enum stn_code stn_pool_new(struct stn_pool **ret, size_t n_threads, struct stn_err *err) STN_CHECKED;
/* Every submitted task has been waited for. NULL is fine. */
void stn_pool_free(struct stn_pool *pool);
size_t stn_pool_n_threads(const struct stn_pool *pool);

/* Both on the thread that made the pool. Waiting for one that was not submitted, or was waited for, returns at once. */
void stn_pool_submit(struct stn_pool *pool, struct stn_pool_task *task);
void stn_pool_wait(struct stn_pool *pool, struct stn_pool_task *task);

#endif
