/* usage: what this process has taken of its machine so far: processor time, memory, and the time that it waited for a
 * disk to keep what was written, which file and db add here. Thread: any. */
#ifndef STN_IO_USAGE_H
#define STN_IO_USAGE_H

#include <stdint.h>

enum stn_usage_wait {
    STN_USAGE_SYNC,   /* of a file or a folder */
    STN_USAGE_COMMIT, /* of a database's transaction: its pages written, and synced */
    STN_USAGE_WAITS
};

struct stn_usage {
    double cpu_s;           /* of all threads */
    uint64_t rss, peak_rss; /* bytes in memory; 0 where the system does not say */
    uint64_t n[STN_USAGE_WAITS];
    double wait_s[STN_USAGE_WAITS]; /* of all threads: two that wait together count twice */
};

void stn_usage_read(struct stn_usage *ret);

/* Nanoseconds of a clock that nobody sets; one wait that began at began_ns and has just ended. */
uint64_t stn_usage_now_ns(void);
void stn_usage_waited(enum stn_usage_wait what, uint64_t began_ns);

#endif
