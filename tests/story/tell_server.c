#include "tests/story/tell_server.h"

#include <string.h>

#include "base/mem.h"
#include "channel/signed.h"
#include "client/simulate/disk.h"
#include "tests/lib/run.h"
#include "tests/story/transcript.h"

struct stn_coordinator_config config;
struct stn_coordinator *core;
struct stn_server_effects effects;
struct stn_buf text;
struct stn_disk disk;
struct stn_round_id round_id; /* the last config's */
struct stn_msg last;          /* the last reply */
stn_ticket n_tickets;
uint64_t last_wake_ms;
struct stn_id ids[256];
void (*on_effect)(const struct stn_server_effect *effect);

void setup(void)
{
    config = (struct stn_coordinator_config){.seed = 1, .cfg = stn_signed_cfg};
    ck_assert_int_eq(stn_coordinator_new(&core, &config, NULL), STN_OK);
}

void teardown(void)
{
    stn_coordinator_free(core);
    stn_mem_free(effects.items);
    stn_buf_fini(&text);
    stn_disk_fini(&disk);
}

static void step(const struct stn_server_event *event)
{
    effects.n = 0;
    stn_coordinator_step(core, event, &effects);
    for (size_t i = 0; i < effects.n; i++) {
        const struct stn_server_effect *effect = &effects.items[i];
        if (effect->type == STN_SERVER_SAVE) {
            ck_assert(stn_disk_save(&disk, &effect->record));
        } else if (effect->type == STN_SERVER_FORGET) {
            stn_disk_forget(&disk, &effect->record);
        } else if (effect->type == STN_SERVER_REPLY) {
            last = effect->msg;
        } else if (effect->type == STN_SERVER_WAKE) {
            last_wake_ms = effect->at_ms;
        }
        if (effect->type == STN_SERVER_REPLY && effect->msg.type == STN_MSG_ROUND_CONFIG) {
            round_id = effect->msg.round_config.round;
        }
    }
    stn_transcript_server(&text, &effects);
    for (size_t i = 0; i < effects.n && on_effect != NULL; i++) {
        on_effect(&effects.items[i]);
    }
}

void happens(uint64_t now_ms, const char *what, struct stn_server_event event)
{
    (void)stn_buf_printf(&text, "[%5llu] %s", (unsigned long long)now_ms, what);
    event.now_ms = now_ms;
    step(&event);
}

struct stn_id id(uint8_t device)
{
    static const struct stn_id none;
    if (memcmp(&ids[device], &none, sizeof none) != 0) {
        return ids[device];
    }
    return (struct stn_id){.bytes = {device}};
}

void asks(uint64_t now_ms, uint8_t device, struct stn_msg msg)
{
    (void)stn_buf_printf(&text, "[%5llu] %u %s", (unsigned long long)now_ms, device,
                         stn_msg_name(msg.type));
    struct stn_server_event event = {.type = STN_SERVER_REQUEST,
                                     .now_ms = now_ms,
                                     .ticket = 100u * device + ++n_tickets % 100,
                                     .request = {.device = id(device), .msg = &msg}};
    step(&event);
}

void check_in_from(uint64_t now_ms, uint8_t device, uint32_t n_min_floor, uint64_t version)
{
    struct stn_msg msg = {
        .type = STN_MSG_CHECK_IN,
        .check_in = {.n_min_floor = n_min_floor,
                     .n_consents = 1,
                     .consents = {{.task = "t", .n_examples = 5, .version = version}}}};
    asks(now_ms, device, msg);
}

void check_in(uint64_t now_ms, uint8_t device)
{
    check_in_from(now_ms, device, 1, 0);
}

void join_from(uint64_t now_ms, uint8_t device, uint64_t lease, uint64_t version)
{
    asks(now_ms, device,
         (struct stn_msg){
             .type = STN_MSG_JOIN,
             .join = {.task = "t", .lease = lease, .version = version, .n_samples = 5}});
}

void join(uint64_t now_ms, uint8_t device, uint64_t lease)
{
    join_from(now_ms, device, lease, 0);
}

void advertise(uint64_t now_ms, uint8_t device)
{
    asks(now_ms, device,
         (struct stn_msg){.type = STN_MSG_ADVERTISE, .advertise = {.round = round_id}});
}

