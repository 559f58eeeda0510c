#include "client/shell/send.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "io/loop.h"

static void end(struct stn_send *send, enum stn_code code)
{
    stn_send_stop(send);
    send->told(send->user, code);
}

/* Why a reply is not the one that was hoped for. */
static enum stn_code code_of(enum stn_code code, const struct stn_msg *reply)
{
    if (code != STN_OK) {
        return code;
    }
    if (reply->type == STN_MSG_REFUSED) {
        return (enum stn_code)reply->refused.code;
    }
    return reply->type == STN_MSG_VOIDED ? STN_LATE : reply->type == STN_MSG_WAIT ? STN_AGAIN : STN_INVALID;
}

/* ---- chunks ---- */

static void on_put(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply);

/* How long the next run has to wait for its turn. */
static uint64_t pace_ms(struct stn_send *send, size_t size)
{
    uint64_t now_ms = stn_loop_now_ms(send->loop);
    if (send->kbps == 0) {
        return 0;
    }
    if (send->next_ms > now_ms) {
        return send->next_ms - now_ms;
    }
    send->next_ms = now_ms + (uint64_t)size * 8 / send->kbps;
    return 0;
}

/* How many of what is missing go together. */
static size_t run_at(const struct stn_send *send, size_t at)
{
    size_t n = 1, most = send->kbps == 0 ? STN_MSG_CHUNKS : 1;
    while (n < most && at + n < send->n_missing && send->missing[at + n] == send->missing[at] + n) {
        n++;
    }
    return n;
}

static void put(struct stn_send *send, struct stn_send_slot *slot, uint32_t index, size_t n)
{
    size_t size = stn_digest_run_size(send->size, index, n);
    slot->send = send;
    slot->ask.told = on_put;
    send->n_out++;
    stn_dialog_ask(send->dialog, &slot->ask,
                   &(struct stn_msg){.type = STN_MSG_PUT_CHUNK,
                                     .put_chunk = {.round = send->round, .index = index, .size = (uint32_t)size,
                                                   .data = send->data + (size_t)index * STN_DIGEST_CHUNK}},
                   (uint32_t)n * STN_SEND_MS);
}

static void go_on(struct stn_send *send)
{
    for (size_t i = 0; i < STN_SEND_WINDOW && send->next < send->n_missing; i++) {
        if (send->slots[i].ask.is_asked) {
            continue;
        }
        uint32_t index = send->missing[send->next];
        size_t n = run_at(send, send->next);
        uint64_t wait_ms = pace_ms(send, stn_digest_run_size(send->size, index, n));
        if (wait_ms > 0) {
            stn_loop_arm(send->loop, &send->timer, wait_ms);
            return;
        }
        send->next += n;
        put(send, &send->slots[i], index, n);
    }
    if (send->n_out == 0 && send->next == send->n_missing) {
        end(send, STN_OK);
    }
}

static void on_pace(struct stn_timer *timer)
{
    go_on(STN_LIST_OF(timer, struct stn_send, timer));
}

static void on_put(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply)
{
    struct stn_send *send = STN_LIST_OF(ask, struct stn_send_slot, ask)->send;
    send->n_out--;
    if (code != STN_OK || reply->type != STN_MSG_OK) {
        end(send, code_of(code, reply));
    } else {
        go_on(send);
    }
}

/* ---- what is missing ---- */

static enum stn_code take_missing(struct stn_send *send, const struct stn_msg_missing *missing)
{
    uint64_t n_chunks = stn_digest_n_chunks(send->size);
    if (memcmp(&missing->round, &send->round, sizeof send->round) != 0 || missing->n_chunks != n_chunks ||
        missing->n_missing > n_chunks) {
        return STN_INVALID;
    }
    for (uint32_t i = 0; i < missing->n_missing; i++) {
        if (missing->missing[i] >= n_chunks) {
            return STN_INVALID;
        }
    }
    send->missing = stn_mem_copy(missing->missing, missing->n_missing * sizeof *send->missing);
    if (send->missing == NULL) {
        return STN_MEMORY;
    }
    send->n_missing = missing->n_missing;
    return STN_OK;
}

static void on_missing(struct stn_dialog_ask *ask, enum stn_code code, const struct stn_msg *reply)
{
    struct stn_send *send = STN_LIST_OF(ask, struct stn_send, begin);
    if (code != STN_OK || reply->type != STN_MSG_MISSING) {
        end(send, code_of(code, reply));
        return;
    }
    code = take_missing(send, &reply->missing);
    if (code != STN_OK) {
        end(send, code);
    } else {
        go_on(send);
    }
}

/* ---- life ---- */

void stn_send_begin(struct stn_send *send, const struct stn_round_id *round, const uint8_t *data, uint64_t size)
{
    assert(!send->is_busy);
    send->is_busy = true;
    send->round = *round;
    send->data = data;
    send->size = size;
    send->n_out = 0;
    send->next = 0;
    send->next_ms = 0;
    send->timer = (struct stn_timer){.fire = on_pace};
    send->begin.told = on_missing;
    stn_dialog_ask(send->dialog, &send->begin,
                   &(struct stn_msg){.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = *round, .size = size}}, STN_SEND_MS);
}

void stn_send_stop(struct stn_send *send)
{
    if (!send->is_busy) {
        return;
    }
    stn_dialog_drop(&send->begin);
    for (size_t i = 0; i < STN_SEND_WINDOW; i++) {
        stn_dialog_drop(&send->slots[i].ask);
    }
    stn_loop_disarm(send->loop, &send->timer);
    stn_mem_free(send->missing);
    send->data = NULL;
    send->missing = NULL;
    send->n_missing = 0;
    send->is_busy = false;
}
