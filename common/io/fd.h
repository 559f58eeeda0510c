/* fd: file descriptors, of which a process may have too few: every connection takes one, and strangers can make
 * connections, also such that nobody counts because they have not said anything yet. Who serves them raises the limit at its
 * start, keeps some descriptors back for files, and lets its worker threads wait for one. Thread: any, but for stn_fd_keep. */
#ifndef STN_IO_FD_H
#define STN_IO_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STN_FD_WAIT_MS 2000
#define STN_FD_KEPT_MAX 2048

/* Raises how many this process may hold to as many as the system lets it; returns that number. */
uint64_t stn_fd_allow(void);

/* Holds n descriptors, or as many as there are, that stn_fd_open uses where it gets no other, and that stn_fd_close holds
 * again. 0 lets go of them. Thread: one, while no other opens or closes. */
void stn_fd_keep(size_t n);

/* Whether this thread may sleep until there is one (STN_FD_WAIT_MS at most). No thread may, to begin with. */
void stn_fd_may_wait(bool may_wait);

/* open(2), closed in programs that are started: what it returns, and errno, are its own. Where there are too few descriptors
 * it takes one that is kept; when there is none either, a thread that may wait waits. */
int stn_fd_open(const char *path, int flags, unsigned mode);

/* close(2) of what stn_fd_open returned. Where one is missing of those that are kept, the number is kept from then on, without
 * a moment in which a connection could take it; then nothing fails, so that what must not be lost is synced before. */
int stn_fd_close(int fd);

#endif
