#include "io/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 20

enum { MISSING = -1, BUSY = -2 }; /* a place without a descriptor, and one that a thread has in hand */

static _Thread_local bool may_sleep;
static atomic_int kept[STN_FD_KEPT_MAX]; /* n_kept of them: a descriptor of /dev/null, or one of the above */
static size_t n_kept;
static atomic_size_t n_missing;
static int null = -1; /* of which those that are kept are copies */

uint64_t stn_fd_allow(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024; /* of the standard; it cannot fail */
    }
    if (limit.rlim_cur < limit.rlim_max) {
        const struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        limit.rlim_cur = setrlimit(RLIMIT_NOFILE, &raised) == 0 ? limit.rlim_max : limit.rlim_cur;
    }
    return limit.rlim_cur;
}

void stn_fd_keep(size_t n)
{
    assert(n <= STN_FD_KEPT_MAX);
    for (size_t i = 0; i < n_kept; i++) {
        if (atomic_load(&kept[i]) >= 0) {
            (void)close(atomic_load(&kept[i]));
        }
    }
    if (null >= 0) {
        (void)close(null);
    }
    null = n == 0 ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
    n_kept = null < 0 ? 0 : n;
    atomic_store(&n_missing, 0);
    for (size_t i = 0; i < n_kept; i++) {
        int fd = fcntl(null, F_DUPFD_CLOEXEC, 0);
        atomic_store(&kept[i], fd < 0 ? MISSING : fd);
        atomic_fetch_add(&n_missing, fd < 0);
    }
}

void stn_fd_may_wait(bool may_wait)
{
    may_sleep = may_wait;
}

/* Closes one of those that are kept. Whether there was one. */
static bool give_up(void)
{
    for (size_t i = 0; i < n_kept; i++) {
        int fd = atomic_load(&kept[i]);
        if (fd >= 0 && atomic_compare_exchange_strong(&kept[i], &fd, MISSING)) {
            atomic_fetch_add(&n_missing, 1);
            (void)close(fd);
            return true;
        }
    }
    return false;
}

/* A connection may be quicker than we are to take what was given up: there are others. */
int stn_fd_open(const char *path, int flags, unsigned mode)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    for (int tries = 0;;) {
        int fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
        if (fd >= 0 || (errno != EMFILE && errno != ENFILE)) {
            return fd;
        }
        int number = errno;
        if (give_up()) {
            continue;
        }
        if (!may_sleep || tries++ == STN_FD_WAIT_MS / PAUSE_MS) {
            errno = number;
            return -1;
        }
        (void)nanosleep(&pause, NULL);
    }
}

int stn_fd_close(int fd)
{
    for (size_t i = 0; i < n_kept && atomic_load(&n_missing) > 0; i++) {
        int was = MISSING;
        if (!atomic_compare_exchange_strong(&kept[i], &was, BUSY)) {
            continue;
        }
        bool ok = dup3(null, fd, O_CLOEXEC) == fd;
        if (ok) {
            atomic_fetch_sub(&n_missing, 1);
        }
        atomic_store(&kept[i], ok ? fd : MISSING);
        if (ok) {
            return 0;
        }
        break;
    }
    return close(fd);
}
