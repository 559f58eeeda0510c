#include "channel/channel_session.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/replycache.h"

static_assert(STN_FRAME_TAG == STN_SEAL_TAG && STN_FRAME_RECORD == STN_SEAL_RECORD,
              "a frame's limits are the seal's");

enum progress { FREE, RUNNING, ANSWERED };

/* Record number c is in place c mod 32 until number c + 32 comes. */
struct place {
    uint64_t counter;
    struct stn_digest name; /* of the record: H of its head and tag */
    uint8_t progress;       /* enum progress */
    uint8_t n_repeats;
    uint8_t size; /* of message; 0: not kept */
    uint8_t message[STN_CHANNEL_SERVER_SMALL];
};

struct stn_channel_session_window {
    struct place places[STN_SEAL_WINDOW];
    struct stn_replycache replies;
};

struct stn_channel_session *stn_channel_session_new(uint64_t id, const struct stn_id *device,
                                                    uint32_t version,
                                                    const struct stn_noise_keys *keys)
{
    struct stn_channel_session *session = stn_mem_new(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    stn_list_init(&session->link);
    session->id = id;
    session->device = *device;
    session->version = version;
    stn_seal_init(&session->seal, keys);
    return session;
}

void stn_channel_session_free(struct stn_channel_session *session)
{
    if (session == NULL) {
        return;
    }
    if (session->window != NULL) {
        stn_replycache_fini(&session->window->replies);
        stn_entropy_wipe(session->window, sizeof *session->window);
        stn_mem_free(session->window);
    }
    stn_seal_fini(&session->seal);
    stn_mem_free(session);
}

static struct place *place_of(const struct stn_channel_session *session, uint64_t counter)
{
    return session->window == NULL ? NULL : &session->window->places[counter % STN_SEAL_WINDOW];
}

/* The tag vouches for the rest, and nothing is done for a repetition that was not done for the
 * record it names. */
static struct stn_digest name_of(const struct stn_frame *frame, const uint8_t *bytes)
{
    struct stn_digest_state state;
    stn_digest_init(&state);
    stn_digest_add(&state, bytes, frame->head_size);
    stn_digest_add(&state, frame->body + frame->body_size - STN_SEAL_TAG, STN_SEAL_TAG);
    return stn_digest_end(&state);
}

static struct stn_channel_server_verdict verdict_of(const struct stn_channel_session *session,
                                                    enum stn_channel_server_kind kind,
                                                    uint64_t counter)
{
    return (struct stn_channel_server_verdict){.kind = kind,
                                               .session = session->id,
                                               .counter = counter,
                                               .version = session->version,
                                               .device = session->device};
}

static struct stn_channel_server_verdict repeat(struct stn_channel_session *session,
                                                struct place *place, struct stn_buf *answer)
{
    const uint8_t *reply;
    size_t size;
    if (place->progress == RUNNING) {
        return verdict_of(session, STN_CHANNEL_SERVER_REPEATED, place->counter);
    }
    if (stn_replycache_find(&session->window->replies, place->counter, &place->name, &reply,
                            &size)) {
        bool fits = stn_buf_add(answer, reply, size);
        return verdict_of(session, fits ? STN_CHANNEL_SERVER_ANSWER : STN_CHANNEL_SERVER_DROP,
                          place->counter);
    }
    if (place->size == 0 || place->n_repeats == STN_CHANNEL_SERVER_REPEATS) {
        return verdict_of(session, STN_CHANNEL_SERVER_DROP, place->counter);
    }
    place->n_repeats++;
    place->progress = RUNNING;
    struct stn_channel_server_verdict verdict =
        verdict_of(session, STN_CHANNEL_SERVER_REQUEST, place->counter);
    verdict.message = place->message;
    verdict.size = place->size;
    return verdict;
}

static bool make_window(struct stn_channel_session *session)
{
    if (session->window == NULL) {
        session->window = stn_mem_new(1, sizeof *session->window);
    }
    return session->window != NULL;
}

struct stn_channel_server_verdict stn_channel_session_take(struct stn_channel_session *session,
                                                           const struct stn_frame *frame,
                                                           uint8_t *bytes, struct stn_buf *answer)
{
    struct place *place = place_of(session, frame->counter);
    struct stn_digest name = name_of(frame, bytes);
    if (place != NULL && place->progress != FREE && place->counter == frame->counter &&
        stn_digest_equal(&place->name, &name)) {
        return repeat(session, place, answer);
    }
    uint8_t *message = bytes + frame->head_size;
    size_t size = frame->body_size - STN_SEAL_TAG;
    if (stn_seal_open(&session->seal, frame->counter, bytes, frame->head_size, message,
                      frame->body_size, message, NULL) != STN_OK ||
        !make_window(session)) {
        return verdict_of(session, STN_CHANNEL_SERVER_DROP, frame->counter);
    }
    place = place_of(session, frame->counter);
    *place = (struct place){.counter = frame->counter, .name = name, .progress = RUNNING};
    if (size <= sizeof place->message && size > 0) {
        memcpy(place->message, message, size);
        place->size = (uint8_t)size;
    }
    struct stn_channel_server_verdict verdict =
        verdict_of(session, STN_CHANNEL_SERVER_REQUEST, frame->counter);
    verdict.message = message;
    verdict.size = size;
    return verdict;
}

static enum stn_code seal_reply(struct stn_channel_session *session, uint64_t request,
                                const void *message, size_t size, struct stn_buf *answer,
                                struct stn_err *err)
{
    struct stn_frame frame = {.kind = STN_FRAME_REPLY,
                              .session = session->id,
                              .counter = stn_seal_next(&session->seal),
                              .request = request};
    uint8_t head[STN_FRAME_HEAD];
    size_t before = answer->size, head_size = stn_frame_put_head(&frame, head);
    if (size > STN_SEAL_RECORD) {
        return stn_err_set(err, STN_LIMIT, "a reply of %zu bytes, at most %zu", size,
                           STN_SEAL_RECORD);
    }
    uint8_t *to = stn_buf_extend(answer, head_size + size + STN_SEAL_TAG);
    if (to == NULL) {
        return stn_err_set(err, STN_MEMORY, "no room for a reply of %zu bytes", size);
    }
    memcpy(to, head, head_size);
    enum stn_code code = stn_seal_put(&session->seal, head, head_size, message, size,
                                      to + head_size, &frame.counter, err);
    if (code != STN_OK) {
        answer->size = before;
    }
    return code;
}

enum stn_code stn_channel_session_reply(struct stn_channel_session *session, uint64_t counter,
                                        bool changes_state, const void *message, size_t size,
                                        struct stn_buf *answer, struct stn_err *err)
{
    struct place *place = place_of(session, counter);
    if (place == NULL || place->counter != counter || place->progress != RUNNING) {
        return stn_err_set(err, STN_LATE, "nobody waits for a reply to request %llu",
                           (unsigned long long)counter);
    }
    size_t before = answer->size;
    enum stn_code code = seal_reply(session, counter, message, size, answer, err);
    if (code != STN_OK) {
        return code;
    }
    place->progress = ANSWERED;
    if (changes_state) {
        place->size = 0; /* never to be carried out again */
        /* a reply that is not kept goes out all the same: a device that misses it asks afresh */
        (void)!stn_replycache_keep(&session->window->replies, counter, &place->name,
                                   answer->data + before, answer->size - before, NULL);
    }
    return STN_OK;
}
