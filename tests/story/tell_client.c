#include "tests/story/tell_client.h"

#include <string.h>

#include "base/mem.h"
#include "tests/lib/run.h"
#include "tests/story/transcript.h"

struct stn_agent_config agent_config = {.seed = 1,
                                        .n_min_floor = 2,
                                        .allows_plain = true,
                                        .retry_first_ms = 100,
                                        .retry_most_ms = 10000};
struct stn_agent *agent;
struct stn_client_effects effects;
struct stn_buf text;
struct stn_agent_record disk;
uint64_t last_ask;
struct stn_msg last_asked;
uint64_t last_wake_ms;
const struct stn_round_id round_id = {.bytes = {7}};
const struct stn_msg ok = {.type = STN_MSG_OK};

void setup(void)
{
    ck_assert_int_eq(stn_agent_new(&agent, &agent_config, NULL), STN_OK);
}

void teardown(void)
{
    stn_agent_free(agent);
    stn_mem_free(effects.items);
    stn_buf_fini(&text);
}

void happens(uint64_t now_ms, const char *what, struct stn_client_event event)
{
    (void)stn_buf_printf(&text, "[%5llu] %s", (unsigned long long)now_ms, what);
    event.now_ms = now_ms;
    effects.n = 0;
    stn_agent_step(agent, &event, &effects);
    for (size_t i = 0; i < effects.n; i++) {
        const struct stn_client_effect *effect = &effects.items[i];
        if (effect->type == STN_CLIENT_ASK) {
            last_ask = effect->ask.ask;
            last_asked = effect->ask.msg;
        }
        last_wake_ms = effect->type == STN_CLIENT_WAKE ? effect->at_ms : last_wake_ms;
        if (effect->type == STN_CLIENT_SAVE) {
            disk = effect->record;
        }
    }
    stn_transcript_client(&text, &effects);
}

void start(uint64_t now_ms)
{
    happens(now_ms, "start", (struct stn_client_event){.type = STN_CLIENT_START, .record = disk});
}

void consents(uint64_t now_ms, uint32_t n)
{
    happens(now_ms, n == 0 ? "no consent" : "consent",
            (struct stn_client_event){
                .type = STN_CLIENT_CONSENTS,
                .consents = {.n = n, .consents = {{.task = "t", .n_examples = 5}}}});
}

void conditions(uint64_t now_ms, bool may_work)
{
    happens(now_ms, may_work ? "may work" : "may not work",
            (struct stn_client_event){.type = STN_CLIENT_CONDITIONS, .may_work = may_work});
}

void hears_config(uint64_t now_ms, struct stn_msg msg, const struct stn_digest *config)
{
    static uint8_t n; /* no entropy is the same twice */
    struct stn_secagg_client_entropy entropy;
    memset(&entropy, ++n, sizeof entropy);
    happens(now_ms, stn_msg_name(msg.type),
            (struct stn_client_event){
                .type = STN_CLIENT_REPLY,
                .reply = {.ask = last_ask, .msg = &msg, .config = *config, .entropy = &entropy}});
}

void hears_signed(uint64_t now_ms, struct stn_msg msg, uint8_t config)
{
    hears_config(now_ms, msg, &(struct stn_digest){.bytes = {config}});
}

void hears(uint64_t now_ms, struct stn_msg msg)
{
    hears_signed(now_ms, msg, 1);
}

void hears_nothing(uint64_t now_ms)
{
    happens(now_ms, "no reply",
            (struct stn_client_event){.type = STN_CLIENT_FAILED,
                                      .failed = {.ask = last_ask, .code = STN_IO}});
}

void refused(uint64_t now_ms, enum stn_code code)
{
    hears(now_ms, (struct stn_msg){.type = STN_MSG_REFUSED, .refused = {.code = code}});
}

void time_comes(void)
{
    happens(last_wake_ms, "time", (struct stn_client_event){.type = STN_CLIENT_TIME});
}

struct stn_msg lease(uint64_t number, uint64_t version)
{
    return (struct stn_msg){.type = STN_MSG_LEASE,
                            .lease = {.lease = number,
                                      .task = "t",
                                      .version = version,
                                      .base = {.digest = {.bytes = {'b'}}, .size = 1000},
                                      .adapter = {.digest = {.bytes = {'a'}}, .size = 10},
                                      .train = {.rank = 8,
                                                .alpha = 16,
                                                .targets = 1,
                                                .local_steps = 5,
                                                .batch_tokens = 256,
                                                .ctx = 64,
                                                .lr = 1e-3},
                                      .n_min = 2,
                                      .expires_after_ms = 20000}};
}

