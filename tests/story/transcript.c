#include "tests/story/transcript.h"

static void put_msg(struct stn_buf *text, const struct stn_msg *msg)
{
    static const char *const stages[] = {"none", "advertise", "share", "upload", "ack", "unmask", "done"};
    switch (msg->type) {
    case STN_MSG_LEASE:
        (void)stn_buf_printf(text, "lease %llu v%llu", (unsigned long long)msg->lease.lease,
                             (unsigned long long)msg->lease.version);
        break;
    case STN_MSG_ROSTER:
        (void)stn_buf_printf(text, "roster of %u", (unsigned)msg->roster.n_members);
        break;
    case STN_MSG_RESULT:
        (void)stn_buf_printf(text, "result v%llu of %u%s", (unsigned long long)msg->result.version,
                             (unsigned)msg->result.n_included,
                             msg->result.included ? "" : " without it");
        break;
    case STN_MSG_REFUSED:
        (void)stn_buf_printf(text, "refused %s", stn_err_name((enum stn_code)msg->refused.code));
        break;
    case STN_MSG_VOIDED:
        (void)stn_buf_printf(text, "voided %s", stn_err_name((enum stn_code)msg->voided.code));
        break;
    case STN_MSG_MISSING:
        (void)stn_buf_printf(text, "missing %u", (unsigned)msg->missing.n_missing);
        break;
    case STN_MSG_COME_BACK:
        (void)stn_buf_add_str(text, "come_back");
        if (msg->come_back.has_release) {
            (void)stn_buf_printf(text, " with v%llu",
                                 (unsigned long long)msg->come_back.release.version);
        }
        break;
    case STN_MSG_POLL:
        (void)stn_buf_printf(text, "poll %s", stages[msg->poll.stage % (STN_STAGE_DONE + 1)]);
        break;
    default:
        (void)stn_buf_add_str(text, stn_msg_name(msg->type));
    }
}

static void put_record(struct stn_buf *text, const struct stn_record *record)
{
    static const char *const rounds[] = {"open", "uploading", "merging", "done", "void"};
    static const char *const members[] = {"joined", "advertised", "uploaded", "lost"};
    static const char *const tasks[] = {"", " paused", " finished"};
    static const char *const said[] = {"secrets", "advert", "stage", "shared",
                                       "counted", "acked",  "opened", "left"};
    switch (record->type) {
    case STN_RECORD_TASK:
        (void)stn_buf_printf(text, "task%s", tasks[record->task.state]);
        break;
    case STN_RECORD_VERSION:
        (void)stn_buf_printf(text, "version %llu", (unsigned long long)record->version.version);
        break;
    case STN_RECORD_ROUND:
        (void)stn_buf_printf(text, "round %s", rounds[record->round.state]);
        break;
    case STN_RECORD_MEMBER:
        (void)stn_buf_printf(text, "member %s", members[record->member.state]);
        break;
    case STN_RECORD_LEASE:
        (void)stn_buf_printf(text, "lease%s", record->lease.spent ? " spent" : "");
        break;
    case STN_RECORD_SECAGG:
        (void)stn_buf_printf(text, "%s%s", said[record->secagg.of.kind],
                             record->secagg.of.size == STN_SECAGG_SERVER_SIZE_GONE ? " gone" : "");
        break;
    case STN_RECORD_QUARANTINE:
        (void)stn_buf_printf(text, "quarantine %u", record->quarantine.device.bytes[0]);
        break;
    }
}

