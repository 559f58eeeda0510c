#include "proto/msg.h"

#include <string.h>

static const struct row {
    enum stn_msg_type type;
    const char *name;
    bool is_request, changes_state;
} rows[] = {
    {STN_MSG_CHECK_IN, "check_in", true, true},
    {STN_MSG_GET_LEAVES, "get_leaves", true, false},
    {STN_MSG_GET_CHUNK, "get_chunk", true, false},
    {STN_MSG_JOIN, "join", true, true},
    {STN_MSG_ADVERTISE, "advertise", true, true},
    {STN_MSG_POLL, "poll", true, false},
    {STN_MSG_PUT_BEGIN, "put_begin", true, true},
    {STN_MSG_PUT_CHUNK, "put_chunk", true, true},
    {STN_MSG_PUT_END, "put_end", true, true},
    {STN_MSG_LEAVE, "leave", true, true},
    {STN_MSG_SHARE, "share", true, true},
    {STN_MSG_ACK, "ack", true, true},
    {STN_MSG_UNMASK, "unmask", true, true},
    {STN_MSG_REFUSED, "refused", false, false},
    {STN_MSG_OK, "ok", false, false},
    {STN_MSG_COME_BACK, "come_back", false, false},
    {STN_MSG_LEASE, "lease", false, false},
    {STN_MSG_LEAVES_ARE, "leaves", false, false},
    {STN_MSG_CHUNK_IS, "chunk", false, false},
    {STN_MSG_ROUND_CONFIG, "round_config", false, false},
    {STN_MSG_ROSTER, "roster", false, false},
    {STN_MSG_MISSING, "missing", false, false},
    {STN_MSG_RESULT, "result", false, false},
    {STN_MSG_VOIDED, "voided", false, false},
    {STN_MSG_WAIT, "wait", false, false},
    {STN_MSG_DELIVER, "deliver", false, false},
    {STN_MSG_SURVIVORS, "survivors", false, false},
    {STN_MSG_ACKS, "acks", false, false},
};

static const struct row *row_of(enum stn_msg_type type)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].type == type) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *stn_msg_name(enum stn_msg_type type)
{
    const struct row *row = row_of(type);
    return row == NULL ? "unknown" : row->name;
}

bool stn_msg_is_request(enum stn_msg_type type)
{
    const struct row *row = row_of(type);
    return row != NULL && row->is_request;
}

bool stn_msg_changes_state(enum stn_msg_type type)
{
    const struct row *row = row_of(type);
    return row != NULL && row->changes_state;
}

bool stn_msg_is_task_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n < STN_MSG_NAME && name[n] == '\0' && name[0] != '.';
}
