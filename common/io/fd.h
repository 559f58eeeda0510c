/* fd: file descriptors, of which a process may have too few: every connection takes one, and strangers can make
 * connections. Who serves them raises the limit at its start, keeps some back from connections, and lets its worker
 * threads wait for one instead of failing. Thread: any. */
#ifndef STN_IO_FD_H
#define STN_IO_FD_H

#include <stdbool.h>
#include <stdint.h>

#define STN_FD_WAIT_MS 30000

/* Raises how many this process may hold to as many as the system lets it; returns that number. */
uint64_t stn_fd_allow(void);

/* Whether this thread may sleep until there is one (STN_FD_WAIT_MS at most). No thread may, to begin with. */
void stn_fd_may_wait(bool may_wait);

/* open(2), closed in programs that are started: what it returns, and errno, are its own. A thread that may wait waits where
 * there are too few descriptors. */
int stn_fd_open(const char *path, int flags, unsigned mode);

#endif
