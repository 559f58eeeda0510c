/* timer: the armed timers of a loop, earliest first: an intrusive pairing heap (Fredman and others,
 * 1986), so that arming never allocates and an owner may free its timer the moment it is disarmed.
 * Those of equal time come out in the order they went in. Owners use stn_loop_arm and
 * stn_loop_disarm. Thread: the loop's. */
#ifndef STN_IO_TIMER_H
#define STN_IO_TIMER_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in its owner; zeroed with fire set is disarmed and ready. The rest belongs to the heap.
 */
struct stn_timer {
    void (*fire)(
        struct stn_timer *timer); /* once for each arming; it may arm again and may free itself */
    uint64_t due_ms;
    uint64_t number; /* which arming of the loop it was */
    struct stn_timer *child, *next,
        *prev; /* prev: the elder sibling, or the parent of an eldest child */
    bool armed;
};

/* Each returns the new root. */
struct stn_timer *stn_timer_add(struct stn_timer *root, struct stn_timer *timer);
struct stn_timer *stn_timer_remove(struct stn_timer *root, struct stn_timer *timer);

#endif
