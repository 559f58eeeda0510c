/* worker: a fixed number of threads that do what would hold up the loop: train, add masked chunks,
 * hash. A job is embedded in its owner, owned by nobody else while it runs, and comes back to the
 * loop as a letter. */
#ifndef STN_IO_WORKER_H
#define STN_IO_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"
#include "io/queue.h"

#define STN_WORKER_THREADS_MAX 256

struct stn_mailbox;
struct stn_worker;

/* Zeroed with run and done set is ready. From submission until done is called it must stay where it
 * is. */
struct stn_job {
    void (*run)(
        struct stn_job *job); /* on a worker thread; a long one polls stn_worker_is_cancelled */
    void (*done)(
        struct stn_job *job); /* on the loop, once for each submission; it may free the job */
    bool ran;                 /* in done: run was called and returned */

    /* the worker's */
    atomic_bool cancelled;
    struct stn_letter letter;
    struct stn_list link;
    struct stn_worker *worker;
};

/* The threads have all signals blocked, and may wait for a descriptor (fd.h). The mailbox outlives the
 * worker. The caller closes *ret.
 * Thread: the loop's. */
enum stn_code stn_worker_open(struct stn_worker **ret, struct stn_mailbox *mailbox,
                              size_t n_threads, struct stn_err *err) STN_CHECKED;

/* Cancels every job and waits for those that run to return. Their done is still called, in later
 * turns. NULL is fine. Thread: the loop's. */
void stn_worker_close(struct stn_worker *worker);

/* Jobs start in the order of submission. Thread: the loop's. */
void stn_worker_submit(struct stn_worker *worker, struct stn_job *job);

/* Asks a submitted job to end. One that has not started will not; done is called either way, never
 * from within this. Thread: the loop's. */
void stn_worker_cancel(struct stn_job *job);

/* Whether somebody asked it to end. Thread: any. */
bool stn_worker_is_cancelled(const struct stn_job *job);

/* Jobs that were submitted and are not done. Thread: the loop's. */
size_t stn_worker_n_jobs(const struct stn_worker *worker);

#endif
