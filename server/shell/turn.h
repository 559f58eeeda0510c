/* turn: a loop turn is a transaction. What was written during the turn is committed at its end, and only then what was
 * promised leaves: replies go out (but for chunks of blobs, which promise nothing), files that are not needed any more are removed. Here is the one place in which
 * "nothing is promised before it is on disk" is kept. A commit that fails ends the process: the turn cannot be undone,
 * and the next process starts from what was on disk. Thread: the loop's. */
#ifndef STN_SERVER_SHELL_TURN_H
#define STN_SERVER_SHELL_TURN_H

#include "base/err.h"
#include "base/list.h"
#include "io/loop.h"
#include "server/shell/store.h"

/* Something to do after the commit; embedded in its owner. */
struct stn_after {
    struct stn_list link;
    void (*run)(struct stn_after *after); /* once; it may free itself, and write what the next commit keeps */
};

struct stn_turn {
    struct stn_loop *loop;
    struct stn_store *store;
    struct stn_list after;
    struct stn_loop_hook hook;
};

void stn_turn_open(struct stn_turn *turn, struct stn_loop *loop, struct stn_store *store);
/* What was not committed never was; nothing is run any more. Zeroed is fine. */
void stn_turn_close(struct stn_turn *turn);

/* In the order of the calls. */
void stn_turn_after(struct stn_turn *turn, struct stn_after *after);

/* Logs what went wrong and ends the process: for failures after which this process knows less than its disk. */
_Noreturn void stn_turn_die(const char *event, const struct stn_err *err);

#endif
