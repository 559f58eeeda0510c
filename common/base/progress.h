/* progress: one line on a terminal with rate and time left, for anything over two seconds; nothing at all when
 * stderr is no terminal. Thread: one at a time. */
#ifndef STN_BASE_PROGRESS_H
#define STN_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct stn_progress {
    const char *what; /* "step", "round" */
    uint64_t total;   /* 0: unknown */
    double started_s, drawn_s;
    bool is_terminal, is_drawn;
};

void stn_progress_start(struct stn_progress *progress, const char *what, uint64_t total);
/* note is a short text behind the rate ("loss 1.234"), or "". */
void stn_progress_at(struct stn_progress *progress, uint64_t done, const char *note);
/* Clears the line. */
void stn_progress_end(struct stn_progress *progress);

#endif
