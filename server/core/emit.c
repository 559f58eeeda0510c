#include "server/core/emit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

void *stn_emit_need(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

void stn_emit_set(struct stn_map *map, const void *key, size_t key_size, void *value)
{
    if (!stn_map_set(map, key, key_size, value)) {
        abort();
    }
}

struct stn_server_effect *stn_emit_new(struct stn_emit *emit, enum stn_server_effect_type type)
{
    struct stn_server_effects *effects = emit->effects;
    if (effects->n == effects->room) {
        size_t room = effects->room == 0 ? 16 : effects->room * 2;
        effects->items = stn_emit_need(stn_mem_grow(effects->items, room, sizeof *effects->items));
        effects->room = room;
    }
    struct stn_server_effect *effect = &effects->items[effects->n++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void stn_emit_save_task(struct stn_emit *emit, const struct stn_task_record *record)
{
    struct stn_record *to = &stn_emit_new(emit, STN_SERVER_SAVE)->record;
    to->type = STN_RECORD_TASK;
    to->task = *record;
}

void stn_emit_save_version(struct stn_emit *emit, const struct stn_version_record *record)
{
    struct stn_record *to = &stn_emit_new(emit, STN_SERVER_SAVE)->record;
    to->type = STN_RECORD_VERSION;
    to->version = *record;
}

void stn_emit_save_round(struct stn_emit *emit, const struct stn_round_record *record)
{
    struct stn_record *to = &stn_emit_new(emit, STN_SERVER_SAVE)->record;
    to->type = STN_RECORD_ROUND;
    to->round = *record;
}

void stn_emit_save_member(struct stn_emit *emit, const struct stn_member_record *record)
{
    struct stn_record *to = &stn_emit_new(emit, STN_SERVER_SAVE)->record;
    to->type = STN_RECORD_MEMBER;
    to->member = *record;
}

void stn_emit_save_lease(struct stn_emit *emit, const struct stn_lease_record *record)
{
    struct stn_record *to = &stn_emit_new(emit, STN_SERVER_SAVE)->record;
    to->type = STN_RECORD_LEASE;
    to->lease = *record;
}

void stn_emit_forget(struct stn_emit *emit, const struct stn_record *record)
{
    stn_emit_new(emit, STN_SERVER_FORGET)->record = *record;
}

void stn_emit_reply(struct stn_emit *emit, stn_ticket ticket, const struct stn_msg *msg)
{
    if (ticket == 0) {
        return;
    }
    struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_REPLY);
    effect->ticket = ticket;
    effect->msg = *msg;
}

void stn_emit_ok(struct stn_emit *emit, stn_ticket ticket)
{
    stn_emit_reply(emit, ticket, &(struct stn_msg){.type = STN_MSG_OK});
}

void stn_emit_wait(struct stn_emit *emit, stn_ticket ticket)
{
    stn_emit_reply(emit, ticket, &(struct stn_msg){.type = STN_MSG_WAIT});
}

void stn_emit_refused(struct stn_emit *emit, stn_ticket ticket, enum stn_code code)
{
    stn_emit_reply(emit, ticket,
                   &(struct stn_msg){.type = STN_MSG_REFUSED, .refused = {.code = code}});
}

void stn_emit_come_back(struct stn_emit *emit, stn_ticket ticket, uint64_t after_ms)
{
    stn_emit_reply(
        emit, ticket,
        &(struct stn_msg){.type = STN_MSG_COME_BACK, .come_back = {.after_ms = after_ms}});
}

void stn_emit_voided(struct stn_emit *emit, stn_ticket ticket, const struct stn_round_id *round,
                     enum stn_code code)
{
    stn_emit_reply(
        emit, ticket,
        &(struct stn_msg){.type = STN_MSG_VOIDED, .voided = {.round = *round, .code = code}});
}

void stn_emit_answer(struct stn_emit *emit, stn_ticket ticket, enum stn_code code)
{
    struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_ANSWER);
    effect->ticket = ticket;
    effect->code = code;
}

void stn_emit_trace(struct stn_emit *emit, const char *event, const char *task,
                    const struct stn_id *device, uint64_t number, enum stn_code code)
{
    struct stn_server_effect *effect = stn_emit_new(emit, STN_SERVER_TRACE);
    effect->trace.event = event;
    (void)stn_str_copy(effect->trace.task, sizeof effect->trace.task, task);
    if (device != NULL) {
        effect->trace.device = *device;
    }
    effect->trace.number = number;
    effect->trace.code = code;
}
