/* talk: steps of a conversation over the channel, each of which must succeed: for tests that are
 * stories. There is one coordinator's end (wire.h), made by the fixture. */
#ifndef STN_TESTS_TALK_H
#define STN_TESTS_TALK_H

#include "tests/lib/wire.h"

extern struct stn_wire stn_talk_wire;
extern uint64_t stn_talk_now_ms;

void stn_talk_start(void); /* the fixture */
void stn_talk_stop(void);

/* A buffer that the fixture frees. */
struct stn_buf *stn_talk_buf(void);

/* A hello, once the client may say one. */
struct stn_buf *stn_talk_hello(struct stn_channel_client *client);
/* Hands a copy of the frame to the client. */
enum stn_code stn_talk_hear(struct stn_channel_client *client, const struct stn_buf *frame,
                            struct stn_channel_client_heard *ret);
/* Opens a session, by way of the directory when it must be. */
void stn_talk_connect(struct stn_channel_client *client);
/* A client of the enrolled device number i, with a session. */
struct stn_channel_client *stn_talk_connected(size_t i);
struct stn_buf *stn_talk_request(struct stn_channel_client *client, const char *text,
                                 uint64_t *ret_counter);
/* The request arrives, and is the one that was sent. */
struct stn_channel_server_verdict stn_talk_arrives(const struct stn_buf *frame, const char *text);
struct stn_buf *stn_talk_reply(const struct stn_channel_server_verdict *verdict, bool changes_state,
                               const char *text);
/* What the coordinator's end says of a frame. */
enum stn_channel_server_kind stn_talk_kind(const struct stn_buf *frame);

#endif
