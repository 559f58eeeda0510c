/* The door of the coordinator's channel: an input is a story of hellos, requests, repetitions,
 * changed and made-up frames. No request comes out that no device has made, none that changes
 * something comes out twice, and the tables keep to their limits. */
#include "tests/lib/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/wire.h"

#define N_ASKED 256

static struct stn_wire wire;
static uint8_t n_seen[N_ASKED];

struct story {
    struct stn_cursor input;
    struct stn_channel_client *client;
    struct stn_buf frame, answer; /* the last that the client sent, and what it was answered */
    uint64_t now_ms;
    uint8_t n_asked;
};

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void take(struct story *story, const struct stn_buf *frame)
{
    stn_buf_clear(&story->answer);
    struct stn_channel_server_verdict verdict = stn_wire_take(&wire, frame, &story->answer);
    if (verdict.kind == STN_CHANNEL_SERVER_NEED_TOKEN) {
        stn_wire_ask_directory(&wire, &verdict, &story->answer);
    }
    if (verdict.kind == STN_CHANNEL_SERVER_REQUEST) {
        require(verdict.size == 1 && verdict.message[0] < story->n_asked);
        require(++n_seen[verdict.message[0]] == 1);
        require(stn_channel_server_reply(wire.server, verdict.session, verdict.counter, true, "ok",
                                         2, &story->answer, NULL) == STN_OK);
    }
    struct stn_channel_server_stats stats = stn_channel_server_stats(wire.server);
    require(stats.n_open <= STN_WIRE_OPEN && stats.n_half_open <= STN_WIRE_HALF_OPEN &&
            stats.n_enrolments <= STN_WIRE_ENROLMENTS);
}

static void hear(struct story *story)
{
    struct stn_channel_client_heard heard;
    (void)!stn_channel_client_heard(story->client, story->answer.data, story->answer.size, &heard,
                                    NULL);
}

static void change(struct story *story, struct stn_buf *buf)
{
    for (size_t n = stn_buf_take_u8(&story->input) % 4u + 1u; n > 0 && buf->size > 0; n--) {
        size_t at = stn_buf_take_u8(&story->input);
        buf->data[at % buf->size] ^= stn_buf_take_u8(&story->input);
    }
}

static void make_up(struct story *story)
{
    struct stn_buf frame = {0};
    size_t size = stn_buf_take_u8(&story->input);
    if (size <= story->input.size - story->input.at) {
        (void)stn_buf_add(&frame, stn_buf_take(&story->input, size), size);
    }
    take(story, &frame);
    stn_buf_fini(&frame);
}

static void say(struct story *story, bool is_hello)
{
    uint64_t counter;
    stn_buf_clear(&story->frame);
    if (is_hello) {
        story->now_ms += stn_channel_client_wait_ms(story->client, story->now_ms);
        (void)!stn_channel_client_start(story->client, story->now_ms, &story->frame, NULL);
    } else if (story->n_asked < N_ASKED - 1 &&
               stn_channel_client_request(story->client, &story->n_asked, 1, &story->frame,
                                          &counter, NULL) == STN_OK) {
        story->n_asked++;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct story story = {.input = stn_buf_cursor(data, size < 2048 ? size : 2048)};
    stn_wire_init(&wire);
    memset(n_seen, 0, sizeof n_seen);
    stn_wire_enrol(&wire, 1);
    story.client = stn_wire_client(&wire, 1 + stn_buf_take_u8(&story.input) % 2u, true);
    while (story.input.at < story.input.size) {
        switch (stn_buf_take_u8(&story.input) % 8) {
        case 0:
            say(&story, true);
            break;
        case 1:
        case 2:
            say(&story, false);
            break;
        case 3:
            change(&story, &story.frame);
            break;
        case 4:
            change(&story, &story.answer);
            break;
        case 5:
            take(&story, &story.frame);
            break;
        case 6:
            hear(&story);
            break;
        default:
            make_up(&story);
        }
    }
    stn_channel_client_free(story.client);
    stn_buf_fini(&story.frame);
    stn_buf_fini(&story.answer);
    stn_wire_fini(&wire);
    return 0;
}