static void put_server(struct stn_buf *text, const struct stn_server_effect *effect)
{
    static const char *const stages[] = {"", "roster", "shares", "survivors", "acks"};
    switch (effect->type) {
    case STN_SERVER_FORGET:
        (void)stn_buf_add_str(text, "-");
        put_record(text, &effect->record);
        break;
    case STN_SERVER_SAVE:
        put_record(text, &effect->record);
        break;
    case STN_SERVER_REPLY:
        (void)stn_buf_printf(text, "%llu: ", (unsigned long long)effect->ticket / 100);
        put_msg(text, &effect->msg);
        break;
    case STN_SERVER_TELL:
        (void)stn_buf_printf(text, "%llu: tell %s", (unsigned long long)effect->ticket / 100,
                             stages[effect->tell.stage]);
        break;
    case STN_SERVER_ANSWER:
        (void)stn_buf_printf(text, "answer %s", stn_err_name(effect->code));
        break;
    case STN_SERVER_WAKE:
        if (effect->at_ms == UINT64_MAX) {
            (void)stn_buf_add_str(text, "wake never");
        } else {
            (void)stn_buf_printf(text, "wake %llu", (unsigned long long)effect->at_ms);
        }
        break;
    case STN_SERVER_SPOOL:
        (void)stn_buf_printf(text, "spool %u", effect->upload.device.bytes[0]);
        break;
    case STN_SERVER_CHECK:
        (void)stn_buf_printf(text, "check %u", effect->upload.device.bytes[0]);
        break;
    case STN_SERVER_ADD:
        (void)stn_buf_printf(text, "add %u", effect->upload.device.bytes[0]);
        break;
    case STN_SERVER_DROP:
        (void)stn_buf_printf(text, "drop %u", effect->upload.device.bytes[0]);
        break;
    case STN_SERVER_UNMASK:
        (void)stn_buf_printf(text, "unmask %zu%s", effect->unmask.n,
                             effect->unmask.is_first ? " first" : "");
        break;
    case STN_SERVER_MERGE:
        (void)stn_buf_printf(text, "merge %u from v%llu", (unsigned)effect->merge.n_included,
                             (unsigned long long)effect->merge.from.version);
        break;
    case STN_SERVER_CLOSE:
        (void)stn_buf_add_str(text, "close");
        break;
    case STN_SERVER_TRACE:
        break;
    }
}

void stn_transcript_server(struct stn_buf *text, const struct stn_server_effects *effects)
{
    const char *before = " -> ";
    for (size_t i = 0; i < effects->n; i++) {
        if (effects->items[i].type != STN_SERVER_TRACE) {
            (void)stn_buf_add_str(text, before);
            put_server(text, &effects->items[i]);
            before = ", ";
        }
    }
    (void)stn_buf_add_str(text, before[1] == '-' ? " ->\n" : "\n");
}

static void put_client(struct stn_buf *text, const struct stn_client_effect *effect)
{
    static const char *const phases[] = {"idle",   "fetching",  "training", "ready",
                                         "joined", "uploading", "uploaded"};
    switch (effect->type) {
    case STN_CLIENT_SAVE:
        (void)stn_buf_printf(text, "save %s", phases[effect->record.phase]);
        break;
    case STN_CLIENT_ASK:
        (void)stn_buf_add_str(text, "ask ");
        put_msg(text, &effect->ask.msg);
        break;
    case STN_CLIENT_WAKE:
        (void)stn_buf_add_str(text, effect->at_ms == UINT64_MAX ? "wake never" : "wake");
        break;
    case STN_CLIENT_FETCH:
        (void)stn_buf_printf(text, "fetch %c", effect->blob.digest.bytes[0]);
        break;
    case STN_CLIENT_TRAIN:
        (void)stn_buf_printf(text, "train %llu", (unsigned long long)effect->lease.lease);
        break;
    case STN_CLIENT_CANCEL:
        (void)stn_buf_add_str(text, "cancel");
        break;
    case STN_CLIENT_ENCODE:
        (void)stn_buf_add_str(text, "encode");
        if (effect->round.n_masks > 0) {
            (void)stn_buf_printf(text, " under %zu masks", effect->round.n_masks);
        }
        break;
    case STN_CLIENT_EVIDENCE:
        (void)stn_buf_printf(text, "evidence of two %s",
                             effect->evidence.of_rosters ? "rosters" : "sets of survivors");
        break;
    case STN_CLIENT_SEND:
        (void)stn_buf_add_str(text, "send");
        break;
    case STN_CLIENT_INSTALL:
        (void)stn_buf_printf(text, "install v%llu", (unsigned long long)effect->install.version);
        break;
    case STN_CLIENT_DISCARD:
        (void)stn_buf_printf(text, "discard %llu", (unsigned long long)effect->lease.lease);
        break;
    case STN_CLIENT_TRACE:
        break;
    }
}

void stn_transcript_client(struct stn_buf *text, const struct stn_client_effects *effects)
{
    const char *before = " -> ";
    for (size_t i = 0; i < effects->n; i++) {
        if (effects->items[i].type != STN_CLIENT_TRACE) {
            (void)stn_buf_add_str(text, before);
            put_client(text, &effects->items[i]);
            before = ", ";
        }
    }
    (void)stn_buf_add_str(text, before[1] == '-' ? " ->\n" : "\n");
}
