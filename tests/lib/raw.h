/* raw: a TCP connection to a port of this machine that speaks as the test likes. */
#ifndef STN_TESTS_RAW_H
#define STN_TESTS_RAW_H

#include <stdbool.h>

/* A port that is free, as tests/lib/port.py finds one: below those that the system gives to clients. */
unsigned stn_raw_free_port(void);

/* The caller closes it. A connection that cannot be had ends the test. */
int stn_raw_connect(unsigned port);

/* True when the other end ends the connection within some seconds; it is closed in any case. */
bool stn_raw_is_ended(int fd);

#endif
