#include "client/simulate/pool.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"

enum state { RESTING, QUEUED, RUNNING, RAN };

struct member {
    struct stn_pool *pool;
    pthread_t thread;
    size_t number;
};

struct stn_pool {
    size_t n_threads, n_started;
    struct member *members;
    pthread_mutex_t lock;
    pthread_cond_t queued, ran;
    struct stn_list queue;
    bool closing;
};

static void *work(void *user)
{
    struct member *member = user;
    struct stn_pool *pool = member->pool;
    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct stn_list *link = stn_list_pop(&pool->queue);
        if (link == NULL && pool->closing) {
            break;
        }
        if (link == NULL) {
            (void)pthread_cond_wait(&pool->queued, &pool->lock);
            continue;
        }
        struct stn_pool_task *task = STN_LIST_OF(link, struct stn_pool_task, link);
        task->state = RUNNING;
        (void)pthread_mutex_unlock(&pool->lock);
        task->run(task, member->number);
        (void)pthread_mutex_lock(&pool->lock);
        task->state = RAN;
        (void)pthread_cond_broadcast(&pool->ran);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum stn_code stn_pool_new(struct stn_pool **ret, size_t n_threads, struct stn_err *err)
{
    assert(n_threads > 0 && n_threads <= STN_POOL_THREADS_MAX);
    struct stn_pool *pool = stn_mem_new(1, sizeof *pool);
    struct member *members = stn_mem_new(n_threads, sizeof *members);
    if (pool == NULL || members == NULL) {
        stn_mem_free(pool);
        stn_mem_free(members);
        return stn_err_set(err, STN_MEMORY, "no memory for %zu threads", n_threads);
    }
    pool->n_threads = n_threads;
    pool->members = members;
    stn_list_init(&pool->queue);
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->queued, NULL);
    (void)pthread_cond_init(&pool->ran, NULL);
    for (size_t i = 0; n_threads > 1 && i < n_threads; i++) {
        members[i] = (struct member){.pool = pool, .number = i};
        int number = pthread_create(&members[i].thread, NULL, work, &members[i]);
        if (number != 0) {
            stn_pool_free(pool);
            return stn_err_errno(err, number, "thread %zu of %zu", i + 1, n_threads);
        }
        pool->n_started++;
    }
    *ret = pool;
    return STN_OK;
}

void stn_pool_free(struct stn_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    assert(stn_list_is_empty(&pool->queue));
    pool->closing = true;
    (void)pthread_cond_broadcast(&pool->queued);
    (void)pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->n_started; i++) {
        (void)pthread_join(pool->members[i].thread, NULL);
    }
    (void)pthread_cond_destroy(&pool->queued);
    (void)pthread_cond_destroy(&pool->ran);
    (void)pthread_mutex_destroy(&pool->lock);
    stn_mem_free(pool->members);
    stn_mem_free(pool);
}

size_t stn_pool_n_threads(const struct stn_pool *pool)
{
    return pool->n_threads;
}

void stn_pool_submit(struct stn_pool *pool, struct stn_pool_task *task)
{
    assert(task->state == RESTING);
    (void)pthread_mutex_lock(&pool->lock);
    task->state = QUEUED;
    if (pool->n_threads > 1) {
        stn_list_add(&pool->queue, &task->link);
        (void)pthread_cond_signal(&pool->queued);
    }
    (void)pthread_mutex_unlock(&pool->lock);
}

void stn_pool_wait(struct stn_pool *pool, struct stn_pool_task *task)
{
    if (pool->n_threads == 1) {
        if (task->state == QUEUED) {
            task->run(task, 0);
        }
        task->state = RESTING;
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    while (task->state == QUEUED || task->state == RUNNING) {
        (void)pthread_cond_wait(&pool->ran, &pool->lock);
    }
    task->state = RESTING;
    (void)pthread_mutex_unlock(&pool->lock);
}
