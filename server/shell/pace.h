/* pace: large answers are made and sent a few at a time, so that what they take does not grow with how many wait: a turn
 * makes at most STN_PACE_BYTES and one answer more, and the network has STN_PACE_MS to take them before the next turn
 * makes more (250 MB/s at most). Time paces them and not the network, so that peers that do not take theirs hold up
 * nobody. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_PACE_H
#define STN_SERVER_SHELL_PACE_H

#include <stddef.h>

#include "base/list.h"
#include "io/loop.h"

#define STN_PACE_BYTES ((size_t)256 << 10)
#define STN_PACE_MS 1

struct stn_pace {
    struct stn_loop *loop;
    struct stn_timer timer;
    struct stn_list waiting; /* the first to leave first; one that is wanted no more removes itself */
    size_t (*send)(struct stn_list *answer);
};

/* send makes an answer, which is out of the list by then, and says how many bytes it took. */
void stn_pace_open(struct stn_pace *pace, struct stn_loop *loop, size_t (*send)(struct stn_list *answer));

/* It is sent in a later turn, and never in this call. */
void stn_pace_add(struct stn_pace *pace, struct stn_list *answer);

#endif
