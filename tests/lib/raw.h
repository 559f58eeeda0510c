/* raw: a TCP connection to a port of this machine that speaks as the test likes. */
#ifndef STN_TESTS_RAW_H
#define STN_TESTS_RAW_H

#include <stdbool.h>
#include <sys/types.h>

/* A port that is free, as tests/lib/port.py finds one: below those that the system gives to clients. */
unsigned stn_raw_free_port(void);

/* The caller closes it. A connection that cannot be had ends the test. */
int stn_raw_connect(unsigned port);

/* True when the other end ends the connection within some seconds; it is closed in any case. */
bool stn_raw_is_ended(int fd);

/* n strangers connect and say nothing, until a process that listens there has no descriptor left: it is allowed n_free more than
 * it has. The caller closes them. */
void stn_raw_crowd(pid_t pid, unsigned port, int n_free, int *ret_fds, int n);

#endif
