#include "tests/lib/raw.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/random.h>
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
