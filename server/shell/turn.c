#include "server/shell/turn.h"

#include <stdlib.h>

#include "base/log.h"

static void end_turn(void *user)
{
    struct stn_turn *turn = user;
    while (stn_store_is_dirty(turn->store) || !stn_list_is_empty(&turn->after)) {
        struct stn_err err = {0};
        if (stn_store_commit(turn->store, &err) != STN_OK) {
            stn_turn_die("commit_failed", &err);
        }
        struct stn_list now;
        stn_list_init(&now);
        for (struct stn_list *link; (link = stn_list_pop(&turn->after)) != NULL;) {
            stn_list_add(&now, link);
        }
        for (struct stn_list *link; (link = stn_list_pop(&now)) != NULL;) {
            struct stn_after *after = STN_LIST_OF(link, struct stn_after, link);
            after->run(after);
        }
    }
}

void stn_turn_open(struct stn_turn *turn, struct stn_loop *loop, struct stn_store *store)
{
    turn->loop = loop;
    turn->store = store;
    stn_list_init(&turn->after);
    turn->hook = (struct stn_loop_hook){.turn = end_turn, .user = turn};
    stn_loop_add_hook(loop, &turn->hook);
}

void stn_turn_close(struct stn_turn *turn)
{
    if (turn->loop != NULL) {
        stn_loop_remove_hook(turn->loop, &turn->hook);
        turn->loop = NULL;
    }
}

void stn_turn_after(struct stn_turn *turn, struct stn_after *after)
{
    stn_list_add(&turn->after, &after->link);
}

_Noreturn void stn_turn_die(const char *event, const struct stn_err *err)
{
    stn_log_err(STN_LOG_ERROR, event, err);
    _Exit(EXIT_FAILURE); /* other threads are at work: no handler may run under them */
}
