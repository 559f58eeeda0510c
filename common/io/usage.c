#include "io/usage.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/str.h"

static atomic_uint_fast64_t n_waits[STN_USAGE_WAITS], wait_ns[STN_USAGE_WAITS];

uint64_t stn_usage_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void stn_usage_waited(enum stn_usage_wait what, uint64_t began_ns)
{
    atomic_fetch_add_explicit(&n_waits[what], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&wait_ns[what], stn_usage_now_ns() - began_ns, memory_order_relaxed);
}

/* Lines as "VmHWM:     1234 kB". Not getrusage's peak: that remembers the process which this one was forked from. */
static void read_memory(struct stn_usage *ret)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        bool is_peak = stn_str_starts(line, "VmHWM:"), is_now = stn_str_starts(line, "VmRSS:");
        if ((is_peak || is_now) && sscanf(strchr(line, ':') + 1, "%llu", &kib) == 1) {
            *(is_peak ? &ret->peak_rss : &ret->rss) = (uint64_t)kib << 10;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

void stn_usage_read(struct stn_usage *ret)
{
    struct timespec t = {0};
    *ret = (struct stn_usage){0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    ret->cpu_s = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    for (int i = 0; i < STN_USAGE_WAITS; i++) {
        ret->n[i] = atomic_load_explicit(&n_waits[i], memory_order_relaxed);
        ret->wait_s[i] = (double)atomic_load_explicit(&wait_ns[i], memory_order_relaxed) * 1e-9;
    }
    read_memory(ret);
}
