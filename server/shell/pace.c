#include "server/shell/pace.h"

static void send_some(struct stn_timer *timer)
{
    struct stn_pace *pace = STN_LIST_OF(timer, struct stn_pace, timer);
    size_t size = 0;
    while (size < STN_PACE_BYTES && !stn_list_is_empty(&pace->waiting)) {
        size += pace->send(stn_list_pop(&pace->waiting));
    }
    if (!stn_list_is_empty(&pace->waiting)) {
        stn_loop_arm(pace->loop, &pace->timer, STN_PACE_MS);
    }
}

void stn_pace_open(struct stn_pace *pace, struct stn_loop *loop, size_t (*send)(struct stn_list *answer))
{
    *pace = (struct stn_pace){.loop = loop, .timer.fire = send_some, .send = send};
    stn_list_init(&pace->waiting);
}

void stn_pace_add(struct stn_pace *pace, struct stn_list *answer)
{
    if (stn_list_is_empty(&pace->waiting)) {
        stn_loop_arm(pace->loop, &pace->timer, 0);
    }
    stn_list_add(&pace->waiting, answer);
}
