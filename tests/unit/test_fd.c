#include "tests/lib/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
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

/* Long after the worker has begun to look for one. */
static void *give_one_back(void *arg)
{
    ck_assert_int_eq(sem_wait(arg), 0);
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
    struct rusage before, after;
    int fd = -1;
    take_all();
    ck_assert_int_eq(getrusage(RUSAGE_THREAD, &before), 0);
    ck_assert_int_eq(stn_file_open(&fd, "/dev/null", STN_FILE_READ, 0, &err), STN_AGAIN);
    ck_assert_int_eq(getrusage(RUSAGE_THREAD, &after), 0);
    ck_assert_int_lt(after.ru_nvcsw - before.ru_nvcsw, 20); /* it did not lie down as often as one that waits does */
    give_all_back();
}
END_TEST

START_TEST(what_is_kept_is_there_for_files_again_and_again)
{
    enum { N = 3 };
    int fds[N];
    limit_files(FEW);
    stn_fd_keep(N);
    take_all();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            fds[i] = stn_fd_open("/dev/zero", O_RDONLY, 0);
            ck_assert_int_ge(fds[i], 0);
        }
        char byte = 1;
        ck_assert_int_eq(read(fds[N - 1], &byte, 1), 1);
        ck_assert_int_eq(byte, 0);
        ck_assert_int_eq(stn_fd_open("/dev/zero", O_RDONLY, 0), -1);
        ck_assert_int_eq(errno, EMFILE);
        for (int i = 0; i < N; i++) {
            ck_assert_int_eq(stn_fd_close(fds[i]), 0);
            ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), -1); /* no stranger gets it meanwhile */
        }
    }
    give_all_back();
    stn_fd_keep(0);
    take_all();
    ck_assert_int_gt(n_taken, FEW - 16); /* nothing is held any more but what a test holds */
    give_all_back();
}
END_TEST

START_TEST(what_a_stranger_took_is_kept_again_at_the_next_close)
{
    limit_files(FEW);
    stn_fd_keep(1);
    take_all();
    int fd = stn_fd_open("/dev/null", O_RDONLY, 0), other = taken[--n_taken];
    ck_assert_int_ge(fd, 0);
    (void)close(other);
    int late = stn_fd_open("/dev/null", O_RDONLY, 0); /* an ordinary one */
    ck_assert_int_eq(late, other);
    ck_assert_int_eq(stn_fd_close(late), 0);
    ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), -1);
    ck_assert_int_eq(stn_fd_close(fd), 0); /* nothing is missing: let go of */
    taken[n_taken++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(taken[n_taken - 1], fd);
    give_all_back();
    stn_fd_keep(0);
}
END_TEST

static enum stn_code count(void *user, const char *name, struct stn_err *err)
{
    (void)name;
    (void)err;
    ++*(size_t *)user;
    return STN_OK;
}

START_TEST(folders_are_listed_and_removed_by_what_is_kept)
{
    struct stn_err err;
    char folder[] = "/tmp/sterna-test-XXXXXX", path[64];
    size_t n = 0;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/a/b/c", folder);
    ck_assert_int_eq(stn_file_make_folder(path, 0700, &err), STN_OK);
    limit_files(FEW);
    stn_fd_keep(1); /* one is enough, however deep they are */
    take_all();
    for (int round = 0; round < 3; round++) {
        enum stn_code listed = stn_file_list(folder, count, &n, &err);
        ck_assert_msg(listed == STN_OK, "%s", err.text);
        ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), -1); /* it is kept again */
    }
    ck_assert_uint_eq(n, 3);
    enum stn_code removed = stn_file_remove_tree(folder, &err);
    ck_assert_msg(removed == STN_OK, "%s", err.text);
    ck_assert(!stn_file_exists(folder));
    give_all_back();
    stn_fd_keep(0);
}
END_TEST

struct opening {
    struct stn_job job;
    struct stn_worker *worker;
    struct stn_mailbox *mailbox;
    sem_t begun;
    enum stn_code code;
    struct stn_err err;
};

static void run(struct stn_job *job)
{
    struct opening *opening = STN_LIST_OF(job, struct opening, job);
    int fd = -1;
    (void)sem_post(&opening->begun);
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
    ck_assert_int_eq(sem_init(&opening.begun, 0, 0), 0);
    take_all();
    stn_worker_submit(opening.worker, &opening.job);
    ck_assert_int_eq(pthread_create(&giver, NULL, give_one_back, &opening.begun), 0);
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
    tcase_add_test(t, what_is_kept_is_there_for_files_again_and_again);
    tcase_add_test(t, what_a_stranger_took_is_kept_again_at_the_next_close);
    tcase_add_test(t, folders_are_listed_and_removed_by_what_is_kept);
    tcase_add_test(t, a_worker_waits_until_there_is_one);
    suite_add_tcase(s, t);
    return s;
}
