#include "tests/lib/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/fd.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/mailbox.h"
#include "io/worker.h"

#define FEW 64

static int taken[FEW], n_taken;

static void limit_files(rlim_t n)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = n;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void take_all(void)
{
    limit_files(FEW);
    for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) {
        taken[n_taken++] = fd;
    }
    ck_assert_int_eq(errno, EMFILE);
}

/* Sanitizers open files as the process ends. */
static void give_all_back(void)
{
    while (n_taken > 0) {
        (void)close(taken[--n_taken]);
    }
}

static void *give_one_back(void *arg)
{
    (void)arg;
    (void)usleep(200000);
    (void)close(taken[--n_taken]);
    return NULL;
}

START_TEST(as_many_files_are_allowed_as_the_system_lets_a_process_hold)
{
    struct rlimit limit;
    limit_files(FEW);
    uint64_t allowed = stn_fd_allow();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(allowed, limit.rlim_max);
    ck_assert_uint_eq(limit.rlim_cur, limit.rlim_max);
}
END_TEST

START_TEST(the_loops_thread_is_told_at_once_that_there_are_none)
{
    struct stn_err err;
    int fd = -1;
    take_all();
    uint64_t began_ms = stn_loop_clock_ms();
    ck_assert_int_eq(stn_file_open(&fd, "/dev/null", STN_FILE_READ, 0, &err), STN_IO);
    ck_assert_uint_lt(stn_loop_clock_ms() - began_ms, 1000);
    give_all_back();
}
END_TEST

struct opening {
    struct stn_job job;
    struct stn_worker *worker;
    struct stn_mailbox *mailbox;
    enum stn_code code;
    struct stn_err err;
};

static void run(struct stn_job *job)
{
    struct opening *opening = STN_LIST_OF(job, struct opening, job);
    int fd = -1;
    opening->code = stn_file_open(&fd, "/dev/null", STN_FILE_READ, 0, &opening->err);
    stn_file_close(fd);
}

static void done(struct stn_job *job)
{
    struct opening *opening = STN_LIST_OF(job, struct opening, job);
    stn_worker_close(opening->worker);
    stn_mailbox_close(opening->mailbox, NULL, NULL);
}

START_TEST(a_worker_waits_until_there_is_one)
{
    struct stn_err err;
    struct stn_loop *loop = NULL;
    pthread_t giver;
    struct opening opening = {.job = {.run = run, .done = done}};
    ck_assert_int_eq(stn_loop_open(&loop, &err), STN_OK);
    ck_assert_int_eq(stn_mailbox_open(&opening.mailbox, loop, &err), STN_OK);
    ck_assert_int_eq(stn_worker_open(&opening.worker, opening.mailbox, 1, &err), STN_OK);
    take_all();
    stn_worker_submit(opening.worker, &opening.job);
    ck_assert_int_eq(pthread_create(&giver, NULL, give_one_back, NULL), 0);
    stn_loop_run(loop);
    ck_assert_int_eq(pthread_join(giver, NULL), 0);
    ck_assert_msg(opening.code == STN_OK, "%s", opening.err.text);
    stn_loop_close(loop);
    give_all_back();
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("fd");
    TCase *t = tcase_create("fd");
    tcase_add_test(t, as_many_files_are_allowed_as_the_system_lets_a_process_hold);
    tcase_add_test(t, the_loops_thread_is_told_at_once_that_there_are_none);
    tcase_add_test(t, a_worker_waits_until_there_is_one);
    suite_add_tcase(s, t);
    return s;
}
