#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#define PAUSE_MS 20

static _Thread_local bool may_sleep;

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

void stn_fd_may_wait(bool may_wait)
{
    may_sleep = may_wait;
}

int stn_fd_open(const char *path, int flags, unsigned mode)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    for (int tries = 0;; tries++) {
        int fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
        if (fd >= 0 || !may_sleep || (errno != EMFILE && errno != ENFILE) || tries == STN_FD_WAIT_MS / PAUSE_MS) {
            return fd;
        }
        (void)nanosleep(&pause, NULL);
    }
}
