#include "tests/lib/raw.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in address_of(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

unsigned stn_raw_free_port(void)
{
    for (;;) {
        uint16_t drawn;
        ck_assert_int_eq(getrandom(&drawn, sizeof drawn, 0), sizeof drawn);
        unsigned port = 20000 + drawn % 12000u;
        struct sockaddr_in address = address_of(port);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_ge(fd, 0);
        bool is_free = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
        (void)close(fd);
        if (is_free) {
            return port;
        }
    }
}

int stn_raw_connect(unsigned port)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

bool stn_raw_is_ended(int fd)
{
    struct timeval limit = {.tv_sec = 5};
    char bytes[64];
    ssize_t n = 1;
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    while (n > 0) {
        n = recv(fd, bytes, sizeof bytes, 0);
    }
    bool ended = n == 0 || errno == ECONNRESET;
    (void)close(fd);
    return ended;
}

static int n_files(pid_t pid)
{
    char path[64];
    int n = -2; /* . and .. */
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL) {
        n++;
    }
    (void)closedir(folder);
    return n;
}

void stn_raw_crowd(pid_t pid, unsigned port, int n_free, int *ret_fds, int n)
{
    const struct sockaddr_in address = address_of(port);
    const int most = n_files(pid) + n_free;
    const struct rlimit limit = {.rlim_cur = (rlim_t)most, .rlim_max = (rlim_t)most};
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
    for (int i = 0; i < n; i++) {
        ret_fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(ret_fds[i], 0);
        (void)connect(ret_fds[i], (const struct sockaddr *)&address, sizeof address); /* one that is not let in waits */
    }
    for (int tries = 0; tries < 400 && n_files(pid) < most; tries++) {
        (void)usleep(20000);
    }
    ck_assert_int_ge(n_files(pid), most); /* its own may have higher numbers */
}
