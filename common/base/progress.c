#include "base/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_AFTER_S 2.0
#define EVERY_S 0.2

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void stn_progress_start(struct stn_progress *progress, const char *what, uint64_t total)
{
    *progress = (struct stn_progress){.what = what, .total = total, .started_s = now_s(),
                                      .is_terminal = isatty(STDERR_FILENO) == 1};
}

void stn_progress_at(struct stn_progress *progress, uint64_t done, const char *note)
{
    double now = progress->is_terminal ? now_s() : 0, gone = now - progress->started_s;
    if (!progress->is_terminal || gone < FIRST_AFTER_S || now - progress->drawn_s < EVERY_S || done == 0) {
        return;
    }
    double rate = (double)done / gone;
    if (progress->total > 0) {
        double left = (double)(progress->total - (done < progress->total ? done : progress->total)) / rate;
        (void)fprintf(stderr, "\r\033[K%s %llu/%llu  %.1f/s  %.0f:%02d left  %s", progress->what,
                      (unsigned long long)done, (unsigned long long)progress->total, rate,
                      left / 60 >= 1 ? (double)(int)(left / 60) : 0.0, (int)left % 60, note);
    } else {
        (void)fprintf(stderr, "\r\033[K%s %llu  %.1f/s  %s", progress->what, (unsigned long long)done, rate, note);
    }
    (void)fflush(stderr);
    progress->drawn_s = now;
    progress->is_drawn = true;
}

void stn_progress_end(struct stn_progress *progress)
{
    if (progress->is_drawn) {
        (void)fprintf(stderr, "\r\033[K");
        (void)fflush(stderr);
        progress->is_drawn = false;
    }
}