struct stn_msg config(void)
{
    return (struct stn_msg){.type = STN_MSG_ROUND_CONFIG,
                            .round_config = {.round = round_id,
                                             .protocol = STN_MSG_VERSION,
                                             .task = "t",
                                             .model = {.bytes = {'b'}},
                                             .adapter = {.bytes = {'a'}},
                                             .version = 0,
                                             .n_bases = 1,
                                             .bases = {{.adapter = {.bytes = {'a'}}, .discount = 1}},
                                             .n_values = 100,
                                             .bits = 24,
                                             .n_max = 4,
                                             .n_min = 2,
                                             .clip_norm = 1,
                                             .weight_max = 8,
                                             .join_ms = 1000,
                                             .upload_ms = 2000}};
}

struct stn_msg roster(uint32_t n)
{
    return (struct stn_msg){.type = STN_MSG_ROSTER, .roster = {.round = round_id, .n_members = n}};
}

struct stn_msg voided(enum stn_code code)
{
    return (struct stn_msg){.type = STN_MSG_VOIDED, .voided = {.round = round_id, .code = code}};
}

struct stn_msg result(uint64_t version)
{
    return (struct stn_msg){.type = STN_MSG_RESULT,
                            .result = {.round = round_id,
                                       .task = "t",
                                       .version = version,
                                       .adapter = {.digest = {.bytes = {'n'}}, .size = 10},
                                       .n_included = 3,
                                       .included = true}};
}

void fetched(uint64_t now_ms, uint8_t digest, enum stn_code code)
{
    happens(now_ms, "fetched",
            (struct stn_client_event){.type = STN_CLIENT_FETCHED,
                                      .fetched = {.digest = {.bytes = {digest}}, .code = code}});
}

void trained(uint64_t now_ms, uint64_t number, enum stn_code code)
{
    happens(now_ms, code == STN_OK ? "trained" : "stopped",
            (struct stn_client_event){.type = STN_CLIENT_TRAINED,
                                      .trained = {.lease = number, .code = code, .n_samples = 5}});
}

void encoded(uint64_t now_ms)
{
    happens(now_ms, "encoded",
            (struct stn_client_event){
                .type = STN_CLIENT_ENCODED,
                .encoded = {.round = round_id, .digest = {.bytes = {9}}, .size = 300}});
}

void sent(uint64_t now_ms, enum stn_code code)
{
    happens(now_ms, "sent",
            (struct stn_client_event){.type = STN_CLIENT_SENT,
                                      .sent = {.round = round_id, .code = code}});
}

void installed(uint64_t now_ms)
{
    happens(now_ms, "installed",
            (struct stn_client_event){.type = STN_CLIENT_INSTALLED, .installed = {.task = "t"}});
}

void expect(const char *expected)
{
    (void)stn_buf_add_u8(&text, 0);
    ck_assert_msg(strcmp((const char *)text.data, expected) == 0, "\n--- expected\n%s--- said\n%s",
                  expected, (const char *)text.data);
    stn_buf_clear(&text);
}

/* ---- the way to each phase, told elsewhere ---- */

void until_training(void)
{
    start(0);
    consents(0, 1);
    conditions(0, true);
    hears(10, lease(1, 0));
    fetched(20, 'b', STN_OK);
    fetched(30, 'a', STN_OK);
    stn_buf_clear(&text);
}

void until_joining(void)
{
    until_training();
    trained(100, 1, STN_OK);
    stn_buf_clear(&text);
}

void until_joined(void)
{
    until_joining();
    hears(110, config());
    hears(120, ok);
    stn_buf_clear(&text);
}

void until_uploading(void)
{
    until_joined();
    hears(130, roster(3));
    encoded(140);
    stn_buf_clear(&text);
}

void until_uploaded(void)
{
    until_uploading();
    sent(150, STN_OK);
    hears(160, ok);
    stn_buf_clear(&text);
}

void restart(uint64_t now_ms)
{
    stn_agent_free(agent);
    setup();
    start(now_ms);
    consents(now_ms, 1);
    conditions(now_ms, true);
}
