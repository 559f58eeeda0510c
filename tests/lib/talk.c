#include "tests/lib/talk.h"

#include <check.h>
#include <string.h>

#include "proto/frame.h"

struct stn_wire stn_talk_wire;
uint64_t stn_talk_now_ms;
static struct stn_buf bufs[64]; /* of the test in progress */
static size_t n_bufs;

void stn_talk_start(void)
{
    stn_wire_init(&stn_talk_wire);
    stn_talk_now_ms = 1000000;
}

void stn_talk_stop(void)
{
    for (size_t i = 0; i < n_bufs; i++) {
        stn_buf_fini(&bufs[i]);
    }
    n_bufs = 0;
    stn_wire_fini(&stn_talk_wire);
}

struct stn_buf *stn_talk_buf(void)
{
    ck_assert_uint_lt(n_bufs, sizeof bufs / sizeof *bufs);
    return &bufs[n_bufs++];
}

struct stn_buf *stn_talk_hello(struct stn_channel_client *client)
{
    struct stn_buf *frame = stn_talk_buf();
    stn_talk_now_ms += stn_channel_client_wait_ms(client, stn_talk_now_ms);
    ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, frame, NULL), STN_OK);
    return frame;
}

enum stn_code stn_talk_hear(struct stn_channel_client *client, const struct stn_buf *frame,
                            struct stn_channel_client_heard *ret)
{
    static uint8_t heard[STN_FRAME_SIZE];
    ck_assert_uint_le(frame->size, sizeof heard);
    memcpy(heard, frame->data, frame->size);
    return stn_channel_client_heard(client, heard, frame->size, ret, NULL);
}

void stn_talk_connect(struct stn_channel_client *client)
{
    struct stn_channel_client_heard heard;
    struct stn_buf answer = {0}, hello = {0};
    stn_talk_now_ms += stn_channel_client_wait_ms(client, stn_talk_now_ms);
    ck_assert_int_eq(stn_channel_client_start(client, stn_talk_now_ms, &hello, NULL), STN_OK);
    struct stn_channel_server_verdict verdict = stn_wire_take(&stn_talk_wire, &hello, &answer);
    if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
        stn_wire_ask_directory(&stn_talk_wire, &verdict, &answer);
    }
    ck_assert_int_eq(stn_talk_hear(client, &answer, &heard), STN_OK);
    ck_assert_int_eq(heard.kind, STN_CHANNEL_CLIENT_OPEN);
    stn_buf_fini(&answer);
    stn_buf_fini(&hello);
}

struct stn_channel_client *stn_talk_connected(size_t i)
{
    stn_wire_enrol(&stn_talk_wire, i);
    struct stn_channel_client *client = stn_wire_client(&stn_talk_wire, i, false);
    stn_talk_connect(client);
    return client;
}

struct stn_buf *stn_talk_request(struct stn_channel_client *client, const char *text,
                                 uint64_t *ret_counter)
{
    struct stn_buf *frame = stn_talk_buf();
    uint64_t counter;
    ck_assert_int_eq(stn_channel_client_request(client, text, strlen(text), frame, &counter, NULL),
                     STN_OK);
    if (ret_counter != NULL) {
        *ret_counter = counter;
    }
    return frame;
}

struct stn_channel_server_verdict stn_talk_arrives(const struct stn_buf *frame, const char *text)
{
    struct stn_buf answer = {0};
    struct stn_channel_server_verdict verdict = stn_wire_take(&stn_talk_wire, frame, &answer);
    ck_assert_int_eq(verdict.kind, STN_CHANNEL_SERVER_REQUEST);
    ck_assert_uint_eq(verdict.size, strlen(text));
    ck_assert_mem_eq(verdict.message, text, verdict.size);
    ck_assert_uint_eq(answer.size, 0);
    return verdict;
}

struct stn_buf *stn_talk_reply(const struct stn_channel_server_verdict *verdict, bool changes_state,
                               const char *text)
{
    struct stn_buf *frame = stn_talk_buf();
    ck_assert_int_eq(stn_channel_server_reply(stn_talk_wire.server, verdict->session,
                                              verdict->counter, changes_state, text, strlen(text),
                                              frame, NULL),
                     STN_OK);
    return frame;
}

enum stn_channel_server_kind stn_talk_kind(const struct stn_buf *frame)
{
    struct stn_buf answer = {0};
    enum stn_channel_server_kind kind = stn_wire_take(&stn_talk_wire, frame, &answer).kind;
    stn_buf_fini(&answer);
    return kind;
}
