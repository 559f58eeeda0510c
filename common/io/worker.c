#include "io/worker.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

#include "base/mem.h"
#include "io/fd.h"
#include "io/mailbox.h"

struct stn_worker {
    struct stn_mailbox *mailbox;
    struct stn_queue queue;
    struct stn_list jobs; /* submitted and not done; the loop's alone */
    size_t n_jobs;
    bool closed; /* the threads are gone: freed with the last job */
    size_t n_threads;
    pthread_t threads[];
};

static struct stn_job *job_of(struct stn_letter *letter)
{
    return STN_LIST_OF(letter, struct stn_job, letter);
}

static void *work(void *arg)
{
    struct stn_worker *worker = arg;
    struct stn_letter *letter;
    stn_fd_may_wait(true);
    while ((letter = stn_queue_take(&worker->queue)) != NULL) {
        struct stn_job *job = job_of(letter);
        job->run(job);
        job->ran = true;
        stn_mailbox_post(worker->mailbox, letter);
    }
    return NULL;
}

static void deliver(struct stn_letter *letter)
{
    struct stn_job *job = job_of(letter);
    struct stn_worker *worker = job->worker;
    stn_list_remove(&job->link);
    job->worker = NULL;
    worker->n_jobs--;
    if (worker->closed && worker->n_jobs == 0) {
        stn_mem_free(worker);
    }
    job->done(job);
}

/* Starts n_threads of them with every signal blocked: signals are the loop's. How many came to be.
 */
static size_t start_threads(struct stn_worker *worker, size_t n_threads, int *ret_errno)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    size_t n = 0;
    while (n < n_threads &&
           (*ret_errno = pthread_create(&worker->threads[n], NULL, work, worker)) == 0) {
        (void)pthread_setname_np(worker->threads[n], "sterna-worker");
        n++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}

static void stop_threads(struct stn_worker *worker)
{
    stn_queue_end(&worker->queue);
    for (size_t i = 0; i < worker->n_threads; i++) {
        (void)pthread_join(worker->threads[i], NULL);
    }
    stn_queue_fini(&worker->queue);
}

enum stn_code stn_worker_open(struct stn_worker **ret, struct stn_mailbox *mailbox,
                              size_t n_threads, struct stn_err *err)
{
    assert(n_threads > 0 && n_threads <= STN_WORKER_THREADS_MAX);
    struct stn_worker *worker = stn_mem_new(1, sizeof *worker + n_threads * sizeof(pthread_t));
    if (worker == NULL) {
        return stn_err_set(err, STN_MEMORY, "no memory for %zu worker threads", n_threads);
    }
    worker->mailbox = mailbox;
    stn_list_init(&worker->jobs);
    enum stn_code code = stn_queue_init(&worker->queue, NULL, NULL, err);
    if (code != STN_OK) {
        stn_mem_free(worker);
        return code;
    }
    int number = 0;
    worker->n_threads = start_threads(worker, n_threads, &number);
    if (worker->n_threads < n_threads) {
        stop_threads(worker);
        code = stn_err_errno(err, number, "worker thread %zu of %zu", worker->n_threads + 1,
                             n_threads);
        stn_mem_free(worker);
        return code;
    }
    *ret = worker;
    return STN_OK;
}

void stn_worker_close(struct stn_worker *worker)
{
    if (worker == NULL) {
        return;
    }
    /* the last first: a thread whose job ends must not find one that is not cancelled yet */
    for (struct stn_list *at = worker->jobs.prev; at != &worker->jobs; at = at->prev) {
        stn_worker_cancel(STN_LIST_OF(at, struct stn_job, link));
    }
    stop_threads(worker);
    worker->closed = true;
    if (worker->n_jobs == 0) {
        stn_mem_free(worker);
    }
}

void stn_worker_submit(struct stn_worker *worker, struct stn_job *job)
{
    assert(job->worker == NULL && job->run != NULL && job->done != NULL && !worker->closed);
    job->worker = worker;
    job->ran = false;
    atomic_store(&job->cancelled, false);
    job->letter.deliver = deliver;
    stn_list_add(&worker->jobs, &job->link);
    worker->n_jobs++;
    stn_mailbox_lend(worker->mailbox);
    stn_queue_put(&worker->queue, &job->letter);
}

void stn_worker_cancel(struct stn_job *job)
{
    struct stn_worker *worker = job->worker;
    if (worker == NULL || worker->closed) {
        return; /* it is done, or on its way back */
    }
    atomic_store(&job->cancelled, true);
    if (stn_queue_remove(&worker->queue, &job->letter)) {
        stn_mailbox_post(worker->mailbox, &job->letter);
    }
}

bool stn_worker_is_cancelled(const struct stn_job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

size_t stn_worker_n_jobs(const struct stn_worker *worker)
{
    return worker->n_jobs;
}