void poll(uint64_t now_ms, uint8_t device, enum stn_stage stage)
{
    asks(now_ms, device,
         (struct stn_msg){.type = STN_MSG_POLL, .poll = {.round = round_id, .stage = stage}});
}

void put_begin(uint64_t now_ms, uint8_t device)
{
    asks(
        now_ms, device,
        (struct stn_msg){.type = STN_MSG_PUT_BEGIN, .put_begin = {.round = round_id, .size = 300}});
}

void put_end_of(uint64_t now_ms, uint8_t device, uint8_t digest)
{
    asks(now_ms, device,
         (struct stn_msg){.type = STN_MSG_PUT_END,
                          .put_end = {.round = round_id, .digest = {.bytes = {digest}}}});
}

void put_end(uint64_t now_ms, uint8_t device)
{
    put_end_of(now_ms, device, device);
}

void checked(uint64_t now_ms, uint8_t device, enum stn_code code)
{
    happens(now_ms, code == STN_OK ? "whole" : "broken",
            (struct stn_server_event){
                .type = STN_SERVER_UPLOAD_CHECKED,
                .checked = {.round = round_id, .device = id(device), .code = code}});
}

void merged(uint64_t now_ms, enum stn_code code)
{
    happens(now_ms, "merged",
            (struct stn_server_event){.type = STN_SERVER_MERGED,
                                      .merged = {.round = round_id,
                                                 .code = code,
                                                 .adapter = {.digest = {.bytes = {'w'}}, .size = 9},
                                                 .clip_norm = 2,
                                                 .totals = {.n_included = 2}}});
}

void time_comes(uint64_t now_ms)
{
    happens(now_ms, "time", (struct stn_server_event){.type = STN_SERVER_TIME});
}

struct stn_task_spec task(void)
{
    return (struct stn_task_spec){.name = "t",
                                  .digest = {.bytes = {1}},
                                  .base = {.digest = {.bytes = {'b'}}, .size = 1000},
                                  .train = {.rank = 8,
                                            .alpha = 16,
                                            .targets = 1,
                                            .local_steps = 5,
                                            .batch_tokens = 256,
                                            .ctx = 64,
                                            .lr = 1e-3},
                                  .n_values = 100,
                                  .target = 2,
                                  .n_min = 2,
                                  .over_select = 1.5,
                                  .join_window_ms = 1000,
                                  .report_deadline_ms = 20000,
                                  .upload_ms = 2000,
                                  .outer = {.rate = 1},
                                  .clip_norm = 1,
                                  .weight_max = 8,
                                  .bits = 24};
}

void create(struct stn_task_spec spec)
{
    happens(0, "create",
            (struct stn_server_event){
                .type = STN_SERVER_TASK_CREATE,
                .create = {.spec = spec, .adapter = {.digest = {.bytes = {'a'}}, .size = 9}}});
}

/* A coordinator with the task, and nothing in the transcript yet. */
void begin(struct stn_task_spec spec)
{
    happens(0, "start", (struct stn_server_event){.type = STN_SERVER_START});
    create(spec);
    stn_buf_clear(&text);
}

void restart(uint64_t now_ms)
{
    stn_coordinator_free(core);
    config.seed++;
    ck_assert_int_eq(stn_coordinator_new(&core, &config, NULL), STN_OK);
    for (size_t i = disk.records.n; i-- > 0;) { /* the last first: the order is nobody's promise */
        const struct stn_record *record = disk.records.entries[i].value;
        struct stn_server_event event = {.type = STN_SERVER_RESTORE, .record = *record};
        stn_coordinator_step(core, &event, &effects);
    }
    happens(now_ms, "restart", (struct stn_server_event){.type = STN_SERVER_START});
}

void expect(const char *expected)
{
    (void)stn_buf_add_u8(&text, 0);
    ck_assert_msg(strcmp((const char *)text.data, expected) == 0, "\n--- expected\n%s--- said\n%s",
                  expected, (const char *)text.data);
    stn_buf_clear(&text);
}

/* Devices 1 and 2 with leases 1 and 2, in a round whose roster is made. */
void until_uploading(struct stn_task_spec spec)
{
    begin(spec);
    for (uint8_t i = 1; i <= 2; i++) {
        check_in(10, i);
        join(100, i, i);
        advertise(110, i);
    }
    stn_buf_clear(&text);
}
